//! Frames: the binary messages of AWS event streams, and the lines of server-sent events.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Event, Frame};
use crate::fault::{Fault, Kind};

/// Bedrock pads its frames, so that their lengths tell nothing of the words in them.
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

fn message(kind: &str, name: &'static str, value: &str, payload: &Value) -> Result<Bytes, Fault> {
    let header = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(payload.to_string())
        .add_header(header(name, value))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", kind));
    let mut buffer = Vec::new();
    write_message_to(&message, &mut buffer).map_err(|error| Fault::new(Kind::InternalServer, error.to_string()))?;
    Ok(buffer.into())
}

fn padded(mut payload: Value) -> Value {
    let length = payload.to_string().len() % PADDING.len();
    payload["p"] = PADDING[..=length].into();
    payload
}

fn framed(events: Vec<Event>, payload: impl Fn(Value) -> Value) -> Result<Vec<Frame>, Fault> {
    let frame = |event: Event| {
        let bytes = message("event", ":event-type", event.kind, &padded(payload(event.body)))?;
        Ok(Frame { bytes, output: event.output })
    };
    events.into_iter().map(frame).collect()
}

/// Of `ConverseStream`.
pub(super) fn events(events: Vec<Event>) -> Result<Vec<Frame>, Fault> {
    framed(events, |body| body)
}

/// Of `InvokeModelWithResponseStream`: each has a body of the family in base64.
pub(super) fn chunks(events: Vec<Event>) -> Result<Vec<Frame>, Fault> {
    framed(events, |body| json!({"bytes": STANDARD.encode(body.to_string())}))
}

/// Of chat completions.
pub(super) fn sse(events: Vec<Event>) -> Vec<Frame> {
    let output = events.last().map_or(0, |event| event.output);
    let frame = |event: Event| Frame { bytes: format!("data: {}\n\n", event.body).into(), output: event.output };
    let done = Frame { bytes: Bytes::from_static(b"data: [DONE]\n\n"), output };
    events.into_iter().map(frame).chain([done]).collect()
}

pub(super) fn exception(name: &str, payload: &Value) -> Result<Bytes, Fault> {
    message("exception", ":exception-type", name, payload)
}
