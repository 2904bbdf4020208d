//! The function over the memory ports.

use invoke_definition::App;
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
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
    let function =
        HttpFunction { handler: app.clone(), clock: app.clock.clone(), identity: IdentityConfig::for_test() };
    let asked = serde_json::from_str(event).expect("an event");
    let response =
        block_on(function.serve(LambdaEvent::new(asked, Context::default()))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}
