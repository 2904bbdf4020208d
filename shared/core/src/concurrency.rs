//! How many runs may be open at once, for a tenant and for a definition, and what becomes of one more.
//!
//! **Invariants:** a slot is taken and freed in the transaction that changes the run's status, so the slots held are the
//! open runs that hold one; a run waits in one queue at a time, and leaves it in the transaction that moves it on.

use crate::id::{DefinitionId, TenantId};
use crate::limits;
use crate::number::whole;
use crate::place::{At, Part};
use crate::violation::{Invalid, ViolationCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A limit, and what happens at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// Open runs at once: 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1000000)]
    #[serde(deserialize_with = "whole")]
    pub max_concurrent_runs: u32,
    #[serde(default)]
    pub on_limit: OnLimit,
}

/// What becomes of a run that is asked for while every slot is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLimit {
    /// It is refused: 429 with `Retry-After`.
    #[default]
    Reject,
    /// It waits as `QUEUED`, and starts in its turn.
    Queue,
}

impl Concurrency {
    /// Reports what is wrong with the limit, below `at`.
    pub fn check(&self, at: &At<'_>, invalid: &mut Invalid) {
        let allowed = limits::CONCURRENT_RUNS;
        if !allowed.contains(&self.max_concurrent_runs) {
            let message = format_args!("must be from {} to {}", allowed.start(), allowed.end());
            invalid.add(at.part(Part::MaxConcurrentRuns), ViolationCode::OutOfRange, message);
        }
    }
}

/// What a limit, its slots and its queue belong to. In the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotScope {
    /// The tenant's runs of one definition.
    Definition,
    /// All runs of the tenant.
    Tenant,
}

impl SlotScope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Tenant => "tenant",
        }
    }
}

/// A limit that applies to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub scope: SlotScope,
    pub concurrency: Concurrency,
}

/// The limits that apply to a run, the definition's first.
pub fn limits_of(definition: Option<Concurrency>, tenant: Option<Concurrency>) -> Vec<Limit> {
    [(SlotScope::Definition, definition), (SlotScope::Tenant, tenant)]
        .into_iter()
        .filter_map(|(scope, concurrency)| Some(Limit { scope, concurrency: concurrency? }))
        .collect()
}

/// Names the counter of a scope, and the queue before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueRef {
    pub tenant_id: TenantId,
    /// `None` for all runs of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition_id: Option<DefinitionId>,
}

impl QueueRef {
    /// That of `scope` for the tenant's runs of a definition.
    pub fn of(tenant: &TenantId, definition_id: DefinitionId, scope: SlotScope) -> Self {
        Self {
            tenant_id: tenant.clone(),
            definition_id: match scope {
                SlotScope::Definition => Some(definition_id),
                SlotScope::Tenant => None,
            },
        }
    }

    pub const fn scope(&self) -> SlotScope {
        match self.definition_id {
            Some(_) => SlotScope::Definition,
            None => SlotScope::Tenant,
        }
    }
}

/// How a run that is recorded comes by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It takes a slot of each of these limits, if each has one free and nobody waits for it.
    Slots(Vec<Limit>),
    /// It joins the queue before this limit, if the limit is reached or others wait already.
    Queue(Limit),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_written_by_its_own_name() {
        for scope in [SlotScope::Definition, SlotScope::Tenant] {
            assert_eq!(serde_json::to_value(scope).expect("JSON"), scope.as_str());
        }
    }
}
