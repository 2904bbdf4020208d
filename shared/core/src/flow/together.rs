//! Two things at once, without a runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// What both come to, after as long as the longer takes.
pub(super) async fn together<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(context)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::task::{Context, Waker};

    /// Ready after some polls; each is noted.
    fn steps<'a>(
        name: &'static str,
        steps: u32,
        log: &'a RefCell<Vec<&'static str>>,
    ) -> impl Future<Output = u32> + 'a {
        let mut left = steps;
        poll_fn(move |_| {
            log.borrow_mut().push(name);
            left -= 1;
            if left == 0 { Poll::Ready(steps) } else { Poll::Pending }
        })
    }

    #[test]
    fn both_go_on_at_once_and_neither_is_polled_after_its_end() {
        for (one, other) in [(1, 1), (1, 3), (3, 1), (2, 2)] {
            let log = RefCell::new(Vec::new());
            let mut both = pin!(together(steps("one", one, &log), steps("other", other, &log)));
            let mut context = Context::from_waker(Waker::noop());
            let mut polls = 0;
            let done = loop {
                polls += 1;
                if let Poll::Ready(done) = both.as_mut().poll(&mut context) {
                    break done;
                }
            };
            assert_eq!((done, polls), ((one, other), one.max(other)));
            let count = |name| log.borrow().iter().filter(|noted| **noted == name).count() as u32;
            assert_eq!((count("one"), count("other")), (one, other));
        }
    }
}
