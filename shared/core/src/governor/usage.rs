//! What a call used, as each API says it.
//!
//! **Invariant:** `input` never has the tokens that were read from a cache or written to one. Converse, Anthropic's messages
//! and `amazon-bedrock-invocationMetrics` say it so; OpenAI's `prompt_tokens` has them all.

use crate::governor::terms::ServiceTier;
use serde::{Deserialize, Serialize};

/// Tokens of a call, each in one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenUsage {
    /// Neither read from a cache nor written to one.
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    #[serde(rename = "cacheWrite5m")]
    pub cache_write_5m: u64,
    #[serde(rename = "cacheWrite1h")]
    pub cache_write_1h: u64,
}

/// Tokens as an API reports them. `None`: it says nothing of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    /// Of every lifetime.
    pub cache_write: Option<u64>,
    /// The part of `cache_write` that is kept for an hour.
    pub cache_write_1h: Option<u64>,
}

impl TokenUsage {
    /// Everything that the model has read: what a price above a context threshold goes by.
    pub const fn context(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Of an API whose input leaves out what a cache had part in: Converse, Anthropic's messages, the headers of InvokeModel and
    /// the metrics of its stream. `None` where input or output is missing: then nobody knows what was used.
    pub fn apart(reported: &Reported) -> Option<Self> {
        let (input, output) = (reported.input?, reported.output?);
        let (cache_write_5m, cache_write_1h) = reported.cache_writes();
        let cache_read = reported.cache_read.unwrap_or_default();
        Some(Self { input, output, cache_read, cache_write_5m, cache_write_1h })
    }

    /// Of an API whose input is everything that was read: OpenAI's chat completions.
    pub fn of_all(reported: &Reported) -> Option<Self> {
        let apart = Self::apart(reported)?;
        let cached = apart.context().saturating_sub(apart.input);
        Some(Self { input: apart.input.saturating_sub(cached), ..apart })
    }
}

impl Reported {
    /// For five minutes, and for an hour. Where the parts are not told apart, all was written for five minutes: longer ones are
    /// only written where the call asks for them, and then they are told apart.
    fn cache_writes(&self) -> (u64, u64) {
        let (all, hour) = (self.cache_write.unwrap_or_default(), self.cache_write_1h.unwrap_or_default());
        (all.saturating_sub(hour), hour)
    }

    /// What is known after a later part of a stream: its counts are of the whole call so far, and replace the earlier ones.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            input: later.input.or(self.input),
            output: later.output.or(self.output),
            cache_read: later.cache_read.or(self.cache_read),
            cache_write: later.cache_write.or(self.cache_write),
            cache_write_1h: later.cache_write_1h.or(self.cache_write_1h),
        }
    }
}

/// What a call that was served used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallUsage {
    pub tokens: TokenUsage,
    /// The tier that really served it, where the answer says so.
    pub tier: Option<ServiceTier>,
    /// Text units that a guardrail has looked at.
    pub guardrail_text_units: u64,
}

/// How a call ended, as far as it bears on its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It was served, and said what it used.
    Used(CallUsage),
    /// It was refused before the model ran (400, 403, 404, 429), or never sent.
    NotRun,
    /// Nobody can tell: it may have been served, wholly or in part.
    Unknown,
}

impl CallEnd {
    /// Of an answer with an HTTP status that is no success: what was refused before the model ran costs nothing.
    pub const fn of_error(status: u16) -> Self {
        match status {
            400 | 403 | 404 | 429 => Self::NotRun,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Reported = Reported {
        input: Some(100),
        output: Some(7),
        cache_read: Some(30),
        cache_write: Some(20),
        cache_write_1h: Some(5),
    };

    #[test]
    fn cached_tokens_count_once_in_each_convention() {
        let apart = TokenUsage { input: 100, output: 7, cache_read: 30, cache_write_5m: 15, cache_write_1h: 5 };
        assert_eq!((TokenUsage::apart(&SAID), apart.context()), (Some(apart), 150));
        let of_all = TokenUsage { input: 50, ..apart };
        assert_eq!((TokenUsage::of_all(&SAID), of_all.context()), (Some(of_all), 100));
    }

    #[test]
    fn nothing_is_known_without_input_and_output() {
        assert_eq!(TokenUsage::apart(&Reported { input: None, ..SAID }), None);
        assert_eq!(TokenUsage::of_all(&Reported { output: None, ..SAID }), None);
        let plain = Reported { cache_read: None, cache_write: None, cache_write_1h: None, ..SAID };
        assert_eq!(TokenUsage::apart(&plain).map(|usage| usage.context()), Some(100));
    }

    #[test]
    fn a_stream_s_later_counts_replace_its_earlier_ones() {
        // Anthropic: message_start has the input and a first count of the output, message_delta the last one.
        let start = Reported { output: Some(1), ..SAID };
        let delta = Reported { output: Some(7), ..Reported::default() };
        assert_eq!(start.then(delta), SAID);
    }

    #[test]
    fn only_what_was_refused_before_the_model_ran_is_free() {
        for status in 100..600 {
            let is_free = matches!(status, 400 | 403 | 404 | 429);
            assert_eq!(CallEnd::of_error(status) == CallEnd::NotRun, is_free, "{status}");
        }
    }
}
