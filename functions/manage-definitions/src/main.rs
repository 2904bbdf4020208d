use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use manage_definitions::App;
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
        clock: aws.clock,
        identity: IdentityConfig::from_env()?,
        new_definition_id: sluice_aws::ids::new_definition_id,
        destinations: settings.destinations(),
        runner_arn: settings.runner_arn,
    };
    Runtime::new(service_fn(|event: LambdaEvent<Event>| Box::pin(app.handle(event)))).run().await
}
