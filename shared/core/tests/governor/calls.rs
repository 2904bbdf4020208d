//! The flow of one call after another, one sentence a test.

use crate::bench::{Bench, Counter, call, ledger, model, pass, plain_model, price, processor, reported};
use jiff::{SignedDuration, Timestamp};
use sluice_core::budget::NanoUsd;
use sluice_core::flow::cancel_run::cancel_run;
use sluice_core::flow::govern_call::{Ports, Request, Ticket, Verdict, reserve, settle};
use sluice_core::flow::record_usage::record_usage;
use sluice_core::flow::sweep_ledgers::{LedgersSwept, sweep_ledgers};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::governor::access::{Grant, Pass};
use sluice_core::governor::call::{Call, Input};
use sluice_core::governor::ledger::{Ledger, OnBudgetExceeded, Standing};
use sluice_core::governor::model::{Model, Unpriced};
use sluice_core::governor::quota::{Period, QuotaOwner, QuotaRule};
use sluice_core::governor::record::{CallRecord, Outcome};
use sluice_core::governor::terms::ServiceTier;
use sluice_core::governor::usage::{CallEnd, CallUsage, TokenUsage};
use sluice_core::governor::verdict::Obstacle;
use sluice_core::governor::worst_case::NotCallable;
use sluice_core::lifecycle::{RunStatus, StopIntent};
use sluice_core::limits;
use sluice_core::ports::{Clock, GovernCalls, StoreErrorClass};
use sluice_testkit::block_on;
use sluice_testkit::contract::both;
use sluice_testkit::fault::Fault;

impl Bench {
    fn ask_as(&self, number: u128, pass: &Pass, model: &Model, call: &Call, quotas: &[QuotaRule]) -> Answer<Verdict> {
        block_on(self.asking(number, pass, model, call, quotas, Counter(None)))
    }

    async fn asking(
        &self,
        number: u128,
        pass: &Pass,
        model: &Model,
        call: &Call,
        quotas: &[QuotaRule],
        counter: Counter,
    ) -> Answer<Verdict> {
        let Self { store, engine, clock, run, .. } = self;
        let request = Request { run, pass, attempt: 1, call_id: self.call_id(number), model, call };
        store.set_quotas(quotas.to_vec());
        // Whoever waits is waited for: a quarter of a second passes with each look.
        let ports = Ports { store, engine, clock, counter: &counter };
        let mut asking = std::pin::pin!(reserve(&ports, &request));
        std::future::poll_fn(|context| {
            let answer = asking.as_mut().poll(context);
            if answer.is_pending() {
                self.clock.pass(SignedDuration::from_millis(1));
            }
            answer
        })
        .await
    }

    fn ask(&self, number: u128, call: &Call) -> Answer<Verdict> {
        self.ask_as(number, &pass(), &plain_model(), call, &[])
    }

    fn granted(&self, number: u128, call: &Call) -> Ticket {
        match self.ask(number, call) {
            Ok(Verdict::Granted(ticket)) => *ticket,
            other => panic!("granted, not {other:?}"),
        }
    }

    fn settle(&self, ticket: &Ticket, end: CallEnd) -> CallRecord {
        block_on(settle(&self.store, &self.engine, ticket, &end, self.clock.now())).expect("settled")
    }

    /// A call that nobody governs.
    fn report(&self, call_id: &str, cost: u64) {
        let call = reported(call_id, NanoUsd(cost), self.clock.now());
        let Self { store, engine, clock, caller, run } = self;
        let told = block_on(Box::pin(record_usage(store, engine, caller, run.run_id, vec![call], clock.now())));
        assert_eq!(told.expect("recorded").recorded, 1);
    }

    fn sweep(&self) -> LedgersSwept {
        block_on(sweep_ledgers(&self.store, &self.engine, self.clock.now(), 100)).expect("swept")
    }

    fn pass_lease(&self) {
        self.clock.pass(SignedDuration::from_secs(16 * 60));
    }
}

