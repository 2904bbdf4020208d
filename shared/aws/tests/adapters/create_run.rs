//! The whole flow over its adapters: how often a request for a run goes out.

use crate::support::http::Scripted;
use crate::support::sample::{self, mine, noon};
use crate::support::table::Table;
use serde_json::json;
use sluice_aws::config::{Endpoints, Settings};
use sluice_aws::{Aws, ids};
use sluice_core::definition::{Definition, VersionRule};
use sluice_core::flow::create_run::{Command, Source, create_run};
use sluice_core::id::{DefinitionRef, NodeId};
use sluice_core::instance::ProcessorConfig;
use sluice_core::ports::{Clock, ManageDefinitions, ManageOperator};
use sluice_testkit::fixture;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_warm_request_goes_out_twice_once_to_the_table_and_once_to_the_engine() {
    let table = Table::new().await;
    let service = Scripted::start(|_| (200, json!({"executionArn": "x", "startDate": 1.0}).to_string())).await;
    let mut settings = Settings::for_test(&table.relay.endpoint);
    settings.endpoints = Endpoints { sfn: Some(service.endpoint.clone()), ..settings.endpoints };
    let aws = Aws::connect(&settings).await;

    for processor in fixture::processors(noon()) {
        aws.store.save_processor(&processor).await.expect("saved");
    }
    aws.store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved");
    let first = sample::definition(&mine(), 7, "text-report");
    aws.store.create_definition(&first).await.expect("created");
    let definition = Definition { active_version: Some(1), latest_version: 1, rev: 2, ..first };
    let version = sample::version(&definition, 1);
    assert!(aws.store.change_definition(&definition, Some(&version)).await.expect("changed"));
    table.relay.take_passed();

    let node = |text: &str| text.parse::<NodeId>().expect("a node");
    let readability = ProcessorConfig { params: BTreeMap::from([("formula".to_owned(), json!("flesch"))]), tag: None };
    let command = |key: &str| {
        let mut command = Command::new(Source::Configuration {
            definition: DefinitionRef::Name(definition.name.clone()),
            version: VersionRule::Active,
            compute_node: None,
            processor_configs: BTreeMap::from([(node("readability"), readability.clone())]),
        });
        command.variables.variables = BTreeMap::from([("language".to_owned(), json!("en"))]);
        command.data_sources = BTreeMap::from([(node("text"), json!({"text": "…"}))]);
        command.data_targets = BTreeMap::from([(node("store"), json!({"key": "report"}))]);
        command.idempotency = Some(sample::claim(key, "payload"));
        command
    };
    let create = |key: &'static str| {
        let (aws, settings, command) = (&aws, &settings, command(key));
        async move {
            let (policy, caller, now) = (settings.policy(), fixture::caller("mine"), aws.clock.now());
            let answer = create_run(&aws.store, &aws.engine, &policy, &caller, command, ids::new_run_id(), now);
            answer.await.expect("accepted")
        }
    };

    let cold = create("cold").await;
    assert!(!cold.replayed && !cold.start_delayed);
    let passed = table.relay.take_passed();
    assert_eq!(
        passed,
        ["BatchGetItem", "BatchGetItem", "BatchGetItem", "BatchGetItem", "PutItem", "TransactWriteItems"]
    );

    let started = service.asked().len();
    let warm = create("warm").await;
    assert!(!warm.replayed && !warm.start_delayed);
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems"]);
    assert_eq!(service.targets()[started..], ["AWSStepFunctions.StartExecution"]);

    let replayed = create("warm").await;
    assert!(replayed.replayed);
    assert_eq!(replayed.run, warm.run);
    assert_eq!(service.asked().len(), started + 1, "a repetition starts nothing");
}
