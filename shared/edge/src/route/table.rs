//! Every route of the native API: one row each, under the function that answers it.
//!
//! A row says everything that is to be known of its route: the name of its variant and its parameters, by which the function
//! goes; method and path, by which requests are matched and the template's routes are checked; and what the API's
//! description says of it. A row that no function answers, or a function that answers what has no row, does not compile.

use super::operation::{Access, Answer, Body, Operation, described};
use super::parameter::{
    DeliveryNumber, InputNumber, ItemIndex, IterationNumber, Parameters, ProcessorKeyId, VersionNumber,
};
use crate::problem::{
    ATTEMPT_UNDER_WAY, DELIVERIES_OPEN, KEY_REUSED, LOOPING_RISK, MODEL_ID_TAKEN, NAME_TAKEN, NOT_WAITING, Problem,
    RUN_ENDED, RUN_OPEN, TOO_MANY_DEFINITIONS, TOO_MANY_KEYS, TOO_MANY_PAUSES, TOO_MANY_VERSIONS, WRONG_STATUS,
};
use crate::wire::budget::BudgetsView;
use crate::wire::control_run::{AnswerNodeBody, RedeliverFailedBody, RedeliveriesView, RedeliveryView, ReplayRunBody};
use crate::wire::create_run::CreateRunBody;
use crate::wire::definitions::{
    AddVersionBody, ChangeDefinitionBody, CreateDefinitionBody, DefinitionView, DraftBody, DraftView, VersionView,
};
use crate::wire::discover::{DiscoverableVersionView, DiscoverableView};
use crate::wire::inputs::InputView;
use crate::wire::instances::{InstanceConfigurationBody, InstanceView};
use crate::wire::invoke_definition::InvokeDefinitionBody;
use crate::wire::keys::{KeysView, NewKeyView};
use crate::wire::models::{ModelBody, ModelView};
use crate::wire::operator::{
    ComputeNodeBody, ComputeNodeView, LayerBody, ProcessorBody, ProcessorView, TenantBody, TenantView,
};
use crate::wire::report_run::{
    CommentBody, CommentView, CreateReportTokenBody, ReportBody, ReportTokenView, ReportedView,
};
use crate::wire::runs::{DeliveryList, RunView, StepPartView, StepView};
use crate::wire::usage::{ReportUsageBody, UsageRecordedView, UsageView};
use crate::wire::{
    CommentList, ComputeNodeList, DefinitionList, DiscoverableList, InputList, InstanceList, ModelList, ProcessorList,
    RunList, StepList, TenantList, VersionList,
};
use sluice_core::definition::VersionRule;
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionRef, InstanceId, LayerName, ModelKey, NodeId, ProcessorKey, RunId, TenantId,
};
use sluice_core::retention::RetentionChange;
use utoipa::ToSchema;

/// A sample event of a function.
macro_rules! sample {
    ($name:literal, $file:literal) => {
        ($name, include_str!(concat!("../../../../events/", $file, ".json")))
    };
}

const fn operation(method: &'static str, path: &'static str, name: &'static str) -> Operation {
    Operation {
        method,
        path,
        name,
        summary: "",
        description: "",
        query: &[],
        takes_key: false,
        operator: None,
        body: None,
        answers: &[],
        conflicts: &[],
    }
}

const fn answer<T: ToSchema>(status: u16, meaning: &'static str) -> Answer {
    Answer { status, meaning, schema: Some(described::<T>), is_located: false, is_replayable: false }
}

const fn no_content(meaning: &'static str) -> Answer {
    Answer { status: 204, meaning, schema: None, is_located: false, is_replayable: false }
}

const fn created<T: ToSchema>(status: u16, meaning: &'static str) -> Answer {
    Answer { is_located: true, ..answer::<T>(status, meaning) }
}

const fn accepted(status: u16, meaning: &'static str) -> Answer {
    Answer { is_replayable: true, ..created::<RunView>(status, meaning) }
}

const fn body<T: ToSchema>(samples: &'static [(&'static str, &'static str)]) -> Option<Body> {
    Some(Body { schema: described::<T>, samples, may_be_missing: false })
}

const fn body_or_none<T: ToSchema>(samples: &'static [(&'static str, &'static str)]) -> Option<Body> {
    Some(Body { schema: described::<T>, samples, may_be_missing: true })
}

const PAGING: &[&str] = &["limit", "cursor"];

