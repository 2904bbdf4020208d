//! Frame by frame: the caller has each frame before the next is written, through every door, and no clock is asked.

use crate::client::{Call, DOORS, PATIENCE, bedrock};
use crate::frames::messages;
use crate::operations::{CLAUDE, converse, served};

#[tokio::test]
async fn a_caller_has_each_frame_before_the_next_is_sent() {
    let bedrock = bedrock();
    let books = &bedrock.service().books;
    for (index, door) in DOORS.into_iter().enumerate() {
        let name = format!("stepped-{index}");
        let body = converse(&format!("Slowly. [[bedrock stepped name={name} tokens=25]]"));
        let call = Call::new(format!("/model/{CLAUDE}/converse-stream"), &body);
        // The head comes by itself, before any frame.
        let mut opened = door.open(&bedrock, call).await.expect("an answer");
        // A start, five parts, the end of the block, the end, the metadata.
        for step in 1..=9 {
            let before = books.entry(&name).expect("the call");
            assert_eq!(before.frames, step - 1, "{door:?}");
            books.step(&name, 1);
            let part = tokio::time::timeout(PATIENCE, opened.next()).await.expect("a frame in time");
            let part = part.expect("a frame").expect("no break");
            assert_eq!(messages(&part).len(), 1, "{door:?} {step}");
            assert!(books.wait(PATIENCE, |books| books.entry(&name).is_some_and(|entry| entry.frames == step)).await);
            let written = books.entry(&name).expect("the call").used.output;
            assert_eq!(written, 5 * (step as u64).clamp(1, 6) - 5, "{door:?} {step}");
        }
        assert!(opened.whole().await.body.is_empty());
        assert_eq!(served(&bedrock).await.frames, 9);
    }
}

#[tokio::test]
async fn what_is_let_go_before_a_call_comes_is_there_when_it_does() {
    let bedrock = bedrock();
    bedrock.service().books.release("early");
    let body = converse("At once. [[bedrock stepped name=early tokens=25]]");
    let answer = DOORS[0].call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse-stream"), &body)).await;
    assert_eq!(messages(&answer.body).len(), 9);
}
