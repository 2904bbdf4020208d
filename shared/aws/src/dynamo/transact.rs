//! One transaction: all of its writes or none.

use super::item::{Item, n, s};
use super::keys::{self, Key};
use super::{Store, class, corrupt, failed};
use crate::call::Written;
use crate::fault::Fault;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItems, TransactWriteItemsError, TransactWriteItemsInput,
};
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{StoreError, StoreErrorClass, StoreResult};
use sluice_core::run::Run;
use sluice_core::time::rfc3339_millis;
use std::collections::HashMap;
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
    names: HashMap<String, String>,
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
        Self { what, condition: None, names: HashMap::new(), values: Item::new() }
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
        self.values.insert(name.to_owned(), value);
        self
    }

    pub fn with_all(mut self, values: Item) -> Self {
        self.values.extend(values);
        self
    }

    /// What a placeholder in the expressions stands for, where the attribute's own name is a reserved word.
    pub fn naming(mut self, placeholder: &'static str, attribute: &'static str) -> Self {
        self.names.insert(placeholder.to_owned(), attribute.to_owned());
        self
    }

    pub fn naming_all(mut self, names: HashMap<String, String>) -> Self {
        self.names.extend(names);
        self
    }

    fn into_action(self, table: &str) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        let condition = self.condition;
        let (key, expression, mut names, mut values) = match self.what {
            What::Put(item) => {
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(item))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names((!self.names.is_empty()).then_some(self.names))
                    .set_expression_attribute_values((!self.values.is_empty()).then_some(self.values))
                    .return_values_on_condition_check_failure(old);
                return Ok(TransactWriteItem::builder().put(put.build()?).build());
            }
            What::Update { key, set, keep, remove } => {
                let (expression, names, values) = update_expression(set, keep, remove);
                (key, expression, names, values)
            }
            What::Keep(mut item) => {
                let key: Item = [keys::PK, keys::SK].iter().filter_map(|name| item.remove_entry(*name)).collect();
                let (expression, names, values) = keep_expression(item);
                let update = Update::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .update_expression(expression)
                    .set_expression_attribute_names(Some(names))
                    .set_expression_attribute_values(Some(values));
                return Ok(TransactWriteItem::builder().update(update.build()?).build());
            }
            What::Delete(key) => {
                let delete = Delete::builder()
                    .table_name(table)
                    .set_key(Some(key.into_item()))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names((!self.names.is_empty()).then_some(self.names))
                    .set_expression_attribute_values((!self.values.is_empty()).then_some(self.values))
                    .return_values_on_condition_check_failure(old);
                return Ok(TransactWriteItem::builder().delete(delete.build()?).build());
            }
            What::Check(key) => {
                let check = ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key.into_item()))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names((!self.names.is_empty()).then_some(self.names))
                    .set_expression_attribute_values((!self.values.is_empty()).then_some(self.values))
                    .return_values_on_condition_check_failure(old);
                return Ok(TransactWriteItem::builder().condition_check(check.build()?).build());
            }
            What::Apply { key, expression } => (key, expression, HashMap::new(), Item::new()),
        };
        names.extend(self.names);
        values.extend(self.values);
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key.into_item()))
            .update_expression(expression)
            .set_expression_attribute_names((!names.is_empty()).then_some(names))
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .set_condition_expression(condition)
            .return_values_on_condition_check_failure(old);
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }
}

/// Every name is a placeholder, because many words are reserved.
fn update_expression(set: Item, keep: Item, remove: &[&str]) -> (String, HashMap<String, String>, Item) {
    let (mut sets, mut names, mut values) = keep_sets(keep);
    let mut removes = Vec::new();
    for name in remove.iter().filter(|name| !set.contains_key(**name)) {
        let placeholder = format!("#r{}", removes.len());
        names.insert(placeholder.clone(), (*name).to_owned());
        removes.push(placeholder);
    }
    for (index, (name, value)) in set.into_iter().enumerate() {
        sets.push(format!("#s{index} = :s{index}"));
        names.insert(format!("#s{index}"), name);
        values.insert(format!(":s{index}"), value);
    }
    let mut expression = format!("SET {}", sets.join(", "));
    if !removes.is_empty() {
        expression = format!("{expression} REMOVE {}", removes.join(", "));
    }
    (expression, names, values)
}

