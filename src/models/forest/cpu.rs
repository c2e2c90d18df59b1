//! The forest on the CPU: lanes that draw alike grow their trees together, trees are spread over threads.
//!
//! What a group keeps is the sum of its trees' predictions of the rows to score, not the trees; those of a lane that is
//! read back are grown again, whole.

use super::ForestLanes;
use super::counts::Counts;
use super::fold::{Binned, ForestFold};
use super::grow::{Grower, Sink};
use super::hash::Hash;
use super::impurity;
use super::plant::{Outcome, Plant};
use super::recipe::{Criterion, Draws, ForestParams, Limits, tree_key};
use super::search::{Search, Tally};
use super::sums::Sums;
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress, RowBlock};
use crate::backend::{Weights, state};
use crate::base::random::Key;
use crate::data::Fold;
use crate::models::trees::bins::FeatureBins;
use crate::models::trees::tree::{Split, Trees};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Up to sixteen candidates on one fold.
pub struct Group {
    lanes: Vec<Candidate>,
}

/// A lane on its way.
#[derive(Clone)]
struct Candidate {
    params: ForestParams,
    /// Trees grown.
    trees: u32,
    /// `[rows to score, outputs]`: what its trees say, summed in their order.
    sums: Vec<f32>,
}

/// Bytes that trees may keep of what they say before it is summed.
const HELD_BYTES: usize = 16 << 20;
/// Trees that are grown between two sums at most; threads take their scratch memory anew for each such stretch.
const MOST_HELD: usize = 64;

/// Bytes that a tree keeps of what it says, and how many trees are grown between two sums. A leaf of each row at most.
fn held(rows: usize, lanes: usize, outputs: usize) -> (usize, usize) {
    let bytes = 4 * rows.max(1) * (lanes + outputs);
    (bytes, (HELD_BYTES / bytes).clamp(1, MOST_HELD))
}

/// What one tree says of the rows to score.
struct Said {
    /// `[leaves, outputs]`
    values: Vec<f32>,
    /// `[lanes, rows to score]`: the leaf of each.
    leaves: Vec<u32>,
}

/// Keeps leaves' values for the rows to score.
struct Scores {
    said: Said,
    outcome: Outcome,
    rows: usize,
}

impl Sink for Scores {
    fn is_whole(&self) -> bool {
        false
    }

    fn root(&mut self) -> u32 {
        0
    }

    fn split(&mut self, _: u32, _: &Split, _: &FeatureBins, _: [&[u32]; 2]) -> u32 {
        0
    }

    fn leaf(&mut self, _: u32, lanes: u32, totals: &[u32], scored: &[u32]) {
        let leaf = (self.said.values.len() / self.outcome.outputs()) as u32;
        self.outcome.push(totals, &mut self.said.values);
        for lane in (0..LANES).filter(|lane| lanes >> lane & 1 == 1) {
            let leaves = &mut self.said.leaves[lane * self.rows..][..self.rows];
            scored.iter().for_each(|row| leaves[*row as usize] = leaf);
        }
    }
}

/// Keeps the tree, and hashes it.
struct Whole {
    trees: Trees,
    hash: Hash,
    outcome: Outcome,
    criterion: Criterion,
    values: Vec<f32>,
}

impl Sink for Whole {
    fn is_whole(&self) -> bool {
        true
    }

    fn root(&mut self) -> u32 {
        self.trees.grow()
    }

    fn split(&mut self, node: u32, split: &Split, bins: &FeatureBins, sides: [&[u32]; 2]) -> u32 {
        self.hash.split(split);
        let gain = impurity::decrease(self.outcome, self.criterion, sides);
        self.trees.split(node, split, bins, gain)
    }

    fn leaf(&mut self, node: u32, _: u32, totals: &[u32], _: &[u32]) {
        self.hash.leaf(self.outcome, totals);
        self.values.clear();
        self.outcome.push(totals, &mut self.values);
        self.trees.leaf(node, self.values.iter().copied());
    }
}

/// One tree, compiled for an instruction set.
struct GrowTree<'a, 'b, T> {
    grower: &'a mut Grower<'b, T>,
    key: Key,
    lanes: u32,
    limits: &'a [Limits],
    sink: &'a mut dyn Sink,
}

