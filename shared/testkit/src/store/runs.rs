//! Runs are recorded, loaded, changed and answered.

use super::*;
use serde::de::DeserializeOwned;
use sluice_core::change::standing;
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::StopAsked;
use std::collections::BTreeMap;

impl RecordRun for MemoryStore {
    async fn record_run(&self, new: &NewRun) -> StoreResult<Recorded> {
        self.act("record the run", |tables| {
            let run = &new.run;
            let place = (run.tenant_id.clone(), run.run_id);
            if tables.runs.contains_key(&place) {
                return Ok(Recorded::Created);
            }
            if let Some((claim, _)) = &new.idempotency {
                let key = (run.tenant_id.clone(), claim.operation, claim.key.to_string());
                let is_free = |first: &IdempotencyRecord| match self.laxity {
                    Some(Laxity::KeyUnconditional) => true,
                    Some(Laxity::KeyFreedAtEnd) => {
                        let place = (run.tenant_id.clone(), first.run.run_id);
                        tables.runs.get(&place).is_none_or(|run| run.status().is_terminal())
                    }
                    Some(_) | None => first.has_expired(run.spec.created_at),
                };
                match tables.idempotency.get(&key) {
                    Some(first) if first.run.run_id == run.run_id => return Ok(Recorded::Created),
                    Some(first) if !is_free(first) => {
                        let mut first = first.clone();
                        if self.laxity == Some(Laxity::PayloadNotCompared) {
                            first.payload_hash.clone_from(&claim.payload_hash);
                        }
                        return Ok(Recorded::KeyTaken(Box::new(first)));
                    }
                    Some(_) | None => {}
                }
            }
            if let Some(refused) = tables.refuses(run, &new.admission) {
                return Ok(refused);
            }
            if let Some((claim, record)) = &new.idempotency {
                let key = (run.tenant_id.clone(), claim.operation, claim.key.to_string());
                tables.idempotency.insert(key, record.clone());
            }
            let slots = match &new.admission {
                Admission::Slots(limits) => SlotChange { taken: limits.clone(), ..SlotChange::default() },
                Admission::Queue(limit) => SlotChange { joined: Some(limit.scope), ..SlotChange::default() },
            };
            tables.move_slots(run, &slots, self.laxity);
            tables.writes += 1;
            if let Some(instance) = &new.instance {
                let key = (instance.tenant.clone(), instance.id);
                tables.instances.entry(key).or_insert_with(|| Instance::clone(instance));
            }
            tables.snapshots.insert(place.clone(), new.snapshot_text.clone());
            tables.endings.extend(new.ending_text.iter().map(|text| (place.clone(), text.clone())));
            tables.requests.extend(new.request_text.iter().map(|text| (place.clone(), text.clone())));
            tables.governed.ledgers.insert(place.clone(), new.ledger.clone());
            tables.runs.insert(place, run.clone());
            Ok(Recorded::Created)
        })
        .await
    }

    async fn first_with_key(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        now: Timestamp,
    ) -> StoreResult<Option<IdempotencyRecord>> {
        self.act("look up the idempotency key", |tables| {
            let key = (tenant.clone(), claim.operation, claim.key.to_string());
            Ok(tables.idempotency.get(&key).filter(|first| !first.has_expired(now)).cloned())
        })
        .await
    }

    fn record_keys(&self, tenant: &TenantId, run_id: RunId) -> RecordKeys {
        let status_keys =
            ["RUNNING", "PAUSED", "WAITING_FOR_INPUT"].map(|status| (status, format!("{tenant} {status}")));
        RecordKeys { pk: format!("{tenant} {run_id}"), status_keys: BTreeMap::from(status_keys) }
    }
}

impl LoadRun for MemoryStore {
    async fn load_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Run>> {
        self.act("load the run", |tables| {
            if self.laxity == Some(Laxity::TenantNotChecked) {
                return Ok(tables.runs.values().find(|run| run.run_id == run_id).cloned());
            }
            Ok(tables.runs.get(&(tenant.clone(), run_id)).cloned())
        })
        .await
    }

