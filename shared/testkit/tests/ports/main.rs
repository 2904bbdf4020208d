//! The ports in memory, held to the rules that the adapters are held to.

mod boards;
mod engine;
mod governor;
mod store;
