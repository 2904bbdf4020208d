//! The ledger of a run's governed calls. It is changed by expressions that touch one number each, so it is kept as attributes; its
//! names are short, because it is paid for by the kilobyte at every call.

use super::form::{
    Item, ItemError, ItemResult, Map, RUN_ID, TENANT_ID, check, n, number, parsed, s, set, stamped, text,
};
use crate::dynamo::keys;
use serde_dynamo::AttributeValue;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::governor::access::Holder;
use sluice_core::governor::ledger::{Allowance, Counts, Ledger, OnBudgetExceeded, Standing};
use sluice_core::governor::quota::{PeriodKey, QuotaOwner};
use sluice_core::id::{ComputeNodeKey, NodeId, RunId, TenantId, UserId};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub const LEDGER: &str = "ledger";
pub const GRANT: &str = "grant";
pub const NODES: &str = "nodes";
pub const CAP: &str = "cap";
pub const REFUSES: &str = "refuses";
pub const SPENT: &str = "spent";
pub const LOST: &str = "lost";
pub const HOLDS: &str = "holds";
/// What is left of the cap and of each allowance, by [`CAP`] and by the kinds of quotas.
pub const LEFT: &str = "left";
pub const ALLOWANCES: &str = "allowances";
pub const CALLS: &str = "calls";
pub const LOWERED: &str = "lowered";
pub const REFUSED: &str = "refused";
pub const UNFIT: &str = "unfit";
pub const LOST_CALLS: &str = "lostCalls";
pub const BREACHES: &str = "breaches";
pub const EXHAUSTED: &str = "exhausted";
pub const CLOSED: &str = "closed";
pub const REPORTS_REV: &str = "reportsRev";
pub const TOOK_OVER: &str = "tookOver";
pub const DRAWN: &str = "drawn";
pub const PERIOD: &str = "period";
const IN_PERIOD: &str = "inPeriod";
const USER: &str = "user";
const NODE: &str = "node";

/// What is left where nothing bounds it: more than all calls of a run can come to.
pub const ENDLESS: i128 = 1_000_000_000_000_000_000_000_000;

/// The four kinds of quotas: a run is under one of each at most.
pub const KINDS: [&str; 4] = ["tenant", "tenantUser", "node", "nodeUser"];

pub const fn kind_of(owner: &QuotaOwner) -> &'static str {
    match owner {
        QuotaOwner::Tenant(_) => "tenant",
        QuotaOwner::TenantUser(..) => "tenantUser",
        QuotaOwner::ComputeNode(_) => "node",
        QuotaOwner::ComputeNodeUser(..) => "nodeUser",
    }
}

/// The key of a hold: shorter than the call's id is written elsewhere.
pub fn hold_key(call_id: CallId) -> String {
    call_id.to_string().replace('-', "")
}

/// The key of a report among the holds, which no call has.
pub fn report_key(report_id: CallId) -> String {
    format!("{REPORT}{}", hold_key(report_id))
}

/// What the keys of reports begin with: no digit of an id.
const REPORT: char = 'r';

fn of_hold_key(text: &str) -> Option<CallId> {
    Uuid::try_parse(text).ok()?.hyphenated().to_string().parse().ok()
}

/// What a node's text has for a holder. Keys of processors have neither of the two characters.
pub fn holder_text(holder: &Holder) -> String {
    match holder {
        Holder::Processor(key) => format!("|{key}|"),
        Holder::Worker => "|*|".to_owned(),
    }
}

fn holders(text: &str) -> Option<Vec<Holder>> {
    let holder = |part: &str| match part {
        "*" => Some(Holder::Worker),
        key => key.parse().ok().map(Holder::Processor),
    };
    text.split('|').filter(|part| !part.is_empty()).map(holder).collect()
}

pub fn from_allowance(owner: &QuotaOwner, allowance: Option<&Allowance>) -> AttributeValue {
    let (node, user) = match owner {
        QuotaOwner::Tenant(_) => (None, None),
        QuotaOwner::TenantUser(_, user) => (None, Some(user)),
        QuotaOwner::ComputeNode(node) => (Some(node), None),
        QuotaOwner::ComputeNodeUser(node, _, user) => (Some(node), Some(user)),
    };
    let mut map = Map::new();
    map.extend(node.map(|node| (NODE.into(), s(node.to_string()))));
    map.extend(user.map(|user| (USER.into(), s(user.to_string()))));
    if let Some(Allowance { drawn, period, drawn_in_period }) = allowance {
        map.insert(DRAWN.into(), n(drawn.0));
        map.insert(PERIOD.into(), s(period.to_string()));
        map.insert(IN_PERIOD.into(), n(drawn_in_period.0));
    }
    AttributeValue::M(map)
}

