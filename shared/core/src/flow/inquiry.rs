//! Asking the catalog for things whose keys follow from each other, in as few questions as can be.
//!
//! **Invariant:** only what was read for this very request is an answer. What the process remembers decides which keys are
//! asked for beside those that are known, and nothing else: a guess that was wrong costs a question, never a wrong answer.

use crate::catalog::{CatalogKey, DefinitionKey, DraftKey, Found, OwnerKey, VersionKey, Wanted};
use crate::definition::{Definition, VersionRule};
use crate::flow::{Answer, Refusal, contended};
use crate::id::{DefinitionId, TenantId};
use crate::memory::Memory;
use crate::ports::ReadCatalog;
use std::sync::Arc;

/// Questions that one request asks at most: one for each link of the longest chain of names, and some to spare.
const QUESTIONS: usize = 8;

/// Everything that was asked, and what there is of it.
pub(crate) struct Inquired {
    asked: Wanted,
    pub found: Found,
}

/// Asks for what `needs` names, and for what it names once that is known, until nothing is missing.
///
/// # Errors
/// [`Refusal::Store`].
pub(crate) async fn inquire<S: ReadCatalog>(
    store: &S,
    needs: impl Fn(&Known<'_>) -> Wanted + Send,
) -> Answer<Inquired> {
    let mut inquired = Inquired { asked: Wanted::default(), found: Found::default() };
    for _ in 0..QUESTIONS {
        let missing = needs(&inquired.known(Some(store.memory()))).without(&inquired.asked);
        if missing.is_empty() {
            return Ok(inquired);
        }
        inquired.found.extend(store.read_catalog(&missing).await.map_err(Refusal::Store)?);
        inquired.asked.extend(missing);
    }
    Err(contended("read a catalog that keeps changing"))
}

impl Inquired {
    /// What was read, without any guess.
    pub fn facts(&self) -> Known<'_> {
        self.known(None)
    }

    fn known<'a>(&'a self, memory: Option<&'a Memory>) -> Known<'a> {
        Known { asked: &self.asked, found: &self.found, memory }
    }
}

/// What is known at some time of an inquiry: facts and, until they are there, guesses.
pub(crate) struct Known<'a> {
    asked: &'a Wanted,
    found: &'a Found,
    memory: Option<&'a Memory>,
}

impl Known<'_> {
    pub fn get<K: CatalogKey>(&self, key: &K) -> Option<Arc<K::Item>> {
        self.found.get(key)
    }

    /// What the thing under `key` says or, if nobody has asked for it yet, said when it was read last.
    pub fn said<K: CatalogKey, T>(
        &self,
        key: &K,
        fact: impl FnOnce(&K::Item) -> T,
        guess: impl FnOnce(&Memory) -> Option<T>,
    ) -> Option<T> {
        match self.found.get(key) {
            Some(item) => Some(fact(&item)),
            None if self.asked.has(key) => None,
            None => self.memory.and_then(guess),
        }
    }

    /// Asks for a definition of the tenant's or, where it is not the tenant's, for one that its owner shares, and says under
    /// which key it lies.
    pub fn need_definition(&self, tenant: &TenantId, id: DefinitionId, wanted: &mut Wanted) -> Option<DefinitionKey> {
        let own = DefinitionKey { tenant: tenant.clone(), id };
        wanted.add(own.clone());
        let is_own = self.said(&own, |_| (), |memory| memory.outline(&own).map(|_| ()));
        if is_own.is_some() {
            return Some(own);
        }
        wanted.add(OwnerKey(id));
        let owner = self.said(&OwnerKey(id), |shared| shared.owner.clone(), |memory| memory.owner(id));
        match owner {
            Some(tenant) => {
                let theirs = DefinitionKey { tenant, id };
                wanted.add(theirs.clone());
                Some(theirs)
            }
            None => (!self.asked.has(&own)).then_some(own),
        }
    }

    /// The definition that [`Self::need_definition`] asked for.
    pub fn definition(&self, tenant: &TenantId, id: DefinitionId) -> Option<Arc<Definition>> {
        if let Some(own) = self.found.get(&DefinitionKey { tenant: tenant.clone(), id }) {
            return Some(own);
        }
        let shared = self.found.get(&OwnerKey(id))?;
        let theirs = self.found.get(&DefinitionKey { tenant: shared.owner.clone(), id })?;
        theirs.discoverable.then_some(theirs)
    }

    /// Asks for the version of a definition that `rule` means to the tenant, and for the processors that it names.
    pub fn need_version(&self, tenant: &TenantId, key: &DefinitionKey, rule: VersionRule, wanted: &mut Wanted) {
        let outline = self.said(key, Definition::outline, |memory| memory.outline(key)).unwrap_or_default();
        let processors = if rule == VersionRule::Draft {
            if key.tenant != *tenant {
                return; // to anybody but its owner there is none
            }
            let draft = DraftKey { tenant: key.tenant.clone(), definition_id: key.id };
            let named =
                self.said(&draft, |draft| draft.version.document.processor_keys(), |memory| memory.draft(&draft));
            wanted.add(draft);
            named
        } else {
            let Some(number) = outline.number(rule) else { return };
            let version = VersionKey { tenant: key.tenant.clone(), definition_id: key.id, number };
            let named = self.said(
                &version,
                |version| version.document.processor_keys(),
                |memory| memory.version(&version).map(|version| version.document.processor_keys()),
            );
            let named = named.or_else(|| outline.processors.get(&number).cloned());
            wanted.add(version);
            named
        };
        wanted.add_all(processors.into_iter().flatten());
    }
}

/// A definition that every tenant may run.
///
/// # Errors
/// [`Refusal::Store`].
pub(crate) async fn find_discoverable<S: ReadCatalog>(store: &S, id: DefinitionId) -> Answer<Option<Arc<Definition>>> {
    let theirs = |known: &Known<'_>| {
        let owner = known.said(&OwnerKey(id), |shared| shared.owner.clone(), |memory| memory.owner(id));
        owner.map(|tenant| DefinitionKey { tenant, id })
    };
    let inquired = inquire(store, |known| Wanted::one(OwnerKey(id)).and_all(theirs(known))).await?;
    let found = theirs(&inquired.facts()).and_then(|key| inquired.found.get(&key));
    Ok(found.filter(|definition| definition.discoverable))
}
