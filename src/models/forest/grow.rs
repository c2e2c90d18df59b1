//! Growing one tree for several lanes at once: depth first, the left child before the right.
//!
//! Lanes that draw alike differ only in how deep they go and in how many rows a leaf must have. At a node they part
//! where one ends and the other does not, or where the best split leaves too few rows for one; a node that several reach
//! is searched once. The rows to score walk along, and a part of the tree that none of them reaches is not grown, unless
//! the tree itself is wanted.

use super::recipe::{Limits, ROOT};
use super::search::{Sample, Search, Tally};
use crate::base::random::Key;
use crate::models::trees::bins::FeatureBins;
use crate::models::trees::tree::{Split, contains};

/// What becomes of a tree while it grows.
pub trait Sink {
    /// Whether nodes that no row to score reaches are wanted too.
    fn is_whole(&self) -> bool;
    /// The name of the root.
    fn root(&mut self) -> u32;
    /// A node is a split of the feature that `bins` bins, with the totals of both its sides; gives the name of its left
    /// child, the right one's is the next.
    fn split(&mut self, node: u32, split: &Split, bins: &FeatureBins, sides: [&[u32]; 2]) -> u32;
    /// A node is a leaf of some lanes, a bit each; `scored` are the rows to score that it has.
    fn leaf(&mut self, node: u32, lanes: u32, totals: &[u32], scored: &[u32]);
}

/// A node that waits to be split.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its parent's key, and the child of it that is its own.
    parent: Key,
    side: u32,
    node: u32,
    depth: u32,
    /// A bit for each lane that has the node.
    lanes: u32,
    /// Where its rows begin and end.
    samples: [usize; 2],
    /// Where its rows to score do.
    scored: [usize; 2],
}

/// Grows trees on one fold, one after the other, in the same memory.
pub struct Grower<'a, T> {
    search: Search<'a, T>,
    /// `[features, rows]` bins of the rows to score.
    scored_columns: &'a [&'a [u8]],
    samples: Vec<Sample>,
    spare_samples: Vec<Sample>,
    scored: Vec<u32>,
    spare_scored: Vec<u32>,
    open: Vec<Open>,
    /// Totals of each open node, and a bit for each feature that is known not to vary there.
    totals: Vec<u32>,
    constants: Vec<u64>,
    /// The same of the node at hand.
    here: Vec<u32>,
    constants_here: Vec<u64>,
    right: Vec<u32>,
}

