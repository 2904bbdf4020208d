//! Calls to a service that accepts a connection and never answers: each ends in time, whichever adapter makes it.
//!
//! Time stands still but for what is waited for, so a test that waits for minutes takes none.

use crate::support::sample::{delivery, mine, new_run, noon, run, run_id};
use jiff::SignedDuration;
use sluice_aws::Aws;
use sluice_aws::clients::{ENGINE_TIMEOUT, STORE_TIMEOUT};
use sluice_aws::config::Settings;
use sluice_core::arn::StateMachineArn;
use sluice_core::delivery::AttemptOutcome;
use sluice_core::ports::{
    AnnounceDue, Clock, DeliveryRef, DescribeExecution, ListExecutions, LoadRun, PublishStatus, ReadRuns, RecordRun,
    SendWebhook, StartExecution, StartRequest, StopExecution,
};
use sluice_testkit::fixture::runner_arn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Accepts connections, reads nothing and says nothing.
struct Silent {
    endpoint: String,
    accepted: Arc<AtomicU32>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let accepted = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
            }
        });
        Self { endpoint, accepted }
    }

    fn accepted(&self) -> u32 {
        self.accepted.load(Ordering::SeqCst)
    }

    async fn aws(&self) -> Aws {
        let settings =
            Settings { extra_callback_origins: vec![self.endpoint.clone()], ..Settings::for_test(&self.endpoint) };
        Aws::connect(&settings).await
    }
}

/// What calls there are: of every adapter one at least, reads and writes, calls that retry by themselves too. Each must fail.
const CALLS: [&str; 9] = ["load", "list", "record", "start", "stop", "describe", "executions", "announce", "publish"];

async fn call(aws: &Aws, which: &str) {
    let arn = runner_arn().execution(run_id(1));
    let runner: StateMachineArn = runner_arn();
    let start = StartRequest { state_machine_arn: &runner, run_id: run_id(1), input: "{}" };
    let due = [DeliveryRef { tenant_id: mine(), run_id: run_id(1), number: 1 }];
    let failed = match which {
        "load" => aws.store.load_run(&mine(), run_id(1)).await.is_err(),
        "list" => aws.store.list_deliveries(&mine(), run_id(1)).await.is_err(),
        "record" => aws.store.record_run(&new_run(&run(&mine(), 1, noon()), None, None)).await.is_err(),
        "start" => aws.engine.start_execution(&start).await.is_err(),
        "stop" => aws.engine.stop_execution(&arn, "Sluice.canceled_by_caller", "canceled_by_caller").await.is_err(),
        "describe" => aws.engine.describe_execution(&arn).await.is_err(),
        "executions" => aws.engine.running_executions(&runner, None).await.is_err(),
        "announce" => aws.engine.announce_due(&due).await.is_err(),
        "publish" => matches!(aws.engine.publish_status("{}").await, AttemptOutcome::Unreachable { .. }),
        other => panic!("there is no call {other}"),
    };
    assert!(failed, "{which}: nobody answered");
}

/// How long that work takes whose calls must end in so many seconds.
async fn time_of(aws: &Aws, seconds: i64, work: impl Future<Output = ()>) -> Duration {
    let begun = Instant::now();
    aws.clock.until(Some(aws.clock.now() + SignedDuration::from_secs(seconds)), work).await;
    begun.elapsed()
}

/// A little more than was asked for: the clock and the timers count milliseconds.
const GRAIN: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn no_call_is_waited_for_beyond_the_end_of_its_invocation() {
    let silent = Silent::start().await;
    let aws = silent.aws().await;
    for which in CALLS {
        for seconds in [1, 4] {
            let took = time_of(&aws, seconds, Box::pin(call(&aws, which))).await;
            let most = Duration::from_secs(seconds.unsigned_abs());
            assert!(took <= most + GRAIN, "{which} took {took:?} of {most:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_calls_of_an_invocation_together_have_its_time() {
    let silent = Silent::start().await;
    let aws = silent.aws().await;
    let all = async {
        for which in CALLS {
            call(&aws, which).await;
        }
    };
    let took = time_of(&aws, 9, Box::pin(all)).await;
    assert!(took <= Duration::from_secs(9) + GRAIN, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_leaves_time_for_another() {
    let silent = Silent::start().await;
    let aws = silent.aws().await;
    for which in CALLS {
        // As long as the shortest invocation has for its calls.
        let before = silent.accepted();
        time_of(&aws, 9, Box::pin(call(&aws, which))).await;
        let attempts = silent.accepted() - before;
        assert!(attempts >= 2, "{which}: {attempts} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_begins_after_the_end() {
    let silent = Silent::start().await;
    let aws = silent.aws().await;
    for which in CALLS {
        assert!(time_of(&aws, -1, Box::pin(call(&aws, which))).await <= GRAIN, "{which}");
    }
    assert_eq!(silent.accepted(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_outside_an_invocation_ends_too() {
    let silent = Silent::start().await;
    let aws = silent.aws().await;
    for which in CALLS {
        let begun = Instant::now();
        call(&aws, which).await;
        assert!(begun.elapsed() <= STORE_TIMEOUT.max(ENGINE_TIMEOUT) + GRAIN, "{which}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_leaves_time_to_record_what_became_of_it() {
    let silent = Silent::start().await;
    let aws = silent.aws().await;
    let owed = delivery(&run(&mine(), 1, noon()), 1, noon());
    let url = format!("{}/hook", silent.endpoint);
    for (seconds, most) in [(60, 10), (12, 6), (7, 1), (3, 0)] {
        let send = async {
            let outcome = aws.webhook.send_webhook(&url, &owed, noon(), Duration::from_secs(10)).await;
            assert_eq!(outcome, AttemptOutcome::Unreachable { error_class: "timeout".to_owned() }, "{seconds}");
        };
        let took = time_of(&aws, seconds, Box::pin(send)).await;
        assert!(took <= Duration::from_secs(most) + GRAIN, "{took:?} of {seconds} s");
    }
}
