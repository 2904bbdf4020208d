//! The store ports, rule by rule. What is read of an index is asked for until it is there: see the ports' own words on
//! which reads are eventually consistent.

pub mod answers;
pub mod definitions;
pub mod lists;
pub mod meters;
pub mod models;
pub mod purges;
pub mod receivers;
pub mod reports;
pub mod runs;
pub mod slots;
pub mod sweeps;

use sluice_core::concurrency::QueueRef;
use sluice_core::ports::{
    AnswerNode, ChangeRun, CountOnMeter, Deliveries, FindModel, LoadRun, ManageDefinitions, ManageModels,
    ManageOperator, PurgeRuns, ReadCatalog, ReadQueue, ReadRuns, ReceiverHealth, RecordReports, RecordRun, RecordUsage,
    SaveInstance, Sweep,
};
use sluice_core::run::Run;
use std::future::Future;

/// Every rule as a test: see [`rules!`](crate::rules).
#[macro_export]
macro_rules! store_rules {
    ($judge:path) => {
        $crate::rules! {
            judge: $judge, of: store::runs,
            a_recorded_run_is_read_back_as_it_was_written,
            recording_the_same_run_again_is_created_again,
            the_second_request_with_a_key_gets_the_first_run,
            of_many_racers_with_one_key_one_is_created_and_all_learn_its_run,
            an_expired_key_is_free_again_and_one_that_never_expires_is_not,
            keys_of_tenants_and_operations_are_apart,
            another_tenants_run_does_not_exist,
            a_change_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is,
            a_run_that_does_not_exist_cannot_be_changed,
            a_run_that_goes_on_is_stopped_unread_as_if_it_had_been_read,
            a_run_is_loaded_with_those_of_its_parts_that_are_there,
            the_end_of_a_run_is_written_with_all_that_it_owes,
            of_many_senders_one_gets_the_delivery,
            an_attempt_is_recorded_with_its_delivery,
            a_late_attempt_is_kept_and_changes_nothing_else,
            of_many_attempts_the_newest_are_listed,
            a_name_belongs_to_one_definition_of_a_tenant,
            of_two_changes_to_a_definition_one_wins,
            a_runs_replays_are_found_with_it,
            what_evaluates_a_run_is_found_with_it_beside_what_repeats_it,
            a_late_repetition_is_known_by_the_run_itself_and_leaves_it_alone,
            an_instance_is_recorded_with_its_first_run_and_stays_as_it_is,
            the_first_request_with_a_key_is_found_beside_other_things,
        }
        $crate::rules! {
            judge: $judge, of: store::slots,
            a_run_takes_a_slot_of_each_of_its_limits_and_its_end_frees_them,
            a_full_limit_refuses_a_run_and_nothing_is_written,
            every_full_limit_is_named,
            nobody_passes_those_who_wait,
            a_run_joins_a_queue_only_where_the_limit_is_reached_or_others_wait,
            recording_a_run_again_takes_no_second_slot,
            a_taken_key_is_said_before_a_full_limit,
            a_queued_run_is_dispatched_into_the_slots_it_needs,
            a_dispatch_takes_the_first_slot_that_is_ever_taken_of_a_limit,
            a_dispatch_without_a_slot_writes_nothing,
            a_dispatch_does_not_mind_those_who_wait_behind_it,
            a_stale_change_is_stale_before_it_is_full_and_moves_nothing,
            a_run_goes_on_to_wait_in_another_queue,
            a_queued_run_that_is_canceled_leaves_its_queue,
            slots_of_tenants_and_definitions_are_apart,
            queues_are_read_by_age_and_each_by_itself,
            a_place_in_a_queue_is_counted_from_one,
            a_queue_holds_as_many_as_it_may,
            no_slot_leaks_over_a_long_random_life,
        }
        $crate::rules! {
            judge: $judge, of: store::answers,
            an_answer_is_recorded_with_its_run_and_read_back_as_it_was_given,
            of_many_answers_one_is_recorded,
            of_an_answer_and_a_cancel_one_is_first,
            an_answer_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is,
            a_node_that_does_not_wait_cannot_be_answered,
            a_node_that_waits_anew_has_no_answer,
            a_failure_is_an_answer_too,
            what_nodes_were_given_is_listed_the_first_first,
            progress_is_shown_while_a_node_is_under_way,
            progress_is_read_with_its_step_and_survives_its_end,
        }
        $crate::rules! {
            judge: $judge, of: store::reports,
            a_report_token_is_found_by_its_hash_in_its_run_alone,
            a_run_that_is_gone_or_going_gets_no_report_token,
            a_run_that_is_gone_or_going_gets_no_comment,
            a_run_that_is_gone_or_going_gets_no_link,
            an_ended_run_that_is_kept_gets_tokens_comments_and_links,
            comments_are_listed_oldest_first_page_by_page,
            a_run_that_used_nothing_has_an_empty_ledger,
            a_report_is_recorded_and_counted,
            a_report_in_one_write_is_recorded_and_counted_or_nothing_of_it_is,
            a_report_in_one_write_goes_above_the_cap_with_the_stop_or_after_the_end,
            of_many_reports_in_one_write_each_is_counted_that_was_taken,
            each_step_of_a_report_is_seen_and_each_is_made_once,
            a_report_that_was_given_up_records_nothing,
            of_many_reports_at_once_each_is_counted,
            a_report_that_takes_the_run_above_its_cap_is_counted_with_the_stop,
            a_report_above_the_cap_of_a_run_that_has_ended_is_counted_without_a_stop,
            what_was_reported_before_is_taken_over_once,
            a_run_that_is_gone_takes_no_report_and_one_that_goes_waits_for_what_is_under_way,
            a_call_that_was_reported_before_is_not_recorded_again,
            an_end_on_an_old_ledger_writes_nothing,
            an_end_of_a_stopped_run_on_an_old_ledger_writes_nothing,
            calls_are_listed_once_each_whatever_the_page_size,
            of_many_reporters_of_one_call_one_is_counted,
            a_comment_that_comes_late_stands_in_its_place_and_one_that_comes_twice_stands_once,
        }
        $crate::rules! {
            judge: $judge, of: store::purges,
            a_purged_run_is_gone_with_everything,
            purging_what_is_gone_is_no_error,
            other_runs_and_other_tenants_are_left_alone,
            the_links_from_the_runs_it_came_from_go_with_it,
            its_key_stays_taken,
            a_delivery_is_owed_until_it_arrives_or_is_given_up,
            a_purged_run_is_in_no_list,
        }
        $crate::rules! {
            judge: $judge, of: store::sweeps,
            open_runs_of_every_tenant_are_found_until_they_end,
            open_runs_of_a_shard_come_oldest_first,
            due_deliveries_are_found_longest_due_first_and_only_while_they_are_owed,
            runs_whose_time_is_over_are_found_longest_gone_first,
            a_run_that_is_to_be_kept_after_all_does_not_expire,
            expired_runs_come_in_pages_of_any_size_each_once,
            a_run_that_is_put_off_stands_where_it_was_put_and_is_as_gone_as_before,
            dead_deliveries_are_found_from_the_first_given_up,
            a_delivery_sent_again_is_due_again_whatever_became_of_it,
        }
        $crate::rules! {
            judge: $judge, of: store::receivers,
            the_health_of_receivers_is_unknown_until_it_is_written_and_read_back_as_it_was,
            of_many_changes_of_one_health_one_is_written,
            the_receivers_of_tenants_are_apart,
        }
        $crate::rules! {
            judge: $judge, of: store::definitions,
            a_draft_is_read_as_version_zero_and_replaced_by_the_next,
            a_draft_that_is_not_there_can_be_deleted,
            a_definition_keeps_everything_that_is_said_of_it,
            a_discoverable_definition_is_found_by_its_id_until_it_is_not_discoverable,
            a_change_that_is_refused_leaves_a_definition_where_it_was,
            discoverable_definitions_of_all_tenants_are_listed_once_each,
            a_tenant_without_settings_has_open_ones,
            tenants_with_settings_are_listed_as_they_were_set_last,
            what_is_declared_is_written_over_the_revision_before_and_no_other,
            a_name_and_a_shared_definition_tell_of_its_versions,
            a_tenant_has_no_more_definitions_than_it_may,
            of_racing_definitions_no_more_are_made_than_may_be,
            of_racing_declarations_none_undoes_another,
        }
        $crate::rules! {
            judge: $judge, of: store::models,
            a_model_is_found_by_each_of_its_ids_until_it_gives_them_up,
            an_id_belongs_to_one_model,
            a_model_is_written_over_the_one_that_was_seen_and_no_other,
            models_are_listed_by_key_as_they_were_declared_last,
            of_racing_models_one_gets_the_id,
        }
        $crate::rules! {
            judge: $judge, of: store::meters,
            what_is_counted_is_read_at_once_and_adds_up,
            windows_and_meters_are_apart,
            of_many_counts_at_once_none_is_lost,
            open_runs_are_read_as_they_were_noted_last,
        }
        $crate::rules! {
            judge: $judge, of: store::lists,
            every_filter_finds_exactly_its_runs_whatever_the_page_size,
            a_bound_finer_than_a_millisecond_means_the_next_one,
            a_cursor_of_another_tenant_filter_or_hand_is_refused,
            a_cursor_of_a_filter_with_another_value_is_refused,
            definitions_versions_and_instances_are_listed_newest_first,
            what_the_operator_declared_is_listed_by_key_as_it_was_declared_last,
        }
    };
}

