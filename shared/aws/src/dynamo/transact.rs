//! One transaction: all of its writes or none.

use super::item::{Item, n, of_sdk, s};
use super::keys::{self, Key};
use super::operation::{Change, Names, ReturnValue, TransactWriteItem, TransactWriteItems, TransactWriteItemsInput};
use super::{Store, class, corrupt, failed};
use crate::call::Written;
use crate::fault::Fault;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use serde_dynamo::AttributeValue;
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{StoreError, StoreErrorClass, StoreResult};
use sluice_core::run::Run;
use sluice_core::time::rfc3339_millis;
use std::time::Duration;

/// Times a transaction is tried against others that touch the same items.
const TRIES: u32 = 6;
/// The first pause is up to this; each later one up to twice the one before.
const FIRST_PAUSE_MS: u64 = 20;

/// The condition on the head of a run that is kept.
const KEPT: &str = "attribute_exists(pk) AND (attribute_not_exists(retentionDueAt) OR retentionDueAt <> :let_go)";

/// The code of a write whose condition did not hold.
const REFUSED: &str = "ConditionalCheckFailed";

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Transacted {
    Written,
    /// Nothing was written.
    Refused(Refusals),
}

/// Which conditions did not hold, in the order of the writes. Before the first of them nothing was in the way: whoever
/// looks at the refusals in the order of the writes is told the truth.
#[derive(Debug)]
pub(super) struct Refusals(Vec<Option<Option<Item>>>);

impl Refusals {
    /// Whether the condition of this write was one of those that did not hold.
    pub fn include(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(Option::is_some)
    }

    /// `None` when the condition of this write held; else the item as it is, if there is one.
    pub fn at(&mut self, index: usize) -> Option<Option<Item>> {
        self.0.get_mut(index).and_then(Option::take)
    }
}

/// A write in a transaction.
pub(super) struct Write {
    what: What,
    condition: Option<String>,
    names: Names,
    values: Item,
}

enum What {
    Put(Item),
    /// Sets the attributes of the item and removes those named; leaves all others as they are.
    Update {
        key: Key,
        set: Item,
        /// To be set where there are none yet.
        keep: Item,
        remove: &'static [&'static str],
    },
    /// Writes the item if there is none, and leaves one that is there as it is.
    Keep(Item),
    /// Does to the item what the expression says.
    Apply {
        key: Key,
        expression: String,
    },
    Delete(Key),
    /// Changes nothing; only its condition counts.
    Check(Key),
}

impl Write {
    fn new(what: What) -> Self {
        Self { what, condition: None, names: Names::new(), values: Item::new() }
    }

    pub fn put(item: Item) -> Self {
        Self::new(What::Put(item))
    }

    pub fn put_new(item: Item) -> Self {
        Self::put(item).only_if("attribute_not_exists(pk)")
    }