    async fn load_with(&self, tenant: &TenantId, run_id: RunId, parts: &[Part<'_>]) -> StoreResult<Option<Loaded>> {
        self.act("load the run and what lies beside it", |tables| {
            let key = (tenant.clone(), run_id);
            let found = match self.laxity {
                Some(Laxity::TenantNotChecked) => tables.runs.values().find(|run| run.run_id == run_id),
                Some(_) | None => tables.runs.get(&key),
            };
            let Some(run) = found else { return Ok(None) };
            let mut loaded = Loaded::new(run.clone());
            for part in parts {
                match part {
                    Part::Snapshot => loaded.snapshot = self.plan(tables.snapshots.get(&key))?,
                    Part::Request => loaded.request = tables.requests.get(&key).cloned(),
                    Part::Output => loaded.output = tables.outputs.get(&key).cloned(),
                    Part::Ledger => loaded.ledger = tables.governed.ledgers.get(&key).cloned(),
                    Part::Earlier => loaded.earlier = tables.earlier.get(&key).copied(),
                    Part::Ending => loaded.ending = parsed(tables.endings.get(&key))?,
                    Part::Step(node_id) => {
                        loaded.step = tables.steps.get(&(tenant.clone(), run_id, (*node_id).clone())).cloned();
                    }
                }
            }
            Ok(Some(loaded))
        })
        .await
    }

    async fn load_snapshot(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Snapshot>> {
        self.act("load the snapshot", |tables| parsed(tables.snapshots.get(&(tenant.clone(), run_id)))).await
    }

    async fn load_step(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId) -> StoreResult<Option<Step>> {
        self.act("load the step", |tables| Ok(tables.steps.get(&(tenant.clone(), run_id, node_id.clone())).cloned()))
            .await
    }

    async fn load_results(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_ids: &[NodeId],
    ) -> StoreResult<BTreeMap<NodeId, String>> {
        self.act("load the results", |tables| {
            let result = |node_id: &NodeId| {
                let step = tables.steps.get(&(tenant.clone(), run_id, node_id.clone()))?;
                Some((node_id.clone(), step.result.clone()?))
            };
            Ok(node_ids.iter().filter_map(result).collect())
        })
        .await
    }

    async fn recorded_calls(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<RecordedCall>> {
        self.act("list the run's calls", |tables| Ok(tables.recorded_calls(&(tenant.clone(), run_id)))).await
    }
}

impl MemoryStore {
    fn plan(&self, text: Option<&String>) -> StoreResult<Option<Snapshot>> {
        let plan: Option<Snapshot> = parsed(text)?;
        Ok(plan.map(|plan| match self.laxity {
            Some(Laxity::PlanWithoutEdges) => Snapshot { edges: Vec::new(), ..plan },
            Some(_) | None => plan,
        }))
    }
}

/// A document as it was stored.
fn parsed<T: DeserializeOwned>(text: Option<&String>) -> StoreResult<Option<T>> {
    let corrupt = |error| StoreError::new("read a document of the run", StoreErrorClass::Corrupt, error);
    text.map(|text| serde_json::from_str(text)).transpose().map_err(corrupt)
}

impl ChangeRun for MemoryStore {
    async fn ask_to_stop(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        intent: StopIntent,
        now: Timestamp,
    ) -> StoreResult<Option<StopAsked>> {
        self.act("ask to stop the run", |tables| {
            let key = match self.laxity {
                Some(Laxity::TenantNotChecked) => tables.runs.keys().find(|(_, found)| *found == run_id).cloned(),
                Some(_) | None => Some((tenant.clone(), run_id)),
            };
            let Some(run) = key.and_then(|key| tables.runs.get_mut(&key)) else { return Ok(None) };
            let goes_on = matches!(run.status(), RunStatus::Running | RunStatus::WaitingForInput);
            let stopping = Some(&*run).filter(|_| goes_on).and_then(|run| run.after(RunEvent::StopAsked(intent), now));
            let is_recorded = stopping.is_some();
            if let Some(stopping) = stopping {
                *run = stopping;
            }
            let run = run.clone();
            if is_recorded && self.laxity != Some(Laxity::LedgerLeftOpen) {
                tables.governed.close(&run, standing(&run));
            }
            tables.writes += u64::from(is_recorded);
            Ok(Some(StopAsked { run, is_recorded }))
        })
        .await
    }

    async fn change_run(&self, change: &RunChange) -> StoreResult<Changed> {
        self.act("change the run", |tables| Ok(tables.change(change, self.laxity))).await
    }
}

impl AnswerNode for MemoryStore {
    async fn answer_node(
        &self,
        change: &RunChange,
        node_id: &NodeId,
        answer: &NodeAnswer,
    ) -> StoreResult<Option<Changed>> {
        self.act("answer the node", |tables| {
            let key = (change.run.tenant_id.clone(), change.run.run_id);
            match tables.runs.get(&key) {
                Some(current) if current.rev == change.expected_rev => {}
                current => return Ok(Some(Changed::Stale(current.cloned().map(Box::new)))),
            }
            let Some((_, empty @ None)) = tables.waiting.get_mut(&(key.0.clone(), key.1, node_id.clone())) else {
                return Ok(None);
            };
            *empty = Some(answer.clone());
            tables.inputs.entry(key).or_default().push((node_id.clone(), answer.clone()));
            Ok(Some(tables.change(change, self.laxity)))
        })
        .await
    }

    async fn load_answer(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> StoreResult<Option<(String, NodeOutcome)>> {
        self.act("load the answer", |tables| {
            let waiting = tables.waiting.get(&(tenant.clone(), run_id, node_id.clone()));
            Ok(waiting.and_then(|(token, answer)| Some((token.clone(), answer.as_ref()?.outcome.clone()))))
        })
        .await
    }
}
