//! Report on a run from outside: with a token by a worker that has no identity, and by comments of callers.
//!
//! **Invariant:** a token opens one run, until it expires or the run ends, and nothing but its report.

use crate::caller::Caller;
use crate::caller::Principal;
use crate::flow::control_run::answer;
use crate::flow::record_usage::{UsageRecorded, record_calls};
use crate::flow::{Answer, Refusal, conflict, find_run, unknown};
use crate::id::{NodeId, RunId};
use crate::lifecycle::RunStatus;
use crate::limits;
use crate::place::{Field, Part};
use crate::ports::{AnswerNode, AnswerTask, Boards, RecordReports, RecordUsage, StopExecution};
use crate::refusal::ConflictCode;
use crate::report::{Comment, NodeOutcome, Progress, ReportToken, TokenText};
use crate::run::{Run, RunError};
use crate::together::both;
use crate::usage::LlmCall;
use crate::violation::{Invalid, ViolationCode};
use jiff::{SignedDuration, Timestamp};

/// Makes a token for a worker that reports on this run. Its text is returned here and nowhere else.
///
/// # Errors
/// `NotFound`, `Invalid`; `Conflict` for a run that has ended.
pub async fn create_report_token<S: AnswerNode + RecordReports>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    node_id: Option<NodeId>,
    expires_in_seconds: i64,
    secret: &str,
    now: Timestamp,
) -> Answer<(TokenText, ReportToken)> {
    let run = find_run(store, caller, run_id, now).await?;
    let mut invalid = Invalid::default();
    let allowed = limits::REPORT_TOKEN_SECONDS;
    if !allowed.contains(&expires_in_seconds) {
        let message = format_args!("must be from {} to {} seconds", allowed.start(), allowed.end());
        invalid.add(Field::TokenLifetime, ViolationCode::OutOfRange, message);
    }
    if let Some(node) = &node_id {
        check_node(store, &run, node, &mut invalid).await?;
    }
    invalid.into_result().map_err(Refusal::Invalid)?;
    if run.status().is_terminal() {
        return Err(conflict(&run, "takes no reports"));
    }
    let text = TokenText::new(&caller.tenant, secret);
    let token = ReportToken {
        hash: text.hash(),
        node_id,
        expires_at: now + SignedDuration::from_secs(expires_in_seconds),
        created_by: caller.principal.0.clone(),
        created_at: now,
    };
    match store.save_report_token(&caller.tenant, run_id, &token).await.map_err(Refusal::Store)? {
        true => Ok((text, token)),
        false => Err(unknown(run_id)),
    }
}

/// What a worker reports of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeReport {
    /// Its end, if it has come to one.
    pub outcome: Option<NodeOutcome>,
    pub progress: Option<Progress>,
    pub usage: Vec<LlmCall>,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    pub run: Run,
    pub usage: Option<UsageRecorded>,
}

/// A run that a report token has opened.
#[derive(Debug)]
pub struct OpenReport {
    caller: Caller,
    token: ReportToken,
    run: Run,
}

/// Opens a run with a report token. What is reported is read only then: whoever has no token costs two small questions to the
/// store, asked at once, and learns nothing.
///
/// # Errors
/// `InvalidReportToken` for any token that does not open this run.
pub async fn open_report<S>(store: &S, token: &str, run_id: RunId, now: Timestamp) -> Answer<OpenReport>
where
    S: AnswerNode + RecordReports,
{
    let (text, tenant) = TokenText::read(token).ok_or(Refusal::InvalidReportToken)?;
    let hash = text.hash();
    let asked = both(store.load_report_token(&tenant, run_id, &hash), store.load_run(&tenant, run_id));
    let (token, run) = asked.await;
    let is_good = |token: &ReportToken| token.hash == hash && token.expires_at > now;
    let token = token.map_err(Refusal::Store)?.filter(is_good).ok_or(Refusal::InvalidReportToken)?;
    let run = run.map_err(Refusal::Store)?.filter(|run| run.is_visible(now)).ok_or(Refusal::InvalidReportToken)?;
    let principal = Principal(format!("report-token:{}", &hash[..16]));
    Ok(OpenReport { caller: Caller { tenant, principal, is_operator: false }, token, run })
}

