//! Whether a tenant may start one more run, as far as what it takes from the others goes.
//!
//! **Invariant:** it is asked for a new run only: who repeats an idempotency key is told of the first one. What is counted
//! is what was recorded: a request that was refused costs its tenant nothing.

use crate::catalog::{Found, OpenRunsKey, Wanted};
use crate::flow::{Answer, Refusal};
use crate::id::{RunId, TenantId};
use crate::meter::{Chance, Count, Meter, MeterKey};
use crate::open_runs::OpenRuns;
use crate::ports::CountOnMeter;
use crate::tenant_limits::TenantLimits;
use jiff::Timestamp;

/// What a tenant took when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    starts: MeterKey,
    /// Runs started in this window.
    started: i64,
    open: Option<OpenRuns>,
}

/// What says what a tenant takes.
pub(super) fn needs(tenant: &TenantId, now: Timestamp) -> Wanted {
    Wanted::one(starts(tenant, now)).and(OpenRunsKey(tenant.clone()))
}

/// What a tenant takes. `found` is what there is of what that [`needs`].
pub(super) fn taken(tenant: &TenantId, found: &Found, now: Timestamp) -> Taken {
    let starts = starts(tenant, now);
    let started = found.get(&starts).map_or(0, |reading| reading.0);
    let open = found.get(&OpenRunsKey(tenant.clone())).map(|open| *open).filter(|open| now < open.holds_until());
    Taken { starts, started, open }
}

fn starts(tenant: &TenantId, now: Timestamp) -> MeterKey {
    Meter::Starts(tenant.clone()).at(now)
}

impl Taken {
    /// What is to be counted once the run is recorded, if the tenant may start it.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`], [`Refusal::TooManyOpenRuns`].
    pub(super) fn admit(&self, limits: TenantLimits, run_id: RunId, now: Timestamp) -> Answer<Option<Count>> {
        let limit = limits.starts_per_minute;
        if self.started >= i64::from(limit) {
            return Err(Refusal::RateLimited { limit, retry_after_seconds: self.starts.seconds_left(now) });
        }
        if let Some(open) = self.open
            && open.count >= limits.open_runs
        {
            return Err(Refusal::TooManyOpenRuns { open: open.count, limit: limits.open_runs });
        }
        let weight = Chance::from(run_id).weight(limit);
        Ok(weight.map(|by| Count { key: self.starts.clone(), by }))
    }
}

/// Counts what there is to count.
pub(super) async fn count<S: CountOnMeter>(store: &S, count: Option<&Count>) {
    if let Some(count) = count {
        // One start that nobody counted is no harm.
        let _uncounted = store.count(count).await;
    }
}
