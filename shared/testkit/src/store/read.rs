//! What is read of runs.

use super::*;

impl ReadRuns for MemoryStore {
    async fn list_runs(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Run>> {
        self.act("list runs", |tables| {
            let mut runs: Vec<Run> = tables
                .runs
                .values()
                .filter(|run| run.tenant_id == *tenant)
                .filter(|run| filter.statuses.is_empty() || filter.statuses.contains(&run.status()))
                .filter(|run| filter.instance_id.is_none_or(|id| run.spec.instance_id == id))
                .filter(|run| filter.created_by.as_ref().is_none_or(|by| run.spec.created_by == *by))
                .filter(|run| filter.replay_of.is_none_or(|of| run.about.replay_of == Some(of)))
                .filter(|run| filter.evaluation_of.is_none_or(|of| run.about.evaluation_of == Some(of)))
                .filter(|run| {
                    filter.label.as_ref().is_none_or(|(name, value)| run.about.labels.get(name) == Some(value))
                })
                .filter(|run| filter.definition_id.is_none_or(|id| run.spec.definition_id == id))
                .filter(|run| filter.created_from.is_none_or(|from| run.spec.created_at >= from))
                .filter(|run| filter.created_before.is_none_or(|before| run.spec.created_at < before))
                .cloned()
                .collect();
            runs.sort_by_key(|run| (run.spec.created_at, run.run_id));
            if !filter.ascending {
                runs.reverse();
            }
            page((tenant, filter), runs, limit, cursor)
        })
        .await
    }

    async fn load_steps(&self, tenant: &TenantId, run_id: RunId, node_ids: &[NodeId]) -> StoreResult<Vec<Step>> {
        self.act("load some steps", |tables| {
            let step = |node_id: &NodeId| tables.steps.get(&(tenant.clone(), run_id, node_id.clone()));
            Ok(node_ids.iter().filter_map(step).map(|step| Step { result: None, ..step.clone() }).collect())
        })
        .await
    }

    async fn list_steps(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<Step>> {
        self.act("list steps", |tables| {
            let steps = tables.steps.iter().filter(|((owner, run, _), _)| owner == tenant && *run == run_id);
            Ok(steps.map(|(_, step)| Step { result: None, ..step.clone() }).collect())
        })
        .await
    }

    async fn list_links(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<RunLinks> {
        self.act("list links", |tables| {
            // A run that is gone has no links, nor does one get any that is going.
            let is_kept = tables.keeps(tenant, run_id);
            let linked = |is_linked: fn(&Run) -> Option<RunId>| {
                let mine = tables.runs.values().filter(|run| run.tenant_id == *tenant);
                mine.filter(|run| is_kept && is_linked(run) == Some(run_id)).map(|run| run.run_id).take(100).collect()
            };
            Ok(RunLinks {
                replays: linked(|run| run.about.replay_of),
                evaluations: linked(|run| run.about.evaluation_of),
            })
        })
        .await
    }

    async fn list_inputs(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<AnswerHead>> {
        self.act("list inputs", |tables| {
            let inputs = tables.inputs.get(&(tenant.clone(), run_id)).into_iter().flatten();
            let head = |(at, (node_id, answer)): (usize, &(NodeId, NodeAnswer))| AnswerHead {
                key: at.to_string(),
                node_id: node_id.clone(),
                is_failure: matches!(answer.outcome, NodeOutcome::Failure(_)),
                bytes: answer.outcome.bytes(),
                by: answer.by.clone(),
                at: answer.at,
            };
            Ok(inputs.enumerate().map(head).collect())
        })
        .await
    }

    async fn load_inputs(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        answers: &[&AnswerHead],
    ) -> StoreResult<Vec<NodeOutcome>> {
        self.act("load inputs", |tables| {
            let inputs = tables.inputs.get(&(tenant.clone(), run_id));
            let find = |head: &&AnswerHead| {
                let found = inputs.and_then(|inputs| inputs.get(head.key.parse::<usize>().ok()?));
                let missing = || StoreError::new("load inputs", StoreErrorClass::Corrupt, "there is no such input");
                found.map(|(_, answer)| answer.outcome.clone()).ok_or_else(missing)
            };
            answers.iter().map(find).collect()
        })
        .await
    }

    async fn list_usage(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<LlmCall>> {
        self.act("list usage", |tables| {
            let calls = tables.recorded_calls(&(tenant.clone(), run_id)).into_iter();
            page(("usage", tenant, run_id), calls.map(|recorded| recorded.call).collect(), limit, cursor)
        })
        .await
    }

    async fn list_comments(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Comment>> {
        self.act("list comments", |tables| {
            let comments = tables.comments.get(&(tenant.clone(), run_id)).into_iter().flat_map(BTreeMap::values);
            page(("comments", tenant, run_id), comments.cloned().collect(), limit, cursor)
        })
        .await
    }

    async fn load_request(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<String>> {
        self.act("load the request", |tables| Ok(tables.requests.get(&(tenant.clone(), run_id)).cloned())).await
    }

    async fn load_output(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<String>> {
        self.act("load the output", |tables| Ok(tables.outputs.get(&(tenant.clone(), run_id)).cloned())).await
    }

    async fn list_deliveries(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<(Delivery, Vec<Attempt>)>> {
        self.act("list deliveries", |tables| {
            let of_run = tables.deliveries.iter().filter(|(key, _)| key.tenant_id == *tenant && key.run_id == run_id);
            Ok(of_run
                .map(|(key, delivery)| {
                    let shown = Delivery { body: String::new(), ..delivery.clone() };
                    let attempts = tables.attempts.get(key).map_or(&[][..], Vec::as_slice);
                    let older = attempts.len().saturating_sub(limits::DELIVERY_ATTEMPTS as usize);
                    (shown, attempts[older..].to_vec())
                })
                .collect())
        })
        .await
    }
}
