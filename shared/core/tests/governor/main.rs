//! The governor: its bound against real vocabularies, its flow sentence by sentence, and thousands of schedules in which everything
//! around it fails.
//!
//! ```sh
//! cargo test -p sluice-core --test governor                                              # 3,000 schedules
//! SLUICE_SCHEDULES=1000000 cargo test --release -p sluice-core --test governor schedules # once
//! ```

mod bench;
mod bound;
mod calls;
mod play;
mod schedules;
mod seen;
mod stage;
