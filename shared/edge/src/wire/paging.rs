//! Which part of a list is asked for, and where it goes on.

use crate::cursor;
use crate::fault::Faults;
use crate::http::{Query, Request};
use crate::problem::Problem;
use crate::telemetry::causes;
use sluice_core::flow::Refusal;
use sluice_core::limits;
use sluice_core::ports::{Page, StoreError, StoreErrorClass};

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

    /// The `nextCursor` of a page.
    pub fn next<T>(&self, page: &Page<T>) -> Option<String> {
        page.next.as_deref().map(|next| cursor::seal(&borrowed(&self.list), next))
    }

    /// What a failed read of the list says to its caller. A cursor that the store never gave is corrupt to it: then the
    /// caller made it up.
    pub fn blame(&self, error: StoreError) -> Problem {
        if self.cursor.is_some() && error.class == StoreErrorClass::Corrupt {
            tracing::warn!(error.cause = causes(&error), "cursor refused");
            return cursor::refused().into();
        }
        error.into()
    }

    /// [`Self::blame`], for a list that a flow reads.
    pub fn blame_refusal(&self, refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Store(error) => self.blame(error),
            Refusal::Invalid(_)
            | Refusal::NotFound { .. }
            | Refusal::OperatorOnly(_)
            | Refusal::Conflict { .. }
            | Refusal::KeyReused { .. }
            | Refusal::RunExpired { .. }
            | Refusal::TooManyRuns { .. }
            | Refusal::QueueFull
            | Refusal::InvalidReportToken => refusal.into(),
        }
    }
}

fn borrowed(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}
