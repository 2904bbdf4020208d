//! Ledgers of governed calls, their records, quotas, and the keys of processors.

use super::*;
use sluice_core::budget::NanoUsd;
use sluice_core::governor::ledger::Standing;
use sluice_core::governor::ledger::change::{Balance, Denial, Draw, Reserve, Settle, Tally};
use sluice_core::ports::governor::by_budgets;
use sluice_core::ports::{Drawn, FindQuotas, GovernCalls, ManageKeys, ReadLedgers, Reserved, SweepLedgers};

fn key(run: &RunRef) -> RunKey {
    (run.tenant_id.clone(), run.run_id)
}

impl Governed {
    /// Closes the ledger of a run that is being stopped or has ended, in the transaction that changes the run.
    pub(super) fn close(&mut self, run: &Run, standing: Option<Standing>) {
        let ledger = self.ledgers.get_mut(&(run.tenant_id.clone(), run.run_id));
        let Some((ledger, standing)) = ledger.zip(standing) else { return };
        *ledger = ledger.close(standing, run.updated_at);
        self.changes += 1;
    }

    fn reserve(&mut self, run: &RunRef, reserve: &Reserve, laxity: Option<Laxity>) -> Reserved {
        let Some(ledger) = self.ledgers.get_mut(&key(run)) else { return Reserved::Denied(None) };
        let is_overlooked = |denial: Denial| match denial {
            Denial::NotAdmitted => laxity == Some(Laxity::GrantNotChecked),
            Denial::Closed(_) => laxity == Some(Laxity::ClosedLedgerHolds),
            Denial::Repeated => false,
            Denial::Crowded => laxity == Some(Laxity::CrowdUnbounded),
            Denial::Short => laxity == Some(Laxity::ReserveUnconditional),
        };
        match ledger.denies(reserve) {
            Some(denial) if !is_overlooked(denial) => Reserved::Denied(Some(Box::new(ledger.clone()))),
            Some(_) | None => {
                *ledger = ledger.holding(reserve);
                self.changes += 1;
                Reserved::Done
            }
        }
    }

    fn record(&mut self, run: &RunRef, record: &CallRecord, laxity: Option<Laxity>) -> CallRecord {
        self.changes += 1;
        let records = self.records.entry(key(run)).or_default();
        if laxity == Some(Laxity::RecordReplaced) {
            records.insert(record.call_id, record.clone());
        }
        records.entry(record.call_id).or_insert_with(|| record.clone()).clone()
    }

    fn settle(&mut self, run: &RunRef, settle: &Settle, laxity: Option<Laxity>) -> Option<Ledger> {
        let ledger = self.ledgers.get_mut(&key(run))?;
        let mut before = ledger.clone();
        if laxity == Some(Laxity::SettleUnconditional) {
            before.holds.insert(settle.call_id, settle.hold);
        }
        let mut next = before.settle(settle)?;
        if laxity == Some(Laxity::HoldKept) {
            next.holds.insert(settle.call_id, settle.hold);
        }
        *ledger = next.clone();
        self.changes += 1;
        Some(next)
    }

    fn draw(&mut self, run: &RunRef, draw: &Draw, laxity: Option<Laxity>) -> Drawn {
        let Some(next) = self.ledgers.get(&key(run)).and_then(|ledger| ledger.draw(draw)) else { return Drawn::Closed };
        let left = |(owner, part): (&QuotaOwner, &sluice_core::governor::ledger::change::DrawPart)| {
            let quota = self.quotas.get(&(owner.clone(), part.period.clone())).copied().unwrap_or_default();
            let left = quota.left(part.most);
            (left < part.amount).then(|| (owner.clone(), left))
        };
        let short: BTreeMap<_, _> = draw.parts.iter().filter_map(left).collect();
        if !short.is_empty() && laxity != Some(Laxity::DrawUnconditional) {
            return Drawn::Short(short);
        }
        for (owner, part) in &draw.parts {
            let quota = self.quotas.entry((owner.clone(), part.period.clone())).or_default();
            quota.drawn = NanoUsd(quota.drawn.0 + part.amount.0);
        }
        self.ledgers.insert(key(run), next);
        self.changes += 1;
        Drawn::Done
    }

