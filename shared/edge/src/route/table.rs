//! Every route of the native API: one row each.

use super::{Answer, Body, Route, described};
use crate::problem::{
    ATTEMPT_UNDER_WAY, DELIVERIES_OPEN, KEY_REUSED, LOOPING_RISK, NAME_TAKEN, NOT_WAITING, OPERATOR_ONLY, RUN_ENDED,
    RUN_OPEN, TOO_MANY_PAUSES, TOO_MANY_VERSIONS, WRONG_STATUS,
};
use crate::wire::control_run::{AnswerNodeBody, RedeliverFailedBody, RedeliveriesView, RedeliveryView, ReplayRunBody};
use crate::wire::create_run::CreateRunBody;
use crate::wire::definitions::{
    AddVersionBody, ChangeDefinitionBody, CreateDefinitionBody, DefinitionView, DraftBody, DraftView, VersionView,
};
use crate::wire::discover::{DiscoverableVersionView, DiscoverableView};
use crate::wire::inputs::InputList;
use crate::wire::instances::{InstanceConfigurationBody, InstanceView};
use crate::wire::invoke_definition::InvokeDefinitionBody;
use crate::wire::operator::{
    ComputeNodeBody, ComputeNodeView, LayerBody, ProcessorBody, ProcessorView, TenantBody, TenantView,
};
use crate::wire::report_run::{
    CommentBody, CommentView, CreateReportTokenBody, ReportBody, ReportTokenView, ReportedView,
};
use crate::wire::runs::{DeliveryList, RunView, StepList, StepView};
use crate::wire::usage::{ReportUsageBody, UsageRecordedView, UsageView};
use crate::wire::{
    CommentList, ComputeNodeList, DefinitionList, DiscoverableList, InstanceList, ProcessorList, RunList, TenantList,
    VersionList,
};
use sluice_core::retention::Retention;
use utoipa::ToSchema;

/// A sample event of a function.
macro_rules! sample {
    ($name:literal, $file:literal) => {
        ($name, include_str!(concat!("../../../../events/", $file, ".json")))
    };
}

