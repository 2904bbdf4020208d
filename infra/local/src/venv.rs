//! The Python environment: pinned, made once under `target/`, shared by every stack of this checkout.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use sluice_starter::Build;

use crate::progress::Progress;
use crate::{Error, keeper, place};

/// The Python versions (3.x) for which every pinned package is published.
const OLDEST_MINOR: u32 = 10;
const NEWEST_MINOR: u32 = 14;

/// What pip is told, before the file of requirements: nothing but the wheels whose hashes are written down, so no other file
/// of the same name, and no package's own code to build it.
const INSTALL: [&str; 8] = [
    "install",
    "--no-input",
    "--disable-pip-version-check",
    "--no-deps",
    "--require-hashes",
    "--only-binary",
    ":all:",
    "--requirement",
];

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
    let mut pip = empty_environment(&python, &venv, &log)?;
    let installed = run_logged(pip.args(INSTALL).arg(&requirements), &log, &mut || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let found = said.lines().filter(|line| line.starts_with("Collecting ")).count();
        let doing = if said.contains("Installing collected packages") { "unpacking" } else { "fetching" };
        progress.now(&format!("{doing} packages, {found} of {packages} found"));
    })?;
    if !installed {
        return Err(Error::Command { command: "pip install".to_owned(), log });
    }
    place::written(&marker, "")?;
    Ok(venv)
}

