//! Everything that the store writes about a run: a new run, and a change of a run with its slots. Each is written in one
//! transaction.

use crate::concurrency::{Admission, Limit, SlotScope};
use crate::delivery::Delivery;
use crate::governor::ledger::{Ledger, Standing};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::instance::Instance;
use crate::run::Run;
use std::sync::Arc;

/// A new run, with everything that is written when it is recorded.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub run: Run,
    /// The frozen snapshot as its stored text, made by [`Snapshot::to_text`](crate::snapshot::Snapshot::to_text).
    pub snapshot_text: String,
    /// What its end will need of the snapshot: [`Ending`](crate::snapshot::Ending) as JSON text. `None` where that is nothing.
    pub ending_text: Option<String>,
    /// What a replay on another version needs: [`RequestParts`](crate::snapshot::RequestParts) as JSON text. `None` where
    /// nobody knows it any more: of a run that repeats one from before requests were kept.
    pub request_text: Option<String>,
    /// What its governed calls are held to.
    pub ledger: Ledger,
    /// Whether the run takes slots or joins a queue. The run's `slots` and state say the same.
    pub admission: Admission,
    /// The run's instance where there was none yet; it may be made by others meanwhile.
    pub instance: Option<Arc<Instance>>,
    pub idempotency: Option<(IdempotencyClaim, IdempotencyRecord)>,
}

/// A change of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunChange {
    /// The `rev` this change was decided on.
    pub expected_rev: u64,
    /// The `reports_rev` of the ledger that this change was decided on, where it says what the run has used; 0 of a run without one.
    pub expected_reports_rev: Option<u64>,
    /// The run after the change; its `rev` is one higher.
    pub run: Run,
    /// How the ledger of the run's governed calls is closed, where the run is being stopped from this change on, or has ended.
    pub closes: Option<Standing>,
    /// The output of a run that has ended with one.
    pub output: Option<String>,
    /// The deliveries that a run owes because it has ended. Empty for every other change.
    pub deliveries: Vec<Delivery>,
    pub slots: SlotChange,
}

impl RunChange {
    /// The change that makes the run `before` the run `after`.
    pub fn new(before: &Run, after: Run) -> Self {
        Self {
            expected_rev: before.rev,
            expected_reports_rev: None,
            slots: SlotChange::between(before, &after),
            closes: standing(&after).filter(|closed| Some(*closed) != standing(before)),
            run: after,
            output: None,
            deliveries: Vec::new(),
        }
    }
}

/// How the ledger stands of a run that is being stopped, or has ended; `None` of a run that goes on.
pub fn standing(run: &Run) -> Option<Standing> {
    match (run.status().is_terminal(), run.state.intent()) {
        (true, _) => Some(Standing::Closed),
        (false, intent) => intent.map(Standing::after_stop),
    }
}

/// What a change of a run does to slots and queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotChange {
    /// The limits of which the run takes a slot. Where one of them has no free slot, the whole change is not written.
    pub taken: Vec<Limit>,
    /// The limits to which the run gives its slot back.
    pub freed: Vec<SlotScope>,
    /// The queue that the run joins.
    pub joined: Option<SlotScope>,
    /// The queue that the run leaves.
    pub left: Option<SlotScope>,
}

impl SlotChange {
    /// What the change from `before` to `after` does to slots and queues. `taken` is left empty: the slots that a run
    /// takes depend on limits, which the run does not know.
    pub fn between(before: &Run, after: &Run) -> Self {
        let freed = before.slots.difference(&after.slots).copied().collect();
        let (joined, left) = match (before.state.queue(), after.state.queue()) {
            (before, after) if before == after => (None, None),
            (before, after) => (after, before),
        };
        Self { taken: Vec::new(), freed, joined, left }
    }
}
