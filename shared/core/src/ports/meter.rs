//! Counting on meters. They are read with the [catalog](super::catalog).

use super::store::StoreResult;
use crate::meter::Count;
use std::future::Future;

/// Counts on meters.
pub trait CountOnMeter: Send + Sync {
    /// Adds to a meter, which begins at 0. Nobody has to be told when it fails: a meter that shows too little lets somebody
    /// in. What was counted is forgotten some time after its window.
    fn count(&self, count: &Count) -> impl Future<Output = StoreResult<()>> + Send;
}
