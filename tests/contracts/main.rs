//! The documents that no compiler holds together: the template, the state machine, the processor contract, the samples.

mod history;
mod node;
mod processor;
mod runner;
mod samples;
mod template;
