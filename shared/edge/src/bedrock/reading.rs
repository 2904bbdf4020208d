//! Reads what a body gives a model to read: its text, and whether there is anything else.

use serde_json::{Map, Value};
use sluice_core::governor::call::Input;
use sluice_core::governor::terms::CacheTtl;
use sluice_core::governor::text::most_tokens;
use std::collections::BTreeSet;

/// Members of a block of content that are text, or have text in them: of Converse and Nova, where a block has one of them.
const TEXT_MEMBERS: [&str; 9] = [
    "text",
    "toolUse",
    "toolResult",
    "guardContent",
    "reasoningContent",
    "citationsContent",
    "searchResult",
    "json",
    "cachePoint",
];
/// Types of a block of content that are text: of Anthropic's messages and of chat completions, where a block has a `type`.
const TEXT_TYPES: [&str; 6] = ["text", "tool_use", "tool_result", "thinking", "search_result", "refusal"];
/// Members that are not text wherever they stand in a block.
const OTHER_MEMBERS: [&str; 12] = [
    "image",
    "images",
    "image_url",
    "video",
    "audio",
    "input_audio",
    "document",
    "file",
    "bytes",
    "s3Location",
    "s3Uri",
    "redactedContent",
];
/// Members that are a caller's own data, or a schema: whatever stands in them is text.
const DATA_MEMBERS: [&str; 5] = ["input", "json", "arguments", "inputSchema", "input_schema"];

/// What was read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub input: Input,
    pub cache_writes: BTreeSet<CacheTtl>,
}

impl Reading {
    /// Text in itself.
    pub fn text(&mut self, text: &str) {
        self.input.text_tokens = self.input.text_tokens.saturating_add(most_tokens(text));
    }

    /// JSON that the model is shown as text: tools, schemas, a tool's input. A marker for a cache is a marker here too.
    pub fn data(&mut self, value: &Value) {
        self.walk(value, false);
    }

    /// Something of which only its members are known: text, but for what is known to be something else.
    pub fn wary(&mut self, value: &Value) {
        self.walk(value, true);
    }

    /// The messages of a conversation: each has a role and content.
    pub fn messages(&mut self, value: &Value) {
        for message in value.as_array().into_iter().flatten() {
            self.input.messages += 1;
            for (name, member) in message.as_object().into_iter().flatten() {
                if name == "content" { self.content(member) } else { self.member(name, member, true) }
            }
        }
    }

