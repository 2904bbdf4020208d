//! Runs of the second generation: in which order their nodes begin and end, and what is shown of them.

use super::{Check, Ledger, broken};
use crate::course::{Course, Drawn, Kind, LATE, MAX_ITEMS, MAX_ITERATIONS, is_small};
use serde_json::Value;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::run::Run;
use sluice_core::snapshot::{NodeRun, Snapshot};
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

/// One attempt, as a worker was told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    pub node: usize,
    pub item: Option<u64>,
    pub iteration: u64,
    pub attempt: u64,
}

/// What came of an attempt: its result, or the code of its error.
pub type Came = Result<Value, String>;

/// What is known of a run from outside.
#[derive(Debug)]
pub struct Plan {
    pub tenant: TenantId,
    pub course: Course,
    /// Results that were there when the run began.
    settled: BTreeMap<usize, Value>,
    left_out: BTreeSet<usize>,
    /// Every attempt that a worker was told of, with what came of it.
    attempts: BTreeMap<Attempt, Option<Came>>,
    /// The steps as they were seen last.
    steps: BTreeMap<usize, Step>,
    /// Nodes that were passed over: what comes after them has begun.
    passed: BTreeSet<usize>,
    /// Quiet rounds that have not ended it.
    rounds: u32,
}

/// What a node has given to those that come after it.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Nothing,
    Failed,
    Result(Value),
}

/// Quiet rounds of everybody at work and a sweep that a run may take to its end.
const ROUNDS: u32 = 8;

impl Plan {
    pub fn new(snapshot: &Snapshot, course: &Course) -> Self {
        let (mut settled, mut left_out) = (BTreeMap::new(), BTreeSet::new());
        for node in &snapshot.nodes {
            let Some(index) = course.index(node.node_id.as_str()) else { continue };
            if node.left_out {
                left_out.insert(index);
            } else if node.run == NodeRun::Value {
                let value = snapshot.value_of(&node.node_id).and_then(|text| serde_json::from_str(&text).ok());
                settled.insert(index, value.unwrap_or_default());
            }
        }
        Self {
            tenant: snapshot.tenant_id.clone(),
            course: course.clone(),
            settled,
            left_out,
            attempts: BTreeMap::new(),
            steps: BTreeMap::new(),
            passed: BTreeSet::new(),
            rounds: 0,
        }
    }

    fn runs(&self, node: usize) -> bool {
        !self.settled.contains_key(&node) && !self.left_out.contains(&node)
    }

    /// Whether the run goes on although the step of this node has failed.
    fn is_forgiven(&self, node: usize, step: &Step) -> bool {
        let code = step.error.as_ref().map(|error| error.code.as_str());
        let Drawn { kind, goes_on, .. } = &self.course.nodes[node];
        let goes_on_late = matches!(kind, Kind::External { on_expiry, .. } if on_expiry == "continue");
        code != Some("Sluice.LoopingRisk") && (*goes_on || (goes_on_late && code == Some("Sluice.Expired")))
    }

    /// Whether a failure that counts has been seen, so that nothing begins any more.
    fn is_closing(&self) -> bool {
        self.steps.iter().any(|(node, step)| {
            let is_looping = step.error.as_ref().is_some_and(|error| error.code == "Sluice.LoopingRisk");
            step.status == StepStatus::Failed && !self.is_forgiven(*node, step) && (self.course.fail_fast || is_looping)
        })
    }

    /// Whether what comes after the node may begin. One that has no step then never gets one.
    fn is_over(&mut self, node: usize, steps: &BTreeMap<usize, Step>) -> bool {
        if !self.runs(node) {
            return true;
        }
        match steps.get(&node) {
            Some(step) => match step.status {
                StepStatus::Succeeded => true,
                StepStatus::Failed => self.is_forgiven(node, step),
                StepStatus::Running
                | StepStatus::Waiting
                | StepStatus::Canceled
                | StepStatus::Skipped
                | StepStatus::Pending => false,
            },
            None => {
                self.passed.insert(node);
                let before = self.course.nodes[node].before.clone();
                self.course.nodes[node].when.is_some() && before.into_iter().all(|before| self.is_over(before, steps))
            }
        }
    }

