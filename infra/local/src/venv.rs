//! The Python environment: pinned, made once under `target/`, shared by every stack of this checkout.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::progress::Progress;
use crate::{Error, keeper, place};

/// The Python versions (3.x) for which every pinned package is published.
const OLDEST_MINOR: u32 = 10;
const NEWEST_MINOR: u32 = 14;

pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

/// A program of the environment (`sam`, `cfn-lint`, `python`), for checks that need no stack. The environment is made unless
/// it is there.
pub fn program(name: &str) -> Result<PathBuf, Error> {
    let folder = place::target().join("e2e/programs");
    place::made(&folder)?;
    Ok(ready(&folder, &mut Progress::new(&mut |_| {}))?.program(name))
}

/// Makes the environment unless it is there.
///
/// **Invariant:** the marker file is written last, so an environment with it is whole, and one without it is made anew. One
/// process at a time makes it: the others wait for the lock and then find it made.
pub(crate) fn ready(logs: &Path, progress: &mut Progress<'_>) -> Result<Venv, Error> {
    let requirements = place::project().join("infra/local/requirements.txt");
    let wanted = fs::read(&requirements).map_err(Error::io(format_args!("reading {}", requirements.display())))?;
    let python = suitable_python()?;

    let mut hash = Sha256::new();
    hash.update(&wanted);
    hash.update(python.version.to_string());
    let digest: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let venv = Venv { folder: place::target().join(format!("venv-{digest}")) };
    let marker = venv.folder.join(".complete");
    if marker.exists() {
        return Ok(venv);
    }

    place::made(&place::target())?;
    let lock_path = place::target().join("venv.lock");
    let lock = lock_file(&lock_path)?;
    lock.lock().map_err(Error::io("locking the Python environment"))?;
    if marker.exists() {
        return Ok(venv);
    }
    if venv.folder.exists() {
        fs::remove_dir_all(&venv.folder).map_err(Error::io("removing a half-made Python environment"))?;
    }
    let packages = String::from_utf8_lossy(&wanted).lines().filter(|line| line.contains("==")).count();
    progress.note(format!("installing {packages} pinned Python packages, once, into {}", venv.folder.display()));

    let log = logs.join("pip.log");
    let created = run_logged(Command::new(&python.program).args(["-m", "venv"]).arg(&venv.folder), &log)?;
    if !created {
        // Debian and Ubuntu ship python3 without what makes a virtual environment.
        return Err(Error::Python(format!(
            "`{} -m venv` failed: install Python's venv module (on Debian and Ubuntu: apt install python3-venv); see {}",
            python.program,
            log.display()
        )));
    }
    let mut pip = Command::new(venv.program("python"));
    pip.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps", "--requirement"])
        .arg(&requirements);
    if !run_logged(&mut pip, &log)? {
        return Err(Error::Command { command: "pip install".to_owned(), log });
    }
    place::written(&marker, "")?;
    Ok(venv)
}

pub(crate) fn lock_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io(format_args!("opening {}", path.display())))
}

struct Python {
    program: String,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    major: u32,
    minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// `python3` if it suits, else the newest suitable `python3.N`.
fn suitable_python() -> Result<Python, Error> {
    let named = (OLDEST_MINOR..=NEWEST_MINOR).rev().map(|minor| format!("python3.{minor}"));
    let mut unsuitable = Vec::new();
    for program in std::iter::once("python3".to_owned()).chain(named) {
        let asked = Command::new(&program)
            .args(["-c", "import sys; print(*sys.version_info[:2])"])
            .stdin(Stdio::null())
            .output();
        let Some(version) = asked.ok().and_then(|output| version(&String::from_utf8_lossy(&output.stdout))) else {
            continue;
        };
        if version.major == 3 && (OLDEST_MINOR..=NEWEST_MINOR).contains(&version.minor) {
            return Ok(Python { program, version });
        }
        unsuitable.push(format!("{program} is {version}"));
    }
    let found = if unsuitable.is_empty() { "none was found".to_owned() } else { unsuitable.join(", ") };
    Err(Error::Python(format!(
        "the local stack needs Python 3.{OLDEST_MINOR} to 3.{NEWEST_MINOR} as python3 (or python3.N) on the PATH; {found}"
    )))
}

fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.trim().split_once(' ')?;
    Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn run_logged(command: &mut Command, log: &Path) -> Result<bool, Error> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.map_err(Error::io(format_args!("opening {}", log.display())))?;
    let errors = file.try_clone().map_err(Error::io(format_args!("opening {}", log.display())))?;
    let program = command.get_program().display().to_string();
    let (status, _) = keeper::run(command.stdin(Stdio::null()).stdout(file).stderr(errors))
        .map_err(Error::io(format_args!("running {program}")))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_version_is_read_from_what_python_prints() {
        assert!(version("3 12\n") == Some(Version { major: 3, minor: 12 }));
        assert!(version("").is_none());
        assert!(version("three twelve").is_none());
    }
}
