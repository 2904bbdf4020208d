//! A run with its ledger, a model with its prices, and a clock that a test moves.

use jiff::{SignedDuration, Timestamp};
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::caller::Caller;
use sluice_core::flow::create_run::create_run;
use sluice_core::governor::access::{Grant, Holder, Pass};
use sluice_core::governor::call::{Call, Input};
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::model::Model;
use sluice_core::governor::price::{Price, Rate, Rates, TierPrice};
use sluice_core::governor::terms::ServiceTier;
use sluice_core::id::DefinitionRef;
use sluice_core::operator::Tenants;
use sluice_core::ports::{Clock, CountInput, RunRef};
use sluice_core::run::Run;
use sluice_core::usage::LlmCall;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::lock;
use sluice_testkit::store::MemoryStore;
use sluice_testkit::{block_on, fixture};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time that passes only when a test says so: who sleeps waits until then.
#[derive(Clone, Debug)]
pub struct SharedClock(Arc<Mutex<Timestamp>>);

impl SharedClock {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new("2026-11-28T22:00:00Z".parse().expect("a time"))))
    }

    pub fn pass(&self, duration: SignedDuration) {
        *lock(&self.0) += duration;
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }

    async fn sleep(&self, duration: Duration) {
        let end = self.now() + SignedDuration::try_from(duration).expect("a short time");
        while self.now() < end {
            sluice_testkit::turn().await;
        }
    }
}

/// Counts the tokens of an input, or cannot.
#[derive(Clone, Copy, Debug)]
pub struct Counter(pub Option<u64>);

impl CountInput for Counter {
    async fn count_input(&self) -> Option<u64> {
        sluice_testkit::turn().await;
        self.0
    }
}

pub struct Bench {
    pub store: MemoryStore,
    pub engine: MemoryEngine,
    pub clock: SharedClock,
    pub caller: Caller,
    pub run: RunRef,
}

impl Bench {
    /// A run that has begun, of the only tenant, with this ledger.
    pub fn new(ledger: Ledger) -> Self {
        let (store, engine, clock) = (MemoryStore::default(), MemoryEngine::default(), SharedClock::new());
        let caller = fixture::caller("acme");
        let (policy, now) = (fixture::policy(), clock.now());
        let command = fixture::command(DefinitionRef::Id(fixture::definition_id(7)));
        let run = block_on(async {
            fixture::seed(&store, "acme", now).await;
            Box::pin(create_run(&store, &engine, &policy, &caller, command, fixture::fresh(fixture::run_id(1)), now))
                .await
        });
        let run = run.expect("accepted").run;
        assert!(engine.claim(&store, &run.execution_arn(), now));
        let run = RunRef { tenant_id: caller.tenant.clone(), run_id: run.run_id };
        store.open_ledger(&run, ledger);
        Self { store, engine, clock, caller, run }
    }

    pub fn ledger(&self) -> Ledger {
        self.store.governed(&self.run).expect("it is there")
    }

    pub fn current(&self) -> Run {
        self.store.run(&self.run.tenant_id, self.run.run_id).expect("it is there")
    }

    pub fn call_id(&self, number: u128) -> CallId {
        CallId::new(self.clock.now(), number)
    }
}

pub fn processor(name: &str) -> Holder {
    Holder::Processor(name.parse().expect("a key"))
}

/// Who may call in [`ledger`].
pub fn pass() -> Pass {
    Pass { grant: Grant::new(7), holder: processor("writer"), node_id: "draft".parse().expect("a node") }
}

/// Two processors, each with a node of its own.
pub fn ledger(cap: Option<u64>) -> Ledger {
    let node = |name: &str| BTreeSet::from([name.parse().expect("a node")]);
    let nodes = BTreeMap::from([(processor("writer"), node("draft")), (processor("editor"), node("edit"))]);
    Ledger::new(Grant::new(7), nodes, cap.map(NanoUsd))
}

/// So many nano-dollars a token of input and of output, from one time to another.
pub fn price(from: Timestamp, until: Option<Timestamp>, input: u64, output: u64) -> Price {
    let rates = Rates {
        input: Rate(input * 1_000_000),
        output: Rate(output * 1_000_000),
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
    };
    let tiers = BTreeMap::from([(ServiceTier::Default, TierPrice { rates, long: None })]);
    Price { from, until, tiers, guardrail_text_unit: None }
}

pub fn model(prices: Vec<Price>) -> Model {
    Model {
        key: "haiku".parse().expect("a key"),
        ids: BTreeSet::new(),
        tenants: Tenants::everyone(),
        context_tokens: 200_000,
        max_output_tokens: 64_000,
        counts_tokens: false,
        caches_unasked: false,
        prices,
        updated_at: Timestamp::UNIX_EPOCH,
        rev: 1,
    }
}

/// 1 nano-dollar a token of input, 5 a token of output.
pub fn plain_model() -> Model {
    model(vec![price(Timestamp::UNIX_EPOCH, None, 1, 5)])
}

/// A call whose input is known to the token.
pub fn call(input: u64, max_tokens: u64) -> Call {
    let input = Input { counted: Some(input), ..Input::default() };
    Call { input, max_tokens: Some(max_tokens), ..Call::default() }
}

/// A call that nobody governs, as it is told of.
pub fn reported(call_id: &str, cost: NanoUsd, at: Timestamp) -> LlmCall {
    LlmCall {
        call_id: call_id.to_owned(),
        node_id: None,
        provider: "acme".to_owned(),
        model: "small".to_owned(),
        input_tokens: 10,
        output_tokens: 5,
        cached_tokens: 0,
        cost_nano_usd: cost,
        latency_ms: 7,
        reported_at: at,
    }
}
