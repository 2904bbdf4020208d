//! What a processor gets and gives: `infra/processor-contract.schema.json`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_core::{budget::MicroUsd, governor::access::GrantPath, limits};
use sluice_tests::{PROCESSOR_CONTRACT, processor_contract, violations};

use crate::runner;

fn contract() -> Value {
    sluice_tests::json(PROCESSOR_CONTRACT)
}

fn example() -> Value {
    contract()["$defs"]["input"]["examples"][0].clone()
}

#[test]
fn the_contract_is_a_json_schema_of_2020_12() {
    let contract = contract();
    assert_eq!(contract["$schema"], "https://json-schema.org/draft/2020-12/schema");
    if let Err(error) = jsonschema::meta::validate(&contract) {
        panic!("{}: {error}", error.instance_path());
    }
}

#[test]
fn every_definition_is_described_and_its_examples_are_valid() {
    let contract = contract();
    let definitions = contract["$defs"].as_object().expect("definitions");
    let mut examples = 0;
    for (name, definition) in definitions {
        let validator = processor_contract(name);
        for example in definition["examples"].as_array().into_iter().flatten() {
            assert_eq!(violations(&validator, example), Vec::<String>::new(), "{name}: {example}");
            examples += 1;
        }
    }
    assert!(examples >= 7, "only {examples} examples");
    for (name, property) in definitions["input"]["properties"].as_object().expect("properties") {
        let described = property.get("description").is_some() || property.get("$ref").is_some();
        assert!(described, "{name} is not described");
    }
}

#[test]
fn what_breaks_the_contract_is_found() {
    let validator = processor_contract("input");
    let broken = |change: fn(&mut Value)| {
        let mut input = example();
        change(&mut input);
        violations(&validator, &input)
    };
    assert_eq!(broken(|_| {}), Vec::<String>::new());
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 16] = [
        ("a budget of nothing", |input| {
            input["executionBudgetUsd"] = json!(0);
            input["executionBudgetMicroUsd"] = json!(0);
        }),
        ("a budget in one unit only", |input| input["executionBudgetMicroUsd"] = Value::Null),
        ("no budget, but micro-dollars", |input| input["executionBudgetUsd"] = Value::Null),
        ("half a micro-dollar", |input| input["executionBudgetMicroUsd"] = json!(0.5)),
        ("a missing field", |input| drop(input.as_object_mut().map(|input| input.remove("layers")))),
        ("an attempt before the first", |input| input["attempt"] = json!(0)),
        ("an external node", |input| input["nodeType"] = json!("external")),
        ("a target's entry for a processor", |input| input["dataTarget"] = json!({})),
        ("a source's entry for a processor", |input| input["dataSource"] = json!({})),
        ("a reference to nowhere", |input| input["inputs"]["text"] = json!({"resultRef": {"runId": "x"}})),
        ("a secret that is no reference", |input| input["params"]["apiKey"] = json!({"secretRef": "hunter2"})),
        ("a user with spaces", |input| input["userId"] = json!("ann and bob")),
        ("no user, not even null", |input| drop(input.as_object_mut().map(|input| input.remove("userId")))),
        ("a governor without a url", |input| input["governor"] = json!({})),
        ("a governor in the clear", |input| change_url(input, |url| url.replace("https:", "http:"))),
        ("a governor of no attempt", |input| change_url(input, |url| url.trim_end_matches("/1").to_owned())),
    ];
    for (what, change) in changes {
        assert_ne!(broken(change), Vec::<String>::new(), "{what}");
    }
}

fn change_url(input: &mut Value, change: fn(&str) -> String) {
    let url = &mut input["governor"]["url"];
    *url = json!(change(url.as_str().expect("a url")));
}

/// What a processor is handed is what the governor reads: the path of every url is a grant's.
#[test]
fn the_url_of_a_governor_is_the_path_of_a_grant() {
    let contract = contract();
    let handed = contract["$defs"]["input"]["examples"].as_array().expect("examples");
    let of_its_own = contract["$defs"]["governor"]["examples"].as_array().expect("examples");
    let urls: Vec<&str> = handed
        .iter()
        .map(|input| &input["governor"])
        .chain(of_its_own)
        .filter_map(|governor| governor["url"].as_str())
        .collect();
    assert!(urls.len() >= 2, "{urls:?}");
    for url in urls {
        let (_, path) = url.split_once("/g/").expect("a grant");
        let (grant, rest) = GrantPath::read(path).unwrap_or_else(|refused| panic!("{url}: {refused:?}"));
        assert_eq!((grant.write().as_str(), rest), (path, ""), "{url}");
    }
}