    fn balance(&mut self, run: &RunRef, balance: &Balance) -> bool {
        let Some(next) = self.ledgers.get(&key(run)).and_then(|ledger| ledger.balance(balance)) else { return false };
        let quota = self.quotas.entry((balance.owner.clone(), balance.period.clone())).or_default();
        quota.drawn = NanoUsd(quota.drawn.0.saturating_sub(balance.back.0) + balance.more.0);
        self.ledgers.insert(key(run), next);
        self.changes += 1;
        true
    }
}

impl GovernCalls for MemoryStore {
    async fn reserve(&self, run: &RunRef, reserve: &Reserve) -> StoreResult<Reserved> {
        self.act("reserve for a call", |tables| Ok(tables.governed.reserve(run, reserve, self.laxity))).await
    }

    async fn record_call(&self, run: &RunRef, record: &CallRecord) -> StoreResult<CallRecord> {
        self.act("record a call", |tables| Ok(tables.governed.record(run, record, self.laxity))).await
    }

    async fn record_beside_ledger(&self, run: &RunRef, record: &CallRecord) -> StoreResult<Option<CallRecord>> {
        self.act("record a call beside its ledger", |tables| {
            let is_there = tables.governed.ledgers.contains_key(&key(run));
            Ok(is_there.then(|| tables.governed.record(run, record, self.laxity)))
        })
        .await
    }

    async fn settle(&self, run: &RunRef, settle: &Settle) -> StoreResult<Option<Ledger>> {
        self.act("settle a call", |tables| Ok(tables.governed.settle(run, settle, self.laxity))).await
    }

    async fn sweep_at(&self, run: &RunRef, at: Timestamp) -> StoreResult<()> {
        self.act("say when a ledger is due", |tables| {
            if let Some(ledger) = tables.governed.ledgers.get_mut(&key(run)) {
                ledger.sweep_at = Some(at);
                tables.governed.changes += 1;
            }
            Ok(())
        })
        .await
    }

    async fn tally(&self, run: &RunRef, tally: &Tally) -> StoreResult<Option<Ledger>> {
        self.act("count a refusal", |tables| {
            let Some(ledger) = tables.governed.ledgers.get_mut(&key(run)) else { return Ok(None) };
            let Ok(next) = ledger.tally(tally) else { return Ok(None) };
            *ledger = next.clone();
            tables.governed.changes += 1;
            Ok(Some(next))
        })
        .await
    }

    async fn draw(&self, run: &RunRef, draw: &Draw) -> StoreResult<Drawn> {
        self.act("draw on a quota", |tables| Ok(tables.governed.draw(run, draw, self.laxity))).await
    }
}

impl ReadLedgers for MemoryStore {
    async fn load_ledger(&self, run: &RunRef) -> StoreResult<Option<Ledger>> {
        self.act("load the ledger", |tables| Ok(tables.governed.ledgers.get(&key(run)).cloned())).await
    }

    async fn load_quota(&self, owner: &QuotaOwner, period: &PeriodKey) -> StoreResult<NanoUsd> {
        self.act("load a quota", |tables| {
            let quota = tables.governed.quotas.get(&(owner.clone(), period.clone()));
            Ok(quota.copied().unwrap_or_default().drawn)
        })
        .await
    }

    async fn load_keys(&self, processor: &ProcessorKey) -> StoreResult<ProcessorKeys> {
        self.act("load the keys of a processor", |tables| {
            Ok(tables.governed.keys.get(processor).cloned().unwrap_or_default())
        })
        .await
    }
}