fn used(input: u64, output: u64) -> CallEnd {
    let tokens = TokenUsage { input, output, ..TokenUsage::default() };
    CallEnd::Used(CallUsage { tokens, ..CallUsage::default() })
}

#[test]
fn a_call_is_held_at_its_worst_and_settled_at_what_it_was() {
    let bench = Bench::new(ledger(Some(100_000)));
    let ticket = bench.granted(1, &call(1_000, 2_000));
    assert_eq!((ticket.hold, ticket.lowered_to), (NanoUsd(11_000), None));
    assert_eq!((bench.ledger().held(), bench.ledger().spent), (NanoUsd(11_000), NanoUsd(0)));
    let record = bench.settle(&ticket, used(900, 100));
    assert_eq!((record.cost, record.outcome), (NanoUsd(1_400), Outcome::Used));
    let after = bench.ledger();
    assert_eq!((after.held(), after.spent, after.counts.calls), (NanoUsd(0), NanoUsd(1_400), 1));
    // E03: settled twice.
    assert_eq!(bench.settle(&ticket, used(900, 100)).cost, NanoUsd(1_400));
    assert_eq!(bench.ledger(), after);
}

#[test]
fn what_was_refused_before_the_model_ran_costs_nothing_and_what_is_unknown_costs_its_hold() {
    for (status, spent) in
        [(400, 0), (403, 0), (404, 0), (429, 0), (408, 11_000), (424, 11_000), (500, 11_000), (503, 11_000)]
    {
        let bench = Bench::new(ledger(Some(100_000)));
        let ticket = bench.granted(1, &call(1_000, 2_000));
        bench.settle(&ticket, CallEnd::of_error(status));
        assert_eq!((bench.ledger().spent, bench.ledger().held()), (NanoUsd(spent), NanoUsd(0)), "{status}");
    }
}

/// E02: a crash after the call, before it was settled.
#[test]
fn a_call_that_nobody_settles_costs_its_hold_at_the_end_of_its_lease() {
    let bench = Bench::new(ledger(Some(100_000)));
    let ticket = bench.granted(1, &call(1_000, 2_000));
    assert_eq!(bench.sweep(), LedgersSwept::default());
    bench.pass_lease();
    assert_eq!(bench.sweep(), LedgersSwept { lost: 1, ..LedgersSwept::default() });
    let ledger = bench.ledger();
    assert_eq!(
        (ledger.spent, ledger.lost, ledger.held(), ledger.sweep_at),
        (NanoUsd(11_000), NanoUsd(11_000), NanoUsd(0), None)
    );
    // Who comes after the lease changes nothing.
    assert_eq!(bench.settle(&ticket, used(900, 100)).outcome, Outcome::Lost);
    assert_eq!(bench.ledger(), ledger);
}

#[test]
fn at_the_end_of_a_lease_a_record_says_better() {
    let bench = Bench::new(ledger(Some(100_000)));
    let ticket = bench.granted(1, &call(1_000, 2_000));
    let record = ticket.record(&used(900, 100), bench.clock.now());
    block_on(bench.store.record_call(&bench.run, &record)).expect("recorded");
    bench.pass_lease();
    assert_eq!(bench.sweep(), LedgersSwept { settled: 1, ..LedgersSwept::default() });
    assert_eq!((bench.ledger().spent, bench.ledger().lost), (NanoUsd(1_400), NanoUsd(0)));
}

#[test]
fn an_answer_is_lowered_to_what_is_left_and_says_to_what() {
    let bench = Bench::new(ledger(Some(20_000)));
    let ticket = bench.granted(1, &call(1_000, 8_000));
    assert_eq!((ticket.hold, ticket.lowered_to), (NanoUsd(20_000), Some(3_800)));
    assert_eq!(bench.ledger().counts.lowered, 1);
}

