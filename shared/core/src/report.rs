//! What comes from outside while a run is open: inputs to its nodes, progress, comments, and the tokens that let a
//! worker without an identity report on one run.
//!
//! Decision (2026-11-22): a report token is made on request (`POST …/report-tokens`) and not handed to every
//! processor: in an execution's input or history it could be read by whoever may read executions.

use crate::canonical::sha256_hex;
use crate::id::{NodeId, TenantId};
use crate::run::RunError;
use crate::time::millis;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an external node is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeOutcome {
    /// Its result: JSON text, as its giver wrote it.
    Result(String),
    /// The attempt failed; the node's `retry` says whether it waits again.
    Failure(RunError),
}

/// An answer to an external node, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    pub outcome: NodeOutcome,
    /// Who gave it: a caller, or the holder of a report token.
    pub by: String,
    pub at: Timestamp,
}

/// An answer to an external node as lists have it: without what was given, which may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// What the store finds the rest by.
    pub key: String,
    pub node_id: NodeId,
    /// Whether the attempt was failed.
    pub is_failure: bool,
    /// Bytes of what was given.
    pub bytes: usize,
    pub by: String,
    pub at: Timestamp,
}

impl NodeOutcome {
    /// Bytes of the result, or of the error's code and message.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Result(value) => value.len(),
            Self::Failure(error) => error.code.len() + error.message.len(),
        }
    }
}

/// How far a node has come, as its worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(with = "millis")]
    pub at: Timestamp,
}

impl Progress {
    /// What is known after this report: what it leaves out stays as it was.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        Self {
            percent: self.percent.or_else(|| before?.percent),
            message: self.message.or_else(|| before?.message.clone()),
            at: self.at,
        }
    }
}

/// A remark on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    /// A UUID of version 7: comments sort by their ids.
    pub id: String,
    pub text: String,
    pub by: String,
    #[serde(with = "millis")]
    pub at: Timestamp,
}

/// What is kept of a report token: never the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportToken {
    /// SHA-256 of the token's text.
    pub hash: String,
    /// The one node it is for; `None` for any of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    #[serde(with = "millis")]
    pub expires_at: Timestamp,
    pub created_by: String,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
}

/// The text of a report token: `srt.<tenant in hex>.<secret>`. The tenant says where to look; only the hash of the whole
/// text lets anybody in.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl std::fmt::Debug for TokenText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenText(…)")
    }
}

impl TokenText {
    const PREFIX: &'static str = "srt";

    /// A token of `tenant` with a random `secret` of at least 128 bits.
    pub fn new(tenant: &TenantId, secret: &str) -> Self {
        let tenant: String = tenant.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}.{tenant}.{secret}", Self::PREFIX))
    }

    /// The token and its tenant, or `None` for what is no token of ours.
    pub fn read(text: &str) -> Option<(Self, TenantId)> {
        let [prefix, tenant, secret] = text.split('.').collect::<Vec<_>>()[..] else { return None };
        if prefix != Self::PREFIX
            || tenant.len() % 2 != 0
            || secret.is_empty()
            || !tenant.is_ascii()
            || text.len() > 1_024
        {
            return None;
        }
        let bytes = (0..tenant.len()).step_by(2).map(|at| u8::from_str_radix(&tenant[at..at + 2], 16).ok());
        let tenant = String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()?.parse().ok()?;
        Some((Self(text.to_owned()), tenant))
    }

    pub fn hash(&self) -> String {
        sha256_hex(&[&self.0])
    }

    /// For its first and only showing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_tenant_and_hides_itself() {
        let tenant: TenantId = "mine:1".parse().expect("a tenant");
        let token = TokenText::new(&tenant, "s3cret");
        assert_eq!(token.reveal(), "srt.6d696e653a31.s3cret");
        assert_eq!(TokenText::read(token.reveal()), Some((token.clone(), tenant)));
        assert_eq!(format!("{token:?}"), "TokenText(…)");
        assert_eq!(token.hash().len(), 64);
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in
            ["", "srt", "srt..", "srt.6d.", "xyz.6d.s", "srt.6.s", "srt.zz.s", "srt.23.s", "srt.6d.s.t", "srt.ä1.s"]
        {
            assert_eq!(TokenText::read(text), None, "{text}");
        }
    }
}
