//! The Bedrock Runtime wire, as far as it bears on what a call costs: requests as either door brings them, a
//! [`Call`](sluice_core::governor::call::Call) of each operation's body, what the governor changes in it, what was used of each
//! API's answer while that passes, and refusals in the words of each client. No I/O.
//!
//! 1. [`event`], [`operation`] and [`ask`]: what was sent, which operation and model that is, and what it asks.
//! 2. [`body`], [`family`], [`field`] and [`reading`]: what of it bears on its cost, by API and family of models.
//! 3. [`edit`]: what is written into it.
//! 4. [`meter`] with [`frames`], [`lines`] and [`used`]: what was used.
//! 5. [`refused`] and [`reply`]: what goes back.
//!
//! **Invariant:** nothing that a model may read is left out. What a reader does not know is other content, which costs the whole
//! context; what it does not know how to limit is as long as the model writes; and what could change a price or a limit behind its
//! back is refused.

pub mod ask;
pub mod body;
pub mod edit;
pub mod event;
pub mod family;
pub mod field;
pub mod frames;
pub mod lines;
pub mod meter;
pub mod operation;
pub mod reading;
pub mod refused;
pub mod reply;
pub mod used;
