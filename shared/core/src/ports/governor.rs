//! The ledgers of runs, the records of their governed calls, and quotas in the store.
//!
//! **Durability:** what is answered is written for good, and every read of it that begins after the answer sees it. A change whose
//! answer is lost was written or was not; each port says whether it may be repeated.

use super::catalog::ReadCatalog;
use super::run::{RecordUsage, RunRef};
use super::store::StoreResult;
use crate::budget::NanoUsd;
use crate::catalog::{SettingsKey, Wanted};
use crate::governor::access::ProcessorKeys;
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::{Balance, Draw, Reserve, Settle, Tally};
use crate::governor::model::Model;
use crate::governor::model_id::ModelId;
use crate::governor::quota::{PeriodKey, QuotaOwner, QuotaRule};
use crate::governor::record::CallRecord;
use crate::id::ProcessorKey;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

/// What became of a reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The worst case is set aside.
    Done,
    /// One of the conditions does not hold. Nothing was written; the ledger as it was then comes with this, if there is one.
    Denied(Option<Box<Ledger>>),
}

/// What became of drawing on quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    Done,
    /// Some of the quotas have less left than was to be drawn. Nothing was written; what is left of each of these comes with this.
    Short(BTreeMap<QuotaOwner, NanoUsd>),
    /// The ledger is closed, or there is none. Nothing was written.
    Closed,
}

/// Holds worst cases, and settles them.
pub trait GovernCalls: Send + Sync {
    /// Makes the reserve in one write, if [`Ledger::denies`] has nothing against it. It is sent once: **never** repeat it, neither
    /// here nor in an SDK's retries. Where its answer is lost (`StoreErrorClass::Unavailable`), the call is not made, and its
    /// record says so ([`Outcome::NotRun`](crate::governor::record::Outcome::NotRun)) in case the hold was written or will be.
    fn reserve(&self, run: &RunRef, reserve: &Reserve) -> impl Future<Output = StoreResult<Reserved>> + Send;

    /// Puts the record of a call, if it has none yet, and gives the one that stands. Only ever asked while the call is held, and
    /// with it the ledger is there. May be repeated.
    fn record_call(&self, run: &RunRef, record: &CallRecord) -> impl Future<Output = StoreResult<CallRecord>> + Send;

    /// [`Self::record_call`] of a call whose hold may be gone, in one transaction with a look at the ledger. `None` where there is
    /// none any more: the run is being deleted, and a record that came after its others would stay for ever.
    fn record_beside_ledger(
        &self,
        run: &RunRef,
        record: &CallRecord,
    ) -> impl Future<Output = StoreResult<Option<CallRecord>>> + Send;

    /// Settles a hold as [`Ledger::settle`] does, in one write, and gives the ledger after it; `None` when there is nothing to
    /// settle any more. Only ever asked with the record that stands. May be repeated.
    fn settle(&self, run: &RunRef, settle: &Settle) -> impl Future<Output = StoreResult<Option<Ledger>>> + Send;

    /// Has the ledger looked at next at `at`. May be repeated.
    fn sweep_at(&self, run: &RunRef, at: Timestamp) -> impl Future<Output = StoreResult<()>> + Send;

    /// Counts a refusal as [`Ledger::tally`] does, in one write, and gives the ledger after it; `None` when that says no. A
    /// refusal whose answer was lost may be counted twice, which nobody has to mind.
    fn tally(&self, run: &RunRef, tally: &Tally) -> impl Future<Output = StoreResult<Option<Ledger>>> + Send;

    /// Draws on quotas as [`Ledger::draw`] does, all or nothing, in one transaction with the quotas: each has as much left in its
    /// period. May be repeated: what was drawn twice goes back with the end of the run.
    fn draw(&self, run: &RunRef, draw: &Draw) -> impl Future<Output = StoreResult<Drawn>> + Send;
}

