//! Bodies of `InvokeModel`, one form for each family.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>

use serde_json::Value;

use super::read::{list, other, text_of, texts, whole};
use super::{Ask, Piece, ToolChoice, chat, converse};
use crate::family::Family;
use crate::fault::Fault;

pub(super) fn read(family: Family, body: &Value) -> Result<Ask, Fault> {
    let ask = read_uncounted(family, body)?;
    if family == Family::Anthropic && ask.max_tokens.is_none() {
        return Err(Fault::invalid("max_tokens: Field required"));
    }
    Ok(ask)
}

/// As it may stand in a question of how many tokens it has: without a limit.
pub(super) fn read_uncounted(family: Family, body: &Value) -> Result<Ask, Fault> {
    match family {
        Family::Anthropic => anthropic(body),
        Family::Nova => nova(body),
        Family::Ai21 | Family::OpenAi => chat::read(body),
        Family::Llama => prompt(body, "prompt", &body["max_gen_len"]),
        Family::Titan => prompt(body, "inputText", &body["textGenerationConfig"]["maxTokenCount"]),
        Family::Mistral if body["messages"].is_array() => chat::read(body),
        Family::Mistral => prompt(body, "prompt", &body["max_tokens"]),
        Family::Cohere => cohere(body),
    }
}

/// One text, and a limit.
fn prompt(body: &Value, name: &str, max_tokens: &Value) -> Result<Ask, Fault> {
    let text = body[name].as_str().ok_or_else(|| Fault::invalid(format!("{name} is required.")))?;
    Ok(Ask {
        pieces: vec![Piece::Text(text.to_owned())],
        messages: 1,
        max_tokens: whole(max_tokens, "the limit of tokens")?,
        answers: 1,
        last_text: text.to_owned(),
        ..Ask::default()
    })
}

/// Command R has a message and a history; Command has a prompt.
fn cohere(body: &Value) -> Result<Ask, Fault> {
    let name = if body["message"].is_string() { "message" } else { "prompt" };
    let mut ask = prompt(body, name, &body["max_tokens"])?;
    ask.answers = whole(&body["num_generations"], "num_generations")?.unwrap_or(1);
    let before = [&body["preamble"], &body["chat_history"], &body["documents"], &body["tools"]];
    let before: Vec<Piece> = before.into_iter().filter(|value| !value.is_null()).map(text_of).collect();
    ask.pieces.splice(0..0, before);
    Ok(ask)
}

fn nova(body: &Value) -> Result<Ask, Fault> {
    let mut ask = converse::read(body)?;
    if ask.max_tokens.is_none() {
        ask.max_tokens = whole(&body["inferenceConfig"]["max_new_tokens"], "max_new_tokens")?;
    }
    Ok(ask)
}

fn anthropic(body: &Value) -> Result<Ask, Fault> {
    let mut ask = Ask { answers: 1, ..Ask::default() };
    for tool in list(&body["tools"]) {
        if let Some(name) = tool["name"].as_str() {
            ask.tools.push(name.to_owned());
        }
        ask.pieces.push(text_of(tool));
        mark(&mut ask.pieces, tool)?;
    }
    let choice = &body["tool_choice"];
    if let Some(name) = choice["name"].as_str() {
        ask.tool_choice = ToolChoice::Named(name.to_owned());
    } else if choice["type"] == "any" {
        ask.tool_choice = ToolChoice::Any;
    }
    blocks(&mut ask.pieces, &body["system"])?;
    for message in list(&body["messages"]) {
        let mut pieces = Vec::new();
        blocks(&mut pieces, &message["content"])?;
        ask.messages += 1;
        ask.last_text = texts(&pieces);
        ask.pieces.append(&mut pieces);
    }
    ask.max_tokens = whole(&body["max_tokens"], "max_tokens")?;
    ask.thinking = converse::thinking(body)?;
    Ok(ask)
}

/// A text, or blocks of which each may have a marker.
fn blocks(pieces: &mut Vec<Piece>, content: &Value) -> Result<(), Fault> {
    if content.is_string() {
        pieces.push(text_of(content));
    }
    for block in list(content) {
        match block["type"].as_str() {
            Some("text") => pieces.push(text_of(&block["text"])),
            Some("thinking") => pieces.push(text_of(&block["thinking"])),
            Some("tool_use") => pieces.push(text_of(block)),
            Some("tool_result") => blocks(pieces, &block["content"])?,
            Some(_) | None => pieces.push(other(block)),
        }
        mark(pieces, block)?;
    }
    Ok(())
}

/// `cache_control: {type: ephemeral, ttl: 5m | 1h}`.
fn mark(pieces: &mut Vec<Piece>, block: &Value) -> Result<(), Fault> {
    let control = &block["cache_control"];
    if control.is_null() {
        return Ok(());
    }
    let for_an_hour = match control["ttl"].as_str() {
        None | Some("5m") => false,
        Some("1h") => true,
        Some(ttl) => return Err(Fault::invalid(format!("cache_control.ttl must be 5m or 1h, not {ttl}."))),
    };
    pieces.push(Piece::Mark { for_an_hour });
    Ok(())
}
