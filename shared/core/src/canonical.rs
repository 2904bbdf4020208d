//! One text for equal JSON: object keys sorted, no white space, number literals as written.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Canonical text of a value. `serde_json`'s map sorts its keys, and `arbitrary_precision` keeps each number's
/// literal, so `1.10` and `1.1` stay different and no large number is rounded.
pub fn text(value: &Value) -> String {
    value.to_string()
}

/// Lower-case hex SHA-256 of the parts, each preceded by its length so that no two lists of parts collide.
pub fn sha256_hex(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    format!("{:x}", hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_space_do_not_matter_but_number_literals_do() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let (a, b) = (parse(r#"{"b":1.10,"a":[1, 2]}"#), parse(r#"{ "a":[1,2], "b":1.10 }"#));
        assert_eq!(text(&a), text(&b));
        assert_eq!(text(&a), r#"{"a":[1,2],"b":1.10}"#);
        assert_ne!(text(&a), text(&parse(r#"{"b":1.1,"a":[1,2]}"#)));
        assert_eq!(text(&parse("12345678901234567890123")), "12345678901234567890123");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(sha256_hex(&["ab", "c"]), sha256_hex(&["a", "bc"]));
    }
}
