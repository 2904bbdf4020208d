use crate::world::{World, command, with_callback, with_key};
use jiff::SignedDuration;
use sluice_core::flow::create_run::Command;
use sluice_core::flow::retain_run::{change_retention, delete_run};
use sluice_core::flow::{Answer, Refusal, find_run, read_runs};
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::ports::{Clock, RunFilter, StoreErrorClass};
use sluice_core::refusal::ConflictCode;
use sluice_core::retention::Retention;
use sluice_core::run::Run;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;

impl World {
    fn kept(&self, command: Command, id: u128, max_age_seconds: i64) -> Run {
        let retention = Some(Retention { max_age_seconds, preserve_on_failure: true });
        let run = self.create(Command { retention, ..command }, id).expect("accepted").run;
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        self.run(run.run_id)
    }

    fn succeed(&self, run: &Run) {
        let settled = self.end(run, EngineEnd::Succeeded, Some("{}")).expect("settled");
        for delivery in &settled.owed {
            self.deliver(delivery);
        }
    }

    fn delete(&self, run: &Run) -> Answer<()> {
        block_on(delete_run(&self.store, &self.caller, run.run_id, self.clock.now()))
    }

    fn retain(&self, run: &Run, max_age_seconds: i64) -> Answer<Run> {
        let retention = Retention { max_age_seconds, preserve_on_failure: false };
        block_on(change_retention(&self.store, &self.caller, run.run_id, retention.into(), self.clock.now()))
    }

    fn is_found(&self, run: &Run) -> bool {
        let now = self.clock.now();
        let found = block_on(find_run(&self.store, &self.caller, run.run_id, now)).is_ok();
        let listed = block_on(read_runs::list_runs(&self.store, &self.caller, &RunFilter::default(), 100, None, now));
        let listed = listed.expect("lists").items.iter().any(|one| one.run_id == run.run_id);
        assert_eq!(found, listed, "every read agrees");
        found
    }
}

#[test]
fn an_expired_run_is_gone_from_every_read_at_once_and_purged_by_the_sweep() {
    let world = World::new();
    let run = world.kept(command(), 1, 60);
    world.succeed(&run);
    let due = world.run(run.run_id).state.ended().and_then(|ended| ended.due_at);
    assert_eq!(due, Some(world.clock.now() + SignedDuration::from_secs(60)));
    world.clock.advance(59);
    assert!(world.is_found(&run));
    world.clock.advance(1);
    assert!(!world.is_found(&run));
    assert!(world.store.knows(&run.tenant_id, run.run_id));
    assert_eq!(world.reconcile().purged, 1);
    assert!(!world.store.knows(&run.tenant_id, run.run_id));
}

#[test]
fn a_failed_run_is_preserved_where_the_rule_says_so() {
    let world = World::new();
    let run = world.kept(command(), 1, 60);
    world.end(&run, EngineEnd::Failed, None).expect("settled");
    world.clock.advance(100);
    assert!(world.is_found(&run));
    assert_eq!(world.run(run.run_id).state.ended().and_then(|ended| ended.due_at), None);
}

#[test]
fn nothing_is_purged_while_a_delivery_is_owed() {
    let world = World::new();
    let run = world.kept(with_callback(command()), 1, 1);
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    world.clock.advance(2);
    assert_eq!(world.reconcile().purged, 0);
    for delivery in world.engine.take_announced() {
        world.deliver(&delivery);
    }
    assert_eq!(world.reconcile().purged, 1);
}

#[test]
fn a_rule_can_be_changed_on_open_and_ended_runs() {
    let world = World::new();
    let run = world.kept(command(), 1, 60);
    assert_eq!(
        world.retain(&run, 10).expect("changed").state.ended().and_then(|ended| ended.due_at),
        None,
        "an open run is not due"
    );
    world.succeed(&run);
    let ended = world.run(run.run_id);
    assert_eq!(
        ended.state.ended().and_then(|ended| ended.due_at),
        ended.state.ended().map(|ended| ended.completed_at).map(|at| at + SignedDuration::from_secs(10))
    );
    assert_eq!(
        world.retain(&run, Retention::KEEP).expect("changed").state.ended().and_then(|ended| ended.due_at),
        None
    );
    world.clock.advance(1_000);
    assert!(world.is_found(&run));
    assert!(matches!(world.retain(&run, 0), Err(Refusal::Invalid(_))));
    world.retain(&run, 1).expect("changed");
    assert!(!world.is_found(&run), "its time is over already");
}

