//! Where things are, and how the programs come to be there.

use crate::error::{Error, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The functions, as they are named everywhere.
pub const FUNCTIONS: [&str; 10] = [
    "create-run",
    "invoke-definition",
    "cancel-run",
    "control-run",
    "read-runs",
    "manage-definitions",
    "run-callback",
    "advance-run",
    "govern-calls",
    "reconcile-runs",
];
pub const ECHO: &str = "benchmark-echo";

/// What a run of the benchmark writes down, emptied at its beginning.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> Result<PathBuf> {
    let folder = sluice_local::place::target().join("benchmark");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::io(folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(Error::io(folder.display()))?;
    Ok(folder)
}

/// Where cargo puts what it builds: beside this very program.
///
/// # Errors
/// When the system does not say where this program is.
pub fn release() -> Result<PathBuf> {
    let own = env::current_exe().map_err(Error::io("this program"))?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_path_buf())
}

/// Builds packages as this program was built: for a release, unless somebody works on it.
///
/// # Errors
/// When they do not build.
pub fn build(packages: &[&str], binaries: &[&str]) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(sluice_local::place::project()).args(["build", "--locked"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    for package in packages {
        cargo.args(["--package", package]);
    }
    for binary in binaries {
        cargo.args(["--bin", binary]);
    }
    // What cargo told this program of itself is not for another cargo.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status().map_err(Error::io("cargo build"))?;
    if status.success() { Ok(()) } else { Err(Error::Wrong(format!("cargo build: {status}"))) }
}

/// A sample event, as text.
///
/// # Errors
/// When there is none.
pub fn event(name: &str) -> Result<String> {
    let path = sluice_local::place::project().join("events").join(format!("{name}.json"));
    fs::read_to_string(&path).map_err(Error::io(path.display()))
}

/// The runner, whose first step has to be played.
///
/// # Errors
/// When it is not there.
pub fn runner() -> Result<String> {
    let path = sluice_local::place::project().join("infra/state-machines/runner-2.asl.json");
    fs::read_to_string(&path).map_err(Error::io(path.display()))
}
