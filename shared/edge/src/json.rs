//! Strict JSON: what is ambiguous is refused before anything reads it, and every refusal points at its place.
//!
//! Two passes over the same text. The first walks the document once and builds nothing; the second deserializes straight
//! from the text, never through a `Value`, so that what must come back byte for byte (`RawValue`) does.
//!
//! **Invariant:** what a body costs grows with its bytes and with nothing else, whatever it is made of.

use crate::fault::{FaultCode, Faults, ReadingCode, Token};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;
use sha2::{Digest, Sha256};
use sluice_core::limits;
use sluice_core::violation::ViolationCode;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Display};

/// A request body.
pub trait Body: DeserializeOwned {
    /// Where the body has objects that become structs, as pointers with `*` for any index or key. Serde would read an
    /// array there too, as the struct's fields in order.
    const OBJECTS: &'static [&'static str];
    /// Fields that come back as they were sent and go nowhere else: what they are made of concerns nobody.
    const VERBATIM: &'static [&'static str] = &[];
    /// The field with the idempotency key.
    const KEY: Option<&'static str> = None;
}

/// Reads a body.
///
/// # Errors
/// Everything that is wrong with the document as JSON; failing that, the first field that is not as it must be.
pub fn read<T: Body>(text: &str) -> Result<T, Faults> {
    check(text, Shape { objects: T::OBJECTS, verbatim: T::VERBATIM, hashed_without: None })?;
    typed(text)
}

/// Reads a body, and what it is known by: two bodies that say the same have one fingerprint, whatever their keys, the order
/// of their fields, their white space and their escapes; `null` says the same as nothing. Numbers count as they are written.
///
/// # Errors
/// As [`read`].
pub fn read_keyed<T: Body>(text: &str) -> Result<(T, Fingerprint), Faults> {
    let shape = Shape { objects: T::OBJECTS, verbatim: T::VERBATIM, hashed_without: Some(T::KEY.unwrap_or_default()) };
    let fingerprint = walk(text, shape).0?;
    Ok((typed(text)?, fingerprint))
}

fn typed<T: Body>(text: &str) -> Result<T, Faults> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| fault(&error))
}

/// Keys with which `serde_json` tells itself what a number or a raw value is.
const RESERVED: &str = "$serde_json::private::";

/// What the first pass knows of a kind of body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape<'a> {
    /// As [`Body::OBJECTS`].
    pub objects: &'a [&'a str],
    /// As [`Body::VERBATIM`].
    pub verbatim: &'a [&'a str],
    /// Whether the body is hashed, and without which of its fields.
    pub hashed_without: Option<&'a str>,
}

/// The first pass.
///
/// # Errors
/// Every violation found, up to the bound on them; a syntax error alone.
pub fn check(text: &str, shape: Shape<'_>) -> Result<(), Faults> {
    walk(text, shape).0.map(|_| ())
}

/// The first pass, with the fingerprint of what was read and the steps it took.
fn walk(text: &str, shape: Shape<'_>) -> (Result<Fingerprint, Faults>, usize) {
    let root: &RawValue = match serde_json::from_str(text) {
        Ok(root) => root,
        Err(error) => return (Err(syntax("", &error)), text.len()),
    };
    let mut walk = Walk::new(root.get(), shape);
    walk.steps += text.len();
    // Once as much is wrong as is told, nothing more is looked at.
    let digest = walk.value().unwrap_or_default();
    (walk.faults.into_result().map(|()| digest), walk.steps)
}

fn syntax(pointer: impl Display, error: &serde_json::Error) -> Faults {
    Faults::one(pointer, ReadingCode::InvalidJson, format_args!("must be JSON: {error}"))
}

/// As many violations were found as are told.
struct Full;

/// One step on the way from the root to a value.
enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

