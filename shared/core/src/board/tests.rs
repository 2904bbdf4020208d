//! Every interleaving of workers, people, lost answers and pauses that there is room for.

use super::*;
use crate::graph::Graph;
use crate::schedule::{Doer, FanOut, Schedule, Task};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Small, fast, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

fn any_edges(nodes: usize, dice: &mut Dice) -> Vec<(usize, usize)> {
    let density = dice.roll(4) + 1;
    let edges = (0..nodes * density / 2).map(|_| (dice.roll(nodes), dice.roll(nodes)));
    edges.collect::<Vec<_>>().into_iter().filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b))).collect()
}

fn any_task(dice: &mut Dice) -> Task {
    let mut task = Task { max_attempts: dice.roll(3) as u32 + 1, ..Task::default() };
    task.is_conditional = dice.one_in(4);
    task.goes_on = dice.one_in(3);
    task.goes_on_when_expired = dice.one_in(2);
    task.is_left_out = dice.one_in(12);
    match dice.roll(8) {
        0 => task.doer = Doer::Nobody,
        1 => task.doer = Doer::Outside,
        2 => task.fan_out = Some(FanOut { max_items: 6, max_concurrency: dice.roll(4) as u32 + 1 }),
        _ => {}
    }
    if task.fan_out.is_none() && task.doer != Doer::Nobody && dice.one_in(4) {
        task.max_iterations = Some(dice.roll(3) as u32 + 1);
    }
    task
}

/// What a worker does, as the engine sees it.
#[derive(Clone, Debug, PartialEq)]
enum Hand {
    /// It asks, with what came of its last work.
    Asks(Option<(Unit, Outcome)>),
    Waits(String),
    Works(Unit),
    Left,
}

struct Play {
    schedule: Schedule,
    board: Board,
    /// The tokens that are kept beside the board, by worker.
    kept: Vec<String>,
    hands: Vec<(u32, Hand)>,
    dice: Dice,
    tokens: u32,
    /// How many of 10 attempts fail.
    trouble: usize,
    begun: BTreeMap<(usize, Option<u32>, u32), u32>,
}

impl Play {
    fn new(seed: u64, nodes: usize, window: u32) -> Self {
        let mut dice = Dice(seed);
        let graph = Graph::new(nodes, any_edges(nodes, &mut dice)).expect("no circle");
        let tasks = (0..nodes).map(|_| any_task(&mut dice)).collect();
        let schedule = Schedule::new(graph, tasks, dice.one_in(2)).expect("a schedule");
        let board = Board::with_workers(&schedule, window);
        let trouble = dice.roll(4);
        let hands = vec![(0, Hand::Asks(None)); window as usize];
        let kept = vec![String::new(); window as usize];
        Self { schedule, board, kept, hands, dice, tokens: 0, trouble, begun: BTreeMap::new() }
    }

    fn outcome(&mut self) -> Outcome {
        match self.dice.roll(10) {
            0 if self.trouble > 0 => Outcome::FinalFailure,
            roll if roll < self.trouble * 2 => Outcome::Failure,
            _ => Outcome::Success,
        }
    }

    /// One change of the board, as whoever makes it does: read, tell, answer questions, hand out, write, and only then tell.
    /// Whether it was written.
    fn change(
        &mut self,
        tell: impl Fn(&mut Board, &Schedule) -> Result<(), Stale>,
        asker: Option<(usize, &str)>,
    ) -> bool {
        let before = self.board.clone();
        // What was stored is what was written.
        let stored = serde_json::to_string(&before).expect("JSON");
        let mut board: Board = serde_json::from_str(&stored).expect("a board");
        assert_eq!(board, before);
        let was_closing = before.closing;
        tell(&mut board, &self.schedule).expect("it is its turn");
        while let Some(question) = board.question() {
            let verdict = match question {
                Question::When(_) => Verdict::Holds(self.dice.roll(3) > 0),
                Question::Until(_) => Verdict::Holds(self.dice.roll(2) > 0),
                Question::Items(_) if self.dice.one_in(12) => Verdict::NotAList,
                Question::Items(_) => Verdict::Items(self.dice.roll(8) as u32),
            };
            board.decide(&self.schedule, question, verdict);
        }
        let mut told = board.hand_out(&self.schedule);
        if self.dice.one_in(8) {
            return false; // It crashed before it wrote, or another was faster.
        }
        self.check(&before, &board, was_closing);
        self.board = board;
        if let Some((asker, token)) = asker {
            token.clone_into(&mut self.kept[asker]);
        }
        if let Some(own) = asker.and_then(|(asker, _)| self.board.owed(asker)) {
            told.retain(|one| one.worker != own.worker);
            told.push(own);
        }
        let reached = if self.dice.one_in(6) { self.dice.roll(told.len()) } else { told.len() };
        for one in told.into_iter().take(reached) {
            self.tell(one);
        }
        true
    }

