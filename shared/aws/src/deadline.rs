//! When the calls of an invocation must have ended, answered or not.
//!
//! Each invocation says it once, through the clock; every call of AWS looks here before it begins, so no call has to be
//! told. A webhook asks as well.
//!
//! **Invariant:** no call is waited for beyond the end, and none begins after it.

use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    static END: Instant;
}

/// Does work whose calls end by then.
pub(crate) async fn until<F: Future>(end: Instant, work: F) -> F::Output {
    END.scope(end, work).await
}

/// Work whose calls end when those of the work at hand do, wherever it goes on.
pub(crate) fn kept<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let end = END.try_with(|end| *end).ok();
    async move {
        match end {
            Some(end) => END.scope(end, work).await,
            None => work.await,
        }
    }
}

/// What is left of the time; `None` outside an invocation, and where nobody ends it.
pub(crate) fn left() -> Option<Duration> {
    END.try_with(|end| end.saturating_duration_since(Instant::now())).ok()
}

/// So long at most, and not so long that less than `reserve` would be left.
pub(crate) fn at_most(most: Duration, reserve: Duration) -> Duration {
    left().map_or(most, |left| most.min(left.saturating_sub(reserve)))
}
