//! The outside world, one narrow trait per verb. Each trait's documentation is its contract: the memory ports of the
//! testkit and the adapters of `sluice-aws` are held to the same words by the same tests.

pub mod board;
pub mod catalog;
pub mod definition;
pub mod delivery;
pub mod engine;
pub mod governor;
pub mod meter;
pub mod model;
pub mod run;
pub mod store;
pub mod sweep;

pub use board::{BoardChange, Boards, StepPart, WaitingWorker};
pub use catalog::{ReadCatalog, SaveInstance};
pub use definition::{DefinitionSaved, ManageDefinitions, ManageOperator};
pub use delivery::{Deliveries, DeliveryRef, PublishStatus, ReceiverHealth, SendWebhook};
pub use engine::{
    AnswerTask, DescribeExecution, EngineError, EngineResult, ExecutionState, ListExecutions, ReadExecutionInput,
    StartExecution, StartOutcome, StartRequest, StopExecution, TaskAnswer, TaskAnswered,
};
pub use governor::{
    CountInput, Drawn, FindModel, FindQuotas, GovernCalls, ManageKeys, ReadLedgers, Reserved, SweepLedgers,
};
pub use meter::CountOnMeter;
pub use model::{ManageModels, ModelSaved};
pub use run::{
    AnswerNode, ChangeRun, Changed, KnownCalls, LoadRun, Loaded, Part, PurgeRuns, ReadQueue, ReadRuns, RecordReports,
    RecordRun, RecordUsage, Recorded, ReportAtOnce, ReportBegun, ReportCounted, ReportReceipt, RunFilter, RunLinks,
    RunRef, StopAsked,
};
pub use store::{Page, StoreError, StoreErrorClass, StoreResult};
pub use sweep::{AnnounceDue, DueDelivery, SHARDS, Sweep};

use jiff::Timestamp;
use std::future::Future;
use std::time::Duration;

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
    /// Does work whose calls to the outside must have ended at `end`, answered or not: the adapters that make them hold each to
    /// it. Without an end, and by a clock that belongs to no adapters, the work is done as it is.
    fn until<F: Future>(&self, _end: Option<Timestamp>, work: F) -> impl Future<Output = F::Output> {
        work
    }
}