const RUNS: &str = "/v1/workflow-runs";
const RUN: &str = "/v1/workflow-runs/{runId}";
const DEFINITIONS: &str = "/v1/workflow-definitions";
const DEFINITION: &str = "/v1/workflow-definitions/{definition}";
const VERSIONS: &str = "/v1/workflow-definitions/{definition}/versions";
const DRAFT: &str = "/v1/workflow-definitions/{definition}/draft";
const DISCOVERABLE: &str = "/v1/discoverable-definitions";
const INSTANCES: &str = "/v1/workflow-instances";
const PROCESSOR: &str = "/v1/processors/{key}";
const COMPUTE_NODE: &str = "/v1/compute-nodes/{key}";
const MODEL: &str = "/v1/models/{key}";
const TENANT: &str = "/v1/tenants/{tenant}";

/// What requests are matched by.
#[derive(Debug)]
pub struct Route {
    pub id: RouteId,
    /// The operation's name, such as `createRun`: [`RouteId`] as the API's description spells it.
    pub name: &'static str,
    /// The function that answers it.
    pub function: &'static str,
    pub method: &'static str,
    /// A template, such as `/v1/workflow-runs/{runId}`.
    pub path: &'static str,
    pub access: Access,
    /// The parameters of its query.
    pub query: &'static [&'static str],
    /// Whether it takes an idempotency key; then it makes a run.
    pub takes_key: bool,
    pub takes_body: bool,
}

impl Route {
    /// The route of a row. Whose it is says the row, unless it stands among those of report tokens.
    const fn of(row: &Operation, id: RouteId, function: &'static str, open: Option<Access>) -> Self {
        let access = match (open, row.operator) {
            (Some(open), _) => open,
            (None, Some(what)) => Access::Operator(what),
            (None, None) => Access::Tenant,
        };
        Self {
            id,
            name: row.name,
            function,
            method: row.method,
            path: row.path,
            access,
            query: row.query,
            takes_key: row.takes_key,
            takes_body: row.body.is_some(),
        }
    }
}

/// The routes of one function.
pub trait Routes: FromPath {
    /// As the table names it.
    const FUNCTION: &'static str;
    /// Those that are open to the network.
    type Open: FromPath;
}

/// A route with the parameters of its path.
pub trait FromPath: Sized + Send {
    /// Reads the parameters of a path that was matched; `None` for a route that is none of these.
    ///
    /// # Errors
    /// As [`PathParameter::read`](super::PathParameter::read).
    fn from_path(id: RouteId, parameters: &mut Parameters<'_>) -> Result<Option<Self>, Problem>;
}

/// The open routes of a function that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {}

impl FromPath for NoRoute {
    fn from_path(_: RouteId, _: &mut Parameters<'_>) -> Result<Option<Self>, Problem> {
        Ok(None)
    }
}

/// Writes the table once: as the enum of every route, as one enum for each function with the parameters of its paths, as
/// [`ROUTES`] to match requests by, and as [`OPERATIONS`] to describe them.
macro_rules! functions {
    ($(
        $function:ident of $name:literal {
            $($id:ident $({ $($field:ident: $type:ty),+ })? => $operation:expr;)+
        }
        $(+ open $open:ident {
            $($open_id:ident $({ $($open_field:ident: $open_type:ty),+ })? => $open_operation:expr;)+
        })?
    )+) => {
        /// Every route, by the name of its operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RouteId {
            $($($id,)+ $($($open_id,)+)?)+
        }

        /// Every route, in the order of [`RouteId`].
        pub static ROUTES: &[Route] = &[$(
            $(Route::of(&$operation, RouteId::$id, $name, None),)+
            $($(Route::of(&$open_operation, RouteId::$open_id, $name, Some(Access::ReportToken)),)+)?
        )+];

        /// What the API's description says of every route, in the order of [`ROUTES`]. Apart from these, so that a function
        /// does not carry every schema.
        pub static OPERATIONS: &[Operation] = &[$($($operation,)+ $($($open_operation,)+)?)+];

        $(
            functions! { @enum
                concat!("The routes of `", $name, "`, each with the parameters of its path."),
                $function { $($id $({ $($field: $type),+ })?)+ }
            }
            $(functions! { @enum
                concat!("The routes of `", $name, "` that are open to the network: their callers have a report token."),
                $open { $($open_id $({ $($open_field: $open_type),+ })?)+ }
            })?

            impl Routes for $function {
                const FUNCTION: &'static str = $name;
                type Open = functions!(@open $($open)?);
            }
        )+
    };
    (@enum $doc:expr, $name:ident { $($id:ident $({ $($field:ident: $type:ty),+ })?)+ }) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($id $({ $($field: $type),+ })?),+
        }

        impl FromPath for $name {
            fn from_path(id: RouteId, parameters: &mut Parameters<'_>) -> Result<Option<Self>, Problem> {
                $(if id == RouteId::$id {
                    let route = Self::$id $({ $($field: parameters.take()?),+ })?;
                    parameters.finish();
                    return Ok(Some(route));
                })+
                Ok(None)
            }
        }
    };
    (@open) => { NoRoute };
    (@open $open:ident) => { $open };
}

