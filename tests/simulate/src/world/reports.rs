//! Reports from outside: what was used, and what workers with a token say.

use super::*;
use sluice_core::budget::NanoUsd;
use sluice_core::flow::record_usage::{record_result_usage, record_usage};
use sluice_core::flow::report_run::{NodeReport, Reported, create_report_token, open_report, report_run};
use sluice_core::governor::ledger::change::{CountReport, ReportTotal};
use sluice_core::ports::{RecordUsage, RunRef};
use sluice_core::report::{NodeOutcome, Progress};
use sluice_core::run::RunError;
use sluice_core::usage::LlmCall;

/// Calls that are reported of one run.
#[derive(Clone, Debug)]
pub(super) struct Use {
    caller: Caller,
    run_id: RunId,
    calls: Vec<LlmCall>,
    /// Found by the runner in a node's result.
    by_runner: bool,
}

/// A report token in somebody's hands.
#[derive(Clone, Debug)]
pub(super) struct HeldToken {
    tenant: TenantId,
    run_id: RunId,
    node: Option<NodeId>,
    text: String,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// A report as it was made, and answered.
pub(super) struct ReportMade {
    /// Whether its token opens the run, at the time and for the node of the report.
    opens: bool,
    is_for_node: bool,
    run_id: RunId,
    at: Timestamp,
    was_gone: bool,
    value: Option<String>,
    answer: Answer<Reported>,
}

/// Calls that a run makes: few, so that many are reported again.
const CALLS: u32 = 8;

impl World {
    pub(super) fn use_up(&mut self) {
        let begun = self.runs_that(|run| run.state.started_at().is_some() && !run.status().is_terminal());
        let some = self.some_run();
        let chosen = if self.rng.u32(0..4) == 0 { some } else { self.one_of(&begun).or(some) };
        let Some((tenant, run_id)) = chosen else { return };
        let run = self.store.run(&tenant, run_id);
        if run.as_ref().is_some_and(|run| run.status().is_terminal()) {
            self.dice.count(F::LateUsage);
        }
        let is_capped = run.is_some_and(|run| run.spec.execution_budget_micro_usd.is_some());
        let racers = if is_capped && self.rng.u32(0..3) == 0 { self.rng.u32(2..5) } else { 1 };
        for _ in 0..racers {
            if racers > 1 {
                self.dice.count(F::LastCent);
            }
            let cost = if racers > 1 { 5_000 } else { self.rng.u64(0..4_000) };
            let calls = (0..self.rng.u32(1..3)).map(|_| self.call(cost)).collect();
            let by_runner = self.rng.u32(0..3) == 0;
            self.spawn_usage(Use { caller: self.caller_of(&tenant), run_id, calls, by_runner });
        }
    }

    pub(super) fn call(&mut self, cost: u64) -> LlmCall {
        LlmCall {
            call_id: format!("call-{}", self.rng.u32(0..CALLS)),
            node_id: if self.rng.bool() { WAITING_NODE.parse().ok() } else { None },
            provider: "acme".to_owned(),
            model: if self.rng.bool() { "small" } else { "large" }.to_owned(),
            input_tokens: self.rng.u64(0..1_000),
            output_tokens: 10,
            cached_tokens: 0,
            cost_nano_usd: NanoUsd(cost),
            latency_ms: 20,
            reported_at: self.clock.true_time(),
        }
    }

    pub(super) fn spawn_usage(&mut self, usage: Use) {
        let Use { caller, run_id, calls, by_runner } = usage.clone();
        if self.ledger.try_usage(&caller.tenant, run_id, &calls) {
            self.dice.count(F::UsageRepeated);
        }
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
        let is_careless = self.play.mutation == Some(Mutation::StopOutsideTransaction);
        let (about, again) = (caller.tenant.clone(), Box::new(usage));
        let what = format!("{} calls of {run_id}, found by the runner: {by_runner}", calls.len());
        self.spawn(TaskKind::Usage, Some((&about, run_id)), what, async move {
            let counted = |recorded, repeated| Some((recorded, repeated));
            let answer = if is_careless {
                record_without_stop(&store, &caller.tenant, run_id, calls, clock.now()).await;
                Ok(None)
            } else if by_runner {
                record_result_usage(&store, &engine, &caller.tenant, run_id, calls, clock.now())
                    .await
                    .map(|answer| answer.and_then(|usage| counted(usage.recorded, usage.repeated)))
            } else {
                record_usage(&store, &engine, &caller, run_id, calls, clock.now())
                    .await
                    .map(|usage| counted(usage.recorded, usage.repeated))
            };
            Told::Used { run_id, was_gone, again, answer }
        });
    }

