//! The function, with the stand-in for Bedrock behind it.

mod asked;
mod calls;
mod events;
#[path = "../support/mod.rs"]
mod support;
