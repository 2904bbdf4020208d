//! The flows over the memory ports: what callers and events may rely on, one sentence a test.

mod allowance;
mod callback;
mod cancel;
mod concurrency;
mod control;
mod course;
mod create;
mod definition;
mod discovery;
mod exact;
mod fair;
mod fresh;
mod governed;
mod purge;
mod quotas;
mod receivers;
mod reconcile;
mod replay;
mod report;
mod retention;
mod spending;
mod state;
mod trust;
mod usage;
mod waits;
mod world;
