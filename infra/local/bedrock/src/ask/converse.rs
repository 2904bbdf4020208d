//! A body of `Converse`.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>

use serde_json::Value;

use super::read::{list, other, text_of, texts, whole};
use super::{Ask, Guardrail, Piece, ToolChoice};
use crate::fault::Fault;

pub(super) fn read(body: &Value) -> Result<Ask, Fault> {
    let mut ask = Ask { answers: 1, ..Ask::default() };
    read_tools(&mut ask, &body["toolConfig"])?;
    for block in list(&body["system"]) {
        read_block(&mut ask.pieces, block)?;
    }
    for message in list(&body["messages"]) {
        let mut pieces = Vec::new();
        for block in list(&message["content"]) {
            read_block(&mut pieces, block)?;
        }
        ask.messages += 1;
        ask.last_text = texts(&pieces);
        ask.pieces.append(&mut pieces);
    }
    ask.max_tokens = whole(&body["inferenceConfig"]["maxTokens"], "inferenceConfig.maxTokens")?;
    let more = &body["additionalModelRequestFields"];
    ask.thinking = thinking(more)?;
    ask.tier = body["serviceTier"]["type"].as_str().map(str::to_owned);
    let guardrail = &body["guardrailConfig"];
    ask.guardrail = guardrail["guardrailIdentifier"].as_str().filter(|id| !id.is_empty()).map(|id| Guardrail {
        id: id.to_owned(),
        is_traced: guardrail["trace"].as_str().is_some_and(|trace| trace.starts_with("enabled")),
    });
    Ok(ask)
}

/// Anthropic's, which Converse passes on.
pub(super) fn thinking(fields: &Value) -> Result<Option<u64>, Fault> {
    if fields["thinking"]["type"] == "enabled" {
        return whole(&fields["thinking"]["budget_tokens"], "thinking.budget_tokens");
    }
    Ok(None)
}

fn read_tools(ask: &mut Ask, config: &Value) -> Result<(), Fault> {
    for tool in list(&config["tools"]) {
        if tool["cachePoint"].is_object() {
            ask.pieces.push(mark(&tool["cachePoint"])?);
            continue;
        }
        if let Some(name) = tool["toolSpec"]["name"].as_str() {
            ask.tools.push(name.to_owned());
        }
        ask.pieces.push(text_of(tool));
    }
    let choice = &config["toolChoice"];
    if let Some(name) = choice["tool"]["name"].as_str() {
        ask.tool_choice = ToolChoice::Named(name.to_owned());
    } else if choice["any"].is_object() {
        ask.tool_choice = ToolChoice::Any;
    }
    Ok(())
}

/// `{type: default, ttl: 5m | 1h}`.
fn mark(point: &Value) -> Result<Piece, Fault> {
    match point["ttl"].as_str() {
        None | Some("5m") => Ok(Piece::Mark { for_an_hour: false }),
        Some("1h") => Ok(Piece::Mark { for_an_hour: true }),
        Some(ttl) => Err(Fault::invalid(format!("A cache point's ttl must be 5m or 1h, not {ttl}."))),
    }
}

/// A block has one kind; but Nova's own bodies have a cache point beside a text.
fn read_block(pieces: &mut Vec<Piece>, block: &Value) -> Result<(), Fault> {
    let parts = block.as_object().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| Fault::invalid("A content block must not be empty."))?;
    for (kind, value) in parts.iter().filter(|(kind, _)| *kind != "cachePoint") {
        read_part(pieces, kind, value)?;
    }
    if let Some(point) = parts.get("cachePoint") {
        pieces.push(mark(point)?);
    }
    Ok(())
}

fn read_part(pieces: &mut Vec<Piece>, kind: &str, value: &Value) -> Result<(), Fault> {
    match kind {
        "text" | "toolUse" => pieces.push(text_of(value)),
        "guardContent" => pieces.push(text_of(&value["text"]["text"])),
        "reasoningContent" => pieces.push(text_of(&value["reasoningText"]["text"])),
        "toolResult" => {
            for part in list(&value["content"]) {
                if part["json"].is_null() {
                    read_block(pieces, part)?;
                } else {
                    pieces.push(text_of(&part["json"]));
                }
            }
        }
        _ => pieces.push(other(value)),
    }
    Ok(())
}