    pub fn update(key: Key, set: Item, remove: &'static [&'static str]) -> Self {
        Self::new(What::Update { key, set, keep: Item::new(), remove })
    }

    /// An update that leaves the attributes of `keep` as they are, where the item has them.
    pub fn update_keeping(key: Key, set: Item, keep: Item, remove: &'static [&'static str]) -> Self {
        Self::new(What::Update { key, set, keep, remove })
    }

    /// Writes the item if there is none under its key. Unlike [`Self::put_new`] it refuses nothing.
    pub fn keep(item: Item) -> Self {
        Self::new(What::Keep(item))
    }

    pub fn apply(key: Key, expression: impl Into<String>) -> Self {
        Self::new(What::Apply { key, expression: expression.into() })
    }

    /// Deletes the item, if there is one.
    pub fn delete(key: Key) -> Self {
        Self::new(What::Delete(key))
    }

    /// Lets the others be written only if a run is there and nobody is deleting it: what is written beside a head that goes
    /// stays for ever, since nobody would find it.
    pub fn if_kept(tenant: &TenantId, run_id: RunId) -> Self {
        Self::check(keys::run_head(tenant, run_id)).only_if(KEPT).with(":let_go", s(rfc3339_millis(Run::LET_GO)))
    }

    /// The same, and only if the run is at `rev`.
    pub fn if_kept_at(tenant: &TenantId, run_id: RunId, rev: u64) -> Self {
        Self::if_kept(tenant, run_id).only_if(format!("rev = :rev AND {KEPT}")).with(":rev", n(rev))
    }

    /// Lets the others be written only if the condition that follows holds for this item.
    pub fn check(key: Key) -> Self {
        Self::new(What::Check(key))
    }

    pub fn only_if(self, condition: impl Into<String>) -> Self {
        Self { condition: Some(condition.into()), ..self }
    }

    pub fn with(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.values.insert(name.into(), value);
        self
    }

    pub fn with_all(mut self, values: Item) -> Self {
        self.values.extend(values);
        self
    }

    /// What a placeholder in the expressions stands for, where the attribute's own name is a reserved word.
    pub fn naming(mut self, placeholder: &'static str, attribute: &'static str) -> Self {
        self.names.insert(placeholder.into(), attribute.into());
        self
    }

    pub fn naming_all(mut self, names: Names) -> Self {
        self.names.extend(names);
        self
    }

    fn into_action(self, table: &str) -> TransactWriteItem<'_> {
        let mut change = Change {
            table_name: table,
            condition_expression: self.condition.map(Into::into),
            expression_attribute_names: self.names,
            expression_attribute_values: self.values,
            return_values_on_condition_check_failure: Some(ReturnValue::AllOld),
            ..Change::default()
        };
        let (key, (expression, names, values)) = match self.what {
            What::Put(item) => return TransactWriteItem::Put(Change { item: Some(item), ..change }),
            What::Delete(key) => return TransactWriteItem::Delete(Change { key: Some(key.into_item()), ..change }),
            What::Check(key) => {
                return TransactWriteItem::ConditionCheck(Change { key: Some(key.into_item()), ..change });
            }
            What::Update { key, set, keep, remove } => (key.into_item(), update_expression(set, keep, remove)),
            What::Keep(mut item) => {
                change.return_values_on_condition_check_failure = None;
                let key = [keys::PK, keys::SK].iter().filter_map(|name| item.remove_entry(name)).collect();
                (key, keep_expression(item))
            }
            What::Apply { key, expression } => (key.into_item(), (expression, Names::new(), Item::new())),
        };
        change.expression_attribute_names.extend(names);
        change.expression_attribute_values.extend(values);
        TransactWriteItem::Update(Change { key: Some(key), update_expression: Some(expression.into()), ..change })
    }
}

