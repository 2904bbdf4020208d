//! What comes from outside, queues, and what goes: reports, usage, places in a queue, purges.

use super::*;

impl RecordReports for MemoryStore {
    async fn record_progress(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        progress: &Progress,
    ) -> StoreResult<bool> {
        self.act("record the progress", |tables| {
            let step = tables.steps.get_mut(&(tenant.clone(), run_id, node_id.clone()));
            match step.filter(|step| matches!(step.status, StepStatus::Running | StepStatus::Waiting)) {
                Some(step) => {
                    step.progress = Some(progress.clone().after(step.progress.as_ref()));
                    tables.writes += 1;
                    Ok(true)
                }
                None => Ok(false),
            }
        })
        .await
    }

    async fn save_report_token(&self, tenant: &TenantId, run_id: RunId, token: &ReportToken) -> StoreResult<bool> {
        self.act("save the report token", |tables| {
            if !tables.keeps(tenant, run_id) {
                return Ok(false);
            }
            tables.writes += 1;
            tables.tokens.insert(((tenant.clone(), run_id), token.hash.clone()), token.clone());
            Ok(true)
        })
        .await
    }

    async fn load_report_token(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        hash: &str,
    ) -> StoreResult<Option<ReportToken>> {
        self.act("load the report token", |tables| {
            Ok(tables.tokens.get(&((tenant.clone(), run_id), hash.to_owned())).cloned())
        })
        .await
    }

    async fn add_comment(&self, tenant: &TenantId, run_id: RunId, comment: &Comment) -> StoreResult<bool> {
        self.act("add the comment", |tables| {
            if !tables.keeps(tenant, run_id) {
                return Ok(false);
            }
            tables.writes += 1;
            tables.comments.entry((tenant.clone(), run_id)).or_default().insert(comment.id.clone(), comment.clone());
            Ok(true)
        })
        .await
    }
}

impl RecordUsage for MemoryStore {
    async fn known_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        call_ids: &BTreeSet<String>,
        node_ids: &BTreeSet<NodeId>,
    ) -> StoreResult<(BTreeSet<String>, BTreeSet<NodeId>)> {
        self.act("look up the calls", |tables| {
            let is_begun = |id: &&NodeId| tables.steps.contains_key(&(tenant.clone(), run_id, (*id).clone()));
            let begun = node_ids.iter().filter(is_begun).cloned().collect();
            let known = tables.usage.get(&(tenant.clone(), run_id));
            let known = known.filter(|_| self.laxity != Some(Laxity::UsageNotIdempotent));
            let records = tables.governed.records.get(&(tenant.clone(), run_id));
            let is_governed = |id: &str| Some(records?.contains_key(&id.parse().ok()?)).filter(|it| *it);
            let is_known =
                |id: &&String| known.is_some_and(|known| known.contains_key(*id)) || is_governed(id).is_some();
            Ok((call_ids.iter().filter(is_known).cloned().collect(), begun))
        })
        .await
    }

    async fn record_usage(&self, change: &UsageChange) -> StoreResult<bool> {
        self.act("record the usage", |tables| {
            let key = (change.tenant_id.clone(), change.run_id);
            if !tables.keeps(&key.0, key.1) {
                return Ok(false);
            }
            let rev = tables.ledgers.get(&key).map_or(0, |ledger| ledger.rev);
            let known = tables.usage.entry(key.clone()).or_default();
            let is_lax = self.laxity == Some(Laxity::UsageNotIdempotent);
            if rev + 1 != change.ledger.rev
                || (!is_lax && change.calls.iter().any(|call| known.contains_key(&call.call_id)))
            {
                return Ok(false);
            }
            if let Some(stop) = &change.stop
                && tables.change(stop, self.laxity) != Changed::Done
            {
                return Ok(false);
            }
            tables.writes += 1;
            let known = tables.usage.entry(key.clone()).or_default();
            known.extend(change.calls.iter().map(|call| (call.call_id.clone(), call.clone())));
            tables.ledgers.insert(key, change.ledger.clone());
            Ok(true)
        })
        .await
    }
}

impl ReadQueue for MemoryStore {
    async fn queued_runs(&self, queue: &QueueRef, limit: u32) -> StoreResult<Vec<RunId>> {
        // As the open index: a fault of this name lets it lag.
        let lags = self.faults.next("keep the queue index up to date").is_some();
        self.act("list queued runs", |tables| {
            let runs = if lags { &tables.indexed } else { &tables.runs };
            Ok(waiting(runs, queue).into_iter().take(limit as usize).map(|(_, run_id)| run_id).collect())
        })
        .await
    }

    async fn queue_position(&self, run: &Run) -> StoreResult<Option<u32>> {
        self.act("find the place in the queue", |tables| {
            let Some(scope) = run.state.queue() else { return Ok(None) };
            let place =
                waiting(&tables.runs, &run.queue(scope)).into_iter().position(|(_, run_id)| run_id == run.run_id);
            Ok(place.map(|place| place as u32 + 1))
        })
        .await
    }
}

impl PurgeRuns for MemoryStore {
    async fn owed_until(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Timestamp>> {
        self.act("look for open deliveries", |tables| {
            let first = DeliveryRef { tenant_id: tenant.clone(), run_id, number: 0 };
            let of_run = tables.deliveries.range(first..).map(|(_, delivery)| delivery);
            let of_run = of_run.take_while(|delivery| delivery.tenant_id == *tenant && delivery.run_id == run_id);
            let owed = of_run.filter(|delivery| !delivery.status.has_ended());
            Ok(owed.map(|delivery| delivery.next_attempt_at.unwrap_or(delivery.created_at)).max())
        })
        .await
    }

    async fn purge_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<()> {
        let key = (tenant.clone(), run_id);
        // Two effects, as there are many in the table: whoever dies in between leaves the head.
        let children = key.clone();
        self.act("purge the run's items", |tables| {
            tables.writes += 1;
            let is_of_run = |owner: &TenantId, run: RunId| *owner == children.0 && run == children.1;
            tables.snapshots.remove(&children);
            tables.endings.remove(&children);
            tables.requests.remove(&children);
            tables.outputs.remove(&children);
            tables.ledgers.remove(&children);
            tables.governed.ledgers.remove(&children);
            tables.governed.records.remove(&children);
            tables.usage.remove(&children);
            tables.inputs.remove(&children);
            tables.comments.remove(&children);
            tables.boards.purge(&children);
            tables.tokens.retain(|((owner, run), _), _| !is_of_run(owner, *run));
            tables.steps.retain(|(owner, run, _), _| !is_of_run(owner, *run));
            tables.waiting.retain(|(owner, run, _), _| !is_of_run(owner, *run));
            tables.deliveries.retain(|delivery, _| !is_of_run(&delivery.tenant_id, delivery.run_id));
            tables.attempts.retain(|delivery, _| !is_of_run(&delivery.tenant_id, delivery.run_id));
            Ok(())
        })
        .await?;
        self.act("purge the run's head", |tables| {
            tables.writes += 1;
            tables.runs.remove(&key);
            Ok(())
        })
        .await
    }
}

/// Who waits in a queue, the longest waiting first.
fn waiting(runs: &BTreeMap<RunKey, Run>, queue: &QueueRef) -> Vec<(Timestamp, RunId)> {
    let waits = |run: &&Run| run.state.queue().is_some_and(|scope| run.queue(scope) == *queue);
    let mut waiting: Vec<_> = runs.values().filter(waits).map(|run| (run.spec.created_at, run.run_id)).collect();
    waiting.sort_unstable();
    waiting
}
