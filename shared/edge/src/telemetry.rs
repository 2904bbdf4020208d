//! Logs: JSON lines on standard output, which Lambda hands to CloudWatch. Each message reads alone and carries dotted
//! fields; a failure is logged once, at the boundary. Bodies, tokens, contexts and credentials are never logged. What is
//! counted stands in lines of its own: `metrics.rs`.

mod lines;

use crate::metrics::{self, Emitter};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Context, Diagnostic};
use lines::Lines;
use sluice_core::id::{RunId, TenantId};
use std::error::Error;
use std::io::stdout;
use std::time::Duration;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable with the filter, such as `info` or `sluice=debug,warn`.
const FILTER: &str = "SLUICE_LOG";

/// Lambda's name of the function: `<stack>-<function>`.
const LAMBDA_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// Sets the process up for logging and metrics. Called once, first thing, with the name of the function's crate.
#[expect(clippy::disallowed_methods, reason = "this is where telemetry reads its configuration")]
pub fn init(function: &'static str) {
    metrics::init(Emitter::to_stdout(function, &std::env::var(LAMBDA_NAME).unwrap_or_default()));
    let lines = Lines { open: || stdout().lock(), now: Timestamp::now };
    tracing_subscriber::registry().with(filter(std::env::var(FILTER).ok().as_deref())).with(lines).init();
    std::panic::set_hook(Box::new(|panic| {
        metrics::count(&metrics::PANICS);
        tracing::error!(
            panic.message = panic.payload_as_str(),
            panic.location = panic.location().map(tracing::field::display),
            "function panicked"
        );
    }));
}

/// Which lines are written: targets by their beginnings, each with its level, and the level of all others. What cannot be
/// read is as good as nothing.
fn filter(text: Option<&str>) -> Targets {
    let told = text.and_then(|text| text.parse().ok());
    let told = told.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    // The runtime repeats every failure and panic in a form of its own; here they are logged once, with their fields.
    told.with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
}

/// Logs the failure of an event and makes of it what Lambda is told, so that the event comes again.
pub fn to_be_retried(error: &(dyn Error + 'static)) -> Diagnostic {
    metrics::count(&metrics::EVENTS_FAILED);
    tracing::error!(error.cause = causes(error), "event failed, to be retried");
    Diagnostic { error_type: "Sluice.EventFailed".to_owned(), error_message: error.to_string() }
}

/// Logs what is wrong with an event for good and makes of it what Lambda is told: by its type, its sender knows that the
/// same again would be refused again.
pub fn not_to_be_retried(error_type: &str, message: String) -> Diagnostic {
    tracing::warn!(error.cause = message, "event refused");
    Diagnostic { error_type: error_type.to_owned(), error_message: message }
}

/// The span of one event that is not a request.
pub fn event_span(context: &Context) -> Span {
    tracing::error_span!(
        "event",
        lambda.request.id = context.request_id,
        xray.trace.id = context.xray_trace_id,
        tenant.id = tracing::field::Empty,
        run.id = tracing::field::Empty,
    )
}

/// Names the run an event is about.
pub fn about_run(span: &Span, tenant: &TenantId, run_id: RunId) {
    span.record("tenant.id", tenant.as_str());
    span.record("run.id", tracing::field::display(run_id));
}

/// An error with everything that led to it, as one line for the log.
pub fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}

/// When Lambda ends the invocation; `None` without a deadline, as some emulators make it.
pub fn end(context: &Context) -> Option<Timestamp> {
    let end = i64::try_from(context.deadline).ok().filter(|millis| *millis > 0);
    end.and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

/// What is left of an invocation when none of its calls is waited for any more: time to conclude from what is known by then.
pub const CALLS_RESERVE: SignedDuration = SignedDuration::from_millis(1_000);

/// When the invocation's last call must have ended; `None` where nobody ends the invocation.
pub fn calls_end(context: &Context) -> Option<Timestamp> {
    end(context).map(|end| end - CALLS_RESERVE)
}

/// When to stop beginning new work: `reserve` before Lambda ends the invocation, or half a minute from now where it does
/// not say when.
pub fn deadline(context: &Context, now: Timestamp, reserve: Duration) -> Timestamp {
    end(context).map_or(now + SignedDuration::from_secs(30), |end| end - reserve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_filter_is_a_level_or_levels_by_target() {
        let runtime = "lambda_runtime::layers::panic";
        for (text, written, left_out) in [
            (None, vec![("sluice_core", Level::INFO)], vec![("sluice_core", Level::DEBUG)]),
            (Some("info"), vec![("hyper", Level::INFO)], vec![("hyper", Level::DEBUG), (runtime, Level::ERROR)]),
            (Some("DEBUG"), vec![("hyper", Level::DEBUG)], vec![("hyper", Level::TRACE), (runtime, Level::ERROR)]),
            (
                Some("sluice=debug,warn"),
                vec![("sluice_aws::webhook", Level::DEBUG), ("hyper", Level::WARN)],
                vec![("sluice_aws", Level::TRACE), ("hyper", Level::INFO), (runtime, Level::ERROR)],
            ),
            (
                Some("sluice=debug"),
                vec![("sluice_edge", Level::DEBUG)],
                vec![("hyper", Level::ERROR), (runtime, Level::ERROR)],
            ),
            (Some("off"), vec![], vec![("sluice_core", Level::ERROR)]),
            (Some("sluice=loud"), vec![("hyper", Level::INFO)], vec![("hyper", Level::DEBUG), (runtime, Level::ERROR)]),
        ] {
            let filter = filter(text);
            for (target, level) in written {
                assert!(filter.would_enable(target, &level), "{text:?}: {target} at {level}");
            }
            for (target, level) in left_out {
                assert!(!filter.would_enable(target, &level), "{text:?}: {target} at {level}");
            }
        }
    }
}
