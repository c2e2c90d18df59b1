//! The elastic net on the weights that are left: there `(C + alpha (1 - r)) w = c - alpha r sign(w)`, with the covariances
//! `C` of the features and `c` with the target, so that weights change with `alpha` by `-(C + ...)^-1 (r sign + (1 - r) w)` and
//! with the ratio `r` by `-(C + ...)^-1 alpha (sign - w)` (Bertrand et al. 2020, arXiv:2002.08943). Where a weight is about to
//! leave or to come the score has a kink, and this is the slope on the one side.

use super::{Linear, dot};
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

/// Slopes along `alpha` and `l1_ratio` of a sum with these slopes along the weights, for one output. `gram` is the mean
/// product of features about their means, `[features, features]`. `None` where the system is singular.
pub fn slopes(
    gram: &[f64],
    mean: &[f64],
    weight: &[f64],
    slopes: &Linear,
    alpha: f64,
    l1_ratio: f64,
) -> Option<[f64; 2]> {
    let features = weight.len();
    let left: Vec<usize> = (0..features).filter(|feature| weight[*feature] != 0.0).collect();
    if left.is_empty() {
        return Some([0.0; 2]);
    }
    let ridge = alpha * (1.0 - l1_ratio);
    let entry = |i: usize, j: usize| gram[left[i] * features + left[j]] + if i == j { ridge } else { 0.0 };
    let matrix = Mat::from_fn(left.len(), left.len(), entry);
    // The intercept takes up the means: what it changes by belongs to the weights' slopes.
    let bias = slopes.intercept.first().copied().unwrap_or(0.0);
    let right = Mat::from_fn(left.len(), 1, |i, _| slopes.weight[left[i]] - mean[left[i]] * bias);
    let solution = matrix.llt(Side::Lower).ok()?.solve(&right);
    let solution: Vec<f64> = (0..left.len()).map(|i| solution[(i, 0)]).collect();
    let along = |change: &dyn Fn(f64) -> f64| {
        let changes: Vec<f64> = left.iter().map(|feature| change(weight[*feature])).collect();
        -dot(&solution, &changes)
    };
    let of_alpha = along(&|w: f64| l1_ratio * w.signum() + (1.0 - l1_ratio) * w);
    let of_ratio = along(&|w: f64| alpha * (w.signum() - w));
    Some([of_alpha, of_ratio])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_same, difference, features, targets};
    use super::super::{Features, pull};
    use super::*;

    const WIDTH: usize = 6;

    /// Moments of rows: means, covariances, covariances with the target, the target's mean.
    fn moments(x: &[f32], y: &[f32]) -> (Vec<f64>, Vec<f64>, Vec<f64>, f64) {
        let n = y.len() as f64;
        let column = |j: usize| x.iter().skip(j).step_by(WIDTH).map(|x| f64::from(*x));
        let mean: Vec<f64> = (0..WIDTH).map(|j| column(j).sum::<f64>() / n).collect();
        let target = y.iter().map(|y| f64::from(*y)).sum::<f64>() / n;
        let centred = |j: usize| column(j).map(|x| x - mean[j]).collect::<Vec<f64>>();
        let targets: Vec<f64> = y.iter().map(|y| f64::from(*y) - target).collect();
        let gram = (0..WIDTH * WIDTH).map(|at| dot(&centred(at / WIDTH), &centred(at % WIDTH)) / n).collect();
        let cross = (0..WIDTH).map(|j| dot(&centred(j), &targets) / n).collect();
        (mean, gram, cross, target)
    }

    /// Coordinate descent to the end (Friedman et al. 2010).
    fn train(gram: &[f64], cross: &[f64], alpha: f64, ratio: f64) -> Vec<f64> {
        let mut weight = vec![0.0; WIDTH];
        for _ in 0..20_000 {
            for j in 0..WIDTH {
                let own = gram[j * WIDTH + j];
                let rest = cross[j] - dot(&gram[j * WIDTH..][..WIDTH], &weight) + own * weight[j];
                let shrunk = (rest.abs() - alpha * ratio).max(0.0).copysign(rest);
                weight[j] = if shrunk == 0.0 { 0.0 } else { shrunk / (own + alpha * (1.0 - ratio)) };
            }
        }
        weight
    }

    #[test]
    fn slopes_are_those_of_training_again_where_some_weights_are_gone() {
        let (x, held_x) = (features(8, 50, WIDTH), features(9, 30, WIDTH));
        let (y, held_y) = (targets(8, &x, WIDTH), targets(9, &held_x, WIDTH));
        let (mean, gram, cross, target) = moments(&x, &y);
        let held = Features { values: &held_x, width: WIDTH };
        let line = |alpha: f64, ratio: f64| {
            let weight = train(&gram, &cross, alpha, ratio);
            Linear { intercept: vec![target - dot(&mean, &weight)], weight }
        };
        let sum = |alpha: f64, ratio: f64| -> f64 {
            let z = line(alpha, ratio).outputs(held);
            z.iter().zip(&held_y).map(|(z, y)| (f64::from(*y) - z).powi(2)).sum()
        };
        for (alpha, ratio) in [(0.02, 0.5), (0.2, 0.6), (0.3, 0.9)] {
            let fitted = line(alpha, ratio);
            let pulls = pull::squared(&fitted.outputs(held), &held_y, None, 0.0, 1.0);
            let pulled = Linear::pull(held, &pulls, 1);
            let [of_alpha, of_ratio] = slopes(&gram, &mean, &fitted.weight, &pulled, alpha, ratio).expect("a solution");
            assert_same(of_alpha, difference(alpha, |alpha| sum(alpha, ratio)));
            assert_same(of_ratio, difference(ratio, |ratio| sum(alpha, ratio)));
        }
        assert!(line(0.3, 0.9).weight.contains(&0.0));
    }
}
