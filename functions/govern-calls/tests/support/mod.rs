//! The function over the memory ports, with the stand-in for Bedrock as the model behind it and as the referee.

use aws_credential_types::Credentials;
use govern_calls::{App, Known};
use serde_json::{Value, json};
use sluice_aws::bedrock::Bedrock;
use sluice_aws::clock::SystemClock;
use sluice_aws::config::Settings;
use sluice_bedrock::Options;
use sluice_core::budget::NanoUsd;
use sluice_core::governor::access::{Grant, GrantPath, Holder, KeyHead, KeyText, ProcessorKeys};
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::model::Model;
use sluice_core::governor::price::{Price, Rate, Rates, TierPrice, billionths};
use sluice_core::governor::terms::ServiceTier;
use sluice_core::id::{NodeId, ProcessorKey};
use sluice_core::operator::Tenants;
use sluice_core::ports::{Clock, ManageKeys, ManageModels, ModelSaved, ReadLedgers, RunRef};
use sluice_edge::metrics::{self, Emitter};
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture::tenant;
use sluice_testkit::samples::{RUNNING, TENANTS, World, run_id};
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

pub const CLAUDE: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
pub const PROFILE: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
/// A thousandth of a dollar.
pub const MILLI: u64 = 1_000_000;

/// A run, its function, and the model.
pub struct Bench {
    pub world: World,
    pub bedrock: sluice_bedrock::Bedrock,
    pub app: App<MemoryStore, MemoryEngine, FixedClock>,
    pub run: RunRef,
}

pub fn node() -> NodeId {
    "frequencies".parse().expect("a node")
}

pub fn processor() -> ProcessorKey {
    "word-frequencies".parse().expect("a key")
}

/// The key of a processor: the same in every test, so that events may have it.
pub fn key_of(processor: &ProcessorKey) -> KeyText {
    KeyText::new(processor, [1, 2])
}

pub fn grant_path(run: &RunRef) -> GrantPath {
    let RunRef { tenant_id, run_id } = run.clone();
    GrantPath { tenant: tenant_id, run_id, grant: Grant::new(7), node_id: node(), attempt: 1 }
}

/// The ledger of the run: one node, for its processor and for workers.
pub fn ledger(cap: Option<u64>) -> Ledger {
    let nodes = [Holder::Processor(processor()), Holder::Worker].map(|holder| (holder, BTreeSet::from([node()])));
    Ledger::new(Grant::new(7), BTreeMap::from(nodes), cap.map(NanoUsd))
}

fn usd(literal: &str) -> u64 {
    billionths(literal).expect("a price")
}

fn rates(literals: [&str; 5]) -> Rates {
    let [input, output, read, short, hour] = literals.map(|literal| Rate(usd(literal)));
    Rates { input, output, cache_read: Some(read), cache_write_5m: Some(short), cache_write_1h: Some(hour) }
}

/// Models by the prices that the stand-in has for them.
fn models() -> Vec<Model> {
    let model = |key: &str, ids: &[&str], counts_tokens, most, rates| {
        let tiers = BTreeMap::from([(ServiceTier::Default, TierPrice { rates, long: None })]);
        let unit = Some(NanoUsd(usd("0.00015")));
        Model {
            key: key.parse().expect("a key"),
            ids: ids.iter().map(|id| id.parse().expect("an id")).collect(),
            tenants: Tenants::everyone(),
            context_tokens: 200_000,
            max_output_tokens: most,
            counts_tokens,
            caches_unasked: false,
            prices: vec![Price { from: jiff::Timestamp::UNIX_EPOCH, until: None, tiers, guardrail_text_unit: unit }],
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            rev: 1,
        }
    };
    vec![
        model("haiku", &[CLAUDE], true, 64_000, rates(["1", "5", "0.1", "1.25", "2"])),
        model("haiku-us", &[PROFILE], false, 64_000, rates(["1.1", "5.5", "0.11", "1.375", "2.2"])),
        model("nova", &["amazon.nova-lite-v1:0"], false, 10_000, rates(["0.06", "0.24", "0.015", "0.06", "0.06"])),
        model(
            "llama",
            &["meta.llama3-1-8b-instruct-v1:0"],
            false,
            2_048,
            rates(["0.22", "0.22", "0.22", "0.22", "0.22"]),
        ),
        model("gpt-oss", &["openai.gpt-oss-120b-1:0"], false, 16_384, rates(["0.15", "0.6", "0.075", "0.15", "0.15"])),
        model("command", &["cohere.command-r-v1:0"], false, 4_000, rates(["0.5", "1.5", "0.5", "0.5", "0.5"])),
    ]
}

/// The settings of a function whose models are the stand-in.
pub fn settings(bedrock: &sluice_bedrock::Bedrock) -> Settings {
    let mut settings = Settings::for_test("http://127.0.0.1:1");
    settings.region = "us-east-1".to_owned();
    let session = Some("a session of tests".to_owned());
    settings.credentials = Credentials::new("ASIASTANDIN", "a secret of tests", session, None, "test");
    settings.endpoints.bedrock = bedrock.plain_url.clone();
    settings
}

/// Random enough for ids.
pub fn new_random() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 64 | 7
}

impl Bench {
    /// A run that may spend so much.
    pub async fn start(cap: Option<u64>) -> Self {
        metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
        let bedrock = sluice_bedrock::Bedrock::start(Options::test()).expect("a stand-in");
        let world = Box::pin(World::new()).await;
        // Signatures are of now.
        world.clock.pass(SystemClock.now().duration_since(world.clock.now()));
        let run = RunRef { tenant_id: tenant(TENANTS[0]), run_id: run_id(RUNNING) };
        world.store.open_ledger(&run, ledger(cap));
        for model in models() {
            assert_eq!(world.store.save_model(&model, None).await.expect("saved"), ModelSaved::Done);
        }
        let app = App {
            store: world.store.clone(),
            engine: world.engine.clone(),
            clock: world.clock.clone(),
            bedrock: Bedrock::new(&settings(&bedrock)),
            known: Known::default(),
            new_random,
        };
        let bench = Self { world, bedrock, app, run };
        bench.make_key(&processor()).await;
        bench
    }

    pub async fn make_key(&self, processor: &ProcessorKey) {
        let hash = key_of(processor).hash();
        let head = KeyHead { hash, created_by: "olga".to_owned(), created_at: self.world.clock.now() };
        let keys = self.world.store.load_keys(processor).await.expect("keys");
        let keys: ProcessorKeys = keys.with(head).expect("room");
        assert!(self.world.store.save_keys(processor, &keys).await.expect("saved"));
    }

    pub fn path(&self, operation: &str) -> String {
        format!("/prod/g/{}{operation}", grant_path(&self.run).write())
    }

    /// The event of a Function URL.
    pub fn event(&self, path: &str, bearer: &str, body: &str) -> Value {
        json!({
            "version": "2.0", "rawPath": path, "rawQueryString": "",
            "headers": {"authorization": format!("Bearer {bearer}"), "content-type": "application/json"},
            "requestContext": {"http": {"method": "POST", "path": path}, "stage": "$default"},
            "body": body, "isBase64Encoded": false,
        })
    }
}

/// A prompt of Converse, with words for the stand-in.
pub fn converse(words: &str, max_tokens: u64) -> Value {
    json!({
        "messages": [{"role": "user", "content": [{"text": format!("Say something. {words}")}]}],
        "inferenceConfig": {"maxTokens": max_tokens},
    })
}
