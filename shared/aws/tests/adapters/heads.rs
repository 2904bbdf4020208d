//! A run's head and the run it stands for: nothing is lost between them, and a head for which there is no run is refused.

use crate::runner::{LATER, write_head};
use crate::support::sample::claim;
use crate::support::table::Table;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_dynamo::AttributeValue;
use sluice_aws::dynamo::item::{self, ItemError, StoredRun, n, s};
use sluice_core::concurrency::SlotScope;
use sluice_core::idempotency::IdempotencyRecord;
use sluice_core::lifecycle::{RunEvent, StopIntent, TerminationReason};
use sluice_core::ports::LoadRun;
use sluice_core::run::{Course, Ended, Run, RunError, RunState};
use sluice_testkit::arbitrary;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #[test]
    fn a_run_is_the_same_after_it_was_stored(run in arbitrary::run()) {
        prop_assert_eq!(Run::try_from(StoredRun::from(&run)).expect("a run"), run.clone());
        prop_assert_eq!(item::to_run(item::from_run(&run).expect("an item")).expect("a run"), run.clone());
        let record = IdempotencyRecord { payload_hash: "hash".to_owned(), expires_at: Some(run.updated_at), run };
        let stored = item::from_idempotency(&claim("key", "hash"), &record).expect("an item");
        prop_assert_eq!(item::to_idempotency(stored).expect("a record"), record);
    }

    /// Whatever is written over one attribute of a head, it is refused, or it is read and nothing of it is lost.
    #[test]
    fn no_attribute_of_a_head_is_read_past(run in arbitrary::run(), other in arbitrary::run()) {
        for (attribute, write) in OVERWRITES {
            let mut head = StoredRun::from(&run);
            write(&mut head, &StoredRun::from(&other));
            if let Ok(read) = Run::try_from(head.clone()) {
                prop_assert_eq!(StoredRun::from(&read), head, "{}", attribute);
            }
        }
    }
}

type Overwrite = fn(&mut StoredRun, &StoredRun);

/// Every attribute that depends on where a run stands, written over with that of another head.
const OVERWRITES: [(&str, Overwrite); 18] = [
    ("status", |head, other| head.status = other.status),
    ("terminationReason", |head, other| head.termination_reason = other.termination_reason),
    ("stopIntent", |head, other| head.stop_intent = other.stop_intent),
    ("error", |head, other| head.error.clone_from(&other.error)),
    ("dispatchedAt", |head, other| head.dispatched_at = other.dispatched_at),
    ("startedAt", |head, other| head.started_at = other.started_at),
    ("completedAt", |head, other| head.completed_at = other.completed_at),
    ("stageIndex", |head, other| head.stage_index = other.stage_index),
    ("pauseRequestedAt", |head, other| head.pause_requested_at = other.pause_requested_at),
    ("pauses", |head, other| head.pauses = other.pauses),
    ("pausedAt", |head, other| head.paused_at = other.paused_at),
    ("pausedMs", |head, other| head.paused_ms = other.paused_ms),
    ("pauseToken", |head, other| head.pause_token.clone_from(&other.pause_token)),
    ("waitingNodes", |head, other| head.waiting_nodes.clone_from(&other.waiting_nodes)),
    ("answeredNodes", |head, other| head.answered_nodes.clone_from(&other.answered_nodes)),
    ("queuedIn", |head, other| head.queued_in = other.queued_in),
    ("retentionDueAt", |head, other| head.retention_due_at = other.retention_due_at),
    ("deliveries", |head, other| head.deliveries = other.deliveries),
];

/// What each status needs, and what it has beside it at most.
const TABLE: [(&str, &[&str], &[&str]); 9] = [
    ("QUEUED", &["queuedIn"], &[]),
    ("PENDING", &[], &["dispatchedAt", "pauses", "pauseRequestedAt"]),
    ("RUNNING", &["startedAt"], &WORKING),
    ("PAUSED", &["startedAt", "pauseRequestedAt", "pausedAt"], &PARKED),
    ("WAITING_FOR_INPUT", &["startedAt", "waitingNodes"], &WORKING),
    ("CANCELING", &["startedAt", "stopIntent"], &STOPPING),
    ("SUCCEEDED", &["completedAt", "terminationReason"], &ENDED),
    ("FAILED", &["completedAt", "terminationReason"], &ENDED),
    ("CANCELED", &["completedAt", "terminationReason"], &ENDED),
];
const WORKING: [&str; 7] =
    ["dispatchedAt", "stageIndex", "pauses", "pausedMs", "answeredNodes", "pauseRequestedAt", "pauseToken"];
