use lambda_runtime::Error;
use manage_definitions::App;
use sluice_aws::Aws;
use sluice_aws::clock::SystemClock;
use sluice_aws::config::Settings;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::serve::HttpFunction;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice_edge::telemetry::init(env!("CARGO_PKG_NAME"));
    let settings = Settings::from_env()?;
    let store = Aws::connect_store(&settings).await;
    let handler = App {
        store,
        clock: SystemClock,
        new_definition_id: sluice_aws::ids::new_definition_id,
        new_key: sluice_aws::ids::new_key,
        destinations: settings.destinations(),
        tenant_limits: settings.tenant_limits,
        runner_arn: settings.runner_arn,
    };
    HttpFunction { handler, clock: SystemClock, identity: IdentityConfig::from_env()? }.run().await
}
