//! Arbitrary runs, as legal as any that Sluice and its runner write, for properties that hold for all of them.

use crate::fixture::RUNNER_ARN;
use jiff::Timestamp;
use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sluice_core::arn::StateMachineArn;
use sluice_core::budget::MicroUsd;
use sluice_core::concurrency::SlotScope;
use sluice_core::governor::ledger::OnBudgetExceeded;
use sluice_core::id::{DefinitionId, InstanceId, RunId, TenantId, UserId};
use sluice_core::lifecycle::{StopIntent, TerminationReason};
use sluice_core::retention::Retention;
use sluice_core::run::{About, Course, Ended, Gate, Progress, Run, RunError, RunSpec, RunState, SnapshotRef, Times};
use std::collections::BTreeSet;
use uuid::Uuid;

const REASONS: [TerminationReason; 9] = [
    TerminationReason::Completed,
    TerminationReason::ExecutionError,
    TerminationReason::TimedOut,
    TerminationReason::CanceledByCaller,
    TerminationReason::BudgetExceeded,
    TerminationReason::LoopingRisk,
    TerminationReason::StaleRunReaper,
    TerminationReason::StartFailed,
    TerminationReason::AbortedInEngine,
];

/// A run in any state.
pub fn run() -> impl Strategy<Value = Run> {
    let frozen = (about(), spec(), any::<(bool, bool)>(), "[0-9a-f]{64}");
    let slots = btree_set(scope(), 0..3);
    (tenant(), any::<u128>(), frozen, state(), slots, time(), any::<u64>()).prop_map(
        |(tenant_id, id, (about, spec, (has_callback, has_given_results), hash), state, slots, updated_at, rev)| Run {
            tenant_id,
            run_id: RunId(Uuid::from_u128(id)),
            about,
            spec,
            snapshot: SnapshotRef { has_callback, has_given_results, hash },
            slots: if state.status().is_terminal() || state.queue().is_some() { BTreeSet::new() } else { slots },
            state,
            updated_at,
            rev,
        },
    )
}

/// Any state that a run can be in.
pub fn state() -> impl Strategy<Value = RunState> {
    let asked = || (option::of(time()), 0..200_u32, option::of(time()));
    let open = || (progress(), gate());
    prop_oneof![
        scope().prop_map(|queue| RunState::Queued { queue }),
        asked().prop_map(|(dispatched_at, pauses, pause_asked_at)| RunState::Pending {
            dispatched_at,
            pauses,
            pause_asked_at
        }),
        open().prop_map(|(progress, gate)| RunState::Running { progress, gate }),
        (progress(), time(), time(), token()).prop_map(|(progress, pause_asked_at, since, token)| RunState::Paused {
            progress,
            pause_asked_at,
            since,
            token: Some(token)
        }),
        (open(), nodes(1)).prop_map(|((progress, gate), nodes)| RunState::Waiting { progress, gate, nodes }),
        (open(), nodes(0), select(&StopIntent::ALL[..]))
            .prop_map(|((progress, gate), nodes, intent)| RunState::Stopping { progress, gate, nodes, intent }),
        ended().prop_map(RunState::Ended),
    ]
}

fn ended() -> impl Strategy<Value = Ended> {
    let course = prop_oneof![
        (option::of(time()), 0..200_u32)
            .prop_map(|(dispatched_at, pauses)| Course::NeverStarted { dispatched_at, pauses }),
        times().prop_map(Course::Started),
    ];
    let error = option::of(("[A-Za-z.]{1,20}", "\\PC{0,20}"));
    let intent = option::of(select(&StopIntent::ALL[..]));
    let due = option::of((time(), option::of(time())));
    (select(&REASONS[..]), intent, time(), error, due, 0..3_u32, course).prop_map(
        |(reason, intent, completed_at, error, due, deliveries, course)| Ended {
            reason,
            intent,
            completed_at,
            error: error.map(|(code, message)| RunError { code, message }),
            due_at: due.map(|(due_at, _)| due_at),
            purge_from: due.and_then(|(_, purge_from)| purge_from),
            deliveries,
            course,
        },
    )
}

