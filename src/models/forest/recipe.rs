//! What growing a forest is: everything that a lane's trees are a function of.
//!
//! **Draws** are keyed by the fold, the tree and the path to a node, never by the candidate:
//! - tree t of a fold has the key `fold key / TREES / t`; its bootstrap draws row `word * rows >> 32` from each word of
//!   `/ BOOTSTRAP`, so that tree t of every lane with as many draws has the same rows. With sample weights (and balanced
//!   classes) rows are drawn in their proportion, as scikit-learn 1.9 does; without a bootstrap they multiply counts.
//! - the root has the key `/ ROOT`, a left child its parent's `/ 0`, a right child `/ 1`. The first word at counter j of a
//!   node's key draws the j-th feature that the node looks at (Fisher and Yates), the second word its cut if cuts are
//!   drawn. A node looks at `features` features, and on until it has seen one that varies over its rows (scikit-learn).
//!
//! So a tree of depth 8 is the same tree grown to depth 20, cut off; forests of 50 trees are the first half of those of
//! 100; and a node at which the same split is best for several lanes is one node.
//!
//! **Decisions** are made in whole numbers, so that any device that counts makes the same ones:
//! - rows count as whole numbers: how often they were drawn, or their weight in units of which all rows have less than
//!   2^[`WEIGHT_BITS`]; numbers to predict are whole steps of their range over the fold's training rows ([`Steps`]);
//! - gini and squared error: with class weights or sums L and R of both sides, and weights l and r, the split with the
//!   greatest `|L|^2 / l + |R|^2 / r` is taken, compared as exact fractions (`gain.rs`); entropy: sums of `c log2 c` from
//!   a table in fixed point;
//! - the first of equal splits is taken: features in the order in which they are drawn, then cuts from below, then missing
//!   values to the right.
//!
//! A drawn cut lies where the word lies between the node's least and greatest value of the feature, on a scale of 2^32
//! steps over the fold's training rows. Categories are put in the order of their mean target (numbers), or of the share
//! of the node's most frequent class, and the order is cut like numbers: the best of all subsets for numbers and for two
//! classes (Fisher 1958), a guess that is usually good for more. Missing values are a category of their own, and a number
//! without value goes where it is better. What a node has not seen goes where most of its rows go.

use crate::base::random::Key;
use crate::space::Space;

/// The child of a fold's key below which its trees' keys are.
const TREES: u32 = 1;
/// The child of a tree's key that draws its rows.
pub const BOOTSTRAP: u32 = 0;

/// All rows of a tree weigh less than 2 to this power.
pub const WEIGHT_BITS: u32 = 24;

/// How cuts are found; the discriminant is its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Kind {
    /// The best cut of each feature (Breiman 2001).
    RandomForest = 0,
    /// One cut drawn of each feature (Geurts, Ernst & Wehenkel 2006).
    ExtraTrees = 1,
}

impl Kind {
    /// Names in the space, in the order of the codes.
    pub const NAMES: [&'static str; 2] = ["random_forest", "extra_trees"];
}

/// What a split of classes is judged by; the discriminant is its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Criterion {
    /// How often two rows of a side differ in class.
    Gini = 0,
    /// Bits that a row's class takes on its side.
    Entropy = 1,
}

impl Criterion {
    /// Names in the space, in the order of the codes.
    pub const NAMES: [&'static str; 2] = ["gini", "entropy"];
}

/// A candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForestParams {
    /// How cuts are found.
    pub kind: Kind,
    /// Trees, if the budget has so many.
    pub trees: u32,
    /// Splits between the root and a leaf at most.
    pub depth: u32,
    /// Rows of a leaf at least; a row that was drawn twice counts once.
    pub min_leaf: u32,
    /// Share of the features that a split looks at.
    pub features: f64,
    /// Draws of a tree's bootstrap as a share of the rows; 0: each tree has all rows once.
    pub bootstrap: f64,
    /// What a split of classes is judged by.
    pub criterion: Criterion,
    /// Whether all classes have the same weight in sum.
    pub is_balanced: bool,
    /// Bins of a feature at most.
    pub bins: u32,
}

/// Where a lane ends its branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Splits between the root and a leaf at most.
    pub depth: u32,
    /// Rows of a leaf at least.
    pub min_leaf: u32,
}

/// What decides which rows a tree has and which splits its nodes look at: lanes that share it share nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// How cuts are found.
    pub kind: Kind,
    /// What a split of classes is judged by.
    pub criterion: Criterion,
    /// Whether all classes have the same weight in sum.
    pub is_balanced: bool,
    /// Bins of a feature at most.
    pub bins: u32,
    /// Features that a node looks at.
    pub features: u32,
    /// Draws of a bootstrap; 0 for none.
    pub rows: u32,
}

