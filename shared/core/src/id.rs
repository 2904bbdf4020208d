//! Identifiers. **Invariant:** a value of one of these types has passed its rule, wherever it came from.
//!
//! Decision (2026-11-22): a run's id is a random UUID (v4), so that the default name `run-<first 8>` tells runs
//! apart; lists sort by `createdAt`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// Why a text is not an identifier of the wanted kind. Shown to callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $message:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[schema(value_type = String, format = "uuid", pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the hyphenated lower-case form: an id has one spelling, in keys and in URLs.
                match Uuid::try_parse(text) {
                    Ok(id) if id.hyphenated().to_string() == text => Ok(Self(id)),
                    Ok(_) | Err(_) => Err(InvalidId($message)),
                }
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $pattern:literal, $message:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[schema(pattern = $pattern)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let rule: fn(&str) -> bool = $rule;
                if rule(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId($message)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

uuid_id!(
    /// One run. Also the name of its Step Functions execution. A random UUID (v4), so that its first eight characters
    /// already tell runs apart.
    RunId,
    "must be a run id: a lower-case hyphenated UUID"
);
uuid_id!(
    /// One definition, across all its versions.
    DefinitionId,
    "must be a definition id: a lower-case hyphenated UUID"
);
uuid_id!(
    /// One saved configuration; UUIDv5 of its tenant and content, so equal content has equal ids.
    InstanceId,
    "must be an instance id: a lower-case hyphenated UUID"
);

text_id!(
    /// The isolation boundary. Starts every primary key, so it never contains the key separator `#`.
    TenantId,
    |text| within(text, 1, 128, |c| c.is_ascii_alphanumeric() || "_.:@-".contains(c)),
    "^[A-Za-z0-9_.:@-]{1,128}$",
    "must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -"
);
text_id!(
    /// A definition's name, unique in its tenant. Never shaped like a UUID, so a path segment is either a name or an id.
    DefinitionName,
    |text| word(text, crate::limits::NAME_CHARS) && Uuid::try_parse(text).is_err(),
    "^[A-Za-z0-9_-]{1,40}$",
    "must be 1 to 40 characters of A-Z a-z 0-9 _ - and not shaped like a UUID"
);
text_id!(
    /// A node of a version's DAG.
    NodeId,
    |text| word(text, 64),
    "^[A-Za-z0-9_-]{1,64}$",
    "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
text_id!(
    /// The operator's name for a processor.
    ProcessorKey,
    |text| word(text, 64),
    "^[A-Za-z0-9_-]{1,64}$",
    "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
text_id!(
    /// The operator's name for a compute node.
    ComputeNodeKey,
    |text| word(text, 64),
    "^[A-Za-z0-9_-]{1,64}$",
    "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
text_id!(
    /// The operator's name for a model with its prices.
    ModelKey,
    |text| word(text, 64),
    "^[A-Za-z0-9_-]{1,64}$",
    "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
text_id!(
    /// The person for whom a tenant runs something, by the tenant's own name for them.
    UserId,
    |text| within(text, 1, 128, |c| c.is_ascii_alphanumeric() || "_.:@+=|-".contains(c)),
    "^[A-Za-z0-9_.:@+=|-]{1,128}$",
    "must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ + = | -"
);
text_id!(
    /// A persistent layer of a compute node.
    LayerName,
    |text| word(text, 64),
    "^[A-Za-z0-9_-]{1,64}$",
    "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
text_id!(
    /// A Lambda qualifier (version or alias) or an ECS task-definition revision.
    Tag,
    |text| within(text, 1, 128, |c| c.is_ascii_alphanumeric() || "_-$".contains(c)),
    "^[A-Za-z0-9_$-]{1,128}$",
    "must be 1 to 128 characters of A-Z a-z 0-9 _ - $"
);
text_id!(
    /// The caller's idempotency key: printable ASCII, so that it fits a header.
    IdempotencyKey,
    |text| within(text, 1, crate::limits::KEY_CHARS, |c| c.is_ascii_graphic()),
    "^[!-~]{1,255}$",
    "must be 1 to 255 printable ASCII characters without spaces"
);

fn within(text: &str, least: usize, most: usize, allowed: fn(char) -> bool) -> bool {
    (least..=most).contains(&text.len()) && text.chars().all(allowed)
}

fn word(text: &str, most: usize) -> bool {
    within(text, 1, most, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// How a caller names a definition: by id or by name. The two cannot be confused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DefinitionRef {
    Id(DefinitionId),
    Name(DefinitionName),
}

impl FromStr for DefinitionRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self::Id).or_else(|InvalidId(_)| text.parse().map(Self::Name)).map_err(|InvalidId(_)| {
            InvalidId("must be a definition's id (UUID) or name (1 to 40 characters of A-Z a-z 0-9 _ -)")
        })
    }
}

impl fmt::Display for DefinitionRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(id.parse::<RunId>().map(|id| id.to_string()), Ok(id.to_owned()));
        for other in [
            "0190163D-8694-739B-AEA5-966C26F8AD91",
            "0190163d8694739baea5966c26f8ad91",
            "{0190163d-8694-739b-aea5-966c26f8ad91}",
            "",
        ] {
            assert!(other.parse::<RunId>().is_err(), "{other}");
        }
    }

    #[test]
    fn a_tenant_cannot_reach_into_another_key() {
        assert!("123456789012".parse::<TenantId>().is_ok());
        for bad in ["", "a#b", "a b", "a/b", "a\nb", "ä"] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_definition_reference_is_a_name_or_an_id() {
        assert!(matches!("text-report".parse(), Ok(DefinitionRef::Name(_))));
        assert!(matches!("0190163d-8694-739b-aea5-966c26f8ad91".parse(), Ok(DefinitionRef::Id(_))));
        assert!("0190163D-8694-739B-AEA5-966C26F8AD91".parse::<DefinitionRef>().is_err());
        assert!("no spaces".parse::<DefinitionRef>().is_err());
    }

    #[test]
    fn text_ids_are_checked_when_deserialized() {
        assert!(serde_json::from_str::<NodeId>(r#""a node""#).is_err());
        assert!(serde_json::from_str::<NodeId>(r#""a-node""#).is_ok());
    }
}
