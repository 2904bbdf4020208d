//! One change of a board in the making: what has happened is told to the board, its questions are answered, work is handed
//! out and put into words; and then it is written down what has to be stored of all that.

use super::facts::{Facts, corrupt, own_error};
use super::question::{Asked, Ended};
use crate::board::{Act, Board, Outcome, Phase, Question, Record, Stale, Unit, Verdict, Wake};
use crate::change::RunChange;
use crate::id::NodeId;
use crate::lifecycle::RunStatus;
use crate::limits::TOLD_BYTES;
use crate::ports::{BoardChange, Boards, StepPart, StoreResult, WaitingWorker};
use crate::report::{NodeAnswer, NodeOutcome};
use crate::run::{Run, RunError};
use crate::schedule::{Doer, Schedule};
use crate::snapshot::{Snapshot, inline_result_bytes};
use crate::step::{Step, StepStatus};
use crate::work::{Before, LEAVE, Work};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that end in one change because of what is read at their beginning: each takes a write, and a transaction has room for
/// 100, of which work and waits that begin take 80.
const UNBEGUN_FAILURES: usize = 8;

/// What is frozen of a run, with what follows from it.
pub(super) struct Frozen {
    pub snapshot: Snapshot,
    pub schedule: Schedule,
    index_of: BTreeMap<NodeId, usize>,
}

impl Frozen {
    pub fn new(snapshot: Snapshot) -> StoreResult<Self> {
        let schedule = snapshot.schedule();
        let schedule = schedule.ok_or_else(|| corrupt("read a run's plan", "its edges are no graph"))?;
        let index_of = snapshot.nodes.iter().enumerate().map(|(index, node)| (node.node_id.clone(), index)).collect();
        Ok(Self { snapshot, schedule, index_of })
    }

    pub fn index(&self, node_id: &NodeId) -> Option<usize> {
        self.index_of.get(node_id).copied()
    }

    pub fn id(&self, node: usize) -> &NodeId {
        &self.snapshot.nodes[node].node_id
    }

    fn stage(&self, node: usize) -> u32 {
        let stage = self.snapshot.stages.iter().position(|stage| stage.contains(self.id(node)));
        stage.and_then(|stage| u32::try_from(stage).ok()).unwrap_or(0)
    }
}

/// A change in the making.
pub(super) struct Draft<'a> {
    frozen: &'a Frozen,
    /// The run as it was read, and as it will be.
    before: &'a Run,
    pub run: Run,
    record: Option<&'a Record>,
    pub board: Board,
    facts: Facts,
    now: Timestamp,
    asker: Option<WaitingWorker>,
    /// The attempts that ended, of nodes that may have ended with them.
    attempts: BTreeMap<usize, u32>,
    /// What nodes have given that have ended now, and why those failed that have failed now.
    results: BTreeMap<usize, String>,
    errors: BTreeMap<usize, RunError>,
    parts: Vec<(NodeId, StepPart, NodeOutcome)>,
    answer: Option<(NodeId, NodeAnswer)>,
    /// When the waits run out that are known better than from their beginning.
    expiries: BTreeMap<usize, Timestamp>,
    /// What each worker is to be told that is owed a word.
    pub words: BTreeMap<usize, (u32, String)>,
    /// Whether another change has to follow.
    pub has_more: bool,
}

impl<'a> Draft<'a> {
    pub fn new(frozen: &'a Frozen, run: &'a Run, record: Option<&'a Record>, now: Timestamp) -> Self {
        let board = record.map_or_else(|| Board::new(&frozen.schedule), |record| record.board.clone());
        Self {
            frozen,
            before: run,
            run: run.clone(),
            record,
            board,
            facts: Facts::default(),
            now,
            asker: None,
            attempts: BTreeMap::new(),
            results: BTreeMap::new(),
            errors: BTreeMap::new(),
            parts: Vec::new(),
            answer: None,
            expiries: BTreeMap::new(),
            words: BTreeMap::new(),
            has_more: false,
        }
    }

