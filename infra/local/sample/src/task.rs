//! The processor contract, version 1, from the processor's side: what it is handed, and what it says back.

use lambda_runtime::Diagnostic;
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

/// What a processor is handed. Fields that no sample processor reads are not listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub run_id: String,
    pub node_id: String,
    pub attempt: u32,
    /// The run's cap on LLM spend in USD; `None` is no cap. Kept as written, so that nothing is lost to a float.
    pub execution_budget_usd: Option<Number>,
    /// The same in whole micro-dollars: the one to calculate with.
    pub execution_budget_micro_usd: Option<Number>,
    #[serde(default)]
    pub params: Map<String, Value>,
    /// The run's own input, or null.
    #[serde(default)]
    pub input: Value,
    /// Of a node that runs once for each item of a list: the item.
    #[serde(default)]
    pub item: Value,
    /// The results of the nodes this one depends on.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// A data target's own entry, with the compute node's registry values.
    #[serde(default)]
    pub data_target: Value,
    /// Where calls of models go; `None` where nobody governs them.
    #[serde(default)]
    pub governor: Option<Governor>,
}

/// The endpoint of Bedrock Runtime for this attempt.
#[derive(Debug, Deserialize)]
pub struct Governor {
    pub url: String,
}

/// Why a processor could not do its task. The code becomes the step's error code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the task lacks {0}")]
    Incomplete(String),
    #[error("{0}")]
    Storage(#[source] crate::s3::Error),
    #[error("failed as it was told to, with {0}")]
    Told(String),
    #[error("{0}")]
    Model(#[source] crate::converse::Error),
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Incomplete(_) => "Sample.IncompleteTask".to_owned(),
            Error::Storage(_) => "Sample.StorageFailed".to_owned(),
            Error::Told(code) => code.clone(),
            Error::Model(_) => "Sample.ModelFailed".to_owned(),
        };
        Self { error_type: code, error_message: error.to_string() }
    }
}

impl Task {
    /// The result of the named upstream node.
    pub fn input_of(&self, node_id: &str) -> Result<&Value, Error> {
        self.inputs.get(node_id).ok_or_else(|| Error::Incomplete(format!("the result of {node_id}")))
    }

    /// A whole-number parameter.
    pub fn whole_param(&self, name: &str) -> Option<u64> {
        self.params.get(name).and_then(Value::as_u64)
    }

    /// The result with the budget as this processor saw it, so that a run can show that the cap reached every one of them.
    pub fn result(&self, mut found: Map<String, Value>) -> Value {
        found.insert("executionBudgetUsd".to_owned(), json!(self.execution_budget_usd));
        found.insert("executionBudgetMicroUsd".to_owned(), json!(self.execution_budget_micro_usd));
        Value::Object(found)
    }
}

/// The bucket and key in a value such as `{"bucket": "...", "key": "..."}`.
pub fn place(value: &Value) -> Result<(&str, &str), Error> {
    let text =
        |name: &str| value[name].as_str().ok_or_else(|| Error::Incomplete(format!("{name} of the text's place")));
    Ok((text("bucket")?, text("key")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(budget: &str) -> Task {
        let text = format!(
            r#"{{"specVersion":"1","runId":"r","tenantId":"t","nodeId":"n","attempt":1,"executionBudgetUsd":{budget},
                "executionBudgetMicroUsd":null,"params":{{"top":3}},"inputs":{{"text":{{"bucket":"b","key":"k"}}}}}}"#
        );
        serde_json::from_str(&text).expect("a task")
    }

    #[test]
    fn the_budget_comes_back_as_it_was_written() {
        for budget in ["1.25", "0.1", "0.000001", "1e-06", "null"] {
            let result = task(budget).result(Map::new());
            let said: Value = serde_json::from_str(budget).expect("a number");
            assert!(result["executionBudgetUsd"] == said, "{result}");
        }
    }

    #[test]
    fn a_task_without_the_needed_input_says_so() {
        let error = task("null").input_of("frequencies").map(drop);
        assert!(error.is_err_and(|error| error.to_string() == "the task lacks the result of frequencies"));
    }
}
