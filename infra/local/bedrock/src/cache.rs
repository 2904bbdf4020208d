//! The prompt cache: what was read before a marker is kept for five minutes or an hour, for each model by itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::ask::{Ask, Piece};

/// How the tokens that a call reads divide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub read: u64,
    pub write_5m: u64,
    pub write_1h: u64,
}

/// What is kept, and until when.
#[derive(Default)]
pub struct Cache {
    kept: HashMap<[u8; 32], Instant>,
}

/// What stands before one marker.
struct Prefix {
    key: [u8; 32],
    tokens: u64,
    for_an_hour: bool,
}

fn prefixes(model: &str, ask: &Ask) -> Vec<Prefix> {
    let (sums, _) = ask.token_sums();
    let mut hash = Sha256::new_with_prefix(model);
    let mut prefixes = Vec::new();
    for (piece, tokens) in ask.pieces.iter().zip(sums) {
        match piece {
            Piece::Text(text) => {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            Piece::Other(tokens) => hash.update(tokens.to_be_bytes()),
            Piece::Mark { for_an_hour } => {
                prefixes.push(Prefix { key: hash.clone().finalize().into(), tokens, for_an_hour: *for_an_hour });
            }
        }
    }
    prefixes
}

impl Cache {
    /// How the tokens of a call divide; from now on the cache has what the call writes.
    pub fn take(&mut self, model: &str, ask: &Ask, now: Instant) -> Split {
        let prefixes = prefixes(model, ask);
        let is_kept = |prefix: &Prefix| self.kept.get(&prefix.key).is_some_and(|until| now < *until);
        let known = prefixes.iter().rposition(is_kept);
        let mut split = Split { read: known.map_or(0, |last| prefixes[last].tokens), ..Split::default() };
        let mut before = split.read;
        for prefix in &prefixes[known.map_or(0, |last| last + 1)..] {
            let written = prefix.tokens.saturating_sub(before);
            *(if prefix.for_an_hour { &mut split.write_1h } else { &mut split.write_5m }) += written;
            before = prefix.tokens;
        }
        for prefix in prefixes {
            let life = Duration::from_secs(if prefix.for_an_hour { 3_600 } else { 300 });
            self.kept.insert(prefix.key, now + life);
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(texts: &[(&str, Option<bool>)]) -> Ask {
        let mut ask = Ask { messages: 1, ..Ask::default() };
        for (text, mark) in texts {
            ask.pieces.push(Piece::Text((*text).to_owned()));
            ask.pieces.extend(mark.map(|for_an_hour| Piece::Mark { for_an_hour }));
        }
        ask
    }

    #[test]
    fn the_first_call_writes_and_the_next_reads_until_the_time_is_over() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let question = ask(&[("one two three", Some(true)), ("four five", Some(false)), ("six", None)]);
        let first = cache.take("m", &question, now);
        assert_eq!(first, Split { read: 0, write_5m: 2, write_1h: 14 });
        let second = cache.take("m", &question, now + Duration::from_secs(299));
        assert_eq!(second, Split { read: 16, ..Split::default() });
        let later = cache.take("m", &question, now + Duration::from_secs(299 + 301));
        assert_eq!(later, Split { read: 14, write_5m: 2, write_1h: 0 });
        assert_eq!(cache.take("another", &question, now), first);
    }

    #[test]
    fn without_markers_nothing_is_kept() {
        let mut cache = Cache::default();
        assert_eq!(cache.take("m", &ask(&[("one", None)]), Instant::now()), Split::default());
    }
}
