//! What is asked of a model, as far as it is governed: the body, read strictly, and the headers that bear on it.

use super::body::{self, InvokeHeaders};
use super::edit::{ask_usage, set_limit};
use super::family::Family;
use super::field::Unreadable;
use super::operation::Operation;
use super::refused::Refused;
use crate::json::{Shape, check};
use lambda_http::http::header::{ACCEPT, CONTENT_TYPE};
use lambda_http::http::{HeaderMap, HeaderName};
use serde_json::Value;
use sluice_core::governor::call::Call;

/// Headers of InvokeModel and of chat completions that have a meaning to Bedrock. Any other of its own is refused: nobody knows
/// what it would change.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>
const BEDROCK: [&str; 7] = [
    "accept",
    "content-type",
    "trace",
    "guardrailidentifier",
    "guardrailversion",
    "performanceconfig-latency",
    "service-tier",
];
const PREFIX: &str = "x-amzn-bedrock-";

/// The body of a call.
#[derive(Debug)]
pub struct Ask {
    pub operation: Operation,
    text: String,
    value: Value,
}

impl Ask {
    /// Reads a body: what is ambiguous in it is refused.
    ///
    /// # Errors
    /// When it is no JSON object, has a key twice, or is too deep.
    pub fn read(operation: Operation, body: &[u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(body).map_err(|_| Refused::invalid("the body must be JSON, in UTF-8"))?;
        check(text, Shape::default()).map_err(|faults| {
            let faults = faults.into_vec();
            let first = faults.first().map(|fault| match fault.pointer.is_empty() {
                true => format!("the body {}", fault.message),
                false => format!("{} {}", fault.pointer, fault.message),
            });
            Refused::invalid(first.unwrap_or_default())
        })?;
        let value: Value = serde_json::from_str(text).map_err(|_| Refused::invalid("the body must be JSON"))?;
        if !value.is_object() {
            return Err(Refused::invalid(Unreadable::NotAnObject));
        }
        Ok(Self { operation, text: text.to_owned(), value })
    }

    /// The model, of an operation that names it in its body.
    pub fn model(&self) -> Option<&str> {
        self.value.get("model").and_then(Value::as_str).filter(|_| self.operation == Operation::ChatCompletions)
    }

    pub fn is_stream(&self) -> bool {
        match self.operation {
            Operation::ConverseStream | Operation::InvokeModelWithResponseStream => true,
            Operation::Converse | Operation::InvokeModel | Operation::CountTokens => false,
            Operation::ChatCompletions => self.value.get("stream") == Some(&Value::Bool(true)),
        }
    }

    /// What bears on the cost of the call, of a model of this family.
    ///
    /// # Errors
    /// When something in it cannot be governed.
    pub fn call(&self, family: Option<Family>, headers: &HeaderMap) -> Result<Call, Refused> {
        let header = |name: &str| headers.get(format!("{PREFIX}{name}")).and_then(|value| value.to_str().ok());
        let said = InvokeHeaders {
            service_tier: header("service-tier"),
            latency: header("performanceconfig-latency"),
            guardrail: header("guardrailidentifier"),
        };
        let call = match self.operation {
            Operation::Converse | Operation::ConverseStream => body::converse(&self.value),
            Operation::InvokeModel | Operation::InvokeModelWithResponseStream => {
                body::invoke(family, &self.value, said)
            }
            Operation::ChatCompletions => body::chat(&self.value, said),
            Operation::CountTokens => Ok(Call::default()),
        };
        call.map_err(Refused::invalid)
    }

    /// The body as it is sent: as it came, but for the limit where that was lowered, and for the question for usage that a stream
    /// of chat completions needs. `true` where the caller has not asked that question. `None` where there is no place for a limit.
    pub fn sent(self, family: Option<Family>, lowered_to: Option<u64>) -> Option<(String, bool)> {
        let Self { operation, text, value } = &self;
        let asks = match self.is_stream() && *operation == Operation::ChatCompletions {
            true => ask_usage(text, value),
            false => None,
        };
        let text = asks.as_ref().map(|splice| splice.apply(text));
        let hides_usage = text.is_some();
        let text = text.unwrap_or_else(|| self.text.clone());
        match lowered_to {
            None => Some((text, hides_usage)),
            Some(tokens) => {
                let splice = set_limit(&text, self.operation, family, &self.value, tokens)?;
                Some((splice.apply(&text), hides_usage))
            }
        }
    }
}

/// The body of CountTokens for the input of a call.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>
pub fn counting_body(ask: &Ask) -> Option<String> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    match ask.operation {
        Operation::Converse | Operation::ConverseStream => {
            // Only these bear on the input, and nothing else is taken.
            let known = ["messages", "system", "toolConfig", "additionalModelRequestFields"];
            let fields = known.into_iter().filter_map(|name| Some((name.to_owned(), ask.value.get(name)?.clone())));
            Some(serde_json::json!({"input": {"converse": Value::Object(fields.collect())}}).to_string())
        }
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream => {
            Some(serde_json::json!({"input": {"invokeModel": {"body": STANDARD.encode(&ask.text)}}}).to_string())
        }
        Operation::CountTokens | Operation::ChatCompletions => None,
    }
}