    pub(super) fn hear_usage(
        &mut self,
        what: &str,
        run_id: RunId,
        was_gone: bool,
        again: Use,
        answer: Answer<Option<(u32, u32)>>,
    ) -> Check {
        match answer {
            Ok(None) => self.note(format_args!("answered {what}: no such run")),
            Ok(Some((recorded, repeated))) => {
                self.note(format_args!("answered {what}: {recorded} recorded, {repeated} repeated"));
                if recorded + repeated != again.calls.len() as u32 {
                    return broken("I6", format!("{what}: {recorded} recorded and {repeated} repeated"));
                }
                if was_gone && !again.by_runner {
                    return broken("R1", format!("usage of run {run_id} was taken after its time"));
                }
                self.ledger.told_usage(run_id, recorded);
            }
            Err(Refusal::Store(error)) => {
                self.note(format_args!("failed {what}: {error}"));
                // Whoever made the calls reports them again.
                if self.dice.is_armed() && self.rng.u32(0..3) > 0 {
                    self.spawn_usage(again);
                }
            }
            Err(Refusal::Invalid(invalid)) if !self.ledger.could_be_gone(run_id, self.clock.true_time()) => {
                return broken("I8", format!("{what} was refused: {invalid}"));
            }
            Err(refusal) => self.note(format_args!("refused {what}: {refusal}")),
        }
        Ok(())
    }

    /// Whether calls of a killed report were not recorded yet.
    pub(super) fn lost_usage(&self, tenant: &TenantId, run_id: RunId) -> bool {
        self.store.calls(tenant, run_id).len() < CALLS as usize
    }

    pub(super) fn report(&mut self) {
        if self.rng.u32(0..3) == 0 || self.report_tokens.is_empty() {
            return self.make_token();
        }
        let waiting = self.runs_that(|run| run.status() == RunStatus::WaitingForInput);
        let of_waiting: Vec<HeldToken> = self
            .report_tokens
            .iter()
            .filter(|token| waiting.iter().any(|(_, run_id)| *run_id == token.run_id))
            .cloned()
            .collect();
        let held = self.report_tokens.clone();
        let Some(token) = self.one_of(&of_waiting).or_else(|| self.one_of(&held)) else { return };
        let (mut text, mut run_id, mut is_own) = (token.text.clone(), token.run_id, true);
        match self.rng.u32(0..8) {
            0 => {
                // It tries the token on another run.
                if let Some((_, other)) = self.one_of(&waiting).or_else(|| self.some_run()) {
                    is_own = other == run_id;
                    run_id = other;
                }
            }
            1 => {
                // It says that the token is another tenant's.
                let other = self.callers.iter().find(|caller| caller.tenant != token.tenant);
                let hex =
                    |tenant: &TenantId| tenant.as_str().bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
                if let Some(other) = other {
                    text = text.replacen(&hex(&token.tenant), &hex(&other.tenant), 1);
                    is_own = false;
                }
            }
            2 => {
                text.push('x');
                is_own = false;
            }
            _ => {}
        }
        let Ok(node) = (if self.rng.u32(0..10) == 0 { "store" } else { WAITING_NODE }).parse::<NodeId>() else {
            return;
        };
        self.tokens += 1;
        let value = match self.rng.u32(0..4) {
            0 => None,
            1 => Some(format!("Worker.Failed-{}", self.tokens)),
            _ => Some(format!("{{\"report\":{}}}", self.tokens)),
        };
        let outcome = value.clone().map(|value| match value.starts_with("Worker") {
            true => NodeOutcome::Failure(RunError { code: value, message: "the worker failed".to_owned() }),
            false => NodeOutcome::Result(value),
        });
        let percent = Some(self.rng.u8(0..=100));
        let progress = self.rng.bool().then(|| Progress { percent, message: None, at: self.clock.true_time() });
        let about = |call: LlmCall| LlmCall { node_id: call.node_id.map(|_| node.clone()), ..call };
        let usage: Vec<LlmCall> = (0..self.rng.u32(0..2)).map(|_| about(self.call(100))).collect();
        if is_own {
            if let Some(value) = &value {
                self.ledger.try_answer(run_id, value);
            }
            if !usage.is_empty() && self.ledger.try_usage(&token.tenant, run_id, &usage) {
                self.dice.count(F::UsageRepeated);
            }
        }
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
        let mutation = self.play.mutation;
        let is_expired = clock.now() >= token.expires_at;
        if !is_own || is_expired {
            self.dice.count(F::WrongToken);
        }
        let about = token.tenant.clone();
        let what = format!("report on {run_id}, with its own token: {is_own}, in time: {}", !is_expired);
        self.spawn(TaskKind::Report, Some((&about, run_id)), what, async move {
            let report = NodeReport { outcome, progress, usage };
            let at = clock.now();
            let now = if mutation == Some(Mutation::TokenNeverExpires) { token.created_at } else { at };
            let mut answer = match open_report(&store, &text, run_id, now).await {
                Ok(opened) => report_run(&store, &engine, opened, &node, report, now).await,
                Err(refusal) => Err(refusal),
            };
            if mutation == Some(Mutation::TokenOfAnyRun)
                && matches!(answer, Err(Refusal::InvalidReportToken))
                && text == token.text
                && let Some(value) = value.clone()
            {
                let caller = fixture::caller(token.tenant.as_str());
                let taken = answer_node(&store, &engine, &caller, run_id, &node, value, at).await;
                answer = taken.map(|run| Reported { run, usage: None });
            }
            let opens = is_own && at < token.expires_at;
            let is_for_node = token.node.as_ref().is_none_or(|only| *only == node);
            Told::Reported(Box::new(ReportMade { opens, is_for_node, run_id, at, was_gone, value, answer }))
        });
    }

