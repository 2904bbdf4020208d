//! What workers and people say of a run from outside: report tokens, reports, comments.
//!
//! **Invariant:** a report token is taken from a header and nowhere else, and is never shown again once it was made.

use super::fields;
use super::runs::run_path;
use super::schema::CommentText;
use super::usage::{self, ReportedCallBody, UsageCounts};
use crate::fault::{Faults, ReadingCode};
use crate::http::Request;
use crate::json;
use crate::problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_core::flow::Refusal;
use sluice_core::flow::report_run::{NodeReport, Reported};
use sluice_core::id::{NodeId, RunId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits;
use sluice_core::number::whole_option;
use sluice_core::report::{Comment, NodeOutcome, Progress, ReportToken, TokenText};
use sluice_core::run::RunError;
use sluice_core::time::rfc3339_millis;
use sluice_core::violation::ViolationCode;
use utoipa::ToSchema;

/// Seconds that a token is valid unless its maker says otherwise.
const TOKEN_SECONDS: i64 = 3_600;

/// The body of `POST /v1/workflow-runs/{runId}/report-tokens`. May be left out altogether.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateReportToken)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateReportTokenBody {
    /// The one node that the token is for. Absent: any node of the run.
    #[schema(value_type = Option<NodeId>)]
    node_id: Option<String>,
    #[schema(minimum = 60, maximum = 2592000, default = 3600)]
    #[serde(default, deserialize_with = "whole_option")]
    expires_in_seconds: Option<i64>,
}

impl json::Body for CreateReportTokenBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

/// The node that a token is wanted for, and for how many seconds.
///
/// # Errors
/// Everything that is wrong with the body itself.
pub fn token_wanted(request: &Request) -> Result<(Option<NodeId>, i64), Problem> {
    let body: CreateReportTokenBody = request.json_or_empty()?;
    let mut faults = Faults::default();
    let node_id = body.node_id.and_then(|node| fields::id("/nodeId", &node, &mut faults));
    faults.into_result()?;
    Ok((node_id, body.expires_in_seconds.unwrap_or(TOKEN_SECONDS)))
}

/// A new report token. Shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportToken)]
#[serde(rename_all = "camelCase")]
pub struct ReportTokenView {
    /// Whoever has it may report on the run, as `Authorization: Bearer` says it.
    #[schema(pattern = "^srt\\.[0-9a-f]+\\.[!-~]+$")]
    token: String,
    /// Where to report with it.
    report_path: String,
    /// The one node that it is for; `null` for any of the run.
    #[schema(value_type = Option<NodeId>, required)]
    node_id: Option<String>,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl ReportTokenView {
    pub fn new(run_id: RunId, text: &TokenText, token: &ReportToken) -> Self {
        Self {
            token: text.reveal().to_owned(),
            report_path: format!("{}/report", run_path(run_id)),
            node_id: token.node_id.as_ref().map(NodeId::to_string),
            expires_at: rfc3339_millis(token.expires_at),
        }
    }
}

/// The report token that a request carries: `Authorization: Bearer srt.…`; or, where `Authorization` is taken by the
/// signature that a Function URL asks for, `sluice-report-token`.
///
/// # Errors
/// [`Refusal::InvalidReportToken`] when there is none; 400 when there are two.
pub fn token_of(request: &Request) -> Result<&str, Problem> {
    // A signature has commas of its own: only what begins as a bearer's is looked at as one.
    let is_bearer = |text: &str| text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let bearer = match request.header("authorization").is_some_and(is_bearer) {
        true => request.single("Authorization")?.and_then(|text| text.get(7..)).map(str::trim),
        false => None,
    };
    let is_token = |text: &&str| TokenText::read(text).is_some();
    let token = match bearer.filter(is_token) {
        Some(token) => Some(token),
        None => request.single("Sluice-Report-Token")?.filter(is_token),
    };
    Ok(token.ok_or(Refusal::InvalidReportToken)?)
}

/// The body of `POST /v1/workflow-runs/{runId}/report`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReportRun)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportBody {
    #[schema(value_type = NodeId)]
    node_id: String,
    status: ReportStatus,
    /// Of a node that SUCCEEDED, checked against the node's schema. Absent: `null`.
    #[schema(value_type = Value, required = false)]
    result: Option<Box<RawValue>>,
    /// Of a node that FAILED.
    error: Option<ReportErrorBody>,
    progress: Option<ProgressBody>,
    /// Calls that the node made since its last report. Reporting one again is harmless.
    #[schema(max_items = 50)]
    usage: Option<Vec<ReportedCallBody>>,
}

