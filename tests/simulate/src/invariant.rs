//! What must always hold, as the simulation sees it: from outside, by what callers were told, what the receiver got and
//! what the table and the engine hold.

use crate::receiver::Received;
use jiff::{SignedDuration, Timestamp};
use sluice_core::concurrency::QueueRef;
use sluice_core::delivery::{AttemptOutcome, DeliveryStatus};
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::{EngineEnd, RunStatus, StopIntent, TerminationReason};
use sluice_core::run::Run;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

mod boards;
mod catalog;
mod counts;
mod delivery;
mod queue;
mod retention;
mod usage;

pub use boards::{Attempt, Plan};
pub use counts::Counts;

/// What was in force, from when on.
type History<T> = Vec<(Timestamp, T)>;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the fault matrix's list: `I1` to `I13`. `R1` is that of retention: nothing of a run is shown after its
    /// time, goes before it, or stays behind. `C1` is that of the catalog: a change that was answered counts at once. `D1` is
    /// that of senders: each attempt is made by one, and recorded. `W1`: a webhook says what a read says at that moment. `Q1`:
    /// nobody waits for a slot that is there. `N1`: a report counts what happened. Of the second generation's runs: `B1`, a node
    /// ends once, and each attempt is given away once; `B2`, it begins after what it depends on, and never after a stop, a pause
    /// or a failure that counts; `B3`, nobody waits for ever; `B4`, what is handed over and shown is what happened.
    pub invariant: &'static str,
    pub text: String,
}

pub type Check = Result<(), Violation>;

pub fn broken<T>(invariant: &'static str, text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { invariant, text: text.into() })
}

/// What callers were told and what has been seen, to hold the service to it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By tenant, key: the payload, the run everyone got, and when it was first told.
    keys: BTreeMap<(TenantId, String), (String, RunId, Timestamp)>,
    accepted: BTreeSet<(TenantId, RunId)>,
    /// The first end of each execution that could run nodes, by run.
    pub engine_ends: BTreeMap<RunId, EngineEnd>,
    pub started_by_others: BTreeSet<RunId>,
    /// Runs whose execution the engine forgot before its end was settled: nobody can know how it ended.
    pub forgotten: BTreeSet<RunId>,
    /// Runs whose execution ended because it could not claim its run.
    pub refused_claims: BTreeSet<RunId>,
    /// Every attempt that arrived: its webhook and its number.
    attempts: BTreeSet<(String, u32)>,
    /// By run: every answer that was tried, the one that its giver was told is taken, the one the runner took.
    answers: BTreeMap<RunId, Answers>,
    received_until: usize,
    bodies: BTreeMap<String, String>,
    /// What the caller of a run wants to hear again, byte for byte.
    pub contexts: BTreeMap<RunId, String>,
    /// Every run as it was seen last.
    seen: BTreeMap<RunId, Run>,
    /// Runs that are purged.
    gone: BTreeSet<RunId>,
    /// When a run's time was over at the earliest.
    least_due: BTreeMap<RunId, Timestamp>,
    /// Runs that somebody asked to delete.
    pub deleting: BTreeSet<RunId>,
    queues: queue::Queues,
    owed: retention::Owed,
    usage: BTreeMap<RunId, usage::Used>,
    destinations: BTreeMap<TenantId, History<Option<Vec<String>>>>,
    catalog: catalog::Catalog,
    /// Runs of the second generation.
    plans: BTreeMap<RunId, Plan>,
}

/// The answers to the node of a run that waits once.
#[derive(Debug, Default)]
struct Answers {
    tried: BTreeSet<String>,
    told: Option<String>,
    taken: Option<String>,
}

/// A key may be used anew after 24 hours; with clocks apart, only what is well inside its life is judged.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(23);
/// What an invocation may have read and not used yet is at most as old as the invocation.
pub const INVOCATION: SignedDuration = SignedDuration::from_secs(60);
/// How far the clocks of two instances may be apart.
pub const SKEW: SignedDuration = SignedDuration::from_mins(20);

