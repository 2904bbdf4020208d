//! The two files by which other programs find a running stack: `endpoints.json` and `functions.env`. They have its keys, so
//! only their owner may read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::{Error, Stack, place};

const ENDPOINTS: &str = "endpoints.json";
const FUNCTIONS_ENV: &str = "functions.env";

pub(crate) fn write(stack: &Stack) -> Result<(), Error> {
    let endpoints = json!({
        "apiUrl": stack.api_url,
        "functionUrls": stack.function_urls,
        "awsEndpointUrl": stack.aws_endpoint_url,
        "tenant": stack.tenant,
        "gatewayUrl": stack.gateway_url,
        "gatewayHeaders": {stack.emulator_key.0: stack.emulator_key.1},
        "receiverUrl": stack.receiver.origin(),
        "governorUrl": stack.governor_url,
        "governorAuthority": stack.governor_authority,
        "bedrockControlUrl": stack.bedrock.control_url,
        "region": stack.region,
        "accountId": stack.account,
        "credentials": {
            "accessKeyId": stack.credentials.access_key_id,
            "secretAccessKey": stack.credentials.secret_access_key,
        },
        "table": stack.table,
        "runnerArn": stack.runner_arn,
        "bucket": stack.bucket,
        "pid": std::process::id(),
    });
    place::written_in_private(&stack.folder.join(ENDPOINTS), &format!("{endpoints:#}\n"))?;
    place::written_in_private(&stack.folder.join(FUNCTIONS_ENV), &functions_env(stack)?)
}

/// A stack that has ended must not look like a running one.
pub(crate) fn remove(folder: &Path) {
    for name in [ENDPOINTS, FUNCTIONS_ENV] {
        drop(fs::remove_file(folder.join(name)));
    }
}

/// The environment of all functions in one, for a function run outside the emulator (`cargo lambda watch --env-file`). They
/// agree on the variables they share.
fn functions_env(stack: &Stack) -> Result<String, Error> {
    let mut variables = BTreeMap::new();
    for function in stack.functions() {
        variables.extend(stack.environment(function)?);
    }
    variables.extend(
        [
            ("AWS_ENDPOINT_URL", stack.aws_endpoint_url.as_str()),
            ("AWS_REGION", stack.region),
            ("AWS_DEFAULT_REGION", stack.region),
            // The emulator's own; they open nothing elsewhere.
            ("AWS_ACCESS_KEY_ID", &stack.credentials.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &stack.credentials.secret_access_key),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Ok(variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect())
}
