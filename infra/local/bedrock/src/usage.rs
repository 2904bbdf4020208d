//! What a call used, token by token.

use serde::Serialize;

/// Tokens of a call by kind, and what else is billed with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens that were neither read from a cache nor written to one.
    pub input: u64,
    /// Thinking included.
    pub output: u64,
    pub cache_read: u64,
    #[serde(rename = "cacheWrite5m")]
    pub cache_write_5m: u64,
    #[serde(rename = "cacheWrite1h")]
    pub cache_write_1h: u64,
    /// Thousands of characters that a guardrail looked at, begun ones included.
    pub guardrail_text_units: u64,
}

impl Usage {
    pub const fn cache_write(&self) -> u64 {
        self.cache_write_5m + self.cache_write_1h
    }

    /// Everything that was read, from wherever.
    pub const fn context(&self) -> u64 {
        self.input + self.cache_read + self.cache_write()
    }
}
