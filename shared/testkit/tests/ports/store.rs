//! The table in memory.

use sluice_core::concurrency::QueueRef;
use sluice_core::id::NodeId;
use sluice_core::ports::LoadRun;
use sluice_core::run::Run;
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::contract::store::Ground;
use sluice_testkit::store::{Counter, MemoryStore};
use std::pin::Pin;

struct InMemory(MemoryStore);

impl InMemory {
    /// The node's step in this status, with whatever was shown of it.
    async fn put_step(&self, run: &Run, node: &NodeId, status: StepStatus) {
        let known = self.0.load_step(&run.tenant_id, run.run_id, node).await.expect("an answer");
        let step = Step {
            run_id: run.run_id,
            node_id: node.clone(),
            node_type: "external".to_owned(),
            stage: 0,
            status,
            attempt: 1,
            started_at: None,
            ended_at: None,
            result: None,
            result_bytes: None,
            error: None,
            progress: known.and_then(|step| step.progress),
            iteration: None,
            fan: None,
        };
        self.0.seed_step(&run.tenant_id, step);
    }
}

impl Ground for InMemory {
    type Store = MemoryStore;

    fn ports(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn count(&self, queue: &QueueRef) -> (i64, i64) {
        let counter = self.0.counter(queue);
        (counter.held, counter.queued)
    }

    async fn set_count(&self, queue: &QueueRef, held: u32, queued: u32) {
        self.0.seed_counter(queue, Counter { held: held.into(), queued: queued.into() });
    }

    async fn begin_wait(&self, run: &Run, node: &str, token: &str) {
        let node = node.parse().expect("a node");
        self.0.begin_wait(&run.tenant_id, run.run_id, &node, token);
        self.put_step(run, &node, StepStatus::Waiting).await;
    }

    async fn end_wait(&self, run: &Run, node: &str) {
        let node = node.parse().expect("a node");
        self.0.end_wait(&run.tenant_id, run.run_id, &node);
        self.put_step(run, &node, StepStatus::Succeeded).await;
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
    }
}

fn in_memory(rule: impl for<'a> FnOnce(&'a InMemory) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    sluice_testkit::block_on(rule(&InMemory(MemoryStore::default())));
}

sluice_testkit::store_rules!(in_memory);
