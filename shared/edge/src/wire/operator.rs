//! What the operator declares: processors, compute nodes, and what tenants may do.

use super::budget::BudgetWire;
use super::fields;
use super::schema::{
    CallbackOrigin, ClusterArn, ContainerName, Description, FunctionArn, SecretArnPrefix, SecurityGroupId,
    StateMachineArn, SubnetId, TaskDefinitionArn, TenantOrAll, Usd,
};
use crate::fault::{Faults, ReadingCode, Token};
use crate::json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::arn;
use sluice_core::budget::{MicroUsd, UsdNumber};
use sluice_core::concurrency::Concurrency;
use sluice_core::id::{ComputeNodeKey, LayerName, ProcessorKey, Tag, TenantId};
use sluice_core::limits;
use sluice_core::operator::{
    ComputeNode, ContainerTask, LaunchType, LayerStatus, Processor, ProcessorTarget, TenantSettings, Tenants,
};
use sluice_core::retention::Retention;
use sluice_core::secret::SecretPrefix;
use sluice_core::tenant_limits::OwnLimits;
use sluice_core::time::rfc3339_millis;
use sluice_core::violation::ViolationCode;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// `PUT /v1/processors/{key}`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeclareProcessor)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessorBody {
    kind: ProcessorKind,
    /// With kind `lambda`.
    #[schema(value_type = Option<FunctionArn>)]
    function_arn: Option<String>,
    /// With kind `stateMachine`.
    #[schema(value_type = Option<StateMachineArn>)]
    state_machine_arn: Option<String>,
    /// With kind `ecs`.
    #[schema(value_type = Option<ClusterArn>)]
    cluster_arn: Option<String>,
    /// With kind `ecs`.
    #[schema(value_type = Option<TaskDefinitionArn>)]
    task_definition_arn: Option<String>,
    /// With kind `ecs`: the container that is given its input, in the variable `SLUICE_TASK_INPUT`.
    #[schema(value_type = Option<ContainerName>)]
    container_name: Option<String>,
    /// With kind `ecs`; the cluster's default when absent.
    launch_type: Option<LaunchType>,
    /// With kind `ecs`, where the task definition's network mode is `awsvpc`; needed for `FARGATE`.
    #[schema(value_type = Option<Vec<SubnetId>>, max_items = 16)]
    subnets: Option<Vec<String>>,
    /// With kind `ecs`, beside `subnets`.
    #[schema(value_type = Option<Vec<SecurityGroupId>>, max_items = 5)]
    security_groups: Option<Vec<String>>,
    /// With kind `ecs`, beside `subnets`.
    #[schema(default = false)]
    assign_public_ip: Option<bool>,
    /// Who may use it; `["*"]` for everyone.
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    /// The tags that nodes may choose: qualifiers, or revisions of a task. Absent: any but Lambda's own, such as `$LATEST`. Empty:
    /// none.
    #[schema(value_type = Option<Vec<Tag>>, max_items = 100)]
    tags: Option<Vec<String>>,
    #[schema(value_type = Option<Description>)]
    description: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProcessorKind {
    Lambda,
    StateMachine,
    Ecs,
}

impl json::Body for ProcessorBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

impl ProcessorBody {
    /// Without a revision.
    ///
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_processor(self, key: ProcessorKey, now: Timestamp) -> Result<Processor, Faults> {
        let mut faults = Faults::default();
        self.check_fields(&mut faults);
        if self.description.as_ref().is_some_and(|text| text.chars().count() > limits::DESCRIPTION_CHARS) {
            let message = format_args!("must be at most {} characters", limits::DESCRIPTION_CHARS);
            faults.add("/description", ViolationCode::OutOfRange, message);
        }
        let tenants = tenants(&self.tenants, &mut faults);
        let mut tag = |(index, text): (usize, &String)| fields::id(format_args!("/tags/{index}"), text, &mut faults);
        let tags = self.tags.as_ref().map(|tags| tags.iter().enumerate().filter_map(&mut tag).collect());
        let description = self.description.clone();
        let target = self.into_target(&mut faults);
        let Some(target) = target else { return Err(faults) };
        faults.into_result()?;
        Ok(Processor { key, target, tenants, tags, description, updated_at: now, rev: 0 })
    }