/// Reads a text that is known to be JSON from its beginning to its end, once. What it costs grows with the text and with
/// nothing else: every byte is passed once, a key is hashed once, and a pointer is built only for a violation that is told,
/// and no longer than it is told.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    path: Vec<Step<'a>>,
    objects: Vec<Vec<&'a str>>,
    shape: Shape<'a>,
    faults: Faults,
    /// Bytes that were looked at, however often.
    steps: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, shape: Shape<'a>) -> Self {
        let objects = shape.objects.iter().map(|pattern| pattern.split('/').skip(1).collect()).collect();
        Self { text, at: 0, path: Vec::new(), objects, shape, faults: Faults::default(), steps: 0 }
    }

    fn next(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    /// To the first byte that `stops`.
    fn skip_to(&mut self, stops: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.at..];
        let passed = rest.iter().position(|byte| stops(*byte)).unwrap_or(rest.len());
        self.at += passed;
        self.steps += passed + 1;
    }

    /// Past white space, and past the comma or the colon that stands there.
    fn skip_between(&mut self) {
        self.skip_to(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'));
    }

    /// One string with its quotes.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        self.at += 1;
        loop {
            self.skip_to(|byte| matches!(byte, b'"' | b'\\'));
            let is_escape = self.next() == b'\\';
            self.at = (self.at + if is_escape { 2 } else { 1 }).min(self.text.len());
            if !is_escape || self.at == self.text.len() {
                return &self.text[start..self.at];
            }
        }
    }

    /// What a string says. Half a surrogate pair is no text.
    fn said(&mut self, string: &'a str) -> Result<Cow<'a, str>, serde_json::Error> {
        if !string.contains('\\') {
            return Ok(Cow::Borrowed(string.get(1..string.len().saturating_sub(1)).unwrap_or_default()));
        }
        self.steps += string.len();
        serde_json::from_str(string).map(Cow::Owned)
    }

    /// A value that nothing is to be said of any more.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.next() {
                b'"' => {
                    self.string();
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => self.skip_to(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')),
            }
            if depth == 0 || self.at >= self.text.len() {
                return;
            }
            self.skip_between();
        }
    }

    fn add(&mut self, code: impl Into<FaultCode>, message: impl Display) -> Result<(), Full> {
        let pointer = self.pointer();
        self.faults.add(pointer, code, message);
        if self.faults.is_full() { Err(Full) } else { Ok(()) }
    }

    /// Looks at one value, and returns what it is known by.
    fn value(&mut self) -> Result<Fingerprint, Full> {
        let first = self.next();
        if matches!(first, b'{' | b'[') && self.path.len() >= limits::JSON_DEPTH {
            self.add(
                ReadingCode::TooDeep,
                format_args!("must not be nested deeper than {} levels", limits::JSON_DEPTH),
            )?;
            self.skip_value();
            return Ok(Fingerprint::default());
        }
        let is_struct = self.is_at_one_of_the_objects();
        if first != b'{' && first != b'n' && is_struct {
            self.add(ViolationCode::WrongType, "must be an object")?;
            self.skip_value();
            return Ok(Fingerprint::default());
        }
        match first {
            b'{' => self.object(is_struct),
            b'[' => self.array(),
            b'"' => {
                let string = self.string();
                match self.said(string) {
                    Ok(said) => Ok(self.known_by(b's', &said)),
                    Err(error) => {
                        self.add(ReadingCode::InvalidJson, format_args!("must be JSON: {error}"))?;
                        Ok(Fingerprint::default())
                    }
                }
            }
            _ => {
                let start = self.at;
                self.skip_value();
                let literal = &self.text[start..self.at];
                if is_beyond_doubles(literal) && !self.is_verbatim() {
                    self.add(
                        ViolationCode::OutOfRange,
                        "must be a number that a 64-bit float can hold: the engine reads it as one",
                    )?;
                }
                Ok(self.known_by(b'l', literal))
            }
        }
    }

    fn known_by(&mut self, kind: u8, text: &str) -> Fingerprint {
        match self.shape.hashed_without {
            Some(_) => {
                self.steps += text.len();
                Fingerprint(Sha256::new_with_prefix([kind]).chain_update(text.as_bytes()).finalize().into())
            }
            None => Fingerprint::default(),
        }
    }

    fn array(&mut self) -> Result<Fingerprint, Full> {
        let mut hasher = Sha256::new_with_prefix(b"a");
        self.at += 1;
        for index in 0.. {
            self.skip_between();
            if self.next() == b']' || self.at >= self.text.len() {
                break;
            }
            self.path.push(Step::Index(index));
            hasher.update(self.value()?.0);
            self.path.pop();
        }
        self.at += 1;
        Ok(Fingerprint(hasher.finalize().into()))
    }

    fn object(&mut self, is_struct: bool) -> Result<Fingerprint, Full> {
        let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
        let mut entries: Vec<(Cow<'a, str>, Fingerprint)> = Vec::new();
        self.at += 1;
        loop {
            self.skip_between();
            if self.next() != b'"' {
                break;
            }
            let string = self.string();
            let key = match self.said(string) {
                Ok(key) => key,
                Err(error) => {
                    self.add(ReadingCode::InvalidJson, format_args!("must be JSON: {error}"))?;
                    self.skip_between();
                    self.skip_value();
                    continue;
                }
            };
            self.skip_between();
            self.steps += key.len();
            if key.len() > limits::JSON_KEY_BYTES {
                let (bytes, most) = (key.len(), limits::JSON_KEY_BYTES);
                self.add(
                    ViolationCode::OutOfRange,
                    format_args!("must not have a key of {bytes} bytes: {most} at most"),
                )?;
                self.skip_value();
                continue;
            }
            let is_repeated = !seen.insert(key.clone());
            self.path.push(Step::Key(key.clone()));
            if is_repeated {
                self.add(ReadingCode::DuplicateKey, "must stand only once in its object")?;
                self.skip_value();
            } else if key.starts_with(RESERVED) {
                self.add(ReadingCode::ReservedKey, "must not be used as a key")?;
                self.skip_value();
            } else {
                // In an object with named fields, `null` says the same as nothing; and the key is not what it is the key of.
                let is_null = self.next() == b'n';
                let value = self.value()?;
                let is_key = self.path.len() == 1 && self.shape.hashed_without == Some(&key);
                if self.shape.hashed_without.is_some() && !is_key && !(is_struct && is_null) {
                    entries.push((key, value));
                }
            }
            self.path.pop();
        }
        self.at += 1;
        // Each key is compared about as often as their number has digits in base two, and is of bounded length.
        self.steps += entries.iter().map(|(key, _)| key.len()).sum::<usize>() * entries.len().max(1).ilog2() as usize;
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut hasher = Sha256::new_with_prefix(b"o");
        for (key, value) in &entries {
            hasher.update((key.len() as u64).to_be_bytes());
            hasher.update(key.as_bytes());
            hasher.update(value.0);
        }
        Ok(Fingerprint(hasher.finalize().into()))
    }

    /// Where the walk is, as far as it is told.
    fn pointer(&mut self) -> String {
        let mut pointer = String::new();
        for token in &self.path {
            if pointer.len() > 4 * limits::VIOLATION_CHARS {
                break;
            }
            pointer.push('/');
            match token {
                Step::Key(key) => pointer += &Token(key).to_string(),
                Step::Index(index) => pointer += &index.to_string(),
            }
        }
        self.steps += pointer.len();
        pointer
    }

    fn is_at(&self, pattern: &[&str]) -> bool {
        pattern.len() == self.path.len()
            && pattern.iter().zip(&self.path).all(|(want, have)| match have {
                Step::Key(key) => *want == "*" || *want == key,
                Step::Index(_) => *want == "*",
            })
    }

    fn is_at_one_of_the_objects(&mut self) -> bool {
        self.steps += self.objects.len();
        self.objects.iter().any(|pattern| self.is_at(pattern))
    }

    /// Whether this is part of what comes back as it was sent, and goes nowhere else.
    fn is_verbatim(&self) -> bool {
        match self.path.first() {
            Some(Step::Key(key)) => self.shape.verbatim.iter().any(|field| field.strip_prefix('/') == Some(key)),
            Some(Step::Index(_)) | None => false,
        }
    }
}

