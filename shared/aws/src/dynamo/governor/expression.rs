//! What the changes of a ledger are as updates under conditions: the words of `sluice_core::governor::ledger::change`, on
//! attributes.

use crate::dynamo::item::{
    self, ALLOWANCES, BREACHES, CALLS, CAP, CLOSED, EXHAUSTED, GRANT, HOLDS, Item, KINDS, LEFT, LOST, LOST_CALLS,
    LOWERED, NODES, REFUSED, REPORTS_REV, SPENT, TOOK_OVER, UNFIT, hold_key, holder_text, n, report_key, s,
};
use crate::dynamo::keys;
use crate::dynamo::operation::Names;
use serde_dynamo::AttributeValue;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::governor::access::Pass;
use sluice_core::governor::ledger::change::{CountReport, Earlier, ReportTotal, Reserve, Settle, Tally};
use sluice_core::governor::ledger::{Ledger, Standing};
use sluice_core::governor::record::Outcome;
use sluice_core::limits;
use sluice_core::ports::RunRef;

/// Every name is a placeholder, because many words are reserved.
pub struct Expression {
    pub update: String,
    pub condition: String,
    pub names: Names,
    pub values: Item,
}

/// That the write of a ledger closes it.
#[derive(Clone, Copy)]
pub struct Closing {
    pub standing: Standing,
    pub now: jiff::Timestamp,
}

const ADMITS: &str = "#grant = :grant AND contains(#nodes.#node, :holder)";
const OPEN: &str = "attribute_not_exists(#closed) AND attribute_not_exists(#exhausted)";

impl Expression {
    pub fn new(update: impl Into<String>, condition: impl Into<String>) -> Self {
        Self { update: update.into(), condition: condition.into(), names: Names::new(), values: Item::new() }
    }

