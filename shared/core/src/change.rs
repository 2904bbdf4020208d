//! What is written of a run, each all or nothing: a new run, a change of one, its slots, its usage.

use crate::concurrency::{Admission, Limit, SlotScope};
use crate::delivery::Delivery;
use crate::id::{RunId, TenantId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::run::Run;
use crate::usage::{UsageLedger, UsageReport};

/// Everything that recording a run writes, in one transaction.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub run: Run,
    /// [`Snapshot::to_text`](crate::snapshot::Snapshot::to_text).
    pub snapshot_text: String,
    /// [`RequestParts`](crate::snapshot::RequestParts) as text: what a replay on another version needs.
    pub request_text: String,
    /// The way to its place; the run's `slots` and `queued_in` say the same.
    pub admission: Admission,
    pub idempotency: Option<(IdempotencyClaim, IdempotencyRecord)>,
}

/// A change of a run, to be written in one transaction or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunChange {
    /// The `rev` this change was decided on.
    pub expected_rev: u64,
    /// The run after the change; its `rev` is one higher.
    pub run: Run,
    /// Set at the end of a run that has output.
    pub output: Option<String>,
    /// What the end of the run owes. Empty for every other change.
    pub deliveries: Vec<Delivery>,
    pub slots: SlotChange,
}

impl RunChange {
    /// The change from one state of a run to its next.
    pub fn new(before: &Run, after: Run) -> Self {
        Self {
            expected_rev: before.rev,
            slots: SlotChange::between(before, &after),
            run: after,
            output: None,
            deliveries: Vec::new(),
        }
    }
}

/// What a change of a run does to slots and queues, in the same transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotChange {
    /// Slots to take, each only if one is free.
    pub taken: Vec<Limit>,
    pub freed: Vec<SlotScope>,
    /// The queue that the run joins.
    pub joined: Option<SlotScope>,
    /// The queue that it leaves.
    pub left: Option<SlotScope>,
}

impl SlotChange {
    /// What follows from the two states of the run, but for the slots it takes: those need their limits.
    pub fn between(before: &Run, after: &Run) -> Self {
        let freed = before.slots.difference(&after.slots).copied().collect();
        let (joined, left) = match (before.queued_in, after.queued_in) {
            (before, after) if before == after => (None, None),
            (before, after) => (after, before),
        };
        Self { taken: Vec::new(), freed, joined, left }
    }
}

/// New calls of a run, to be written in one transaction or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageChange {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    /// Calls that were not reported before.
    pub reports: Vec<UsageReport>,
    /// After them; its `rev` is one higher.
    pub ledger: UsageLedger,
    /// What the total means for the run: a stop.
    pub stop: Option<RunChange>,
}
