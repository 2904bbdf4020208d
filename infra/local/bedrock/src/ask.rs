//! What a call asks, whatever API and family its body is of.

mod chat;
mod converse;
mod invoke;
mod read;

use serde_json::Value;

use crate::family::Family;
use crate::fault::Fault;
use crate::prices::Model;
use crate::target::Operation;
use crate::tokens;

/// Tokens of a request beside its parts.
const FRAME: u64 = 7;
/// Tokens of a message beside its text.
const MESSAGE: u64 = 4;
/// Tokens of the prompt that tells a model how to call tools.
const TOOLS: u64 = 346;

/// A part of what the model reads, in the order in which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// Something else, of so many tokens.
    Other(u64),
    /// Everything before this is asked to be kept in the cache.
    Mark {
        for_an_hour: bool,
    },
}

/// Which tool the model has to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    #[default]
    Free,
    Any,
    Named(String),
}

/// A guardrail that looks at what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guardrail {
    pub id: String,
    /// Whether the answer shows what it did.
    pub is_traced: bool,
}

/// A call's question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    pub pieces: Vec<Piece>,
    pub messages: u64,
    pub tools: Vec<String>,
    pub tool_choice: ToolChoice,
    pub max_tokens: Option<u64>,
    /// Tokens to think with, where thinking is asked for.
    pub thinking: Option<u64>,
    pub answers: u64,
    pub tier: Option<String>,
    pub guardrail: Option<Guardrail>,
    /// Whether a body of chat completions asks for a stream.
    pub streams: bool,
    /// Whether a stream of chat completions asks for its usage.
    pub includes_usage: bool,
    /// The text of the last message, in which a test may say how the call is to go.
    pub last_text: String,
}

impl Ask {
    /// Reads a body.
    ///
    /// # Errors
    /// When the operation's own validation refuses it.
    pub fn read(operation: Operation, family: Family, body: &[u8]) -> Result<Self, Fault> {
        let body = read::json(body)?;
        let ask = match operation {
            Operation::Converse | Operation::ConverseStream => converse::read(&body)?,
            Operation::InvokeModel | Operation::InvokeModelWithResponseStream => invoke::read(family, &body)?,
            Operation::ChatCompletions => chat::read(&body)?,
            Operation::CountTokens => Self::to_count(family, &body)?,
        };
        if ask.messages == 0 {
            return Err(Fault::invalid("A conversation must have at least one message."));
        }
        Ok(ask)
    }

    /// The body within a question of how many tokens it has.
    fn to_count(family: Family, body: &Value) -> Result<Self, Fault> {
        let input = &body["input"];
        if input["converse"].is_object() {
            return converse::read(&input["converse"]);
        }
        let encoded = input["invokeModel"]["body"].as_str();
        let encoded = encoded.ok_or_else(|| Fault::invalid("input must be one of converse and invokeModel."))?;
        invoke::read_uncounted(family, &read::json(&read::base64(encoded)?)?)
    }

    /// The model that a body of chat completions names.
    pub fn model_of_chat(body: &[u8]) -> Result<String, Fault> {
        let body = read::json(body)?;
        body["model"].as_str().map(str::to_owned).ok_or_else(|| Fault::invalid("model must be given."))
    }

    /// Tokens up to each piece's end, and of the whole.
    pub fn token_sums(&self) -> (Vec<u64>, u64) {
        let frame = FRAME + self.messages * MESSAGE + if self.tools.is_empty() { 0 } else { TOOLS };
        let mut sum = frame;
        let sums = self.pieces.iter().map(|piece| {
            sum += match piece {
                Piece::Text(text) => tokens::count(text),
                Piece::Other(tokens) => *tokens,
                Piece::Mark { .. } => 0,
            };
            sum
        });
        let sums: Vec<u64> = sums.collect();
        (sums, sum)
    }

    /// Characters of its text: what a guardrail looks at.
    pub fn characters(&self) -> u64 {
        let texts = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.chars().count() as u64,
            Piece::Other(_) | Piece::Mark { .. } => 0,
        });
        texts.sum()
    }

    /// Whether the model takes it.
    ///
    /// # Errors
    /// With the words of the service.
    pub fn check(&self, model: &Model, tier: &str) -> Result<(), Fault> {
        let most = model.max_output_tokens;
        if let Some(asked) = self.max_tokens {
            if asked == 0 {
                return Err(Fault::invalid("The maximum tokens must be at least 1."));
            }
            if asked > most {
                return Err(Fault::invalid(format!(
                    "The maximum tokens you requested exceeds the model limit of {most}. Try again with a maximum tokens \
                     value that is lower than {most}."
                )));
            }
        }
        if let Some(thinking) = self.thinking
            && (thinking < 1_024 || thinking >= self.max_tokens.unwrap_or(most))
        {
            return Err(Fault::invalid("budget_tokens must be at least 1024 and less than the maximum tokens."));
        }
        if !model.tiers.contains_key(tier) {
            return Err(Fault::invalid(format!("The provided model does not support the service tier {tier}.")));
        }
        let marks = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Mark { for_an_hour } => Some(*for_an_hour),
            Piece::Text(_) | Piece::Other(_) => None,
        });
        let marks: Vec<bool> = marks.collect();
        if marks.len() > 4 || !marks.iter().all(|for_an_hour| model.caches(tier, *for_an_hour)) {
            return Err(Fault::invalid("The model does not support these cache points, or there are more than 4."));
        }
        if self.guardrail.is_some() && model.guardrail_text_unit.is_none() {
            return Err(Fault::invalid("The model does not support guardrails."));
        }
        Ok(())
    }
}
