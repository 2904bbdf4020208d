//! Refusals of the core in the words of the native API: what, as a problem with its code and status; where, as a pointer.
//!
//! **Invariant:** every field, part and code of the core is named here, one by one: what the core learns to say, does not
//! compile before the API has a word for it.

use super::instances::ProcessorConfigs;
use crate::fault::{Fault, Faults, Token};
use crate::problem::{self, Kind, Problem};
use lambda_http::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use sluice_core::place::{Field, Part, Place, Step};
use sluice_core::refusal::{ConflictCode, Refusal};
use sluice_core::violation::{Invalid, Violation, ViolationCode};
use std::fmt::Write;

/// Seconds a caller is asked to wait for a run to end, so that there may be room for one more.
const ROOM_AFTER_SECONDS: &str = "10";
/// Seconds until the sweep has counted again.
const COUNTED_AFTER_SECONDS: &str = "60";

/// The form in which a request came: where its fields stand.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// Each field stands in the body under its own name.
    Plain,
    /// `POST /v1/workflow-runs`: what is run stands in an object of its own, with the processors' configurations as a list in
    /// the caller's order.
    CreateRun(&'a ProcessorConfigs),
    /// `POST /v1/workflow-definitions/{definition}/invoke`: the definition stands in the path.
    InvokeDefinition,
    /// `POST /v1/workflow-runs/{runId}/replay`: what is not said here is what the first request said.
    ReplayRun,
    /// `POST /v1/workflow-runs/{runId}/report`
    ReportRun,
}

/// Where a field stands in a request.
enum Spot {
    /// In the body, at this pointer.
    Body(&'static str),
    /// In the path, under this name.
    Path(&'static str),
    /// In the request that is repeated, at this pointer. In this one, its version is what that does not fit.
    Repeated(&'static str),
}

impl Form<'_> {
    /// The problem that a refusal is.
    pub fn problem(self, refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Invalid(invalid) => self.invalid(invalid),
            Refusal::NotFound { .. }
            | Refusal::OperatorOnly(_)
            | Refusal::Conflict { .. }
            | Refusal::KeyReused { .. }
            | Refusal::RunExpired { .. }
            | Refusal::TooManyRuns { .. }
            | Refusal::RateLimited { .. }
            | Refusal::TooManyOpenRuns { .. }
            | Refusal::BudgetExhausted { .. }
            | Refusal::QueueFull
            | Refusal::InvalidReportToken
            | Refusal::Unanswered { .. }
            | Refusal::Store(_) => refusal.into(),
        }
    }

    fn invalid(self, invalid: Invalid) -> Problem {
        // What a path names and is not there is no fault of a body: there is no such thing to ask.
        let is_missing = |one: &&Violation| {
            one.code == ViolationCode::NotFound && matches!(self.spot(one.place.field), Spot::Path(_))
        };
        if let Some(missing) = invalid.violations.iter().find(is_missing) {
            return Problem::new(&problem::NOT_FOUND, missing.message.clone());
        }
        self.faults(invalid).into()
    }

    /// The faults that violations are.
    pub fn faults(self, invalid: Invalid) -> Faults {
        let mut faults = Faults::default();
        for violation in invalid.violations {
            let Fault { pointer, code, message } = self.fault(violation);
            faults.add(pointer, code, message);
        }
        faults
    }

    fn fault(self, violation: Violation) -> Fault {
        let Violation { place, code, message } = violation;
        let below = |above: &str| above.to_owned() + &self.steps(&place);
        let (pointer, message) = match self.spot(place.field) {
            Spot::Body(field) => (below(field), message),
            Spot::Path(name) => (format!("path:{name}"), message),
            Spot::Repeated(field) => {
                let message = format!("the first request does not fit this version: {}: {message}", below(field));
                (body(Field::Version).to_owned(), message)
            }
        };
        Fault { pointer, code: code.into(), message }
    }

    fn spot(self, field: Field) -> Spot {
        match (self, field) {
            (Self::InvokeDefinition, Field::Definition) => Spot::Path("definition"),
            (Self::InvokeDefinition, Field::Version) => Spot::Body(body(field)),
            (Self::CreateRun(_) | Self::InvokeDefinition, _) => Spot::Body(of_a_run(field)),
            (Self::ReplayRun, Field::Whole | Field::Name | Field::FromNode | Field::Version) => Spot::Body(body(field)),
            (Self::ReplayRun, Field::Definition) => Spot::Body(body(Field::Version)),
            (Self::ReplayRun, _) => Spot::Repeated(of_a_run(field)),
            (Self::ReportRun, Field::NodeResult) => Spot::Body("/result"),
            (Self::Plain | Self::ReportRun, _) => Spot::Body(body(field)),
        }
    }

    /// The way down from the field, as the rest of a JSON pointer.
    fn steps(self, place: &Place) -> String {
        let mut pointer = String::new();
        for step in &place.steps {
            pointer.push('/');
            let written = match step {
                Step::Part(part) => write!(pointer, "{}", name(*part)),
                Step::Key(key) => write!(pointer, "{}", Token(key)),
                Step::Index(index) => write!(pointer, "{index}"),
                Step::Node(node) => match self {
                    Self::CreateRun(configs) if place.field == Field::ProcessorConfigs => match configs.index(node) {
                        Some(index) => write!(pointer, "{index}"),
                        None => write!(pointer, "{node}"),
                    },
                    Self::Plain | Self::CreateRun(_) | Self::InvokeDefinition | Self::ReplayRun | Self::ReportRun => {
                        write!(pointer, "{node}")
                    }
                },
            };
            debug_assert!(written.is_ok(), "a string takes everything");
        }
        pointer
    }
}

/// Where a field stands in a body of its own kind.
const fn body(field: Field) -> &'static str {
    match field {
        // The body of a version is its document.
        Field::Whole | Field::Document => "",
        Field::Definition => "/workflowDefinitionId",
        Field::Version => "/version",
        Field::Instance => "/workflowInstanceId",
        Field::ComputeNode => "/computeNodeId",
        Field::ProcessorConfigs => "/processorConfigs",
        Field::Name => "/name",
        Field::Input => "/input",
        Field::DataSources => "/dataSources",
        Field::DataTargets => "/dataTargets",
        Field::ProcessorParams => "/processorParams",
        Field::ProcessorTags | Field::DefinitionTags => "/tags",
        Field::Layers => "/layers",
        Field::Labels => "/labels",
        Field::ExecutionBudget => "/executionBudgetUsd",
        Field::MaxRunDuration => "/maxRunDurationSeconds",
        Field::CallbackUrl => "/completionCallbackUrl",
        Field::CallbackContext => "/completionCallbackContext",
        Field::Retention => "/retention",
        Field::EvaluationOf => "/evaluationOf",
        Field::FromNode => "/fromNodeId",
        Field::Results => "/results",
        Field::DisplayName => "/displayName",
        Field::Description => "/description",
        Field::Concurrency => "/concurrency",
        Field::ContainerName => "/containerName",
        Field::Subnets => "/subnets",
        Field::SecurityGroups => "/securityGroups",
        Field::Destinations => "/destinations",
        Field::SecretPrefixes => "/secretPrefixes",
        Field::OfferedTags => "/tags",
        Field::TenantLimits => "/limits",
        Field::ModelIds => "/ids",
        Field::ContextTokens => "/contextTokens",
        Field::MaxOutputTokens => "/maxOutputTokens",
        Field::Prices => "/prices",
        Field::Budget => "/budget",
        Field::Node => "/nodeId",
        Field::NodeResult => "/data",
        Field::FailureCode => "/error/code",
        Field::Usage => "/usage",
        Field::CommentText => "/text",
        Field::TokenLifetime => "/expiresInSeconds",
    }
}

