//! Journeys through the whole service: the real function binaries, the real template and the real state machine on a local
//! stack, asked over HTTP as its callers do.
//!
//! One stack serves all journeys, side by side, each as a tenant of its own. A second one is for those that break something
//! (an environment, a rule, a process); they take turns.

mod allowance;
mod budget;
mod callback;
mod cancel;
mod concurrency;
mod control;
mod cost;
mod create;
mod discovery;
mod ecs;
mod faults;
mod fuzzed_api;
mod governor;
mod idempotency;
mod identity;
mod isolation;
mod kills;
mod nodes;
mod ports;
mod read;
mod receivers;
mod refusals;
mod reports;
mod retention;
mod sample;
mod secrets;
mod smoke;
mod snapshots;
mod sweep_of_isolation;
mod usage;
mod versions;
mod workers;
mod world;