    /// A worker asks. `Err` for one that has asked for a later turn since, or never was: nobody waits for an answer.
    pub fn ask(&mut self, asked: &Asked) -> StoreResult<Result<(), Stale>> {
        let Asked { worker, turn, token, ended, .. } = asked;
        let is_repeated = *turn == self.board.turn(*worker);
        let ended = match ended {
            Some(ended) => Some((self.unit_of(ended)?, ended)),
            None => None,
        };
        let outcome = ended.map(|(unit, ended)| {
            let outcome = match (&ended.outcome, ended.is_final) {
                (NodeOutcome::Result(_), _) => Outcome::Success,
                (NodeOutcome::Failure(_), true) => Outcome::FinalFailure,
                (NodeOutcome::Failure(_), false) => Outcome::Failure,
            };
            (unit, outcome)
        });
        if let Err(stale) = self.board.ask(&self.frozen.schedule, *worker, *turn, outcome) {
            return Ok(Err(stale));
        }
        self.asker = Some(WaitingWorker { worker: *worker, turn: *turn, token: token.clone() });
        let is_tried_again = self.board.owed(*worker).is_some();
        if let Some((unit, ended)) = ended.filter(|_| !is_repeated && !is_tried_again) {
            self.note(unit, ended.outcome.clone());
        }
        Ok(Ok(()))
    }

    fn unit_of(&self, ended: &Ended) -> StoreResult<Unit> {
        let node = self.frozen.index(&ended.node_id);
        let node = node.ok_or_else(|| corrupt("read what has ended", format!("node {}", ended.node_id)))?;
        Ok(Unit { node, item: ended.item, iteration: ended.iteration, attempt: ended.attempt })
    }

    /// What came of the last attempt of a node, of one of its items, or of an iteration.
    fn note(&mut self, unit: Unit, outcome: NodeOutcome) {
        let id = self.frozen.id(unit.node).clone();
        if let Some(item) = unit.item {
            return self.parts.push((id, StepPart::Item(item), outcome));
        }
        self.attempts.insert(unit.node, unit.attempt);
        match outcome {
            NodeOutcome::Failure(error) => self.fail(unit.node, error),
            NodeOutcome::Result(result) if self.board.phase(unit.node) == Phase::Repeating => {
                self.facts.give_last(&id, result);
            }
            NodeOutcome::Result(result) => self.give(unit.node, result),
        }
    }

    fn fail(&mut self, node: usize, error: RunError) {
        self.facts.give(self.frozen.id(node), Before::Failed(error.clone()));
        self.errors.insert(node, error);
    }

    fn give(&mut self, node: usize, result: String) {
        self.facts.give(self.frozen.id(node), Before::Result(result.clone()));
        self.results.insert(node, result);
    }

    /// Somebody outside has answered a node.
    pub fn answer(&mut self, node: usize, answer: NodeAnswer) -> Result<(), Stale> {
        let outcome = match &answer.outcome {
            NodeOutcome::Result(_) => Outcome::Success,
            NodeOutcome::Failure(_) => Outcome::Failure,
        };
        self.end_wait(node, outcome, answer.outcome.clone())?;
        self.answer = Some((self.frozen.id(node).clone(), answer));
        Ok(())
    }

    fn end_wait(&mut self, node: usize, outcome: Outcome, given: NodeOutcome) -> Result<(), Stale> {
        let attempt = self.board.awaited_attempt(node).ok_or(Stale::NotWaiting)?;
        let unit = Unit { node, item: None, iteration: self.board.iteration(node), attempt };
        self.board.answer(&self.frozen.schedule, node, attempt, outcome)?;
        if self.board.awaited_attempt(node).is_none() {
            self.note(unit, given);
        }
        Ok(())
    }

