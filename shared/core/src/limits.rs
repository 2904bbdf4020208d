//! Every bound of the service in one table. All are checked before anything is written. The page `functions/README.md`
//! shows it as [`ALL`] has it.

use std::ops::RangeInclusive;

/// One bound, for people.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The constant's name.
    pub name: &'static str,
    /// What it bounds: the constant's documentation.
    pub meaning: &'static str,
    /// The value as people write it, such as `1 to 2,592,000`.
    pub value: fn() -> String,
}

/// Defines the bounds, and with them [`ALL`].
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ pub const $name:ident: $type:ty = $value:expr;)+) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)+

        /// Every bound, in the order of this file.
        pub static ALL: &[Limit] =
            &[$(Limit { name: stringify!($name), meaning: concat!($($doc),+), value: || $name.written() }),+];
    };
}

/// A value as people write it.
trait Written {
    fn written(&self) -> String;
}

macro_rules! written_number {
    ($($number:ty)+) => {
        $(impl Written for $number {
            fn written(&self) -> String {
                grouped(&self.to_string())
            }
        })+
    };
}

written_number!(u32 u64 usize i64);

impl<T: Written> Written for RangeInclusive<T> {
    fn written(&self) -> String {
        format!("{} to {}", self.start().written(), self.end().written())
    }
}

impl<T: Written> Written for (T, T) {
    fn written(&self) -> String {
        format!("{}, {}", self.0.written(), self.1.written())
    }
}

