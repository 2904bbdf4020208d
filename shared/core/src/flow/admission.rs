//! Whether a run that was planned earlier may still be started: one that waited for a slot, one whose start nobody saw, and
//! the repetition of a frozen snapshot.
//!
//! **Invariant:** what was planned says what a run does; who may use that is asked again, for this very start.

use crate::catalog::{Found, SettingsKey, Wanted};
use crate::id::TenantId;
use crate::operator::Unlisted;
use crate::ports::{ReadCatalog, StoreResult};
use crate::run::RunError;
use crate::secret;
use crate::snapshot::{Snapshot, SnapshotNode};

/// The error of a run that was refused its start so.
pub(crate) const WITHDRAWN: &str = "Sluice.Withdrawn";

/// Everything that has to be open to the snapshot's tenant.
pub(super) fn needs(snapshot: &Snapshot) -> Wanted {
    let keys = to_run(snapshot).filter_map(|node| node.processor.clone());
    let wanted = Wanted::one(snapshot.spec.compute_node.clone()).and_all(keys);
    match secrets(snapshot).next() {
        Some(_) => wanted.and_all(tenants(snapshot).map(|tenant| SettingsKey(tenant.clone()))),
        None => wanted,
    }
}

/// What the snapshot's tenant may not use any more, in words, if there is something. `found` is what there is of what it
/// [`needs`].
pub(super) fn withdrawn(snapshot: &Snapshot, found: &Found, unlisted: Unlisted) -> Option<String> {
    let (tenant, node) = (&snapshot.tenant_id, &snapshot.spec.compute_node);
    if !found.get(node).is_some_and(|node| node.tenants.admits(tenant)) {
        return Some(format!("compute node {node} is not open to this tenant any more"));
    }
    // Whose secret a parameter names was judged when the run was planned: the tenant's own, or one of the definition's owner.
    let is_listed = |arn| tenants(snapshot).any(|tenant| found.settings(tenant).admits_secret(arn, unlisted));
    if !secrets(snapshot).all(is_listed) {
        return Some("a parameter refers to a secret that is not among this tenant's any more".to_owned());
    }
    to_run(snapshot).find_map(|node| {
        let key = node.processor.as_ref()?;
        let processor = found.get(key).filter(|processor| processor.tenants.admits(tenant));
        let lost = match (processor, &node.tag) {
            (None, _) => format!("processor {key} is not open to this tenant any more"),
            (Some(processor), Some(tag)) if !processor.offers(tag) => {
                format!("processor {key} does not offer the tag {tag} any more")
            }
            (Some(_), _) => return None,
        };
        Some(match snapshot.spec.definition_owner {
            None => lost,
            // Which, is its owner's business.
            Some(_) => "a processor of the definition is not open to this tenant any more".to_owned(),
        })
    })
}

/// Why a recorded run may not be started any more, if so.
///
/// # Errors
/// When the store fails.
pub(super) async fn refuse_start<S: ReadCatalog>(store: &S, snapshot: &Snapshot) -> StoreResult<Option<RunError>> {
    let found = store.read_catalog(&needs(snapshot)).await?;
    // The run was accepted: what was open to a tenant without a list stays so until there is one.
    let message = withdrawn(snapshot, &found, Unlisted::Open);
    Ok(message.map(|message| RunError::new(WITHDRAWN, &message, RunError::FULL_MESSAGE_CHARS)))
}

/// The nodes that are to run: not only repeated, given or left out. What was frozen before the keys of processors were kept has none.
fn to_run(snapshot: &Snapshot) -> impl Iterator<Item = &SnapshotNode> {
    snapshot.nodes.iter().filter(|node| node.reused_from.is_none() && !node.given && !node.left_out)
}

/// The secrets that parameters refer to.
fn secrets(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    to_run(snapshot).flat_map(|node| node.params.values()).flat_map(secret::references)
}

/// The run's tenant, and the definition's.
fn tenants(snapshot: &Snapshot) -> impl Iterator<Item = &TenantId> {
    [&snapshot.tenant_id].into_iter().chain(&snapshot.spec.definition_owner)
}
