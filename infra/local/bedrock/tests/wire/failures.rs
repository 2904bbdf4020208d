//! Every failure that can be asked for: what the caller sees, and what is in the books.

use serde_json::json;
use sluice_bedrock::Bedrock;
use sluice_bedrock::books::State;
use sluice_bedrock::usage::Usage;

use crate::client::{Answer, Call, DOORS, Door, PATIENCE, bedrock};
use crate::frames::{chunks, messages};
use crate::operations::{CLAUDE, converse, served};

fn played(operation: &str, play: &str) -> Call {
    Call::new(format!("/model/{CLAUDE}/{operation}"), &converse(&format!("Say something. [[bedrock {play}]]")))
}

async fn answered(bedrock: &Bedrock, door: Door, operation: &str, play: &str) -> Answer {
    door.call(bedrock, played(operation, play)).await
}

const ERRORS: [(&str, u16, &str); 9] = [
    ("400", 400, "ValidationException"),
    ("403", 403, "AccessDeniedException"),
    ("404", 404, "ResourceNotFoundException"),
    ("408", 408, "ModelTimeoutException"),
    ("424", 424, "ModelErrorException"),
    ("429", 429, "ThrottlingException"),
    ("ModelNotReadyException", 429, "ModelNotReadyException"),
    ("500", 500, "InternalServerException"),
    ("503", 503, "ServiceUnavailableException"),
];