    fn check(&mut self, before: &Board, after: &Board, was_closing: bool) {
        for node in 0..before.phases.len() {
            let (was, is) = (before.phase(node), after.phase(node));
            assert!(!was.has_ended() || was == is, "{node} ended as {was:?} and again as {is:?}");
            if was == Phase::Blocked && !is.has_ended() && is != was {
                let dependencies = self.schedule.graph().dependencies(node);
                assert!(dependencies.iter().all(|&dependency| after.phase(dependency).has_ended()), "{node} is early");
            }
        }
        let held: BTreeSet<Unit> = before.units().collect();
        for unit in after.units().filter(|unit| !held.contains(unit)) {
            let dependencies = self.schedule.graph().dependencies(unit.node);
            assert!(dependencies.iter().all(|&dependency| after.phase(dependency).frees()), "{unit:?} is early");
            assert!(!was_closing || unit.attempt > 1, "{unit:?} begins after the failure that ends the run");
            assert!(!before.paused || !after.paused || unit.attempt > 1, "{unit:?} begins in a pause");
            let attempts = self.begun.entry((unit.node, unit.item, unit.iteration)).or_default();
            assert_eq!(unit.attempt, *attempts + 1, "{unit:?}");
            *attempts += 1;
        }
        let units: Vec<Unit> = after.units().collect();
        assert_eq!(units.iter().collect::<BTreeSet<_>>().len(), units.len(), "two do the same: {units:?}");
        if after.closing {
            let goes_on = |phase: &Phase| phase.has_ended() || matches!(phase, Phase::Underway | Phase::Repeating);
            assert!(after.phases.iter().all(goes_on), "something is still to begin: {after:?}");
        }
        let is_free = after.workers.iter().any(|worker| worker.turn > 0 && worker.act.is_none());
        if is_free && !after.paused && !after.closing {
            for node in 0..after.phases.len() {
                assert_ne!(after.phase(node), Phase::Ready, "{node} could begin, and a worker is free");
                if let (Phase::Underway, Some(fan), Some(out)) =
                    (after.phase(node), after.fan(node), self.schedule.task(node).fan_out)
                {
                    let may_begin = fan.begun < fan.total && (fan.failed == 0 || self.schedule.task(node).goes_on);
                    assert!(!may_begin || fan.at_work() >= out.max_concurrency, "an item of {node} could begin");
                }
            }
        }
    }

    fn tell(&mut self, told: Told) {
        let token = self.kept[told.worker].clone();
        let (turn, hand) = &mut self.hands[told.worker];
        // A token that is no longer waited for tells nobody anything.
        if *hand == Hand::Waits(token) {
            assert_eq!(told.turn, *turn + 1, "{told:?}");
            *hand = match told.act {
                Act::Work { unit, .. } => Hand::Works(unit),
                Act::Leave => Hand::Left,
            };
            *turn += 1;
        }
    }

    fn ask(&mut self, worker: usize, ended: Option<(Unit, Outcome)>) {
        let turn = self.hands[worker].0 + 1;
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        self.hands[worker].1 = Hand::Waits(token.clone());
        let is_written =
            self.change(|board, schedule| board.ask(schedule, worker, turn, ended), Some((worker, &token)));
        if !is_written || self.dice.one_in(10) {
            // The engine sees that the call failed, and makes it again.
            if matches!(self.hands[worker].1, Hand::Waits(_)) {
                self.hands[worker].1 = Hand::Asks(ended);
            }
        }
    }