#[test]
fn what_could_never_fit_stops_the_run_and_nothing_is_granted_any_more() {
    let bench = Bench::new(ledger(Some(6_119)));
    assert_eq!(bench.ask(1, &call(1_000, 8_000)).expect("answered"), Verdict::Exhausted);
    let run = bench.current();
    assert_eq!((run.status(), run.state.intent()), (RunStatus::Canceling, Some(StopIntent::BudgetExceeded)));
    assert_eq!(bench.engine.stops(), [run.execution_arn()]);
    assert_eq!(bench.ledger().standing, Standing::Exhausted);
    assert_eq!(bench.ask(2, &call(1, 1)).expect("answered"), Verdict::Exhausted);
    assert_eq!(bench.ledger().held(), NanoUsd(0));
}

#[test]
fn a_run_that_only_refuses_is_stopped_after_twenty_five_refusals() {
    let refusing = Ledger { on_exceeded: OnBudgetExceeded::Refuse, ..ledger(Some(10_000)) };
    let bench = Bench::new(refusing);
    for number in 1..limits::EXHAUSTED_REFUSALS {
        assert_eq!(bench.ask(number.into(), &call(9_000, 8_000)).expect("answered"), Verdict::Exhausted);
        assert_eq!(bench.current().status(), RunStatus::Running, "{number}");
    }
    // A smaller call goes, meanwhile.
    let ticket = bench.granted(100, &call(100, 100));
    bench.settle(&ticket, used(1, 1));
    assert_eq!(bench.ask(101, &call(9_000, 8_000)).expect("answered"), Verdict::Exhausted);
    assert_eq!(bench.current().state.intent(), Some(StopIntent::BudgetExceeded));
}

#[test]
fn a_run_without_a_cap_is_only_counted() {
    let bench = Bench::new(ledger(None));
    let ticket = bench.granted(1, &call(200_000, 64_000));
    bench.settle(&ticket, used(200_000, 64_000));
    assert_eq!((bench.ledger().spent, bench.ledger().counts.calls), (NanoUsd(520_000), 1));
}

#[test]
fn who_waits_is_granted_as_asked_when_others_have_settled() {
    let bench = Bench::new(ledger(Some(15_000)));
    let (first, begun) = (bench.granted(1, &call(1_000, 2_000)), bench.clock.now());
    let (pass, model, call) = (pass(), plain_model(), call(1_000, 2_000));
    let asking = bench.asking(2, &pass, &model, &call, &[], Counter(None));
    let settling = async {
        while bench.clock.now() < begun + SignedDuration::from_secs(10) {
            sluice_testkit::turn().await;
        }
        bench.settle(&first, used(10, 10));
    };
    let (verdict, ()) = block_on(both(asking, settling));
    let Ok(Verdict::Granted(ticket)) = verdict else { panic!("{verdict:?}") };
    assert_eq!((ticket.hold, ticket.lowered_to), (NanoUsd(11_000), None));
}

#[test]
fn who_has_waited_in_vain_is_lowered_or_told_to_come_again() {
    let bench = Bench::new(ledger(Some(20_000)));
    let begun = bench.clock.now();
    bench.granted(1, &call(1_000, 2_000));
    let ticket = bench.granted(2, &call(1_000, 2_000));
    assert_eq!((ticket.hold, ticket.lowered_to), (NanoUsd(9_000), Some(1_600)));
    let waited = bench.clock.now().duration_since(begun);
    assert!((30..32).contains(&waited.as_secs()), "{waited:?}");
    let throttled = Verdict::Throttled { obstacle: Obstacle::Holds, retry_after_seconds: 5 };
    assert_eq!(bench.ask(3, &call(1_000, 2_000)).expect("answered"), throttled);
    assert_eq!((bench.ledger().counts.refused, bench.current().status()), (1, RunStatus::Running));
}

#[test]
fn no_more_than_a_hundred_calls_are_under_way() {
    let bench = Bench::new(ledger(None));
    for number in 0..100 {
        bench.granted(number, &call(1, 1));
    }
    let throttled = Verdict::Throttled { obstacle: Obstacle::Crowd, retry_after_seconds: 5 };
    assert_eq!(bench.ask(100, &call(1, 1)).expect("answered"), throttled);
}

