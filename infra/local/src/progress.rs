use std::time::{Duration, Instant};

/// What happens while a stack starts, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// One of [`PHASES`] begins.
    PhaseStarted {
        name: &'a str,
    },
    /// How far the phase is.
    Now {
        text: &'a str,
    },
    PhaseEnded {
        name: &'a str,
        took: Duration,
    },
    Note {
        text: &'a str,
    },
}

/// All phases, in their order.
pub const PHASES: [&str; 6] =
    ["Python environment", "Build", "Start ministack", "Package and deploy", "Local settings", "Seed"];

/// Tells an observer about phases and notes.
pub(crate) struct Progress<'a> {
    observer: &'a mut dyn FnMut(Event<'_>),
}

impl<'a> Progress<'a> {
    pub(crate) fn new(observer: &'a mut dyn FnMut(Event<'_>)) -> Self {
        Self { observer }
    }

    pub(crate) fn phase<T, E>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Progress<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        (self.observer)(Event::PhaseStarted { name });
        let start = Instant::now();
        let done = work(self)?;
        (self.observer)(Event::PhaseEnded { name, took: start.elapsed() });
        Ok(done)
    }

    pub(crate) fn now(&mut self, text: &str) {
        (self.observer)(Event::Now { text });
    }

    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        (self.observer)(Event::Note { text: text.as_ref() });
    }
}
