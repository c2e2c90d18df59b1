//! Trees: how they are stored, walked, and read from a file.
//!
//! All trees of a lane lie in one array of nodes. A node's children are neighbours and come after it, so that a walk
//! ends whatever a file says. A split is made by bins ([`Split`]) and held by real values, for rows of any origin; both send
//! every row of the fold the same way.

use super::bins::{FeatureBins, code};
use crate::backend::{IntegerArray, WeightArray, Weights};
use crate::models::WeightsError;
use crate::models::predict::{floats, integers};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Which bins a split sends to the left; missing values have a bin of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Of numbers: the value bins up to this one. The last bin of all parts missing values from the others.
    UpTo(u8),
    /// Of categories: a bit a bin, the lowest first.
    Subset(BinSet),
}

/// A bit for each of 256 bins.
pub type BinSet = [u32; 8];

/// Whether a set has a bin.
pub fn contains(set: &BinSet, bin: u8) -> bool {
    set[usize::from(bin >> 5)] >> (bin & 31) & 1 == 1
}

/// Adds a bin to a set.
pub fn insert(set: &mut BinSet, bin: u8) {
    set[usize::from(bin >> 5)] |= 1 << (bin & 31);
}

/// How a node parts its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The feature that decides.
    pub feature: u32,
    /// What goes left by its value.
    pub cut: Cut,
    /// Whether rows without a value go left, and those with a category that the training rows do not have.
    pub missing_left: bool,
}

impl Split {
    /// All bins that go left, that of missing values among them.
    pub fn left_bins(&self, bins: &FeatureBins) -> BinSet {
        let mut set = match self.cut {
            Cut::UpTo(last) => std::array::from_fn(|word| {
                let bits = (usize::from(last) + 1).saturating_sub(32 * word).min(32);
                ((1u64 << bits) - 1) as u32
            }),
            Cut::Subset(set) => set,
        };
        let (word, bit) = (usize::from(bins.missing() >> 5), 1 << (bins.missing() & 31));
        set[word] = if self.missing_left { set[word] | bit } else { set[word] & !bit };
        set
    }
}

/// A split or a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Node {
    /// A feature with [`MISSING_LEFT`] and [`CATEGORY`], or [`LEAF`].
    feature: u32,
    /// Of a number: the greatest value that goes left.
    threshold: f32,
    /// The left child, with the right one behind it; or the leaf's place.
    child: u32,
    /// Of a category: the place of its set.
    place: u32,
}

/// The node is a leaf.
const LEAF: u32 = u32::MAX;
/// Rows without a value go left.
const MISSING_LEFT: u32 = 1 << 31;
/// The feature is a category.
const CATEGORY: u32 = 1 << 30;
/// The bits of [`Node::feature`] that name the feature.
const FEATURE: u32 = CATEGORY - 1;

/// A lane's trees, each of which leads every row to a leaf with one value an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trees {
    outputs: usize,
    /// Each tree's first node, ascending: its nodes end where the next tree's begin.
    roots: Vec<u32>,
    nodes: Vec<Node>,
    /// What each split gained, in a unit of the model's own; 0 for leaves.
    gains: Vec<f32>,
    /// `[leaves, outputs]`
    leaves: Vec<f32>,
    /// Where the words of each such split begin in `code_words`, and where the last one's end.
    code_firsts: Vec<u32>,
    /// A bit a category's code, the lowest first: those that go left.
    code_words: Vec<u32>,
}

impl Trees {
    /// No tree yet.
    pub fn new(outputs: usize) -> Trees {
        Trees {
            outputs,
            roots: Vec::new(),
            nodes: Vec::new(),
            gains: Vec::new(),
            leaves: Vec::new(),
            code_firsts: vec![0],
            code_words: Vec::new(),
        }
    }

    /// Begins a tree and gives its root, which must become a leaf or a split, as every node.
    pub fn grow(&mut self) -> u32 {
        self.roots.push(self.nodes.len() as u32);
        self.push_open(1)
    }

