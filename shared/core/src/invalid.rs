//! What is wrong with a request: every violation at once, each with the JSON pointer of its field.

use crate::limits;
use std::fmt;

/// One violation. `pointer` is an RFC 6901 JSON pointer into the request body (`""` is the whole body), or
/// `header:Name`, `query:name`, `path:name` for what is not in the body. `code` is stable, `message` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub pointer: String,
    pub code: &'static str,
    pub message: String,
}

/// A request that is refused as it stands: at least one violation.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    pub violations: Vec<Violation>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for violation in &self.violations {
            write!(formatter, "{separator}{}: {}", violation.pointer, violation.message)?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Invalid {
    pub fn one(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let mut invalid = Self::default();
        invalid.add(pointer, code, message);
        invalid
    }

    /// Notes a violation, up to [`limits::VIOLATIONS`]. What it says is shortened to [`limits::VIOLATION_CHARS`], its
    /// pointer too: a key may be as long as the request.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, message: impl Into<String>) {
        if self.violations.len() < limits::VIOLATIONS {
            self.violations.push(Violation {
                pointer: shortened(pointer.into()),
                code,
                message: shortened(message.into()),
            });
        }
    }

    pub fn extend(&mut self, other: Invalid) {
        self.violations.extend(other.violations);
        self.violations.truncate(limits::VIOLATIONS);
    }

    /// `Ok` when nothing was added.
    ///
    /// # Errors
    /// Itself, when there is a violation.
    pub fn into_result(self) -> Result<(), Self> {
        if self.violations.is_empty() { Ok(()) } else { Err(self) }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(limits::VIOLATION_CHARS) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// Escapes one reference token of a JSON pointer (RFC 6901, section 3).
pub fn pointer_token(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_small_whatever_was_sent() {
        let mut invalid = Invalid::default();
        for _ in 0..1_000 {
            invalid.add("é".repeat(100_000), "invalid", "x".repeat(100_000));
        }
        invalid.extend(invalid.clone());
        assert_eq!(invalid.violations.len(), limits::VIOLATIONS);
        let longest = |text: &str| text.chars().count() <= limits::VIOLATION_CHARS + 1;
        assert!(invalid.violations.iter().all(|one| longest(&one.pointer) && longest(&one.message)));
    }
}
