//! What the operator declares: processors, compute nodes, tenants' settings.

use super::form::{Item, ItemError, ItemResult, read, set, write};
use crate::dynamo::keys;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::arn::StateMachineArn;
use sluice_core::budget::MicroUsd;
use sluice_core::concurrency::Concurrency;
use sluice_core::governor::quota::Budget;
use sluice_core::id::{ComputeNodeKey, LayerName, ProcessorKey, Tag, TenantId};
use sluice_core::operator::{ComputeNode, LayerStatus, Processor, ProcessorTarget, TenantSettings, Tenants};
use sluice_core::retention::Retention;
use sluice_core::secret::SecretPrefix;
use sluice_core::tenant_limits::OwnLimits;
use sluice_core::time::millis;
use std::collections::{BTreeMap, BTreeSet};

pub const PROCESSOR: &str = "processor";
pub const COMPUTE_NODE: &str = "compute-node";
pub const TENANT: &str = "tenant";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredProcessor {
    key: ProcessorKey,
    target: ProcessorTarget,
    tenants: Tenants,
    // An empty list is not no list: it offers nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeSet<Tag>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(with = "millis")]
    updated_at: Timestamp,
    // Items of before revisions have none.
    #[serde(default)]
    rev: u64,
}

pub fn from_processor(processor: &Processor) -> ItemResult<Item> {
    let stored = StoredProcessor {
        key: processor.key.clone(),
        target: processor.target.clone(),
        tenants: processor.tenants.clone(),
        tags: processor.tags.clone(),
        description: processor.description.clone(),
        updated_at: processor.updated_at,
        rev: processor.rev,
    };
    let mut item = write(PROCESSOR, &stored, keys::processor(&processor.key))?;
    set(&mut item, [(keys::TENANT_KEY, keys::processors()), (keys::TIME_KEY, processor.key.to_string())]);
    Ok(item)
}

pub fn to_processor(item: Item) -> ItemResult<Processor> {
    let stored: StoredProcessor = read(PROCESSOR, item)?;
    Ok(Processor {
        key: stored.key,
        target: stored.target,
        tenants: stored.tenants,
        tags: stored.tags,
        description: stored.description,
        updated_at: stored.updated_at,
        rev: stored.rev,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredComputeNode {
    key: ComputeNodeKey,
    state_machine_arn: StateMachineArn,
    tenants: Tenants,
    registry: String,
    layers: BTreeMap<LayerName, LayerStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_budget_micro_usd: Option<MicroUsd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(with = "millis")]
    updated_at: Timestamp,
    // Items of before revisions have none.
    #[serde(default)]
    rev: u64,
}

pub fn from_compute_node(node: &ComputeNode) -> ItemResult<Item> {
    let registry = serde_json::to_string(&node.registry);
    let stored = StoredComputeNode {
        key: node.key.clone(),
        state_machine_arn: node.state_machine_arn.clone(),
        tenants: node.tenants.clone(),
        registry: registry.map_err(|source| ItemError::Document { kind: COMPUTE_NODE, source })?,
        layers: node.layers.clone(),
        max_budget_micro_usd: node.max_budget,
        budget: node.budget,
        updated_at: node.updated_at,
        rev: node.rev,
    };
    let mut item = write(COMPUTE_NODE, &stored, keys::compute_node(&node.key))?;
    set(&mut item, [(keys::TENANT_KEY, keys::compute_nodes()), (keys::TIME_KEY, node.key.to_string())]);
    Ok(item)
}

pub fn to_compute_node(item: Item) -> ItemResult<ComputeNode> {
    let stored: StoredComputeNode = read(COMPUTE_NODE, item)?;
    Ok(ComputeNode {
        key: stored.key,
        state_machine_arn: stored.state_machine_arn,
        tenants: stored.tenants,
        registry: serde_json::from_str(&stored.registry)
            .map_err(|source| ItemError::Document { kind: COMPUTE_NODE, source })?,
        layers: stored.layers,
        max_budget: stored.max_budget_micro_usd,
        budget: stored.budget,
        updated_at: stored.updated_at,
        rev: stored.rev,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredTenant {
    tenant_id: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<Concurrency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<Retention>,
    // An empty list is not no list: it allows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destinations: Option<Vec<String>>,
    // Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_prefixes: Option<Vec<SecretPrefix>>,
    #[serde(default, skip_serializing_if = "OwnLimits::is_empty")]
    limits: OwnLimits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(with = "millis")]
    updated_at: Timestamp,
    // Items of before revisions have none.
    #[serde(default)]
    rev: u64,
}

pub fn from_tenant(settings: &TenantSettings) -> ItemResult<Item> {
    let stored = StoredTenant {
        tenant_id: settings.tenant.clone(),
        concurrency: settings.concurrency,
        retention: settings.retention,
        destinations: settings.destinations.clone(),
        secret_prefixes: settings.secret_prefixes.clone(),
        limits: settings.limits,
        budget: settings.budget,
        updated_at: settings.updated_at,
        rev: settings.rev,
    };
    let mut item = write(TENANT, &stored, keys::tenant(&settings.tenant))?;
    set(&mut item, [(keys::TENANT_KEY, keys::tenants()), (keys::TIME_KEY, settings.tenant.to_string())]);
    Ok(item)
}

pub fn to_tenant(item: Item) -> ItemResult<TenantSettings> {
    let stored: StoredTenant = read(TENANT, item)?;
    Ok(TenantSettings {
        tenant: stored.tenant_id,
        concurrency: stored.concurrency,
        retention: stored.retention,
        destinations: stored.destinations,
        secret_prefixes: stored.secret_prefixes,
        limits: stored.limits,
        budget: stored.budget,
        updated_at: stored.updated_at,
        rev: stored.rev,
    })
}
