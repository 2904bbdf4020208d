//! The sample events in `events/<function>/<case>.json`, and the world they speak of: the sample pipeline of the local
//! stack, and runs of it in every stage of their life.

use crate::clock::FixedClock;
use crate::engine::MemoryEngine;
use crate::fixture::{fresh, tenant};
use crate::receiver::MemoryReceiver;
use crate::store::MemoryStore;
use serde_json::{Value, json};
use sluice_core::budget::MicroUsd;
use sluice_core::caller::{Caller, Principal};
use sluice_core::definition::{Definition, Version, VersionRule};
use sluice_core::destination::Destinations;
use sluice_core::flow::create_run::{Command, Policy, Source, create_run};
use sluice_core::flow::deliver::deliver;
use sluice_core::flow::transition_run::transition;
use sluice_core::id::{DefinitionId, NodeId, RunId, TenantId};
use sluice_core::instance::{Instance, InstanceContent};
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::operator::{ComputeNode, LayerStatus, Processor, ProcessorTarget, Tenants, Unlisted};
use sluice_core::ports::{Clock, LoadRun, ManageDefinitions, ManageOperator, SaveInstance};
use sluice_core::snapshot::Callback;
use sluice_core::step::{Step, StepStatus};
use sluice_core::tenant_limits::TenantLimits;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

/// The tenant of most samples, and that of the samples whose identity is an IAM signature.
pub const TENANTS: [&str; 2] = ["dev", "123456789012"];
pub const RUNNER_ARN: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:sluice-runner";
pub const DEFINITION: &str = "019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6071";
/// Runs of each tenant, by what they are doing.
pub const RUNNING: &str = "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f";
pub const PENDING: &str = "5e0a7c91-6b2d-4e8f-9a3c-7d1f4b8e2a60";
pub const SUCCEEDED: &str = "9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d";
/// The run that a function under test makes.
pub const NEW_RUN: &str = "6f1d2c4b-5a60-4e11-9a55-0190b2a47c3e";
pub const OUTPUT: &str = r#"{"results":{"store":{"bucket":"uploads","key":"reports/report.json","ratio":1.10}}}"#;
/// What the caller of [`SUCCEEDED`] wants back.
pub const CONTEXT: &str = r#"{"n":12345678901234567890123,"x":1.10,"k":"\u00e9"}"#;
pub const CALLBACK_URL: &str = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws/hook";

/// Every sample of a function by its case, as JSON text.
///
/// # Panics
/// When there is none.
pub fn cases(function: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(function);
    let Ok(entries) = std::fs::read_dir(&folder) else { panic!("there is no {}", folder.display()) };
    let mut cases = BTreeMap::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let (Some(case), Ok(text)) = (path.file_stem(), std::fs::read_to_string(&path)) else {
            panic!("{} cannot be read", path.display())
        };
        cases.insert(case.to_string_lossy().into_owned(), text);
    }
    cases
}

/// The event of a request through the API's JWT authorizer.
pub fn request(tenant: &str, method: &str, path: &str, body: &str) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    json!({
        "version": "2.0", "rawPath": path, "rawQueryString": query,
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "requestId": "r-1", "stage": "$default", "http": {"method": method, "path": path},
            "authorizer": {"jwt": {"claims": {"tenant_id": tenant, "sub": "ada"}, "scopes": null}},
        },
        "body": body, "isBase64Encoded": false,
    })
}

/// Every port, with what the samples speak of in the store.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub store: MemoryStore,
    pub engine: MemoryEngine,
    pub receiver: MemoryReceiver,
    pub clock: FixedClock,
}

/// What the deployment of the samples allows.
pub fn policy() -> Policy {
    Policy {
        destinations: Destinations { regions: vec!["us-east-1".to_owned()], extra_origins: Vec::new() },
        unlisted: Unlisted::Open,
        max_budget: MicroUsd::from_usd(100_000),
        tenant_limits: TenantLimits::DEFAULT,
        governor_url: None,
    }
}

pub fn definition_id() -> DefinitionId {
    sure(DEFINITION.parse())
}

pub fn run_id(text: &str) -> RunId {
    sure(text.parse())
}

/// The instance that the samples name: the pipeline as it is.
pub fn instance(tenant_id: &str, world: &World) -> Instance {
    let content = InstanceContent {
        definition_id: definition_id(),
        version: VersionRule::Active,
        compute_node: sure("default".parse()),
        processor_configs: BTreeMap::new(),
    };
    let tenant = tenant(tenant_id);
    Instance { id: content.id(&tenant), tenant, content, created_at: world.clock.now(), hint: None }
}

impl World {
    /// Made by the flows themselves, so that everything fits together.
    pub async fn new() -> Self {
        let world = Self::default();
        world.declare().await;
        for tenant_id in TENANTS {
            world.define(tenant_id).await;
        }
        Box::pin(world.run(RUNNING)).await;
        Box::pin(world.run(PENDING)).await;
        Box::pin(world.run(SUCCEEDED)).await;
        world.clock.advance(5);
        for id in [RUNNING, SUCCEEDED] {
            let run = world.load(TENANTS[0], id).await;
            assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        }
        world.record_step().await;
        world.clock.advance(55);
        world.end().await;
        // The other tenant has the same runs, as the table has them. Executions they have none.
        for run in world.store.runs() {
            let (id, other) = (run.run_id, tenant(TENANTS[1]));
            let snapshot = sure(world.store.load_snapshot(&run.tenant_id, id).await);
            let snapshot = snapshot.and_then(|snapshot| snapshot.to_text().ok());
            world.store.seed_run(sluice_core::run::Run { tenant_id: other.clone(), ..run.clone() }, snapshot);
            world.store.seed_output(&other, id, OUTPUT);
        }
        world
    }

