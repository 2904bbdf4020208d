//! What the sweep finds, and how it hands work on.

use super::delivery::DeliveryRef;
use super::engine::EngineResult;
use super::run::RunRef;
use super::store::{Page, StoreResult};
use crate::concurrency::QueueRef;
use crate::run::Run;
use jiff::Timestamp;
use std::future::Future;

/// A delivery that is due, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    pub delivery: DeliveryRef,
    /// [`Channel::destination`](crate::delivery::Channel::destination).
    pub destination: String,
}

/// Shards of the sparse indexes.
pub const SHARDS: u8 = 16;

pub trait Sweep: Send + Sync {
    /// A page of open runs of one shard, oldest first. Eventually consistent: load a run again before changing it.
    fn open_runs(&self, shard: u8, cursor: Option<&str>) -> impl Future<Output = StoreResult<Page<Run>>> + Send;
    /// A page of the deliveries of one shard that are due at `now`, longest due first. Eventually consistent.
    fn due_deliveries(
        &self,
        shard: u8,
        now: Timestamp,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<DueDelivery>>> + Send;
    /// Runs of one shard that are gone since `now` or before, longest gone first, at most `limit`. Eventually consistent.
    fn expired_runs(
        &self,
        shard: u8,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = StoreResult<Vec<RunRef>>> + Send;
}

pub trait AnnounceDue: Send + Sync {
    /// Hands due deliveries to `run-callback` through the event bus. What is lost is found again by the next sweep.
    fn announce_due(&self, deliveries: &[DeliveryRef]) -> impl Future<Output = EngineResult<()>> + Send;
    /// Tells `run-callback` that slots before these queues were freed. What is lost is found again by the next sweep.
    fn announce_free(&self, queues: &[QueueRef]) -> impl Future<Output = EngineResult<()>> + Send;
}
