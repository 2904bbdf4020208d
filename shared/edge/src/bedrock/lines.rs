//! Server-sent events, read while they pass, cut anywhere on their way.
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//!
//! **Invariant:** what goes on is what came, but for whole events that are to be left out; no more than one event is kept back.

use bytes::{Bytes, BytesMut};

/// Bytes of an event at most. What is longer is handed on as it comes, and nothing is read of the stream any more.
const MOST_BYTES: usize = 4 << 20;

/// A stream of events, as far as it has come.
#[derive(Debug, Default)]
pub struct Lines {
    pending: BytesMut,
    /// How much of it has no end of an event.
    looked: usize,
    /// Whether an event may be left out, so that each is kept back until it is whole.
    keeps_back: bool,
    is_lost: bool,
}

impl Lines {
    pub fn new(keeps_back: bool) -> Self {
        Self { keeps_back, ..Self::default() }
    }

    /// Takes what has come and gives what goes on. `stays` sees the data of each event that is whole by that.
    pub fn push(&mut self, bytes: Bytes, mut stays: impl FnMut(&str) -> bool) -> Bytes {
        if self.is_lost {
            return bytes;
        }
        self.pending.extend_from_slice(&bytes);
        let mut on = BytesMut::new();
        while let Some(end) = self.end() {
            let event = self.pending.split_to(end);
            self.looked = 0;
            if stays(&data(&event)) {
                on.extend_from_slice(&event);
            }
        }
        if self.pending.len() > MOST_BYTES {
            self.is_lost = true;
            on.extend_from_slice(&std::mem::take(&mut self.pending));
        }
        if self.keeps_back { on.freeze() } else { bytes }
    }

    /// Where the first event ends: behind the first empty line.
    fn end(&mut self) -> Option<usize> {
        // An end may have begun in what was looked at before.
        let from = self.looked.saturating_sub(3);
        let bytes = self.pending.get(from..)?;
        let found = bytes.iter().enumerate().find_map(|(at, byte)| match (byte, &bytes[at + 1..]) {
            (b'\n', [b'\n', ..]) => Some(from + at + 2),
            (b'\n', [b'\r', b'\n', ..]) => Some(from + at + 3),
            _ => None,
        });
        self.looked = self.pending.len();
        found
    }

    /// The end of the stream: what goes on of an event that was not ended.
    pub fn rest(&mut self, mut stays: impl FnMut(&str) -> bool) -> Bytes {
        let rest = std::mem::take(&mut self.pending);
        let stays = stays(&data(&rest));
        if self.keeps_back && stays { rest.freeze() } else { Bytes::new() }
    }

    /// Whether an event is under way.
    pub fn is_within(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// The data of an event.
fn data(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(str::trim).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Wherever a stream is cut, the same events come, and all but those to be left out go on.
        #[test]
        fn events_are_the_same_however_they_are_cut(
            events in proptest::collection::vec(("[a-z\"{}]{0,12}", any::<bool>()), 0..6),
            end in prop_oneof![Just("\n\n"), Just("\r\n\r\n")],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            keeps_back in any::<bool>(),
            is_ended in any::<bool>(),
        ) {
            let written: Vec<String> = events.iter().enumerate().map(|(index, (text, is_left_out))| {
                let mark = if *is_left_out { "-" } else { "+" };
                let end = if is_ended || index + 1 < events.len() { end } else { "" };
                format!("data: {mark}{text}{end}")
            }).collect();
            let stream = written.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let (mut lines, mut seen, mut on) = (Lines::new(keeps_back), Vec::new(), Vec::new());
            let mut stays = |data: &str| {
                if !data.is_empty() {
                    seen.push(data.to_owned());
                }
                !data.starts_with('-')
            };
            for pair in at.windows(2) {
                on.extend_from_slice(&lines.push(Bytes::copy_from_slice(&stream.as_bytes()[pair[0]..pair[1]]), &mut stays));
            }
            on.extend_from_slice(&lines.rest(&mut stays));
            let data: Vec<String> = written.iter().map(|event| event.trim_start_matches("data:").trim().to_owned()).collect();
            prop_assert_eq!(seen, data);
            let kept = written.iter().zip(&events).filter(|(_, (_, is_left_out))| !keeps_back || !is_left_out);
            prop_assert_eq!(String::from_utf8(on).expect("text"), kept.map(|(event, _)| event.as_str()).collect::<String>());
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_good() {
        let mut lines = Lines::new(true);
        let part = Bytes::from(vec![b'x'; MOST_BYTES]);
        assert!(lines.push(part.clone(), |_| true).is_empty());
        assert_eq!(lines.push(part.clone(), |_| true).len(), 2 * MOST_BYTES);
        assert_eq!(lines.push(part.clone(), |_| true), part);
    }
}
