//! The text of every key, in one function per item kind. **Invariant:** a tenant's keys start with `T#` and its id, and
//! the service's own meters with `METER#`; an id never holds the separator `#`, so no key reaches into another's.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use sluice_core::call_id::CallId;
use sluice_core::canonical::sha256_hex;
use sluice_core::concurrency::QueueRef;
use sluice_core::governor::model_id::ModelId;
use sluice_core::governor::quota::{PeriodKey, QuotaOwner};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, IdempotencyKey, InstanceId, ModelKey, NodeId, ProcessorKey, RunId,
    TenantId,
};
use sluice_core::idempotency::Operation;
use sluice_core::lifecycle::RunStatus;
use sluice_core::meter::{Meter, MeterKey};
use sluice_core::ports::{SHARDS, StepPart};
use sluice_core::run::Run;
use sluice_core::time::rfc3339_millis;

/// Formats a key in room enough for most of them, so that it does not grow part by part.
macro_rules! key {
    ($($text:tt)*) => {{
        let mut key = String::with_capacity(96);
        // A text can always be written to.
        let _written = std::fmt::Write::write_fmt(&mut key, format_args!($($text)*));
        key
    }};
}

/// Attributes that are keys, of the table or of an index.
pub const PK: &str = "pk";
pub const SK: &str = "sk";
pub const TENANT_KEY: &str = "tenantKey";
pub const DEFINITION_KEY: &str = "definitionKey";
pub const STATUS_KEY: &str = "statusKey";
pub const TIME_KEY: &str = "timeKey";
pub const OPEN_SHARD: &str = "openShard";
pub const OPEN_AT: &str = "openAt";
pub const DUE_SHARD: &str = "dueShard";
pub const DUE_AT: &str = "dueAt";
pub const QUEUE_KEY: &str = "queueKey";
pub const QUEUE_AT: &str = "queueAt";
pub const DISCOVER_SHARD: &str = "discoverShard";

/// Indexes.
pub const BY_TENANT: &str = "byTenant";
pub const BY_DEFINITION: &str = "byDefinition";
pub const BY_STATUS: &str = "byStatus";
pub const OPEN: &str = "open";
pub const DUE: &str = "due";
/// Holds keys only.
pub const QUEUE: &str = "queue";
pub const DISCOVER: &str = "discover";

/// The sort key of the one item that a partition is named after.
pub const HEAD: &str = "HEAD";
pub const STEPS: &str = "STEP#";
pub const DELIVERIES: &str = "DELIVERY#";
pub const ATTEMPTS: &str = "ATTEMPT#";
pub const REPLAYS: &str = "REPLAY#";
pub const EVALUATIONS: &str = "EVALUATION#";
pub const INPUTS: &str = "INPUT#";
pub const COMMENTS: &str = "COMMENT#";
pub const USAGE_CALLS: &str = "USAGE#";
pub const VERSIONS: &str = "VERSION#";

/// The table key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub pk: String,
    pub sk: String,
}

impl Key {
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }
}

/// How a run came from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It repeats it.
    Replay,
    /// It evaluates it.
    Evaluation,
}

pub fn run_pk(tenant: &TenantId, run_id: RunId) -> String {
    key!("T#{tenant}#RUN#{run_id}")
}

pub fn run_head(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), HEAD)
}

pub fn snapshot(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "SNAPSHOT")
}

/// What the run was made from.
pub fn request(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "REQUEST")
}

/// What the end of the run needs of its snapshot.
pub fn ending(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "ENDING")
}

pub fn output(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "OUTPUT")
}

pub fn step(tenant: &TenantId, run_id: RunId, node_id: &NodeId) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{STEPS}{node_id}"))
}

/// The board of a run of the second generation, with its wake.
pub fn board(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "BOARD")
}

/// What a worker of such a run waits with.
pub fn worker(tenant: &TenantId, run_id: RunId, worker: usize) -> Key {
    Key::new(run_pk(tenant, run_id), key!("WORKER#{worker:02}"))
}

/// Apart from the steps, so that whoever lists these does not read what came of a thousand items.
pub fn part(tenant: &TenantId, run_id: RunId, node_id: &NodeId, part: StepPart) -> Key {
    let part = match part {
        StepPart::Item(item) => key!("ITEM#{item:06}"),
        StepPart::Iteration(iteration) => key!("ITER#{iteration:06}"),
    };
    Key::new(run_pk(tenant, run_id), key!("PART#{node_id}#{part}"))
}

/// Between these sort keys lie the parts of a step.
pub fn parts(node_id: &NodeId) -> (String, String) {
    let from = key!("PART#{node_id}#");
    let to = key!("{from}~");
    (from, to)
}

pub fn delivery(tenant: &TenantId, run_id: RunId, number: u32) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{DELIVERIES}{number:04}"))
}

