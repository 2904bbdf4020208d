//! What comes from outside, queues, and what goes: reports, usage, places in a queue, purges.

use super::*;
use sluice_core::budget::NanoUsd;
use sluice_core::change::standing;
use sluice_core::governor::ledger::change::{CountReport, Uncounted};
use sluice_core::ports::{KnownCalls, ReportAtOnce, ReportBegun, ReportCounted};

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
    ) -> StoreResult<(KnownCalls, BTreeSet<NodeId>)> {
        self.act("look up the calls", |tables| {
            let is_begun = |id: &&NodeId| tables.steps.contains_key(&(tenant.clone(), run_id, (*id).clone()));
            let begun = node_ids.iter().filter(is_begun).cloned().collect();
            let known = tables.usage.get(&(tenant.clone(), run_id));
            let known = known.filter(|_| self.laxity != Some(Laxity::UsageNotIdempotent));
            let records = tables.governed.records.get(&(tenant.clone(), run_id));
            let is_governed = |id: &str| id.parse().is_ok_and(|id| records.is_some_and(|of| of.contains_key(&id)));
            let find = |id: &String| {
                let reported = known.and_then(|known| known.get(id)).map(|recorded| recorded.report);
                reported.or_else(|| is_governed(id).then_some(None)).map(|report| (id.clone(), report))
            };
            Ok((call_ids.iter().filter_map(find).collect(), begun))
        })
        .await
    }

    async fn report_at_once(&self, run: &RunRef, report: ReportAtOnce<'_>, now: Timestamp) -> StoreResult<bool> {
        let ReportAtOnce { calls, total, stop } = report;
        self.act("report at once", |tables| {
            let key = (run.tenant_id.clone(), run.run_id);
            let known = tables.usage.get(&key);
            let is_known = |call: &LlmCall| known.is_some_and(|known| known.contains_key(&call.call_id));
            let is_lax = self.laxity == Some(Laxity::UsageNotIdempotent);
            if !is_lax && calls.iter().any(is_known) {
                return Ok(false);
            }
            tables.governed.changes += 1;
            let report_id = CallId::new(now, u128::from(tables.governed.changes));
            let Some(ledger) = tables.governed.ledgers.get(&key) else { return Ok(false) };
            let stopped_at = stop.map(|stop| stop.run.updated_at);
            let Some(next) = ledger.count_at_once(report_id, &total, stopped_at) else { return Ok(false) };
            if let Some(stop) = stop
                && tables.change(stop, self.laxity) != Changed::Done
            {
                return Ok(false);
            }
            tables.writes += 1;
            let recorded =
                |call: &LlmCall| (call.call_id.clone(), RecordedCall { call: call.clone(), report: Some(report_id) });
            tables.usage.entry(key.clone()).or_default().extend(calls.iter().map(recorded));
            tables.governed.ledgers.insert(key, next);
            Ok(true)
        })
        .await
    }

    async fn begin_report(&self, run: &RunRef, cost: NanoUsd, now: Timestamp) -> StoreResult<Option<ReportBegun>> {
        self.act("begin a report", |tables| {
            // Its own: another one for each.
            tables.governed.changes += 1;
            let report_id = CallId::new(now, u128::from(tables.governed.changes));
            let key = (run.tenant_id.clone(), run.run_id);
            let Some(ledger) = tables.governed.ledgers.get_mut(&key) else { return Ok(None) };
            *ledger = ledger.begin_report(report_id, cost);
            Ok(Some(ReportBegun { report_id, ledger: ledger.clone() }))
        })
        .await
    }

    async fn record_calls(
        &self,
        run: &RunRef,
        report_id: CallId,
        calls: &[LlmCall],
        _now: Timestamp,
    ) -> StoreResult<bool> {
        self.act("record the calls", |tables| {
            let key = (run.tenant_id.clone(), run.run_id);
            let known = tables.usage.entry(key.clone()).or_default();
            let receipts = tables.governed.receipts.entry(key).or_default();
            let is_lax = self.laxity == Some(Laxity::UsageNotIdempotent);
            let is_known = |call: &LlmCall| known.contains_key(&call.call_id);
            if receipts.contains_key(&report_id) || (!is_lax && calls.iter().any(is_known)) {
                return Ok(false);
            }
            let cost = NanoUsd(calls.iter().map(|call| call.cost_nano_usd.0).sum());
            receipts.insert(report_id, ReportReceipt { calls: calls.len() as u64, cost });
            let recorded = |call: &LlmCall| RecordedCall { call: call.clone(), report: Some(report_id) };
            known.extend(calls.iter().map(|call| (call.call_id.clone(), recorded(call))));
            tables.governed.changes += 1;
            tables.writes += 1;
            Ok(true)
        })
        .await
    }

    async fn give_up_report(
        &self,
        run: &RunRef,
        report_id: CallId,
        _now: Timestamp,
    ) -> StoreResult<Option<ReportReceipt>> {
        self.act("give a report up", |tables| {
            let key = (run.tenant_id.clone(), run.run_id);
            if !tables.governed.ledgers.contains_key(&key) {
                return Ok(None);
            }
            tables.governed.changes += 1;
            let receipts = tables.governed.receipts.entry(key).or_default();
            if self.laxity == Some(Laxity::ReceiptReplaced) {
                receipts.remove(&report_id);
            }
            Ok(Some(*receipts.entry(report_id).or_default()))
        })
        .await
    }

    async fn count_report(
        &self,
        run: &RunRef,
        count: &CountReport,
        stop: Option<&RunChange>,
    ) -> StoreResult<ReportCounted> {
        self.act("count a report", |tables| {
            let key = (run.tenant_id.clone(), run.run_id);
            let Some(mut ledger) = tables.governed.ledgers.get(&key).cloned() else {
                return Ok(ReportCounted::NotUnderWay(None));
            };
            if self.laxity == Some(Laxity::ReportCountedTwice) {
                ledger.reports.insert(count.report_id, count.held);
            }
            let next = match ledger.count_report(count, stop.map(|stop| stop.run.updated_at)) {
                Ok(next) => next,
                Err(Uncounted::Above) => return Ok(ReportCounted::Above),
                Err(Uncounted::NotUnderWay) => return Ok(ReportCounted::NotUnderWay(Some(Box::new(ledger)))),
            };
            if let Some(stop) = stop
                && tables.change(stop, self.laxity) != Changed::Done
            {
                return Ok(ReportCounted::Stale);
            }
            tables.governed.changes += 1;
            tables.writes += 1;
            tables.governed.ledgers.insert(key, next.clone());
            Ok(ReportCounted::Done(Box::new(next)))
        })
        .await
    }

    async fn take_over(&self, run: &RunRef, opening: &Ledger, earlier: Earlier) -> StoreResult<()> {
        self.act("take over what was reported before", |tables| {
            let key = (run.tenant_id.clone(), run.run_id);
            let Some(run) = tables.runs.get(&key) else { return Ok(()) };
            // Whoever stopped or ended a run without a ledger has left a mark that it is closed.
            let closed = standing(run).map(|standing| opening.close(standing, run.updated_at));
            let opening = closed.unwrap_or_else(|| opening.clone());
            let ledger = tables.governed.ledgers.entry(key).or_insert(opening);
            if let Some(next) = ledger.take_over(&earlier) {
                *ledger = next;
                tables.governed.changes += 1;
                tables.writes += 1;
            }
            Ok(())
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
            let owed = owed.map(|delivery| delivery.next_attempt_at.unwrap_or(delivery.created_at)).max();
            let ledger = tables.governed.ledgers.get(&(tenant.clone(), run_id));
            Ok(owed.max(ledger.and_then(Ledger::held_until)))
        })
        .await
    }

    async fn purge_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<()> {
        let key = (tenant.clone(), run_id);
        // Three effects, as there are many in the table: whoever dies in between leaves the head.
        let children = key.clone();
        self.act("purge the run's ledger", |tables| {
            if tables.governed.ledgers.get(&key).is_some_and(|ledger| !ledger.is_idle()) {
                let message = "something is held on its ledger";
                return Err(StoreError::new("purge the run's ledger", StoreErrorClass::Conflict, message));
            }
            tables.writes += u64::from(tables.governed.ledgers.remove(&key).is_some());
            Ok(())
        })
        .await?;
        self.act("purge the run's items", |tables| {
            tables.writes += 1;
            let is_of_run = |owner: &TenantId, run: RunId| *owner == children.0 && run == children.1;
            tables.snapshots.remove(&children);
            tables.endings.remove(&children);
            tables.requests.remove(&children);
            tables.outputs.remove(&children);
            tables.earlier.remove(&children);
            tables.governed.records.remove(&children);
            tables.governed.receipts.remove(&children);
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
