//! How often a request goes out, over the whole flow and its adapters.

mod workers;

use crate::support::http::Scripted;
use crate::support::sample::{self, noon};
use crate::support::table::Table;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sluice_aws::config::{Endpoints, Settings};
use sluice_aws::dynamo::Store;
use sluice_aws::{Aws, ids};
use sluice_core::budget::MicroUsd;
use sluice_core::call_id::CallId;
use sluice_core::change::RunChange;
use sluice_core::definition::VersionRule;
use sluice_core::delivery::Delivery;
use sluice_core::flow::cancel_run::cancel_run;
use sluice_core::flow::control_run::{pause_run, resume_run};
use sluice_core::flow::create_run::{Accepted, Command, Source, create_run};
use sluice_core::flow::deliver::{Delivered, Outlook, deliver, send};
use sluice_core::flow::govern_call::{self, Ports, Request, Verdict, reserve};
use sluice_core::flow::manage_definitions::{DefinitionChange, activate_version, add_version, change_definition};
use sluice_core::flow::read_runs::{get_run, list_calls, list_inputs, list_steps};
use sluice_core::flow::record_usage::record_usage;
use sluice_core::flow::replay_run;
use sluice_core::flow::transition_run::{AT_THE_END, settle, transition};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::governor::access::{Grant, Holder, Pass};
use sluice_core::governor::call::Call;
use sluice_core::governor::model::Model;
use sluice_core::governor::price::{Price, Rate, Rates, TierPrice};
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::governor::terms::ServiceTier;
use sluice_core::governor::usage::{CallEnd, CallUsage, TokenUsage};
use sluice_core::id::{DefinitionRef, NodeId, ProcessorKey, RunId};
use sluice_core::instance::ProcessorConfig;
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::meter::{Chance, Count, Meter};
use sluice_core::operator::{TenantSettings, Tenants};
use sluice_core::ports::{
    ChangeRun, Changed, Clock, CountInput, CountOnMeter, FindModel, LoadRun, ManageOperator, ReadLedgers, RunRef,
};
use sluice_core::run::{EndDetails, Run};
use sluice_core::snapshot::Callback;
use sluice_core::tenant_limits::OwnLimits;
use sluice_testkit::contract::store::reports as outside;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;
use sluice_testkit::receiver::MemoryReceiver;
use std::collections::{BTreeMap, BTreeSet};

/// The read of everything that a run depends on.
const READ: &str = "BatchGetItem";
/// The one transaction that records a run, or is refused.
const RECORD: &str = "TransactWriteItems";
const LOAD: &str = "GetItem";
const START: &str = "StartExecution";
const STOP: &str = "StopExecution";
/// One item that is written unread: a start that its tenant's meter counts.
const UPDATE: &str = "UpdateItem";
const QUERY: &str = "Query";
const PUT: &str = "PutItem";
/// Whoever sends what is owed is told of it. The bus stands at the table's address here.
const TELL: &str = "PutEvents";

/// What an operation is, what its process knows of the definition, the steps of its calls to the table, and its calls to the engine.
type Row = (&'static str, Process, &'static [&'static [&'static str]], &'static [&'static str]);

