use create_run::App;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use sluice_aws::Aws;
use sluice_aws::config::Settings;
use sluice_edge::http::Event;
use sluice_edge::identity::IdentityConfig;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice_edge::telemetry::init(env!("CARGO_PKG_NAME"));
    let settings = Settings::from_env()?;
    let aws = Aws::connect(&settings).await;
    let app = App {
        store: aws.store,
        engine: aws.engine,
        clock: aws.clock,
        policy: settings.policy(),
        identity: IdentityConfig::from_env()?,
        new_run_id: sluice_aws::ids::new_run_id,
    };
    Runtime::new(service_fn(|event: LambdaEvent<Event>| Box::pin(app.handle(event)))).run().await
}
