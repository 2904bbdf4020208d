//! The order among the nodes of a version, by their indexes: who waits for whom, who comes before whom, and how many can
//! run at once.

use std::collections::{BTreeSet, VecDeque};

/// A graph without circles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    dependencies: Vec<Vec<usize>>,
    followers: Vec<Vec<usize>>,
    order: Vec<usize>,
}

impl Graph {
    /// The graph of so many nodes and these edges, each `(from, to)`. `None` when an edge leads nowhere or the edges form a
    /// circle. An edge that stands twice counts once.
    pub fn new(nodes: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Option<Self> {
        let (mut dependencies, mut followers) = (vec![Vec::new(); nodes], vec![Vec::new(); nodes]);
        for (from, to) in edges.into_iter().collect::<BTreeSet<_>>() {
            followers.get_mut(from)?.push(to);
            dependencies.get_mut(to)?.push(from);
        }
        let mut waits_for: Vec<usize> = dependencies.iter().map(Vec::len).collect();
        let mut order: Vec<usize> = (0..nodes).filter(|&node| waits_for[node] == 0).collect();
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            next += 1;
            for &follower in &followers[node] {
                waits_for[follower] -= 1;
                if waits_for[follower] == 0 {
                    order.push(follower);
                }
            }
        }
        (order.len() == nodes).then_some(Self { dependencies, followers, order })
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The nodes that a node waits for.
    pub fn dependencies(&self, node: usize) -> &[usize] {
        &self.dependencies[node]
    }

    /// The nodes that wait for a node.
    pub fn followers(&self, node: usize) -> &[usize] {
        &self.followers[node]
    }

    /// All nodes, each after those it waits for.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Of each node the edges on the longest way from it.
    pub fn heights(&self) -> Vec<u32> {
        let mut heights = vec![0; self.len()];
        for &node in self.order.iter().rev() {
            heights[node] = self.followers[node].iter().map(|&follower| heights[follower] + 1).max().unwrap_or(0);
        }
        heights
    }

    /// Of each node the edges on the longest way to it: its stage, for drawing.
    pub fn depths(&self) -> Vec<u32> {
        let mut depths = vec![0; self.len()];
        for &node in &self.order {
            depths[node] = self.dependencies[node].iter().map(|&before| depths[before] + 1).max().unwrap_or(0);
        }
        depths
    }

    /// Which nodes come before which.
    pub fn closure(&self) -> Closure {
        let words = self.len().div_ceil(64);
        let mut after = vec![vec![0_u64; words]; self.len()];
        for &node in self.order.iter().rev() {
            let mut all = std::mem::take(&mut after[node]);
            for &follower in &self.followers[node] {
                all[follower / 64] |= 1 << (follower % 64);
                for (word, more) in all.iter_mut().zip(&after[follower]) {
                    *word |= more;
                }
            }
            after[node] = all;
        }
        Closure(after)
    }

    /// The most that can be at work at once, where each node at work takes as many as `weights` says, up to `enough`: the
    /// heaviest set of nodes of which none comes before another (Dilworth's theorem: all of them, less a largest flow
    /// between those that do).
    pub fn width(&self, weights: &[u32], enough: u32) -> u32 {
        let depths = self.depths();
        let stages = depths.iter().max().map_or(0, |depth| *depth as usize + 1);
        let mut by_stage = vec![0_u32; stages];
        for (depth, weight) in depths.iter().zip(weights) {
            by_stage[*depth as usize] = by_stage[*depth as usize].saturating_add(*weight);
        }
        // No node of a stage comes before another.
        if by_stage.iter().any(|&weight| weight >= enough) {
            return enough;
        }
        let all: u32 = weights.iter().sum();
        (all - Flow::new(self, weights).largest()).min(enough)
    }
}

/// Which nodes come before which.
#[derive(Clone, Debug)]
pub struct Closure(Vec<Vec<u64>>);

impl Closure {
    /// Whether a way leads from one node to another.
    pub fn leads(&self, from: usize, to: usize) -> bool {
        self.0[from][to / 64] & (1 << (to % 64)) != 0
    }

    /// The nodes that come after a node.
    pub fn after(&self, node: usize) -> impl Iterator<Item = usize> {
        let bits = |(index, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| index * 64 + bit)
        };
        self.0[node].iter().enumerate().flat_map(bits)
    }
}

