//! Whether a run that was planned earlier may still be started: one that waited for a slot, one whose start nobody saw, and
//! the repetition of a frozen snapshot.
//!
//! **Invariant:** what was planned says what a run does; who may use that is asked again, for this very start.

use crate::catalog::{Found, Wanted};
use crate::id::ProcessorKey;
use crate::ports::{ReadCatalog, StoreResult};
use crate::run::RunError;
use crate::snapshot::Snapshot;

/// The error of a run that was refused its start so.
pub(crate) const WITHDRAWN: &str = "Sluice.Withdrawn";

/// Everything that has to be open to the snapshot's tenant.
pub(super) fn needs(snapshot: &Snapshot) -> Wanted {
    Wanted::one(snapshot.spec.compute_node.clone()).and_all(processors(snapshot).cloned())
}

/// What the snapshot's tenant may not use any more, in words, if there is something. `found` is what there is of what it
/// [`needs`].
pub(super) fn withdrawn(snapshot: &Snapshot, found: &Found) -> Option<String> {
    let (tenant, node) = (&snapshot.tenant_id, &snapshot.spec.compute_node);
    if !found.get(node).is_some_and(|node| node.tenants.admits(tenant)) {
        return Some(format!("compute node {node} is not open to this tenant any more"));
    }
    let is_open = |key: &ProcessorKey| found.get(key).is_some_and(|processor| processor.tenants.admits(tenant));
    let lost = processors(snapshot).find(|key| !is_open(key))?;
    Some(match snapshot.spec.definition_owner {
        None => format!("processor {lost} is not open to this tenant any more"),
        // Which, is its owner's business.
        Some(_) => "a processor of the definition is not open to this tenant any more".to_owned(),
    })
}

/// Why a recorded run may not be started any more, if so.
///
/// # Errors
/// When the store fails.
pub(super) async fn refuse_start<S: ReadCatalog>(store: &S, snapshot: &Snapshot) -> StoreResult<Option<RunError>> {
    let found = store.read_catalog(&needs(snapshot)).await?;
    let message = withdrawn(snapshot, &found);
    Ok(message.map(|message| RunError::new(WITHDRAWN, &message, RunError::FULL_MESSAGE_CHARS)))
}

/// The processors of those nodes that run one. What was frozen before their keys were kept has none.
fn processors(snapshot: &Snapshot) -> impl Iterator<Item = &ProcessorKey> {
    snapshot.nodes.iter().filter(|node| node.reused_from.is_none()).filter_map(|node| node.processor.as_ref())
}