/// Each attribute is set where there is none yet.
fn keep_expression(item: Item) -> (String, HashMap<String, String>, Item) {
    let (sets, names, values) = keep_sets(item);
    (format!("SET {}", sets.join(", ")), names, values)
}

fn keep_sets(item: Item) -> (Vec<String>, HashMap<String, String>, Item) {
    let (mut names, mut values, mut sets) = (HashMap::new(), Item::new(), Vec::new());
    for (index, (name, value)) in item.into_iter().enumerate() {
        sets.push(format!("#k{index} = if_not_exists(#k{index}, :k{index})"));
        names.insert(format!("#k{index}"), name);
        values.insert(format!(":k{index}"), value);
    }
    (sets, names, values)
}

impl Store {
    /// Writes all or nothing, and tries again while others' transactions are in the way. Every try carries the same
    /// token, so that a write whose answer was lost is not refused by its own effect.
    pub(super) async fn transact(&self, operation: &'static str, writes: Vec<Write>) -> StoreResult<Transacted> {
        let actions = writes.into_iter().map(|write| write.into_action(&self.table)).collect::<Result<Vec<_>, _>>();
        let actions = actions.map_err(|error| corrupt(operation, error))?;
        let token = uuid::Uuid::new_v4().to_string();
        let input =
            TransactWriteItemsInput::builder().set_transact_items(Some(actions)).client_request_token(token).build();
        let written = Written::<TransactWriteItems>::new(input).map_err(|error| corrupt(operation, error))?;
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
            if !error.is_conflict() || attempt == TRIES {
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
                |reason: &CancellationReason| (reason.code() == Some(REFUSED)).then(|| reason.item().cloned());
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
        let set = Item::from([("error".to_owned(), AttributeValue::S("x".to_owned()))]);
        let (expression, names, values) = update_expression(set, Item::new(), &["error", "openShard"]);
        assert_eq!(expression, "SET #s0 = :s0 REMOVE #r0");
        assert_eq!(
            names,
            HashMap::from([("#s0".to_owned(), "error".to_owned()), ("#r0".to_owned(), "openShard".to_owned())])
        );
        assert_eq!(values, Item::from([(":s0".to_owned(), AttributeValue::S("x".to_owned()))]));
    }

    #[test]
    fn an_update_sets_what_it_keeps_only_where_there_is_none() {
        let one = |name: &str| Item::from([(name.to_owned(), s("x"))]);
        let (expression, names, _) = update_expression(one("status"), one("startedAt"), &[]);
        assert_eq!(expression, "SET #k0 = if_not_exists(#k0, :k0), #s0 = :s0");
        let named = |placeholder: &str, name: &str| (placeholder.to_owned(), name.to_owned());
        assert_eq!(names, HashMap::from([named("#k0", "startedAt"), named("#s0", "status")]));
    }

    #[test]
    fn every_kind_of_write_keeps_its_condition() {
        let key = || Key::new("p", "s");
        let item = || key().into_item();
        let writes = [
            Write::put(item()),
            Write::update(key(), Item::from([("a".to_owned(), s("1"))]), &[]),
            Write::apply(key(), "SET a = :a").with(":a", s("1")),
            Write::delete(key()),
            Write::check(key()),
        ];
        for (kind, write) in ["put", "update", "apply", "delete", "check"].into_iter().zip(writes) {
            let write = write.only_if("#rev = :rev").naming("#rev", "rev").with(":rev", s("7"));
            let action = write.into_action("table").expect("an action");
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