    fn make_token(&mut self) {
        let open = self.runs_that(|run| !run.status().is_terminal());
        let Some((tenant, run_id)) = self.one_of(&open) else { return };
        self.tokens += 1;
        let secret = format!("secret-{}", self.tokens);
        let node = if self.rng.bool() { WAITING_NODE.parse::<NodeId>().ok() } else { None };
        let seconds = self.rng.i64(60..900);
        let (store, clock, caller) = (self.store.clone(), self.instance_clock(), self.caller_of(&tenant));
        self.spawn(TaskKind::Other, Some((&tenant, run_id)), format!("token for {run_id}"), async move {
            let now = clock.now();
            match create_report_token(&store, &caller, run_id, node, seconds, &secret, now).await {
                Ok((text, token)) => Told::TokenMade(HeldToken {
                    tenant: caller.tenant,
                    run_id,
                    node: token.node_id,
                    text: text.reveal().to_owned(),
                    created_at: token.created_at,
                    expires_at: token.expires_at,
                }),
                Err(_) => Told::Nothing,
            }
        });
    }

    pub(super) fn hear_token(&mut self, token: HeldToken) {
        self.note(format_args!("token for {} until {}", token.run_id, token.expires_at));
        self.report_tokens.push(token);
    }

    pub(super) fn hear_report(&mut self, what: &str, made: ReportMade) -> Check {
        let ReportMade { opens, is_for_node, run_id, at, was_gone, value, answer } = made;
        let outcome = match &answer {
            Ok(_) => "taken".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        self.note(format_args!("answered {what}: {outcome}"));
        match answer {
            Err(Refusal::Store(_)) => Ok(()),
            Err(Refusal::InvalidReportToken) if opens && !self.ledger.could_be_gone(run_id, at) => {
                broken("I10", format!("the token of run {run_id} does not open it"))
            }
            Err(Refusal::InvalidReportToken) => Ok(()),
            _ if !opens => broken("I10", format!("a token that does not open run {run_id} was answered: {outcome}")),
            Ok(_) if was_gone => broken("R1", format!("a report on run {run_id} was taken after its time")),
            Ok(_) if !is_for_node => broken("I10", format!("a token was taken for another node of run {run_id}")),
            Ok(reported) => {
                if let Some(usage) = reported.usage {
                    self.ledger.told_usage(run_id, usage.recorded);
                }
                match value {
                    Some(value) => self.ledger.told_answered(run_id, &value),
                    None => Ok(()),
                }
            }
            Err(Refusal::Invalid(invalid)) if is_for_node && !self.ledger.could_be_gone(run_id, at) => {
                broken("I8", format!("a good report on run {run_id} was refused: {invalid}"))
            }
            Err(_) => Ok(()),
        }
    }
}

/// Records usage as a hurried change might: the stop is left to somebody else.
async fn record_without_stop(
    store: &MemoryStore,
    tenant: &TenantId,
    run_id: RunId,
    calls: Vec<LlmCall>,
    now: Timestamp,
) {
    let ids = calls.iter().map(|call| call.call_id.clone()).collect();
    let (Ok(Some(run)), Ok(known)) =
        (store.load_run(tenant, run_id).await, store.known_calls(tenant, run_id, &ids, &BTreeSet::new()).await)
    else {
        return;
    };
    let mut seen: BTreeSet<String> = known.0.into_keys().collect();
    let fresh: Vec<LlmCall> = calls.into_iter().filter(|call| seen.insert(call.call_id.clone())).collect();
    if run.state.started_at().is_none() || fresh.is_empty() {
        return;
    }
    let of = RunRef { tenant_id: tenant.clone(), run_id };
    let cost = NanoUsd(fresh.iter().map(|call| call.cost_nano_usd.0).sum());
    let Ok(Some(begun)) = store.begin_report(&of, cost, now).await else { return };
    if let Ok(true) = store.record_calls(&of, begun.report_id, &fresh, now).await {
        let calls = fresh.len() as u64;
        // It does not ask what the run may spend.
        let total = ReportTotal { cost, calls, cap: None };
        let count = CountReport { report_id: begun.report_id, held: cost, total };
        let _whether_it_worked = store.count_report(&of, &count, None).await;
    }
}
