//! Which part of a list is asked for, and where it goes on.

use crate::cursor;
use crate::fault::Faults;
use crate::http::{Query, Request};
use crate::problem::Problem;
use crate::telemetry::causes;
use serde::Serialize;
use sluice_core::flow::Refusal;
use sluice_core::limits;
use sluice_core::ports::{Page, StoreErrorClass};

/// Items on a page unless the caller says otherwise.
pub(crate) const DEFAULT_LIMIT: u32 = 20;

/// Which part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Paging {
    pub limit: u32,
    /// The store's own cursor.
    pub cursor: Option<String>,
    /// Names the list, with everything that narrows it.
    list: Vec<String>,
}

impl Paging {
    /// Query parameters of every list.
    pub const PARAMETERS: [&'static str; 2] = ["limit", "cursor"];

    /// Reads them. `list` names the list, with everything that narrows it.
    pub fn read(query: &mut Query, list: Vec<String>) -> Self {
        let limit = query.number("limit", 1..=limits::PAGE_ITEMS).unwrap_or(DEFAULT_LIMIT);
        let cursor = match query.text("cursor").map(|text| cursor::open(&borrowed(&list), text)) {
            Some(Ok(cursor)) => Some(cursor),
            Some(Err(faults)) => {
                query.faults.extend(faults);
                None
            }
            None => None,
        };
        Self { limit, cursor, list }
    }

    /// Reads the query of a list that nothing narrows further.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn alone(request: &Request, list: Vec<String>) -> Result<Self, Faults> {
        let mut query = request.query(&Self::PARAMETERS);
        let paging = Self::read(&mut query, list);
        query.finish()?;
        Ok(paging)
    }

    /// The views that `read` reads, from the cursor on and so many at most, and the `nextCursor`. A page that is too large for
    /// an answer is read again, shorter.
    ///
    /// # Errors
    /// Those of `read`; a cursor that the store never gave is refused as the caller's own.
    pub async fn page<'a, V, F>(
        &'a self,
        read: impl Fn(u32, Option<&'a str>) -> F,
    ) -> Result<(Vec<V>, Option<String>), Problem>
    where
        V: Serialize,
        F: Future<Output = Result<Page<V>, Refusal>>,
    {
        let mut limit = self.limit;
        loop {
            let page = read(limit, self.cursor.as_deref()).await.map_err(|refusal| self.blame(refusal))?;
            // One alone is sent, however large.
            let fitting = fitting(&page.items)?.max(1);
            if fitting >= page.items.len() {
                let next = page.next.map(|next| cursor::seal(&borrowed(&self.list), &next)).transpose()?;
                return Ok((page.items, next));
            }
            limit = u32::try_from(fitting).unwrap_or(limit);
        }
    }

    /// What a refused read of the list says to its caller. A cursor that the store never gave is corrupt to it: then the
    /// caller made it up.
    fn blame(&self, refusal: Refusal) -> Problem {
        if let Refusal::Store(error) = &refusal
            && self.cursor.is_some()
            && error.class == StoreErrorClass::Corrupt
        {
            tracing::warn!(error.cause = causes(error), "cursor refused");
            return cursor::refused().into();
        }
        refusal.into()
    }
}

/// How many of these views, from the first on, fit in one answer.
fn fitting<V: Serialize>(views: &[V]) -> serde_json::Result<usize> {
    let mut bytes = 0;
    for (count, view) in views.iter().enumerate() {
        bytes += sent_bytes(view)?;
        if bytes > limits::PAGE_BYTES {
            return Ok(count);
        }
    }
    Ok(views.len())
}

/// Bytes of a view as Lambda sends it: the body is a text in the function's own JSON, so quotes and backslashes count twice.
fn sent_bytes(view: &impl Serialize) -> serde_json::Result<usize> {
    let text = serde_json::to_string(view)?;
    Ok(text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + ",".len())
}

fn borrowed(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_can_be_sent_whatever_is_in_it() {
        for text in ["x", "\"", "\\", "\u{1}", "é", "\u{1F600}"] {
            let views = vec![text.repeat(40_000); 100];
            let fitting = fitting(&views).expect("JSON");
            let body = |count: usize| serde_json::to_string(&views[..count]).expect("JSON");
            let sent = |count: usize| serde_json::to_string(&body(count)).expect("JSON").len();
            // Brackets, and the quotes around the body, are within the reserve.
            assert!(fitting > 0 && sent(fitting) <= limits::PAGE_BYTES + 10, "{text:?}: {fitting}");
            assert!(fitting == views.len() || sent(fitting + 1) > limits::PAGE_BYTES, "{text:?}: {fitting}");
        }
        assert_eq!(fitting::<String>(&[]).expect("JSON"), 0);
    }
}