    /// The attempts of a node, in order.
    fn attempts_of(&self, node: usize) -> impl DoubleEndedIterator<Item = (&Attempt, &Option<Came>)> {
        self.attempts.iter().filter(move |(attempt, _)| attempt.node == node)
    }

    fn given(&self, node: usize) -> Given {
        let of_step = || match self.steps.get(&node) {
            Some(Step { status: StepStatus::Succeeded, result, .. }) => {
                let value = result.as_ref().and_then(|text| serde_json::from_str(text).ok());
                Given::Result(value.unwrap_or_default())
            }
            Some(Step { status: StepStatus::Failed, .. }) => Given::Failed,
            Some(_) | None => Given::Nothing,
        };
        if let Some(value) = self.settled.get(&node) {
            return Given::Result(value.clone());
        }
        let last = self.attempts_of(node).next_back();
        match (&self.course.nodes[node].kind, last) {
            (Kind::External { .. }, _) | (Kind::Fan(_), None) => of_step(),
            (Kind::Plain | Kind::Loop, None) => Given::Nothing,
            (Kind::Plain | Kind::Loop, Some((_, came))) => match came {
                Some(Ok(value)) => Given::Result(value.clone()),
                Some(Err(_)) | None => Given::Failed,
            },
            (Kind::Fan(_), Some(_)) => {
                let items = self.items(node);
                let is_failed = items.values().any(|came| !matches!(came, Some(Ok(_))));
                match is_failed && !self.course.nodes[node].goes_on {
                    true => Given::Failed,
                    false => {
                        let value = |came: Option<Came>| came.and_then(Result::ok).unwrap_or_default();
                        Given::Result(Value::Array(items.into_values().map(value).collect()))
                    }
                }
            }
        }
    }

    /// What came of the last attempt of each item.
    fn items(&self, node: usize) -> BTreeMap<u64, Option<Came>> {
        self.attempts_of(node).map(|(attempt, came)| (attempt.item.unwrap_or(0), came.clone())).collect()
    }

    fn result_of(&self, node: usize) -> Option<Value> {
        match self.given(node) {
            Given::Result(value) => Some(value),
            Given::Nothing | Given::Failed => None,
        }
    }

    /// Whether the node's condition holds, where it has one.
    fn holds(&self, node: usize) -> bool {
        let when = self.course.nodes[node].when;
        when.is_none_or(|of| is_small(self.result_of(of).as_ref()))
    }

    /// The items that a fan-out should have; `None` where that is no list, or too long a one.
    fn list(&self, node: usize) -> Option<Vec<Value>> {
        let list = match self.course.nodes[node].kind {
            Kind::Fan(None) => vec![0.into(), 1.into(), 2.into()],
            Kind::Fan(Some(of)) => self.result_of(of)?.get("list")?.as_array()?.clone(),
            Kind::Plain | Kind::Loop | Kind::External { .. } => return None,
        };
        (list.len() <= MAX_ITEMS).then_some(list)
    }

    /// What its worker is handed is what came before it.
    fn check_request(&self, attempt: &Attempt, request: &Value) -> Check {
        let node = &self.course.nodes[attempt.node];
        for before in &node.before {
            let id = self.course.nodes[*before].id.as_str();
            let (input, error) = (request["inputs"].get(id), request["errors"].get(id));
            let (is_right, given) = match self.given(*before) {
                Given::Nothing => (input.is_none() && error.is_none(), Given::Nothing),
                Given::Failed => (input == Some(&Value::Null) && error.is_some(), Given::Failed),
                Given::Result(value) => (input == Some(&value) && error.is_none(), Given::Result(value)),
            };
            if !is_right {
                return broken("B4", format!("{} was handed {input:?} of {id}, which gave {given:?}", node.id));
            }
        }
        let expected = attempt.item.and_then(|item| self.list(attempt.node)?.get(item as usize).cloned());
        if request.get("item") != expected.as_ref() {
            return broken("B4", format!("{} was handed item {:?}, not {expected:?}", node.id, request.get("item")));
        }
        let iteration = matches!(node.kind, Kind::Loop).then_some(attempt.iteration);
        if request["iteration"].as_u64() != iteration || request["attempt"].as_u64() != Some(attempt.attempt) {
            return broken("B4", format!("{} was handed another turn than {attempt:?}", node.id));
        }
        Ok(())
    }

