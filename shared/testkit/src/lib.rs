//! For tests only: the ports of `sluice-core` in memory. They keep the contracts written at the traits, can be made to
//! fail before or after their effect, and yield at every call, so that a test decides who goes next and who dies.

pub mod arbitrary;
pub mod clock;
pub mod contract;
pub mod engine;
pub mod fault;
pub mod fixture;
pub mod metrics;
pub mod openapi;
pub mod receiver;
pub mod samples;
pub mod store;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets others go first, once.
pub fn turn() -> Turn {
    Turn { taken: false }
}

/// See [`turn`].
#[derive(Debug)]
pub struct Turn {
    taken: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.taken {
            return Poll::Ready(());
        }
        self.taken = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Runs a future to its end on this thread. For tests without a runtime: every port here only ever yields.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
