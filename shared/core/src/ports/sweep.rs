//! What the periodic sweep looks for in the store, and how it hands work on to `run-callback`.

use super::delivery::DeliveryRef;
use super::engine::EngineResult;
use super::run::RunRef;
use super::store::{Page, StoreResult};
use crate::concurrency::QueueRef;
use crate::delivery::Receiver;
use crate::id::TenantId;
use crate::open_runs::OpenRuns;
use crate::run::Run;
use jiff::Timestamp;
use std::future::Future;

/// A delivery that is due, and who is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    pub delivery: DeliveryRef,
    /// `None` for the event bus.
    pub receiver: Option<Receiver>,
}

/// Into how many shards the index of open runs and the index of what is due are divided.
pub const SHARDS: u8 = 16;

/// Finds what the sweep has to look at. The indexes behind these reads are eventually consistent: whoever changes what
/// was found loads it again before. What the sweep counts on its way it notes.
pub trait Sweep: Send + Sync {
    /// A page of the open runs of one shard, oldest first.
    fn open_runs(&self, shard: u8, cursor: Option<&str>) -> impl Future<Output = StoreResult<Page<Run>>> + Send;
    /// Notes how many runs of a tenant are open, over what was noted before. Forgotten some time after it says nothing more.
    fn note_open_runs(&self, tenant: &TenantId, open: &OpenRuns) -> impl Future<Output = StoreResult<()>> + Send;
    /// A page of the deliveries of one shard that are due at `now`, the one that is due for longest first.
    fn due_deliveries(
        &self,
        shard: u8,
        now: Timestamp,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<DueDelivery>>> + Send;
    /// A page of at most `limit` runs of one shard whose items were [to be deleted](crate::run::Ended::purge_at) at `now`,
    /// the one that was to go first comes first.
    fn expired_runs(
        &self,
        shard: u8,
        now: Timestamp,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<RunRef>>> + Send;
}

/// Tells `run-callback` through the event bus that there is something to do. Announcements may be lost: the next sweep
/// finds what they were about.
pub trait AnnounceDue: Send + Sync {
    /// Announces deliveries that are due.
    fn announce_due(&self, deliveries: &[DeliveryRef]) -> impl Future<Output = EngineResult<()>> + Send;
    /// Announces queues for whose next run a slot was freed.
    fn announce_free(&self, queues: &[QueueRef]) -> impl Future<Output = EngineResult<()>> + Send;
}
