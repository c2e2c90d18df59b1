//! A random forest for regression (Breiman 2001) as SMAC needs it: a mean and a variance at any candidate, over choices
//! and parameters that do not exist as well as numbers.
//!
//! A split of a number says to which side a missing one goes; one of choices says so for every choice, and missing is a
//! choice more. So trees learn conditions like anything else.

use crate::base::random::Key;
use crate::strategies::generations::Draws;
use rayon::prelude::*;

/// What a feature's values are. NaN is a parameter that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// Numbers, or anything in order.
    Number,
    /// So many choices, by their codes.
    Choice(usize),
}

/// What a forest is grown from.
pub(super) struct Table<'a> {
    /// What each column holds.
    pub(super) features: &'a [Feature],
    /// `[feature][sample]`
    pub(super) columns: Vec<f64>,
    /// One a sample, finite.
    pub(super) targets: Vec<f64>,
}

/// Samples that a leaf has at least, with a bootstrap's repetitions.
const LEAF: usize = 2;

/// A feature's number in nodes that are leaves.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// The feature that it splits by.
    feature: u32,
    /// Its left child; the right one follows.
    child: u32,
    /// Where the left choices' bits begin, or, of a number, 1 where missing ones go to the left.
    choices: u32,
    /// Numbers up to here go to the left; a leaf's mean.
    value: f64,
    /// A leaf's variance.
    variance: f64,
}

/// A tree's nodes, children behind their parents.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Bits of the choices that go to the left.
    choices: Vec<u64>,
}

impl Tree {
    /// Mean and variance of the leaf that a candidate falls into.
    fn leaf(&self, features: &[Feature], x: &[f64]) -> (f64, f64) {
        let mut node = &self.nodes[0];
        while node.feature != NONE {
            let (feature, x) = (features[node.feature as usize], x[node.feature as usize]);
            let goes_left = match feature {
                Feature::Number if x.is_nan() => node.choices == 1,
                Feature::Number => x <= node.value,
                Feature::Choice(count) => {
                    let code = code(x, count);
                    self.choices[node.choices as usize + code / 64] >> (code % 64) & 1 == 1
                }
            };
            node = &self.nodes[node.child as usize + usize::from(!goes_left)];
        }
        (node.value, node.variance)
    }
}

/// The place of a choice among `count` and missing.
fn code(x: f64, count: usize) -> usize {
    if x.is_nan() { count } else { (x as usize).min(count) }
}

/// Trees, and what their features are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Forest {
    features: Vec<Feature>,
    trees: Vec<Tree>,
}

impl Forest {
    /// Grows trees, each from a bootstrap of the samples and a key of its own, so that any number of threads grows the
    /// same. There is a sample at least.
    pub(super) fn grow(table: &Table, trees: u32, key: Key) -> Forest {
        let trees = (0..trees).into_par_iter().map(|tree| Growth::new(table, key.child(tree)).tree()).collect();
        Forest { features: table.features.to_vec(), trees }
    }

    /// Number of trees.
    pub(super) fn len(&self) -> usize {
        self.trees.len()
    }

    /// Mean and variance at a candidate by some of the trees: the mean of the leaves' variances and the variance of
    /// their means (Hutter et al. 2014, "Algorithm runtime prediction", section 4.3.2).
    pub(super) fn predict(&self, x: &[f64], trees: &[u32]) -> (f64, f64) {
        let (mut sum, mut squares, mut variances) = (0.0, 0.0, 0.0);
        for tree in trees {
            let (mean, variance) = self.trees[*tree as usize].leaf(&self.features, x);
            sum += mean;
            squares += mean * mean;
            variances += variance;
        }
        let count = trees.len() as f64;
        let mean = sum / count;
        (mean, ((squares + variances) / count - mean * mean).max(0.0))
    }
}

/// A way to split a node.
#[derive(Debug, Clone, Copy)]
struct Split {
    /// Sum of squared sums over their counts: the greater, the less variance is left.
    gain: f64,
    feature: usize,
    threshold: f64,
    missing_left: bool,
}

/// Count and sum of targets.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    count: f64,
    sum: f64,
}

impl Part {
    fn add(&mut self, target: f64) {
        self.count += 1.0;
        self.sum += target;
    }

