//! Builds the function binaries, the real ones and the sample's, with the cargo that runs this.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Error, keeper, place};

pub(crate) const SAMPLE_PACKAGE: &str = "sluice-sample";

/// Builds every function; returns the executables by their names.
pub(crate) fn build(logs: &Path, arguments: &[String]) -> Result<BTreeMap<String, PathBuf>, Error> {
    let log = logs.join("build.log");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(place::project()).args(["build", "--message-format=json-render-diagnostics"]);
    for package in function_packages()? {
        cargo.args(["--package", &package]);
    }
    cargo.args(["--package", SAMPLE_PACKAGE]).args(arguments);
    // What the outer cargo says about *this* crate would make build scripts run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_BIN_") {
            cargo.env_remove(&name);
        }
    }
    cargo.stdin(Stdio::null()).stdout(Stdio::piped());
    if stderr().is_terminal() {
        cargo.stderr(Stdio::inherit());
    } else {
        let file = OpenOptions::new().create(true).append(true).open(&log);
        cargo.stderr(file.map_err(Error::io(format_args!("opening {}", log.display())))?);
    }
    let (status, output) = keeper::run(&mut cargo).map_err(Error::io("running cargo"))?;
    if !status.success() {
        let reason = if stderr().is_terminal() { "see above".to_owned() } else { last_lines(&log, 30) };
        return Err(Error::Build(reason));
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

fn last_lines(log: &Path, count: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