impl json::Body for ReportBody {
    const OBJECTS: &'static [&'static str] = &["", "/error", "/progress", "/usage/*"];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum ReportStatus {
    /// Still at it: its progress, or a mere sign of life.
    Running,
    Succeeded,
    /// This attempt failed. Whether there is another, the node's `retry` says.
    Failed,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReportError)]
#[serde(deny_unknown_fields)]
struct ReportErrorBody {
    /// For programs.
    #[schema(min_length = 1, max_length = 256)]
    code: String,
    /// For people. Cut after 8,192 characters.
    message: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReportProgress)]
#[serde(deny_unknown_fields)]
struct ProgressBody {
    #[schema(maximum = 100)]
    #[serde(default, deserialize_with = "whole_option")]
    percent: Option<u8>,
    #[schema(max_length = 1000)]
    message: Option<String>,
}

/// What a worker reports, and of which node.
///
/// # Errors
/// Everything that is wrong with the body itself.
pub fn report(request: &Request, now: Timestamp) -> Result<(NodeId, NodeReport), Problem> {
    let body: ReportBody = request.json()?;
    let mut faults = Faults::default();
    let node_id: Option<NodeId> = fields::id("/nodeId", &body.node_id, &mut faults);
    let progress = body.progress.map(|progress| read_progress(progress, now, &mut faults));
    let is_alive = Progress { percent: None, message: None, at: now };
    for (field, is_given, status) in [
        ("/result", body.result.is_some(), ReportStatus::Succeeded),
        ("/error", body.error.is_some(), ReportStatus::Failed),
    ] {
        if is_given && body.status != status {
            faults.add(field, ReadingCode::NeedsOtherField, "makes no sense with this status");
        }
    }
    let (outcome, progress) = match (body.status, body.error) {
        (ReportStatus::Running, _) => (None, Some(progress.unwrap_or(is_alive))),
        (ReportStatus::Succeeded, _) => {
            let result = body.result.map_or_else(|| "null".to_owned(), |result| result.get().to_owned());
            (Some(NodeOutcome::Result(result)), progress)
        }
        (ReportStatus::Failed, Some(error)) => (Some(NodeOutcome::Failure(read_error(&error, &mut faults))), progress),
        (ReportStatus::Failed, None) => {
            faults.add("/error", ViolationCode::MissingField, "must be given of a node that FAILED");
            (None, progress)
        }
    };
    let calls = usage::calls(body.usage.unwrap_or_default(), node_id.as_ref(), |_| None, now, &mut faults);
    for (index, call) in calls.iter().enumerate() {
        if call.node_id.is_some() && call.node_id != node_id {
            let message = "must be the node that is reported on, or be left out";
            faults.add(format_args!("/usage/{index}/nodeId"), ViolationCode::UnknownNode, message);
        }
    }
    faults.into_result()?;
    let node_id = node_id.ok_or_else(|| Faults::one("/nodeId", ViolationCode::Invalid, "must name a node"))?;
    Ok((node_id, NodeReport { outcome, progress, usage: calls }))
}

fn read_progress(body: ProgressBody, now: Timestamp, faults: &mut Faults) -> Progress {
    if body.percent.is_some_and(|percent| percent > 100) {
        faults.add("/progress/percent", ViolationCode::OutOfRange, "must be from 0 to 100");
    }
    if body.message.as_ref().is_some_and(|message| message.chars().count() > limits::PROGRESS_CHARS) {
        let message = format!("must be at most {} characters", limits::PROGRESS_CHARS);
        faults.add("/progress/message", ViolationCode::OutOfRange, message);
    }
    Progress { percent: body.percent, message: body.message, at: now }
}

