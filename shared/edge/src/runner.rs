//! What the runner's second generation asks of `advance-run`. Read strictly: it is written by our own state machine alone, so
//! whatever is not as it must be is an error, and nothing is guessed.
//!
//! **Invariant:** the text of a result goes on as it came, number by number.

use crate::wire::usage;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::flow::advance_run::{Asked, Conclusion, Ended};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::number::whole_option;
use sluice_core::report::NodeOutcome;
use sluice_core::run::RunError;
use sluice_core::usage::LlmCall;
use std::collections::BTreeMap;

/// Workers of a run, at most.
const WORKERS: usize = 40;
/// Characters of a task token, at most.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html>
const TOKEN_CHARS: usize = 2_048;
/// The error of a result whose usage cannot be recorded.
const INVALID_USAGE: &str = "Sluice.InvalidUsage";
/// Errors of the engine's own that no further attempt mends.
const FINAL: [&str; 2] = ["States.DataLimitExceeded", "States.QueryEvaluationError"];

/// What is asked.
#[derive(Debug, PartialEq)]
pub enum Question {
    /// A worker asks what to do.
    Work(Asked),
    /// All workers have left: how is the run to end?
    Outcome { tenant_id: TenantId, run_id: RunId },
}

/// A question that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    pub reason: String,
    /// What its asker waits with, where that can be read.
    pub token: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    #[serde(borrow)]
    detail: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WorkDetail<'a> {
    tenant_id: TenantId,
    run_id: RunId,
    #[serde(default, deserialize_with = "whole_option")]
    worker: Option<u64>,
    #[serde(default, deserialize_with = "whole_option")]
    turn: Option<u64>,
    token: String,
    #[serde(borrow)]
    ended: Option<EndedDetail<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndedDetail<'a> {
    unit: UnitDetail,
    #[serde(default, borrow, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    error: Option<String>,
    cause: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UnitDetail {
    node: NodeId,
    #[serde(default, deserialize_with = "whole_option")]
    item: Option<u64>,
    #[serde(default, deserialize_with = "whole_option")]
    iteration: Option<u64>,
    #[serde(default, deserialize_with = "whole_option")]
    attempt: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OutcomeDetail {
    tenant_id: TenantId,
    run_id: RunId,
}

/// Tells a result that is `null` from none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Question {
    /// Reads what the function was invoked with. `now` is when usage in a result counts as reported.
    ///
    /// # Errors
    /// For whatever the runner does not ask.
    pub fn read(text: &str, now: Timestamp) -> Result<Self, Malformed> {
        let bad = |reason: String| Malformed { reason, token: token_in(text) };
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        match (envelope.source.as_str(), envelope.detail_type.as_str()) {
            ("sluice.runner", "Work Asked For") => {
                let detail: WorkDetail<'_> =
                    serde_json::from_str(envelope.detail.get()).map_err(|error| bad(error.to_string()))?;
                detail.asked(now).map(Self::Work).map_err(|reason| bad(reason.to_owned()))
            }
            ("sluice.runner", "Outcome Asked For") => {
                let OutcomeDetail { tenant_id, run_id } =
                    serde_json::from_str(envelope.detail.get()).map_err(|error| bad(error.to_string()))?;
                Ok(Self::Outcome { tenant_id, run_id })
            }
            (source, kind) => Err(bad(format!("not for this function: {source:?} {kind:?}"))),
        }
    }
}

/// The token in what may be anything.
fn token_in(text: &str) -> Option<String> {
    let read: Value = serde_json::from_str(text).ok()?;
    read["detail"]["token"].as_str().filter(|token| is_token(token)).map(str::to_owned)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= TOKEN_CHARS
}

impl WorkDetail<'_> {
    fn asked(self, now: Timestamp) -> Result<Asked, &'static str> {
        let worker = self.worker.and_then(|worker| usize::try_from(worker).ok()).filter(|worker| *worker < WORKERS);
        if !is_token(&self.token) {
            return Err("the worker has no token");
        }
        Ok(Asked {
            tenant_id: self.tenant_id,
            run_id: self.run_id,
            worker: worker.ok_or("there is no such worker")?,
            turn: counted(self.turn).ok_or("there is no such turn")?,
            token: self.token,
            ended: self.ended.map(|ended| ended.ended(now)).transpose()?,
        })
    }
}

/// Of what is counted from 1.
fn counted(number: Option<u64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number >= 1)
}

