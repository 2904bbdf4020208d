//! Every bound of the service in one table; the README repeats it. All are checked before anything is written.

/// Bytes of a request body (API Gateway itself would take 10 MB; Lambda 6 MB).
pub const REQUEST_BODY_BYTES: usize = 256 * 1024;
/// Nesting of a JSON request body.
pub const JSON_DEPTH: usize = 64;
/// Bytes of a Step Functions execution input, UTF-8.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const EXECUTION_INPUT_BYTES: usize = 262_144;
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
pub const DURATION_SECONDS: std::ops::RangeInclusive<u64> = 1..=2_592_000;
/// Largest budget in whole USD. An operator may set a smaller one.
pub const BUDGET_USD: u64 = 100_000;
/// Pauses of one run: each writes up to 28 events into its execution's history, out of the reserve above [`HISTORY_EVENTS`].
pub const PAUSES: u32 = 100;
/// Replays of replays of a run.
pub const REPLAY_DEPTH: u32 = 10;
/// Labels of one run.
pub const LABELS: usize = 50;
/// Characters of a label's name and of its value.
pub const LABEL_CHARS: (usize, usize) = (128, 512);
/// Layers of one run.
pub const LAYERS: usize = 20;
/// Bytes of a run's head item: what lists read.
pub const HEAD_BYTES: usize = 24 * 1024;
/// Items on one page of a list.
pub const PAGE_ITEMS: u32 = 100;
/// Bytes of a webhook body with the output; above it the output is left out.
pub const WEBHOOK_BODY_BYTES: usize = 300 * 1024;
/// Seconds an idempotency key is kept at least.
pub const IDEMPOTENCY_SECONDS: i64 = 24 * 3_600;
/// Bytes of results that all nodes of a run may carry inline through the state machine together.
pub const INLINE_RESULTS_BYTES: usize = 160_000;
/// Bytes of one node's result that may travel inline, however few nodes there are.
pub const INLINE_RESULT_BYTES: usize = 32 * 1024;
