//! Kernel ridge as a plain loop in f64: Gaussian elimination on the whole kernel matrix.

use ndarray::ArrayView2;

/// `exp(-gamma |x - y|^2)` of two rows.
pub fn rbf(gamma: f64, x: &[f64], y: &[f64]) -> f64 {
    (-gamma * x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>()).exp()
}

/// The rows of a matrix in f64.
pub fn rows(x: ArrayView2<'_, f32>) -> Vec<Vec<f64>> {
    x.rows().into_iter().map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect()
}

/// Predictions for `eval` of the ridge on `train` with an rbf kernel; a row of weight `w` has the penalty `l2 / w`.
pub fn predict(train: &[Vec<f64>], y: &[f64], weights: &[f64], gamma: f64, l2: f64, eval: &[Vec<f64>]) -> Vec<f64> {
    let n = train.len();
    let mut matrix: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            (0..n).map(|j| rbf(gamma, &train[i], &train[j]) + if i == j { l2 / weights[i] } else { 0.0 }).collect()
        })
        .collect();
    let mut right = y.to_vec();
    for column in 0..n {
        for row in column + 1..n {
            let (above, below) = matrix.split_at_mut(row);
            let factor = below[0][column] / above[column][column];
            for k in column..n {
                below[0][k] -= factor * above[column][k];
            }
            right[row] -= factor * right[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    eval.iter().map(|x| train.iter().zip(&right).map(|(row, dual)| rbf(gamma, x, row) * dual).sum()).collect()
}