impl EndedDetail<'_> {
    fn ended(self, now: Timestamp) -> Result<Ended, &'static str> {
        let UnitDetail { node: node_id, item, iteration, attempt } = self.unit;
        let item = item.map(u32::try_from).transpose().map_err(|_| "there is no such item")?;
        let iteration = counted(iteration).ok_or("there is no such iteration")?;
        let attempt = counted(attempt).ok_or("there is no such attempt")?;
        let mut ended = Ended {
            outcome: NodeOutcome::Result(String::new()),
            is_final: false,
            usage: Vec::new(),
            node_id,
            item,
            iteration,
            attempt,
        };
        match (self.value, self.error) {
            (Some(value), None) if self.cause.is_none() => match reported(value, &ended, now) {
                Ok(usage) => {
                    ended.usage = usage;
                    ended.outcome = NodeOutcome::Result(value.get().to_owned());
                }
                // What is not counted must not go on being spent.
                Err(reason) => {
                    ended.is_final = true;
                    ended.outcome = NodeOutcome::Failure(RunError::of_processor(INVALID_USAGE, &reason));
                }
            },
            (None, Some(error)) => {
                ended.is_final = FINAL.contains(&error.as_str());
                let cause = self.cause.unwrap_or_default();
                ended.outcome = NodeOutcome::Failure(RunError::of_processor(&error, &cause));
            }
            (Some(_) | None, _) => return Err("an attempt ends with a result or with an error"),
        }
        Ok(ended)
    }
}

/// The LLM calls that a result tells of: `usage` of an object, where that is a list.
fn reported(value: &RawValue, ended: &Ended, now: Timestamp) -> Result<Vec<LlmCall>, String> {
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()) else { return Ok(Vec::new()) };
    let Some(listed) = fields.get("usage").filter(|listed| listed.get().starts_with('[')) else {
        return Ok(Vec::new());
    };
    let listed: Value = serde_json::from_str(listed.get()).map_err(|error| error.to_string())?;
    if listed.as_array().is_none_or(Vec::is_empty) {
        return Ok(Vec::new());
    }
    usage::of_result(&listed, &ended.node_id, &place(ended), now).map_err(|faults| faults.to_string())
}

/// An attempt of a node, as the ids of its calls name it.
fn place(ended: &Ended) -> String {
    let Ended { item, iteration, attempt, .. } = ended;
    match item {
        None if *iteration == 1 => attempt.to_string(),
        None => format!("{iteration}.{attempt}"),
        Some(item) => format!("{item}.{iteration}.{attempt}"),
    }
}

/// How a run is to end, as the runner is told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ConclusionView {
    Results { results: Box<RawValue> },
    Failure { error: String, cause: String },
}

