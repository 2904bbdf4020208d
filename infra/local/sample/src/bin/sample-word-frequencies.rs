//! Counts the words of the text that the upstream node `text` names. Parameter: `top`, how many words to list.

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};
use sluice_sample::s3::S3;
use sluice_sample::task::{Error, Task, place};
use sluice_sample::text;

const DEFAULT_TOP: u64 = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let s3 = S3::from_environment()?;
    run(service_fn(|event: LambdaEvent<Task>| count(&s3, event.payload))).await
}

async fn count(s3: &S3, task: Task) -> Result<Value, Error> {
    let (bucket, key) = place(task.input_of("text")?)?;
    let content = s3.get(bucket, key).await.map_err(Error::Storage)?;
    let top = usize::try_from(task.whole_param("top").unwrap_or(DEFAULT_TOP)).unwrap_or(usize::MAX);
    let found = text::frequencies(&String::from_utf8_lossy(&content), top);
    let ranked: Vec<Value> = found.top.iter().map(|(word, count)| json!({"word": word, "count": count})).collect();
    Ok(task.result(Map::from_iter([
        ("words".to_owned(), json!(found.words)),
        ("distinctWords".to_owned(), json!(found.distinct)),
        ("top".to_owned(), json!(ranked)),
    ])))
}