    /// What the sweep does: tells again what may not have been heard.
    fn sweep(&mut self) {
        for worker in 0..self.hands.len() {
            if let Some(told) = self.board.owed(worker) {
                self.tell(told);
            }
        }
    }

    fn step(&mut self) {
        let worker = self.dice.roll(self.hands.len());
        match self.hands[worker].1.clone() {
            Hand::Asks(ended) => self.ask(worker, ended),
            Hand::Works(unit) => {
                let outcome = self.outcome();
                self.hands[worker].1 = Hand::Asks(Some((unit, outcome)));
            }
            Hand::Waits(_) | Hand::Left => {}
        }
        let waiting = self.board.waiting();
        if !waiting.is_empty() && self.dice.one_in(3) {
            let node = waiting[self.dice.roll(waiting.len())];
            let attempt = self.board.awaited_attempt(node).expect("it waits");
            let outcome = if self.dice.one_in(5) { Outcome::Expired } else { self.outcome() };
            self.change(|board, schedule| board.answer(schedule, node, attempt, outcome), None);
        }
        match self.dice.roll(40) {
            0 => {
                self.change(
                    |board, _| {
                        board.pause();
                        Ok(())
                    },
                    None,
                );
            }
            1..=4 => {
                self.change(
                    |board, _| {
                        board.resume();
                        Ok(())
                    },
                    None,
                );
            }
            5..=8 => self.sweep(),
            _ => {}
        }
    }

    fn played_out(mut self) -> Board {
        for _ in 0..200_000 {
            if self.hands.iter().all(|(_, hand)| *hand == Hand::Left) {
                return self.board;
            }
            self.step();
        }
        panic!("the run does not end: {:?} {:?}", self.board, self.hands);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 2_000 }))]

    #[test]
    fn every_node_ends_once_in_every_interleaving(seed in any::<u64>(), nodes in 1_usize..25, window in 1_u32..=40) {
        let play = Play::new(seed, nodes, window);
        let schedule = play.schedule.clone();
        let board = play.played_out();
        prop_assert!(board.is_over() && board.units().next().is_none());
        if board.failure().is_none() {
            prop_assert!((0..nodes).all(|node| board.phase(node).has_ended() && board.phase(node).frees()));
        }
        for node in 0..nodes {
            let is_bound_to_end = board.failure().is_none() || !board.closing;
            prop_assert!(!is_bound_to_end || board.phase(node).has_ended(), "{} waits for ever", node);
            if schedule.task(node).is_left_out {
                prop_assert!(!matches!(board.phase(node), Phase::Succeeded | Phase::Failed | Phase::Forgiven));
            }
            let fan = board.fan(node).unwrap_or_default();
            prop_assert!(fan.begun == fan.done + fan.failed && fan.begun <= fan.total);
        }
    }

    #[test]
    fn a_run_takes_as_long_as_its_longest_path(seed in any::<u64>(), nodes in 1_usize..120) {
        let mut dice = Dice(seed);
        let graph = Graph::new(nodes, any_edges(nodes, &mut dice)).expect("no circle");
        let durations: Vec<u64> = (0..nodes).map(|_| dice.roll(100) as u64 + 1).collect();
        let schedule = Schedule::new(graph, vec![Task::default(); nodes], true).expect("a schedule");
        let (makespan, longest) = (makespan(&schedule, &durations), longest_path(schedule.graph(), &durations));
        prop_assert!(makespan >= longest);
        let is_wide = schedule.graph().width(&vec![1; nodes], 41) > 40;
        prop_assert!(is_wide || makespan == longest, "{makespan} instead of {longest}");
        // No schedule is shorter than half of one that never lets a worker idle (Graham).
        prop_assert!(makespan <= longest + durations.iter().sum::<u64>() / 40);
    }
}

fn longest_path(graph: &Graph, durations: &[u64]) -> u64 {
    let mut ends = vec![0; graph.len()];
    for &node in graph.order() {
        let begins = graph.dependencies(node).iter().map(|&before| ends[before]).max().unwrap_or(0);
        ends[node] = begins + durations[node];
    }
    ends.into_iter().max().unwrap_or(0)
}

