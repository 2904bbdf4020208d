//! Things to store.

pub use sluice_testkit::contract::sample::*;
