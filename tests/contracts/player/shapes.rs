//! The shapes of workflows: what is simple, and what the published descriptions of scientific workflows say of theirs
//! (Bharathi et al., "Characterization of Scientific Workflows", 2008; Juve et al., "Characterizing and profiling scientific
//! workflows", 2013; the SoyKB pipeline of Pegasus). Only who waits for whom, and which tasks are long.

/// Who waits for whom, and how many seconds each takes.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub name: String,
    pub seconds: Vec<f64>,
    pub edges: Vec<(usize, usize)>,
}

/// Small, and the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }

    /// Around so many seconds: from half to one and a half times as many.
    fn around(&mut self, seconds: f64) -> f64 {
        seconds * (0.5 + self.roll(1_000) as f64 / 1_000.0)
    }
}

struct Draft<'a> {
    shape: Shape,
    dice: &'a mut Dice,
}

impl<'a> Draft<'a> {
    fn new(name: String, dice: &'a mut Dice) -> Self {
        Self { shape: Shape { name, ..Shape::default() }, dice }
    }

    /// A node of about so many seconds after others.
    fn node(&mut self, seconds: f64, after: &[usize]) -> usize {
        let node = self.shape.seconds.len();
        self.shape.seconds.push(self.dice.around(seconds));
        self.shape.edges.extend(after.iter().map(|&before| (before, node)));
        node
    }

    fn nodes(&mut self, count: usize, seconds: f64, after: &[usize]) -> Vec<usize> {
        (0..count).map(|_| self.node(seconds, after)).collect()
    }

    fn each(&mut self, seconds: f64, before: &[usize]) -> Vec<usize> {
        before.iter().map(|&one| self.node(seconds, &[one])).collect()
    }
}

fn chain(size: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("chain of {size}"), dice);
    let mut last = draft.node(20.0, &[]);
    for _ in 1..size {
        last = draft.node(20.0, &[last]);
    }
    draft.shape
}

/// The complaint: a chain of short ones beside a long one, joined.
fn chain_beside_one(size: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("chain of {size} beside one"), dice);
    let long = draft.node(20.0 * size as f64, &[]);
    let mut last = draft.node(20.0, &[]);
    for _ in 1..size {
        last = draft.node(20.0, &[last]);
    }
    draft.node(10.0, &[long, last]);
    draft.shape
}

fn diamonds(size: usize, width: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("{size} diamonds of {width}"), dice);
    let mut last = draft.node(10.0, &[]);
    for _ in 0..size {
        let between = draft.nodes(width, 60.0, &[last]);
        last = draft.node(10.0, &between);
    }
    draft.shape
}

fn ladder(size: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("ladder of {size}"), dice);
    let (mut left, mut right) = (draft.node(30.0, &[]), draft.node(30.0, &[]));
    for _ in 1..size {
        let next = draft.node(30.0, &[left]);
        right = draft.node(30.0, &[right, left]);
        left = next;
    }
    draft.shape
}

fn forest(trees: usize, size: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("forest of {trees}"), dice);
    for _ in 0..trees {
        let mut tree = vec![draft.node(40.0, &[])];
        for _ in 1..size {
            let parent = tree[draft.dice.roll(tree.len())];
            tree.push(draft.node(40.0, &[parent]));
        }
    }
    draft.shape
}

/// Images are projected, neighbours compared, one background model fitted, every image corrected, all added up.
fn montage(images: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("Montage of {images}"), dice);
    let projected = draft.nodes(images, 13.0, &[]);
    let mut compared: Vec<usize> =
        (1..images).map(|at| draft.node(10.0, &[projected[at - 1], projected[at]])).collect();
    let rows = (2..images).step_by(3).map(|at| draft.node(10.0, &[projected[at - 2], projected[at]]));
    compared.extend(rows.collect::<Vec<_>>());
    let concatenated = draft.node(40.0, &compared);
    let modelled = draft.node(80.0, &[concatenated]);
    let corrected: Vec<usize> = projected.iter().map(|&image| draft.node(10.0, &[image, modelled])).collect();
    let table = draft.node(10.0, &corrected);
    let added = draft.node(60.0, &[table]);
    let shrunk = draft.node(20.0, &[added]);
    draft.node(10.0, &[shrunk]);
    draft.shape
}

/// Sequences are split, each part goes through four steps, the parts are merged, indexed and piled up.
fn epigenomics(lanes: usize, parts: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("Epigenomics of {lanes} x {parts}"), dice);
    let mut merged = Vec::new();
    for _ in 0..lanes {
        let split = draft.node(35.0, &[]);
        let filtered = draft.nodes(parts, 25.0, &[split]);
        let converted = draft.each(10.0, &filtered);
        let packed = draft.each(14.0, &converted);
        let mapped = draft.each(200.0, &packed);
        merged.push(draft.node(11.0, &mapped));
    }
    let all = draft.node(11.0, &merged);
    let indexed = draft.node(43.0, &[all]);
    draft.node(55.0, &[indexed]);
    draft.shape
}

