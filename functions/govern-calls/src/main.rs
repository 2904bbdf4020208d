use govern_calls::serve::serve;
use govern_calls::{App, Known};
use lambda_runtime::Error;
use sluice_aws::Aws;
use sluice_aws::bedrock::Bedrock;
use sluice_aws::config::Settings;

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
    serve(app).await
}
