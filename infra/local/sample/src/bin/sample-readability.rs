//! Measures how easy the text is to read that the upstream node `text` names; where it runs for an item `{"part": 0, "of": 3}`, that
//! part of the text.

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};
use sluice_sample::s3::S3;
use sluice_sample::task::{Error, Task, place};
use sluice_sample::text;
use std::borrow::Cow;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let s3 = S3::from_environment()?;
    run(service_fn(|event: LambdaEvent<Task>| measure(&s3, event.payload))).await
}

async fn measure(s3: &S3, task: Task) -> Result<Value, Error> {
    let (bucket, key) = place(task.input_of("text")?)?;
    let content = s3.get(bucket, key).await.map_err(Error::Storage)?;
    let content = String::from_utf8_lossy(&content);
    let number = |name: &str| task.item[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let measured = match (number("part"), number("of")) {
        (Some(index), Some(count)) => Cow::Owned(text::part(&content, index, count)),
        (_, _) => content,
    };
    let found = text::readability(&measured).ok_or_else(|| Error::Incomplete("a text with words in it".to_owned()))?;
    Ok(task.result(Map::from_iter([
        ("sentences".to_owned(), json!(found.sentences)),
        ("words".to_owned(), json!(found.words)),
        ("syllables".to_owned(), json!(found.syllables)),
        ("fleschReadingEase".to_owned(), json!(found.reading_ease)),
        ("fleschKincaidGrade".to_owned(), json!(found.grade_level)),
    ])))
}
