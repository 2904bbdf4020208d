//! What invokes the functions that are no part of the API, read leniently: services, emulators and replays differ in how
//! they write the same thing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_core::arn::ExecutionArn;
use sluice_core::concurrency::QueueRef;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::DeliveryRef;
use sluice_core::run::{EndDetails, RunError};

/// The envelope. Nothing in it is required: a poison event is a value, not a fault.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    detail: Value,
    /// There where a queue's messages come instead of one event.
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
}

/// A message of a queue. Its body is an event as the rule put it there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Record {
    message_id: String,
    body: String,
}

/// What an invocation brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Brought {
    /// One event of the bus.
    Event(Happening),
    /// Messages of a queue.
    Batch(Vec<Message>),
    /// Usage that the runner reports by invoking the function itself; an error when the report does not say what it is
    /// about.
    Usage(Result<ResultUsage, &'static str>),
}

/// A message of a queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub happening: Happening,
}

/// The messages of a batch that shall come again; all others are done.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchFailures {
    pub batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    pub item_identifier: String,
}

/// A scheduled event: that it came is all it says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Schedule {}

/// What an event says, in the core's words.
#[derive(Debug, PartialEq, Eq)]
pub enum Happening {
    /// An execution ended.
    Ended(ExecutionEnd),
    /// An execution did something else than end.
    Underway {
        execution_arn: String,
        status: String,
    },
    DeliveryDue(DeliveryRef),
    /// A slot before this queue was freed.
    SlotFreed(QueueRef),
    /// Nothing that a retry could mend. The text says why.
    Poison(String),
}

/// The end of an execution.
#[derive(Debug, PartialEq, Eq)]
pub struct ExecutionEnd {
    pub execution_arn: ExecutionArn,
    /// Named by the execution itself.
    pub run_id: RunId,
    /// From the execution's input; `None` when the event left the input out.
    pub tenant_id: Option<TenantId>,
    pub end: EngineEnd,
    pub details: EndDetails,
    /// Whether there is an output that the event left out for its size.
    pub output_left_out: bool,
}

/// Usage that a node's result reports.
#[derive(Debug, PartialEq, Eq)]
pub struct ResultUsage {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub node_id: NodeId,
    pub attempt: u64,
    /// As the node wrote it.
    pub usage: Value,
}

impl Event {
    /// What the invocation brings.
    pub fn read(&self) -> Brought {
        if let Some(records) = &self.records {
            return Brought::Batch(records.iter().map(Record::read).collect());
        }
        let names = (self.source.as_deref(), self.detail_type.as_deref());
        if names == (Some("sluice.runner"), Some("Usage Reported")) {
            let usage = result_usage(&self.detail);
            return Brought::Usage(usage.ok_or("the report does not name its run, node and attempt"));
        }
        Brought::Event(self.happening())
    }

    fn happening(&self) -> Happening {
        match (self.source.as_deref(), self.detail_type.as_deref()) {
            (Some("aws.states"), Some("Step Functions Execution Status Change")) => status_change(&self.detail),
            (Some("sluice"), Some("Delivery Due")) => delivery_due(&self.detail),
            (Some("sluice"), Some("Slot Freed")) => slot_freed(&self.detail),
            (source, detail_type) => Happening::Poison(format!("not for this function: {source:?} {detail_type:?}")),
        }
    }
}

impl Record {
    fn read(&self) -> Message {
        // A batch is no message, and nothing but the runner itself may report usage.
        let happening = match serde_json::from_str::<Event>(&self.body) {
            Ok(event) => event.happening(),
            Err(_) => Happening::Poison("a message that is no event".to_owned()),
        };
        Message { id: self.message_id.clone(), happening }
    }
}

