//! Grows one tree on whole-number gradients.
//!
//! Rows of a node lie together and are parted in place; rows that are not summed (those to score, and those that the
//! round leaves out) go along, so that scores need no walk down the tree. A node with many rows keeps its histogram: the
//! smaller child is summed and the larger one is what is left. A small node is summed afresh where that is less work.

use super::objective::Quanta;
use super::params::{GbdtParams, Growth};
use super::split::{self, Column, Found, Rules, Totals};
use crate::backend::cpu::simd::Level;
use crate::models::trees::bins::FeatureBins;
use crate::models::trees::histogram::{BLOCK, Blocks, Histogram, gradient, hessian, part};
use crate::models::trees::tree::Trees;
use std::ops::Range;

/// Slots of a histogram that are subtracted in the time in which a row is added to a block.
const SLOTS_A_ROW: usize = 3;
/// Histograms of nodes that wait to be split, in bytes at most; nodes beyond are summed afresh.
const KEPT_BYTES: usize = 64 << 20;

/// What a tree is grown on.
pub struct Ground<'a> {
    /// All columns of all rows of the fold.
    pub all: &'a Blocks,
    /// The columns that the tree may split, of the training rows.
    pub chosen: &'a Blocks,
    /// Of every column.
    pub columns: &'a [Column],
    /// Of every column.
    pub bins: &'a [FeatureBins],
    /// Packed gradients, one word a training row.
    pub words: &'a [u64],
    /// What splits keep to.
    pub rules: Rules,
    /// The shape.
    pub growth: Growth,
    /// A leaf's value is this times its sum of gradients over its hessian.
    pub step: f32,
    /// The tree's own units, and what its splits gain at least in those of the loss: what becomes of gains.
    pub quanta: Quanta,
    /// See `quanta`.
    pub min_gain: f32,
    /// The instruction set.
    pub level: Level,
}

/// A leaf, or what will become one.
#[derive(Debug)]
struct Leaf {
    /// Its place in the tree's nodes.
    node: u32,
    /// Its rows that are summed, and those that go along.
    rows: Range<usize>,
    others: Range<usize>,
    totals: Totals,
    depth: u32,
    value: f32,
    found: Option<Found>,
    histogram: Option<Histogram>,
    /// Where its columns without a split are, of itself and its ancestors: a bit each.
    dead: Range<usize>,
}

/// The memory in which trees are grown, one after the other.
#[derive(Debug, Default)]
pub struct Grower {
    /// Rows that are summed, and rows that go along: to be set before a tree is grown.
    pub rows: Vec<u32>,
    /// See `rows`.
    pub others: Vec<u32>,
    /// The histogram of `rows`, where that was summed already.
    pub root: Option<Histogram>,
    spare: Vec<u32>,
    leaves: Vec<Leaf>,
    free: Vec<Histogram>,
    kept: usize,
    dead: Vec<u64>,
}

impl Grower {
    /// Grows a tree behind `trees`. Its leaves can be read until the next one is grown.
    pub fn grow(&mut self, ground: &Ground<'_>, trees: &mut Trees) {
        self.spare.resize(self.rows.len().max(self.others.len()), 0);
        for leaf in self.leaves.drain(..) {
            self.free.extend(leaf.histogram);
        }
        self.kept = 0;
        self.dead.clear();
        self.dead.resize(ground.columns.len().div_ceil(64), 0);
        let sums = self.rows.iter().fold(0u64, |sum, row| sum.wrapping_add(ground.words[*row as usize]));
        let totals = Totals { sums, rows: self.rows.len() as u32 };
        let mut root = Leaf {
            node: trees.grow(),
            rows: 0..self.rows.len(),
            others: 0..self.others.len(),
            totals,
            depth: 0,
            value: 0.0,
            found: None,
            histogram: None,
            dead: 0..self.dead.len(),
        };
        if ground.most_leaves() > 1 && ground.can_split(&root) {
            let histogram = self.root.take().unwrap_or_else(|| self.sum(ground, &root));
            self.look(ground, &mut root, histogram);
        }
        self.free.extend(self.root.take());
        self.leaves.push(root);
        match ground.growth {
            Growth::LeafWise { .. } => {
                while self.leaves.len() < ground.most_leaves()
                    && let Some(best) = self.best()
                {
                    self.split(ground, trees, best);
                }
            }
            Growth::LevelWise { depth } => {
                for _ in 0..depth {
                    let level = self.leaves.len();
                    for leaf in 0..level {
                        if self.leaves[leaf].found.is_some() {
                            self.split(ground, trees, leaf);
                        }
                    }
                    if self.leaves.len() == level {
                        break;
                    }
                }
            }
        }
    }

