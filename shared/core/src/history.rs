//! How many events the execution of a run writes into its history at worst: counted by the rules of the runner's second
//! generation, `infra/state-machines/runner-2.asl.json`. A contract test holds the two together.
//!
//! Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html>

use crate::schedule::{Doer, Schedule, Task};

/// Start and end, the claim, the Map, the question how it ended, and the end.
pub const PER_RUN: u64 = 62;
/// An iteration of the Map, the first question for work, and leaving.
pub const PER_WORKER: u64 = 48;
/// An attempt, with every repetition of its call that it may take: a function's, which is waited for longest while the account
/// is busy. What is behind a processor's key may change after a version was checked. And the question for work after it.
pub const PER_ATTEMPT: u64 = 89;
/// What a repeated attempt takes beyond that: to wait, and to choose again.
pub const PER_REPETITION: u64 = 4;

/// The most events that the run can write. A pause writes none, and neither does whoever is waited for outside.
pub fn worst_case(schedule: &Schedule) -> u64 {
    let tasks: u64 = schedule.tasks().iter().map(of_task).sum();
    PER_RUN + PER_WORKER * u64::from(schedule.workers()) + tasks
}

fn of_task(task: &Task) -> u64 {
    match (task.doer, task.is_left_out) {
        (Doer::Worker, false) => {
            let attempts = u64::from(task.max_attempts.max(1));
            let units = task.fan_out.map_or(1, |fan| u64::from(fan.max_items));
            let times = units * u64::from(task.max_iterations.unwrap_or(1));
            times * (PER_ATTEMPT * attempts + PER_REPETITION * (attempts - 1))
        }
        (Doer::Worker | Doer::Nobody | Doer::Outside, _) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::limits;
    use crate::schedule::FanOut;

    fn of(task: Task, nodes: usize) -> u64 {
        let chain = (1..nodes).map(|node| (node - 1, node));
        let graph = Graph::new(nodes, chain).expect("a chain");
        worst_case(&Schedule::new(graph, vec![task; nodes], true).expect("a schedule"))
    }

    #[test]
    fn a_version_has_room_for_more_than_two_hundred_attempts() {
        let plain = Task::default();
        assert!(of(plain, 220) <= limits::HISTORY_EVENTS);
        assert!(of(Task { max_attempts: 3, ..plain }, 70) <= limits::HISTORY_EVENTS);
        let fan_out = |max_items| Task { fan_out: Some(FanOut { max_items, max_concurrency: 40 }), ..plain };
        assert!(of(fan_out(200), 1) <= limits::HISTORY_EVENTS && of(fan_out(1_000), 1) > limits::HISTORY_EVENTS);
        assert_eq!(of(Task { doer: Doer::Outside, ..plain }, 500), PER_RUN + PER_WORKER);
        assert_eq!(of(Task { max_iterations: Some(10), ..plain }, 1), PER_RUN + PER_WORKER + 10 * PER_ATTEMPT);
    }
}
