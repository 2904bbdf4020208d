//! The words of the ports as tests: every rule is a function of its own, and is asked of the ports in memory, of the
//! adapters over embedded services, and of the adapters over the stack on this machine. What holds in memory and does not
//! hold elsewhere is a mistake of the ports in memory, and every simulation over them proves nothing.

pub mod boards;
pub mod engine;
pub mod governor;
pub mod sample;
pub mod store;

pub use sluice_core::together::both;
use sluice_core::together::few;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// Within this time everything that is under way has happened, and every index has caught up; on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A test of every rule that is named: `rules! { judge: over_memory, of: engine, a_rule, another }`. The judge makes a bench
/// and tries the rule on it.
#[macro_export]
macro_rules! rules {
    (judge: $judge:path, of: $of:ident, $($rule:ident),* $(,)?) => {
        $(#[test]
        fn $rule() {
            $judge(|bench| Box::pin($crate::contract::$of::$rule(bench)));
        })*
    };
    (judge: $judge:path, of: $of:ident::$part:ident, $($rule:ident),* $(,)?) => {
        $(#[test]
        fn $rule() {
            $judge(|bench| Box::pin($crate::contract::$of::$part::$rule(bench)));
        })*
    };
}

/// Asks until there is an answer: for what happens by itself, and for reads that are eventually consistent.
///
/// # Panics
/// When there is none in a long time.
pub async fn eventually<T, P: Future<Output = ()>>(
    what: &str,
    pause: impl Fn() -> P,
    ask: impl AsyncFn() -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not in {} s", PATIENCE.as_secs());
        pause().await;
    }
}

/// [`eventually`] for one answer that is expected; says what came instead of it.
///
/// # Panics
/// When it does not come in a long time.
pub async fn becomes<T: PartialEq + Debug, P: Future<Output = ()>>(
    expected: T,
    pause: impl Fn() -> P,
    ask: impl AsyncFn() -> T,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if answer == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?} did not become {expected:?} in {} s", PATIENCE.as_secs());
        pause().await;
    }
}

/// Runs futures side by side on this thread, and gives their outputs in their order.
pub async fn at_once<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let numbered = futures.into_iter().enumerate().map(|(number, future)| async move { (number, future.await) });
    let mut done = few(usize::MAX, numbered).await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, output)| output).collect()
}