    /// Whether the tree has no split.
    pub fn is_stump(&self) -> bool {
        self.leaves.len() < 2
    }

    /// The rows and the value of each leaf, which `renew` may change before it is written.
    pub fn finish(&mut self, trees: &mut Trees, mut renew: impl FnMut(&[u32], &[u32], f32) -> f32) {
        for leaf in &self.leaves {
            let (rows, others) = (&self.rows[leaf.rows.clone()], &self.others[leaf.others.clone()]);
            let value = renew(rows, others, leaf.value);
            trees.leaf(leaf.node, [value]);
        }
    }

    /// The leaf whose split gains most; the first of equal ones.
    fn best(&self) -> Option<usize> {
        let gain = |leaf: &Leaf| leaf.found.as_ref().map(|found| found.gain);
        let gains = self.leaves.iter().enumerate().filter_map(|(place, leaf)| Some((place, gain(leaf)?)));
        gains.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(place, _)| place)
    }

    /// Splits a leaf: the left child takes its place, the right one comes last.
    fn split(&mut self, ground: &Ground<'_>, trees: &mut Trees, place: usize) {
        let parent = &mut self.leaves[place];
        let Some(Found { gain, mut split, left: left_sums, has_missing, l2 }) = parent.found.take() else { return };
        let column = split.feature as usize;
        let (Some(home), Some(bins)) = (ground.all.places[column], ground.bins.get(column)) else { return };
        let block = &ground.all.blocks[home.block];
        let mut goes_left = split::goes_left(&split, ground.columns[column].slots);
        let rows = parent.rows.clone();
        let middle = rows.start + part(block, home.lane, &goes_left, &mut self.rows[rows.clone()], &mut self.spare);
        if !has_missing && !ground.columns[column].is_category {
            // No training row says where missing values go: with most rows.
            split.missing_left = 2 * (middle - rows.start) >= rows.len();
            goes_left[0] = u8::from(split.missing_left);
        }
        let others = parent.others.clone();
        let among = &mut self.others[others.clone()];
        let others_middle = others.start + part(block, home.lane, &goes_left, among, &mut self.spare);
        let gain = GbdtParams::gain(gain, ground.quanta, ground.min_gain);
        let node = trees.split(parent.node, &split, bins, gain);
        let (sums, depth) = (parent.totals.sums, parent.depth + 1);
        let histogram = parent.histogram.take();
        self.kept -= usize::from(histogram.is_some());
        let dead = parent.dead.clone();
        let other_dead = self.dead.len()..self.dead.len() + dead.len();
        self.dead.extend_from_within(dead.clone());
        let child = |node: u32, rows: Range<usize>, others: Range<usize>, sums: u64, dead: Range<usize>| Leaf {
            node,
            totals: Totals { sums, rows: rows.len() as u32 },
            rows,
            others,
            depth,
            value: ground.value(sums, l2),
            found: None,
            histogram: None,
            dead,
        };
        let right_sums = sums.wrapping_sub(left_sums);
        let mut left = child(node, rows.start..middle, others.start..others_middle, left_sums, dead);
        let mut right = child(node + 1, middle..rows.end, others_middle..others.end, right_sums, other_dead);
        // The last split's children are never split.
        if self.leaves.len() + 1 < ground.most_leaves() {
            self.look_at_both(ground, &mut left, &mut right, histogram);
        } else {
            self.free.extend(histogram);
        }
        self.leaves[place] = left;
        self.leaves.push(right);
    }

    /// Looks for the splits of two siblings, from their parent's histogram if there is one.
    fn look_at_both(&mut self, ground: &Ground<'_>, a: &mut Leaf, b: &mut Leaf, parent: Option<Histogram>) {
        let (small, large) = if a.rows.len() <= b.rows.len() { (a, b) } else { (b, a) };
        let (can_small, can_large) = (ground.can_split(small), ground.can_split(large));
        let Some(mut parent) = parent else {
            for (leaf, _) in [(small, can_small), (large, can_large)].into_iter().filter(|(_, can_split)| *can_split) {
                let histogram = self.sum(ground, leaf);
                self.look(ground, leaf, histogram);
            }
            return;
        };
        if !can_large {
            // Then the smaller one cannot be split either, unless it is so by its hessian.
            self.free.push(parent);
            if can_small {
                let histogram = self.sum(ground, small);
                self.look(ground, small, histogram);
            }
            return;
        }
        let histogram = self.sum(ground, small);
        parent.subtract(ground.level, &histogram, ground.chosen.slots);
        if can_small {
            self.look(ground, small, histogram);
        } else {
            self.free.push(histogram);
        }
        self.look(ground, large, parent);
    }

    /// Memory for a histogram.
    pub fn histogram(&mut self, blocks: &Blocks) -> Histogram {
        self.free.pop().unwrap_or_else(|| blocks.histogram())
    }

    /// Sums a leaf's rows.
    fn sum(&mut self, ground: &Ground<'_>, leaf: &Leaf) -> Histogram {
        let mut histogram = self.histogram(ground.chosen);
        ground.chosen.build(ground.all, ground.level, &self.rows[leaf.rows.clone()], ground.words, &mut histogram);
        histogram
    }

    /// Finds a leaf's best split in its histogram, which it keeps if that will save work.
    fn look(&mut self, ground: &Ground<'_>, leaf: &mut Leaf, histogram: Histogram) {
        let Ground { chosen, columns, rules, level, .. } = ground;
        leaf.found =
            split::best(chosen, columns, &histogram, leaf.totals, rules, &mut self.dead[leaf.dead.clone()], *level);
        let bytes = chosen.slots * BLOCK * size_of::<u64>();
        let is_worth_it = leaf.rows.len() * chosen.blocks.len() * SLOTS_A_ROW > 2 * chosen.slots;
        if leaf.found.is_some() && is_worth_it && (self.kept + 1) * bytes <= KEPT_BYTES {
            leaf.histogram = Some(histogram);
            self.kept += 1;
        } else {
            self.free.push(histogram);
        }
    }
}

impl Ground<'_> {
    fn most_leaves(&self) -> usize {
        match self.growth {
            Growth::LeafWise { leaves, .. } => leaves as usize,
            Growth::LevelWise { .. } => usize::MAX,
        }
    }

    /// Whether a leaf is large enough, and not too deep.
    fn can_split(&self, leaf: &Leaf) -> bool {
        let depth = match self.growth {
            Growth::LeafWise { depth: 0, .. } => u32::MAX,
            Growth::LeafWise { depth, .. } | Growth::LevelWise { depth } => depth,
        };
        let is_heavy = hessian(leaf.totals.sums) as f32 >= 2.0 * self.rules.min_hessian;
        leaf.depth < depth && leaf.totals.rows as f32 >= 2.0 * self.rules.min_rows && is_heavy
    }

    /// A leaf's value.
    fn value(&self, sums: u64, l2: f32) -> f32 {
        let (g, h) = (gradient(sums) as f32, hessian(sums) as f32);
        split::soft(g, self.rules.l1) / (h + l2) * self.step
    }
}
