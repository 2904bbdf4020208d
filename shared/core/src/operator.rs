//! What the operator declares: processors and compute nodes under keys, and what each tenant may do. **Invariant:** tenants name
//! keys, never ARNs, otherwise Sluice's own roles could be made to start or invoke other people's things.

pub use crate::admitted::{Admitted, Tenants};

use crate::arn::{ClusterArn, FunctionArn, StateMachineArn, TaskDefinitionArn};
use crate::budget::MicroUsd;
use crate::concurrency::Concurrency;
use crate::governor::quota::Budget;
use crate::id::{ComputeNodeKey, LayerName, ProcessorKey, Tag, TenantId};
use crate::limits;
use crate::place::Field;
use crate::retention::Retention;
use crate::secret::SecretPrefix;
use crate::tenant_limits::OwnLimits;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// What a processor node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    pub key: ProcessorKey,
    pub target: ProcessorTarget,
    pub tenants: Tenants,
    /// The tags that nodes may choose. `None`: any but one of Lambda's own, such as `$LATEST`.
    pub tags: Option<BTreeSet<Tag>>,
    pub description: Option<String>,
    pub updated_at: Timestamp,
    /// Its optimistic lock, from 1.
    pub rev: u64,
}

impl Processor {
    /// Whether a node may choose the tag. What nobody published is chosen only where the operator says so by name.
    pub fn offers(&self, tag: &Tag) -> bool {
        match &self.tags {
            Some(offered) => offered.contains(tag),
            None => !tag.as_str().contains('$'),
        }
    }

    /// Reports what is wrong with it.
    pub fn check(&self, invalid: &mut Invalid) {
        self.target.check(invalid);
        let at = Field::OfferedTags.at();
        let offered = self.tags.iter().flatten();
        if self.tags.as_ref().is_some_and(|tags| tags.len() > limits::PROCESSOR_TAGS) {
            let message = format_args!("must be at most {} tags", limits::PROCESSOR_TAGS);
            invalid.add(at, ViolationCode::TooMany, message);
        }
        for tag in offered.filter(|tag| !self.target.takes(tag)) {
            let message = format_args!("{tag} is not the number of a task definition's revision");
            invalid.add(at, ViolationCode::InvalidTag, message);
        }
    }
}

/// The thing behind a processor's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ProcessorTarget {
    /// A Lambda function; a node's tag is the qualifier.
    #[serde(rename_all = "camelCase")]
    Lambda { function_arn: FunctionArn },
    /// A Step Functions Standard state machine, run to its end (`.sync:2`); a node's tag is a version or alias.
    #[serde(rename_all = "camelCase")]
    StateMachine { state_machine_arn: StateMachineArn },
    /// A container task, run to its end (`ecs:runTask.sync`); a node's tag is a revision of the task definition.
    Ecs(ContainerTask),
}

/// How a container task is run. `A` names its task definition: the operator declares one without a revision, and a run has
/// chosen one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerTask<A = TaskDefinitionArn> {
    pub cluster_arn: ClusterArn,
    pub task_definition_arn: A,
    /// The container that is given its input, as `SLUICE_TASK_INPUT`.
    pub container_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<LaunchType>,
    /// Of an `awsvpc` task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assign_public_ip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LaunchType {
    Fargate,
    Ec2,
    External,
}

impl<A> ContainerTask<A> {
    /// The same, with its task definition named in another way.
    pub fn of<B>(self, task_definition_arn: B) -> ContainerTask<B> {
        let Self { cluster_arn, container_name, launch_type, subnets, security_groups, assign_public_ip, .. } = self;
        ContainerTask {
            cluster_arn,
            task_definition_arn,
            container_name,
            launch_type,
            subnets,
            security_groups,
            assign_public_ip,
        }
    }
}

impl ContainerTask {
    fn check(&self, invalid: &mut Invalid) {
        let is_name = |text: &str| {
            (1..=255).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if !is_name(&self.container_name) {
            invalid.add(Field::ContainerName, ViolationCode::Invalid, "must be 1 to 255 characters of A-Z a-z 0-9 _ -");
        }
        // AwsVpcConfiguration takes at most 16 subnets and 5 security groups.
        let subnets = "must be at most 16 ids of subnets: subnet-…";
        let groups = "must be at most 5 ids of security groups: sg-…";
        for (field, ids, most, prefix, message) in [
            (Field::Subnets, &self.subnets, 16, "subnet-", subnets),
            (Field::SecurityGroups, &self.security_groups, 5, "sg-", groups),
        ] {
            if ids.len() > most {
                invalid.add(field, ViolationCode::TooMany, message);
            } else if !ids.iter().all(|id| id.strip_prefix(prefix).is_some_and(is_name)) {
                invalid.add(field, ViolationCode::Invalid, message);
            }
        }
        let needs_subnets =
            !self.security_groups.is_empty() || self.assign_public_ip || self.launch_type == Some(LaunchType::Fargate);
        if self.subnets.is_empty() && needs_subnets {
            let message = "must be given for FARGATE, and with security groups or a public address";
            invalid.add(Field::Subnets, ViolationCode::MissingField, message);
        }
    }
}

impl ProcessorTarget {
    /// Whether such a thing can have the tag at all.
    pub fn takes(&self, tag: &Tag) -> bool {
        match self {
            Self::Lambda { .. } | Self::StateMachine { .. } => true,
            Self::Ecs(_) => tag.as_str().bytes().all(|byte| byte.is_ascii_digit()),
        }
    }

