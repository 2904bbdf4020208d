//! How the board of a run changes.

use super::state::{
    Act, Board, Failure, FailureCause, Fan, Outcome, Phase, Question, Stale, Told, Unit, Verdict, Worker,
};
use crate::schedule::{Doer, Schedule};
use std::collections::BTreeMap;

impl Board {
    /// External nodes that begin to wait in one change: each takes a write of its own, and a transaction has room for 100.
    pub const WAITS_AT_ONCE: usize = 40;

    /// The board of a run of which nothing has begun.
    pub fn new(schedule: &Schedule) -> Self {
        Self::with_workers(schedule, schedule.workers())
    }

    /// The same with another number of workers.
    pub(super) fn with_workers(schedule: &Schedule, workers: u32) -> Self {
        let worker = Worker { turn: 0, act: None };
        let mut board = Self {
            phases: vec![Phase::Blocked; schedule.graph().len()],
            turns: BTreeMap::new(),
            fans: BTreeMap::new(),
            workers: vec![worker; workers as usize],
            failure: None,
            closing: false,
            paused: false,
        };
        let order = schedule.graph().order();
        for &node in order.iter().filter(|&&node| schedule.graph().dependencies(node).is_empty()) {
            // One that a root's end has opened is no longer blocked.
            board.open(schedule, node);
        }
        board
    }

    /// A worker asks for its next turn, with what came of the last. The same turn again, because its answer was lost,
    /// changes nothing: what there is for it, [`Self::owed`] says.
    ///
    /// # Errors
    /// When it is not its turn, or it has ended what it was not given.
    pub fn ask(
        &mut self,
        schedule: &Schedule,
        worker: usize,
        turn: u32,
        ended: Option<(Unit, Outcome)>,
    ) -> Result<(), Stale> {
        let asking = self.workers.get_mut(worker).ok_or(Stale::NoSuchWorker)?;
        if turn == asking.turn && turn > 0 {
            return Ok(());
        }
        if turn != asking.turn + 1 {
            return Err(Stale::EarlierTurn);
        }
        let given = match asking.act {
            Some(Act::Work { unit, .. }) => Some(unit),
            Some(Act::Leave) | None => None,
        };
        if given != ended.map(|(unit, _)| unit) || asking.act == Some(Act::Leave) {
            return Err(Stale::NotItsWork);
        }
        *asking = Worker { turn, act: None };
        if let Some((unit, outcome)) = ended {
            self.end_unit(schedule, worker, unit, outcome);
        }
        Ok(())
    }

    fn end_unit(&mut self, schedule: &Schedule, worker: usize, unit: Unit, outcome: Outcome) {
        let task = schedule.task(unit.node);
        if outcome == Outcome::Failure && unit.attempt < task.max_attempts {
            let seconds = task.wait_after(unit.attempt);
            let unit = Unit { attempt: unit.attempt + 1, ..unit };
            self.workers[worker].act = Some(Act::Work { unit, seconds });
            return;
        }
        let is_success = outcome == Outcome::Success;
        let Some(fan) = self.fans.get_mut(&unit.node) else {
            return if is_success {
                self.succeed_once(schedule, unit.node);
            } else {
                self.fail(schedule, unit.node, FailureCause::Attempt);
            };
        };
        if is_success {
            fan.done += 1;
        } else {
            fan.failed += 1;
        }
        let fan = *fan;
        self.settle_fan(schedule, unit.node, fan);
    }

    /// Ends a fan-out of which no item is at work and none will begin.
    fn settle_fan(&mut self, schedule: &Schedule, node: usize, fan: Fan) {
        let has_failed = fan.failed > 0 && !schedule.task(node).goes_on;
        if fan.at_work() > 0 || (fan.begun < fan.total && !has_failed && !self.closing) {
            return;
        }
        if has_failed {
            self.fail(schedule, node, FailureCause::Attempt);
        } else if fan.begun < fan.total {
            self.end(schedule, node, Phase::Dropped);
        } else {
            self.end(schedule, node, Phase::Succeeded);
        }
    }

