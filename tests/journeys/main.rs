//! Journeys through the whole service: the real function binaries, the real template and the real state machine on a local
//! stack, asked over HTTP as its callers do.
//!
//! One stack serves all journeys, side by side, each as a tenant of its own. A second one is for those that break something
//! (an environment, a rule, a process); they take turns.

mod budget;
mod callback;
mod cancel;
mod control;
mod cost;
mod create;
mod faults;
mod idempotency;
mod identity;
mod isolation;
mod nodes;
mod read;
mod refusals;
mod sample;
mod world;
