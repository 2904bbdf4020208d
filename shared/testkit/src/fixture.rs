//! Things that most tests need: a caller, a small definition, and ids that stay the same.

use jiff::Timestamp;
use serde_json::json;
use sluice_core::arn::StateMachineArn;
use sluice_core::budget::MicroUsd;
use sluice_core::caller::{Caller, Principal};
use sluice_core::definition::{Definition, Version, VersionDocument, VersionRule};
use sluice_core::destination::Destinations;
use sluice_core::flow::create_run::{Command, Fresh, Policy, Source};
use sluice_core::governor::access::Grant;
use sluice_core::id::{DefinitionId, DefinitionRef, RunId, TenantId};
use sluice_core::operator::{Admitted, ComputeNode, LayerStatus, Processor, ProcessorTarget, Tenants, Unlisted};
use sluice_core::ports::{ManageDefinitions, ManageOperator};
use sluice_core::tenant_limits::TenantLimits;
use std::collections::BTreeMap;
use uuid::Uuid;

pub const RUNNER_ARN: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-runner";
/// A destination that [`policy`] admits.
pub const CALLBACK_URL: &str = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws/hook";

/// The runner of the second generation.
///
/// # Panics
/// Never: it is one.
pub fn second_runner_arn() -> StateMachineArn {
    format!("{RUNNER_ARN}-2").parse().expect("an ARN")
}

/// [`RUNNER_ARN`].
///
/// # Panics
/// Never: it is one.
pub fn runner_arn() -> StateMachineArn {
    RUNNER_ARN.parse().expect("an ARN")
}

/// # Panics
/// When `text` is no tenant id.
pub fn tenant(text: &str) -> TenantId {
    match text.parse() {
        Ok(tenant) => tenant,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// The one tenant that may use something.
///
/// # Panics
/// When `text` is no tenant id.
pub fn only(text: &str) -> Tenants {
    Tenants(vec![Admitted::Tenant(tenant(text))])
}

/// An ordinary caller of `tenant`.
pub fn caller(tenant_id: &str) -> Caller {
    Caller { tenant: tenant(tenant_id), principal: Principal(format!("{tenant_id}/someone")), is_operator: false }
}

pub fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

/// A new run's id and grant, where a test cares for the id only.
pub fn fresh(run_id: RunId) -> Fresh {
    Fresh { run_id, grant: Grant::new(run_id.0.as_u128()) }
}

pub fn definition_id(number: u128) -> DefinitionId {
    DefinitionId(Uuid::from_u128(number))
}

pub fn policy() -> Policy {
    Policy {
        destinations: Destinations { regions: vec!["eu-west-1".to_owned()], extra_origins: Vec::new() },
        unlisted: Unlisted::Open,
        max_budget: MicroUsd::from_usd(100_000),
        tenant_limits: TenantLimits::DEFAULT,
        governor_url: None,
    }
}

/// The active version of a definition, on the node that a request gets which names none.
pub fn active(definition: DefinitionRef) -> Source {
    Source::Configuration {
        definition,
        version: VersionRule::Active,
        compute_node: None,
        processor_configs: BTreeMap::new(),
    }
}

/// A request for a run of a definition whose active version is [`document`], with no more than that one needs.
///
/// # Panics
/// Never: the document has the node.
pub fn command(definition: DefinitionRef) -> Command {
    let mut command = Command::new(active(definition));
    command.variables.variables.insert("language".to_owned(), "en".into());
    let formula = BTreeMap::from([("formula".to_owned(), "flesch".into())]);
    command.processor_params.insert("readability".parse().expect("a node"), formula);
    command
}

/// A source, two processors side by side, and a target: parameters of most kinds, a retry, an input schema.
///
/// # Panics
/// Never: the document is valid.
pub fn document() -> VersionDocument {
    let document = json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "frequencies", "type": "processor", "processor": "word-frequencies",
             "parameters": {"top": {"type": "integer", "default": 20}, "language": {"type": "string", "default": "{{language}}"}},
             "retry": {"maxAttempts": 3, "intervalSeconds": 1, "backoffRate": 2}},
            {"id": "readability", "type": "processor", "processor": "readability", "tag": "live",
             "parameters": {"formula": {"type": "string", "required": true}}},
            {"id": "store", "type": "data-target", "processor": "store-object"}
        ],
        "edges": [
            {"from": "text", "to": "frequencies"}, {"from": "text", "to": "readability"},
            {"from": "frequencies", "to": "store"}, {"from": "readability", "to": "store"}
        ],
        "inputSchema": {"type": ["object", "null"], "properties": {"title": {"type": "string"}}}
    });
    match serde_json::from_value(document) {
        Ok(document) => document,
        Err(error) => panic!("the sample document: {error}"),
    }
}

/// The operator's processors that [`document`] names.
pub fn processors(now: Timestamp) -> Vec<Processor> {
    ["word-frequencies", "readability", "store-object"]
        .into_iter()
        .filter_map(|key| {
            Some(Processor {
                key: key.parse().ok()?,
                target: ProcessorTarget::Lambda {
                    function_arn: format!("arn:aws:lambda:eu-west-1:123456789012:function:sluice-processor-{key}")
                        .parse()
                        .expect("an ARN"),
                },
                tenants: Tenants::everyone(),
                tags: None,
                description: None,
                updated_at: now,
                rev: 1,
            })
        })
        .collect()
}

/// The compute node `default`.
///
/// # Panics
/// Never: its keys are valid.
pub fn compute_node(now: Timestamp) -> ComputeNode {
    let (Ok(key), Ok(models), Ok(corpora)) = ("default".parse(), "models".parse(), "corpora".parse()) else {
        panic!("keys are words")
    };
    ComputeNode {
        key,
        state_machine_arn: runner_arn(),
        tenants: Tenants::everyone(),
        registry: BTreeMap::from([("uploadBucket".to_owned(), json!("uploads"))]),
        layers: BTreeMap::from([(models, LayerStatus::Ready), (corpora, LayerStatus::Creating)]),
        max_budget: Some(MicroUsd::from_usd(50)),
        budget: None,
        updated_at: now,
        rev: 1,
    }
}

/// Puts processors, the compute node, and the definition `text-report` (id 7, version 1, active) of `tenant` into a store.
///
/// # Panics
/// When the store refuses.
pub async fn seed(store: &(impl ManageDefinitions + ManageOperator), tenant_id: &str, now: Timestamp) -> Definition {
    for processor in processors(now) {
        assert!(store.save_processor(&processor).await.is_ok());
    }
    assert!(store.save_compute_node(&compute_node(now)).await.is_ok());
    let Ok(name) = "text-report".parse() else { panic!("a name") };
    let created = Definition {
        display_name: Some("Text report".to_owned()),
        ..Definition::new(tenant(tenant_id), definition_id(7), name, now)
    };
    assert!(store.create_definition(&created, 1_000).await.is_ok());
    let mut definition = Definition { active_version: Some(1), latest_version: 1, rev: 2, ..created };
    definition.note_processors(1, &document());
    let version = Version {
        definition_id: definition.id,
        number: 1,
        document: document(),
        created_at: now,
        created_by: "someone".to_owned(),
    };
    assert!(matches!(store.change_definition(&definition, Some(&version)).await, Ok(true)));
    definition
}
