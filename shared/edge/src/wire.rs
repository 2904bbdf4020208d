//! Wire types: the request bodies and the views of the native API, in camelCase. Plain structs, so that the API's
//! description can be derived from them.

pub mod budget;
pub mod control_run;
pub mod create_run;
pub mod definitions;
pub mod discover;
pub mod fields;
pub mod inputs;
pub mod instances;
pub mod invoke_definition;
pub mod keys;
pub mod models;
pub mod operator;
pub mod paging;
pub mod refusal;
pub mod report_run;
pub mod runs;
pub mod schema;
pub mod snapshot;
pub mod usage;

pub use paging::Paging;

use serde::Serialize;
use utoipa::ToSchema;

/// Views of a page's items under the list's own name.
macro_rules! list_view {
    ($(#[$doc:meta])* $name:ident, $field:ident: $item:ty) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            pub $field: Vec<$item>,
            /// Goes on after this page; `null` on the last. A page may be short and still have a next one.
            #[schema(value_type = Option<schema::Cursor>, required)]
            pub next_cursor: Option<String>,
        }
    };
}

list_view!(
    /// `GET /v1/workflow-runs`
    RunList,
    runs: runs::RunView
);
list_view!(
    /// `GET /v1/workflow-runs/{runId}/steps`
    StepList,
    steps: runs::StepView
);
list_view!(
    /// `GET /v1/workflow-runs/{runId}/inputs`: what the run was given, in its order.
    InputList,
    items: inputs::InputView
);
list_view!(
    /// `GET /v1/workflow-runs/{runId}/comments`
    CommentList,
    items: report_run::CommentView
);
list_view!(
    /// `GET /v1/workflow-definitions`
    DefinitionList,
    definitions: definitions::DefinitionView
);
list_view!(
    /// `GET /v1/workflow-definitions/{definition}/versions`
    VersionList,
    versions: definitions::VersionSummaryView
);
list_view!(
    /// `GET /v1/workflow-instances`
    InstanceList,
    instances: instances::InstanceView
);
list_view!(
    /// `GET /v1/processors`
    ProcessorList,
    processors: operator::ProcessorView
);
list_view!(
    /// `GET /v1/compute-nodes`
    ComputeNodeList,
    compute_nodes: operator::ComputeNodeView
);
list_view!(
    /// `GET /v1/models`
    ModelList,
    models: models::ModelView
);
list_view!(
    /// `GET /v1/discoverable-definitions`
    DiscoverableList,
    definitions: discover::DiscoverableView
);
list_view!(
    /// `GET /v1/tenants`
    TenantList,
    tenants: operator::TenantView
);
