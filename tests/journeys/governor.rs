//! The governor, as clients that know nothing of it see it: SDKs as they come from their publishers, found by variables only, spend a
//! run's cap and are told so by the right exception.

mod clients;

use serde_json::{Value, json};
use sluice_tests::{processor_contract, violations};

use crate::world::{Journey, list, text};
use clients::{Client, Mode};

const CLAUDE: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
const GPT: &str = "openai.gpt-oss-120b-1:0";
const PROCESSOR: &str = "governed";

/// What an operator declares once: models with their prices, and a processor with a key of its own, which is shown once.
fn set_up(journey: &Journey) -> String {
    let operator = journey.operator();
    for (key, id, most, input, output) in [("haiku", CLAUDE, 64_000, 1.0, 5.0), ("gpt-oss", GPT, 16_384, 1.0, 5.0)] {
        let price = json!({"from": "2026-01-01T00:00:00Z", "tiers": {"default": {"input": input, "output": output}}});
        let model = json!({
            "ids": [id], "tenants": ["*"], "contextTokens": 128_000, "maxOutputTokens": most, "prices": [price],
        });
        let declared = operator.put(&format!("/v1/models/{key}"), model);
        assert_eq!(declared.status, 200, "{id}: {}", declared.text());
    }
    let arn =
        format!("arn:aws:lambda:{}:{}:function:sluice-processor-echo", journey.stack.region, journey.stack.account);
    let processor = json!({"kind": "lambda", "functionArn": arn, "tenants": ["*"]});
    let key = format!("{PROCESSOR}-{}", journey.tenant);
    let declared = operator.put(&format!("/v1/processors/{key}"), processor);
    assert_eq!(declared.status, 200, "{}", declared.text());
    let made = operator.post(&format!("/v1/processors/{key}/keys"), json!({}));
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let shown = made.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str());
    let keys: Vec<&str> = shown.filter(|text| text.starts_with("spk.")).collect();
    let [shown] = keys[..] else { panic!("one key is shown: {made}") };
    shown.to_owned()
}

/// A run that waits for somebody, after its processor was handed its governor; its id and the url.
fn governed_run(journey: &Journey, fields: Value) -> (String, String) {
    let run_id = journey.start("governed", fields);
    journey.waiting(&run_id, "ask", 1);
    let given = journey.step(&run_id, "work")["result"].clone();
    assert_eq!(violations(&processor_contract("input"), &given), Vec::<String>::new(), "{given}");
    let url = text(&given["governor"]["url"]);
    assert!(url.starts_with(&journey.stack.governor_url) && url.ends_with("/work/1"), "{url}");
    (run_id, url)
}

fn define(journey: &Journey) {
    let processor = format!("{PROCESSOR}-{}", journey.tenant);
    journey.define(
        "governed",
        &json!({
            "nodes": [
                {"id": "work", "type": "processor", "processor": processor},
                {"id": "ask", "type": "external"},
            ],
            "edges": [{"from": "work", "to": "ask"}],
        }),
    );
}

/// A client spends a run's cap, whole answers or streams: two of them fit, a third is clamped, the fourth is refused.
fn spends_to_the_cap_and_is_told_so(client: Client, refused: &str) {
    let acme = Journey::of(&format!("governed-{}", client.name()));
    let key = set_up(&acme);
    define(&acme);
    let model = if client == Client::OpenAi { GPT } else { CLAUDE };
    for mode in [Mode::Whole, Mode::Streamed] {
        let (run_id, url) = governed_run(&acme, json!({"executionBudgetUsd": 0.02}));
        let told = clients::spend(acme.stack, client, mode, model, &url, &key);
        let what = format!("{} {mode:?}: {told}", client.name());
        assert_eq!((&told["error"], &told["status"]), (&json!(refused), &json!(403)), "{what}");
        assert_eq!(told["answers"], 3, "{what}");
        let run = acme.ended(&run_id);
        assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("budget_exceeded")), "{run}");
        let budget = &run["budget"];
        let spent = budget["spentUsd"].as_f64().expect("a number");
        // At least nineteen twentieths of the cap, and never more than it.
        assert!((0.019..=0.02).contains(&spent), "{what}: {budget}");
        let count = |name: &str| budget[name].as_u64();
        assert_eq!((count("calls"), count("clamped")), (Some(3), Some(1)), "{what}: {budget}");
        assert_eq!(budget["heldUsd"].as_f64(), Some(0.0), "{what}: {budget}");
        // A run that has ended grants nothing, whoever asks.
        let late = clients::spend(acme.stack, client, mode, model, &url, &key);
        assert_eq!((&late["answers"], &late["status"]), (&json!(0), &json!(403)), "{what}: {late}");
    }
}

