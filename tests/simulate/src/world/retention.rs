//! How long runs are kept, and what readers are shown.

use super::*;
use sluice_core::change::RunChange;
use sluice_core::flow::read_runs::{get_run, list_runs};
use sluice_core::flow::retain_run::{change_retention, delete_run};
use sluice_core::flow::{find_run, read_runs};
use sluice_core::ports::{ChangeRun, PurgeRuns, ReadRuns, RunFilter};

impl World {
    pub(super) fn retain(&mut self) {
        let ended = self.runs_that(|run| run.status().is_terminal());
        let some = self.some_run();
        let chosen = if self.rng.u32(0..4) == 0 { some } else { self.one_of(&ended).or(some) };
        let Some((tenant, run_id)) = chosen else { return };
        if self.tasks.iter().any(|task| task.about.as_ref().is_some_and(|(_, id)| *id == run_id)) {
            self.dice.count(F::RetentionRaces);
        }
        let (store, clock, caller) = (self.store.clone(), self.instance_clock(), self.caller_of(&tenant));
        let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
        if self.rng.bool() {
            let rule = seed::rule(&mut self.rng);
            let what = format!("keep {run_id} by {rule:?}");
            self.spawn(TaskKind::Retention, Some((&tenant, run_id)), what, async move {
                let answer = change_retention(&store, &caller, run_id, rule.into(), clock.now()).await.map(drop);
                Told::Controlled { run_id, was_gone, gave: None, answer }
            });
            return;
        }
        self.ledger.deleting.insert(run_id);
        let mutation = self.play.mutation;
        self.spawn(TaskKind::Retention, Some((&tenant, run_id)), format!("delete {run_id}"), async move {
            let now = clock.now();
            let answer = match mutation {
                Some(Mutation::PurgeBeforeHiding | Mutation::PurgeWhileOwed) => {
                    delete_carelessly(&store, &caller, run_id, mutation, now).await
                }
                _ => delete_run(&store, &caller, run_id, now).await,
            };
            Told::Deleted { tenant: caller.tenant, run_id, was_gone, answer }
        });
    }

    pub(super) fn hear_delete(
        &mut self,
        what: &str,
        tenant: &TenantId,
        run_id: RunId,
        was_gone: bool,
        answer: Answer<()>,
    ) -> Check {
        let outcome = match &answer {
            Ok(()) => "deleted".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        self.note(format_args!("answered {what}: {outcome}"));
        let is_kept = self
            .store
            .run(tenant, run_id)
            .is_some_and(|run| run.state.ended().and_then(|ended| ended.due_at) != Some(Run::LET_GO));
        match answer {
            Ok(()) if was_gone => broken("R1", format!("run {run_id} was deleted after its time")),
            Ok(()) if is_kept => broken("R1", format!("run {run_id} is said to be deleted, and is there")),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Somebody reads: one run and what belongs to it, or a list.
    pub(super) fn look(&mut self) {
        let Some((_, run_id)) = self.some_run() else { return };
        let caller = self.some_caller();
        let (store, clock) = (self.store.clone(), self.instance_clock());
        let gone = self.ledger.all_gone(self.clock.true_time());
        let (lists, is_careless) = (self.rng.bool(), self.play.mutation == Some(Mutation::ExpiredRunShown));
        self.spawn(TaskKind::Other, None, format!("read {run_id}, with others: {lists}"), async move {
            let (tenant, at) = (caller.tenant.clone(), clock.now());
            let filter = RunFilter::default();
            let runs = match (lists, is_careless) {
                (true, true) => store.list_runs(&tenant, &filter, 100, None).await.map(|page| page.items).ok(),
                (true, false) => list_runs(&store, &caller, &filter, 100, None, at).await.map(|page| page.items).ok(),
                (false, _) => get_run(&store, &caller, run_id, at).await.map(|(run, _)| vec![run]).ok(),
            };
            if !lists {
                let _steps = read_runs::list_steps(&store, &caller, run_id, 100, None, at).await;
            }
            Told::Shown { tenant, at, gone, runs: runs.unwrap_or_default() }
        });
    }
}

/// Deletes a run as a hurried change might: what is owed or shown is not looked at.
async fn delete_carelessly(
    store: &MemoryStore,
    caller: &Caller,
    run_id: RunId,
    mutation: Option<Mutation>,
    now: Timestamp,
) -> Answer<()> {
    let run = find_run(store, caller, run_id, now).await?;
    if !run.status().is_terminal() {
        return Ok(());
    }
    if mutation == Some(Mutation::PurgeWhileOwed) {
        let Some(hidden) = run.let_go(now) else { return Ok(()) };
        store.change_run(&RunChange::new(&run, hidden)).await.map_err(Refusal::Store)?;
    } else if store.owed_until(&caller.tenant, run_id).await.map_err(Refusal::Store)?.is_some() {
        return Ok(());
    }
    store.purge_run(&caller.tenant, run_id).await.map_err(Refusal::Store)
}
