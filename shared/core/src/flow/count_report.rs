//! Count a report, and stop the run that it takes above its cap.
//!
//! **Invariant:** a report is counted once: in the write that records its calls, or by the receipt that stands, whoever does it.

use crate::call_id::CallId;
use crate::change::RunChange;
use crate::flow::TRIES;
use crate::flow::cancel_run::stop;
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::{CountReport, ReportTotal};
use crate::lifecycle::{RunEvent, StopIntent};
use crate::ports::{
    RecordUsage, ReportAtOnce, ReportCounted, ReportReceipt, RunRef, StopExecution, StoreError, StoreErrorClass,
    StoreResult,
};
use crate::run::Run;
use crate::usage::LlmCall;
use jiff::Timestamp;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    /// `None` for a run that is gone, and of a report in one write.
    pub ledger: Option<Ledger>,
    /// The run, where this has stopped it.
    pub stopped: Option<Run>,
}

/// Records calls and counts them in one write, with the stop of the run that they take above its cap. `None` where something was
/// in the way, and nothing was written.
pub(super) async fn report_at_once<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    run: &Run,
    ledger: &Ledger,
    calls: &[LlmCall],
    total: ReportTotal,
    now: Timestamp,
) -> StoreResult<Option<Counted>> {
    let reference = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
    let change = if ledger.is_stopped_by(&total) { stop_of(run, now) } else { None };
    match store.report_at_once(&reference, ReportAtOnce { calls, total, stop: change.as_ref() }, now).await {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) if error.is_conflict() => return Ok(None),
        Err(error) => return Err(error),
    }
    let stopped = change.map(|change| change.run);
    if let Some(run) = &stopped {
        stop(engine, run).await;
    }
    Ok(Some(Counted { ledger: None, stopped }))
}

/// Counts a report of which nobody knows how far it came: by its receipt, or as given up. `ledger` is one on which it is held.
pub(super) async fn finish_report<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    run: &RunRef,
    ledger: &Ledger,
    report_id: CallId,
    now: Timestamp,
) -> StoreResult<Counted> {
    let Some(receipt) = store.give_up_report(run, report_id, now).await? else { return Ok(Counted::default()) };
    count_report(store, engine, run, ledger, report_id, receipt, now).await
}

/// Counts a report by its receipt. `ledger` is one on which it is held.
pub(super) async fn count_report<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    run: &RunRef,
    ledger: &Ledger,
    report_id: CallId,
    receipt: ReportReceipt,
    now: Timestamp,
) -> StoreResult<Counted> {
    let Some(held) = ledger.reports.get(&report_id).copied() else { return Ok(Counted::default()) };
    let ReportReceipt { calls, cost } = receipt;
    let count = CountReport { report_id, held, total: ReportTotal { cost, calls, cap: ledger.cap } };
    let mut change: Option<RunChange> = None;
    for _ in 0..TRIES {
        match store.count_report(run, &count, change.as_ref()).await {
            Ok(ReportCounted::Done(ledger)) => {
                let stopped = change.map(|change| change.run);
                if let Some(run) = &stopped {
                    stop(engine, run).await;
                }
                return Ok(Counted { ledger: Some(*ledger), stopped });
            }
            Ok(ReportCounted::NotUnderWay(ledger)) => {
                return Ok(Counted { ledger: ledger.map(|ledger| *ledger), stopped: None });
            }
            Ok(ReportCounted::Above | ReportCounted::Stale) => {
                let found = store.load_run(&run.tenant_id, run.run_id).await?;
                // One that is being stopped or has ended has closed its ledger: then it is counted without a stop.
                change = found.and_then(|found| stop_of(&found, now));
            }
            // Nothing was written.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError { operation: "count a report", class: StoreErrorClass::Conflict, source: None })
}

/// The stop of a run that has spent more than it may; `None` where it is being stopped, or has ended.
pub(super) fn stop_of(run: &Run, now: Timestamp) -> Option<RunChange> {
    let after = run.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), now)?;
    Some(RunChange::new(run, after))
}