impl ConclusionView {
    /// # Errors
    /// For results that are no JSON.
    pub fn of(conclusion: Conclusion) -> serde_json::Result<Self> {
        Ok(match conclusion {
            Conclusion::Results(results) => Self::Results { results: RawValue::from_string(results)? },
            Conclusion::Failure { error, cause } => Self::Failure { error, cause },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RUN: &str = "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f";

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().expect("a time")
    }

    /// A question with what ended, as JSON text.
    fn asks(ended: &str) -> String {
        format!(
            r#"{{"source":"sluice.runner","detail-type":"Work Asked For","detail":{{"tenantId":"dev","runId":"{RUN}","worker":0,"turn":2,"token":"t","ended":{ended}}}}}"#
        )
    }

    fn ended(text: &str) -> Ended {
        match Question::read(&asks(text), now()).expect("a question") {
            Question::Work(asked) => asked.ended.expect("something ended"),
            Question::Outcome { .. } => panic!("another question"),
        }
    }

    const UNIT: &str = r#""unit":{"node":"report","iteration":1,"attempt":2}"#;

    #[test]
    fn a_result_keeps_its_text() {
        for value in
            [r#"{"n": 1.10, "big": 12345678901234567890123}"#, "null", "1.0e400", r#""é""#, "[ ]", r#"{"usage":[]}"#]
        {
            let ended = ended(&format!(r#"{{{UNIT},"value":{value}}}"#));
            assert_eq!((ended.outcome, ended.is_final), (NodeOutcome::Result(value.to_owned()), false));
            assert_eq!((ended.item, ended.iteration, ended.attempt, ended.usage), (None, 1, 2, Vec::new()));
        }
    }

    #[test]
    fn an_error_is_what_the_processor_said_and_final_where_no_attempt_mends_it() {
        for (error, is_final) in
            [("Text.TooShort", false), ("States.Timeout", false), (FINAL[0], true), (FINAL[1], true)]
        {
            let cause = r#"{"errorType":"X","errorMessage":"three words"}"#;
            let ended = ended(
                &json!({"unit": {"node": "report", "item": 3, "iteration": 2, "attempt": 1},
                "error": error, "cause": cause})
                .to_string(),
            );
            assert_eq!(ended.outcome, NodeOutcome::Failure(RunError::of_processor(error, cause)), "{error}");
            assert_eq!((ended.is_final, ended.item, ended.iteration), (is_final, Some(3), 2), "{error}");
        }
    }

    #[test]
    fn usage_in_a_result_is_told_apart_by_its_attempt_and_what_cannot_be_read_fails_it() {
        let call = r#"{"provider":"p","model":"m","costUsd":0.25}"#;
        for (unit, id) in [
            (r#"{"node":"report","iteration":1,"attempt":2}"#, "report/2/0"),
            (r#"{"node":"report","iteration":3,"attempt":2}"#, "report/3.2/0"),
            (r#"{"node":"report","item":7,"iteration":1,"attempt":2}"#, "report/7.1.2/0"),
        ] {
            let ended = ended(&format!(r#"{{"unit":{unit},"value":{{"usage":[{call}]}}}}"#));
            let ids: Vec<_> = ended.usage.iter().map(|call| call.call_id.as_str()).collect();
            assert_eq!(ids, [id]);
        }
        for usage in ["[1]", r#"[{"provider":"p"}]"#, r#"[{"provider":"p","model":"m","cost":1}]"#] {
            let ended = ended(&format!(r#"{{{UNIT},"value":{{"usage":{usage}}}}}"#));
            let NodeOutcome::Failure(error) = ended.outcome else { panic!("{usage} counts") };
            assert_eq!(
                (error.code.as_str(), ended.is_final, ended.usage),
                (INVALID_USAGE, true, Vec::new()),
                "{usage}"
            );
        }
        // Not a list: its own affair, as in the first generation.
        assert_eq!(ended(&format!(r#"{{{UNIT},"value":{{"usage":"none"}}}}"#)).usage, []);
    }

    #[test]
    fn what_the_runner_does_not_ask_is_refused_with_its_token_where_there_is_one() {
        let good = asks("null");
        assert!(Question::read(&good, now()).is_ok());
        for (from, to, token) in [
            ("\"worker\":0", "\"worker\":40", Some("t")),
            ("\"worker\":0", "\"worker\":-1", Some("t")),
            ("\"worker\":0,", "", Some("t")),
            ("\"turn\":2", "\"turn\":0", Some("t")),
            ("\"turn\":2", "\"turn\":1.5", Some("t")),
            ("\"turn\":2", "\"turn\":4294967296", Some("t")),
            ("\"token\":\"t\"", "\"token\":\"\"", None),
            ("\"token\":\"t\",", "", None),
            ("\"tenantId\":\"dev\"", "\"tenantId\":\"d#v\"", Some("t")),
            (RUN, "1", Some("t")),
            ("Work Asked For", "Work", Some("t")),
            ("sluice.runner", "sluice", Some("t")),
            ("\"ended\":null", "\"ended\":1", Some("t")),
            ("\"ended\":null", "\"ended\":null,\"more\":1", Some("t")),
            ("\"detail\":", "\"details\":", None),
        ] {
            let refused = Question::read(&good.replace(from, to), now()).expect_err(to);
            assert_eq!(refused.token.as_deref(), token, "{to}");
        }
        for ended in [
            format!("{{{UNIT}}}"),
            format!(r#"{{{UNIT},"cause":"x"}}"#),
            format!(r#"{{{UNIT},"value":1,"error":"x"}}"#),
            format!(r#"{{{UNIT},"value":1,"cause":"x"}}"#),
            r#"{"unit":{"node":"report","iteration":0,"attempt":1},"value":1}"#.to_owned(),
            r#"{"unit":{"node":"report","iteration":1},"value":1}"#.to_owned(),
            r#"{"unit":{"node":"a b","iteration":1,"attempt":1},"value":1}"#.to_owned(),
        ] {
            assert!(Question::read(&asks(&ended), now()).is_err(), "{ended}");
        }
        assert!(Question::read("[]", now()).is_err());
    }

    #[test]
    fn a_conclusion_is_results_or_a_failure() {
        let view = |conclusion| serde_json::to_string(&ConclusionView::of(conclusion).expect("JSON")).expect("JSON");
        let results = r#"{"store":{"ratio":1.10}}"#;
        assert_eq!(view(Conclusion::Results(results.to_owned())), format!(r#"{{"results":{results}}}"#));
        let failure = Conclusion::Failure { error: "Text.TooShort".to_owned(), cause: "c".to_owned() };
        assert_eq!(view(failure), r#"{"error":"Text.TooShort","cause":"c"}"#);
        assert!(ConclusionView::of(Conclusion::Results(String::new())).is_err());
    }
}
