//! The flows of the core racing each other over the real store: every party with connections of its own, on several
//! threads, against one table over HTTP.
//!
//! A round is two parties (or 64 callers) let loose at the same moment on a run of their own, and then a look at everything
//! that must hold. Nothing sleeps. So that each side of a race is first often enough, one of the parties makes a few
//! reads before it begins, by turns; a test fails when one of the outcomes never came.
//!
//! `SLUICE_RACES=10` plays ten times as many rounds.

mod answer;
mod arena;
mod control;
mod create;
mod deliver;
mod queue;
mod reconcile;
mod stop;
