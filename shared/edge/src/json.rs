//! Strict JSON: what is ambiguous is refused before anything reads it, and every refusal points at its place.
//!
//! Two passes over the same text. The first walks the document and builds nothing; the second deserializes straight
//! from the text, never through a `Value`, so that what must come back byte for byte (`RawValue`) does.

use crate::fault::{Faults, ReadingCode, Token};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_path_to_error::Segment;
use sluice_core::limits;
use sluice_core::violation::ViolationCode;
use std::collections::BTreeSet;
use std::fmt::{self, Display};

/// A request body.
pub trait Body: DeserializeOwned {
    /// Where the body has objects that become structs, as pointers with `*` for any index or key. Serde would read an
    /// array there too, as the struct's fields in order.
    const OBJECTS: &'static [&'static str];
}

/// Reads a body.
///
/// # Errors
/// Everything that is wrong with the document as JSON; failing that, the first field that is not as it must be.
pub fn read<T: Body>(text: &str) -> Result<T, Faults> {
    check(text, T::OBJECTS)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| fault(text, &error))
}

/// Keys with which `serde_json` tells itself what a number or a raw value is.
const RESERVED: &str = "$serde_json::private::";

/// The first pass.
///
/// # Errors
/// Every violation found; a syntax error alone.
pub fn check(text: &str, objects: &[&str]) -> Result<(), Faults> {
    let root: &RawValue = serde_json::from_str(text).map_err(|error| syntax(Pointer(&[]), &error))?;
    let mut walk = Walk { objects, faults: Faults::default() };
    walk.value(root.get(), &mut Vec::new());
    walk.faults.into_result()
}

fn syntax(pointer: impl Display, error: &serde_json::Error) -> Faults {
    Faults::one(pointer, ReadingCode::InvalidJson, format_args!("must be JSON: {error}"))
}

struct Walk<'a> {
    objects: &'a [&'a str],
    faults: Faults,
}

impl Walk<'_> {
    /// Looks at one value. Each level reads its text once more, which the bounds on size and depth keep cheap, and
    /// numbers are seen as they were written.
    fn value(&mut self, text: &str, path: &mut Vec<String>) {
        let first = text.as_bytes().first();
        if matches!(first, Some(b'{' | b'[')) && path.len() >= limits::JSON_DEPTH {
            let message = format_args!("must not be nested deeper than {} levels", limits::JSON_DEPTH);
            return self.faults.add(Pointer(path), ReadingCode::TooDeep, message);
        }
        if first != Some(&b'{') && self.must_be_object(path) && text != "null" {
            return self.faults.add(Pointer(path), ViolationCode::WrongType, "must be an object");
        }
        match first {
            Some(b'{') => match serde_json::from_str::<Entries<'_>>(text) {
                Ok(Entries(entries)) => self.object(&entries, path),
                Err(error) => self.faults.extend(syntax(Pointer(path), &error)),
            },
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => {
                    for (index, item) in items.into_iter().enumerate() {
                        if self.faults.is_full() {
                            return;
                        }
                        path.push(index.to_string());
                        self.value(item.get(), path);
                        path.pop();
                    }
                }
                Err(error) => self.faults.extend(syntax(Pointer(path), &error)),
            },
            // A raw value may still hold half a surrogate pair, which is no text.
            Some(b'"') => {
                if let Err(error) = serde_json::from_str::<String>(text) {
                    self.faults.extend(syntax(Pointer(path), &error));
                }
            }
            Some(_) | None => {}
        }
    }

    fn object(&mut self, entries: &[(String, &RawValue)], path: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for (key, value) in entries {
            if self.faults.is_full() {
                return;
            }
            path.push(key.clone());
            if !seen.insert(key) {
                self.faults.add(Pointer(path), ReadingCode::DuplicateKey, "must stand only once in its object");
            } else if key.starts_with(RESERVED) {
                self.faults.add(Pointer(path), ReadingCode::ReservedKey, "must not be used as a key");
            } else {
                self.value(value.get(), path);
            }
            path.pop();
        }
    }

    fn must_be_object(&self, path: &[String]) -> bool {
        self.objects.iter().any(|pattern| {
            let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
            pattern.len() == path.len() && pattern.iter().zip(path).all(|(want, have)| *want == "*" || want == have)
        })
    }
}

/// An object's entries in their order, repeated keys included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(serde::de::Error::custom("expected an object"))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The JSON pointer of a path.
struct Pointer<'a>(&'a [String]);

impl Display for Pointer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(formatter, "/{}", Token(token)))
    }
}