fn makespan(schedule: &Schedule, durations: &[u64]) -> u64 {
    let mut board = Board::new(schedule);
    let workers = board.workers.len();
    let mut turns = vec![0; workers];
    let mut events: BinaryHeap<Reverse<(u64, usize, Option<Unit>)>> =
        (0..workers).map(|worker| Reverse((0, worker, None))).collect();
    let mut last = 0;
    while let Some(Reverse((now, worker, unit))) = events.pop() {
        last = now;
        turns[worker] += 1;
        let ended = unit.map(|unit| (unit, Outcome::Success));
        board.ask(schedule, worker, turns[worker], ended).expect("its turn");
        for told in board.hand_out(schedule) {
            if let Act::Work { unit, .. } = told.act {
                events.push(Reverse((now + durations[unit.node], told.worker, Some(unit))));
            }
        }
    }
    assert!(board.is_over());
    last
}

fn schedule_of(tasks: Vec<Task>, edges: &[(usize, usize)], fail_fast: bool) -> Schedule {
    let graph = Graph::new(tasks.len(), edges.iter().copied()).expect("a graph");
    Schedule::new(graph, tasks, fail_fast).expect("a schedule")
}

/// Plays a run of which each unit ends as `outcome` says, one after the other, every condition holding.
fn played(schedule: &Schedule, items: u32, outcome: impl Fn(Unit) -> Outcome) -> (Board, Vec<Unit>) {
    let mut board = Board::new(schedule);
    let (mut turns, mut begun) = (vec![0; board.workers.len()], Vec::new());
    let mut asks: Vec<(usize, Option<(Unit, Outcome)>)> = (0..turns.len()).map(|worker| (worker, None)).collect();
    while !asks.is_empty() {
        let (worker, ended) = asks.remove(0);
        turns[worker] += 1;
        board.ask(schedule, worker, turns[worker], ended).expect("its turn");
        while let Some(question) = board.question() {
            let is_over = |node| board.iteration(node) >= 3;
            let verdict = match question {
                Question::Items(_) => Verdict::Items(items),
                Question::When(_) => Verdict::Holds(true),
                Question::Until(node) => Verdict::Holds(is_over(node)),
            };
            board.decide(schedule, question, verdict);
        }
        let mut told = board.hand_out(schedule);
        told.extend(board.owed(worker).filter(|_| !told.iter().any(|one| one.worker == worker)));
        for one in told {
            if let Act::Work { unit, .. } = one.act {
                begun.push(unit);
                asks.push((one.worker, Some((unit, outcome(unit)))));
            }
        }
    }
    (board, begun)
}

#[test]
fn the_same_turn_is_answered_again_and_an_earlier_one_refused() {
    let schedule = schedule_of(vec![Task::default(); 2], &[(0, 1)], true);
    let mut board = Board::new(&schedule);
    board.ask(&schedule, 0, 1, None).expect("its turn");
    let told = board.hand_out(&schedule);
    assert_eq!(told.len(), 1);
    // The answer was lost: the engine asks again, because it does not know.
    board.ask(&schedule, 0, 1, None).expect("the same turn");
    assert!(board.hand_out(&schedule).is_empty());
    assert_eq!(board.owed(0), Some(told[0]));
    let Act::Work { unit, .. } = told[0].act else { panic!("{told:?}") };
    let ended = Some((unit, Outcome::Success));
    assert_eq!(board.ask(&schedule, 0, 3, ended), Err(Stale::EarlierTurn));
    assert_eq!(board.ask(&schedule, 0, 2, None), Err(Stale::NotItsWork));
    let other = Some((Unit { node: 1, ..unit }, Outcome::Success));
    assert_eq!(board.ask(&schedule, 0, 2, other), Err(Stale::NotItsWork));
    assert_eq!(board.ask(&schedule, 1, 1, None), Err(Stale::NoSuchWorker));
    board.ask(&schedule, 0, 2, ended).expect("its turn");
    let again = board.clone();
    board.ask(&schedule, 0, 2, ended).expect("the same turn");
    assert_eq!(board, again, "what ended does not end twice");
    assert_eq!(board.ask(&schedule, 0, 1, None), Err(Stale::EarlierTurn));
}

