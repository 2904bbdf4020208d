//! The function over the memory ports, and what the samples need that those of the others do not: a run that is paused,
//! one that waits for a person, with a report token, and one that has ended and owes nothing.

use control_run::App;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::json;
use sluice_core::caller::{Caller, Principal};
use sluice_core::flow::control_run::pause_run;
use sluice_core::flow::create_run::{Command, Fresh, Source, create_run};
use sluice_core::flow::deliver::deliver;
use sluice_core::flow::manage_definitions::{DefinitionChange, add_version, create_definition};
use sluice_core::flow::report_run::create_report_token;
use sluice_core::flow::transition_run::transition;
use sluice_core::id::{DefinitionRef, NodeId};
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::ports::Clock;
use sluice_core::run::{EndDetails, Run};
use sluice_core::step::{Step, StepStatus};
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::metrics::{self, Emitter};
use sluice_edge::serve::HttpFunction;
use sluice_testkit::block_on;
use sluice_testkit::fixture::{active, definition_id, fresh, tenant};
use sluice_testkit::openapi;
use sluice_testkit::samples::{NEW_RUN, World, instance, policy, run_id};
use std::collections::BTreeMap;

/// A run of the sample pipeline whose runner stands at its gate.
pub const PAUSED: &str = "d7f3b1c8-5e29-4a64-8b7d-0c9e2a6f4b13";
/// A run whose node `approve` waits for an answer.
pub const WAITING: &str = "c2a7e9d4-3b61-4f58-9e0c-6d8b1f4a7e25";
/// A run that has ended, and whose end was told.
pub const DONE: &str = "e4b8a1f6-7c2d-4930-8e5b-1a9d3c6f0b27";
/// What every new report token ends with. That of [`WAITING`] is in the samples.
pub const SECRET: &str = "redacted";
/// What the runner of [`PAUSED`] waits for.
pub const GATE: &str = "token-of-the-gate";
/// What the runner of [`WAITING`] waits for.
pub const APPROVE: &str = "token-of-approve";

pub fn answer(world: &World, event: &str) -> Response {
    answer_with(world, event, || fresh(run_id(NEW_RUN)))
}

/// With the id and the grant that a replay would get.
pub fn answer_with(world: &World, event: &str, new_run: fn() -> Fresh) -> Response {
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
    let handler = App {
        store: world.store.clone(),
        engine: world.engine.clone(),
        clock: world.clock.clone(),
        policy: policy(),
        new_run,
        new_comment_id: || "019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6072".to_owned(),
        new_secret: || SECRET.to_owned(),
    };
    let function = HttpFunction { handler, clock: world.clock.clone(), identity: IdentityConfig::for_test() };
    let asked = serde_json::from_str(event).expect("an event");
    let response =
        block_on(function.serve(LambdaEvent::new(asked, Context::default()))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}

pub fn world() -> World {
    block_on(async {
        let world = World::new().await;
        pause(&world).await;
        define_approval(&world).await;
        wait(&world).await;
        end(&world).await;
        let waiting = run_id(WAITING);
        let token = create_report_token(&world.store, &ada(), waiting, None, 3_600, SECRET, world.clock.now()).await;
        token.expect("a token");
        world
    })
}

async fn pause(world: &World) {
    let data_sources = BTreeMap::from([("text".parse().expect("a node"), json!({"bucket": "corpora"}))]);
    let command = Command { data_sources, ..Command::new(Source::Instance(instance("dev", world).id)) };
    let run = running(world, PAUSED, command).await;
    pause_run(&world.store, &world.engine, &ada(), run.run_id, world.clock.now()).await.expect("asked");
    let taken = world.store.update_run(&run.tenant_id, run.run_id, |run| run.parked(GATE, world.clock.now()));
    assert!(taken);
    world.engine.wait_for(&run.execution_arn(), GATE);
}

async fn define_approval(world: &World) {
    let document = json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "approve", "type": "external", "schema": {
                "type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}},
            }},
        ],
        "edges": [{"from": "text", "to": "approve"}],
    });
    let document = serde_json::from_value(document).expect("a document");
    let (caller, now, id) = (ada(), world.clock.now(), definition_id(8));
    let name = "approval".parse().expect("a name");
    let limits = policy().tenant_limits;
    create_definition(&world.store, limits, &caller, id, name, DefinitionChange::default(), now)
        .await
        .expect("created");
    add_version(&world.store, &caller, &DefinitionRef::Id(id), document, true, now).await.expect("added");
}

async fn wait(world: &World) {
    let source = active(DefinitionRef::Id(definition_id(8)));
    let run = running(world, WAITING, Command::new(source)).await;
    let approve: NodeId = "approve".parse().expect("a node");
    let now = world.clock.now();
    let waits = world.store.update_run(&run.tenant_id, run.run_id, |run| run.awaiting(approve.to_string(), now));
    assert!(waits);
    world.store.begin_wait(&run.tenant_id, run.run_id, &approve, APPROVE);
    let step = Step {
        run_id: run.run_id,
        node_id: approve,
        node_type: "external".to_owned(),
        stage: 1,
        status: StepStatus::Waiting,
        attempt: 1,
        started_at: Some(world.clock.now()),
        ended_at: None,
        result: None,
        result_bytes: None,
        error: None,
        progress: None,
        iteration: None,
        fan: None,
    };
    world.store.seed_step(&run.tenant_id, step);
    world.engine.wait_for(&run.execution_arn(), APPROVE);
}

async fn end(world: &World) {
    let run = running(world, DONE, Command::new(Source::Instance(instance("dev", world).id))).await;
    let (end, now) = (RunEvent::EngineEnded(EngineEnd::Succeeded), world.clock.now());
    let settled = transition(&world.store, run, end, &EndDetails::default(), now).await.expect("settled");
    for owed in settled.expect("its end").owed {
        deliver(&world.store, &world.engine, &world.receiver, &world.clock, &owed).await.expect("delivered");
    }
}

/// Creates a run, and has its runner claim it.
async fn running(world: &World, id: &str, command: Command) -> Run {
    let now = world.clock.now();
    let policy = policy();
    let created =
        Box::pin(create_run(&world.store, &world.engine, &policy, &ada(), command, fresh(run_id(id)), now)).await;
    let run = created.expect("created").run;
    assert!(world.engine.claim(&world.store, &run.execution_arn(), now));
    run
}

fn ada() -> Caller {
    Caller { tenant: tenant("dev"), principal: Principal("ada".to_owned()), is_operator: false }
}
