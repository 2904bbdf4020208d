//! What the project takes from others: crates by `.deny.toml` (licences, bans, sources, advisories), Python packages by hash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_local::{place, poll, program};

/// The advisory database is fetched by git, which may wait for a network that is not there.
const FETCH_PATIENCE: Duration = Duration::from_secs(90);

/// What Cargo knows of all crates, for every platform; without a network for this one, where nothing else was ever fetched.
fn metadata() -> (Value, bool) {
    let asked = |arguments: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(place::project()).args(["metadata", "--locked", "--format-version", "1"]).args(arguments);
        let output = command.output().expect("cargo");
        serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    if let Ok(all) = asked(&[]) {
        return (all, true);
    }
    let here = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let here = if cfg!(target_os = "macos") { here.replace("unknown-linux-gnu", "apple-darwin") } else { here };
    let some = asked(&["--offline", "--filter-platform", &here]).unwrap_or_else(|error| panic!("{error}"));
    say("the registry is out of reach: crates of other platforms than this one were not looked at");
    (some, false)
}

/// To whoever runs the tests, also when they pass.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "supply chain: {text}"));
}

fn folder() -> PathBuf {
    let folder = place::target().join("e2e/supply-chain");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Has cargo-deny check these crates.
fn deny(name: &str, metadata: &Value, arguments: &[&str], offline: bool) -> Command {
    let path = folder().join(format!("{name}.json"));
    fs::write(&path, metadata.to_string()).expect("the metadata");
    let mut command = Command::new(program("cargo-deny").expect("the Python environment"));
    command.current_dir(place::project()).args(["--color", "never", "--locked", "--config", ".deny.toml"]);
    command.arg("--metadata-path").arg(path);
    if offline {
        command.arg("--offline");
    }
    command.args(["check", "--hide-inclusion-graph"]).args(arguments);
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_crate_has_an_allowed_licence_and_source_and_none_is_banned() {
    let (metadata, whole) = metadata();
    let unused: &[&str] = if whole { &[] } else { &["--allow", "license-not-encountered"] };
    let arguments = [unused, &["licenses", "bans", "sources"]].concat();
    let output = deny("all", &metadata, &arguments, true).output().expect("cargo-deny");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn no_crate_has_a_known_vulnerability() {
    let (metadata, _) = metadata();
    let log = folder().join("advisories.log");
    let file = fs::File::create(&log).expect("a log");
    let mut fetching = deny("advisories", &metadata, &["advisories"], false)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("cargo-deny");
    let ended = poll("cargo-deny to end", FETCH_PATIENCE, Duration::from_millis(50), || {
        Ok(fetching.try_wait().expect("its status"))
    });
    let timed_out = ended.is_err();
    if timed_out {
        fetching.kill().expect("it ends");
        fetching.wait().expect("it has ended");
    }
    if ended.is_ok_and(|status| status.success()) {
        return;
    }
    let first = fs::read_to_string(&log).expect("the log");
    assert!(!first.contains("error["), "{first}");
    // Another day's database is better than none.
    let kept = deny("advisories", &metadata, &["advisories"], true).output().expect("cargo-deny");
    let second = said(&kept);
    if kept.status.success() {
        return say("the advisory database could not be fetched: advisories are those of the last time it was");
    }
    let unreachable = timed_out || first.contains("failed to fetch advisory database");
    assert!(unreachable && !second.contains("error["), "{first}{second}");
    say("the advisory database could not be had: advisories were NOT looked for");
}

/// The crates as they are, but for one that is another.
fn with(metadata: &Value, change: impl Fn(&mut Value)) -> Value {
    let mut metadata = metadata.clone();
    let packages = metadata["packages"].as_array_mut().expect("packages");
    let fastrand = packages.iter_mut().find(|package| package["name"] == "fastrand").expect("a crate that is in use");
    change(fastrand);
    metadata
}

#[test]
fn what_must_not_come_in_is_found() {
    let (metadata, _) = metadata();
    for (name, version) in [
        ("hyper", "0.14.32"),
        ("rustls", "0.21.12"),
        ("hyper-rustls", "0.24.2"),
        ("aws-lc-rs", "1.16.0"),
        ("aws-lc-sys", "0.37.0"),
        ("openssl-sys", "0.9.111"),
        ("native-tls", "0.2.14"),
    ] {
        let changed = with(&metadata, |package| {
            package["name"] = json!(name);
            package["version"] = json!(version);
        });
        let output = deny(&format!("banned-{name}"), &changed, &["bans"], true).output().expect("cargo-deny");
        assert!(!output.status.success() && said(&output).contains("error[banned]"), "{name}: {}", said(&output));
    }
    let licensed = |licence: &str| with(&metadata, |package| package["license"] = json!(licence));
    for licence in ["GPL-3.0-only", "AGPL-3.0-or-later", "SSPL-1.0"] {
        let output = deny(licence, &licensed(licence), &["licenses"], true).output().expect("cargo-deny");
        assert!(!output.status.success() && said(&output).contains("error[rejected]"), "{licence}: {}", said(&output));
    }
    for source in [
        "git+https://example.com/fastrand#0000000000000000000000000000000000000000",
        "registry+https://example.com/index",
    ] {
        let changed = with(&metadata, |package| package["source"] = json!(source));
        let output = deny("source", &changed, &["sources"], true).output().expect("cargo-deny");
        assert!(
            !output.status.success() && said(&output).contains("error[source-not-allowed]"),
            "{source}: {}",
            said(&output)
        );
    }
}

/// A function's crates, built as the page says: with no other program of the workspace, whose features would become its own.
#[test]
fn functions_bring_no_second_http_client_and_no_http_2() {
    let functions: Vec<String> = fs::read_dir(place::project().join("functions"))
        .expect("functions/")
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let page = |path: &str| sluice_tests::text(path).replace("\\\n", " ");
    let pages = [page("infra/README.md"), page("infra/first-hour.md")];
    let commands: Vec<&str> =
        pages.iter().flat_map(|page| page.lines()).filter(|line| line.contains("lambda build")).collect();
    assert_eq!(commands.len(), pages.len());
    for command in commands {
        let mut built: Vec<&str> =
            command.split(" -p ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
        built.sort_unstable();
        let mut all: Vec<&str> = functions.iter().map(String::as_str).collect();
        all.sort_unstable();
        assert_eq!(built, all, "{command}");
    }
    let packages = functions.iter().flat_map(|function| ["-p", function]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(place::project())
        .args(["tree", "--locked", "--offline", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(packages)
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let crates: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // It would be told of: what is there for certain.
    assert!(crates.contains("hyper") && crates.contains("sluice-aws"), "{crates:?}");
    for unwanted in ["h2", "aws-smithy-http-client", "reqwest", "axum", "dynoxide-rs", "sluice-testkit"] {
        assert!(!crates.contains(unwanted), "{unwanted}");
    }
}

#[test]
fn every_python_package_is_pinned_to_its_wheels_by_their_hashes() {
    // The local stack's, and the clients' that the governor is tried with: all of them, and what they need.
    for (path, least) in [("infra/local/requirements.txt", 100), ("tests/journeys/clients/python/requirements.txt", 40)]
    {
        let path = Path::new(path);
        let text = sluice_tests::text(path).replace("\\\n", " ");
        let mut pinned: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, rest) = line.split_once("==").unwrap_or_else(|| panic!("{line} is no pin"));
            assert!(rest.contains("--hash=sha256:"), "{name} has no hash");
            pinned.entry(name.to_owned()).or_default().push(rest.split_whitespace().next().expect("a version"));
        }
        assert!(pinned.len() > least, "{}: {} packages", path.display(), pinned.len());
        let asked = sluice_tests::text(path.with_extension("in"));
        let asked: Vec<&str> = asked.lines().filter(|line| line.contains("==") && !line.starts_with('#')).collect();
        assert!(!asked.is_empty(), "{}", path.display());
        for line in asked {
            let (name, version) = line.split_once("==").expect("a pin");
            let name = name.split('[').next().expect("a name");
            assert_eq!(pinned.get(name), Some(&vec![version]), "{name} as it is asked for");
        }
    }
}

#[test]
fn every_package_of_the_client_for_node_is_pinned_by_its_hash_and_runs_nothing_when_it_is_fetched() {
    let read = |name: &str| -> Value {
        let text = sluice_tests::text(format!("tests/journeys/clients/node/{name}"));
        serde_json::from_str(&text).expect("JSON")
    };
    let (asked, locked) = (read("package.json"), read("package-lock.json"));
    let packages = locked["packages"].as_object().expect("packages");
    let of_others: Vec<(&String, &Value)> = packages.iter().filter(|(name, _)| !name.is_empty()).collect();
    assert!(of_others.len() > 10, "all of them, and what they need");
    for (name, package) in of_others {
        assert!(package["version"].is_string(), "{name} has no version");
        let hash = package["integrity"].as_str().unwrap_or_default();
        assert!(hash.starts_with("sha512-"), "{name} has no hash");
        assert!(package.get("hasInstallScript").is_none(), "{name} runs something");
        // From wherever whoever runs the tests fetches packages.
        assert!(package.get("resolved").is_none(), "{name} is of one host");
    }
    let asked = asked["dependencies"].as_object().expect("dependencies");
    assert!(!asked.is_empty());
    for (name, version) in asked {
        let pinned = &packages[&format!("node_modules/{name}")]["version"];
        assert_eq!(pinned, version, "{name} as it is asked for");
    }
}

#[test]
fn ci_and_the_local_stack_build_what_cargo_lock_says() {
    let ci = sluice_tests::text(".ci/run");
    let mut commands = ci.lines().filter(|line| line.contains("cargo ") && !line.starts_with('#'));
    // The test command is the README's own; that the lock is current was asked before it.
    let last = commands.next_back().expect("commands");
    assert_eq!(last, "cargo test");
    let first = ci.lines().position(|line| line == "cargo fetch --locked").expect("the lock is asked for");
    assert!(ci.lines().position(|line| line == "cargo test") > Some(first));
    for command in commands.filter(|command| !command.starts_with("cargo fmt")) {
        assert!(command.contains(" --locked"), "{command}");
    }
}