/// Every store port.
pub trait Ports:
    RecordRun
    + AnswerNode
    + RecordReports
    + RecordUsage
    + ReadQueue
    + CountOnMeter
    + ReadRuns
    + PurgeRuns
    + Deliveries
    + ReceiverHealth
    + Sweep
    + SaveInstance
    + ManageDefinitions
    + ManageOperator
    + ManageModels
    + FindModel
    + Clone
{
}

impl<T> Ports for T where
    T: RecordRun
        + AnswerNode
        + RecordReports
        + RecordUsage
        + ReadQueue
        + CountOnMeter
        + ReadRuns
        + PurgeRuns
        + Deliveries
        + ReceiverHealth
        + Sweep
        + SaveInstance
        + ManageDefinitions
        + ManageOperator
        + ManageModels
        + FindModel
        + Clone
{
}

/// A table, empty, on which a rule is tried.
pub trait Ground {
    type Store: Ports;

    fn ports(&self) -> Self::Store;
    /// Slots held before a limit, and runs that wait for one.
    fn count(&self, queue: &QueueRef) -> impl Future<Output = (i64, i64)>;
    /// Sets both at once: a queue is too long to be filled.
    fn set_count(&self, queue: &QueueRef, held: u32, queued: u32) -> impl Future<Output = ()>;
    /// What the runner writes when a node begins to wait for its answer with a task token.
    fn begin_wait(&self, run: &Run, node: &str, token: &str) -> impl Future<Output = ()>;
    /// What the runner writes when that node has its result.
    fn end_wait(&self, run: &Run, node: &str) -> impl Future<Output = ()>;
    /// Lets an index catch up, between two looks at it.
    fn pause(&self) -> impl Future<Output = ()>;
}