/// Every operation, what its process knows of the definition, the calls to the table that it makes, and then those to the engine.
/// Those to the table stand in steps: the calls of one step are made at once, and whoever waits, waits for the steps. What a step
/// more costs every caller is time: one that is added here has to be worth that.
#[rustfmt::skip]
const CALLS: &[Row] = &[
    ("create by name",                    Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create by id",                      Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create by instance",                Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create a new instance",             Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create by name with a key",         Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create by another tenant",          Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create by name",                    Process::New,   &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by id",                      Process::New,   &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by number",                  Process::New,   &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create the latest by name",         Process::New,   &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by another tenant",          Process::New,   &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by instance",                Process::New,   &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by an instance of another's", Process::New,  &[&[READ], &[READ], &[RECORD]], &[START]),
    // Another version was activated since the instance was made: it says which was the active one then.
    ("create by an older instance",       Process::New,   &[&[READ], &[READ], &[READ], &[RECORD]], &[START]),
    // Another version was activated meanwhile: one that this process has never seen.
    ("create by name",                    Process::Stale, &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by id",                      Process::Stale, &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create by instance",                Process::Stale, &[&[READ], &[READ], &[RECORD]], &[START]),
    // About a hundred starts of a tenant in a minute are counted, beside the start; where no more are allowed, each.
    ("create under a small limit",        Process::Warm,  &[&[READ], &[RECORD], &[UPDATE]], &[START]),
    // What is drawn on its quotas is read with the rest, once the process knows that there is a budget.
    ("create under a budget",             Process::Warm,  &[&[READ], &[RECORD]], &[START]),
    ("create under a new budget",         Process::Warm,  &[&[READ], &[READ], &[RECORD]], &[START]),
    ("create above a limit",              Process::Warm,  &[&[READ]], &[]),
    ("repeat a key above a limit",        Process::Warm,  &[&[READ], &[LOAD]], &[]),
    ("repeat a key",                      Process::Warm,  &[&[READ], &[LOAD]], &[]),
    ("repeat a key",                      Process::New,   &[&[READ], &[LOAD]], &[]),
    ("use a key for something else",      Process::Warm,  &[&[READ]], &[]),
    ("use a key for something else",      Process::New,   &[&[READ]], &[]),
    ("name what is not there",            Process::Warm,  &[&[READ]], &[]),
    // The intent is written unread, before the stop, and closes the ledger of governed calls; the run is read beside it.
    ("cancel",                            Process::Warm,  &[&[LOAD, RECORD]], &[STOP]),
    // It ends at once: that is more than one item, and what is owed of it is told.
    ("cancel before its start",           Process::Warm,  &[&[LOAD, RECORD], &[RECORD], &[TELL]], &[]),
    ("pause",                             Process::Warm,  &[&[LOAD], &[RECORD]], &[]),
    ("resume",                            Process::Warm,  &[&[LOAD], &[RECORD]], &[]),
    ("replay",                            Process::Warm,  &[&[READ], &[READ], &[RECORD]], &[START]),
    // The list of its steps; what finished steps came to is one read more, however many they are.
    ("replay from a node",                Process::Warm,  &[&[READ], &[READ], &[QUERY], &[RECORD]], &[START]),
    // The run with its ledger, beside which of the calls are known and what all come to; and the transaction of the report.
    ("report usage",                      Process::Warm,  &[&[READ, READ, QUERY], &[RECORD]], &[]),
    // One write before the call, and two behind its answer. A process that knows neither the key nor the model reads both before.
    ("govern a call",                     Process::Warm,  &[&[UPDATE], &[PUT], &[UPDATE]], &[]),
    ("govern a call",                     Process::New,   &[&[LOAD], &[LOAD], &[UPDATE], &[PUT], &[UPDATE]], &[]),
    ("get",                               Process::Warm,  &[&[READ]], &[]),
    ("list steps",                        Process::Warm,  &[&[READ], &[READ]], &[]),
    ("list inputs",                       Process::Warm,  &[&[READ, QUERY, QUERY]], &[]),
    ("list calls",                        Process::Warm,  &[&[LOAD, QUERY]], &[]),
    // What its calls have used and what its end needs of its snapshot, and the transaction of its end.
    ("end",                               Process::Warm,  &[&[READ], &[RECORD]], &[]),
    ("end with a callback",               Process::Warm,  &[&[READ], &[RECORD]], &[]),
    // However many there are.
    ("end with answers",                  Process::Warm,  &[&[READ], &[READ], &[RECORD]], &[]),
    // By its event: before the POST the run, its receivers, its end. The records of both deliveries are at once.
    ("settle with a callback",            Process::Warm,  &[&[READ], &[READ, LOAD], &[RECORD], &[RECORD, RECORD]], &[]),
    ("settle",                            Process::Warm,  &[&[READ], &[RECORD], &[RECORD]], &[]),
    // From the queue: before the POST the delivery beside its receivers, and its lease.
    ("deliver",                           Process::Warm,  &[&[READ, READ, LOAD], &[RECORD], &[RECORD]], &[]),
];