#[test]
fn whoever_may_not_call_is_refused_alike_whatever_is_wrong() {
    let bench = Bench::new(ledger(Some(100_000)));
    let cases = [
        Pass { grant: Grant::new(8), ..pass() },
        Pass { holder: processor("editor"), ..pass() },
        Pass { holder: processor("stranger"), ..pass() },
        Pass { node_id: "edit".parse().expect("a node"), ..pass() },
        Pass { node_id: "nowhere".parse().expect("a node"), ..pass() },
    ];
    let (good, unpriced) = (call(1, 1), Call { tier: ServiceTier::Flex, ..call(1, 1) });
    for pass in &cases {
        for call in [&good, &unpriced] {
            let verdict = bench.ask_as(1, pass, &plain_model(), call, &[]).expect("answered");
            assert_eq!(verdict, Verdict::NotAdmitted, "{pass:?}");
        }
    }
    assert_eq!(bench.ledger(), ledger(Some(100_000)));
    let foreign = sluice_core::ports::RunRef { run_id: sluice_testkit::fixture::run_id(9), ..bench.run.clone() };
    let nowhere = Bench { run: foreign, ..bench };
    assert_eq!(nowhere.ask(1, &good).expect("answered"), Verdict::NotAdmitted);
    assert_eq!(nowhere.ask(1, &unpriced).expect("answered"), Verdict::NotAdmitted);
}

/// E07: a run that is cancelled with calls under way.
#[test]
fn nothing_is_granted_after_a_cancel_and_what_is_under_way_is_settled() {
    let bench = Bench::new(ledger(Some(100_000)));
    let ticket = bench.granted(1, &call(1_000, 2_000));
    let now = bench.clock.now();
    block_on(cancel_run(&bench.store, &bench.engine, &bench.caller, bench.run.run_id, now)).expect("cancelled");
    assert_eq!(bench.ask(2, &call(1, 1)).expect("answered"), Verdict::NotAdmitted);
    bench.settle(&ticket, used(900, 100));
    assert_eq!((bench.ledger().spent, bench.ledger().held()), (NanoUsd(1_400), NanoUsd(0)));
}

/// E04: the ledger cannot be written.
#[test]
fn no_call_is_granted_that_is_not_known_to_be_held() {
    use StoreErrorClass::{Conflict, Throttled, Unavailable};
    for fault in [Fault::Before(Unavailable), Fault::After(Unavailable)] {
        let bench = Bench::new(ledger(Some(100_000)));
        bench.store.faults.once("reserve for a call", fault);
        assert!(matches!(bench.ask(1, &call(1_000, 2_000)), Err(Refusal::Store(_))));
        assert_eq!((bench.ledger().held(), bench.ledger().spent), (NanoUsd(0), NanoUsd(0)), "{fault:?}");
        bench.pass_lease();
        bench.sweep();
        assert_eq!(bench.ledger().spent, NanoUsd(0), "it was not made");
    }
    // Nothing was written: it is tried again.
    for class in [Conflict, Throttled] {
        let bench = Bench::new(ledger(Some(100_000)));
        bench.store.faults.once("reserve for a call", Fault::Before(class));
        bench.granted(1, &call(1_000, 2_000));
    }
    let bench = Bench::new(ledger(Some(100_000)));
    bench.store.faults.set(|operation| (operation == "reserve for a call").then_some(Fault::Before(Throttled)));
    assert!(matches!(bench.ask(1, &call(1_000, 2_000)), Err(Refusal::Store(_))));
}

