//! What is wrong with a request: every violation at once, each with its place.

use crate::limits;
use crate::place::{At, Place};
use std::fmt;

/// Declares a family of stable codes: an enum, every one of it in `ALL`, and of each its text and its meaning. Texts never
/// change their meaning; the meanings are what callers read in the documentation.
#[macro_export]
macro_rules! codes {
    ($(#[$doc:meta])* $visible:vis enum $name:ident { $($variant:ident = $text:literal: $meaning:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visible enum $name {
            $(#[doc = $meaning] $variant,)+
        }

        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// What a program goes by.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// What it says, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }
        }
    };
}

codes! {
    /// What is wrong with one part of a request. One mistake has one code, wherever it is made.
    pub enum ViolationCode {
        // Of any field.
        MissingField = "missing_field": "a field is missing",
        WrongType = "wrong_type": "a value has the wrong JSON type",
        Invalid = "invalid": "a value is not of the needed form",
        OutOfRange = "out_of_range": "a number is too small or too large, a text too short or too long, a list too short",
        TooLarge = "too_large": "a value takes too many bytes",
        TooMany = "too_many": "there are too many entries",
        Repeated = "repeated": "something is given twice",
        Reserved = "reserved": "a value has a meaning of its own, and may not be given",
        // What a run needs.
        NotFound = "not_found": "what a field names does not exist",
        NoSuchVersion = "no_such_version": "the definition has no such version",
        VersionDeprecated = "version_deprecated": "the version makes no new runs",
        NotAvailable = "not_available": "what is asked for was not kept",
        UnknownNode = "unknown_node": "the version has no such node",
        UnknownParameter = "unknown_parameter": "the node has no such parameter",
        MissingParameter = "missing_parameter": "a required parameter has no value",
        UnresolvedVariable = "unresolved_variable": "a placeholder has no value",
        SchemaViolation = "schema_violation": "the input breaks the version's JSON Schema",
        RegistryValue = "registry_value": "the compute node sets this value",
        LayerNotReady = "layer_not_ready": "the layer is not READY",
        SecretNotAllowed = "secret_not_allowed": "parameters may not refer to this secret",
        CallbackUrlNotAllowed = "callback_url_not_allowed": "callbacks may not go to this URL",
        // What a version needs.
        NoNodes = "no_nodes": "a version has at least one node",
        TooManyNodes = "too_many_nodes": "a version has too many nodes",
        DuplicateNode = "duplicate_node": "two nodes have the same id",
        MissingProcessor = "missing_processor": "the node names no processor",
        UnexpectedProcessor = "unexpected_processor": "the node takes no processor",
        UnknownProcessor = "unknown_processor": "there is no such processor",
        UnexpectedTag = "unexpected_tag": "the node takes no tag",
        InvalidTag = "invalid_tag": "the node's processor knows no such tag",
        UnexpectedSchema = "unexpected_schema": "the node takes no schema",
        InvalidSchema = "invalid_schema": "not a usable JSON Schema",
        DanglingEdge = "dangling_edge": "an edge names no node of the version",
        DuplicateEdge = "duplicate_edge": "an edge stands twice",
        EdgeIntoSource = "edge_into_source": "an edge leads to a data source",
        UnreachableNode = "unreachable_node": "no edge leads to the data target",
        Cycle = "cycle": "the edges form a circle",
        HistoryTooLong = "history_too_long": "a run could outgrow its execution history",
        // What the operator declares.
        InvalidArn = "invalid_arn": "not an ARN of the needed kind",
    }
}

/// One violation: where, what, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub place: Place,
    pub code: ViolationCode,
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
            write!(formatter, "{separator}{}: {}", violation.place, violation.message)?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Invalid {
    pub fn one<'a>(at: impl Into<At<'a>>, code: ViolationCode, message: impl fmt::Display) -> Self {
        let mut invalid = Self::default();
        invalid.add(at, code, message);
        invalid
    }

    /// Notes a violation, up to [`limits::VIOLATIONS`]. Beyond that, neither its place nor its message is made. What it says
    /// is shortened to [`limits::VIOLATION_CHARS`].
    pub fn add<'a>(&mut self, at: impl Into<At<'a>>, code: ViolationCode, message: impl fmt::Display) {
        if !self.is_full() {
            let message = shortened(message.to_string());
            self.violations.push(Violation { place: at.into().place(), code, message });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether as much is noted as will be said. Whoever looks on finds nothing that is told to anybody.
    pub fn is_full(&self) -> bool {
        self.violations.len() >= limits::VIOLATIONS
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

/// A text cut to [`limits::VIOLATION_CHARS`], with a mark where something was cut off.
pub fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(limits::VIOLATION_CHARS) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Field;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    #[test]
    fn a_refusal_is_small_whatever_was_sent() {
        let mut invalid = Invalid::default();
        for _ in 0..1_000 {
            invalid.add(Field::Labels.at().key(&"é".repeat(100_000)), ViolationCode::Invalid, "x".repeat(100_000));
        }
        invalid.extend(invalid.clone());
        assert_eq!(invalid.violations.len(), limits::VIOLATIONS);
        let is_short = |text: &str| text.chars().count() <= limits::VIOLATION_CHARS + 20;
        assert!(invalid.violations.iter().all(|one| is_short(&one.place.to_string()) && is_short(&one.message)));
    }

    #[test]
    fn what_is_not_kept_is_not_made() {
        struct Counted<'a>(&'a Cell<usize>);
        impl fmt::Display for Counted<'_> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.set(self.0.get() + 1);
                formatter.write_str("must be something else")
            }
        }
        let made = Cell::new(0);
        let mut invalid = Invalid::default();
        for index in 0..limits::VIOLATIONS * 10 {
            assert_eq!(invalid.is_full(), index >= limits::VIOLATIONS);
            invalid.add(Field::Layers.at().index(index), ViolationCode::NotFound, Counted(&made));
        }
        assert_eq!(made.get(), limits::VIOLATIONS);
    }

    #[test]
    fn every_code_has_one_meaning() {
        let texts: BTreeSet<&str> = ViolationCode::ALL.iter().map(|code| code.as_str()).collect();
        let meanings: BTreeSet<&str> = ViolationCode::ALL.iter().map(|code| code.meaning()).collect();
        assert_eq!((texts.len(), meanings.len()), (ViolationCode::ALL.len(), ViolationCode::ALL.len()));
    }
}
