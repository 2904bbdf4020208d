use create_run::App;
use lambda_runtime::Error;
use sluice_aws::Aws;
use sluice_aws::config::Settings;
use sluice_edge::identity::IdentityConfig;
use sluice_edge::serve::HttpFunction;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice_edge::telemetry::init(env!("CARGO_PKG_NAME"));
    let settings = Settings::from_env()?;
    let aws = Aws::connect(&settings).await;
    let handler = App {
        store: aws.store,
        engine: aws.engine,
        clock: aws.clock,
        policy: settings.policy(),
        new_run: sluice_aws::ids::new_run,
    };
    HttpFunction { handler, clock: aws.clock, identity: IdentityConfig::from_env()? }.run().await
}
