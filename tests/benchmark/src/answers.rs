//! What the calls of one kind of event are answered, taken down once and said again as often as wanted.
//!
//! A read is known by what it asks for, anything else by its name; and where one event asks the same twice, the second
//! answer may be another. The times in a question are left out of account: the table stands still while it is measured.

use crate::error::{Error, Result};
use crate::services::Answer;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Calls that change nothing.
const READS: [&str; 7] =
    ["GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems", "DescribeExecution", "ListExecutions"];

pub fn is_read(operation: &str) -> bool {
    READS.contains(&operation)
}

/// The answers to one kind of event.
#[derive(Clone, Debug, Default)]
pub struct Script {
    known: HashMap<u64, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    /// The question, to notice when another one has the same key.
    asked: Value,
    /// In the order of one event; the last of them is said again after it.
    answers: Vec<Arc<Answer>>,
}

/// How often each question was asked since the event began.
#[derive(Clone, Debug, Default)]
pub struct Asked(HashMap<u64, usize>);

impl Script {
    /// What was answered to this question, if it was ever asked.
    pub fn answer(&self, asked: &mut Asked, operation: &str, body: &str) -> Option<Arc<Answer>> {
        let key = key(operation, body);
        let known = self.known.get(&key)?;
        let times = asked.0.entry(key).or_default();
        *times += 1;
        known.answers.get(*times - 1).or(known.answers.last()).cloned()
    }

    /// Takes an answer down.
    ///
    /// # Errors
    /// When the question could be mistaken for another one.
    pub fn note(&mut self, asked: &mut Asked, operation: &str, body: &str, answer: Arc<Answer>) -> Result<()> {
        let key = key(operation, body);
        let question = if is_read(operation) { timeless(body)? } else { Value::Null };
        let known = self.known.entry(key).or_insert_with(|| Known { asked: question.clone(), answers: Vec::new() });
        if known.asked != question {
            return Err(Error::Wrong(format!(
                "two questions that are hard to tell apart: {question} and {}",
                known.asked
            )));
        }
        let times = asked.0.entry(key).or_default();
        // The second event of the kind is answered alike.
        if *times == known.answers.len() {
            known.answers.push(answer);
        }
        *times += 1;
        Ok(())
    }
}

/// A number for the question, found without reading the JSON: its strings in whatever order, for SDKs write the fields of an
/// object in any.
fn key(operation: &str, body: &str) -> u64 {
    let strings = if is_read(operation) { body } else { "" };
    strings.split('"').map(hash).fold(hash(operation), u64::wrapping_add)
}

/// FNV-1a of the text without its times.
fn hash(text: &str) -> u64 {
    let (mut rest, mut hash) = (text.as_bytes(), 0xcbf2_9ce4_8422_2325_u64);
    if is_window(rest) {
        return hash;
    }
    while let Some(byte) = rest.first() {
        let time = time(rest);
        if time > 0 {
            rest = &rest[time..];
        } else {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            rest = &rest[1..];
        }
    }
    hash
}

/// How many bytes of a time the text begins with: RFC 3339, whole or cut off after the date.
fn time(text: &[u8]) -> usize {
    if text.get(4) != Some(&b'-') || text.get(7) != Some(&b'-') {
        return 0;
    }
    let is_date = [0..4, 5..7, 8..10]
        .into_iter()
        .all(|digits| text.get(digits).is_some_and(|some| some.iter().all(u8::is_ascii_digit)));
    let is_more = |byte: &&u8| byte.is_ascii_digit() || b"T:.Z-".contains(*byte);
    if is_date { 10 + text[10..].iter().take_while(is_more).count() } else { 0 }
}

/// Whether the text is a number with zeros before it: a meter's window of time, or a part of one.
fn is_window(text: &[u8]) -> bool {
    text.len() >= 10 && text.starts_with(b"00") && text.iter().all(u8::is_ascii_digit)
}

