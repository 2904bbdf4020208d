//! What is wrong with a request, as the native API says it: every fault at once, each with its pointer.
//!
//! Two kinds of fault meet here. What cannot even be read is found at this edge, where it is read. What breaks a rule is
//! found by the core, which says where by meaning; [`crate::wire::refusal`] renders that.

use sluice_core::limits;
use sluice_core::violation::{ViolationCode, shortened};
use std::fmt::{self, Display};

sluice_core::codes! {
    /// Why a request cannot be read.
    pub enum ReadingCode {
        // The body as JSON.
        MissingBody = "missing_body": "the request has no body",
        InvalidJson = "invalid_json": "the body is not JSON",
        InvalidUtf8 = "invalid_utf8": "the body is not UTF-8",
        DuplicateKey = "duplicate_key": "an object has the same key twice",
        ReservedKey = "reserved_key": "the key is reserved",
        TooDeep = "too_deep": "the body is nested too deeply",
        // Fields, parameters and headers.
        UnknownField = "unknown_field": "there is no such field, or query parameter",
        ExactlyOne = "exactly_one": "exactly one of several fields must be given",
        NeedsOtherField = "needs_other_field": "a field makes sense only with another one",
        InvalidCursor = "invalid_cursor": "the cursor is not of this list",
        KeyMismatch = "key_mismatch": "header and body give different idempotency keys",
    }
}

/// What is wrong: it cannot be read, or it breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultCode {
    Reading(ReadingCode),
    Rule(ViolationCode),
}

impl FaultCode {
    /// All of them, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        let reading = ReadingCode::ALL.iter().copied().map(Self::Reading);
        reading.chain(ViolationCode::ALL.iter().copied().map(Self::Rule))
    }

    /// What a program goes by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reading(code) => code.as_str(),
            Self::Rule(code) => code.as_str(),
        }
    }

    /// What it says, for the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Reading(code) => code.meaning(),
            Self::Rule(code) => code.meaning(),
        }
    }
}

impl From<ReadingCode> for FaultCode {
    fn from(code: ReadingCode) -> Self {
        Self::Reading(code)
    }
}

impl From<ViolationCode> for FaultCode {
    fn from(code: ViolationCode) -> Self {
        Self::Rule(code)
    }
}

/// One fault. `pointer` is a JSON pointer (RFC 6901) into the request's body (`""` is the whole body), or `header:Name`,
/// `query:name`, `path:name` for what is not in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub pointer: String,
    pub code: FaultCode,
    pub message: String,
}

/// Everything that is wrong with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for fault in &self.0 {
            write!(formatter, "{separator}{}: {}", fault.pointer, fault.message)?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Faults {
    pub fn one(pointer: impl Display, code: impl Into<FaultCode>, message: impl Display) -> Self {
        let mut faults = Self::default();
        faults.add(pointer, code, message);
        faults
    }

    /// Notes a fault, up to [`limits::VIOLATIONS`]. Beyond that, neither its pointer nor its message is written. What it says
    /// is shortened to [`limits::VIOLATION_CHARS`], its pointer too: a key may be as long as the request.
    pub fn add(&mut self, pointer: impl Display, code: impl Into<FaultCode>, message: impl Display) {
        if !self.is_full() {
            let (pointer, message) = (shortened(pointer.to_string()), shortened(message.to_string()));
            self.0.push(Fault { pointer, code: code.into(), message });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether as much is noted as will be said. Whoever looks on finds nothing that is told to anybody.
    pub fn is_full(&self) -> bool {
        self.0.len() >= limits::VIOLATIONS
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.truncate(limits::VIOLATIONS);
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }

    /// `Ok` when nothing was added.
    ///
    /// # Errors
    /// Itself, when there is a fault.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One reference token of a JSON pointer, escaped as RFC 6901 has it in section 3.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a>(pub &'a str);

impl Display for Token<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['~', '/']) {
            formatter.write_str(&rest[..at])?;
            formatter.write_str(if rest.as_bytes()[at] == b'~' { "~0" } else { "~1" })?;
            rest = &rest[at + 1..];
        }
        formatter.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_meaning() {
        let texts: BTreeSet<&str> = FaultCode::all().map(FaultCode::as_str).collect();
        let meanings: BTreeSet<&str> = FaultCode::all().map(FaultCode::meaning).collect();
        assert_eq!((texts.len(), meanings.len()), (FaultCode::all().count(), FaultCode::all().count()));
    }

    #[test]
    fn a_refusal_is_small_whatever_was_sent() {
        let mut faults = Faults::default();
        for _ in 0..1_000 {
            faults.add("é".repeat(10_000), ReadingCode::DuplicateKey, "x".repeat(10_000));
        }
        faults.extend(faults.clone());
        assert_eq!(faults.iter().len(), limits::VIOLATIONS);
        let is_short = |text: &str| text.chars().count() <= limits::VIOLATION_CHARS + 1;
        assert!(faults.iter().all(|one| is_short(&one.pointer) && is_short(&one.message)));
    }

    #[test]
    fn a_token_is_escaped() {
        for (text, token) in [("", ""), ("a", "a"), ("a~/b", "a~0~1b"), ("~1", "~01"), ("é/", "é~1")] {
            assert_eq!(Token(text).to_string(), token);
        }
    }
}