    /// Ends the waits that have run out. Where somebody reports progress, the time counts from his last word.
    pub async fn expire<S: Boards>(&mut self, store: &S) -> StoreResult<()> {
        let snapshot = &self.frozen.snapshot;
        for node in self.board.waiting() {
            let Some(expires_at) = self.expires_at(node) else { continue };
            if expires_at > self.now {
                continue;
            }
            let id = self.frozen.id(node);
            let step = store.load_step(&snapshot.tenant_id, snapshot.run_id, id).await?;
            let heard_of = step.and_then(|step| step.progress).map(|progress| progress.at);
            let expires_at = heard_of.and_then(|at| self.after(node, at)).map_or(expires_at, |at| at.max(expires_at));
            if expires_at > self.now {
                self.expiries.insert(node, expires_at);
                continue;
            }
            let (outcome, given) = match snapshot.nodes[node].directives.expired() {
                Some(answer) => (Outcome::Success, NodeOutcome::Result(answer.to_string())),
                None => {
                    let message = format!("nobody has answered node {id} in time");
                    (Outcome::Expired, NodeOutcome::Failure(own_error("Expired", message)))
                }
            };
            // It waits: that was asked above.
            let _ended = self.end_wait(node, outcome, given);
        }
        Ok(())
    }

    fn after(&self, node: usize, at: Timestamp) -> Option<Timestamp> {
        let seconds = self.frozen.snapshot.nodes[node].directives.expires_after_seconds?;
        at.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
    }

    /// When the wait of a node runs out, as far as is known here.
    fn expires_at(&self, node: usize) -> Option<Timestamp> {
        self.expiries.get(&node).copied().or_else(|| self.after(node, *self.record?.waits.get(&node)?))
    }

    /// Answers what the board asks.
    pub async fn decide<S: Boards>(&mut self, store: &S) -> StoreResult<()> {
        let Frozen { snapshot, schedule, .. } = self.frozen;
        let mut failures = 0;
        self.list_fans(store).await?;
        while let Some(question) = self.board.question() {
            if failures >= UNBEGUN_FAILURES {
                // What is still asked is answered by another change.
                return Ok(());
            }
            let verdict = match question {
                Question::When(node) | Question::Until(node) => {
                    let directives = &snapshot.nodes[node].directives;
                    let condition = match question {
                        Question::When(_) => directives.when.as_ref(),
                        Question::Until(_) | Question::Items(_) => {
                            directives.repeat.as_ref().map(|repeat| &repeat.until)
                        }
                    };
                    let facts = self.facts.read_by(store, snapshot, &self.board, node).await?;
                    Verdict::Holds(condition.is_some_and(|condition| condition.holds(&facts)))
                }
                Question::Items(node) => {
                    let items = self.facts.items(store, snapshot, &self.board, node).await?;
                    items.map_or(Verdict::NotAList, |items| {
                        Verdict::Items(u32::try_from(items.len()).unwrap_or(u32::MAX))
                    })
                }
            };
            self.board.decide(schedule, question, verdict);
            failures += usize::from(self.note_verdict(question, verdict));
            self.list_fans(store).await?;
        }
        Ok(())
    }

    /// Puts together what those fan-outs have given that have ended now.
    async fn list_fans<S: Boards>(&mut self, store: &S) -> StoreResult<()> {
        let old = self.record.map(|record| &record.board);
        let has_ended = |&node: &usize| {
            self.board.phase(node) == Phase::Succeeded
                && self.board.fan(node).is_some()
                && old.is_none_or(|old| old.phase(node) != Phase::Succeeded)
                && !self.results.contains_key(&node)
        };
        for node in (0..self.frozen.snapshot.nodes.len()).filter(has_ended).collect::<Vec<_>>() {
            let result = self.list(store, node).await?;
            self.give(node, result);
        }
        Ok(())
    }