impl<'a, T: Tally> Grower<'a, T> {
    /// A grower over a fold's features.
    pub fn new(search: Search<'a, T>, scored_columns: &'a [&'a [u8]], rows_to_score: usize) -> Grower<'a, T> {
        let (width, words) = (search.tally.width(), scored_columns.len().div_ceil(64));
        Grower {
            search,
            scored_columns,
            samples: Vec::new(),
            spare_samples: Vec::new(),
            scored: vec![0; rows_to_score],
            spare_scored: vec![0; rows_to_score],
            open: Vec::new(),
            totals: Vec::new(),
            constants: Vec::new(),
            here: vec![0; width],
            constants_here: vec![0; words],
            right: vec![0; width],
        }
    }

    /// The rows of the next tree, to be filled.
    pub fn samples(&mut self) -> &mut Vec<Sample> {
        &mut self.samples
    }

    /// Grows the tree of the rows for some of the lanes that `limits` has; `key` is the tree's.
    #[inline(always)]
    pub fn grow(&mut self, key: Key, lanes: u32, limits: &[Limits], sink: &mut dyn Sink) {
        self.spare_samples.clone_from(&self.samples);
        self.scored.iter_mut().zip(0..).for_each(|(row, index)| *row = index);
        self.search.tally.total(&self.samples, &mut self.here);
        self.constants_here.fill(0);
        let root = Open {
            parent: key,
            side: ROOT,
            node: sink.root(),
            depth: 0,
            lanes,
            samples: [0, self.samples.len()],
            scored: [0, self.scored.len()],
        };
        let mut next = Some(root);
        while let Some(open) = next {
            self.step(open, limits, sink);
            next = self.open.pop();
            if next.is_some() {
                let (totals, constants) =
                    (self.totals.len() - self.here.len(), self.constants.len() - self.constants_here.len());
                self.here.copy_from_slice(&self.totals[totals..]);
                self.constants_here.copy_from_slice(&self.constants[constants..]);
                self.totals.truncate(totals);
                self.constants.truncate(constants);
            }
        }
    }

    /// Splits the node at hand, or makes a leaf of it.
    #[inline(always)]
    fn step(&mut self, open: Open, limits: &[Limits], sink: &mut dyn Sink) {
        let [first, last] = open.samples;
        let samples = &self.samples[first..last];
        let scored = &self.scored[open.scored[0]..open.scored[1]];
        let is_over = samples.len() < 2 || self.search.tally.is_uniform(samples, &self.here);
        let (mut ended, mut min_leaf) = (0, u32::MAX);
        for (lane, limits) in lanes_of(open.lanes, limits) {
            if is_over || open.depth >= limits.depth || samples.len() < 2 * limits.min_leaf as usize {
                ended |= 1 << lane;
            } else {
                min_leaf = min_leaf.min(limits.min_leaf);
            }
        }
        let going = open.lanes & !ended;
        if going == 0 {
            sink.leaf(open.node, open.lanes, &self.here, scored);
            return;
        }
        // A node that is not searched needs no key.
        let key = open.parent.child(open.side);
        let split = self.search.split(key, samples, &self.here, &mut self.constants_here, min_leaf);
        let Some(split) = split else {
            sink.leaf(open.node, open.lanes, &self.here, scored);
            return;
        };
        if ended != 0 {
            sink.leaf(open.node, ended, &self.here, scored);
        }
        let left_bins = split.left_bins(self.search.bins(split.feature));
        let column = self.search.column(split.feature);
        let goes_left = |sample: &Sample| contains(&left_bins, column[sample.row as usize]);
        let middle = first + part(&mut self.samples[first..last], &mut self.spare_samples, goes_left);
        let least = (middle - first).min(last - middle);
        let (mut taking, mut others) = (0, 0);
        for (lane, limits) in lanes_of(going, limits) {
            *(if limits.min_leaf as usize <= least { &mut taking } else { &mut others }) |= 1 << lane;
        }
        if others != 0 {
            self.push(Open { lanes: others, ..open });
        }
        let [first_scored, last_scored] = open.scored;
        let column = self.scored_columns[split.feature as usize];
        let goes_left = |row: &u32| contains(&left_bins, column[*row as usize]);
        let middle_scored =
            first_scored + part(&mut self.scored[first_scored..last_scored], &mut self.spare_scored, goes_left);
        self.search.tally.right(&mut self.right);
        let sides = [self.search.tally.left(), &self.right];
        let left = sink.split(open.node, &split, self.search.bins(split.feature), sides);
        let child = |side: u32, samples: [usize; 2], scored: [usize; 2]| Open {
            parent: key,
            side,
            node: left + side,
            depth: open.depth + 1,
            lanes: taking,
            samples,
            scored,
        };
        if sink.is_whole() || middle_scored < last_scored {
            self.totals.extend_from_slice(&self.right);
            self.constants.extend_from_slice(&self.constants_here);
            self.open.push(child(1, [middle, last], [middle_scored, last_scored]));
        }
        if sink.is_whole() || first_scored < middle_scored {
            self.totals.extend_from_slice(self.search.tally.left());
            self.constants.extend_from_slice(&self.constants_here);
            self.open.push(child(0, [first, middle], [first_scored, middle_scored]));
        }
    }

    /// Lets the node at hand wait for another split.
    fn push(&mut self, open: Open) {
        self.totals.extend_from_slice(&self.here);
        self.constants.extend_from_slice(&self.constants_here);
        self.open.push(open);
    }
}

/// The lanes of a set, with their limits.
#[inline(always)]
fn lanes_of(lanes: u32, limits: &[Limits]) -> impl Iterator<Item = (usize, &Limits)> {
    limits.iter().enumerate().filter(move |(lane, _)| lanes >> lane & 1 == 1)
}

/// Moves what goes left to the front; both parts stay in their order. Gives the left part's length.
#[inline(always)]
fn part<I: Copy>(items: &mut [I], spare: &mut [I], goes_left: impl Fn(&I) -> bool) -> usize {
    let (mut left, mut right) = (0, 0);
    let spare = &mut spare[..items.len()];
    for place in 0..items.len() {
        let item = items[place];
        let is_left = goes_left(&item);
        // Both are written, and one of them counts: no branch.
        items[left] = item;
        spare[right] = item;
        left += usize::from(is_left);
        right += usize::from(!is_left);
    }
    items[left..].copy_from_slice(&spare[..right]);
    left
}
