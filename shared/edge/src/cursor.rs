//! Cursors of lists: the store's own text, made opaque and bound to the list it came from.
//!
//! **Invariant:** a cursor carries no authority. The tenant always comes from the caller; a cursor of another list is
//! refused because it makes no sense there, not because it would open anything.

use crate::fault::{Faults, ReadingCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sluice_core::canonical;

#[derive(Serialize, Deserialize)]
struct Sealed {
    v: u8,
    /// Which list, with which filter.
    list: String,
    after: String,
}

const VERSION: u8 = 1;

/// The cursor as a caller gets it. `list` names the list with everything that narrows it.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn seal(list: &[&str], after: &str) -> serde_json::Result<String> {
    let sealed = Sealed { v: VERSION, list: fingerprint(list), after: after.to_owned() };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_string(&sealed)?))
}

/// The store's cursor again.
///
/// # Errors
/// When the text is not one that [`seal`] made for this list.
pub fn open(list: &[&str], text: &str) -> Result<String, Faults> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Sealed>(&bytes).ok())
        .filter(|sealed| sealed.v == VERSION && sealed.list == fingerprint(list))
        .map(|sealed| sealed.after)
        .ok_or_else(refused)
}

/// What is said to a caller whose cursor is not of this list.
pub fn refused() -> Faults {
    Faults::one(
        "query:cursor",
        ReadingCode::InvalidCursor,
        "must be the nextCursor of this same list, with the same filters",
    )
}

fn fingerprint(list: &[&str]) -> String {
    canonical::sha256_hex(list)[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_continues_only_its_own_list() {
        let cursor = seal(&["runs", "acme", "RUNNING"], "T#acme#é").expect("JSON");
        assert_eq!(open(&["runs", "acme", "RUNNING"], &cursor), Ok("T#acme#é".to_owned()));
        for list in [&["runs", "acme", "FAILED"], &["runs", "other", "RUNNING"]] {
            assert_eq!(open(list, &cursor), Err(refused()));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "%%%", "bnVsbA", "eyJ2IjoxfQ", "eyJ2IjoyLCJsaXN0IjoiIiwiYWZ0ZXIiOiIifQ"] {
            assert_eq!(open(&["runs"], text), Err(refused()), "{text}");
        }
    }
}
