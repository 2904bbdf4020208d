//! DynamoDB as the stack has it, each rule over a table of its own.

use serde_json::{Map, Value, json};
use sluice_aws::Aws;
use sluice_aws::dynamo::keys::Key;
use sluice_aws::dynamo::{Store, keys};
use sluice_core::concurrency::QueueRef;
use sluice_core::id::NodeId;
use sluice_core::run::Run;
use sluice_testkit::contract::store::Ground;
use sluice_testkit::contract::store::answers::LATER;
use std::pin::Pin;
use std::time::Duration;

use super::{aws, block_on, settings, table};

struct OnTheStack {
    store: Store,
    table: String,
}

impl OnTheStack {
    fn item(&self, key: &Key) -> Value {
        let params = json!({"TableName": self.table, "Key": key_of(key), "ConsistentRead": true});
        aws("dynamodb", "get_item", params)["Item"].clone()
    }

    /// Does what a state of the runner does, with `given` for the values that it computes.
    fn write(&self, state: &str, key: &Key, given: &[(&str, Value)]) {
        let runner = sluice_tests::json("infra/state-machines/runner.asl.json");
        let mut arguments = arguments(&runner, state).unwrap_or_else(|| panic!("the runner has no state {state}"));
        for (name, value) in given {
            arguments["ExpressionAttributeValues"][*name] = value.clone();
        }
        arguments["TableName"] = json!(self.table);
        arguments["Key"] = key_of(key);
        let known = arguments["ExpressionAttributeValues"].to_string();
        assert!(!known.contains("{%"), "{state} computes more: {known}");
        aws("dynamodb", "update_item", arguments);
    }
}

fn key_of(key: &Key) -> Value {
    json!({"pk": {"S": key.pk}, "sk": {"S": key.sk}})
}

fn arguments(machine: &Value, state: &str) -> Option<Value> {
    let fields: &Map<String, Value> = machine.as_object()?;
    let here = fields.get("States").and_then(|states| states.get(state)).and_then(|found| found.get("Arguments"));
    here.cloned().or_else(|| fields.values().find_map(|field| arguments(field, state)))
}

fn step_of(run: &Run, node: &str) -> Key {
    let node: NodeId = node.parse().expect("a node");
    keys::step(&run.tenant_id, run.run_id, &node)
}

impl Ground for OnTheStack {
    type Store = Store;

    fn ports(&self) -> Store {
        self.store.clone()
    }

    async fn count(&self, queue: &QueueRef) -> (i64, i64) {
        let item = self.item(&keys::slots(queue));
        let number = |name: &str| item[name]["N"].as_str().map_or(0, |number| number.parse().expect("a number"));
        (number("held"), number("queued"))
    }

    async fn set_count(&self, queue: &QueueRef, held: u32, queued: u32) {
        let mut counter = key_of(&keys::slots(queue));
        let texts = [("kind", "slots".to_owned()), ("tenantId", queue.tenant_id.to_string())];
        let of_definition = queue.definition_id.map(|id| ("definitionId", id.to_string()));
        for (name, text) in texts.into_iter().chain(of_definition) {
            counter[name] = json!({"S": text});
        }
        for (name, number) in [("v", 1), ("held", held), ("queued", queued)] {
            counter[name] = json!({"N": number.to_string()});
        }
        aws("dynamodb", "put_item", json!({"TableName": self.table, "Item": counter}));
    }

    async fn begin_wait(&self, run: &Run, node: &str, token: &str) {
        let key = step_of(run, node);
        if self.item(&key).is_null() {
            let started = [
                (":runId", json!({"S": run.run_id})),
                (":tenantId", json!({"S": run.tenant_id})),
                (":nodeId", json!({"S": node})),
                (":nodeType", json!({"S": "external"})),
                (":stage", json!({"N": "0"})),
                (":now", json!({"S": LATER})),
            ];
            self.write("RecordStart", &key, &started);
        }
        let waits = [(":token", json!({"S": token})), (":attempt", json!({"N": "1"})), (":now", json!({"S": LATER}))];
        self.write("AwaitAnswer", &key, &waits);
    }

    async fn end_wait(&self, run: &Run, node: &str) {
        let (attempt, now) = ((":attempt", json!({"N": "1"})), (":now", json!({"S": LATER})));
        let step = step_of(run, node);
        if self.item(&step)["answer"].is_null() {
            let (error, cause) = ((":error", json!({"S": "States.Timeout"})), (":cause", json!({"S": ""})));
            self.write("RecordFailure", &step, &[error, cause, attempt, now]);
        } else {
            self.write("RecordAnswer", &step, &[attempt, now]);
        }
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn on_the_stack(rule: impl for<'a> FnOnce(&'a OnTheStack) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    let table = table(&uuid::Uuid::new_v4().to_string());
    block_on(async {
        let store = Aws::connect(&settings(&table)).await.store;
        rule(&OnTheStack { store, table: table.clone() }).await;
    });
    aws("dynamodb", "delete_table", json!({"TableName": table}));
}

sluice_testkit::store_rules!(on_the_stack);