#[test]
fn a_loop_runs_until_it_is_over_and_no_longer_than_it_may() {
    let task = |max_iterations| Task { max_iterations: Some(max_iterations), ..Task::default() };
    let schedule = schedule_of(vec![task(5), Task::default()], &[(0, 1)], true);
    let (board, begun) = played(&schedule, 0, |_| Outcome::Success);
    assert_eq!(
        begun.iter().map(|unit| (unit.node, unit.iteration)).collect::<Vec<_>>(),
        [(0, 1), (0, 2), (0, 3), (1, 1)]
    );
    assert_eq!((board.iteration(0), board.failure()), (3, None));
    let (board, begun) =
        played(&schedule_of(vec![task(2), Task::default()], &[(0, 1)], false), 0, |_| Outcome::Success);
    assert_eq!((begun.len(), board.phase(0), board.phase(1)), (2, Phase::Failed, Phase::Dropped));
    assert_eq!(board.failure(), Some(Failure { node: 0, cause: FailureCause::LoopingRisk }));
}

#[test]
fn what_has_not_begun_is_dropped_with_the_failure_that_ends_the_run() {
    // A loop between two iterations, a node that another blocks, and one that fails, in a pause.
    let repeated = Task { max_iterations: Some(5), ..Task::default() };
    let schedule = schedule_of(vec![repeated, Task::default(), Task::default()], &[(0, 1)], true);
    let mut board = Board::with_workers(&schedule, 2);
    let unit = |node| Unit { node, item: None, iteration: 1, attempt: 1 };
    for worker in 0..2 {
        board.ask(&schedule, worker, 1, None).expect("its turn");
    }
    let told: Vec<Act> = board.hand_out(&schedule).into_iter().map(|told| told.act).collect();
    assert_eq!(told, [0, 2].map(|node| Act::Work { unit: unit(node), seconds: 0 }));
    board.pause();
    board.ask(&schedule, 0, 2, Some((unit(0), Outcome::Success))).expect("its turn");
    board.decide(&schedule, Question::Until(0), Verdict::Holds(false));
    assert_eq!((board.hand_out(&schedule), board.phase(0), board.iteration(0)), (vec![], Phase::Ready, 2));
    board.ask(&schedule, 1, 2, Some((unit(2), Outcome::FinalFailure))).expect("its turn");
    assert_eq!(board.phases, [Phase::Dropped, Phase::Dropped, Phase::Failed]);
}

#[test]
fn a_fan_out_runs_each_item_once_and_ends_as_the_node_says() {
    let fan = |goes_on| Task {
        fan_out: Some(FanOut { max_items: 10, max_concurrency: 3 }),
        goes_on,
        max_attempts: 2,
        ..Task::default()
    };
    let schedule = |goes_on| schedule_of(vec![fan(goes_on), Task::default()], &[(0, 1)], true);
    let third_fails = |unit: Unit| if unit.item == Some(2) { Outcome::Failure } else { Outcome::Success };
    assert_eq!(schedule(true).workers(), 3);
    let (board, begun) = played(&schedule(false), 7, |_| Outcome::Success);
    let items: Vec<u32> = begun.iter().filter_map(|unit| unit.item).collect();
    assert_eq!((items, board.phase(1)), (vec![0, 1, 2, 3, 4, 5, 6], Phase::Succeeded));
    let (board, begun) = played(&schedule(true), 7, third_fails);
    assert_eq!(begun.len(), 7 + 1 + 1);
    assert_eq!(board.fan(0), Some(Fan { total: 7, begun: 7, done: 6, failed: 1 }));
    assert_eq!((board.phase(0), board.phase(1)), (Phase::Succeeded, Phase::Succeeded));
    let (board, _) = played(&schedule(false), 10, third_fails);
    let fan = board.fan(0).expect("a fan-out");
    assert!(fan.begun < 10 && fan.begun == fan.done + fan.failed, "{fan:?}: nothing new begins");
    assert_eq!((board.phase(0), board.phase(1)), (Phase::Failed, Phase::Dropped));
    for (items, cause) in [(0, None), (10, None), (11, Some(FailureCause::TooManyItems))] {
        let (board, _) = played(&schedule(false), items, |_| Outcome::Success);
        assert_eq!(board.failure().map(|failure| failure.cause), cause, "{items}");
    }
}

