//! Steps: what happened to each node of a run. The runner writes them; this module reads them.
//!
//! Decision (2026-11-22): step items are never rewritten when a run ends: a step whose end was recorded after its
//! run's is shown `CANCELED` at the run's end. A late write loses by the rule of reading.
//!
//! Decision (2026-11-22): a refused step write fails the node (`Sluice.StepClosed`) instead of being passed over:
//! an ended run invokes no processor.
//!
//! Decision (2026-11-22): what callers write as JSON is passed on exactly, while a processor's result passes
//! through JSONata's `$string`, which keeps 15 significant digits.

use crate::board::Fan;
use crate::id::{NodeId, RunId};
use crate::lifecycle::RunStatus;
use crate::report::Progress;
use crate::run::{Run, RunError};
use jiff::Timestamp;
use utoipa::ToSchema;

/// One node of one run, as the runner recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub run_id: RunId,
    pub node_id: NodeId,
    pub node_type: String,
    pub stage: u32,
    pub status: StepStatus,
    /// Attempts begun, from 1.
    pub attempt: u32,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// JSON text. Left out of lists.
    pub result: Option<String>,
    pub result_bytes: Option<u64>,
    pub error: Option<RunError>,
    /// What its worker said last.
    pub progress: Option<Progress>,
    /// Of a loop: the iteration that it is in, or was in last, from 1.
    pub iteration: Option<u32>,
    /// Of a fan-out: how far it has come.
    pub fan: Option<Fan>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub enum StepStatus {
    Running,
    /// An external node that waits for its answer.
    Waiting,
    Succeeded,
    Failed,
    /// Under way when its run ended.
    Canceled,
    /// Its condition did not hold, or the run starts behind or beside it: only shown, never stored.
    Skipped,
    /// Not begun when its run ended, or not begun yet: only shown, never stored.
    Pending,
}

impl StepStatus {
    pub const ALL: [Self; 7] =
        [Self::Running, Self::Waiting, Self::Succeeded, Self::Failed, Self::Canceled, Self::Skipped, Self::Pending];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Skipped => "SKIPPED",
            Self::Pending => "PENDING",
        }
    }
}

impl std::str::FromStr for StepStatus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or("not a step's status")
    }
}

impl Step {
    /// The step as its run allows it to be seen. After a stop, work in flight may still record its end: such a late
    /// write loses, because a run that was not carried to its end closes its open steps at its own end.
    pub fn as_seen_in(mut self, run: &Run) -> Self {
        let Some(ended) = run.state.ended().filter(|ended| ended.reason.status() != RunStatus::Succeeded) else {
            return self;
        };
        let completed_at = ended.completed_at;
        let ended_in_time = self.ended_at.is_some_and(|ended_at| ended_at <= completed_at);
        if !ended_in_time {
            self.status = StepStatus::Canceled;
            self.ended_at = Some(completed_at.max(self.started_at.unwrap_or(completed_at)));
            self.result = None;
            self.result_bytes = None;
            self.error = None;
        }
        self
    }
}
