//! Squared errors of linear models without predicting a row: from the moments of a row set, once for all lanes.
//!
//! With the weighted means `m` of features and `n` of targets, and `C = sum v (x - m)(x - m)'`, `c = sum v (x - m)(y - n)`,
//! `s = sum v (y - n)^2` over rows that count `v` each, weights `w` and an intercept `b` err by
//! `s - 2 w'c + w'C w + V (n - b - m'w)^2` in sum. All of it is f64, so that what cancels leaves at least as much as
//! predictions in f32 do.

use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::data::{Affine, Fold, Rows, Target};
use crate::models::linear::{Centred, ClassWeight, Fitted, Wide, in_rows, row_weights};
use std::sync::OnceLock;

/// With more features a product of two of them costs more than the predictions of a few lanes.
const MOST_FEATURES: usize = 64;

/// The moments of a fold's row sets, each summed up when it is first asked for.
#[derive(Debug)]
pub struct SquaredErrors {
    sets: Vec<OnceLock<Moments>>,
}

impl SquaredErrors {
    /// Of a fold's row sets. Nothing is summed up yet.
    pub fn new(fold: &Fold) -> SquaredErrors {
        SquaredErrors { sets: fold.row_sets().map(|_| OnceLock::new()).collect() }
    }

    /// The sum of every lane's squared errors on a row set, in the target's own units; `None` where predicting it is less
    /// work, or where its targets are no numbers. Which it is depends on the fold alone.
    pub fn of(&self, level: Level, fold: &Fold, set: usize, fitted: &Fitted) -> Option<Wide> {
        let rows = fold.row_sets().nth(set)?;
        let (n, features) = rows.x.dim();
        if !matches!(rows.y, Target::Values(_)) || features > MOST_FEATURES || n <= features {
            return None;
        }
        let moments = self.sets[set].get_or_init(|| Moments::new(rows, fold.target));
        Some(dispatch(level, Errors { moments, fitted }))
    }
}

/// Sums over a row set, about its means; targets as they are learnt.
#[derive(Debug)]
struct Moments {
    /// `C`, `[features, features]`
    products: Vec<f64>,
    /// `c`
    cross: Vec<f64>,
    /// `s`
    spread: f64,
    /// `m`
    mean: Vec<f64>,
    /// `n`
    target_mean: f64,
    /// `V`
    total: f64,
    /// From squares of the learnt target to those of the target's own units.
    unit: f64,
}

impl Moments {
    fn new(rows: &Rows, target: Affine) -> Moments {
        let weights = row_weights(rows, ClassWeight::None);
        // Where nothing counts there are no means.
        let counts = weights.as_ref().is_none_or(|weights| weights.iter().any(|weight| *weight > 0.0));
        let centred = Centred::of(rows, target, weights, counts);
        let (products, cross) = centred.products(1.0);
        let spread = |chunk| centred.targets(chunk).squared_norm_l2();
        let scale = f64::from(target.scale);
        Moments {
            products: in_rows(products.as_ref()),
            cross: in_rows(cross.as_ref()),
            spread: centred.chunks().map(spread).sum(),
            target_mean: centred.target_mean[0],
            total: centred.total,
            mean: centred.mean,
            unit: scale * scale,
        }
    }
}

/// The errors of sixteen lanes.
struct Errors<'a> {
    moments: &'a Moments,
    fitted: &'a Fitted,
}