/// E05: what has no price.
#[test]
fn what_is_not_priced_is_refused_and_counted() {
    let bench = Bench::new(ledger(Some(100_000)));
    let flex = Call { tier: ServiceTier::Flex, ..call(1, 1) };
    let unpriced = Verdict::NotCallable(NotCallable::Unpriced(Unpriced::Tier(ServiceTier::Flex)));
    assert_eq!(bench.ask(1, &flex).expect("answered"), unpriced);
    assert_eq!((bench.ledger().counts.refused, bench.ledger().counts.exhausted), (1, 0));
}

#[test]
fn a_cost_above_its_hold_is_recorded_as_it_is_and_counted() {
    let bench = Bench::new(ledger(Some(12_000)));
    let ticket = bench.granted(1, &call(1_000, 2_000));
    bench.settle(&ticket, used(20_000, 2_000));
    assert_eq!((bench.ledger().spent, bench.ledger().counts.breaches), (NanoUsd(30_000), 1));
    assert_eq!(bench.ask(2, &call(1, 1)).expect("answered"), Verdict::Exhausted);
}

/// What is reported while a call is held may leave less than the call comes to: its settlement stops the run.
#[test]
fn whoever_takes_a_run_above_its_cap_stops_it() {
    use StoreErrorClass::{Throttled, Unavailable};
    // What fails, and whether the sweep has to do it.
    for (fault, is_left) in [
        (None, false),
        (Some(("change the run", Fault::Before(Throttled))), true),
        (Some(("settle a call", Fault::After(Unavailable))), true),
        (Some(("settle a call", Fault::Before(Throttled))), false),
    ] {
        let bench = Bench::new(ledger(Some(100_000)));
        let ticket = bench.granted(1, &call(1_000, 2_000));
        bench.report("one", 95_000);
        assert_eq!((bench.ledger().spent, bench.current().state.intent()), (NanoUsd(95_000), None));
        if let Some((operation, fault)) = fault {
            bench.store.faults.once(operation, fault);
        }
        assert_eq!(bench.settle(&ticket, used(900, 1_000)).cost, NanoUsd(5_900));
        assert_eq!((bench.ledger().spent, bench.ledger().is_above()), (NanoUsd(100_900), is_left), "{fault:?}");
        assert_eq!(bench.sweep().stopped, u32::from(is_left), "{fault:?}");
        assert_eq!(bench.ledger().standing, Standing::Exhausted, "{fault:?}");
        assert_eq!(bench.current().state.intent(), Some(StopIntent::BudgetExceeded), "{fault:?}");
        assert_eq!(bench.ask(2, &call(1, 1)).expect("answered"), Verdict::Exhausted);
    }
    // Exactly the cap is within it.
    let bench = Bench::new(ledger(Some(100_000)));
    let ticket = bench.granted(1, &call(1_000, 2_000));
    bench.report("one", 95_000);
    bench.settle(&ticket, used(0, 1_000));
    assert_eq!((bench.ledger().spent, bench.current().state.intent()), (NanoUsd(100_000), None));
    // One that nobody settles is settled by the sweep, which stops its run.
    let bench = Bench::new(ledger(Some(100_000)));
    bench.granted(1, &call(1_000, 2_000));
    bench.report("one", 95_000);
    bench.pass_lease();
    assert_eq!(bench.sweep(), LedgersSwept { lost: 1, stopped: 1, ..LedgersSwept::default() });
    assert_eq!(bench.current().state.intent(), Some(StopIntent::BudgetExceeded));
}

#[test]
fn the_input_is_counted_only_where_its_bound_does_not_fit() {
    let counting = Model { counts_tokens: true, ..plain_model() };
    let text = Call {
        input: Input { text_tokens: 30_000, messages: 1, ..Input::default() },
        max_tokens: Some(1_000),
        ..Call::default()
    };
    for (cap, counts, hold) in [(100_000, None, 35_080), (20_000, Some(6_000), 11_000)] {
        let bench = Bench::new(ledger(Some(cap)));
        let verdict = block_on(bench.asking(1, &pass(), &counting, &text, &[], Counter(counts)));
        let Ok(Verdict::Granted(ticket)) = verdict else { panic!("{verdict:?}") };
        assert_eq!(ticket.hold, NanoUsd(hold));
    }
    let bench = Bench::new(ledger(Some(20_000)));
    let verdict = block_on(bench.asking(1, &pass(), &counting, &text, &[], Counter(None)));
    assert_eq!(verdict.expect("answered"), Verdict::Exhausted);
}

