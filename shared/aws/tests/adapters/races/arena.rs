//! The table, the parties around it, and how rounds are played and counted.

use crate::support::relay::Relay;
use crate::support::sample::new_run;
use crate::support::sdk;
use crate::support::table::{self, Table};
use dynoxide::Database;
use sluice_aws::clients::Clients;
use sluice_aws::config::Settings;
use sluice_aws::dynamo::Store;
use sluice_aws::dynamo::keys::Key;
use sluice_core::change::NewRun;
use sluice_core::ports::{LoadRun, RecordRun, Recorded, StartExecution, StartOutcome, StartRequest};
use sluice_core::run::Run;
use sluice_testkit::engine::MemoryEngine;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Rounds that are under way at the same time.
const LANES: u32 = 4;
/// Reads that the one and the other party make before they begin, by turns.
const HEAD_STARTS: [(u32, u32); 7] = [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (0, 3), (3, 0)];

/// A number of rounds, times `SLUICE_RACES` where that is set.
#[expect(clippy::disallowed_methods, reason = "a test has no config module, and this changes only how long it plays")]
pub fn rounds(usual: u32) -> u32 {
    let times = std::env::var("SLUICE_RACES").ok().and_then(|text| text.parse::<u32>().ok());
    usual * times.unwrap_or(1).max(1)
}

/// One table among several processes: each has connections and caches of its own. Clones share all of it.
#[derive(Clone, Debug)]
pub struct Arena {
    parties: Arc<Vec<Table>>,
}

impl Arena {
    pub async fn new(parties: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(dynoxide::server::serve_on(listener, Database::memory().expect("a database")));
        // Nothing passes the relay here: it would only slow the racers down.
        let relay = Relay::before(address).await;
        let settings = Settings::for_test(&format!("http://{address}"));
        let party = || {
            let (service, client) = (Clients::new(&settings).dynamodb, sdk::dynamodb(&settings));
            let store = Store::new(service.clone(), &settings.table);
            Table { store, relay: relay.clone(), settings: settings.clone(), service, client }
        };
        let parties: Vec<Table> = (0..parties).map(|_| party()).collect();
        table::create(&parties[0].client, &settings.table).await;
        Self { parties: Arc::new(parties) }
    }

    /// One of the processes. There is always another one: numbers go round.
    pub fn party(&self, number: usize) -> &Table {
        &self.parties[number % self.parties.len()]
    }

    /// Lets two parties loose on each other, each with its own process on its own task.
    pub async fn race<A, B>(
        &self,
        round: u32,
        one: impl FnOnce(Table) -> A,
        other: impl FnOnce(Table) -> B,
    ) -> (A::Output, B::Output)
    where
        A: Future<Output: Send> + Send + 'static,
        B: Future<Output: Send> + Send + 'static,
    {
        let (reads_of_one, reads_of_other) = HEAD_STARTS[round as usize % HEAD_STARTS.len()];
        // Which process is whose changes as well.
        let (one_at, other_at) = (self.party(round as usize).clone(), self.party(round as usize + 1).clone());
        let one = late(one_at.clone(), reads_of_one, one(one_at));
        let other = late(other_at.clone(), reads_of_other, other(other_at));
        let (one, other) = (tokio::spawn(one), tokio::spawn(other));
        (one.await.expect("no panic"), other.await.expect("no panic"))
    }
}

/// Makes so many reads, and then the rest.
pub async fn late<T>(table: Table, reads: u32, rest: impl Future<Output = T>) -> T {
    for _ in 0..reads {
        assert_eq!(table.item(Key::new("nobody", "nothing")).await, None);
    }
    rest.await
}

/// How often each outcome came.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<&'static str, u32>);

impl Tally {
    pub fn add(&mut self, outcome: &'static str, times: u32) {
        *self.0.entry(outcome).or_default() += times;
    }

    /// Fails unless each of these came: without that it was no race.
    pub fn has_all(&self, race: &str, outcomes: &[&'static str]) {
        eprintln!("{race}: {self}");
        for outcome in outcomes {
            assert!(self.0.get(outcome).is_some_and(|times| *times > 0), "{race}: never {outcome}, but {self}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcomes: Vec<String> = self.0.iter().map(|(outcome, times)| format!("{times} x {outcome}")).collect();
        formatter.write_str(&outcomes.join(", "))
    }
}

/// Plays rounds from 0 on, a few at a time, and counts how they end.
pub async fn play<F, Round>(arena: &Arena, rounds: u32, round: F) -> Tally
where
    F: Fn(Arena, u32) -> Round + Clone + Send + 'static,
    Round: Future<Output = &'static str> + Send + 'static,
{
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (arena, round) = (arena.clone(), round.clone());
        lanes.spawn(async move {
            let mut tally = Tally::default();
            for number in (lane..rounds).step_by(LANES as usize) {
                tally.add(Box::pin(round(arena.clone(), number)).await, 1);
            }
            tally
        });
    }
    let mut whole = Tally::default();
    while let Some(lane) = lanes.join_next().await {
        for (outcome, times) in lane.expect("no round failed").0 {
            whole.add(outcome, times);
        }
    }
    whole
}

/// Puts a run into the table as it is.
pub async fn put(table: &Table, run: &Run) {
    put_with(table, new_run(run, None, None)).await;
}

pub async fn put_with(table: &Table, new: NewRun) {
    assert_eq!(table.store.record_run(&new).await.expect("an answer"), Recorded::Created);
}

pub async fn found(table: &Table, run: &Run) -> Run {
    table.store.load_run(&run.tenant_id, run.run_id).await.expect("an answer").expect("a run")
}

/// An engine of its own for a run, in which its execution runs.
pub async fn executing(run: &Run) -> MemoryEngine {
    let engine = MemoryEngine::default();
    start(&engine, run).await;
    engine
}

pub async fn start(engine: &MemoryEngine, run: &Run) {
    let input = r#"{"tenantId":"mine"}"#;
    let request = StartRequest { state_machine_arn: &run.spec.state_machine_arn, run_id: run.run_id, input };
    assert_eq!(engine.start_execution(&request).await.expect("an answer"), StartOutcome::Started);
}
