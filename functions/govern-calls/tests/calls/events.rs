//! Every sample event of this function, with what it is answered.

use crate::asked::read;
use crate::support::{Bench, MILLI, ledger};
use serde_json::Value;
use sluice_core::governor::ledger::Standing;
use sluice_core::ports::{Clock, RunRef};
use sluice_testkit::samples::{SUCCEEDED, cases, run_id};

/// Case, status, the type of the error, and what the body has.
const EXPECTED: [(&str, u16, &str, &str); 26] = [
    ("chat-completions", 200, "", r#""finish_reason""#),
    ("chat-completions-no-limit", 400, "ValidationException", r#""type":"invalid_request_error""#),
    ("chat-completions-stream", 200, "", "data: [DONE]"),
    ("converse", 200, "", r#""stopReason""#),
    ("converse-arn", 200, "", r#""stopReason""#),
    ("converse-clamped", 200, "", r#""stopReason""#),
    ("converse-rest-api", 200, "", r#""stopReason""#),
    ("converse-stream", 200, "", "metadata"),
    ("converse-stream-rest-api", 200, "", "metadata"),
    ("count-tokens", 200, "", r#""inputTokens""#),
    ("duplicate-key", 400, "ValidationException", "messages"),
    ("ended-run", 403, "AccessDeniedException", "this key may not call"),
    ("exhausted", 403, "AccessDeniedException", "budget is spent"),
    ("invoke", 200, "", r#""stop_reason""#),
    ("invoke-stream", 200, "", "bytes"),
    ("invoke-unescaped", 200, "", r#""stop_reason""#),
    ("limit-above-the-models", 400, "ValidationException", "64000"),
    ("negative-limit", 400, "ValidationException", "maxTokens"),
    ("no-key", 403, "AccessDeniedException", "this key may not call"),
    ("not-json", 400, "ValidationException", "must be JSON"),
    ("other-grant", 403, "AccessDeniedException", "this key may not call"),
    ("other-key", 403, "AccessDeniedException", "this key may not call"),
    ("other-node", 403, "AccessDeniedException", "this key may not call"),
    ("unknown-model", 400, "ValidationException", "not declared"),
    ("unknown-operation", 403, "AccessDeniedException", "StartAsyncInvoke"),
    ("unpriced-tier", 400, "ValidationException", "flex"),
];

#[tokio::test]
async fn every_sample_is_answered_as_it_says() {
    let samples = cases("govern-calls");
    let named: Vec<&str> = EXPECTED.iter().map(|(case, ..)| *case).collect();
    assert_eq!(samples.keys().collect::<Vec<_>>(), named);
    for (case, status, kind, said) in EXPECTED {
        let bench = Bench::start(Some(20 * MILLI)).await;
        let ended = RunRef { run_id: run_id(SUCCEEDED), ..bench.run.clone() };
        bench.world.store.open_ledger(&ended, ledger(None).close(Standing::Closed, bench.world.clock.now()));
        let event: Value = serde_json::from_str(&samples[case]).expect("JSON");
        let answered = read(bench.reply(&event).await).await;
        assert_eq!((answered.status, answered.kind()), (status, kind), "{case}: {}", answered.body);
        assert!(answered.body.contains(said), "{case}: {}", answered.body);
        assert_eq!(answered.headers.contains_key("sluice-max-tokens"), case == "converse-clamped", "{case}");
        assert_eq!(!bench.called().is_empty(), status == 200 && case != "count-tokens", "{case}");
        bench.check(case);
    }
}
