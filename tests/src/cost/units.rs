//! What runs consume of the table: the counts that the adapters' test `costs` takes of the real transactions.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_core::generation::Generation;

use crate::text;

const SNAPSHOTS: &str = "shared/aws/tests/adapters/snapshots";

/// One kind of run.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: String,
    /// Kinds of its nodes.
    pub nodes: Vec<String>,
    pub stages: u64,
    /// Of the second generation of the runner; none of the first.
    pub workers: Option<u64>,
    pub callback: bool,
    pub steps: Vec<Step>,
    /// Write units of a whole run by partition, such as `byTenant T#tenant#RUNS`.
    pub partitions: BTreeMap<String, f64>,
    /// Bytes of its items at its end, by the beginning of their sort keys.
    pub sizes: BTreeMap<String, u64>,
}

/// A step of its life.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    /// Calls to the table.
    pub calls: Vec<String>,
    /// Write units by `table` or index.
    pub writes: BTreeMap<String, f64>,
    pub read_units: f64,
}

impl Workload {
    /// Write units of a table or index.
    pub fn writes(&self, arm: &str) -> f64 {
        self.steps.iter().filter_map(|step| step.writes.get(arm)).fold(0.0, |sum, units| sum + units)
    }

    pub fn read_units(&self) -> f64 {
        self.steps.iter().map(|step| step.read_units).sum()
    }

    /// The steps whose name is this.
    pub fn steps_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().filter(move |step| step.name == name)
    }

    /// Whether somebody outside answers one of its nodes.
    pub fn is_answered(&self) -> bool {
        self.nodes.iter().any(|kind| kind == "external")
    }
}

/// All of them under a generation of the runner, in the order of the page.
///
/// # Panics
/// When the snapshot is not there, or not of this form.
pub fn workloads(generation: Generation) -> Vec<Workload> {
    let name = match generation {
        Generation::First => "units",
        Generation::Second => "units-2",
    };
    let snapshot = text(format!("{SNAPSHOTS}/adapters__costs__{name}.snap"));
    let body = snapshot.splitn(3, "---\n").nth(2).expect("a snapshot has a head and a body");
    let all: BTreeMap<String, Value> = serde_json::from_str(body).expect("the body is JSON");
    let mut workloads: Vec<Workload> = all.iter().map(|(name, found)| workload(name, found)).collect();
    workloads.sort_by_key(|workload| (workload.nodes.len(), workload.is_answered(), workload.name.clone()));
    workloads
}

fn workload(name: &str, found: &Value) -> Workload {
    let steps = found["steps"].as_array().into_iter().flatten().map(|step| Step {
        name: said(&step["step"]),
        calls: step["calls"].as_array().into_iter().flatten().map(said).collect(),
        writes: numbers(&step["writes"]),
        read_units: step["readUnits"].as_f64().expect("a number"),
    });
    Workload {
        name: name.to_owned(),
        nodes: found["nodes"].as_array().into_iter().flatten().map(said).collect(),
        stages: found["stages"].as_u64().expect("a number"),
        workers: found["workers"].as_u64(),
        callback: found["callback"] == true,
        steps: steps.collect(),
        partitions: numbers(&found["partitions"]),
        sizes: numbers(&found["sizes"]).into_iter().map(|(name, bytes)| (name, bytes as u64)).collect(),
    }
}

fn said(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn numbers(value: &Value) -> BTreeMap<String, f64> {
    let number = |(name, value): (&String, &Value)| (name.clone(), value.as_f64().expect("a number"));
    value.as_object().into_iter().flatten().map(number).collect()
}
