//! The stored shape of every item kind, written down: what a released version wrote, every later one must read.

use crate::support::sample::{self, claim, delivery, mine, noon, run, yours};
use jiff::SignedDuration;
use serde_json::Value;
use sluice_aws::dynamo::item::{self, Item, StoredRun};
use sluice_aws::dynamo::keys::{self, Key, Link};
use sluice_core::budget::{MicroUsd, NanoUsd};
use sluice_core::call_id::CallId;
use sluice_core::catalog::{Draft, Named, Shared};
use sluice_core::concurrency::{Concurrency, OnLimit, SlotScope};
use sluice_core::definition::{Definition, Outline, VersionRule};
use sluice_core::delivery::health::{Health, Turn, Verdict};
use sluice_core::delivery::{Attempt, AttemptOutcome, Channel};
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::idempotency::IdempotencyRecord;
use sluice_core::instance::{DefinitionHint, Instance, InstanceContent, ProcessorConfig};
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent, TerminationReason};
use sluice_core::operator::{ContainerTask, LaunchType, Processor, ProcessorTarget, TenantSettings, Tenants};
use sluice_core::ports::ReportReceipt;
use sluice_core::report::{Comment, NodeAnswer, NodeOutcome, ReportToken};
use sluice_core::retention::Retention;
use sluice_core::run::{About, Run, RunError, RunSpec, RunState, SnapshotRef};
use sluice_core::tenant_limits::OwnLimits;
use sluice_core::usage::{LlmCall, RecordedCall};
use sluice_testkit::contract::store::models::model;
use sluice_testkit::fixture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An item in DynamoDB's own JSON.
fn plain(item: &Item) -> Value {
    serde_json::to_value(item).expect("JSON")
}

macro_rules! golden {
    ($name:literal, $item:expr) => {
        let text = serde_json::to_string_pretty(&plain(&$item)).expect("JSON");
        insta::assert_snapshot!($name, text);
    };
}

/// A head with every attribute that the first release had. No run has them all at once.
fn full_head() -> StoredRun {
    let run = run(&mine(), 26, noon());
    let labels = [("model".to_owned(), "small".to_owned()), ("empty".to_owned(), String::new())];
    StoredRun {
        about: About {
            labels: BTreeMap::from(labels),
            replay_of: Some(sample::run_id(25)),
            replay_depth: 1,
            ..run.about.clone()
        },
        spec: RunSpec {
            execution_budget_micro_usd: Some(MicroUsd(1_250_000)),
            max_run_duration_seconds: Some(3_600),
            ..run.spec.clone()
        },
        snapshot: SnapshotRef { has_callback: true, ..run.snapshot.clone() },
        status: RunStatus::WaitingForInput,
        termination_reason: Some(TerminationReason::ExecutionError),
        stop_intent: Some(StopIntent::TimedOut),
        error: Some(RunError { code: "States.TaskFailed".to_owned(), message: "no disk".to_owned() }),
        started_at: Some(noon()),
        completed_at: Some(noon() + SignedDuration::from_secs(1)),
        stage_index: Some(3),
        pause_requested_at: Some(noon()),
        pause_token: Some("token".to_owned()),
        waiting_nodes: BTreeSet::from(["approval".to_owned(), "figures".to_owned()]),
        answered_nodes: BTreeSet::from(["budget".to_owned(), "title".to_owned()]),
        deliveries: 2,
        rev: 18_446_744_073_709_551_615,
        ..StoredRun::from(&run)
    }
}

fn written(head: &StoredRun) -> Item {
    item::from_stored_run(head).expect("an item")
}