impl<T: Tally> Kernel for GrowTree<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        self.grower.grow(self.key, self.lanes, self.limits, self.sink);
    }
}

/// What the trees of lanes that draw alike are grown from.
struct Nursery<'a> {
    level: Level,
    key: Key,
    draws: Draws,
    features: &'a [FeatureBins],
    train: Vec<&'a [u8]>,
    scored: Vec<&'a [u8]>,
    rows_to_score: usize,
    plant: Plant,
    limits: Vec<Limits>,
}

impl<'a> Nursery<'a> {
    fn new(level: Level, fold: &ForestFold, binned: &'a Binned, draws: Draws, limits: Vec<Limits>) -> Nursery<'a> {
        Nursery {
            level,
            key: fold.fold.key,
            draws,
            features: &binned.features,
            train: binned.train.columns(),
            scored: binned.scored.columns(),
            rows_to_score: binned.scored.rows,
            plant: Plant::new(&fold.fold.train, &draws),
            limits,
        }
    }

    /// Grows trees on all threads that have nothing else to do. `lanes` says which lanes want a tree; what becomes of it
    /// is in the trees' order.
    fn grow<S: Sink + Send>(
        &self,
        trees: Range<u32>,
        lanes: impl Fn(u32) -> u32 + Sync,
        sink: impl Fn() -> S + Sync,
    ) -> Vec<S> {
        match self.plant.outcome {
            Outcome::Numbers(_) => self.grow_by(trees, lanes, sink, Sums::new),
            Outcome::Classes(..=2) => self.grow_by(trees, lanes, sink, || self.counts::<2>()),
            Outcome::Classes(..=4) => self.grow_by(trees, lanes, sink, || self.counts::<4>()),
            Outcome::Classes(..=8) => self.grow_by(trees, lanes, sink, || self.counts::<8>()),
            Outcome::Classes(_) => self.grow_by(trees, lanes, sink, || self.counts::<16>()),
        }
    }

    fn counts<const C: usize>(&self) -> Counts<C> {
        Counts::new(self.plant.outcome.outputs(), self.draws.criterion)
    }

    fn grow_by<S: Sink + Send, T: Tally>(
        &self,
        trees: Range<u32>,
        lanes: impl Fn(u32) -> u32 + Sync,
        sink: impl Fn() -> S + Sync,
        tally: impl Fn() -> T + Sync,
    ) -> Vec<S> {
        let grower = || {
            let search = Search::new(self.features, &self.train, self.draws.kind, self.draws.features, tally());
            (Grower::new(search, &self.scored, self.rows_to_score), Vec::new())
        };
        let grow = |(grower, counts): &mut (Grower<'_, T>, Vec<u32>), tree: u32| {
            let (key, mut sink) = (tree_key(self.key, tree), sink());
            self.plant.samples(key, counts, grower.samples());
            let kernel = GrowTree { grower, key, lanes: lanes(tree), limits: &self.limits, sink: &mut sink };
            dispatch(self.level, kernel);
            sink
        };
        trees.into_par_iter().map_init(grower, grow).collect()
    }
}

/// Lanes of a group that draw alike: they are neighbours.
fn families<'a>(fold: &ForestFold, lanes: &'a mut [Candidate]) -> impl Iterator<Item = &'a mut [Candidate]> {
    lanes.chunk_by_mut(|a, b| fold.draws(&a.params) == fold.draws(&b.params))
}

