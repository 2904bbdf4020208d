//! Answers to nodes that wait, and what is shown of them meanwhile.

use super::*;
use crate::contract::sample::{self, at, mine, new_run, noon, run, yours};
use crate::contract::{at_once, both};
use sluice_core::change::RunChange;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::ports::{Changed, StoreErrorClass};
use sluice_core::report::{NodeAnswer, NodeOutcome, Progress};
use sluice_core::run::{Run, RunError};

/// When the runner writes what it writes here.
pub const LATER: &str = "2026-11-22T12:00:06.000Z";

pub fn node_id(text: &str) -> NodeId {
    text.parse().expect("a node")
}

pub fn answer(value: &str) -> NodeAnswer {
    NodeAnswer { outcome: NodeOutcome::Result(value.to_owned()), by: "mine/someone".to_owned(), at: noon() }
}

/// A run that waits for `approval` and `figures`.
pub fn waiting_run() -> Run {
    Run { state: sample::waiting(&["approval", "figures"]), rev: 7, ..run(&mine(), 1, noon()) }
}

/// That run, recorded; the first wait has begun.
pub async fn waiting(waits: &impl Ground) -> Run {
    let run = waiting_run();
    waits.ports().record_run(&new_run(&run, None, None)).await.expect("recorded");
    waits.begin_wait(&run, "approval", "token 1").await;
    run
}

/// What answering a node makes of a run.
pub fn answered(run: &Run, node: &str) -> RunChange {
    RunChange::new(run, run.answered(node, noon()).expect("a change"))
}

pub async fn load_answer(waits: &impl Ground, run: &Run, node: &str) -> Option<(String, NodeOutcome)> {
    waits.ports().load_answer(&run.tenant_id, run.run_id, &node_id(node)).await.expect("an answer")
}

pub fn given(token: &str, value: &str) -> Option<(String, NodeOutcome)> {
    Some((token.to_owned(), NodeOutcome::Result(value.to_owned())))
}

pub async fn an_answer_is_recorded_with_its_run_and_read_back_as_it_was_given(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    assert_eq!(load_answer(waits, &run, "approval").await, None);
    let value = r#"{"n": 1.10, "big": 12345678901234567890123}"#;
    let change = answered(&run, "approval");
    let done = store.answer_node(&change, &node_id("approval"), &answer(value)).await.expect("an answer");
    assert_eq!(done, Some(Changed::Done));
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(change.run.clone()));
    assert_eq!(load_answer(waits, &run, "approval").await, given("token 1", value));

    let again = RunChange { expected_rev: 8, run: Run { rev: 9, ..change.run.clone() }, ..change.clone() };
    let late = store.answer_node(&again, &node_id("approval"), &answer("2")).await.expect("an answer");
    assert_eq!(late, None, "it has its answer");
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(change.run));
    assert_eq!(load_answer(waits, &run, "approval").await, given("token 1", value));
    waits.end_wait(&run, "approval").await;
    assert_eq!(load_answer(waits, &run, "approval").await, None);
}

