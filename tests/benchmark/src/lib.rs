//! What the functions cost, measured beside a bare one (`src/bin/echo.rs`) in the same minutes on the same CPU.
//!
//! A process of a function is started as Lambda starts it and is given real events by a Runtime API of our own ([`runtime`]).
//! Its AWS calls go over TLS to a backend in this process ([`backend`]), which answers what an embedded DynamoDB said when
//! the same events were played before ([`answers`], [`table`]): the measured answers are right, cheap, and always the same.
//!
//! Everything runs on one CPU, so that a figure is work and not luck with the scheduler; and what is told of a function are
//! ratios to echo within one round, so that the machine's moods cancel out. `README.md` says how to read them.
#![cfg(target_os = "linux")]

pub mod answers;
pub mod backend;
pub mod calls;
pub mod case;
pub mod cases;
pub mod child;
pub mod cli;
pub mod error;
pub mod hold;
pub mod http;
pub mod measure;
pub mod peers;
pub mod place;
pub mod report;
pub mod rounds;
pub mod runtime;
pub mod services;
pub mod size;
pub mod stats;
pub mod table;
pub mod tls;
pub mod world;

pub use error::{Error, Result};
