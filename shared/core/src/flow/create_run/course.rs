//! The course that a run's nodes take: where it starts, and whether, how often and with which items each of them runs.

use super::command::Command;
use super::resolve::Resolved;
use crate::definition::{Node, NodeType, Ranks};
use crate::directive::{Role, Start};
use crate::generation::Generation;
use crate::id::NodeId;
use crate::place::{Field, Part, Step};
use crate::snapshot::SnapshotNode;
use crate::violation::{Invalid, Violation, ViolationCode};

/// What decides over the nodes of one run.
pub(super) struct Course<'a> {
    command: &'a Command,
    /// Looked up only where a node has anything to say.
    ranks: Option<Ranks<'a>>,
    /// What each node is, where the run does not start at the beginning.
    roles: Option<Vec<Role>>,
}

impl<'a> Course<'a> {
    /// Reports a start that cannot be, and what the compute node's runner cannot do.
    pub fn of(command: &'a Command, resolved: &'a Resolved, invalid: &mut Invalid) -> Self {
        let document = &resolved.version.document;
        let is_ruled = document.nodes.iter().any(|node| !node.directives().is_empty());
        let generation = Generation::of(&resolved.compute_node.state_machine_arn);
        if generation == Generation::First && (is_ruled || !document.fail_fast) {
            let message = format_args!(
                "the runner of compute node {} is of the first generation: it knows no when, loop, forEach, onFailure, \
                 timeoutSeconds, expiresAfterSeconds, onExpiry and failFast",
                resolved.compute_node.key
            );
            invalid.add(Field::ComputeNode, ViolationCode::NotAvailable, message);
        }
        if generation == Generation::First && command.start.is_some() {
            let message = "the compute node's runner is of the first generation: it starts at the beginning";
            invalid.add(Field::FromNode, ViolationCode::NotAvailable, message);
        }
        let ranks = (is_ruled || command.start.is_some()).then(|| document.ranks());
        let roles = command.start.as_ref().and_then(|start| roles(start, ranks.as_ref()?, resolved, invalid));
        Self { command, ranks, roles }
    }

    pub fn role(&self, index: usize) -> Role {
        self.roles.as_ref().and_then(|roles| roles.get(index)).copied().unwrap_or(Role::Runs)
    }

    /// Freezes what the version says of a node's running, with its placeholders filled and checked again, and what the start
    /// makes of it.
    pub fn rule(&self, index: usize, node: &Node, planned: &mut SnapshotNode, invalid: &mut Invalid) {
        match self.role(index) {
            Role::LeftOut => planned.left_out = true,
            Role::Given => {
                let given = self.command.start.as_ref().and_then(|start| start.results.get(&node.id));
                planned.settle(given.cloned().unwrap_or_default());
                planned.given = true;
            }
            Role::Runs => {
                let Some(ranks) = &self.ranks else { return };
                let mut directives = node.directives();
                let document = Field::Document.at();
                let nodes = document.part(Part::Nodes);
                let at = nodes.node(&node.id);
                let mut unfilled = Invalid::default();
                directives.fill(&self.command.variables, &at, &mut unfilled);
                // What could not be filled cannot be judged.
                if unfilled.is_empty() {
                    let standing = |name: &str| ranks.standing(name, index);
                    directives.check(node.doer(), node.schema.as_ref(), &standing, &at, invalid);
                }
                invalid.extend(unfilled);
                planned.directives = directives;
            }
        }
    }
}

/// What each node is to a run that starts in the middle. Given results are checked as answers to external nodes are.
fn roles(start: &Start, ranks: &Ranks<'_>, resolved: &Resolved, invalid: &mut Invalid) -> Option<Vec<Role>> {
    let nodes = &resolved.version.document.nodes;
    let ids: Vec<&NodeId> = nodes.iter().map(|node| &node.id).collect();
    let schema = |index: usize| nodes[index].schema.as_ref().filter(|_| nodes[index].node_type == NodeType::External);
    match start.roles(&ids, ranks.closure.as_ref()?, schema) {
        Ok(roles) => Some(roles),
        Err(mut faults) => {
            // What a private node takes is its owner's affair.
            let is_hidden =
                |node: &NodeId| resolved.owner.is_some() && nodes.iter().any(|one| one.id == *node && one.private);
            for fault in &mut faults.violations {
                if fault.code == ViolationCode::SchemaViolation
                    && let Some(Step::Node(node)) =
                        fault.place.steps.first().filter(|step| matches!(step, Step::Node(node) if is_hidden(node)))
                {
                    let of = Field::Results.at();
                    *fault = Violation {
                        place: of.node(&node.clone()).place(),
                        code: ViolationCode::SchemaViolation,
                        message: "is not what the node takes".to_owned(),
                    };
                }
            }
            faults.violations.dedup();
            invalid.extend(faults);
            None
        }
    }
}
