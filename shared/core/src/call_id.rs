//! The id of a governed call: the request id that its caller sees, the key of its hold and of its record.
//!
//! **Invariant:** the time in the id gives the hold's lease, so that a hold is one number and nothing has to be kept beside it.

use crate::id::InvalidId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::{Uuid, Variant};

/// How long a hold lasts from the time in its call's id: longer than a function can run (15 min), so that nobody settles a call
/// after its lease.
pub const LEASE: SignedDuration = SignedDuration::from_secs(16 * 60);

/// A UUID of version 7. AWS' SDKs take a UUID for a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallId(Uuid);

impl CallId {
    /// An id of this time with these random bits. Source: RFC 9562, section 5.7.
    pub fn new(at: Timestamp, random: u128) -> Self {
        let millis = u128::try_from(at.as_millisecond()).unwrap_or_default() & 0xffff_ffff_ffff;
        let (version, variant) = (0x7_u128 << 76, 0b10_u128 << 62);
        let high = (random >> 64) & 0x0fff;
        let low = random & 0x3fff_ffff_ffff_ffff;
        Self(Uuid::from_u128(millis << 80 | version | high << 64 | variant | low))
    }

    /// The time that is in it, to a millisecond.
    pub fn at(self) -> Timestamp {
        let millis = (self.0.as_u128() >> 80) as i64;
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// When the lease of its hold is over.
    pub fn lease_end(self) -> Timestamp {
        self.at().saturating_add(LEASE).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for CallId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let id = Uuid::try_parse(text).ok().filter(|id| id.hyphenated().to_string() == text);
        let id = id.filter(|id| id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122);
        id.map(Self).ok_or(InvalidId("must be the id of a call: a lower-case hyphenated UUID of version 7"))
    }
}

impl TryFrom<String> for CallId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<CallId> for String {
    fn from(id: CallId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_keeps_its_time_and_has_one_spelling(millis in 0..4_000_000_000_000_i64, random in any::<u128>()) {
            let at = Timestamp::from_millisecond(millis).expect("a time");
            let id = CallId::new(at, random);
            prop_assert_eq!(id.at(), at);
            prop_assert_eq!(id.lease_end().duration_since(at), LEASE);
            prop_assert_eq!(id.to_string().parse::<CallId>(), Ok(id));
            prop_assert!(id.to_string().to_uppercase() == id.to_string() || id.to_string().to_uppercase().parse::<CallId>().is_err());
        }

        #[test]
        fn ids_sort_by_their_times(one in 0..4_000_000_000_000_i64, later in 1..1_000_000_i64, random in any::<[u128; 2]>()) {
            let id = |millis, random| CallId::new(Timestamp::from_millisecond(millis).expect("a time"), random);
            prop_assert!(id(one, random[0]) < id(one + later, random[1]));
        }
    }

    #[test]
    fn another_uuid_is_no_call() {
        for text in ["", "0190163d-8694-439b-aea5-966c26f8ad91", "0190163D-8694-739B-AEA5-966C26F8AD91", "x"] {
            assert!(text.parse::<CallId>().is_err(), "{text}");
        }
        assert!("0190163d-8694-739b-aea5-966c26f8ad91".parse::<CallId>().is_ok());
    }
}
