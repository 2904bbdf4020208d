//! What the rules ask of a table beside its ports.

use super::table::Table;
use crate::runner;
use sluice_aws::dynamo::item::{Counter, counted, n, s, to_counter};
use sluice_aws::dynamo::keys::Key;
use sluice_aws::dynamo::{Store, keys};
use sluice_core::concurrency::QueueRef;
use sluice_core::run::Run;
use sluice_testkit::contract::store::Ground;
use sluice_testkit::contract::store::answers::LATER;

fn step_of(run: &Run, node: &str) -> Key {
    keys::step(&run.tenant_id, run.run_id, &node.parse().expect("a node"))
}

/// What the runner writes when a node begins, or begins anew.
pub async fn begin(table: &Table, run: &Run, node: &str) {
    let given = [
        (":runId", s(run.run_id.to_string())),
        (":tenantId", s(run.tenant_id.to_string())),
        (":nodeId", s(node)),
        (":nodeType", s("external")),
        (":stage", n(0)),
        (":now", s(LATER)),
    ];
    assert!(runner::write(table, "RecordStart", step_of(run, node), &given).await);
}

impl Ground for Table {
    type Store = Store;

    fn ports(&self) -> Store {
        self.store.clone()
    }

    async fn count(&self, queue: &QueueRef) -> (i64, i64) {
        let counter = self.item(keys::slots(queue)).await.map(|item| to_counter(&item).expect("a counter"));
        let counter = counter.unwrap_or_default();
        (counter.held, counter.queued)
    }

    async fn set_count(&self, queue: &QueueRef, held: u32, queued: u32) {
        let mut counter = keys::slots(queue).into_item();
        let (_, values) = counted(queue, Counter::default());
        counter.extend(values.into_iter().map(|(name, value)| (name.trim_start_matches(':').to_owned().into(), value)));
        counter.extend([("held".into(), n(held)), ("queued".into(), n(queued))]);
        self.put(counter).await;
    }

    async fn begin_wait(&self, run: &Run, node: &str, token: &str) {
        if self.item(step_of(run, node)).await.is_none() {
            begin(self, run, node).await;
        }
        let given = [(":token", s(token)), (":attempt", n(1)), (":now", s(LATER))];
        assert!(runner::write(self, "AwaitAnswer", step_of(run, node), &given).await);
    }

    async fn end_wait(&self, run: &Run, node: &str) {
        let (attempt, now) = ((":attempt", n(1)), (":now", s(LATER)));
        let is_answered = self.item(step_of(run, node)).await.is_some_and(|step| step.contains_key("answer"));
        let ended = if is_answered {
            runner::write(self, "RecordAnswer", step_of(run, node), &[attempt, now]).await
        } else {
            let failure = [(":error", s("States.Timeout")), (":cause", s("")), attempt, now];
            runner::write(self, "RecordFailure", step_of(run, node), &failure).await
        };
        assert!(ended);
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
    }
}
