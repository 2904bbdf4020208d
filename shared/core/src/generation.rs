//! Which generation of the runner drives a run: known from the state machine that its compute node names, which the run's head
//! and its snapshot both keep.
//!
//! Decision (2026-11-28): by the machine's name, which is `…runner-2` for the second generation, and not by a field of the
//! compute node: whatever keeps the ARN knows it, runs from before included, and nothing can say of a machine what it is not.

use crate::arn::StateMachineArn;

/// A generation of the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Stages, one after the other; the plan is the execution's input, and its states write the steps.
    First,
    /// Workers that ask: the board decides, and knows conditions, loops, fan-out and starts in the middle.
    Second,
}

impl Generation {
    /// How the name of the second generation's state machine ends.
    pub const SECOND: &'static str = "runner-2";

    pub fn of(state_machine: &StateMachineArn) -> Self {
        if state_machine.as_str().ends_with(Self::SECOND) { Self::Second } else { Self::First }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_name_says_its_generation() {
        for (name, generation) in [
            ("sluice-runner", Generation::First),
            ("sluice-runner-2", Generation::Second),
            ("runner-2", Generation::Second),
            ("sluice-runner-2-old", Generation::First),
            ("sluice-runner2", Generation::First),
        ] {
            let arn = format!("arn:aws:states:eu-west-1:123456789012:stateMachine:{name}").parse().expect("an ARN");
            assert_eq!(Generation::of(&arn), generation, "{name}");
        }
    }
}