#[test]
fn a_runs_items() {
    let least = run(&mine(), 26, noon());
    assert_eq!(item::to_run(item::from_run(&least).expect("an item")).expect("a run"), least);
    assert_eq!(item::to_stored_run(written(&full_head())).expect("a head"), full_head());
    golden!("run-head-pending", item::from_run(&least).expect("an item"));
    golden!("run-head-full", written(&full_head()));
    let ended = least.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    golden!("run-head-canceled", item::from_run(&ended).expect("an item"));
    golden!("run-snapshot", item::from_snapshot(&least, r#"{"runId":"…","n":1.10}"#));
    let replay = item::from_link(Link::Replay, sample::run_id(25), &least);
    assert_eq!(item::to_link(Link::Replay, &replay).expect("an id"), least.run_id);
    golden!("run-replay", replay);
    golden!("run-output", item::from_output(&least, r#"{"results":{"store":1.10}}"#));
}

#[test]
fn a_head_from_before_replays_and_answers_is_still_read() {
    let least = run(&mine(), 26, noon());
    let mut old = item::from_run(&least).expect("an item");
    assert!(old.remove("replayDepth").is_some());
    assert!(!old.contains_key("replayOf") && !old.contains_key("answeredNodes"));
    assert_eq!(item::to_run(old).expect("a run"), least);
}

/// Heads of open and ended runs with everything that came after the first release, more than an ended run has.
fn later_heads() -> [StoredRun; 3] {
    let head = StoredRun::from(&run(&mine(), 26, noon()));
    let queued = StoredRun {
        status: RunStatus::Queued,
        about: About { evaluation_of: Some(sample::run_id(24)), ..head.about.clone() },
        spec: RunSpec {
            definition_owner: Some(sample::yours()),
            compute_node_budget_micro_usd: Some(MicroUsd(5_000_000)),
            exclude_paused_time: true,
            retention: Some(Retention { max_age_seconds: 60, preserve_on_failure: true }),
            version: 0,
            ..head.spec.clone()
        },
        queued_in: Some(SlotScope::Definition),
        ..head.clone()
    };
    let ended = StoredRun {
        status: RunStatus::Succeeded,
        spec: RunSpec {
            retention: Some(Retention { max_age_seconds: Retention::KEEP, preserve_on_failure: false }),
            ..head.spec.clone()
        },
        dispatched_at: Some(noon()),
        pauses: 2,
        paused_at: Some(noon()),
        paused_ms: 1_500,
        slots: BTreeSet::from([SlotScope::Definition, SlotScope::Tenant]),
        retention_due_at: Some(noon() + SignedDuration::from_mins(1)),
        ..head
    };
    let put_off = StoredRun { purge_from: Some(noon() + SignedDuration::from_mins(2)), ..ended.clone() };
    [queued, ended, put_off]
}

#[test]
fn what_came_later_to_a_runs_items() {
    let [queued, ended, put_off] = later_heads();
    for head in [&queued, &ended, &put_off] {
        assert_eq!(item::to_stored_run(written(head)).expect("a head"), *head);
    }
    golden!("run-head-queued", written(&queued));
    golden!("run-head-expiring", written(&ended));
    golden!("run-head-put-off", written(&put_off));
    let queued = Run::try_from(queued).expect("a run");
    let in_tenants_queue = Run { state: RunState::Queued { queue: SlotScope::Tenant }, ..queued.clone() };
    let item = item::from_run(&in_tenants_queue).expect("an item");
    assert_eq!(item::text(&item, "queueKey"), Some("T#mine#QUEUE"));
    assert_eq!(item::to_queued_run(&item).expect("an id"), queued.run_id);
    let reference = item::to_run_ref(written(&ended)).expect("a reference");
    assert_eq!((reference.tenant_id, reference.run_id), (mine(), ended.run_id));
    let request = item::from_request(&queued, r#"{"input":{"n": 1.10}}"#);
    assert_eq!(item::to_request(&request).expect("a text"), r#"{"input":{"n": 1.10}}"#);
    golden!("run-request", request);
    let evaluation = item::from_link(Link::Evaluation, sample::run_id(24), &queued);
    assert_eq!(item::to_link(Link::Evaluation, &evaluation).expect("an id"), queued.run_id);
    item::to_link(Link::Replay, &evaluation).expect_err("of another kind");
    golden!("run-evaluation", evaluation);
}

#[test]
fn a_change_removes_exactly_what_a_head_may_lack() {
    let names = |head: &StoredRun| written(head).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    let least = names(&StoredRun { status: RunStatus::Canceled, ..StoredRun::from(&run(&mine(), 26, noon())) });
    let mut sometimes = BTreeSet::new();
    for head in later_heads().iter().chain([&full_head()]) {
        let names = names(head);
        assert!(least.is_subset(&names));
        sometimes.extend(names.difference(&least).cloned());
    }
    let optional = item::RUN_OPTIONAL.iter().map(|name| (*name).into()).collect();
    assert_eq!(sometimes, optional);
}

#[test]
fn what_comes_from_outside() {
    let (run, node) = (Run { rev: 8, ..run(&mine(), 26, noon()) }, "approval".parse().expect("a node"));
    let by = "mine/someone".to_owned();
    let result = NodeAnswer { outcome: NodeOutcome::Result(r#"{"n": 1.10}"#.to_owned()), by: by.clone(), at: noon() };
    let error = RunError { code: "Rejected".to_owned(), message: "not like this".to_owned() };
    let failure = NodeAnswer { outcome: NodeOutcome::Failure(error), ..result.clone() };
    for answer in [&result, &failure] {
        let [head, given] = item::from_input(&run.tenant_id, run.run_id, run.rev, &node, answer);
        let read = item::to_input(&head).expect("an input");
        assert_eq!((&read.node_id, &read.by, read.at), (&node, &answer.by, answer.at));
        assert_eq!((read.is_failure, read.bytes), (answer == &failure, answer.outcome.bytes()));
        assert_eq!(item::to_given(&given).expect("what was given"), answer.outcome);
    }
    let [head, given] = item::from_input(&run.tenant_id, run.run_id, run.rev, &node, &result);
    golden!("input-result", head);
    golden!("given-result", given);
    let [head, given] = item::from_input(&run.tenant_id, run.run_id, run.rev, &node, &failure);
    golden!("input-failure", head);
    golden!("given-failure", given);

    let token = ReportToken {
        hash: "0123abcd".to_owned(),
        node_id: Some(node.clone()),
        expires_at: noon() + SignedDuration::from_hours(1),
        created_by: by.clone(),
        created_at: noon(),
    };
    for token in [&token, &ReportToken { node_id: None, ..token.clone() }] {
        let item = item::from_report_token(&mine(), run.run_id, token).expect("an item");
        assert_eq!(item::to_report_token(item).expect("a token"), *token);
    }
    golden!("report-token", item::from_report_token(&mine(), run.run_id, &token).expect("an item"));

    let id = "0190163d-8694-739b-aea5-966c26f8ad91".to_owned();
    let comment = Comment { id, text: "Looks\ngood".to_owned(), by, at: noon() };
    let item = item::from_comment(&mine(), run.run_id, &comment).expect("an item");
    assert_eq!(item::to_comment(item.clone()).expect("a comment"), comment);
    golden!("comment", item);
}

#[test]
fn what_a_run_used() {
    let full = LlmCall {
        call_id: "call 1 #\u{e9}".to_owned(),
        node_id: Some("summary".parse().expect("a node")),
        provider: "acme".to_owned(),
        model: "small".to_owned(),
        input_tokens: 1_000_000_000_000,
        output_tokens: 5,
        cached_tokens: 1,
        cost_nano_usd: NanoUsd(100_000_000_000_000),
        latency_ms: 1_234,
        reported_at: noon(),
    };
    let least = LlmCall {
        node_id: None,
        input_tokens: 0,
        output_tokens: 0,
        cached_tokens: 0,
        cost_nano_usd: NanoUsd(0),
        latency_ms: 0,
        ..full.clone()
    };
    let run_id = sample::run_id(26);
    for report in [&full, &least] {
        let item = item::from_usage(&mine(), run_id, report, None).expect("an item");
        assert_eq!(Key::of(&item), Some(keys::usage_call(&mine(), run_id, &report.call_id)));
        assert_eq!(item::to_usage(item).expect("a report"), *report);
    }
    let report_id = CallId::new(noon(), 7);
    let item = item::from_usage(&mine(), run_id, &full, Some(report_id)).expect("an item");
    let recorded = RecordedCall { call: full, report: Some(report_id) };
    assert_eq!(item::to_recorded_call(item.clone()).expect("a call"), Some(recorded));
    golden!("usage-call", item);
    let receipt = ReportReceipt { calls: 3, cost: NanoUsd(7) };
    let item = item::from_receipt(&mine(), run_id, report_id, &receipt, noon());
    assert_eq!(item::to_receipt(&item).expect("a receipt"), receipt);
    golden!("receipt", item);
}

#[test]
fn an_idempotency_record() {
    let run = run(&mine(), 26, noon());
    let record = IdempotencyRecord {
        payload_hash: "payload".to_owned(),
        run,
        expires_at: Some(noon() + SignedDuration::from_hours(24)),
    };
    for record in [&record, &IdempotencyRecord { expires_at: None, ..record.clone() }] {
        let item = item::from_idempotency(&claim("key", "payload"), record).expect("an item");
        assert_eq!(item.contains_key("ttl"), record.expires_at.is_some());
        assert_eq!(item::to_idempotency(item).expect("a record"), *record);
    }
    golden!("idempotency", item::from_idempotency(&claim("key", "payload"), &record).expect("an item"));
}

#[test]
fn the_health_of_receivers() {
    let owed = |number| delivery(&run(&mine(), number, noon()), 1, noon());
    let origin = owed(1).channel.origin().expect("a webhook");
    let (mut health, _) = Health::unknown(mine()).after(&owed(1), &origin, Verdict::Badly, noon()).expect("a change");
    for number in 2..7 {
        let (Turn::Seated(next) | Turn::Waits(next)) = health.admit(&owed(number), &origin, noon()) else {
            panic!("it is in trouble")
        };
        health = next;
    }
    health.seats.retain(|id, _| id.ends_with("2.1"));
    let item = item::from_health(&health).expect("an item");
    golden!("receiver-health", item);
    assert_eq!(item::to_health(item).expect("a health"), health);
}

#[test]
fn a_deliverys_items() {
    let owed = delivery(&run(&mine(), 26, noon()), 1, noon());
    golden!("delivery-scheduled", item::from_delivery(&owed).expect("an item"));
    golden!("delivery-body", item::from_delivery_body(&owed));
    let begun = owed.begin(noon()).expect("due");
    let ended =
        sluice_core::delivery::Delivery { channel: Channel::EventBus, ..begun.after(&AttemptOutcome::Gone, noon()) };
    let dead = item::from_delivery(&ended).expect("an item");
    golden!("delivery-dead-lettered-listed", dead);
    // Before dead deliveries were listed they had no place in an index. They are still read.
    let mut unlisted = dead;
    assert!(unlisted.remove("dueShard").is_some() && unlisted.remove("dueAt").is_some());
    golden!("delivery-dead-lettered", unlisted);
    let read = item::to_delivery(unlisted).expect("a delivery");
    assert_eq!(read, sluice_core::delivery::Delivery { body: String::new(), ..ended });
    for (number, outcome) in [
        AttemptOutcome::Delivered { http_status: Some(204) },
        AttemptOutcome::Delivered { http_status: None },
        AttemptOutcome::Gone,
        AttemptOutcome::Rejected { http_status: 503, retry_after_seconds: Some(18_446_744_073_709_551_615) },
        AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None },
        AttemptOutcome::Unreachable { error_class: "timeout".to_owned() },
    ]
    .into_iter()
    .enumerate()
    {
        let attempt = Attempt { number: number as u32 + 1, at: noon(), duration_ms: 12, outcome };
        let item = item::from_attempt(&item::reference(&owed), &attempt).expect("an item");
        if number == 3 {
            golden!("attempt-rejected", item);
        }
        assert_eq!(item::to_attempt(item).expect("an attempt"), (1, attempt));
    }
}

#[test]
fn a_definitions_items() {
    let definition = Definition {
        display_name: Some("Text report".to_owned()),
        description: Some("…".to_owned()),
        active_version: Some(1),
        latest_version: 2,
        ..sample::definition(&mine(), 7, "text-report")
    };
    assert_eq!(item::to_definition(item::from_definition(&definition).expect("an item")).expect("reads"), definition);
    golden!("definition", item::from_definition(&definition).expect("an item"));
    let name = item::from_definition_name(&definition).expect("an item");
    let named = item::to_definition_name(&name).expect("reads");
    assert_eq!(named, Named { id: definition.id, outline: definition.outline() });
    golden!("definition-name", name);
    let version = sample::version(&definition, 2);
    assert_eq!(item::to_version(item::from_version(&mine(), &version).expect("an item")).expect("reads"), version);
    golden!("version", item::from_version(&mine(), &version).expect("an item"));
}

#[test]
fn what_came_later_to_a_definitions_items() {
    let definition = Definition {
        active_version: Some(2),
        latest_version: 3,
        processors: BTreeMap::from([(2, fixture::document().processor_keys()), (3, BTreeSet::new())]),
        deprecated_versions: BTreeSet::from([1, 3]),
        concurrency: Some(Concurrency { max_concurrent_runs: 5, on_limit: OnLimit::Queue }),
        retention: Some(Retention { max_age_seconds: 86_400, preserve_on_failure: true }),
        max_run_duration_seconds: Some(3_600),
        exclude_paused_time: true,
        discoverable: true,
        tags: BTreeSet::from(["chat".to_owned(), "text".to_owned()]),
        ..sample::definition(&mine(), 7, "text-report")
    };
    let item = item::from_definition(&definition).expect("an item");
    assert_eq!(item::to_definition(item.clone()).expect("reads"), definition);
    golden!("definition-full", item);
    let discoverable = item::from_discoverable(&definition).expect("an item");
    let shared = Shared { owner: mine(), outline: definition.outline() };
    assert_eq!(item::to_discoverable(&discoverable).expect("reads"), shared);
    golden!("discoverable", discoverable);
    let draft = Draft { version: Arc::new(sample::version(&definition, 0).into()), rev: 2 };
    let item = item::from_draft(&mine(), &draft).expect("an item");
    assert_eq!(item::to_draft(item.clone()).expect("reads"), draft);
    golden!("draft", item);
}

#[test]
fn items_of_before_outlines_and_revisions_are_read() {
    let definition = sample::definition(&mine(), 7, "text-report");
    let without = |mut item: Item, attribute: &str| {
        assert!(item.remove(attribute).is_some(), "{attribute}");
        item
    };
    let name = without(item::from_definition_name(&definition).expect("an item"), "outline");
    assert_eq!(
        item::to_definition_name(&name).expect("reads"),
        Named { id: definition.id, outline: Outline::default() }
    );
    let shared = without(item::from_discoverable(&definition).expect("an item"), "outline");
    assert_eq!(item::to_discoverable(&shared).expect("reads"), Shared { owner: mine(), outline: Outline::default() });
    let draft = Draft { version: Arc::new(sample::version(&definition, 0).into()), rev: 2 };
    let draft = without(item::from_draft(&mine(), &draft).expect("an item"), "rev");
    assert_eq!(item::to_draft(draft).expect("reads").rev, 0);
    let node = without(item::from_compute_node(&fixture::compute_node(noon())).expect("an item"), "rev");
    assert_eq!(item::to_compute_node(node).expect("reads").rev, 0);
}

#[test]
fn an_instance() {
    let content = InstanceContent {
        definition_id: fixture::definition_id(7),
        version: VersionRule::Number(2),
        compute_node: "default".parse().expect("a key"),
        processor_configs: BTreeMap::from([(
            "frequencies".parse().expect("a node"),
            ProcessorConfig {
                params: BTreeMap::from([("top".to_owned(), serde_json::from_str("1.10").expect("JSON"))]),
                tag: Some("live".parse().expect("a tag")),
            },
        )]),
    };
    let outline = Outline { active_version: Some(1), latest_version: 2, processors: BTreeMap::new() };
    let hint = Some(DefinitionHint { owner: yours(), outline });
    let instance = Instance { tenant: mine(), id: content.id(&mine()), content, created_at: noon(), hint };
    for instance in [&instance, &Instance { hint: None, ..instance.clone() }] {
        assert_eq!(&item::to_instance(item::from_instance(instance).expect("an item")).expect("reads"), instance);
    }
    golden!("instance", item::from_instance(&instance).expect("an item"));
}

#[test]
fn a_model_lies_under_its_key_and_under_each_of_its_ids() {
    let model = model("haiku", &["us.anthropic.claude-haiku-4-5-20251001-v1:0", "acme.small"], 3);
    assert_eq!(item::to_model(item::from_model(&model).expect("an item")).expect("reads"), model);
    golden!("model", item::from_model(&model).expect("an item"));
    for id in &model.ids {
        let item = item::from_model_id(&model, id).expect("an item");
        assert_eq!(Key::of(&item), Some(keys::model_id(id)));
        assert_eq!(item::to_model_of_id(item).expect("reads"), model);
    }
    let first = model.ids.first().expect("an id");
    golden!("model-id", item::from_model_id(&model, first).expect("an item"));
}

#[test]
fn what_the_operator_declares() {
    let processor = Processor {
        key: "nested".parse().expect("a key"),
        target: ProcessorTarget::StateMachine {
            state_machine_arn: "arn:aws:states:eu-west-1:123456789012:stateMachine:nested".parse().expect("an ARN"),
        },
        tenants: Tenants(["mine", "yours"].map(|tenant| tenant.parse().expect("a tenant")).into()),
        tags: None,
        description: Some("…".to_owned()),
        updated_at: noon(),
        rev: 3,
    };
    assert_eq!(item::to_processor(item::from_processor(&processor).expect("an item")).expect("reads"), processor);
    golden!("processor", item::from_processor(&processor).expect("an item"));
    let mut node = fixture::compute_node(noon());
    node.registry.insert("share".to_owned(), serde_json::from_str("1.10").expect("JSON"));
    assert_eq!(item::to_compute_node(item::from_compute_node(&node).expect("an item")).expect("reads"), node);
    golden!("compute-node", item::from_compute_node(&node).expect("an item"));

    let container = ProcessorTarget::Ecs(ContainerTask {
        cluster_arn: "arn:aws:ecs:eu-west-1:123456789012:cluster/work".parse().expect("an ARN"),
        task_definition_arn: "arn:aws:ecs:eu-west-1:123456789012:task-definition/render".parse().expect("an ARN"),
        container_name: "render".to_owned(),
        launch_type: Some(LaunchType::Fargate),
        subnets: vec!["subnet-1".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        assign_public_ip: true,
    });
    let processor = Processor { target: container, ..processor };
    assert_eq!(item::to_processor(item::from_processor(&processor).expect("an item")).expect("reads"), processor);
    golden!("processor-ecs", item::from_processor(&processor).expect("an item"));
    for tags in [vec![], vec!["live", "$LATEST"]] {
        let tags = Some(tags.into_iter().map(|tag| tag.parse().expect("a tag")).collect());
        let offering = Processor { tags, ..processor.clone() };
        assert_eq!(item::to_processor(item::from_processor(&offering).expect("an item")).expect("reads"), offering);
    }

    let settings = TenantSettings {
        tenant: mine(),
        concurrency: Some(Concurrency { max_concurrent_runs: 100, on_limit: OnLimit::Reject }),
        retention: Some(Retention { max_age_seconds: Retention::KEEP, preserve_on_failure: false }),
        destinations: Some(vec!["https://abc.lambda-url.eu-west-1.on.aws".to_owned()]),
        secret_prefixes: None,
        limits: OwnLimits { starts_per_minute: Some(60), open_runs: Some(500), ..OwnLimits::default() },
        budget: None,
        updated_at: noon(),
        rev: 3,
    };
    let budget = |max, per_user_max| Budget { period: Period::Month, max, per_user_max };
    let thrifty = TenantSettings { budget: Some(budget(Some(MicroUsd(7)), None)), ..settings.clone() };
    let each = TenantSettings { budget: Some(budget(None, Some(MicroUsd(0)))), ..settings.clone() };
    let nowhere = TenantSettings { destinations: Some(Vec::new()), ..settings.clone() };
    let prefix = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mine/".to_owned().try_into();
    let secretive = TenantSettings { secret_prefixes: Some(vec![prefix.expect("a prefix")]), ..settings.clone() };
    let silent = TenantSettings { secret_prefixes: Some(Vec::new()), ..settings.clone() };
    for settings in [&settings, &nowhere, &secretive, &silent, &thrifty, &each, &TenantSettings::open(mine())] {
        assert_eq!(item::to_tenant(item::from_tenant(settings).expect("an item")).expect("reads"), *settings);
    }
    golden!("tenant", item::from_tenant(&settings).expect("an item"));
    golden!("tenant-budget", item::from_tenant(&thrifty).expect("an item"));
}
