//! Webhooks: signed purely, guarded where the address is resolved, sent in one bounded attempt.

pub mod guard;
pub mod send;
pub mod sign;

pub use send::{Bounds, Sender};
