use govern_calls::{App, Known};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use sluice_aws::Aws;
use sluice_aws::bedrock::Bedrock;
use sluice_aws::config::Settings;
use sluice_edge::bedrock::event::Event;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice_edge::telemetry::init(env!("CARGO_PKG_NAME"));
    let settings = Settings::from_env()?;
    let (aws, bedrock) = tokio::join!(Aws::connect(&settings), Bedrock::connect(&settings));
    let app = App {
        store: aws.store,
        engine: aws.engine,
        clock: aws.clock,
        bedrock,
        known: Known::default(),
        new_random: sluice_aws::ids::new_call,
    };
    Runtime::new(service_fn(|event: LambdaEvent<Event>| Box::pin(app.handle(event)))).run().await
}
