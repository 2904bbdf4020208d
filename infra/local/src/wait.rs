//! Waiting, on a plain thread. The stack's own thread drives the I/O; whoever uses the stack (a test, `main`)
//! just blocks. Unlike a runtime's `block_on`, this also works inside somebody else's runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::Error;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks this thread until `future` is done. Something else must drive it: a future that needs a reactor of its own has to
/// be spawned on the stack's runtime first.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Asks again and again until there is an answer or the patience is at its end.
#[expect(clippy::disallowed_methods, reason = "this is the poll with a deadline that everything else uses")]
pub fn poll<T>(
    what: &str,
    patience: Duration,
    interval: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(Error::Timeout { what: what.to_owned(), seconds: patience.as_secs() });
        }
        thread::sleep(interval);
    }
}
