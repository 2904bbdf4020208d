//! The stand-in as a process: it says where it is, and ends with whoever started it, or when it is told to.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A process that serves, and what it has said.
fn started(name: &str) -> (Child, Value, PathBuf) {
    let authority = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bedrock-{name}.pem"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-bedrock"))
        .args(["--plain-port", "0", "--authority"])
        .arg(&authority)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the stand-in");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    (child, serde_json::from_str(&line).expect("JSON"), authority)
}

#[test]
fn it_says_where_it_is_and_ends_with_its_input() {
    let (mut child, place, authority) = started("input");
    assert!(place["doorUrl"].as_str().is_some_and(|url| url.starts_with("https://localhost:")));
    for name in ["plainUrl", "controlUrl"] {
        let address = place[name].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
        std::net::TcpStream::connect(address).expect("it listens");
    }
    assert!(std::fs::read_to_string(authority).expect("a file").starts_with("-----BEGIN CERTIFICATE-----"));
    drop(child.stdin.take());
    assert!(child.wait().expect("an end").success());
}

#[test]
fn it_ends_when_it_is_told_to() {
    let (mut child, _, _) = started("signal");
    let told = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(told.success());
    // Its input is still open.
    assert!(child.wait().expect("an end").success());
}

#[test]
fn what_it_cannot_start_with_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-bedrock"))
        .args(["--keys", "/nonexistent/keys.json"])
        .stdin(Stdio::null())
        .output()
        .expect("the stand-in");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/keys.json"));
}
