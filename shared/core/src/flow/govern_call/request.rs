//! What is asked, and what becomes of it.

use crate::budget::NanoUsd;
use crate::call_id::CallId;
use crate::governor::access::Pass;
use crate::governor::call::Call;
use crate::governor::model::{Model, Tariff};
use crate::governor::record::AboutCall;
use crate::governor::verdict::Obstacle;
use crate::governor::worst_case::NotCallable;
use crate::ports::RunRef;

/// A call that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub run: &'a RunRef,
    pub pass: &'a Pass,
    /// The node's attempt, for the record.
    pub attempt: u32,
    /// Used for no other request: see [`GovernCalls::reserve`](crate::ports::GovernCalls::reserve). Its time is that of the request.
    pub call_id: CallId,
    pub model: &'a Model,
    pub call: &'a Call,
}

/// What becomes of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted(Box<Ticket>),
    /// Something is in its way that will not stay there: 429.
    Throttled {
        obstacle: Obstacle,
        retry_after_seconds: u32,
    },
    /// It could never fit into what the run has left: 403, and the run is stopped unless its definition says otherwise.
    Exhausted,
    /// It has no price, or the model would refuse it.
    NotCallable(NotCallable),
    /// Whoever calls may not, or the run takes no calls any more.
    NotAdmitted,
}

/// What a granted call is settled by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub run: RunRef,
    pub call_id: CallId,
    /// What is set aside.
    pub hold: NanoUsd,
    /// The limit that has to be written into the call: fewer tokens than it asked for.
    pub lowered_to: Option<u64>,
    pub tariff: Tariff,
    pub about: AboutCall,
}

/// The outside of the flow.
#[derive(Debug)]
pub struct Ports<'a, S, E, C, T> {
    pub store: &'a S,
    pub engine: &'a E,
    pub clock: &'a C,
    /// `CountTokens` for this call.
    pub counter: &'a T,
}
