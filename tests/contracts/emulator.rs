//! The local stack's emulator, as far as it was mended for the second runner: over its own code, with the services replaced.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sluice_local::program;
use sluice_tests::file;

#[test]
fn the_emulator_takes_the_states_of_the_second_runner_as_aws_does() {
    let asked = Command::new(program("python").expect("the Python environment"))
        .arg(file("tests/contracts/emulator.py"))
        .stderr(Stdio::inherit())
        .output()
        .expect("Python");
    assert!(asked.status.success(), "the emulator is not the one that this was made for");
    let said: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    assert_eq!(said["workers"], json!([0]), "one worker is a list as well");
    // A function's error fails the task, which asks again; and whoever was told by the token before stays told.
    assert_eq!(said["failures"], json!(["Sluice.EventFailed", "Sluice.Again"]));
    assert_eq!(said["told"], json!([{"worker": 0, "turn": 2, "act": {"do": "leave"}}, "Act"]));
    assert_eq!((&said["waited"][0]["act"]["seconds"], &said["waited"][1]), (&json!(0), &json!("Act")));
    // Its timeout is an expression.
    let ended = json!({"unit": {"node": "a"}, "value": {"x": 1}});
    assert_eq!(said["done"], json!([{"worker": 0, "turn": 2, "ended": ended}, "Ask"]));
    assert_eq!(said["acts"], json!(["Leave", "BackOff", "InvokeFunction", "RunStateMachine", "RunContainer"]));
}
