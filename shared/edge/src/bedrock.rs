//! The Bedrock Runtime wire, as far as it bears on what a call costs: a [`Call`](sluice_core::governor::call::Call) of each
//! operation's body, and what was used of each API's answer. Pure functions of JSON that was checked before
//! ([`json::check`](crate::json::check)).
//!
//! **Invariant:** nothing that a model may read is left out. What a reader does not know is other content, which costs the whole
//! context; what it does not know how to limit is as long as the model writes; and what could change a price or a limit behind its
//! back is refused.

pub mod body;
pub mod family;
pub mod field;
pub mod reading;
pub mod used;
