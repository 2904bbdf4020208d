//! Amazon Resource Names. **Invariant:** a value of one of these types names a thing of its kind, wherever it came from; but
//! for a [`QualifiedArn`], it carries no version, alias or revision.

use crate::id::{InvalidId, RunId, Tag};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! arn {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $message:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let rule: fn(&str) -> bool = $rule;
                if rule(&text) { Ok(Self(text)) } else { Err(InvalidId($message)) }
            }
        }

        impl From<$name> for String {
            fn from(arn: $name) -> Self {
                arn.0
            }
        }
    };
}

arn!(
    /// A Step Functions state machine, without a version or alias.
    StateMachineArn,
    |text| is_arn(text, "states", "stateMachine:"),
    "must be the ARN of a state machine: arn:aws:states:<region>:<account>:stateMachine:<name>"
);
arn!(
    /// An execution of a state machine.
    ExecutionArn,
    is_execution,
    "must be the ARN of an execution: arn:aws:states:<region>:<account>:execution:<state machine>:<name>"
);

arn!(
    /// A Lambda function.
    FunctionArn,
    |text| is_arn(text, "lambda", "function:"),
    "must be the unqualified ARN of a Lambda function: arn:aws:lambda:<region>:<account>:function:<name>"
);
arn!(
    /// An ECS cluster.
    ClusterArn,
    |text| is_arn(text, "ecs", "cluster/"),
    "must be the ARN of a cluster: arn:aws:ecs:<region>:<account>:cluster/<name>"
);
arn!(
    /// An ECS task definition.
    TaskDefinitionArn,
    |text| is_arn(text, "ecs", "task-definition/"),
    "must be the ARN of a task definition without its revision: arn:aws:ecs:<region>:<account>:task-definition/<family>"
);

/// An ARN with the version, alias or revision that a tag chose; without a tag, the plain one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QualifiedArn(String);

impl QualifiedArn {
    pub fn new(arn: &impl fmt::Display, tag: Option<&Tag>) -> Self {
        Self(tag.map_or_else(|| arn.to_string(), |tag| format!("{arn}:{tag}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<QualifiedArn> for String {
    fn from(arn: QualifiedArn) -> Self {
        arn.0
    }
}

impl StateMachineArn {
    /// The execution that this state machine gives a run: computed, so that nothing has to be stored after the start.
    pub fn execution(&self, run_id: RunId) -> ExecutionArn {
        let arn = self.0.replacen(":stateMachine:", ":execution:", 1);
        ExecutionArn(format!("{arn}:{run_id}"))
    }
}

/// The part of an ARN that names the thing, where the ARN is of `service` and well formed before that.
fn resource<'a>(text: &'a str, service: &str) -> Option<&'a str> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, found, region, account, resource] = parts.as_slice() else {
        return None;
    };
    let is_partition =
        |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_ours = *arn == "arn"
        && (*partition == "aws" || partition.strip_prefix("aws-").is_some_and(is_partition))
        && *found == service
        && !region.is_empty()
        && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then_some(*resource)
}

fn is_arn(text: &str, service: &str, kind: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = resource(text, service).and_then(|resource| resource.strip_prefix(kind));
    name.is_some_and(|name| !name.is_empty() && name.len() <= 140 && name.chars().all(is_plain))
}

/// Whatever its names are: the account has state machines that are none of Sluice's.
fn is_execution(text: &str) -> bool {
    let names = resource(text, "states").and_then(|resource| resource.strip_prefix("execution:"));
    names
        .and_then(|names| names.split_once(':'))
        .is_some_and(|(machine, name)| !machine.is_empty() && !name.is_empty() && !name.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_after_its_run() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91".parse().expect("an id");
        let machine: StateMachineArn =
            "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-runner".parse().expect("an ARN");
        let execution = machine.execution(id);
        assert_eq!(
            execution.as_str(),
            "arn:aws:states:eu-west-1:123456789012:execution:sluice-runner:0190163d-8694-739b-aea5-966c26f8ad91"
        );
        assert_eq!(execution.as_str().parse(), Ok(execution), "what is computed is an ARN by its own rule");
        assert!("arn:aws:lambda:eu-west-1:123456789012:function:x".parse::<StateMachineArn>().is_err());
    }

    #[test]
    fn executions_of_others_have_arns_too() {
        for (arn, good) in [
            ("arn:aws:states:eu-west-1:123456789012:execution:their.machine:a name", true),
            ("arn:aws:states:eu-west-1:123456789012:execution:machine", false),
            ("arn:aws:states:eu-west-1:123456789012:execution::name", false),
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:machine:name", false),
            ("arn:aws:states:eu-west-1:123456789012:express:machine:name:id", false),
            ("", false),
        ] {
            assert_eq!(arn.parse::<ExecutionArn>().is_ok(), good, "{arn}");
        }
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
            assert_eq!(arn.parse::<FunctionArn>().is_ok(), good, "{arn}");
        }
    }

    #[test]
    fn an_arn_is_of_one_kind_and_carries_no_revision() {
        const CLUSTER: &str = "arn:aws:ecs:eu-west-1:123456789012:cluster/jobs";
        const TASK_DEFINITION: &str = "arn:aws:ecs:eu-west-1:123456789012:task-definition/report";
        assert!(CLUSTER.parse::<ClusterArn>().is_ok() && TASK_DEFINITION.parse::<TaskDefinitionArn>().is_ok());
        for no_cluster in ["jobs", TASK_DEFINITION] {
            assert!(no_cluster.parse::<ClusterArn>().is_err(), "{no_cluster}");
        }
        for no_task_definition in [CLUSTER.to_owned(), format!("{TASK_DEFINITION}:3")] {
            assert!(no_task_definition.parse::<TaskDefinitionArn>().is_err(), "{no_task_definition}");
        }
    }

    #[test]
    fn a_tag_qualifies_the_arn() {
        let arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:x".parse().expect("an ARN");
        let tag: Tag = "live".parse().expect("a tag");
        assert!(QualifiedArn::new(&arn, Some(&tag)).as_str().ends_with(":function:x:live"));
        assert!(QualifiedArn::new(&arn, None).as_str().ends_with(":function:x"));
    }
}