    /// Notes what an answer has made of its node; whether it has failed by that.
    fn note_verdict(&mut self, question: Question, verdict: Verdict) -> bool {
        let (Question::When(node) | Question::Items(node) | Question::Until(node)) = question;
        let id = self.frozen.id(node).clone();
        let is_failed = matches!(self.board.phase(node), Phase::Failed | Phase::Forgiven);
        match (question, verdict) {
            (Question::Items(_), Verdict::NotAList) => {
                self.fail(node, own_error("NotAList", format!("the items of node {id} are no list")));
            }
            (Question::Items(_), Verdict::Items(count)) if is_failed => {
                let most = self.frozen.schedule.task(node).fan_out.map_or(0, |fan| fan.max_items);
                let message = format!("node {id} has {count} items, above the {most} that are allowed");
                self.fail(node, own_error("TooManyItems", message));
            }
            (Question::Until(_), Verdict::Holds(_)) => {
                let Some(last) = self.facts.take_last(&id) else { return is_failed };
                if self.board.phase(node) == Phase::Succeeded {
                    self.give(node, last);
                } else if is_failed {
                    let iterations = self.board.iteration(node);
                    let message = format!("the loop of node {id} was not over after {iterations} iterations");
                    self.fail(node, own_error("LoopingRisk", message));
                } else {
                    // Where another follows, that is the one before.
                    let follows = self.board.phase(node) != Phase::Dropped;
                    let ended = self.board.iteration(node) - u32::from(follows);
                    self.parts.push((id, StepPart::Iteration(ended), NodeOutcome::Result(last)));
                }
            }
            (Question::When(_) | Question::Items(_) | Question::Until(_), _) => {}
        }
        is_failed
    }

    /// Gives free workers what there is to do, where the run goes on, and puts it into words for everybody who is owed one.
    pub async fn hand_out<S: Boards>(&mut self, store: &S) -> StoreResult<()> {
        let goes_on = match self.run.status() {
            RunStatus::Running | RunStatus::Paused | RunStatus::WaitingForInput => true,
            RunStatus::Queued
            | RunStatus::Pending
            | RunStatus::Canceling
            | RunStatus::Succeeded
            | RunStatus::Failed
            | RunStatus::Canceled => false,
        };
        if !goes_on {
            return Ok(());
        }
        if self.run.state.pause_asked_at().is_some() {
            self.board.pause();
        } else {
            self.board.resume();
        }
        let told = self.board.hand_out(&self.frozen.schedule);
        self.has_more = self.board.has_more(&self.frozen.schedule);
        let mut owed: BTreeSet<usize> = told.iter().map(|told| told.worker).collect();
        owed.extend(self.record.and_then(|record| record.wake.as_ref()).iter().flat_map(|wake| &wake.workers));
        owed.extend(self.asker.as_ref().map(|asker| asker.worker));
        for worker in owed {
            let Some(told) = self.board.owed(worker) else { continue };
            match self.put(store, told.act).await? {
                Some(text) => drop(self.words.insert(worker, (told.turn, text))),
                None => self.take_back(worker, told.act),
            }
        }
        Ok(())
    }

    /// What a worker is told; `None` where that cannot be said.
    async fn put<S: Boards>(&mut self, store: &S, act: Act) -> StoreResult<Option<String>> {
        let Act::Work { unit, seconds } = act else { return Ok(Some(LEAVE.to_owned())) };
        let Frozen { snapshot, schedule, .. } = self.frozen;
        let node = &snapshot.nodes[unit.node];
        let dependencies = schedule.graph().dependencies(unit.node).iter().copied();
        let before = self.facts.given(store, snapshot, &self.board, dependencies).await?;
        let item = match unit.item {
            Some(item) => {
                let items = self.facts.items(store, snapshot, &self.board, unit.node).await?;
                let item = items.and_then(|items| items.get(item as usize));
                Some(item.ok_or_else(|| corrupt("read an item", format!("of node {}", node.node_id)))?.clone())
            }
            None => None,
        };
        let work = Work { snapshot, node, unit, seconds, before: &before, item: item.as_ref() };
        let told = work.told().map_err(|error| corrupt("put work into words", error))?;
        Ok(told.filter(|text| text.len() <= TOLD_BYTES))
    }

    /// What cannot be said ends as a failure that no further attempt mends.
    fn take_back(&mut self, worker: usize, act: Act) {
        let Act::Work { unit, .. } = act else { return };
        self.board.take_back(&self.frozen.schedule, worker);
        let id = self.frozen.id(unit.node);
        let message = format!("what node {id} is handed is longer than {TOLD_BYTES} bytes");
        self.note(unit, NodeOutcome::Failure(own_error("RequestTooLarge", message)));
        self.has_more = true;
    }

