//! The script that tries a stack on a real account, tried on the local one.

use std::process::Command;

use sluice_local::program;
use sluice_tests::file;

use crate::world::Journey;

/// The script's exit status and what it printed.
fn smoke(receiver: &str) -> (Option<i32>, String) {
    let journey = Journey::of("smoke");
    let stack = journey.stack;
    let name = stack.function_name("run-callback").strip_suffix("-run-callback").expect("named after its stack");
    let tenant = |tenant: &str| format!("x-dev-tenant: {tenant}");
    let output = Command::new(program("python").expect("the Python environment"))
        .arg(file("infra/smoke/smoke.py"))
        .args(["--stack", name, "--region", stack.region, "--api-url", &stack.api_url, "--receiver-url", receiver])
        .args(["--operator-header", &tenant(&stack.tenant), "--caller-header", &tenant(&journey.tenant)])
        .env("AWS_ENDPOINT_URL", &stack.aws_endpoint_url)
        .env("AWS_ACCESS_KEY_ID", &stack.credentials.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &stack.credentials.secret_access_key)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), said(&output.stdout) + &said(&output.stderr))
}

#[test]
fn the_script_for_the_first_hour_passes_where_everything_works() {
    let (status, said) = smoke(&Journey::of("smoke").hook());
    assert_eq!(status, Some(0), "{said}");
    let checks = [
        "helpers are made and declared",
        "a Lambda node and an external node",
        "numbers as they were written",
        "a webhook",
        "a pause",
        "a cancel",
        "a failure's type and message",
    ];
    for check in checks {
        assert!(said.lines().any(|line| line.starts_with(&format!("passed  {check} ("))), "{check}: {said}");
    }
    assert!(said.contains(&format!("{} passed, 0 failed", checks.len())), "{said}");
}

#[test]
fn the_script_says_what_failed_and_ends_so() {
    // Nobody may be called back there.
    let (status, said) = smoke("http://127.0.0.1:9/hook");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("FAILED  a Lambda node and an external node: ") && said.contains("1 failed"), "{said}");
}