    /// Makes a node a split that gained so much, 0 or more, and gives its left child; the right one's index is the next.
    pub fn split(&mut self, node: u32, split: &Split, bins: &FeatureBins, gain: f32) -> u32 {
        let child = self.push_open(2);
        let missing = if split.missing_left { MISSING_LEFT } else { 0 };
        let (kind, threshold, place) = match &split.cut {
            // Beyond the last bin's cut there is no value: all go left.
            Cut::UpTo(last) => (0, bins.cuts.get(usize::from(*last)).copied().unwrap_or(f32::MAX), 0),
            Cut::Subset(set) => (CATEGORY, 0.0, self.push_set(set, bins)),
        };
        self.nodes[node as usize] = Node { feature: split.feature | missing | kind, threshold, child, place };
        // What is beyond f32 is as much as f32 has, and what is no number is nothing: a file holds finite gains.
        self.gains[node as usize] = if gain > 0.0 { gain.min(f32::MAX) } else { 0.0 };
        child
    }

    /// Makes a node a leaf.
    pub fn leaf(&mut self, node: u32, values: impl IntoIterator<Item = f32>) {
        let place = self.leaves() as u32;
        self.leaves.extend(values.into_iter().take(self.outputs));
        self.nodes[node as usize] = Node { child: place, ..OPEN };
    }

    fn push_open(&mut self, nodes: usize) -> u32 {
        let first = self.nodes.len() as u32;
        self.nodes.extend(std::iter::repeat_n(OPEN, nodes));
        self.gains.resize(self.nodes.len(), 0.0);
        first
    }

    fn push_set(&mut self, set: &BinSet, bins: &FeatureBins) -> u32 {
        let first = self.code_words.len();
        self.code_words.resize(first + bins.codes.len().div_ceil(32), 0);
        for (code, _) in bins.codes.iter().enumerate().filter(|(_, bin)| contains(set, **bin)) {
            self.code_words[first + code / 32] |= 1 << (code % 32);
        }
        self.code_firsts.push(self.code_words.len() as u32);
        self.code_firsts.len() as u32 - 2
    }

    /// Leaves the first trees only, where each is grown to its end before the next one begins.
    pub fn truncate(&mut self, trees: usize) {
        let Some(&nodes) = self.roots.get(trees) else { return };
        let cut = &self.nodes[nodes as usize..];
        let of_leaf = |node: &Node| (node.feature == LEAF).then_some(node.child);
        let of_set = |node: &Node| (node.feature != LEAF && node.feature & CATEGORY != 0).then_some(node.place);
        let leaves = cut.iter().filter_map(of_leaf).min();
        let sets = cut.iter().filter_map(of_set).min();
        if let Some(leaves) = leaves {
            self.leaves.truncate(leaves as usize * self.outputs);
        }
        if let Some(sets) = sets {
            self.code_firsts.truncate(sets as usize + 1);
            self.code_words.truncate(self.code_firsts.last().map_or(0, |last| *last as usize));
        }
        self.nodes.truncate(nodes as usize);
        self.gains.truncate(nodes as usize);
        self.roots.truncate(trees);
    }

    /// How many trees there are.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there is no tree.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Splits and leaves of all trees.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Values of a leaf.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The trees of another lane's or thread's, behind these.
    pub fn append(&mut self, other: &Trees) {
        let (nodes, leaves) = (self.nodes.len() as u32, self.leaves() as u32);
        let (sets, words) = (self.code_firsts.len() as u32 - 1, self.code_words.len() as u32);
        self.roots.extend(other.roots.iter().map(|root| root + nodes));
        self.nodes.extend(other.nodes.iter().map(|node| match node.feature {
            LEAF => Node { child: node.child + leaves, ..*node },
            feature if feature & CATEGORY != 0 => Node { child: node.child + nodes, place: node.place + sets, ..*node },
            _ => Node { child: node.child + nodes, ..*node },
        }));
        self.gains.extend_from_slice(&other.gains);
        self.leaves.extend_from_slice(&other.leaves);
        self.code_firsts.extend(other.code_firsts.iter().skip(1).map(|first| first + words));
        self.code_words.extend_from_slice(&other.code_words);
    }

    /// Leaves of all trees.
    pub fn leaves(&self) -> usize {
        self.leaves.len() / self.outputs
    }

    /// The feature of each split of a tree, and what it gained.
    pub fn gains(&self, tree: usize) -> impl Iterator<Item = (u32, f32)> {
        let first = self.roots[tree] as usize;
        let last = self.roots.get(tree + 1).map_or(self.nodes.len(), |root| *root as usize);
        let splits = self.nodes[first..last].iter().zip(&self.gains[first..last]);
        splits.filter(|(node, _)| node.feature != LEAF).map(|(node, gain)| (node.feature & FEATURE, *gain))
    }