/// A deserialization error of `text` as a fault. Values are not repeated: a field may hold a secret.
fn fault(text: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Faults {
    let full = error.inner().to_string();
    let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message);
    let mut at = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => at += &format!("/{index}"),
            Segment::Map { key } => at += &format!("/{}", Token(key)),
            Segment::Enum { variant } => at += &format!("/{}", Token(variant)),
            Segment::Unknown => {}
        }
    }
    let named = |message: &str| message.split('`').nth(1).unwrap_or_default().to_owned();
    let expected = |message: &str| message.rsplit_once(", expected ").map(|(_, expected)| readable(expected));
    if message.starts_with("missing field `") {
        at += &format!("/{}", Token(&named(message)));
        return Faults::one(at, ViolationCode::MissingField, "must be given");
    }
    if message.starts_with("unknown field `") {
        let name = format!("/{}", Token(&named(message)));
        if !at.ends_with(&name) {
            at += &name;
        }
        let hint = expected(message).map(|expected| format!(": expected {expected}")).unwrap_or_default();
        return Faults::one(at, ReadingCode::UnknownField, format!("is not a field here{hint}"));
    }
    let must_be =
        |message: &str| format!("must be {}", expected(message).unwrap_or_else(|| "of another form".to_owned()));
    // One mistake, one code: a whole number that its type cannot hold is out of range, however serde puts it.
    if expected_whole(message)
        && let Some(literal) = literal_at(text, error.path()).filter(|literal| is_whole(literal))
    {
        let says = match literal.starts_with('-') {
            true => must_be(message),
            false => "must be a smaller number".to_owned(),
        };
        return Faults::one(at, ViolationCode::OutOfRange, says);
    }
    if message.starts_with("invalid type: ") {
        return Faults::one(at, ViolationCode::WrongType, must_be(message));
    }
    if message.starts_with("invalid value: ")
        || message.starts_with("invalid length ")
        || message.starts_with("unknown variant `")
    {
        return Faults::one(at, ViolationCode::Invalid, must_be(message));
    }
    // A rule of the core's own types, in its own words.
    Faults::one(at, ViolationCode::Invalid, message)
}

/// Whether serde expected a whole number: it names the type that was to hold it.
fn expected_whole(message: &str) -> bool {
    let expected = message.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    matches!(expected, "u8" | "u16" | "u32" | "u64" | "usize" | "i64")
}

