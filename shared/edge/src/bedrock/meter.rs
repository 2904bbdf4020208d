//! Reads what a call used while its answer passes.
//!
//! **Invariants:** bytes go on as they come, but for the events of chat completions that the caller has not asked for; usage that
//! is told before an answer is over counts only where it says that it is the last word; where nothing is told, nobody knows.
//!
//! Decision (2026-11-28): what a guardrail looks at is told only where its trace is asked for, in forms of its own for each policy.
//! So its text units are bounded instead: those of the whole input, and of as many tokens as were written.

use super::family::Family;
use super::frames::{Frame, Frames};
use super::lines::Lines;
use super::operation::Operation;
use super::used;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lambda_http::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_core::governor::call::Call;
use sluice_core::governor::terms::ServiceTier;
use sluice_core::governor::usage::{CallEnd, CallUsage, Reported, TokenUsage};
use sluice_core::governor::worst_case::{input_text_units, output_text_units};

/// Bytes of an answer in one piece of which the usage is read: the most that Bedrock sends.
const MOST_BYTES: usize = 25 << 20;

/// Reads one answer.
#[derive(Debug)]
pub struct Meter {
    operation: Operation,
    family: Option<Family>,
    reader: Reader,
    seen: Seen,
    /// Text units of a guardrail on the input, where there is one.
    guarded: Option<u64>,
}

#[derive(Debug)]
enum Reader {
    /// An answer in one piece; `None` once it is too long.
    Whole(Option<Vec<u8>>),
    Frames(Frames),
    Lines {
        lines: Lines,
        hides_usage: bool,
    },
}

/// What was told so far.
#[derive(Debug, Default)]
struct Seen {
    said: Reported,
    /// The last word.
    tokens: Option<TokenUsage>,
    tier: Option<ServiceTier>,
}

impl Meter {
    /// Of a call by this operation. `hides_usage`: its caller has not asked for the usage of a stream of chat completions.
    pub fn new(operation: Operation, family: Option<Family>, call: &Call, is_stream: bool, hides_usage: bool) -> Self {
        let reader = match (operation, is_stream) {
            (Operation::ChatCompletions, true) => Reader::Lines { lines: Lines::new(hides_usage), hides_usage },
            (_, true) => Reader::Frames(Frames::default()),
            (_, false) => Reader::Whole(Some(Vec::new())),
        };
        let guarded = call.has_guardrail.then(|| input_text_units(call));
        Self { operation, family, reader, seen: Seen::default(), guarded }
    }

    /// The headers of an answer that is a success.
    pub fn head(&mut self, headers: &HeaderMap) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        self.seen.said = self.seen.said.then(used::headers(header));
        self.seen.tier = header("x-amzn-bedrock-service-tier").and_then(|tier| tier.parse().ok());
    }

    /// Takes what has come, and gives what goes on.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        let Self { operation, family, reader, seen, .. } = self;
        match reader {
            Reader::Whole(kept) => {
                match kept {
                    Some(whole) if whole.len() + bytes.len() <= MOST_BYTES => whole.extend_from_slice(&bytes),
                    Some(_) | None => *kept = None,
                }
                bytes
            }
            Reader::Frames(frames) => {
                frames.push(&bytes, |frame| seen.frame(*operation, *family, frame));
                bytes
            }
            Reader::Lines { lines, hides_usage } => lines.push(bytes, |data| seen.event(data, *hides_usage)),
        }
    }

    /// The answer is over, as far as it has come: what has yet to go on.
    pub fn end(&mut self) -> Bytes {
        let Self { operation, family, reader, seen, .. } = self;
        match reader {
            Reader::Whole(kept) => {
                let body = kept.take().and_then(|whole| serde_json::from_slice::<Value>(&whole).ok());
                seen.whole(*operation, *family, &body.unwrap_or_default());
                Bytes::new()
            }
            Reader::Frames(_) => Bytes::new(),
            Reader::Lines { lines, hides_usage } => lines.rest(|data| seen.event(data, *hides_usage)),
        }
    }

    /// What tells the caller that the answer ends too early, where its form can say so: an answer in one piece is no JSON then.
    pub fn broken(&mut self, message: &str) -> Bytes {
        match &self.reader {
            Reader::Whole(_) => Bytes::new(),
            Reader::Frames(frames) => frames.broken(message),
            Reader::Lines { lines, .. } => {
                let error =
                    json!({"error": {"message": message, "type": "server_error", "code": "ModelErrorException"}});
                // An event that is under way ends here, and is no JSON.
                let before = if lines.is_within() { "\n\n" } else { "" };
                format!("{before}data: {error}\n\n").into()
            }
        }
    }

    /// How the call has ended, of an answer that was a success.
    pub fn call_end(&self) -> CallEnd {
        let Some(tokens) = self.seen.tokens else { return CallEnd::Unknown };
        // In all answers together.
        let guardrail_text_units =
            self.guarded.map_or(0, |units| units.saturating_add(output_text_units(tokens.output, 1)));
        CallEnd::Used(CallUsage { tokens, tier: self.seen.tier, guardrail_text_units })
    }
}

