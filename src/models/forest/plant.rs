//! What a fold's trees begin with: targets as whole numbers, each tree's rows, and what a leaf says.

use super::recipe::{Draws, Steps, WEIGHT_BITS, bootstrap_key, scaled, whole_weights};
use super::search::Sample;
use super::sums;
use crate::base::random::{Key, TOGETHER};
use crate::data::{Rows, Target};
use crate::models::linear::{self, ClassWeight};

/// What the totals of a leaf say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Shares of so many classes.
    Classes(usize),
    /// A mean.
    Numbers(Steps),
}

impl Outcome {
    /// Values of a leaf.
    pub fn outputs(&self) -> usize {
        match self {
            Outcome::Classes(classes) => *classes,
            Outcome::Numbers(_) => 1,
        }
    }

    /// Adds a leaf's values to others. Without any row they are NaN.
    #[inline(always)]
    pub fn push(&self, totals: &[u32], values: &mut Vec<f32>) {
        match self {
            Outcome::Classes(classes) => {
                let weight = totals.iter().sum::<u32>() as f32;
                values.extend(totals[..*classes].iter().map(|count| *count as f32 / weight));
            }
            Outcome::Numbers(steps) => {
                let (sum, weight) = sums::of_words(totals);
                values.push(steps.mean(sum, weight));
            }
        }
    }
}

/// The rows that trees of some draws choose from.
pub struct Plant {
    /// A row's class, or its number in steps.
    y: Vec<i32>,
    /// Of each row as whole numbers; `None`: 1.
    weights: Option<Vec<u32>>,
    /// Sums of the weights up to each row and with it, where rows are drawn by them.
    sums: Vec<u32>,
    /// Draws of a bootstrap; 0 for none.
    draws: u32,
    /// What leaves say.
    pub outcome: Outcome,
}

impl Plant {
    /// Makes a fold's training rows ready.
    pub fn new(rows: &Rows, draws: &Draws) -> Plant {
        let weights = row_weights(rows, draws.is_balanced).map(|weights| whole_weights(&weights));
        let all: u64 =
            weights.as_ref().map_or(rows.y.len() as u64, |weights| weights.iter().copied().map(u64::from).sum());
        let (y, outcome) = match &rows.y {
            Target::Classes { codes, classes } => {
                (codes.iter().map(|code| *code as i32).collect(), Outcome::Classes(*classes))
            }
            Target::Values(values) => {
                let steps = Steps::fit(values, if draws.rows > 0 { u64::from(draws.rows) } else { all });
                (values.iter().map(|value| steps.of(*value)).collect(), Outcome::Numbers(steps))
            }
        };
        let sums = match &weights {
            Some(weights) if draws.rows > 0 => weights
                .iter()
                .scan(0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                })
                .collect(),
            _ => Vec::new(),
        };
        Plant { y, weights, sums, draws: draws.rows, outcome }
    }

    /// A tree's rows, those that weigh nothing left out. `counts` is scratch.
    pub fn samples(&self, tree: Key, counts: &mut Vec<u32>, samples: &mut Vec<Sample>) {
        samples.clear();
        let push = |samples: &mut Vec<Sample>, weights: &[u32]| {
            let rows = self.y.iter().zip(weights).enumerate().filter(|(_, (_, weight))| **weight > 0);
            samples.extend(rows.map(|(row, (y, weight))| Sample { row: row as u32, y: *y, weight: *weight }));
        };
        match &self.weights {
            _ if self.draws > 0 => {
                self.draw(bootstrap_key(tree), counts);
                push(samples, counts);
            }
            Some(weights) => push(samples, weights),
            None => samples.extend(self.y.iter().zip(0..).map(|(y, row)| Sample { row, y: *y, weight: 1 })),
        }
    }

    /// How often each row is drawn.
    fn draw(&self, key: Key, counts: &mut Vec<u32>) {
        counts.clear();
        counts.resize(self.y.len(), 0);
        let all = self.sums.last().copied().unwrap_or(0);
        for first in (0..self.draws).step_by(2 * TOGETHER) {
            let words = key.words_together(u64::from(first / 2));
            for word in words.as_flattened().iter().take((self.draws - first) as usize) {
                match all {
                    0 if self.weights.is_some() => {}
                    0 => counts[scaled(*word, self.y.len() as u32) as usize] += 1,
                    _ => counts[self.sums.partition_point(|sum| *sum <= scaled(*word, all))] += 1,
                }
            }
        }
    }
}

/// Sample weights with class weights; `None` where all rows count alike.
pub fn row_weights(rows: &Rows, is_balanced: bool) -> Option<Vec<f64>> {
    linear::row_weights(rows, if is_balanced { ClassWeight::Balanced } else { ClassWeight::None })
}

/// Rows that a fold can have at most.
pub const MOST_ROWS: usize = (1 << WEIGHT_BITS) - 1;