/// Operations on a run that has to be brought where it is first.
const PREPARED: &[&str] = &[
    "cancel",
    "pause",
    "resume",
    "replay",
    "replay from a node",
    "report usage",
    "govern a call",
    "create under a budget",
    "end",
    "end with a callback",
    "end with answers",
    "settle",
    "settle with a callback",
    "deliver",
];

/// What a process knows of the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    /// It made a run of it before.
    Warm,
    New,
    /// It made a run of it before another version was activated.
    Stale,
}

/// A table with a definition of three versions, whose first is active, that its owner shares. The nodes of the last are all
/// answered from outside.
struct World {
    table: Table,
    service: Scripted,
    aws: Aws,
    settings: Settings,
}

impl World {
    async fn new() -> Self {
        let table = Table::new().await;
        let service = Scripted::start(|_| (200, json!({"executionArn": "x", "startDate": 1.0}).to_string())).await;
        let mut settings = Settings::for_test(&table.relay.endpoint);
        settings.endpoints = Endpoints { sfn: Some(service.endpoint.clone()), ..settings.endpoints };
        let aws = Aws::connect(&settings).await;
        let elsewhere = table.another_store();
        fixture::seed(&elsewhere, "mine", noon()).await;
        let said = DefinitionChange { discoverable: Some(true), ..DefinitionChange::default() };
        let (owner, at) = (fixture::caller("mine"), by_id());
        change_definition(&elsewhere, &owner, &at, said, noon()).await.expect("changed");
        let answers = ["a", "b", "c"].map(|id| json!({"id": id, "type": "external"}));
        let answered = serde_json::from_value(json!({"nodes": answers})).expect("a document");
        for document in [fixture::document(), answered] {
            add_version(&elsewhere, &owner, &at, document, false, noon()).await.expect("added");
        }
        Self { table, service, aws, settings }
    }

    async fn create(&self, tenant: &str, command: Command) -> Answer<Accepted> {
        let (policy, caller, now) = (self.settings.policy(), fixture::caller(tenant), self.aws.clock.now());
        let run_id = self.uncounted();
        Box::pin(create_run(&self.aws.store, &self.aws.engine, &policy, &caller, command, fixture::fresh(run_id), now))
            .await
    }

    async fn replay(&self, original: RunId, command: replay_run::Command) -> Answer<Accepted> {
        let (policy, caller, now) = (self.settings.policy(), fixture::caller("mine"), self.aws.clock.now());
        let run_id = self.uncounted();
        let (store, engine) = (&self.aws.store, &self.aws.engine);
        Box::pin(replay_run::replay_run(
            store,
            engine,
            &policy,
            &caller,
            original,
            command,
            fixture::fresh(run_id),
            now,
        ))
        .await
    }

    /// A run's id that is not among the samples of the ordinary limit: those few are counted.
    fn uncounted(&self) -> RunId {
        let limit = self.settings.policy().tenant_limits.starts_per_minute;
        let is_counted = |id: &RunId| Chance::from(*id).weight(limit).is_some();
        std::iter::repeat_with(ids::new_run_id).find(|id| !is_counted(id)).expect("most ids are not")
    }

    /// Lets a tenant start as many runs in a minute, of which as many have been started in this one and in the next.
    async fn limit(&self, tenant: &str, starts_per_minute: u32, started: i64) {
        let (store, tenant) = (self.table.another_store(), fixture::tenant(tenant));
        let limits = OwnLimits { starts_per_minute: Some(starts_per_minute), ..OwnLimits::default() };
        let settings = TenantSettings { limits, rev: 1, ..TenantSettings::open(tenant.clone()) };
        assert!(store.save_tenant(&settings).await.expect("saved"));
        let now = self.aws.clock.now();
        for at in [now, now + SignedDuration::from_mins(1)] {
            let key = Meter::Starts(tenant.clone()).at(at);
            store.count(&Count { key, by: started }).await.expect("counted");
        }
    }