fn read_error(body: &ReportErrorBody, faults: &mut Faults) -> RunError {
    if body.code.is_empty() || body.code.chars().count() > RunError::CODE_CHARS {
        let message = format!("must be 1 to {} characters", RunError::CODE_CHARS);
        faults.add("/error/code", ViolationCode::OutOfRange, message);
    }
    RunError::new(&body.code, &body.message, RunError::FULL_MESSAGE_CHARS)
}

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reported)]
#[serde(rename_all = "camelCase")]
pub struct ReportedView {
    #[schema(value_type = RunId)]
    run_id: String,
    #[schema(value_type = NodeId)]
    node_id: String,
    /// The run's: CANCELING tells the worker to leave off.
    #[schema(value_type = RunStatus)]
    status: &'static str,
    /// Of a report with usage.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageCounts>,
}

impl ReportedView {
    pub fn new(node_id: &NodeId, reported: &Reported) -> Self {
        Self {
            run_id: reported.run.run_id.to_string(),
            node_id: node_id.to_string(),
            status: reported.run.status().as_str(),
            usage: reported.usage.as_ref().map(UsageCounts::from),
        }
    }
}

/// The body of `POST /v1/workflow-runs/{runId}/comments`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddComment)]
#[serde(deny_unknown_fields)]
pub struct CommentBody {
    #[schema(value_type = CommentText)]
    pub text: String,
}

impl json::Body for CommentBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

/// A remark on a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comment)]
pub struct CommentView {
    #[schema(format = "uuid")]
    id: String,
    #[schema(value_type = CommentText)]
    text: String,
    by: String,
    #[schema(format = DateTime)]
    at: String,
}

impl From<&Comment> for CommentView {
    fn from(comment: &Comment) -> Self {
        Self {
            id: comment.id.clone(),
            text: comment.text.clone(),
            by: comment.by.clone(),
            at: rfc3339_millis(comment.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_runtime::{Context, LambdaEvent};
    use serde_json::json;

    fn request(headers: serde_json::Value) -> Request {
        let event = json!({"headers": headers, "requestContext": {"http": {"method": "POST"}}}).to_string();
        Request::from(LambdaEvent::new(serde_json::from_str(&event).expect("an event"), Context::default()))
    }

    #[test]
    fn a_token_comes_in_the_header_that_is_free_for_it() {
        const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/lambda/aws4_request";
        for (headers, token) in [
            (json!({"authorization": "Bearer srt.646576.a"}), Some("srt.646576.a")),
            (json!({"authorization": "bearer  srt.646576.a "}), Some("srt.646576.a")),
            (json!({"authorization": SIGNATURE, "sluice-report-token": "srt.646576.b"}), Some("srt.646576.b")),
            (
                json!({"authorization": "Bearer srt.646576.a", "sluice-report-token": "srt.646576.b"}),
                Some("srt.646576.a"),
            ),
            (
                json!({"authorization": "Bearer eyJh.eyJz.c", "sluice-report-token": "srt.646576.b"}),
                Some("srt.646576.b"),
            ),
            (json!({"authorization": "Bearer srt.646576.a, Bearer srt.646576.a"}), Some("srt.646576.a")),
            (
                json!({"authorization": SIGNATURE, "sluice-report-token": "srt.646576.b,srt.646576.b"}),
                Some("srt.646576.b"),
            ),
            (json!({"authorization": "Bearer srt.646576.a, Bearer srt.646576.b"}), None),
            (json!({"sluice-report-token": "srt.646576.a, srt.646576.b"}), None),
            (json!({"authorization": "srt.646576.a"}), None),
            (json!({"authorization": "Basic srt.646576.a"}), None),
            (json!({"sluice-report-token": "srt"}), None),
            (json!({}), None),
        ] {
            let request = request(headers.clone());
            assert_eq!(token_of(&request).ok(), token, "{headers}");
        }
    }
}