    /// What is shown of a node whose run has been decided is what happened.
    fn check_node(&self, node: usize, step: &Step, has_failed: bool) -> Check {
        let drawn = &self.course.nodes[node];
        let wrong = |why: &str| broken("B4", format!("node {} is shown {:?}: {why}: {step:?}", drawn.id, step.status));
        let is_left = matches!(step.status, StepStatus::Canceled | StepStatus::Pending);
        if !self.runs(node) {
            let expected = if self.settled.contains_key(&node) { StepStatus::Succeeded } else { StepStatus::Skipped };
            return if step.status == expected || (has_failed && is_left) { Ok(()) } else { wrong("it had no part") };
        }
        if is_left && !has_failed {
            return wrong("the run went well");
        }
        let Some((last, came)) = self.attempts_of(node).next_back() else {
            return match (&drawn.kind, step.status) {
                _ if is_left => Ok(()),
                (_, StepStatus::Skipped) if !self.holds(node) => Ok(()),
                (Kind::External { .. }, StepStatus::Succeeded | StepStatus::Failed) => Ok(()),
                (Kind::Fan(_), StepStatus::Succeeded) if self.list(node).is_some_and(|list| list.is_empty()) => Ok(()),
                (Kind::Fan(_), StepStatus::Failed) if self.list(node).is_none() => Ok(()),
                (_, _) => wrong("it never began"),
            };
        };
        if !self.holds(node) {
            return wrong("its condition does not hold, and it ran");
        }
        if matches!(drawn.kind, Kind::Fan(_)) {
            return self.check_fan(node, step, has_failed);
        }
        let is_looping =
            matches!(drawn.kind, Kind::Loop) && is_small(came.as_ref().and_then(|came| came.as_ref().ok()));
        let expected = match came {
            Some(Ok(_)) if is_looping && last.iteration == MAX_ITERATIONS => StepStatus::Failed,
            // It would have gone on.
            Some(Ok(_)) if is_looping => return if is_left { Ok(()) } else { wrong("its loop is not over") },
            Some(Ok(_)) => StepStatus::Succeeded,
            Some(Err(_)) => StepStatus::Failed,
            None => return wrong("its last attempt is not over"),
        };
        let shown = step.result.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let gave = came.clone().and_then(Result::ok).filter(|_| expected == StepStatus::Succeeded);
        let iteration = matches!(drawn.kind, Kind::Loop).then_some(last.iteration as u32);
        if step.status != expected || shown != gave {
            return wrong("its last attempt says otherwise");
        }
        if u64::from(step.attempt) != last.attempt || step.iteration != iteration {
            return wrong("it took another number of attempts or iterations");
        }
        if let (Some(Err(code)), Some(error)) = (came, &step.error)
            && error.code != *code
        {
            return wrong("it failed otherwise");
        }
        Ok(())
    }

    fn check_fan(&self, node: usize, step: &Step, has_failed: bool) -> Check {
        let wrong = |why: &str| broken("B4", format!("fan-out {}: {why}: {step:?}", self.course.nodes[node].id));
        let items = self.items(node);
        let done = items.values().filter(|came| matches!(came, Some(Ok(_)))).count();
        let failed = items.values().filter(|came| matches!(came, Some(Err(_)))).count();
        let total = self.list(node).map_or(0, |list| list.len());
        let counts = step.fan.map(|fan| (fan.total as usize, fan.done as usize, fan.failed as usize));
        if counts != Some((total, done, failed)) {
            return wrong("its items are counted otherwise");
        }
        let gave = self.result_of(node);
        let shown = step.result.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        match step.status {
            StepStatus::Succeeded if done + failed == total && shown == gave => Ok(()),
            StepStatus::Failed if failed > 0 && gave.is_none() => Ok(()),
            StepStatus::Canceled | StepStatus::Pending | StepStatus::Running if has_failed && done + failed < total => {
                Ok(())
            }
            StepStatus::Running
            | StepStatus::Waiting
            | StepStatus::Succeeded
            | StepStatus::Failed
            | StepStatus::Canceled
            | StepStatus::Skipped
            | StepStatus::Pending => wrong("its items say otherwise"),
        }
    }
}

