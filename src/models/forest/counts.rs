//! Classes of a node's rows, counted by bin: what splits of classes are judged by.
//!
//! Classes stand in chunks of C, padded with classes that no row has, so that a bin moves to the left side as a whole
//! register. Squares are summed in 32 bits where all rows weigh less than 2^16, and in 64 beyond.

use super::gain::{Best, Logarithms, Parts, Rule};
use super::recipe::Criterion;
use super::search::{Sample, Tally, mark};
use std::cmp::Ordering;
use std::sync::OnceLock;

/// Class weights of a node, by bin and on the left side. C is a power of two.
pub struct Counts<const C: usize> {
    /// Chunks of C classes.
    chunks: usize,
    criterion: Criterion,
    logarithms: &'static Logarithms,
    /// `[bins, chunks]`
    by_bin: Vec<[u32; C]>,
    /// Rows of each bin, if a leaf must have more than one.
    rows: [u32; 256],
    all: Vec<[u32; C]>,
    left: Vec<[u32; C]>,
    kept: Vec<[u32; C]>,
    weight: u32,
    squares: u64,
    /// Sums of `c log2 c` over the classes of either side.
    logs: [i64; 2],
    largest_class: usize,
    left_rows: u32,
    min_leaf: u32,
    best: Best,
}

/// The tables of entropy, made once.
fn logarithms() -> &'static Logarithms {
    static TABLES: OnceLock<Logarithms> = OnceLock::new();
    TABLES.get_or_init(Logarithms::new)
}

/// Below it squares of weights, and their sums over the classes of a node, fit into 32 bits.
const NARROW: u32 = 1 << 16;

impl<const C: usize> Counts<C> {
    /// For so many classes.
    pub fn new(classes: usize, criterion: Criterion) -> Counts<C> {
        let chunks = classes.div_ceil(C).max(1);
        let empty = || vec![[0; C]; chunks];
        Counts {
            chunks,
            criterion,
            logarithms: logarithms(),
            by_bin: vec![[0; C]; 256 * chunks],
            rows: [0; 256],
            all: empty(),
            left: empty(),
            kept: empty(),
            weight: 0,
            squares: 0,
            logs: [0; 2],
            largest_class: 0,
            left_rows: 0,
            min_leaf: 1,
            best: Best::none(rule(criterion)),
        }
    }

    #[inline(always)]
    fn bin(&self, bin: u8) -> &[[u32; C]] {
        &self.by_bin[usize::from(bin) * self.chunks..][..self.chunks]
    }

    /// Sums over classes: the left side's weight, its squares, and its products with the node's weights.
    #[inline(always)]
    fn sums(&self, left: impl Fn(usize, usize) -> u32) -> (u32, u64, u64) {
        let mut weight = 0;
        if self.weight < NARROW {
            let (mut squares, mut products) = (0u32, 0u32);
            for (chunk, all) in self.all.iter().enumerate() {
                for (class, all) in all.iter().enumerate() {
                    let count = left(chunk, class);
                    weight += count;
                    squares += count * count;
                    products += count * all;
                }
            }
            return (weight, u64::from(squares), u64::from(products));
        }
        let (mut squares, mut products) = (0u64, 0u64);
        for (chunk, all) in self.all.iter().enumerate() {
            for (class, all) in all.iter().enumerate() {
                let count = left(chunk, class);
                weight += count;
                squares += u64::from(count) * u64::from(count);
                products += u64::from(count) * u64::from(*all);
            }
        }
        (weight, squares, products)
    }

    #[inline(always)]
    fn squares_of(&self, left: impl Fn(usize, usize) -> u32) -> Parts {
        let (left_weight, squares, products) = self.sums(left);
        // (t - l)^2 = t^2 - 2 t l + l^2
        let right = self.squares + squares - 2 * products;
        Parts { left: squares as i64, right: right as i64, left_weight, right_weight: self.weight - left_weight }
    }

    fn entropy_of(&self, logs: i64, left_weight: u32) -> Parts {
        let right_weight = self.weight - left_weight;
        let sides = self.logarithms.product(left_weight) + self.logarithms.product(right_weight);
        // No split is better than one of two pure sides: what is more is the table's rounding, which may not decide.
        Parts { left: (logs - sides).min(0), right: 0, left_weight, right_weight }
    }

    fn entropy_with(&self, missing: u8) -> Parts {
        let (mut logs, mut weight) = (0, 0);
        for ((left, missing), all) in self.left.iter().zip(self.bin(missing)).zip(&self.all) {
            for class in 0..C {
                let count = left[class] + missing[class];
                weight += count;
                logs += self.logarithms.product(count) + self.logarithms.product(all[class] - count);
            }
        }
        self.entropy_of(logs, weight)
    }
}

fn rule(criterion: Criterion) -> Rule {
    match criterion {
        Criterion::Gini => Rule::Squares,
        Criterion::Entropy => Rule::Sum,
    }
}

impl<const C: usize> Tally for Counts<C> {
    fn width(&self) -> usize {
        self.chunks * C
    }

    #[inline(always)]
    fn total(&self, samples: &[Sample], totals: &mut [u32]) {
        totals.fill(0);
        samples.iter().for_each(|sample| totals[sample.y as usize] += sample.weight);
    }