    /// Somebody outside has answered, or is waited for no longer.
    ///
    /// # Errors
    /// When the node does not wait in this attempt.
    pub fn answer(&mut self, schedule: &Schedule, node: usize, attempt: u32, outcome: Outcome) -> Result<(), Stale> {
        let (iteration, awaited) = self.turns.get(&node).copied().unwrap_or((1, 1));
        if self.phases.get(node) != Some(&Phase::Waiting) || attempt != awaited {
            return Err(Stale::NotWaiting);
        }
        match outcome {
            Outcome::Success => self.succeed_once(schedule, node),
            Outcome::Failure if attempt < schedule.task(node).max_attempts => {
                self.turns.insert(node, (iteration, attempt + 1));
            }
            Outcome::Expired if schedule.task(node).goes_on_when_expired => {
                self.end(schedule, node, Phase::Forgiven);
            }
            Outcome::Failure | Outcome::FinalFailure | Outcome::Expired => {
                self.fail(schedule, node, FailureCause::Attempt);
            }
        }
        Ok(())
    }

    /// The attempt in which a node waits for somebody outside.
    pub fn awaited_attempt(&self, node: usize) -> Option<u32> {
        let waits = self.phases.get(node) == Some(&Phase::Waiting);
        waits.then(|| self.turns.get(&node).map_or(1, |(_, attempt)| *attempt))
    }

    /// Nothing new begins from now on; what is under way goes on to its end.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Takes back what a worker was given and has not been told of, because it cannot be put into words: it ends as a failure
    /// that no further attempt mends.
    pub fn take_back(&mut self, schedule: &Schedule, worker: usize) {
        let Some(asking) = self.workers.get_mut(worker) else { return };
        if let Some(Act::Work { unit, .. }) = asking.act {
            asking.act = None;
            self.end_unit(schedule, worker, unit, Outcome::FinalFailure);
        }
    }

    /// What has to be answered before work is handed out: first whether a loop is over, for only whoever ended its iteration
    /// has what came of it.
    pub fn question(&self) -> Option<Question> {
        let repeating = self.phases.iter().position(|phase| *phase == Phase::Repeating);
        repeating.map(Question::Until).or_else(|| self.question_of_a_beginning())
    }

    fn question_of_a_beginning(&self) -> Option<Question> {
        if self.closing {
            return None;
        }
        self.phases.iter().enumerate().find_map(|(node, phase)| match phase {
            Phase::Conditional => Some(Question::When(node)),
            Phase::Uncounted => Some(Question::Items(node)),
            Phase::Repeating
            | Phase::Blocked
            | Phase::Ready
            | Phase::Underway
            | Phase::Waiting
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Forgiven
            | Phase::Skipped
            | Phase::Dropped => None,
        })
    }

    /// Answers a question. One that is not asked is not answered.
    pub fn decide(&mut self, schedule: &Schedule, question: Question, verdict: Verdict) {
        match (question, verdict) {
            (Question::When(node), Verdict::Holds(holds)) if self.phases[node] == Phase::Conditional => {
                if holds {
                    self.begin(schedule, node);
                } else {
                    self.end(schedule, node, Phase::Skipped);
                }
            }
            (Question::Items(node), Verdict::Items(total)) if self.phases[node] == Phase::Uncounted => {
                let most = schedule.task(node).fan_out.map_or(0, |fan| fan.max_items);
                if total > most {
                    return self.fail(schedule, node, FailureCause::TooManyItems);
                }
                self.phases[node] = Phase::Underway;
                self.fans.insert(node, Fan { total, ..Fan::default() });
                self.settle_fan(schedule, node, Fan { total, ..Fan::default() });
            }
            (Question::Items(node), Verdict::NotAList) if self.phases[node] == Phase::Uncounted => {
                self.fail(schedule, node, FailureCause::NotAList);
            }
            (Question::Until(node), Verdict::Holds(holds)) if self.phases[node] == Phase::Repeating => {
                self.repeat_or_end(schedule, node, holds);
            }
            (Question::When(_) | Question::Items(_) | Question::Until(_), _) => {}
        }
    }

