//! What every call of the store returns: a value, a page of values, or an error with its class.

/// A store call that did not do what was asked. Callers may rely on its class and on nothing else of it.
#[derive(Debug, thiserror::Error)]
#[error("the store failed to {operation} ({class:?})")]
pub struct StoreError {
    /// What was tried, as a verb with its object, such as "record the run".
    pub operation: &'static str,
    pub class: StoreErrorClass,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorClass {
    /// Other writers were in the way for longer than the adapter retried. Nothing was written.
    Conflict,
    /// The store refused the call because calls came too fast. Nothing was written.
    Throttled,
    /// The store did not answer, or failed on its side. A write may or may not have happened.
    Unavailable,
    /// The store holds an item that no released version of Sluice wrote.
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

/// One page of a list. `next` continues after the page and is absent on the last one. It is the store's own text; the
/// edge makes it opaque and binds it to the filter of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The page with something else made of each of its items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}