impl Ledger {
    /// A caller was told that `run` answers its key and payload.
    pub fn told(&mut self, run: &Run, key: Option<(&str, &str)>, now: Timestamp) -> Check {
        self.accepted.insert((run.tenant_id.clone(), run.run_id));
        let Some((key, payload)) = key else { return Ok(()) };
        let place = (run.tenant_id.clone(), key.to_owned());
        match self.keys.get(&place) {
            Some((first_payload, first_run, at)) if now.duration_since(*at) < KEY_LIFE => {
                if *first_run != run.run_id {
                    return broken("I1", format!("key {key} was answered with {first_run} and with {}", run.run_id));
                }
                if first_payload != payload {
                    return broken("I7", format!("key {key} was answered for two payloads"));
                }
            }
            Some(_) | None => {
                self.keys.insert(place, (payload.to_owned(), run.run_id, now));
            }
        }
        Ok(())
    }

    /// A caller was told that its key belongs to another payload's run.
    pub fn told_reused(&mut self, tenant: &TenantId, key: &str, payload: &str, run_id: RunId, now: Timestamp) -> Check {
        if let Some((first_payload, first_run, at)) = self.keys.get(&(tenant.clone(), key.to_owned()))
            && now.duration_since(*at) < KEY_LIFE
            && (*first_run != run_id || first_payload == payload)
        {
            return broken("I7", format!("key {key}: refused in favour of {run_id}, but {first_run} was answered"));
        }
        Ok(())
    }

    /// A caller was told that its key's run is no longer kept.
    pub fn told_expired(&mut self, tenant: &TenantId, key: &str, run_id: RunId, now: Timestamp) -> Check {
        if let Some((_, first_run, at)) = self.keys.get(&(tenant.clone(), key.to_owned()))
            && now.duration_since(*at) < KEY_LIFE
            && *first_run != run_id
        {
            return broken("I7", format!("key {key}: run {run_id} is said to be gone, but {first_run} was answered"));
        }
        if !self.gone.contains(&run_id) && self.least_due.get(&run_id).is_none_or(|due_at| *due_at > now) {
            return broken("R1", format!("run {run_id} is said to be gone, and is still kept"));
        }
        Ok(())
    }

    pub fn try_answer(&mut self, run_id: RunId, value: &str) {
        self.answers.entry(run_id).or_default().tried.insert(value.to_owned());
    }

    /// A run waits at most once in a play, so that there is one right answer.
    pub fn may_wait(&self, run_id: RunId) -> bool {
        self.answers.get(&run_id).is_none_or(|answers| answers.told.is_none() && answers.taken.is_none())
    }

    /// A caller was told that its answer is the node's.
    pub fn told_answered(&mut self, run_id: RunId, value: &str) -> Check {
        let answers = self.answers.entry(run_id).or_default();
        match answers.told.replace(value.to_owned()) {
            Some(first) => broken("I1", format!("two answers to run {run_id} were taken: {first} and {value}")),
            None => Ok(()),
        }
    }

    pub fn took_answer(&mut self, run_id: RunId, value: &str) {
        self.answers.entry(run_id).or_default().taken = Some(value.to_owned());
    }

    /// What can be seen at every instant.
    pub fn check_now(
        &mut self,
        now: Timestamp,
        store: &MemoryStore,
        engine: &MemoryEngine,
        received: &[Received],
    ) -> Check {
        self.watch_settings(now, store);
        self.watch_catalog(store);
        let mut changed = Vec::new();
        let mut present = 0;
        store.each_run(|run| {
            present += 1;
            if self.seen.get(&run.run_id) != Some(run) {
                changed.push(run.clone());
            }
        });
        for run in &changed {
            self.check_change(now, run)?;
            self.check_told_end(run, store)?;
            if !self.seen.contains_key(&run.run_id) {
                self.check_admitted(run, store)?;
            }
        }
        self.check_queues(now, &changed)?;
        self.check_steps(store)?;
        for run in changed {
            if let Some(due_at) = run.state.ended().and_then(|ended| ended.due_at) {
                let least = self.least_due.entry(run.run_id).or_insert(due_at);
                *least = due_at.min(*least);
            }
            self.seen.insert(run.run_id, run);
        }
        if self.seen.len() > present + self.gone.len() {
            self.check_vanished(now, store)?;
        }
        self.check_counters(now, store)?;
        self.check_owed(now, store)?;
        self.check_usage(store)?;
        self.check_executions(engine)?;
        self.check_received(now, received)
    }

