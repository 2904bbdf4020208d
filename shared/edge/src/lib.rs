//! Between Lambda and the core: events in, answers out. No rule of the service lives here.

pub mod bedrock;
pub mod cursor;
pub mod event;
pub mod fault;
pub mod http;
pub mod identity;
pub mod json;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod route;
pub mod runner;
pub mod serve;
pub mod telemetry;
pub mod wire;