impl Ledger {
    pub fn plan(&self, run_id: RunId) -> Option<&Plan> {
        self.plans.get(&run_id)
    }

    pub fn keep_plan(&mut self, run_id: RunId, plan: Plan) {
        self.plans.insert(run_id, plan);
    }

    /// A worker was told of an attempt.
    pub fn told_attempt(&mut self, run_id: RunId, attempt: Attempt, request: &Value) -> Check {
        let Some(plan) = self.plans.get_mut(&run_id) else { return Ok(()) };
        plan.check_request(&attempt, request)?;
        match plan.attempts.insert(attempt.clone(), None) {
            Some(_) => broken("B1", format!("run {run_id}: {attempt:?} was given away twice")),
            None => Ok(()),
        }
    }

    /// An attempt is over.
    pub fn attempt_came(&mut self, run_id: RunId, attempt: Attempt, came: Came) {
        if let Some(plan) = self.plans.get_mut(&run_id) {
            plan.attempts.insert(attempt, Some(came));
        }
    }

    /// Nodes end once, and begin after what they depend on, and never after a stop, a pause, or a failure that counts.
    pub(super) fn check_steps(&mut self, store: &MemoryStore) -> Check {
        if self.plans.is_empty() {
            return Ok(());
        }
        let mut changed: BTreeMap<RunId, BTreeMap<usize, Step>> = BTreeMap::new();
        store.each_step(|_, step| {
            let Some(plan) = self.plans.get(&step.run_id) else { return };
            let Some(node) = plan.course.index(step.node_id.as_str()) else { return };
            if plan.steps.get(&node) != Some(step) {
                changed.entry(step.run_id).or_default().insert(node, step.clone());
            }
        });
        for (run_id, changed) in changed {
            let Some(plan) = self.plans.get_mut(&run_id) else { continue };
            let mut steps = plan.steps.clone();
            steps.extend(changed.clone());
            let (before, now) = (self.seen.get(&run_id), store.run(&plan.tenant, run_id));
            for (node, step) in &changed {
                check_step(plan, *node, step, &steps, before, now.as_ref())?;
            }
            plan.steps = steps;
        }
        Ok(())
    }

    /// What is shown of a run whose workers have all left is what happened. `steps` is what a read says.
    pub fn check_shown_steps(&self, run_id: RunId, has_failed: bool, steps: &[Step]) -> Check {
        let Some(plan) = self.plans.get(&run_id) else { return Ok(()) };
        let mut counts = false;
        for step in steps {
            let Some(node) = plan.course.index(step.node_id.as_str()) else { continue };
            plan.check_node(node, step, has_failed)?;
            counts |= step.status == StepStatus::Failed && !plan.is_forgiven(node, step);
        }
        if counts != has_failed {
            return broken("B4", format!("run {run_id} failed: {has_failed}, and its steps say {counts}: {steps:?}"));
        }
        if steps.len() != plan.course.nodes.len() {
            return broken("B4", format!("run {run_id} is shown with {} steps", steps.len()));
        }
        Ok(())
    }