/// Every name is a placeholder, because many words are reserved.
fn update_expression(set: Item, keep: Item, remove: &[&'static str]) -> (String, Names, Item) {
    let (mut sets, mut names, mut values) = keep_sets(keep);
    let mut removes = Vec::new();
    for name in remove.iter().filter(|name| !set.contains_key(name)) {
        let placeholder = format!("#r{}", removes.len());
        names.insert(placeholder.clone().into(), (*name).into());
        removes.push(placeholder);
    }
    for (index, (name, value)) in set.into_iter().enumerate() {
        sets.push(format!("#s{index} = :s{index}"));
        names.insert(format!("#s{index}").into(), name);
        values.insert(format!(":s{index}").into(), value);
    }
    let mut expression = format!("SET {}", sets.join(", "));
    if !removes.is_empty() {
        expression = format!("{expression} REMOVE {}", removes.join(", "));
    }
    (expression, names, values)
}

/// Each attribute is set where there is none yet.
fn keep_expression(item: Item) -> (String, Names, Item) {
    let (sets, names, values) = keep_sets(item);
    (format!("SET {}", sets.join(", ")), names, values)
}

fn keep_sets(item: Item) -> (Vec<String>, Names, Item) {
    let (mut names, mut values, mut sets) = (Names::new(), Item::new(), Vec::new());
    for (index, (name, value)) in item.into_iter().enumerate() {
        sets.push(format!("#k{index} = if_not_exists(#k{index}, :k{index})"));
        names.insert(format!("#k{index}").into(), name);
        values.insert(format!(":k{index}").into(), value);
    }
    (sets, names, values)
}

impl Store {
    /// Writes all or nothing, and tries again while others' transactions are in the way. Every try carries the same
    /// token, so that a write whose answer was lost is not refused by its own effect.
    pub(super) async fn transact(&self, operation: &'static str, writes: Vec<Write>) -> StoreResult<Transacted> {
        self.transact_within(TRIES, operation, writes).await
    }

    /// Writes all or nothing, and fails with a conflict while others' writes are in the way.
    pub(super) async fn transact_once(&self, operation: &'static str, writes: Vec<Write>) -> StoreResult<Transacted> {
        self.transact_within(1, operation, writes).await
    }

    async fn transact_within(
        &self,
        tries: u32,
        operation: &'static str,
        writes: Vec<Write>,
    ) -> StoreResult<Transacted> {
        let written = Written::<TransactWriteItems>::new(TransactWriteItemsInput {
            transact_items: writes.into_iter().map(|write| write.into_action(&self.table)).collect(),
            client_request_token: &uuid::Uuid::new_v4().to_string(),
        });
        let written = written.map_err(|error| corrupt(operation, error))?;
        let mut attempt = 0;
        loop {
            let Err(error) = self.dynamodb.send(&written).await else {
                return Ok(Transacted::Written);
            };
            let error = match judge(operation, error) {
                Ok(refusals) => return Ok(Transacted::Refused(refusals)),
                Err(error) => error,
            };
            attempt += 1;
            if !error.is_conflict() || attempt == tries {
                return Err(error);
            }
            tokio::time::sleep(pause(attempt)).await;
        }
    }
}

/// Full jitter, so that racers do not meet again.
fn pause(attempt: u32) -> Duration {
    let most_us = (FIRST_PAUSE_MS * 1_000) << attempt.min(6);
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    Duration::from_micros(random % most_us)
}

fn judge(operation: &'static str, error: SdkError<TransactWriteItemsError>) -> Result<Refusals, StoreError> {
    if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() {
        let reasons = canceled.cancellation_reasons();
        let codes = || reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None");
        // The writes stand in the order of their weight. What is in the way of an earlier one says nothing of its
        // condition, so a later refusal is not the answer yet.
        if codes().next() == Some(REFUSED) {
            let refusal =
                |reason: &CancellationReason| (reason.code() == Some(REFUSED)).then(|| reason.item().map(of_sdk));
            return Ok(Refusals(reasons.iter().map(refusal).collect()));
        }
        // The gravest of what is left; a conflict only counts where it is the one thing in the way.
        let mut classes: Vec<_> = codes().filter(|code| *code != REFUSED).map(|code| class(Some(code))).collect();
        classes.sort_by_key(|class| *class == StoreErrorClass::Conflict);
        let class = classes.first().copied().unwrap_or(StoreErrorClass::Unavailable);
        return Err(StoreError::new(
            operation,
            class,
            Fault::new("TransactionCanceledException", canceled.message().unwrap_or("no message")),
        ));
    }
    Err(failed(operation, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_removes_only_what_it_does_not_set() {
        let set = Item::from([("error".into(), AttributeValue::S("x".to_owned()))]);
        let (expression, names, values) = update_expression(set, Item::new(), &["error", "openShard"]);
        assert_eq!(expression, "SET #s0 = :s0 REMOVE #r0");
        assert_eq!(names, Names::from([("#s0".into(), "error".into()), ("#r0".into(), "openShard".into())]));
        assert_eq!(values, Item::from([(":s0".into(), AttributeValue::S("x".to_owned()))]));
    }

    #[test]
    fn an_update_sets_what_it_keeps_only_where_there_is_none() {
        let one = |name: &'static str| Item::from([(name.into(), s("x"))]);
        let (expression, names, _) = update_expression(one("status"), one("startedAt"), &[]);
        assert_eq!(expression, "SET #k0 = if_not_exists(#k0, :k0), #s0 = :s0");
        let named = |placeholder: &'static str, name: &'static str| (placeholder.into(), name.into());
        assert_eq!(names, Names::from([named("#k0", "startedAt"), named("#s0", "status")]));
    }

    #[test]
    fn every_kind_of_write_keeps_its_condition() {
        let key = || Key::new("p", "s");
        let item = || key().into_item();
        let writes = [
            Write::put(item()),
            Write::update(key(), Item::from([("a".into(), s("1"))]), &[]),
            Write::apply(key(), "SET a = :a").with(":a", s("1")),
            Write::delete(key()),
            Write::check(key()),
        ];
        for (kind, write) in ["put", "update", "apply", "delete", "check"].into_iter().zip(writes) {
            let write = write.only_if("#rev = :rev").naming("#rev", "rev").with(":rev", s("7"));
            let action = write.into_action("table");
            let said = format!("{action:?}");
            for part in ["#rev = :rev", "\"rev\"", "S(\"7\")", "AllOld"] {
                assert!(said.contains(part), "{kind} drops {part}: {said}");
            }
        }
    }

    #[test]
    fn pauses_grow_and_stay_short() {
        for attempt in 1..TRIES {
            assert!(pause(attempt) < Duration::from_millis(FIRST_PAUSE_MS << attempt));
        }
    }
}
