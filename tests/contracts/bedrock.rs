//! The stand-in for Bedrock, as boto3 sees it: an SDK as it is, by variables only, signed or with a bearer token.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sluice_bedrock::books::State;
use sluice_bedrock::{Bedrock, Options};
use sluice_local::{place, program};
use sluice_tests::file;

/// What boto3 says, and what the books have: context and output of every call that was served, in order.
fn journey(name: &str, who: &[(&str, &str)]) -> (Value, Vec<[u64; 2]>) {
    let folder = place::target().join("e2e/bedrock");
    std::fs::create_dir_all(&folder).expect("a folder");
    let authority = folder.join(format!("{name}.pem"));
    let options = Options { authority_path: Some(authority.clone()), ..Options::test() };
    let bedrock = Bedrock::start(options).expect("a stand-in");
    let asked = Command::new(program("python").expect("the Python environment"))
        .arg(file("tests/contracts/bedrock.py"))
        .env_clear()
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &bedrock.door_url)
        .env("AWS_CA_BUNDLE", &authority)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", &folder)
        .envs(who.iter().copied())
        .stderr(Stdio::inherit())
        .output()
        .expect("Python");
    assert!(asked.status.success(), "boto3 failed by {name}");
    let said = serde_json::from_slice(&asked.stdout).expect("JSON");
    let entries = bedrock.service().books.entries();
    let served = entries.iter().filter(|entry| entry.state == State::Served && entry.operation != "CountTokens");
    (said, served.map(|entry| [entry.used.context(), entry.used.output]).collect())
}

#[test]
fn boto3_takes_the_stand_in_for_bedrock_and_the_books_have_what_it_was_told() {
    let signed = [
        ("AWS_ACCESS_KEY_ID", "ASIASTANDIN"),
        ("AWS_SECRET_ACCESS_KEY", "a secret of tests"),
        ("AWS_SESSION_TOKEN", "a session of tests"),
    ];
    let bearer = [("AWS_BEARER_TOKEN_BEDROCK", "a-token-of-tests")];
    for (name, who) in [("signed", &signed[..]), ("bearer", &bearer[..])] {
        let (said, books) = journey(name, who);
        assert_eq!(said["usage"], json!(books), "{name}");
        assert!(books.len() > 10 && books[..6].iter().all(|[_, output]| *output == 60), "{name}: {books:?}");
        for pair in said["texts"].as_array().expect("texts") {
            assert_eq!(pair[0], pair[1], "{name}");
        }
        let errors = &said["errors"];
        for (what, code) in [
            ("400", "ValidationException"),
            ("403", "AccessDeniedException"),
            ("404", "ResourceNotFoundException"),
            ("408", "ModelTimeoutException"),
            ("424", "ModelErrorException"),
            ("429", "ThrottlingException"),
            ("ModelNotReadyException", "ModelNotReadyException"),
            ("500", "InternalServerException"),
            ("503", "ServiceUnavailableException"),
            ("throttlingException", "throttlingException"),
            ("modelStreamErrorException", "modelStreamErrorException"),
        ] {
            assert_eq!(errors[what], code, "{name}: {errors}");
        }
        assert!(errors["abort"].is_string() && errors["reset"].is_string(), "{name}: {errors}");
    }
}