fn to_allowance(tenant: &TenantId, kind: &str, map: &Item) -> ItemResult<(QuotaOwner, Option<Allowance>)> {
    let of_user = || parsed::<UserId>(LEDGER, map, USER);
    let of_node = || parsed::<ComputeNodeKey>(LEDGER, map, NODE);
    let owner = match kind {
        "tenant" => QuotaOwner::Tenant(tenant.clone()),
        "tenantUser" => QuotaOwner::TenantUser(tenant.clone(), of_user()?),
        "node" => QuotaOwner::ComputeNode(of_node()?),
        "nodeUser" => QuotaOwner::ComputeNodeUser(of_node()?, tenant.clone(), of_user()?),
        _ => return Err(bad(ALLOWANCES)),
    };
    if !map.contains_key(DRAWN) {
        return Ok((owner, None));
    }
    let period: PeriodKey = text(map, PERIOD).and_then(|text| text.parse().ok()).ok_or_else(|| bad(PERIOD))?;
    let amount = |attribute| number(LEDGER, map, attribute).map(NanoUsd);
    Ok((owner, Some(Allowance { drawn: amount(DRAWN)?, period, drawn_in_period: amount(IN_PERIOD)? })))
}

pub fn from_governed(tenant: &TenantId, run_id: RunId, ledger: &Ledger) -> Item {
    let committed = i128::from(ledger.committed().0);
    let left_of = |most: Option<NanoUsd>| n(most.map_or(ENDLESS, |most| i128::from(most.0)) - committed);
    let mut left = Map::from([(CAP.to_owned(), left_of(ledger.cap))]);
    left.extend(KINDS.map(|kind| (kind.into(), n(ENDLESS))));
    let mut allowances = Map::new();
    for (owner, allowance) in &ledger.allowances {
        let drawn = allowance.as_ref().map_or(NanoUsd(0), |allowance| allowance.drawn);
        left.insert(kind_of(owner).into(), left_of(Some(drawn)));
        allowances.insert(kind_of(owner).into(), from_allowance(owner, allowance.as_ref()));
    }
    let mut nodes: BTreeMap<&NodeId, String> = BTreeMap::new();
    for (holder, of_holder) in &ledger.nodes {
        for node in of_holder {
            let text = nodes.entry(node).or_default();
            let added = holder_text(holder);
            text.push_str(if text.is_empty() { &added } else { &added[1..] });
        }
    }
    let holds = ledger.holds.iter().map(|(call_id, hold)| (hold_key(*call_id), n(hold.0)));
    let reports = ledger.reports.iter().map(|(report_id, cost)| (report_key(*report_id), n(cost.0)));
    let holds = holds.chain(reports).collect();
    let nodes = nodes.into_iter().map(|(node, text)| (node.to_string(), s(text))).collect();
    let mut item = stamped(Item::new(), LEDGER, keys::ledger(tenant, run_id));
    set(&mut item, [(TENANT_ID, tenant.to_string()), (RUN_ID, run_id.to_string())]);
    set(&mut item, [(GRANT, ledger.grant.reveal().to_owned())]);
    let maps = [(NODES, nodes), (HOLDS, holds), (LEFT, left), (ALLOWANCES, allowances)];
    item.extend(maps.map(|(name, map)| (name.into(), AttributeValue::M(map))));
    let Counts { calls, lowered, refused, exhausted, lost, breaches } = ledger.counts;
    let numbers = [
        (SPENT, ledger.spent.0),
        (LOST, ledger.lost.0),
        (CALLS, calls),
        (LOWERED, lowered),
        (REFUSED, refused),
        (UNFIT, exhausted),
        (LOST_CALLS, lost),
        (BREACHES, breaches),
    ];
    item.extend(numbers.map(|(name, number)| (name.into(), n(number))));
    item.extend(ledger.cap.map(|cap| (CAP.into(), n(cap.0))));
    item.extend((ledger.reports_rev > 0).then(|| (REPORTS_REV.into(), n(ledger.reports_rev))));
    let flags = [
        (TOOK_OVER, ledger.took_over),
        (REFUSES, ledger.on_exceeded == OnBudgetExceeded::Refuse),
        (EXHAUSTED, ledger.standing == Standing::Exhausted),
        (CLOSED, ledger.standing == Standing::Closed),
    ];
    let set_flags = flags.into_iter().filter(|(_, is_set)| *is_set);
    item.extend(set_flags.map(|(name, _)| (name.into(), AttributeValue::Bool(true))));
    if let Some(at) = ledger.sweep_at {
        set(&mut item, [(keys::QUEUE_AT, keys::time_key(at, run_id))]);
    }
    // Without a time it is in no index. One that is under quotas owes them a balance at the end, whatever becomes of it.
    if ledger.sweep_at.is_some() || !ledger.allowances.is_empty() {
        set(&mut item, [(keys::QUEUE_KEY, keys::shard_of_ledger(run_id))]);
    }
    item
}

