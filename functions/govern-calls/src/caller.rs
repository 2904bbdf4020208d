//! Whoever calls.

use sluice_core::governor::access::Pass;
use sluice_core::ports::RunRef;

/// Whoever calls, as far as it can be told without the run's ledger.
pub struct Caller {
    pub run: RunRef,
    pub pass: Pass,
    /// The node's, for the record.
    pub attempt: u32,
}
