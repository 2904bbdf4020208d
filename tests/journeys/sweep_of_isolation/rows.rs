//! What a stranger asks of every route, and what is told. A new route gets its row here.

/// What the stranger is told.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// 404.
    Missing,
    /// 400 that points here.
    At(&'static str),
    /// 404, to its owner too: it is not for others to find.
    Unlisted,
    /// 401: it takes a token of the run.
    NoToken,
    /// 403: it is the operator's.
    Forbidden,
    /// 200, and an empty list of this name.
    Nothing(&'static str),
    /// 202, and not one delivery of anybody's is sent again.
    NoneSent,
}

/// A request: query, body, and what is told. The path is the route's.
pub type Ask = (&'static str, &'static str, Told);

/// By the route's id. `{…}` stands for one of the owner's things, or for one that nobody has.
pub const ROWS: &[(&str, &[Ask])] = &[
    (
        "createRun",
        &[
            ("", r#"{"workflowInstanceId":"{instanceId}"}"#, Told::At("/workflowInstanceId")),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{definition}"}}"#,
                Told::At("/workflowInstanceConfiguration/workflowDefinitionId"),
            ),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{definition}","version":{version}}}"#,
                Told::At("/workflowInstanceConfiguration/workflowDefinitionId"),
            ),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{definition}","version":"draft"}}"#,
                Told::At("/workflowInstanceConfiguration/workflowDefinitionId"),
            ),
            // What the owner shares may be run, but not its draft, and not to evaluate a run of the owner's.
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{drafted}","version":"draft"}}"#,
                Told::At("/workflowInstanceConfiguration/version"),
            ),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{shared}"},"evaluationOf":"{runId}"}"#,
                Told::At("/evaluationOf"),
            ),
            // A token that the owner has used already.
            ("", r#"{"workflowInstanceId":"{instanceId}","clientToken":"{token}"}"#, Told::At("/workflowInstanceId")),
        ],
    ),
    (
        "invokeDefinition",
        &[
            ("", "", Told::Missing),
            ("", r#"{"version":{version}}"#, Told::Missing),
            ("", r#"{"version":"draft"}"#, Told::Missing),
            ("", r#"{"idempotencyKey":"{token}"}"#, Told::Missing),
        ],
    ),
    ("cancelRun", &[("", "", Told::Missing)]),
    ("pauseRun", &[("", "", Told::Missing)]),
    ("resumeRun", &[("", "", Told::Missing)]),
    ("answerNode", &[("", r#"{"nodeId":"{nodeId}","data":1}"#, Told::Missing)]),
    (
        "replayRun",
        &[
            ("", "", Told::Missing),
            ("", r#"{"fromNodeId":"{nodeId}"}"#, Told::Missing),
            ("", r#"{"version":{version}}"#, Told::Missing),
            ("", r#"{"version":"latest","fromNodeId":"{nodeId}"}"#, Told::Missing),
            ("", r#"{"version":"draft"}"#, Told::Missing),
            ("", r#"{"idempotencyKey":"{token}"}"#, Told::Missing),
        ],
    ),
    ("redeliverDelivery", &[("", "", Told::Missing)]),
    ("redeliverFailed", &[("", r#"{"failedSince":"2020-01-01T00:00:00Z"}"#, Told::NoneSent)]),
    ("createReportToken", &[("", "", Told::Missing), ("", r#"{"nodeId":"{nodeId}"}"#, Told::Missing)]),
    (
        "reportUsage",
        &[("", r#"{"usage":[{"callId":"1","nodeId":"{nodeId}","provider":"acme","model":"small"}]}"#, Told::Missing)],
    ),
    ("addComment", &[("", r#"{"text":"mine"}"#, Told::Missing)]),
    ("changeRetention", &[("", r#"{"maxAgeSeconds":3600}"#, Told::Missing)]),
    ("deleteRun", &[("", "", Told::Missing)]),
    // With a token: see the journey of the tokens.
    ("reportOnNode", &[("", r#"{"nodeId":"{nodeId}","status":"RUNNING"}"#, Told::NoToken)]),
    (
        "listRuns",
        &[
            ("", "", Told::Nothing("runs")),
            ("?status=SUCCEEDED,FAILED", "", Told::Nothing("runs")),
            ("?createdFrom=2020-01-01T00:00:00Z&order=asc", "", Told::Nothing("runs")),
            ("?workflowDefinitionId={definitionId}", "", Told::Nothing("runs")),
            ("?workflowInstanceId={instanceId}", "", Told::Nothing("runs")),
            ("?label={label}", "", Told::Nothing("runs")),
            ("?createdBy={principal}", "", Told::Nothing("runs")),
            ("?replayOf={replayed}", "", Told::Nothing("runs")),
            ("?evaluationOf={evaluated}", "", Told::Nothing("runs")),
            ("?evaluationOf={evaluated}&createdBy={principal}&label={label}", "", Told::Nothing("runs")),
            ("?limit=1&cursor={cursor of runs}", "", Told::At("query:cursor")),
            ("?label={label}&limit=1&cursor={cursor of labelled runs}", "", Told::At("query:cursor")),
        ],
    ),
    ("getRun", &[("", "", Told::Missing), ("?waitSeconds=1&include=snapshot", "", Told::Missing)]),
    ("listSteps", &[("", "", Told::Missing)]),
    ("getStep", &[("", "", Told::Missing)]),
    ("getStepItem", &[("", "", Told::Missing)]),
    ("getStepIteration", &[("", "", Told::Missing)]),
    ("listDeliveries", &[("", "", Told::Missing)]),
    ("listInputs", &[("", "", Told::Missing), ("?limit=1&cursor={cursor of inputs}", "", Told::At("query:cursor"))]),
    ("getInput", &[("", "", Told::Missing)]),
    ("getUsage", &[("", "", Told::Missing), ("?limit=1&cursor={cursor of usage}", "", Told::At("query:cursor"))]),
    (
        "listComments",
        &[("", "", Told::Missing), ("?limit=1&cursor={cursor of comments}", "", Told::At("query:cursor"))],
    ),
    // It takes a name, not an id, and a name is the tenant's own: see the end of the journey.
    ("createDefinition", &[]),
    (
        "listDefinitions",
        &[
            ("", "", Told::Nothing("definitions")),
            ("?limit=1&cursor={cursor of definitions}", "", Told::At("query:cursor")),
        ],
    ),
    ("getDefinition", &[("", "", Told::Missing)]),
    (
        "changeDefinition",
        &[
            ("", r#"{"description":"mine"}"#, Told::Missing),
            ("", r#"{"concurrency":null,"retention":null,"tags":["mine"],"discoverable":false}"#, Told::Missing),
        ],
    ),
    ("addVersion", &[("", r#"{"nodes":[{"id":"value","type":"data-source"}]}"#, Told::Missing)]),
    ("listVersions", &[("", "", Told::Missing), ("?limit=1&cursor={cursor of versions}", "", Told::Missing)]),
    ("getVersion", &[("", "", Told::Missing)]),
    ("activateVersion", &[("", "", Told::Missing)]),
    ("deprecateVersion", &[("", "", Told::Missing)]),
    ("getDraft", &[("", "", Told::Missing)]),
    ("saveDraft", &[("", r#"{"nodes":[{"id":"value","type":"data-source"}]}"#, Told::Missing)]),
    ("deleteDraft", &[("", "", Told::Missing)]),
    // It shows what its owners let everybody find, and that is the same for all: see the journey of what is shared.
    ("listDiscoverableDefinitions", &[]),
    ("getDiscoverableDefinition", &[("", "", Told::Unlisted)]),
    ("getDiscoverableVersion", &[("", "", Told::Unlisted)]),
    (
        "saveInstance",
        &[
            ("", r#"{"workflowDefinitionId":"{definition}"}"#, Told::At("/workflowDefinitionId")),
            ("", r#"{"workflowDefinitionId":"{definition}","version":{version}}"#, Told::At("/workflowDefinitionId")),
            ("", r#"{"workflowDefinitionId":"{definition}","version":"draft"}"#, Told::At("/workflowDefinitionId")),
        ],
    ),
    (
        "listInstances",
        &[
            ("", "", Told::Nothing("instances")),
            ("?limit=1&cursor={cursor of instances}", "", Told::At("query:cursor")),
        ],
    ),
    ("getInstance", &[("", "", Told::Missing)]),
    ("listProcessors", &[("", "", Told::Forbidden)]),
    ("getProcessor", &[("", "", Told::Forbidden)]),
    ("declareProcessor", &[("", r#"{"kind":"lambda","tenants":["*"]}"#, Told::Forbidden)]),
    ("createProcessorKey", &[("", "{}", Told::Forbidden)]),
    ("listProcessorKeys", &[("", "", Told::Forbidden)]),
    ("deleteProcessorKey", &[("", "", Told::Forbidden)]),
    ("listComputeNodes", &[("", "", Told::Forbidden)]),
    ("getComputeNode", &[("", "", Told::Forbidden)]),
    ("declareComputeNode", &[("", r#"{"tenants":["*"]}"#, Told::Forbidden)]),
    ("declareLayer", &[("", r#"{"status":"READY"}"#, Told::Forbidden)]),
    // Models are the operator's: a tenant sees those that are declared for it, and no tenant has any of its own.
    ("listModels", &[]),
    ("getModel", &[("", "", Told::Unlisted)]),
    (
        "declareModel",
        &[(
            "",
            r#"{"ids":["acme.small"],"tenants":["*"],"contextTokens":1000,"maxOutputTokens":100,"prices":[{"from":"2026-01-01T00:00:00Z","tiers":{"default":{"input":1,"output":5}}}]}"#,
            Told::Forbidden,
        )],
    ),
    ("deleteModel", &[("", "", Told::Forbidden)]),
    ("getBudgets", &[]),
    ("listTenants", &[("", "", Told::Forbidden), ("?limit=0", "", Told::Forbidden)]),
    ("getTenant", &[("", "", Told::Forbidden)]),
    (
        "setTenant",
        &[
            ("", "{}", Told::Forbidden),
            ("", r#"{"concurrency":{"maxConcurrentRuns":1,"onLimit":"reject"}}"#, Told::Forbidden),
            ("", r#"{"concurrency":"none"}"#, Told::Forbidden),
        ],
    ),
];