    /// What has to be written, if anything has.
    pub async fn change<S: Boards>(mut self, store: &S) -> StoreResult<(Self, Option<BoardChange>)> {
        let steps = self.steps(store).await?;
        let waiting = self.board.waiting().into_iter().map(|node| self.frozen.id(node).as_str().to_owned()).collect();
        let is_parked = self.board.is_paused() && self.board.under_way().is_empty() && !self.board.is_over();
        if let Some(shown) = self.run.shown(waiting, is_parked, self.now) {
            self.run = shown;
        }
        if self.run != *self.before {
            self.run.rev = self.before.rev + 1;
        }
        let is_same = self.record.is_some_and(|record| record.board == self.board);
        if is_same && self.asker.is_none() && self.run == *self.before {
            return Ok((self, None));
        }
        let record = Record {
            rev: self.record.map_or(0, |record| record.rev) + 1,
            board: self.board.clone(),
            waits: self.waits(),
            wake: self.wake(),
        };
        let change = BoardChange {
            tenant_id: self.before.tenant_id.clone(),
            run_id: self.before.run_id,
            record,
            expected_run_rev: self.before.rev,
            asker: self.asker.clone(),
            steps,
            parts: std::mem::take(&mut self.parts),
            answer: self.answer.take(),
            head: (self.run != *self.before).then(|| RunChange::new(self.before, self.run.clone())),
        };
        Ok((self, Some(change)))
    }

    fn old_board(&self) -> Board {
        self.record.map_or_else(|| Board::new(&self.frozen.schedule), |record| record.board.clone())
    }

    fn is_another_wait(&self, old: &Board, node: usize) -> bool {
        let attempt = |board: &Board| (board.awaited_attempt(node), board.iteration(node));
        attempt(old) != attempt(&self.board)
    }

    fn waits(&self) -> BTreeMap<usize, Timestamp> {
        let old = self.old_board();
        let since = |node: usize| match self.record.and_then(|record| record.waits.get(&node)) {
            Some(since) if !self.is_another_wait(&old, node) => *since,
            Some(_) | None => self.now,
        };
        self.board.waiting().into_iter().map(|node| (node, since(node))).collect()
    }

    /// Who is owed a word beside the one who asks, and when a wait runs out.
    fn wake(&self) -> Option<Wake> {
        let asker = self.asker.as_ref().map(|asker| asker.worker);
        let workers: BTreeSet<usize> = self.words.keys().copied().filter(|worker| Some(*worker) != asker).collect();
        let due_at = match workers.is_empty() && !self.has_more {
            true => self.next_expiry()?,
            false => self.now,
        };
        Some(Wake { due_at, workers })
    }

