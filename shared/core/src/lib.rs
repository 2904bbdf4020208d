//! The nouns, rules and flows of Sluice.
//!
//! Nothing in this crate knows AWS, HTTP, a clock, the environment or an async runtime: time and ids come in as
//! values, the outside world through the narrow traits in [`ports`].
//!
//! Start with [`lifecycle::step`], the state machine of a run; then one flow under [`flow`].

pub mod admitted;
pub mod arn;
pub mod board;
pub mod budget;
pub mod call_id;
pub mod caller;
pub mod canonical;
pub mod catalog;
pub mod change;
pub mod concurrency;
pub mod condition;
pub mod decimal;
pub mod definition;
pub mod delivery;
pub mod destination;
pub mod directive;
pub mod envelope;
pub mod failure;
pub mod flow;
pub mod generation;
pub mod governor;
pub mod graph;
pub mod history;
pub mod id;
pub mod idempotency;
pub mod instance;
pub mod lifecycle;
pub mod limits;
pub mod memory;
pub mod meter;
pub mod number;
pub mod open_runs;
pub mod operator;
pub mod place;
pub mod ports;
pub mod prepared;
pub mod refusal;
pub mod report;
pub mod retention;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod snapshot;
pub mod spending;
pub mod step;
pub mod template;
pub mod tenant_limits;
pub mod time;
pub mod together;
pub mod usage;
pub mod violation;
pub mod work;