pub async fn of_many_answers_one_is_recorded(waits: &impl Ground) {
    let run = waiting(waits).await;
    let change = answered(&run, "approval");
    let (store, asked) = (&waits.ports(), &change);
    let answerers = (0..16).map(|number| async move {
        let value = number.to_string();
        let outcome = store.answer_node(asked, &node_id("approval"), &answer(&value)).await;
        (value, outcome.expect("an answer"))
    });
    let mut winners = Vec::new();
    for given in at_once(answerers).await {
        match given {
            (value, Some(Changed::Done)) => winners.push(value),
            (_, other) => assert_eq!(other, Some(Changed::Stale(Some(Box::new(change.run.clone()))))),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(load_answer(waits, &run, "approval").await, given("token 1", &winners[0]));
}

pub async fn of_an_answer_and_a_cancel_one_is_first(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    let canceling = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let cancel = RunChange::new(&run, canceling);
    let change = answered(&run, "approval");
    let (approval, value) = (node_id("approval"), answer("1"));
    let (answered, canceled) = both(store.answer_node(&change, &approval, &value), store.change_run(&cancel)).await;
    let found = store.load_run(&mine(), run.run_id).await.expect("loaded").expect("a run");
    match (answered.expect("an answer").expect("it waits"), canceled.expect("an answer")) {
        (Changed::Done, Changed::Stale(Some(current))) => assert_eq!((&*current, &found), (&change.run, &change.run)),
        (Changed::Stale(Some(current)), Changed::Done) => {
            assert_eq!((&*current, &found), (&cancel.run, &cancel.run));
            assert_eq!(load_answer(waits, &run, "approval").await, None);
        }
        both => panic!("{both:?}"),
    }
}

pub async fn an_answer_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    let change = answered(&Run { rev: 6, ..run.clone() }, "approval");
    let stale = store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    assert_eq!(stale, Some(Changed::Stale(Some(Box::new(run.clone())))));
    // Stale comes first: only a run as it is can say that its node does not wait.
    let stale = store.answer_node(&change, &node_id("figures"), &answer("1")).await.expect("an answer");
    assert_eq!(stale, Some(Changed::Stale(Some(Box::new(run.clone())))));
    assert_eq!(load_answer(waits, &run, "approval").await, None);
    let theirs = RunChange { run: Run { tenant_id: yours(), ..change.run.clone() }, ..change };
    let nobody = store.answer_node(&theirs, &node_id("approval"), &answer("1")).await.expect("an answer");
    assert_eq!(nobody, Some(Changed::Stale(None)));
}

pub async fn a_node_that_does_not_wait_cannot_be_answered(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    // Announced on the head, but its wait has not begun.
    let change = answered(&run, "figures");
    assert_eq!(store.answer_node(&change, &node_id("figures"), &answer("1")).await.expect("an answer"), None);
    waits.end_wait(&run, "approval").await;
    let change = answered(&run, "approval");
    assert_eq!(store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer"), None);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()), "nothing was written");
    for node in ["figures", "approval", "none"] {
        assert_eq!(load_answer(waits, &run, node).await, None, "{node}");
    }
}

pub async fn a_node_that_waits_anew_has_no_answer(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    let change = answered(&run, "approval");
    store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    waits.begin_wait(&run, "approval", "token 2").await;
    assert_eq!(load_answer(waits, &run, "approval").await, None, "that was the answer to another wait");
    let change = RunChange { expected_rev: 8, run: Run { rev: 9, ..change.run.clone() }, ..change };
    let done = store.answer_node(&change, &node_id("approval"), &answer("2")).await.expect("an answer");
    assert_eq!(done, Some(Changed::Done));
    assert_eq!(load_answer(waits, &run, "approval").await, given("token 2", "2"));
}

pub fn failed(message: &str) -> NodeAnswer {
    let error = RunError { code: "Rejected".to_owned(), message: message.to_owned() };
    NodeAnswer { outcome: NodeOutcome::Failure(error), ..answer("") }
}

pub async fn a_failure_is_an_answer_too(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    let change = answered(&run, "approval");
    let (approval, failure) = (node_id("approval"), failed("not like this"));
    assert_eq!(store.answer_node(&change, &approval, &failure).await.expect("an answer"), Some(Changed::Done));
    assert_eq!(load_answer(waits, &run, "approval").await, Some(("token 1".to_owned(), failure.outcome)));
    // The node is tried again, and this time it is given a result; and then a failure once more.
    for (token, rev, answer) in [("token 2", 8, answer("1.10")), ("token 3", 9, failed("no"))] {
        waits.begin_wait(&run, "approval", token).await;
        assert_eq!(load_answer(waits, &run, "approval").await, None);
        let change = RunChange { expected_rev: rev, run: Run { rev: rev + 1, ..change.run.clone() }, ..change.clone() };
        assert_eq!(store.answer_node(&change, &approval, &answer).await.expect("an answer"), Some(Changed::Done));
        assert_eq!(load_answer(waits, &run, "approval").await, Some((token.to_owned(), answer.outcome)));
    }
}

pub async fn what_nodes_were_given_is_listed_the_first_first(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    let approval = node_id("approval");
    assert!(inputs(&store, &mine(), run.run_id).await.is_empty());
    let change = answered(&run, "approval");
    let given = [answer("2"), failed("no"), NodeAnswer { at: at(LATER), ..answer("1") }];
    for (turn, answer) in given.iter().enumerate() {
        let rev = run.rev + turn as u64;
        let change = RunChange { expected_rev: rev, run: Run { rev: rev + 1, ..change.run.clone() }, ..change.clone() };
        assert_eq!(store.answer_node(&change, &approval, answer).await.expect("an answer"), Some(Changed::Done));
        // What is refused leaves no line.
        assert!(matches!(store.answer_node(&change, &approval, answer).await, Ok(Some(Changed::Stale(_)))));
        let late = RunChange { expected_rev: rev + 1, run: Run { rev: rev + 2, ..change.run.clone() }, ..change };
        assert_eq!(store.answer_node(&late, &approval, answer).await.expect("an answer"), None);
        waits.begin_wait(&run, "approval", &format!("token {}", turn + 2)).await;
    }
    // The first two came in one millisecond.
    let expected: Vec<_> = given.into_iter().map(|answer| (approval.clone(), answer)).collect();
    assert_eq!(inputs(&store, &mine(), run.run_id).await, expected);
    assert!(inputs(&store, &yours(), run.run_id).await.is_empty());
    assert!(inputs(&store, &mine(), sample::run_id(2)).await.is_empty());
    // One by one, and of somebody else, whatever the head says.
    let heads = store.list_inputs(&mine(), run.run_id).await.expect("listed");
    for (head, (_, answer)) in heads.iter().zip(&expected) {
        let loaded = store.load_inputs(&mine(), run.run_id, &[head]).await.expect("loaded");
        assert_eq!((loaded, head.bytes), (vec![answer.outcome.clone()], answer.outcome.bytes()));
        for (tenant, run_id) in [(yours(), run.run_id), (mine(), sample::run_id(2))] {
            let error = store.load_inputs(&tenant, run_id, &[head]).await.expect_err("nothing is there");
            assert_eq!(error.class, StoreErrorClass::Corrupt);
        }
    }
}

/// The answers of a run, put together again.
pub async fn inputs(store: &impl Ports, tenant: &TenantId, run_id: RunId) -> Vec<(NodeId, NodeAnswer)> {
    let heads = store.list_inputs(tenant, run_id).await.expect("listed");
    let outcomes = store.load_inputs(tenant, run_id, &heads.iter().collect::<Vec<_>>()).await.expect("loaded");
    let whole = heads.into_iter().zip(outcomes).map(|(head, outcome)| {
        assert_eq!(head.is_failure, matches!(outcome, NodeOutcome::Failure(_)));
        (head.node_id, NodeAnswer { outcome, by: head.by, at: head.at })
    });
    whole.collect()
}

pub async fn progress_is_shown_while_a_node_is_under_way(waits: &impl Ground) {
    let (run, store) = (waiting(waits).await, waits.ports());
    let record = |tenant, node: &'static str, progress: Progress| {
        let store = store.clone();
        async move { store.record_progress(&tenant, run.run_id, &node_id(node), &progress).await.expect("an answer") }
    };
    let first = Progress { percent: Some(40), message: Some("two of five".to_owned()), at: noon() };
    assert!(record(mine(), "approval", first.clone()).await);
    let second = Progress { percent: Some(60), message: None, at: at(LATER) };
    assert!(record(mine(), "approval", second).await);
    assert!(!record(mine(), "figures", first.clone()).await, "its wait has not begun");
    assert!(!record(mine(), "none", first.clone()).await);
    assert!(!record(yours(), "approval", first.clone()).await);
    waits.end_wait(&waiting_run(), "approval").await;
    assert!(!record(mine(), "approval", first).await, "it has ended");
}

pub async fn progress_is_read_with_its_step_and_survives_its_end(ground: &impl Ground) {
    let store = ground.ports();
    let run = waiting(ground).await;
    let step = || async {
        let (store, approval) = (store.clone(), node_id("approval"));
        let step = store.load_step(&mine(), run.run_id, &approval).await.expect("loaded").expect("a step");
        let listed = store.list_steps(&mine(), run.run_id).await.expect("listed");
        assert_eq!(listed.iter().map(|step| &step.progress).collect::<Vec<_>>(), [&step.progress]);
        step.progress
    };
    assert_eq!(step().await, None);
    let progress = Progress { percent: None, message: Some("reading".to_owned()), at: noon() };
    let approval = node_id("approval");
    assert!(store.record_progress(&mine(), run.run_id, &approval, &progress).await.expect("an answer"));
    assert_eq!(step().await, Some(progress.clone()));
    // What a report leaves out stays as it was; a mere sign of life leaves out everything.
    let mut known = progress;
    for report in [
        Progress { percent: None, message: None, at: at(LATER) },
        Progress { percent: Some(40), message: None, at: at(LATER) },
        Progress { percent: None, message: None, at: noon() },
        Progress { percent: None, message: Some("counting".to_owned()), at: at(LATER) },
        Progress { percent: Some(60), message: Some("writing".to_owned()), at: noon() },
    ] {
        assert!(store.record_progress(&mine(), run.run_id, &approval, &report).await.expect("an answer"));
        known = report.after(Some(&known));
        assert_eq!(step().await, Some(known.clone()));
    }
    assert_eq!((known.percent, known.message.as_deref()), (Some(60), Some("writing")));
    ground.end_wait(&run, "approval").await;
    assert_eq!(step().await, Some(known));
    for refused in ["approval", "figures"] {
        let progress = Progress { percent: Some(1), message: None, at: noon() };
        let is_shown = store.record_progress(&mine(), run.run_id, &node_id(refused), &progress).await;
        assert!(!is_shown.expect("an answer"), "{refused}");
    }
    assert_eq!(store.load_step(&mine(), run.run_id, &node_id("figures")).await.expect("loaded"), None);
}
