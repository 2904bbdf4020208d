//! What the operator declares: processors and compute nodes under keys. **Invariant:** tenants name keys, never ARNs,
//! otherwise Sluice's own roles could be made to start or invoke other people's things.

use crate::budget::MicroUsd;
use crate::id::{ComputeNodeKey, LayerName, ProcessorKey, Tag, TenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Who may use something: everyone (`["*"]`) or the tenants listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenants(pub Vec<String>);

impl Tenants {
    pub fn admits(&self, tenant: &TenantId) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed == tenant.as_str())
    }
}

/// What a processor node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    pub key: ProcessorKey,
    pub target: ProcessorTarget,
    pub tenants: Tenants,
    pub description: Option<String>,
    pub updated_at: Timestamp,
}

/// The thing behind a processor's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ProcessorTarget {
    /// A Lambda function, by its unqualified ARN; a node's tag is the qualifier.
    #[serde(rename_all = "camelCase")]
    Lambda { function_arn: String },
    /// A Step Functions Standard state machine, run to its end (`.sync:2`); a node's tag is a version or alias.
    #[serde(rename_all = "camelCase")]
    StateMachine { state_machine_arn: String },
}

impl ProcessorTarget {
    /// The ARN to run for `tag`.
    pub fn qualified_arn(&self, tag: Option<&Tag>) -> String {
        let arn = match self {
            Self::Lambda { function_arn } => function_arn,
            Self::StateMachine { state_machine_arn } => state_machine_arn,
        };
        match tag {
            Some(tag) => format!("{arn}:{tag}"),
            None => arn.clone(),
        }
    }

    /// Why the ARN is not one of its kind.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Lambda { function_arn } => (!is_arn(function_arn, "lambda", "function:")).then_some((
                "/functionArn",
                "must be the unqualified ARN of a Lambda function: arn:aws:lambda:<region>:<account>:function:<name>",
            )),
            Self::StateMachine { state_machine_arn } => (!is_arn(state_machine_arn, "states", "stateMachine:"))
                .then_some((
                    "/stateMachineArn",
                    "must be the ARN of a state machine: arn:aws:states:<region>:<account>:stateMachine:<name>",
                )),
        }
    }
}

/// Where runs execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeNode {
    pub key: ComputeNodeKey,
    /// The runner.
    pub state_machine_arn: String,
    pub tenants: Tenants,
    /// Values that every data target gets and no caller overwrites, such as `uploadBucket`.
    pub registry: BTreeMap<String, Value>,
    pub layers: BTreeMap<LayerName, LayerStatus>,
    /// The node's own spending ceiling per run, beside the caller's cap.
    pub max_budget: Option<MicroUsd>,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LayerStatus {
    Creating,
    Ready,
    Failed,
}

impl LayerStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Ready => "READY",
            Self::Failed => "FAILED",
        }
    }
}

/// The ARN of the execution that a state machine gives a run: computed, so that nothing has to be stored after the
/// start. `None` when `state_machine_arn` is not one.
pub fn execution_arn(state_machine_arn: &str, run_id: crate::id::RunId) -> Option<String> {
    let name = state_machine_arn.split(':').nth(6)?;
    let head = state_machine_arn.split(":stateMachine:").next()?;
    is_state_machine_arn(state_machine_arn).then(|| format!("{head}:execution:{name}:{run_id}"))
}

/// Whether this is the ARN of a state machine, without a version or alias.
pub fn is_state_machine_arn(text: &str) -> bool {
    is_arn(text, "states", "stateMachine:")
}

fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, found, region, account, rest] = parts.as_slice() else {
        return false;
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_partition =
        |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    *arn == "arn"
        && (*partition == "aws" || partition.strip_prefix("aws-").is_some_and(is_partition))
        && *found == service
        && !region.is_empty()
        && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && rest
            .strip_prefix(resource)
            .is_some_and(|name| !name.is_empty() && name.len() <= 140 && name.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_after_its_run() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91".parse().expect("an id");
        assert_eq!(
            execution_arn("arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-runner", id).as_deref(),
            Some("arn:aws:states:eu-west-1:123456789012:execution:sluice-runner:0190163d-8694-739b-aea5-966c26f8ad91")
        );
        assert_eq!(execution_arn("arn:aws:lambda:eu-west-1:123456789012:function:x", id), None);
    }

    #[test]
    fn only_plain_arns_of_the_right_service_are_taken() {
        for (arn, good) in [
            ("arn:aws:lambda:eu-west-1:123456789012:function:sluice-processor-x", true),
            ("arn:aws-cn:lambda:cn-north-1:123456789012:function:x", true),
            ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:x", true),
            ("arn:aws-\u{f6}:lambda:eu-west-1:123456789012:function:x", false),
            ("arn:aws-:lambda:eu-west-1:123456789012:function:x", false),
            ("arn:aws:lambda:eu-west-1:123456789012:function:x:1", false),
            ("arn:aws:lambda:eu-west-1:12345678901:function:x", false),
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:x", false),
            ("arn:aws:lambda:eu-west-1:123456789012:function:*", false),
            ("", false),
        ] {
            assert_eq!(ProcessorTarget::Lambda { function_arn: arn.to_owned() }.fault().is_none(), good, "{arn}");
        }
    }

    #[test]
    fn a_tag_qualifies_the_arn() {
        let target =
            ProcessorTarget::Lambda { function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:x".to_owned() };
        let tag: Tag = "live".parse().expect("a tag");
        assert!(target.qualified_arn(Some(&tag)).ends_with(":function:x:live"));
        assert!(target.qualified_arn(None).ends_with(":function:x"));
    }
}
