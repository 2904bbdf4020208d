//! One tenant's seeded world, and the few things that tests do with it.

use serde_json::value::RawValue;
use sluice_core::budget::{InvalidBudget, MicroUsd};
use sluice_core::caller::Caller;
use sluice_core::flow::create_run::{Accepted, Command, create_run};
use sluice_core::flow::deliver::{Delivered, Outlook, deliver, send};
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary, reconcile_runs};
use sluice_core::flow::transition_run::{Transition, transition};
use sluice_core::flow::{Answer, cancel_run};
use sluice_core::id::{DefinitionRef, RunId};
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::limits;
use sluice_core::ports::{Clock, Deliveries, DeliveryRef};
use sluice_core::run::{EndDetails, Run};
use sluice_core::snapshot::Callback;
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::receiver::MemoryReceiver;
use sluice_testkit::store::MemoryStore;
use sluice_testkit::{block_on, fixture};

pub struct World {
    pub store: MemoryStore,
    pub engine: MemoryEngine,
    pub clock: FixedClock,
    pub receiver: MemoryReceiver,
    pub caller: Caller,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            store: MemoryStore::default(),
            engine: MemoryEngine::default(),
            clock: FixedClock::default(),
            receiver: MemoryReceiver::default(),
            caller: fixture::caller("acme"),
        };
        block_on(fixture::seed(&world.store, "acme", world.clock.now()));
        world
    }

    pub fn create(&self, command: Command, id: u128) -> Answer<Accepted> {
        let policy = fixture::policy();
        let (run_id, now) = (fixture::run_id(id), self.clock.now());
        block_on(create_run(&self.store, &self.engine, &policy, &self.caller, command, fixture::fresh(run_id), now))
    }

    pub fn create_as(&self, caller: &Caller, command: Command, id: u128) -> Answer<Accepted> {
        let (policy, now) = (fixture::policy(), self.clock.now());
        block_on(create_run(
            &self.store,
            &self.engine,
            &policy,
            caller,
            command,
            fixture::fresh(fixture::run_id(id)),
            now,
        ))
    }

    /// A run with a webhook, recorded and started but not yet claimed.
    pub fn pending(&self, id: u128) -> Run {
        self.create(with_callback(command()), id).expect("accepted").run
    }

    /// A run with a webhook, claimed by its execution.
    pub fn running(&self, id: u128) -> Run {
        let run = self.pending(id);
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        self.run(run.run_id)
    }

    pub fn run(&self, run_id: RunId) -> Run {
        self.store.run(&self.caller.tenant, run_id).expect("the run exists")
    }

    pub fn cancel(&self, run_id: RunId) -> Answer<cancel_run::Canceled> {
        block_on(cancel_run::cancel_run(&self.store, &self.engine, &self.caller, run_id, self.clock.now()))
    }

    /// Ends the execution and settles the run by its event.
    pub fn end(&self, run: &Run, end: EngineEnd, output: Option<&str>) -> Option<Transition> {
        let (end, details) = self.engine.end(&run.execution_arn(), end, output, self.clock.now())?;
        self.settle(run, end, &details)
    }

    pub fn settle(&self, run: &Run, end: EngineEnd, details: &EndDetails) -> Option<Transition> {
        let event = RunEvent::EngineEnded(end);
        block_on(transition(&self.store, self.run(run.run_id), event, details, self.clock.now())).expect("settles")
    }

    /// As whoever recorded the run's end does with a delivery that was written just now.
    pub fn deliver_at_the_end(&self, delivery: &DeliveryRef) -> Delivered {
        let sent = async {
            let outlook = Outlook::of(&self.store, &delivery.tenant_id).await;
            let found = self.store.load_delivery(delivery).await?.expect("the delivery exists");
            let begun = Some(&found).filter(|found| outlook.lets_through(found, self.clock.now()));
            let begun = begun.and_then(|found| found.begin(self.clock.now()));
            let owed = if begun.is_none() { std::slice::from_ref(delivery) } else { &[] };
            if let Some(begun) = &begun {
                assert!(self.store.change_delivery(begun, None).await?, "nobody else has it yet");
            }
            let begun = begun.as_slice();
            send(&self.store, &self.engine, &self.receiver, &self.clock, &outlook, begun, owed).await.remove(0)
        };
        block_on(sent).expect("the store answers").1
    }

    /// As whoever was told by the queue does.
    pub fn deliver(&self, delivery: &DeliveryRef) -> Delivered {
        let sent = deliver(&self.store, &self.engine, &self.receiver, &self.clock, delivery);
        block_on(sent).expect("the store answers")
    }

    /// A sweep's usual bounds, from now on.
    pub fn bounds(&self) -> Bounds {
        let until = self.clock.now() + jiff::SignedDuration::from_secs(50);
        Bounds { starts: 100, purges_per_shard: 50, at_once: 3, ..Bounds::of_a_minute(until) }
    }

    pub fn reconcile(&self) -> SweepSummary {
        self.reconcile_within(self.bounds())
    }

    pub fn reconcile_within(&self, bounds: Bounds) -> SweepSummary {
        block_on(reconcile_runs(&self.store, &self.engine, &self.clock, bounds))
    }
}

pub fn command() -> Command {
    fixture::command(DefinitionRef::Id(fixture::definition_id(7)))
}

/// What a caller who writes `literal` asks for.
pub fn cap(literal: &str) -> Result<Option<MicroUsd>, InvalidBudget> {
    MicroUsd::parse_cap(literal, MicroUsd::from_usd(limits::BUDGET_USD))
}

pub fn with_callback(mut command: Command) -> Command {
    command.callback =
        Some(Callback { url: fixture::CALLBACK_URL.to_owned(), context: Some(raw(r#"{"z": 1, "a":1.10}"#)) });
    command
}

pub fn with_key(mut command: Command, key: &str, payload_hash: &str) -> Command {
    command.idempotency = Some(IdempotencyClaim {
        operation: Operation::Create,
        key: key.parse().expect("a key"),
        payload_hash: payload_hash.to_owned(),
    });
    command
}

pub fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}
