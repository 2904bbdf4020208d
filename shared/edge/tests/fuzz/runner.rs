//! What the runner's second generation asks: strictly read, whatever comes.

use super::{edited, json_text, of, replaced};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use sluice_core::flow::advance_run::Asked;
use sluice_core::report::NodeOutcome;
use sluice_edge::runner::Question;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Characters of a task token, at most.
const TOKEN_CHARS: usize = 2_048;
/// Bytes of a long question here: sixteen times as many as a state of the runner can hold.
const LONG: usize = 4 << 20;
/// Reading a long one takes a fraction of it, in whatever profile. What grows with the square of the bytes takes hours.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of what is said of something that cannot be read, beside what is quoted of it.
const SAID: usize = 1_024;

static SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| of(&["advance-run"]));

fn asks(ended: &str) -> String {
    format!(
        r#"{{"source":"sluice.runner","detail-type":"Work Asked For","detail":{{"tenantId":"dev","runId":"3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f","worker":0,"turn":2,"token":"t","ended":{ended}}}}}"#
    )
}

fn ends(what: &str) -> String {
    asks(&format!(r#"{{"unit":{{"node":"report","iteration":1,"attempt":2}},{what}}}"#))
}

/// What is read is within its bounds, or it is said why it is not.
fn read(text: &str) -> Result<Option<Question>, TestCaseError> {
    let is_token = |token: &str| !token.is_empty() && token.chars().count() <= TOKEN_CHARS;
    match Question::read(text, Timestamp::UNIX_EPOCH) {
        Ok(question) => {
            if let Question::Work(Asked { worker, turn, token, ended, .. }) = &question {
                prop_assert!(*worker < 40 && *turn > 0 && is_token(token), "{:?}", question);
                if let Some(ended) = ended {
                    prop_assert!(ended.iteration > 0 && ended.attempt > 0, "{:?}", ended);
                    prop_assert!(ended.usage.iter().all(|call| call.node_id.as_ref() == Some(&ended.node_id)));
                    prop_assert!(ended.usage.is_empty() || matches!(ended.outcome, NodeOutcome::Result(_)));
                    // The last attempt there is: nothing that is read is made again and again.
                    prop_assert!(!ended.is_final || matches!(ended.outcome, NodeOutcome::Failure(_)));
                }
            }
            Ok(Some(question))
        }
        Err(malformed) => {
            prop_assert!(!malformed.reason.is_empty() && malformed.reason.len() <= 2 * text.len() + SAID);
            prop_assert!(malformed.token.as_deref().is_none_or(is_token), "{:?}", malformed.token);
            Ok(None)
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_a_question_or_refused(text in any::<String>()) {
        read(&text)?;
    }

    #[test]
    fn a_changed_question_is_read_or_refused(question in replaced(&SAMPLES)) {
        read(&question.to_string())?;
    }

    #[test]
    fn an_edited_question_is_read_or_refused(
        text in edited(any::<Index>().prop_map(|at| at.get(&SAMPLES).to_string())),
    ) {
        read(&text)?;
    }

    #[test]
    fn a_result_comes_through_byte_for_byte(text in json_text()) {
        let Some(Question::Work(asked)) = read(&ends(&format!("\"value\": {text} ")))? else {
            return Err(TestCaseError::fail("it is a question"));
        };
        let outcome = asked.ended.map(|ended| ended.outcome);
        prop_assert_eq!(outcome, Some(NodeOutcome::Result(text)));
    }

    #[test]
    fn whatever_a_result_says_of_its_usage_counts_or_fails_it(
        usage in prop_oneof![json_text(), edited(Just(r#"[{"provider":"p","model":"m","costUsd":0.25}]"#.to_owned()))],
    ) {
        if let Some(Question::Work(Asked { ended: Some(ended), .. })) = read(&ends(&format!("\"value\":{{\"usage\":{usage}}}")))? {
            let is_list = serde_json::from_str::<Value>(&usage).is_ok_and(|read| read.as_array().is_some_and(|list| !list.is_empty()));
            prop_assert!(!is_list || !ended.usage.is_empty() || ended.is_final, "what is listed is lost: {}", usage);
        }
    }
}

/// A text repeated to about as many bytes as a long question has.
fn long(piece: &str) -> String {
    piece.repeat(LONG / piece.len())
}

#[test]
fn reading_takes_as_long_as_the_text_is() {
    let listed = |piece: &str| long(&format!("{piece},")).trim_end_matches(',').to_owned();
    let keys: String = (0..LONG / 12).map(|key| format!("\"{key:07}\":1,")).collect();
    let deep = format!("{}{}", "[".repeat(LONG / 2), "]".repeat(LONG / 2));
    let call = r#"{"provider":"p","model":"m","costUsd":0.25}"#;
    for (what, text) in [
        ("a long result", ends(&format!("\"value\":{}", json!(long("é\\\""))))),
        ("a long list", ends(&format!("\"value\":[{}]", listed("1.0e400")))),
        ("many keys", ends(&format!("\"value\":{{{}\"last\":1}}", keys))),
        ("one key again and again", ends(&format!("\"value\":{{{}}}", listed("\"usage\":[]")))),
        ("a deep list", ends(&format!("\"value\":{deep}"))),
        ("deep usage", ends(&format!("\"value\":{{\"usage\":{deep}}}"))),
        ("a lot of usage", ends(&format!("\"value\":{{\"usage\":[{}]}}", listed(call)))),
        ("one call again and again", ends(&format!("\"value\":{{\"usage\":[{}]}}", listed("{\"callId\":\"a\"}")))),
        ("a lot that is no usage", ends(&format!("\"value\":{{\"usage\":[{}]}}", listed("[]")))),
        ("a long error", ends(&format!("\"error\":{}", json!(long("e"))))),
        ("a long cause", ends(&format!("\"error\":\"E\",\"cause\":{}", json!(long("\"{"))))),
        ("a long name", ends(&format!("{}:1", json!(long("n"))))),
        ("a long node", asks(&format!("{{\"unit\":{{\"node\":\"{}\"}}}}", long("n")))),
        ("a long number", ends(&format!("\"value\":1,\"attempt\":{}", long("9")))),
        ("a long token", asks("null").replace("\"t\"", &json!(long("t")).to_string())),
        ("white space", asks(&format!("{}null", long(" ")))),
        ("no end", asks(&format!("[{}", listed("1")))),
        ("what is not JSON at its very end", format!("{}!", ends(&format!("\"value\":[{}]", listed("{}"))))),
    ] {
        assert!(text.len() > LONG / 2, "{what} is not long");
        let began = Instant::now();
        read(&text).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(began.elapsed() < DEADLINE, "{what} took {:?}", began.elapsed());
    }
}