    /// Levels below the root of the deepest tree.
    pub fn depth(&self) -> u32 {
        let mut depths = vec![0u32; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.feature != LEAF) {
            let below = depths[index] + 1;
            depths[node.child as usize..][..2].iter_mut().for_each(|depth| *depth = below.max(*depth));
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// The values at a leaf's place.
    pub fn values(&self, leaf: u32) -> &[f32] {
        &self.leaves[leaf as usize * self.outputs..][..self.outputs]
    }

    /// The place of the leaf to which a tree leads a row of features.
    pub fn leaf_of(&self, tree: usize, row: &[f32]) -> u32 {
        let mut node = &self.nodes[self.roots[tree] as usize];
        while node.feature != LEAF {
            let x = row[(node.feature & FEATURE) as usize];
            let is_left = match node.feature & CATEGORY {
                _ if x.is_nan() => node.feature & MISSING_LEFT != 0,
                // The greatest threshold parts missing values from all others, infinite ones among them.
                0 => x.min(f32::MAX) <= node.threshold,
                _ => self.has_code(node, x),
            };
            node = &self.nodes[node.child as usize + usize::from(!is_left)];
        }
        node.child
    }

    /// Whether a category goes left; one that the fold's training rows do not have goes where missing values go.
    fn has_code(&self, node: &Node, x: f32) -> bool {
        let place = node.place as usize;
        let words = &self.code_words[self.code_firsts[place] as usize..self.code_firsts[place + 1] as usize];
        let word = code(x).and_then(|code| Some(words.get(code / 32)? >> (code % 32) & 1));
        word.map_or(node.feature & MISSING_LEFT != 0, |bit| bit == 1)
    }

    /// The weights' arrays: what [`Trees::from_weights`] reads.
    pub fn to_weights(&self) -> Weights {
        let integers =
            |name: &str, values: Vec<u32>| IntegerArray { name: name.to_owned(), shape: vec![values.len()], values };
        let of_nodes = |field: fn(&Node) -> u32| self.nodes.iter().map(field).collect::<Vec<u32>>();
        Weights {
            arrays: vec![
                WeightArray {
                    name: "leaf.value".to_owned(),
                    shape: vec![self.leaves(), self.outputs],
                    values: self.leaves.clone(),
                },
                WeightArray { name: "node.gain".to_owned(), shape: vec![self.nodes.len()], values: self.gains.clone() },
                WeightArray {
                    name: "node.threshold".to_owned(),
                    shape: vec![self.nodes.len()],
                    values: self.nodes.iter().map(|node| node.threshold).collect(),
                },
            ],
            integers: vec![
                integers("node.child", of_nodes(|node| node.child)),
                integers("node.feature", of_nodes(|node| node.feature)),
                integers("node.subset", of_nodes(|node| node.place)),
                integers("subset.first", self.code_firsts.clone()),
                integers("subset.word", self.code_words.clone()),
                integers("tree.root", self.roots.clone()),
            ],
        }
    }

    /// Trees from weights that may come from anyone, for rows of `features` features. Every index is in its range and
    /// every child after its parent, so that walks end and read nothing else.
    pub fn from_weights(weights: &Weights, features: usize) -> Result<Trees, WeightsError> {
        let integers = |name: &str| integers(weights, name).map(|array| array.values.as_slice());
        let floats = |name: &str| floats(weights, name);
        let (values, thresholds) = (floats("leaf.value")?, &floats("node.threshold")?.values);
        let gains = &floats("node.gain")?.values;
        let (children, kinds, places) = (integers("node.child")?, integers("node.feature")?, integers("node.subset")?);
        let (firsts, words, roots) = (integers("subset.first")?, integers("subset.word")?, integers("tree.root")?);
        let [leaves, outputs] = values.shape[..] else {
            return Err(WeightsError("leaf.value has not two dimensions".to_owned()));
        };
        let n = kinds.len();
        if outputs == 0 || leaves.checked_mul(outputs) != Some(values.values.len()) {
            return Err(WeightsError("leaf.value has another shape than values".to_owned()));
        }
        if [children.len(), places.len(), thresholds.len(), gains.len()].iter().any(|len| *len != n)
            || n > u32::MAX as usize
        {
            return Err(WeightsError("its arrays of nodes differ in length".to_owned()));
        }
        let nodes = (0..n)
            .map(|i| Node { feature: kinds[i], threshold: thresholds[i], child: children[i], place: places[i] })
            .collect();
        let trees = Trees {
            outputs,
            roots: roots.to_vec(),
            nodes,
            gains: gains.clone(),
            leaves: values.values.clone(),
            code_firsts: firsts.to_vec(),
            code_words: words.to_vec(),
        };
        trees.check(features)?;
        Ok(trees)
    }

    /// Whether trees from anywhere, or none, can be walked by rows of `features` features: as [`Trees::from_weights`] asks.
    pub fn is_sound(&self, features: usize) -> bool {
        let is_whole = self.outputs > 0
            && self.leaves.len().is_multiple_of(self.outputs)
            && self.gains.len() == self.nodes.len()
            && self.nodes.len() <= u32::MAX as usize;
        let is_none = self.roots.is_empty() && self.nodes.is_empty() && self.leaves.is_empty();
        is_whole && (is_none && self.code_firsts == [0] && self.code_words.is_empty() || self.check(features).is_ok())
    }

    /// Whether every index is in its range and every child after its parent.
    fn check(&self, features: usize) -> Result<(), WeightsError> {
        let Trees { gains, roots, nodes, code_firsts: firsts, code_words: words, .. } = self;
        let (n, leaves) = (nodes.len(), self.leaves());
        if gains.iter().any(|gain| !gain.is_finite() || *gain < 0.0) {
            return Err(WeightsError("node.gain is no gain: NaN, infinite, or below 0".to_owned()));
        }
        let ends = firsts.last().is_some_and(|last| *last as usize == words.len());
        if !ends || firsts.first() != Some(&0) || firsts.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(WeightsError("subset.first does not part subset.word".to_owned()));
        }
        if roots.is_empty() || roots.iter().any(|root| *root as usize >= n) {
            return Err(WeightsError("tree.root has no tree, or one without nodes".to_owned()));
        }
        if roots.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(WeightsError("tree.root does not ascend".to_owned()));
        }
        // A split has a subset of its own: a file cannot say more codes than it has bits.
        let mut is_free = vec![true; firsts.len() - 1];
        for (index, node) in nodes.iter().enumerate() {
            let child = node.child as usize;
            let is_whole = match node.feature {
                LEAF => child < leaves,
                feature => {
                    let subset = is_free.get_mut(node.place as usize);
                    let has_subset = feature & CATEGORY == 0 || subset.is_some_and(std::mem::take);
                    ((feature & FEATURE) as usize) < features && child > index && child < n - 1 && has_subset
                }
            };
            if !is_whole {
                return Err(WeightsError(format!("node {index} leads nowhere")));
            }
        }
        Ok(())
    }
}

