//! Faults: what a port call may suffer.

use sluice_core::ports::StoreErrorClass;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and has no effect.
    Before(StoreErrorClass),
    /// The call has its effect, but its answer is lost.
    After(StoreErrorClass),
    /// The call has no effect, and is never answered.
    SilentBefore,
    /// The call has its effect, and is never answered.
    SilentAfter,
}

type Source = Box<dyn FnMut(&'static str) -> Option<Fault> + Send>;

/// Where calls ask for their fault. Clones share one source.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<Source>>);

impl Default for Faults {
    fn default() -> Self {
        Self::from_fn(|_| None)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Faults")
    }
}

impl Faults {
    pub fn from_fn(source: impl FnMut(&'static str) -> Option<Fault> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(source))))
    }

    /// Replaces the source for every clone.
    pub fn set(&self, source: impl FnMut(&'static str) -> Option<Fault> + Send + 'static) {
        *lock(&self.0) = Box::new(source);
    }

    /// From now on the next call of `operation` has `fault`, and nothing else has any.
    pub fn once(&self, operation: &'static str, fault: Fault) {
        let mut fault = Some(fault);
        self.set(move |called| if called == operation { fault.take() } else { None });
    }

    pub fn clear(&self) {
        self.set(|_| None);
    }

    pub fn next(&self, operation: &'static str) -> Option<Fault> {
        lock(&self.0)(operation)
    }
}

/// Locks, also after a panic in another test's thread.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