    /// Lets a tenant spend so much in a day.
    async fn budget(&self, tenant: &str) {
        let budget = Budget { period: Period::Day, max: Some(MicroUsd::from_usd(5)), per_user_max: None };
        let open = TenantSettings::open(fixture::tenant(tenant));
        let settings = TenantSettings { budget: Some(budget), rev: 1, ..open };
        assert!(self.table.another_store().save_tenant(&settings).await.expect("saved"));
    }

    /// One call of a model, as govern-calls makes it: what a process that does not know them reads of key and model, the reserve,
    /// and what settles it.
    async fn govern(&self, run: &Run, grant: Grant, is_new: bool) {
        let Aws { store, engine, clock, .. } = &self.aws;
        let processor = "readability".parse::<ProcessorKey>().expect("a key");
        if is_new {
            store.load_keys(&processor).await.expect("an answer");
            store.find_model(&"anthropic.claude-haiku".parse().expect("an id")).await.expect("an answer");
        }
        let reference = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
        let node_id = "readability".parse().expect("a node");
        let pass = Pass { grant, holder: Holder::Processor(processor), node_id };
        let (model, call) = (model(), Call { max_tokens: Some(100), ..Call::default() });
        let call_id = CallId::new(clock.now(), 1);
        let request = Request { run: &reference, pass: &pass, attempt: 1, call_id, model: &model, call: &call };
        let ports = Ports { store, engine, clock, counter: &NoCounter };
        let verdict = Box::pin(reserve(&ports, &request)).await.expect("an answer");
        let Verdict::Granted(ticket) = verdict else { panic!("{verdict:?}") };
        let tokens = TokenUsage { input: 7, output: 50, ..TokenUsage::default() };
        let end = CallEnd::Used(CallUsage { tokens, ..CallUsage::default() });
        govern_call::settle(store, engine, &ticket, &end, clock.now()).await.expect("settled");
    }

    /// Forgets the calls so far. The next ones come in these steps.
    fn forget(&self, steps: &[&[&str]]) -> usize {
        self.table.relay.take_passed();
        self.table.relay.in_steps(steps.iter().map(|step| step.len()));
        self.service.asked().len()
    }

    /// The calls to the table since then, those of each step sorted, and those to the engine.
    fn calls(&self, since: usize, steps: &[&[&str]]) -> (Vec<Vec<String>>, Vec<String>) {
        let mut left = self.table.relay.take_passed().into_iter().peekable();
        let mut calls = Vec::new();
        for size in steps.iter().map(|step| step.len()).chain(std::iter::repeat(1)) {
            if left.peek().is_none() {
                break;
            }
            let mut step: Vec<String> = left.by_ref().take(size).collect();
            step.sort();
            calls.push(step);
        }
        let targets = self.service.targets();
        let to_engine = targets[since..].iter().filter_map(|target| Some(target.rsplit_once('.')?.1.to_owned()));
        (calls, to_engine.collect())
    }

    /// A run that was created so and claimed.
    async fn running(&self, command: Command) -> Run {
        let run = self.create("mine", command).await.expect("accepted").run;
        self.claim(run).await
    }

    /// Settles a run by its event as `run-callback` does, over a bus and receivers in memory.
    async fn settle(&self, run: &Run) {
        let (store, clock) = (&self.aws.store, &self.aws.clock);
        let (bus, receiver) = (MemoryEngine::default(), MemoryReceiver::default());
        let found = store.load_with(&run.tenant_id, run.run_id, AT_THE_END).await.expect("loaded").expect("a run");
        let outlook = match run.snapshot.has_callback {
            true => Outlook::of(store, &run.tenant_id).await,
            false => Outlook::BLIND,
        };
        let (event, details, now) = (RunEvent::EngineEnded(EngineEnd::Succeeded), EndDetails::default(), clock.now());
        let may_begin = |delivery: &Delivery| outlook.lets_through(delivery, now);
        let settled = settle(store, found, event, &details, may_begin, now).await.expect("settled").expect("an end");
        assert!(settled.owed.is_empty());
        let sent = send(store, &bus, &receiver, clock, &outlook, &settled.begun, &settled.owed).await;
        assert!(sent.iter().all(|sent| matches!(sent, Ok((_, Delivered::Attempted(..))))), "{sent:?}");
    }