#[test]
fn boto3_spends_to_the_cap() {
    spends_to_the_cap_and_is_told_so(Client::Boto3, "AccessDeniedException");
}

#[test]
fn the_sdk_for_javascript_spends_to_the_cap_over_http2() {
    spends_to_the_cap_and_is_told_so(Client::JavaScript, "AccessDeniedException");
}

#[test]
fn anthropic_spends_to_the_cap() {
    spends_to_the_cap_and_is_told_so(Client::Anthropic, "PermissionDeniedError");
}

#[test]
fn openai_spends_to_the_cap() {
    spends_to_the_cap_and_is_told_so(Client::OpenAi, "PermissionDeniedError");
}

#[test]
fn langchain_spends_to_the_cap() {
    spends_to_the_cap_and_is_told_so(Client::LangChain, "AccessDeniedException");
}

#[test]
fn strands_agents_spend_to_the_cap() {
    spends_to_the_cap_and_is_told_so(Client::Strands, "AccessDeniedException");
}

#[test]
fn the_sdk_for_rust_spends_to_the_cap() {
    spends_to_the_cap_and_is_told_so(Client::Rust, "AccessDeniedException");
}

/// Somebody outside, who has no key of a processor: the run's report token is his bearer, at the node that waits for him.
#[test]
fn a_worker_outside_calls_by_his_report_token() {
    let acme = Journey::of("governed-worker");
    set_up(&acme);
    define(&acme);
    let (run_id, url) = governed_run(&acme, json!({"executionBudgetUsd": 0.02}));
    let (grant, _) = url.split_once("/work/").expect("the node");
    let of_worker = format!("{grant}/ask/1");
    let token = |body: Value| text(&acme.tell(&run_id, "report-tokens", body, 201)["token"]);
    let (own, of_run) = (token(json!({"nodeId": "ask", "expiresInSeconds": 600})), token(json!({})));
    // Not at a processor's node, which a token of the worker's own does not open; nor of another run.
    let (other, _) = governed_run(&acme, json!({"executionBudgetUsd": 0.02}));
    let foreign = text(&acme.tell(&other, "report-tokens", json!({}), 201)["token"]);
    for (what, url, bearer) in [("a processor's node", &url, &own), ("another run's token", &of_worker, &foreign)] {
        let told = clients::spend(acme.stack, Client::Boto3, Mode::Whole, CLAUDE, url, bearer);
        assert_eq!(told, json!({"answers": 0, "error": "AccessDeniedException", "status": 403}), "{what}");
    }
    let told = clients::spend(acme.stack, Client::Boto3, Mode::Whole, CLAUDE, &of_worker, &own);
    assert_eq!((&told["answers"], &told["error"]), (&json!(3), &json!("AccessDeniedException")), "{told}");
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("budget_exceeded")), "{run}");
    // With the run its tokens have ended.
    let late = clients::spend(acme.stack, Client::Boto3, Mode::Whole, CLAUDE, &of_worker, &of_run);
    assert_eq!((&late["answers"], &late["status"]), (&json!(0), &json!(403)), "{late}");
}

/// What a user may spend in a day, over all runs that are for him.
#[test]
fn a_quota_bounds_what_runs_spend_together() {
    let acme = Journey::of("governed-quota");
    let key = set_up(&acme);
    define(&acme);
    acme.allow(&json!({"budget": {"period": "day", "maxUsd": 10, "perUserMaxUsd": 0.02}}));
    let left = |user: &str| {
        let budgets = acme.read(&format!("/v1/budgets?userId={user}"));
        let of_user = list(&budgets["budgets"]).into_iter().find(|item| item["computeNodeId"].is_null());
        let of_user = of_user.unwrap_or_else(|| panic!("{budgets}"))["user"].clone();
        (of_user["maxUsd"].as_f64(), of_user["leftUsd"].as_f64().expect("a number"))
    };
    assert_eq!(left("ann"), (Some(0.02), 0.02));
    let (run_id, url) = governed_run(&acme, json!({"userId": "ann"}));
    assert_eq!(acme.step(&run_id, "work")["result"]["userId"], "ann", "its processors are told for whom it is");
    // It has no cap of its own. Its user has: that is no reason to stop a run, and may be different tomorrow.
    let told = clients::spend(acme.stack, Client::Boto3, Mode::Whole, CLAUDE, &url, &key);
    assert_eq!((&told["error"], &told["status"]), (&json!("ThrottlingException"), &json!(429)), "{told}");
    let run = acme.answered(&run_id);
    let spent = run["budget"]["spentUsd"].as_f64().expect("a number");
    assert!((0.015..=0.02).contains(&spent), "{run}");
    // What the run drew ahead of its calls goes back once it has ended; what it spent does not.
    let rest = crate::world::eventually("the rest to go back", || {
        acme.reconcile();
        Some(left("ann").1).filter(|left| (left - (0.02 - spent)).abs() < 1e-9)
    });
    assert!(rest < 0.005, "{rest}");
    assert_eq!(left("bob"), (Some(0.02), 0.02));
}