    /// What stands behind the key; `None` where a fault was noted.
    fn into_target(self, faults: &mut Faults) -> Option<ProcessorTarget> {
        Some(match self.kind {
            ProcessorKind::Lambda => {
                ProcessorTarget::Lambda { function_arn: fields::arn("/functionArn", &self.function_arn?, faults)? }
            }
            ProcessorKind::StateMachine => ProcessorTarget::StateMachine {
                state_machine_arn: fields::arn("/stateMachineArn", &self.state_machine_arn?, faults)?,
            },
            ProcessorKind::Ecs => {
                let cluster_arn = self.cluster_arn.and_then(|arn| fields::arn("/clusterArn", &arn, faults));
                let task_definition_arn =
                    self.task_definition_arn.and_then(|arn| fields::arn("/taskDefinitionArn", &arn, faults));
                ProcessorTarget::Ecs(ContainerTask {
                    cluster_arn: cluster_arn?,
                    task_definition_arn: task_definition_arn?,
                    container_name: self.container_name?,
                    launch_type: self.launch_type,
                    subnets: self.subnets.unwrap_or_default(),
                    security_groups: self.security_groups.unwrap_or_default(),
                    assign_public_ip: self.assign_public_ip.unwrap_or(false),
                })
            }
        })
    }

    /// Each kind has fields of its own, and takes no other's.
    fn check_fields(&self, faults: &mut Faults) {
        use ProcessorKind::{Ecs, Lambda, StateMachine};
        for (pointer, of, is_needed, is_given) in [
            ("/functionArn", Lambda, true, self.function_arn.is_some()),
            ("/stateMachineArn", StateMachine, true, self.state_machine_arn.is_some()),
            ("/clusterArn", Ecs, true, self.cluster_arn.is_some()),
            ("/taskDefinitionArn", Ecs, true, self.task_definition_arn.is_some()),
            ("/containerName", Ecs, true, self.container_name.is_some()),
            ("/launchType", Ecs, false, self.launch_type.is_some()),
            ("/subnets", Ecs, false, self.subnets.is_some()),
            ("/securityGroups", Ecs, false, self.security_groups.is_some()),
            ("/assignPublicIp", Ecs, false, self.assign_public_ip.is_some()),
        ] {
            if is_given && of != self.kind {
                faults.add(pointer, ReadingCode::UnknownField, "is not a field of this kind of processor");
            }
            if is_needed && !is_given && of == self.kind {
                faults.add(pointer, ViolationCode::MissingField, "must be given");
            }
        }
    }
}

/// Who may use what is declared.
pub(super) fn tenants(tenants: &[String], faults: &mut Faults) -> Tenants {
    let admitted = tenants.iter().enumerate();
    Tenants(admitted.filter_map(|(index, text)| fields::id(format_args!("/tenants/{index}"), text, faults)).collect())
}

/// `PUT /v1/compute-nodes/{key}`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeclareComputeNode)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputeNodeBody {
    /// The deployment's own runner when absent.
    #[schema(value_type = Option<StateMachineArn>)]
    state_machine_arn: Option<String>,
    /// Who may use it; everyone when absent.
    #[schema(value_type = Option<Vec<TenantOrAll>>)]
    tenants: Option<Vec<String>>,
    /// Values that every data target gets and no caller overwrites.
    registry: Option<BTreeMap<String, Value>>,
    /// All that it has. Those that it had stay as they are when absent; `{}` takes them away.
    #[schema(value_type = Option<BTreeMap<LayerName, LayerStatus>>)]
    layers: Option<BTreeMap<String, LayerStatus>>,
    /// The node's own ceiling per run, in US dollars.
    #[schema(value_type = Option<Usd>)]
    max_budget_usd: Option<Box<RawValue>>,
    /// What governed calls of all runs on it may cost in a period, whosever they are. Absent: as much as comes.
    budget: Option<BudgetWire>,
}

impl json::Body for ComputeNodeBody {
    const OBJECTS: &'static [&'static str] = &["", "/budget"];
}

