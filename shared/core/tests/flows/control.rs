use crate::world::World;
use sluice_core::delivery::{AttemptOutcome, DeliveryStatus};
use sluice_core::flow::control_run::{Redelivered, answer_node, pause_run, redeliver, redeliver_failed, resume_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::NodeId;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::limits;
use sluice_core::ports::{Clock, Deliveries, StoreErrorClass};
use sluice_core::refusal::ConflictCode;
use sluice_core::run::Run;
use sluice_testkit::fault::Fault;
use sluice_testkit::{block_on, fixture};
use std::collections::BTreeSet;

const TOKEN: &str = "a-task-token";

impl World {
    fn pause(&self, run: &Run) -> Answer<Run> {
        block_on(pause_run(&self.store, &self.engine, &self.caller, run.run_id, self.clock.now()))
            .map(|paused| paused.run)
    }

    fn resume(&self, run: &Run) -> Answer<Run> {
        block_on(resume_run(&self.store, &self.engine, &self.caller, run.run_id, self.clock.now()))
    }

    /// The runner reaches a stage boundary. Returns whether it stops there.
    fn reach_boundary(&self, run: &Run) -> bool {
        let now = self.clock.now();
        let paused = self.store.update_run(&run.tenant_id, run.run_id, |run| run.parked(TOKEN, now));
        if paused {
            self.engine.wait_for(&run.execution_arn(), TOKEN);
        }
        paused
    }

    /// The runner reaches an external node.
    fn reach_wait(&self, run: &Run, node: &str) {
        let node: NodeId = node.parse().expect("a node");
        let token = format!("token-of-{node}");
        let now = self.clock.now();
        self.store.update_run(&run.tenant_id, run.run_id, |run| run.awaiting(node.to_string(), now));
        self.store.begin_wait(&run.tenant_id, run.run_id, &node, &token);
        self.engine.wait_for(&run.execution_arn(), &token);
    }

    fn answer(&self, run: &Run, node: &str, value: &str) -> Answer<Run> {
        let (node, now) = (node.parse().expect("a node"), self.clock.now());
        block_on(answer_node(&self.store, &self.engine, &self.caller, run.run_id, &node, value.to_owned(), now))
    }
}

#[test]
fn a_pause_takes_effect_at_the_next_boundary_and_a_resume_lets_the_runner_go_on() {
    let world = World::new();
    let run = world.running(1);
    let asked = world.pause(&run).expect("accepted");
    assert_eq!((asked.status(), asked.state.pause_asked_at()), (RunStatus::Running, Some(world.clock.now())));
    assert!(world.reach_boundary(&run));
    assert_eq!(world.run(run.run_id).status(), RunStatus::Paused);
    let resumed = world.resume(&run).expect("accepted");
    assert_eq!(
        (resumed.status(), resumed.state.gate().and_then(|gate| gate.token.clone()), resumed.state.pause_asked_at()),
        (RunStatus::Running, None, None)
    );
    assert_eq!(world.engine.take_answer(TOKEN).as_deref(), Some("{}"));
    assert!(!world.reach_boundary(&run), "the pause is over");
}

#[test]
fn a_pause_can_be_taken_back_before_it_takes_effect() {
    let world = World::new();
    let run = world.running(1);
    world.pause(&run).expect("accepted");
    world.resume(&run).expect("accepted");
    assert!(!world.reach_boundary(&run));
}

#[test]
fn what_goes_on_already_is_resumed_without_a_write() {
    let world = World::new();
    let run = world.running(1);
    let writes = world.store.writes();
    assert_eq!(world.resume(&run).expect("accepted"), run);
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn a_pending_run_can_be_told_to_pause_at_its_first_boundary() {
    let world = World::new();
    let run = world.pending(1);
    world.pause(&run).expect("accepted");
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    assert!(world.reach_boundary(&run));
}

#[test]
fn pausing_or_resuming_twice_changes_nothing_more() {
    let world = World::new();
    let run = world.running(1);
    world.resume(&run).expect("nothing to resume is no error");
    world.pause(&run).expect("accepted");
    let rev = world.run(run.run_id).rev;
    world.pause(&run).expect("accepted");
    assert_eq!(world.run(run.run_id).rev, rev);
}

#[test]
fn a_run_can_be_paused_only_so_often() {
    let world = World::new();
    let run = world.running(1);
    for _ in 0..limits::PAUSES {
        world.pause(&run).expect("accepted");
        world.resume(&run).expect("accepted");
    }
    assert!(matches!(world.pause(&run), Err(Refusal::Conflict { code: ConflictCode::TooManyPauses, .. })));
}

#[test]
fn an_ended_or_stopping_run_can_be_neither_paused_nor_resumed() {
    let world = World::new();
    let run = world.running(1);
    world.cancel(run.run_id).expect("accepted");
    assert!(matches!(world.pause(&run), Err(Refusal::Conflict { code: ConflictCode::WrongStatus, .. })));
    world.settle(&run, EngineEnd::Aborted, &Default::default());
    assert!(matches!(world.pause(&run), Err(Refusal::Conflict { code: ConflictCode::RunEnded, .. })));
    assert!(matches!(world.resume(&run), Err(Refusal::Conflict { code: ConflictCode::RunEnded, .. })));
}

#[test]
fn a_resume_that_did_not_reach_the_runner_is_given_again_by_the_sweep() {
    for fault in [Fault::Before(StoreErrorClass::Unavailable), Fault::After(StoreErrorClass::Unavailable)] {
        let world = World::new();
        let run = world.running(1);
        world.pause(&run).expect("accepted");
        world.reach_boundary(&run);
        world.engine.faults.once("answer the task", fault);
        assert_eq!(world.resume(&run).expect("accepted").status(), RunStatus::Running);
        assert!(world.run(run.run_id).state.owes_a_resume());
        assert_eq!(world.reconcile().handed_over, 1);
        assert_eq!(world.engine.take_answer(TOKEN).as_deref(), Some("{}"));
        assert!(!world.run(run.run_id).state.owes_a_resume());
        assert_eq!(world.reconcile().handed_over, 0);
    }
}

#[test]
fn a_paused_run_can_be_cancelled() {
    let world = World::new();
    let run = world.running(1);
    world.pause(&run).expect("accepted");
    world.reach_boundary(&run);
    world.cancel(run.run_id).expect("accepted");
    assert_eq!(world.run(run.run_id).status(), RunStatus::Canceling);
    let settled = world.settle(&run, EngineEnd::Aborted, &Default::default()).expect("settled");
    assert_eq!(
        (settled.after.status(), settled.after.state.gate().and_then(|gate| gate.token.clone())),
        (RunStatus::Canceled, None)
    );
}

#[test]
fn an_answer_reaches_its_node_as_it_was_written() {
    let world = World::new();
    let run = world.running(1);
    world.reach_wait(&run, "frequencies");
    let answered = world.answer(&run, "frequencies", r#"{"n":1.10}"#).expect("accepted");
    assert_eq!(answered.status(), RunStatus::Running);
    assert!(answered.state.waiting_nodes().is_empty() && answered.state.answered_nodes().is_empty());
    assert_eq!(world.engine.take_answer("token-of-frequencies").as_deref(), Some(r#"{"n":1.10}"#));
}

#[test]
fn a_run_waits_until_its_last_node_is_answered() {
    let world = World::new();
    let run = world.running(1);
    world.reach_wait(&run, "frequencies");
    world.reach_wait(&run, "readability");
    assert_eq!(world.answer(&run, "frequencies", "1").expect("accepted").status(), RunStatus::WaitingForInput);
    assert_eq!(world.answer(&run, "readability", "2").expect("accepted").status(), RunStatus::Running);
}

#[test]
fn a_wrong_node_or_one_that_no_longer_waits_is_a_conflict() {
    let world = World::new();
    let run = world.running(1);
    assert!(matches!(
        world.answer(&run, "frequencies", "1"),
        Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })
    ));
    world.reach_wait(&run, "frequencies");
    assert!(matches!(
        world.answer(&run, "readability", "1"),
        Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })
    ));
    assert!(matches!(world.answer(&run, "nowhere", "1"), Err(Refusal::Invalid(_))));
    world.answer(&run, "frequencies", "1").expect("accepted");
    assert!(matches!(
        world.answer(&run, "frequencies", "2"),
        Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })
    ));
    assert_eq!(world.engine.take_answer("token-of-frequencies").as_deref(), Some("1"));
}