#[test]
fn only_an_ended_run_to_whom_nothing_is_owed_can_be_deleted() {
    let world = World::new();
    let run = world.kept(with_callback(command()), 1, 60);
    assert!(matches!(world.delete(&run), Err(Refusal::Conflict { code: ConflictCode::RunOpen, .. })));
    let settled = world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    assert!(matches!(world.delete(&run), Err(Refusal::Conflict { code: ConflictCode::DeliveriesOpen, .. })));
    for delivery in &settled.owed {
        world.deliver(delivery);
    }
    world.delete(&run).expect("deleted");
    assert!(!world.store.knows(&run.tenant_id, run.run_id));
    assert!(matches!(world.delete(&run), Err(Refusal::NotFound { .. })));
}

#[test]
fn a_deletion_that_stops_halfway_is_hidden_and_finished_by_the_sweep() {
    let world = World::new();
    let run = world.kept(command(), 1, 60);
    world.succeed(&run);
    world.store.faults.once("purge the run's head", Fault::Before(StoreErrorClass::Unavailable));
    assert!(matches!(world.delete(&run), Err(Refusal::Store(_))));
    assert!(!world.is_found(&run));
    assert_eq!(world.reconcile().purged, 1);
    assert!(!world.store.knows(&run.tenant_id, run.run_id));
}

#[test]
fn a_run_whose_time_is_over_is_let_go_before_anything_of_it_is_deleted() {
    for step in ["purge the run's ledger", "purge the run's items", "purge the run's head"] {
        let world = World::new();
        let run = world.kept(command(), 1, 60);
        world.succeed(&run);
        world.clock.advance(60);
        world.store.faults.once(step, Fault::Before(StoreErrorClass::Unavailable));
        assert_eq!(world.reconcile().purged, 0, "{step}");
        let due_at = world.run(run.run_id).state.ended().and_then(|ended| ended.due_at);
        assert_eq!(due_at, Some(Run::LET_GO), "{step}: nobody finds it, however late his clock is");
        assert_eq!(world.reconcile().purged, 1, "{step}");
        assert!(!world.store.knows(&run.tenant_id, run.run_id), "{step}");
    }
}

#[test]
fn the_key_of_a_run_that_is_gone_is_answered_with_its_id() {
    let world = World::new();
    let run = world.kept(with_key(command(), "a-key", "payload"), 1, 60);
    world.succeed(&run);
    world.clock.advance(61);
    let again = world.create(with_key(command(), "a-key", "payload"), 2);
    assert!(matches!(again, Err(Refusal::RunExpired { run_id }) if run_id == run.run_id), "{again:?}");
    world.reconcile();
    let again = world.create(with_key(command(), "a-key", "payload"), 2);
    assert!(matches!(again, Err(Refusal::RunExpired { run_id }) if run_id == run.run_id), "{again:?}");
}

#[test]
fn a_late_event_finds_nothing_to_change() {
    let world = World::new();
    let run = world.kept(command(), 1, 1);
    world.succeed(&run);
    let before = world.run(run.run_id);
    world.clock.advance(2);
    world.reconcile();
    let end = sluice_core::lifecycle::RunEvent::EngineEnded(EngineEnd::Failed);
    let details = sluice_core::run::EndDetails::default();
    let late =
        block_on(sluice_core::flow::transition_run::transition(&world.store, before, end, &details, world.clock.now()));
    assert_eq!(late.expect("no fault"), None);
    assert_eq!(world.store.runs().iter().filter(|one| one.status() == RunStatus::Failed).count(), 0);
}
