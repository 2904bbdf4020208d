//! Everything that `cargo dev` prints goes through here.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sluice_local::PHASES;
use sluice_starter::PULSE;

/// One line. That nobody reads any more (a closed pipe) is not this program's problem.
pub fn line(text: impl Display) {
    drop(writeln!(stdout().lock(), "{text}"));
}

pub fn complaint(text: impl Display) {
    drop(writeln!(stderr().lock(), "{text}"));
}

/// Shows the phases: each one's name when it starts, how far it is and what is left at least every two seconds, and how long
/// it took. On a terminal that is one line that changes, elsewhere one after another.
pub struct Phases {
    shared: Arc<Shared>,
    pulse: Option<JoinHandle<()>>,
}

struct Shared {
    live: bool,
    /// Where all of it goes.
    write: Box<dyn Fn(&str) + Send + Sync>,
    going: Mutex<Going>,
    changed: Condvar,
}

#[derive(Default)]
struct Going {
    phase: Option<Phase>,
    over: bool,
}

struct Phase {
    name: String,
    since: Instant,
    now: String,
}

impl Phases {
    pub fn new() -> Self {
        Self::shown(stdout().is_terminal(), |text| {
            let mut out = stdout().lock();
            drop(write!(out, "{text}"));
            drop(out.flush());
        })
    }

    fn shown(live: bool, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let write = Box::new(write);
        let shared = Arc::new(Shared { live, write, going: Mutex::default(), changed: Condvar::new() });
        let shown = Arc::clone(&shared);
        Self { shared, pulse: Some(thread::spawn(move || shown.pulse())) }
    }

    pub fn started(&mut self, name: &str) {
        let phase = Phase { name: name.to_owned(), since: Instant::now(), now: String::new() };
        self.shared.show(&phase);
        self.shared.locked().phase = Some(phase);
    }

    pub fn now(&mut self, text: &str) {
        if let Some(phase) = &mut self.shared.locked().phase {
            text.clone_into(&mut phase.now);
        }
    }

    pub fn note(&mut self, text: &str) {
        let _going = self.shared.locked();
        self.shared.line(format_args!("      {text}"));
    }

    pub fn ended(&mut self, name: &str, took: Duration) {
        let mut going = self.shared.locked();
        going.phase = None;
        self.shared.line(format_args!("  {name:<24}{:>8}", seconds(took)));
    }

    /// Shows nothing more: something else follows.
    pub fn broken_off(&mut self) {
        let open = {
            let mut going = self.shared.locked();
            going.over = true;
            going.phase.take().is_some()
        };
        self.shared.changed.notify_all();
        if let Some(pulse) = self.pulse.take() {
            drop(pulse.join());
        }
        if open && self.shared.live {
            (self.shared.write)("\n");
        }
    }
}

impl Shared {
    fn pulse(&self) {
        let mut going = self.locked();
        let mut shown = Instant::now();
        while !going.over {
            going = self.changed.wait_timeout(going, PULSE).unwrap_or_else(PoisonError::into_inner).0;
            if let Some(phase) = &going.phase
                && shown.elapsed() >= PULSE
            {
                self.show(phase);
                shown = Instant::now();
            }
        }
    }

    fn show(&self, phase: &Phase) {
        let text = phase.line();
        if self.live {
            // A line that wraps could not be wiped out.
            let text: String = text.chars().take(79).collect();
            (self.write)(&format!("{}{text}", self.start_of_line()));
        } else {
            self.line(text);
        }
    }

    fn line(&self, text: impl Display) {
        (self.write)(&format!("{}{text}\n", self.start_of_line()));
    }

    /// On a terminal: what stood in the line is wiped out.
    fn start_of_line(&self) -> &'static str {
        if self.live { "\r\u{1b}[K" } else { "" }
    }

    fn locked(&self) -> MutexGuard<'_, Going> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Phase {
    /// "  Build (2 of 6), 12 s: 40 of 104 crates: tokio; then Start ministack, ..."
    fn line(&self) -> String {
        let place = PHASES.iter().position(|name| *name == self.name);
        let (number, left) = place.map_or((0, &[][..]), |place| (place + 1, &PHASES[place + 1..]));
        let now: String = if self.now.is_empty() { String::new() } else { format!(": {}", self.now) };
        let now: String = now.chars().take(70).collect();
        let then = if left.is_empty() { "the sample".to_owned() } else { left.join(", ") };
        let all = PHASES.len();
        format!("  {} ({number} of {all}), {} s{now}; then {then}", self.name, self.since.elapsed().as_secs())
    }
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn without_a_terminal_too_a_line_comes_at_least_every_two_seconds() {
        let (written, lines) = mpsc::channel();
        let written = Mutex::new(written);
        let mut phases =
            Phases::shown(false, move |text| drop(written.lock().map(|lines| lines.send(text.to_owned()))));
        phases.started("Build");
        let patience = PULSE + Duration::from_secs(1);
        let next = || lines.recv_timeout(patience).expect("a line in time");
        assert_eq!(next(), "  Build (2 of 6), 0 s; then Start ministack, Package and deploy, Local settings, Seed\n");
        for now in ["40 of 104 crates", "40 of 104 crates", "41 of 104 crates"] {
            phases.now(now);
            let line = next();
            assert!(line.contains(now), "{line}");
        }
        phases.ended("Build", Duration::from_secs(7));
        assert_eq!(next(), format!("  {:<24}   7.0 s\n", "Build"));
        phases.broken_off();
        drop(phases);
        assert!(lines.recv().is_err(), "nothing more");
    }

    #[test]
    fn a_phase_says_how_far_it_is_and_what_is_left() {
        let phase =
            |name: &str, now: &str| Phase { name: name.to_owned(), since: Instant::now(), now: now.to_owned() }.line();
        assert_eq!(
            phase("Build", "40 of 104 crates: tokio"),
            "  Build (2 of 6), 0 s: 40 of 104 crates: tokio; then Start ministack, Package and deploy, Local settings, Seed"
        );
        assert_eq!(phase("Seed", ""), "  Seed (6 of 6), 0 s; then the sample");
    }
}
