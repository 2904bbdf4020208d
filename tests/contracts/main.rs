//! The documents that no compiler holds together: the template, the state machine, the processor contract, the samples, the
//! pages. And the law of the rooms, which no compiler keeps.

mod answers;
mod bedrock;
mod cost;
mod crew;
mod emulator;
mod errors;
mod history;
mod modules;
mod node;
mod pages;
mod player;
mod processor;
mod runner;
mod samples;
mod signature;
mod supply_chain;
mod template;
