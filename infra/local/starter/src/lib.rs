//! What a build by cargo has done and has left, also where cargo thinks that nobody watches: without a terminal it is silent
//! for as long as one crate takes, and never says how many there are. It is asked for its progress bar all the same, and the
//! bar is read.

use std::io::Read;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often something is shown, at least.
pub const PULSE: Duration = Duration::from_secs(2);

/// Takes from a command's environment what the cargo that runs this process says about *its* crate: build scripts would run
/// again for it.
pub fn forget_this_crate(cargo: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|start| text.starts_with(start)) {
            cargo.env_remove(&name);
        }
    }
}

/// Makes cargo draw its progress bar into a pipe, wide enough to have numbers.
pub fn with_progress(cargo: &mut Command) -> &mut Command {
    cargo.args(["--config", "term.progress.when='always'", "--config", "term.progress.width=120"])
}

/// What cargo has said so far.
#[derive(Clone, Default)]
pub struct Build {
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    now: String,
    lines: Vec<String>,
}

impl Build {
    /// Reads what cargo writes to its standard error, to its end.
    pub fn follow(&self, mut errors: impl Read) {
        let mut rest = Vec::new();
        let mut part = [0; 4096];
        while let Ok(count) = errors.read(&mut part)
            && count > 0
        {
            rest.extend_from_slice(&part[..count]);
            while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
                let line: Vec<u8> = rest.drain(..=end).collect();
                self.take(String::from_utf8_lossy(&line[..end]).trim_end());
            }
        }
        self.take(String::from_utf8_lossy(&rest).trim_end());
    }

    fn take(&self, line: &str) {
        let line = without_escapes(line);
        let mut said = self.locked();
        if let Some(now) = progress(&line) {
            said.now = now;
        } else if !line.trim().is_empty() {
            if said.now.is_empty() || !line.starts_with("   Compiling ") {
                said.now = line.trim().to_owned();
            }
            said.lines.push(line);
        }
    }

    /// What it does now: "12 of 104 crates: tokio, hyper".
    pub fn now(&self) -> String {
        self.locked().now.clone()
    }

    /// All it said but its progress.
    pub fn text(&self) -> String {
        self.locked().lines.join("\n")
    }

    fn locked(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `    Building [===>    ] 12/104: tokio, hyper`.
fn progress(line: &str) -> Option<String> {
    let (verb, bar) = line.trim_start().split_once(" [")?;
    let (_, numbers) = bar.split_once("] ")?;
    let (numbers, names) = numbers.split_once(": ").unwrap_or((numbers.trim_end_matches(':'), ""));
    let (done, all) = numbers.trim().split_once('/')?;
    let (done, all) = (done.parse::<u32>().ok()?, all.parse::<u32>().ok()?);
    let names = if names.is_empty() { String::new() } else { format!(": {names}") };
    let what = if verb == "Building" { "crates" } else { verb };
    Some(format!("{done} of {all} {what}{names}"))
}

/// Terminals' control sequences (`ESC [ … letter`) left out.
fn without_escapes(line: &str) -> String {
    let mut text = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.find(|letter| letter.is_ascii_alphabetic());
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_bar_is_read_and_its_words_are_kept() {
        let build = Build::default();
        let said = "   Compiling tokio v1.54.1\n\u{1b}[K    Building [==>      ] 12/104: tokio, hyper\r\
                    warning: unused\n    Building [=====>   ] 50/104: core(test)\r\u{1b}[Kerror: no\n";
        build.follow(said.as_bytes());
        assert_eq!(build.text(), "   Compiling tokio v1.54.1\nwarning: unused\nerror: no");
        let build = Build::default();
        build.follow(&said.as_bytes()[..said.find("warning").expect("it warns")]);
        assert_eq!(build.now(), "12 of 104 crates: tokio, hyper");
        build.follow("   Compiling hyper v1.12.0\n".as_bytes());
        assert_eq!(build.now(), "12 of 104 crates: tokio, hyper");
    }

    #[test]
    fn before_there_is_a_bar_its_last_line_is_what_it_does() {
        let build = Build::default();
        build.follow("    Blocking waiting for file lock on build directory\n".as_bytes());
        assert_eq!(build.now(), "Blocking waiting for file lock on build directory");
    }

    #[test]
    fn what_is_no_bar_is_none() {
        for line in ["", "error[E0425]: x", "note: [1/2] x", "Building [==] x/y: z"] {
            assert_eq!(progress(line), None, "{line}");
        }
        assert_eq!(progress("    Building [==>  ] 3/9").as_deref(), Some("3 of 9 crates"));
    }
}
