//! The boards in memory.

use sluice_testkit::contract::boards::Ground;
use sluice_testkit::store::MemoryStore;
use std::pin::Pin;

struct InMemory(MemoryStore);

impl Ground for InMemory {
    type Store = MemoryStore;

    fn ports(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
    }
}

fn in_memory(rule: impl for<'a> FnOnce(&'a InMemory) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    sluice_testkit::block_on(rule(&InMemory(MemoryStore::default())));
}

sluice_testkit::board_rules!(in_memory);
