//! What is frozen of a run when it is recorded.

use crate::arn::StateMachineArn;
use crate::budget::MicroUsd;
use crate::generation::Generation;
use crate::governor::ledger::OnBudgetExceeded;
use crate::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, RunId, TenantId, UserId};
use crate::retention::Retention;
use crate::time::millis;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a run executes, where, for whom, and within which bounds. The run's head and its snapshot both keep it.
///
/// Its form in JSON has the names of the head's attributes; the snapshot has names of its own for some of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    pub definition_id: DefinitionId,
    pub definition_name: DefinitionName,
    /// Who owns the definition, where that is not the run's own tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition_owner: Option<TenantId>,
    /// The version of the definition; 0 for the draft.
    pub version: u32,
    pub instance_id: InstanceId,
    pub compute_node: ComputeNodeKey,
    /// The runner that executes this run. With the run's id it makes the execution's ARN.
    pub state_machine_arn: StateMachineArn,
    /// The caller's cap; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_budget_micro_usd: Option<MicroUsd>,
    /// The compute node's own ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_node_budget_micro_usd: Option<MicroUsd>,
    /// What becomes of it once its cap is spent.
    #[serde(default, skip_serializing_if = "OnBudgetExceeded::is_stop")]
    pub on_budget_exceeded: OnBudgetExceeded,
    /// The person for whom the tenant runs it, whose quotas it draws on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Counted from the time when the execution claimed the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_run_duration_seconds: Option<u64>,
    /// Whether `max_run_duration_seconds` leaves out the time spent `PAUSED`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude_paused_time: bool,
    /// How long the run is kept once it has ended. `None` for good. A caller may put the run under another rule later: the
    /// head then has the later rule, and the snapshot keeps the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    pub created_by: String,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
}

impl RunSpec {
    /// The generation of the runner that drives the run.
    pub fn generation(&self) -> Generation {
        Generation::of(&self.state_machine_arn)
    }

    /// What the run may spend at most: the lower of the caller's cap and the compute node's ceiling.
    pub fn spending_cap(&self) -> Option<MicroUsd> {
        [self.execution_budget_micro_usd, self.compute_node_budget_micro_usd].into_iter().flatten().min()
    }
}

/// What a run is called and where it comes from. Lists find a run by it; nothing that is executed depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    pub name: String,
    /// The caller's own words about the run, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<RunId>,
    /// How many runs back the first of the chain of replays is.
    #[serde(default)]
    pub replay_depth: u32,
    /// The run that this one evaluates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_of: Option<RunId>,
}

/// What a run's head knows of the run's snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRef {
    /// Whether the snapshot says where the end of the run is to be told.
    pub has_callback: bool,
    /// Whether the output has a result that somebody wrote: a value of the plan, or an answer to an external node. A head from
    /// before this was kept says yes.
    #[serde(default = "unknown", skip_serializing_if = "Clone::clone")]
    pub has_given_results: bool,
    /// [`Snapshot::hash`](crate::snapshot::Snapshot::hash); a run from before hashed all that is stored.
    #[serde(rename = "snapshotHash")]
    pub hash: String,
}

fn unknown() -> bool {
    true
}