    fn repeat_or_end(&mut self, schedule: &Schedule, node: usize, is_over: bool) {
        let iteration = self.iteration(node);
        if is_over {
            self.end(schedule, node, Phase::Succeeded);
        } else if iteration >= schedule.task(node).max_iterations.unwrap_or(1) {
            self.end_run(Failure { node, cause: FailureCause::LoopingRisk });
            self.end(schedule, node, Phase::Failed);
        } else if self.closing {
            self.end(schedule, node, Phase::Dropped);
        } else {
            self.turns.insert(node, (iteration + 1, 1));
            self.phases[node] = if schedule.task(node).doer == Doer::Outside { Phase::Waiting } else { Phase::Ready };
        }
    }

    /// Gives free workers what there is to do, and says who is to be told of it. To be called when nothing is asked any
    /// more. External nodes begin to wait, [so many](Self::WAITS_AT_ONCE) in one change.
    pub fn hand_out(&mut self, schedule: &Schedule) -> Vec<Told> {
        let mut told = Vec::new();
        let mut waits: Vec<usize> = self.to_wait(schedule).collect();
        waits.truncate(Self::WAITS_AT_ONCE);
        for node in waits {
            self.phases[node] = Phase::Waiting;
        }
        for worker in 0..self.workers.len() {
            if self.workers[worker].act.is_some() || self.workers[worker].turn == 0 {
                // One whose attempt is repeated was given the next when the last one ended.
                continue;
            }
            match self.next_unit(schedule) {
                Some(unit) => self.workers[worker].act = Some(Act::Work { unit, seconds: 0 }),
                None if self.is_over() => self.workers[worker].act = Some(Act::Leave),
                None => break,
            }
            told.extend(self.owed(worker));
        }
        told
    }

    /// Whether more begins by another change, for which nobody has to do anything.
    pub fn has_more(&self, schedule: &Schedule) -> bool {
        self.question().is_some() || self.to_wait(schedule).next().is_some()
    }

    /// The external nodes that may begin to wait.
    fn to_wait<'a>(&'a self, schedule: &'a Schedule) -> impl Iterator<Item = usize> + 'a {
        let may_begin = !self.paused && !self.closing;
        let is_next = move |&node: &usize| {
            may_begin && self.phases[node] == Phase::Ready && schedule.task(node).doer == Doer::Outside
        };
        schedule.by_urgency().iter().copied().filter(is_next)
    }

    /// What a worker is to be told, if that is known.
    pub fn owed(&self, worker: usize) -> Option<Told> {
        let Worker { turn, act } = self.workers.get(worker)?;
        Some(Told { worker, turn: *turn, act: (*act)? })
    }

    fn next_unit(&mut self, schedule: &Schedule) -> Option<Unit> {
        if self.paused || self.closing {
            return None;
        }
        schedule.by_urgency().iter().find_map(|&node| match self.phases[node] {
            Phase::Ready if schedule.task(node).doer == Doer::Worker => {
                self.phases[node] = Phase::Underway;
                Some(Unit { node, item: None, iteration: self.iteration(node), attempt: 1 })
            }
            Phase::Underway => {
                let task = schedule.task(node);
                let fan = self.fans.get_mut(&node)?;
                let may_begin = fan.begun < fan.total && (fan.failed == 0 || task.goes_on);
                if !may_begin || fan.at_work() >= task.fan_out.map_or(1, |fan| fan.max_concurrency.max(1)) {
                    return None;
                }
                fan.begun += 1;
                Some(Unit { node, item: Some(fan.begun - 1), iteration: 1, attempt: 1 })
            }
            Phase::Ready
            | Phase::Blocked
            | Phase::Conditional
            | Phase::Uncounted
            | Phase::Repeating
            | Phase::Waiting
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Forgiven
            | Phase::Skipped
            | Phase::Dropped => None,
        })
    }

