//! Loading and changing a run, and answering its nodes.

use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::{n, s};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{
    AnswerNode, ChangeRun, Changed, LoadRun, NodeAnswer, StoreError, StoreErrorClass, StoreResult,
};
use sluice_core::run::{Run, RunChange};
use sluice_core::snapshot::Snapshot;
use sluice_core::step::StepStatus;
use sluice_core::time::rfc3339_millis;

impl LoadRun for Store {
    async fn load_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Run>> {
        const OPERATION: &str = "load a run";
        let found = self.get(OPERATION, keys::run_head(tenant, run_id)).await?;
        found.map(item::to_run).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_snapshot(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Snapshot>> {
        const OPERATION: &str = "load a run's snapshot";
        let found = self.get(OPERATION, keys::snapshot(tenant, run_id)).await?;
        found.as_ref().map(item::to_snapshot).transpose().map_err(|error| corrupt(OPERATION, error))
    }
}

impl ChangeRun for Store {
    async fn change_run(&self, change: &RunChange) -> StoreResult<Changed> {
        const OPERATION: &str = "change a run";
        let corrupt = |error| corrupt(OPERATION, error);
        let writes = writes(change).map_err(corrupt)?;
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(Changed::Done),
            Transacted::Refused(mut refusals) => match refusals.at(HEAD) {
                Some(current) => stale(current).map_err(corrupt),
                // The head was as expected, but a delivery of that number exists already.
                None => Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None }),
            },
        }
    }
}

// An answer belongs to the wait whose token it carries: a node that begins to wait anew has a new token and so no
// answer, while a repetition of the runner's write (same token) loses none.
const RECORD_ANSWER: &str = "SET answer = :answer, answeredBy = :by, answeredAt = :at, answeredToken = taskToken";
const WAITS_UNANSWERED: &str = "#status = :waiting AND attribute_exists(taskToken) \
    AND (attribute_not_exists(answeredToken) OR answeredToken <> taskToken)";

impl AnswerNode for Store {
    async fn answer_node(
        &self,
        change: &RunChange,
        node_id: &NodeId,
        answer: &NodeAnswer,
    ) -> StoreResult<Option<Changed>> {
        const OPERATION: &str = "answer a node";
        let corrupt = |error| corrupt(OPERATION, error);
        let step = keys::step(&change.run.tenant_id, change.run.run_id, node_id);
        let step = Write::apply(step, RECORD_ANSWER)
            .only_if(WAITS_UNANSWERED)
            .naming("#status", "status")
            .with(":waiting", s(StepStatus::Waiting.as_str()))
            .with(":answer", s(&answer.value))
            .with(":by", s(&answer.by))
            .with(":at", s(rfc3339_millis(answer.at)));
        let mut writes = writes(change).map_err(corrupt)?;
        let step_at = writes.len();
        writes.push(step);
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(Some(Changed::Done)),
            Transacted::Refused(mut refusals) => match refusals.at(HEAD) {
                Some(current) => stale(current).map(Some).map_err(corrupt),
                None if refusals.include(step_at) => Ok(None),
                None => Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None }),
            },
        }
    }

    async fn load_answer(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> StoreResult<Option<(String, String)>> {
        const OPERATION: &str = "load a node's answer";
        let found = self.get(OPERATION, keys::step(tenant, run_id, node_id)).await?;
        let answer = found.as_ref().map(item::to_answer).transpose();
        answer.map(Option::flatten).map_err(|error| corrupt(OPERATION, error))
    }
}

/// The place of the head among [`writes`].
const HEAD: usize = 0;

/// Everything that a change writes.
fn writes(change: &RunChange) -> item::ItemResult<Vec<Write>> {
    let run = &change.run;
    // An update and not a put: the runner keeps attributes of its own on the head, such as `executionArn`.
    let key = keys::run_head(&run.tenant_id, run.run_id);
    let mut set = item::from_run(run)?;
    set.retain(|name, _| name != keys::PK && name != keys::SK);
    let head = Write::update(key, set, item::RUN_OPTIONAL)
        .only_if("rev = :expected")
        .with(":expected", n(change.expected_rev));
    let mut writes = vec![head];
    if let Some(output) = &change.output {
        writes.push(Write::put(item::from_output(run, output)));
    }
    for delivery in &change.deliveries {
        writes.push(Write::put_new(item::from_delivery(delivery)?));
        writes.push(Write::put_new(item::from_delivery_body(delivery)));
    }
    Ok(writes)
}

/// What a refused head means.
fn stale(current: Option<item::Item>) -> item::ItemResult<Changed> {
    Ok(Changed::Stale(current.map(item::to_run).transpose()?.map(Box::new)))
}
