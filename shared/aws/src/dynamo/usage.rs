//! Recording LLM calls: each once, and counted once, by the receipt of its report.

use super::change::ChangeWrites;
use super::governor::{Beside, Closing, Expression, Tries, Updated, ledger_of};
use super::operation::ReturnValue;
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use jiff::Timestamp;
use keys::Key;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::change::RunChange;
use sluice_core::governor::ledger::change::{CountReport, Earlier};
use sluice_core::governor::ledger::{Ledger, Standing};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{
    Changed, KnownCalls, ReadLedgers, RecordUsage, ReportAtOnce, ReportBegun, ReportCounted, ReportReceipt, RunRef,
    StoreError, StoreErrorClass, StoreResult,
};
use sluice_core::usage::LlmCall;
use std::collections::{BTreeMap, BTreeSet};

impl RecordUsage for Store {
    async fn known_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        call_ids: &BTreeSet<String>,
        node_ids: &BTreeSet<NodeId>,
    ) -> StoreResult<(KnownCalls, BTreeSet<NodeId>)> {
        let record = |id: &String| Some(keys::call_record(tenant, run_id, id.parse().ok()?));
        let places = |id: &String| [Some(keys::usage_call(tenant, run_id, id)), record(id)].into_iter().flatten();
        let calls: BTreeMap<Key, &String> =
            call_ids.iter().flat_map(|id| places(id).map(move |key| (key, id))).collect();
        let nodes: BTreeMap<Key, &NodeId> = node_ids.iter().map(|id| (keys::step(tenant, run_id, id), id)).collect();
        let wanted: Vec<Key> = calls.keys().chain(nodes.keys()).cloned().collect();
        // Their keys say all there is to know: a step's result may be large.
        let found = self.get_all("find known calls", &wanted, &[keys::PK, keys::SK, item::REPORT]).await?;
        let mut known = BTreeMap::new();
        for (key, found) in found.iter().filter_map(|found| Some((Key::of(found)?, found))) {
            let Some(id) = calls.get(&key) else { continue };
            let report = item::to_report(found).map_err(|error| corrupt("find known calls", error))?;
            known.insert((*id).clone(), report);
        }
        let found: Vec<Key> = found.iter().filter_map(Key::of).collect();
        let begun = found.iter().filter_map(|key| nodes.get(key).copied().cloned()).collect();
        Ok((known, begun))
    }

    async fn report_at_once(&self, run: &RunRef, report: ReportAtOnce<'_>, now: Timestamp) -> StoreResult<bool> {
        const OPERATION: &str = "report at once";
        let ReportAtOnce { calls, total, stop } = report;
        let report_id = CallId::new(now, uuid::Uuid::new_v4().as_u128());
        let counted = Expression::count_at_once(run, report_id, &total, stop.map(closing));
        let mut writes = vec![Write::of_ledger(run, counted)];
        writes.extend(new_calls(OPERATION, run, report_id, calls)?);
        if let Some(stop) = stop {
            let stop = RunChange { closes: None, ..stop.clone() };
            ChangeWrites::of(&mut writes, &stop).map_err(|error| corrupt(OPERATION, error))?;
        }
        Ok(matches!(self.transact_once(OPERATION, writes).await?, Transacted::Written))
    }

    async fn begin_report(&self, run: &RunRef, cost: NanoUsd, now: Timestamp) -> StoreResult<Option<ReportBegun>> {
        const OPERATION: &str = "begin a report";
        let report_id = CallId::new(now, uuid::Uuid::new_v4().as_u128());
        let expression = Expression::begin_report(run, report_id, cost);
        // One whose answer was lost may be written later still: it is never sent again.
        match self.update_ledger(OPERATION, run, expression, ReturnValue::AllNew, Tries::Once).await? {
            Updated::Done(after) => {
                let ledger = ledger_of(OPERATION, after)?;
                Ok(ledger.map(|ledger| ReportBegun { report_id, ledger }))
            }
            Updated::Denied(_) => Ok(None),
        }
    }

    async fn record_calls(
        &self,
        run: &RunRef,
        report_id: CallId,
        calls: &[LlmCall],
        now: Timestamp,
    ) -> StoreResult<bool> {
        const OPERATION: &str = "record calls";
        let RunRef { tenant_id, run_id } = run;
        let cost = NanoUsd(calls.iter().fold(0, |sum: u64, call| sum.saturating_add(call.cost_nano_usd.0)));
        let receipt = ReportReceipt { calls: calls.len() as u64, cost };
        let mut writes = vec![Write::put_new(item::from_receipt(tenant_id, *run_id, report_id, &receipt, now))];
        writes.extend(new_calls(OPERATION, run, report_id, calls)?);
        Ok(matches!(self.transact(OPERATION, writes).await?, Transacted::Written))
    }

    async fn give_up_report(
        &self,
        run: &RunRef,
        report_id: CallId,
        now: Timestamp,
    ) -> StoreResult<Option<ReportReceipt>> {
        const OPERATION: &str = "give a report up";
        let receipt = ReportReceipt::default();
        let given_up = item::from_receipt(&run.tenant_id, run.run_id, report_id, &receipt, now);
        match self.put_beside_ledger(OPERATION, run, given_up).await? {
            Beside::Put => Ok(Some(receipt)),
            Beside::Standing(standing) => {
                item::to_receipt(&standing).map(Some).map_err(|error| corrupt(OPERATION, error))
            }
            Beside::NoLedger => Ok(None),
        }
    }

    async fn count_report(
        &self,
        run: &RunRef,
        count: &CountReport,
        stop: Option<&RunChange>,
    ) -> StoreResult<ReportCounted> {
        const OPERATION: &str = "count a report";
        if let Some(stop) = stop {
            return self.count_with_stop(run, count, stop).await;
        }
        let expression = Expression::count_report(run, count, None);
        match self.update_ledger(OPERATION, run, expression, ReturnValue::AllNew, Tries::AsUsual).await? {
            Updated::Done(after) => done(ledger_of(OPERATION, after)?),
            Updated::Denied(before) => {
                let ledger = ledger_of(OPERATION, before)?;
                let is_held = |ledger: &Ledger| ledger.reports.get(&count.report_id) == Some(&count.held);
                Ok(match ledger {
                    Some(ledger) if is_held(&ledger) => ReportCounted::Above,
                    ledger => ReportCounted::NotUnderWay(ledger.map(Box::new)),
                })
            }
        }
    }

    async fn take_over(&self, run: &RunRef, opening: &Ledger, earlier: Earlier) -> StoreResult<()> {
        const OPERATION: &str = "take over what was reported before";
        let opening = Write::keep(item::from_governed(&run.tenant_id, run.run_id, opening));
        let kept = Write::if_kept(&run.tenant_id, run.run_id);
        if let Transacted::Refused(_) = self.transact(OPERATION, vec![kept, opening]).await? {
            return Ok(()); // the run is gone, or going
        }
        let expression = Expression::take_over(&earlier);
        self.update_ledger(OPERATION, run, expression, ReturnValue::None, Tries::AsUsual).await.map(|_| ())
    }
}

