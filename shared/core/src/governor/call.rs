//! What a call says that bears on its cost, whatever API it is made over.
//!
//! Decision (2026-11-28): the core knows no wire format, so bodies are read by the edge (`edge/src/bedrock/`), a reader for each
//! API and family of models; a [`Call`] is all that comes of it. A part of a body that a reader does not understand is not
//! skipped: it is [other content](Input::has_other_content) where it may be read by the model, a call without a limit where it
//! may be written by it, or refused.

use crate::governor::terms::{CacheTtl, ServiceTier};
use std::collections::BTreeSet;

/// Tokens that a request has beside its text: the frame that a model's template puts around it.
const FRAME_TOKENS: u64 = 64;
/// Tokens that a message has beside its text: its role and its ends.
const MESSAGE_TOKENS: u64 = 16;
/// Tokens that tools have beside their text: the prompt that tells the model how to call them.
const TOOLS_TOKENS: u64 = 1_024;

/// What the model is given to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The sum of [`most_tokens`](crate::governor::text::most_tokens) of every text: of the system, of messages, of tools with
    /// their schemas and results.
    pub text_tokens: u64,
    pub messages: u64,
    pub has_tools: bool,
    /// Whether anything is in it of which the tokens cannot be told from the text: an image, a document, video, audio, something
    /// in S3, variables of a managed prompt.
    pub has_other_content: bool,
    /// What `CountTokens` says of it: as many as will be billed.
    pub counted: Option<u64>,
}

impl Input {
    /// Tokens of it at most, of a model that reads so many.
    pub fn most_tokens(&self, context_tokens: u64) -> u64 {
        let tokens = match (self.counted, self.has_other_content) {
            (Some(counted), _) => counted,
            (None, true) => context_tokens,
            (None, false) => self
                .text_tokens
                .saturating_add(FRAME_TOKENS)
                .saturating_add(self.messages.saturating_mul(MESSAGE_TOKENS))
                .saturating_add(if self.has_tools { TOOLS_TOKENS } else { 0 }),
        };
        tokens.min(context_tokens)
    }
}

/// A call of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub input: Input,
    /// Tokens that it may write at most, thinking included; `None` where it says nothing.
    pub max_tokens: Option<u64>,
    /// Tokens of these that it may think with, where it says so.
    pub thinking_tokens: Option<u64>,
    /// Answers that it asks for: each may be as long as the limit. OpenAI's `n`, Cohere's `num_generations`.
    pub answers: u64,
    /// Whether a limit can be written into it. Some reasoning modes take none, and then write as much as the model can.
    pub takes_limit: bool,
    /// For how long it asks parts of its input to be kept.
    pub cache_writes: BTreeSet<CacheTtl>,
    pub tier: ServiceTier,
    pub has_guardrail: bool,
    pub is_latency_optimized: bool,
    /// Whether it lets the model use tools that the service runs and bills by itself.
    pub uses_system_tools: bool,
}

impl Default for Call {
    /// One without anything in it.
    fn default() -> Self {
        Self {
            input: Input::default(),
            max_tokens: None,
            thinking_tokens: None,
            answers: 1,
            takes_limit: true,
            cache_writes: BTreeSet::new(),
            tier: ServiceTier::Default,
            has_guardrail: false,
            is_latency_optimized: false,
            uses_system_tools: false,
        }
    }
}

/// Why a call cannot be made of its model, priced or not. The operation's own validation error says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    #[error("the limit of tokens must be from 1 to {0}, as many as the model writes")]
    Limit(u64),
    #[error("the limit of tokens must be more than the {0} to think with")]
    Thinking(u64),
    #[error("at least one answer must be asked for")]
    Answers,
}

/// Tokens below which no call is lowered that asked for more: an answer that short is of no use.
const LEAST_LOWERED: u64 = 1_024;

/// How long each answer of a call may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputRange {
    /// The fewest tokens to which it can be lowered.
    pub least: u64,
    /// As many as it asks for.
    pub most: u64,
}

impl Call {
    /// How long its answers may be, of a model that writes so many tokens.
    ///
    /// # Errors
    /// When the model would refuse it.
    pub fn output(&self, model_most: u64) -> Result<OutputRange, InvalidCall> {
        if self.answers == 0 {
            return Err(InvalidCall::Answers);
        }
        let most = match self.max_tokens {
            Some(asked) if !(1..=model_most).contains(&asked) => return Err(InvalidCall::Limit(model_most)),
            Some(asked) if self.takes_limit => asked,
            Some(_) | None => model_most,
        };
        let thinking = self.thinking_tokens.unwrap_or_default();
        if thinking >= most && thinking > 0 {
            return Err(InvalidCall::Thinking(thinking));
        }
        let least = if self.takes_limit { LEAST_LOWERED.max(thinking.saturating_add(1)).min(most) } else { most };
        Ok(OutputRange { least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_read_is_bounded_by_text_frame_and_context() {
        let input = Input { text_tokens: 100, messages: 3, ..Input::default() };
        assert_eq!(input.most_tokens(200_000), 100 + 64 + 48);
        assert_eq!(Input { has_tools: true, ..input }.most_tokens(200_000), 100 + 64 + 48 + 1_024);
        assert_eq!(input.most_tokens(150), 150);
        let image = Input { has_other_content: true, ..input };
        assert_eq!(image.most_tokens(200_000), 200_000);
        assert_eq!(Input { counted: Some(77), ..image }.most_tokens(200_000), 77);
        let huge = Input { text_tokens: u64::MAX, messages: u64::MAX, has_tools: true, ..Input::default() };
        assert_eq!(huge.most_tokens(u64::MAX), u64::MAX);
    }

    #[test]
    fn an_answer_is_as_long_as_was_asked_and_not_lowered_below_what_is_of_use() {
        let call = |max_tokens, thinking_tokens| Call { max_tokens, thinking_tokens, ..Call::default() };
        for (max_tokens, thinking, range) in [
            (None, None, Ok((1_024, 64_000))),
            (Some(4_096), None, Ok((1_024, 4_096))),
            (Some(100), None, Ok((100, 100))),
            (Some(1), None, Ok((1, 1))),
            (Some(8_192), Some(4_000), Ok((4_001, 8_192))),
            (Some(8_192), Some(500), Ok((1_024, 8_192))),
            (None, Some(32_000), Ok((32_001, 64_000))),
            (Some(64_000), None, Ok((1_024, 64_000))),
            (Some(64_001), None, Err(InvalidCall::Limit(64_000))),
            (Some(0), None, Err(InvalidCall::Limit(64_000))),
            (Some(4_000), Some(4_000), Err(InvalidCall::Thinking(4_000))),
        ] {
            let found = call(max_tokens, thinking).output(64_000);
            assert_eq!(found, range.map(|(least, most)| OutputRange { least, most }), "{max_tokens:?} {thinking:?}");
        }
        assert_eq!(Call { answers: 0, ..Call::default() }.output(64_000), Err(InvalidCall::Answers));
    }

    #[test]
    fn a_call_that_takes_no_limit_may_write_as_much_as_the_model_can() {
        let reasoning = Call { takes_limit: false, max_tokens: Some(10), ..Call::default() };
        assert_eq!(reasoning.output(64_000), Ok(OutputRange { least: 64_000, most: 64_000 }));
    }
}
