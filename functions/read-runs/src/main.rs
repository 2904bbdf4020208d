use lambda_runtime::Error;
use read_runs::App;
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
    let handler =
        App { store, clock: SystemClock, wait_limits: settings.wait_limits(), new_chance: sluice_aws::ids::new_chance };
    HttpFunction { handler, clock: SystemClock, identity: IdentityConfig::from_env()? }.run().await
}