fn done(ledger: Option<Ledger>) -> StoreResult<ReportCounted> {
    let ledger = ledger.ok_or_else(|| corrupt("count a report", "the ledger was not shown"))?;
    Ok(ReportCounted::Done(Box::new(ledger)))
}

/// Records of calls that have none.
fn new_calls(operation: &'static str, run: &RunRef, report_id: CallId, calls: &[LlmCall]) -> StoreResult<Vec<Write>> {
    let item = |call| item::from_usage(&run.tenant_id, run.run_id, call, Some(report_id));
    let write = |call| item(call).map(Write::put_new).map_err(|error| corrupt(operation, error));
    calls.iter().map(write).collect()
}

/// How a stop closes the ledger.
fn closing(stop: &RunChange) -> Closing {
    Closing { standing: stop.closes.unwrap_or(Standing::Exhausted), now: stop.run.updated_at }
}

impl Store {
    /// The ledger and the stop of its run, all or nothing.
    async fn count_with_stop(&self, run: &RunRef, count: &CountReport, stop: &RunChange) -> StoreResult<ReportCounted> {
        const OPERATION: &str = "count a report and stop its run";
        // The ledger is written once: closed by the write that counts.
        let mut writes = vec![Write::of_ledger(run, Expression::count_report(run, count, Some(closing(stop))))];
        let stop = RunChange { closes: None, ..stop.clone() };
        let placed = ChangeWrites::of(&mut writes, &stop).map_err(|error| corrupt(OPERATION, error))?;
        let mut refusals = match self.transact(OPERATION, writes).await? {
            Transacted::Written => return done(self.load_ledger(run).await?),
            Transacted::Refused(refusals) => refusals,
        };
        if let Some(found) = refusals.at(0) {
            return Ok(ReportCounted::NotUnderWay(ledger_of(OPERATION, found)?.map(Box::new)));
        }
        match placed.refused(&mut refusals).map_err(|error| corrupt(OPERATION, error))? {
            Some(Changed::Stale(_)) => Ok(ReportCounted::Stale),
            // A stop takes no slot; or its run was as expected, and yet something of it is there already.
            Some(Changed::Done | Changed::Full(_)) | None => {
                Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None })
            }
        }
    }
}