#[test]
fn a_result_says_of_usage_what_the_service_reads() {
    let validator = processor_contract("result");
    let node = "work".parse().expect("a node");
    let with = |usage: Value| json!({"text": "done", "usage": usage});
    let call = json!({"provider": "p", "model": "m"});
    let also = |name: &str, value: Value| {
        let mut call = call.clone();
        call[name] = value;
        json!([call])
    };
    let cases = [
        (json!([call]), true),
        (json!([{"callId": "1", "nodeId": "other", "provider": "p", "model": "m", "costUsd": 1e-9}]), true),
        (also("inputTokens", json!(1_000_000_000_000_u64)), true),
        (also("inputTokens", json!(1_000_000_000_001_u64)), false),
        (also("outputTokens", json!(-1)), false),
        (also("costUsd", json!(-0.1)), false),
        (also("costUsd", json!(100_001)), false),
        (also("model", json!("")), false),
        (also("model", json!("m".repeat(129))), false),
        (also("price", json!(1)), false),
        (json!([{"model": "m"}]), false),
        (json!(["p"]), false),
    ];
    for (usage, is_usable) in cases {
        assert_eq!(violations(&validator, &with(usage.clone())).is_empty(), is_usable, "{usage}");
        let read = sluice_edge::wire::usage::of_result(&usage, &node, "1", jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(read.is_ok(), is_usable, "{usage}: {read:?}");
    }
    // No list of calls: the runner takes it for a part of the result like any other.
    for usage in [json!({"input": 1}), json!("much"), json!([])] {
        assert_eq!(violations(&validator, &with(usage)), Vec::<String>::new());
    }
}

#[test]
fn the_bounds_of_the_contract_are_those_of_the_service() {
    let contract = contract();
    let properties = &contract["$defs"]["input"]["properties"];
    assert_eq!(properties["attempt"]["maximum"], limits::NODE_ATTEMPTS);
    assert_eq!(properties["layers"]["maxItems"], limits::LAYERS);
    let most = MicroUsd::from_usd(limits::BUDGET_USD);
    assert_eq!(properties["executionBudgetUsd"]["oneOf"][1]["maximum"], limits::BUDGET_USD);
    assert_eq!(contract["$defs"]["microUsd"]["oneOf"][1]["maximum"], most.0);
    let usage = &contract["$defs"]["usage"]["properties"];
    for text in ["callId", "provider", "model"] {
        assert_eq!(usage[text]["maxLength"], limits::USAGE_TEXT_CHARS, "{text}");
    }
    assert_eq!(usage["costUsd"]["maximum"], limits::CALL_COST_USD);
}

#[test]
fn the_runner_hands_over_exactly_the_fields_of_the_contract() {
    let nodes = runner::machine().of_nodes();
    let request = nodes.state("RecordStart")["Assign"]["request"].as_str().expect("the request's expression");
    // `{'specVersion': '1', 'runId': $run.runId, …}`: the keys are the quoted words before a colon.
    let mut fields: BTreeSet<&str> = request
        .split('\'')
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|pair| pair[1].starts_with(": "))
        .map(|pair| pair[0])
        .collect();
    // What is inside a field is the contract's own matter.
    assert!(fields.remove("url"), "a governor is handed by its url");
    for (call, argument) in [("InvokeFunction", "Payload"), ("RunStateMachine", "Input")] {
        assert_eq!(nodes.state(call)["Arguments"][argument], "{% $request %}", "{call}");
    }
    let container = nodes.state("RunContainer")["Arguments"].to_string();
    assert!(container.contains("'SLUICE_TASK_INPUT', 'Value': $string($request)}"), "{container}");
    let contract = contract();
    let input = &contract["$defs"]["input"];
    let properties: BTreeSet<&str> =
        input["properties"].as_object().expect("properties").keys().map(String::as_str).collect();
    let required: BTreeSet<&str> =
        input["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(fields, required, "the runner always sends every field that it knows");
    // What only some nodes of the second generation have: see `rules/work.rs`, which holds every field to its node.
    let of_some: BTreeSet<&str> = properties.difference(&required).copied().collect();
    assert_eq!(of_some, BTreeSet::from(["errors", "item", "itemIndex", "iteration"]));
}
