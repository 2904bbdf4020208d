//! What comes from outside while a run is open: answers and inputs, progress, report tokens, comments.

use super::form::{
    Item, ItemError, ItemResult, Map, attributes, check, n, number, parsed, read, set, stamped, text, write,
};
use crate::dynamo::keys;
use jiff::SignedDuration;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::report::{AnswerHead, Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use sluice_core::run::RunError;
use sluice_core::step::StepStatus;
use sluice_core::time::rfc3339_millis;

const INPUT: &str = "input";
const GIVEN: &str = "given";
/// What an input was.
const DATA: &str = "data";
const FAILURE: &str = "failure";
const REPORT_TOKEN: &str = "report-token";
const COMMENT: &str = "comment";

/// How long an expired token's item stays at least: whoever still shows it is told so, and not that it never was.
const TOKEN_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Where an item keeps an outcome.
pub(super) struct OutcomeNames {
    result: &'static str,
    error_code: &'static str,
    error_message: &'static str,
}

const OF_A_STEP: OutcomeNames =
    OutcomeNames { result: "answer", error_code: "answerErrorCode", error_message: "answerErrorMessage" };
pub(super) const OF_AN_INPUT: OutcomeNames =
    OutcomeNames { result: "value", error_code: "errorCode", error_message: "errorMessage" };

impl OutcomeNames {
    pub(super) fn write(&self, item: &mut Item, outcome: &NodeOutcome) {
        match outcome {
            NodeOutcome::Result(value) => set(item, [(self.result, value.clone())]),
            NodeOutcome::Failure(RunError { code, message }) => {
                set(item, [(self.error_code, code.clone()), (self.error_message, message.clone())]);
            }
        }
    }

    pub(super) fn read(&self, item: &Item) -> Option<NodeOutcome> {
        if let Some(result) = text(item, self.result) {
            return Some(NodeOutcome::Result(result.to_owned()));
        }
        let code = text(item, self.error_code)?.to_owned();
        let message = text(item, self.error_message).unwrap_or_default().to_owned();
        Some(NodeOutcome::Failure(RunError { code, message }))
    }
}

/// Task token and answer of a step that waits and has an answer to this very wait.
pub fn to_answer(item: &Item) -> ItemResult<Option<(String, NodeOutcome)>> {
    check(super::run::STEP, item)?;
    let (status, token) = (text(item, "status"), text(item, "taskToken"));
    if status != Some(StepStatus::Waiting.as_str()) || text(item, "answeredToken") != token {
        return Ok(None);
    }
    Ok(token.map(str::to_owned).zip(OF_A_STEP.read(item)))
}

/// The line of an answer in its run's list of inputs, and what was given with it. `rev` is the run's, as the answer leaves it.
pub fn from_input(tenant: &TenantId, run_id: RunId, rev: u64, node_id: &NodeId, answer: &NodeAnswer) -> [Item; 2] {
    let key = keys::input(tenant, run_id, answer.at, rev, node_id);
    let given = keys::given(tenant, run_id, &key.sk);
    let mut head = stamped(Item::new(), INPUT, key);
    let outcome = if matches!(answer.outcome, NodeOutcome::Failure(_)) { FAILURE } else { DATA };
    let texts = [("nodeId", node_id.to_string()), ("at", rfc3339_millis(answer.at)), ("by", answer.by.clone())];
    set(&mut head, texts);
    set(&mut head, [("outcome", outcome.to_owned())]);
    head.insert("bytes".into(), n(answer.outcome.bytes()));
    let mut item = stamped(Item::new(), GIVEN, given);
    OF_AN_INPUT.write(&mut item, &answer.outcome);
    [head, item]
}

pub fn to_input(item: &Item) -> ItemResult<AnswerHead> {
    check(INPUT, item)?;
    let outcome: String = parsed(INPUT, item, "outcome")?;
    Ok(AnswerHead {
        key: parsed(INPUT, item, keys::SK)?,
        node_id: parsed(INPUT, item, "nodeId")?,
        is_failure: outcome == FAILURE,
        bytes: number(INPUT, item, "bytes")?,
        by: parsed(INPUT, item, "by")?,
        at: parsed(INPUT, item, "at")?,
    })
}

pub fn to_given(item: &Item) -> ItemResult<NodeOutcome> {
    check(GIVEN, item)?;
    OF_AN_INPUT.read(item).ok_or(ItemError::Attribute { kind: GIVEN, attribute: OF_AN_INPUT.result })
}

/// How far a node has come: a map in its step.
pub fn progress(progress: &Progress) -> ItemResult<Map> {
    attributes("progress", progress)
}

/// `ttl` lets DynamoDB clean up some time after the token has expired.
pub fn from_report_token(tenant: &TenantId, run_id: RunId, token: &ReportToken) -> ItemResult<Item> {
    let mut item = write(REPORT_TOKEN, token, keys::report_token(tenant, run_id, &token.hash))?;
    let ttl = token.expires_at.as_second().saturating_add(TOKEN_GRACE.as_secs());
    item.insert("ttl".into(), n(ttl));
    Ok(item)
}

pub fn to_report_token(item: Item) -> ItemResult<ReportToken> {
    read(REPORT_TOKEN, item)
}

pub fn from_comment(tenant: &TenantId, run_id: RunId, comment: &Comment) -> ItemResult<Item> {
    write(COMMENT, comment, keys::comment(tenant, run_id, &comment.id))
}

pub fn to_comment(item: Item) -> ItemResult<Comment> {
    read(COMMENT, item)
}