#[test]
fn an_answer_that_did_not_reach_the_runner_is_given_again_by_the_sweep() {
    let world = World::new();
    let run = world.running(1);
    world.reach_wait(&run, "frequencies");
    world.engine.faults.once("answer the task", Fault::Before(StoreErrorClass::Throttled));
    world.answer(&run, "frequencies", "1").expect("accepted");
    assert_eq!(world.engine.take_answer("token-of-frequencies"), None);
    assert_eq!(world.reconcile().handed_over, 1);
    assert_eq!(world.engine.take_answer("token-of-frequencies").as_deref(), Some("1"));
    assert!(world.run(run.run_id).state.answered_nodes().is_empty());
}

#[test]
fn a_delivery_can_be_sent_again_and_is_the_same_message() {
    let world = World::new();
    let run = world.running(1);
    let owed = world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled").owed;
    world.deliver(&owed[0]);
    let again = block_on(redeliver(&world.store, &world.engine, &world.caller, run.run_id, 1, world.clock.now()));
    assert_eq!(again.expect("accepted"), owed[0]);
    assert!(world.engine.take_announced().contains(&owed[0]));
    let scheduled = block_on(world.store.load_delivery(&owed[0])).expect("read").expect("it is there");
    assert_eq!((scheduled.status, scheduled.round_attempts), (DeliveryStatus::Scheduled, 0));
    world.deliver(&owed[0]);
    let received = world.receiver.received();
    assert_eq!((received.len(), received[1].attempt), (2, 2));
    assert_eq!((&received[0].webhook_id, &received[0].body), (&received[1].webhook_id, &received[1].body));
    let missing = block_on(redeliver(&world.store, &world.engine, &world.caller, run.run_id, 9, world.clock.now()));
    assert!(matches!(missing, Err(Refusal::NotFound { .. })));
}

