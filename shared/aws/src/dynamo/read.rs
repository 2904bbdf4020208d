//! Lists of runs, and what belongs to a run.

use super::page::{Range, Walk};
use super::{Store, corrupt, item, keys};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use sluice_core::callback::{Attempt, Delivery};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{Page, ReadRuns, RunFilter, StoreResult};
use sluice_core::run::Run;
use sluice_core::step::Step;
use sluice_core::time::rfc3339_millis;
use std::collections::BTreeMap;

/// Replays of a run that a list shows, at most.
const MOST_REPLAYS: i32 = 100;

impl ReadRuns for Store {
    async fn list_runs(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Run>> {
        let Some(walk) = walk(tenant, filter) else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let key = |position: &str| Some(keys::run_head(tenant, keys::id_in_time_key(position)?));
        self.page(&walk, limit, cursor, key, item::to_run).await
    }

    async fn list_steps(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<Step>> {
        const OPERATION: &str = "list a run's steps";
        let steps = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::STEPS);
        let items = self.all(&Walk { only: item::STEP_WITHOUT_RESULT, ..steps }).await?;
        items.into_iter().map(item::to_step).collect::<Result<_, _>>().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_step(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId) -> StoreResult<Option<Step>> {
        const OPERATION: &str = "load a step";
        let found = self.get(OPERATION, keys::step(tenant, run_id, node_id)).await?;
        found.map(item::to_step).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn list_replays(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<RunId>> {
        const OPERATION: &str = "list a run's replays";
        let replays = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::REPLAYS);
        // The newest, should there be more.
        let newest_first = Walk { ascending: false, ..replays };
        let (items, _) = self.query(&newest_first, Some(MOST_REPLAYS), None).await?;
        items.iter().map(item::to_replay).collect::<Result<_, _>>().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_output(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<String>> {
        const OPERATION: &str = "load a run's output";
        let found = self.get(OPERATION, keys::output(tenant, run_id)).await?;
        found.as_ref().map(item::to_output).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn list_deliveries(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<(Delivery, Vec<Attempt>)>> {
        const OPERATION: &str = "list a run's deliveries";
        // Two queries, because the bodies lie between them and are large.
        let under = |prefix| Walk::under(OPERATION, keys::run_pk(tenant, run_id), prefix);
        let (deliveries, attempts) = (under(keys::DELIVERIES), under(keys::ATTEMPTS));
        let (deliveries, attempts) = tokio::try_join!(self.all(&deliveries), self.all(&attempts))?;
        let corrupt = |error| corrupt(OPERATION, error);
        let mut by_delivery: BTreeMap<u32, Vec<Attempt>> = BTreeMap::new();
        for attempt in attempts {
            let (delivery, attempt) = item::to_attempt(attempt).map_err(corrupt)?;
            by_delivery.entry(delivery).or_default().push(attempt);
        }
        deliveries
            .into_iter()
            .map(|delivery| {
                let delivery = item::to_delivery(delivery).map_err(corrupt)?;
                let attempts = by_delivery.remove(&delivery.number).unwrap_or_default();
                Ok((delivery, attempts))
            })
            .collect()
    }
}

/// The narrowest index for a filter, or `None` when nothing can match.
fn walk(tenant: &TenantId, filter: &RunFilter) -> Option<Walk> {
    let by_tenant = || (keys::BY_TENANT, (keys::TENANT_KEY, keys::runs_of_tenant(tenant)));
    let in_status = |status| (keys::STATUS_KEY, keys::runs_in_status(tenant, status));
    let of_definition = |id| (keys::DEFINITION_KEY, keys::runs_of_definition(tenant, id));
    let ((index, partition), filtered) = match (filter.status, filter.definition_id) {
        (None, None) => (by_tenant(), None),
        (Some(status), None) => ((keys::BY_STATUS, in_status(status)), None),
        (None, Some(id)) => ((keys::BY_DEFINITION, of_definition(id)), None),
        // Few runs are open at a time, so an open status narrows more than a definition does; an ended one less.
        (Some(status), Some(id)) if status.is_terminal() => {
            ((keys::BY_DEFINITION, of_definition(id)), Some(in_status(status)))
        }
        (Some(status), Some(id)) => ((keys::BY_STATUS, in_status(status)), Some(of_definition(id))),
    };
    // Sort keys are a time and an id: the bare time lies before every run of that millisecond.
    let bound = |at: Option<Timestamp>| at.map(|at| rfc3339_millis(next_milli(at)));
    let range = match (bound(filter.created_from), bound(filter.created_before)) {
        (None, None) => Range::All,
        (Some(from), None) => Range::From(from),
        (None, Some(before)) => Range::Below(before),
        (Some(from), Some(before)) if from < before => Range::Between(from, before),
        (Some(_), Some(_)) => return None,
    };
    let operation = "list runs";
    let sort = keys::TIME_KEY;
    Some(Walk {
        operation,
        index: Some(index),
        partition,
        sort,
        range,
        filter: filtered,
        only: &[],
        ascending: filter.ascending,
    })
}

/// Runs are kept to the millisecond, so a finer bound means the next one.
fn next_milli(at: Timestamp) -> Timestamp {
    at.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Ceil)).unwrap_or(at)
}
