//! How every store call ends: with a value, a page of values, or an error of a class.

/// A store call that did not do what was asked. Opaque but for its class.
#[derive(Debug, thiserror::Error)]
#[error("the store failed to {operation} ({class:?})")]
pub struct StoreError {
    /// What was tried, as a verb with its object: "record the run".
    pub operation: &'static str,
    pub class: StoreErrorClass,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorClass {
    /// Contention that outlasted the adapter's own retries. Nothing was written.
    Conflict,
    /// Too fast. Nothing was written.
    Throttled,
    /// No answer, or a fault on their side. A write may or may not have happened.
    Unavailable,
    /// An item that no released version wrote.
    Corrupt,
}

impl StoreError {
    pub fn new(
        operation: &'static str,
        class: StoreErrorClass,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, class, source: Some(source.into()) }
    }

    pub fn is_conflict(&self) -> bool {
        self.class == StoreErrorClass::Conflict
    }
}

pub type StoreResult<T> = Result<T, StoreError>;

/// One page. `next` continues after it; it is the store's own text, made opaque and bound to its filter by the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}