/// Makes an environment without packages; returns the pip that installs into it, its own or the system's.
///
/// # Errors
/// One line that says what to install: Debian and Ubuntu ship python3 with neither pip.
fn empty_environment(python: &Python, venv: &Venv, log: &Path) -> Result<Command, Error> {
    let ran = |command: &mut Command| run_logged(command, log, &mut || {});
    if ran(Command::new(&python.program).args(["-c", "import ensurepip, venv"]))? {
        if ran(Command::new(&python.program).args(["-m", "venv"]).arg(&venv.folder))? {
            let mut pip = Command::new(venv.program("python"));
            pip.args(["-m", "pip"]);
            return Ok(pip);
        }
    } else if ran(Command::new(&python.program).args(["-m", "pip", "--version"]))?
        && ran(Command::new(&python.program).args(["-m", "venv", "--without-pip"]).arg(&venv.folder))?
    {
        let mut pip = Command::new(&python.program);
        pip.args(["-m", "pip", "--python"]).arg(venv.program("python"));
        return Ok(pip);
    }
    Err(Error::Python(format!(
        "{} makes no virtual environment here: install its venv module (on Debian and Ubuntu: apt install python3-venv), \
         then start again; see {}",
        python.program,
        log.display()
    )))
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

fn run_logged(command: &mut Command, log: &Path, meanwhile: &mut dyn FnMut()) -> Result<bool, Error> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.map_err(Error::io(format_args!("opening {}", log.display())))?;
    let errors = file.try_clone().map_err(Error::io(format_args!("opening {}", log.display())))?;
    let program = command.get_program().display().to_string();
    let (status, _) =
        keeper::run(command.stdin(Stdio::null()).stdout(file).stderr(errors), &Build::default(), meanwhile)
            .map_err(Error::io(format_args!("running {program}")))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_python_version_is_read_from_what_python_prints() {
        assert!(version("3 12\n") == Some(Version { major: 3, minor: 12 }));
        assert!(version("").is_none());
        assert!(version("three twelve").is_none());
    }

    /// Whether pip would take a file of these requirements, where this wheel and this source package are all there is.
    fn takes(requirements: &str) -> bool {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = place::target().join(format!("e2e/pip/{number}"));
        drop(fs::remove_dir_all(&folder));
        place::made(&folder).expect("a folder");
        let script = folder.join("make.py");
        place::written(&script, MAKE).expect("a script");
        let made = Command::new("python3").arg(&script).current_dir(&folder).output().expect("python3");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let wheel = Sha256::digest(fs::read(folder.join("small-1.0-py3-none-any.whl")).expect("the wheel"));
        let source = Sha256::digest(fs::read(folder.join("sourced-1.0.tar.gz")).expect("the source package"));
        let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = requirements.replace("WHEEL", &hex(&wheel)).replace("SOURCE", &hex(&source));
        place::written(&folder.join("requirements.txt"), &text).expect("the requirements");
        let venv = program("python").expect("the Python environment");
        let own = Command::new(&venv).args(["-m", "pip", "--version"]).output().expect("python");
        let mut pip = if own.status.success() { Command::new(&venv) } else { Command::new("python3") };
        pip.args(["-m", "pip"]);
        if !own.status.success() {
            pip.arg("--python").arg(&venv);
        }
        let pip = pip
            .args(INSTALL)
            .args(["requirements.txt", "--no-index", "--find-links", ".", "--target", "installed"])
            .current_dir(&folder)
            .output()
            .expect("pip");
        pip.status.success()
    }

    /// What becomes of a machine whose Python is this shell script.
    #[cfg(unix)]
    fn on_a_machine_with(script: &str) -> Result<String, String> {
        use std::os::unix::fs::PermissionsExt;

        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = place::target().join(format!("e2e/bare/{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        drop(fs::remove_dir_all(&folder));
        place::made(&folder).expect("a folder");
        let program = folder.join("python3");
        place::written(&program, &format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let python =
            Python { program: program.display().to_string(), version: Version { major: 3, minor: OLDEST_MINOR } };
        let pip = empty_environment(&python, &Venv { folder: folder.join("venv") }, &folder.join("pip.log"));
        let pip = pip.map_err(|error| error.to_string())?;
        let words = std::iter::once(pip.get_program()).chain(pip.get_args());
        let words: Vec<String> =
            words.map(|word| word.to_string_lossy().replace(&*folder.to_string_lossy(), "")).collect();
        Ok(words.join(" "))
    }

    #[test]
    #[cfg(unix)]
    fn a_bare_python_gets_one_line_that_says_what_to_install() {
        let error = on_a_machine_with("exit 1").expect_err("nothing makes an environment");
        assert!(error.contains("apt install python3-venv") && !error.contains('\n'), "{error}");
        let without_pip = r#"case "$*" in *ensurepip*|*"-m pip"*) exit 1;; esac"#;
        assert!(on_a_machine_with(without_pip).is_err(), "venv alone fetches nothing");
    }

    #[test]
    #[cfg(unix)]
    fn either_of_venv_and_pip_will_do() {
        assert_eq!(on_a_machine_with("exit 0").expect("all is there"), "/venv/bin/python -m pip");
        let without_venv = r#"case "$*" in *ensurepip*) exit 1;; esac"#;
        let pip = on_a_machine_with(without_venv).expect("the system's pip");
        assert_eq!(pip, "/python3 -m pip --python /venv/bin/python");
    }

    /// Writes a wheel, and a package that would run code of its own to be built.
    const MAKE: &str = r#"
import io, tarfile, zipfile
with zipfile.ZipFile("small-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("small.py", "")
    wheel.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    wheel.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("small-1.0.dist-info/RECORD", "")
with tarfile.open("sourced-1.0.tar.gz", "w:gz") as source:
    setup = b"from setuptools import setup; setup(name='sourced', version='1.0')"
    entry = tarfile.TarInfo("sourced-1.0/setup.py")
    entry.size = len(setup)
    source.addfile(entry, io.BytesIO(setup))
"#;

    #[test]
    fn only_wheels_of_the_written_hash_are_installed() {
        assert!(takes("small==1.0 --hash=sha256:WHEEL"));
        let other = "0".repeat(64);
        assert!(!takes(&format!("small==1.0 --hash=sha256:{other}")), "another file of the same name");
        assert!(!takes("small==1.0"), "no hash");
        assert!(!takes("small --hash=sha256:WHEEL"), "no version");
        assert!(!takes("sourced==1.0 --hash=sha256:SOURCE"), "a source package");
    }
}