/// A flow from nodes to nodes that come after them; of each node as much flows out, and in, as it weighs.
struct Flow {
    after: Vec<Vec<usize>>,
    out_left: Vec<u32>,
    in_left: Vec<u32>,
    /// By the node that it flows into: from where, and how much.
    into: Vec<Vec<(usize, u32)>>,
    total: u32,
}

impl Flow {
    fn new(graph: &Graph, weights: &[u32]) -> Self {
        let closure = graph.closure();
        let after = (0..graph.len()).map(|node| closure.after(node).filter(|&to| weights[to] > 0).collect()).collect();
        Self {
            after,
            out_left: weights.to_vec(),
            in_left: weights.to_vec(),
            into: vec![Vec::new(); graph.len()],
            total: 0,
        }
    }

    fn largest(mut self) -> u32 {
        while let Some((source, way)) = self.way() {
            self.push(source, &way);
        }
        self.total
    }

    /// The shortest way on which more can flow (Edmonds and Karp): a node with something left, and the nodes that it goes
    /// into, the last one with room; between two of them it takes the place of what another node sent into the first.
    fn way(&self) -> Option<(usize, Vec<(usize, usize)>)> {
        // By node that it goes into: the node it comes from, and by which node that one was reached.
        let mut reached: Vec<Option<usize>> = vec![None; self.after.len()];
        let mut came_by: Vec<Option<usize>> = vec![None; self.after.len()];
        let mut seen: Vec<bool> = self.out_left.iter().map(|&left| left > 0).collect();
        let mut open: VecDeque<usize> = (0..seen.len()).filter(|&node| seen[node]).collect();
        while let Some(from) = open.pop_front() {
            for &to in &self.after[from] {
                if reached[to].is_some() {
                    continue;
                }
                reached[to] = Some(from);
                if self.in_left[to] > 0 {
                    return Some(Self::walked_back(to, &reached, &came_by));
                }
                for &(other, amount) in &self.into[to] {
                    if amount > 0 && !seen[other] {
                        seen[other] = true;
                        came_by[other] = Some(to);
                        open.push_back(other);
                    }
                }
            }
        }
        None
    }

    /// The edges `(from, into)` from the source to `last`.
    fn walked_back(last: usize, reached: &[Option<usize>], came_by: &[Option<usize>]) -> (usize, Vec<(usize, usize)>) {
        let (mut way, mut into) = (Vec::new(), last);
        loop {
            let Some(from) = reached[into] else { return (last, way) };
            way.push((from, into));
            match came_by[from] {
                Some(before) => into = before,
                None => {
                    way.reverse();
                    return (from, way);
                }
            }
        }
    }