    fn check_change(&self, now: Timestamp, run: &Run) -> Check {
        let (run_id, before) = (run.run_id, self.seen.get(&run.run_id));
        let end = |run: &Run| {
            (
                run.status(),
                run.state.ended().map(|ended| ended.reason),
                run.state.ended().map(|ended| ended.completed_at),
            )
        };
        match before.filter(|before| before.status().is_terminal()) {
            Some(before) if !run.status().is_terminal() => {
                broken("I3", format!("run {run_id} had ended {:?} and is open again", before.status()))
            }
            Some(before) if end(before) != end(run) => {
                broken("I3", format!("run {run_id} ended {:?} and then {:?}", before.status(), run.status()))
            }
            Some(_) | None => self.check_due(now, run),
        }
    }

    fn check_executions(&self, engine: &MemoryEngine) -> Check {
        let mut fault = Ok(());
        engine.each_execution(|_, execution| {
            let run_id = execution.run_id;
            if self.started_by_others.contains(&run_id) || self.gone.contains(&run_id) {
                return;
            }
            match self.seen.get(&run_id) {
                None => fault = broken("I2", format!("an execution exists without its record: {run_id}")),
                Some(run) if execution.started && run.state.started_at().is_none() => {
                    fault = broken("I5", format!("run {run_id} ran a node although it never started"));
                }
                Some(_) => {}
            }
        });
        fault
    }

    /// Keeps the history of the settings.
    fn watch_settings(&mut self, now: Timestamp, store: &MemoryStore) {
        for tenant in crate::world::tenants() {
            let settings = store.tenant_settings(&tenant);
            let tenant_limit = settings.as_ref().and_then(|settings| settings.concurrency);
            self.queues.watch(now, QueueRef { tenant_id: tenant.clone(), definition_id: None }, tenant_limit);
            for id in crate::world::definitions() {
                let limit = store.definition(&tenant, id).and_then(|definition| definition.concurrency);
                self.queues.watch(now, QueueRef { tenant_id: tenant.clone(), definition_id: Some(id) }, limit);
            }
            let list = settings.and_then(|settings| settings.destinations);
            let history = self.destinations.entry(tenant).or_default();
            if history.last().is_none_or(|(_, last)| *last != list) {
                history.push((now, list));
            }
        }
    }

    /// Whether somebody who acts at `now` may have seen `url` on the tenant's list, or no list.
    pub fn could_be_listed(&self, now: Timestamp, tenant: &TenantId, url: &str) -> bool {
        let history = self.destinations.get(tenant).map(Vec::as_slice).unwrap_or_default();
        let origin = crate::receiver::origin(url);
        history.is_empty() || in_force(history, now).any(|list| list.as_ref().is_none_or(|list| list.contains(&origin)))
    }