    pub fn naming<const N: usize>(mut self, names: [(&'static str, &str); N]) -> Self {
        self.names.extend(names.map(|(placeholder, name)| (placeholder.into(), name.to_owned().into())));
        self
    }

    pub fn with<const N: usize>(mut self, values: [(&'static str, AttributeValue); N]) -> Self {
        self.values.extend(values.map(|(placeholder, value)| (placeholder.into(), value)));
        self
    }

    /// With the names of everything of which something may be left.
    fn naming_left(self) -> Self {
        let mut named = self.naming([("#left", LEFT), ("#of_cap", CAP)]);
        named.names.extend(KINDS.map(|kind| (format!("#of_{kind}").into(), kind.into())));
        named
    }

    fn for_pass(self, pass: &Pass) -> Self {
        self.naming([
            ("#grant", GRANT),
            ("#nodes", NODES),
            ("#node", pass.node_id.as_str()),
            ("#closed", CLOSED),
            ("#exhausted", EXHAUSTED),
        ])
        .with([(":grant", s(pass.grant.reveal())), (":holder", s(holder_text(&pass.holder)))])
    }

    pub fn reserve(run: &RunRef, reserve: &Reserve) -> Self {
        let takes = left().map(|path| format!("{path} = {path} - :amount"));
        let suffices = left().map(|path| format!("{path} >= :amount"));
        let update = format!(
            "SET #holds.#call = :amount, #lowered = #lowered + :lowered, {}, #due_key = if_not_exists(#due_key, :shard), \
             #due_at = if_not_exists(#due_at, :end)",
            takes.join(", ")
        );
        let condition = format!(
            "{ADMITS} AND {OPEN} AND attribute_not_exists(#holds.#call) AND size(#holds) < :most AND {}",
            suffices.join(" AND ")
        );
        let end = keys::time_key(reserve.call_id.lease_end(), run.run_id);
        Self::new(update, condition)
            .for_pass(&reserve.pass)
            .naming_left()
            .naming([
                ("#holds", HOLDS),
                ("#call", &hold_key(reserve.call_id)),
                ("#lowered", LOWERED),
                ("#due_key", keys::QUEUE_KEY),
                ("#due_at", keys::QUEUE_AT),
            ])
            .with([
                (":amount", n(reserve.amount.0)),
                (":lowered", n(u8::from(reserve.is_lowered))),
                (":most", n(limits::CALLS_AT_ONCE)),
                (":shard", s(keys::shard_of_ledger(run.run_id))),
                (":end", s(end)),
            ])
    }

    pub fn settle(settle: &Settle) -> Self {
        let gives = left().map(|path| format!("{path} = {path} + :back"));
        let update = format!(
            "SET #spent = #spent + :cost, #lost = #lost + :lost, #calls = #calls + :ran, \
             #lost_calls = #lost_calls + :is_lost, #breaches = #breaches + :is_breach, {} REMOVE #holds.#call",
            gives.join(", ")
        );
        let (ran, lost) = match settle.outcome {
            Outcome::NotRun => (0, 0),
            Outcome::Used => (1, 0),
            Outcome::Lost => (1, 1),
        };
        let back = i128::from(settle.hold.0) - i128::from(settle.cost.0);
        Self::new(update, "#holds.#call = :hold")
            .naming_left()
            .naming([
                ("#holds", HOLDS),
                ("#call", &hold_key(settle.call_id)),
                ("#spent", SPENT),
                ("#lost", LOST),
                ("#calls", CALLS),
                ("#lost_calls", LOST_CALLS),
                ("#breaches", BREACHES),
            ])
            .with([
                (":hold", n(settle.hold.0)),
                (":cost", n(settle.cost.0)),
                (":lost", n(if lost == 1 { settle.cost.0 } else { 0 })),
                (":ran", n(ran)),
                (":is_lost", n(lost)),
                (":is_breach", n(u8::from(settle.cost > settle.hold))),
                (":back", n(back)),
            ])
    }

    pub fn tally(tally: &Tally) -> Self {
        Self::new("SET #refused = #refused + :one, #unfit = #unfit + :unfit", format!("{ADMITS} AND {OPEN}"))
            .for_pass(&tally.pass)
            .naming([("#refused", REFUSED), ("#unfit", UNFIT)])
            .with([(":one", n(1)), (":unfit", n(u8::from(tally.is_exhausted)))])
    }

    /// Holds what the calls of a report cost: they were made, so that the ledger need only be there.
    pub fn begin_report(run: &RunRef, report_id: CallId, cost: NanoUsd) -> Self {
        let takes = left().map(|path| format!("{path} = {path} - :cost"));
        let update = format!(
            "SET #holds.#report = :cost, #reports_rev = if_not_exists(#reports_rev, :zero) + :one, {}, \
             #due_key = if_not_exists(#due_key, :shard), #due_at = if_not_exists(#due_at, :end)",
            takes.join(", ")
        );
        Self::new(update, "attribute_exists(#grant) AND attribute_not_exists(#holds.#report)")
            .naming_left()
            .naming([
                ("#grant", GRANT),
                ("#holds", HOLDS),
                ("#report", &report_key(report_id)),
                ("#reports_rev", REPORTS_REV),
                ("#due_key", keys::QUEUE_KEY),
                ("#due_at", keys::QUEUE_AT),
            ])
            .with([
                (":cost", n(cost.0)),
                (":zero", n(0)),
                (":one", n(1)),
                (":shard", s(keys::shard_of_ledger(run.run_id))),
                (":end", s(keys::time_key(report_id.lease_end(), run.run_id))),
            ])
    }

    /// Removes the hold of a report, and adds what it cost.
    pub fn count_report(run: &RunRef, count: &CountReport, closes: Option<Closing>) -> Self {
        let CountReport { report_id, held, total } = count;
        let back = i128::from(held.0) - i128::from(total.cost.0);
        let mut expression = Self::add_report(run, total, "#holds.#report = :held", back, closes);
        expression.update.push_str(" REMOVE #holds.#report");
        expression.naming([("#holds", HOLDS), ("#report", &report_key(*report_id))]).with([(":held", n(held.0))])
    }

    /// Adds what a report cost that was never under way. Without a stop the ledger is looked at again, in case it is closed.
    pub fn count_at_once(run: &RunRef, report_id: CallId, total: &ReportTotal, closes: Option<Closing>) -> Self {
        let back = -i128::from(total.cost.0);
        let mut expression = Self::add_report(run, total, "attribute_exists(#grant)", back, closes);
        if closes.is_none() {
            let due = ", #due_key = if_not_exists(#due_key, :shard), #due_at = if_not_exists(#due_at, :end)";
            expression.update.push_str(due);
            let end = keys::time_key(report_id.lease_end(), run.run_id);
            expression = expression
                .naming([("#due_key", keys::QUEUE_KEY), ("#due_at", keys::QUEUE_AT)])
                .with([(":shard", s(keys::shard_of_ledger(run.run_id))), (":end", s(end))]);
        }
        expression.naming([("#grant", GRANT)])
    }

    /// Adds what a report cost: within the cap, or on a ledger that is closed. What `closes` says is written with the stop of the
    /// run, and has no look at the cap.
    fn add_report(run: &RunRef, total: &ReportTotal, leave: &str, back: i128, closes: Option<Closing>) -> Self {
        let gives = left().map(|path| format!("{path} = {path} + :back"));
        let closing = if closes.is_some() { ", #standing = :true, #due_at = :now" } else { "" };
        let update = format!(
            "SET #spent = #spent + :cost, #calls = #calls + :calls, \
             #reports_rev = if_not_exists(#reports_rev, :zero) + :one, {}{closing}",
            gives.join(", ")
        );
        let room = total.room().filter(|_| closes.is_none());
        let within = " AND (#spent <= :room OR attribute_exists(#closed) OR attribute_exists(#exhausted))";
        let condition = format!("{leave}{}", if room.is_some() { within } else { "" });
        let mut expression = Self::new(update, condition)
            .naming_left()
            .naming([("#spent", SPENT), ("#calls", CALLS), ("#reports_rev", REPORTS_REV)])
            .with([
                (":cost", n(total.cost.0)),
                (":calls", n(total.calls)),
                (":zero", n(0)),
                (":one", n(1)),
                (":back", n(back)),
            ]);
        if let Some(room) = room {
            let names = [("#closed", CLOSED), ("#exhausted", EXHAUSTED)];
            expression = expression.naming(names).with([(":room", n(room))]);
        }
        if let Some(Closing { standing, now }) = closes {
            let standing = if standing == Standing::Exhausted { EXHAUSTED } else { CLOSED };
            let values = [(":true", AttributeValue::Bool(true)), (":now", s(keys::time_key(now, run.run_id)))];
            expression = expression.naming([("#standing", standing), ("#due_at", keys::QUEUE_AT)]).with(values);
        }
        expression
    }

    /// Counts what was reported before there was one ledger, once.
    pub fn take_over(earlier: &Earlier) -> Self {
        let takes = left().map(|path| format!("{path} = {path} - :cost"));
        let update = format!(
            "SET #spent = #spent + :cost, #calls = #calls + :calls, #took_over = :true, \
             #reports_rev = if_not_exists(#reports_rev, :zero) + :one, {}",
            takes.join(", ")
        );
        Self::new(update, "attribute_exists(#grant) AND attribute_not_exists(#took_over)")
            .naming_left()
            .naming([
                ("#grant", GRANT),
                ("#spent", SPENT),
                ("#calls", CALLS),
                ("#took_over", TOOK_OVER),
                ("#reports_rev", REPORTS_REV),
            ])
            .with([
                (":cost", n(earlier.cost.0)),
                (":calls", n(earlier.calls)),
                (":true", AttributeValue::Bool(true)),
                (":zero", n(0)),
                (":one", n(1)),
            ])
    }

    /// Looks at the ledger next at this time.
    pub fn look_at(run: &RunRef, at: jiff::Timestamp) -> Self {
        Self::new("SET #due_at = :at, #due_key = :shard", "attribute_exists(#grant)")
            .naming([("#grant", GRANT), ("#due_at", keys::QUEUE_AT), ("#due_key", keys::QUEUE_KEY)])
            .with([(":at", s(keys::time_key(at, run.run_id))), (":shard", s(keys::shard_of_ledger(run.run_id)))])
    }

    /// Looks at it as [`Ledger::swept`] says.
    pub fn swept(run: &RunRef, seen: &Ledger) -> Self {
        let stands = match seen.standing {
            Standing::Open => OPEN,
            Standing::Exhausted => "attribute_exists(#exhausted) AND attribute_not_exists(#closed)",
            Standing::Closed => "attribute_exists(#closed)",
        };
        let expression = match seen.next_sweep() {
            Some(next) => {
                let values =
                    [(":at", s(keys::time_key(next, run.run_id))), (":shard", s(keys::shard_of_ledger(run.run_id)))];
                Self::new("SET #due_at = :at, #due_key = :shard", format!("size(#holds) > :none AND {stands}"))
                    .naming([("#due_key", keys::QUEUE_KEY)])
                    .with(values)
            }
            None => Self::new("REMOVE #due_at", format!("size(#holds) = :none AND #spent = :spent AND {stands}"))
                .naming([("#spent", SPENT)])
                .with([(":spent", n(seen.spent.0))]),
        };
        let expression = expression
            .naming([("#due_at", keys::QUEUE_AT), ("#holds", HOLDS), ("#closed", CLOSED)])
            .with([(":none", n(0))]);
        // A name that is not used is refused.
        if seen.standing == Standing::Closed { expression } else { expression.naming([("#exhausted", EXHAUSTED)]) }
    }

    /// The ledger's part in drawing on quotas, or in a balance, whose kinds are `kinds`.
    pub fn allowances(kinds: &[&'static str], condition: &str, is_relative: bool) -> Self {
        let parts: Vec<String> = kinds
            .iter()
            .map(|kind| {
                let left = format!("#left.#of_{kind}");
                let change = if is_relative { format!("{left} + :change_{kind}") } else { format!(":change_{kind}") };
                format!("#allowances.#of_{kind} = :allowance_{kind}, {left} = {change}")
            })
            .collect();
        let mut expression = Self::new(format!("SET {}", parts.join(", ")), condition)
            .naming([("#allowances", ALLOWANCES), ("#left", LEFT), ("#drawn", item::DRAWN)])
            .naming([("#closed", CLOSED), ("#exhausted", EXHAUSTED)]);
        expression.names.extend(kinds.iter().map(|kind| (format!("#of_{kind}").into(), (*kind).into())));
        expression
    }

    pub fn is_open() -> &'static str {
        OPEN
    }
}

/// Paths to what is left of the cap and of each allowance.
fn left() -> [String; KINDS.len() + 1] {
    [CAP, KINDS[0], KINDS[1], KINDS[2], KINDS[3]].map(|name| format!("#left.#of_{name}"))
}
