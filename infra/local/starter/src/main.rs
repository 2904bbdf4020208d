//! `cargo dev` runs this first. It depends on nothing, so it is there within a second, also on a clean clone; it shows how the
//! local stack's own program is built (a first build takes minutes), and then becomes that program.

use std::env;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use sluice_starter::{Build, PULSE, forget_this_crate, with_progress};

const PACKAGE: [&str; 3] = ["--locked", "--package", "sluice-local"];

fn main() -> ExitCode {
    line("cargo dev: building the local stack's own program; then it starts the stack");
    let arguments = env::args_os().skip(1);
    match build() {
        Ok(true) => {}
        Ok(false) => return ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(stderr(), "cargo dev: running cargo failed: {error}"));
            return ExitCode::FAILURE;
        }
    }
    let mut program = cargo();
    program.args(["run", "--quiet"]).args(PACKAGE).arg("--").args(arguments);
    become_it(program)
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_this_crate(&mut cargo);
    cargo
}

/// Whether it was built. On a terminal cargo shows its own progress, elsewhere it is told here.
fn build() -> std::io::Result<bool> {
    let mut cargo = cargo();
    cargo.arg("build");
    if stderr().is_terminal() {
        return Ok(cargo.args(PACKAGE).status()?.success());
    }
    let mut child = with_progress(&mut cargo).args(PACKAGE).stderr(Stdio::piped()).spawn()?;
    let build = Build::default();
    let (ended, over) = mpsc::channel::<()>();
    let reader = child.stderr.take().map(|errors| {
        let build = build.clone();
        thread::spawn(move || {
            build.follow(errors);
            drop(ended);
        })
    });
    let start = Instant::now();
    while over.recv_timeout(PULSE) == Err(mpsc::RecvTimeoutError::Timeout) {
        line(&format!("  building the local stack's program, {} s: {}", start.elapsed().as_secs(), build.now()));
    }
    let status = child.wait()?;
    if let Some(reader) = reader {
        drop(reader.join());
    }
    if !status.success() {
        drop(writeln!(stderr(), "{}", build.text()));
    }
    Ok(status.success())
}

fn line(text: &str) {
    drop(writeln!(stdout().lock(), "{text}"));
}

/// The same process from here on, so that a Ctrl-C or a signal finds it.
#[cfg(unix)]
fn become_it(mut program: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    drop(writeln!(stderr(), "cargo dev: running cargo failed: {error}"));
    ExitCode::FAILURE
}

#[cfg(not(unix))]
fn become_it(mut program: Command) -> ExitCode {
    let status = program.status().ok().and_then(|status| status.code());
    ExitCode::from(status.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