/// A node as what a row meets in it, by its values alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Branch<'a> {
    /// The end, with a value an output.
    Leaf(&'a [f32]),
    /// Numbers up to the threshold go to the child, the others to the one behind it.
    UpTo {
        /// The feature that decides.
        feature: u32,
        /// The greatest value that goes left.
        threshold: f32,
        /// Whether missing values go left.
        missing_left: bool,
        /// The left child.
        child: usize,
    },
    /// Categories go to the child or to the one behind it.
    Subset {
        /// The feature that decides.
        feature: u32,
        /// Codes that go left.
        left: Vec<f32>,
        /// Codes that go right, and maybe some that no row has.
        right: Vec<f32>,
        /// Whether missing values go left, and codes that are on neither list.
        missing_left: bool,
        /// The left child.
        child: usize,
    },
}

impl Trees {
    /// The nodes of a tree that rows can reach, the root first and each after its parent, with their indices.
    pub fn branches(&self, tree: usize) -> Vec<(usize, Branch<'_>)> {
        let mut open = vec![self.roots[tree] as usize];
        let (mut reached, mut seen) = (Vec::new(), HashSet::new());
        while let Some(index) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            let branch = self.branch(&self.nodes[index]);
            if let Branch::UpTo { child, .. } | Branch::Subset { child, .. } = branch {
                open.extend([child + 1, child]);
            }
            reached.push((index, branch));
        }
        reached
    }

    fn branch(&self, node: &Node) -> Branch<'_> {
        if node.feature == LEAF {
            return Branch::Leaf(self.values(node.child));
        }
        let (feature, child) = (node.feature & FEATURE, node.child as usize);
        let missing_left = node.feature & MISSING_LEFT != 0;
        if node.feature & CATEGORY == 0 {
            return Branch::UpTo { feature, threshold: node.threshold, missing_left, child };
        }
        let place = node.place as usize;
        let words = &self.code_words[self.code_firsts[place] as usize..self.code_firsts[place + 1] as usize];
        let codes = (0..words.len() * 32).map(|code| (code, words[code / 32] >> (code % 32) & 1 == 1));
        let (left, right): (Vec<_>, Vec<_>) = codes.partition(|(_, is_left)| *is_left);
        let floats = |codes: Vec<(usize, bool)>| codes.into_iter().map(|(code, _)| code as f32).collect();
        Branch::Subset { feature, left: floats(left), right: floats(right), missing_left, child }
    }
}

