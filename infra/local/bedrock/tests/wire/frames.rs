//! Reading streams: AWS' frames by its own decoder, and server-sent events.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One message of a stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// `event` or `exception`.
    pub kind: String,
    /// The event's or the exception's type.
    pub name: String,
    pub body: Value,
}

/// Every message of a stream, whole ones only.
pub fn messages(bytes: &[u8]) -> Vec<Message> {
    let (mut decoder, mut rest, mut messages) = (MessageFrameDecoder::new(), bytes, Vec::new());
    while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut rest).expect("a frame") {
        let header = |name: &str| {
            let found = message.headers().iter().find(|header| header.name().as_str() == name);
            found.and_then(|header| header.value().as_string().ok()).map(|text| text.as_str().to_owned())
        };
        let name = header(":event-type").or_else(|| header(":exception-type")).expect("a type");
        let body = serde_json::from_slice(message.payload()).expect("a payload of JSON");
        messages.push(Message { kind: header(":message-type").expect("a kind"), name, body });
    }
    messages
}

/// The bodies in the chunks of `InvokeModelWithResponseStream`.
pub fn chunks(bytes: &[u8]) -> Vec<Value> {
    let chunk = |message: Message| {
        let inner = STANDARD.decode(message.body["bytes"].as_str().expect("bytes")).expect("base64");
        serde_json::from_slice(&inner).expect("a chunk of JSON")
    };
    messages(bytes).into_iter().map(chunk).collect()
}

/// The bodies of server-sent events, without the last, which says that there are no more.
pub fn sse(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("text");
    let mut events: Vec<&str> = text.split_terminator("\n\n").map(|event| &event["data: ".len()..]).collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    events.into_iter().map(|event| serde_json::from_str(event).expect("an event of JSON")).collect()
}
