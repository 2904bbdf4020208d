//! How long an ended run is kept.

use crate::lifecycle::RunStatus;
use crate::limits;
use crate::number::whole;
use crate::place::{At, Part};
use crate::violation::{Invalid, ViolationCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long an ended run is kept. Without a rule it is kept for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// Seconds from its end: 1 to 315,360,000 (ten years). `-1` keeps it for good.
    #[schema(minimum = -1, maximum = 315360000)]
    #[serde(deserialize_with = "whole")]
    pub max_age_seconds: i64,
    /// Keep a run that FAILED for good.
    #[serde(default)]
    pub preserve_on_failure: bool,
}

impl Retention {
    /// `max_age_seconds` of what is kept for good.
    pub const KEEP: i64 = -1;

    /// Reports what is wrong with the rule, below `at`.
    pub fn check(&self, at: &At<'_>, invalid: &mut Invalid) {
        if self.max_age_seconds != Self::KEEP && !(1..=limits::RETENTION_SECONDS).contains(&self.max_age_seconds) {
            let most = limits::RETENTION_SECONDS;
            let message = format_args!("must be from 1 to {most} seconds, or -1 to keep for good");
            invalid.add(at.part(Part::MaxAge), ViolationCode::OutOfRange, message);
        }
    }

    /// From when a run that ended so is gone; `None` when it is kept for good.
    pub fn due_at(&self, status: RunStatus, completed_at: Timestamp) -> Option<Timestamp> {
        let is_kept = self.max_age_seconds == Self::KEEP || (self.preserve_on_failure && status == RunStatus::Failed);
        (!is_kept).then(|| completed_at + SignedDuration::from_secs(self.max_age_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Field;

    #[test]
    fn a_run_is_due_by_its_end_its_age_and_how_it_ended() {
        let end = Timestamp::UNIX_EPOCH;
        let after = |seconds| Some(end + SignedDuration::from_secs(seconds));
        for (max_age_seconds, preserve_on_failure, status, due) in [
            (60, false, RunStatus::Succeeded, after(60)),
            (60, false, RunStatus::Failed, after(60)),
            (60, true, RunStatus::Succeeded, after(60)),
            (60, true, RunStatus::Canceled, after(60)),
            (60, true, RunStatus::Failed, None),
            (Retention::KEEP, false, RunStatus::Succeeded, None),
        ] {
            let retention = Retention { max_age_seconds, preserve_on_failure };
            assert_eq!(retention.due_at(status, end), due, "{retention:?} {status:?}");
        }
    }

    #[test]
    fn only_a_bounded_age_or_none_is_a_rule() {
        for (seconds, is_valid) in
            [(-2, false), (-1, true), (0, false), (1, true), (315_360_000, true), (315_360_001, false)]
        {
            let mut invalid = Invalid::default();
            let rule = Retention { max_age_seconds: seconds, preserve_on_failure: false };
            rule.check(&Field::Retention.at(), &mut invalid);
            assert_eq!(invalid.is_empty(), is_valid, "{seconds}");
        }
    }
}