fn status_change(detail: &Value) -> Happening {
    let text = |name: &str| detail[name].as_str();
    let (Some(execution_arn), Some(status)) = (text("executionArn"), text("status")) else {
        return Happening::Poison("a status change without executionArn or status".to_owned());
    };
    let end = match status {
        "SUCCEEDED" => EngineEnd::Succeeded,
        "FAILED" => EngineEnd::Failed,
        "TIMED_OUT" => EngineEnd::TimedOut,
        "ABORTED" => EngineEnd::Aborted,
        "RUNNING" | "PENDING_REDRIVE" => {
            return Happening::Underway { execution_arn: execution_arn.to_owned(), status: status.to_owned() };
        }
        _ => return Happening::Poison(format!("an unknown status {status:?}")),
    };
    let name = text("name").or_else(|| execution_arn.rsplit(':').next()).unwrap_or_default();
    let Ok(run_id) = name.parse() else {
        return Happening::Poison(format!("the execution {name:?} is not named after a run"));
    };
    let Ok(execution_arn) = execution_arn.parse() else {
        return Happening::Poison(format!("{execution_arn:?} is not the ARN of an execution"));
    };
    let is_left_out = |name: &str| detail[name]["included"] == Value::Bool(false);
    Happening::Ended(ExecutionEnd {
        execution_arn,
        run_id,
        tenant_id: json_text(&detail["input"]).and_then(|input| tenant_of(&input)),
        end,
        details: EndDetails {
            stopped_at: instant(&detail["stopDate"]),
            output: json_text(&detail["output"]),
            error: engine_error(end, text("error"), text("cause")),
        },
        output_left_out: end == EngineEnd::Succeeded && detail["output"].is_null() && is_left_out("outputDetails"),
    })
}

fn delivery_due(detail: &Value) -> Happening {
    let read = || {
        Some(DeliveryRef {
            tenant_id: detail["tenantId"].as_str()?.parse().ok()?,
            run_id: detail["runId"].as_str()?.parse().ok()?,
            number: u32::try_from(detail["delivery"].as_u64()?).ok()?,
        })
    };
    read().map_or_else(|| Happening::Poison("a due delivery without its name".to_owned()), Happening::DeliveryDue)
}

fn slot_freed(detail: &Value) -> Happening {
    QueueRef::deserialize(detail)
        .map_or_else(|_| Happening::Poison("a freed slot without its queue".to_owned()), Happening::SlotFreed)
}

fn result_usage(detail: &Value) -> Option<ResultUsage> {
    Some(ResultUsage {
        tenant_id: detail["tenantId"].as_str()?.parse().ok()?,
        run_id: detail["runId"].as_str()?.parse().ok()?,
        node_id: detail["nodeId"].as_str()?.parse().ok()?,
        attempt: detail["attempt"].as_u64()?,
        usage: detail["usage"].clone(),
    })
}

/// The tenant in an execution's input, which Sluice itself wrote.
pub fn tenant_of(input: &str) -> Option<TenantId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Input {
        tenant_id: TenantId,
    }
    serde_json::from_str::<Input>(input).ok().map(|input| input.tenant_id)
}

/// JSON as text: a string on AWS, perhaps the value itself elsewhere.
fn json_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

/// Epoch milliseconds on AWS; epoch seconds or RFC 3339 elsewhere.
fn instant(value: &Value) -> Option<Timestamp> {
    /// Milliseconds of 1973, or seconds of the year 5138: no execution's date is on the wrong side.
    const SECONDS_BELOW: f64 = 1e11;
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            let number = number.as_f64()?;
            let millis = if number < SECONDS_BELOW { number * 1_000.0 } else { number };
            Timestamp::from_millisecond(millis as i64).ok()
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Error and cause of an end that was none of success.
fn engine_error(end: EngineEnd, error: Option<&str>, cause: Option<&str>) -> Option<RunError> {
    match (end, error, cause) {
        (EngineEnd::Succeeded, _, _) | (EngineEnd::Aborted, None, None) => None,
        (EngineEnd::Failed | EngineEnd::TimedOut | EngineEnd::Aborted, error, cause) => {
            let (code, message) = match end {
                EngineEnd::TimedOut => ("States.Timeout", "the execution timed out"),
                EngineEnd::Succeeded | EngineEnd::Failed | EngineEnd::Aborted => ("States.Runtime", ""),
            };
            Some(RunError::from_engine(error.unwrap_or(code), cause.unwrap_or(message)))
        }
    }
}
