//! Count a report whose calls are recorded, and stop the run that it takes above its cap.
//!
//! **Invariant:** a report is counted by the receipt that stands, once, whoever does it.

use crate::call_id::CallId;
use crate::change::RunChange;
use crate::flow::TRIES;
use crate::flow::cancel_run::stop;
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::CountReport;
use crate::lifecycle::{RunEvent, StopIntent};
use crate::ports::{
    RecordUsage, ReportCounted, ReportReceipt, RunRef, StopExecution, StoreError, StoreErrorClass, StoreResult,
};
use crate::run::Run;
use jiff::Timestamp;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    /// `None` for a run that is gone.
    pub ledger: Option<Ledger>,
    /// The run, where this has stopped it.
    pub stopped: Option<Run>,
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
    let count = CountReport { report_id, held, cost, calls, cap: ledger.cap };
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
                let stops = |found: &Run| found.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), now);
                change = found.and_then(|found| stops(&found).map(|after| RunChange::new(&found, after)));
            }
            // Nothing was written.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError { operation: "count a report", class: StoreErrorClass::Conflict, source: None })
}
