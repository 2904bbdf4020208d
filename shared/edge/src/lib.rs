//! Between Lambda and the core: events in, answers out. No rule of the service lives here.
//!
//! Only plain payload structs of our own: the events are few and small, and what a client sends can then never make an
//! event unreadable. (`lambda_http` panics on a query such as `?a=<`, which the gateway answers with a bare 502.)

pub mod cursor;
pub mod event;
pub mod http;
pub mod identity;
pub mod json;
pub mod problem;
pub mod telemetry;
pub mod wire;
