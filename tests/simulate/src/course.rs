//! The workflows that the second generation's workers run: drawn by seed, with one of everything, and what the simulation itself
//! knows of them, to hold the runner to it.

use fastrand::Rng;
use serde_json::{Value, json};
use sluice_core::definition::VersionDocument;
use sluice_core::id::NodeId;

/// The node that waits for its answer from outside, as in the sample pipeline; others wait for their expiry alone.
pub const WAITING_NODE: &str = "frequencies";
/// A node's condition and its loop look at a number of a result: below this one it runs, and goes on.
const BOUND: u64 = 6;
pub const MAX_ITERATIONS: u64 = 3;
pub const MAX_ITEMS: usize = 3;

/// What a node does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Loop,
    /// Of the list in the result of this node, or of three items.
    Fan(Option<usize>),
    External {
        expires_after: Option<u64>,
        on_expiry: Value,
    },
}

/// One node.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub id: NodeId,
    /// What it depends on.
    pub before: Vec<usize>,
    pub kind: Kind,
    /// Whether the run goes on when it fails.
    pub goes_on: bool,
    pub max_attempts: u64,
    /// The node whose result its condition reads.
    pub when: Option<usize>,
    timeout_seconds: Option<u64>,
}

/// A workflow.
#[derive(Clone, Debug)]
pub struct Course {
    pub nodes: Vec<Drawn>,
    pub fail_fast: bool,
}

impl Course {
    /// With the nodes that the simulation's callers name.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut names = [WAITING_NODE, "readability", "store", "extra", "more", "last"].to_vec();
        names.truncate(rng.usize(3..=names.len()));
        rng.shuffle(&mut names);
        let mut nodes: Vec<Drawn> = Vec::new();
        for name in names {
            let Ok(id) = name.parse() else { continue };
            let before: Vec<usize> = (0..nodes.len()).filter(|_| rng.u32(0..5) < 2).collect();
            let one_before = (!before.is_empty()).then(|| before[rng.usize(0..before.len())]);
            let is_external = name == WAITING_NODE || (name == "extra" && rng.bool());
            let kind = match (is_external, rng.u32(0..4)) {
                (true, _) => {
                    let on_expiry = [json!("fail"), json!("continue"), json!({"answer": LATE.to_owned()})];
                    let expires_after = (name != WAITING_NODE || rng.bool()).then(|| rng.u64(20..300));
                    Kind::External { expires_after, on_expiry: on_expiry[rng.usize(0..3)].clone() }
                }
                (false, 0) => Kind::Loop,
                (false, 1) => Kind::Fan(one_before.filter(|_| rng.bool())),
                (false, _) => Kind::Plain,
            };
            let when = one_before.filter(|_| !is_external && rng.u32(0..3) == 0);
            let goes_on = rng.u32(0..3) == 0;
            let max_attempts = if is_external { 1 } else { rng.u64(1..4) };
            let timeout_seconds = (!is_external && rng.bool()).then_some(45);
            nodes.push(Drawn { id, before, kind, goes_on, max_attempts, when, timeout_seconds });
        }
        Self { nodes, fail_fast: rng.bool() }
    }

    pub fn index(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id.as_str() == id)
    }

    /// What a node depends on.
    pub fn before(&self, id: &str) -> Vec<NodeId> {
        let before = self.index(id).map(|index| self.nodes[index].before.as_slice()).unwrap_or_default();
        before.iter().map(|before| self.nodes[*before].id.clone()).collect()
    }

    /// # Panics
    /// Never: it is one.
    pub fn document(&self) -> VersionDocument {
        let nodes: Vec<Value> = self.nodes.iter().map(|node| self.node(node)).collect();
        let edges: Vec<Value> = self
            .nodes
            .iter()
            .flat_map(|node| {
                node.before
                    .iter()
                    .map(|before| json!({"from": self.nodes[*before].id, "to": node.id}))
                    .collect::<Vec<_>>()
            })
            .collect();
        let document = json!({"nodes": nodes, "edges": edges, "failFast": self.fail_fast});
        match serde_json::from_value(document) {
            Ok(document) => document,
            Err(error) => panic!("a drawn workflow: {error}"),
        }
    }

    fn node(&self, node: &Drawn) -> Value {
        let at = |of: usize, field: &str| format!("/results/{}/{field}", self.nodes[of].id);
        let mut said = match &node.kind {
            Kind::External { expires_after, on_expiry } => {
                let mut said = json!({"id": node.id, "type": "external"});
                if let Some(expires_after) = expires_after {
                    said["expiresAfterSeconds"] = json!(expires_after);
                    said["onExpiry"] = on_expiry.clone();
                }
                said
            }
            Kind::Plain | Kind::Loop | Kind::Fan(_) => {
                let retry = json!({"maxAttempts": node.max_attempts, "intervalSeconds": 1, "backoffRate": 2});
                json!({"id": node.id, "type": "processor", "processor": "word-frequencies", "retry": retry})
            }
        };
        match &node.kind {
            Kind::Loop => {
                let own = format!("/results/{}/n", node.id);
                let until = json!({"not": {"pointer": own, "lessThan": BOUND}});
                said["loop"] = json!({"until": until, "maxIterations": MAX_ITERATIONS});
            }
            Kind::Fan(of) => {
                let items = of.map_or_else(|| json!([0, 1, 2]), |of| json!(at(of, "list")));
                said["forEach"] = json!({"items": items, "maxConcurrency": 2, "maxItems": MAX_ITEMS});
            }
            Kind::Plain | Kind::External { .. } => {}
        }
        if let Some(of) = node.when {
            said["when"] = json!({"pointer": at(of, "n"), "lessThan": BOUND});
        }
        if node.goes_on {
            said["onFailure"] = json!("continue");
        }
        if let Some(seconds) = node.timeout_seconds {
            said["timeoutSeconds"] = json!(seconds);
        }
        said
    }
}

/// What an external node is answered that nobody has answered in time, where its workflow says so.
pub const LATE: &str = "late";

/// What a processor gives back.
pub fn result(rng: &mut Rng) -> Value {
    let list: Vec<u32> = (0..rng.u32(0..5)).collect();
    json!({"n": rng.u64(0..10), "list": list})
}

/// Whether a condition, or a loop, sees a small number in this result.
pub fn is_small(result: Option<&Value>) -> bool {
    result.and_then(|result| result.get("n")?.as_u64()).is_some_and(|n| n < BOUND)
}
