//! Linear models as plain loops in f64: ridge by elimination on the normal equations, one row at a time.

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

    fn at(weight: Vec<f64>, rows: &Centred) -> Linear {
        let taken: f64 = weight.iter().zip(&rows.mean).map(|(w, mean)| w * mean).sum();
        Linear { weight, intercept: rows.target_mean - taken }
    }

    /// One row's value.
    pub fn predict(&self, row: &[f32]) -> f64 {
        self.weight.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + self.intercept
    }
}
