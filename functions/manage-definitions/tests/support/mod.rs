//! The function over the memory ports, and what its samples speak of beyond the world that all functions share.

use lambda_runtime::{Context, LambdaEvent};
use manage_definitions::App;
use serde_json::{Value, json};
use sluice_core::budget::MicroUsd;
use sluice_core::caller::Caller;
use sluice_core::catalog::Draft;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::{Definition, Version};
use sluice_core::flow::manage_models::save_model;
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::id::DefinitionId;
use sluice_core::operator::{ComputeNode, TenantSettings, Tenants};
use sluice_core::ports::{Clock, ManageDefinitions, ManageOperator};
use sluice_core::retention::Retention;
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::serve::HttpFunction;
use sluice_edge::wire::models::ModelBody;
use sluice_testkit::block_on;
use sluice_testkit::fixture::{caller, compute_node, definition_id, tenant};
use sluice_testkit::openapi;
use sluice_testkit::samples::{self, RUNNER_ARN, World, policy};
use std::sync::Arc;

/// A definition of the tenant `library` that every tenant may run.
pub const DISCOVERABLE: &str = "019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6099";

pub fn answer(world: &World, event: &str) -> Response {
    answer_with(world, || [7, 9], event)
}

/// Where a key is made of these bits.
pub fn answer_with(world: &World, new_key: fn() -> [u128; 2], event: &str) -> Response {
    let handler = App {
        store: world.store.clone(),
        clock: world.clock.clone(),
        new_definition_id: || definition_id(9),
        new_key,
        runner_arn: RUNNER_ARN.parse().ok(),
        destinations: policy().destinations,
        tenant_limits: policy().tenant_limits,
    };
    let function = HttpFunction { handler, clock: world.clock.clone(), identity: IdentityConfig::for_test() };
    let asked = serde_json::from_str(event).expect("an event");
    let response =
        block_on(function.serve(LambdaEvent::new(asked, Context::default()))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}

/// The samples' world, with a draft, a definition of another tenant to be found, and a tenant that may not do everything.
pub fn world() -> World {
    block_on(async {
        let world = World::new().await;
        publish(&world).await;
        let now = world.clock.now();
        let draft =
            version(samples::definition_id(), 0, &json!({"nodes": [{"id": "only", "type": "data-source"}]}), &world);
        let draft = Draft { version: Arc::new(draft.into()), rev: 1 };
        assert!(world.store.save_draft(&tenant("dev"), &draft).await.expect("a draft"));
        let settings = TenantSettings {
            concurrency: Some(Concurrency { max_concurrent_runs: 50, on_limit: OnLimit::Queue }),
            budget: Some(Budget {
                period: Period::Month,
                max: Some(MicroUsd::from_usd(250)),
                per_user_max: Some(MicroUsd(2_500_000)),
            }),
            updated_at: now,
            rev: 1,
            ..TenantSettings::open(tenant("acme"))
        };
        assert!(world.store.save_tenant(&settings).await.expect("settings"));
        let shared = ComputeNode {
            key: "shared".parse().expect("a key"),
            tenants: Tenants(vec!["acme".parse().expect("a tenant")]),
            budget: Some(Budget { period: Period::Day, max: Some(MicroUsd::from_usd(10)), per_user_max: None }),
            ..compute_node(now)
        };
        assert!(world.store.save_compute_node(&shared).await.expect("a compute node"));
        for (key, tenants) in [("small", r#"["dev", "acme"]"#), ("foreign", r#"["acme"]"#)] {
            declare_model(&world, key, tenants).await;
        }
        world
    })
}

/// A model of one price, under one id.
async fn declare_model(world: &World, key: &str, tenants: &str) {
    let body = format!(
        r#"{{"ids": ["us.acme.{key}-v1:0"], "tenants": {tenants}, "contextTokens": 200000, "maxOutputTokens": 8000,
            "prices": [{{"from": "2026-01-01T00:00:00Z", "tiers": {{"default": {{"input": 0.1, "output": 0.5}}}}}}]}}"#
    );
    let body: ModelBody = sluice_edge::json::read(&body).expect("a body");
    let declaration = body.into_declaration(key.parse().expect("a key")).expect("a declaration");
    let operator = Caller { is_operator: true, ..caller("operator") };
    save_model(&world.store, &operator, declaration, world.clock.now()).await.expect("a model");
}

/// Whether it may run as version 1 shows to others, with everything that they may not see.
async fn publish(world: &World) {
    let (owner, id) = (tenant("library"), DISCOVERABLE.parse().expect("an id"));
    let created = Definition::new(owner, id, "word-count".parse().expect("a name"), world.clock.now());
    world.store.create_definition(&created, 1_000).await.expect("a definition");
    let document = json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "frequencies", "type": "processor", "processor": "word-frequencies",
             "parameters": {"stopWords": {"type": "array", "default": ["hush"], "private": true}}},
            {"id": "score", "type": "processor", "processor": "readability", "tag": "hush",
             "parameters": {"formula": {"type": "string", "default": "hush"}}, "description": "hush", "private": true},
        ],
        "edges": [{"from": "text", "to": "frequencies"}, {"from": "frequencies", "to": "score"}],
    });
    let definition = Definition {
        display_name: Some("Word count".to_owned()),
        description: Some("Counts the words of a text".to_owned()),
        active_version: Some(1),
        latest_version: 1,
        concurrency: Some(Concurrency { max_concurrent_runs: 7, on_limit: OnLimit::Reject }),
        retention: Some(Retention { max_age_seconds: 60, preserve_on_failure: false }),
        discoverable: true,
        tags: ["language", "text"].map(str::to_owned).into(),
        rev: created.rev + 1,
        ..created
    };
    let version = version(id, 1, &document, world);
    assert!(world.store.change_definition(&definition, Some(&version)).await.expect("a version"));
}

fn version(definition_id: DefinitionId, number: u32, document: &Value, world: &World) -> Version {
    Version {
        definition_id,
        number,
        document: serde_json::from_value(document.clone()).expect("a document"),
        created_at: world.clock.now(),
        created_by: "olga".to_owned(),
    }
}