impl Kernel for Errors<'_> {
    type Output = Wide;

    #[inline(always)]
    fn run<V: Simd>(self) -> Wide {
        let Errors { moments, fitted } = self;
        let Moments { products, cross, spread, mean, target_mean, total, unit } = moments;
        let wide = |lanes: &Lanes| lanes.0.map(f64::from);
        let intercept = wide(&fitted.intercepts[0]);
        let (mut sum, mut bias) = ([*spread; LANES], intercept.map(|intercept| target_mean - intercept));
        let rows = fitted.weights.iter().zip(products.chunks_exact(mean.len())).zip(cross.iter().zip(mean));
        for (j, ((weight, products), (cross, mean))) in rows.enumerate() {
            let weight = wide(weight);
            // Half of the symmetric matrix: what is left of the diagonal counts twice.
            let mut slope = [-2.0 * cross; LANES];
            for (left, product) in fitted.weights[..j].iter().zip(products) {
                let left = wide(left);
                for lane in 0..LANES {
                    slope[lane] = (2.0 * product).mul_add(left[lane], slope[lane]);
                }
            }
            for lane in 0..LANES {
                slope[lane] = products[j].mul_add(weight[lane], slope[lane]);
                sum[lane] = slope[lane].mul_add(weight[lane], sum[lane]);
                bias[lane] = (-mean).mul_add(weight[lane], bias[lane]);
            }
        }
        for lane in 0..LANES {
            let all = (total * bias[lane]).mul_add(bias[lane], sum[lane]);
            // Rounding may go below zero; NaN stays.
            sum[lane] = if all < 0.0 { 0.0 } else { all * unit };
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, normal};
    use ndarray::Array2;

    #[test]
    fn sums_are_those_of_predicted_rows() {
        let draw = |i: usize| normal(Key::from_seed(5).words(i as u64)[0]);
        let x = Array2::from_shape_fn((90, 7), |(i, j)| 3.0 * j as f32 + draw(i * 7 + j));
        let y: Vec<f32> = (0..90).map(|i| 100.0 + 4.0 * x[[i, 2]] + draw(i + 5000)).collect();
        let mut fitted = Fitted::zeros(7, 1);
        fitted.weights.iter_mut().enumerate().for_each(|(j, weight)| {
            *weight = Lanes(std::array::from_fn(|lane| 0.1 * draw(j * LANES + lane + 9000)));
        });
        fitted.intercepts[0] = Lanes(std::array::from_fn(|lane| lane as f32));
        for weight in [None, Some((0..90).map(|i| (i % 4) as f32).collect::<Vec<f32>>())] {
            let rows = Rows { weight: weight.clone(), ..Rows::new(x.clone(), Target::Values(y.clone())) };
            let target = Affine { shift: 90.0, scale: 8.0 };
            let fold = Fold::of_numbers(Key::from_seed(1), rows.clone(), vec![rows], target);
            let errors = SquaredErrors::new(&fold);
            for level in Level::available() {
                let sums = errors.of(level, &fold, 1, &fitted).unwrap();
                for (lane, sum) in sums.into_iter().enumerate() {
                    let of_row = |i: usize| {
                        let products = (0..7).map(|j| f64::from(x[[i, j]]) * f64::from(fitted.weights[j].0[lane]));
                        let scaled = f64::from(fitted.intercepts[0].0[lane]) + products.sum::<f64>();
                        let error = f64::from(y[i]) - (90.0 + 8.0 * scaled);
                        weight.as_ref().map_or(1.0, |weight| f64::from(weight[i])) * error * error
                    };
                    let plain: f64 = (0..90).map(of_row).sum();
                    assert!((sum - plain).abs() <= 1e-12 * plain, "lane {lane}: {sum} and {plain}");
                }
            }
        }
    }

    #[test]
    fn classes_and_sets_of_few_rows_are_predicted() {
        let rows = |n: usize, y| Rows::new(Array2::ones((n, 5)), y);
        let numbers = |n: usize| rows(n, Target::Values(vec![1.0; n]));
        let classes = rows(9, Target::Classes { codes: vec![0; 9], classes: 2 });
        let fold = Fold::of_numbers(Key::from_seed(1), classes, vec![numbers(5), numbers(6)], Affine::IDENTITY);
        let errors = SquaredErrors::new(&fold);
        let of = |set| errors.of(Level::detect(), &fold, set, &Fitted::zeros(5, 1)).is_some();
        assert_eq!([0, 1, 2].map(of), [false, false, true]);
    }
}
