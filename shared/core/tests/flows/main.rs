//! The flows over the memory ports: what callers and events may rely on, one sentence a test.

mod callback;
mod cancel;
mod control;
mod create;
mod definition;
mod reconcile;
mod replay;
mod world;