/// Whether a number's literal is one that a 64-bit float has no room for.
fn is_beyond_doubles(literal: &str) -> bool {
    literal.parse::<f64>().is_ok_and(|number| number.is_infinite())
}

/// What a JSON value is known by: the same for the same value, however it is written, but for the literals of its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A deserialization error as a fault. Values are not repeated: a field may hold a secret.
fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> Faults {
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
    if message.starts_with("invalid type: ") {
        return Faults::one(at, ViolationCode::WrongType, must_be(message));
    }
    // One mistake, one code: a whole number that its type cannot hold is out of range.
    if let Some(number) = message.strip_prefix("invalid value: integer `") {
        let says = if number.starts_with('-') { must_be(message) } else { "must be a smaller number".to_owned() };
        return Faults::one(at, ViolationCode::OutOfRange, says);
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

/// Serde's names of Rust types in JSON's words.
fn readable(expected: &str) -> String {
    match expected {
        "a map" => "an object".to_owned(),
        "a sequence" => "an array".to_owned(),
        _ if expected.starts_with("struct ") => "an object".to_owned(),
        _ => expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;
    use sluice_core::number::whole_option;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        name: Option<String>,
        #[serde(default, deserialize_with = "whole_option")]
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
        const VERBATIM: &'static [&'static str] = &["/raw"];
        const KEY: Option<&'static str> = Some("name");
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
            (r#"{"count":1e-2}"#, "/count", "wrong_type"),
            (r#"{"count":1e400}"#, "/count", "out_of_range"),
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

    /// What a text costs.
    fn steps(text: &str) -> usize {
        let objects = ["", "/a", "/a/b", "/items/*", "/*/*/*"];
        let plain = walk(text, Shape { objects: &objects, ..Shape::default() }).1;
        let hashed = walk(text, Shape { objects: &objects, hashed_without: Some("key"), ..Shape::default() }).1;
        assert!(hashed >= plain || text.len() < 100, "{hashed} {plain}");
        hashed
    }

    /// At most so many for each byte, and as many as it takes to tell a hundred violations.
    fn bound(text: &str) -> usize {
        24 * text.len() + limits::VIOLATIONS * 8 * limits::VIOLATION_CHARS
    }

    /// Bodies of about a quarter of a megabyte that are made of one thing that costs.
    fn hostile() -> Vec<(&'static str, String)> {
        const BYTES: usize = 250_000;
        let many = |part: &str| vec![part; BYTES / (part.len() + 1)].join(",");
        let long = |key: &str, bytes: usize| key.repeat(bytes / key.len());
        let chain = |key: &str| {
            let levels = limits::JSON_DEPTH - 2;
            format!("{}[{}]{}", format!("{{\"{key}\":").repeat(levels), many("1e400"), "}".repeat(levels))
        };
        vec![
            (
                "a long key of tildes above many violations",
                format!("{{\"{}\":{{{}}}}}", long("~", 60_000), many("\"a\":1")),
            ),
            ("a long key above many violations", format!("{{\"{}\":{{{}}}}}", long("k", 1_000), many("\"a\":1"))),
            ("long keys at every level above many violations", chain(&long("~", 1_000))),
            ("escaped keys at every level above many violations", chain(&long("\\u0000", 1_000))),
            ("the same key again and again", format!("{{{}}}", many("\"a\":1"))),
            ("the same long key again and again", format!("{{{}}}", many(&format!("\"{}\":1", long("k", 1_000))))),
            ("keys that begin alike", {
                let keys = (0..BYTES / 1_000).map(|at| format!("\"{}{at}\":1", long("k", 990)));
                format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
            }),
            ("keys in falling order", {
                let keys = (0..BYTES / 10).rev().map(|at| format!("\"{at:05}\":1"));
                format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
            }),
            (
                "what is too deep again and again",
                format!("[{}]", many(&format!("{}{}", "[".repeat(70), "]".repeat(70)))),
            ),
            ("one that is much too deep", format!("{}{}", "[".repeat(BYTES / 2), "]".repeat(BYTES / 2))),
            ("levels as deep as may be", {
                let levels = limits::JSON_DEPTH - 1;
                format!("[{}]", many(&format!("{}{}", "[".repeat(levels), "]".repeat(levels))))
            }),
            ("what must be objects", format!("{{\"items\":[{}]}}", many("1"))),
            ("halves of surrogate pairs", format!("[{}]", many("\"\\ud800\""))),
            ("halves of surrogate pairs as keys", format!("{{{}}}", many("\"\\ud800\":1"))),
            ("escapes", format!("[\"{}\"]", long("\\u00e9", BYTES))),
            ("backslashes", format!("[\"{}\"]", long("\\\\", BYTES))),
            ("one long number", format!("[{}]", long("9", BYTES))),
            ("many long numbers", format!("[{}]", many(&long("9", 400)))),
            ("white space", format!("[{}1]", " ".repeat(BYTES))),
            ("no JSON at its end", format!("[{}", many("1"))),
        ]
    }

    #[test]
    fn what_a_hostile_body_costs_grows_with_its_bytes_alone() {
        for (name, body) in hostile() {
            assert!(body.len() > 100_000, "{name}: {}", body.len());
            let (steps, bound) = (steps(&body), bound(&body));
            assert!(steps <= bound, "{name}: {steps} steps for {} bytes, more than {bound}", body.len());
        }
    }

    #[test]
    fn nothing_is_looked_at_once_as_much_is_wrong_as_is_told() {
        let many = format!("[{}]", vec!["1e400"; 40_000].join(","));
        let text_and_syntax = 2 * 6 * limits::VIOLATIONS + many.len();
        let (answer, steps) = walk(&many, Shape::default());
        assert_eq!(answer.expect_err("refused").iter().len(), limits::VIOLATIONS);
        assert!(steps < text_and_syntax + 1_000, "{steps}");
    }

    #[test]
    fn a_key_is_bounded() {
        let body = |bytes: usize| format!("{{\"values\":{{\"{}\":1}}}}", "k".repeat(bytes));
        assert!(read::<Sample>(&body(limits::JSON_KEY_BYTES)).is_ok());
        assert_eq!(fault(&body(limits::JSON_KEY_BYTES + 1)), ("/values".to_owned(), "out_of_range"));
        let escaped = format!("{{\"values\":{{\"{}\":1}}}}", "\\u00e9".repeat(limits::JSON_KEY_BYTES / 2));
        assert!(read::<Sample>(&escaped).is_ok(), "it is what the key says that is bounded");
    }

    #[test]
    fn a_number_that_no_double_holds_is_refused_where_the_engine_would_read_it() {
        for literal in ["1e400", "-1E+309", "123e307", &"9".repeat(400)] {
            assert_eq!(
                fault(&format!("{{\"values\":{{\"a\":[{literal}]}}}}")),
                ("/values/a/0".to_owned(), "out_of_range")
            );
            assert!(read::<Sample>(&format!("{{\"raw\":[{literal}]}}")).is_ok(), "{literal} comes back as it is");
        }
        for literal in ["1e308", "-1.7976931348623157e308", "1e-400", "12345678901234567890123"] {
            assert!(read::<Sample>(&format!("{{\"values\":{{\"a\":[{literal}]}}}}")).is_ok(), "{literal}");
        }
    }

    #[test]
    fn what_says_the_same_is_known_by_the_same() {
        let print = |text: &str| read_keyed::<Sample>(text).expect("reads").1;
        let same = print(r#"{"count":3,"values":{"b":[1.10,null],"a":"\u00e9"},"items":[{"nodeId":"a"}]}"#);
        for text in [
            r#" { "items" : [ { "nodeId" : "a" } ] , "values" : { "a" : "é" , "b" : [ 1.10 , null ] } , "count" : 3 } "#,
            r#"{"name":"k-1","count":3,"values":{"b":[1.10,null],"a":"é"},"items":[{"nodeId":"a","kind":null}],"raw":null}"#,
            r#"{"n\u0061me":"k-2","count":3,"values":{"b":[1.10,null],"a":"é"},"items":[{"nodeId":"a"}]}"#,
        ] {
            assert_eq!(print(text), same, "{text}");
        }
        for text in [
            "{}",
            r#"{"count":3.0,"values":{"b":[1.10,null],"a":"é"},"items":[{"nodeId":"a"}]}"#,
            r#"{"count":3,"values":{"b":[1.1,null],"a":"é"},"items":[{"nodeId":"a"}]}"#,
            // A caller's own `null` is a value.
            r#"{"count":3,"values":{"b":[1.10],"a":"é"},"items":[{"nodeId":"a"}]}"#,
            r#"{"count":3,"values":{"b":[1.10,null],"a":"é","c":null},"items":[{"nodeId":"a"}]}"#,
            r#"{"count":3,"values":{"b":[1.10,null],"a":"é"},"items":[{"nodeId":"a"}],"raw":{}}"#,
            r#"{"count":3,"values":{"b":[1.10,null],"a":"é"},"items":[{"nodeId":"a"},{"nodeId":"a"}]}"#,
            r#"{"count":3,"values":{"a":[1.10,null],"b":"é"},"items":[{"nodeId":"a"}]}"#,
            r#"{"count":3,"values":{"b":["1.10",null],"a":"é"},"items":[{"nodeId":"a"}]}"#,
        ] {
            if let Ok((_, print)) = read_keyed::<Sample>(text) {
                assert_ne!(print, same, "{text}");
            }
        }
        assert_eq!(print("{}"), print(r#"{"name":"k"}"#));
    }

    /// Any JSON, as text with odd spellings.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(vec![
                "null",
                "true",
                "-0",
                "1.10",
                "1e+400",
                "\"\"",
                "\"\\u00e9\"",
                "\"\\ud800\"",
                "[ ]",
                "{ }"
            ])
            .prop_map(str::to_owned),
            any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            let key = prop_oneof!["[a-c~/]{0,3}", any::<String>(), Just("~".repeat(1_500))];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec((key, inner), 0..6).prop_map(|fields| {
                    let field = |(key, value): (String, String)| format!("{}: {value}", serde_json::json!(key));
                    format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_any_body_costs_grows_with_its_bytes_alone(text in any_json(), times in 1_usize..200) {
            let text = format!("[{}]", vec![text; times].join(","));
            prop_assert!(steps(&text) <= bound(&text), "{} steps for {} bytes", steps(&text), text.len());
        }

        #[test]
        fn a_fingerprint_is_that_of_the_value(one in any_json(), other in any_json()) {
            let print = |text: &str| {
                let shape = Shape { hashed_without: Some(""), verbatim: &["/x"], ..Shape::default() };
                walk(&format!("{{\"x\":{text}}}"), shape).0.ok()
            };
            // `serde_json` sorts keys and keeps the literals of numbers, whose exponents it gives a sign.
            let canonical = |text: &str| serde_json::from_str::<Value>(text).map(|value| value.to_string()).ok();
            if let (Some(a), Some(b)) = (print(&one), print(&other)) {
                prop_assert_eq!(a == b, canonical(&one) == canonical(&other), "{} {}", one, other);
                prop_assert_eq!(print(&canonical(&one).expect("JSON")), Some(a));
            }
        }
    }
}