    /// When the first of the waits runs out.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let waits = self.waits();
        let known = waits.iter().filter_map(|(node, since)| match self.expiries.get(node) {
            Some(at) => Some(*at),
            None => self.after(*node, *since),
        });
        known.min()
    }

    /// The nodes that are at work, in the order of their names.
    pub fn under_way(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> =
            self.board.under_way().into_iter().map(|node| self.frozen.id(node).clone()).collect();
        nodes.sort();
        nodes
    }

    /// The steps that have changed.
    async fn steps<S: Boards>(&self, store: &S) -> StoreResult<Vec<Step>> {
        let old = self.old_board();
        let is_first = self.record.is_none();
        let mut steps = Vec::new();
        for node in 0..self.frozen.snapshot.nodes.len() {
            if self.frozen.schedule.task(node).doer == Doer::Nobody {
                continue;
            }
            let seen = |board: &Board| (board.phase(node), board.iteration(node), board.attempt(node), board.fan(node));
            if seen(&old) == seen(&self.board) && !is_first {
                continue;
            }
            steps.extend(self.step(store, &old, node).await?);
        }
        Ok(steps)
    }

    async fn step<S: Boards>(&self, store: &S, old: &Board, node: usize) -> StoreResult<Option<Step>> {
        let fan = self.board.fan(node);
        let (status, result, error) = match self.board.phase(node) {
            Phase::Underway => (StepStatus::Running, None, None),
            Phase::Waiting => (StepStatus::Waiting, None, None),
            Phase::Succeeded => {
                let result = self.results.get(&node).cloned();
                (StepStatus::Succeeded, Some(result.ok_or_else(|| corrupt("write a step", "no result"))?), None)
            }
            // The last of its items that were at work has ended, and none begins any more.
            Phase::Dropped if fan != old.fan(node) => (StepStatus::Canceled, None, None),
            Phase::Failed | Phase::Forgiven => (StepStatus::Failed, None, Some(self.error(store, node).await?)),
            Phase::Blocked
            | Phase::Conditional
            | Phase::Uncounted
            | Phase::Ready
            | Phase::Repeating
            | Phase::Skipped
            | Phase::Dropped => return Ok(None),
        };
        let ends = self.board.phase(node).has_ended();
        let attempt = self.board.attempt(node).or_else(|| self.attempts.get(&node).copied());
        let task = self.frozen.schedule.task(node);
        Ok(Some(Step {
            run_id: self.before.run_id,
            node_id: self.frozen.id(node).clone(),
            node_type: self.frozen.snapshot.nodes[node].node_type.as_str().to_owned(),
            stage: self.frozen.stage(node),
            status,
            attempt: attempt.or_else(|| old.attempt(node)).unwrap_or(1),
            // One that has begun keeps when it did.
            started_at: Some(self.now),
            ended_at: ends.then_some(self.now),
            result_bytes: result.as_ref().map(|result| result.len() as u64),
            result,
            error,
            progress: None,
            iteration: task.max_iterations.map(|_| self.board.iteration(node)),
            fan,
        }))
    }

    /// What came of the items of a fan-out, those included that have ended in this change.
    async fn items<S: Boards>(&self, store: &S, node: usize) -> StoreResult<BTreeMap<u32, NodeOutcome>> {
        let id = self.frozen.id(node);
        let stored = store.load_parts(&self.before.tenant_id, self.before.run_id, id).await?;
        let now = self.parts.iter().filter(|(of, _, _)| of == id).map(|(_, part, outcome)| (*part, outcome.clone()));
        let item = |(part, outcome)| match part {
            StepPart::Item(item) => Some((item, outcome)),
            StepPart::Iteration(_) => None,
        };
        Ok(stored.into_iter().chain(now).filter_map(item).collect())
    }

    /// The results of a fan-out in the order of its items, large ones by reference, `null` for those that failed.
    async fn list<S: Boards>(&self, store: &S, node: usize) -> StoreResult<String> {
        let (id, run_id) = (self.frozen.id(node), self.before.run_id);
        let total = self.board.fan(node).map_or(0, |fan| fan.total);
        let items = match total {
            0 => BTreeMap::new(),
            _ => self.items(store, node).await?,
        };
        let most = inline_result_bytes(total as usize, 0);
        let shown = (0..total).map(|item| match items.get(&item) {
            Some(NodeOutcome::Result(text)) if text.len() <= most => text.clone(),
            Some(NodeOutcome::Result(text)) => {
                let href = format!("/v1/workflow-runs/{run_id}/steps/{id}/items/{item}");
                let reference =
                    json!({"runId": run_id, "nodeId": id, "itemIndex": item, "href": href, "bytes": text.len()});
                json!({"resultRef": reference}).to_string()
            }
            Some(NodeOutcome::Failure(_)) | None => Value::Null.to_string(),
        });
        Ok(format!("[{}]", shown.collect::<Vec<_>>().join(",")))
    }

    /// Why a node has failed: of a fan-out, the first of its items that did.
    async fn error<S: Boards>(&self, store: &S, node: usize) -> StoreResult<RunError> {
        if let Some(error) = self.errors.get(&node) {
            return Ok(error.clone());
        }
        let failed = self.items(store, node).await?.into_iter().find_map(|(item, outcome)| match outcome {
            NodeOutcome::Failure(error) => Some((item, error)),
            NodeOutcome::Result(_) => None,
        });
        let (item, error) = failed.ok_or_else(|| corrupt("write a step", "it failed for no reason"))?;
        Ok(RunError { code: error.code, message: format!("item {item}: {}", error.message) })
    }
}