// The token is one of the first generation's: its execution waits with it.
const PARKED: [&str; 6] = ["dispatchedAt", "stageIndex", "pauses", "pausedMs", "answeredNodes", "pauseToken"];
const STOPPING: [&str; 8] = [
    "dispatchedAt",
    "stageIndex",
    "pauses",
    "pausedMs",
    "answeredNodes",
    "pauseRequestedAt",
    "pauseToken",
    "waitingNodes",
];
const ENDED: [&str; 9] = [
    "stopIntent",
    "error",
    "dispatchedAt",
    "startedAt",
    "stageIndex",
    "pauses",
    "pausedMs",
    "retentionDueAt",
    "deliveries",
];

/// A head with nothing but what every head has.
fn bare(run: &Run, status: &str) -> StoredRun {
    let mut head = StoredRun::from(&Run { state: RunState::pending(), slots: BTreeSet::new(), ..run.clone() });
    head.status = status.parse().expect("a status");
    head
}

/// Gives a head an attribute.
fn give(head: &mut StoredRun, attribute: &str, at: Timestamp) {
    let one = || BTreeSet::from(["one".to_owned()]);
    match attribute {
        "terminationReason" => {
            head.termination_reason = ALL_REASONS.into_iter().find(|reason| reason.status() == head.status);
            head.termination_reason = head.termination_reason.or(Some(TerminationReason::Completed));
        }
        "stopIntent" => head.stop_intent = Some(StopIntent::TimedOut),
        "error" => head.error = Some(RunError { code: "E".to_owned(), message: "m".to_owned() }),
        "dispatchedAt" => head.dispatched_at = Some(at),
        "startedAt" => head.started_at = Some(at),
        "completedAt" => head.completed_at = Some(at),
        "stageIndex" => head.stage_index = Some(0),
        "pauseRequestedAt" => head.pause_requested_at = Some(at),
        "pauses" => head.pauses = 1,
        "pausedAt" => head.paused_at = Some(at),
        "pausedMs" => head.paused_ms = 1,
        "pauseToken" => head.pause_token = Some("token".to_owned()),
        "waitingNodes" => head.waiting_nodes = one(),
        "answeredNodes" => head.answered_nodes = one(),
        "queuedIn" => head.queued_in = Some(SlotScope::Tenant),
        "retentionDueAt" => head.retention_due_at = Some(at),
        "deliveries" => head.deliveries = 1,
        _ => panic!("{attribute}"),
    }
}

const ALL_REASONS: [TerminationReason; 3] =
    [TerminationReason::Completed, TerminationReason::StartFailed, TerminationReason::CanceledByCaller];

#[test]
fn a_head_needs_what_its_status_needs_and_has_nothing_more() {
    let run = sample();
    let every: Vec<&str> =
        OVERWRITES.iter().map(|(attribute, _)| *attribute).filter(|name| *name != "status").collect();
    for (status, needed, allowed) in TABLE {
        let with = |attributes: &[&str]| {
            let mut head = bare(&run, status);
            attributes.iter().for_each(|attribute| give(&mut head, attribute, run.updated_at));
            Run::try_from(head)
        };
        assert!(with(needed).is_ok(), "{status}");
        assert!(with(&[needed, allowed].concat()).is_ok(), "{status}");
        for lacking in needed {
            let rest: Vec<&str> = needed.iter().copied().filter(|attribute| attribute != lacking).collect();
            let refused = with(&rest).expect_err(status);
            assert!(matches!(refused, ItemError::Attribute { attribute, .. } if attribute == *lacking), "{refused}");
        }
        for surplus in every.iter().filter(|attribute| !needed.contains(attribute) && !allowed.contains(attribute)) {
            let refused = with(&[needed, &[*surplus][..]].concat()).expect_err(status);
            let is_named = matches!(refused, ItemError::Surplus { status: of, attribute } if of == status && attribute == *surplus);
            assert!(is_named, "{status} {surplus}: {refused}");
        }
    }
    let mut wrong = bare(&run, "SUCCEEDED");
    give(&mut wrong, "completedAt", run.updated_at);
    wrong.termination_reason = Some(TerminationReason::TimedOut);
    Run::try_from(wrong).expect_err("it succeeds for another reason");
}

