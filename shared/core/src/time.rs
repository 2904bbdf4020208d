//! Times are UTC instants; as text they are RFC 3339 with exactly three decimals, so that their text sorts as they do.

use jiff::Timestamp;
use jiff::civil::Date;

/// `2026-11-22T04:39:48.123Z`: fixed width, sortable.
pub fn rfc3339_millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Reads a time as RFC 3339, section 5.6, has it, and nothing else. A time that is later than this service's last instant
/// (9999-12-30T22:00:00Z) is that instant: who writes the end of time means no end. Beyond nanoseconds it is cut off.
pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0_i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| allowed.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let within = |number: Option<i64>, most: i64| number.filter(|number| *number <= most);
    let day = |number: Option<i64>| i8::try_from(number?).ok();
    let date = Date::new(i16::try_from(number(0, 4)?).ok()?, day(number(5, 7))?, day(number(8, 10))?).ok()?;
    let (hour, minute) = (within(number(11, 13), 23)?, within(number(14, 16), 59)?);
    // A leap second is counted as the one before it.
    let second = within(number(17, 19), 60)?.min(59);
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".") {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(9);
        nanos = number(at + 1, at + 1 + kept)? * 10_i64.pow(9 - u32::try_from(kept).ok()?);
        at += 1 + digits;
    }
    let offset = match bytes.get(at..)? {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let seconds = within(number(at + 1, at + 3), 23)? * 3_600 + within(number(at + 4, at + 6), 59)? * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let since = i64::from(days_since_1970(date));
    let seconds = since * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    let ends = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Some(Timestamp::new(seconds, i32::try_from(nanos).ok()?).unwrap_or(ends))
}

/// Days from 1970-01-01 in the Gregorian calendar, which RFC 3339 takes back to the year 0.
fn days_since_1970(date: Date) -> i32 {
    // Years begin in March, so that a leap day is the last of one.
    let (year, month, day) = (i32::from(date.year()), i32::from(date.month()), i32::from(date.day()));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
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
    use super::{from_rfc3339, rfc3339_millis};
    use jiff::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_one_of_rfc_3339() {
        for (text, same) in [
            ("2026-11-22T04:39:48Z", "2026-11-22T04:39:48Z"),
            ("2026-11-22t04:39:48z", "2026-11-22T04:39:48Z"),
            ("2026-11-22T04:39:48.5Z", "2026-11-22T04:39:48.5Z"),
            ("2026-11-22T04:39:48.1234567891Z", "2026-11-22T04:39:48.123456789Z"),
            ("2026-11-22T04:39:48+01:00", "2026-11-22T03:39:48Z"),
            ("2026-11-22T04:39:48-23:59", "2026-11-23T04:38:48Z"),
            ("2026-11-22T04:39:48-00:00", "2026-11-22T04:39:48Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
            ("9999-12-31T00:00:00+23:59", "9999-12-30T00:01:00Z"),
        ] {
            let same: Timestamp = same.parse().expect("a time");
            assert_eq!(from_rfc3339(text), Some(same), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T04:39Z",
            "2026-11-22T04:39:48",
            "2026-11-22 04:39:48Z",
            "2026-11-22T04:39:48+25:00",
            "2026-11-22T04:39:48+01:60",
            "2026-11-22T04:39:48+01",
            "2026-11-22T04:39:48+0100",
            "2026-11-22T04:39:48 01:00",
            "20260101T000000Z",
            "2026-11-22T04:39:48Z[UTC]",
            "2026-11-22T04:39:48+01:00[Europe/Vienna]",
            "2026-11-22T04:39:48,5Z",
            "2026-11-22T04:39:48.Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T04:60:00Z",
            "2026-11-22T04:39:61Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "+02026-11-22T04:39:48Z",
            "-2026-11-22T04:39:48Z",
            "2026-W47-7T04:39:48Z",
            "2026-11-22T04:39:48\u{2212}01:00",
            "2026-11-2\u{661}T04:39:48Z",
            " 2026-11-22T04:39:48Z",
            "2026-11-22T04:39:48Z ",
            "1795322388",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    fn to_nanoseconds(text: &str) -> String {
        let Some((whole, fraction)) = text.split_once('.') else { return text.to_owned() };
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        format!("{whole}.{}{}", &fraction[..digits.min(9)], &fraction[digits..])
    }

    proptest! {
        #[test]
        fn every_time_is_read_from_its_own_text(seconds in -62_167_219_200_i64..253_402_207_200, nanos in 0..1_000_000_000_i32) {
            let at = Timestamp::new(seconds, nanos).expect("in range");
            prop_assert_eq!(from_rfc3339(&at.to_string()), Some(at));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in any::<String>(), shaped in "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]{0,12})?(Z|[+-][0-9]{2}:?[0-9]{2})") {
            from_rfc3339(&text);
            // What is read here, jiff reads as well, but for the end of time and for digits after the ninth.
            if let Some(at) = from_rfc3339(&shaped) && at != Timestamp::MAX {
                prop_assert_eq!(to_nanoseconds(&shaped).parse().ok(), Some(at));
            }
        }
    }

    #[test]
    fn times_have_a_fixed_width_so_that_their_text_sorts() {
        let whole = Timestamp::from_second(1_795_322_388).expect("in range");
        let fraction = Timestamp::from_millisecond(1_795_322_388_123).expect("in range");
        assert_eq!(rfc3339_millis(whole), "2026-11-22T04:39:48.000Z");
        assert_eq!(rfc3339_millis(fraction), "2026-11-22T04:39:48.123Z");
    }
}
