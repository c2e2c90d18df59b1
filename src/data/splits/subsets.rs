//! Nested subsets of folds' training rows, for budgets that count rows: each is in every larger one, and all candidates of a
//! fold see the same rows.
//!
//! A fold's rows are put in one order, and a subset is the order's beginning. Classes keep their shares in every beginning, by
//! the quota method of Balinski & Young 1975 ("The quota method of apportionment", Am. Math. Monthly 82:701): row by row the next
//! one is of the class that is furthest behind among those that are not ahead. Numbers are in random order.

use crate::base::random::{Key, shuffled, stream};
use crate::data::Target;
use crate::data::problem::FoldRows;
use rayon::prelude::*;
use std::cmp::Reverse;

/// Rows of the smallest subset at least, about as many as scikit-learn's HalvingRandomSearchCV begins with for two classes on
/// five folds.
const ROWS_LEAST: usize = 20;
/// Rows of it for each class, on average.
const ROWS_OF_A_CLASS: usize = 4;
/// Rows of each class in every subset, where the fold has so many: a variance needs two.
const ROWS_OF_EACH_CLASS: usize = 2;

/// The order of each fold's training rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsets {
    orders: Vec<Vec<u32>>,
    /// Training rows of the smallest fold.
    full: u64,
    least: u64,
}

impl Subsets {
    /// Orders the training rows of all folds; those that count for nothing come last. `weight` is how much each row of the data
    /// counts, `key` the study's: what is drawn depends on the repeat and the fold alone.
    pub fn draw(target: &Target, weight: Option<&[f32]>, folds: &[FoldRows], key: Key) -> Subsets {
        let key = key.child(stream::ROWS);
        let counts = |row: &u32| weight.and_then(|weight| weight.get(*row as usize)).is_none_or(|weight| *weight > 0.0);
        let draw = |fold: &FoldRows| {
            let (some, none): (Vec<u32>, Vec<u32>) = fold.train.iter().partition(|row| counts(row));
            let key = key.child(fold.repeat).child(fold.fold);
            let mut order = order(target, &some, key);
            order.extend(none);
            order
        };
        let full = folds.iter().map(|fold| fold.train.len()).min().unwrap_or(0);
        let classes = if let Target::Classes { classes, .. } = target { *classes } else { 1 };
        let least = ROWS_LEAST.max(ROWS_OF_A_CLASS * classes).min(full);
        Subsets { orders: folds.par_iter().map(draw).collect(), full: full as u64, least: least as u64 }
    }

    /// The full budget: the training rows of the smallest fold. Of a larger fold a budget is the same share.
    pub fn full(&self) -> u64 {
        self.full
    }

    /// The least budget with which something can be learnt.
    pub fn least(&self) -> u64 {
        self.least
    }

    /// Raises the least budget.
    pub fn begin_at(&mut self, least: u64) {
        self.least = least.clamp(self.least, self.full);
    }

    /// The folds with as many of their training rows as the budget says, ascending; what is scored stays whole.
    pub fn cut(&self, folds: &[FoldRows], budget: u64) -> Vec<FoldRows> {
        let cut = |(fold, order): (&FoldRows, &Vec<u32>)| {
            let mut train = order[..self.rows(order.len(), budget)].to_vec();
            train.sort_unstable();
            FoldRows { train, ..fold.clone() }
        };
        folds.iter().zip(&self.orders).map(cut).collect()
    }

    /// How many of a fold's `all` training rows a budget is.
    fn rows(&self, all: usize, budget: u64) -> usize {
        let share = u128::from(budget.min(self.full)) * all as u128;
        share.div_ceil(u128::from(self.full.max(1))) as usize
    }
}

/// Random rows, each class's so far apart as it is rare.
fn order(target: &Target, rows: &[u32], key: Key) -> Vec<u32> {
    let shuffled: Vec<u32> = shuffled(key, rows.len()).into_iter().map(|place| rows[place as usize]).collect();
    let Target::Classes { codes, classes } = target else { return shuffled };
    let mut of_class: Vec<Vec<u32>> = vec![Vec::new(); *classes];
    shuffled.iter().for_each(|&row| of_class[codes[row as usize] as usize].push(row));
    of_class.retain(|rows| !rows.is_empty());
    let counts: Vec<usize> = of_class.iter().map(Vec::len).collect();
    let mut of_class: Vec<_> = of_class.into_iter().map(Vec::into_iter).collect();
    apportion(&counts).filter_map(|class| of_class[class].next()).collect()
}

