//! JSON Schema's engine, behind one door.
//!
//! A crate of its own, for what a generic one becomes is built as whoever uses it is: here for size. It was a third of the code of the
//! functions that check schemas, and is asked only where a schema is more than plain (`sluice_core::schema`).
//! `tests/benchmark/README.md` has what that saves, and what it costs.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use std::fmt::Debug;
use std::ops::ControlFlow;

/// A schema that is ready for values. Patterns run on a linear-time engine, and nothing is fetched.
#[derive(Debug)]
pub struct Engine(Box<dyn Check>);

/// Whoever drops what is behind this knows nothing of it.
trait Check: Debug + Send + Sync {
    fn is_valid(&self, value: &Value) -> bool;
    fn violations(&self, value: &Value, tell: &mut Tell<'_>);
}

/// Takes a violation: its place, a JSON pointer (RFC 6901), and what is wrong there, without the value. Says whether to go on.
pub type Tell<'a> = dyn FnMut(&str, String) -> ControlFlow<()> + 'a;

impl Engine {
    /// Makes a schema ready. A pattern and its cache take at most `pattern_bytes` each.
    ///
    /// # Errors
    /// Why it is none.
    #[inline(never)]
    pub fn new(schema: &Value, pattern_bytes: usize) -> Result<Self, String> {
        let patterns = PatternOptions::regex().size_limit(pattern_bytes).dfa_size_limit(pattern_bytes);
        let built = jsonschema::options().with_pattern_options(patterns).build(schema);
        built.map(|validator| Self(Box::new(validator))).map_err(|error| error.to_string())
    }

    pub fn is_valid(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }

    /// Tells every violation, until it is told to stop.
    pub fn violations(&self, value: &Value, tell: &mut Tell<'_>) {
        self.0.violations(value, tell);
    }
}

impl Check for Validator {
    fn is_valid(&self, value: &Value) -> bool {
        Self::is_valid(self, value)
    }

    fn violations(&self, value: &Value, tell: &mut Tell<'_>) {
        for error in self.iter_errors(value) {
            let message = error.masked_with("the value").to_string();
            if tell(error.instance_path().as_str(), message).is_break() {
                return;
            }
        }
    }
}
