//! The loss on a row set that is not trained on: what early stopping goes by.

use super::objective::{self, Loss};
use super::params::Objective;
use crate::backend::cpu::simd::{LANES, Lanes};
use crate::data::{Affine, Rows, Target};
use std::ops::Range;

/// The mean loss that is learnt, on the rows `set` of all; `scores` is `[scores, all]`.
pub fn loss(loss: Loss, scores: &[Lanes], set: Range<usize>, all: usize, rows: &Rows, target: Affine) -> f64 {
    let n = loss.scores();
    let (mut own, mut p) = (vec![0.0; n], vec![0.0; n.max(2)]);
    let (mut sum, mut total) = (0.0, 0.0);
    for (place, row) in set.enumerate() {
        own.iter_mut().enumerate().for_each(|(k, own)| *own = scores[k * all + row / LANES].0[row % LANES]);
        let weight = rows.weight.as_ref().map_or(1.0, |weight| f64::from(weight[place]));
        let of_row = match (&rows.y, loss) {
            (Target::Classes { codes, .. }, _) => {
                objective::predict(loss, &own, &mut p);
                -f64::from(p[codes[place] as usize]).max(1e-15).ln()
            }
            (Target::Values(y), Loss::Value { objective, quantile }) => {
                let (score, y) = (f64::from(own[0]), f64::from(y[place]));
                let error = (y - f64::from(target.shift)) / f64::from(target.scale) - score;
                match objective {
                    Objective::Squared => error * error,
                    Objective::Absolute => error.abs(),
                    Objective::Quantile => (f64::from(quantile) * error).max((f64::from(quantile) - 1.0) * error),
                    Objective::Poisson => libm::exp(score) - y * score,
                }
            }
            (Target::Values(_), _) => f64::NAN,
        };
        sum += weight * of_row;
        total += weight;
    }
    sum / total
}
