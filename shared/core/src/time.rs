//! Times are UTC instants; as text they are RFC 3339 with exactly three decimals, so that their text sorts as they do.

use jiff::Timestamp;

/// `2026-11-22T04:39:48.123Z`: fixed width, sortable.
pub fn rfc3339_millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Serialises a [`Timestamp`] as [`rfc3339_millis`]; use with `#[serde(serialize_with)]`-style `with`.
pub mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::rfc3339_millis(*at))
    }

    /// # Errors
    /// When the text is no RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

/// [`millis`] for a time that may be absent.
pub mod millis_opt {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_some(&super::rfc3339_millis(*at)),
            None => serializer.serialize_none(),
        }
    }

    /// # Errors
    /// When the text is no RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<Timestamp>::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::rfc3339_millis;
    use jiff::Timestamp;

    #[test]
    fn times_have_a_fixed_width_so_that_their_text_sorts() {
        let whole = Timestamp::from_second(1_795_322_388).expect("in range");
        let fraction = Timestamp::from_millisecond(1_795_322_388_123).expect("in range");
        assert_eq!(rfc3339_millis(whole), "2026-11-22T04:39:48.000Z");
        assert_eq!(rfc3339_millis(fraction), "2026-11-22T04:39:48.123Z");
    }
}