    /// The answers that the nodes of a decided run took, and that those which nobody answered in time did not.
    pub fn check_answers(&mut self, run_id: RunId, steps: &[Step]) -> Check {
        let Some(step) = steps.iter().find(|step| step.node_id.as_str() == crate::course::WAITING_NODE) else {
            return Ok(());
        };
        let Some(plan) = self.plans.get(&run_id) else { return Ok(()) };
        if plan.course.index(step.node_id.as_str()).is_none_or(|node| !plan.runs(node)) {
            return Ok(());
        }
        let code = step.error.as_ref().map(|error| error.code.as_str());
        let late = serde_json::json!(LATE).to_string();
        let taken = match step.status {
            StepStatus::Succeeded => step.result.as_deref().filter(|result| *result != late),
            StepStatus::Failed => code.filter(|code| *code != "Sluice.Expired"),
            StepStatus::Running
            | StepStatus::Waiting
            | StepStatus::Canceled
            | StepStatus::Skipped
            | StepStatus::Pending => None,
        };
        match taken {
            Some(taken) => self.took_answer(run_id, taken),
            None if self.answers.get(&run_id).is_some_and(|answers| answers.told.is_some()) => {
                return broken(
                    "B1",
                    format!("the answer to run {run_id} was taken, and its step says otherwise: {step:?}"),
                );
            }
            None => {}
        }
        Ok(())
    }

    /// Another quiet round is over: a run of the second generation that executes has to come to its end.
    pub fn check_carried_on(&mut self, store: &MemoryStore) -> Check {
        for (run_id, plan) in &mut self.plans {
            let run = store.run(&plan.tenant, *run_id).filter(|run| run.state.started_at().is_some());
            let is_open = run.is_some_and(|run| !run.status().is_terminal() && run.status() != RunStatus::Canceling);
            plan.rounds = if is_open { plan.rounds + 1 } else { 0 };
            if plan.rounds > ROUNDS {
                return broken(
                    "B3",
                    format!("nobody carries run {run_id} on: {:?}", store.board(&plan.tenant, *run_id)),
                );
            }
        }
        Ok(())
    }
}

fn check_step(
    plan: &mut Plan,
    node: usize,
    step: &Step,
    steps: &BTreeMap<usize, Step>,
    before: Option<&Run>,
    now: Option<&Run>,
) -> Check {
    let (id, run_id): (NodeId, RunId) = (step.node_id.clone(), step.run_id);
    let old = plan.steps.get(&node).cloned();
    if let Some(old) = old.as_ref().filter(|old| old.ended_at.is_some()) {
        let end = |step: &Step| (step.status, step.ended_at, step.result.clone(), step.error.clone(), step.attempt);
        if end(old) != end(step) {
            return broken("B1", format!("node {id} of run {run_id} ended {old:?} and then {step:?}"));
        }
        return Ok(());
    }
    if !plan.runs(node) || plan.passed.contains(&node) {
        return broken("B2", format!("node {id} of run {run_id} was left out or skipped, and began"));
    }
    let before_it = plan.course.nodes[node].before.clone();
    if old.is_none() && !before_it.iter().all(|before| plan.is_over(*before, steps)) {
        return broken("B2", format!("node {id} of run {run_id} began before what it depends on had ended"));
    }
    let begun = |step: &Step| (step.iteration, step.fan.map(|fan| fan.begun));
    let has_begun = match (step.status, step.fan) {
        (_, Some(fan)) => fan.begun > old.as_ref().and_then(|old| old.fan).map_or(0, |fan| fan.begun),
        (StepStatus::Running | StepStatus::Waiting, None) => old.as_ref().is_none_or(|old| begun(old) != begun(step)),
        (
            StepStatus::Succeeded
            | StepStatus::Failed
            | StepStatus::Canceled
            | StepStatus::Skipped
            | StepStatus::Pending,
            None,
        ) => false,
    };
    if !has_begun {
        return Ok(());
    }
    let is_paused = |run: Option<&Run>| run.is_some_and(|run| run.state.pause_asked_at().is_some());
    if before.is_some_and(|run| run.status().is_terminal() || run.status() == RunStatus::Canceling) {
        return broken("B2", format!("node {id} of run {run_id} began after its stop or its end was recorded"));
    }
    if is_paused(before) && is_paused(now) {
        return broken("B2", format!("node {id} of run {run_id} began after a pause was recorded"));
    }
    if plan.is_closing() {
        return broken("B2", format!("node {id} of run {run_id} began after a failure that counts"));
    }
    Ok(())
}
