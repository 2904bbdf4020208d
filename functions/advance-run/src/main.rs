use advance_run::App;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;
use sluice_aws::Aws;
use sluice_aws::config::Settings;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice_edge::telemetry::init(env!("CARGO_PKG_NAME"));
    let aws = Aws::connect(&Settings::from_env()?).await;
    let app = App { store: aws.store, engine: aws.engine, clock: aws.clock };
    Runtime::new(service_fn(|event: LambdaEvent<Box<RawValue>>| Box::pin(app.handle(event)))).run().await
}
