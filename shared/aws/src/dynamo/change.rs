//! Loading and changing a run, and answering its nodes.

use super::page::Walk;
use super::slots::CounterWrites;
use super::transact::{Refusals, Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::{Item, ItemResult, n, s};
use jiff::Timestamp;
use keys::Key;
use serde_dynamo::AttributeValue;
use sluice_core::change::RunChange;
use sluice_core::concurrency::SlotScope;
use sluice_core::governor::ledger::Standing;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{
    AnswerNode, ChangeRun, Changed, LoadRun, Loaded, Part, StopAsked, StoreError, StoreErrorClass, StoreResult,
};
use sluice_core::report::{NodeAnswer, NodeOutcome};
use sluice_core::run::{Run, RunError};
use sluice_core::snapshot::Snapshot;
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::rfc3339_millis;
use sluice_core::usage::RecordedCall;
use std::collections::BTreeMap;

impl LoadRun for Store {
    async fn load_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Run>> {
        const OPERATION: &str = "load a run";
        let found = self.get(OPERATION, keys::run_head(tenant, run_id)).await?;
        found.map(item::to_run).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_with(&self, tenant: &TenantId, run_id: RunId, parts: &[Part<'_>]) -> StoreResult<Option<Loaded>> {
        const OPERATION: &str = "load a run and what lies beside it";
        let head = keys::run_head(tenant, run_id);
        let mut keys = vec![head.clone()];
        keys.extend(parts.iter().map(|part| part_key(tenant, run_id, *part)));
        let mut found: BTreeMap<Key, Item> = BTreeMap::new();
        for item in self.get_all(OPERATION, &keys, &[]).await? {
            found.extend(Key::of(&item).map(|key| (key, item)));
        }
        let mut read = || -> ItemResult<Option<Loaded>> {
            let Some(head) = found.remove(&head) else { return Ok(None) };
            let mut loaded = Loaded::new(item::to_run(head)?);
            for part in parts {
                let Some(item) = found.remove(&part_key(tenant, run_id, *part)) else { continue };
                match part {
                    Part::Snapshot => loaded.snapshot = Some(item::to_snapshot(&item)?),
                    Part::Request => loaded.request = Some(item::to_request(&item)?),
                    Part::Output => loaded.output = Some(item::to_output(&item)?),
                    Part::Ledger => loaded.ledger = item::to_governed(&item)?,
                    Part::Earlier => loaded.earlier = Some(item::to_earlier(&item)?),
                    Part::Ending => loaded.ending = Some(item::to_ending(&item)?),
                    Part::Step(_) => loaded.step = Some(item::to_step(item)?),
                }
            }
            Ok(Some(loaded))
        };
        read().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_snapshot(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Snapshot>> {
        const OPERATION: &str = "load a run's snapshot";
        let found = self.get(OPERATION, keys::snapshot(tenant, run_id)).await?;
        found.as_ref().map(item::to_snapshot).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_step(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId) -> StoreResult<Option<Step>> {
        const OPERATION: &str = "load a step";
        let found = self.get(OPERATION, keys::step(tenant, run_id, node_id)).await?;
        found.map(item::to_step).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_results(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_ids: &[NodeId],
    ) -> StoreResult<BTreeMap<NodeId, String>> {
        const OPERATION: &str = "load results of steps";
        let steps: Vec<_> = node_ids.iter().map(|node_id| keys::step(tenant, run_id, node_id)).collect();
        let found = self.get_all(OPERATION, &steps, &[]).await?.into_iter().map(item::to_step);
        let results = found.filter_map(|step| match step {
            Ok(Step { node_id, result, .. }) => Some(Ok((node_id, result?))),
            Err(error) => Some(Err(corrupt(OPERATION, error))),
        });
        results.collect()
    }

    async fn recorded_calls(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<RecordedCall>> {
        const OPERATION: &str = "list a run's calls";
        let calls = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::USAGE_CALLS);
        let read = |found| item::to_recorded_call(found).map_err(|error| corrupt(OPERATION, error)).transpose();
        self.all(&calls).await?.into_iter().filter_map(read).collect()
    }
}

fn part_key(tenant: &TenantId, run_id: RunId, part: Part<'_>) -> Key {
    match part {
        Part::Snapshot => keys::snapshot(tenant, run_id),
        Part::Request => keys::request(tenant, run_id),
        Part::Output => keys::output(tenant, run_id),
        Part::Ledger => keys::ledger(tenant, run_id),
        Part::Earlier => keys::usage(tenant, run_id),
        Part::Ending => keys::ending(tenant, run_id),
        Part::Step(node_id) => keys::step(tenant, run_id, node_id),
    }
}

/// What [`Run::after`] does to a head that goes on, when a stop is asked for.
const ASK_TO_STOP: &str =
    "SET #status = :canceling, stopIntent = :intent, statusKey = :key, updatedAt = :now, rev = rev + :one";
/// Those heads. One that somebody with a later clock has changed is read first: its time does not go back.
const GOES_ON: &str = "#status IN (:running, :waiting) AND updatedAt <= :now";

/// A run that was read beside the write of its stop, as it is after that; `None` where it cannot be told from what was read.
fn as_recorded(run: Run, intent: StopIntent, now: Timestamp) -> Option<Run> {
    if run.state.intent().is_some() || run.status().is_terminal() {
        return Some(run);
    }
    let goes_on = matches!(run.status(), RunStatus::Running | RunStatus::WaitingForInput);
    goes_on.then(|| run.after(RunEvent::StopAsked(intent), now)).flatten()
}

impl ChangeRun for Store {
    async fn ask_to_stop(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        intent: StopIntent,
        now: Timestamp,
    ) -> StoreResult<Option<StopAsked>> {
        const OPERATION: &str = "ask to stop a run";
        let head = Write::apply(keys::run_head(tenant, run_id), ASK_TO_STOP)
            .only_if(GOES_ON)
            .naming("#status", "status")
            .with(":canceling", s(RunStatus::Canceling.as_str()))
            .with(":running", s(RunStatus::Running.as_str()))
            .with(":waiting", s(RunStatus::WaitingForInput.as_str()))
            .with(":intent", s(intent.as_str()))
            .with(":key", s(keys::runs_in_status(tenant, RunStatus::Canceling)))
            .with(":now", s(rfc3339_millis(now)))
            .with(":one", n(1));
        let ledger = close_ledger(tenant, run_id, Standing::after_stop(intent), now);
        let written = self.transact(OPERATION, vec![head, ledger]);
        // Whoever stops the execution has to know it, so the run is read side by side with the write: before it or after it.
        let (written, read) = tokio::join!(written, self.load_run(tenant, run_id));
        let corrupt = |error| corrupt(OPERATION, error);
        if let Transacted::Refused(mut refusals) = written? {
            let run = refusals.at(0).flatten().map(item::to_run).transpose().map_err(corrupt)?;
            return Ok(run.map(|run| StopAsked { run, is_recorded: false }));
        }
        let run = match read.ok().flatten().and_then(|run| as_recorded(run, intent, now)) {
            Some(run) => Some(run),
            // It was not read, or read before it began to go on.
            None => self.load_run(tenant, run_id).await?,
        };
        Ok(run.map(|run| StopAsked { run, is_recorded: true }))
    }

    async fn change_run(&self, change: &RunChange) -> StoreResult<Changed> {
        const OPERATION: &str = "change a run";
        let corrupt = |error| corrupt(OPERATION, error);
        let mut writes = Vec::new();
        let placed = ChangeWrites::of(&mut writes, change).map_err(corrupt)?;
        let mut refusals = match self.transact(OPERATION, writes).await? {
            Transacted::Written => return Ok(Changed::Done),
            Transacted::Refused(refusals) => refusals,
        };
        match placed.refused(&mut refusals).map_err(corrupt)? {
            Some(changed) => Ok(changed),
            None if placed.ledger.is_some_and(|at| refusals.include(at)) => {
                let current = self.load_run(&change.run.tenant_id, change.run.run_id).await?;
                Ok(Changed::Stale(current.map(Box::new)))
            }
            // Where neither head nor counters nor ledger refused, a delivery of that number exists already.
            None => Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None }),
        }
    }
}

// An answer belongs to the wait whose token it carries: a node that begins to wait anew has a new token and so no
// answer, while a repetition of the runner's write (same token) loses none.
const RECORD_RESULT: &str = "SET answer = :answer, answerBytes = :bytes, answeredBy = :by, answeredAt = :at, answeredToken = taskToken \
    REMOVE answerErrorCode, answerErrorMessage";
const RECORD_FAILURE: &str = "SET answerErrorCode = :code, answerErrorMessage = :message, answeredBy = :by, \
    answeredAt = :at, answeredToken = taskToken REMOVE answer, answerBytes";
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
        let step = match &answer.outcome {
            NodeOutcome::Result(value) => {
                Write::apply(step, RECORD_RESULT).with(":answer", s(value)).with(":bytes", n(value.len()))
            }
            NodeOutcome::Failure(RunError { code, message }) => {
                Write::apply(step, RECORD_FAILURE).with(":code", s(code)).with(":message", s(message))
            }
        };
        let step = step
            .only_if(WAITS_UNANSWERED)
            .naming("#status", "status")
            .with(":waiting", s(StepStatus::Waiting.as_str()))
            .with(":by", s(&answer.by))
            .with(":at", s(rfc3339_millis(answer.at)));
        let run = &change.run;
        let input = item::from_input(&run.tenant_id, run.run_id, run.rev, node_id, answer);
        let mut writes = Vec::new();
        let change = ChangeWrites::of(&mut writes, change).map_err(corrupt)?;
        let step_at = writes.len();
        writes.push(step);
        writes.extend(input.map(Write::put));
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(Some(Changed::Done)),
            Transacted::Refused(mut refusals) => match change.refused(&mut refusals).map_err(corrupt)? {
                Some(changed) => Ok(Some(changed)),
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
    ) -> StoreResult<Option<(String, NodeOutcome)>> {
        const OPERATION: &str = "load a node's answer";
        let found = self.get(OPERATION, keys::step(tenant, run_id, node_id)).await?;
        let answer = found.as_ref().map(item::to_answer).transpose();
        answer.map(Option::flatten).map_err(|error| corrupt(OPERATION, error))
    }
}

/// Closes the ledger of governed calls, and has it looked at now, if there is anything to look at. It has no condition, so that
/// runs end as well that were recorded before there were ledgers: of them this makes a mark beside the head, which goes with it.
fn close_ledger(tenant: &TenantId, run_id: RunId, standing: Standing, now: Timestamp) -> Write {
    const CLOSE: &str = "SET #kind = :kind, #v = :v, #standing = :true, #due_at = :now";
    let attribute = if standing == Standing::Exhausted { item::EXHAUSTED } else { item::CLOSED };
    Write::apply(keys::ledger(tenant, run_id), CLOSE)
        .naming("#kind", "kind")
        .naming("#v", "v")
        .naming("#standing", attribute)
        .naming("#due_at", keys::QUEUE_AT)
        .with(":kind", s(item::LEDGER))
        .with(":v", n(item::SHAPE))
        .with(":true", AttributeValue::Bool(true))
        .with(":now", s(keys::time_key(now, run_id)))
}

/// The places in a transaction of what a change writes.
pub(super) struct ChangeWrites {
    head: usize,
    counters: CounterWrites,
    /// Of the condition on the ledger.
    ledger: Option<usize>,
}

impl ChangeWrites {
    /// Adds to `writes` everything that `change` writes: first its conditions, in the order in which they count.
    pub fn of(writes: &mut Vec<Write>, change: &RunChange) -> ItemResult<Self> {
        let run = &change.run;
        // An update and not a put: the runner keeps attributes of its own on the head, such as `executionArn`.
        let key = keys::run_head(&run.tenant_id, run.run_id);
        let mut set = item::from_run(run)?;
        set.retain(|name, _| name != keys::PK && name != keys::SK);
        let head = writes.len();
        writes.push(
            Write::update(key, set, item::RUN_OPTIONAL)
                .only_if("rev = :expected")
                .with(":expected", n(change.expected_rev)),
        );
        let counters = CounterWrites::change(writes, run, &change.slots);
        // One write of the ledger: the condition on it lies on its closing, where it is closed.
        let mut of_ledger =
            change.closes.map(|closes| close_ledger(&run.tenant_id, run.run_id, closes, run.updated_at));
        if let Some(expected) = change.expected_reports_rev {
            let write = of_ledger.unwrap_or_else(|| Write::check(keys::ledger(&run.tenant_id, run.run_id)));
            let write = write.naming("#reports_rev", item::REPORTS_REV);
            of_ledger = Some(match expected {
                0 => write.only_if("attribute_not_exists(#reports_rev)"),
                expected => write.only_if("#reports_rev = :expected").with(":expected", n(expected)),
            });
        }
        let ledger = change.expected_reports_rev.map(|_| writes.len());
        writes.extend(of_ledger);
        if let Some(output) = &change.output {
            writes.push(Write::put(item::from_output(run, output)));
        }
        for delivery in &change.deliveries {
            writes.push(Write::put_new(item::from_delivery(delivery)?));
            writes.push(Write::put_new(item::from_delivery_body(delivery)));
        }
        Ok(Self { head, counters, ledger })
    }

    /// What refusals mean for the change; `None` when they are none of its own.
    pub fn refused(&self, refusals: &mut Refusals) -> ItemResult<Option<Changed>> {
        if let Some(current) = refusals.at(self.head) {
            let current = current.map(item::to_run).transpose()?;
            return Ok(Some(Changed::Stale(current.map(Box::new))));
        }
        let full = self.counters.refused(refusals);
        let full: Vec<SlotScope> = full.into_iter().map(|(scope, _)| scope).collect();
        Ok((!full.is_empty()).then_some(Changed::Full(full)))
    }
}