fn sample() -> Run {
    crate::support::sample::run(&crate::support::sample::mine(), 1, crate::support::sample::noon())
}

/// What a state of the runner makes of a run; `None` when it may not write.
fn as_the_runner_writes(state: &str, run: &Run, now: Timestamp) -> Option<Run> {
    let in_state = |state| Some(Run { state, rev: run.rev + 1, updated_at: now, ..run.clone() });
    match state {
        "Claim" if matches!(run.state, RunState::Pending { .. }) => in_state(run.after(RunEvent::Claimed, now)?.state),
        "Claim" if matches!(run.state, RunState::Running { .. }) => in_state(run.state.clone()),
        "Claim" => None,
        "PauseCheck" if run.state.pause_asked_at().is_some() => None,
        "PauseCheck" => {
            let mut reached = run.state.clone();
            if let RunState::Ended(Ended { course: Course::Started(times), .. }) = &mut reached {
                times.stage_index = Some(STAGE);
            } else {
                reached.progress_mut()?.times.stage_index = Some(STAGE);
            }
            in_state(reached)
        }
        "PauseGate" => {
            let mut paused = run.state.clone();
            if let RunState::Paused { token, .. } = &mut paused {
                *token = Some(TOKEN.to_owned());
                return in_state(paused);
            }
            in_state(Run { updated_at: now, ..run.clone() }.parked(TOKEN, now)?.state)
        }
        "ShowWaiting" => in_state(run.awaiting(NODE, now)?.state),
        _ => panic!("{state}"),
    }
}

const STAGE: u32 = 3;
const TOKEN: &str = "the token";
const NODE: &str = "approval";

/// What the runner writes, from status to status: each of its states that write to a head.
const WRITES: [(&str, &str, &str); 12] = [
    ("Claim", "PENDING", "RUNNING"),
    ("Claim", "RUNNING", "RUNNING"),
    // A stop does not reach the runner at once, and an execution can be redriven after its run has ended.
    ("PauseCheck", "CANCELED", "CANCELED"),
    ("PauseCheck", "CANCELING", "CANCELING"),
    ("PauseCheck", "FAILED", "FAILED"),
    ("PauseCheck", "RUNNING", "RUNNING"),
    ("PauseCheck", "SUCCEEDED", "SUCCEEDED"),
    ("PauseCheck", "WAITING_FOR_INPUT", "WAITING_FOR_INPUT"),
    ("PauseGate", "PAUSED", "PAUSED"),
    ("PauseGate", "RUNNING", "PAUSED"),
    ("ShowWaiting", "RUNNING", "WAITING_FOR_INPUT"),
    ("ShowWaiting", "WAITING_FOR_INPUT", "WAITING_FOR_INPUT"),
];

#[tokio::test]
async fn whatever_the_runner_writes_to_whatever_head_is_a_run() {
    let table = Table::new().await;
    let mut chance = TestRunner::deterministic();
    let now: Timestamp = LATER.parse().expect("a time");
    let mut seen = BTreeMap::new();
    for _ in 0..400 {
        let run = arbitrary::run().new_tree(&mut chance).expect("a run").current();
        let run = Run { rev: run.rev / 2, ..run };
        for (state, shows, given) in [
            ("Claim", "RUNNING", (":execution", s(run.execution_arn().as_str()))),
            ("PauseCheck", "RUNNING", (":stage", n(STAGE))),
            ("PauseGate", "PAUSED", (":token", s(TOKEN))),
            ("ShowWaiting", "WAITING_FOR_INPUT", (":nodes", AttributeValue::Ss(vec![NODE.to_owned()]))),
        ] {
            // Before it has claimed its run, the runner writes nothing else.
            if state == "PauseCheck" && run.state.times().is_none() {
                continue;
            }
            let mut head = item::from_run(&run).expect("an item");
            head.insert("executionArn".into(), s(run.execution_arn().as_str()));
            table.put(head).await;
            let expected = as_the_runner_writes(state, &run, now);
            let has_written = write_head(&table, &run, state, shows, LATER, &[given]).await;
            assert_eq!(has_written, expected.is_some(), "{state} {:?}", run.state);
            let found = table.store.load_run(&run.tenant_id, run.run_id).await.expect("a run");
            let after = expected.unwrap_or_else(|| run.clone());
            assert_eq!(found.as_ref(), Some(&after), "{state} {:?}", run.state);
            if has_written {
                *seen.entry((state, run.status().as_str(), after.status().as_str())).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), WRITES);
}