    /// Content: a text, a block, or blocks.
    pub fn content(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(blocks) => blocks.iter().for_each(|block| self.content(block)),
            Value::Object(block) => self.block(block),
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) => self.data(value),
        }
    }

    fn block(&mut self, block: &Map<String, Value>) {
        let is_known = match block.get("type") {
            Some(kind) => kind.as_str().is_some_and(|kind| TEXT_TYPES.contains(&kind)),
            None => block.keys().all(|name| TEXT_MEMBERS.contains(&name.as_str())),
        };
        if !is_known {
            self.input.has_other_content = true;
        }
        for (name, member) in block {
            match (name.as_str(), member) {
                // The content of a tool's result has blocks of its own.
                ("content", _) => self.content(member),
                ("toolResult", Value::Object(result)) => {
                    for (name, member) in result {
                        if name == "content" { self.content(member) } else { self.member(name, member, true) }
                    }
                }
                (_, _) => self.member(name, member, true),
            }
        }
    }

    fn walk(&mut self, value: &Value, is_wary: bool) {
        match value {
            Value::Null | Value::Bool(_) => self.punctuation(5),
            Value::Number(number) => self.text(&number.to_string()),
            Value::String(text) => {
                self.text(text);
                self.punctuation(2);
            }
            Value::Array(values) => {
                self.punctuation(2);
                for value in values {
                    self.walk(value, is_wary);
                    self.punctuation(1);
                }
            }
            Value::Object(members) => {
                self.punctuation(2);
                members.iter().for_each(|(name, member)| self.member(name, member, is_wary));
            }
        }
    }

    fn member(&mut self, name: &str, value: &Value, is_wary: bool) {
        if matches!(name, "cachePoint" | "cache_control") && !value.is_null() {
            self.marker(value);
            return;
        }
        if is_wary && OTHER_MEMBERS.contains(&name) && !value.is_null() {
            self.input.has_other_content = true;
            return;
        }
        self.text(name);
        // Two quotes, a colon and a comma.
        self.punctuation(4);
        self.walk(value, is_wary && !DATA_MEMBERS.contains(&name));
    }

    /// A lifetime that is not known is as long as any.
    fn marker(&mut self, value: &Value) {
        let ttl = match value.get("ttl").map(Value::as_str) {
            None | Some(Some("5m")) => CacheTtl::FiveMinutes,
            Some(Some(_) | None) => CacheTtl::OneHour,
        };
        self.cache_writes.insert(ttl);
    }

    fn punctuation(&mut self, bytes: u64) {
        self.input.text_tokens = self.input.text_tokens.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(content: &Value) -> Reading {
        let mut reading = Reading::default();
        reading.content(content);
        reading
    }

    #[test]
    fn text_is_text_in_every_api() {
        for content in [
            json!("hello"),
            json!([{"text": "hello"}]),
            json!([{"type": "text", "text": "hello"}]),
            json!([{"toolUse": {"toolUseId": "1", "name": "look", "input": {"image": "cat.png", "bytes": 5}}}]),
            json!([{"type": "tool_use", "id": "1", "name": "look", "input": {"document": {"s3Uri": "s3://x"}}}]),
            json!([{"toolResult": {"toolUseId": "1", "content": [{"text": "a"}, {"json": {"image": 1}}], "status": "success"}}]),
            json!([{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "a"}]}]),
            json!([{"type": "tool_result", "tool_use_id": "1", "content": "a"}]),
            json!([{"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}}}]),
            json!([{"reasoningContent": {"reasoningText": {"text": "a", "signature": "b"}}}]),
            json!([{"type": "thinking", "thinking": "a", "signature": "b"}]),
        ] {
            let reading = read(&content);
            assert!(!reading.input.has_other_content, "{content}");
            // Everything that may be read is counted at least once.
            assert!(reading.input.text_tokens >= 1 && reading.input.text_tokens <= content.to_string().len() as u64);
        }
        assert_eq!(read(&json!("\u{FDFA}")).input.text_tokens, 33);
    }

    #[test]
    fn what_is_not_text_or_not_known_is_other_content() {
        for content in [
            json!([{"image": {"format": "png", "source": {"bytes": "AAAA"}}}]),
            json!([{"document": {"name": "a", "source": {"s3Location": {"uri": "s3://x"}}}}]),
            json!([{"video": {}}]),
            json!([{"audio": {}}]),
            json!([{"hologram": {"text": "a"}}]),
            json!([{"text": "a", "hologram": 1}]),
            json!([{"type": "image", "source": {"type": "url", "url": "https://x"}}]),
            json!([{"type": "document", "source": {"type": "text", "data": "a"}}]),
            json!([{"type": "image_url", "image_url": {"url": "https://x"}}]),
            json!([{"type": "hologram"}]),
            json!([{"type": 5}]),
            json!([{"type": "redacted_thinking", "data": "AAAA"}]),
            json!([{"toolResult": {"toolUseId": "1", "content": [{"image": {"source": {"bytes": "AAAA"}}}]}}]),
            json!([{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "source": {}}]}]),
            json!([{"guardContent": {"image": {"format": "png"}}}]),
            json!([{"reasoningContent": {"redactedContent": "AAAA"}}]),
        ] {
            assert!(read(&content).input.has_other_content, "{content}");
        }
    }

    #[test]
    fn markers_are_found_wherever_they_stand() {
        let (short, hour) = (CacheTtl::FiveMinutes, CacheTtl::OneHour);
        for (content, found) in [
            (json!([{"text": "a"}, {"cachePoint": {"type": "default"}}]), vec![short]),
            (json!([{"cachePoint": {"type": "default", "ttl": "5m"}}]), vec![short]),
            (json!([{"cachePoint": {"type": "default", "ttl": "1h"}}]), vec![hour]),
            (json!([{"cachePoint": {"type": "default", "ttl": "1d"}}]), vec![hour]),
            (json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]), vec![short]),
            (
                json!([{"type": "tool_result", "content": [{"type": "text", "text": "a", "cache_control": {"ttl": "1h"}}]},
                       {"type": "text", "text": "b", "cache_control": {}}]),
                vec![short, hour],
            ),
            (json!([{"type": "text", "text": "a", "cache_control": null}]), vec![]),
        ] {
            assert_eq!(read(&content).cache_writes, BTreeSet::from_iter(found), "{content}");
        }
        let mut tools = Reading::default();
        tools.data(&json!([{"toolSpec": {"name": "look"}}, {"cachePoint": {"type": "default"}}]));
        assert_eq!(tools.cache_writes, BTreeSet::from([short]));
    }

    #[test]
    fn data_counts_at_least_its_own_text() {
        for value in [json!({}), json!([1, null, true, "a\"b"]), json!({"a": {"b": [{"c": -1.5e3}]}, "ﷺ": "ﷺ"})] {
            let mut reading = Reading::default();
            reading.data(&value);
            // An escape is longer as JSON than as text, which is why one letter less may be counted.
            assert!(reading.input.text_tokens + 1 >= value.to_string().len() as u64, "{value}: {reading:?}");
        }
    }
}