/// Digits with a comma before every third from the end.
fn grouped(digits: &str) -> String {
    let mut written = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

limits! {
    /// Bytes of a request body (API Gateway itself would take 10 MB; Lambda 6 MB).
    pub const REQUEST_BODY_BYTES: usize = 256 * 1024;
    /// Bytes of the body of a report, which comes over an open route: a node's result, and what is said beside it. A larger
    /// result is given with `data` by a caller who is known, or by reference.
    pub const REPORT_BODY_BYTES: usize = 96 * 1024;
    /// Bytes of the body of a governed call (Lambda takes 6 MB of request, base64 and escapes included).
    pub const GOVERNED_BODY_BYTES: usize = 5_000_000;
    /// Bytes of a key in a JSON request body.
    pub const JSON_KEY_BYTES: usize = 1_024;
    /// Nesting of a JSON request body.
    pub const JSON_DEPTH: usize = 64;
    /// Bytes of a Step Functions execution input, UTF-8.
    /// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
    pub const EXECUTION_INPUT_BYTES: usize = 262_144;
    /// Bytes of what a worker of the runner's second generation is told: a node's request, and what stands around it. A run is
    /// refused where its own part of that is larger. Source: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
    pub const TOLD_BYTES: usize = 262_144;
    /// Bytes of a run's snapshot: one DynamoDB item holds at most 400 KB, names included.
    pub const SNAPSHOT_BYTES: usize = 390_000;
    /// Bytes of `completionCallbackContext` as sent.
    pub const CALLBACK_CONTEXT_BYTES: usize = 16 * 1024;
    /// Bytes of a version document.
    pub const VERSION_DOCUMENT_BYTES: usize = 128 * 1024;
    /// Nodes of one version.
    pub const VERSION_NODES: usize = 500;
    /// Events a run of a version may write into its execution history at worst. Step Functions stops at 25,000.
    pub const HISTORY_EVENTS: u64 = 20_000;
    /// Attempts at one node.
    pub const NODE_ATTEMPTS: u32 = 10;
    /// Conditions within one condition of a node, itself counted.
    pub const CONDITIONS: usize = 50;
    /// Conditions of a node within each other.
    pub const CONDITION_DEPTH: usize = 8;
    /// Bytes of one condition of a node as JSON.
    pub const CONDITION_BYTES: usize = 8 * 1024;
    /// Iterations of a node's loop.
    pub const LOOP_ITERATIONS: RangeInclusive<u32> = 1..=100;
    /// Items of a node's fan-out that are worked on at once.
    pub const ITEMS_AT_ONCE: RangeInclusive<u32> = 1..=40;
    /// Items of a node's fan-out, as far as [`HISTORY_EVENTS`] permits.
    pub const ITEMS: RangeInclusive<u32> = 1..=1_000;
    /// Seconds of one attempt at a node, and of a wait for somebody outside (1 s to 30 days).
    pub const NODE_SECONDS: RangeInclusive<u64> = 1..=2_592_000;
    /// Characters of a definition's name.
    pub const NAME_CHARS: usize = 40;
    /// Characters of a display name and of a run's name.
    pub const DISPLAY_NAME_CHARS: usize = 255;
    /// Characters of a description.
    pub const DESCRIPTION_CHARS: usize = 2_000;
    /// Characters of an idempotency key.
    pub const KEY_CHARS: usize = 255;
    /// Seconds a read may wait for a run to end.
    pub const WAIT_SECONDS: u32 = 20;
    /// Shortest and longest allowed duration of a run, in seconds (1 s to 30 days).
    pub const DURATION_SECONDS: RangeInclusive<u64> = 1..=2_592_000;
    /// Largest budget in whole USD. An operator may set a smaller one.
    pub const BUDGET_USD: u64 = 100_000;
    /// Pauses of one run: each writes up to 28 events into its execution's history, out of the reserve above
    /// [`HISTORY_EVENTS`].
    pub const PAUSES: u32 = 100;
    /// Replays of replays of a run.
    pub const REPLAY_DEPTH: u32 = 10;
    /// Labels of one run.
    pub const LABELS: usize = 50;
    /// Characters of a label's name and of its value.
    pub const LABEL_CHARS: (usize, usize) = (128, 512);
    /// Layers of one run.
    pub const LAYERS: usize = 20;
    /// Bytes of all labels of one run: they stand in its head, which every list reads.
    pub const LABELS_BYTES: usize = 16 * 1024;
    /// Items on one page of a list.
    pub const PAGE_ITEMS: u32 = 100;
    /// Bytes of the items on one page of a list, as they are sent: a page that would be larger is cut short and goes on with
    /// the next. A Lambda function answers with 6 MB at most.
    /// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
    pub const PAGE_BYTES: usize = 5_000_000;
    /// Bytes of a value that the list of a run's inputs shows; a larger one is shown by reference.
    pub const LISTED_VALUE_BYTES: usize = 16 * 1024;
    /// Attempts at one delivery that are listed with it: the newest. It may be sent again as often as somebody asks.
    pub const DELIVERY_ATTEMPTS: u32 = 100;
    /// Runs made from a run, by a replay or to evaluate it, that are shown with it: the newest of each.
    pub const LINKED_RUNS: u32 = 100;
    /// Bytes of a webhook body with the output; above it the output is left out.
    pub const WEBHOOK_BODY_BYTES: usize = 300 * 1024;
    /// Seconds an idempotency key is kept at least.
    pub const IDEMPOTENCY_SECONDS: i64 = 24 * 3_600;
    /// Bytes of the plan and of all inline results of a run together: what a Step Functions state may carry, less what
    /// the runner itself keeps beside them.
    pub const STATE_BYTES: usize = 240_000;
    /// Bytes of results that all nodes of a run may carry inline through the state machine together.
    pub const INLINE_RESULTS_BYTES: usize = 160_000;
    /// Bytes of one node's result that may travel inline, however few nodes there are.
    pub const INLINE_RESULT_BYTES: usize = 32 * 1024;
    /// Versions of one definition.
    pub const VERSIONS: u32 = 1_000;
    /// Open runs that a limit may allow at once.
    pub const CONCURRENT_RUNS: RangeInclusive<u32> = 1..=1_000_000;
    /// Runs that wait in one queue: of a definition, or of a tenant.
    pub const QUEUED_RUNS: u32 = 10_000;
    /// Runs that one tenant may be allowed to start in a minute.
    pub const TENANT_STARTS_PER_MINUTE: RangeInclusive<u32> = 1..=1_000_000;
    /// Reads of one tenant that may be allowed to wait at once.
    pub const TENANT_WAITS_AT_ONCE: RangeInclusive<u32> = 1..=100_000;
    /// Open runs that one tenant may be allowed. The sweep counts them, and tells of no fewer than the least.
    pub const TENANT_OPEN_RUNS: RangeInclusive<u32> = 100..=10_000_000;
    /// Definitions that one tenant may be allowed.
    pub const TENANT_DEFINITIONS: RangeInclusive<u32> = 1..=1_000_000;
    /// Seconds an ended run may be kept at most, short of for good (ten years).
    pub const RETENTION_SECONDS: i64 = 315_360_000;
    /// Tags of a definition, and characters of each.
    pub const DEFINITION_TAGS: (usize, usize) = (20, 64);
    /// Characters of a comment.
    pub const COMMENT_CHARS: usize = 4_000;
    /// Characters of what a worker says of its progress.
    pub const PROGRESS_CHARS: usize = 1_000;
    /// Usage reports in one request.
    pub const USAGE_CALLS: usize = 50;
    /// Characters of a call id, a provider and a model.
    pub const USAGE_TEXT_CHARS: usize = 128;
    /// Models, and providers, that the sums of one run name; the calls of all others are summed as one.
    pub const USAGE_NAMES: usize = 100;
    /// Cost of one call in whole USD.
    pub const CALL_COST_USD: u64 = 100_000;
    /// Largest price in whole USD per million tokens, or per text unit of a guardrail.
    pub const PRICE_USD: u64 = 1_000_000;
    /// Prices of one model: of the past, of now, and of the time to come.
    pub const MODEL_PRICES: usize = 50;
    /// Ids to which one model answers: so many that those of two models fit into one transaction of the store.
    pub const MODEL_IDS: usize = 45;
    /// Tokens of a model's context, and of its longest answer.
    pub const MODEL_TOKENS: RangeInclusive<u64> = 1..=1_000_000_000;
    /// Governed calls of one run that may be under way at once: each is a hold on the run's ledger.
    pub const CALLS_AT_ONCE: usize = 100;
    /// Governed calls that are refused because a run's cap is spent, before the run is stopped although its definition says
    /// `onBudgetExceeded: refuse`.
    pub const EXHAUSTED_REFUSALS: u64 = 25;
    /// Budgets that are told at once: the tenant's, and those of the first compute nodes by their keys.
    pub const BUDGETS_TOLD: usize = 1_000;
    /// Keys of one processor that are alive at once: one, and the next one while they are changed.
    pub const PROCESSOR_ALIVE_KEYS: usize = 2;
    /// Seconds a report token may live: up to 30 days, as a run.
    pub const REPORT_TOKEN_SECONDS: RangeInclusive<i64> = 60..=2_592_000;
    /// Origins that the operator may list as one tenant's callback destinations.
    pub const DESTINATIONS: usize = 200;
    /// Beginnings of ARNs that the operator may list as those of one tenant's secrets.
    pub const SECRET_PREFIXES: usize = 50;
    /// Tags that one processor may offer.
    pub const PROCESSOR_TAGS: usize = 100;
    /// Statuses one list may be narrowed to. There are nine.
    pub const FILTER_STATUSES: usize = 9;
    /// Steps that a check of a value against a JSON Schema may take, counted from above. A step is 10 to 100 ns, so
    /// this is well under a second of a whole processor.
    pub const SCHEMA_STEPS: u64 = 4_000_000;
    /// Steps up to which every violation is reported. Each is kept in memory until all are known, at about a kilobyte.
    pub const SCHEMA_STEPS_IN_DETAIL: u64 = 100_000;
    /// Schemas that one schema comes to at one place of a value, with its `$ref`s written out.
    pub const SCHEMA_EXPANSION: u64 = 20_000;
    /// Schemas that a check may be within at once. Each takes some of the stack, of which a thread has 2 MB.
    pub const SCHEMA_NESTING: usize = 500;
    /// States of one pattern in a JSON Schema, its repetitions written out. The time of a match grows with them.
    pub const SCHEMA_PATTERN_STATES: u64 = 4_000;
    /// States of all patterns of a JSON Schema. They are compiled for each check.
    pub const SCHEMA_PATTERNS_STATES: u64 = 40_000;
    /// Characters of what is said about one violation of a JSON Schema.
    pub const SCHEMA_MESSAGE_CHARS: usize = 500;
    /// Violations that one answer reports: it must fit into the 6 MB of a Lambda function's response, whatever was
    /// sent.
    pub const VIOLATIONS: usize = 100;
    /// Characters of a violation's pointer and of its message.
    pub const VIOLATION_CHARS: usize = 1_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_for_people() {
        assert_eq!(
            ["1", "12", "123", "1234", "123456", "1234567"].map(grouped),
            ["1", "12", "123", "1,234", "123,456", "1,234,567"]
        );
        assert_eq!((1..=2_592_000_u64).written(), "1 to 2,592,000");
        assert_eq!((128_usize, 512).written(), "128, 512");
    }

    #[test]
    fn every_bound_says_what_it_bounds() {
        for limit in ALL {
            assert!(limit.meaning.trim().len() > 10 && !(limit.value)().is_empty(), "{}", limit.name);
        }
    }
}