pub fn delivery_body(tenant: &TenantId, run_id: RunId, number: u32) -> Key {
    Key::new(run_pk(tenant, run_id), key!("BODY#{number:04}"))
}

pub fn attempt(tenant: &TenantId, run_id: RunId, delivery: u32, attempt: u32) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{ATTEMPTS}{delivery:04}#{attempt:04}"))
}

/// Between these sort keys lie the attempts at one delivery of a run.
pub fn attempts(delivery: u32) -> (String, String) {
    let from = key!("{ATTEMPTS}{delivery:04}#");
    let to = key!("{from}~");
    (from, to)
}

/// Lies with the original, so that what was made from it is found with it.
pub fn link(link: Link, original: RunId, run: &Run) -> Key {
    let time_key = time_key(run.spec.created_at, run.run_id);
    Key::new(run_pk(&run.tenant_id, original), key!("{}{time_key}", links(link)))
}

/// What the keys of such links start with.
pub const fn links(link: Link) -> &'static str {
    match link {
        Link::Replay => REPLAYS,
        Link::Evaluation => EVALUATIONS,
    }
}

/// By time; the `rev` that the answer gave its run tells apart what came in one millisecond.
pub fn input(tenant: &TenantId, run_id: RunId, at: Timestamp, rev: u64, node_id: &NodeId) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{INPUTS}{}#{rev:020}#{node_id}", rfc3339_millis(at)))
}

/// What was given with the input under this key: apart, because it may be large.
pub fn given(tenant: &TenantId, run_id: RunId, input: &str) -> Key {
    Key::new(run_pk(tenant, run_id), key!("GIVEN#{}", input.trim_start_matches(INPUTS)))
}

pub fn report_token(tenant: &TenantId, run_id: RunId, hash: &str) -> Key {
    Key::new(run_pk(tenant, run_id), key!("TOKEN#{hash}"))
}

pub fn comment(tenant: &TenantId, run_id: RunId, id: &str) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{COMMENTS}{id}"))
}

/// The ledger.
pub fn usage(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "USAGE")
}

/// The call's id is hashed, because it is any text of its reporter's.
pub fn usage_call(tenant: &TenantId, run_id: RunId, call_id: &str) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{USAGE_CALLS}{}", sha256_hex(&[call_id])))
}

/// The counter of slots before which a queue may form.
pub fn slots(queue: &QueueRef) -> Key {
    let sk = queue.definition_id.map_or_else(|| "TENANT".to_owned(), |id| key!("DEF#{id}"));
    Key::new(key!("T#{}#SLOTS", queue.tenant_id), sk)
}

/// The caller's key is hashed, because it may be longer or stranger than a key of ours.
pub fn idempotency(tenant: &TenantId, operation: Operation, key: &IdempotencyKey) -> Key {
    let hash = sha256_hex(&[&String::from(key.clone())]);
    Key::new(key!("T#{tenant}#IDEM#{}#{hash}", operation.as_str()), "IDEM")
}

/// A window of a meter. No tenant's own: it is forgotten soon, and nothing of the tenant's goes with it.
pub fn meter(key: &MeterKey) -> Key {
    let pk = match &key.meter {
        Meter::Starts(tenant) => key!("{METERS}STARTS#{tenant}"),
        Meter::Waits(tenant) => key!("{METERS}WAITS#{tenant}"),
        Meter::AllWaits => key!("{METERS}WAITS"),
    };
    Key::new(pk, key!("{:012}", key.window))
}

/// What the sweep counted of a tenant's open runs.
pub fn open_runs(tenant: &TenantId) -> Key {
    Key::new(key!("{METERS}OPEN#{tenant}"), "COUNT")
}

pub const METERS: &str = "METER#";

/// How the tenant's receivers fare.
pub fn health(tenant: &TenantId) -> Key {
    Key::new(key!("T#{tenant}#RECEIVERS"), "HEALTH")
}

fn definition_pk(tenant: &TenantId, id: DefinitionId) -> String {
    key!("T#{tenant}#DEF#{id}")
}

pub fn definition(tenant: &TenantId, id: DefinitionId) -> Key {
    Key::new(definition_pk(tenant, id), HEAD)
}

/// Counts the tenant's definitions.
pub fn definition_count(tenant: &TenantId) -> Key {
    Key::new(key!("T#{tenant}#DEFINITIONS"), "COUNT")
}

pub fn version(tenant: &TenantId, id: DefinitionId, number: u32) -> Key {
    Key::new(definition_pk(tenant, id), key!("{VERSIONS}{number:08}"))
}

pub fn draft(tenant: &TenantId, id: DefinitionId) -> Key {
    Key::new(definition_pk(tenant, id), "DRAFT")
}

