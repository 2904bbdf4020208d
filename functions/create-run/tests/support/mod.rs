//! The function over the memory ports.

use create_run::App;
use lambda_runtime::{Context, LambdaEvent};
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::metrics::{self, Emitter};
use sluice_edge::serve::HttpFunction;
use sluice_testkit::block_on;
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture::fresh;
use sluice_testkit::openapi;
use sluice_testkit::samples::{NEW_RUN, World, policy, run_id};
use sluice_testkit::store::MemoryStore;

pub type TestApp = App<MemoryStore, MemoryEngine, FixedClock>;

pub fn app(world: &World) -> TestApp {
    App {
        store: world.store.clone(),
        engine: world.engine.clone(),
        clock: world.clock.clone(),
        policy: policy(),
        new_run: || fresh(run_id(NEW_RUN)),
    }
}

pub fn answer(app: &TestApp, event: &str) -> Response {
    answer_as(IdentityConfig::for_test(), app, event)
}

pub fn answer_as(identity: IdentityConfig, app: &TestApp, event: &str) -> Response {
    answer_in(Context::default(), identity, app, event)
}

/// The answer of an invocation. The time to its end passes when nothing can go on.
pub fn answer_in(context: Context, identity: IdentityConfig, app: &TestApp, event: &str) -> Response {
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
    let function = HttpFunction { handler: app.clone(), clock: app.clock.patient(), identity };
    let asked = serde_json::from_str(event).expect("an event");
    let response = block_on(function.serve(LambdaEvent::new(asked, context))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}