/// Grows what lanes that draw alike lack of their first `goals` trees, and sums what the trees say.
fn advance(level: Level, fold: &ForestFold, lanes: &mut [Candidate], goals: &[u32]) {
    let (rows, outputs) = (fold.rows_to_score(), fold.outputs());
    let limits: Vec<Limits> = lanes.iter().map(|lane| lane.params.limits()).collect();
    let draws = fold.draws(&lanes[0].params);
    let first = lanes.iter().map(|lane| lane.trees).min().unwrap_or(0);
    let last = goals.iter().copied().max().unwrap_or(0);
    let (_, stretch) = held(rows, lanes.len(), outputs);
    fold.with_bins(draws.bins, |binned| {
        let nursery = Nursery::new(level, fold, binned, draws, limits);
        let outcome = nursery.plant.outcome;
        for first in (first..last).step_by(stretch) {
            let wants = |lane: usize, tree: u32| (lanes[lane].trees..goals[lane]).contains(&tree);
            let wanting = |tree| (0..lanes.len()).fold(0, |all, lane| all | u32::from(wants(lane, tree)) << lane);
            let sink =
                || Scores { said: Said { values: Vec::new(), leaves: vec![0; rows * lanes.len()] }, outcome, rows };
            let stretch = first..last.min(first + stretch as u32);
            let scores = nursery.grow(stretch.clone(), wanting, sink);
            for (tree, scores) in stretch.clone().zip(scores) {
                for (place, lane) in lanes.iter_mut().enumerate() {
                    if (lane.trees..goals[place]).contains(&tree) {
                        scores.said.add_to(place, &mut lane.sums, outputs);
                    }
                }
            }
            for (lane, goal) in lanes.iter_mut().zip(goals) {
                lane.trees = lane.trees.max(stretch.end.min(*goal));
            }
        }
    });
}

