//! Report tokens: each opens its own run.

use serde_json::{Value, json};
use sluice_local::Answer;

use crate::world::{Journey, refused, run_path, text};

#[test]
fn a_report_token_opens_its_own_run_whoever_else_holds_one() {
    let owner = Journey::of("sweep-token-owner");
    let neighbour = owner.neighbour("sweep-token-neighbour");
    let stranger = owner.neighbour("sweep-token-stranger");
    let started = |tenant: &Journey| {
        let run_id = tenant.start_asking("asked", json!({}));
        let token = text(&tenant.tell(&run_id, "report-tokens", "", 201)["token"]);
        (run_id, token)
    };
    for tenant in [&owner, &neighbour] {
        tenant.define("asked", &json!({"nodes": [{"id": "ask", "type": "external"}]}));
    }
    let opened = [started(&owner), started(&owner), started(&neighbour)];
    let part = |token: &str, index: usize| token.split('.').nth(index).unwrap_or_default().to_owned();
    let [(_, of_owner), _, (_, of_neighbour)] = &opened;
    let garbage = [
        // The secret of the one under the name of the other.
        format!("srt.{}.{}", part(of_neighbour, 1), part(of_owner, 2)),
        format!("srt.{}.{}", part(of_owner, 1), part(of_neighbour, 2)),
        format!("srt.{}.{}", part(of_owner, 1), "A".repeat(part(of_owner, 2).len())),
        of_owner.to_uppercase(),
        "srt..".to_owned(),
        "garbage".to_owned(),
        String::new(),
    ];
    let nobodys = "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11";
    let underway = json!({"nodeId": "ask", "status": "RUNNING", "progress": {"percent": 1}});
    // Who else the caller is makes no difference, nor does what is said.
    let said = [
        (&owner, underway.clone()),
        (&neighbour, underway.clone()),
        (&stranger, underway.clone()),
        (&stranger, json!({"nodeId": "ask", "status": "SUCCEEDED", "result": "mine"})),
        (&stranger, json!({"nodeId": "ask", "status": "FAILED", "error": {"code": "Mine", "message": "mine"}})),
        (&stranger, json!({"nodeId": "no-such-node", "status": "RUNNING"})),
    ];
    let before = (owner.items(), neighbour.items());
    let mut refusals: Vec<Value> = Vec::new();
    for run_id in opened.iter().map(|(run_id, _)| run_id.as_str()).chain([nobodys, "no-run-id"]) {
        let tokens = opened.iter().filter(|(of, _)| of != run_id).map(|(_, token)| token).chain(&garbage);
        for token in tokens {
            for (caller, said) in &said {
                let answer = report(caller, run_id, token, said);
                assert_eq!(refused(&answer), (401, "invalid_report_token".to_owned()), "{run_id} {token} {said}");
                let mut refusal = answer.json();
                refusal.as_object_mut().expect("a problem").remove("instance");
                if !refusals.contains(&refusal) {
                    refusals.push(refusal);
                }
            }
        }
    }
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!((owner.items(), neighbour.items()), before, "nothing was written");
    for (run_id, token) in &opened {
        assert_eq!(report(&stranger, run_id, token, &underway).status, 202, "its own token opens {run_id}");
    }
    assert_eq!(stranger.items(), Vec::<Value>::new());
    for (tenant, (run_id, token)) in [&owner, &owner, &neighbour].into_iter().zip(&opened) {
        tenant.canceled(run_id);
        let late = report(&stranger, run_id, token, &underway);
        assert_eq!(refused(&late), (409, "run_ended".to_owned()));
    }
}

/// A report with a token, by somebody who may be anybody.
pub fn report(as_tenant: &Journey, run_id: &str, token: &str, report: &Value) -> Answer {
    let path = format!("{}/report", run_path(run_id));
    as_tenant.request("POST", &path, &[("authorization", &format!("Bearer {token}"))], report.to_string())
}
