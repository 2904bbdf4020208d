//! Which operation a request asks for, and of which model, by its path. No prefix is taken: this is the service itself.

use percent_encoding::percent_decode_str;

/// An operation of Bedrock Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Converse,
    ConverseStream,
    InvokeModel,
    InvokeModelWithResponseStream,
    CountTokens,
    ChatCompletions,
}

impl Operation {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Converse => "Converse",
            Self::ConverseStream => "ConverseStream",
            Self::InvokeModel => "InvokeModel",
            Self::InvokeModelWithResponseStream => "InvokeModelWithResponseStream",
            Self::CountTokens => "CountTokens",
            Self::ChatCompletions => "ChatCompletions",
        }
    }
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub operation: Operation,
    /// Chat completions name their model in the body.
    pub model: Option<String>,
}

impl Target {
    /// By method and path, with or without a query. The model is everything between `/model/` and the last segment, its
    /// escapes resolved.
    pub fn of(method: &str, target: &str) -> Option<Self> {
        if method != "POST" {
            return None;
        }
        let path = target.split('?').next().unwrap_or(target);
        if ["/openai/v1/chat/completions", "/v1/chat/completions"].contains(&path) {
            return Some(Self { operation: Operation::ChatCompletions, model: None });
        }
        let (model, operation) = path.strip_prefix("/model/")?.rsplit_once('/')?;
        let operation = match operation {
            "converse" => Operation::Converse,
            "converse-stream" => Operation::ConverseStream,
            "invoke" => Operation::InvokeModel,
            "invoke-with-response-stream" => Operation::InvokeModelWithResponseStream,
            "count-tokens" => Operation::CountTokens,
            _ => return None,
        };
        let model = percent_decode_str(model).decode_utf8().ok()?.into_owned();
        (!model.is_empty()).then_some(Self { operation, model: Some(model) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_escaped_or_not_and_by_its_arn() {
        const ARN: &str = "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.anthropic.claude-v1:0";
        for (path, model) in [
            ("/model/anthropic.claude-v1:0/converse", "anthropic.claude-v1:0"),
            ("/model/anthropic.claude-v1%3A0/converse", "anthropic.claude-v1:0"),
            (&format!("/model/{}/converse?x=1", ARN.replace(':', "%3A").replace('/', "%2F")), ARN),
            (&format!("/model/{ARN}/converse"), ARN),
        ] {
            let found = Target::of("POST", path);
            assert_eq!(found, Some(Target { operation: Operation::Converse, model: Some(model.to_owned()) }), "{path}");
        }
    }

    #[test]
    fn anything_else_is_no_operation() {
        for (method, path) in [
            ("GET", "/model/a.b/converse"),
            ("POST", "/prefix/model/a.b/converse"),
            ("POST", "/model/a.b/async-invoke"),
            ("POST", "/model//converse"),
            ("POST", "/model/converse"),
            ("POST", "/g/t.r.s/n/1/openai/v1/chat/completions"),
            ("POST", "/guardrail/g/version/1/apply"),
        ] {
            assert_eq!(Target::of(method, path), None, "{method} {path}");
        }
    }
}
