//! What `run-callback` does with a signal.

use super::*;
use sluice_core::catalog::{Found, Wanted};
use sluice_core::change::RunChange;
use sluice_core::delivery::health::Health;
use sluice_core::delivery::{Attempt, Delivery};
use sluice_core::flow::deliver::{Outlook, send};
use sluice_core::flow::transition_run::{AT_THE_END, settle};
use sluice_core::memory::Memory;
use sluice_core::ports::{ChangeRun, Changed, Deliveries, ReadCatalog, ReadQueue, ReceiverHealth, StoreResult};
use sluice_core::run::{RunState, Times};
use sluice_core::together::both;

impl World {
    pub(super) fn callback(&mut self, signal: Signal) {
        let clock = self.instance_clock();
        let (store, engine, receiver, mutation) =
            (self.store.clone(), self.engine.clone(), self.receiver.clone(), self.play.mutation);
        if let Signal::Ended { run_id, .. } = &signal
            && self.ledger.is_gone(*run_id, self.clock.true_time())
        {
            self.dice.count(F::EventAfterPurge);
        }
        let kind = if matches!(signal, Signal::Freed(_)) { TaskKind::Dispatch } else { TaskKind::Callback };
        self.spawn(kind, None, format!("callback {signal:?}"), async move {
            let sender = receiver.for_another_sender();
            match Box::pin(handle(&store, &engine, &sender, &clock, mutation, &signal)).await {
                true => Told::Handled(std::mem::take(&mut *lock(&sender.sent))),
                false => Told::Failed(signal),
            }
        });
    }
}

/// `false`: it failed, and Lambda may invoke it again.
pub(super) async fn handle(
    store: &MemoryStore,
    engine: &MemoryEngine,
    receiver: &SimReceiver,
    clock: &SimClock,
    mutation: Option<Mutation>,
    signal: &Signal,
) -> bool {
    let sender = Careless { store: store.clone(), mutation };
    match signal {
        Signal::Due(due) => deliver(&sender, engine, receiver, clock, due).await.is_ok(),
        Signal::Freed(queue) => {
            dispatch(store, engine, clock, mutation, queue).await;
            true
        }
        Signal::Ended { arn, tenant, run_id, end, details } => {
            let mut found = match store.load_with(tenant, *run_id, AT_THE_END).await {
                Ok(Some(found)) if found.run.execution_arn() == *arn => found,
                Ok(_) => return true,
                Err(_) => return false,
            };
            let mut details = details.clone();
            if details.output.is_none() && *end == EngineEnd::Succeeded {
                match engine.describe_execution(arn).await {
                    Ok(ExecutionState::Ended(_, described)) => details = described,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            if mutation == Some(Mutation::RefusedClaimFails)
                && let Some(error) = &mut details.error
            {
                "States.TaskFailed".clone_into(&mut error.code);
            }
            if mutation == Some(Mutation::EventNotIdempotent) {
                let times = found.run.state.times().copied();
                found.run.state = RunState::running(times.unwrap_or(Times::started(found.run.spec.created_at)));
            }
            let outlook = match found.run.snapshot.has_callback && !found.run.status().is_terminal() {
                true => Outlook::of(&sender, tenant).await,
                false => Outlook::BLIND,
            };
            let now = clock.now();
            let may_begin = |delivery: &Delivery| outlook.lets_through(delivery, now);
            let settled = settle(store, found, RunEvent::EngineEnded(*end), &details, may_begin, now).await;
            let transition = match settled {
                Ok(Some(transition)) => transition,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let (begun, owed) = (&transition.begun, &transition.owed);
            let dispatching = async {
                for queue in &transition.freed {
                    dispatch(store, engine, clock, mutation, queue).await;
                }
            };
            let sending = send(&sender, engine, receiver, clock, &outlook, begun, owed);
            let (sent, ()) = both(Box::pin(sending), Box::pin(dispatching)).await;
            sent.iter().all(Result::is_ok)
        }
    }
}

/// Starts the runs that wait in a queue. What fails is left to the sweep, which looks at every queue.
async fn dispatch(
    store: &MemoryStore,
    engine: &MemoryEngine,
    clock: &SimClock,
    mutation: Option<Mutation>,
    queue: &QueueRef,
) {
    match mutation {
        Some(Mutation::DispatchWithoutLeaving | Mutation::NewestDispatchedFirst) => {
            careless_dispatch(store, queue, mutation, clock.now()).await;
        }
        _ => drop(dispatch_runs(store, engine, queue, clock.now()).await),
    }
}

/// Dispatches a queue as a hurried change might: the newest first, or without taking the run out of its queue.
async fn careless_dispatch(store: &MemoryStore, queue: &QueueRef, mutation: Option<Mutation>, now: Timestamp) {
    let Ok(mut waiting) = store.queued_runs(queue, 25).await else { return };
    waiting.reverse();
    for run_id in waiting {
        let Ok(Some(run)) = store.load_run(&queue.tenant_id, run_id).await else { return };
        let Some(mut after) = run.after(RunEvent::Dispatched, now) else { return };
        let definition = store.definition(&run.tenant_id, run.spec.definition_id);
        let settings = store.tenant_settings(&run.tenant_id);
        let limits = limits_of(
            definition.and_then(|definition| definition.concurrency),
            settings.and_then(|settings| settings.concurrency),
        );
        after.slots = limits.iter().map(|limit| limit.scope).collect();
        let mut change = RunChange::new(&run, after);
        if mutation == Some(Mutation::DispatchWithoutLeaving) {
            change.slots.left = None;
        }
        change.slots.taken = limits;
        if !matches!(store.change_run(&change).await, Ok(Changed::Done)) {
            return;
        }
    }
}

/// The table as a sender sees it who may have lost one of its precautions.
struct Careless {
    store: MemoryStore,
    mutation: Option<Mutation>,
}

impl ReadCatalog for Careless {
    async fn read_afresh(&self, wanted: &Wanted) -> StoreResult<Found> {
        if self.mutation == Some(Mutation::ListNotAsked) {
            return Ok(Found::default()); // no tenant has a list of destinations
        }
        self.store.read_afresh(wanted).await
    }

    fn memory(&self) -> &Memory {
        self.store.memory()
    }
}

impl Deliveries for Careless {
    async fn load_delivery(&self, delivery: &DeliveryRef) -> StoreResult<Option<Delivery>> {
        self.store.load_delivery(delivery).await
    }

    async fn change_delivery(&self, next: &Delivery, attempt: Option<&Attempt>) -> StoreResult<bool> {
        let is_ours = self.store.change_delivery(next, attempt).await?;
        Ok(is_ours || (self.mutation == Some(Mutation::LeaseIgnored) && attempt.is_none()))
    }

    async fn record_late_attempt(&self, delivery: &DeliveryRef, attempt: &Attempt) -> StoreResult<()> {
        if self.mutation == Some(Mutation::LateAttemptNotRecorded) {
            return Ok(());
        }
        self.store.record_late_attempt(delivery, attempt).await
    }

    async fn dead_deliveries(&self, tenant: &TenantId, since: Timestamp, limit: u32) -> StoreResult<Vec<DeliveryRef>> {
        self.store.dead_deliveries(tenant, since, limit).await
    }
}

impl ReceiverHealth for Careless {
    async fn load_health(&self, tenant: &TenantId) -> StoreResult<Health> {
        self.store.load_health(tenant).await
    }

    async fn change_health(&self, next: &Health) -> StoreResult<bool> {
        self.store.change_health(next).await
    }
}
