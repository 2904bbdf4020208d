//! The stand-in over its own wire, by a client without an SDK, through each of its doors.

mod books;
mod client;
mod control;
mod failures;
mod families;
mod frames;
mod operations;
mod signatures;
mod steps;
