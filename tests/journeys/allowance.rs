//! What one tenant may take of the service, so that another is not held up.

use serde_json::json;

use crate::world::{Journey, body, instant, refused, text};

#[test]
fn a_tenant_that_floods_is_told_to_wait_and_another_goes_on_undisturbed() {
    let acme = Journey::of("allowance-flood");
    acme.allow(&json!({"limits": {"startsPerMinute": 3}}));
    acme.define("instant", &instant());
    let free = acme.neighbour("allowance-free");
    free.define("instant", &instant());
    let (mut accepted, mut refusals) = (0, Vec::new());
    // More than two minutes of the clock let in, should one end meanwhile.
    for number in 0..12 {
        let key = format!("k-{number}");
        let answer = acme.create_with_key(&key, body("instant", json!({})));
        if answer.status == 201 {
            accepted += 1;
            continue;
        }
        assert_eq!(refused(&answer), (429, "rate_limited".to_owned()), "{}", answer.text());
        assert_eq!(answer.json()["detail"], "3 runs were started in this minute, as many as this tenant may");
        let seconds: u32 = answer.header("retry-after").expect("when to come again").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
        refusals.push(key);
        free.ended(&free.start("instant", json!({})));
    }
    assert!((3..=6).contains(&accepted) && !refusals.is_empty(), "{accepted} were accepted");
    assert_eq!(acme.found("").len(), accepted, "what was refused made no run");
    // A replay and an invocation are starts like any other; who repeats a key is told of its run.
    let again = acme.create_with_key("k-0", body("instant", json!({})));
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")), "{}", again.text());

    // The operator lets it start more, which counts at once; a refused request has not used up its key.
    acme.allow(&json!({"limits": {"startsPerMinute": 1_000}}));
    let taken = acme.create_with_key(&refusals[0], body("instant", json!({})));
    assert_eq!((taken.status, taken.header("idempotent-replayed")), (201, None), "{}", taken.text());
    acme.ended(&text(&taken.json()["id"]));
}

#[test]
fn a_tenant_makes_no_more_definitions_than_it_may() {
    let acme = Journey::of("allowance-definitions");
    acme.allow(&json!({"limits": {"definitions": 2}}));
    let make = |name: &str| acme.post("/v1/workflow-definitions", json!({"name": name}));
    assert_eq!((make("first").status, make("second").status), (201, 201));
    let before = acme.items();
    let answer = make("third");
    assert_eq!(refused(&answer), (409, "too_many_definitions".to_owned()), "{}", answer.text());
    assert_eq!(refused(&make("first")), (409, "name_taken".to_owned()));
    assert_eq!(acme.items(), before, "nothing was written");
    acme.allow(&json!({}));
    assert_eq!(make("third").status, 201);
}
