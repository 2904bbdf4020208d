//! How long an ended run is kept.

use crate::lifecycle::RunStatus;
use crate::limits;
use crate::number::{whole, whole_option};
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

/// What is to be changed of such a rule: what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ChangeRetention)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetentionChange {
    /// Seconds from its end: 1 to 315,360,000 (ten years). `-1` keeps it for good.
    #[schema(minimum = -1, maximum = 315360000)]
    #[serde(deserialize_with = "whole_option")]
    pub max_age_seconds: Option<i64>,
    /// Keep a run that FAILED for good.
    pub preserve_on_failure: Option<bool>,
}

impl RetentionChange {
    /// The rule in the place of this one. A run without a rule is kept for good.
    pub fn of(self, rule: Option<Retention>) -> Retention {
        let rule = rule.unwrap_or(Retention { max_age_seconds: Retention::KEEP, preserve_on_failure: false });
        Retention {
            max_age_seconds: self.max_age_seconds.unwrap_or(rule.max_age_seconds),
            preserve_on_failure: self.preserve_on_failure.unwrap_or(rule.preserve_on_failure),
        }
    }
}

impl From<Retention> for RetentionChange {
    fn from(rule: Retention) -> Self {
        Self { max_age_seconds: Some(rule.max_age_seconds), preserve_on_failure: Some(rule.preserve_on_failure) }
    }
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
    fn what_a_change_leaves_out_stays_as_it_is() {
        let rule = |max_age_seconds, preserve_on_failure| Retention { max_age_seconds, preserve_on_failure };
        for (said, before, after) in [
            ("{}", Some(rule(60, true)), rule(60, true)),
            (r#"{"maxAgeSeconds":5}"#, Some(rule(60, true)), rule(5, true)),
            (r#"{"maxAgeSeconds":null,"preserveOnFailure":false}"#, Some(rule(60, true)), rule(60, false)),
            (r#"{"preserveOnFailure":true}"#, Some(rule(60, false)), rule(60, true)),
            (r#"{"maxAgeSeconds":5.0,"preserveOnFailure":true}"#, Some(rule(60, false)), rule(5, true)),
            // Without a rule a run is kept for good.
            ("{}", None, rule(Retention::KEEP, false)),
            (r#"{"preserveOnFailure":true}"#, None, rule(Retention::KEEP, true)),
            (r#"{"maxAgeSeconds":5}"#, None, rule(5, false)),
        ] {
            let change: RetentionChange = serde_json::from_str(said).expect("a change");
            assert_eq!(change.of(before), after, "{said} of {before:?}");
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