/// Where a field stands in a request for a run, which says what to run in an object of its own.
fn of_a_run(field: Field) -> &'static str {
    let elsewhere = [
        (Field::Definition, "/workflowInstanceConfiguration/workflowDefinitionId"),
        (Field::Version, "/workflowInstanceConfiguration/version"),
        (Field::ComputeNode, "/workflowInstanceConfiguration/computeNodeId"),
        (Field::ProcessorConfigs, "/workflowInstanceConfiguration/processorConfigs"),
        (Field::Document, "/workflowDefinition"),
    ];
    elsewhere.iter().find(|(one, _)| *one == field).map_or_else(|| body(field), |(_, pointer)| pointer)
}

const fn name(part: Part) -> &'static str {
    match part {
        Part::Nodes => "nodes",
        Part::Edges => "edges",
        Part::InputSchema => "inputSchema",
        Part::Id => "id",
        Part::Processor => "processor",
        Part::Tag => "tag",
        Part::Parameters => "parameters",
        Part::Retry => "retry",
        Part::Schema => "schema",
        Part::Default => "default",
        Part::MaxAttempts => "maxAttempts",
        Part::IntervalSeconds => "intervalSeconds",
        Part::BackoffRate => "backoffRate",
        Part::When => "when",
        Part::Loop => "loop",
        Part::Until => "until",
        Part::MaxIterations => "maxIterations",
        Part::ForEach => "forEach",
        Part::Items => "items",
        Part::MaxConcurrency => "maxConcurrency",
        Part::MaxItems => "maxItems",
        Part::OnFailure => "onFailure",
        Part::Timeout => "timeoutSeconds",
        Part::ExpiresAfter => "expiresAfterSeconds",
        Part::OnExpiry => "onExpiry",
        Part::Answer => "answer",
        Part::Pointer => "pointer",
        Part::Equals => "equals",
        Part::NotEquals => "notEquals",
        Part::In => "in",
        Part::LessThan => "lessThan",
        Part::GreaterThan => "greaterThan",
        Part::All => "all",
        Part::Any => "any",
        Part::Not => "not",
        Part::From => "from",
        Part::To => "to",
        Part::Params => "params",
        Part::MaxAge => "maxAgeSeconds",
        Part::MaxConcurrentRuns => "maxConcurrentRuns",
        Part::StartsPerMinute => "startsPerMinute",
        Part::WaitsAtOnce => "waitsAtOnce",
        Part::OpenRuns => "openRuns",
        Part::Definitions => "definitions",
        Part::Tiers => "tiers",
        Part::GuardrailTextUnit => "guardrailTextUnit",
        Part::Input => "input",
        Part::Output => "output",
        Part::CacheRead => "cacheRead",
        Part::CacheWrite5m => "cacheWrite5m",
        Part::CacheWrite1h => "cacheWrite1h",
        Part::LongContext => "longContext",
        Part::AboveTokens => "aboveTokens",
        Part::MaxUsd => "maxUsd",
        Part::PerUserMaxUsd => "perUserMaxUsd",
        Part::CallId => "callId",
        Part::NodeId => "nodeId",
        Part::Provider => "provider",
        Part::Model => "model",
        Part::InputTokens => "inputTokens",
        Part::OutputTokens => "outputTokens",
        Part::CachedTokens => "cachedTokens",
        Part::Latency => "latencyMs",
    }
}

