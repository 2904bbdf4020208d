//! New ids.

use sluice_core::id::{DefinitionId, RunId};
use uuid::Uuid;

/// Random, so that the first eight characters already tell runs apart.
pub fn new_run_id() -> RunId {
    RunId(Uuid::new_v4())
}

/// Ordered by time, so that definitions made together are stored together.
pub fn new_definition_id() -> DefinitionId {
    DefinitionId(Uuid::now_v7())
}
