//! When the calls of an invocation must have ended, answered or not.
//!
//! Each invocation says it once, through the clock; every AWS client looks here before each of its calls, so no call has to be
//! told. A webhook asks as well.
//!
//! **Invariant:** no call is waited for beyond the end, and none begins after it.

use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::timeout::TimeoutConfig;
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
fn left() -> Option<Duration> {
    END.try_with(|end| end.saturating_duration_since(Instant::now())).ok()
}

/// So long at most, and not so long that less than `reserve` would be left.
pub(crate) fn at_most(most: Duration, reserve: Duration) -> Duration {
    left().map_or(most, |left| most.min(left.saturating_sub(reserve)))
}

/// Holds all attempts of a call together to so long at most, and to what is left.
#[derive(Clone, Debug)]
pub(crate) struct HeldToDeadline(pub Duration);

/// Why a call was not begun.
#[derive(Debug, thiserror::Error)]
#[error("the time of the invocation is over")]
struct Over;

impl Intercept for HeldToDeadline {
    fn name(&self) -> &'static str {
        "HeldToDeadline"
    }

    /// Before the orchestrator reads the timeouts of the call. Those that are not set here stay as the client has them.
    fn read_before_execution(
        &self,
        _call: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match left() {
            None => Ok(()),
            Some(Duration::ZERO) => Err(Over.into()),
            Some(left) => {
                let held = TimeoutConfig::builder().operation_timeout(self.0.min(left)).build();
                config.interceptor_state().store_put(held);
                Ok(())
            }
        }
    }
}