    /// What must hold once faults have stopped and the reconciler has had its time.
    pub fn check_settled(&self, store: &MemoryStore, engine: &MemoryEngine, received: &[Received]) -> Check {
        for (tenant, run_id) in &self.accepted {
            if store.run(tenant, *run_id).is_none() && !self.gone.contains(run_id) {
                return broken("I2", format!("run {run_id} was accepted and is gone"));
            }
        }
        self.check_leftovers(store)?;
        self.check_told_usage(store)?;
        for (run_id, answers) in &self.answers {
            if let Some(taken) = &answers.taken
                && (answers.told.as_ref().is_some_and(|told| told != taken) || !answers.tried.contains(taken))
            {
                return broken("I1", format!("run {run_id} went on with {taken}, its caller was told otherwise"));
            }
        }
        let executions = engine.executions();
        for run in store.runs() {
            if !run.status().is_terminal() {
                return broken("I2", format!("run {} never ended: {:?}", run.run_id, run.status()));
            }
            let end = self.engine_ends.get(&run.run_id).copied();
            if self.exceeded(run.run_id) && run.status() == RunStatus::Succeeded && end != Some(EngineEnd::Succeeded) {
                return broken("I6", format!("run {} succeeded above its cap", run.run_id));
            }
            if self.refused_claims.contains(&run.run_id)
                && run.state.intent() == Some(StopIntent::CanceledByCaller)
                && run.status() != RunStatus::Canceled
            {
                return broken("I5", format!("run {} was cancelled, and ended {:?}", run.run_id, run.status()));
            }
            let ran = executions.get(&run.execution_arn()).is_some_and(|execution| execution.started);
            if !self.forgotten.contains(&run.run_id)
                && let Some(fault) = mapping_fault(&run, end, ran || run.state.started_at().is_some())
            {
                return broken(
                    "I3",
                    format!(
                        "run {} ended {:?}/{:?}: {fault}",
                        run.run_id,
                        run.status(),
                        run.state.ended().map(|ended| ended.reason)
                    ),
                );
            }
        }
        for (delivery, attempts) in store.deliveries() {
            if !delivery.status.has_ended() {
                return broken(
                    "I4",
                    format!("delivery {} of run {} is neither delivered nor dead", delivery.number, delivery.run_id),
                );
            }
            if attempts.is_empty() {
                return broken(
                    "I4",
                    format!("delivery {} of run {} was never tried", delivery.number, delivery.run_id),
                );
            }
            let succeeded = attempts.iter().any(|attempt| matches!(attempt.outcome, AttemptOutcome::Delivered { .. }));
            let arrived = delivery.number > 1
                || received.iter().any(|request| request.webhook_id == delivery.webhook_id() && request.accepted);
            if (delivery.status == DeliveryStatus::Delivered && !succeeded)
                || (succeeded && store_has_webhook(store, &delivery.run_id) && !arrived)
            {
                return broken(
                    "I4",
                    format!(
                        "delivery {} of run {} is recorded {:?}, its attempts say otherwise",
                        delivery.number, delivery.run_id, delivery.status
                    ),
                );
            }
        }
        for run in store.runs() {
            let owed = store.deliveries().iter().filter(|(delivery, _)| delivery.run_id == run.run_id).count() as u32;
            let due = if run.snapshot.has_callback { 2 } else { 1 };
            if owed != due {
                return broken("I4", format!("run {} owes {owed} deliveries, not {due}", run.run_id));
            }
        }
        Ok(())
    }
}

fn store_has_webhook(store: &MemoryStore, run_id: &RunId) -> bool {
    store.runs().iter().any(|run| run.run_id == *run_id && run.snapshot.has_callback)
}

/// The mapping of the engine's end, as the design words it.
fn mapping_fault(run: &Run, end: Option<EngineEnd>, ran: bool) -> Option<&'static str> {
    use TerminationReason as R;
    let fits = match run.state.ended().map(|ended| ended.reason)? {
        R::Completed => run.status() == RunStatus::Succeeded && end == Some(EngineEnd::Succeeded),
        R::ExecutionError => run.status() == RunStatus::Failed && end == Some(EngineEnd::Failed),
        R::TimedOut => {
            run.status() == RunStatus::Failed
                && (end == Some(EngineEnd::TimedOut) || run.state.intent() == Some(StopIntent::TimedOut))
        }
        R::CanceledByCaller => {
            run.status() == RunStatus::Canceled
                && run.state.intent() == Some(StopIntent::CanceledByCaller)
                && end != Some(EngineEnd::Succeeded)
        }
        R::AbortedInEngine => run.status() == RunStatus::Canceled && run.state.intent().is_none(),
        R::StartFailed => run.status() == RunStatus::Failed && !ran,
        R::StaleRunReaper => run.status() == RunStatus::Failed,
        R::BudgetExceeded => {
            run.status() == RunStatus::Failed
                && run.state.intent() == Some(StopIntent::BudgetExceeded)
                && end != Some(EngineEnd::Succeeded)
        }
        R::LoopingRisk => run.status() == RunStatus::Failed && end == Some(EngineEnd::Failed),
    };
    (!fits).then_some("that is not how its execution ended")
}

/// What was in force at any time that an invocation of `now` may have seen.
fn in_force<T>(history: &[(Timestamp, T)], now: Timestamp) -> impl Iterator<Item = &T> {
    let from = now - INVOCATION - SignedDuration::from_secs(1);
    let last_before = history.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
    history[last_before..].iter().map(|(_, value)| value)
}