    /// All that a node waits for has ended.
    fn open(&mut self, schedule: &Schedule, node: usize) {
        if self.phases[node] != Phase::Blocked {
            return;
        }
        let task = schedule.task(node);
        if task.is_left_out {
            self.end(schedule, node, Phase::Skipped);
        } else if task.is_conditional {
            self.phases[node] = Phase::Conditional;
        } else {
            self.begin(schedule, node);
        }
    }

    fn begin(&mut self, schedule: &Schedule, node: usize) {
        let task = schedule.task(node);
        match task.doer {
            Doer::Nobody => self.end(schedule, node, Phase::Succeeded),
            Doer::Worker if task.fan_out.is_some() => self.phases[node] = Phase::Uncounted,
            Doer::Outside | Doer::Worker => self.phases[node] = Phase::Ready,
        }
    }

    fn succeed_once(&mut self, schedule: &Schedule, node: usize) {
        if schedule.task(node).max_iterations.is_some() {
            self.phases[node] = Phase::Repeating;
        } else {
            self.end(schedule, node, Phase::Succeeded);
        }
    }

    fn fail(&mut self, schedule: &Schedule, node: usize, cause: FailureCause) {
        if schedule.task(node).goes_on {
            return self.end(schedule, node, Phase::Forgiven);
        }
        if schedule.fails_fast() {
            self.end_run(Failure { node, cause });
        } else {
            self.failure.get_or_insert(Failure { node, cause });
        }
        self.end(schedule, node, Phase::Failed);
    }

    /// Nothing new begins: what nobody is at work on is dropped, a loop between two iterations included. Whoever is waited for
    /// outside is waited for no longer.
    fn end_run(&mut self, failure: Failure) {
        if failure.cause == FailureCause::LoopingRisk {
            self.failure = Some(failure);
        }
        self.failure.get_or_insert(failure);
        self.closing = true;
        for phase in &mut self.phases {
            match phase {
                Phase::Blocked | Phase::Conditional | Phase::Uncounted | Phase::Ready | Phase::Waiting => {
                    *phase = Phase::Dropped;
                }
                Phase::Underway
                | Phase::Repeating
                | Phase::Succeeded
                | Phase::Failed
                | Phase::Forgiven
                | Phase::Skipped
                | Phase::Dropped => {}
            }
        }
        // A fan-out of which nothing is at work has nobody left who would end it.
        for (node, fan) in &self.fans {
            if self.phases[*node] == Phase::Underway && fan.at_work() == 0 {
                self.phases[*node] = Phase::Dropped;
            }
        }
    }

    /// Ends a node, and opens what waited for it alone. What waits for a node that frees nothing never begins.
    fn end(&mut self, schedule: &Schedule, node: usize, phase: Phase) {
        let mut ended = vec![(node, phase)];
        while let Some((node, phase)) = ended.pop() {
            self.phases[node] = phase;
            for &follower in schedule.graph().followers(node) {
                if self.phases[follower] != Phase::Blocked {
                    continue;
                }
                if !phase.frees() {
                    ended.push((follower, Phase::Dropped));
                } else if !self.closing && self.is_free(schedule, follower) {
                    match self.ends_at_once(schedule, follower) {
                        Some(phase) => ended.push((follower, phase)),
                        None => self.open(schedule, follower),
                    }
                }
            }
        }
    }

    fn is_free(&self, schedule: &Schedule, node: usize) -> bool {
        schedule.graph().dependencies(node).iter().all(|&before| self.phases[before].frees())
    }

    /// How a node ends that nobody has to do anything for, without going through [`Self::open`]: a chain of 500 of them is
    /// no deeper than one.
    fn ends_at_once(&self, schedule: &Schedule, node: usize) -> Option<Phase> {
        let task = schedule.task(node);
        match (task.is_left_out, task.is_conditional, task.doer) {
            (true, _, _) => Some(Phase::Skipped),
            (false, false, Doer::Nobody) => Some(Phase::Succeeded),
            (false, true, _) | (false, false, Doer::Outside | Doer::Worker) => None,
        }
    }
}
