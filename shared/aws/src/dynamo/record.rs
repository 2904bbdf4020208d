//! Recording a run: head, idempotency record, its slots or its place in a queue, snapshot, ledger, what its end needs, request, the links
//! from the runs that it repeats or evaluates, and its instance where there was none, in one transaction, one round trip.

use super::slots::CounterWrites;
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::{Item, s};
use jiff::Timestamp;
use sluice_core::change::NewRun;
use sluice_core::concurrency::{Admission, SlotScope};
use sluice_core::id::{RunId, TenantId};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord};
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits;
use sluice_core::ports::{RecordRun, Recorded, StoreError, StoreErrorClass, StoreResult};
use sluice_core::run::Run;
use sluice_core::snapshot::RecordKeys;
use sluice_core::time::rfc3339_millis;
use std::collections::BTreeSet;

const RECORD: &str = "record the run";

/// Statuses that the runner itself writes.
const WRITTEN_BY_THE_RUNNER: [RunStatus; 3] = [RunStatus::Running, RunStatus::Paused, RunStatus::WaitingForInput];

/// The place of the head in the transaction.
const HEAD: usize = 0;

impl RecordRun for Store {
    async fn record_run(&self, new: &NewRun) -> StoreResult<Recorded> {
        let mut originals: BTreeSet<RunId> = item::links(&new.run).map(|(_, original)| original).collect();
        loop {
            match self.record(new, &originals).await? {
                Outcome::Recorded(recorded) => return Ok(recorded),
                // It was deleted in between: the run is recorded without a link from it.
                Outcome::OriginalGone(original) => originals.remove(&original),
            };
        }
    }

    async fn first_with_key(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        now: Timestamp,
    ) -> StoreResult<Option<IdempotencyRecord>> {
        const OPERATION: &str = "find the first request with a key";
        let found = self.get(OPERATION, keys::idempotency(tenant, claim.operation, &claim.key)).await?;
        let record = found.map(item::to_idempotency).transpose().map_err(|error| corrupt(OPERATION, error))?;
        Ok(record.filter(|record| !record.has_expired(now)))
    }

    fn record_keys(&self, tenant: &TenantId, run_id: RunId) -> RecordKeys {
        RecordKeys {
            pk: keys::run_pk(tenant, run_id),
            status_keys: WRITTEN_BY_THE_RUNNER
                .into_iter()
                .map(|status| (status.as_str(), keys::runs_in_status(tenant, status)))
                .collect(),
        }
    }
}

/// How one try to record a run went.
enum Outcome {
    Recorded(Recorded),
    /// One of the runs that link to it is gone. Nothing was written.
    OriginalGone(RunId),
}

impl Store {
    /// Records a run, with a link from each of these originals.
    async fn record(&self, new: &NewRun, originals: &BTreeSet<RunId>) -> StoreResult<Outcome> {
        let recorded = |recorded| Ok(Outcome::Recorded(recorded));
        let unwritable = |error| corrupt(RECORD, error);
        let head = item::from_run(&new.run).map_err(unwritable)?;
        // In the order in which refusals count: a run that is there already, a key that is taken, a limit.
        let mut writes = vec![Write::put_new(head)];
        let key_at = writes.len();
        if let Some((claim, record)) = &new.idempotency {
            // An expired record may still lie there: DynamoDB deletes when it likes. Without `expiresAt` it never expires.
            let write = Write::put(item::from_idempotency(claim, record).map_err(unwritable)?)
                .only_if("attribute_not_exists(pk) OR expiresAt <= :now")
                .with(":now", s(rfc3339_millis(new.run.spec.created_at)));
            writes.push(write);
        }
        let counters = CounterWrites::admit(&mut writes, &new.run, &new.admission);
        writes.push(Write::put_new(item::from_snapshot(&new.run, &new.snapshot_text)));
        writes.push(Write::put(item::from_governed(&new.run.tenant_id, new.run.run_id, &new.ledger)));
        writes.extend(new.ending_text.iter().map(|text| Write::put_new(item::from_ending(&new.run, text))));
        writes.extend(new.request_text.iter().map(|text| Write::put_new(item::from_request(&new.run, text))));
        let originals_at = writes.len();
        writes.extend(originals.iter().map(|original| Write::if_kept(&new.run.tenant_id, *original)));
        for (link, original) in item::links(&new.run).filter(|(_, original)| originals.contains(original)) {
            writes.push(Write::put(item::from_link(link, original, &new.run)));
        }
        if let Some(instance) = &new.instance {
            writes.push(Write::keep(item::from_instance(instance).map_err(unwritable)?));
        }
        let mut refusals = match self.transact(RECORD, writes).await? {
            Transacted::Written => return recorded(Recorded::Created),
            Transacted::Refused(refusals) => refusals,
        };
        // A head of ours under this id means that an earlier try was carried out and its answer lost; the run may have
        // moved on since.
        if let Some(Some(head)) = refusals.at(HEAD) {
            return if is_ours(head, &new.run)? { recorded(Recorded::Created) } else { Err(id_taken(new.run.run_id)) };
        }
        if new.idempotency.is_some()
            && let Some(Some(first)) = refusals.at(key_at)
        {
            let first = item::to_idempotency(first).map_err(unwritable)?;
            return recorded(if first.run.run_id == new.run.run_id {
                Recorded::Created
            } else {
                Recorded::KeyTaken(Box::new(first))
            });
        }
        let refused = counters.refused(&mut refusals);
        if !refused.is_empty() {
            return recorded(not_admitted(&new.admission, refused)?);
        }
        if let Some((_, original)) = (originals_at..).zip(originals).find(|(at, _)| refusals.include(*at)) {
            return Ok(Outcome::OriginalGone(*original));
        }
        // Refused, yet nothing lies there: it was deleted in between.
        Err(StoreError { operation: RECORD, class: StoreErrorClass::Conflict, source: None })
    }
}

/// What refused counters mean.
fn not_admitted(admission: &Admission, refused: Vec<(SlotScope, Option<Item>)>) -> StoreResult<Recorded> {
    match admission {
        Admission::Slots(_) => Ok(Recorded::Full(refused.into_iter().map(|(scope, _)| scope).collect())),
        Admission::Queue(_) => {
            let counter = refused.iter().find_map(|(_, counter)| counter.as_ref()).map(item::to_counter).transpose();
            let counter = counter.map_err(|error| corrupt(RECORD, error))?.unwrap_or_default();
            let has_room = counter.queued < i64::from(limits::QUEUED_RUNS);
            Ok(if has_room { Recorded::NotFull } else { Recorded::QueueFull })
        }
    }
}

fn is_ours(head: Item, run: &Run) -> StoreResult<bool> {
    let found = item::to_run(head).map_err(|error| corrupt(RECORD, error))?;
    Ok(found.run_id == run.run_id && found.snapshot.hash == run.snapshot.hash)
}

fn id_taken(run_id: RunId) -> StoreError {
    corrupt(RECORD, format!("another run has the id {run_id}"))
}
