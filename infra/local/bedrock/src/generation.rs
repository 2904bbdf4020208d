//! What the model writes: words without a meaning, the same for the same request, as many as may be.
//!
//! **Invariant:** every answer, its thoughts included, has at most as many tokens as the call allows, and its text has exactly as
//! many as are said.

use crate::ask::{Ask, ToolChoice};
use crate::play::{Length, Play};
use crate::prices::Model;
use crate::tokens;

/// One token each, by the vocabulary of [`tokens`].
const WORDS: [&str; 30] = [
    "river", "stone", "quiet", "amber", "north", "garden", "paper", "window", "silver", "meadow", "candle", "harbor",
    "winter", "copper", "forest", "bridge", "signal", "marble", "cotton", "valley", "summer", "thread", "mirror",
    "basket", "island", "hollow", "ledger", "anchor", "timber", "velvet",
];
/// Steps of a stream at least, where the answer is long enough for them.
const STEPS: usize = 100;
/// Words of a step at least.
const STEP_WORDS: usize = 5;

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    EndTurn,
    MaxTokens,
    ToolUse,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON.
    pub arguments: String,
}

impl ToolCall {
    fn tokens(&self) -> u64 {
        tokens::count(&self.name) + tokens::count(&self.arguments)
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub words: Vec<&'static str>,
    pub tool: Option<ToolCall>,
    pub stop: Stop,
}

impl Answer {
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Everything that one call writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub thinking: Vec<&'static str>,
    pub answers: Vec<Answer>,
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Thinking(String),
    Text(String),
    Tool(ToolCall),
}

/// A part of a stream, and what was written with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub answer: usize,
    pub content: Content,
    /// Tokens written in the whole call, this part included.
    pub output: u64,
}

impl Generation {
    /// The same for the same seed.
    pub fn of(ask: &Ask, play: &Play, model: &Model, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = ask.max_tokens.unwrap_or(model.max_output_tokens);
        let thought = ask.thinking.map(|budget| random.u64(32..=256).min(budget));
        let thinking = words(play.thinking.or(thought).unwrap_or_default().min(limit), &mut random);
        let answers = (0..ask.answers.max(1)).map(|index| {
            let room = if index == 0 { limit - thinking.len() as u64 } else { limit };
            answer(ask, play, room, &mut random)
        });
        let answers = answers.collect();
        Self { thinking, answers }
    }

    /// Tokens, thinking included.
    pub fn tokens(&self) -> u64 {
        let of = |answer: &Answer| answer.words.len() as u64 + answer.tool.as_ref().map_or(0, ToolCall::tokens);
        self.thinking.len() as u64 + self.answers.iter().map(of).sum::<u64>()
    }

    /// The call as a stream tells it.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut output = 0;
        for (text, tokens) in parts(&self.thinking) {
            output += tokens;
            steps.push(Step { answer: 0, content: Content::Thinking(text), output });
        }
        for (index, answer) in self.answers.iter().enumerate() {
            for (text, tokens) in parts(&answer.words) {
                output += tokens;
                steps.push(Step { answer: index, content: Content::Text(text), output });
            }
            if let Some(tool) = &answer.tool {
                output += tool.tokens();
                steps.push(Step { answer: index, content: Content::Tool(tool.clone()), output });
            }
        }
        steps
    }

    /// Characters that it shows: what a guardrail looks at.
    pub fn characters(&self) -> u64 {
        self.answers.iter().map(|answer| answer.text().chars().count() as u64).sum()
    }
}

fn words(count: u64, random: &mut fastrand::Rng) -> Vec<&'static str> {
    (0..count).map(|_| WORDS[random.usize(..WORDS.len())]).collect()
}

