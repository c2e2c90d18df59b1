//! The solver of the elastic net: everything that both backends must agree on.
//!
//! **Objective**, scikit-learn's, over rows that count for `weight`, all together for `total`:
//! `f = sum of weight (y - x w - b)^2 / (2 total) + l1 |w|_1 + l2 / 2 |w|^2` with `l1 = alpha l1_ratio` and
//! `l2 = alpha (1 - l1_ratio)`. With the fold's Gram matrix `G = X'X / total` and `c = X'y / total` of its centred rows, the
//! rows are not needed any more: `g = c - G w` is what the squared errors pull each weight by.
//!
//! **An iteration** is a sweep of coordinate descent and, with the signs that it leaves, some steps of conjugate gradients:
//! 1. Each weight in turn goes where it is best: `S(g + G_jj w, l1) / (G_jj + l2)`, where `S` takes `l1` off the size (and
//!    leaves nothing below 0 where weights must be positive). How far it was from there, times `G_jj + l2`, is how far it
//!    violated its condition of optimality.
//! 2. Weights that are not zero keep their signs; among them `f` is a quadratic. At most [`STEPS`] steps of conjugate
//!    gradients go towards its minimum, from `r = g - l2 w - l1 sign w`, until `r` is [`ENOUGH`] of the sweep's largest
//!    violation. A step that would change a sign ends where that weight is zero; it stays there, and the others set out anew.
//!
//! Neither part can make `f` larger. Coordinate descent finds the weights that are zero, conjugate gradients what the others
//! are, for which coordinate descent alone would take hundreds of sweeps where features are correlated. (Dostál & Schöberl
//! 2005 pair them so for quadratic problems with bounds.)
//!
//! **Ends**: a lane is done where no weight violated its condition by more than a share of the largest `|c_j|`: [`TOLERANCE`]
//! in f64; or where rounding keeps it above that, but below [`NEAR`], for [`PATIENCE`] iterations.

use crate::space::Space;
use serde::{Deserialize, Serialize};

/// Steps of conjugate gradients in an iteration, at most; with few features, at most two for each and [`MORE_STEPS`].
/// Without rounding and signs there would be no more than one for each.
pub const STEPS: usize = 64;
/// See [`STEPS`].
pub const MORE_STEPS: usize = 4;
/// What conjugate gradients leave of a sweep's largest violation, as a 2-norm: zeros that are wrong are not worth more.
pub const ENOUGH: f64 = 1e-2;
/// What they leave of the tolerance at last.
pub const CERTAIN: f64 = 0.1;
/// Largest violation of a lane that is done, in f64, as a share of the largest `|c_j|`.
pub const TOLERANCE: f64 = 1e-9;
/// The same in f32, in which `g` is known to a few times 6e-8 of the largest terms that make it up.
pub const DEVICE_TOLERANCE: f32 = 1e-6;
/// Largest violation of a lane that is done because rounding has no more to give.
pub const NEAR: f64 = 1e-4;
/// Iterations without a violation smaller by a tenth, after which rounding has no more to give.
pub const PATIENCE: u64 = 20;

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElasticNetParams {
    /// The penalty of the weights' sizes.
    pub l1: f64,
    /// The penalty of half their squares.
    pub l2: f64,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// Whether no weight may be negative.
    pub is_positive: bool,
}

impl ElasticNetParams {
    /// Reads a candidate's encoded values; what a space does not have takes the model's default.
    pub fn read(space: &Space, point: &[f64]) -> ElasticNetParams {
        let alpha = space.number(point, "alpha").unwrap_or(super::ALPHA);
        let l1_ratio = space.number(point, "l1_ratio").unwrap_or(super::L1_RATIO);
        ElasticNetParams {
            l1: alpha * l1_ratio,
            l2: alpha * (1.0 - l1_ratio),
            fit_intercept: space.number(point, "fit_intercept") != Some(0.0),
            is_positive: space.number(point, "positive") == Some(1.0),
        }
    }
}

/// How far a lane has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Iterations so far.
    pub iterations: u64,
    /// Whether it converged, stalled near the optimum, or failed.
    pub is_done: bool,
    smallest: f64,
    smallest_at: u64,
}

impl Default for Search {
    fn default() -> Search {
        Search::new()
    }
}

impl Search {
    /// Before its first iteration.
    pub fn new() -> Search {
        Search { iterations: 0, is_done: false, smallest: f64::INFINITY, smallest_at: 0 }
    }

    /// A lane that is not there.
    pub fn idle() -> Search {
        Search { is_done: true, ..Search::new() }
    }

    /// Judges the iteration that begins by its sweep's largest violation, as a share of the largest `|c_j|`.
    pub fn judge(&mut self, violation: f64) {
        self.iterations += 1;
        if violation < 0.9 * self.smallest {
            self.smallest = violation;
            self.smallest_at = self.iterations;
        }
        let has_stalled = self.smallest <= NEAR && self.iterations - self.smallest_at >= PATIENCE;
        // What is not a number will never be one again.
        self.is_done = violation <= TOLERANCE || has_stalled || !violation.is_finite();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_ends_at_its_tolerance_or_when_rounding_has_no_more_to_give() {
        let after = |violations: &[f64]| {
            let mut search = Search::new();
            violations.iter().for_each(|violation| search.judge(*violation));
            search.is_done
        };
        assert!(after(&[0.5, 0.9e-9]) && !after(&[0.5, 1.1e-9]) && after(&[0.5, f64::NAN]));
        let stuck = |violation: f64, times: u64| after(&vec![violation; times as usize]);
        assert!(stuck(1e-5, PATIENCE + 1) && !stuck(1e-5, PATIENCE) && !stuck(1e-3, 10 * PATIENCE));
    }
}