/// A chunk of InvokeModelWithResponseStream.
#[derive(Deserialize)]
struct Chunk {
    bytes: String,
}

impl Seen {
    fn frame(&mut self, operation: Operation, family: Option<Family>, frame: &Frame) {
        if !frame.is_event {
            return;
        }
        if operation == Operation::ConverseStream {
            if frame.name == "metadata" {
                self.converse(&serde_json::from_slice(&frame.payload).unwrap_or_default());
            }
            return;
        }
        let chunk = serde_json::from_slice::<Chunk>(&frame.payload).ok();
        let Some(part) = chunk.and_then(|chunk| STANDARD.decode(chunk.bytes).ok()) else { return };
        // Most parts have text alone.
        let part = String::from_utf8_lossy(&part);
        if ["usage\"", "invocationMetrics\"", "message_stop"].iter().any(|mark| part.contains(mark)) {
            self.chunk(family, &serde_json::from_str(&part).unwrap_or_default());
        }
    }

    fn chunk(&mut self, family: Option<Family>, part: &Value) {
        let mut is_last = false;
        if family == Some(Family::Anthropic) {
            self.said = self.said.then(used::anthropic(part).unwrap_or_default());
            is_last = part.get("type").and_then(Value::as_str) == Some("message_stop");
        }
        let metrics = used::invocation_metrics(part);
        if metrics.is_some() || is_last {
            self.said = self.said.then(metrics.unwrap_or_default());
            self.tokens = TokenUsage::apart(&self.said).or(self.tokens);
        } else if family == Some(Family::Chat) {
            self.tokens = used::chat(part).or(self.tokens);
        }
        self.tier = used::tier(part).or(self.tier);
    }

    fn converse(&mut self, answer: &Value) {
        self.tokens = used::converse(answer).or(self.tokens);
        self.tier = used::tier(answer).or(self.tier);
    }

    /// Whether an event of chat completions goes on to the caller.
    fn event(&mut self, data: &str, hides_usage: bool) -> bool {
        if !data.contains("\"usage\"") && !data.contains("\"service_tier\"") {
            return true;
        }
        let part: Value = serde_json::from_str(data).unwrap_or_default();
        let usage = used::chat(&part);
        self.tokens = usage.or(self.tokens);
        self.tier = used::tier(&part).or(self.tier);
        let has_choices = part.get("choices").and_then(Value::as_array).is_some_and(|choices| !choices.is_empty());
        !(hides_usage && usage.is_some() && !has_choices)
    }

    fn whole(&mut self, operation: Operation, family: Option<Family>, body: &Value) {
        match (operation, family) {
            (Operation::Converse | Operation::ConverseStream, _) => self.converse(body),
            (Operation::ChatCompletions, _) => {
                self.tokens = used::chat(body);
                self.tier = used::tier(body).or(self.tier);
            }
            (Operation::InvokeModel | Operation::InvokeModelWithResponseStream, family) => {
                if family == Some(Family::Anthropic) {
                    self.said = self.said.then(used::anthropic(body).unwrap_or_default());
                }
                let of_chat = || (family == Some(Family::Chat)).then(|| used::chat(body)).flatten();
                self.tokens = TokenUsage::apart(&self.said).or_else(of_chat);
                self.tier = used::tier(body).or(self.tier);
            }
            (Operation::CountTokens, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::tests::event;
    use super::*;
    use lambda_http::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const USED: TokenUsage =
        TokenUsage { input: 100, output: 7, cache_read: 30, cache_write_5m: 15, cache_write_1h: 5 };

    /// Reads an answer in these pieces; what goes on, and how the call has ended.
    fn read(mut meter: Meter, pieces: &[&[u8]]) -> (Vec<u8>, CallEnd) {
        let mut on = Vec::new();
        for piece in pieces {
            on.extend_from_slice(&meter.push(Bytes::copy_from_slice(piece)));
        }
        on.extend_from_slice(&meter.end());
        (on, meter.call_end())
    }

    fn used(tokens: TokenUsage, tier: Option<ServiceTier>) -> CallEnd {
        CallEnd::Used(CallUsage { tokens, tier, guardrail_text_units: 0 })
    }

    fn chunk(part: &Value) -> Vec<u8> {
        event("chunk", &json!({"bytes": STANDARD.encode(part.to_string()), "p": "abc"}).to_string())
    }

    fn converse_usage() -> Value {
        json!({
            "usage": {
                "inputTokens": 100, "outputTokens": 7, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}],
            },
            "serviceTier": {"type": "flex"},
        })
    }

    fn anthropic_usage() -> Value {
        json!({
            "input_tokens": 100, "output_tokens": 1, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20,
            "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
        })
    }

    fn chat_usage() -> Value {
        json!({"prompt_tokens": 150, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}})
    }