impl FindQuotas for MemoryStore {
    async fn find_quotas(&self, owners: &BTreeSet<QuotaOwner>) -> StoreResult<Vec<QuotaRule>> {
        let rules = lock(&self.tables).governed.rules.clone();
        match rules {
            None => by_budgets(self, owners).await,
            Some(rules) => Ok(rules.into_iter().filter(|rule| owners.contains(&rule.owner)).collect()),
        }
    }
}

impl SweepLedgers for MemoryStore {
    async fn due_ledgers(&self, now: Timestamp, limit: u32) -> StoreResult<Vec<RunRef>> {
        self.act("list the ledgers that are due", |tables| {
            let is_due = |ledger: &Ledger| ledger.sweep_at.is_some_and(|at| at <= now);
            let mut due: Vec<_> = tables.governed.ledgers.iter().filter(|(_, ledger)| is_due(ledger)).collect();
            due.sort_by_key(|(_, ledger)| ledger.sweep_at);
            let run =
                |((tenant_id, run_id), _): (&RunKey, &Ledger)| RunRef { tenant_id: tenant_id.clone(), run_id: *run_id };
            Ok(due.into_iter().take(limit as usize).map(run).collect())
        })
        .await
    }

    async fn swept(&self, run: &RunRef, seen: &Ledger) -> StoreResult<bool> {
        self.act("note that a ledger was swept", |tables| {
            let Some(ledger) = tables.governed.ledgers.get_mut(&key(run)) else { return Ok(false) };
            let Some(next) = ledger.swept(seen) else { return Ok(false) };
            *ledger = next;
            tables.governed.changes += 1;
            Ok(true)
        })
        .await
    }

    async fn balance(&self, run: &RunRef, balance: &Balance) -> StoreResult<bool> {
        self.act("balance a quota", |tables| Ok(tables.governed.balance(run, balance))).await
    }
}

impl ManageKeys for MemoryStore {
    async fn save_keys(&self, processor: &ProcessorKey, keys: &ProcessorKeys) -> StoreResult<bool> {
        self.act("save the keys of a processor", |tables| {
            let stored = tables.governed.keys.get(processor).map_or(0, |keys| keys.rev);
            let is_next = stored + 1 == keys.rev;
            if is_next {
                tables.governed.keys.insert(processor.clone(), keys.clone());
            }
            Ok(is_next)
        })
        .await
    }
}

/// What tests look at.
impl MemoryStore {
    /// Gives a run this ledger in the place of its own.
    pub fn open_ledger(&self, run: &RunRef, ledger: Ledger) {
        lock(&self.tables).governed.ledgers.insert(key(run), ledger);
    }

    /// What runs may spend together from now on, to a billionth of a dollar, whatever the budgets say.
    pub fn set_quotas(&self, rules: Vec<QuotaRule>) {
        lock(&self.tables).governed.rules = Some(rules);
    }

    pub fn governed(&self, run: &RunRef) -> Option<Ledger> {
        lock(&self.tables).governed.ledgers.get(&key(run)).cloned()
    }

    /// How often anything changed of ledgers, records and quotas.
    pub fn governed_changes(&self) -> u64 {
        lock(&self.tables).governed.changes
    }

    /// What `look` sees of a run's ledger, of the records of its governed calls, and of its reported calls.
    pub fn see_ledger<T>(
        &self,
        run: &RunRef,
        look: impl FnOnce(&Ledger, &BTreeMap<CallId, CallRecord>, &[RecordedCall]) -> T,
    ) -> Option<T> {
        let tables = lock(&self.tables);
        let none = BTreeMap::new();
        let records = tables.governed.records.get(&key(run)).unwrap_or(&none);
        let reported: Vec<_> = tables.usage.get(&key(run)).into_iter().flat_map(BTreeMap::values).cloned().collect();
        tables.governed.ledgers.get(&key(run)).map(|ledger| look(ledger, records, &reported))
    }

    pub fn quota(&self, owner: &QuotaOwner, period: &PeriodKey) -> NanoUsd {
        let quotas = &lock(&self.tables).governed.quotas;
        quotas.get(&(owner.clone(), period.clone())).copied().unwrap_or_default().drawn
    }
}
