use crate::world::{World, cap, command, with_callback};
use sluice_core::budget::{MicroUsd, NanoUsd};
use sluice_core::call_id::LEASE;
use sluice_core::flow::read_runs::list_calls;
use sluice_core::flow::record_usage::{UsageRecorded, record_usage};
use sluice_core::flow::transition_run::transition;
use sluice_core::flow::{Answer, Refusal};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent, TerminationReason};
use sluice_core::limits;
use sluice_core::ports::{Clock, RecordUsage, RunRef, StoreErrorClass};
use sluice_core::refusal::ConflictCode;
use sluice_core::run::{EndDetails, Run};
use sluice_core::usage::LlmCall;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use std::future::Future;
use std::task::{Context, Waker};

impl World {
    fn use_up(&self, run: &Run, calls: Vec<LlmCall>) -> Answer<UsageRecorded> {
        block_on(record_usage(&self.store, &self.engine, &self.caller, run.run_id, calls, self.clock.now()))
    }

    fn capped(&self, budget: &str) -> Run {
        let command =
            sluice_core::flow::create_run::Command { execution_budget: cap(budget), ..with_callback(command()) };
        let run = self.create(command, 1).expect("accepted").run;
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        self.run(run.run_id)
    }
}

/// The next call of `operation` has `fault`. Whatever step of a report that is: it is reached, because others write the ledger
/// whenever the report would be made in one write.
pub fn disturb(world: &World, operation: &'static str, fault: Fault) {
    let mut fault = Some(fault);
    world.store.faults.set(move |called| match called {
        _ if called == operation => fault.take(),
        AT_ONCE => Some(Fault::Before(StoreErrorClass::Conflict)),
        _ => None,
    });
}

const AT_ONCE: &str = "report at once";