    /// Claims a run.
    async fn claim(&self, run: Run) -> Run {
        let claimed = run.after(RunEvent::Claimed, self.aws.clock.now()).expect("a change");
        let change = RunChange::new(&run, claimed.clone());
        assert_eq!(self.table.another_store().change_run(&change).await.expect("claimed"), Changed::Done);
        claimed
    }

    /// Another process comes in the place of this one.
    fn restart(&mut self) {
        self.aws.store = Store::new(self.table.service.clone(), &self.settings.table);
    }
}

/// Nobody who counts tokens.
#[derive(Debug)]
struct NoCounter;

impl CountInput for NoCounter {
    async fn count_input(&self) -> Option<u64> {
        None
    }
}

fn model() -> Model {
    let rate = |nano: u64| Rate(nano * 1_000_000);
    let rates = Rates { input: rate(1), output: rate(5), cache_read: None, cache_write_5m: None, cache_write_1h: None };
    let tiers = BTreeMap::from([(ServiceTier::Default, TierPrice { rates, long: None })]);
    Model {
        key: "haiku".parse().expect("a key"),
        ids: BTreeSet::new(),
        tenants: Tenants::everyone(),
        context_tokens: 200_000,
        max_output_tokens: 64_000,
        counts_tokens: false,
        caches_unasked: false,
        prices: vec![Price { from: Timestamp::UNIX_EPOCH, until: None, tiers, guardrail_text_unit: None }],
        updated_at: Timestamp::UNIX_EPOCH,
        rev: 1,
    }
}

fn by_id() -> DefinitionRef {
    DefinitionRef::Id(fixture::definition_id(7))
}

fn by_name() -> DefinitionRef {
    DefinitionRef::Name("text-report".parse().expect("a name"))
}

fn answered(definition: DefinitionRef, version: VersionRule) -> Command {
    let (compute_node, processor_configs) = (None, BTreeMap::new());
    Command::new(Source::Configuration { definition, version, compute_node, processor_configs })
}

fn command(definition: DefinitionRef, version: VersionRule) -> Command {
    let node = |text: &str| text.parse::<NodeId>().expect("a node");
    let readability = ProcessorConfig { params: BTreeMap::from([("formula".to_owned(), json!("flesch"))]), tag: None };
    let mut command = Command::new(Source::Configuration {
        definition,
        version,
        compute_node: None,
        processor_configs: BTreeMap::from([(node("readability"), readability)]),
    });
    command.variables.variables = BTreeMap::from([("language".to_owned(), json!("en"))]);
    command.data_sources = BTreeMap::from([(node("text"), json!({"text": "…"}))]);
    command.data_targets = BTreeMap::from([(node("store"), json!({"key": "report"}))]);
    command
}

fn with_callback(command: Command) -> Command {
    let callback = Callback { url: fixture::CALLBACK_URL.to_owned(), context: None };
    Command { callback: Some(callback), ..command }
}