const fn route(function: &'static str, method: &'static str, path: &'static str, id: &'static str) -> Route {
    Route {
        function,
        method,
        path,
        id,
        summary: "",
        description: "",
        query: &[],
        takes_key: false,
        takes_token: false,
        body: None,
        answers: &[],
        conflicts: &[],
        forbidden: &[],
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

const CREATE: &str = "create-run";
const INVOKE: &str = "invoke-definition";
const CANCEL: &str = "cancel-run";
const CONTROL: &str = "control-run";
const READ: &str = "read-runs";
const MANAGE: &str = "manage-definitions";

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
const TENANT: &str = "/v1/tenants/{tenant}";

pub static ROUTES: &[Route] = &[
    Route {
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
        ]),
        answers: &[accepted(201, "The run, as it was recorded")],
        conflicts: &[&KEY_REUSED],
        ..route(CREATE, "POST", RUNS, "createRun")
    },
    Route {
        summary: "Invoke a definition",
        description: "The shorthand for callers that know a workflow by its name: on the compute node `default`, without \
            processor configs. The same engine and the same guarantees as `createRun`.",
        takes_key: true,
        body: body_or_none::<InvokeDefinitionBody>(&[sample!("withCap", "invoke-definition/api-gateway-jwt")]),
        answers: &[accepted(202, "The run, as it was recorded")],
        conflicts: &[&KEY_REUSED],
        ..route(INVOKE, "POST", "/v1/workflow-definitions/{definition}/invoke", "invokeDefinition")
    },
    Route {
        summary: "Cancel a run",
        description: "Idempotent, and truthful in every state. A run that has not started is canceled at once and never \
            runs a node.",
        answers: &[answer::<RunView>(200, "It is canceled"), answer::<RunView>(202, "It is being stopped: CANCELING")],
        conflicts: &[&RUN_ENDED],
        ..route(CANCEL, "POST", "/v1/workflow-runs/{runId}/cancel", "cancelRun")
    },
    Route {
        summary: "Pause a run",
        description: "Takes effect at the next stage boundary: work in flight finishes. Asking again changes nothing.",
        answers: &[
            answer::<RunView>(200, "It is paused"),
            answer::<RunView>(202, "It pauses at its next stage boundary"),
        ],
        conflicts: &[&RUN_ENDED, &TOO_MANY_PAUSES, &WRONG_STATUS],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/pause", "pauseRun")
    },
    Route {
        summary: "Resume a run",
        description: "Goes on where the run was paused, or withdraws a pause that has not taken effect. Asking again \
            changes nothing.",
        answers: &[
            answer::<RunView>(200, "It goes on"),
            answer::<RunView>(202, "It is resumed; its runner has yet to be told, which is tried again every minute"),
        ],
        conflicts: &[&RUN_ENDED, &WRONG_STATUS],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/resume", "resumeRun")
    },
    Route {
        summary: "Answer a node that waits",
        description: "Gives an `external` node its result, checked against the node's schema.",
        body: body::<AnswerNodeBody>(&[sample!("answer", "control-run/data")]),
        answers: &[answer::<RunView>(202, "The answer is recorded and on its way to the node")],
        conflicts: &[&NOT_WAITING],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/data", "answerNode")
    },
    Route {
        summary: "Replay a run",
        description: "Makes a new run from the frozen snapshot of one that has ended, whole or from a node on; or from what \
            its request said, on another version of the definition.",
        takes_key: true,
        body: body_or_none::<ReplayRunBody>(&[
            sample!("fromNode", "control-run/replay-from-node"),
            sample!("otherVersion", "control-run/replay-version"),
        ]),
        answers: &[accepted(201, "The new run, as it was recorded")],
        conflicts: &[&RUN_OPEN, &LOOPING_RISK, &KEY_REUSED],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/replay", "replayRun")
    },
    Route {
        summary: "Send a delivery again",
        description: "The same message with the same `webhook-id`, from the beginning of the schedule, whatever became \
            of it before.",
        answers: &[answer::<RedeliveryView>(202, "It is due now; what becomes of it shows in the list of deliveries")],
        conflicts: &[&ATTEMPT_UNDER_WAY],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/deliveries/{number}/redeliver", "redeliverDelivery")
    },
    Route {
        summary: "Send everything again that was given up",
        description: "The tenant's deliveries that were dead-lettered at this time or later, at most 100 at once, the first \
            given up first: for a receiver that is back.",
        body: body::<RedeliverFailedBody>(&[sample!("since", "control-run/redeliver-failed")]),
        answers: &[answer::<RedeliveriesView>(202, "They are due now")],
        ..route(CONTROL, "POST", "/v1/deliveries/redeliver", "redeliverFailed")
    },
    Route {
        summary: "Make a report token",
        description: "For a worker that has no identity of its own: with it, it reports on this run, and does nothing else, \
            until it expires or the run ends. It is shown this once.",
        body: body_or_none::<CreateReportTokenBody>(&[sample!("ofANode", "control-run/report-token")]),
        answers: &[answer::<ReportTokenView>(201, "The token")],
        conflicts: &[&RUN_ENDED],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/report-tokens", "createReportToken")
    },
    Route {
        summary: "Report on a node",
        description: "Of a worker with a report token: that its node has come to an end, how far it is, what its LLM calls \
            used. Usage and progress may come with every report. An end is an answer to an `external` node; one that is \
            repeated is refused as not awaited.",
        takes_token: true,
        body: body::<ReportBody>(&[
            sample!("succeeded", "control-run/report"),
            sample!("failed", "control-run/report-failed"),
            sample!("underWay", "control-run/report-progress"),
        ]),
        answers: &[answer::<ReportedView>(202, "It is recorded")],
        conflicts: &[&NOT_WAITING, &RUN_ENDED, &WRONG_STATUS],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/report", "reportOnNode")
    },
    Route {
        summary: "Report what LLM calls used",
        description: "A call counts once, whoever reports it how often. A run that has spent more than it may is stopped, and \
            ends FAILED with `budget_exceeded`.",
        body: body::<ReportUsageBody>(&[sample!("twoCalls", "control-run/usage")]),
        answers: &[answer::<UsageRecordedView>(200, "They are recorded")],
        conflicts: &[&WRONG_STATUS],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/usage", "reportUsage")
    },
    Route {
        summary: "Comment on a run",
        description: "Open or ended.",
        body: body::<CommentBody>(&[sample!("remark", "control-run/comment")]),
        answers: &[answer::<CommentView>(201, "The comment")],
        ..route(CONTROL, "POST", "/v1/workflow-runs/{runId}/comments", "addComment")
    },
    Route {
        summary: "Change how long a run is kept",
        description: "Counted from its end, whenever that was: a rule that has run out already lets it go at once.",
        body: body::<Retention>(&[sample!("aWeek", "control-run/retention")]),
        answers: &[answer::<RunView>(200, "The run, under the new rule")],
        ..route(CONTROL, "PATCH", "/v1/workflow-runs/{runId}/retention", "changeRetention")
    },
    Route {
        summary: "Delete a run",
        description: "One that has ended and owes nobody a delivery any more, with everything that belongs to it, at once and \
            for good.",
        answers: &[no_content("It is gone")],
        conflicts: &[&DELIVERIES_OPEN, &RUN_OPEN],
        ..route(CONTROL, "DELETE", RUN, "deleteRun")
    },
    Route {
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
        ..route(READ, "GET", RUNS, "listRuns")
    },
    Route {
        summary: "Get a run",
        description: "With its output once it has any, the runs that repeat or evaluate it, and its place in its queue.",
        query: &["waitSeconds", "include"],
        answers: &[answer::<RunView>(200, "The run")],
        ..route(READ, "GET", RUN, "getRun")
    },
    Route {
        summary: "List a run's steps",
        description: "One for each node of the run, in the order of the stages, without results.",
        answers: &[answer::<StepList>(200, "The steps")],
        ..route(READ, "GET", "/v1/workflow-runs/{runId}/steps", "listSteps")
    },
    Route {
        summary: "Get a step",
        description: "With its result.",
        answers: &[answer::<StepView>(200, "The step")],
        ..route(READ, "GET", "/v1/workflow-runs/{runId}/steps/{nodeId}", "getStep")
    },
    Route {
        summary: "List a run's deliveries",
        description: "Every notification that the run owes or owed, with every attempt at it.",
        answers: &[answer::<DeliveryList>(200, "The deliveries")],
        ..route(READ, "GET", "/v1/workflow-runs/{runId}/deliveries", "listDeliveries")
    },
    Route {
        summary: "List what a run was given",
        description: "Its own input and every answer to a node, in their order, each with the steps that ended before the next.",
        answers: &[answer::<InputList>(200, "The inputs")],
        ..route(READ, "GET", "/v1/workflow-runs/{runId}/inputs", "listInputs")
    },
    Route {
        summary: "Get what a run used",
        description: "What its LLM calls come to, in all and by node, provider and model; and the calls, one by one.",
        query: PAGING,
        answers: &[answer::<UsageView>(200, "The totals, and a page of calls")],
        ..route(READ, "GET", "/v1/workflow-runs/{runId}/usage", "getUsage")
    },
    Route {
        summary: "List a run's comments",
        description: "The oldest first.",
        query: PAGING,
        answers: &[answer::<CommentList>(200, "A page of comments")],
        ..route(READ, "GET", "/v1/workflow-runs/{runId}/comments", "listComments")
    },
    Route {
        summary: "Create a definition",
        description: "A name for the versions to come, unique in the tenant.",
        body: body::<CreateDefinitionBody>(&[
            sample!("named", "manage-definitions/create-definition"),
            sample!("everything", "manage-definitions/create-definition-everything"),
        ]),
        answers: &[created::<DefinitionView>(201, "The definition, without versions")],
        conflicts: &[&NAME_TAKEN],
        ..route(MANAGE, "POST", DEFINITIONS, "createDefinition")
    },
    Route {
        summary: "List definitions",
        query: PAGING,
        answers: &[answer::<DefinitionList>(200, "A page of definitions")],
        ..route(MANAGE, "GET", DEFINITIONS, "listDefinitions")
    },
    Route {
        summary: "Get a definition",
        answers: &[answer::<DefinitionView>(200, "The definition")],
        ..route(MANAGE, "GET", DEFINITION, "getDefinition")
    },
    Route {
        summary: "Change a definition",
        description: "What it says of itself and of its runs to come, not its versions. What is absent stays as it is; \
            `null` takes away a limit of runs, a retention or a duration.",
        body: body::<ChangeDefinitionBody>(&[
            sample!("texts", "manage-definitions/change-definition"),
            sample!("rules", "manage-definitions/change-definition-rules"),
            sample!("noRules", "manage-definitions/change-definition-no-rules"),
        ]),
        answers: &[answer::<DefinitionView>(200, "The definition, changed")],
        ..route(MANAGE, "PATCH", DEFINITION, "changeDefinition")
    },
    Route {
        summary: "Add a version",
        description: "Immutable from then on. The document has at most 131,072 bytes and 500 nodes; its edges form no \
            circle; a run of it writes at most 20,000 events into its execution history, whatever fails. What is `private` \
            is hidden from other tenants that run a discoverable definition.",
        body: body::<AddVersionBody>(&[
            sample!("pipeline", "manage-definitions/add-version"),
            sample!("withPrivateParts", "manage-definitions/add-version-private"),
        ]),
        answers: &[created::<VersionView>(201, "The version, with its number")],
        conflicts: &[&TOO_MANY_VERSIONS],
        ..route(MANAGE, "POST", VERSIONS, "addVersion")
    },
    Route {
        summary: "List a definition's versions",
        description: "Without their documents.",
        query: PAGING,
        answers: &[answer::<VersionList>(200, "A page of versions")],
        ..route(MANAGE, "GET", VERSIONS, "listVersions")
    },
    Route {
        summary: "Get a version",
        answers: &[answer::<VersionView>(200, "The version with its document")],
        ..route(MANAGE, "GET", "/v1/workflow-definitions/{definition}/versions/{version}", "getVersion")
    },
    Route {
        summary: "Activate a version",
        description: "Makes it the one that a run gets unless it asks for another. One that was deprecated is no longer.",
        answers: &[answer::<DefinitionView>(200, "The definition, with this version active")],
        ..route(MANAGE, "POST", "/v1/workflow-definitions/{definition}/versions/{version}/activate", "activateVersion")
    },
    Route {
        summary: "Deprecate a version",
        description: "It makes no new runs; those that it made go on. Activating it takes that back. Asking again changes \
            nothing.",
        answers: &[answer::<DefinitionView>(200, "The definition, with this version deprecated")],
        ..route(
            MANAGE,
            "POST",
            "/v1/workflow-definitions/{definition}/versions/{version}/deprecate",
            "deprecateVersion",
        )
    },
    Route {
        summary: "Get a definition's draft",
        answers: &[answer::<DraftView>(200, "The draft with its document")],
        ..route(MANAGE, "GET", DRAFT, "getDraft")
    },
    Route {
        summary: "Save a definition's draft",
        description: "What is to become a version, in the place of an earlier draft. It is held to the rules of a version, \
            and its owner runs it as version `draft`.",
        body: body::<DraftBody>(&[sample!("pipeline", "manage-definitions/put-draft")]),
        answers: &[answer::<DraftView>(200, "The draft, as it now is")],
        ..route(MANAGE, "PUT", DRAFT, "saveDraft")
    },
    Route {
        summary: "Throw a definition's draft away",
        description: "There need not be one.",
        answers: &[no_content("There is no draft any more")],
        ..route(MANAGE, "DELETE", DRAFT, "deleteDraft")
    },
    Route {
        summary: "List discoverable definitions",
        description: "Definitions of all tenants that every tenant may run by their id. Only those with an active version; in \
            no order that means anything. A page may be short, or empty, and still have a next one.",
        query: &["text", "tag", "limit", "cursor"],
        answers: &[answer::<DiscoverableList>(200, "A page of definitions")],
        ..route(MANAGE, "GET", DISCOVERABLE, "listDiscoverableDefinitions")
    },
    Route {
        summary: "Get a discoverable definition",
        answers: &[answer::<DiscoverableView>(200, "The definition, as other tenants see it")],
        ..route(MANAGE, "GET", "/v1/discoverable-definitions/{definitionId}", "getDiscoverableDefinition")
    },
    Route {
        summary: "Get a version of a discoverable definition",
        description: "Without what its owner keeps private.",
        answers: &[answer::<DiscoverableVersionView>(200, "The version, as other tenants see it")],
        ..route(
            MANAGE,
            "GET",
            "/v1/discoverable-definitions/{definitionId}/versions/{version}",
            "getDiscoverableVersion",
        )
    },
    Route {
        summary: "Save an instance",
        description: "Found or created from its content: equal content is always the same instance.",
        body: body::<InstanceConfigurationBody>(&[sample!("configured", "manage-definitions/save-instance")]),
        answers: &[
            created::<InstanceView>(200, "The instance that was there already"),
            created::<InstanceView>(201, "The instance, new"),
        ],
        ..route(MANAGE, "POST", INSTANCES, "saveInstance")
    },
    Route {
        summary: "List instances",
        query: PAGING,
        answers: &[answer::<InstanceList>(200, "A page of instances")],
        ..route(MANAGE, "GET", INSTANCES, "listInstances")
    },
    Route {
        summary: "Get an instance",
        answers: &[answer::<InstanceView>(200, "The instance")],
        ..route(MANAGE, "GET", "/v1/workflow-instances/{instanceId}", "getInstance")
    },
    Route {
        summary: "List processors",
        description: "For the operator.",
        query: PAGING,
        answers: &[answer::<ProcessorList>(200, "A page of processors")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "GET", "/v1/processors", "listProcessors")
    },
    Route {
        summary: "Get a processor",
        description: "For the operator.",
        answers: &[answer::<ProcessorView>(200, "The processor")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "GET", PROCESSOR, "getProcessor")
    },
    Route {
        summary: "Declare a processor",
        description: "For the operator. What a processor node runs, and who may use it. Declaring a key again replaces it.",
        body: body::<ProcessorBody>(&[
            sample!("function", "manage-definitions/put-processor"),
            sample!("stateMachine", "manage-definitions/put-processor-state-machine"),
            sample!("containerTask", "manage-definitions/put-processor-ecs"),
        ]),
        answers: &[answer::<ProcessorView>(200, "The processor, as it now is")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "PUT", PROCESSOR, "declareProcessor")
    },
    Route {
        summary: "List compute nodes",
        description: "For the operator.",
        query: PAGING,
        answers: &[answer::<ComputeNodeList>(200, "A page of compute nodes")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "GET", "/v1/compute-nodes", "listComputeNodes")
    },
    Route {
        summary: "Get a compute node",
        description: "For the operator.",
        answers: &[answer::<ComputeNodeView>(200, "The compute node")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "GET", COMPUTE_NODE, "getComputeNode")
    },
    Route {
        summary: "Declare a compute node",
        description: "For the operator. Where runs execute, and who may use it. Declaring a key again replaces it.",
        body: body::<ComputeNodeBody>(&[sample!("withCeiling", "manage-definitions/put-compute-node")]),
        answers: &[answer::<ComputeNodeView>(200, "The compute node, as it now is")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "PUT", COMPUTE_NODE, "declareComputeNode")
    },
    Route {
        summary: "Declare a layer of a compute node",
        description: "For the operator. A run may use only layers that are READY.",
        body: body::<LayerBody>(&[sample!("status", "manage-definitions/put-layer")]),
        answers: &[answer::<ComputeNodeView>(200, "The compute node, as it now is")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "PUT", "/v1/compute-nodes/{key}/layers/{name}", "declareLayer")
    },
    Route {
        summary: "List tenants",
        description: "For the operator. Those that something was said of.",
        query: PAGING,
        answers: &[answer::<TenantList>(200, "A page of tenants")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "GET", "/v1/tenants", "listTenants")
    },
    Route {
        summary: "Get what a tenant may do",
        description: "For the operator. A tenant that nothing was said of may do everything.",
        answers: &[answer::<TenantView>(200, "What it may do")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "GET", TENANT, "getTenant")
    },
    Route {
        summary: "Set what a tenant may do",
        description: "For the operator. How many runs it may have open, how long they are kept, and where its callbacks may \
            go. Replaces what was said before.",
        body: body::<TenantBody>(&[sample!("limits", "manage-definitions/put-tenant")]),
        answers: &[answer::<TenantView>(200, "What it now may do")],
        forbidden: &[&OPERATOR_ONLY],
        ..route(MANAGE, "PUT", TENANT, "setTenant")
    },
];
