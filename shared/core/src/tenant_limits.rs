//! How much of the service one tenant may take, so that nobody is held up by another: the deployment says it for all, and
//! the operator for those that need something else.
//!
//! **Invariant:** every tenant has all of these limits, whether anything was said of it or not.
//!
//! Decision (2026-11-27): these bound what a tenant takes from the others, and are counted as cheaply as that allows: starts
//! and waits by meters that are right to about a tenth, open runs by what the sweep saw last, a minute or
//! two ago. Who needs a limit that is never passed, of runs at once, has [`Concurrency`](crate::concurrency::Concurrency),
//! which counts exactly. Definitions are counted exactly, because they are made seldom.

use crate::limits;
use crate::number::whole_option;
use crate::place::{At, Part};
use crate::violation::{Invalid, ViolationCode};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// What a tenant may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// Runs started in a minute of the clock: created, invoked or replayed.
    pub starts_per_minute: u32,
    /// Reads that wait for a run to end at once.
    pub waits_at_once: u32,
    /// Runs that have not ended.
    pub open_runs: u32,
    /// Definitions that it has.
    pub definitions: u32,
}

impl TenantLimits {
    /// Those of a deployment that says nothing of its own: generous to a tenant, and far below what an account of AWS has.
    pub const DEFAULT: Self =
        Self { starts_per_minute: 3_000, waits_at_once: 200, open_runs: 100_000, definitions: 1_000 };

    /// With what the operator has said of a tenant.
    #[must_use]
    pub fn with(self, own: OwnLimits) -> Self {
        Self {
            starts_per_minute: own.starts_per_minute.unwrap_or(self.starts_per_minute),
            waits_at_once: own.waits_at_once.unwrap_or(self.waits_at_once),
            open_runs: own.open_runs.unwrap_or(self.open_runs),
            definitions: own.definitions.unwrap_or(self.definitions),
        }
    }
}

/// What the operator has said of one tenant. Where nothing is said, the deployment's own limit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TenantLimits)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnLimits {
    /// Runs that it may start in a minute: created, invoked or replayed.
    #[schema(minimum = 1, maximum = 1000000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub starts_per_minute: Option<u32>,
    /// Reads with `waitSeconds` that may wait at once. One more is answered at once with the run as it is.
    #[schema(minimum = 1, maximum = 100000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub waits_at_once: Option<u32>,
    /// Runs that may be open, as the sweep counted them last. For fewer, `concurrency` counts exactly.
    #[schema(minimum = 100, maximum = 10000000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub open_runs: Option<u32>,
    /// Definitions that it may have.
    #[schema(minimum = 1, maximum = 1000000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub definitions: Option<u32>,
}

impl OwnLimits {
    /// Whether the operator has said nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reports what is wrong with the limits, below `at`.
    pub fn check(&self, at: &At<'_>, invalid: &mut Invalid) {
        let mut check = |part, value: Option<u32>, allowed: RangeInclusive<u32>| {
            if value.is_some_and(|value| !allowed.contains(&value)) {
                let message = format_args!("must be from {} to {}", allowed.start(), allowed.end());
                invalid.add(at.part(part), ViolationCode::OutOfRange, message);
            }
        };
        check(Part::StartsPerMinute, self.starts_per_minute, limits::TENANT_STARTS_PER_MINUTE);
        check(Part::WaitsAtOnce, self.waits_at_once, limits::TENANT_WAITS_AT_ONCE);
        check(Part::OpenRuns, self.open_runs, limits::TENANT_OPEN_RUNS);
        check(Part::Definitions, self.definitions, limits::TENANT_DEFINITIONS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Field;

    /// Each limit, as the operator says it.
    fn each(value: u32) -> [OwnLimits; 4] {
        let none = OwnLimits::default();
        [
            OwnLimits { starts_per_minute: Some(value), ..none },
            OwnLimits { waits_at_once: Some(value), ..none },
            OwnLimits { open_runs: Some(value), ..none },
            OwnLimits { definitions: Some(value), ..none },
        ]
    }

    #[test]
    fn whoever_says_one_limit_has_said_something() {
        assert!(OwnLimits::default().is_empty());
        for said in each(1_000) {
            assert!(!said.is_empty(), "{said:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_tenant_counts_and_the_rest_is_the_deployments() {
        let all = TenantLimits::DEFAULT;
        assert_eq!(all.with(OwnLimits::default()), all);
        let [starts, waits, open, definitions] = each(777).map(|own| all.with(own));
        assert_eq!(starts, TenantLimits { starts_per_minute: 777, ..all });
        assert_eq!(waits, TenantLimits { waits_at_once: 777, ..all });
        assert_eq!(open, TenantLimits { open_runs: 777, ..all });
        assert_eq!(definitions, TenantLimits { definitions: 777, ..all });
    }

    #[test]
    fn each_limit_has_its_bounds_and_says_where_it_is_out_of_them() {
        let parts = [Part::StartsPerMinute, Part::WaitsAtOnce, Part::OpenRuns, Part::Definitions];
        let bounds = [
            limits::TENANT_STARTS_PER_MINUTE,
            limits::TENANT_WAITS_AT_ONCE,
            limits::TENANT_OPEN_RUNS,
            limits::TENANT_DEFINITIONS,
        ];
        let at = Field::TenantLimits.at();
        for (index, (part, allowed)) in parts.into_iter().zip(bounds).enumerate() {
            let (least, most) = (*allowed.start(), *allowed.end());
            for (value, is_allowed) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
                let mut invalid = Invalid::default();
                each(value)[index].check(&at, &mut invalid);
                let places: Vec<_> = invalid.violations.into_iter().map(|violation| violation.place).collect();
                let expected = (!is_allowed).then(|| at.part(part).place());
                assert_eq!(places, Vec::from_iter(expected), "{part:?} {value}");
            }
        }
    }

    #[test]
    fn the_defaults_are_among_what_an_operator_may_say() {
        let TenantLimits { starts_per_minute, waits_at_once, open_runs, definitions } = TenantLimits::DEFAULT;
        let said = OwnLimits {
            starts_per_minute: Some(starts_per_minute),
            waits_at_once: Some(waits_at_once),
            open_runs: Some(open_runs),
            definitions: Some(definitions),
        };
        let mut invalid = Invalid::default();
        said.check(&Field::TenantLimits.at(), &mut invalid);
        assert!(invalid.is_empty(), "{invalid}");
    }
}