fn progress() -> impl Strategy<Value = Progress> {
    (times(), nodes(0)).prop_map(|(times, answered_nodes)| Progress { times, answered_nodes })
}

fn times() -> impl Strategy<Value = Times> {
    let counts = (option::of(any::<u32>()), 0..200_u32, 0..1_000_000_000_000_u64);
    (option::of(time()), time(), counts).prop_map(|(dispatched_at, started_at, (stage_index, pauses, paused_ms))| {
        Times { dispatched_at, started_at, stage_index, pauses, paused_ms }
    })
}

fn gate() -> impl Strategy<Value = Gate> {
    (option::of(time()), option::of(token())).prop_map(|(pause_asked_at, token)| Gate { pause_asked_at, token })
}

fn about() -> impl Strategy<Value = About> {
    let labels = btree_map("\\PC{1,8}", "\\PC{0,8}", 0..3);
    let link = || option::of(any::<u128>().prop_map(|id| RunId(Uuid::from_u128(id))));
    ("\\PC{1,20}", labels, link(), 0..20_u32, link()).prop_map(
        |(name, labels, replay_of, replay_depth, evaluation_of)| About {
            name,
            labels,
            replay_of,
            replay_depth,
            evaluation_of,
        },
    )
}

fn spec() -> impl Strategy<Value = RunSpec> {
    let definition = (any::<u128>(), "[a-z][a-z0-9_-]{0,20}", option::of(tenant()), any::<u32>(), any::<u128>());
    let micro = || option::of((0..=100_000_000_000_u64).prop_map(MicroUsd));
    let retention = (-1..=315_360_000_i64, any::<bool>())
        .prop_map(|(max_age_seconds, preserve_on_failure)| Retention { max_age_seconds, preserve_on_failure });
    let exceeded = select(&[OnBudgetExceeded::Stop, OnBudgetExceeded::Refuse][..]);
    let user = option::of("[a-z@|]{1,12}".prop_filter_map("a user's id", |text| text.parse::<UserId>().ok()));
    let bounds =
        (micro(), micro(), option::of(1..=2_592_000_u64), any::<bool>(), option::of(retention), (exceeded, user));
    let arn = (0..1_000_u32).prop_map(|number| format!("{RUNNER_ARN}-{number}"));
    let arn = arn.prop_filter_map("an ARN", |text| text.parse::<StateMachineArn>().ok());
    (definition, arn, "[a-z][a-z0-9-]{0,20}", bounds, "\\PC{1,20}", time()).prop_filter_map(
        "names are words",
        |((id, name, definition_owner, version, instance), state_machine_arn, node, bounds, created_by, created_at)| {
            let (
                execution_budget,
                compute_node_budget,
                max_run_duration_seconds,
                exclude_paused_time,
                retention,
                whose,
            ) = bounds;
            let (on_budget_exceeded, user_id) = whose;
            Some(RunSpec {
                definition_id: DefinitionId(Uuid::from_u128(id)),
                definition_name: name.parse().ok()?,
                definition_owner,
                version,
                instance_id: InstanceId(Uuid::from_u128(instance)),
                compute_node: node.parse().ok()?,
                state_machine_arn,
                execution_budget_micro_usd: execution_budget,
                compute_node_budget_micro_usd: compute_node_budget,
                on_budget_exceeded,
                user_id,
                max_run_duration_seconds,
                exclude_paused_time,
                retention,
                created_by,
                created_at,
            })
        },
    )
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[a-z]{1,12}".prop_filter_map("a tenant's id", |text| text.parse().ok())
}

fn scope() -> impl Strategy<Value = SlotScope> {
    select(&[SlotScope::Definition, SlotScope::Tenant][..])
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9+/=]{1,40}"
}

fn nodes(least: usize) -> impl Strategy<Value = BTreeSet<String>> {
    btree_set("[a-z][a-z0-9-]{0,10}", least..4)
}

/// A time between 2001 and 2100, to the millisecond.
fn time() -> impl Strategy<Value = Timestamp> {
    (1_000_000_000_000..4_000_000_000_000_i64)
        .prop_filter_map("in range", |millis| Timestamp::from_millisecond(millis).ok())
}