impl ComputeNodeBody {
    /// The node without layers and without a revision, and its layers where something is said of them.
    ///
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_compute_node(
        self,
        key: ComputeNodeKey,
        own_runner: Option<&arn::StateMachineArn>,
        now: Timestamp,
    ) -> Result<(ComputeNode, Option<BTreeMap<LayerName, LayerStatus>>), Faults> {
        let mut faults = Faults::default();
        let state_machine_arn = match (&self.state_machine_arn, own_runner) {
            (Some(text), _) => fields::arn("/stateMachineArn", text, &mut faults),
            (None, Some(own_runner)) => Some(own_runner.clone()),
            (None, None) => {
                let message = "must be given: this deployment has no runner of its own";
                faults.add("/stateMachineArn", ViolationCode::MissingField, message);
                None
            }
        };
        let mut layer = |(name, status): (String, LayerStatus)| {
            Some((fields::id(format_args!("/layers/{}", Token(&name)), &name, &mut faults)?, status))
        };
        let layers = self.layers.map(|layers| layers.into_iter().filter_map(&mut layer).collect());
        let max_budget = fields::cap("/maxBudgetUsd", self.max_budget_usd.as_deref(), &mut faults);
        let max_budget = max_budget.unwrap_or_else(|error| {
            faults.add("/maxBudgetUsd", error.code(), error);
            None
        });
        let budget = self.budget.as_ref().map(|budget| budget.read(&mut faults));
        let tenants = self.tenants.map_or_else(Tenants::everyone, |texts| tenants(&texts, &mut faults));
        let Some(state_machine_arn) = state_machine_arn else { return Err(faults) };
        faults.into_result()?;
        let node = ComputeNode {
            key,
            state_machine_arn,
            tenants,
            registry: self.registry.unwrap_or_default(),
            layers: BTreeMap::new(),
            max_budget,
            budget,
            updated_at: now,
            rev: 0,
        };
        Ok((node, layers))
    }
}

/// `PUT /v1/compute-nodes/{key}/layers/{name}`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeclareLayer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerBody {
    pub status: LayerStatus,
}

impl json::Body for LayerBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

/// `PUT /v1/tenants/{tenant}`: all that is said of the tenant, in place of what was said before.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SetTenant)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantBody {
    /// Of all its runs. Absent: no limit.
    concurrency: Option<Concurrency>,
    /// Of runs whose request and definition say nothing of their own. Absent: they are kept for good.
    retention: Option<Retention>,
    /// The only origins its callbacks may go to. Empty: none. Absent: none, unless the deployment's `UnlistedTenants` is `open`:
    /// then any Function URL in an allowed region.
    #[schema(value_type = Option<Vec<CallbackOrigin>>, max_items = 200)]
    destinations: Option<Vec<String>>,
    /// The beginnings of the ARNs of the only secrets that its parameters may refer to. Empty: none. Absent: none, unless the
    /// deployment's `UnlistedTenants` is `open`: then any.
    #[schema(value_type = Option<Vec<SecretArnPrefix>>, max_items = 50)]
    secret_prefixes: Option<Vec<String>>,
    /// What it may take of the service. What is left out is as the deployment says for every tenant.
    limits: Option<OwnLimits>,
    /// What governed calls of all its runs may cost in a period. Absent: as much as comes.
    budget: Option<BudgetWire>,
}

impl json::Body for TenantBody {
    const OBJECTS: &'static [&'static str] = &["", "/concurrency", "/retention", "/limits", "/budget"];
}

impl TenantBody {
    /// Without a revision.
    ///
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_settings(self, tenant: TenantId, now: Timestamp) -> Result<TenantSettings, Faults> {
        let mut faults = Faults::default();
        let mut prefix = |(index, text): (usize, String)| {
            let prefix = SecretPrefix::try_from(text);
            prefix
                .inspect_err(|error| {
                    faults.add(format_args!("/secretPrefixes/{index}"), ViolationCode::InvalidArn, error);
                })
                .ok()
        };
        let secret_prefixes =
            self.secret_prefixes.map(|texts| texts.into_iter().enumerate().filter_map(&mut prefix).collect());
        let budget = self.budget.as_ref().map(|budget| budget.read(&mut faults));
        faults.into_result()?;
        Ok(TenantSettings {
            tenant,
            concurrency: self.concurrency,
            retention: self.retention,
            destinations: self.destinations,
            secret_prefixes,
            limits: self.limits.unwrap_or_default(),
            budget,
            updated_at: now,
            rev: 0,
        })
    }
}

