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
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

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
    /// None where the smallest subset is the whole fold.
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
        let orders = if least < full { folds.par_iter().map(draw).collect() } else { Vec::new() };
        Subsets { orders, full: full as u64, least: least as u64 }
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
        if self.orders.is_empty() || budget >= self.full {
            return folds.to_vec();
        }
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
    apportion(&counts).into_iter().filter_map(|class| of_class[class].next()).collect()
}

/// A class with rows that are not taken yet. The greatest is furthest behind: the most rows for each that it has had, and of
/// equal ones the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Behind {
    class: usize,
    rows: usize,
    taken: usize,
}

impl Ord for Behind {
    fn cmp(&self, other: &Behind) -> Ordering {
        let side = |a: &Behind, b: &Behind| a.rows as u128 * (b.taken as u128 + 1);
        side(self, other).cmp(&side(other, self)).then(other.class.cmp(&self.class))
    }
}

impl PartialOrd for Behind {
    fn partial_cmp(&self, other: &Behind) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The class of each row in turn, of classes with so many rows each.
fn apportion(counts: &[usize]) -> Vec<usize> {
    let all: usize = counts.iter().sum();
    let mut order = Vec::with_capacity(all);
    for needed in 1..=ROWS_OF_EACH_CLASS {
        order.extend((0..counts.len()).filter(|class| counts[*class] >= needed));
    }
    // Not ahead: one more is within the share of so many rows, rounded up. That is so from a number of rows on.
    let due_at = |class: &Behind| class.taken as u128 * all as u128 / class.rows as u128 + 1;
    let left = counts.iter().enumerate().filter(|(_, rows)| **rows > ROWS_OF_EACH_CLASS);
    let mut waiting: BinaryHeap<_> = left
        .map(|(class, rows)| Behind { class, rows: *rows, taken: ROWS_OF_EACH_CLASS })
        .map(|class| Reverse((due_at(&class), class)))
        .collect();
    let mut due: BinaryHeap<Behind> = BinaryHeap::new();
    loop {
        let rows = order.len() as u128 + 1;
        while let Some(Reverse((_, class))) = waiting.peek().filter(|Reverse((at, _))| *at <= rows) {
            due.push(*class);
            waiting.pop();
        }
        // Of those with rows left not all are ahead: where nobody is due, nobody has any.
        let Some(Behind { class, rows, taken }) = due.pop() else { return order };
        order.push(class);
        let class = Behind { class, rows, taken: taken + 1 };
        if class.taken < rows {
            waiting.push(Reverse((due_at(&class), class)));
        }
    }
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
            let order = apportion(counts);
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

    /// The quota method as it is defined: of each row all classes are looked at.
    fn by_definition(counts: &[usize]) -> Vec<usize> {
        let all: usize = counts.iter().sum();
        let mut taken = vec![0; counts.len()];
        let next = |rows: usize| {
            let needed = (0..counts.len()).filter(|class| taken[*class] < counts[*class].min(2));
            let due = |class: &usize| taken[*class] < counts[*class] && taken[*class] * all < counts[*class] * rows;
            let behind = |a: &usize, b: &usize| {
                (counts[*a] * (taken[*b] + 1)).cmp(&(counts[*b] * (taken[*a] + 1))).then(b.cmp(a))
            };
            let class = needed.min_by_key(|class| taken[*class]);
            let class = class.or_else(|| (0..counts.len()).filter(due).max_by(behind)).unwrap();
            taken[class] += 1;
            class
        };
        (1..=all).map(next).collect()
    }

    #[test]
    fn the_order_is_that_of_the_quota_method() {
        for seed in 0..300 {
            let key = Key::from_seed(seed);
            let draw = |i: usize| key.words(i as u64)[0] as usize;
            let counts: Vec<usize> =
                (1..=1 + draw(0) % 12).map(|class| 1 + draw(class) % [3, 20, 90][draw(100 + class) % 3]).collect();
            assert_eq!(apportion(&counts), by_definition(&counts), "{counts:?}");
        }
        for counts in [&[50usize, 50, 50][..], &[4, 4, 4, 4, 400], &[1], &[2, 2], &[]] {
            assert_eq!(apportion(counts), by_definition(counts), "{counts:?}");
        }
    }

    #[test]
    fn where_no_smaller_subset_can_be_learnt_from_none_is_drawn() {
        let target = Target::Classes { codes: (0..60).map(|row| row / 3).collect(), classes: 20 };
        let folds = [FoldRows { repeat: 0, fold: 0, train: (0..60).collect(), evals: Vec::new() }];
        let subsets = Subsets::draw(&target, None, &folds, Key::from_seed(1));
        assert_eq!((subsets.least(), subsets.full(), subsets.orders.len()), (60, 60, 0));
        assert_eq!(subsets.cut(&folds, 60), folds);
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
