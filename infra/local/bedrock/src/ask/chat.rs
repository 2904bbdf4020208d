//! A body of OpenAI's chat completions, which some families take in `InvokeModel` too.

use serde_json::Value;

use super::read::{list, other, text_of, texts, whole};
use super::{Ask, Piece, ToolChoice};
use crate::fault::Fault;

/// Tokens that a reasoning model of this kind thinks with at most, where it is asked to reason and nothing else is said.
const REASONING: u64 = 1_024;

pub(super) fn read(body: &Value) -> Result<Ask, Fault> {
    let mut ask = Ask { answers: whole(&body["n"], "n")?.unwrap_or(1), ..Ask::default() };
    if ask.answers == 0 || ask.answers > 16 {
        return Err(Fault::invalid("n must be from 1 to 16."));
    }
    for tool in list(&body["tools"]) {
        if let Some(name) = tool["function"]["name"].as_str() {
            ask.tools.push(name.to_owned());
        }
        ask.pieces.push(text_of(tool));
    }
    if let Some(name) = body["tool_choice"]["function"]["name"].as_str() {
        ask.tool_choice = ToolChoice::Named(name.to_owned());
    } else if body["tool_choice"] == "required" {
        ask.tool_choice = ToolChoice::Any;
    }
    for message in list(&body["messages"]) {
        let mut pieces = content(&message["content"]);
        pieces.extend(list(&message["tool_calls"]).iter().map(text_of));
        ask.messages += 1;
        ask.last_text = texts(&pieces);
        ask.pieces.append(&mut pieces);
    }
    ask.max_tokens =
        whole(&body["max_completion_tokens"], "max_completion_tokens")?.or(whole(&body["max_tokens"], "max_tokens")?);
    if body["reasoning_effort"].is_string() && ask.max_tokens.is_none_or(|most| most > REASONING) {
        ask.thinking = Some(REASONING);
    }
    ask.tier = body["service_tier"].as_str().filter(|tier| *tier != "auto").map(str::to_owned);
    ask.streams = body["stream"] == true;
    ask.includes_usage = body["stream_options"]["include_usage"] == true;
    Ok(ask)
}

fn content(content: &Value) -> Vec<Piece> {
    if content.is_string() {
        return vec![text_of(content)];
    }
    let part = |part: &Value| if part["type"] == "text" { text_of(&part["text"]) } else { other(part) };
    list(content).iter().map(part).collect()
}
