//! What workers and people say of an open run beside answers: progress, report tokens, comments.

use super::operation::{Change, Names, UpdateItem};
use super::transact::{Transacted, Write};
use super::{Store, corrupt, failed, item, keys};
use item::{Item, s};
use serde_dynamo::AttributeValue;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{RecordReports, StoreResult};
use sluice_core::report::{Comment, Progress, ReportToken};
use sluice_core::step::StepStatus;

impl RecordReports for Store {
    async fn record_progress(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        progress: &Progress,
    ) -> StoreResult<bool> {
        // What the report leaves out stays as it was: its parts are set one by one in what is there, or all of it anew.
        // A node's first report may meet another one, which was its first then: the parts are tried once more.
        for parts in [true, false, true] {
            if self.set_progress(tenant, run_id, node_id, progress, parts).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn save_report_token(&self, tenant: &TenantId, run_id: RunId, token: &ReportToken) -> StoreResult<bool> {
        const OPERATION: &str = "save a report token";
        let item = item::from_report_token(tenant, run_id, token).map_err(|error| corrupt(OPERATION, error))?;
        self.put_beside(OPERATION, tenant, run_id, item).await
    }

    async fn load_report_token(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        hash: &str,
    ) -> StoreResult<Option<ReportToken>> {
        const OPERATION: &str = "load a report token";
        let found = self.get(OPERATION, keys::report_token(tenant, run_id, hash)).await?;
        found.map(item::to_report_token).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn add_comment(&self, tenant: &TenantId, run_id: RunId, comment: &Comment) -> StoreResult<bool> {
        const OPERATION: &str = "add a comment";
        let item = item::from_comment(tenant, run_id, comment).map_err(|error| corrupt(OPERATION, error))?;
        self.put_beside(OPERATION, tenant, run_id, item).await
    }
}

impl Store {
    /// Puts an item beside the head of its run, if the run is kept.
    async fn put_beside(
        &self,
        operation: &'static str,
        tenant: &TenantId,
        run_id: RunId,
        item: Item,
    ) -> StoreResult<bool> {
        let written = self.transact(operation, vec![Write::if_kept(tenant, run_id), Write::put(item)]).await?;
        Ok(matches!(written, Transacted::Written))
    }
}

impl Store {
    /// Sets the parts of a node's progress, where it has some; or all of it, where it has none. `false` when it is the other
    /// way round, or the node is not under way.
    async fn set_progress(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        progress: &Progress,
        parts: bool,
    ) -> StoreResult<bool> {
        const OPERATION: &str = "record a node's progress";
        let written = item::progress(progress).map_err(|error| corrupt(OPERATION, error))?;
        let mut names = Names::from([("#status".into(), "status".into())]);
        let (running, waiting) = (StepStatus::Running.as_str(), StepStatus::Waiting.as_str());
        let mut values = Item::from([(":running".into(), s(running)), (":waiting".into(), s(waiting))]);
        let (expression, condition) = if parts {
            let mut sets = Vec::with_capacity(written.len());
            for (number, (name, value)) in written.into_iter().enumerate() {
                sets.push(format!("progress.#part{number} = :part{number}"));
                names.insert(format!("#part{number}").into(), name.into());
                values.insert(format!(":part{number}").into(), value);
            }
            (format!("SET {}", sets.join(", ")), "#status IN (:running, :waiting) AND attribute_exists(progress)")
        } else {
            values.insert(":progress".into(), AttributeValue::M(written));
            let condition = "#status IN (:running, :waiting) AND attribute_not_exists(progress)";
            ("SET progress = :progress".to_owned(), condition)
        };
        let update = Change {
            key: Some(keys::step(tenant, run_id, node_id).into_item()),
            update_expression: Some(expression.into()),
            condition_expression: Some(condition.into()),
            expression_attribute_names: names,
            expression_attribute_values: values,
            ..self.change()
        };
        match self.dynamodb.call::<UpdateItem>(update).await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|answer| answer.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(OPERATION, &error)),
        }
    }
}