    /// Reports what is wrong with it.
    pub fn check(&self, invalid: &mut Invalid) {
        match self {
            Self::Lambda { .. } | Self::StateMachine { .. } => {}
            Self::Ecs(task) => task.check(invalid),
        }
    }
}

/// What a tenant may do for which the operator has made no list: the deployment says so for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// No list, no callbacks and no secrets.
    #[default]
    Closed,
    /// Callbacks to any Function URL in an allowed region, and references to any secret: where all tenants are one.
    Open,
}

/// What the operator allows a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    pub tenant: TenantId,
    /// Of all its runs.
    pub concurrency: Option<Concurrency>,
    /// Of runs whose request and definition say nothing of their own.
    pub retention: Option<Retention>,
    /// The only origins its callbacks may go to, as `https://<url-id>.lambda-url.<region>.on.aws`. `None`: as [`Unlisted`]
    /// says.
    pub destinations: Option<Vec<String>>,
    /// The beginnings of the ARNs of the only secrets that its parameters may refer to. `None`: as [`Unlisted`] says.
    pub secret_prefixes: Option<Vec<SecretPrefix>>,
    /// What it may take of the service, where that is not what every tenant may.
    pub limits: OwnLimits,
    /// What governed calls of all its runs may cost in a period.
    pub budget: Option<Budget>,
    pub updated_at: Timestamp,
    /// Their optimistic lock, from 1; 0 where nothing was ever said.
    pub rev: u64,
}

impl TenantSettings {
    /// Those of a tenant that has none of its own.
    pub fn open(tenant: TenantId) -> Self {
        Self {
            tenant,
            concurrency: None,
            retention: None,
            destinations: None,
            secret_prefixes: None,
            limits: OwnLimits::default(),
            budget: None,
            updated_at: Timestamp::UNIX_EPOCH,
            rev: 0,
        }
    }

    /// Whether callbacks of this tenant may go to `url`, as far as its own list goes.
    pub fn admits_destination(&self, url: &url::Url) -> bool {
        let origin = url.origin().ascii_serialization();
        self.destinations.as_ref().is_none_or(|allowed| allowed.contains(&origin))
    }

    /// Whether parameters of this tenant may refer to the secret.
    pub fn admits_secret(&self, arn: &str, unlisted: Unlisted) -> bool {
        match &self.secret_prefixes {
            Some(prefixes) => prefixes.iter().any(|prefix| prefix.admits(arn)),
            None => unlisted == Unlisted::Open,
        }
    }
}

/// Where runs execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeNode {
    pub key: ComputeNodeKey,
    /// The runner.
    pub state_machine_arn: StateMachineArn,
    pub tenants: Tenants,
    /// Values that every data target gets and no caller overwrites, such as `uploadBucket`.
    pub registry: BTreeMap<String, Value>,
    pub layers: BTreeMap<LayerName, LayerStatus>,
    /// The node's own spending ceiling per run, beside the caller's cap.
    pub max_budget: Option<MicroUsd>,
    /// What governed calls of all runs on it may cost in a period, whosever they are.
    pub budget: Option<Budget>,
    pub updated_at: Timestamp,
    /// Its optimistic lock, from 1.
    pub rev: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_container_task_is_reported() {
        let good = ContainerTask {
            cluster_arn: "arn:aws:ecs:eu-west-1:123456789012:cluster/jobs".parse().expect("an ARN"),
            task_definition_arn: "arn:aws:ecs:eu-west-1:123456789012:task-definition/report".parse().expect("an ARN"),
            container_name: "main".to_owned(),
            launch_type: Some(LaunchType::Fargate),
            subnets: vec!["subnet-0a1b".to_owned()],
            security_groups: vec!["sg-0a1b".to_owned()],
            assign_public_ip: true,
        };
        let faults = |task: ContainerTask| {
            let mut invalid = Invalid::default();
            ProcessorTarget::Ecs(task).check(&mut invalid);
            invalid.violations.into_iter().map(|violation| violation.place.field).collect::<Vec<_>>()
        };
        assert_eq!(faults(good.clone()), []);
        let bad = ContainerTask {
            container_name: "a b".to_owned(),
            security_groups: vec!["0a1b".to_owned()],
            subnets: vec!["subnet-".to_owned()],
            ..good.clone()
        };
        assert_eq!(faults(bad), [Field::ContainerName, Field::Subnets, Field::SecurityGroups]);
        assert_eq!(faults(ContainerTask { subnets: Vec::new(), ..good }), [Field::Subnets]);
    }
}
