//! The ledgers in memory.

use sluice_core::governor::ledger::Ledger;
use sluice_core::ports::RunRef;
use sluice_testkit::contract::governor::Ground;
use sluice_testkit::store::MemoryStore;
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