#[test]
fn after_a_failure_that_counts_independent_branches_go_on_only_where_the_version_says_so() {
    // 0 -> 1 -> 2 beside 3 -> 4, of which 1 fails.
    let edges = [(0, 1), (1, 2), (3, 4)];
    let first_fails = |unit: Unit| if unit.node == 1 { Outcome::Failure } else { Outcome::Success };
    let phases = |tasks: Vec<Task>, fail_fast| {
        let (board, _) = played(&schedule_of(tasks, &edges, fail_fast), 0, first_fails);
        (0..5).map(|node| board.phase(node)).collect::<Vec<_>>()
    };
    use Phase::{Dropped, Failed, Forgiven, Succeeded};
    assert_eq!(phases(vec![Task::default(); 5], false), [Succeeded, Failed, Dropped, Succeeded, Succeeded]);
    let fast = phases(vec![Task::default(); 5], true);
    assert_eq!((fast[1], fast[2]), (Failed, Dropped));
    let mut tasks = vec![Task::default(); 5];
    tasks[1].goes_on = true;
    assert_eq!(phases(tasks, true), [Succeeded, Forgiven, Succeeded, Succeeded, Succeeded]);
}

#[test]
fn the_board_of_the_largest_version_is_small() {
    let schedule = schedule_of(vec![Task { doer: Doer::Nobody, ..Task::default() }; 500], &[], true);
    let board = serde_json::to_string(&Board::new(&schedule)).expect("JSON");
    assert!(board.len() < 700, "{} bytes", board.len());
    let chain: Vec<(usize, usize)> = (1..500).map(|node| (node - 1, node)).collect();
    let skipped = vec![Task { is_left_out: true, ..Task::default() }; 500];
    assert!(Board::new(&schedule_of(skipped, &chain, true)).is_over());
}

#[test]
fn external_nodes_begin_to_wait_a_few_in_one_change_and_none_in_a_pause() {
    let outside = Task { doer: Doer::Outside, ..Task::default() };
    let schedule = schedule_of(vec![outside; 100], &[], true);
    let mut board = Board::new(&schedule);
    board.pause();
    board.ask(&schedule, 0, 1, None).expect("its turn");
    assert!(board.hand_out(&schedule).is_empty() && board.waiting().is_empty() && !board.has_more(&schedule));
    board.resume();
    let mut waiting = Vec::new();
    while board.has_more(&schedule) {
        assert!(board.hand_out(&schedule).is_empty(), "nobody has to work for it");
        waiting.push(board.waiting().len());
    }
    assert_eq!(waiting, [40, 80, 100]);
    for node in 0..100 {
        board.answer(&schedule, node, 1, Outcome::Success).expect("it waits");
    }
    assert_eq!(board.hand_out(&schedule), [Told { worker: 0, turn: 1, act: Act::Leave }]);
}

#[test]
fn what_cannot_be_put_into_words_fails_without_another_attempt() {
    for goes_on in [false, true] {
        let task = Task { max_attempts: 3, goes_on, ..Task::default() };
        let schedule = schedule_of(vec![task; 2], &[(0, 1)], true);
        let mut board = Board::new(&schedule);
        board.ask(&schedule, 0, 1, None).expect("its turn");
        assert_eq!(board.hand_out(&schedule).len(), 1);
        board.take_back(&schedule, 0);
        assert_eq!(board.phase(0), if goes_on { Phase::Forgiven } else { Phase::Failed });
        let told = board.hand_out(&schedule);
        let next = Act::Work { unit: Unit { node: 1, item: None, iteration: 1, attempt: 1 }, seconds: 0 };
        assert_eq!(told, [Told { worker: 0, turn: 1, act: if goes_on { next } else { Act::Leave } }]);
    }
}
