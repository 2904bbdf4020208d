//! Lists of runs, and what belongs to a run.

use super::page::{Filter, Range, Walk};
use super::{Store, corrupt, item, keys};
use item::Item;
use jiff::Timestamp;
use keys::{Key, Link};
use sluice_core::delivery::{Attempt, Delivery};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::limits;
use sluice_core::ports::{Page, ReadRuns, RunFilter, RunLinks, StoreResult};
use sluice_core::report::{AnswerHead, Comment, NodeOutcome};
use sluice_core::run::Run;
use sluice_core::step::Step;
use sluice_core::usage::LlmCall;
use std::collections::BTreeMap;

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

    async fn load_steps(&self, tenant: &TenantId, run_id: RunId, node_ids: &[NodeId]) -> StoreResult<Vec<Step>> {
        const OPERATION: &str = "load some of a run's steps";
        let steps: Vec<Key> = node_ids.iter().map(|node_id| keys::step(tenant, run_id, node_id)).collect();
        let items = self.get_all(OPERATION, &steps, item::STEP_WITHOUT_RESULT).await?;
        items.into_iter().map(item::to_step).collect::<Result<_, _>>().map_err(|error| corrupt(OPERATION, error))
    }

    async fn list_steps(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<Step>> {
        const OPERATION: &str = "list a run's steps";
        let steps = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::STEPS);
        let items = self.all(&Walk { only: item::STEP_WITHOUT_RESULT, ..steps }).await?;
        items.into_iter().map(item::to_step).collect::<Result<_, _>>().map_err(|error| corrupt(OPERATION, error))
    }

    async fn list_links(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<RunLinks> {
        let (replays, evaluations) =
            tokio::try_join!(self.linked(tenant, run_id, Link::Replay), self.linked(tenant, run_id, Link::Evaluation))?;
        Ok(RunLinks { replays, evaluations })
    }

    async fn list_inputs(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<AnswerHead>> {
        const OPERATION: &str = "list a run's inputs";
        let inputs = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::INPUTS);
        let items = self.all(&inputs).await?;
        items.iter().map(item::to_input).collect::<Result<_, _>>().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_inputs(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        answers: &[&AnswerHead],
    ) -> StoreResult<Vec<NodeOutcome>> {
        const OPERATION: &str = "load what a run was given";
        let keys: Vec<Key> = answers.iter().map(|head| keys::given(tenant, run_id, &head.key)).collect();
        let mut found: BTreeMap<Key, Item> = BTreeMap::new();
        for item in self.get_all(OPERATION, &keys, &[]).await? {
            found.extend(Key::of(&item).map(|key| (key, item)));
        }
        let outcome = |key: Key| {
            let item = found.get(&key).ok_or_else(|| corrupt(OPERATION, format!("there is no {}", key.sk)))?;
            item::to_given(item).map_err(|error| corrupt(OPERATION, error))
        };
        keys.into_iter().map(outcome).collect()
    }

    async fn list_usage(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<LlmCall>> {
        let pk = keys::run_pk(tenant, run_id);
        let walk = Walk::under("list a run's usage", pk.clone(), keys::USAGE_CALLS);
        self.page(&walk, limit, cursor, under(&pk, keys::USAGE_CALLS), item::to_usage).await
    }

    async fn list_comments(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Comment>> {
        let pk = keys::run_pk(tenant, run_id);
        let walk = Walk::under("list a run's comments", pk.clone(), keys::COMMENTS);
        self.page(&walk, limit, cursor, under(&pk, keys::COMMENTS), item::to_comment).await
    }

    async fn load_request(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<String>> {
        const OPERATION: &str = "load what a run was made from";
        let found = self.get(OPERATION, keys::request(tenant, run_id)).await?;
        found.as_ref().map(item::to_request).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_output(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<String>> {
        const OPERATION: &str = "load a run's output";
        let found = self.get(OPERATION, keys::output(tenant, run_id)).await?;
        found.as_ref().map(item::to_output).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn list_deliveries(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<(Delivery, Vec<Attempt>)>> {
        const OPERATION: &str = "list a run's deliveries";
        let under = |range| Walk { range, ..Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::DELIVERIES) };
        // The bodies lie between the deliveries and their attempts, and are large.
        let mut listed = Vec::new();
        for delivery in self.all(&under(Range::Prefix(keys::DELIVERIES))).await? {
            let delivery = item::to_delivery(delivery).map_err(|error| corrupt(OPERATION, error))?;
            let (from, to) = keys::attempts(delivery.number);
            let newest_first = Walk { ascending: false, ..under(Range::Between(from, to)) };
            let attempts = self.first(&newest_first, limits::DELIVERY_ATTEMPTS).await?;
            let attempts =
                attempts.into_iter().rev().map(|found| Ok(item::to_attempt(found)?.1)).collect::<item::ItemResult<_>>();
            listed.push((delivery, attempts.map_err(|error| corrupt(OPERATION, error))?));
        }
        Ok(listed)
    }
}

impl Store {
    async fn linked(&self, tenant: &TenantId, run_id: RunId, link: Link) -> StoreResult<Vec<RunId>> {
        const OPERATION: &str = "list what was made from a run";
        let links = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::links(link));
        // The newest, should there be more.
        let items = self.first(&Walk { ascending: false, ..links }, limits::LINKED_RUNS).await?;
        let read = items.iter().map(|found| item::to_link(link, found)).collect::<Result<_, _>>();
        read.map_err(|error| corrupt(OPERATION, error))
    }
}

/// The table key of an item whose sort key starts with `prefix`.
fn under(pk: &str, prefix: &'static str) -> impl Fn(&str) -> Option<Key> {
    move |position| position.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(|_| Key::new(pk, position))
}

/// The narrowest index for a filter, with what it leaves open as conditions; `None` when nothing can match.
fn walk(tenant: &TenantId, filter: &RunFilter) -> Option<Walk> {
    let by_tenant = (keys::BY_TENANT, (keys::TENANT_KEY, keys::runs_of_tenant(tenant)));
    let in_status = |status| (keys::BY_STATUS, (keys::STATUS_KEY, keys::runs_in_status(tenant, status)));
    let of_definition = |id| (keys::BY_DEFINITION, (keys::DEFINITION_KEY, keys::runs_of_definition(tenant, id)));
    let mut statuses = filter.statuses.iter();
    let only_status = statuses.next().filter(|_| statuses.next().is_none()).copied();
    // Few runs are open at a time, so an open status narrows more than a definition does; an ended one less.
    let (index, partition) = match (only_status, filter.definition_id) {
        (Some(status), Some(_)) if !status.is_terminal() => in_status(status),
        (_, Some(id)) => of_definition(id),
        (Some(status), None) => in_status(status),
        (None, None) => by_tenant,
    };
    let mut filters = Vec::new();
    if !filter.statuses.is_empty() && index != keys::BY_STATUS {
        let any_of = filter.statuses.iter().map(|status| status.as_str().to_owned()).collect();
        filters.push(Filter { path: vec!["status".to_owned()], any_of });
    }
    if let Some(id) = filter.definition_id.filter(|_| index != keys::BY_DEFINITION) {
        filters.push(Filter::new("definitionId", id.to_string()));
    }
    if let Some(id) = filter.instance_id {
        filters.push(Filter::new("instanceId", id.to_string()));
    }
    if let Some((name, value)) = &filter.label {
        filters.push(Filter { path: vec!["labels".to_owned(), name.clone()], any_of: vec![value.clone()] });
    }
    if let Some(principal) = &filter.created_by {
        filters.push(Filter::new("createdBy", principal));
    }
    for (attribute, original) in [("replayOf", filter.replay_of), ("evaluationOf", filter.evaluation_of)] {
        if let Some(id) = original {
            filters.push(Filter::new(attribute, id.to_string()));
        }
    }
    // Sort keys are a time and an id: the bare time lies before every run of that millisecond.
    let bound = |at: Option<Timestamp>| at.map(keys::from_time);
    let range = match (bound(filter.created_from), bound(filter.created_before)) {
        (None, None) => Range::All,
        (Some(from), None) => Range::From(from),
        (None, Some(before)) => Range::Below(before),
        (Some(from), Some(before)) if from < before => Range::Between(from, before),
        (Some(_), Some(_)) => return None,
    };
    let walk = Walk::of_index("list runs", index, partition, keys::TIME_KEY);
    Some(Walk { range, filters, ascending: filter.ascending, ..walk })
}