fn conflict(code: ConflictCode) -> &'static Kind {
    match code {
        ConflictCode::NameTaken => &problem::NAME_TAKEN,
        ConflictCode::RunEnded => &problem::RUN_ENDED,
        ConflictCode::WrongStatus => &problem::WRONG_STATUS,
        ConflictCode::RunOpen => &problem::RUN_OPEN,
        ConflictCode::NotWaiting => &problem::NOT_WAITING,
        ConflictCode::LoopingRisk => &problem::LOOPING_RISK,
        ConflictCode::TooManyPauses => &problem::TOO_MANY_PAUSES,
        ConflictCode::AttemptUnderWay => &problem::ATTEMPT_UNDER_WAY,
        ConflictCode::DeliveriesOpen => &problem::DELIVERIES_OPEN,
        ConflictCode::TooManyVersions => &problem::TOO_MANY_VERSIONS,
        ConflictCode::TooManyDefinitions => &problem::TOO_MANY_DEFINITIONS,
        ConflictCode::TooManyKeys => &problem::TOO_MANY_KEYS,
        ConflictCode::ModelIdTaken => &problem::MODEL_ID_TAKEN,
    }
}

/// A refusal of a request in which each field stands under its own name: most of them.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Invalid(invalid) => Form::Plain.invalid(invalid),
            Refusal::NotFound { .. } => Self::new(&problem::NOT_FOUND, detail),
            Refusal::OperatorOnly(_) => Self::new(&problem::OPERATOR_ONLY, detail),
            Refusal::Conflict { code, .. } => Self::new(conflict(code), detail),
            Refusal::KeyReused { run_id } => Self::new(&problem::KEY_REUSED, detail).about(run_id, None),
            Refusal::RunExpired { run_id } => Self::new(&problem::RUN_EXPIRED, detail).about(run_id, None),
            Refusal::TooManyRuns { .. } => {
                Self::new(&problem::TOO_MANY_RUNS, detail).with_header(RETRY_AFTER, ROOM_AFTER_SECONDS)
            }
            Refusal::RateLimited { retry_after_seconds, .. } => {
                Self::new(&problem::RATE_LIMITED, detail).with_header(RETRY_AFTER, retry_after_seconds.to_string())
            }
            Refusal::TooManyOpenRuns { .. } => {
                Self::new(&problem::TOO_MANY_RUNS, detail).with_header(RETRY_AFTER, COUNTED_AFTER_SECONDS)
            }
            Refusal::BudgetExhausted { retry_after_seconds, .. } => {
                Self::new(&problem::BUDGET_EXHAUSTED, detail).with_header(RETRY_AFTER, retry_after_seconds.to_string())
            }
            Refusal::QueueFull => Self::new(&problem::QUEUE_FULL, detail).with_header(RETRY_AFTER, ROOM_AFTER_SECONDS),
            Refusal::InvalidReportToken => {
                Self::new(&problem::INVALID_REPORT_TOKEN, detail).with_header(WWW_AUTHENTICATE, problem::CHALLENGE)
            }
            Refusal::Unanswered { run_id, error } => Self::from(error).unanswered(run_id),
            Refusal::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Response;
    use sluice_core::concurrency::SlotScope;
    use sluice_core::governor::quota::Period;
    use std::collections::BTreeSet;

    #[test]
    fn who_finds_no_room_is_asked_to_come_again() {
        for (refusal, code, after) in [
            (Refusal::TooManyRuns { scope: SlotScope::Tenant, limit: 3 }, "too_many_runs", "10"),
            (Refusal::RateLimited { limit: 3, retry_after_seconds: 42 }, "rate_limited", "42"),
            (Refusal::TooManyOpenRuns { open: 5, limit: 3 }, "too_many_runs", "60"),
            (
                Refusal::BudgetExhausted { whose: "this user", period: Period::Day, retry_after_seconds: 3_600 },
                "budget_exhausted",
                "3600",
            ),
            (Refusal::QueueFull, "queue_full", "10"),
        ] {
            let problem = Problem::from(refusal);
            assert_eq!(problem.kind.code, code);
            let response = Response::problem(&problem, "r-1");
            assert_eq!((response.status(), response.header("retry-after")), (429, Some(after)));
        }
    }

    #[test]
    fn every_conflict_is_a_problem_of_its_own() {
        let kinds: BTreeSet<&str> = ConflictCode::ALL
            .iter()
            .map(|code| {
                let kind = conflict(*code);
                assert_eq!((kind.code, kind.status), (code.as_str(), 409));
                assert!(problem::KINDS.contains(&kind), "{} is not in the table", kind.code);
                kind.code
            })
            .collect();
        assert_eq!(kinds.len(), ConflictCode::ALL.len());
    }

    #[test]
    fn each_form_says_where_in_its_own_words() {
        let node = "frequencies".parse().expect("a node");
        let other = "other".parse().expect("a node");
        let bodies = serde_json::from_str(r#"[{"nodeId":"a"},{"nodeId":"frequencies"}]"#).expect("configs");
        let configs = ProcessorConfigs::read("", Some(bodies), &mut Faults::default());
        let create = Form::CreateRun(&configs);
        let (config, whole, document) = (Field::ProcessorConfigs.at(), Field::Whole.at(), Field::Document.at());
        let nodes = document.part(Part::Nodes);
        let misfit = |at: &str| format!("the first request does not fit this version: {at}: no");
        for (form, at, pointer, message) in [
            (Form::Plain, Field::Definition.at(), "/workflowDefinitionId", "no"),
            (create, Field::Definition.at(), "/workflowInstanceConfiguration/workflowDefinitionId", "no"),
            (Form::InvokeDefinition, Field::Definition.at(), "path:definition", "no"),
            (Form::ReplayRun, Field::Definition.at(), "/version", "no"),
            (Form::Plain, Field::Version.at(), "/version", "no"),
            (create, Field::Version.at(), "/workflowInstanceConfiguration/version", "no"),
            (Form::InvokeDefinition, Field::Version.at(), "/version", "no"),
            (Form::ReplayRun, Field::Version.at(), "/version", "no"),
            (create, config.node(&node).part(Part::Tag), "/workflowInstanceConfiguration/processorConfigs/1/tag", "no"),
            (create, config.node(&other), "/workflowInstanceConfiguration/processorConfigs/other", "no"),
            (Form::Plain, whole.part(Part::MaxAge), "/maxAgeSeconds", "no"),
            (Form::Plain, nodes.index(2), "/nodes/2", "no"),
            (create, nodes.index(2), "/workflowDefinition/nodes/2", "no"),
            (Form::ReplayRun, Field::Name.at(), "/name", "no"),
            (Form::ReplayRun, whole, "", "no"),
            (Form::ReplayRun, Field::Labels.at().key("a/b"), "/version", &misfit("/labels/a~1b")),
            (Form::ReplayRun, nodes.index(2), "/version", &misfit("/workflowDefinition/nodes/2")),
            (Form::Plain, Field::NodeResult.at().key("x"), "/data/x", "no"),
            (Form::ReportRun, Field::NodeResult.at().key("x"), "/result/x", "no"),
            (Form::ReportRun, Field::Usage.at().index(3).part(Part::NodeId), "/usage/3/nodeId", "no"),
        ] {
            let faults = form.faults(Invalid::one(at, ViolationCode::Invalid, "no")).into_vec();
            let said: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.message.as_str())).collect();
            assert_eq!(said, [(pointer, message)], "{form:?} {at:?}");
        }
    }

    #[test]
    fn what_a_path_names_is_not_found_and_what_a_body_names_is_a_fault() {
        let missing = || Refusal::Invalid(Invalid::one(Field::Definition, ViolationCode::NotFound, "there is no x"));
        let problem = Form::InvokeDefinition.problem(missing());
        assert_eq!((problem.kind.code, problem.detail.as_str()), ("not_found", "there is no x"));
        assert_eq!(Problem::from(missing()).kind.code, "invalid_request");
    }
}