impl Said {
    /// Adds what the tree says of every row to a lane's sums.
    fn add_to(&self, lane: usize, sums: &mut [f32], outputs: usize) {
        let rows = sums.len() / outputs;
        let leaves = &self.leaves[lane * rows..][..rows];
        for (sums, leaf) in sums.chunks_exact_mut(outputs).zip(leaves) {
            let values = &self.values[*leaf as usize * outputs..][..outputs];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

impl LaneModel for ForestLanes {
    type Params = ForestParams;
    type Fold = ForestFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> ForestParams {
        ForestParams::read(&self.space, point)
    }

    fn scores_training_rows(&self) -> bool {
        false
    }

    fn key(&self, params: &ForestParams) -> GroupKey {
        let choices = params.kind as u32 | (params.criterion as u32) << 1 | u32::from(params.is_balanced) << 2;
        // Lanes that draw alike stand together; positive floats' bits are in their order.
        let [features, bootstrap] = [params.features, params.bootstrap].map(|share| (share as f32).to_bits());
        GroupKey {
            step: [choices, params.bins],
            likeness: [features, bootstrap, u32::MAX - params.min_leaf, params.depth],
        }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> ForestFold {
        ForestFold::new(fold.clone())
    }

    fn bytes(&self, fold: &ForestFold, lanes: &[ForestParams]) -> u64 {
        let (rows, classes) = (fold.fold.train.y.len(), fold.outputs());
        let sums = 4 * lanes.len() * fold.rows_to_score() * classes;
        // Samples twice and a bin's counts of each class, for every thread that helps.
        let scratch = 28 * rows + 1024 * classes.next_multiple_of(16);
        let (bytes, trees) = held(fold.rows_to_score(), lanes.len(), classes);
        (sums + bytes * trees + scratch) as u64
    }

    fn shared_bytes(&self, fold: &ForestFold, lanes: &[ForestParams]) -> u64 {
        let mut bins = fold.binned.made();
        bins.extend(lanes.iter().map(|lane| lane.bins as usize));
        bins.sort_unstable();
        bins.dedup();
        let rows = fold.fold.train.y.len() + fold.rows_to_score();
        (bins.len() * rows * fold.fold.train.x.ncols()) as u64
    }

    /// The fold's bins; a piece is known by how many a feature has at most.
    fn missing_pieces(&self, fold: &ForestFold, lanes: &[ForestParams]) -> Vec<usize> {
        let made = fold.binned.made();
        let mut bins: Vec<usize> = lanes.iter().map(|lane| lane.bins as usize).collect();
        bins.sort_unstable();
        bins.dedup();
        bins.retain(|bins| !made.contains(bins));
        bins
    }

    fn do_piece(&self, _: Level, fold: &ForestFold, piece: usize) {
        fold.with_bins(piece as u32, |_| {});
    }

    fn duration(&self, fold: &ForestFold, lanes: &[ForestParams]) -> u64 {
        let rows = fold.fold.train.y.len() as u64;
        let of = |lane: &ForestParams| {
            let draws = fold.draws(lane);
            let rows = if draws.rows > 0 { u64::from(draws.rows) } else { rows };
            u64::from(lane.trees) * u64::from(draws.features) * u64::from(lane.depth.min(24)) * rows
        };
        lanes.iter().map(of).sum()
    }

    fn start(&self, fold: &ForestFold, lanes: &[ForestParams]) -> Group {
        let sums = vec![0.0; fold.rows_to_score() * fold.outputs()];
        Group {
            lanes: lanes.iter().map(|params| Candidate { params: *params, trees: 0, sums: sums.clone() }).collect(),
        }
    }

    fn gather(&self, _: &ForestFold, lanes: &[(&Group, usize)]) -> Group {
        Group { lanes: lanes.iter().map(|(group, lane)| group.lanes[*lane].clone()).collect() }
    }

    fn freeze(&self, _: &ForestFold, group: &Group, lane: usize) -> Option<Vec<u8>> {
        let lane = group.lanes.get(lane)?;
        state::encode(&(lane.trees, &lane.sums))
    }

    fn thaw(&self, fold: &ForestFold, params: &ForestParams, state: &[u8]) -> Option<Group> {
        let (trees, sums): (u32, Vec<f32>) = state::decode(state)?;
        let is_fit = sums.len() == fold.rows_to_score() * fold.outputs() && trees <= params.trees;
        is_fit.then(|| Group { lanes: vec![Candidate { params: *params, trees, sums }] })
    }

    fn advance(&self, level: Level, fold: &ForestFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        let goal = |lane: &Candidate| u64::from(lane.params.trees).min(budget) as u32;
        for family in families(fold, &mut group.lanes) {
            let goals: Vec<u32> = family.iter().map(goal).collect();
            match fold.rows_to_score() {
                0 => family.iter_mut().zip(goals).for_each(|(lane, goal)| lane.trees = lane.trees.max(goal)),
                _ => advance(level, fold, family, &goals),
            }
        }
        let progress = |lane: &Candidate| LaneProgress { used: u64::from(lane.trees), is_capped: false };
        group.lanes.iter().map(progress).collect()
    }

    fn predict(&self, _: Level, fold: &ForestFold, group: &mut Group, rows: RowBlock<'_>, out: &mut [Lanes]) {
        let outputs = fold.outputs();
        let first = (fold.firsts[rows.set - 1] + rows.first) * outputs;
        for (place, lane) in group.lanes.iter().enumerate() {
            let trees = lane.trees as f32;
            for (out, sum) in out.iter_mut().zip(&lane.sums[first..]) {
                out.0[place] = sum / trees;
            }
        }
    }

    fn read_back(&self, fold: &ForestFold, group: &Group, lane: usize) -> Weights {
        let lane = &group.lanes[lane];
        let draws = fold.draws(&lane.params);
        grow_whole(self.level, self.threads, fold, draws, lane.params.limits(), lane.trees).0.to_weights()
    }
}

/// The first trees of a lane, whole, and the hash of them all.
pub fn grow_whole(
    level: Level,
    threads: usize,
    fold: &ForestFold,
    draws: Draws,
    limits: Limits,
    trees: u32,
) -> (Trees, Hash) {
    fold.with_bins(draws.bins, |binned| {
        let mut nursery = Nursery::new(level, fold, binned, draws, vec![limits]);
        nursery.rows_to_score = 0;
        let (outcome, criterion, outputs) = (nursery.plant.outcome, draws.criterion, fold.outputs());
        let sink = || {
            let (trees, hash) = (Trees::new(outputs), Hash::default());
            Whole { trees, hash, outcome, criterion, values: Vec::new() }
        };
        let grow = || nursery.grow(0..trees, |_| 1, sink);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let (mut all, mut hash) = (Trees::new(outputs), Hash::default());
        for whole in pool.map_or_else(|_| grow(), |pool| pool.install(grow)) {
            all.append(&whole.trees);
            hash.add(whole.hash.0);
        }
        (all, hash)
    })
}
