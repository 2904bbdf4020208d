//! Ledgers of governed calls: held and settled by one update each, under conditions that the update itself needs; drawn and
//! balanced in one transaction with the quotas.
//!
//! Decision (2026-11-28): a ledger lies in the index of queues, which holds nothing but keys: so a hold, which changes none of
//! them, is written once and not a second time to an index.

mod expression;
mod quotas;
mod sweep;

use super::operation::{Change, PutItem, ReturnValue, UpdateItem};
use super::transact::{Transacted, Write};
use super::{Store, corrupt, failed, item, keys};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
pub(super) use expression::{Closing, Expression};
use item::Item;
use jiff::Timestamp;
use sluice_core::budget::NanoUsd;
use sluice_core::governor::access::ProcessorKeys;
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::ledger::change::{Draw, Reserve, Settle, Tally};
use sluice_core::governor::quota::{PeriodKey, QuotaOwner};
use sluice_core::governor::record::CallRecord;
use sluice_core::id::ProcessorKey;
use sluice_core::ports::{Drawn, GovernCalls, ManageKeys, ReadLedgers, Reserved, RunRef, StoreResult};

/// What became of an item that lies beside a ledger.
pub(super) enum Beside {
    Put,
    /// There was one before, which stays as it is.
    Standing(Item),
    NoLedger,
}

/// How often an update is tried.
pub(super) enum Tries {
    AsUsual,
    Once,
}

/// What became of an update.
pub(super) enum Updated {
    Done(Option<Item>),
    /// Its condition does not hold; the item as it is, if there is one.
    Denied(Option<Item>),
}

impl Store {
    /// Puts an item, if there is none yet, and only while the run has a ledger: of one that is deleted, what came later would stay
    /// for ever, since nobody would find it.
    pub(super) async fn put_beside_ledger(
        &self,
        operation: &'static str,
        run: &RunRef,
        item: Item,
    ) -> StoreResult<Beside> {
        let ledger = Write::check(keys::ledger(&run.tenant_id, run.run_id)).only_if("attribute_exists(#grant)");
        let writes = vec![ledger.naming("#grant", item::GRANT), Write::put_new(item)];
        match self.transact(operation, writes).await? {
            Transacted::Written => Ok(Beside::Put),
            Transacted::Refused(refusals) if refusals.include(0) => Ok(Beside::NoLedger),
            Transacted::Refused(mut refusals) => match refusals.at(1).flatten() {
                Some(standing) => Ok(Beside::Standing(standing)),
                None => Err(corrupt(operation, "what stands was not shown")),
            },
        }
    }

    /// One update of a ledger.
    pub(super) async fn update_ledger(
        &self,
        operation: &'static str,
        run: &RunRef,
        expression: Expression,
        returns: ReturnValue,
        tries: Tries,
    ) -> StoreResult<Updated> {
        let Expression { update, condition, names, values } = expression;
        let update = Change {
            key: Some(keys::ledger(&run.tenant_id, run.run_id).into_item()),
            update_expression: Some(update.into()),
            condition_expression: Some(condition.into()),
            expression_attribute_names: names,
            expression_attribute_values: values,
            return_values: Some(returns),
            return_values_on_condition_check_failure: Some(ReturnValue::AllOld),
            ..self.change()
        };
        let sent = match tries {
            Tries::AsUsual => self.dynamodb.call::<UpdateItem>(update).await,
            Tries::Once => self.dynamodb.call_once::<UpdateItem>(update).await,
        };
        match sent {
            Ok(answer) => Ok(Updated::Done(answer.attributes)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Updated::Denied(refused.item().map(item::of_sdk)))
                }
                // A path into a map that is not there: there is no ledger but the mark of an ended run.
                Some(other) if is_invalid_path(other) => Ok(Updated::Denied(None)),
                Some(_) | None => Err(failed(operation, &error)),
            },
        }
    }
}

fn is_invalid_path(error: &UpdateItemError) -> bool {
    error.code() == Some("ValidationException") && error.message().is_some_and(|text| text.contains("document path"))
}

pub(super) fn ledger_of(operation: &'static str, found: Option<Item>) -> StoreResult<Option<Ledger>> {
    let read = found.as_ref().map(item::to_governed).transpose();
    read.map(Option::flatten).map_err(|error| corrupt(operation, error))
}

impl GovernCalls for Store {
    async fn reserve(&self, run: &RunRef, reserve: &Reserve) -> StoreResult<Reserved> {
        const OPERATION: &str = "reserve for a call";
        let expression = Expression::reserve(run, reserve);
        // One whose answer was lost may be written later still: it is never sent again.
        match self.update_ledger(OPERATION, run, expression, ReturnValue::None, Tries::Once).await? {
            Updated::Done(_) => Ok(Reserved::Done),
            Updated::Denied(found) => Ok(Reserved::Denied(ledger_of(OPERATION, found)?.map(Box::new))),
        }
    }

