//! Everything that `cargo dev` prints goes through here.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

/// One line. That nobody reads any more (a closed pipe) is not this program's problem.
pub fn line(text: impl Display) {
    drop(writeln!(stdout().lock(), "{text}"));
}

pub fn complaint(text: impl Display) {
    drop(writeln!(stderr().lock(), "{text}"));
}

/// Writes a phase's name when it starts and the same line with its duration when it ends.
pub struct Phases {
    live: bool,
    open: bool,
}

impl Phases {
    pub fn new() -> Self {
        Self { live: stdout().is_terminal(), open: false }
    }

    pub fn started(&mut self, name: &str) {
        if self.live {
            let mut out = stdout().lock();
            drop(write!(out, "  {name} ..."));
            drop(out.flush());
            self.open = true;
        }
    }

    pub fn note(&mut self, text: &str) {
        if std::mem::take(&mut self.open) {
            line("");
        }
        line(format_args!("      {text}"));
    }

    pub fn ended(&mut self, name: &str, took: Duration) {
        let back = if std::mem::take(&mut self.open) { "\r" } else { "" };
        line(format_args!("{back}  {name:<24}{:>8}", seconds(took)));
    }

    /// Leaves a started line as it is: something else follows.
    pub fn broken_off(&mut self) {
        if std::mem::take(&mut self.open) {
            line("");
        }
    }
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