/// Reads ledgers, and what is beside them.
pub trait ReadLedgers: Send + Sync {
    /// The run's ledger; `None` for a run that is gone, or from before there were ledgers. Strongly consistent.
    fn load_ledger(&self, run: &RunRef) -> impl Future<Output = StoreResult<Option<Ledger>>> + Send;

    /// What is drawn on a quota in a period. Eventually consistent.
    fn load_quota(&self, owner: &QuotaOwner, period: &PeriodKey) -> impl Future<Output = StoreResult<NanoUsd>> + Send;

    /// The keys of a processor; none where there never was one. Strongly consistent.
    fn load_keys(&self, processor: &ProcessorKey) -> impl Future<Output = StoreResult<ProcessorKeys>> + Send;
}

/// Finds what runs may spend together.
pub trait FindQuotas: ReadCatalog {
    /// The quotas that these have now, by the budgets of their tenants and compute nodes; nothing of an owner that has none. Asked
    /// when a run draws, never for a call that fits into what is drawn. Strongly consistent.
    fn find_quotas(&self, owners: &BTreeSet<QuotaOwner>) -> impl Future<Output = StoreResult<Vec<QuotaRule>>> + Send {
        by_budgets(self, owners)
    }
}

/// The quotas of these, as the budgets in the catalog say them.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn by_budgets<S: ReadCatalog + ?Sized>(
    store: &S,
    owners: &BTreeSet<QuotaOwner>,
) -> StoreResult<Vec<QuotaRule>> {
    let mut wanted = Wanted::default();
    for owner in owners {
        match owner {
            QuotaOwner::Tenant(tenant) | QuotaOwner::TenantUser(tenant, _) => wanted.add(SettingsKey(tenant.clone())),
            QuotaOwner::ComputeNode(node) | QuotaOwner::ComputeNodeUser(node, _, _) => wanted.add(node.clone()),
        }
    }
    let found = store.read_catalog(&wanted).await?;
    let rule = |owner: &QuotaOwner| {
        let budget = match owner {
            QuotaOwner::Tenant(tenant) | QuotaOwner::TenantUser(tenant, _) => {
                found.get(&SettingsKey(tenant.clone())).and_then(|settings| settings.budget)
            }
            QuotaOwner::ComputeNode(node) | QuotaOwner::ComputeNodeUser(node, _, _) => {
                found.get(node).and_then(|node| node.budget)
            }
        };
        budget?.rule(owner)
    };
    Ok(owners.iter().filter_map(rule).collect())
}

/// Looks after ledgers that nobody else looks after any more.
pub trait SweepLedgers: GovernCalls + ReadLedgers + RecordUsage {
    /// At most `limit` runs whose ledger has a `sweep_at` that is over, the longest overdue first. Eventually consistent.
    fn due_ledgers(&self, now: Timestamp, limit: u32) -> impl Future<Output = StoreResult<Vec<RunRef>>> + Send;

    /// Notes that the ledger was looked after as it was `seen`, as [`Ledger::swept`] does; `false` when that says no: then it is due
    /// still. May be repeated.
    fn swept(&self, run: &RunRef, seen: &Ledger) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Makes a balance as [`Ledger::balance`] does, in one transaction with the quota; `false` when that says no. May be repeated.
    fn balance(&self, run: &RunRef, balance: &Balance) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Changes the keys of processors.
pub trait ManageKeys: ReadLedgers {
    /// Writes the keys if the stored ones are at the revision before; `false` otherwise.
    fn save_keys(
        &self,
        processor: &ProcessorKey,
        keys: &ProcessorKeys,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Finds what a call names.
pub trait FindModel: Send + Sync {
    /// The model that answers to the id, in one read; `None` where none does. Strongly consistent.
    fn find_model(&self, id: &ModelId) -> impl Future<Output = StoreResult<Option<Arc<Model>>>> + Send;
}

/// Counts the tokens of one call's input before it is made.
pub trait CountInput: Send + Sync {
    /// As many as will be billed; `None` where nobody can tell, or it takes too long.
    fn count_input(&self) -> impl Future<Output = Option<u64>> + Send;
}
