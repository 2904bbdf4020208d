//! Reading parts of bodies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Piece;
use crate::fault::Fault;

/// Tokens of an image, a video, a document of which the size is not known.
const OTHER: u64 = 1_600;

pub(super) fn json(body: &[u8]) -> Result<Value, Fault> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Fault::invalid(format!("Malformed input request: {error}, please reformat your input and try again."))
    })?;
    if value.is_object() { Ok(value) } else { Err(Fault::invalid("Malformed input request: expected an object.")) }
}

pub(super) fn base64(text: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|error| Fault::invalid(format!("body is not base64: {error}")))
}

/// A whole number, where there is one.
pub(super) fn whole(value: &Value, name: &str) -> Result<Option<u64>, Fault> {
    match (value.is_null(), value.as_u64()) {
        (true, _) => Ok(None),
        (false, Some(number)) => Ok(Some(number)),
        (false, None) => Err(Fault::invalid(format!("{name} must be a whole number, not {value}."))),
    }
}

/// What is read beside text: of data in base64 about a token in four bytes, for it may be a document.
pub(super) fn other(value: &Value) -> Piece {
    Piece::Other(OTHER + value.to_string().len() as u64 / 4)
}

/// A value of JSON as the model reads it.
pub(super) fn text_of(value: &Value) -> Piece {
    Piece::Text(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The texts of some pieces, one after the other.
pub(super) fn texts(pieces: &[Piece]) -> String {
    let texts = pieces.iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(text.as_str()),
        Piece::Other(_) | Piece::Mark { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