#[test]
fn a_delivery_under_way_is_not_begun_a_second_time() {
    let world = World::new();
    let run = world.running(1);
    let owed = world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled").owed;
    let (delivery, _) = world.store.deliveries().remove(0);
    let begun = delivery.begin(world.clock.now()).expect("due");
    world.store.seed_delivery(begun, Vec::new());
    let again =
        block_on(redeliver(&world.store, &world.engine, &world.caller, run.run_id, owed[0].number, world.clock.now()));
    assert!(matches!(again, Err(Refusal::Conflict { code: ConflictCode::AttemptUnderWay, .. })));
}

#[test]
fn what_was_given_up_since_some_time_is_sent_again_and_nothing_else() {
    let world = World::new();
    let mut given_up = Vec::new();
    for id in 1..=3 {
        let run = world.running(id);
        let owed = world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled").owed;
        world.receiver.answer_next([AttemptOutcome::Gone]);
        owed.iter().for_each(|delivery| drop(world.deliver(delivery)));
        given_up.push((world.clock.now(), owed.first().cloned().expect("a webhook")));
        world.clock.advance(60);
    }
    drop(world.engine.take_announced());
    let other = fixture::caller("other");
    let again = |caller, since| {
        let now = world.clock.now();
        block_on(redeliver_failed(&world.store, &world.engine, caller, since, now)).expect("sent again")
    };
    let begin = given_up[0].0;
    assert_eq!(again(&other, begin), Redelivered { redelivered: 0, more: false });
    assert_eq!(again(&world.caller, world.clock.now()), Redelivered { redelivered: 0, more: false });
    assert_eq!(world.engine.take_announced(), []);
    assert_eq!(again(&world.caller, given_up[1].0), Redelivered { redelivered: 2, more: false });
    let announced: BTreeSet<_> = world.engine.take_announced().into_iter().collect();
    assert_eq!(announced, given_up[1..].iter().map(|(_, delivery)| delivery.clone()).collect());
    // Those are scheduled now, and only the first is still given up.
    assert_eq!(again(&world.caller, begin), Redelivered { redelivered: 1, more: false });
    assert_eq!(again(&world.caller, begin), Redelivered { redelivered: 0, more: false });
}
