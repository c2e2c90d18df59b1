//! Numbers of a node's rows, summed by bin in whole steps: what splits of numbers are judged by.

use super::gain::{Best, Parts, Rule};
use super::search::{Sample, Tally, mark};
use std::cmp::Ordering;

/// Of some rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    steps: i64,
    weight: u32,
    rows: u32,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.steps += other.steps;
        self.weight += other.weight;
        self.rows += other.rows;
    }
}

/// Words of a node's totals: both halves of the sum of steps, and the weight.
pub const WIDTH: usize = 3;

/// Sums of a node, by bin and on the left side.
pub struct Sums {
    by_bin: [Sum; 256],
    all: Sum,
    left: Sum,
    kept: [u32; WIDTH],
    best: Best,
}

/// Totals as words.
fn words(steps: i64, weight: u32) -> [u32; WIDTH] {
    [steps as u32, (steps >> 32) as u32, weight]
}

/// The sum of steps and the weight that totals hold.
pub fn of_words(totals: &[u32]) -> (i64, u32) {
    (i64::from(totals[0]) | i64::from(totals[1] as i32) << 32, totals[2])
}

impl Sums {
    /// Nothing counted yet.
    pub fn new() -> Sums {
        Sums {
            by_bin: [Sum::default(); 256],
            all: Sum::default(),
            left: Sum::default(),
            kept: [0; WIDTH],
            best: Best::none(Rule::Deviation),
        }
    }

    #[inline(always)]
    fn left_with(&self, missing: Option<u8>) -> Sum {
        let mut left = self.left;
        if let Some(missing) = missing {
            left.add(self.by_bin[usize::from(missing)]);
        }
        left
    }
}

impl Tally for Sums {
    fn width(&self) -> usize {
        WIDTH
    }

    #[inline(always)]
    fn total(&self, samples: &[Sample], totals: &mut [u32]) {
        let (mut steps, mut weight) = (0, 0);
        for sample in samples {
            steps += i64::from(sample.y) * i64::from(sample.weight);
            weight += sample.weight;
        }
        totals.copy_from_slice(&words(steps, weight));
    }

    #[inline(always)]
    fn is_uniform(&self, samples: &[Sample], _: &[u32]) -> bool {
        let (low, high) =
            samples.iter().fold((i32::MAX, i32::MIN), |(low, high), sample| (low.min(sample.y), high.max(sample.y)));
        low >= high
    }

    #[inline(always)]
    fn begin(&mut self, totals: &[u32], _: u32) {
        let (steps, weight) = of_words(totals);
        self.all = Sum { steps, weight, rows: 0 };
        self.best = Best::none(Rule::Deviation);
    }

    #[inline(always)]
    fn count(&mut self, samples: &[Sample], column: &[u8], slots: usize) -> [u64; 4] {
        mark(samples, column, slots, |bin, sample| {
            let steps = i64::from(sample.y) * i64::from(sample.weight);
            self.by_bin[bin].add(Sum { steps, weight: sample.weight, rows: 1 });
        })
    }

    #[inline(always)]
    fn clear(&mut self, bin: u8) {
        self.by_bin[usize::from(bin)] = Sum::default();
    }

    #[inline(always)]
    fn begin_left(&mut self) {
        self.left = Sum::default();
    }

    #[inline(always)]
    fn add(&mut self, bin: u8) {
        self.left.add(self.by_bin[usize::from(bin)]);
    }

    #[inline(always)]
    fn parts(&self, missing: Option<u8>) -> (Parts, u32) {
        let left = self.left_with(missing);
        // What the left side has beyond its share of the sum, times the weight: below 2^62 by the choice of steps.
        let deviation = left.steps * i64::from(self.all.weight) - self.all.steps * i64::from(left.weight);
        let right_weight = self.all.weight - left.weight;
        (Parts { left: deviation, right: 0, left_weight: left.weight, right_weight }, left.rows)
    }

    fn is_perfect(&self, _: &Parts) -> bool {
        false
    }

    #[inline(always)]
    fn keep(&mut self, missing: Option<u8>) {
        let left = self.left_with(missing);
        self.kept = words(left.steps, left.weight);
    }

    fn order(&self, a: u8, b: u8) -> Ordering {
        let mean = |bin: u8| {
            let sum = self.by_bin[usize::from(bin)];
            (i128::from(sum.steps), i128::from(sum.weight))
        };
        let ((a, of_a), (b, of_b)) = (mean(a), mean(b));
        (a * of_b).cmp(&(b * of_a))
    }

    #[inline(always)]
    fn left(&self) -> &[u32] {
        &self.kept
    }

    #[inline(always)]
    fn right(&self, right: &mut [u32]) {
        let (steps, weight) = of_words(&self.kept);
        right.copy_from_slice(&words(self.all.steps - steps, self.all.weight - weight));
    }

    #[inline(always)]
    fn best(&mut self) -> &mut Best {
        &mut self.best
    }
}