    fn push(&mut self, source: usize, way: &[(usize, usize)]) {
        let sent = |flow: &Self, from: usize, into: usize| {
            flow.into[into].iter().find(|(other, _)| *other == from).map_or(0, |(_, amount)| *amount)
        };
        let last = way.last().map_or(source, |(_, into)| *into);
        // What the next node of the way sends into this one makes room for what comes now.
        let displaced = way.windows(2).map(|pair| sent(self, pair[1].0, pair[0].1));
        let amount = displaced.chain([self.out_left[source], self.in_left[last]]).min().unwrap_or(0);
        for (index, &(from, into)) in way.iter().enumerate() {
            match self.into[into].iter_mut().find(|(other, _)| *other == from) {
                Some((_, flows)) => *flows += amount,
                None => self.into[into].push((from, amount)),
            }
            if let Some(&(next, _)) = way.get(index + 1)
                && let Some((_, flows)) = self.into[into].iter_mut().find(|(other, _)| *other == next)
            {
                *flows -= amount;
            }
        }
        self.out_left[source] -= amount;
        self.in_left[last] -= amount;
        self.total += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A graph of some nodes: each edge leads from a smaller number to a larger one.
    fn any_graph(nodes: std::ops::Range<usize>) -> impl Strategy<Value = Graph> {
        nodes.prop_flat_map(|nodes| {
            let edges = prop::collection::vec((0..nodes.max(1), 0..nodes.max(1)), 0..nodes * 2 + 1);
            edges.prop_map(move |edges| {
                let edges = edges.into_iter().filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b)));
                Graph::new(nodes, edges).expect("no circle")
            })
        })
    }

    #[test]
    fn a_circle_and_an_edge_to_nowhere_are_no_graph() {
        assert!(Graph::new(3, [(0, 1), (1, 2), (2, 0)]).is_none());
        assert!(Graph::new(2, [(0, 0)]).is_none());
        assert!(Graph::new(2, [(0, 2)]).is_none());
        assert!(Graph::new(2, [(2, 0)]).is_none());
        assert!(Graph::new(0, []).is_some_and(|graph| graph.is_empty()));
    }

    #[test]
    fn the_width_of_shapes_that_are_known() {
        let chain = Graph::new(5, (1..5).map(|node| (node - 1, node))).expect("a chain");
        assert_eq!(chain.width(&[1; 5], 40), 1);
        assert_eq!(chain.width(&[1, 1, 7, 1, 0], 40), 7);
        let forest = Graph::new(60, []).expect("a forest");
        assert_eq!((forest.width(&[1; 60], 40), forest.width(&[1; 60], 100)), (40, 60));
        // Two ladders of rungs that no stage shows at once: 0 -> 1 -> 2 beside 3 -> 4, and 2 beside 3.
        let uneven = Graph::new(5, [(0, 1), (1, 2), (3, 4), (1, 4)]).expect("a graph");
        assert_eq!(uneven.width(&[1; 5], 40), 2);
        assert_eq!(uneven.width(&[1, 1, 5, 5, 1], 40), 10);
        assert_eq!(Graph::new(0, []).expect("nothing").width(&[], 40), 0);
    }

    #[test]
    fn the_largest_version_is_measured_at_once() {
        let ladder = (0..499).map(|node| (node, node + 1)).chain((0..498).map(|node| (node, node + 2)));
        assert_eq!(Graph::new(500, ladder).expect("a ladder").width(&[39; 500], 40), 39);
        let layers = (0..500).flat_map(|node| ((node / 25 + 1) * 25..(node / 25 + 2) * 25).map(move |to| (node, to)));
        let layers = Graph::new(500, layers.filter(|(_, to)| *to < 500)).expect("layers");
        assert_eq!(layers.width(&[1; 500], 40), 25);
    }

    proptest! {
        #[test]
        fn the_width_is_the_heaviest_set_of_which_none_comes_before_another(
            graph in any_graph(0..10),
            weights in prop::collection::vec(0_u32..5, 10),
        ) {
            let weights = &weights[..graph.len()];
            let closure = graph.closure();
            let is_apart = |set: usize| {
                let within = |node: &usize| set & (1 << node) != 0;
                let nodes = || (0..graph.len()).filter(within);
                nodes().all(|a| nodes().all(|b| !closure.leads(a, b)))
            };
            let weight = |set: usize| (0..graph.len()).filter(|node| set & (1 << node) != 0).map(|node| weights[node]).sum();
            let heaviest: u32 = (0..1 << graph.len()).filter(|set| is_apart(*set)).map(weight).max().unwrap_or(0);
            prop_assert_eq!(graph.width(weights, u32::MAX), heaviest);
            prop_assert_eq!(graph.width(weights, 3), heaviest.min(3));
        }

        #[test]
        fn what_comes_before_is_what_a_way_leads_from(graph in any_graph(0..30)) {
            let closure = graph.closure();
            let mut places = vec![0; graph.len()];
            for (place, node) in graph.order().iter().enumerate() {
                places[*node] = place;
            }
            for from in 0..graph.len() {
                let mut reached = BTreeSet::new();
                let mut open = vec![from];
                while let Some(node) = open.pop() {
                    open.extend(graph.followers(node).iter().filter(|follower| reached.insert(**follower)));
                }
                prop_assert_eq!(closure.after(from).collect::<BTreeSet<_>>(), reached.clone());
                prop_assert!(reached.iter().all(|to| closure.leads(from, *to) && places[from] < places[*to]));
                prop_assert!(!closure.leads(from, from));
            }
            let (heights, depths) = (graph.heights(), graph.depths());
            for from in 0..graph.len() {
                for &to in graph.followers(from) {
                    prop_assert!(heights[from] > heights[to] && depths[from] < depths[to]);
                    prop_assert!(graph.dependencies(to).contains(&from));
                }
            }
        }
    }
}