/// The class of each row in turn, of classes with so many rows each.
fn apportion(counts: &[usize]) -> impl Iterator<Item = usize> {
    let all: usize = counts.iter().sum();
    let mut taken = vec![0usize; counts.len()];
    (1..=all).map(move |rows| {
        let is_left = |class: &usize| taken[*class] < counts[*class];
        let is_needed = |class: &usize| taken[*class] < ROWS_OF_EACH_CLASS.min(counts[*class]);
        let needed = (0..counts.len()).filter(is_needed).min_by_key(|class| taken[*class]);
        // Not ahead: one more is within the share of so many rows, rounded up.
        let is_due = |class: &usize| (taken[*class] as u128) * (all as u128) < counts[*class] as u128 * rows as u128;
        // Furthest behind: the most rows for each that it has had.
        let behind = |a: &usize, b: &usize| {
            let side = |a: usize, b: usize| counts[a] as u128 * (taken[b] as u128 + 1);
            side(*a, *b).cmp(&side(*b, *a)).then(Reverse(*a).cmp(&Reverse(*b)))
        };
        let due = || (0..counts.len()).filter(is_left).filter(is_due).max_by(behind);
        let class = needed.or_else(due).unwrap_or(0);
        taken[class] += 1;
        class
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of each class among the first of them.
    fn counts_of(order: &[usize], classes: usize) -> Vec<usize> {
        (0..classes).map(|class| order.iter().filter(|of| **of == class).count()).collect()
    }

    #[test]
    fn every_beginning_has_each_class_within_a_row_of_its_share_and_two_rows_of_each() {
        for counts in [&[50usize, 50, 50][..], &[900, 90, 10], &[1, 3, 500], &[7], &[33, 1], &[13, 11, 7, 5, 3, 2, 400]]
        {
            let order: Vec<usize> = apportion(counts).collect();
            let all: usize = counts.iter().sum();
            assert_eq!(counts_of(&order, counts.len()), counts, "every row once");
            for rows in 2 * counts.len()..=all {
                let found = counts_of(&order[..rows], counts.len());
                let share = |class: usize| counts[class] as f64 * rows as f64 / all as f64;
                // What rare classes have beyond their shares the others lack.
                let given: f64 = (0..counts.len()).map(|class| (2.0 - share(class)).max(0.0)).sum();
                for class in 0..counts.len() {
                    assert!(found[class] >= counts[class].min(2), "{counts:?}, {rows} rows, class {class}");
                    let off = found[class] as f64 - share(class);
                    assert!(off > -1.0 - given, "{counts:?}, {rows} rows, class {class}: {off}");
                    assert!(off < 1.0 || found[class] <= 2, "{counts:?}, {rows} rows, class {class}: {off}");
                }
            }
        }
    }

    #[test]
    fn a_budget_is_the_same_share_of_every_fold_and_the_whole_of_it_all_rows() {
        let target = Target::Values(vec![0.0; 100]);
        let fold = |fold: u32, rows: u32| FoldRows { repeat: 0, fold, train: (0..rows).collect(), evals: Vec::new() };
        let folds = [fold(0, 40), fold(1, 41), fold(2, 80)];
        let subsets = Subsets::draw(&target, None, &folds, Key::from_seed(1));
        assert_eq!((subsets.full(), subsets.least()), (40, 20));
        let rows = |budget| subsets.cut(&folds, budget).iter().map(|fold| fold.train.len()).collect::<Vec<_>>();
        assert_eq!(rows(13), [13, 14, 26]);
        assert_eq!(subsets.cut(&folds, 40), folds);
        assert_eq!(subsets.cut(&folds, u64::MAX), folds);
        assert_eq!(rows(0), [0, 0, 0]);
    }

    #[test]
    fn rows_that_count_for_nothing_come_last() {
        let target = Target::Classes { codes: (0..90).map(|row| row % 3).collect(), classes: 3 };
        let weight: Vec<f32> = (0..90).map(|row| if row % 4 == 0 { 0.0 } else { 1.0 }).collect();
        let folds = [FoldRows { repeat: 0, fold: 0, train: (0..90).collect(), evals: Vec::new() }];
        let subsets = Subsets::draw(&target, Some(&weight), &folds, Key::from_seed(1));
        let idle = |budget| subsets.cut(&folds, budget)[0].train.iter().filter(|row| **row % 4 == 0).count();
        assert_eq!([20, 67, 68, 90].map(idle), [0, 0, 1, 23]);
    }
}