/// The text without its times.
fn without_times(text: &str) -> String {
    if is_window(text.as_bytes()) {
        return String::new();
    }
    let mut without = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let time = time(rest.as_bytes());
        if time > 0 {
            rest = &rest[time..];
        } else {
            without.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    without
}

/// The question without what is as of now.
fn timeless(body: &str) -> Result<Value> {
    let mut question = serde_json::from_str(body).map_err(Error::wrong("a call's body"))?;
    forget_times(&mut question);
    Ok(question)
}

fn forget_times(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_times(text),
        Value::Array(values) => {
            values.iter_mut().for_each(forget_times);
            // The keys of a batch come in any order.
            values.sort_by_cached_key(ToString::to_string);
        }
        Value::Object(fields) => fields.values_mut().for_each(forget_times),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Arc<Answer> {
        Arc::new(Answer::whole(200, text.to_owned()))
    }

    fn body(answer: Option<Arc<Answer>>) -> Option<String> {
        answer.map(|answer| answer.text().to_owned())
    }

    const READ: &str = r#"{"Key": {"pk": {"S": "a"}, "sk": {"S": "b"}}}"#;

    #[test]
    fn what_was_said_is_said_again_in_order() {
        let mut script = Script::default();
        let mut asked = Asked::default();
        for text in ["before", "after"] {
            script.note(&mut asked, "GetItem", READ, said(text)).expect("noted");
        }
        script.note(&mut asked, "UpdateItem", r#"{"new": 1}"#, said("written")).expect("noted");
        // The same event once more.
        let mut asked = Asked::default();
        script.note(&mut asked, "GetItem", READ, said("before, later")).expect("noted");
        let mut asked = Asked::default();
        let turned = r#"{"Key": {"sk": {"S": "b"}, "pk": {"S": "a"}}}"#;
        assert_eq!(body(script.answer(&mut asked, "GetItem", turned)).as_deref(), Some("before"));
        for _ in 0..2 {
            assert_eq!(body(script.answer(&mut asked, "GetItem", READ)).as_deref(), Some("after"));
        }
        assert_eq!(body(script.answer(&mut asked, "UpdateItem", r#"{"new": 2}"#)).as_deref(), Some("written"));
        assert_eq!(script.answer(&mut asked, "GetItem", r#"{"Key": {"pk": {"S": "c"}}}"#), None);
        assert_eq!(script.answer(&mut asked, "PutItem", READ), None);
    }

    #[test]
    fn times_make_no_other_question() {
        let mut script = Script::default();
        let at = |time: &str| format!(r#"{{"IndexName": "due", ":now": {{"S": "METER#{time}#a"}}}}"#);
        script.note(&mut Asked::default(), "Query", &at("2026-11-22T04:40:00Z"), said("none")).expect("noted");
        let window = |number: &str| format!(r#"{{"Key": {{"pk": {{"S": "METER#a"}}, "sk": {{"S": "{number}"}}}}}}"#);
        script.note(&mut Asked::default(), "GetItem", &window("000029918240"), said("none")).expect("noted");
        assert!(script.answer(&mut Asked::default(), "GetItem", &window("000029918241")).is_some());
        assert!(script.answer(&mut Asked::default(), "GetItem", &window("1")).is_none());
        for time in ["2027-01-01T00:00:00.123Z", "2026-11-22T04:41"] {
            assert!(script.answer(&mut Asked::default(), "Query", &at(time)).is_some(), "{time}");
        }
        assert!(script.answer(&mut Asked::default(), "Query", &at("2026")).is_none());
    }

    #[test]
    fn questions_that_could_be_mistaken_are_noticed() {
        let mut script = Script::default();
        script.note(&mut Asked::default(), "GetItem", READ, said("one")).expect("noted");
        let swapped = r#"{"Key": {"pk": {"S": "b"}, "sk": {"S": "a"}}}"#;
        assert!(script.note(&mut Asked::default(), "GetItem", swapped, said("another")).is_err());
    }
}
