//! What the nodes of a run have given, as far as a change asks for it.
//!
//! **Invariant:** a result is read once in a change, and only where somebody asks for it.

use crate::board::{Board, Phase};
use crate::directive::Items;
use crate::id::NodeId;
use crate::ports::{Boards, Part, StoreError, StoreErrorClass, StoreResult};
use crate::run::RunError;
use crate::snapshot::{RequestParts, Snapshot};
use crate::work::Before;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    given: BTreeMap<NodeId, Before>,
    /// Of a loop: what its iteration has given that was the last to end.
    last: BTreeMap<NodeId, String>,
    variables: Option<Value>,
    items: BTreeMap<usize, Option<Vec<Value>>>,
}

impl Facts {
    pub fn give(&mut self, node_id: &NodeId, given: Before) {
        self.given.insert(node_id.clone(), given);
    }

    pub fn give_last(&mut self, node_id: &NodeId, result: String) {
        self.last.insert(node_id.clone(), result);
    }

    pub fn take_last(&mut self, node_id: &NodeId) -> Option<String> {
        self.last.remove(node_id)
    }

    /// What these nodes have given, by their indices. One that was skipped, or has not ended, has given nothing.
    pub async fn given<S: Boards>(
        &mut self,
        store: &S,
        snapshot: &Snapshot,
        board: &Board,
        nodes: impl IntoIterator<Item = usize>,
    ) -> StoreResult<BTreeMap<NodeId, Before>> {
        let nodes: BTreeSet<usize> = nodes.into_iter().collect();
        let (mut results, mut failures) = (Vec::new(), Vec::new());
        for &index in &nodes {
            let id = &snapshot.nodes[index].node_id;
            match board.phase(index) {
                _ if self.given.contains_key(id) => {}
                Phase::Succeeded => match snapshot.value_of(id) {
                    Some(value) => drop(self.given.insert(id.clone(), Before::Result(value))),
                    None => results.push(id.clone()),
                },
                Phase::Forgiven => failures.push(id.clone()),
                Phase::Blocked
                | Phase::Conditional
                | Phase::Uncounted
                | Phase::Ready
                | Phase::Underway
                | Phase::Repeating
                | Phase::Waiting
                | Phase::Failed
                | Phase::Skipped
                | Phase::Dropped => {}
            }
        }
        let (tenant, run_id) = (&snapshot.tenant_id, snapshot.run_id);
        if !results.is_empty() {
            let mut found = store.load_results(tenant, run_id, &results).await?;
            for id in results {
                let result = found.remove(&id).ok_or_else(|| lost(&id))?;
                self.given.insert(id, Before::Result(result));
            }
        }
        for id in failures {
            let step = store.load_step(tenant, run_id, &id).await?;
            let error = step.and_then(|step| step.error).ok_or_else(|| lost(&id))?;
            self.given.insert(id, Before::Failed(error));
        }
        let known = |index: &usize| {
            let id = &snapshot.nodes[*index].node_id;
            Some((id.clone(), self.given.get(id)?.clone()))
        };
        Ok(nodes.iter().filter_map(known).collect())
    }

    /// What the conditions and the items of a node read: `{input, variables, results}`.
    pub async fn read_by<S: Boards>(
        &mut self,
        store: &S,
        snapshot: &Snapshot,
        board: &Board,
        node: usize,
    ) -> StoreResult<Value> {
        let own = &snapshot.nodes[node];
        let names = own.directives.reads();
        let is_read = |index: &usize| names.contains(snapshot.nodes[*index].node_id.as_str());
        let read = (0..snapshot.nodes.len()).filter(is_read).collect::<Vec<_>>();
        let given = self.given(store, snapshot, board, read).await?;
        let mut results = Map::new();
        for (id, before) in given {
            let value = match before {
                Before::Result(text) => parsed(&id, &text)?,
                Before::Failed(_) => Value::Null,
            };
            results.insert(id.as_str().to_owned(), value);
        }
        if let Some(last) = self.last.get(&own.node_id) {
            results.insert(own.node_id.as_str().to_owned(), parsed(&own.node_id, last)?);
        }
        let mut facts = Map::from_iter([("results".to_owned(), Value::Object(results))]);
        if let Some(input) = &snapshot.input {
            let input = serde_json::from_str(input.get());
            facts.insert("input".to_owned(), input.map_err(|error| corrupt("read a run's input", error))?);
        }
        facts.insert("variables".to_owned(), self.variables(store, snapshot).await?);
        Ok(Value::Object(facts))
    }

    /// The variables of the run's request. One that was recorded before requests were kept has none.
    async fn variables<S: Boards>(&mut self, store: &S, snapshot: &Snapshot) -> StoreResult<Value> {
        if let Some(variables) = &self.variables {
            return Ok(variables.clone());
        }
        let loaded = store.load_with(&snapshot.tenant_id, snapshot.run_id, &[Part::Request]).await?;
        let request = loaded.and_then(|loaded| loaded.request).unwrap_or_else(|| "{}".to_owned());
        let request: RequestParts<'_> =
            serde_json::from_str(&request).map_err(|error| corrupt("read a run's request", error))?;
        let variables = request.variables.into_owned();
        // Of one name in both, the caller's is the later word.
        let all = variables.variables.into_iter().chain(variables.runtime_variables);
        let variables = Value::Object(all.collect());
        self.variables = Some(variables.clone());
        Ok(variables)
    }

    /// The items of a fan-out; `None` when what it names is no list.
    pub async fn items<S: Boards>(
        &mut self,
        store: &S,
        snapshot: &Snapshot,
        board: &Board,
        node: usize,
    ) -> StoreResult<Option<&[Value]>> {
        if !self.items.contains_key(&node) {
            let items = match snapshot.nodes[node].directives.for_each.as_ref().map(|for_each| &for_each.items) {
                Some(Items::List(list)) => Some(list.clone()),
                Some(items @ Items::Pointer(_)) => {
                    let facts = self.read_by(store, snapshot, board, node).await?;
                    items.read(&facts).map(<[Value]>::to_vec)
                }
                None => None,
            };
            self.items.insert(node, items);
        }
        Ok(self.items.get(&node).and_then(Option::as_deref))
    }
}

fn parsed(id: &NodeId, text: &str) -> StoreResult<Value> {
    serde_json::from_str(text).map_err(|error| corrupt("read a result", format!("of node {id}: {error}")))
}

fn lost(id: &NodeId) -> StoreError {
    corrupt("read a result", format!("node {id} has ended, and nothing is known of what it gave"))
}

pub(super) fn corrupt(
    operation: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::new(operation, StoreErrorClass::Corrupt, source)
}

/// A failure that the runner itself makes of a node.
pub(super) fn own_error(code: &str, message: String) -> RunError {
    RunError { code: format!("Sluice.{code}"), message }
}