pub fn call(id: &str, cost_nano: u64) -> LlmCall {
    LlmCall {
        call_id: id.to_owned(),
        node_id: Some("frequencies".parse().expect("a node")),
        provider: "acme".to_owned(),
        model: "small".to_owned(),
        input_tokens: 100,
        output_tokens: 10,
        cached_tokens: 0,
        cost_nano_usd: NanoUsd(cost_nano),
        latency_ms: 20,
        reported_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_call_counts_once_however_often_it_is_reported() {
    let world = World::new();
    let run = world.running(1);
    let first = world.use_up(&run, vec![call("a", 5), call("b", 7), call("a", 500)]).expect("recorded");
    assert_eq!((first.recorded, first.repeated, first.usage.total.cost_nano_usd), (2, 1, NanoUsd(12)));
    let second = world.use_up(&run, vec![call("b", 7), call("c", 1)]).expect("recorded");
    assert_eq!((second.recorded, second.repeated, second.usage.total.calls), (1, 1, 3));
}

/// Whatever is recorded of a run before its end is told with its end, however the two come to lie.
#[test]
fn what_is_reported_before_the_end_is_told_with_it() {
    let mut told_late = 0;
    for steps in 0.. {
        let world = World::new();
        let run = world.running(1);
        world.use_up(&run, vec![call("a", 5)]).expect("recorded");
        let event = RunEvent::EngineEnded(EngineEnd::Succeeded);
        let details = EndDetails::default();
        let mut ending = std::pin::pin!(transition(&world.store, run.clone(), event, &details, world.clock.now()));
        let mut context = Context::from_waker(Waker::noop());
        let is_over = (0..steps).any(|_| ending.as_mut().poll(&mut context).is_ready());
        if is_over {
            break;
        }
        let was_open = !world.run(run.run_id).status().is_terminal();
        world.use_up(&run, vec![call("b", 7)]).expect("recorded");
        let ended = block_on(ending).expect("ends");
        assert!(ended.is_some(), "the run ends");
        let body = world.store.deliveries().remove(0).0.body;
        let told: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        if was_open {
            assert_eq!(told["usage"]["calls"], 2, "after {steps} steps: {body}");
            told_late += 1;
        }
    }
    assert!(told_late > 2, "{told_late}");
}

/// One write where nobody else writes the ledger, and three where somebody does: for callers and for the books it is the same.
#[test]
fn a_report_comes_to_the_same_in_one_write_and_in_three() {
    let mut told = [Vec::new(), Vec::new()];
    for (is_crowded, told) in [false, true].into_iter().zip(&mut told) {
        let world = World::new();
        let run = world.capped("0.00001");
        let in_the_way = if is_crowded { AT_ONCE } else { "begin a report" };
        let fault = Fault::Before(StoreErrorClass::Conflict);
        world.store.faults.set(move |called| (called == in_the_way).then_some(fault));
        // The last two are above the cap: of an open ledger, and of a closed one.
        for calls in [
            vec![call("a", 5), call("b", 7)],
            vec![call("b", 7), call("c", 9_988)],
            vec![call("d", 1)],
            vec![call("e", 3)],
        ] {
            let UsageRecorded { run, usage, recorded, repeated, stopped } =
                world.use_up(&run, calls).expect("recorded");
            let used = world.store.used(&world.caller.tenant, run.run_id);
            let ledger = used.ledger.clone().expect("a ledger");
            assert_eq!(usage, used.usage, "what is told is what can be read");
            assert_eq!((ledger.spent, ledger.counts.calls), (usage.total.cost_nano_usd, usage.total.calls));
            assert!(ledger.is_idle());
            told.push((
                run.status(),
                run.rev,
                usage,
                recorded,
                repeated,
                stopped,
                ledger.standing,
                world.engine.stops(),
            ));
        }
        assert_eq!(told.iter().map(|told| told.5).collect::<Vec<_>>(), [false, false, true, false]);
    }
    let [alone, crowded] = told;
    assert_eq!(alone, crowded);
}

/// Who finds a report of somebody else under way does not send what would be in its way.
#[test]
fn beside_another_report_none_is_made_in_one_write() {
    let world = World::new();
    let run = world.running(1);
    let reference = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
    let begun = block_on(world.store.begin_report(&reference, NanoUsd(1), world.clock.now())).expect("begun");
    assert!(begun.is_some());
    world.store.faults.once(AT_ONCE, Fault::Before(StoreErrorClass::Corrupt));
    let recorded = world.use_up(&run, vec![call("a", 5)]).expect("recorded");
    assert_eq!((recorded.recorded, recorded.usage.total.calls), (1, 1));
}

/// Wherever a report breaks off, it is repeated, and then or at the end of the lease every call is counted, once.
#[test]
fn a_report_that_broke_off_can_be_repeated() {
    let unavailable = StoreErrorClass::Unavailable;
    for operation in [AT_ONCE, "begin a report", "record the calls", "count a report"] {
        for fault in [Fault::Before(unavailable), Fault::After(unavailable)] {
            let world = World::new();
            let run = world.running(1);
            disturb(&world, operation, fault);
            assert!(matches!(world.use_up(&run, vec![call("a", 5)]), Err(Refusal::Store(_))), "{operation}");
            let again = world.use_up(&run, vec![call("a", 5), call("b", 7)]).expect("recorded");
            assert_eq!(again.recorded + again.repeated, 2);
            assert_eq!((again.usage.total.calls, again.usage.total.cost_nano_usd), (2, NanoUsd(12)), "{operation}");
            world.clock.advance(LEASE.as_secs());
            world.reconcile();
            let used = world.store.used(&world.caller.tenant, run.run_id);
            let ledger = used.ledger.as_ref().expect("a ledger");
            assert!(ledger.is_idle(), "{operation}");
            assert_eq!((used.usage.total.calls, ledger.spent, ledger.counts.calls), (2, NanoUsd(12), 2), "{operation}");
        }
    }
}

/// Nobody repeats it: the sweep counts what was recorded, stops the run where that is too much, and gives the rest up.
#[test]
fn a_report_that_nobody_repeats_is_counted_by_the_sweep() {
    let unavailable = StoreErrorClass::Unavailable;
    for (operation, fault, spent) in [
        ("begin a report", Fault::After(unavailable), 0),
        ("record the calls", Fault::Before(unavailable), 0),
        ("record the calls", Fault::After(unavailable), 10_001),
        ("count a report", Fault::Before(unavailable), 10_001),
    ] {
        let world = World::new();
        let run = world.capped("0.00001");
        disturb(&world, operation, fault);
        assert!(matches!(world.use_up(&run, vec![call("a", 10_001)]), Err(Refusal::Store(_))), "{operation}");
        world.clock.advance(LEASE.as_secs() - 1);
        world.reconcile();
        assert_eq!(world.run(run.run_id).status(), RunStatus::Running, "{operation}");
        world.clock.advance(1);
        let swept = world.reconcile();
        assert_eq!((swept.stops_asked, swept.faults.as_slice()), (u32::from(spent > 0), [].as_slice()), "{operation}");
        let used = world.store.used(&world.caller.tenant, run.run_id);
        let ledger = used.ledger.expect("a ledger");
        assert!(ledger.is_idle(), "{operation}");
        let is_stopped = world.run(run.run_id).status() == RunStatus::Canceling;
        assert_eq!((ledger.spent, is_stopped), (NanoUsd(spent), spent > 0), "{operation}");
        assert_eq!(world.engine.stops().is_empty(), spent == 0, "{operation}");
    }
}

/// A run from before there was one ledger for both goes on, and all of it counts.
#[test]
fn what_was_reported_before_there_was_one_ledger_counts() {
    for has_ledger in [false, true] {
        let world = World::new();
        let run = world.capped("0.00001");
        let tenant = &world.caller.tenant;
        world.store.seed_earlier(tenant, run.run_id, &[call("old", 4_000), call("older", 1_000)], has_ledger);
        assert_eq!(world.store.used(tenant, run.run_id).spent(), NanoUsd(5_000));
        let repeated = world.use_up(&run, vec![call("old", 4_000)]).expect("recorded");
        assert_eq!((repeated.recorded, repeated.usage.total.calls), (0, 2));
        let within = world.use_up(&run, vec![call("new", 5_000)]).expect("recorded");
        assert_eq!((within.run.status(), within.usage.total.cost_nano_usd), (RunStatus::Running, NanoUsd(10_000)));
        assert_eq!(world.store.used(tenant, run.run_id).spent(), NanoUsd(10_000));
        let above = world.use_up(&run, vec![call("newer", 1)]).expect("recorded");
        assert_eq!((above.run.status(), above.stopped), (RunStatus::Canceling, true), "{has_ledger}");
        world.settle(&run, EngineEnd::Aborted, &EndDetails::default()).expect("settled");
        let body = &world.store.deliveries()[0].0.body;
        assert!(body.contains(r#""usage":{"calls":4,"#) && body.contains(r#""costUsd":0.000010001"#), "{body}");
        assert!(body.contains(r#""spentUsd":0.000010001"#), "{body}");
    }
}

#[test]
fn exactly_the_cap_is_within_it_and_anything_above_ends_the_run() {
    let world = World::new();
    let run = world.capped("0.00001");
    let within = world.use_up(&run, vec![call("a", 10_000)]).expect("recorded");
    assert_eq!(within.run.status(), RunStatus::Running);
    let above = world.use_up(&run, vec![call("b", 1)]).expect("recorded");
    assert_eq!(
        (above.run.status(), above.run.state.intent()),
        (RunStatus::Canceling, Some(StopIntent::BudgetExceeded))
    );
    assert_eq!(world.engine.stops(), [run.execution_arn()]);
    world.settle(&run, EngineEnd::Aborted, &EndDetails::default()).expect("settled");
    let ended = world.run(run.run_id);
    assert_eq!(
        (ended.status(), ended.state.ended().map(|ended| ended.reason)),
        (RunStatus::Failed, Some(TerminationReason::BudgetExceeded))
    );
    let body = &world.store.deliveries()[0].0.body;
    assert!(body.contains(r#""usage":{"calls":2,"inputTokens":200,"outputTokens":20"#), "{body}");
    assert!(body.contains(r#""costUsd":0.000010001"#), "{body}");
}

#[test]
fn the_lower_of_the_two_caps_holds() {
    let world = World::new();
    let run = world.capped("100"); // the compute node's ceiling is 50
    assert_eq!(run.spec.spending_cap(), Some(MicroUsd::from_usd(50)));
    world.use_up(&run, vec![call("a", 50_000_000_001)]).expect("recorded");
    assert_eq!(world.run(run.run_id).status(), RunStatus::Canceling);
}

#[test]
fn a_stop_that_was_not_heard_is_asked_for_again() {
    let world = World::new();
    let run = world.capped("0.00001");
    let lost = Fault::Before(sluice_core::ports::StoreErrorClass::Unavailable);
    world.engine.faults.once("stop the execution", lost);
    world.use_up(&run, vec![call("a", 20_000)]).expect("recorded");
    assert!(world.engine.stops().is_empty());
    world.use_up(&run, vec![call("a", 20_000)]).expect("repeated");
    assert_eq!(world.engine.stops().len(), 1);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let world = World::new();
    let run = world.running(1);
    let nobody = LlmCall { node_id: Some("nobody".parse().expect("a node")), ..call("b", 1) };
    let nameless = LlmCall { model: String::new(), ..call("", 1) };
    let Err(Refusal::Invalid(invalid)) = world.use_up(&run, vec![call("a", 1), nobody, nameless]) else {
        panic!("refused");
    };
    let places: Vec<String> = invalid.violations.iter().map(|violation| violation.place.to_string()).collect();
    assert_eq!(places, ["Usage[2].CallId", "Usage[2].Model", "Usage[1].NodeId"]);
    assert!(matches!(world.use_up(&run, vec![]), Err(Refusal::Invalid(_))));
    let pending = world.pending(2);
    assert!(matches!(
        world.use_up(&pending, vec![call("a", 1)]),
        Err(Refusal::Conflict { code: ConflictCode::WrongStatus, .. })
    ));
}

#[test]
fn a_number_and_a_text_may_be_as_large_as_their_bound_and_no_larger() {
    let world = World::new();
    let run = world.running(1);
    let most = 1_000_000_000_000;
    let names = |count| "n".repeat(count);
    let usual = limits::USAGE_TEXT_CHARS;
    for (call, is_taken) in [
        (
            LlmCall { input_tokens: most, output_tokens: most, cached_tokens: most, latency_ms: most, ..call("a", 1) },
            true,
        ),
        (LlmCall { input_tokens: most + 1, ..call("b", 1) }, false),
        (LlmCall { output_tokens: most + 1, ..call("c", 1) }, false),
        (LlmCall { cached_tokens: most + 1, ..call("d", 1) }, false),
        (LlmCall { latency_ms: most + 1, ..call("e", 1) }, false),
        (LlmCall { model: names(usual), provider: names(usual), ..call(&names(usual), 1) }, true),
        (LlmCall { model: names(usual + 1), ..call("f", 1) }, false),
    ] {
        assert_eq!(world.use_up(&run, vec![call.clone()]).is_ok(), is_taken, "{call:?}");
    }
}

#[test]
fn what_is_reported_after_the_end_counts_and_changes_nothing_else() {
    let world = World::new();
    let run = world.capped("0.00001");
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    let late = world.use_up(&run, vec![call("late", 99_999)]).expect("recorded");
    assert_eq!((late.recorded, late.run.status()), (1, RunStatus::Succeeded));
}

#[test]
fn as_many_calls_are_reported_at_once_as_the_bound_says_and_no_more() {
    let world = World::new();
    let run = world.running(1);
    let most = limits::USAGE_CALLS;
    for (count, code) in [
        (0, Some("out_of_range")),
        (1, None),
        (most, None),
        (most + 1, Some("too_many")),
        (most + 2, Some("too_many")),
        (most * 2, Some("too_many")),
    ] {
        let calls = (0..count).map(|number| call(&format!("{count}-{number}"), 1)).collect();
        match world.use_up(&run, calls) {
            Ok(taken) => assert_eq!((taken.recorded as usize, None), (count, code)),
            Err(Refusal::Invalid(invalid)) => {
                let [violation] = invalid.violations.as_slice() else { panic!("{count}: {invalid:?}") };
                assert_eq!((violation.place.to_string().as_str(), Some(violation.code.as_str())), ("Usage", code));
            }
            Err(other) => panic!("{count}: {other:?}"),
        }
    }
}

#[test]
fn a_call_says_who_and_what_it_was_in_printable_words_of_bounded_length() {
    let world = World::new();
    let run = world.running(1);
    let most = limits::USAGE_TEXT_CHARS;
    type Said = fn(LlmCall, String) -> LlmCall;
    let fields: [(&str, Said); 3] = [
        ("Usage[0].CallId", |call, call_id| LlmCall { call_id, ..call }),
        ("Usage[0].Provider", |call, provider| LlmCall { provider, ..call }),
        ("Usage[0].Model", |call, model| LlmCall { model, ..call }),
    ];
    for (place, said) in fields {
        for (text, is_taken) in [
            (String::new(), false),
            ("x".to_owned(), true),
            ("ä".repeat(most), true),
            ("ä".repeat(most + 1), false),
            ("a\nb".to_owned(), false),
        ] {
            match world.use_up(&run, vec![said(call("a", 1), text.clone())]) {
                Ok(_) => assert!(is_taken, "{place} {text:?}"),
                Err(Refusal::Invalid(invalid)) => {
                    let faults: Vec<_> =
                        invalid.violations.iter().map(|one| (one.place.to_string(), one.code.as_str())).collect();
                    assert!(!is_taken, "{place} {text:?}");
                    assert_eq!(faults, [(place.to_owned(), "out_of_range")], "{text:?}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_calls_of_a_run_are_listed_each_once_page_by_page() {
    let world = World::new();
    let run = world.running(1);
    let calls: Vec<LlmCall> = ["a", "b", "c", "d", "e"].into_iter().map(|id| call(id, 1)).collect();
    world.use_up(&run, calls.clone()).expect("recorded");
    let list = |limit: u32, cursor: Option<&str>| {
        block_on(list_calls(&world.store, &world.caller, run.run_id, limit, cursor, world.clock.now()))
    };
    for limit in 1..=6 {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(limit, cursor.as_deref()).expect("lists");
            assert!(page.items.len() <= limit as usize);
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.sort_by(|one, another| one.call_id.cmp(&another.call_id));
        assert_eq!(found, calls, "{limit} at a time");
    }
    let (other, now) = (sluice_testkit::fixture::caller("other"), world.clock.now());
    let foreign = block_on(list_calls(&world.store, &other, run.run_id, 10, None, now));
    assert!(matches!(foreign, Err(Refusal::NotFound { .. })), "{foreign:?}");
}

#[test]
fn a_report_goes_on_after_what_was_only_in_the_way_and_tells_of_everything_else() {
    use StoreErrorClass as Class;
    for operation in [AT_ONCE, "begin a report", "count a report"] {
        for (class, is_taken) in
            [(Class::Conflict, true), (Class::Throttled, false), (Class::Unavailable, false), (Class::Corrupt, false)]
        {
            let world = World::new();
            let run = world.running(1);
            disturb(&world, operation, Fault::Before(class));
            match world.use_up(&run, vec![call("a", 5)]) {
                Ok(recorded) => {
                    assert!(is_taken, "{operation} {class:?}");
                    assert_eq!((recorded.recorded, recorded.usage.total.cost_nano_usd), (1, NanoUsd(5)));
                }
                Err(Refusal::Store(error)) => assert_eq!((false, error.class), (is_taken, class), "{operation}"),
                Err(other) => panic!("{operation} {class:?}: {other:?}"),
            }
        }
    }
}
