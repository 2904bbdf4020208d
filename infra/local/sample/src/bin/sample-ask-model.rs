//! Asks a model the same question until nobody lets it ask again: through the governor of its run, under the run's cap. It knows
//! Bedrock's `Converse` and nothing of Sluice but the url in its input; its key is what its owner has set once. Parameters: `model`;
//! `maxTokens` of each answer; `calls`, how many at most.

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};
use sluice_sample::converse::Model;
use sluice_sample::task::{Error, Task};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    run(service_fn(|event: LambdaEvent<Task>| ask(event.payload))).await
}

async fn ask(task: Task) -> Result<Value, Error> {
    let url = task.governor.as_ref().map(|governor| governor.url.as_str());
    let url = url.ok_or_else(|| Error::Incomplete("a governor".to_owned()))?;
    let name = task.params.get("model").and_then(Value::as_str).unwrap_or_default();
    let (max_tokens, calls) = (task.whole_param("maxTokens").unwrap_or(1_400), task.whole_param("calls").unwrap_or(20));
    let model = Model::from_environment(url, name).map_err(Error::Model)?;
    let mut answers = Vec::new();
    for _ in 0..calls {
        let answer = model.ask("Tell me something. [[bedrock tokens=max]]", max_tokens).await.map_err(Error::Model)?;
        let is_refused = answer.refused.is_some();
        answers.push(json!({
            "outputTokens": answer.output_tokens, "maxTokens": answer.max_tokens, "refused": answer.refused,
        }));
        if is_refused {
            break;
        }
    }
    Ok(task.result(Map::from_iter([("answers".to_owned(), Value::Array(answers))])))
}
