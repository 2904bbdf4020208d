//! The signatures of calls, by whoever did not write them: botocore computes each anew from the request as it went over the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_aws::Aws;
use sluice_aws::bedrock::{Bedrock, Sent};
use sluice_aws::config::Settings;
use sluice_core::id::RunId;
use sluice_core::ports::{LoadRun, PublishStatus, StartExecution, StartRequest};
use sluice_edge::bedrock::operation::Target;
use sluice_local::program;
use sluice_tests::file;

/// A request as it came: its target, its headers, and its body.
struct Arrived {
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[expect(clippy::disallowed_methods, reason = "the verifier refuses a signature that is old by the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Takes one request, and answers it.
fn taking(listener: TcpListener) -> JoinHandle<Arrived> {
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(&stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request");
        let target = line.split(' ').nth(1).expect("a target").to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").expect("a length");
        let mut body = vec![0; length.1.parse().expect("a number")];
        reader.read_exact(&mut body).expect("the body");
        (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("answered");
        Arrived { target, headers, body }
    })
}

/// What the repository's verifier says of requests: what is wrong with each.
fn verified(questions: &[Value]) -> Vec<Value> {
    let mut verifier = Command::new(program("python").expect("the Python environment"))
        .arg(file("infra/local/python/bridge.py"))
        .envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")])
        .envs([("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "nothing")])
        .envs([("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-1")])
        .envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUTF8", "1")])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut pipe = verifier.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(verifier.stdout.take().expect("a pipe")).lines();
    let answers = questions.iter().map(|question| {
        writeln!(pipe, "{question}").expect("asked");
        let line = lines.next().expect("an answer").expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    });
    let answers = answers.collect();
    drop(pipe);
    verifier.wait().expect("it ends");
    answers
}

/// A request as govern-calls makes it for an operation's path, as it went over the wire.
fn sent(path: &str, body: &'static str) -> Arrived {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut settings = Settings::for_test("http://127.0.0.1:1");
    settings.endpoints.bedrock = Some(format!("http://{}", listener.local_addr().expect("an address")));
    let taken = taking(listener);
    let target = Target::of("POST", path).unwrap_or_else(|_| panic!("{path} is governed"));
    let mut sent = Sent { path: target.path().to_owned(), headers: Default::default(), body: body.into() };
    sent.headers.insert("content-type", "application/json".parse().expect("a value"));
    sent.headers.insert("accept", "application/json".parse().expect("a value"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer = runtime.block_on(Bedrock::new(&settings).call(sent, now()));
    assert_eq!(answer.expect("an answer").status, 200, "{path}");
    taken.join().expect("it was taken")
}

/// A request as the functions make it for a call of a service.
fn called(call: impl AsyncFnOnce(Aws)) -> Arrived {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let settings = Settings::for_test(&format!("http://{}", listener.local_addr().expect("an address")));
    let taken = taking(listener);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { call(Aws::connect(&settings).await).await });
    taken.join().expect("it was taken")
}

fn question(id: usize, service: &str, arrived: &Arrived) -> Value {
    let Arrived { target, headers, body } = arrived;
    let now = now().as_millisecond();
    json!({
        "id": id, "op": "verify", "method": "POST", "target": target, "headers": headers,
        "body": {"$base64": STANDARD.encode(body)}, "receivedAtMs": now, "service": service, "region": "eu-west-1",
        "requiredHeaders": ["content-type"],
        // Those of `Settings::for_test`.
        "credentials": {"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "secret", "sessionToken": "token"},
    })
}

/// Model ids in every form in which SDKs write them into a path.
const PATHS: [&str; 9] = [
    "/model/anthropic.claude-3-haiku-20240307-v1:0/converse",
    "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream",
    "/model/eu.amazon.nova-lite-v1:0/invoke",
    "/model/global.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream",
    "/model/arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0/converse",
    "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-lite-v1%3A0/converse",
    "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2c3d4e5f6/count-tokens",
    "/model/arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile%2Fa1b2c3d4e5f6/invoke",
    "/openai/v1/chat/completions",
];

#[test]
fn botocore_verifies_what_the_governor_signs_whatever_the_model_is_called() {
    let body = r#"{"messages":[{"role":"user","content":[{"text":"grüß dich"}]}]}"#;
    let mut questions = Vec::new();
    for path in PATHS {
        let arrived = sent(path, body);
        // A model's id is one segment of the path, escaped as a whole before it is signed.
        let plain = |path: &str| path.replace("%3A", ":").replace("%2F", "/");
        assert_eq!(plain(&arrived.target), plain(path), "it passes as it came");
        questions.push(question(questions.len(), "bedrock", &arrived));
    }
    // The verifier would say if it were another request.
    let foreign = sent(PATHS[0], body);
    for change in [
        (|arrived: &mut Arrived| arrived.body.push(b' ')) as fn(&mut Arrived),
        |arrived| arrived.target = arrived.target.replace("haiku", "opus"),
        |arrived| arrived.headers.retain(|(name, _)| name != "x-amz-security-token"),
    ] {
        let Arrived { target, headers, body } = &foreign;
        let mut changed = Arrived { target: target.clone(), headers: headers.clone(), body: body.clone() };
        change(&mut changed);
        questions.push(question(questions.len(), "bedrock", &changed));
    }
    for (at, answer) in verified(&questions).iter().enumerate() {
        let is_ours = at < PATHS.len();
        assert_eq!(answer["ok"]["verified"], is_ours, "{}: {answer}", PATHS.get(at).unwrap_or(&"changed"));
    }
}

#[test]
fn botocore_verifies_what_the_services_are_sent() {
    let tenant = "acme".parse().expect("a tenant");
    let run_id: RunId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a run");
    let text = r#"{"text":"grüß dich, 🚀 \\u0007"}"#;
    let dynamodb = called(async |aws| drop(aws.store.load_run(&tenant, run_id).await));
    let states = called(async |aws| {
        let state_machine_arn = &"arn:aws:states:eu-west-1:123456789012:stateMachine:a".parse().expect("an ARN");
        drop(aws.engine.start_execution(&StartRequest { state_machine_arn, run_id, input: text }).await);
    });
    let events = called(async |aws| drop(aws.engine.publish_status(text).await));
    let mut questions = Vec::new();
    for (service, arrived) in [("dynamodb", &dynamodb), ("states", &states), ("events", &events)] {
        questions.push(question(questions.len(), service, arrived));
    }
    // The verifier would say if it were another request, or another service's.
    let Arrived { target, headers, body } = dynamodb;
    let other = |headers: Vec<(String, String)>| Arrived { target: target.clone(), headers, body: body.clone() };
    questions.push(question(questions.len(), "states", &other(headers.clone())));
    let another = headers.iter().map(|(name, value)| (name.clone(), value.replace("GetItem", "PutItem"))).collect();
    questions.push(question(questions.len(), "dynamodb", &other(another)));
    for (at, answer) in verified(&questions).iter().enumerate() {
        assert_eq!(answer["ok"]["verified"], at < 3, "{at}: {answer}");
    }
}
