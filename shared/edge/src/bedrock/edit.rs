//! Writes into a body what the governor has to change, and leaves every other byte as its caller wrote it.
//!
//! **Invariant:** the text that comes out is the text that went in, but for one range of bytes; as JSON it says the same, but for
//! the one member. The text was [checked](crate::json::check): it is JSON, and no key is there twice.

use super::family::Family;
use super::operation::Operation;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::ops::Range;

/// One change of a text: what replaces a range of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    pub at: Range<usize>,
    pub with: String,
}

impl Splice {
    pub fn apply(&self, text: &str) -> String {
        let (before, after) = (text.get(..self.at.start), text.get(self.at.end..));
        [before.unwrap_or_default(), &self.with, after.unwrap_or_default()].concat()
    }
}

/// Sets the member at `path` to a JSON literal. Objects on the way that are not there are made, and so are those that are `null`.
/// `None` where the text is no object.
pub fn set(text: &str, path: &[&str], literal: &str) -> Option<Splice> {
    let (mut object, mut at, mut path) = (text, 0, path);
    loop {
        let (name, rest) = path.split_first()?;
        let members: HashMap<String, &RawValue> = serde_json::from_str(object).ok()?;
        let Some(member) = members.get(*name).map(|member| member.get()) else {
            let open = at + object.find('{')? + 1;
            let comma = if members.is_empty() { "" } else { "," };
            return Some(Splice { at: open..open, with: format!("{}{comma}", pair(name, rest, literal)) });
        };
        at += offset(object, member);
        if rest.is_empty() || !member.starts_with('{') {
            return Some(Splice { at: at..at + member.len(), with: nested(rest, literal) });
        }
        (object, path) = (member, rest);
    }
}

/// Where a part of a text begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

fn pair(name: &str, rest: &[&str], literal: &str) -> String {
    format!("\"{name}\":{}", nested(rest, literal))
}

fn nested(path: &[&str], literal: &str) -> String {
    match path.split_first() {
        Some((name, rest)) => format!("{{{}}}", pair(name, rest, literal)),
        None => literal.to_owned(),
    }
}

/// The members that can hold the limit of an answer, the one that is written where none is there first. None of a family that
/// nobody knows.
fn limits(operation: Operation, family: Option<Family>, body: &Value) -> &'static [&'static [&'static str]] {
    match (operation, family) {
        (Operation::Converse | Operation::ConverseStream, _) => &[&["inferenceConfig", "maxTokens"]],
        (Operation::ChatCompletions, _) => &[&["max_completion_tokens"], &["max_tokens"]],
        (Operation::CountTokens, _) | (_, None) => &[],
        (Operation::InvokeModel | Operation::InvokeModelWithResponseStream, Some(family)) => match family {
            // The old body is the one that has a prompt.
            Family::Anthropic if body.get("prompt").is_some() => &[&["max_tokens_to_sample"], &["max_tokens"]],
            Family::Anthropic => &[&["max_tokens"], &["max_tokens_to_sample"]],
            Family::Nova => &[&["inferenceConfig", "maxTokens"], &["inferenceConfig", "max_new_tokens"]],
            Family::Llama => &[&["max_gen_len"]],
            Family::Titan => &[&["textGenerationConfig", "maxTokenCount"]],
            Family::Mistral | Family::Cohere => &[&["max_tokens"]],
            Family::Chat => &[&["max_tokens"], &["max_completion_tokens"]],
        },
    }
}

/// Writes a limit into a body: where it has one, else where it would have it.
pub fn set_limit(
    text: &str,
    operation: Operation,
    family: Option<Family>,
    body: &Value,
    tokens: u64,
) -> Option<Splice> {
    let paths = limits(operation, family, body);
    let is_given = |path: &&&[&str]| {
        let member = path.iter().try_fold(body, |value, name| value.get(name));
        member.is_some_and(|member| !member.is_null())
    };
    let path = paths.iter().find(is_given).or(paths.first())?;
    set(text, path, &tokens.to_string())
}

