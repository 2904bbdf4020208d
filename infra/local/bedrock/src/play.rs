//! How a call is to go, in words: `tokens=200 abort after=3`.
//!
//! The same words work in three places: in the prompt, as `[[bedrock tokens=200 abort after=3]]` in the last message; in the
//! header `x-bedrock-play`; and as a line of a script given over the control port. A script goes before the prompt, the header
//! before both. A word that is not known is an error of the call, so that no test passes by a misspelling.

use crate::fault::{Fault, Kind};

/// The header in which a client may say how its call is to go.
pub const HEADER: &str = "x-bedrock-play";

const OPENING: &str = "[[bedrock ";
const CLOSING: &str = "]]";

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `error=…`: refused before the model ran. It costs nothing.
    Refused(Kind),
    /// `late-error=…`: answered with an error although the model ran to its end.
    Late(Kind),
    /// `exception=…`: a modelled exception within the stream, after so many of its frames (`after=`).
    Exception(Kind),
    /// `abort`: the connection breaks after so many frames of a stream, or in the middle of a buffered answer.
    Abort,
    /// `reset`: the connection breaks without any answer although the model ran to its end.
    Reset,
}

/// How fast a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// `pause=…`: milliseconds before each frame, or before a buffered answer.
    Paused(u64),
    /// `stepped`: each frame waits until it is let go over the control port; a buffered answer is one frame.
    Stepped,
    /// `silence`: nothing is answered, no head either, until the call is released.
    Silent,
}

/// How much a call writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Tokens(u64),
    /// `tokens=max`: as much as it may.
    Most,
}

/// How a call is to go. What is not said is left to the stand-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Play {
    /// `name=…`: by which the control port finds the call.
    pub name: Option<String>,
    pub failure: Option<Failure>,
    /// `after=…`: frames before a stream's abort or exception; 2 unless said.
    pub after: Option<usize>,
    /// `retry-after=…`: seconds.
    pub retry_after: Option<u64>,
    pub pace: Option<Pace>,
    pub length: Option<Length>,
    /// `thinking=…`: tokens of thought before the answer.
    pub thinking: Option<u64>,
    /// `tool`: the answer is a call of the first tool.
    pub tool: bool,
    /// `input=…`: tokens that were read, whatever the request is. A way above every bound.
    pub input: Option<u64>,
    /// `cache-read=…`, `cache-write=…`, `cache-write-1h=…`: parts of what was read.
    pub cache_read: Option<u64>,
    pub cache_write_5m: Option<u64>,
    pub cache_write_1h: Option<u64>,
    /// `tier=…`: the service tier that really serves it.
    pub tier: Option<String>,
    /// `no-usage`: nothing is said of it, nowhere.
    pub without_usage: bool,
    /// `cache-twice`: tokens written to the cache are reported twice.
    pub cache_twice: bool,
}

impl Play {
    /// # Errors
    /// When a word is not known, or has not the value that it needs.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut play = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            play.take(name, value).ok_or_else(|| Fault::invalid(format!("the stand-in knows no {word:?}")))?;
        }
        Ok(play)
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        let number = || value.and_then(|value| value.parse::<u64>().ok());
        match (name, value) {
            ("name", Some(value)) => self.name = Some(value.to_owned()),
            ("error", Some(kind)) => self.failure = Some(Failure::Refused(Kind::named(kind)?)),
            ("late-error", Some(kind)) => self.failure = Some(Failure::Late(Kind::named(kind)?)),
            ("exception", Some(kind)) => self.failure = Some(Failure::Exception(Fault::stream_kind(kind)?)),
            ("abort", None) => self.failure = Some(Failure::Abort),
            ("reset", None) => self.failure = Some(Failure::Reset),
            ("after", _) => self.after = Some(usize::try_from(number()?).ok()?),
            ("retry-after", _) => self.retry_after = Some(number()?),
            ("pause", _) => self.pace = Some(Pace::Paused(number()?)),
            ("stepped", None) => self.pace = Some(Pace::Stepped),
            ("silence", None) => self.pace = Some(Pace::Silent),
            ("tokens", Some("max")) => self.length = Some(Length::Most),
            ("tokens", _) => self.length = Some(Length::Tokens(number()?)),
            ("thinking", _) => self.thinking = Some(number()?),
            ("tool", None) => self.tool = true,
            ("input", _) => self.input = Some(number()?),
            ("cache-read", _) => self.cache_read = Some(number()?),
            ("cache-write", _) => self.cache_write_5m = Some(number()?),
            ("cache-write-1h", _) => self.cache_write_1h = Some(number()?),
            ("tier", Some(value)) => self.tier = Some(value.to_owned()),
            ("no-usage", None) => self.without_usage = true,
            ("cache-twice", None) => self.cache_twice = true,
            _ => return None,
        }
        Some(())
    }

    /// What a prompt says, if it says anything; of several the last.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn in_prompt(text: &str) -> Result<Self, Fault> {
        let said = text.rfind(OPENING).map(|start| &text[start + OPENING.len()..]);
        match said.and_then(|rest| rest.split_once(CLOSING)) {
            Some((words, _)) => Self::parse(words),
            None => Ok(Self::default()),
        }
    }

    /// With what `stronger` says instead.
    #[must_use]
    pub fn overridden_by(self, stronger: Self) -> Self {
        Self {
            name: stronger.name.or(self.name),
            failure: stronger.failure.or(self.failure),
            after: stronger.after.or(self.after),
            retry_after: stronger.retry_after.or(self.retry_after),
            pace: stronger.pace.or(self.pace),
            length: stronger.length.or(self.length),
            thinking: stronger.thinking.or(self.thinking),
            tool: stronger.tool || self.tool,
            input: stronger.input.or(self.input),
            cache_read: stronger.cache_read.or(self.cache_read),
            cache_write_5m: stronger.cache_write_5m.or(self.cache_write_5m),
            cache_write_1h: stronger.cache_write_1h.or(self.cache_write_1h),
            tier: stronger.tier.or(self.tier),
            without_usage: stronger.without_usage || self.without_usage,
            cache_twice: stronger.cache_twice || self.cache_twice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_prompt_count() {
        let play =
            Play::in_prompt("a [[bedrock error=429]] b [[bedrock tokens=7 abort after=3 name=x]] c").expect("a play");
        let expected = Play {
            name: Some("x".to_owned()),
            failure: Some(Failure::Abort),
            after: Some(3),
            length: Some(Length::Tokens(7)),
            ..Play::default()
        };
        assert_eq!(play, expected);
        assert_eq!(Play::in_prompt("nothing [bedrock] here"), Ok(Play::default()));
    }

    #[test]
    fn what_is_not_known_is_an_error_and_never_nothing() {
        for words in [
            "abrot",
            "error=418",
            "tokens",
            "tokens=-1",
            "after=x",
            "silence=1",
            "exception=accessDeniedException",
            "name",
        ] {
            assert!(Play::parse(words).is_err(), "{words}");
        }
    }

    #[test]
    fn the_stronger_word_wins_and_the_rest_stays() {
        let prompt = Play::parse("tokens=5 error=429 name=a").expect("a play");
        let play = prompt.overridden_by(Play::parse("error=503").expect("a play"));
        assert_eq!(play, Play::parse("tokens=5 error=503 name=a").expect("a play"));
    }
}