    type Answer = (&'static str, fn() -> Meter, Vec<u8>, CallEnd);

    /// One answer of each API and family: how it is read, its bytes, and what is to be seen of it.
    fn answers() -> Vec<Answer> {
        let one_kind = TokenUsage { cache_write_5m: 20, cache_write_1h: 0, ..USED };
        let metrics = json!({"amazon-bedrock-invocationMetrics": {
            "inputTokenCount": 100, "outputTokenCount": 7, "cacheReadInputTokenCount": 30, "cacheWriteInputTokenCount": 20}});
        let mut stop = metrics.clone();
        stop["type"] = "message_stop".into();
        let messages = |last: &Value| {
            [
                chunk(&json!({"type": "message_start", "message": {"usage": anthropic_usage()}})),
                chunk(&json!({"type": "content_block_delta", "delta": {"text": "usage of words"}})),
                chunk(&json!({"type": "message_delta", "usage": {"output_tokens": 7}})),
                chunk(last),
            ]
            .concat()
        };
        let converse = [
            event("messageStart", "{\"role\":\"assistant\"}"),
            event("contentBlockDelta", "{\"delta\":{\"text\":\"hi\"}}"),
            event("metadata", &converse_usage().to_string()),
        ]
        .concat();
        let said = |value: &Value| format!("data: {value}\n\n");
        let lines = [
            said(&json!({"choices": [{"delta": {"content": "hi"}}], "usage": null})),
            said(&json!({"choices": [], "usage": chat_usage(), "service_tier": "priority"})),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat();
        let of_chat = json!({"choices": [{}], "usage": chat_usage()}).to_string();
        let whole_converse = converse_usage().to_string();
        let mut message = json!({"content": [], "usage": anthropic_usage()});
        message["usage"]["output_tokens"] = 7.into();
        vec![
            (
                "converse",
                || Meter::new(Operation::Converse, None, &Call::default(), false, false),
                whole_converse.into_bytes(),
                used(USED, Some(ServiceTier::Flex)),
            ),
            (
                "converse stream",
                || Meter::new(Operation::ConverseStream, None, &Call::default(), true, false),
                converse,
                used(USED, Some(ServiceTier::Flex)),
            ),
            ("messages", || of_invoke(Family::Anthropic, false), message.to_string().into_bytes(), used(USED, None)),
            ("messages in a stream", || of_invoke(Family::Anthropic, true), messages(&stop), used(USED, None)),
            (
                "messages without metrics",
                || of_invoke(Family::Anthropic, true),
                messages(&json!({"type": "message_stop"})),
                used(USED, None),
            ),
            (
                "llama in a stream",
                || of_invoke(Family::Llama, true),
                [chunk(&json!({"generation": "hi"})), chunk(&metrics)].concat(),
                used(one_kind, None),
            ),
            ("chat", || of_chat_completions(false, false), of_chat.clone().into_bytes(), used(chat_tokens(), None)),
            ("chat by invoke", || of_invoke(Family::Chat, false), of_chat.into_bytes(), used(chat_tokens(), None)),
            (
                "chat in a stream",
                || of_chat_completions(true, false),
                lines.clone().into_bytes(),
                used(chat_tokens(), Some(ServiceTier::Priority)),
            ),
            (
                "chat, hidden",
                || of_chat_completions(true, true),
                lines.into_bytes(),
                used(chat_tokens(), Some(ServiceTier::Priority)),
            ),
        ]
    }

    fn chat_tokens() -> TokenUsage {
        TokenUsage { cache_write_5m: 20, cache_write_1h: 0, ..USED }
    }

    fn of_invoke(family: Family, is_stream: bool) -> Meter {
        let operation = if is_stream { Operation::InvokeModelWithResponseStream } else { Operation::InvokeModel };
        Meter::new(operation, Some(family), &Call::default(), is_stream, false)
    }

    fn of_chat_completions(is_stream: bool, hides_usage: bool) -> Meter {
        Meter::new(Operation::ChatCompletions, None, &Call::default(), is_stream, hides_usage)
    }

    proptest! {
        /// Wherever an answer is cut on its way, its usage is the same, and its bytes go on as they came.
        #[test]
        fn usage_is_the_same_however_an_answer_is_cut(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10)) {
            for (name, meter, answer, expected) in answers() {
                let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
                at.extend([0, answer.len()]);
                at.sort_unstable();
                let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &answer[pair[0]..pair[1]]).collect();
                let (on, end) = read(meter(), &pieces);
                prop_assert_eq!(end, expected, "{}", name);
                if name == "chat, hidden" {
                    let on = String::from_utf8(on).expect("text");
                    prop_assert!(!on.contains("prompt_tokens") && on.contains("hi") && on.ends_with("[DONE]\n\n"), "{}", on);
                } else {
                    prop_assert_eq!(on, answer, "{}", name);
                }
            }
        }

        /// An answer that breaks off before its usage was told, anywhere: nobody knows what it used.
        #[test]
        fn of_an_answer_that_breaks_off_nobody_knows(end in any::<prop::sample::Index>()) {
            for (name, meter, answer, expected) in answers() {
                let (_, found) = read(meter(), &[&answer[..end.index(answer.len())]]);
                prop_assert!(found == CallEnd::Unknown || found == expected, "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn headers_tell_the_usage_of_an_answer_in_one_piece() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("input", 100), ("output", 7), ("cache-read-input", 30), ("cache-write-input", 20)] {
            let name = HeaderName::from_bytes(format!("x-amzn-bedrock-{name}-token-count").as_bytes()).expect("a name");
            headers.insert(name, HeaderValue::from(value));
        }
        for family in [Some(Family::Mistral), Some(Family::Nova), None] {
            let mut meter = Meter::new(Operation::InvokeModel, family, &Call::default(), false, false);
            meter.head(&headers);
            assert_eq!(read(meter, &[b"{}"]).1, used(chat_tokens(), None), "{family:?}");
        }
        // Anthropic's body tells the lifetimes apart, which no header does.
        let mut message = json!({"usage": anthropic_usage()});
        message["usage"]["output_tokens"] = 7.into();
        let mut meter = of_invoke(Family::Anthropic, false);
        meter.head(&headers);
        assert_eq!(read(meter, &[message.to_string().as_bytes()]).1, used(USED, None));
    }

    #[test]
    fn families_that_tell_nothing_leave_the_hold_as_the_cost() {
        for family in [Family::Cohere, Family::Chat, Family::Mistral] {
            assert_eq!(read(of_invoke(family, false), &[b"{\"text\":\"hi\"}"]).1, CallEnd::Unknown);
            assert_eq!(read(of_invoke(family, true), &[&chunk(&json!({"text": "hi"}))]).1, CallEnd::Unknown);
        }
        let exception = Frames::default().broken("over");
        assert_eq!(read(of_invoke(Family::Anthropic, true), &[&exception]).1, CallEnd::Unknown);
    }

    #[test]
    fn a_guardrail_is_paid_for_all_that_it_may_have_looked_at() {
        let mut call = Call { has_guardrail: true, ..Call::default() };
        (call.input.text_tokens, call.input.messages) = (1_500, 1);
        let meter = Meter::new(Operation::Converse, None, &call, false, false);
        let (_, end) = read(meter, &[converse_usage().to_string().as_bytes()]);
        let CallEnd::Used(usage) = end else { panic!("{end:?}") };
        assert_eq!(usage.guardrail_text_units, 3 + 1);
    }

    #[test]
    fn a_stream_of_lines_that_breaks_off_says_so() {
        let mut meter = of_chat_completions(true, true);
        assert!(meter.push(Bytes::from_static(b"data: {\"choi")).is_empty());
        let said = String::from_utf8(meter.broken("over").to_vec()).expect("text");
        assert!(said.starts_with("\n\ndata: {\"error\"") && said.ends_with("\n\n"), "{said}");
    }
}
