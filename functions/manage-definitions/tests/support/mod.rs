//! The function over the memory ports.

use lambda_runtime::{Context, LambdaEvent};
use manage_definitions::App;
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_testkit::block_on;
use sluice_testkit::fixture::definition_id;
use sluice_testkit::openapi;
use sluice_testkit::samples::{RUNNER_ARN, World};

pub fn answer(world: &World, event: &str) -> Response {
    let app = App {
        store: world.store.clone(),
        clock: world.clock.clone(),
        identity: IdentityConfig::for_test(),
        new_definition_id: || definition_id(9),
        runner_arn: Some(RUNNER_ARN.to_owned()),
    };
    let asked = serde_json::from_str(event).expect("an event");
    let response =
        block_on(app.handle(LambdaEvent::new(asked, Context::default()))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}