/// Takes a report of the holder of a token that has opened its run.
///
/// # Errors
/// `Invalid`; `Conflict` for a run that has ended or a node that is not under way.
pub async fn report_run<S, E>(
    store: &S,
    engine: &E,
    OpenReport { caller, token, run }: OpenReport,
    node_id: &NodeId,
    report: NodeReport,
    now: Timestamp,
) -> Answer<Reported>
where
    S: AnswerNode + Boards + RecordReports + RecordUsage,
    E: AnswerTask + StopExecution,
{
    let run_id = run.run_id;
    let mut invalid = Invalid::default();
    if token.node_id.as_ref().is_some_and(|only| only != node_id) {
        invalid.add(Field::Node, ViolationCode::UnknownNode, "the token is for another node");
    } else {
        check_node(store, &run, node_id, &mut invalid).await?;
    }
    let usage = Field::Usage.at();
    for (index, call) in report.usage.iter().enumerate() {
        if call.node_id.as_ref().is_some_and(|of| of != node_id) {
            let at = usage.index(index);
            invalid.add(at.part(Part::NodeId), ViolationCode::UnknownNode, "a report is about one node");
        }
    }
    if let Some(NodeOutcome::Failure(error)) = &report.outcome {
        check_code(&error.code, &mut invalid);
    }
    invalid.into_result().map_err(Refusal::Invalid)?;
    if run.status().is_terminal() {
        return Err(conflict(&run, "takes no reports"));
    }
    // Usage first: it was spent whatever becomes of the rest, and repeating it is harmless.
    let usage = match report.usage.is_empty() {
        true => None,
        false => Some(record_calls(store, engine, &caller.tenant, run_id, report.usage, now).await?),
    };
    if let Some(progress) = &report.progress
        && !store.record_progress(&caller.tenant, run_id, node_id, progress).await.map_err(Refusal::Store)?
        && report.outcome.is_none()
    {
        let message = format_args!("node {node_id} is not under way");
        return Err(Refusal::conflict(ConflictCode::NotWaiting, message));
    }
    let run = match report.outcome {
        Some(_) if usage.as_ref().is_some_and(|usage| usage.run.status() == RunStatus::Canceling) => {
            return Err(conflict(&usage.map_or(run, |usage| usage.run), "takes no results"));
        }
        Some(outcome) => answer(store, engine, &caller, run_id, node_id, outcome, now).await?,
        None => usage.as_ref().map_or(run, |usage| usage.run.clone()),
    };
    Ok(Reported { run, usage })
}

/// Names of errors that mean something to the runner, whoever raises them.
const RESERVED_CODES: [&str; 5] = ["States.", "DynamoDB.", "DynamoDb.", "Lambda.", "Sluice."];

fn check_code(code: &str, invalid: &mut Invalid) {
    if code.is_empty() || code.chars().count() > RunError::CODE_CHARS || code.chars().any(char::is_control) {
        let message = format_args!("must be 1 to {} characters without control characters", RunError::CODE_CHARS);
        invalid.add(Field::FailureCode, ViolationCode::OutOfRange, message);
    }
    if let Some(reserved) = RESERVED_CODES.iter().find(|reserved| code.starts_with(**reserved)) {
        let message = format_args!("must not begin with {reserved}: those are the engine's own");
        invalid.add(Field::FailureCode, ViolationCode::Reserved, message);
    }
}

/// Adds a remark to a run, open or ended.
///
/// # Errors
/// `NotFound`, `Invalid`.
pub async fn comment_on<S: AnswerNode + RecordReports>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    id: String,
    text: String,
    now: Timestamp,
) -> Answer<Comment> {
    find_run(store, caller, run_id, now).await?;
    if text.trim().is_empty() || text.chars().count() > limits::COMMENT_CHARS {
        let message = format_args!("must be 1 to {} characters, not all of them blank", limits::COMMENT_CHARS);
        return Err(Refusal::Invalid(Invalid::one(Field::CommentText, ViolationCode::OutOfRange, message)));
    }
    let comment = Comment { id, text, by: caller.principal.0.clone(), at: now };
    match store.add_comment(&caller.tenant, run_id, &comment).await.map_err(Refusal::Store)? {
        true => Ok(comment),
        false => Err(unknown(run_id)),
    }
}

async fn check_node<S: AnswerNode>(store: &S, run: &Run, node_id: &NodeId, invalid: &mut Invalid) -> Answer<()> {
    let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
    if !snapshot.is_some_and(|snapshot| snapshot.nodes.iter().any(|node| node.node_id == *node_id)) {
        invalid.add(Field::Node, ViolationCode::UnknownNode, format_args!("the run has no node {node_id}"));
    }
    Ok(())
}
