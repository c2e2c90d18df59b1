//! A machine as a plain loop in f64: the pair that violates the conditions of an optimum most, until none does by 1e-9.

/// One row: linear term, least and largest coefficient.
pub type Row = (f64, f64, f64);

/// Coefficients and constant of `minimise 1/2 b'Kb - p'b + epsilon |b|_1`, where `sum of b = 0`.
pub fn solve(kernel: &[Vec<f64>], rows: &[Row], epsilon: f64) -> (Vec<f64>, f64) {
    let n = rows.len();
    let mut b = vec![0.0f64; n];
    for _ in 0..2_000_000 {
        let f: Vec<f64> = (0..n).map(|i| rows[i].0 - (0..n).map(|j| kernel[i][j] * b[j]).sum::<f64>()).collect();
        let up = |i: usize| f[i] + if b[i] < 0.0 { epsilon } else { -epsilon };
        let low = |i: usize| f[i] + if b[i] > 0.0 { -epsilon } else { epsilon };
        let i = (0..n).filter(|i| b[*i] < rows[*i].2).max_by(|i, j| up(*i).total_cmp(&up(*j))).unwrap();
        let j = (0..n).filter(|j| b[*j] > rows[*j].1).min_by(|i, j| low(*i).total_cmp(&low(*j))).unwrap();
        if up(i) - low(j) < 1e-9 {
            let constant = 0.5 * (up(i) + low(j));
            return (b, constant);
        }
        let top = if b[i] < 0.0 { 0.0 } else { rows[i].2 };
        let bottom = if b[j] > 0.0 { 0.0 } else { rows[j].1 };
        let curvature = (kernel[i][i] + kernel[j][j] - 2.0 * kernel[i][j]).max(1e-12);
        let step = ((up(i) - low(j)) / curvature).min(top - b[i]).min(b[j] - bottom);
        b[i] = if step >= top - b[i] { top } else { b[i] + step };
        b[j] = if step >= b[j] - bottom { bottom } else { b[j] - step };
    }
    panic!("the plain loop did not converge");
}

/// The dual's value.
pub fn objective(kernel: &[Vec<f64>], p: &[f64], b: &[f64], epsilon: f64) -> f64 {
    let quadratic: f64 = (0..b.len()).map(|i| b[i] * (0..b.len()).map(|j| kernel[i][j] * b[j]).sum::<f64>()).sum();
    0.5 * quadratic - p.iter().zip(b).map(|(p, b)| p * b).sum::<f64>()
        + epsilon * b.iter().map(|b| b.abs()).sum::<f64>()
}
