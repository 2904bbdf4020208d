//! How many reads wait at once for a run to end, of a tenant and of all.
//!
//! **Invariants:** a read that does not wait asks for nothing here and counts nothing; one that may not wait is answered with
//! what was read, and never refused.
//!
//! Decision (2026-11-27): a process of Lambda cannot see how many others there are, so the crowd before the function is read
//! from a meter of all waits, against the concurrency that is set aside for the function. A wait is counted when it begins
//! and taken off again, in the same window, when it ends; one whose process died counts until its window is over for the
//! longest wait. So the windows of the last 20 s show those that wait, and some that began up to 5 s before that.

use crate::catalog::{Found, SettingsKey, Wanted};
use crate::flow::allowance;

use crate::id::TenantId;
use crate::limits;
use crate::meter::{Chance, Count, Meter, MeterKey};
use crate::ports::{CountOnMeter, ReadCatalog};
use crate::tenant_limits::TenantLimits;
use crate::together::both;
use jiff::Timestamp;

/// How many reads may wait at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimits {
    /// Of a tenant of which nothing else was said.
    pub tenant: TenantLimits,
    /// Of all tenants.
    pub all: u32,
}

/// Waits of all tenants where nothing is known of the function's concurrency: half of what an account has at first.
const ALL_WAITS: u32 = 500;

impl WaitLimits {
    /// Those of a function for which so much concurrency is set aside; 0 for none. Waits take seven tenths of it at most,
    /// so that there is room for those who do not wait.
    pub fn of(tenant: TenantLimits, set_aside: u32) -> Self {
        let all = match set_aside {
            0 => ALL_WAITS,
            set_aside => (u64::from(set_aside) * 7 / 10).max(1) as u32,
        };
        Self { tenant, all }
    }
}

/// The place that a wait has among those at once.
#[derive(Debug)]
pub(super) struct WaitPlace {
    counts: [Option<Count>; 2],
}

/// A place for a wait of the tenant's, counted; `None` where it would be one too many, or where nobody can tell.
pub(super) async fn enter<S>(
    store: &S,
    limits: WaitLimits,
    tenant: &TenantId,
    chance: Chance,
    now: Timestamp,
) -> Option<WaitPlace>
where
    S: ReadCatalog + CountOnMeter,
{
    let (own, all) = (Meter::Waits(tenant.clone()).at(now), Meter::AllWaits.at(now));
    let wanted = Wanted::one(SettingsKey(tenant.clone())).and_all(lately(&own)).and_all(lately(&all));
    let found = store.read_catalog(&wanted).await.ok()?;
    let most = limits.tenant.with(found.settings(tenant).limits).waits_at_once;
    if waiting(&found, &own) >= i64::from(most) || waiting(&found, &all) >= i64::from(limits.all) {
        return None;
    }
    let count = |key: MeterKey, limit| chance.weight(limit).map(|by| Count { key, by });
    let place = WaitPlace { counts: [count(own, most), count(all, limits.all)] };
    place.count(store, 1).await;
    Some(place)
}

/// The windows in which a wait may have begun that has not ended.
fn lately(key: &MeterKey) -> impl Iterator<Item = MeterKey> {
    let windows = i64::from(limits::WAIT_SECONDS) / key.meter.window().as_secs();
    let MeterKey { meter, window } = key.clone();
    (0..=windows).map(move |back| MeterKey { meter: meter.clone(), window: window - back })
}

fn waiting(found: &Found, key: &MeterKey) -> i64 {
    lately(key).filter_map(|key| found.get(&key)).map(|reading| reading.0).sum()
}

impl WaitPlace {
    /// Gives the place back.
    pub async fn leave<S: CountOnMeter>(self, store: &S) {
        self.count(store, -1).await;
    }

    /// Counts each so many times. What nobody counted is over after 20 s anyway.
    async fn count<S: CountOnMeter>(&self, store: &S, times: i64) {
        let [own, all] = self.counts.clone().map(|count| count.map(|count| Count { by: count.by * times, ..count }));
        both(allowance::count(store, own.as_ref()), allowance::count(store, all.as_ref())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_leave_room_for_those_who_do_not_wait() {
        for (set_aside, all) in [(0, 500), (1, 1), (2, 1), (10, 7), (100, 70), (1_000, 700), (u32::MAX, 3_006_477_106)]
        {
            assert_eq!(WaitLimits::of(TenantLimits::DEFAULT, set_aside).all, all, "{set_aside}");
        }
    }

    #[test]
    fn every_wait_that_has_not_ended_began_in_one_of_the_windows() {
        let begun: Timestamp = "2026-11-22T04:40:03.2Z".parse().expect("a time");
        let key = Meter::AllWaits.at(begun);
        for second in 0..60_i64 {
            let now = begun + jiff::SignedDuration::from_secs(second);
            let is_seen = lately(&Meter::AllWaits.at(now)).any(|window| window == key);
            assert!(is_seen || second > i64::from(limits::WAIT_SECONDS), "{second}");
            assert!(!is_seen || second <= i64::from(limits::WAIT_SECONDS) + 5, "{second}");
        }
    }
}
