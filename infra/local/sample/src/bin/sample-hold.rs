//! Does nothing for a while: something to cancel, to pause, or to watch. Parameters: `seconds`; `failWith`, an error code to
//! fail with when the time is over; `succeedOnAttempt`, the attempt from which on it does not fail any more.

use std::time::Duration;

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};
use sluice_sample::task::{Error, Task};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    run(service_fn(|event: LambdaEvent<Task>| hold(event.payload))).await
}

async fn hold(task: Task) -> Result<Value, Error> {
    let seconds = task.whole_param("seconds").unwrap_or(1);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let fails = task.params.get("failWith").and_then(Value::as_str).filter(|code| !code.is_empty());
    let recovered =
        task.whole_param("succeedOnAttempt").is_some_and(|attempt| attempt > 0 && u64::from(task.attempt) >= attempt);
    if let Some(code) = fails
        && !recovered
    {
        return Err(Error::Told(code.to_owned()));
    }
    Ok(task.result(Map::from_iter([
        ("heldSeconds".to_owned(), json!(seconds)),
        ("attempt".to_owned(), json!(task.attempt)),
        ("inputs".to_owned(), Value::Object(task.inputs.clone())),
    ])))
}