/// A processor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Processor)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorView {
    #[schema(value_type = ProcessorKey)]
    key: String,
    #[schema(value_type = ProcessorKind)]
    kind: &'static str,
    #[schema(value_type = FunctionArn, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    #[schema(value_type = StateMachineArn, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state_machine_arn: Option<String>,
    #[schema(value_type = ClusterArn, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_arn: Option<String>,
    #[schema(value_type = TaskDefinitionArn, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    task_definition_arn: Option<String>,
    #[schema(value_type = ContainerName, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    container_name: Option<String>,
    #[schema(value_type = LaunchType, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<LaunchType>,
    #[schema(value_type = Vec<SubnetId>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    subnets: Option<Vec<String>>,
    #[schema(value_type = Vec<SecurityGroupId>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    security_groups: Option<Vec<String>>,
    #[schema(value_type = bool, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    assign_public_ip: Option<bool>,
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    /// `null`: any but Lambda's own.
    #[schema(value_type = Option<Vec<Tag>>, required)]
    tags: Option<BTreeSet<Tag>>,
    #[schema(value_type = Option<Description>, required)]
    description: Option<String>,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&Processor> for ProcessorView {
    fn from(processor: &Processor) -> Self {
        let (kind, function_arn, state_machine_arn, task) = match &processor.target {
            ProcessorTarget::Lambda { function_arn } => ("lambda", Some(function_arn.to_string()), None, None),
            ProcessorTarget::StateMachine { state_machine_arn } => {
                ("stateMachine", None, Some(state_machine_arn.to_string()), None)
            }
            ProcessorTarget::Ecs(task) => ("ecs", None, None, Some(task)),
        };
        Self {
            key: processor.key.to_string(),
            kind,
            function_arn,
            state_machine_arn,
            cluster_arn: task.map(|task| task.cluster_arn.to_string()),
            task_definition_arn: task.map(|task| task.task_definition_arn.to_string()),
            container_name: task.map(|task| task.container_name.clone()),
            launch_type: task.and_then(|task| task.launch_type),
            subnets: task.map(|task| task.subnets.clone()),
            security_groups: task.map(|task| task.security_groups.clone()),
            assign_public_ip: task.map(|task| task.assign_public_ip),
            tenants: processor.tenants.0.iter().cloned().map(String::from).collect(),
            tags: processor.tags.clone(),
            description: processor.description.clone(),
            updated_at: rfc3339_millis(processor.updated_at),
        }
    }
}

/// A compute node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ComputeNode)]
#[serde(rename_all = "camelCase")]
pub struct ComputeNodeView {
    #[schema(value_type = ComputeNodeKey)]
    key: String,
    #[schema(value_type = StateMachineArn)]
    state_machine_arn: String,
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    registry: BTreeMap<String, Value>,
    layers: BTreeMap<LayerName, LayerStatus>,
    #[schema(value_type = Option<Usd>, required)]
    max_budget_usd: Option<UsdNumber>,
    #[schema(required)]
    budget: Option<BudgetWire>,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&ComputeNode> for ComputeNodeView {
    fn from(node: &ComputeNode) -> Self {
        Self {
            key: node.key.to_string(),
            state_machine_arn: node.state_machine_arn.to_string(),
            tenants: node.tenants.0.iter().cloned().map(String::from).collect(),
            registry: node.registry.clone(),
            layers: node.layers.clone(),
            max_budget_usd: node.max_budget.map(MicroUsd::to_json_number),
            budget: node.budget.as_ref().map(BudgetWire::from),
            updated_at: rfc3339_millis(node.updated_at),
        }
    }
}

/// What a tenant may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
#[serde(rename_all = "camelCase")]
pub struct TenantView {
    #[schema(value_type = TenantId)]
    tenant_id: String,
    #[schema(required)]
    concurrency: Option<Concurrency>,
    #[schema(required)]
    retention: Option<Retention>,
    /// `null`: as the deployment's `UnlistedTenants` says.
    #[schema(value_type = Option<Vec<CallbackOrigin>>, required)]
    destinations: Option<Vec<String>>,
    /// `null`: as the deployment's `UnlistedTenants` says.
    #[schema(value_type = Option<Vec<SecretArnPrefix>>, required)]
    secret_prefixes: Option<Vec<String>>,
    /// `null` while nothing was said of the tenant.
    #[schema(format = DateTime, required)]
    updated_at: Option<String>,
    /// What was said of it. The rest is as the deployment says for every tenant.
    limits: OwnLimits,
    #[schema(required)]
    budget: Option<BudgetWire>,
}

impl From<&TenantSettings> for TenantView {
    fn from(settings: &TenantSettings) -> Self {
        // Settings that nobody made are as old as time.
        let is_made = settings.updated_at > Timestamp::UNIX_EPOCH;
        Self {
            tenant_id: settings.tenant.to_string(),
            concurrency: settings.concurrency,
            retention: settings.retention,
            destinations: settings.destinations.clone(),
            secret_prefixes: settings
                .secret_prefixes
                .as_ref()
                .map(|prefixes| prefixes.iter().cloned().map(String::from).collect()),
            updated_at: is_made.then(|| rfc3339_millis(settings.updated_at)),
            limits: settings.limits,
            budget: settings.budget.as_ref().map(BudgetWire::from),
        }
    }
}
