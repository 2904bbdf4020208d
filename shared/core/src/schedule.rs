//! What the runner knows of a run's nodes before any of them runs: who waits for whom, what each takes, and how many workers
//! the run needs.

use crate::graph::Graph;
use serde::{Deserialize, Serialize};

/// Workers of one run at most: an inline Map of Step Functions runs so many iterations at once.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html>
pub const WORKERS: u32 = 40;
/// Seconds before the next attempt at most.
const LONGEST_WAIT: u64 = 86_400;

/// Who does what a node takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doer {
    /// Nobody: its result is in the plan, or given with the run, or of an earlier run.
    Nobody,
    /// Somebody outside: it takes no worker while it waits.
    Outside,
    #[default]
    Worker,
}

/// A processor once for each item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOut {
    /// More items fail the node.
    pub max_items: u32,
    pub max_concurrency: u32,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub doer: Doer,
    pub max_attempts: u32,
    pub retry_interval_seconds: u32,
    pub retry_backoff_rate: u32,
    /// Whether a condition says if it runs.
    pub is_conditional: bool,
    /// Of a loop: how often it runs at most.
    pub max_iterations: Option<u32>,
    pub fan_out: Option<FanOut>,
    /// Whether the run goes on when it has failed.
    pub goes_on: bool,
    /// Whether the run goes on when nobody has answered in time.
    pub goes_on_when_expired: bool,
    /// Whether the run starts behind or beside it: it is skipped.
    pub is_left_out: bool,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            doer: Doer::Worker,
            max_attempts: 1,
            retry_interval_seconds: 1,
            retry_backoff_rate: 2,
            is_conditional: false,
            max_iterations: None,
            fan_out: None,
            goes_on: false,
            goes_on_when_expired: false,
            is_left_out: false,
        }
    }
}

impl Task {
    /// Workers that it keeps busy at most.
    fn workers(&self) -> u32 {
        match (self.doer, self.is_left_out) {
            (Doer::Worker, false) => self.fan_out.map_or(1, |fan| fan.max_concurrency.min(fan.max_items)),
            (Doer::Worker | Doer::Nobody | Doer::Outside, _) => 0,
        }
    }

    /// Seconds to wait after a failed attempt.
    pub fn wait_after(&self, attempt: u32) -> u32 {
        let rate = u64::from(self.retry_backoff_rate).saturating_pow(attempt.saturating_sub(1));
        let seconds = u64::from(self.retry_interval_seconds).saturating_mul(rate).min(LONGEST_WAIT);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

/// All nodes of a run. Made of what is frozen, so that it is the same whenever it is made.
#[derive(Clone, Debug)]
pub struct Schedule {
    graph: Graph,
    tasks: Vec<Task>,
    /// Whether nothing new starts after a failure that counts.
    fail_fast: bool,
    /// Ready nodes in the order in which they are begun: those with the longest way behind them first.
    by_urgency: Vec<usize>,
}

impl Schedule {
    /// `None` when there are not as many tasks as nodes.
    pub fn new(graph: Graph, tasks: Vec<Task>, fail_fast: bool) -> Option<Self> {
        if graph.len() != tasks.len() {
            return None;
        }
        let heights = graph.heights();
        let mut by_urgency = graph.order().to_vec();
        by_urgency.sort_by_key(|&node| std::cmp::Reverse(heights[node]));
        Some(Self { graph, tasks, fail_fast, by_urgency })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn task(&self, node: usize) -> &Task {
        &self.tasks[node]
    }

    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    pub fn fails_fast(&self) -> bool {
        self.fail_fast
    }

    pub fn by_urgency(&self) -> &[usize] {
        &self.by_urgency
    }

    /// How many workers the run gets: as many as can be at work at once, so that whatever may start finds one free; one at
    /// least, who stays until the end is decided, and [`WORKERS`] at most.
    pub fn workers(&self) -> u32 {
        let weights: Vec<u32> = self.tasks.iter().map(Task::workers).collect();
        self.graph.width(&weights, WORKERS).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_gets_as_many_workers_as_can_be_at_work() {
        let worked = Task::default();
        let external = Task { doer: Doer::Outside, ..worked };
        let fan = |max_items, max_concurrency| Task { fan_out: Some(FanOut { max_items, max_concurrency }), ..worked };
        let workers = |tasks: Vec<Task>, edges: &[(usize, usize)]| {
            let graph = Graph::new(tasks.len(), edges.iter().copied()).expect("a graph");
            Schedule::new(graph, tasks, true).expect("a schedule").workers()
        };
        assert_eq!(workers(vec![worked; 4], &[(0, 1), (1, 2), (2, 3)]), 1);
        assert_eq!(workers(vec![worked; 4], &[(0, 1), (0, 2), (1, 3), (2, 3)]), 2);
        assert_eq!(workers(vec![external; 4], &[]), 1, "somebody has to stay");
        assert_eq!(workers(vec![worked, fan(100, 10)], &[]), 11);
        assert_eq!(workers(vec![worked, fan(3, 10)], &[(0, 1)]), 3);
        assert_eq!(workers(vec![worked; 60], &[]), 40);
        assert_eq!(workers(vec![Task { is_left_out: true, ..worked }; 60], &[]), 1);
    }

    #[test]
    fn waits_grow_and_have_a_bound() {
        let task = Task { retry_interval_seconds: 3, retry_backoff_rate: 2, ..Task::default() };
        assert_eq!([1, 2, 3].map(|attempt| task.wait_after(attempt)), [3, 6, 12]);
        assert_eq!(Task { retry_interval_seconds: 3_600, retry_backoff_rate: 10, ..task }.wait_after(10), 86_400);
        assert_eq!(Task { retry_interval_seconds: 5, retry_backoff_rate: 1, ..task }.wait_after(u32::MAX), 5);
    }
}
