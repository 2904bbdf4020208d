//! The board of a run: where each node stands, what each worker of its execution does, and the one decision that the runner
//! asks for: what happens now that something has ended.
//!
//! A worker is one iteration of the runner's Map. It asks for work, does it, and asks again with what came of it. Whoever
//! changes the board (the function that the runner asks, an answer from outside, a resume) does the same four things: read it,
//! tell it what has happened ([`Board::ask`], [`Board::answer`], [`Board::pause`], [`Board::resume`]), answer its questions
//! ([`Board::question`], [`Board::decide`]), and let it hand out what there is to do ([`Board::hand_out`]). The board is
//! then written on the condition that nobody has changed it meanwhile, together with the steps that it tells of; and only
//! then are the workers told.
//!
//! **Invariants**, which `board/tests.rs` plays: a node ends once; it begins when all that it waits for has ended, and never
//! after a failure that counts; what may begin is begun as long as a worker is free; and a run whose workers all do their
//! part ends. Every change can be repeated: a worker asks in numbered turns, and a turn that is asked for again is answered
//! again.
//!
//! The tokens that workers wait with are not here: they are large, and each is kept beside the board with its worker and the
//! turn it belongs to, written in the same transaction.
//!
//! Decision (2026-11-27): one item with one optimistic lock, and not a set of what is missing on each joining node. So the
//! decision is one pure function of one value: no order of partial writes, no node that two think the other will start.

mod change;
mod record;
mod state;

pub use record::{Record, Wake};
pub use state::{Act, Board, Failure, FailureCause, Fan, Outcome, Phase, Question, Stale, Told, Unit, Verdict};

#[cfg(test)]
mod tests;
