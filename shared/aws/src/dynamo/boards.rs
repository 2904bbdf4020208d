//! The boards of runs of the second generation.
//!
//! **Invariants:** a change is one transaction, on the condition that board and head are those on which it was decided; an
//! update and not a put writes its steps, because a worker may say how far it has come at the same time.

use super::change::ChangeWrites;
use super::page::{Range, Walk};
use super::sweep::due_in;
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::{Item, ItemResult, n, s};
use jiff::Timestamp;
use keys::Key;
use serde_dynamo::AttributeValue;
use sluice_core::board::Record;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{BoardChange, Boards, Page, RunRef, StepPart, StoreResult, WaitingWorker};
use sluice_core::report::NodeOutcome;
use std::collections::{BTreeMap, BTreeSet};

/// Runs on a page.
const PAGE: i32 = 200;
/// The condition on the wake of the board that was read.
const STILL_WAKES: &str = "rev = :rev AND attribute_exists(queueAt)";

impl Boards for Store {
    async fn read_board(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Record>> {
        const OPERATION: &str = "read the board";
        let found = self.get(OPERATION, keys::board(tenant, run_id)).await?;
        found.as_ref().map(item::to_board).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn write_board(&self, change: &BoardChange) -> StoreResult<bool> {
        const OPERATION: &str = "write the board";
        let is_of_one_rev = change.head.as_ref().is_none_or(|head| head.expected_rev == change.expected_run_rev);
        let (Some(before), true) = (change.record.rev.checked_sub(1), is_of_one_rev) else { return Ok(false) };
        let writes = writes(change, before).map_err(|error| corrupt(OPERATION, error))?;
        // Whichever condition it was, whoever decided reads again.
        Ok(matches!(self.transact(OPERATION, writes).await?, Transacted::Written))
    }

    async fn waiting_workers(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        workers: &BTreeSet<usize>,
    ) -> StoreResult<Vec<WaitingWorker>> {
        const OPERATION: &str = "load the workers that wait";
        let wanted: Vec<Key> = workers.iter().map(|worker| keys::worker(tenant, run_id, *worker)).collect();
        let found = self.get_all(OPERATION, &wanted, &[]).await?;
        let read = found.iter().map(item::to_worker).collect::<ItemResult<Vec<_>>>();
        let mut waiting = read.map_err(|error| corrupt(OPERATION, error))?;
        waiting.sort_by_key(|waiting| waiting.worker);
        Ok(waiting)
    }

    async fn load_parts(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> StoreResult<BTreeMap<StepPart, NodeOutcome>> {
        const OPERATION: &str = "load the parts of a step";
        let (from, to) = keys::parts(node_id);
        let parts =
            Walk { range: Range::Between(from, to), ..Walk::under(OPERATION, keys::run_pk(tenant, run_id), "") };
        let found = self.all(&parts).await?;
        found.iter().map(item::to_part).collect::<ItemResult<_>>().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_part(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        part: StepPart,
    ) -> StoreResult<Option<NodeOutcome>> {
        const OPERATION: &str = "load a part of a step";
        let found = self.get(OPERATION, keys::part(tenant, run_id, node_id, part)).await?;
        let read = found.as_ref().map(item::to_part).transpose().map_err(|error| corrupt(OPERATION, error))?;
        Ok(read.map(|(_part, outcome)| outcome))
    }

    async fn told(&self, tenant: &TenantId, run_id: RunId, rev: u64, next: Option<Timestamp>) -> StoreResult<()> {
        let board = keys::board(tenant, run_id);
        let told = match next {
            None => Write::apply(board, "REMOVE queueKey, queueAt, wakes"),
            Some(due_at) => {
                let mut set: Item =
                    item::wake_keys(run_id, due_at).into_iter().map(|(name, key)| (name.into(), s(key))).collect();
                set.insert(item::WAKES.into(), AttributeValue::L(Vec::new()));
                Write::update(board, set, &[])
            }
        };
        // A transaction of one, because it waits for those that are in the way: another worker asks at the same moment. A wake
        // of another rev is somebody else's to speak of.
        let told = told.only_if(STILL_WAKES).with(":rev", n(rev));
        self.transact("note that the workers were told", vec![told]).await.map(|_| ())
    }

    async fn due_boards(&self, shard: u8, now: Timestamp, cursor: Option<&str>) -> StoreResult<Page<RunRef>> {
        let partition = (keys::QUEUE_KEY, keys::boards_shard(shard));
        let walk = due_in("list due boards", keys::QUEUE, partition, keys::QUEUE_AT, now);
        self.sweep_page(&walk, PAGE, cursor, item::to_due_board).await
    }
}

/// Everything that a change writes, its conditions first. `before` is the `rev` of the board on which it was decided.
fn writes(change: &BoardChange, before: u64) -> ItemResult<Vec<Write>> {
    let BoardChange { tenant_id, run_id, record, expected_run_rev, asker, steps, parts, answer, head } = change;
    let board = item::from_board(tenant_id, *run_id, record)?;
    let mut writes = vec![match before {
        0 => Write::put_new(board),
        before => Write::put(board).only_if("rev = :before").with(":before", n(before)),
    }];
    match head {
        Some(head) => drop(ChangeWrites::of(&mut writes, head)?),
        None => writes.push(Write::if_kept_at(tenant_id, *run_id, *expected_run_rev)),
    }
    writes.extend(asker.iter().map(|asker| Write::put(item::from_worker(tenant_id, *run_id, asker))));
    for step in steps {
        let (set, keep) = item::from_step(tenant_id, step)?;
        let key = keys::step(tenant_id, *run_id, &step.node_id);
        writes.push(Write::update_keeping(key, set, keep, item::STEP_OPTIONAL));
    }
    for (node_id, part, outcome) in parts {
        writes.push(Write::put(item::from_part(change, node_id, *part, outcome)));
    }
    if let Some((node_id, answer)) = answer {
        let rev = head.as_ref().map_or(*expected_run_rev, |head| head.run.rev);
        writes.extend(item::from_input(tenant_id, *run_id, rev, node_id, answer).map(Write::put));
    }
    Ok(writes)
}