functions! {
    CreateRunRoute of "create-run" {
        CreateRun => Operation {
            summary: "Create a run",
            description: "Records a run, then starts it. Everything that is wrong with the request is said at once, before \
                anything is written. Where the start has to wait, the answer is the same: the run is PENDING until it is started. \
                Where as many runs are open as its definition or its tenant may have, it is refused, or QUEUED, as they say.",
            takes_key: true,
            body: body::<CreateRunBody>(&[
                sample!("brief", "create-run/api-gateway-jwt"),
                sample!("everything", "create-run/api-gateway-jwt-everything"),
                sample!("savedInstance", "create-run/api-gateway-iam-instance"),
                sample!("evaluation", "create-run/api-gateway-jwt-evaluation"),
                sample!("forAUser", "create-run/api-gateway-jwt-user"),
            ]),
            answers: &[accepted(201, "The run, as it was recorded")],
            conflicts: &[&KEY_REUSED],
            ..operation("POST", RUNS, "createRun")
        };
    }

    InvokeDefinitionRoute of "invoke-definition" {
        InvokeDefinition { definition: DefinitionRef } => Operation {
            summary: "Invoke a definition",
            description: "The shorthand for callers that know a workflow by its name: on the compute node `default`, without \
                processor configs. The same engine and the same guarantees as `createRun`.",
            takes_key: true,
            body: body_or_none::<InvokeDefinitionBody>(&[sample!("withCap", "invoke-definition/api-gateway-jwt")]),
            answers: &[accepted(202, "The run, as it was recorded")],
            conflicts: &[&KEY_REUSED],
            ..operation("POST", "/v1/workflow-definitions/{definition}/invoke", "invokeDefinition")
        };
    }

    CancelRunRoute of "cancel-run" {
        CancelRun { run_id: RunId } => Operation {
            summary: "Cancel a run",
            description: "Idempotent, and truthful in every state. A run that has not started is canceled at once and never \
                runs a node.",
            answers: &[answer::<RunView>(200, "It is canceled"), answer::<RunView>(202, "It is being stopped: CANCELING")],
            conflicts: &[&RUN_ENDED],
            ..operation("POST", "/v1/workflow-runs/{runId}/cancel", "cancelRun")
        };
    }

    ControlRunRoute of "control-run" {
        PauseRun { run_id: RunId } => Operation {
            summary: "Pause a run",
            description: "Takes effect at the next stage boundary: work in flight finishes. Asking again changes nothing.",
            answers: &[
                answer::<RunView>(200, "It is paused"),
                answer::<RunView>(202, "It pauses at its next stage boundary"),
            ],
            conflicts: &[&RUN_ENDED, &TOO_MANY_PAUSES, &WRONG_STATUS],
            ..operation("POST", "/v1/workflow-runs/{runId}/pause", "pauseRun")
        };
        ResumeRun { run_id: RunId } => Operation {
            summary: "Resume a run",
            description: "Goes on where the run was paused, or withdraws a pause that has not taken effect. Asking again \
                changes nothing.",
            answers: &[
                answer::<RunView>(200, "It goes on"),
                answer::<RunView>(202, "It is resumed; its runner has yet to be told, which is tried again every minute"),
            ],
            conflicts: &[&RUN_ENDED, &WRONG_STATUS],
            ..operation("POST", "/v1/workflow-runs/{runId}/resume", "resumeRun")
        };
        AnswerNode { run_id: RunId } => Operation {
            summary: "Answer a node that waits",
            description: "Gives an `external` node its result, checked against the node's schema.",
            body: body::<AnswerNodeBody>(&[sample!("answer", "control-run/data")]),
            answers: &[answer::<RunView>(202, "The answer is recorded and on its way to the node")],
            conflicts: &[&NOT_WAITING],
            ..operation("POST", "/v1/workflow-runs/{runId}/data", "answerNode")
        };
        ReplayRun { run_id: RunId } => Operation {
            summary: "Replay a run",
            description: "Makes a new run from the frozen snapshot of one that has ended, whole or from a node on; or from what \
                its request said, on another version of the definition.",
            takes_key: true,
            body: body_or_none::<ReplayRunBody>(&[
                sample!("fromNode", "control-run/replay-from-node"),
                sample!("otherVersion", "control-run/replay-version"),
                sample!("forAUser", "control-run/replay-for-user"),
            ]),
            answers: &[accepted(201, "The new run, as it was recorded")],
            conflicts: &[&RUN_OPEN, &LOOPING_RISK, &KEY_REUSED],
            ..operation("POST", "/v1/workflow-runs/{runId}/replay", "replayRun")
        };
        RedeliverDelivery { run_id: RunId, number: DeliveryNumber } => Operation {
            summary: "Send a delivery again",
            description: "The same message with the same `webhook-id`, from the beginning of the schedule, whatever became \
                of it before.",
            answers: &[answer::<RedeliveryView>(202, "It is due now; what becomes of it shows in the list of deliveries")],
            conflicts: &[&ATTEMPT_UNDER_WAY],
            ..operation("POST", "/v1/workflow-runs/{runId}/deliveries/{number}/redeliver", "redeliverDelivery")
        };
        RedeliverFailed => Operation {
            summary: "Send everything again that was given up",
            description: "The tenant's deliveries that were dead-lettered at this time or later, at most 100 at once, the first \
                given up first: for a receiver that is back.",
            body: body::<RedeliverFailedBody>(&[sample!("since", "control-run/redeliver-failed")]),
            answers: &[answer::<RedeliveriesView>(202, "They are due now")],
            ..operation("POST", "/v1/deliveries/redeliver", "redeliverFailed")
        };
        CreateReportToken { run_id: RunId } => Operation {
            summary: "Make a report token",
            description: "For a worker that has no identity of its own: with it, it reports on this run, and does nothing else, \
                until it expires or the run ends. It is shown this once.",
            body: body_or_none::<CreateReportTokenBody>(&[sample!("ofANode", "control-run/report-token")]),
            answers: &[answer::<ReportTokenView>(201, "The token")],
            conflicts: &[&RUN_ENDED],
            ..operation("POST", "/v1/workflow-runs/{runId}/report-tokens", "createReportToken")
        };
        ReportUsage { run_id: RunId } => Operation {
            summary: "Report what LLM calls used",
            description: "A call counts once, whoever reports it how often. A run that has spent more than it may is stopped, and \
                ends FAILED with `budget_exceeded`.",
            body: body::<ReportUsageBody>(&[sample!("twoCalls", "control-run/usage")]),
            answers: &[answer::<UsageRecordedView>(200, "They are recorded")],
            conflicts: &[&WRONG_STATUS],
            ..operation("POST", "/v1/workflow-runs/{runId}/usage", "reportUsage")
        };
        AddComment { run_id: RunId } => Operation {
            summary: "Comment on a run",
            description: "Open or ended.",
            body: body::<CommentBody>(&[sample!("remark", "control-run/comment")]),
            answers: &[answer::<CommentView>(201, "The comment")],
            ..operation("POST", "/v1/workflow-runs/{runId}/comments", "addComment")
        };
        ChangeRetention { run_id: RunId } => Operation {
            summary: "Change how long a run is kept",
            description: "Counted from its end, whenever that was: a rule that has run out already lets it go at once. What is absent \
                stays as it is.",
            body: body::<RetentionChange>(&[sample!("aWeek", "control-run/retention")]),
            answers: &[answer::<RunView>(200, "The run, under the new rule")],
            ..operation("PATCH", "/v1/workflow-runs/{runId}/retention", "changeRetention")
        };
        DeleteRun { run_id: RunId } => Operation {
            summary: "Delete a run",
            description: "One that has ended and owes nobody a delivery any more, with everything that belongs to it, at once and \
                for good.",
            answers: &[no_content("It is gone")],
            conflicts: &[&DELIVERIES_OPEN, &RUN_OPEN],
            ..operation("DELETE", RUN, "deleteRun")
        };
    }
    + open ControlRunOpenRoute {
        ReportOnNode { run_id: RunId } => Operation {
            summary: "Report on a node",
            description: "Of a worker with a report token: that its node has come to an end, how far it is, what its LLM calls \
                used. Usage and progress may come with every report. An end is an answer to an `external` node; one that is \
                repeated is refused as not awaited.",
            body: body::<ReportBody>(&[
                sample!("succeeded", "control-run/report"),
                sample!("failed", "control-run/report-failed"),
                sample!("underWay", "control-run/report-progress"),
            ]),
            answers: &[answer::<ReportedView>(202, "It is recorded")],
            conflicts: &[&NOT_WAITING, &RUN_ENDED, &WRONG_STATUS],
            ..operation("POST", "/v1/workflow-runs/{runId}/report", "reportOnNode")
        };
    }

    ReadRunsRoute of "read-runs" {
        ListRuns => Operation {
            summary: "List runs",
            description: "The tenant's runs, the newest first unless `order` says otherwise. A page may be short and still \
                have a next one.",
            query: &[
                "status",
                "workflowDefinitionId",
                "workflowInstanceId",
                "label",
                "createdBy",
                "replayOf",
                "evaluationOf",
                "createdFrom",
                "createdBefore",
                "order",
                "limit",
                "cursor",
            ],
            answers: &[answer::<RunList>(200, "A page of runs")],
            ..operation("GET", RUNS, "listRuns")
        };
        GetRun { run_id: RunId } => Operation {
            summary: "Get a run",
            description: "With its output once it has any, the runs that repeat or evaluate it, and its place in its queue. A wait \
                gives up early, with `Retry-After`, where too many wait already.",
            query: &["waitSeconds", "include"],
            answers: &[answer::<RunView>(200, "The run")],
            ..operation("GET", RUN, "getRun")
        };
        ListSteps { run_id: RunId } => Operation {
            summary: "List a run's steps",
            description: "One for each node of the run, in the order of the stages, without results.",
            query: PAGING,
            answers: &[answer::<StepList>(200, "A page of steps")],
            ..operation("GET", "/v1/workflow-runs/{runId}/steps", "listSteps")
        };
        GetStep { run_id: RunId, node_id: NodeId } => Operation {
            summary: "Get a step",
            description: "With its result.",
            answers: &[answer::<StepView>(200, "The step")],
            ..operation("GET", "/v1/workflow-runs/{runId}/steps/{nodeId}", "getStep")
        };
        GetStepItem { run_id: RunId, node_id: NodeId, item_index: ItemIndex } => Operation {
            summary: "Get an item of a step",
            description: "What came of one item of a fan-out, once it has ended.",
            answers: &[answer::<StepPartView>(200, "The item")],
            ..operation("GET", "/v1/workflow-runs/{runId}/steps/{nodeId}/items/{itemIndex}", "getStepItem")
        };
        GetStepIteration { run_id: RunId, node_id: NodeId, iteration: IterationNumber } => Operation {
            summary: "Get an iteration of a step",
            description: "What came of one iteration of a loop but the last, whose result is the step's own.",
            answers: &[answer::<StepPartView>(200, "The iteration")],
            ..operation("GET", "/v1/workflow-runs/{runId}/steps/{nodeId}/iterations/{iteration}", "getStepIteration")
        };
        ListDeliveries { run_id: RunId } => Operation {
            summary: "List a run's deliveries",
            description: "Every notification that the run owes or owed, with every attempt at it.",
            answers: &[answer::<DeliveryList>(200, "The deliveries")],
            ..operation("GET", "/v1/workflow-runs/{runId}/deliveries", "listDeliveries")
        };
        ListInputs { run_id: RunId } => Operation {
            summary: "List what a run was given",
            description: "Its own input and every answer to a node, in their order, each with the steps that ended before the \
                next. A value above 16 KB is shown by reference.",
            query: PAGING,
            answers: &[answer::<InputList>(200, "A page of inputs")],
            ..operation("GET", "/v1/workflow-runs/{runId}/inputs", "listInputs")
        };
        GetInput { run_id: RunId, sequence: InputNumber } => Operation {
            summary: "Get something that a run was given",
            description: "With its value, however large.",
            answers: &[answer::<InputView>(200, "The input")],
            ..operation("GET", "/v1/workflow-runs/{runId}/inputs/{sequence}", "getInput")
        };
        GetUsage { run_id: RunId } => Operation {
            summary: "Get what a run used",
            description: "What its LLM calls come to, in all and by node, provider and model; and the calls, one by one.",
            query: PAGING,
            answers: &[answer::<UsageView>(200, "The totals, and a page of calls")],
            ..operation("GET", "/v1/workflow-runs/{runId}/usage", "getUsage")
        };
        ListComments { run_id: RunId } => Operation {
            summary: "List a run's comments",
            description: "The oldest first.",
            query: PAGING,
            answers: &[answer::<CommentList>(200, "A page of comments")],
            ..operation("GET", "/v1/workflow-runs/{runId}/comments", "listComments")
        };
    }

    ManageDefinitionsRoute of "manage-definitions" {
        CreateDefinition => Operation {
            summary: "Create a definition",
            description: "A name for the versions to come, unique in the tenant.",
            body: body::<CreateDefinitionBody>(&[
                sample!("named", "manage-definitions/create-definition"),
                sample!("everything", "manage-definitions/create-definition-everything"),
            ]),
            answers: &[created::<DefinitionView>(201, "The definition, without versions")],
            conflicts: &[&NAME_TAKEN, &TOO_MANY_DEFINITIONS],
            ..operation("POST", DEFINITIONS, "createDefinition")
        };
        ListDefinitions => Operation {
            summary: "List definitions",
            query: PAGING,
            answers: &[answer::<DefinitionList>(200, "A page of definitions")],
            ..operation("GET", DEFINITIONS, "listDefinitions")
        };
        GetDefinition { definition: DefinitionRef } => Operation {
            summary: "Get a definition",
            answers: &[answer::<DefinitionView>(200, "The definition")],
            ..operation("GET", DEFINITION, "getDefinition")
        };
        ChangeDefinition { definition: DefinitionRef } => Operation {
            summary: "Change a definition",
            description: "What it says of itself and of its runs to come, not its versions. What is absent stays as it is; \
                `null` takes away a limit of runs, a retention or a duration.",
            body: body::<ChangeDefinitionBody>(&[
                sample!("texts", "manage-definitions/change-definition"),
                sample!("rules", "manage-definitions/change-definition-rules"),
                sample!("noRules", "manage-definitions/change-definition-no-rules"),
            ]),
            answers: &[answer::<DefinitionView>(200, "The definition, changed")],
            ..operation("PATCH", DEFINITION, "changeDefinition")
        };
        AddVersion { definition: DefinitionRef } => Operation {
            summary: "Add a version",
            description: "Immutable from then on. The document has at most 131,072 bytes and 500 nodes; its edges form no \
                circle; a run of it writes at most 20,000 events into its execution history, whatever fails. What is `private` \
                is hidden from other tenants that run a discoverable definition.",
            body: body::<AddVersionBody>(&[
                sample!("pipeline", "manage-definitions/add-version"),
                sample!("withPrivateParts", "manage-definitions/add-version-private"),
                sample!("goesOnWithoutCalls", "manage-definitions/add-version-on-budget-exceeded"),
            ]),
            answers: &[created::<VersionView>(201, "The version, with its number")],
            conflicts: &[&TOO_MANY_VERSIONS],
            ..operation("POST", VERSIONS, "addVersion")
        };
        ListVersions { definition: DefinitionRef } => Operation {
            summary: "List a definition's versions",
            description: "Without their documents.",
            query: PAGING,
            answers: &[answer::<VersionList>(200, "A page of versions")],
            ..operation("GET", VERSIONS, "listVersions")
        };
        GetVersion { definition: DefinitionRef, version: VersionNumber } => Operation {
            summary: "Get a version",
            answers: &[answer::<VersionView>(200, "The version with its document")],
            ..operation("GET", "/v1/workflow-definitions/{definition}/versions/{version}", "getVersion")
        };
        ActivateVersion { definition: DefinitionRef, version: VersionNumber } => Operation {
            summary: "Activate a version",
            description: "Makes it the one that a run gets unless it asks for another. One that was deprecated is no longer.",
            answers: &[answer::<DefinitionView>(200, "The definition, with this version active")],
            ..operation("POST", "/v1/workflow-definitions/{definition}/versions/{version}/activate", "activateVersion")
        };
        DeprecateVersion { definition: DefinitionRef, version: VersionNumber } => Operation {
            summary: "Deprecate a version",
            description: "It makes no new runs; those that it made go on. Activating it takes that back. Asking again changes \
                nothing.",
            answers: &[answer::<DefinitionView>(200, "The definition, with this version deprecated")],
            ..operation("POST", "/v1/workflow-definitions/{definition}/versions/{version}/deprecate", "deprecateVersion")
        };
        GetDraft { definition: DefinitionRef } => Operation {
            summary: "Get a definition's draft",
            answers: &[answer::<DraftView>(200, "The draft with its document")],
            ..operation("GET", DRAFT, "getDraft")
        };
        SaveDraft { definition: DefinitionRef } => Operation {
            summary: "Save a definition's draft",
            description: "What is to become a version, in the place of an earlier draft. It is held to the rules of a version, \
                and its owner runs it as version `draft`.",
            body: body::<DraftBody>(&[sample!("pipeline", "manage-definitions/put-draft")]),
            answers: &[answer::<DraftView>(200, "The draft, as it now is")],
            ..operation("PUT", DRAFT, "saveDraft")
        };
        DeleteDraft { definition: DefinitionRef } => Operation {
            summary: "Throw a definition's draft away",
            description: "There need not be one.",
            answers: &[no_content("There is no draft any more")],
            ..operation("DELETE", DRAFT, "deleteDraft")
        };
        ListDiscoverableDefinitions => Operation {
            summary: "List discoverable definitions",
            description: "Definitions of all tenants that every tenant may run by their id. Only those with an active version; in \
                no order that means anything. A page may be short, or empty, and still have a next one.",
            query: &["text", "tag", "limit", "cursor"],
            answers: &[answer::<DiscoverableList>(200, "A page of definitions")],
            ..operation("GET", DISCOVERABLE, "listDiscoverableDefinitions")
        };
        GetDiscoverableDefinition { definition_id: DefinitionId } => Operation {
            summary: "Get a discoverable definition",
            answers: &[answer::<DiscoverableView>(200, "The definition, as other tenants see it")],
            ..operation("GET", "/v1/discoverable-definitions/{definitionId}", "getDiscoverableDefinition")
        };
        GetDiscoverableVersion { definition_id: DefinitionId, version: VersionRule } => Operation {
            summary: "Get a version of a discoverable definition",
            description: "Without what its owner keeps private.",
            answers: &[answer::<DiscoverableVersionView>(200, "The version, as other tenants see it")],
            ..operation("GET", "/v1/discoverable-definitions/{definitionId}/versions/{version}", "getDiscoverableVersion")
        };
        SaveInstance => Operation {
            summary: "Save an instance",
            description: "Found or created from its content: equal content is always the same instance.",
            body: body::<InstanceConfigurationBody>(&[sample!("configured", "manage-definitions/save-instance")]),
            answers: &[
                created::<InstanceView>(200, "The instance that was there already"),
                created::<InstanceView>(201, "The instance, new"),
            ],
            ..operation("POST", INSTANCES, "saveInstance")
        };
        ListInstances => Operation {
            summary: "List instances",
            query: PAGING,
            answers: &[answer::<InstanceList>(200, "A page of instances")],
            ..operation("GET", INSTANCES, "listInstances")
        };
        GetInstance { instance_id: InstanceId } => Operation {
            summary: "Get an instance",
            answers: &[answer::<InstanceView>(200, "The instance")],
            ..operation("GET", "/v1/workflow-instances/{instanceId}", "getInstance")
        };
        ListProcessors => Operation {
            summary: "List processors",
            description: "For the operator.",
            query: PAGING,
            answers: &[answer::<ProcessorList>(200, "A page of processors")],
            operator: Some("read processors"),
            ..operation("GET", "/v1/processors", "listProcessors")
        };
        GetProcessor { key: ProcessorKey } => Operation {
            summary: "Get a processor",
            description: "For the operator.",
            answers: &[answer::<ProcessorView>(200, "The processor")],
            operator: Some("read processors"),
            ..operation("GET", PROCESSOR, "getProcessor")
        };
        DeclareProcessor { key: ProcessorKey } => Operation {
            summary: "Declare a processor",
            description: "For the operator. What a processor node runs, and who may use it. Declaring a key again replaces it.",
            body: body::<ProcessorBody>(&[
                sample!("function", "manage-definitions/put-processor"),
                sample!("stateMachine", "manage-definitions/put-processor-state-machine"),
                sample!("containerTask", "manage-definitions/put-processor-ecs"),
            ]),
            answers: &[answer::<ProcessorView>(200, "The processor, as it now is")],
            operator: Some("declare processors"),
            ..operation("PUT", PROCESSOR, "declareProcessor")
        };
        CreateProcessorKey { key: ProcessorKey } => Operation {
            summary: "Make a key of a processor",
            description: "For the operator. With it, and with the URL in its input, the processor has its calls of language models \
                governed. It is shown this once, and only its hash is kept. Two may be alive, so that one can be changed for another.",
            answers: &[created::<NewKeyView>(201, "The key")],
            conflicts: &[&TOO_MANY_KEYS],
            operator: Some("make keys of processors"),
            ..operation("POST", "/v1/processors/{key}/keys", "createProcessorKey")
        };
        ListProcessorKeys { key: ProcessorKey } => Operation {
            summary: "List the keys of a processor",
            description: "For the operator. Those that are alive, without the keys themselves.",
            answers: &[answer::<KeysView>(200, "The keys")],
            operator: Some("read keys of processors"),
            ..operation("GET", "/v1/processors/{key}/keys", "listProcessorKeys")
        };
        DeleteProcessorKey { key: ProcessorKey, id: ProcessorKeyId } => Operation {
            summary: "Delete a key of a processor",
            description: "For the operator. The key opens nothing any more, after 15 seconds at the latest.",
            answers: &[no_content("There is no such key any more")],
            operator: Some("delete keys of processors"),
            ..operation("DELETE", "/v1/processors/{key}/keys/{keyId}", "deleteProcessorKey")
        };
        ListComputeNodes => Operation {
            summary: "List compute nodes",
            description: "For the operator.",
            query: PAGING,
            answers: &[answer::<ComputeNodeList>(200, "A page of compute nodes")],
            operator: Some("read compute nodes"),
            ..operation("GET", "/v1/compute-nodes", "listComputeNodes")
        };
        GetComputeNode { key: ComputeNodeKey } => Operation {
            summary: "Get a compute node",
            description: "For the operator.",
            answers: &[answer::<ComputeNodeView>(200, "The compute node")],
            operator: Some("read compute nodes"),
            ..operation("GET", COMPUTE_NODE, "getComputeNode")
        };
        DeclareComputeNode { key: ComputeNodeKey } => Operation {
            summary: "Declare a compute node",
            description: "For the operator. Where runs execute, and who may use it. Declaring a key again replaces it.",
            body: body::<ComputeNodeBody>(&[
                sample!("withCeiling", "manage-definitions/put-compute-node"),
                sample!("withBudget", "manage-definitions/put-compute-node-budget"),
            ]),
            answers: &[answer::<ComputeNodeView>(200, "The compute node, as it now is")],
            operator: Some("declare compute nodes"),
            ..operation("PUT", COMPUTE_NODE, "declareComputeNode")
        };
        DeclareLayer { key: ComputeNodeKey, name: LayerName } => Operation {
            summary: "Declare a layer of a compute node",
            description: "For the operator. A run may use only layers that are READY.",
            body: body::<LayerBody>(&[sample!("status", "manage-definitions/put-layer")]),
            answers: &[answer::<ComputeNodeView>(200, "The compute node, as it now is")],
            operator: Some("declare layers"),
            ..operation("PUT", "/v1/compute-nodes/{key}/layers/{name}", "declareLayer")
        };
        ListModels => Operation {
            summary: "List models",
            description: "Those that the caller may call; to the operator, all. A page may be short, or empty, and still have a next \
                one.",
            query: PAGING,
            answers: &[answer::<ModelList>(200, "A page of models")],
            ..operation("GET", "/v1/models", "listModels")
        };
        GetModel { key: ModelKey } => Operation {
            summary: "Get a model",
            description: "One that the caller may call; to the operator, any.",
            answers: &[answer::<ModelView>(200, "The model")],
            ..operation("GET", MODEL, "getModel")
        };
        DeclareModel { key: ModelKey } => Operation {
            summary: "Declare a model",
            description: "For the operator. By which ids governed calls may name it, who may, and what it costs. What has no price is \
                refused: nothing is guessed or inherited. Declaring a key again replaces it; calls see that within 15 seconds. \
                An id belongs to one model.",
            body: body::<ModelBody>(&[
                sample!("onePrice", "manage-definitions/put-model"),
                sample!("everything", "manage-definitions/put-model-everything"),
            ]),
            answers: &[answer::<ModelView>(200, "The model, as it now is")],
            conflicts: &[&MODEL_ID_TAKEN],
            operator: Some("declare models"),
            ..operation("PUT", MODEL, "declareModel")
        };
        DeleteModel { key: ModelKey } => Operation {
            summary: "Take a model back",
            description: "For the operator. Calls that name it are refused from then on, after 15 seconds at the latest.",
            answers: &[no_content("There is no such model any more")],
            operator: Some("take models back"),
            ..operation("DELETE", MODEL, "deleteModel")
        };
        GetBudgets => Operation {
            summary: "Get what is left of the budgets",
            description: "Of the caller's tenant, and of the compute nodes that it may use; with `userId`, of that user as well. The \
                least that is left of those that hold for a run is what it may spend: a caller may pass it as the run's cap. A run \
                of which nothing is left is refused with 429 `budget_exhausted`.",
            query: &["userId"],
            answers: &[answer::<BudgetsView>(200, "The budgets")],
            ..operation("GET", "/v1/budgets", "getBudgets")
        };
        ListTenants => Operation {
            summary: "List tenants",
            description: "For the operator. Those that something was said of.",
            query: PAGING,
            answers: &[answer::<TenantList>(200, "A page of tenants")],
            operator: Some("read what tenants may do"),
            ..operation("GET", "/v1/tenants", "listTenants")
        };
        GetTenant { tenant: TenantId } => Operation {
            summary: "Get what a tenant may do",
            description: "For the operator. A tenant that nothing was said of may do everything.",
            answers: &[answer::<TenantView>(200, "What it may do")],
            operator: Some("read what tenants may do"),
            ..operation("GET", TENANT, "getTenant")
        };
        SetTenant { tenant: TenantId } => Operation {
            summary: "Set what a tenant may do",
            description: "For the operator. How many runs it may have open, how long they are kept, where its callbacks may go, and \
                what its governed calls may cost. Replaces what was said before.",
            body: body::<TenantBody>(&[
                sample!("limits", "manage-definitions/put-tenant"),
                sample!("budget", "manage-definitions/put-tenant-budget"),
            ]),
            answers: &[answer::<TenantView>(200, "What it now may do")],
            operator: Some("set what tenants may do"),
            ..operation("PUT", TENANT, "setTenant")
        };
    }
}