/// Says whose the definition is. The one key beside the operator's that is no tenant's: a definition's id alone finds it.
pub fn discoverable(id: DefinitionId) -> Key {
    Key::new(key!("{DISCOVERABLE}{id}"), HEAD)
}

pub const DISCOVERABLE: &str = "DISCOVERABLE#";

pub fn definition_name(tenant: &TenantId, name: &DefinitionName) -> Key {
    Key::new(key!("T#{tenant}#DEFNAME#{name}"), "NAME")
}

pub fn instance(tenant: &TenantId, id: InstanceId) -> Key {
    Key::new(key!("T#{tenant}#INST#{id}"), HEAD)
}

pub fn processor(key: &ProcessorKey) -> Key {
    Key::new(key!("OP#PROCESSOR#{key}"), HEAD)
}

pub fn compute_node(key: &ComputeNodeKey) -> Key {
    Key::new(key!("OP#NODE#{key}"), HEAD)
}

pub fn model(key: &ModelKey) -> Key {
    Key::new(key!("OP#MODEL#{key}"), HEAD)
}

/// The model that answers to the id, which is hashed, because it may be longer than a key.
pub fn model_id(id: &ModelId) -> Key {
    Key::new(key!("OP#MODELID#{}", sha256_hex(&[id.as_str()])), "MODEL")
}

/// The operator's settings of a tenant.
pub fn tenant(tenant: &TenantId) -> Key {
    Key::new(key!("{TENANT_SETTINGS}{tenant}"), HEAD)
}

/// What the operator's keys start with, and among them those of tenants' settings.
pub const OPERATOR: &str = "OP#";
pub const TENANT_SETTINGS: &str = "OP#TENANT#";

// Partitions of the indexes.

pub fn runs_of_tenant(tenant: &TenantId) -> String {
    key!("T#{tenant}#RUNS")
}

pub fn runs_of_definition(tenant: &TenantId, id: DefinitionId) -> String {
    key!("T#{tenant}#DEF#{id}#RUNS")
}

pub fn runs_in_status(tenant: &TenantId, status: RunStatus) -> String {
    key!("T#{tenant}#STATUS#{}", status.as_str())
}

pub fn definitions_of_tenant(tenant: &TenantId) -> String {
    key!("T#{tenant}#DEFS")
}

pub fn instances_of_tenant(tenant: &TenantId) -> String {
    key!("T#{tenant}#INSTS")
}

pub fn processors() -> String {
    "OP#PROCESSORS".to_owned()
}

pub fn compute_nodes() -> String {
    "OP#NODES".to_owned()
}

pub fn models() -> String {
    "OP#MODELS".to_owned()
}

pub fn tenants() -> String {
    "OP#TENANTS".to_owned()
}

pub fn queue(queue: &QueueRef) -> String {
    let tenant = &queue.tenant_id;
    queue.definition_id.map_or_else(|| key!("T#{tenant}#QUEUE"), |id| key!("T#{tenant}#DEF#{id}#QUEUE"))
}

/// In the index of what is due: deliveries that were given up.
pub fn dead_deliveries(tenant: &TenantId) -> String {
    key!("T#{tenant}#DEAD")
}

/// The shard of everything that belongs to a run. The last byte of a version 4 or 7 UUID is random.
pub fn shard(run_id: RunId) -> u8 {
    run_id.0.as_bytes()[15] % SHARDS
}

pub fn shard_of_definition(id: DefinitionId) -> u8 {
    id.0.as_bytes()[15] % SHARDS
}

pub fn open_shard(shard: u8) -> String {
    key!("OPEN#{shard:02}")
}

pub fn due_shard(shard: u8) -> String {
    key!("DUE#{shard:02}")
}

/// In the index of what is due: runs that are gone from every read.
pub fn expiry_shard(shard: u8) -> String {
    key!("EXPIRE#{shard:02}")
}

pub fn discover_shard(shard: u8) -> String {
    key!("DISCOVER#{shard:02}")
}

// Sort keys of the indexes: a time first, then what makes them unique.

pub fn time_key(at: Timestamp, id: impl std::fmt::Display) -> String {
    key!("{}#{id}", rfc3339_millis(at))
}

/// The id in a [`time_key`].
pub fn id_in_time_key<T: std::str::FromStr>(text: &str) -> Option<T> {
    let (at, id) = text.split_once('#')?;
    let at = at.parse::<Timestamp>().ok().filter(|parsed| rfc3339_millis(*parsed) == at);
    at.and_then(|_| id.parse().ok())
}

pub fn due_at(at: Timestamp, run_id: RunId, number: u32) -> String {
    key!("{}#{run_id}#{number:04}", rfc3339_millis(at))
}