#[tokio::test]
async fn an_error_before_the_model_ran_is_free_and_one_after_it_costs_the_whole() {
    let bedrock = bedrock();
    for (code, status, kind) in ERRORS {
        for (operation, door) in [("converse", Door::Http1), ("converse-stream", Door::Http2)] {
            let answer = answered(&bedrock, door, operation, &format!("error={code} tokens=50 retry-after=3")).await;
            assert_eq!((answer.error(), answer.header("retry-after")), ((status, kind), Some("3")));
            let entry = served(&bedrock).await;
            assert_eq!((entry.state, entry.cost.0), (State::Refused(kind), 0));

            let answer = answered(&bedrock, door, operation, &format!("late-error={code} tokens=50")).await;
            assert_eq!(answer.error(), (status, kind));
            let entry = served(&bedrock).await;
            assert_eq!((entry.state, entry.used.output), (State::Failed(kind), 50));
            assert!(entry.used.input > 0 && entry.cost.0 > 0);
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_costs_what_it_read_and_had_written() {
    let bedrock = bedrock();
    for door in DOORS {
        for (frames, output) in [(0, 0), (1, 0), (2, 5), (4, 15), (99, 50)] {
            let answer = answered(&bedrock, door, "converse-stream", &format!("abort after={frames} tokens=50")).await;
            assert!(answer.is_broken, "{door:?} {frames}");
            let entry = served(&bedrock).await;
            assert_eq!((entry.state, entry.used.output), (State::Aborted, output), "{door:?} {frames}");
            assert!(entry.used.input > 0 && messages(&answer.body).len() <= entry.frames);
            assert!(entry.frames == frames || frames == 99);
        }
        let answer = answered(&bedrock, door, "converse", "abort tokens=50").await;
        assert!(answer.is_broken && answer.status == 200, "{door:?}");
        let entry = served(&bedrock).await;
        assert_eq!((entry.state, entry.used.output), (State::Aborted, 50));
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_costs_the_whole() {
    let bedrock = bedrock();
    for door in DOORS {
        for operation in ["converse", "converse-stream"] {
            assert!(door.open(&bedrock, played(operation, "reset tokens=50")).await.is_none());
            let entry = served(&bedrock).await;
            assert_eq!((entry.state, entry.used.output), (State::Aborted, 50));
        }
    }
}

#[tokio::test]
async fn a_modelled_exception_comes_within_the_stream() {
    let bedrock = bedrock();
    for (name, kind) in [
        ("internalServerException", "InternalServerException"),
        ("modelStreamErrorException", "ModelErrorException"),
        ("modelTimeoutException", "ModelTimeoutException"),
        ("serviceUnavailableException", "ServiceUnavailableException"),
        ("throttlingException", "ThrottlingException"),
        ("validationException", "ValidationException"),
    ] {
        let play = format!("exception={name} after=3 tokens=50");
        let answer = answered(&bedrock, Door::Http2, "converse-stream", &play).await;
        let messages = messages(&answer.body);
        assert_eq!((answer.status, answer.is_broken, messages.len()), (200, false, 4));
        let last = &messages[3];
        assert_eq!((last.kind.as_str(), last.name.as_str()), ("exception", name));
        assert!(last.body["message"].is_string());
        let entry = served(&bedrock).await;
        assert_eq!((entry.state, entry.used.output), (State::Failed(kind), 10));
    }
}

#[tokio::test]
async fn silence_lasts_until_it_is_released_and_costs_the_whole_of_an_answer() {
    let bedrock = bedrock();
    let books = &bedrock.service().books;
    for (index, door) in DOORS.into_iter().enumerate() {
        let name = format!("silent-{index}");
        let call = played("converse", &format!("silence name={name} tokens=20"));
        let answer = async {
            let answer = door.call(&bedrock, call).await;
            assert_eq!(answer.status, 200);
        };
        let release = async {
            assert!(
                books.wait(PATIENCE, |books| books.entry(&name).is_some_and(|entry| entry.used.output == 20)).await
            );
            assert_eq!(books.entry(&name).map(|entry| (entry.state, entry.frames)), Some((State::Open, 0)));
            books.release(&name);
        };
        tokio::join!(answer, release);
        assert_eq!(served(&bedrock).await.state, State::Served);
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_costs_what_was_written_by_then() {
    let bedrock = bedrock();
    let books = &bedrock.service().books;
    for (index, door) in DOORS.into_iter().enumerate() {
        let name = format!("stream-{index}");
        books.step(&name, 3);
        let call = played("converse-stream", &format!("stepped name={name} tokens=50"));
        let opened = door.open(&bedrock, call).await;
        assert!(books.wait(PATIENCE, |books| books.entry(&name).is_some_and(|entry| entry.frames == 3)).await);
        drop(opened);
        let entry = served(&bedrock).await;
        assert_eq!((entry.state, entry.used.output), (State::HungUp, 10), "{door:?}");

        // And one who does not wait for a silent answer.
        let name = format!("silent-{index}");
        let call = played("converse", &format!("silence name={name} tokens=50"));
        tokio::select! {
            _never = door.open(&bedrock, call) => unreachable!("nothing is answered"),
            came = books.wait(PATIENCE, |books| books.entry(&name).is_some()) => assert!(came),
        }
        let entry = served(&bedrock).await;
        assert_eq!((entry.state, entry.used.output), (State::HungUp, 50), "{door:?}");
    }
}

#[tokio::test]
async fn without_usage_nothing_is_told_anywhere_but_in_the_books() {
    let bedrock = bedrock();
    let answer = answered(&bedrock, Door::Http1, "converse", "no-usage tokens=9").await;
    assert!(answer.json()["usage"].is_null());
    assert_eq!(served(&bedrock).await.used.output, 9);
    let answer = answered(&bedrock, Door::Http1, "converse-stream", "no-usage tokens=9").await;
    assert!(messages(&answer.body).iter().all(|message| message.name != "metadata"));
    let body = json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 50,
        "messages": [{"role": "user", "content": "[[bedrock no-usage tokens=9]]"}],
    });
    let answer = Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/invoke"), &body)).await;
    assert!(answer.json()["usage"].is_null() && answer.header("x-amzn-bedrock-input-token-count").is_none());
    let target = format!("/model/{CLAUDE}/invoke-with-response-stream");
    let chunks = chunks(&Door::Http1.call(&bedrock, Call::new(target, &body)).await.body);
    let says = |name: &str| chunks.iter().any(|chunk| chunk.to_string().contains(name));
    assert!(!says("usage") && !says("invocationMetrics") && says("message_stop"));
    let entry = served(&bedrock).await;
    assert_eq!((entry.reported, entry.used.output), (None, 9));
}

#[tokio::test]
async fn cache_tokens_told_twice_are_billed_once() {
    let bedrock = bedrock();
    let play = "cache-twice cache-read=3 cache-write=5 cache-write-1h=2 input=100 tokens=9";
    let answer = answered(&bedrock, Door::Http1, "converse-stream", play).await;
    let usage = messages(&answer.body).pop().expect("metadata").body["usage"].clone();
    assert_eq!(usage["cacheWriteInputTokens"], 14);
    assert_eq!((usage["inputTokens"].as_u64(), usage["cacheReadInputTokens"].as_u64()), (Some(90), Some(3)));
    let used =
        Usage { input: 90, output: 9, cache_read: 3, cache_write_5m: 5, cache_write_1h: 2, guardrail_text_units: 0 };
    assert_eq!(served(&bedrock).await.used, used);
}