    fn and(self, other: Part) -> Part {
        Part { count: self.count + other.count, sum: self.sum + other.sum }
    }

    fn without(self, other: Part) -> Part {
        Part { count: self.count - other.count, sum: self.sum - other.sum }
    }

    fn gain(self) -> f64 {
        self.sum * self.sum / self.count
    }
}

/// A tree while it grows.
struct Growth<'a> {
    table: &'a Table<'a>,
    draws: Draws,
    /// Samples, those of a node side by side.
    samples: Vec<u32>,
    tree: Tree,
    /// Features in the order in which a node tries them.
    order: Vec<usize>,
    parts: Vec<Part>,
    ranked: Vec<usize>,
    /// The left choices of the best split so far.
    left: Vec<bool>,
}

impl<'a> Growth<'a> {
    fn new(table: &'a Table<'a>, key: Key) -> Growth<'a> {
        let mut draws = Draws::new(key);
        let count = table.targets.len();
        let samples = (0..count).map(|_| draws.below(count) as u32).collect();
        let tree = Tree { nodes: Vec::new(), choices: Vec::new() };
        let order = (0..table.features.len()).collect();
        Growth { table, draws, samples, tree, order, parts: Vec::new(), ranked: Vec::new(), left: Vec::new() }
    }

    fn tree(mut self) -> Tree {
        let empty = Node { feature: NONE, child: 0, choices: 0, value: 0.0, variance: 0.0 };
        self.tree.nodes.push(empty);
        let mut open = vec![(0, 0, self.samples.len())];
        while let Some((node, start, end)) = open.pop() {
            let (leaf, is_flat) = self.leaf(start, end);
            self.tree.nodes[node] = leaf;
            if is_flat || end - start < 2 * LEAF {
                continue;
            }
            let Some(split) = self.best_split(start, end) else { continue };
            let child = self.tree.nodes.len();
            let choices = self.choices(&split);
            self.tree.nodes[node] = Node {
                feature: split.feature as u32,
                child: child as u32,
                choices,
                value: split.threshold,
                variance: 0.0,
            };
            self.tree.nodes.extend([empty, empty]);
            let middle = self.partition(&split, start, end);
            open.push((child, start, middle));
            open.push((child + 1, middle, end));
        }
        self.tree
    }

    /// The leaf of some samples, and whether all have one target.
    fn leaf(&self, start: usize, end: usize) -> (Node, bool) {
        let targets = || self.samples[start..end].iter().map(|sample| self.table.targets[*sample as usize]);
        let count = (end - start) as f64;
        let mean = targets().sum::<f64>() / count;
        let variance = targets().map(|target| (target - mean) * (target - mean)).sum::<f64>() / count;
        (Node { feature: NONE, child: 0, choices: 0, value: mean, variance }, variance == 0.0)
    }

    /// The best split by five of six features (as in SMAC), drawn anew for each node from those that are not constant there.
    fn best_split(&mut self, start: usize, end: usize) -> Option<Split> {
        let count = self.order.len();
        let mut left_to_try = (count * 5).div_ceil(6);
        let mut best: Option<Split> = None;
        for place in 0..count {
            let other = place + self.draws.below(count - place);
            self.order.swap(place, other);
            let feature = self.order[place];
            let tried = match self.table.features[feature] {
                Feature::Number => self.split_number(feature, start, end, &mut best),
                Feature::Choice(count) => self.split_choice(feature, count, start, end, &mut best),
            };
            left_to_try -= usize::from(tried);
            if left_to_try == 0 {
                break;
            }
        }
        best
    }

    fn column(&self, feature: usize) -> &'a [f64] {
        let count = self.table.targets.len();
        &self.table.columns[feature * count..][..count]
    }

    /// Tries a threshold drawn between the least and the greatest number (Geurts, Ernst & Wehenkel 2006): forests of such
    /// trees are smoother between the samples than those with the best thresholds. False where all are alike.
    fn split_number(&mut self, feature: usize, start: usize, end: usize, best: &mut Option<Split>) -> bool {
        let column = self.column(feature);
        let samples = &self.samples[start..end];
        let (mut low, mut high, mut missing) = (f64::INFINITY, f64::NEG_INFINITY, Part::default());
        let mut present = Part::default();
        for sample in samples {
            let (x, target) = (column[*sample as usize], self.table.targets[*sample as usize]);
            if x.is_nan() {
                missing.add(target);
            } else {
                present.add(target);
                (low, high) = (low.min(x), high.max(x));
            }
        }
        let mut consider = |left: Part, right: Part, threshold: f64, missing_left: bool| {
            if left.count < LEAF as f64 || right.count < LEAF as f64 {
                return;
            }
            let gain = left.gain() + right.gain();
            if best.is_none_or(|best| gain > best.gain) {
                *best = Some(Split { gain, feature, threshold, missing_left });
            }
        };
        if missing.count > 0.0 {
            consider(missing, present, f64::NEG_INFINITY, true);
        }
        if low < high {
            let threshold = low + self.draws.uniform() * (high - low);
            let mut left = Part::default();
            for sample in samples {
                if column[*sample as usize] <= threshold {
                    left.add(self.table.targets[*sample as usize]);
                }
            }
            let right = present.without(left);
            if missing.count == 0.0 {
                consider(left, right, threshold, self.draws.uniform() < 0.5);
            } else {
                consider(left.and(missing), right, threshold, true);
                consider(left, right.and(missing), threshold, false);
            }
        }
        low < high || missing.count > 0.0 && present.count > 0.0
    }

    /// Tries the best of all subsets: with the choices in the order of their means, the left ones are the first so many
    /// (Fisher 1958). False where all are alike.
    fn split_choice(
        &mut self,
        feature: usize,
        count: usize,
        start: usize,
        end: usize,
        best: &mut Option<Split>,
    ) -> bool {
        let column = self.column(feature);
        self.parts.clear();
        self.parts.resize(count + 1, Part::default());
        let mut all = Part::default();
        for sample in &self.samples[start..end] {
            let target = self.table.targets[*sample as usize];
            self.parts[code(column[*sample as usize], count)].add(target);
            all.add(target);
        }
        let parts = &self.parts;
        self.ranked.clear();
        self.ranked.extend((0..=count).filter(|code| parts[*code].count > 0.0));
        let mean = |code: &usize| parts[*code].sum / parts[*code].count;
        self.ranked.sort_by(|a, b| mean(a).total_cmp(&mean(b)).then(a.cmp(b)));
        let mut left = Part::default();
        let mut chosen = None;
        for (place, code) in self.ranked.iter().enumerate().take(self.ranked.len().saturating_sub(1)) {
            left = left.and(parts[*code]);
            let right = all.without(left);
            let gain = left.gain() + right.gain();
            if left.count >= LEAF as f64 && right.count >= LEAF as f64 && best.is_none_or(|best| gain > best.gain) {
                *best = Some(Split { gain, feature, threshold: 0.0, missing_left: false });
                chosen = Some(place);
            }
        }
        if let Some(place) = chosen {
            self.left.clear();
            // What the node has not seen goes anywhere.
            self.left.extend((0..=count).map(|_| self.draws.uniform() < 0.5));
            for (rank, code) in self.ranked.iter().enumerate() {
                self.left[*code] = rank <= place;
            }
        }
        self.ranked.len() > 1
    }

    /// Writes down where a split sends choices, or missing numbers.
    fn choices(&mut self, split: &Split) -> u32 {
        let Feature::Choice(count) = self.table.features[split.feature] else {
            return u32::from(split.missing_left);
        };
        let first = self.tree.choices.len();
        self.tree.choices.resize(first + count / 64 + 1, 0);
        for (code, _) in self.left.iter().enumerate().filter(|(_, left)| **left) {
            self.tree.choices[first + code / 64] |= 1 << (code % 64);
        }
        first as u32
    }

    /// Moves the left samples before the right ones; where the right ones begin.
    fn partition(&mut self, split: &Split, start: usize, end: usize) -> usize {
        let column = self.column(split.feature);
        let mut middle = start;
        for place in start..end {
            let x = column[self.samples[place] as usize];
            let goes_left = match self.table.features[split.feature] {
                Feature::Number if x.is_nan() => split.missing_left,
                Feature::Number => x <= split.threshold,
                Feature::Choice(count) => self.left[code(x, count)],
            };
            if goes_left {
                self.samples.swap(place, middle);
                middle += 1;
            }
        }
        middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{normal_f64, uniform_f64};

    const KEY: Key = Key::from_seed(3);

    /// Samples of features whose values `of` draws from a sample's number.
    fn table<'a>(
        features: &'a [Feature],
        samples: u64,
        of: impl Fn(u64) -> Vec<f64>,
        target: impl Fn(&[f64], u64) -> f64,
    ) -> (Table<'a>, Vec<Vec<f64>>) {
        let rows: Vec<Vec<f64>> = (0..samples).map(of).collect();
        let columns = (0..features.len()).flat_map(|feature| rows.iter().map(move |row| row[feature])).collect();
        let targets = (0..).zip(&rows).map(|(number, row)| target(row, number)).collect();
        (Table { features, columns, targets }, rows)
    }

    fn all(forest: &Forest) -> Vec<u32> {
        (0..forest.len() as u32).collect()
    }

    /// A choice of four; a number where it is 1 or 2, and otherwise none.
    fn conditional(number: u64) -> Vec<f64> {
        let u = |place: u64| uniform_f64(KEY.child(number as u32).words(place));
        let kind = (4.0 * u(0)).floor();
        vec![kind, if kind == 1.0 || kind == 2.0 { u(1) } else { f64::NAN }, u(2)]
    }

    fn conditional_target(row: &[f64]) -> f64 {
        if row[1].is_nan() { row[0] } else { 5.0 * row[1] * row[0] }
    }

    #[test]
    fn choices_conditions_and_numbers_are_learnt_together() {
        let features = [Feature::Choice(4), Feature::Number, Feature::Number];
        let (table, _) = table(&features, 800, conditional, |row, _| conditional_target(row));
        let forest = Forest::grow(&table, 48, KEY);
        let (mut missed, mut spread) = (0.0, 0.0);
        for number in 1000..1400 {
            let row = conditional(number);
            let error = forest.predict(&row, &all(&forest)).0 - conditional_target(&row);
            missed += error * error;
            spread += (conditional_target(&row) - 2.4).powi(2);
        }
        assert!(missed < 0.01 * spread, "{missed} of {spread} is left");
    }

    #[test]
    fn the_variance_is_that_of_the_noise_where_there_is_much_to_see() {
        let noise = |number: u64| 0.5 * normal_f64(KEY.words(number));
        let flat = |number: u64| vec![uniform_f64(KEY.child(1).words(number))];
        let (table, _) = table(&[Feature::Number], 1000, flat, |_, number| noise(number));
        let forest = Forest::grow(&table, 48, KEY);
        let trees = all(&forest);
        let variance = (0..100).map(|place| forest.predict(&[f64::from(place) / 100.0], &trees).1).sum::<f64>() / 100.0;
        // Leaves' own variance and that of their means: of leaves of k samples (k - 1) / k and 1 / k of it.
        assert!((variance / 0.25 - 1.0).abs() < 0.15, "{variance}");
        // One tree knows but its leaves'.
        let one = (0..100).map(|place| forest.predict(&[f64::from(place) / 100.0], &[0]).1).sum::<f64>() / 100.0;
        assert!(one < 0.8 * variance, "{one} of {variance}");
    }

    #[test]
    fn more_choices_than_a_word_has_bits_are_told_apart() {
        let features = [Feature::Choice(200)];
        let (table, rows) =
            table(&features, 4000, |number| vec![(number % 200) as f64], |row, _| (row[0] as u64 * 7 % 5) as f64);
        let forest = Forest::grow(&table, 16, KEY);
        for (row, target) in rows.iter().zip(&table.targets).take(200) {
            let (mean, _) = forest.predict(row, &all(&forest));
            assert!((mean - target).abs() < 0.2, "{row:?}: {mean} for {target}");
        }
    }

    #[test]
    fn any_number_of_threads_grows_the_same_trees() {
        let features = [Feature::Choice(4), Feature::Number, Feature::Number];
        let (table, _) = table(&features, 300, conditional, |row, _| conditional_target(row));
        let grow = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| Forest::grow(&table, 12, KEY))
        };
        let same = |a: &Forest, b: &Forest| format!("{a:?}") == format!("{b:?}");
        assert!(same(&grow(1), &grow(4)));
        assert!(!same(&grow(1), &Forest::grow(&table, 12, Key::from_seed(4))));
    }
}
