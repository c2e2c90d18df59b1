//! The softmax as a plain loop in f64: Newton's method on the whole Hessian, Gaussian elimination, one row at a time.

use ndarray::ArrayView2;

/// A fitted softmax: `[classes][features]`, and one intercept a class.
pub struct Softmax {
    pub weight: Vec<Vec<f64>>,
    pub intercept: Vec<f64>,
}

impl Softmax {
    /// Minimises `sum of cross-entropies + penalty / 2 * sum of squared weights`.
    pub fn fit(x: ArrayView2<'_, f32>, codes: &[u32], classes: usize, penalty: f64, fit_intercept: bool) -> Softmax {
        let width = x.ncols() + 1;
        let size = classes * width;
        let mut parameters = vec![0.0; size];
        for _ in 0..100 {
            let (mut gradient, mut hessian) = (vec![0.0; size], vec![vec![0.0; size]; size]);
            for (row, &code) in x.rows().into_iter().zip(codes) {
                let mut row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                row.push(f64::from(u8::from(fit_intercept)));
                let p = probabilities(&parameters, &row, classes);
                for a in 0..classes {
                    let residual = p[a] - f64::from(u8::from(a == code as usize));
                    for i in 0..width {
                        gradient[a * width + i] += residual * row[i];
                        for b in 0..classes {
                            let variance = p[a] * (f64::from(u8::from(a == b)) - p[b]);
                            for j in 0..width {
                                hessian[a * width + i][b * width + j] += variance * row[i] * row[j];
                            }
                        }
                    }
                }
            }
            for k in 0..size {
                if k % width < width - 1 {
                    gradient[k] += penalty * parameters[k];
                    hessian[k][k] += penalty;
                } else {
                    // Intercepts are free up to a common shift: anything that makes the matrix regular will do.
                    hessian[k][k] += 1e-6;
                }
            }
            let step = solve(hessian, gradient.clone());
            let largest = step.iter().fold(0.0f64, |largest, step| largest.max(step.abs()));
            // Never more than 1 at a time: far from the optimum a full step can overshoot without end.
            let scale = 1.0f64.min(1.0 / largest.max(1e-300));
            parameters.iter_mut().zip(step).for_each(|(parameter, step)| *parameter -= scale * step);
            if largest < 1e-10 {
                break;
            }
        }
        Softmax::of(&parameters, width)
    }

    /// Minimises `sum of cross-entropies + l1 * sum of weights' sizes + l2 / 2 * sum of squared weights` by proximal gradient
    /// steps of the length that the softmax's curvature allows anywhere (Beck & Teboulle 2009, with O'Donoghue & Candès 2015's
    /// restarts).
    pub fn fit_with_l1(x: ArrayView2<'_, f32>, codes: &[u32], classes: usize, l1: f64, l2: f64) -> Softmax {
        let width = x.ncols() + 1;
        let squares = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() + x.nrows() as f64;
        let step = 1.0 / (0.5 * squares + l2);
        let mut parameters = vec![0.0f64; classes * width];
        let (mut ahead, mut momentum) = (parameters.clone(), 1.0f64);
        for _ in 0..50_000 {
            let mut gradient = vec![0.0; parameters.len()];
            for (row, &code) in x.rows().into_iter().zip(codes) {
                let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
                for (class, p) in probabilities(&ahead, &row, classes).into_iter().enumerate() {
                    let residual = p - f64::from(u8::from(class == code as usize));
                    gradient[class * width..].iter_mut().zip(&row).for_each(|(sum, x)| *sum += residual * x);
                }
            }
            let moved = |k: usize| {
                let is_weight = k % width < width - 1;
                let pull = if is_weight { gradient[k] + l2 * ahead[k] } else { gradient[k] };
                let to = ahead[k] - step * pull;
                if is_weight { to.signum() * (to.abs() - step * l1).max(0.0) } else { to }
            };
            let next: Vec<f64> = (0..parameters.len()).map(moved).collect();
            let along = |k: usize| (ahead[k] - next[k]) * (next[k] - parameters[k]);
            let overshoots = (0..next.len()).map(along).sum::<f64>() > 0.0;
            let before = if overshoots { 1.0 } else { momentum };
            momentum = 0.5 * (1.0 + (1.0 + 4.0 * before * before).sqrt());
            let share = (before - 1.0) / momentum;
            let furthest = next.iter().zip(&parameters).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            ahead = next.iter().zip(&parameters).map(|(next, old)| next + share * (next - old)).collect();
            parameters = next;
            if furthest < 1e-11 {
                break;
            }
        }
        Softmax::of(&parameters, width)
    }

    fn of(parameters: &[f64], width: usize) -> Softmax {
        let rows = parameters.chunks_exact(width);
        Softmax {
            weight: rows.clone().map(|row| row[..width - 1].to_vec()).collect(),
            intercept: rows.map(|row| row[width - 1]).collect(),
        }
    }

    /// One row's probabilities.
    pub fn predict(&self, row: &[f32]) -> Vec<f64> {
        let dot = |weight: &Vec<f64>| weight.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>();
        softmax(self.weight.iter().zip(&self.intercept).map(|(weight, b)| dot(weight) + b).collect())
    }
}

fn probabilities(parameters: &[f64], row: &[f64], classes: usize) -> Vec<f64> {
    let logit = |class: usize| parameters[class * row.len()..].iter().zip(row).map(|(w, x)| w * x).sum();
    softmax((0..classes).map(logit).collect())
}

fn softmax(logits: Vec<f64>) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// Gaussian elimination with partial pivoting.
pub fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let pivot =
            (column..size).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs())).unwrap();
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..size {
            let (above, below) = matrix.split_at_mut(row);
            let (pivot, current) = (&above[column][column..], &mut below[0][column..]);
            let factor = current[0] / pivot[0];
            current.iter_mut().zip(pivot).for_each(|(entry, pivot)| *entry -= factor * pivot);
            right[row] -= factor * right[column];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}
