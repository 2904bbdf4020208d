//! Which operation of Bedrock Runtime a path asks for, and of which model.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sluice_core::governor::model_id::ModelId;
use std::borrow::Cow;

/// An operation that is governed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Converse,
    ConverseStream,
    InvokeModel,
    InvokeModelWithResponseStream,
    /// Free, and passed on as it is.
    CountTokens,
    /// Bedrock's own, in OpenAI's words: its model and whether it streams stand in the body.
    ChatCompletions,
}

impl Operation {
    pub const ALL: [Self; 6] = [
        Self::Converse,
        Self::ConverseStream,
        Self::InvokeModel,
        Self::InvokeModelWithResponseStream,
        Self::CountTokens,
        Self::ChatCompletions,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Converse => "Converse",
            Self::ConverseStream => "ConverseStream",
            Self::InvokeModel => "InvokeModel",
            Self::InvokeModelWithResponseStream => "InvokeModelWithResponseStream",
            Self::CountTokens => "CountTokens",
            Self::ChatCompletions => "ChatCompletions",
        }
    }

    /// The last segment of its path, behind the model.
    const fn segment(self) -> Option<&'static str> {
        match self {
            Self::Converse => Some("converse"),
            Self::ConverseStream => Some("converse-stream"),
            Self::InvokeModel => Some("invoke"),
            Self::InvokeModelWithResponseStream => Some("invoke-with-response-stream"),
            Self::CountTokens => Some("count-tokens"),
            Self::ChatCompletions => None,
        }
    }
}

/// Where chat completions are; both are documented.
const CHAT: [&str; 2] = ["/openai/v1/chat/completions", "/v1/chat/completions"];

/// Operations of Bedrock Runtime that are not governed, by the end of their paths: so that a refusal can name them.
const OTHERS: [(&str, &str); 6] = [
    ("/invoke-with-bidirectional-stream", "InvokeModelWithBidirectionalStream"),
    ("/async-invoke", "StartAsyncInvoke"),
    ("/apply", "ApplyGuardrail"),
    ("/responses", "Responses"),
    ("/messages", "Messages"),
    ("/embeddings", "Embeddings"),
];

/// Characters of a path at most that a refusal repeats.
const SHOWN_CHARS: usize = 120;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub operation: Operation,
    /// As the caller named it, its escapes resolved. Chat completions name theirs in the body.
    pub model: Option<String>,
    path: String,
}

/// A path that names no governed operation, by the name of what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not governed: nothing but {} is", names())]
pub struct Ungoverned {
    pub name: String,
    /// Whether its client reads OpenAI's errors.
    pub is_chat: bool,
}

fn names() -> String {
    Operation::ALL.map(Operation::as_str).join(", ")
}

impl Target {
    /// Of a method and the operation's own path. The model is everything between `/model/` and the last segment, escaped once,
    /// twice or not at all.
    ///
    /// # Errors
    /// When it is no governed operation.
    pub fn of(method: &str, path: &str) -> Result<Self, Ungoverned> {
        let ungoverned = || Ungoverned { name: name_of(method, path), is_chat: is_openai(path) };
        if method != "POST" {
            return Err(ungoverned());
        }
        if CHAT.contains(&path) {
            return Ok(Self { operation: Operation::ChatCompletions, model: None, path: path.to_owned() });
        }
        let named = path.strip_prefix("/model/").and_then(|rest| rest.rsplit_once('/'));
        let (model, segment) = named.ok_or_else(ungoverned)?;
        let of_segment = |operation: &Operation| operation.segment() == Some(segment);
        let operation = Operation::ALL.into_iter().find(of_segment).ok_or_else(ungoverned)?;
        let model = unescaped(model);
        let path = format!("/model/{}/{segment}", utf8_percent_encode(&model, SEGMENT));
        Ok(Self { operation, model: Some(model.into_owned()), path })
    }

    /// The path by which Bedrock itself is asked: the model is one segment, escaped once.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path by which the input of this call is counted; of chat completions nobody counts it.
    pub fn counting_path(&self) -> Option<String> {
        let model = self.model.as_ref()?;
        Some(format!("/model/{}/count-tokens", utf8_percent_encode(model, SEGMENT)))
    }