/// What stands in `text` where `path` leads.
fn literal_at<'a>(text: &'a str, path: &serde_path_to_error::Path) -> Option<&'a str> {
    path.iter().try_fold(text, |text, segment| match segment {
        Segment::Seq { index } => Some(serde_json::from_str::<Vec<&RawValue>>(text).ok()?.get(*index)?.get()),
        Segment::Map { key } => {
            let Entries(entries) = serde_json::from_str(text).ok()?;
            entries.into_iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
        }
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// Whether this is a whole number, written with digits alone.
pub fn is_whole(literal: &str) -> bool {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Serde's names of Rust types in JSON's words.
fn readable(expected: &str) -> String {
    match expected {
        "a map" => "an object".to_owned(),
        "a sequence" => "an array".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i64" => "a whole number".to_owned(),
        _ if expected.starts_with("struct ") => "an object".to_owned(),
        _ => expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::Value;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        name: Option<String>,
        count: Option<u64>,
        raw: Option<Box<RawValue>>,
        values: Option<BTreeMap<String, Value>>,
        items: Option<Vec<Item>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Item {
        node_id: String,
        kind: Option<ItemKind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum ItemKind {
        One,
        Two,
    }

    impl Body for Sample {
        const OBJECTS: &'static [&'static str] = &["", "/items/*"];
    }

    fn faults(text: &str) -> Vec<(String, &'static str, String)> {
        let faults = read::<Sample>(text).expect_err("refused").into_vec();
        faults.into_iter().map(|fault| (fault.pointer, fault.code.as_str(), fault.message)).collect()
    }

    fn fault(text: &str) -> (String, &'static str) {
        let mut faults = faults(text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        let (pointer, code, _) = faults.remove(0);
        (pointer, code)
    }

    #[test]
    fn raw_values_survive_byte_for_byte() {
        for raw in [
            r#"{"n":12345678901234567890123,"x":1.10,"k":"\u00e9"}"#,
            r#"{ "z" : 1e400 , "a":[ 1.0,-0 ,{}],"b":"\/\u0000" }"#,
            r#""text""#,
            "1.10",
            "false",
        ] {
            let sample: Sample = read(&format!("{{\"name\":\"n\", \"raw\": {raw} ,\"count\":3}}")).expect("reads");
            assert_eq!(sample.raw.expect("raw").get(), raw);
            assert_eq!((sample.name.as_deref(), sample.count), (Some("n"), Some(3)));
        }
    }

    #[test]
    fn numbers_keep_their_literals() {
        let sample: Sample =
            read(r#"{"values":{"a":1.10,"b":12345678901234567890123,"c":[{"d":-0.0}]}}"#).expect("reads");
        let text = serde_json::to_string(&sample.values).expect("writes");
        assert_eq!(text, r#"{"a":1.10,"b":12345678901234567890123,"c":[{"d":-0.0}]}"#);
    }

    #[test]
    fn a_key_stands_once_in_its_object() {
        assert_eq!(
            fault(r#"{"raw":{"a":[0,{"x~/":1,"y":2,"x\u007e/":3}]}}"#),
            ("/raw/a/1/x~0~1".to_owned(), "duplicate_key")
        );
        assert_eq!(fault(r#"{"name":"a","name":"b"}"#), ("/name".to_owned(), "duplicate_key"));
        let both: Vec<_> = faults(r#"{"raw":{"a":1,"a":2,"b":1,"b":2}}"#).into_iter().map(|(at, ..)| at).collect();
        assert_eq!(both, ["/raw/a", "/raw/b"]);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "{} {}",
            "{}x",
            "nul",
            r#"{"a":01}"#,
            r#"{"a":.5}"#,
            r#"{"a":"\x"}"#,
            "{'a':1}",
            r#"{"raw":[1,]}"#,
        ] {
            assert_eq!(fault(text), (String::new(), "invalid_json"), "{text}");
        }
        assert_eq!(fault(r#"{"raw":{"k":"\ud800"}}"#), ("/raw/k".to_owned(), "invalid_json"));
        assert_eq!(fault(r#"{"raw":{"\ud800":1}}"#), ("/raw".to_owned(), "invalid_json"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{{\"raw\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(read::<Sample>(&nested(limits::JSON_DEPTH - 1)).is_ok());
        let (at, code) = fault(&nested(limits::JSON_DEPTH));
        assert_eq!(code, "too_deep");
        assert_eq!(at.matches('/').count(), limits::JSON_DEPTH);
        assert_eq!(fault(&nested(100_000)).1, "too_deep");
    }

    #[test]
    fn nobody_smuggles_through_private_keys() {
        for text in [
            r#"{"values":{"a":{"$serde_json::private::RawValue":"{\"x\":1,\"x\":2}"}}}"#,
            r#"{"values":{"a":{"$serde_json::private::Number":"7"}}}"#,
            r#"{"values":{"a":{"\u0024serde_json::private::Number":"7"}}}"#,
        ] {
            assert_eq!(fault(text).1, "reserved_key", "{text}");
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (text, at, code) in [
            (r#"{"name":1}"#, "/name", "wrong_type"),
            (r#"{"name":{"a":1}}"#, "/name", "wrong_type"),
            (r#"{"count":"1"}"#, "/count", "wrong_type"),
            (r#"{"count":1.5}"#, "/count", "wrong_type"),
            (r#"{"count":-1}"#, "/count", "out_of_range"),
            (r#"{"count":1e2}"#, "/count", "wrong_type"),
            (r#"{"count":99999999999999999999999999}"#, "/count", "out_of_range"),
            (r#"{"count":-99999999999999999999999999}"#, "/count", "out_of_range"),
            (r#"{"nmae":"a"}"#, "/nmae", "unknown_field"),
            (r#"{"items":{}}"#, "/items", "wrong_type"),
            (r#"{"items":[{"nodeId":"a"},{}]}"#, "/items/1/nodeId", "missing_field"),
            (r#"{"items":[{"nodeId":"a","x/y":1}]}"#, "/items/0/x~1y", "unknown_field"),
            (r#"{"items":[{"nodeId":"a"},{"nodeId":null}]}"#, "/items/1/nodeId", "wrong_type"),
            (r#"{"items":[{"nodeId":"a","kind":"three"}]}"#, "/items/0/kind", "invalid"),
            (r#"{"items":[["a"]]}"#, "/items/0", "wrong_type"),
            (r#"["a"]"#, "", "wrong_type"),
            ("[]", "", "wrong_type"),
            ("3", "", "wrong_type"),
            (r#"{"values":[]}"#, "/values", "wrong_type"),
        ] {
            assert_eq!(fault(text), (at.to_owned(), code), "{text}: {:?}", faults(text));
        }
    }

    #[test]
    fn null_is_absent_but_no_body() {
        let sample: Sample = read(r#"{"name":null,"raw":null,"items":null,"values":null}"#).expect("reads");
        assert!(sample.name.is_none() && sample.raw.is_none() && sample.items.is_none() && sample.values.is_none());
        assert_eq!(fault("null").1, "wrong_type");
        let sample: Sample = read(r#"{"items":[{"nodeId":"a"},{"nodeId":"b","kind":"two"}]}"#).expect("reads");
        let items = sample.items.expect("items");
        assert!(items[0].kind.is_none() && items[1].node_id == "b");
        assert!(matches!(items[1].kind, Some(ItemKind::Two)));
    }

    #[test]
    fn a_refusal_does_not_repeat_values() {
        let said = faults(r#"{"count":"sk-secret"}"#);
        assert_eq!(said[0].2, "must be a whole number, not negative");
        assert_eq!(faults(r#"{"items":[{"nodeId":"a","kind":"three"}]}"#)[0].2, "must be `one` or `two`");
        assert_eq!(faults(r#"{"items":3}"#)[0].2, "must be an array");
    }
}