/// Sorts before every [`due_at`] and [`time_key`] of `at` or later, and after all earlier ones. Times are kept to the
/// millisecond, so a finer bound means the next one.
pub fn from_time(at: Timestamp) -> String {
    let next = at.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Ceil));
    rfc3339_millis(next.unwrap_or(at))
}

/// Sorts after every [`due_at`] and [`time_key`] of that millisecond and before any later one: `$` follows `#`.
pub fn due_until(now: Timestamp) -> String {
    key!("{}$", rfc3339_millis(now))
}

/// Holds and costs of the run's governed calls.
pub fn ledger(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "LEDGER")
}

/// What the keys of records start with. They lie after the calls that were reported, and are listed with them.
pub const CALL_RECORDS: &str = "USAGE#~";

/// The record of a governed call.
pub fn call_record(tenant: &TenantId, run_id: RunId, call_id: CallId) -> Key {
    Key::new(run_pk(tenant, run_id), key!("{CALL_RECORDS}{call_id}"))
}

/// What stands of a report, under its own id.
pub fn report_receipt(tenant: &TenantId, run_id: RunId, report_id: CallId) -> Key {
    Key::new(run_pk(tenant, run_id), key!("RECEIPT#{report_id}"))
}

/// What is drawn on a quota in one of its periods.
pub fn quota(owner: &QuotaOwner, period: &PeriodKey) -> Key {
    let pk = match owner {
        QuotaOwner::Tenant(tenant) => key!("T#{tenant}#QUOTA"),
        QuotaOwner::TenantUser(tenant, user) => key!("T#{tenant}#QUOTA#USER#{user}"),
        QuotaOwner::ComputeNode(node) => key!("OP#NODE#{node}#QUOTA"),
        QuotaOwner::ComputeNodeUser(node, tenant, user) => key!("T#{tenant}#QUOTA#NODE#{node}#USER#{user}"),
    };
    Key::new(pk, period.to_string())
}

/// The keys of a processor that are alive.
pub fn processor_keys(processor: &ProcessorKey) -> Key {
    Key::new(key!("OP#PROCESSOR#{processor}"), "KEYS")
}

/// In the index of queues, which holds nothing but keys, so that a hold is not written to an index: ledgers that somebody has to
/// look at, by the time of that.
pub fn ledger_shard(of: u8) -> String {
    key!("LEDGERS#{of:02}")
}

/// The shard of a run's ledger.
pub fn shard_of_ledger(run_id: RunId) -> String {
    ledger_shard(shard(run_id))
}

/// In the same index, because it holds keys alone: boards that somebody has to look at, by the time of that.
pub fn boards_shard(of: u8) -> String {
    key!("BOARDS#{of:02}")
}

/// The run whose items have this partition key.
pub fn run_of_pk(pk: &str) -> Option<(TenantId, RunId)> {
    let (tenant, run_id) = pk.strip_prefix("T#")?.split_once("#RUN#")?;
    Some((tenant.parse().ok()?, run_id.parse().ok()?))
}

/// The time in a [`time_key`].
pub fn time_in_key(text: &str) -> Option<Timestamp> {
    let (at, _) = text.split_once('#')?;
    at.parse().ok().filter(|parsed| rfc3339_millis(*parsed) == at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_now_sorts_before_the_bound_and_what_is_due_later_does_not() {
        let at = |millis| Timestamp::from_millisecond(millis).expect("a time");
        let run_id = "ffffffff-ffff-4fff-bfff-ffffffffffff".parse().expect("a run id");
        assert!(due_at(at(1_795_322_388_123), run_id, 9_999) < due_until(at(1_795_322_388_123)));
        assert!(due_at(at(1_795_322_388_124), run_id, 1) > due_until(at(1_795_322_388_123)));
    }

    #[test]
    fn shards_are_spread_and_stable() {
        let run = |text: &str| text.parse::<RunId>().expect("a run id");
        assert_eq!(shard(run("0190163d-8694-439b-aea5-966c26f8ad91")), 1);
        assert_eq!(shard(run("0190163d-8694-439b-aea5-966c26f8ad9f")), 15);
        assert_eq!(open_shard(1), "OPEN#01");
    }

    #[test]
    fn only_a_time_key_gives_its_id() {
        let id = "0190163d-8694-439b-aea5-966c26f8ad91";
        let key = format!("2026-11-22T04:39:48.123Z#{id}");
        assert_eq!(id_in_time_key::<RunId>(&key).map(|id| id.to_string()).as_deref(), Some(id));
        for other in
            [id.to_owned(), format!("2026-11-22#{id}"), format!("2026-11-22T04:39:48Z#{id}"), format!("{key}#")]
        {
            assert_eq!(id_in_time_key::<RunId>(&other), None, "{other}");
        }
    }
}
