//! Joins what the upstream nodes found into one report, under their node ids.

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};
use sluice_sample::task::{Error, Task};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    run(service_fn(|event: LambdaEvent<Task>| async move { join(&event.payload) })).await
}

fn join(task: &Task) -> Result<Value, Error> {
    if task.inputs.is_empty() {
        return Err(Error::Incomplete("anything to report on".to_owned()));
    }
    let title = task.input["title"].as_str().unwrap_or("A text");
    Ok(task.result(Map::from_iter([
        ("title".to_owned(), json!(title)),
        ("runId".to_owned(), json!(task.run_id)),
        ("findings".to_owned(), Value::Object(task.inputs.clone())),
    ])))
}
