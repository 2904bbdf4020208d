//! The ledgers in memory.

use sluice_core::change::RunChange;
use sluice_core::governor::access::Grant;
use sluice_core::governor::ledger::change::Earlier;
use sluice_core::governor::ledger::{Ledger, Standing};
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::ports::{ChangeRun, Changed, RecordUsage, RunRef};
use sluice_core::run::Run;
use sluice_testkit::contract::governor::Ground;
use sluice_testkit::contract::sample;
use sluice_testkit::store::MemoryStore;
use std::collections::BTreeMap;
use std::pin::Pin;

struct InMemory(MemoryStore);

impl Ground for InMemory {
    type Store = MemoryStore;

    fn ports(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn open(&self, run: &RunRef, ledger: &Ledger) {
        self.0.open_ledger(run, ledger.clone());
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
    }
}

fn in_memory(rule: impl for<'a> FnOnce(&'a InMemory) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    sluice_testkit::block_on(rule(&InMemory(MemoryStore::default())));
}

sluice_testkit::governor_rules!(in_memory);

/// A run from before there were ledgers: whoever reports of it has read it before it was stopped, and writes after that.
#[test]
fn a_ledger_that_comes_late_stands_as_its_run_does() {
    for (intent, standing) in
        [(StopIntent::CanceledByCaller, Standing::Closed), (StopIntent::BudgetExceeded, Standing::Exhausted)]
    {
        let store = MemoryStore::default();
        let run = Run { state: sample::running(), ..sample::run(&sample::mine(), 1, sample::noon()) };
        let of = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
        store.seed_run(run.clone(), None);
        let stopped = run.after(RunEvent::StopAsked(intent), sample::noon()).expect("a change");
        let opening = Ledger::new(Grant::new(0), BTreeMap::new(), None);
        sluice_testkit::block_on(async {
            let changed = store.change_run(&RunChange::new(&run, stopped)).await.expect("changed");
            assert_eq!(changed, Changed::Done);
            store.take_over(&of, &opening, Earlier::default()).await.expect("taken over");
        });
        assert_eq!(store.governed(&of).expect("a ledger").standing, standing);
    }
}