#[test]
fn a_price_that_rises_while_a_call_is_under_way_was_set_aside() {
    let bench = Bench::new(ledger(Some(100_000)));
    let rise = bench.clock.now() + SignedDuration::from_secs(60);
    let model = model(vec![price(Timestamp::UNIX_EPOCH, Some(rise), 1, 5), price(rise, None, 2, 10)]);
    let verdict = bench.ask_as(1, &pass(), &model, &call(1_000, 2_000), &[]);
    let Ok(Verdict::Granted(ticket)) = verdict else { panic!("{verdict:?}") };
    assert_eq!(ticket.hold, NanoUsd(22_000));
    bench.clock.pass(SignedDuration::from_secs(61));
    assert_eq!(bench.settle(&ticket, used(900, 100)).cost, NanoUsd(2_800));
}

fn owner() -> QuotaOwner {
    QuotaOwner::Tenant("acme".parse().expect("a tenant"))
}

fn under_quota(cap: u64) -> Ledger {
    let mut ledger = ledger(Some(cap));
    ledger.allowances.insert(owner(), None);
    ledger
}

fn rule(most: u64) -> QuotaRule {
    QuotaRule { owner: owner(), period: Period::Day, most: NanoUsd(most) }
}

#[test]
fn a_run_draws_on_its_quota_and_gives_the_rest_back_with_its_end() {
    let bench = Bench::new(under_quota(100_000));
    let today = Period::Day.at(bench.clock.now());
    let ask = |number| bench.ask_as(number, &pass(), &plain_model(), &call(1_000, 2_000), &[rule(1_000_000)]);
    let Ok(Verdict::Granted(ticket)) = ask(1) else { panic!("granted") };
    assert_eq!(bench.store.quota(&owner(), &today), NanoUsd(100_000), "as much as its cap is of use");
    assert_eq!(bench.settle(&ticket, used(900, 100)).cost, NanoUsd(1_400));
    let Ok(Verdict::Granted(second)) = ask(2) else { panic!("granted") };
    let now = bench.clock.now();
    block_on(cancel_run(&bench.store, &bench.engine, &bench.caller, bench.run.run_id, now)).expect("cancelled");
    assert_eq!(bench.sweep().balanced, 0, "a call is under way");
    bench.settle(&second, used(0, 0));
    assert_eq!(bench.sweep().balanced, 1);
    assert_eq!(bench.store.quota(&owner(), &today), NanoUsd(1_400));
    assert_eq!(bench.sweep(), LedgersSwept::default());
}

#[test]
fn an_empty_quota_throttles_a_call_and_stops_no_run() {
    let bench = Bench::new(under_quota(100_000));
    let ask = |number, most| bench.ask_as(number, &pass(), &plain_model(), &call(1_000, 2_000), &[rule(most)]);
    let Ok(Verdict::Granted(lowered)) = ask(1, 7_000) else { panic!("granted") };
    assert_eq!((lowered.hold, lowered.lowered_to), (NanoUsd(7_000), Some(1_200)));
    bench.settle(&lowered, CallEnd::Unknown);
    let throttled = Verdict::Throttled { obstacle: Obstacle::Quota, retry_after_seconds: 60 };
    assert_eq!(ask(2, 7_000).expect("answered"), throttled);
    assert_eq!(bench.current().status(), RunStatus::Running);
    // A larger quota, or none any more.
    assert!(matches!(ask(3, 20_000), Ok(Verdict::Granted(_))));
    assert!(matches!(bench.ask_as(4, &pass(), &plain_model(), &call(40_000, 2_000), &[]), Ok(Verdict::Granted(_))));
}