    async fn declare(&self) {
        let now = self.clock.now();
        for key in ["word-frequencies", "readability", "report", "store-object"] {
            let function_arn = format!("arn:aws:lambda:us-east-1:123456789012:function:sluice-processor-{key}");
            let function_arn = sure(function_arn.parse());
            let processor = Processor {
                key: sure(key.parse()),
                target: ProcessorTarget::Lambda { function_arn },
                tenants: Tenants::everyone(),
                tags: None,
                description: None,
                updated_at: now,
                rev: 1,
            };
            sure(self.store.save_processor(&processor).await);
        }
        let node = ComputeNode {
            key: sure("default".parse()),
            state_machine_arn: RUNNER_ARN.parse().expect("an ARN"),
            tenants: Tenants::everyone(),
            registry: BTreeMap::from([("uploadBucket".to_owned(), json!("uploads"))]),
            layers: BTreeMap::from([
                (sure("models".parse()), LayerStatus::Ready),
                (sure("corpora".parse()), LayerStatus::Creating),
            ]),
            max_budget: None,
            budget: None,
            updated_at: now,
            rev: 1,
        };
        sure(self.store.save_compute_node(&node).await);
    }

    async fn define(&self, tenant_id: &str) {
        let now = self.clock.now();
        let definition = Definition {
            display_name: Some("Text report".to_owned()),
            ..Definition::new(tenant(tenant_id), definition_id(), sure("text-report".parse()), now)
        };
        sure(self.store.create_definition(&definition, 1_000).await);
        let version = Version {
            definition_id: definition.id,
            number: 1,
            document: sure(serde_json::from_value(pipeline())),
            created_at: now,
            created_by: "olga".to_owned(),
        };
        let active = Definition { active_version: Some(1), latest_version: 1, rev: 2, ..definition };
        assert!(sure(self.store.change_definition(&active, Some(&version)).await));
        sure(self.store.save_instance(&instance(tenant_id, self)).await);
    }

    async fn run(&self, id: &str) {
        let caller = caller();
        let source = Source::Instance(instance(TENANTS[0], self).id);
        let callback = Callback { url: CALLBACK_URL.to_owned(), context: Some(sure(serde_json::from_str(CONTEXT))) };
        let command = Command {
            name: Some("sample".to_owned()),
            data_sources: BTreeMap::from([(sure("text".parse()), json!({"bucket": "corpora"}))]),
            labels: BTreeMap::from([("conversation".to_owned(), "c-17".to_owned())]),
            execution_budget: Ok(Some(MicroUsd(1_100_000))),
            callback: Some(callback),
            ..Command::new(source)
        };
        let now = self.clock.now();
        sure(
            Box::pin(create_run(&self.store, &self.engine, &policy(), &caller, command, fresh(run_id(id)), now)).await,
        );
    }

    async fn record_step(&self) {
        let started_at = self.clock.now();
        let step = Step {
            run_id: run_id(SUCCEEDED),
            node_id: sure::<NodeId, _>("frequencies".parse()),
            node_type: "processor".to_owned(),
            stage: 1,
            status: StepStatus::Succeeded,
            attempt: 1,
            started_at: Some(started_at),
            ended_at: Some(started_at + jiff::SignedDuration::from_millis(1_250)),
            result: Some(r#"{"the":14431,"ratio":1.10}"#.to_owned()),
            result_bytes: Some(26),
            error: None,
            progress: None,
            iteration: None,
            fan: None,
        };
        self.store.seed_step(&tenant(TENANTS[0]), step);
    }

    /// The end of [`SUCCEEDED`]: told to the event bus, not yet to the receiver.
    async fn end(&self) {
        let now = self.clock.now();
        let run = self.load(TENANTS[0], SUCCEEDED).await;
        let ended = self.engine.end(&run.execution_arn(), EngineEnd::Succeeded, Some(OUTPUT), now);
        let Some((end, details)) = ended else { panic!("the execution runs") };
        let settled = sure(transition(&self.store, run, RunEvent::EngineEnded(end), &details, now).await);
        let owed = settled.map(|transition| transition.owed).unwrap_or_default();
        sure(deliver(&self.store, &self.engine, &self.receiver, &self.clock, &owed[1]).await);
    }

    /// # Panics
    /// When there is no such run.
    pub async fn load(&self, tenant_id: &str, id: &str) -> sluice_core::run::Run {
        match sure(self.store.load_run(&tenant(tenant_id), run_id(id)).await) {
            Some(run) => run,
            None => panic!("there is no run {id}"),
        }
    }
}

fn caller() -> Caller {
    let tenant: TenantId = tenant(TENANTS[0]);
    Caller { tenant, principal: Principal("ada".to_owned()), is_operator: false }
}

/// The sample pipeline of the local stack.
pub fn pipeline() -> Value {
    let retry = json!({"maxAttempts": 2, "intervalSeconds": 1, "backoffRate": 2});
    json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "frequencies", "type": "processor", "processor": "word-frequencies",
             "parameters": {"top": {"type": "integer", "default": 20}}, "retry": retry},
            {"id": "readability", "type": "processor", "processor": "readability", "retry": retry},
            {"id": "report", "type": "processor", "processor": "report", "retry": retry},
            {"id": "store", "type": "data-target", "processor": "store-object", "retry": retry},
        ],
        "edges": [
            {"from": "text", "to": "frequencies"},
            {"from": "text", "to": "readability"},
            {"from": "frequencies", "to": "report"},
            {"from": "readability", "to": "report"},
            {"from": "report", "to": "store"},
        ],
        "inputSchema": {
            "type": ["object", "null"],
            "properties": {"title": {"type": "string", "maxLength": 200}},
            "additionalProperties": false,
        },
    })
}

fn sure<T, E: Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error:?}"),
    }
}
