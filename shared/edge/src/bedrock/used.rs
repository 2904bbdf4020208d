//! Reads what a call used from its answer: what each API says, and where.

use serde_json::Value;
use sluice_core::governor::terms::ServiceTier;
use sluice_core::governor::usage::{Reported, TokenUsage};

/// Converse's `usage`, of its answer and of its stream's `metadata` event. Its input leaves out what a cache had part in.
pub fn converse(answer: &Value) -> Option<TokenUsage> {
    let usage = answer.get("usage")?;
    let details = usage.get("cacheDetails").and_then(Value::as_array);
    let hour = details.map(|details| {
        let of_an_hour = details.iter().filter(|detail| detail.get("ttl").and_then(Value::as_str) == Some("1h"));
        of_an_hour.filter_map(|detail| number(detail, "inputTokens")).fold(0, u64::saturating_add)
    });
    TokenUsage::apart(&Reported {
        input: number(usage, "inputTokens"),
        output: number(usage, "outputTokens"),
        cache_read: number(usage, "cacheReadInputTokens"),
        cache_write: number(usage, "cacheWriteInputTokens"),
        cache_write_1h: hour,
    })
}

/// The last chunk of InvokeModelWithResponseStream: `amazon-bedrock-invocationMetrics`.
pub fn invocation_metrics(chunk: &Value) -> Option<Reported> {
    let metrics = chunk.get("amazon-bedrock-invocationMetrics")?;
    Some(Reported {
        input: number(metrics, "inputTokenCount"),
        output: number(metrics, "outputTokenCount"),
        cache_read: number(metrics, "cacheReadInputTokenCount"),
        cache_write: number(metrics, "cacheWriteInputTokenCount"),
        cache_write_1h: None,
    })
}

/// The headers of InvokeModel's answer: `x-amzn-bedrock-{input,output,cache-read-input,cache-write-input}-token-count`.
pub fn headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Reported {
    let number = |name: &str| header(&format!("x-amzn-bedrock-{name}-token-count"))?.parse().ok();
    Reported {
        input: number("input"),
        output: number("output"),
        cache_read: number("cache-read-input"),
        cache_write: number("cache-write-input"),
        cache_write_1h: None,
    }
}

/// Anthropic's messages: `usage` of an answer, of `message_start` and of `message_delta`. Later parts of a stream replace earlier
/// ones ([`Reported::then`]).
pub fn anthropic(part: &Value) -> Option<Reported> {
    let usage = part.get("usage").or_else(|| part.get("message")?.get("usage"))?;
    let hour = usage.get("cache_creation").and_then(|created| number(created, "ephemeral_1h_input_tokens"));
    Some(Reported {
        input: number(usage, "input_tokens"),
        output: number(usage, "output_tokens"),
        cache_read: number(usage, "cache_read_input_tokens"),
        cache_write: number(usage, "cache_creation_input_tokens"),
        cache_write_1h: hour,
    })
}

/// Chat completions' `usage`, of an answer and of a stream's last chunk. Its input is everything that was read.
pub fn chat(part: &Value) -> Option<TokenUsage> {
    let usage = part.get("usage").filter(|usage| !usage.is_null())?;
    let details = usage.get("prompt_tokens_details");
    let detail = |name| details.and_then(|details| number(details, name));
    TokenUsage::of_all(&Reported {
        input: number(usage, "prompt_tokens"),
        output: number(usage, "completion_tokens"),
        cache_read: detail("cached_tokens"),
        cache_write: detail("cache_write_tokens"),
        cache_write_1h: None,
    })
}

/// The tier that really served a call, as Converse (`serviceTier.type`) and chat completions (`service_tier`) say it.
pub fn tier(answer: &Value) -> Option<ServiceTier> {
    let of_converse = answer.get("serviceTier").and_then(|tier| tier.get("type"));
    of_converse.or_else(|| answer.get("service_tier"))?.as_str()?.parse().ok()
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_api_says_what_was_used_in_its_own_way() {
        let used = TokenUsage { input: 100, output: 7, cache_read: 30, cache_write_5m: 15, cache_write_1h: 5 };
        let answer = json!({"usage": {
            "inputTokens": 100, "outputTokens": 7, "totalTokens": 157, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20,
            "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}]}});
        assert_eq!(converse(&answer), Some(used));
        let start = json!({"type": "message_start", "message": {"usage": {
            "input_tokens": 100, "output_tokens": 1, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20,
            "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}}}});
        let delta = json!({"type": "message_delta", "usage": {"output_tokens": 7}});
        let stream = anthropic(&start).zip(anthropic(&delta)).map(|(start, delta)| start.then(delta));
        assert_eq!(stream.and_then(|said| TokenUsage::apart(&said)), Some(used));
        let chunk = json!({"amazon-bedrock-invocationMetrics": {
            "inputTokenCount": 100, "outputTokenCount": 7, "cacheReadInputTokenCount": 30, "cacheWriteInputTokenCount": 20}});
        let alike = TokenUsage { cache_write_5m: 20, cache_write_1h: 0, ..used };
        assert_eq!(invocation_metrics(&chunk).and_then(|said| TokenUsage::apart(&said)), Some(alike));
        let header = |name: &str| match name {
            "x-amzn-bedrock-input-token-count" => Some("100"),
            "x-amzn-bedrock-output-token-count" => Some("7"),
            "x-amzn-bedrock-cache-read-input-token-count" => Some("30"),
            "x-amzn-bedrock-cache-write-input-token-count" => Some("20"),
            _ => None,
        };
        assert_eq!(TokenUsage::apart(&headers(header)), Some(alike));
        let completion = json!({"usage": {
            "prompt_tokens": 150, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30}}});
        let all = TokenUsage { input: 120, output: 7, cache_read: 30, ..TokenUsage::default() };
        assert_eq!(chat(&completion), Some(all));
    }

    #[test]
    fn nobody_knows_where_nothing_is_said() {
        for answer in [
            json!({}),
            json!({"usage": null}),
            json!({"usage": {"inputTokens": 5}}),
            json!({"usage": {"outputTokens": -5}}),
        ] {
            assert_eq!((converse(&answer), chat(&answer)), (None, None), "{answer}");
        }
        assert_eq!(TokenUsage::apart(&headers(|_| None)), None);
        assert_eq!(invocation_metrics(&json!({"outputTokenCount": 5})), None);
    }

    #[test]
    fn the_tier_that_served_is_read() {
        for (answer, found) in [
            (json!({"serviceTier": {"type": "flex"}}), Some(ServiceTier::Flex)),
            (json!({"service_tier": "default"}), Some(ServiceTier::Default)),
            (json!({"service_tier": "scale"}), None),
            (json!({}), None),
        ] {
            assert_eq!(tier(&answer), found, "{answer}");
        }
    }
}
