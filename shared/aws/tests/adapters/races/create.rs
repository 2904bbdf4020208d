//! Many callers with one key.

use super::arena::{Arena, Tally, rounds};
use crate::support::sample::{self, mine, noon};
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use jiff::{SignedDuration, Timestamp};
use sluice_aws::dynamo::keys;
use sluice_aws::ids;
use sluice_core::definition::Definition;
use sluice_core::flow::create_run::{Accepted, Command, create_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::{DefinitionRef, RunId};
use sluice_core::ports::{ManageDefinitions, ManageOperator, ReadRuns, RunFilter};
use sluice_core::run::Run;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;
use std::collections::BTreeSet;

const CALLERS: u32 = 64;
const PROCESSES: usize = 8;
/// What a created run writes: head, snapshot, request, ledger, idempotency record.
const ITEMS_OF_A_RUN: i32 = 5;

async fn seeded() -> Arena {
    let arena = Arena::new(PROCESSES).await;
    let store = &arena.party(0).store;
    for processor in fixture::processors(noon()) {
        store.save_processor(&processor).await.expect("saved");
    }
    store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved");
    let first = sample::definition(&mine(), 7, "text-report");
    store.create_definition(&first, 1_000).await.expect("created");
    let definition = Definition { active_version: Some(1), latest_version: 1, rev: 2, ..first };
    let version = sample::version(&definition, 1);
    assert!(store.change_definition(&definition, Some(&version)).await.expect("changed"));
    arena
}

fn command(key: &str, payload: &str) -> Command {
    let mut command = fixture::command(DefinitionRef::Name("text-report".parse().expect("a name")));
    command.name = Some(payload.to_owned());
    command.idempotency = Some(sample::claim(key, payload));
    command
}

/// Every caller with the payload that `payload` gives it, all at once; their answers in their order.
async fn call(
    arena: &Arena,
    engine: &MemoryEngine,
    key: &str,
    now: Timestamp,
    payload: impl Fn(u32) -> &'static str,
) -> Vec<(&'static str, Answer<Accepted>)> {
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (table, engine, payload) = (arena.party(number as usize).clone(), engine.clone(), payload(number));
            let command = command(key, payload);
            tokio::spawn(async move {
                let (policy, caller) = (fixture::policy(), fixture::caller("mine"));
                let answer = create_run(&table.store, &engine, &policy, &caller, command, ids::new_run(), now);
                (payload, Box::pin(answer).await)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.expect("no panic"));
    }
    answers
}

/// Items in the table, but for meters: whether a start is among the samples that are counted is chance.
async fn items(arena: &Arena) -> i32 {
    let table = arena.party(0);
    let scan = table.client.scan().table_name(&table.settings.table).select(Select::Count).consistent_read(true);
    let scan = scan.filter_expression("NOT begins_with(pk, :meters)");
    let scan = scan.expression_attribute_values(":meters", AttributeValue::S(keys::METERS.to_owned()));
    let mut pages = scan.into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page.expect("an answer").count();
    }
    count
}

/// The runs made at one time. Each round has a time of its own.
async fn made_at(arena: &Arena, now: Timestamp) -> Vec<Run> {
    let created_before = Some(now + SignedDuration::from_secs(1));
    let filter = RunFilter { created_from: Some(now), created_before, ..RunFilter::default() };
    arena.party(0).store.list_runs(&mine(), &filter, 100, None).await.expect("a page").items
}

/// What one key left behind, whoever was first: one run and one start. Returns the run.
async fn one_run(
    arena: &Arena,
    engine: &MemoryEngine,
    before: (i32, u32),
    now: Timestamp,
    answers: &[(&'static str, Answer<Accepted>)],
) -> (&'static str, Run) {
    let first: Vec<_> = answers
        .iter()
        .filter_map(|(payload, answer)| answer.as_ref().ok().map(|accepted| (*payload, accepted)))
        .filter(|(_, accepted)| !accepted.replayed)
        .collect();
    let [(payload, accepted)] = first[..] else { panic!("{} of {CALLERS} made a run: {answers:?}", first.len()) };
    assert!(!accepted.start_delayed);
    let made = made_at(arena, now).await;
    assert_eq!(made, std::slice::from_ref(&accepted.run));
    assert_eq!((items(arena).await, engine.starts()), (before.0 + ITEMS_OF_A_RUN, before.1 + 1));
    let execution = engine.execution(&accepted.run.execution_arn()).expect("its execution");
    assert_eq!(execution.run_id, accepted.run.run_id);
    (payload, accepted.run.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_callers_with_one_key_one_makes_the_run_and_all_get_it() {
    let (arena, engine) = (seeded().await, MemoryEngine::default());
    // The first callers find every cache cold, and race for the instance, too.
    let rounds = rounds(16);
    let mut made: BTreeSet<RunId> = BTreeSet::new();
    let mut tally = Tally::default();
    for round in 0..rounds {
        let now = noon() + SignedDuration::from_secs(i64::from(round));
        // Of the instance, which is kept.
        let before = items(&arena).await + i32::from(round == 0);
        let answers = call(&arena, &engine, &format!("key-{round}"), now, |_| "same").await;
        let (_, run) = one_run(&arena, &engine, (before, round), now, &answers).await;
        assert!(made.insert(run.run_id), "a key of its own, a run of its own");
        for (_, answer) in &answers {
            let accepted = answer.as_ref().expect("accepted");
            assert_eq!(accepted.run, run, "everybody gets the first answer");
        }
        tally.add("made", 1);
        tally.add("repeated", CALLERS - 1);
    }
    assert_eq!(engine.executions().len(), made.len());
    tally.has_all("64 callers, one key, one payload", &["made", "repeated"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_callers_with_one_key_and_two_payloads_the_later_payload_is_refused_without_a_trace() {
    let (arena, engine) = (seeded().await, MemoryEngine::default());
    let mut tally = Tally::default();
    for round in 0..rounds(16) {
        let now = noon() + SignedDuration::from_secs(i64::from(round));
        let before = items(&arena).await + i32::from(round == 0);
        let payload = |number: u32| if (number + round).is_multiple_of(2) { "this" } else { "that" };
        let answers = call(&arena, &engine, &format!("key-{round}"), now, payload).await;
        let (first, run) = one_run(&arena, &engine, (before, round), now, &answers).await;
        assert_eq!(run.about.name, first);
        for (payload, answer) in &answers {
            match answer {
                Ok(accepted) => assert_eq!((*payload, &accepted.run), (first, &run)),
                Err(Refusal::KeyReused { run_id }) => assert_eq!((*payload != first, *run_id), (true, run.run_id)),
                Err(other) => panic!("{other}"),
            }
        }
        tally.add(first, 1);
        tally.add("refused", CALLERS / 2);
    }
    tally.has_all("64 callers, one key, two payloads", &["that", "this", "refused"]);
}
