//! What must always hold, as the simulation sees it: from outside, by what callers were told, what the receiver got and
//! what the table and the engine hold.

use crate::receiver::Received;
use jiff::{SignedDuration, Timestamp};
use sluice_core::callback::{AttemptOutcome, DeliveryStatus};
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::{EngineEnd, RunStatus, StopIntent, TerminationReason};
use sluice_core::run::Run;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the fault matrix's list: `I1` to `I13`.
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
    ends: BTreeMap<(TenantId, RunId), Run>,
    /// The first end of each execution that could run nodes, by run.
    pub engine_ends: BTreeMap<RunId, EngineEnd>,
    pub started_by_others: BTreeSet<RunId>,
    /// Runs whose execution the engine forgot before its end was settled: nobody can know how it ended.
    pub forgotten: BTreeSet<RunId>,
    /// By run: every answer that was tried, the one that its giver was told is taken, the one the runner took.
    answers: BTreeMap<RunId, Answers>,
    received_until: usize,
    bodies: BTreeMap<String, String>,
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
    pub fn check_now(&mut self, store: &MemoryStore, engine: &MemoryEngine, received: &[Received]) -> Check {
        for execution in engine.executions().into_values() {
            if self.started_by_others.contains(&execution.run_id) {
                continue;
            }
            let Some(run) = store.run(&execution.tenant, execution.run_id) else {
                return broken("I2", format!("an execution exists without its record: {}", execution.run_id));
            };
            if execution.started && run.started_at.is_none() {
                return broken("I5", format!("run {} ran a node although it never started", run.run_id));
            }
        }
        for run in store.runs().into_iter().filter(|run| run.status.is_terminal()) {
            let place = (run.tenant_id.clone(), run.run_id);
            if run.has_callback
                && run.deliveries > 0
                && !store.deliveries().iter().any(|(owed, _)| owed.run_id == run.run_id)
            {
                return broken(
                    "I4",
                    format!("run {} ended, and what it owes was not written with its end", run.run_id),
                );
            }
            match self.ends.get(&place) {
                Some(end)
                    if (end.status, end.termination_reason, end.completed_at)
                        != (run.status, run.termination_reason, run.completed_at) =>
                {
                    return broken(
                        "I3",
                        format!("run {} ended {:?} and then {:?}", run.run_id, end.status, run.status),
                    );
                }
                Some(_) => {}
                None => drop(self.ends.insert(place, run)),
            }
        }
        for ((_, run_id), end) in &self.ends {
            if store.run(&end.tenant_id, *run_id).is_none_or(|run| !run.status.is_terminal()) {
                return broken("I3", format!("run {run_id} had ended {:?} and is open again", end.status));
            }
        }
        for request in &received[self.received_until..] {
            if !request.was_terminal {
                return broken("I4", format!("a webhook of run {} left before its end was durable", request.run_id));
            }
            let first = self.bodies.entry(request.webhook_id.clone()).or_insert_with(|| request.body.clone());
            if *first != request.body {
                return broken("I4", format!("webhook {} has two bodies", request.webhook_id));
            }
        }
        self.received_until = received.len();
        Ok(())
    }

    /// What must hold once faults have stopped and the reconciler has had its time.
    pub fn check_settled(&self, store: &MemoryStore, engine: &MemoryEngine, received: &[Received]) -> Check {
        for (tenant, run_id) in &self.accepted {
            if store.run(tenant, *run_id).is_none() {
                return broken("I2", format!("run {run_id} was accepted and is gone"));
            }
        }
        for (run_id, answers) in &self.answers {
            if let Some(taken) = &answers.taken
                && (answers.told.as_ref().is_some_and(|told| told != taken) || !answers.tried.contains(taken))
            {
                return broken("I1", format!("run {run_id} went on with {taken}, its caller was told otherwise"));
            }
        }
        let executions = engine.executions();
        for run in store.runs() {
            if !run.status.is_terminal() {
                return broken("I2", format!("run {} never ended: {:?}", run.run_id, run.status));
            }
            let end = self.engine_ends.get(&run.run_id).copied();
            let ran = executions.get(&run.execution_arn()).is_some_and(|execution| execution.started);
            if !self.forgotten.contains(&run.run_id)
                && let Some(fault) = mapping_fault(&run, end, ran || run.started_at.is_some())
            {
                return broken(
                    "I3",
                    format!("run {} ended {:?}/{:?}: {fault}", run.run_id, run.status, run.termination_reason),
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
            let due = if run.has_callback { 2 } else { 1 };
            if owed != due {
                return broken("I4", format!("run {} owes {owed} deliveries, not {due}", run.run_id));
            }
        }
        Ok(())
    }
}

fn store_has_webhook(store: &MemoryStore, run_id: &RunId) -> bool {
    store.runs().iter().any(|run| run.run_id == *run_id && run.has_callback)
}

/// The mapping of the engine's end, as the design words it.
fn mapping_fault(run: &Run, end: Option<EngineEnd>, ran: bool) -> Option<&'static str> {
    use TerminationReason as R;
    let fits = match run.termination_reason? {
        R::Completed => run.status == RunStatus::Succeeded && end == Some(EngineEnd::Succeeded),
        R::ExecutionError => run.status == RunStatus::Failed && end == Some(EngineEnd::Failed),
        R::TimedOut => {
            run.status == RunStatus::Failed
                && (end == Some(EngineEnd::TimedOut) || run.stop_intent == Some(StopIntent::TimedOut))
        }
        R::CanceledByCaller => {
            run.status == RunStatus::Canceled
                && run.stop_intent == Some(StopIntent::CanceledByCaller)
                && end != Some(EngineEnd::Succeeded)
        }
        R::AbortedInEngine => run.status == RunStatus::Canceled && run.stop_intent.is_none(),
        R::StartFailed => run.status == RunStatus::Failed && !ran,
        R::StaleRunReaper => run.status == RunStatus::Failed,
        R::BudgetExceeded | R::LoopingRisk => false,
    };
    (!fits).then_some("that is not how its execution ended")
}
