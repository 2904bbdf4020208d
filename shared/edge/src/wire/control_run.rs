//! What controls a run: answers, replays, deliveries sent again, how long it is kept.

use super::fields;
use super::runs::run_path;
use super::schema::{RunName, VersionRule};
use crate::fault::Faults;
use crate::http::Request;
use crate::json;
use crate::problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_core::flow::control_run::Redelivered;
use sluice_core::flow::replay_run::Command;
use sluice_core::id::{IdempotencyKey, NodeId, RunId, UserId};
use sluice_core::idempotency::Operation;
use sluice_core::ports::DeliveryRef;
use sluice_core::retention::RetentionChange;
use sluice_core::violation::ViolationCode;
use utoipa::ToSchema;

/// The body of `POST /v1/workflow-runs/{runId}/data`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NodeAnswer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerNodeBody {
    #[schema(value_type = NodeId)]
    node_id: String,
    /// Any JSON, `null` included. It becomes the node's result as it is written.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

impl json::Body for AnswerNodeBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

/// The node that is answered, and its answer.
///
/// # Errors
/// Everything that is wrong with the body itself.
pub fn answer(request: &Request) -> Result<(NodeId, Box<RawValue>), Problem> {
    let body: AnswerNodeBody = request.json()?;
    let mut faults = Faults::default();
    match fields::id("/nodeId", &body.node_id, &mut faults) {
        Some(node_id) => Ok((node_id, body.data)),
        None => Err(faults.into()),
    }
}

/// The body of `POST /v1/workflow-runs/{runId}/replay`. May be left out altogether.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReplayRun)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayRunBody {
    /// Run this node and everything after it again, and reuse the results of the others that finished. Absent: run
    /// everything again.
    #[schema(value_type = Option<NodeId>)]
    from_node_id: Option<String>,
    /// Run this version of the definition with what the first request said. Absent: exactly what the first run ran.
    #[schema(value_type = Option<VersionRule>)]
    version: Option<Box<RawValue>>,
    /// That of the repeated run when absent.
    #[schema(value_type = Option<RunName>)]
    name: Option<String>,
    /// The person for whom it is repeated. That of the repeated run when absent.
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    /// As the header `Idempotency-Key`.
    #[schema(value_type = Option<IdempotencyKey>)]
    idempotency_key: Option<String>,
}

impl json::Body for ReplayRunBody {
    const OBJECTS: &'static [&'static str] = &[""];
    const KEY: Option<&'static str> = Some("idempotencyKey");
}

/// The replay that a request asks for.
///
/// # Errors
/// Everything that is wrong with it and can be told from it alone.
pub fn replay(request: &Request) -> Result<Command, Problem> {
    let (body, payload_hash) = request.json_keyed_or_empty::<ReplayRunBody>()?;
    let mut faults = Faults::default();
    let key = body.idempotency_key.as_deref();
    let command = Command {
        from_node: body.from_node_id.and_then(|node| fields::id("/fromNodeId", &node, &mut faults)),
        version: body.version.map(|raw| fields::version("/version", Some(&raw), &mut faults)),
        name: body.name,
        user_id: body.user_id.and_then(|user| fields::id("/userId", &user, &mut faults)),
        idempotency: fields::claim(request, Operation::Replay, "idempotencyKey", key, payload_hash, &mut faults),
    };
    faults.into_result()?;
    Ok(command)
}

/// A delivery that is sent again. What becomes of it shows in the list of deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redelivery)]
#[serde(rename_all = "camelCase")]
pub struct RedeliveryView {
    #[schema(value_type = RunId)]
    run_id: String,
    #[schema(minimum = 1)]
    number: u32,
    links: RedeliveryLinks,
}

#[derive(Debug, Serialize, ToSchema)]
struct RedeliveryLinks {
    deliveries: String,
}

impl From<&DeliveryRef> for RedeliveryView {
    fn from(delivery: &DeliveryRef) -> Self {
        Self {
            run_id: delivery.run_id.to_string(),
            number: delivery.number,
            links: RedeliveryLinks { deliveries: format!("{}/deliveries", run_path(delivery.run_id)) },
        }
    }
}

/// The body of `POST /v1/deliveries/redeliver`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RedeliverFailed)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedeliverFailedBody {
    /// What was given up at this time or later.
    #[schema(format = DateTime)]
    failed_since: String,
}

impl json::Body for RedeliverFailedBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

/// Since when deliveries that were given up are sent again.
///
/// # Errors
/// Everything that is wrong with the body.
pub fn failed_since(request: &Request) -> Result<Timestamp, Problem> {
    let body: RedeliverFailedBody = request.json()?;
    let since = fields::time(&body.failed_since);
    Ok(since.ok_or_else(|| Faults::one("/failedSince", ViolationCode::Invalid, fields::NOT_A_TIME))?)
}

/// Deliveries that are sent again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redeliveries)]
pub struct RedeliveriesView {
    #[schema(maximum = 100)]
    redelivered: u32,
    /// There may be more: ask again.
    more: bool,
}

impl From<Redelivered> for RedeliveriesView {
    fn from(Redelivered { redelivered, more }: Redelivered) -> Self {
        Self { redelivered, more }
    }
}

/// The body of `PATCH /v1/workflow-runs/{runId}/retention`.
impl json::Body for RetentionChange {
    const OBJECTS: &'static [&'static str] = &[""];
}
