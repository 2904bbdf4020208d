//! New ids.

use sluice_core::flow::create_run::Fresh;
use sluice_core::governor::access::Grant;
use sluice_core::id::{DefinitionId, RunId};
use sluice_core::meter::Chance;
use uuid::Uuid;

/// Random, so that the first eight characters already tell runs apart.
pub fn new_run_id() -> RunId {
    RunId(Uuid::new_v4())
}

/// For a new run: its id, and 128 random bits for its grant.
pub fn new_run() -> Fresh {
    // Six bits of a UUID are not random; in the two of them they stand in different places.
    let (one, other) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128());
    Fresh { run_id: new_run_id(), grant: Grant::new(one ^ other.rotate_left(64)) }
}

/// 256 bits for a key, each of them random.
pub fn new_key() -> [u128; 2] {
    let random = || {
        let (one, other) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128());
        one ^ other.rotate_left(64)
    };
    [random(), random()]
}

/// Ordered by time, so that definitions made together are stored together.
pub fn new_definition_id() -> DefinitionId {
    DefinitionId(Uuid::now_v7())
}

/// Ordered by time, so that comments sort by their ids.
pub fn new_comment_id() -> String {
    Uuid::now_v7().to_string()
}

/// Decides whether a wait is counted.
pub fn new_chance() -> Chance {
    Chance(Uuid::new_v4().as_u64_pair().1)
}

/// Bits for the id of a governed call: the six of a UUID that are not random have no place in it.
pub fn new_call() -> u128 {
    Uuid::new_v4().as_u128()
}

/// 244 random bits as 64 hexadecimal digits: two random UUIDs.
pub fn new_secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