    async fn record_call(&self, run: &RunRef, record: &CallRecord) -> StoreResult<CallRecord> {
        const OPERATION: &str = "record a call";
        let unreadable = |error| corrupt(OPERATION, error);
        let written = item::from_call_record(&run.tenant_id, run.run_id, record).map_err(unreadable)?;
        let put = Change {
            item: Some(written),
            condition_expression: Some("attribute_not_exists(pk)".into()),
            return_values_on_condition_check_failure: Some(ReturnValue::AllOld),
            ..self.change()
        };
        let Err(error) = self.dynamodb.call::<PutItem>(put).await else { return Ok(record.clone()) };
        let standing = match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => refused.item().map(item::of_sdk),
            Some(_) | None => return Err(failed(OPERATION, &error)),
        };
        let standing = standing.ok_or_else(|| corrupt(OPERATION, "the record that stands was not shown"))?;
        item::to_call_record(standing).map_err(unreadable)
    }

    async fn record_beside_ledger(&self, run: &RunRef, record: &CallRecord) -> StoreResult<Option<CallRecord>> {
        const OPERATION: &str = "record a call beside its ledger";
        let unreadable = |error| corrupt(OPERATION, error);
        let written = item::from_call_record(&run.tenant_id, run.run_id, record).map_err(unreadable)?;
        match self.put_beside_ledger(OPERATION, run, written).await? {
            Beside::Put => Ok(Some(record.clone())),
            Beside::Standing(standing) => item::to_call_record(standing).map(Some).map_err(unreadable),
            Beside::NoLedger => Ok(None),
        }
    }

    async fn settle(&self, run: &RunRef, settle: &Settle) -> StoreResult<Option<Ledger>> {
        const OPERATION: &str = "settle a call";
        match self
            .update_ledger(OPERATION, run, Expression::settle(settle), ReturnValue::AllNew, Tries::AsUsual)
            .await?
        {
            Updated::Done(after) => ledger_of(OPERATION, after),
            Updated::Denied(_) => Ok(None),
        }
    }

    async fn sweep_at(&self, run: &RunRef, at: Timestamp) -> StoreResult<()> {
        let expression = Expression::look_at(run, at);
        self.update_ledger("say when a ledger is due", run, expression, ReturnValue::None, Tries::AsUsual)
            .await
            .map(|_| ())
    }

    async fn tally(&self, run: &RunRef, tally: &Tally) -> StoreResult<Option<Ledger>> {
        const OPERATION: &str = "count a refusal";
        match self.update_ledger(OPERATION, run, Expression::tally(tally), ReturnValue::AllNew, Tries::AsUsual).await? {
            Updated::Done(after) => ledger_of(OPERATION, after),
            Updated::Denied(_) => Ok(None),
        }
    }

    async fn draw(&self, run: &RunRef, draw: &Draw) -> StoreResult<Drawn> {
        self.draw_on_quotas(run, draw).await
    }
}

impl ReadLedgers for Store {
    async fn load_ledger(&self, run: &RunRef) -> StoreResult<Option<Ledger>> {
        const OPERATION: &str = "load a ledger";
        ledger_of(OPERATION, self.get(OPERATION, keys::ledger(&run.tenant_id, run.run_id)).await?)
    }

    async fn load_quota(&self, owner: &QuotaOwner, period: &PeriodKey) -> StoreResult<NanoUsd> {
        const OPERATION: &str = "load a quota";
        let found = self.get(OPERATION, keys::quota(owner, period)).await?;
        let drawn = found.as_ref().map(item::to_drawn).transpose().map_err(|error| corrupt(OPERATION, error))?;
        Ok(drawn.unwrap_or_default())
    }

    async fn load_keys(&self, processor: &ProcessorKey) -> StoreResult<ProcessorKeys> {
        const OPERATION: &str = "load the keys of a processor";
        let found = self.get(OPERATION, keys::processor_keys(processor)).await?;
        let read = found.map(item::to_processor_keys).transpose().map_err(|error| corrupt(OPERATION, error))?;
        Ok(read.unwrap_or_default())
    }
}

impl ManageKeys for Store {
    async fn save_keys(&self, processor: &ProcessorKey, keys: &ProcessorKeys) -> StoreResult<bool> {
        let item = item::from_processor_keys(processor, keys);
        self.put_over("save the keys of a processor", item, keys.rev).await
    }
}
