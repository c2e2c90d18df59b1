//! Linear models as plain loops in f64: ridge by elimination on the normal equations, the elastic net by coordinate descent
//! over residuals, one row at a time.

use super::softmax::solve;
use ndarray::ArrayView2;

/// A fitted linear model of one target.
pub struct Linear {
    pub weight: Vec<f64>,
    pub intercept: f64,
}

/// Rows and targets about their weighted means, and those.
struct Centred {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    mean: Vec<f64>,
    target_mean: f64,
}

fn centred(x: ArrayView2<'_, f32>, y: &[f64], weights: &[f64], fit_intercept: bool) -> Centred {
    let total: f64 = weights.iter().sum();
    let rows: Vec<Vec<f64>> = x.rows().into_iter().map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
    let mean_of = |value: &dyn Fn(usize) -> f64| {
        if fit_intercept { (0..y.len()).map(|i| weights[i] * value(i)).sum::<f64>() / total } else { 0.0 }
    };
    let mean: Vec<f64> = (0..x.ncols()).map(|j| mean_of(&|i| rows[i][j])).collect();
    let target_mean = mean_of(&|i| y[i]);
    let x = rows.iter().map(|row| row.iter().zip(&mean).map(|(x, mean)| x - mean).collect()).collect();
    Centred { x, y: y.iter().map(|y| y - target_mean).collect(), mean, target_mean }
}

impl Linear {
    /// Minimises `sum of weight (y - x w - b)^2 + l2 |w|^2`.
    pub fn ridge(x: ArrayView2<'_, f32>, y: &[f64], weights: &[f64], l2: f64, fit_intercept: bool) -> Linear {
        let rows = centred(x, y, weights, fit_intercept);
        let features = x.ncols();
        let (mut gram, mut right) = (vec![vec![0.0; features]; features], vec![0.0; features]);
        for ((row, y), weight) in rows.x.iter().zip(&rows.y).zip(weights) {
            for i in 0..features {
                right[i] += weight * row[i] * y;
                for j in 0..features {
                    gram[i][j] += weight * row[i] * row[j];
                }
            }
        }
        (0..features).for_each(|i| gram[i][i] += l2);
        Linear::at(solve(gram, right), &rows)
    }

    /// Minimises `sum of weight (y - x w - b)^2 / (2 sum of weight) + l1 |w|_1 + l2 / 2 |w|^2`, with no negative weight where
    /// they must be positive.
    pub fn elastic_net(
        x: ArrayView2<'_, f32>,
        y: &[f64],
        weights: &[f64],
        [l1, l2]: [f64; 2],
        fit_intercept: bool,
        is_positive: bool,
    ) -> Linear {
        let rows = centred(x, y, weights, fit_intercept);
        let total: f64 = weights.iter().sum();
        let mut weight = vec![0.0; x.ncols()];
        let mut residual = rows.y.clone();
        for _ in 0..200_000 {
            let mut largest = 0.0f64;
            for j in 0..weight.len() {
                let (mut product, mut square) = (0.0, 0.0);
                for ((row, residual), share) in rows.x.iter().zip(&residual).zip(weights) {
                    product += share * row[j] * residual / total;
                    square += share * row[j] * row[j] / total;
                }
                if square == 0.0 {
                    continue;
                }
                let free: f64 = product + square * weight[j];
                let shrunk = free.signum() * (free.abs() - l1).max(0.0) / (square + l2);
                let found = if is_positive { shrunk.max(0.0) } else { shrunk };
                let step = found - weight[j];
                weight[j] = found;
                largest = largest.max(step.abs());
                residual.iter_mut().zip(&rows.x).for_each(|(residual, row)| *residual -= step * row[j]);
            }
            if largest < 1e-12 {
                break;
            }
        }
        Linear::at(weight, &rows)
    }

    fn at(weight: Vec<f64>, rows: &Centred) -> Linear {
        let taken: f64 = weight.iter().zip(&rows.mean).map(|(w, mean)| w * mean).sum();
        Linear { weight, intercept: rows.target_mean - taken }
    }

    /// One row's value.
    pub fn predict(&self, row: &[f32]) -> f64 {
        self.weight.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + self.intercept
    }
}
