//! Builds the function binaries, the real ones and the sample's, with the cargo that runs this.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sluice_starter::{Build, forget_this_crate, with_progress};

use crate::progress::Progress;
use crate::{Error, keeper, place};

pub(crate) const SAMPLE_PACKAGE: &str = "sluice-sample";

/// Builds every function; returns the executables by their names.
pub(crate) fn build(
    logs: &Path,
    with_tests: bool,
    progress: &mut Progress<'_>,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let log = logs.join("build.log");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(place::project()).args(["build", "--locked", "--message-format=json-render-diagnostics"]);
    if with_tests {
        // One test is enough to have the development dependencies of all packages counted in.
        cargo.args(["--workspace", "--bins", "--test", "contracts"]);
    } else {
        for package in function_packages()? {
            cargo.args(["--package", &package]);
        }
        cargo.args(["--package", SAMPLE_PACKAGE]);
    }
    forget_this_crate(&mut cargo);
    with_progress(&mut cargo).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let build = Build::default();
    let (status, output) =
        keeper::run(&mut cargo, &build, &mut || progress.now(&build.now())).map_err(Error::io("running cargo"))?;
    place::written(&log, &build.text())?;
    if !status.success() {
        return Err(Error::Build(build.text()));
    }
    let messages = String::from_utf8_lossy(&output);
    Ok(messages.lines().filter_map(executable).collect())
}

/// The packages under `functions/`, each named like its folder.
pub(crate) fn function_packages() -> Result<Vec<String>, Error> {
    let folder = place::project().join("functions");
    let entries = fs::read_dir(&folder).map_err(Error::io(format_args!("reading {}", folder.display())))?;
    let mut packages: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    packages.sort();
    Ok(packages)
}

fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["target"]["kind"][0] != "bin" || message["profile"]["test"] == true {
        return None;
    }
    let path = message["executable"].as_str()?;
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}