/// The headers that go on to Bedrock. Its callers' own authorization never does.
///
/// # Errors
/// When there is one that nobody knows the meaning of, or one of several values.
pub fn sent_headers(operation: Operation, headers: &HeaderMap) -> Result<HeaderMap, Refused> {
    let mut sent = HeaderMap::new();
    let mut names: Vec<&HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).collect();
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        return Err(Refused::invalid(format_args!("the header {unknown} is not governed")));
    }
    match operation {
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream | Operation::ChatCompletions => {}
        // They say it in their bodies.
        Operation::Converse | Operation::ConverseStream | Operation::CountTokens => names.clear(),
    }
    for name in names.into_iter().chain([&ACCEPT, &CONTENT_TYPE]) {
        let mut values = headers.get_all(name).iter();
        if let Some(value) = values.next() {
            if values.next().is_some() {
                return Err(Refused::invalid(format_args!("the header {name} must be given once")));
            }
            sent.insert(name.clone(), value.clone());
        }
    }
    Ok(sent)
}

fn is_known(name: &HeaderName) -> bool {
    name.as_str().strip_prefix(PREFIX).is_some_and(|name| BEDROCK.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::HeaderValue;
    use serde_json::json;

    #[test]
    fn what_is_ambiguous_or_no_json_is_refused_in_every_operation() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
        for body in [
            &b""[..],
            b"x",
            b"[]",
            b"5",
            b"{} {}",
            b"{\"a\":1,\"a\":1}",
            b"{\"x\":{\"a\":1,\"\\u0061\":1}}",
            b"\xff",
            deep.as_bytes(),
        ] {
            for operation in Operation::ALL {
                let refused = Ask::read(operation, body).expect_err("refused");
                assert_eq!((refused.status(), refused.retry_after_seconds), (400, None));
                assert!(refused.message.len() > 10, "{refused:?}");
            }
        }
        let enough = format!("{{\"a\":{}1{}}}", "[".repeat(62), "]".repeat(62));
        assert!(Ask::read(Operation::Converse, enough.as_bytes()).is_ok());
    }

    #[test]
    fn a_body_is_sent_as_it_came_but_for_what_has_to_change() {
        let text = r#"{ "stream":true, "model" : "openai.gpt-oss-20b-1:0","messages":[],"max_tokens":9e3 }"#;
        let ask = || Ask::read(Operation::ChatCompletions, text.as_bytes()).expect("a body");
        assert_eq!((ask().model(), ask().is_stream()), (Some("openai.gpt-oss-20b-1:0"), true));
        let asking = text.replacen('{', "{\"stream_options\":{\"include_usage\":true},", 1);
        assert_eq!(ask().sent(None, None), Some((asking.clone(), true)));
        assert_eq!(ask().sent(None, Some(1_024)), Some((asking.replace("9e3", "1024"), true)));
        let text = r#"{"messages":[],"inferenceConfig":{"maxTokens":5000}}"#;
        let ask = || Ask::read(Operation::ConverseStream, text.as_bytes()).expect("a body");
        assert_eq!((ask().model(), ask().is_stream()), (None, true));
        assert_eq!(ask().sent(None, None), Some((text.to_owned(), false)));
        assert_eq!(ask().sent(None, Some(1_024)), Some((text.replace("5000", "1024"), false)));
        assert_eq!(Ask::read(Operation::InvokeModel, b"{}").expect("a body").sent(None, Some(5)), None);
    }

    #[test]
    fn the_input_of_a_call_is_counted_by_the_same_body() {
        let body = br#"{"messages":[1],"inferenceConfig":{"maxTokens":5},"system":[2]}"#;
        let count = |operation| counting_body(&Ask::read(operation, body).expect("a body"));
        let converse = json!({"input": {"converse": {"messages": [1], "system": [2]}}});
        let read = |text: Option<String>| text.map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        assert_eq!(read(count(Operation::Converse)), Some(converse));
        let invoke = read(count(Operation::InvokeModel)).expect("a body");
        assert!(invoke["input"]["invokeModel"]["body"].is_string());
        assert_eq!(count(Operation::ChatCompletions), None);
    }

    #[test]
    fn headers_go_on_where_their_meaning_is_known() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            headers
        };
        let pairs = [
            ("accept", "application/json"),
            ("authorization", "Bearer spk.a.b"),
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("x-amz-security-token", "t"),
            ("x-amzn-bedrock-service-tier", "flex"),
            ("x-forwarded-for", "1.2.3.4"),
        ];
        let names = |operation| {
            let sent = sent_headers(operation, &of(&pairs)).expect("known");
            let mut names: Vec<String> = sent.keys().map(ToString::to_string).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(Operation::InvokeModel), ["accept", "content-type", "x-amzn-bedrock-service-tier"]);
        assert_eq!(names(Operation::Converse), ["accept", "content-type"]);
        for pairs in [
            &[("x-amzn-bedrock-surprise", "1")][..],
            &[("x-amzn-bedrock-service-tier", "flex"), ("x-amzn-bedrock-service-tier", "priority")],
        ] {
            assert_eq!(sent_headers(Operation::InvokeModel, &of(pairs)).map_err(|refused| refused.status()), Err(400));
        }
        let call = |headers: &HeaderMap, body: &[u8]| {
            Ask::read(Operation::ChatCompletions, body).and_then(|ask| ask.call(None, headers))
        };
        let guarded = of(&[("x-amzn-bedrock-guardrailidentifier", "g")]);
        assert!(call(&guarded, b"{\"messages\":[]}").expect("understood").has_guardrail);
        assert!(call(&of(&[]), b"{\"max_tokens\":-1}").is_err());
    }
}
