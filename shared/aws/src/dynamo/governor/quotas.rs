//! Drawing on quotas, and balancing with them.

use super::Expression;
use crate::dynamo::item::{self, DRAWN, HOLDS, PERIOD, SPENT, kind_of, n, s};
use crate::dynamo::operation::Names;
use crate::dynamo::transact::{Transacted, Write};
use crate::dynamo::{Store, corrupt, keys};
use sluice_core::budget::NanoUsd;
use sluice_core::governor::ledger::change::{Balance, Draw, DrawPart};
use sluice_core::governor::quota::QuotaOwner;
use sluice_core::ports::{Drawn, ReadLedgers, RunRef, StoreError, StoreErrorClass, StoreResult};
use std::collections::BTreeMap;

/// Times that a draw is decided anew because another one of the same run came first.
const TRIES: u32 = 5;

/// The place of the ledger in the transactions.
const LEDGER: usize = 0;

/// Makes the item of a quota in a period where there is none yet.
const DRAW: &str = "SET #kind = :kind, #v = :v, #ttl = :ttl, #drawn = if_not_exists(#drawn, :zero) + :amount";

impl Store {
    pub(super) async fn draw_on_quotas(&self, run: &RunRef, draw: &Draw) -> StoreResult<Drawn> {
        const OPERATION: &str = "draw on a quota";
        for _ in 0..TRIES {
            let Some(before) = self.load_ledger(run).await? else { return Ok(Drawn::Closed) };
            let Some(after) = before.draw(draw) else { return Ok(Drawn::Closed) };
            let mut conditions = vec![Expression::is_open().to_owned()];
            let kinds: Vec<_> = draw.parts.keys().map(kind_of).collect();
            for owner in draw.parts.keys() {
                let (kind, path) = (kind_of(owner), format!("#allowances.#of_{}", kind_of(owner)));
                conditions.push(match before.allowances.get(owner).and_then(Option::as_ref) {
                    None => format!("attribute_exists({path}) AND attribute_not_exists({path}.#drawn)"),
                    Some(_) => format!("{path}.#drawn = :drawn_{kind} AND {path}.#period = :period_{kind}"),
                });
            }
            let mut expression = Expression::allowances(&kinds, &conditions.join(" AND "), true);
            for (owner, part) in &draw.parts {
                let kind = kind_of(owner);
                let drawn = after.allowances.get(owner).and_then(Option::as_ref);
                expression.values.insert(format!(":allowance_{kind}").into(), item::from_allowance(owner, drawn));
                expression.values.insert(format!(":change_{kind}").into(), n(part.amount.0));
                if let Some(was) = before.allowances.get(owner).and_then(Option::as_ref) {
                    expression.names.insert("#period".into(), PERIOD.into());
                    expression.values.insert(format!(":drawn_{kind}").into(), n(was.drawn.0));
                    expression.values.insert(format!(":period_{kind}").into(), s(was.period.to_string()));
                }
            }
            let mut writes = vec![Write::of_ledger(run, expression)];
            writes.extend(draw.parts.iter().map(|(owner, part)| draw_part(owner, part)));
            let mut refusals = match self.transact(OPERATION, writes).await? {
                Transacted::Written => return Ok(Drawn::Done),
                Transacted::Refused(refusals) => refusals,
            };
            if refusals.include(LEDGER) {
                continue;
            }
            let mut short = BTreeMap::new();
            for (at, (owner, part)) in (LEDGER + 1..).zip(&draw.parts) {
                let Some(found) = refusals.at(at) else { continue };
                let drawn =
                    found.as_ref().map(item::to_drawn).transpose().map_err(|error| corrupt(OPERATION, error))?;
                let left = part.most.0.saturating_sub(drawn.unwrap_or_default().0);
                short.insert(owner.clone(), NanoUsd(left));
            }
            return Ok(Drawn::Short(short));
        }
        Err(StoreError { operation: OPERATION, class: StoreErrorClass::Conflict, source: None })
    }

    pub(super) async fn balance_with_quota(&self, run: &RunRef, balance: &Balance) -> StoreResult<bool> {
        const OPERATION: &str = "balance a quota";
        let owner = &balance.owner;
        let Some(after) = self.load_ledger(run).await?.and_then(|ledger| ledger.balance(balance)) else {
            return Ok(false);
        };
        let ledger = || {
            let kind = kind_of(owner);
            let condition = format!(
                "(attribute_exists(#closed) OR attribute_exists(#exhausted)) AND size(#holds) = :none AND \
                 #spent = :spent AND #allowances.#of_{kind}.#drawn = :drawn"
            );
            let settled = after.allowances.get(owner).and_then(Option::as_ref);
            let mut expression = Expression::allowances(&[kind], &condition, false)
                .naming([("#holds", HOLDS), ("#spent", SPENT)])
                .with([(":none", n(0)), (":spent", n(balance.spent.0)), (":drawn", n(balance.drawn.0))]);
            expression.values.insert(format!(":allowance_{kind}").into(), item::from_allowance(owner, settled));
            expression.values.insert(format!(":change_{kind}").into(), n(0));
            Write::of_ledger(run, expression)
        };
        let change = i128::from(balance.more.0) - i128::from(balance.back.0);
        let quota = Write::apply(keys::quota(owner, &balance.period), DRAW)
            .only_if(if balance.back.0 > 0 {
                "#drawn >= :back"
            } else {
                "attribute_not_exists(#drawn) OR #drawn >= :back"
            })
            .naming_all(quota_names())
            .with_all(item::quota_stamp(&balance.period))
            .with(":zero", n(0))
            .with(":amount", n(change))
            .with(":back", n(balance.back.0));
        let refusals = match self.transact(OPERATION, vec![ledger(), quota]).await? {
            Transacted::Written => return Ok(true),
            Transacted::Refused(refusals) => refusals,
        };
        if refusals.include(LEDGER) {
            return Ok(false);
        }
        // The quota of that period is forgotten: nobody needs the rest any more.
        Ok(matches!(self.transact(OPERATION, vec![ledger()]).await?, Transacted::Written))
    }
}

fn draw_part(owner: &QuotaOwner, part: &DrawPart) -> Write {
    let room = i128::from(part.most.0) - i128::from(part.amount.0);
    let condition = if room >= 0 { "attribute_not_exists(#drawn) OR #drawn <= :room" } else { "#drawn <= :room" };
    Write::apply(keys::quota(owner, &part.period), DRAW)
        .only_if(condition)
        .naming_all(quota_names())
        .with_all(item::quota_stamp(&part.period))
        .with(":zero", n(0))
        .with(":amount", n(part.amount.0))
        .with(":room", n(room))
}

fn quota_names() -> Names {
    let names = [("#drawn", DRAWN), ("#kind", "kind"), ("#v", "v"), ("#ttl", "ttl")];
    Names::from(names.map(|(placeholder, name)| (placeholder.into(), name.into())))
}

impl Write {
    /// An update of a run's ledger.
    pub(in crate::dynamo) fn of_ledger(run: &RunRef, expression: Expression) -> Self {
        let Expression { update, condition, names, values } = expression;
        Self::apply(keys::ledger(&run.tenant_id, run.run_id), update)
            .only_if(condition)
            .naming_all(names)
            .with_all(values)
    }
}