    /// The model by the name that stands in the path, or in the body.
    pub fn model_id(&self, of_body: Option<&str>) -> Option<ModelId> {
        self.model.as_deref().or(of_body)?.parse().ok()
    }
}

/// Everything but what RFC 3986 leaves as it is, as botocore escapes a segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A model's name, which never has a `%` of its own, with its escapes resolved: a client escapes it, and a gateway may do so again.
fn unescaped(text: &str) -> Cow<'_, str> {
    let once = percent_decode_str(text).decode_utf8_lossy();
    if once.contains('%') {
        return percent_decode_str(&once).decode_utf8_lossy().into_owned().into();
    }
    once
}

fn is_openai(path: &str) -> bool {
    path.starts_with("/openai/") || path.starts_with("/v1/")
}

fn name_of(method: &str, path: &str) -> String {
    if let Some((_, name)) = OTHERS.iter().find(|(end, _)| path.ends_with(end)) {
        return (*name).to_owned();
    }
    let is_shown = |c: &char| c.is_ascii_graphic();
    format!("{method} {path}").chars().filter(|c| is_shown(c) || *c == ' ').take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARN: &str = "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.anthropic.claude-v1:0";

    #[test]
    fn a_model_is_named_escaped_doubly_escaped_or_not() {
        let twice = |id: &str| id.replace(':', "%253A").replace('/', "%252F");
        let once = |id: &str| id.replace(':', "%3A").replace('/', "%2F");
        for id in ["anthropic.claude-v1:0", ARN] {
            for named in [id.to_owned(), once(id), once(id).replace("%3A", "%3a"), twice(id)] {
                for operation in Operation::ALL {
                    let Some(segment) = operation.segment() else { continue };
                    let target = Target::of("POST", &format!("/model/{named}/{segment}")).expect("governed");
                    assert_eq!((target.operation, target.model.as_deref()), (operation, Some(id)), "{named}");
                    assert_eq!(target.path(), format!("/model/{}/{segment}", once(id)));
                    assert_eq!(target.model_id(None), id.parse().ok());
                    assert_eq!(target.counting_path(), Some(format!("/model/{}/count-tokens", once(id))));
                }
            }
        }
    }

    #[test]
    fn chat_completions_name_their_model_in_the_body() {
        for path in CHAT {
            let target = Target::of("POST", path).expect("governed");
            assert_eq!((target.operation, target.path()), (Operation::ChatCompletions, path));
            assert_eq!(target.model_id(Some("openai.gpt-oss-20b-1:0")), "openai.gpt-oss-20b-1:0".parse().ok());
            assert_eq!((target.model_id(None), target.counting_path()), (None, None));
        }
    }

    #[test]
    fn anything_else_is_not_governed_and_named() {
        for (method, path, name, is_chat) in [
            ("GET", "/model/a.b/converse", "GET /model/a.b/converse", false),
            ("POST", "", "POST ", false),
            ("POST", "/model/converse", "POST /model/converse", false),
            ("POST", "/prefix/model/a.b/converse", "POST /prefix/model/a.b/converse", false),
            ("POST", "/async-invoke", "StartAsyncInvoke", false),
            ("POST", "/guardrail/g/version/1/apply", "ApplyGuardrail", false),
            ("POST", "/model/a.b/invoke-with-bidirectional-stream", "InvokeModelWithBidirectionalStream", false),
            ("POST", "/openai/v1/responses", "Responses", true),
            ("GET", "/v1/models\n", "GET /v1/models", true),
        ] {
            let ungoverned = Target::of(method, path).expect_err("not governed");
            assert_eq!((ungoverned.name.as_str(), ungoverned.is_chat), (name, is_chat), "{method} {path}");
            assert!(ungoverned.to_string().contains("ConverseStream"));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_path_is_what_is_sent_on_is_one_segment_and_ascii(path in "/model/\\PC{0,60}/converse|\\PC{0,60}") {
            if let Ok(target) = Target::of("POST", &path) {
                prop_assert!(target.path().is_ascii());
                if target.model.is_some() {
                    prop_assert_eq!(target.path().matches('/').count(), 3);
                    prop_assert_eq!(Target::of("POST", target.path()).map(|again| again.path().to_owned()).is_ok(), true);
                }
            }
        }
    }
}
