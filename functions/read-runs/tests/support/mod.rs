//! The function over the memory ports.

use lambda_runtime::{Context, LambdaEvent};
use read_runs::App;
use sluice_core::flow::waiting::WaitLimits;
use sluice_core::meter::Chance;
use sluice_core::tenant_limits::TenantLimits;
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::serve::HttpFunction;
use sluice_testkit::block_on;
use sluice_testkit::openapi;
use sluice_testkit::samples::World;

pub fn answer(world: &World, event: &str) -> Response {
    let handler = App {
        store: world.store.clone(),
        clock: world.clock.clone(),
        wait_limits: WaitLimits::of(TenantLimits::DEFAULT, 10),
        new_chance: || Chance(0),
    };
    let function = HttpFunction { handler, clock: world.clock.clone(), identity: IdentityConfig::for_test() };
    let asked = serde_json::from_str(event).expect("an event");
    let response =
        block_on(function.serve(LambdaEvent::new(asked, Context::default()))).unwrap_or_else(|never| match never {});
    openapi::check(event, &response);
    response
}