/// The ledger; `None` where there is nothing but the mark that a run ended which was recorded before there were ledgers.
pub fn to_governed(item: &Item) -> ItemResult<Option<Ledger>> {
    check(LEDGER, item)?;
    let Some(grant) = text(item, GRANT) else { return Ok(None) };
    let tenant: TenantId = parsed(LEDGER, item, TENANT_ID)?;
    let amount = |attribute| number(LEDGER, item, attribute).map(NanoUsd);
    let count = |attribute| number(LEDGER, item, attribute);
    let mut nodes: BTreeMap<Holder, BTreeSet<NodeId>> = BTreeMap::new();
    for (node, text) in map(item, NODES)? {
        let AttributeValue::S(text) = text else { return Err(bad(NODES)) };
        for holder in holders(text).ok_or_else(|| bad(NODES))? {
            nodes.entry(holder).or_default().insert(node.parse().map_err(|_| bad(NODES))?);
        }
    }
    let (mut holds, mut reports) = (BTreeMap::new(), BTreeMap::new());
    for (key, amount) in map(item, HOLDS)? {
        let of_report = key.strip_prefix(REPORT);
        let AttributeValue::N(amount) = amount else { return Err(bad(HOLDS)) };
        let id = of_hold_key(of_report.unwrap_or(key)).ok_or_else(|| bad(HOLDS))?;
        let held = if of_report.is_some() { &mut reports } else { &mut holds };
        held.insert(id, NanoUsd(amount.parse().map_err(|_| bad(HOLDS))?));
    }
    let allowance = |(kind, value): (&String, &AttributeValue)| {
        let AttributeValue::M(map) = value else { return Err(bad(ALLOWANCES)) };
        let map = map.iter().map(|(name, value)| (name.clone().into(), value.clone())).collect();
        to_allowance(&tenant, kind, &map)
    };
    let standing = match (item.contains_key(CLOSED), item.contains_key(EXHAUSTED)) {
        (true, _) => Standing::Closed,
        (false, true) => Standing::Exhausted,
        (false, false) => Standing::Open,
    };
    let on_exceeded = if item.contains_key(REFUSES) { OnBudgetExceeded::Refuse } else { OnBudgetExceeded::Stop };
    Ok(Some(Ledger {
        grant: grant.parse().map_err(|_| bad(GRANT))?,
        nodes,
        standing,
        cap: item.contains_key(CAP).then(|| amount(CAP)).transpose()?,
        on_exceeded,
        spent: amount(SPENT)?,
        lost: amount(LOST)?,
        holds,
        reports,
        reports_rev: item.contains_key(REPORTS_REV).then(|| count(REPORTS_REV)).transpose()?.unwrap_or_default(),
        took_over: item.contains_key(TOOK_OVER),
        counts: Counts {
            calls: count(CALLS)?,
            lowered: count(LOWERED)?,
            refused: count(REFUSED)?,
            exhausted: count(UNFIT)?,
            lost: count(LOST_CALLS)?,
            breaches: count(BREACHES)?,
        },
        allowances: map(item, ALLOWANCES)?.iter().map(allowance).collect::<ItemResult<_>>()?,
        sweep_at: text(item, keys::QUEUE_AT).and_then(keys::time_in_key),
    }))
}

fn map<'a>(item: &'a Item, attribute: &'static str) -> ItemResult<&'a Map> {
    match item.get(attribute) {
        Some(AttributeValue::M(map)) => Ok(map),
        Some(_) | None => Err(bad(attribute)),
    }
}

fn bad(attribute: &'static str) -> ItemError {
    ItemError::Attribute { kind: LEDGER, attribute }
}
