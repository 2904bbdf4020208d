//! AWS' event streams, read while they pass: messages in frames of their own length, cut anywhere on their way.
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html>
//!
//! **Invariant:** no more than one frame is kept.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Buf, Bytes, BytesMut};
use serde_json::json;

/// The length of a frame, that of its headers, and the checksum of both.
const PRELUDE_BYTES: usize = 12;
/// Bytes of a frame at most, by the format.
const MOST_BYTES: usize = 24 << 20;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is an event, and no exception.
    pub is_event: bool,
    /// The type of the event, or of the exception.
    pub name: String,
    pub payload: Bytes,
}

/// A stream of frames, as far as it has come.
#[derive(Debug, Default)]
pub struct Frames {
    pending: BytesMut,
    /// Whether something has come that is no frame: nothing after it can be told apart.
    is_lost: bool,
}

impl Frames {
    /// Takes what has come, and hands on each frame that is whole by that.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&Frame)) {
        if self.is_lost {
            return;
        }
        self.pending.extend_from_slice(bytes);
        while let Some(length) = self.length() {
            if !(PRELUDE_BYTES + 4..=MOST_BYTES).contains(&length) {
                return self.lose();
            }
            if self.pending.len() < length {
                return;
            }
            let Ok(message) = read_message_from(&self.pending[..length]) else { return self.lose() };
            self.pending.advance(length);
            each(&frame(&message));
        }
    }

    /// Bytes of the frame under way, once it has said so.
    fn length(&self) -> Option<usize> {
        let length = self.pending.get(..4)?.try_into().ok()?;
        (self.pending.len() >= PRELUDE_BYTES).then(|| u32::from_be_bytes(length) as usize)
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.pending = BytesMut::new();
    }

    /// What tells whoever reads the stream that it ends too early: an exception. In the middle of a frame it stands behind as many
    /// bytes as that lacks, so that the frame's checksum is wrong. Without that, readers take what came for the whole.
    pub fn broken(&self, message: &str) -> Bytes {
        let mut length = [0; 4];
        length.iter_mut().zip(&self.pending).for_each(|(byte, known)| *byte = *known);
        let whole = (u32::from_be_bytes(length) as usize).clamp(PRELUDE_BYTES, MOST_BYTES);
        let lacks = if self.pending.is_empty() { 0 } else { whole.saturating_sub(self.pending.len()) };
        let mut written = BytesMut::zeroed(lacks);
        let text = |name: &'static str, value: &'static str| Header::new(name, HeaderValue::String(value.into()));
        let exception = Message::new(json!({"message": message}).to_string())
            .add_header(text(":message-type", "exception"))
            .add_header(text(":exception-type", "modelStreamErrorException"))
            .add_header(text(":content-type", "application/json"));
        // What cannot be written is left out: the frame that is wrong says enough.
        let _unwritten = write_message_to(&exception, &mut written);
        written.freeze()
    }
}

fn frame(message: &Message) -> Frame {
    let header = |name: &str| {
        let found = message.headers().iter().find(|header| header.name().as_str() == name);
        found.and_then(|header| header.value().as_string().ok()).map(|text| text.as_str().to_owned())
    };
    let is_event = header(":message-type").as_deref() == Some("event");
    let name = header(if is_event { ":event-type" } else { ":exception-type" }).unwrap_or_default();
    Frame { is_event, name, payload: message.payload().clone() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An event as Bedrock sends it.
    pub(crate) fn event(name: &str, payload: &str) -> Vec<u8> {
        let text = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
        let message = Message::new(payload.to_owned())
            .add_header(text(":event-type", name))
            .add_header(text(":content-type", "application/json"))
            .add_header(text(":message-type", "event"));
        let mut written = Vec::new();
        write_message_to(&message, &mut written).expect("a frame");
        written
    }

    fn read(frames: &mut Frames, chunks: &[&[u8]]) -> Vec<(bool, String, String)> {
        let mut found = Vec::new();
        for chunk in chunks {
            frames.push(chunk, |frame| {
                let payload = String::from_utf8_lossy(&frame.payload).into_owned();
                found.push((frame.is_event, frame.name.clone(), payload));
            });
        }
        found
    }

    proptest! {
        /// Wherever a stream is cut, the same frames come; and a stream that ends too early says so.
        #[test]
        fn frames_are_the_same_however_they_are_cut(
            payloads in proptest::collection::vec("\\PC{0,40}", 0..6),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            end in any::<prop::sample::Index>(),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| event("chunk", payload)).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let expected: Vec<_> = payloads.iter().map(|payload| (true, "chunk".to_owned(), payload.clone())).collect();
            prop_assert_eq!(read(&mut Frames::default(), &chunks), expected.clone());
            // Broken off: what its reader gets beside is an exception, or a frame that is wrong.
            let (mut broken, end) = (Frames::default(), end.index(stream.len() + 1));
            let came = read(&mut broken, &[&stream[..end]]).len();
            let mut reader = Frames::default();
            let seen = read(&mut reader, &[&stream[..end], &broken.broken("over")]);
            let is_exception = seen.get(came..).and_then(<[_]>::last).is_some_and(|(is_event, name, _)| {
                !is_event && name == "modelStreamErrorException"
            });
            prop_assert!(is_exception || (reader.is_lost && !broken.pending.is_empty()));
        }

        #[test]
        fn what_is_no_stream_of_frames_is_lost_quietly(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            prop_assert!(read(&mut frames, &[&bytes]).is_empty());
            prop_assert!(frames.pending.len() <= bytes.len());
        }
    }
}
