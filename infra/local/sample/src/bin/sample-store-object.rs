//! Writes the results of the upstream nodes as one JSON object into the compute node's `uploadBucket`, under
//! `<folder>/<run id>.json`. Writing it again, after a retry, gives the same object.

use bytes::Bytes;
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};
use sluice_sample::s3::S3;
use sluice_sample::task::{Error, Task};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let s3 = S3::from_environment()?;
    run(service_fn(|event: LambdaEvent<Task>| store(&s3, event.payload))).await
}

async fn store(s3: &S3, task: Task) -> Result<Value, Error> {
    let bucket = task.data_target["uploadBucket"]
        .as_str()
        .ok_or_else(|| Error::Incomplete("uploadBucket in its data target".to_owned()))?;
    let folder = task.data_target["folder"].as_str().unwrap_or("results");
    let key = format!("{}/{}.json", folder.trim_matches('/'), task.run_id);
    // One upstream node is the usual case: then the object is its result and nothing around it.
    let content = match (task.inputs.len(), task.inputs.values().next()) {
        (0, _) | (_, None) => return Err(Error::Incomplete("anything to store".to_owned())),
        (1, Some(result)) => result.clone(),
        (_, Some(_)) => Value::Object(task.inputs.clone()),
    };
    let content = Bytes::from(format!("{content:#}\n"));
    let size = content.len();
    s3.put(bucket, &key, content).await.map_err(Error::Storage)?;
    Ok(task.result(Map::from_iter([
        ("bucket".to_owned(), json!(bucket)),
        ("key".to_owned(), json!(key)),
        ("bytes".to_owned(), json!(size)),
    ])))
}