/// Of each rupture a tensor is extracted, seismograms are made of it, and of each its peak; all of both are packed.
fn cybershake(ruptures: usize, variations: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("CyberShake of {ruptures} x {variations}"), dice);
    let (mut seismograms, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..ruptures {
        let extracted = draft.node(110.0, &[]);
        let made = draft.nodes(variations, 48.0, &[extracted]);
        peaks.extend(draft.each(10.0, &made));
        seismograms.extend(made);
    }
    draft.node(40.0, &seismograms);
    draft.node(40.0, &peaks);
    draft.shape
}

/// Templates, a first search, coincidences, triggers, a second search, coincidences again; by groups.
fn inspiral(groups: usize, size: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("Inspiral of {groups} x {size}"), dice);
    for _ in 0..groups {
        let templates = draft.nodes(size, 18.0, &[]);
        let searched = draft.each(460.0, &templates);
        let coincident = draft.node(10.0, &searched);
        let triggers = draft.nodes(size, 10.0, &[coincident]);
        let again = draft.each(220.0, &triggers);
        draft.node(10.0, &again);
    }
    draft.shape
}

/// Each sample is aligned, cleaned and realigned, its haplotypes called by chromosome; genotypes are joined by chromosome,
/// combined, and selected and filtered twice.
fn soykb(samples: usize, chromosomes: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("SoyKB of {samples} x {chromosomes}"), dice);
    let mut called = vec![Vec::new(); chromosomes];
    let mut merged = Vec::new();
    for _ in 0..samples {
        let mut last = draft.node(120.0, &[]);
        for seconds in [30.0, 40.0, 30.0, 60.0, 90.0] {
            last = draft.node(seconds, &[last]);
        }
        let haplotypes = draft.nodes(chromosomes, 150.0, &[last]);
        for (of, haplotype) in called.iter_mut().zip(&haplotypes) {
            of.push(*haplotype);
        }
        merged.push(draft.node(20.0, &haplotypes));
    }
    let genotypes: Vec<usize> = called.iter().map(|of| draft.node(60.0, of)).collect();
    let combined = draft.node(30.0, &genotypes);
    for _ in 0..2 {
        let selected = draft.node(15.0, &[combined]);
        draft.node(15.0, &[selected]);
    }
    draft.node(20.0, &merged);
    draft.shape
}

/// Searches of every kind, of which some wait for others, and one annotation of all.
fn sipht(searches: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("SIPHT of {searches}"), dice);
    let patterns = draft.nodes(searches, 20.0, &[]);
    let concatenated = draft.node(10.0, &patterns);
    let found: Vec<usize> = [60.0, 400.0, 30.0, 900.0].iter().map(|&seconds| draft.node(seconds, &[])).collect();
    let predicted = draft.node(80.0, &found);
    let blasted = draft.nodes(6, 50.0, &[predicted]);
    let together = [&blasted[..], &[concatenated, predicted]].concat();
    draft.node(20.0, &together);
    draft.shape
}

fn random(nodes: usize, dice: &mut Dice) -> Shape {
    let mut draft = Draft::new(format!("random of {nodes}"), dice);
    for node in 0..nodes {
        let many = draft.dice.roll(3).min(node);
        let mut after: Vec<usize> = (0..many).map(|_| node - 1 - draft.dice.roll(node.min(12))).collect();
        after.sort_unstable();
        after.dedup();
        draft.node(60.0, &after);
    }
    draft.shape
}

/// All of them, in several sizes, each with times of its own.
pub fn all() -> Vec<Shape> {
    let mut dice = Dice(20_261_127);
    let dice = &mut dice;
    let mut shapes = Vec::new();
    for round in 0..17 {
        shapes.extend([
            chain(5 + round, dice),
            chain_beside_one(2 + round, dice),
            diamonds(1 + round % 4, 2 + round, dice),
            ladder(4 + round, dice),
            forest(1 + round % 5, 6, dice),
            montage(4 + round, dice),
            epigenomics(1 + round % 3, 3 + round / 2, dice),
            cybershake(1 + round % 4, 3 + round % 6, dice),
            inspiral(1 + round % 3, 2 + round % 6, dice),
            soykb(2 + round % 3, 2 + round % 5, dice),
            sipht(4 + round, dice),
            random(10 + round * 2, dice),
        ]);
    }
    shapes
}
