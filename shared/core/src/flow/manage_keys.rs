//! Manage the keys by which processors have their calls governed. Processors are the operator's, and so are their keys.
//!
//! **Invariant:** a key is shown once, by its making; what is kept of it opens nothing.

use crate::caller::Caller;
use crate::flow::manage_operator::{get_processor, operator_only};
use crate::flow::{Answer, Refusal, TRIES, contended};
use crate::governor::access::{KeyHead, KeyText, ProcessorKeys};
use crate::id::ProcessorKey;
use crate::ports::{ManageKeys, ReadCatalog};
use crate::refusal::{ConflictCode, Thing};
use jiff::Timestamp;

/// Makes a key of 256 random bits, and gives its text beside what is kept of it.
///
/// # Errors
/// `OperatorOnly`, `NotFound`; `Conflict` when as many keys are alive as may be.
pub async fn create_key<S: ReadCatalog + ManageKeys>(
    store: &S,
    caller: &Caller,
    processor: &ProcessorKey,
    random: [u128; 2],
    now: Timestamp,
) -> Answer<(KeyText, KeyHead)> {
    operator_only(caller, "make keys of processors")?;
    get_processor(store, caller, processor).await?;
    let text = KeyText::new(processor, random);
    let head = KeyHead { hash: text.hash(), created_by: caller.principal.0.clone(), created_at: now };
    for _ in 0..TRIES {
        let keys = store.load_keys(processor).await.map_err(Refusal::Store)?;
        // Written by an earlier try of this very request, whose answer was lost.
        if keys.admits(&text) {
            return Ok((text, head));
        }
        let with = keys.with(head.clone()).map_err(|full| Refusal::conflict(ConflictCode::TooManyKeys, full))?;
        if store.save_keys(processor, &with).await.map_err(Refusal::Store)? {
            return Ok((text, head));
        }
    }
    Err(contended("make a key of a processor whose keys keep changing"))
}

/// The keys of a processor that are alive.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn list_keys<S: ReadCatalog + ManageKeys>(
    store: &S,
    caller: &Caller,
    processor: &ProcessorKey,
) -> Answer<ProcessorKeys> {
    operator_only(caller, "read keys of processors")?;
    get_processor(store, caller, processor).await?;
    store.load_keys(processor).await.map_err(Refusal::Store)
}

/// Deletes the key with this id: it opens nothing any more.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn delete_key<S: ReadCatalog + ManageKeys>(
    store: &S,
    caller: &Caller,
    processor: &ProcessorKey,
    id: &str,
) -> Answer<()> {
    operator_only(caller, "delete keys of processors")?;
    for _ in 0..TRIES {
        let keys = store.load_keys(processor).await.map_err(Refusal::Store)?;
        let Some(without) = keys.without(id) else { return Err(Refusal::not_found(Thing::ProcessorKey, id)) };
        if store.save_keys(processor, &without).await.map_err(Refusal::Store)? {
            return Ok(());
        }
    }
    Err(contended("delete a key of a processor whose keys keep changing"))
}