/// Asks a stream of chat completions for its usage; `None` where its caller has.
pub fn ask_usage(text: &str, body: &Value) -> Option<Splice> {
    let asked = body.get("stream_options").and_then(|options| options.get("include_usage"));
    if asked == Some(&Value::Bool(true)) { None } else { set(text, &["stream_options", "include_usage"], "true") }
}

#[cfg(test)]
mod tests {
    use super::super::body::{InvokeHeaders, chat, converse, invoke};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn with(text: &str, path: &[&str], literal: &str) -> String {
        set(text, path, literal).map(|splice| splice.apply(text)).unwrap_or_default()
    }

    #[test]
    fn one_range_of_bytes_changes() {
        const LIMIT: &[&str] = &["inferenceConfig", "maxTokens"];
        for (before, path, after) in [
            ("{}", &["a"][..], "{\"a\":7}"),
            (" { \"b\" : 1.50 } ", &["a"], " {\"a\":7, \"b\" : 1.50 } "),
            ("{\"a\": 1e2 ,\"b\":2}", &["a"], "{\"a\": 7 ,\"b\":2}"),
            ("{\"\\u0061\": null}", &["a"], "{\"\\u0061\": 7}"),
            ("{\"é\":\"ﷺ\",\"a\":[{\"a\":1}]}", &["a"], "{\"é\":\"ﷺ\",\"a\":7}"),
            ("{\"x\":{\"a\":1},\"a\":2}", &["a"], "{\"x\":{\"a\":1},\"a\":7}"),
            ("{\"x\":\"{\\\"a\\\":1}\"}", &["a"], "{\"a\":7,\"x\":\"{\\\"a\\\":1}\"}"),
            ("{}", LIMIT, "{\"inferenceConfig\":{\"maxTokens\":7}}"),
            ("{\"inferenceConfig\":null}", LIMIT, "{\"inferenceConfig\":{\"maxTokens\":7}}"),
            ("{\"inferenceConfig\": { }}", LIMIT, "{\"inferenceConfig\": {\"maxTokens\":7 }}"),
            (
                "{\"messages\":[ ],\"inferenceConfig\": {\"topP\":0.90,\n\"maxTokens\" :\t4096}}",
                LIMIT,
                "{\"messages\":[ ],\"inferenceConfig\": {\"topP\":0.90,\n\"maxTokens\" :\t7}}",
            ),
        ] {
            assert_eq!(with(before, path, "7"), after, "{before}");
        }
        assert_eq!(set("[1]", &["a"], "7"), None);
    }