/// Where nothing is left, nothing is begun.
#[test]
fn an_exhausted_quota_refuses_a_run_before_anything_is_written() {
    let acme = Journey::of("governed-exhausted");
    define_without_calls(&acme);
    acme.allow(&json!({"budget": {"period": "day", "maxUsd": 0}}));
    let before = acme.items().len();
    let answer = acme.post(
        "/v1/workflow-runs",
        json!({"workflowInstanceConfiguration": {"workflowDefinitionId": "asking"}, "userId": "ann"}),
    );
    assert_eq!(crate::world::refused(&answer), (429, "budget_exhausted".to_owned()), "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("when to come again");
    assert!((1..=86_401).contains(&seconds), "{seconds}");
    assert_eq!(acme.items().len(), before);
    let budgets = acme.read("/v1/budgets?userId=ann");
    let item =
        list(&budgets["budgets"]).into_iter().find(|item| item["computeNodeId"].is_null()).expect("the tenant's");
    assert_eq!((item["all"]["maxUsd"].as_f64(), item["all"]["leftUsd"].as_f64()), (Some(0.0), Some(0.0)), "{budgets}");
}

fn define_without_calls(journey: &Journey) {
    journey.define("asking", &json!({"nodes": [{"id": "ask", "type": "external"}]}));
}

#[test]
fn neither_half_opens_anything_without_the_other() {
    let acme = Journey::of("governed-halves");
    let key = set_up(&acme);
    define(&acme);
    let other = Journey::of("governed-others");
    let foreign_key = set_up(&other);
    let (run_id, url) = governed_run(&acme, json!({"executionBudgetUsd": 0.02}));
    let (last, grant) = (url.rsplit_once('/').expect("an attempt").0, "0".repeat(32));
    let old_grant =
        url.split("/g/").nth(1).and_then(|rest| rest.split('/').next()?.rsplit('.').next()).expect("a grant");
    for (what, url, key) in [
        ("a key alone", url.replace(old_grant, &grant), key.as_str()),
        ("the grant with another processor's key", url.clone(), &foreign_key),
        ("the grant with no key of ours", url.clone(), "spk.governed.guessed"),
        ("another node", format!("{}/ask/1", last.rsplit_once('/').expect("a node").0), &key),
        ("another tenant's run", url.replace("/g/governed-halves.", "/g/governed-others."), &key),
    ] {
        let told = clients::spend(acme.stack, Client::Boto3, Mode::Whole, CLAUDE, &url, key);
        // All alike, and nothing said.
        assert_eq!(told, json!({"answers": 0, "error": "AccessDeniedException", "status": 403}), "{what}");
    }
    let budget = acme.run(&run_id)["budget"].clone();
    assert_eq!((&budget["calls"], budget["spentUsd"].as_f64()), (&json!(0), Some(0.0)), "{budget}");
    let told = clients::spend(acme.stack, Client::Boto3, Mode::Whole, CLAUDE, &url, &key);
    assert_eq!(told["answers"], 3, "the right halves: {told}");
}

#[test]
fn a_run_without_a_cap_is_only_counted() {
    let acme = Journey::of("governed-uncapped");
    let key = set_up(&acme);
    define(&acme);
    let (run_id, url) = governed_run(&acme, json!({}));
    let told = clients::spend(acme.stack, Client::Boto3, Mode::Streamed, CLAUDE, &url, &key);
    assert_eq!((&told["answers"], &told["status"]), (&json!(10), &Value::Null), "{told}");
    let budget = acme.answered(&run_id)["budget"].clone();
    assert_eq!((&budget["calls"], &budget["capUsd"]), (&json!(10), &Value::Null), "{budget}");
}
