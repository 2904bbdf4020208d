//! The stored shape of every item kind, written and read in one place; one file for each group of kinds.
//!
//! **Invariants:** every item has `kind` and `v`; documents of callers are stored as JSON text, never as maps, so that
//! no number is rewritten; what the runner adds to a head or writes as a step is read as it is.

mod attributes;
mod board;
mod definition;
mod delivery;
mod form;
mod governed;
mod head;
mod idempotency;
mod ledger;
mod meter;
mod model;
mod operator;
mod report;
mod run;
mod slots;
mod usage;

pub use board::*;
pub use definition::*;
pub use delivery::*;
pub use form::{Item, ItemError, ItemResult, V as SHAPE, n, of_sdk, s, text};
pub use governed::*;
pub use head::StoredRun;
pub use idempotency::*;
pub use ledger::*;
pub use meter::*;
pub use model::*;
pub use operator::*;
pub use report::*;
pub use run::*;
pub use slots::*;
pub use usage::*;
