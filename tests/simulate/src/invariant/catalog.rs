//! A change that was answered counts at once: whatever a run was admitted by was in force at some moment between the request
//! and its answer.

use super::{Check, Ledger, broken};
use sluice_core::concurrency::{Concurrency, OnLimit, SlotScope};
use sluice_core::id::{DefinitionId, RunId, TenantId};
use sluice_core::run::Run;
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

/// Counts the changes of what admits runs.
pub type Moment = u64;

/// What admits the runs that a tenant makes of one of its definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    active: Option<u32>,
    deprecated: BTreeSet<u32>,
    limits: BTreeMap<SlotScope, Concurrency>,
    /// The only origins of callbacks.
    destinations: Option<Vec<String>>,
    admitted_by_node: bool,
    admitted_by_processors: bool,
}

impl Standing {
    fn now(store: &MemoryStore, tenant: &TenantId, id: DefinitionId) -> Self {
        let definition = store.definition(tenant, id);
        let settings = store.tenant_settings(tenant);
        let of_definition = definition.as_ref().and_then(|definition| definition.concurrency);
        let of_tenant = settings.as_ref().and_then(|settings| settings.concurrency);
        let limits = [(SlotScope::Definition, of_definition), (SlotScope::Tenant, of_tenant)];
        let (admitted_by_node, admitted_by_processors) = store.admits(tenant, &crate::world::compute_node_of(id));
        Self {
            active: definition.as_ref().and_then(|definition| definition.active_version),
            deprecated: definition.map(|definition| definition.deprecated_versions).unwrap_or_default(),
            limits: limits.into_iter().filter_map(|(scope, limit)| Some((scope, limit?))).collect(),
            destinations: settings.and_then(|settings| settings.destinations),
            admitted_by_node,
            admitted_by_processors,
        }
    }

    fn lists(&self, url: Option<&str>) -> bool {
        let origin = url.map(crate::receiver::origin);
        origin.is_none_or(|origin| self.destinations.as_ref().is_none_or(|list| list.contains(&origin)))
    }

    fn makes_runs(&self, url: Option<&str>) -> bool {
        self.active.is_some_and(|active| !self.deprecated.contains(&active))
            && self.admitted_by_node
            && self.admitted_by_processors
            && self.lists(url)
    }
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    moment: Moment,
    standings: BTreeMap<(TenantId, DefinitionId), Vec<(Moment, Standing)>>,
    /// When the request for a run began.
    begun: BTreeMap<RunId, Moment>,
}

impl Ledger {
    /// Keeps the history of what admits runs.
    pub fn watch_catalog(&mut self, store: &MemoryStore) {
        self.catalog.moment += 1;
        for tenant in crate::world::tenants() {
            for id in crate::world::definitions() {
                let standing = Standing::now(store, &tenant, id);
                let history = self.catalog.standings.entry((tenant.clone(), id)).or_default();
                if history.last().is_none_or(|(_, last)| *last != standing) {
                    history.push((self.catalog.moment, standing));
                }
            }
        }
    }

    /// A request for a run begins.
    pub fn begins(&mut self, run_id: RunId) {
        self.catalog.begun.insert(run_id, self.catalog.moment);
    }

    /// What was in force since the request for a run began.
    fn standings(&self, tenant: &TenantId, id: DefinitionId, run_id: RunId) -> impl Iterator<Item = &Standing> + Clone {
        let history = self.catalog.standings.get(&(tenant.clone(), id)).map(Vec::as_slice).unwrap_or_default();
        let begun = self.catalog.begun.get(&run_id).copied().unwrap_or(0);
        let first = history.iter().rposition(|(at, _)| *at <= begun).unwrap_or(0);
        history[first..].iter().map(|(_, standing)| standing)
    }

    /// A caller was told that a request made this run, with a callback to `url`.
    pub fn told_admitted(&self, run: &Run, url: Option<&str>) -> Check {
        let since = self.standings(&run.tenant_id, run.spec.definition_id, run.run_id);
        let any = |holds: &dyn Fn(&Standing) -> bool| since.clone().any(holds);
        let fault = if !any(&|now| now.active == Some(run.spec.version) && !now.deprecated.contains(&run.spec.version))
        {
            "its version was not the active one, or deprecated"
        } else if !any(&|now| now.admitted_by_node) {
            "its compute node did not admit its tenant"
        } else if !any(&|now| now.admitted_by_processors) {
            "a processor did not admit its tenant"
        } else if !any(&|now| now.lists(url)) {
            "its callback was not on the tenant's list"
        } else {
            return Ok(());
        };
        broken("C1", format!("run {} was admitted although {fault}, ever since its request began", run.run_id))
    }

    /// A run appears: it is held to limits that were in force.
    pub(super) fn check_admitted(&self, run: &Run, store: &MemoryStore) -> Check {
        if !self.catalog.begun.contains_key(&run.run_id) || run.status().is_terminal() {
            return Ok(());
        }
        let since = self.standings(&run.tenant_id, run.spec.definition_id, run.run_id);
        for scope in [SlotScope::Definition, SlotScope::Tenant] {
            let mut limits = since.clone().map(|now| now.limits.get(&scope));
            let held = store.counter(&run.queue(scope)).held;
            let is_held_to_it = if run.slots.contains(&scope) {
                limits.any(|limit| limit.is_some_and(|limit| held <= i64::from(limit.max_concurrent_runs)))
            } else if run.state.queue() == Some(scope) {
                limits.any(|limit| limit.is_some_and(|limit| limit.on_limit == OnLimit::Queue))
            } else {
                run.state.queue().is_some() || limits.any(|limit| limit.is_none())
            };
            if !is_held_to_it {
                let text = format!("run {} is not held to the limit of {scope:?} since its request began", run.run_id);
                return broken("C1", text);
            }
        }
        Ok(())
    }

    /// Whether a request for a run could be refused for what was in force since it began.
    pub fn could_be_refused(&self, tenant: &TenantId, id: DefinitionId, run_id: RunId, url: Option<&str>) -> bool {
        self.standings(tenant, id, run_id).any(|now| !now.makes_runs(url))
    }
}