/// A text in the parts of a stream, each with its tokens.
fn parts(words: &[&'static str]) -> Vec<(String, u64)> {
    let size = STEP_WORDS.max(words.len() / STEPS);
    let part = |(index, part): (usize, &[&'static str])| {
        let space = if index == 0 { "" } else { " " };
        (format!("{space}{}", part.join(" ")), part.len() as u64)
    };
    words.chunks(size).enumerate().map(part).collect()
}

fn answer(ask: &Ask, play: &Play, room: u64, random: &mut fastrand::Rng) -> Answer {
    if let Some(tool) = tool_call(ask, play, random).filter(|tool| tool.tokens() <= room) {
        return Answer { words: Vec::new(), tool: Some(tool), stop: Stop::ToolUse };
    }
    let wanted = match play.length {
        Some(Length::Tokens(tokens)) => tokens,
        Some(Length::Most) => u64::MAX,
        None => random.u64(16..=120),
    };
    let stop = if wanted > room { Stop::MaxTokens } else { Stop::EndTurn };
    Answer { words: words(wanted.min(room), random), tool: None, stop }
}

fn tool_call(ask: &Ask, play: &Play, random: &mut fastrand::Rng) -> Option<ToolCall> {
    let first = ask.tools.first();
    let name = match &ask.tool_choice {
        ToolChoice::Named(name) => ask.tools.iter().find(|tool| *tool == name)?,
        ToolChoice::Any => first?,
        ToolChoice::Free if play.tool => first?,
        ToolChoice::Free => return None,
    };
    let text = words(3, random).join(" ");
    let id = format!("tooluse_{:016x}", random.u64(..));
    Some(ToolCall { id, name: name.clone(), arguments: serde_json::json!({"text": text}).to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::PriceTable;
    use proptest::prelude::*;

    fn generation(ask: &Ask, play: &str, seed: u64) -> Generation {
        let table = PriceTable::built_in().expect("a table");
        let model = table.model("anthropic.claude-haiku-4-5-20251001-v1:0").expect("a model");
        Generation::of(ask, &Play::parse(play).expect("a play"), model, seed)
    }

    #[test]
    fn every_word_in_use_is_one_token() {
        for word in WORDS {
            assert_eq!((tokens::count(word), tokens::count(&format!(" {word}"))), (1, 1), "{word}");
        }
    }

    #[test]
    fn a_tool_is_called_where_it_must_be_and_fits() {
        let ask = Ask { tools: vec!["find".to_owned()], tool_choice: ToolChoice::Any, ..Ask::default() };
        assert_eq!(generation(&ask, "", 1).answers[0].stop, Stop::ToolUse);
        let short = Ask { max_tokens: Some(2), ..ask };
        assert_eq!(generation(&short, "", 1).answers[0].stop, Stop::MaxTokens);
    }

    proptest! {
        #[test]
        fn no_answer_is_longer_than_its_limit_and_steps_tell_the_whole(
            limit in 1_u64..3_000, thinking in 0_u64..3_000, length in 0_u64..4_000, answers in 1_u64..4, seed: u64
        ) {
            let ask = Ask { max_tokens: Some(limit), answers, ..Ask::default() };
            let play = format!("tokens={length} thinking={thinking}");
            let made = generation(&ask, &play, seed);
            prop_assert_eq!(&made, &generation(&ask, &play, seed));
            prop_assert!(made.tokens() <= limit * answers);
            for (index, answer) in made.answers.iter().enumerate() {
                let before = if index == 0 { made.thinking.len() } else { 0 };
                prop_assert!((before + answer.words.len()) as u64 <= limit);
                prop_assert_eq!(tokens::count(&answer.text()), answer.words.len() as u64);
                let is_cut = length > limit - before as u64;
                prop_assert_eq!(answer.stop == Stop::MaxTokens, is_cut);
            }
            let steps = made.steps();
            prop_assert_eq!(steps.last().map_or(0, |step| step.output), made.tokens());
            let told: String = steps.iter().filter_map(|step| match &step.content {
                Content::Text(text) if step.answer == 0 => Some(text.as_str()),
                Content::Text(_) | Content::Thinking(_) | Content::Tool(_) => None,
            }).collect();
            prop_assert_eq!(told, made.answers[0].text());
        }
    }
}