#[tokio::test]
async fn every_operation_makes_the_calls_that_are_named_and_no_other() {
    let mut others = Vec::new();
    for (operation, process, steps, to_engine) in CALLS {
        let mut world = World::new().await;
        let what = format!("{operation}, {process:?}");
        let active = |definition| command(definition, VersionRule::Active);
        let keyed = |payload| Command { idempotency: Some(sample::claim("key", payload)), ..active(by_name()) };
        // Whichever process made it: a run by name, its instance, and one with a key.
        let first = world.create("mine", keyed("payload")).await.expect("accepted").run;
        let shared = world.create("yours", active(by_id())).await.expect("accepted").run;
        let activate_another = async |world: &World| {
            let (elsewhere, owner) = (world.table.another_store(), fixture::caller("mine"));
            activate_version(&elsewhere, &owner, &by_id(), 2, noon()).await.expect("activated");
        };
        match process {
            Process::Warm => {}
            Process::New => world.restart(),
            Process::Stale => activate_another(&world).await,
        }
        match *operation {
            "create under a small limit" => world.limit("mine", 5, 0).await,
            "create above a limit" | "repeat a key above a limit" => world.limit("mine", 5, 5).await,
            "create under a new budget" => world.budget("mine").await,
            "create by an older instance" => activate_another(&world).await,
            _ => {}
        }
        let mut since = world.forget(if PREPARED.contains(operation) { &[] } else { steps });
        let (caller, now) = (fixture::caller("mine"), world.aws.clock.now());
        let asked = match *operation {
            "create by name" | "create under a small limit" | "create under a new budget" => {
                Some(("mine", active(by_name())))
            }
            "create by id" => Some(("mine", active(by_id()))),
            "create by number" => Some(("mine", command(by_id(), VersionRule::Number(2)))),
            "create the latest by name" => Some(("mine", answered(by_name(), VersionRule::Latest))),
            "create by another tenant" => Some(("yours", active(by_id()))),
            "create by name with a key" => {
                Some(("mine", Command { idempotency: Some(sample::claim("another", "payload")), ..active(by_name()) }))
            }
            "create by instance" | "create by an older instance" => {
                Some(("mine", Command { source: Source::Instance(first.spec.instance_id), ..active(by_name()) }))
            }
            "create by an instance of another's" => {
                Some(("yours", Command { source: Source::Instance(shared.spec.instance_id), ..active(by_id()) }))
            }
            "create a new instance" => Some(("mine", command(by_name(), VersionRule::Number(1)))),
            _ => None,
        };
        if let Some((tenant, command)) = asked {
            let accepted = world.create(tenant, command).await.expect(&what);
            assert!(!accepted.replayed && !accepted.start_delayed, "{what}");
            let version = match *operation {
                "create the latest by name" => 3,
                "create by number" | "create by an older instance" => 2,
                _ if *process == Process::Stale => 2,
                _ => 1,
            };
            assert_eq!(accepted.run.spec.version, version, "{what}");
        } else {
            match *operation {
                "create above a limit" => {
                    let refusal = world.create("mine", active(by_name())).await.expect_err(&what);
                    assert!(matches!(refusal, Refusal::RateLimited { limit: 5, .. }), "{refusal:?}");
                }
                "repeat a key" | "repeat a key above a limit" => {
                    let accepted = world.create("mine", keyed("payload")).await.expect(&what);
                    assert!(accepted.replayed && accepted.run == first, "{what}");
                }
                "use a key for something else" => {
                    let refusal = world.create("mine", keyed("something else")).await.expect_err(&what);
                    assert!(matches!(refusal, Refusal::KeyReused { run_id } if run_id == first.run_id), "{refusal:?}");
                }
                "name what is not there" => {
                    let nothing = DefinitionRef::Name("nothing".parse().expect("a name"));
                    world.create("mine", active(nothing)).await.expect_err(&what);
                }
                "cancel" | "cancel before its start" => {
                    if *operation == "cancel" {
                        world.claim(first.clone()).await;
                    }
                    since = world.forget(steps);
                    Box::pin(cancel_run(&world.aws.store, &world.aws.engine, &caller, first.run_id, now))
                        .await
                        .expect(&what);
                }
                "get" => {
                    get_run(&world.aws.store, &caller, first.run_id, now).await.expect(&what);
                }
                "end" | "end with a callback" | "end with answers" => {
                    let command = match *operation {
                        "end" => active(by_name()),
                        "end with answers" => answered(by_name(), VersionRule::Number(3)),
                        _ => with_callback(active(by_name())),
                    };
                    let run = world.running(command).await;
                    since = world.forget(steps);
                    let output = r#"{"results": {"a": 1, "b": {"c": 2}, "c": 3, "store": 4}}"#.to_owned();
                    let details = EndDetails { output: Some(output), ..EndDetails::default() };
                    let event = RunEvent::EngineEnded(EngineEnd::Succeeded);
                    let ended = transition(&world.aws.store, run, event, &details, now).await.expect(&what);
                    assert!(ended.is_some(), "{what}");
                }
                "pause" | "resume" => {
                    let run = world.running(active(by_name())).await;
                    if *operation == "resume" {
                        pause_run(&world.aws.store, &world.aws.engine, &caller, run.run_id, now).await.expect(&what);
                    }
                    since = world.forget(steps);
                    let (store, engine) = (&world.aws.store, &world.aws.engine);
                    let changed = match *operation {
                        "pause" => pause_run(store, engine, &caller, run.run_id, now).await.map(|paused| paused.run),
                        _ => resume_run(store, engine, &caller, run.run_id, now).await,
                    };
                    changed.expect(&what);
                }
                "replay" | "replay from a node" => {
                    world.settle(&world.claim(first.clone()).await).await;
                    since = world.forget(steps);
                    let from_node = (*operation != "replay").then(|| "store".parse().expect("a node"));
                    let command = replay_run::Command { from_node, ..replay_run::Command::default() };
                    world.replay(first.run_id, command).await.expect(&what);
                }
                "report usage" => {
                    let run = world.running(active(by_name())).await;
                    since = world.forget(steps);
                    let calls = vec![outside::call("a", 1)];
                    record_usage(&world.aws.store, &world.aws.engine, &caller, run.run_id, calls, now)
                        .await
                        .expect(&what);
                }
                "create under a budget" => {
                    world.budget("mine").await;
                    world.create("mine", active(by_name())).await.expect(&what);
                    since = world.forget(steps);
                    world.create("mine", active(by_name())).await.expect(&what);
                }
                "govern a call" => {
                    let run = world.running(active(by_name())).await;
                    if *process == Process::New {
                        world.restart();
                    }
                    let reference = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
                    let ledger = world.table.another_store().load_ledger(&reference).await.expect("loaded");
                    let grant = ledger.expect("a ledger").grant;
                    since = world.forget(steps);
                    world.govern(&run, grant, *process == Process::New).await;
                }
                "list steps" => {
                    list_steps(&world.aws.store, &caller, first.run_id, 20, None, now).await.expect(&what);
                }
                "list inputs" => {
                    list_inputs(&world.aws.store, &caller, first.run_id, 20, None, now).await.expect(&what);
                }
                "list calls" => {
                    list_calls(&world.aws.store, &caller, first.run_id, 20, None, now).await.expect(&what);
                }
                "settle" | "settle with a callback" => {
                    let command = match *operation {
                        "settle" => active(by_name()),
                        _ => with_callback(active(by_name())),
                    };
                    let run = world.running(command).await;
                    since = world.forget(steps);
                    world.settle(&run).await;
                }
                "deliver" => {
                    let run = world.running(with_callback(active(by_name()))).await;
                    let (event, details) = (RunEvent::EngineEnded(EngineEnd::Succeeded), EndDetails::default());
                    let ended = transition(&world.aws.store, run, event, &details, now).await.expect(&what);
                    let owed = ended.expect("an end").owed;
                    since = world.forget(steps);
                    let (bus, receiver) = (MemoryEngine::default(), MemoryReceiver::default());
                    let sent = deliver(&world.aws.store, &bus, &receiver, &world.aws.clock, &owed[0]).await;
                    assert!(matches!(sent.expect(&what), Delivered::Attempted(..)), "{what}");
                }
                other => panic!("nobody knows how to {other}"),
            }
        }
        let expected: Vec<Vec<&str>> = steps.iter().map(|step| step.to_vec()).collect();
        let (calls, asked) = world.calls(since, steps);
        if calls != expected || asked != *to_engine {
            others.push(format!("{what}: {calls:?}, {asked:?}"));
        }
    }
    assert!(others.is_empty(), "other calls than those that are named:\n{}", others.join("\n"));
}
