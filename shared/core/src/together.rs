//! Some things at once, without a runtime: whoever polls the whole, polls those under way.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// What both come to, after as long as the longer takes.
pub async fn both<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
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

/// What becomes of all `work`, of which at most `at_once` are under way at a time, and none is begun before it is its turn.
/// In the order in which they end.
pub async fn few<F: Future>(at_once: usize, work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting = work.into_iter();
    let mut under_way: Vec<Pin<Box<F>>> = waiting.by_ref().take(at_once.max(1)).map(Box::pin).collect();
    let mut done = Vec::new();
    poll_fn(|context| {
        let mut index = 0;
        while let Some(one) = under_way.get_mut(index) {
            match one.as_mut().poll(context) {
                Poll::Pending => index += 1,
                Poll::Ready(output) => {
                    done.push(output);
                    match waiting.next() {
                        // It is polled at once, for nobody else would wake it.
                        Some(next) => *one = Box::pin(next),
                        None => drop(under_way.remove(index)),
                    }
                }
            }
        }
        if under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_testkit::{block_on, turn};
    use std::cell::{Cell, RefCell};
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
    fn two_go_on_at_once_and_neither_is_polled_after_its_end() {
        for (one, other) in [(1, 1), (1, 3), (3, 1), (2, 2)] {
            let log = RefCell::new(Vec::new());
            let mut whole = pin!(both(steps("one", one, &log), steps("other", other, &log)));
            let mut context = Context::from_waker(Waker::noop());
            let mut polls = 0;
            let done = loop {
                polls += 1;
                if let Poll::Ready(done) = whole.as_mut().poll(&mut context) {
                    break done;
                }
            };
            assert_eq!((done, polls), ((one, other), one.max(other)));
            let count = |name| log.borrow().iter().filter(|noted| **noted == name).count() as u32;
            assert_eq!((count("one"), count("other")), (one, other));
        }
    }

    #[test]
    fn a_few_are_under_way_at_a_time_and_all_are_done() {
        for at_once in [0, 1, 3, 8, 100] {
            let (under_way, most) = (Cell::new(0), Cell::new(0));
            let work = |number: usize| {
                let (under_way, most) = (&under_way, &most);
                async move {
                    under_way.set(under_way.get() + 1);
                    most.set(most.get().max(under_way.get()));
                    for _ in 0..number % 5 {
                        turn().await;
                    }
                    under_way.set(under_way.get() - 1);
                    number
                }
            };
            let mut done = block_on(few(at_once, (0..40).map(work)));
            done.sort_unstable();
            assert_eq!(done, (0..40).collect::<Vec<_>>(), "{at_once}");
            assert!(most.get() <= at_once.max(1), "{} at once of {at_once}", most.get());
            assert!(at_once < 2 || most.get() > 1, "nothing goes on beside another of {at_once}");
        }
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        assert!(block_on(few(3, Vec::<std::future::Ready<()>>::new())).is_empty());
    }
}
