//! What the operator declares: processors and compute nodes.

use super::fields;
use super::schema::{Description, FunctionArn, StateMachineArn, TenantOrAll, Usd};
use crate::json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use sluice_core::budget::MicroUsd;
use sluice_core::id::{ComputeNodeKey, LayerName, ProcessorKey};
use sluice_core::invalid::{Invalid, pointer_token};
use sluice_core::limits;
use sluice_core::operator::{ComputeNode, LayerStatus, Processor, ProcessorTarget, Tenants};
use sluice_core::time::rfc3339_millis;
use std::collections::BTreeMap;
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
    /// Who may use it; `["*"]` for everyone.
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    #[schema(value_type = Option<Description>)]
    description: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProcessorKind {
    Lambda,
    StateMachine,
}

impl json::Body for ProcessorBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

impl ProcessorBody {
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_processor(self, key: ProcessorKey, now: Timestamp) -> Result<Processor, Invalid> {
        let mut invalid = Invalid::default();
        let (wanted, arn, other, unwanted) = match self.kind {
            ProcessorKind::Lambda => ("/functionArn", self.function_arn, "/stateMachineArn", self.state_machine_arn),
            ProcessorKind::StateMachine => {
                ("/stateMachineArn", self.state_machine_arn, "/functionArn", self.function_arn)
            }
        };
        if arn.is_none() {
            invalid.add(wanted, "missing_field", "must be given");
        }
        if unwanted.is_some() {
            invalid.add(other, "unknown_field", "is not a field of this kind of processor");
        }
        if self.description.as_ref().is_some_and(|text| text.chars().count() > limits::DESCRIPTION_CHARS) {
            invalid.add(
                "/description",
                "too_long",
                format!("must be at most {} characters", limits::DESCRIPTION_CHARS),
            );
        }
        invalid.into_result()?;
        let arn = arn.unwrap_or_default();
        Ok(Processor {
            key,
            target: match self.kind {
                ProcessorKind::Lambda => ProcessorTarget::Lambda { function_arn: arn },
                ProcessorKind::StateMachine => ProcessorTarget::StateMachine { state_machine_arn: arn },
            },
            tenants: Tenants(self.tenants),
            description: self.description,
            updated_at: now,
        })
    }
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
    #[schema(value_type = Option<BTreeMap<LayerName, LayerStatus>>)]
    layers: Option<BTreeMap<String, LayerStatus>>,
    /// The node's own ceiling per run, in US dollars.
    #[schema(value_type = Option<Usd>)]
    max_budget_usd: Option<Box<RawValue>>,
}

impl json::Body for ComputeNodeBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

impl ComputeNodeBody {
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_compute_node(
        self,
        key: ComputeNodeKey,
        own_runner: Option<&str>,
        now: Timestamp,
    ) -> Result<ComputeNode, Invalid> {
        let mut invalid = Invalid::default();
        let state_machine_arn = self.state_machine_arn.or_else(|| own_runner.map(str::to_owned));
        if state_machine_arn.is_none() {
            invalid.add("/stateMachineArn", "missing_field", "must be given: this deployment has no runner of its own");
        }
        let layers = self
            .layers
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, status)| {
                let at = format!("/layers/{}", pointer_token(&name));
                Some((fields::id(at, &name, &mut invalid)?, status))
            })
            .collect();
        let max_budget = max_budget(self.max_budget_usd.as_deref(), &mut invalid);
        invalid.into_result()?;
        Ok(ComputeNode {
            key,
            state_machine_arn: state_machine_arn.unwrap_or_default(),
            tenants: Tenants(self.tenants.unwrap_or_else(|| vec!["*".to_owned()])),
            registry: self.registry.unwrap_or_default(),
            layers,
            max_budget,
            updated_at: now,
        })
    }
}

fn max_budget(raw: Option<&RawValue>, invalid: &mut Invalid) -> Option<MicroUsd> {
    let literal = fields::number("/maxBudgetUsd", raw, invalid)?;
    match MicroUsd::parse(&literal, MicroUsd::from_usd(limits::BUDGET_USD)) {
        Ok(MicroUsd(0)) => None,
        Ok(budget) => Some(budget),
        Err(error) => {
            invalid.add("/maxBudgetUsd", "out_of_range", error.to_string());
            None
        }
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

/// A processor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Processor)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorView {
    #[schema(value_type = ProcessorKey)]
    key: String,
    #[schema(value_type = ProcessorKind)]
    kind: &'static str,
    #[schema(value_type = Option<FunctionArn>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    #[schema(value_type = Option<StateMachineArn>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state_machine_arn: Option<String>,
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    #[schema(value_type = Option<Description>, required)]
    description: Option<String>,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&Processor> for ProcessorView {
    fn from(processor: &Processor) -> Self {
        let (kind, function_arn, state_machine_arn) = match &processor.target {
            ProcessorTarget::Lambda { function_arn } => ("lambda", Some(function_arn.clone()), None),
            ProcessorTarget::StateMachine { state_machine_arn } => {
                ("stateMachine", None, Some(state_machine_arn.clone()))
            }
        };
        Self {
            key: processor.key.to_string(),
            kind,
            function_arn,
            state_machine_arn,
            tenants: processor.tenants.0.clone(),
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
    max_budget_usd: Option<Number>,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&ComputeNode> for ComputeNodeView {
    fn from(node: &ComputeNode) -> Self {
        Self {
            key: node.key.to_string(),
            state_machine_arn: node.state_machine_arn.clone(),
            tenants: node.tenants.0.clone(),
            registry: node.registry.clone(),
            layers: node.layers.clone(),
            max_budget_usd: node.max_budget.map(MicroUsd::to_json_number),
            updated_at: rfc3339_millis(node.updated_at),
        }
    }
}