/// A node that is neither yet.
const OPEN: Node = Node { feature: LEAF, threshold: 0.0, child: 0, place: 0 };

#[cfg(test)]
mod tests {
    use super::super::bins::BinnedFold;
    use super::*;
    use crate::base::random::Key;
    use crate::data::{Affine, ColumnKind, Fold, Rows, Target};
    use ndarray::Array2;

    /// A number with 0, 1, 2, 3 and a category of 40 levels; missing cells in both.
    fn fold() -> (Array2<f32>, BinnedFold) {
        let cell = |i: usize, period: usize| if i % 7 == 6 { f32::NAN } else { (i % period) as f32 };
        let x = Array2::from_shape_fn((200, 2), |(i, j)| cell(i + 3 * j, [4, 40][j]));
        let rows = Rows::new(x.clone(), Target::Values(vec![0.0; 200]));
        let columns = [ColumnKind::Number, ColumnKind::Category { levels: 40 }].into();
        let fold = Fold { columns, ..Fold::of_numbers(Key::from_seed(1), rows, Vec::new(), Affine::IDENTITY) };
        let binned = BinnedFold::new(&fold, 30);
        (x, binned)
    }

    /// Two trees: one of both kinds of split, one that parts missing values from the others.
    fn trees(binned: &BinnedFold) -> Trees {
        let mut trees = Trees::new(2);
        let root = trees.grow();
        let number = Split { feature: 0, cut: Cut::UpTo(1), missing_left: false };
        let left = trees.split(root, &number, &binned.features[0], 6.0);
        let mut set = BinSet::default();
        [0, 3, 17, 29].into_iter().for_each(|bin| insert(&mut set, bin));
        let category = Split { feature: 1, cut: Cut::Subset(set), missing_left: true };
        let below = trees.split(left, &category, &binned.features[1], 3.0);
        trees.leaf(below, [1.0, 10.0]);
        trees.leaf(below + 1, [2.0, 20.0]);
        trees.leaf(left + 1, [3.0, 30.0]);
        let root = trees.grow();
        let last = Split { feature: 0, cut: Cut::UpTo(3), missing_left: false };
        let left = trees.split(root, &last, &binned.features[0], 1.5);
        trees.leaf(left, [4.0, 40.0]);
        trees.leaf(left + 1, [5.0, 50.0]);
        trees
    }

    #[test]
    fn splits_send_rows_and_their_bins_the_same_way() {
        let (x, binned) = fold();
        let mut set = BinSet::default();
        [0, 17, 29, 30].into_iter().for_each(|bin| insert(&mut set, bin));
        for (feature, cut) in [(0, Cut::UpTo(0)), (0, Cut::UpTo(2)), (0, Cut::UpTo(3)), (1, Cut::Subset(set))] {
            for missing_left in [false, true] {
                let (split, bins) = (Split { feature, cut, missing_left }, &binned.features[feature as usize]);
                let mut trees = Trees::new(1);
                let root = trees.grow();
                let left = trees.split(root, &split, bins, 1.0);
                trees.leaf(left, [1.0]);
                trees.leaf(left + 1, [2.0]);
                let (left_bins, mut lefts) = (split.left_bins(bins), 0);
                for (row, bin) in x.rows().into_iter().zip(binned.train().column(feature as usize)) {
                    let is_left = trees.values(trees.leaf_of(0, row.as_slice().unwrap()))[0] == 1.0;
                    assert_eq!(is_left, contains(&left_bins, *bin), "{split:?}, {row}");
                    lefts += usize::from(is_left);
                }
                assert!(lefts > 0, "{split:?}");
            }
        }
    }