    #[test]
    fn a_limit_is_found_again_where_its_operation_reads_it() {
        let headers = InvokeHeaders::default();
        let families = [
            (Family::Anthropic, json!({"messages": []})),
            (Family::Anthropic, json!({"prompt": "hi"})),
            (Family::Anthropic, json!({"messages": [], "max_tokens": 9_000})),
            (Family::Anthropic, json!({"prompt": "hi", "max_tokens_to_sample": 9_000})),
            (Family::Nova, json!({"messages": []})),
            (Family::Nova, json!({"inferenceConfig": {"max_new_tokens": 9_000, "topP": 0.5}})),
            (Family::Nova, json!({"inferenceConfig": {"maxTokens": 9_000}})),
            (Family::Llama, json!({"prompt": "hi", "max_gen_len": 9_000})),
            (Family::Titan, json!({"inputText": "hi"})),
            (Family::Titan, json!({"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 9_000}})),
            (Family::Mistral, json!({"prompt": "hi"})),
            (Family::Cohere, json!({"message": "hi", "max_tokens": null})),
            (Family::Chat, json!({"messages": [], "max_completion_tokens": 9_000})),
            (Family::Chat, json!({"messages": []})),
        ];
        for (family, body) in families {
            for operation in [Operation::InvokeModel, Operation::InvokeModelWithResponseStream] {
                let text = body.to_string();
                let lowered = set_limit(&text, operation, Some(family), &body, 1_024).expect("a place").apply(&text);
                let lowered: Value = serde_json::from_str(&lowered).expect("JSON");
                let call = invoke(Some(family), &lowered, headers).expect("understood");
                assert_eq!(call.max_tokens, Some(1_024), "{family:?} {body}");
            }
        }
        for body in [json!({}), json!({"inferenceConfig": {"maxTokens": 5_000}})] {
            let text = body.to_string();
            let lowered = set_limit(&text, Operation::Converse, None, &body, 1_024).expect("a place").apply(&text);
            let call = converse(&serde_json::from_str(&lowered).expect("JSON")).expect("understood");
            assert_eq!(call.max_tokens, Some(1_024), "{body}");
        }
        for body in [json!({}), json!({"max_tokens": 5_000}), json!({"max_completion_tokens": 5_000})] {
            let text = body.to_string();
            let lowered =
                set_limit(&text, Operation::ChatCompletions, None, &body, 1_024).expect("a place").apply(&text);
            let call = chat(&serde_json::from_str(&lowered).expect("JSON"), headers).expect("understood");
            assert_eq!(call.max_tokens, Some(1_024), "{body}");
        }
        assert_eq!(set_limit("{}", Operation::InvokeModel, None, &json!({}), 1_024), None);
    }

    #[test]
    fn usage_is_asked_for_once() {
        let asked = |text: &str| {
            let body = serde_json::from_str(text).expect("JSON");
            ask_usage(text, &body).map(|splice| splice.apply(text))
        };
        assert_eq!(asked("{\"stream_options\":{\"include_usage\":true}}"), None);
        for (before, after) in [
            ("{\"stream\":true}", "{\"stream_options\":{\"include_usage\":true},\"stream\":true}"),
            ("{\"stream_options\":{\"include_usage\": false}}", "{\"stream_options\":{\"include_usage\": true}}"),
            ("{\"stream_options\":{\"x\":1}}", "{\"stream_options\":{\"include_usage\":true,\"x\":1}}"),
            ("{\"stream_options\":null}", "{\"stream_options\":{\"include_usage\":true}}"),
        ] {
            assert_eq!(asked(before).as_deref(), Some(after));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key =
                prop_oneof!["[a-c]", Just("inferenceConfig".to_owned()), Just("maxTokens".to_owned()), "\\PC{0,4}"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..4)
                    .prop_map(|members| Value::Object(Map::from_iter(members))),
            ]
        })
    }

    /// What setting the member means, on the parsed value.
    fn set_in(value: &mut Value, path: &[&str], to: &Value) {
        match path.split_first() {
            None => *value = to.clone(),
            Some((name, rest)) => {
                if !value.is_object() {
                    *value = json!({});
                }
                set_in(&mut value[*name], rest, to);
            }
        }
    }

    proptest! {
        /// As JSON it says the same but for the member, and every byte outside of the splice is as it was.
        #[test]
        fn nothing_changes_but_the_member(
            members in proptest::collection::vec(("[a-c]|inferenceConfig", any_json()), 0..5),
            is_pretty in any::<bool>(),
            path in prop_oneof![Just(vec!["a"]), Just(vec!["inferenceConfig", "maxTokens"]), Just(vec!["a", "b", "c"])],
            tokens in any::<u64>(),
        ) {
            let body = Value::Object(Map::from_iter(members));
            let text = if is_pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.expect("JSON");
            let splice = set(&text, &path, &tokens.to_string()).expect("an object");
            let after = splice.apply(&text);
            let mut expected = body;
            set_in(&mut expected, &path, &json!(tokens));
            prop_assert_eq!(serde_json::from_str::<Value>(&after).expect("JSON"), expected);
            prop_assert_eq!(&after[..splice.at.start], &text[..splice.at.start]);
            prop_assert_eq!(&after[splice.at.start + splice.with.len()..], &text[splice.at.end..]);
        }
    }
}