    #[inline(always)]
    fn is_uniform(&self, _: &[Sample], totals: &[u32]) -> bool {
        totals.iter().filter(|count| **count > 0).count() < 2
    }

    #[inline(always)]
    fn begin(&mut self, totals: &[u32], min_leaf: u32) {
        self.all.as_flattened_mut().copy_from_slice(totals);
        self.weight = totals.iter().sum();
        self.squares = totals.iter().map(|count| u64::from(*count) * u64::from(*count)).sum();
        self.largest_class = (0..totals.len()).fold(0, |best, class| match totals[class] > totals[best] {
            true => class,
            false => best,
        });
        self.min_leaf = min_leaf;
        self.best = Best::none(rule(self.criterion));
    }

    #[inline(always)]
    fn count(&mut self, samples: &[Sample], column: &[u8], slots: usize) -> [u64; 4] {
        let width = self.chunks * C;
        let counts = &mut self.by_bin.as_flattened_mut()[..slots * width];
        let occupied = mark(samples, column, slots, |bin, sample| {
            counts[bin * width + sample.y as usize] += sample.weight;
        });
        if self.min_leaf > 1 {
            samples.iter().for_each(|sample| self.rows[usize::from(column[sample.row as usize])] += 1);
        }
        occupied
    }

    #[inline(always)]
    fn clear(&mut self, bin: u8) {
        self.by_bin[usize::from(bin) * self.chunks..][..self.chunks].fill([0; C]);
        self.rows[usize::from(bin)] = 0;
    }

    #[inline(always)]
    fn begin_left(&mut self) {
        self.left.fill([0; C]);
        self.left_rows = 0;
        if self.criterion == Criterion::Entropy {
            self.logs = [0, self.all.as_flattened().iter().map(|count| self.logarithms.product(*count)).sum()];
        }
    }

    #[inline(always)]
    fn add(&mut self, bin: u8) {
        let counts = &self.by_bin[usize::from(bin) * self.chunks..][..self.chunks];
        if self.criterion == Criterion::Entropy {
            let product = |count| self.logarithms.product(count);
            for ((left, count), all) in
                self.left.as_flattened().iter().zip(counts.as_flattened()).zip(self.all.as_flattened())
            {
                if *count > 0 {
                    self.logs[0] += product(left + count) - product(*left);
                    self.logs[1] += product(all - left - count) - product(all - left);
                }
            }
        }
        for (left, counts) in self.left.iter_mut().zip(counts) {
            for class in 0..C {
                left[class] += counts[class];
            }
        }
        self.left_rows += self.rows[usize::from(bin)];
    }

    #[inline(always)]
    fn parts(&self, missing: Option<u8>) -> (Parts, u32) {
        let parts = match (self.criterion, missing) {
            (Criterion::Gini, None) => self.squares_of(|chunk, class| self.left[chunk][class]),
            (Criterion::Gini, Some(missing)) => {
                let more = self.bin(missing);
                self.squares_of(|chunk, class| self.left[chunk][class] + more[chunk][class])
            }
            (Criterion::Entropy, None) => {
                self.entropy_of(self.logs[0] + self.logs[1], self.left.as_flattened().iter().sum())
            }
            (Criterion::Entropy, Some(missing)) => self.entropy_with(missing),
        };
        let more = missing.map_or(0, |missing| self.rows[usize::from(missing)]);
        // Where one row is enough for a leaf, bins that have any are enough: they are not counted.
        (parts, if self.min_leaf > 1 { self.left_rows + more } else { 1 })
    }

    #[inline(always)]
    fn is_perfect(&self, parts: &Parts) -> bool {
        let square = |weight: u32| i64::from(weight) * i64::from(weight);
        match self.criterion {
            Criterion::Gini => parts.left == square(parts.left_weight) && parts.right == square(parts.right_weight),
            Criterion::Entropy => parts.left == 0,
        }
    }

    #[inline(always)]
    fn keep(&mut self, missing: Option<u8>) {
        self.kept.copy_from_slice(&self.left);
        if let Some(missing) = missing {
            let more = &self.by_bin[usize::from(missing) * self.chunks..][..self.chunks];
            for (kept, more) in self.kept.as_flattened_mut().iter_mut().zip(more.as_flattened()) {
                *kept += more;
            }
        }
    }

    fn order(&self, a: u8, b: u8) -> Ordering {
        let share = |bin: u8| {
            let counts = self.bin(bin).as_flattened();
            (u64::from(counts[self.largest_class]), counts.iter().map(|count| u64::from(*count)).sum::<u64>())
        };
        let ((a, of_a), (b, of_b)) = (share(a), share(b));
        (a * of_b).cmp(&(b * of_a))
    }

    #[inline(always)]
    fn left(&self) -> &[u32] {
        self.kept.as_flattened()
    }

    #[inline(always)]
    fn right(&self, right: &mut [u32]) {
        for ((right, all), left) in right.iter_mut().zip(self.all.as_flattened()).zip(self.kept.as_flattened()) {
            *right = all - left;
        }
    }

    #[inline(always)]
    fn best(&mut self) -> &mut Best {
        &mut self.best
    }
}