    #[test]
    fn rows_reach_the_leaves_of_their_values() {
        let (_, binned) = fold();
        let trees = trees(&binned);
        // Codes 3 and 17 go left; 18 does not; what no training row has goes where missing values go.
        let leaf = |x: [f32; 2]| trees.values(trees.leaf_of(0, &x))[0];
        assert_eq!(
            [[0.0, 3.0], [1.0, 17.0], [1.0, 18.0], [0.0, 64.0], [0.0, f32::NAN]].map(leaf),
            [1., 1., 2., 1., 1.]
        );
        assert_eq!([[1.5, 18.0], [1.6, 3.0], [f32::NAN, 3.0]].map(leaf), [2.0, 3.0, 3.0]);
        let parted = |x: f32| trees.values(trees.leaf_of(1, &[x, 0.0]))[1];
        assert_eq!([0.0, f32::INFINITY, f32::NAN].map(parted), [40.0, 40.0, 50.0]);
    }

    #[test]
    fn weights_hold_the_trees_and_appended_ones_follow() {
        let (x, binned) = fold();
        let one = trees(&binned);
        let mut both = one.clone();
        both.append(&one);
        assert_eq!((both.len(), both.nodes()), (4, 2 * one.nodes()));
        let read = Trees::from_weights(&both.to_weights(), 2).unwrap();
        assert_eq!(read, both);
        for row in x.rows() {
            let row = row.as_slice().unwrap();
            for tree in 0..4 {
                let own = one.values(one.leaf_of(tree % 2, row));
                assert_eq!(own, both.values(both.leaf_of(tree, row)));
                assert_eq!(own, read.values(read.leaf_of(tree, row)));
            }
        }
    }

    #[test]
    fn weights_that_lead_nowhere_are_refused() {
        let (_, binned) = fold();
        let whole = trees(&binned).to_weights();
        assert!(Trees::from_weights(&whole, 2).is_ok());
        assert!(Trees::from_weights(&whole, 1).is_err(), "a feature that the rows do not have");
        for (array, place, value) in [
            ("node.child", 0, 0),
            ("node.child", 1, 1),
            ("node.child", 0, 7),
            ("node.child", 0, u32::MAX),
            ("node.child", 3, 5),
            ("node.feature", 0, 2),
            ("node.subset", 1, 1),
            ("subset.first", 1, 1),
            ("subset.first", 0, 1),
            ("tree.root", 1, 8),
            ("tree.root", 1, 0),
        ] {
            let mut broken = whole.clone();
            let found = broken.integers.iter_mut().find(|integers| integers.name == array).unwrap();
            found.values[place] = value;
            assert!(Trees::from_weights(&broken, 2).is_err(), "{array}[{place}] = {value}");
        }
        for name in ["node.child", "node.feature", "node.subset", "subset.first", "subset.word", "tree.root"] {
            let mut broken = whole.clone();
            broken.integers.iter_mut().filter(|integers| integers.name == name).for_each(|integers| {
                integers.values.clear();
            });
            assert!(Trees::from_weights(&broken, 2).is_err(), "empty {name}");
        }
        for gain in [f32::NAN, f32::INFINITY, -1.0] {
            let mut broken = whole.clone();
            let found = broken.arrays.iter_mut().find(|array| array.name == "node.gain").unwrap();
            found.values[1] = gain;
            assert!(Trees::from_weights(&broken, 2).is_err(), "a gain of {gain}");
            broken.arrays.retain(|array| array.name != "node.gain");
            assert!(Trees::from_weights(&broken, 2).is_err(), "no gains");
        }
        for shape in [vec![5], vec![5, 0], vec![usize::MAX, 2], vec![4, 2]] {
            let mut broken = whole.clone();
            broken.arrays[0].shape = shape;
            assert!(Trees::from_weights(&broken, 2).is_err());
        }
    }
}