impl ForestParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> ForestParams {
        let number = |name: &str, default: f64| space.number(point, name).unwrap_or(default);
        let code = |name: &str, names: &[&str]| {
            let chosen = space.text(point, name);
            names.iter().position(|name| Some(*name) == chosen.as_deref()).unwrap_or(0)
        };
        let kind = if code("kind", &Kind::NAMES) == 1 { Kind::ExtraTrees } else { Kind::RandomForest };
        let is_entropy = code("criterion", &Criterion::NAMES) == 1;
        ForestParams {
            kind,
            trees: number("trees", DEFAULT_TREES as f64) as u32,
            depth: number("depth", DEFAULT_DEPTH as f64) as u32,
            min_leaf: number("min_leaf", 1.0) as u32,
            features: number("features", 1.0),
            // Extra trees have all rows unless a space says otherwise.
            bootstrap: number("bootstrap", if kind == Kind::RandomForest { 1.0 } else { 0.0 }),
            criterion: if is_entropy { Criterion::Entropy } else { Criterion::Gini },
            is_balanced: code("class_weight", &CLASS_WEIGHTS) == 1,
            bins: number("bins", 255.0) as u32,
        }
    }

    /// Where its branches end.
    pub fn limits(&self) -> Limits {
        Limits { depth: self.depth, min_leaf: self.min_leaf }
    }

    /// What its trees draw on a fold of so many rows and features.
    pub fn draws(&self, rows: usize, features: usize) -> Draws {
        // A share that was written as a decimal may be a little less than the whole number that it means.
        let looked_at = (self.features * features as f64 + 1e-6).floor();
        let drawn = (self.bootstrap * rows as f64).round().min(f64::from((1u32 << WEIGHT_BITS) - 1));
        Draws {
            kind: self.kind,
            criterion: self.criterion,
            is_balanced: self.is_balanced,
            bins: self.bins,
            features: looked_at.clamp(1.0, features.max(1) as f64) as u32,
            rows: if self.bootstrap > 0.0 { drawn.max(1.0) as u32 } else { 0 },
        }
    }
}

/// Trees unless a space says otherwise.
pub const DEFAULT_TREES: i64 = 100;
/// Trees that a lane's budget has unless a study says otherwise: no candidate of the default space has more.
pub const MOST_TREES: i64 = 500;
/// Splits between the root and a leaf at most, unless a space says otherwise.
pub const DEFAULT_DEPTH: i64 = 32;
/// How classes are weighted, in the order of their codes.
pub const CLASS_WEIGHTS: [&str; 2] = ["none", "balanced"];

/// The key whose children are the trees' keys.
pub fn trees_key(fold: Key) -> Key {
    fold.child(TREES)
}

/// A tree's key.
pub fn tree_key(fold: Key, tree: u32) -> Key {
    trees_key(fold).child(tree)
}

/// The key of a tree's bootstrap.
pub fn bootstrap_key(tree: Key) -> Key {
    tree.child(BOOTSTRAP)
}

/// The child of a tree's key that is its root's.
pub const ROOT: u32 = 1;

/// The place of a word in `0..n`.
pub fn scaled(word: u32, n: u32) -> u32 {
    ((u64::from(word) * u64::from(n)) >> 32) as u32
}

/// Numbers to predict as whole steps of their range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// The middle of the range.
    pub middle: f64,
    /// A step, in the target's own units.
    pub size: f64,
}

impl Steps {
    /// Steps for these numbers in trees whose rows weigh at most `weight` together. With weights below W and steps below
    /// 2^b, `sum * W` stays below 2^62: b = 62 - 2 bits of W, and not more than f32 has.
    pub fn fit(values: &[f32], weight: u64) -> Steps {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (low, high) = (f64::from(low), f64::from(high));
        let steps = ((1u64 << Steps::bits(weight)) - 2) as f64;
        let size = (high - low) / steps;
        let is_range = size.is_finite() && size > 0.0;
        Steps { middle: if low <= high { 0.5 * (low + high) } else { 0.0 }, size: if is_range { size } else { 1.0 } }
    }

    /// Bits of the steps of trees whose rows weigh at most `weight` together.
    pub fn bits(weight: u64) -> u32 {
        let weight_bits = u64::BITS - weight.leading_zeros();
        62u32.saturating_sub(2 * weight_bits).min(24)
    }

    /// The step nearest to a number.
    pub fn of(&self, value: f32) -> i32 {
        ((f64::from(value) - self.middle) / self.size).round() as i32
    }

    /// The mean of rows of weight `weight` whose steps have the sum `sum`, in the target's own units.
    pub fn mean(&self, sum: i64, weight: u32) -> f32 {
        (self.middle + self.size * (sum as f64 / f64::from(weight))) as f32
    }
}

/// Row weights as whole numbers of which all together are below 2^[`WEIGHT_BITS`]; a row that has any counts. Weights that
/// are whole already stay what they are.
pub fn whole_weights(weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    if sum < f64::from(1u32 << WEIGHT_BITS) && weights.iter().all(|weight| weight.fract() == 0.0) {
        return weights.iter().map(|weight| *weight as u32).collect();
    }
    let row_bits = usize::BITS - weights.len().leading_zeros();
    // A row's part is known to a 2000th where there is room; fewer bits leave more to the steps of numbers.
    let bits = (row_bits + 11).min(WEIGHT_BITS - 1);
    let units = (f64::from(1u32 << bits) - weights.len() as f64).max(0.0);
    let whole = |weight: &f64| if *weight > 0.0 { ((weight / sum * units).round() as u32).max(1) } else { 0 };
    weights.iter().map(whole).collect()
}
