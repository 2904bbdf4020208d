//! The function over the memory ports.

use cancel_run::App;
use lambda_runtime::{Context, LambdaEvent};
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::metrics::{self, Emitter};
use sluice_edge::serve::HttpFunction;
use sluice_testkit::block_on;
use sluice_testkit::openapi;
use sluice_testkit::samples::World;

pub fn answer(world: &World, event: &str) -> Response {
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
    let handler = App { store: world.store.clone(), engine: world.engine.clone(), clock: world.clock.clone() };
    let function = HttpFunction { handler, clock: world.clock.clone(), identity: IdentityConfig::for_test() };
    let asked = serde_json::from_str(event).expect("an event");
    let response =
        block_on(function.serve(LambdaEvent::new(asked, Context::default()))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}
