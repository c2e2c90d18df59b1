//! Ridge in its eigenbasis, where a penalty is a diagonal: `w = B (q / (s + l2))`, so `dw = -B (q / (s + l2)^2)`, and an
//! intercept that takes up the means changes by `-mean dw`.

use super::Linear;

/// A fold's problem, diagonalised.
#[derive(Debug, Clone, Copy)]
pub struct Diagonal<'a> {
    /// `B`, `[features, rank]`.
    pub basis: &'a [f64],
    /// `s`
    pub spectrum: &'a [f64],
    /// `q`, `[rank, outputs]`.
    pub products: &'a [f64],
    /// Of each feature.
    pub mean: &'a [f64],
    /// Of each target.
    pub target_mean: &'a [f64],
    /// What `s + l2` must exceed for a direction to count.
    pub least: f64,
}

impl Diagonal<'_> {
    /// The model of a penalty, and how it changes with the penalty.
    pub fn solve(&self, l2: f64) -> (Linear, Linear) {
        let share = |s: &f64| if s + l2 > self.least { 1.0 / (s + l2) } else { 0.0 };
        let shares: Vec<f64> = self.spectrum.iter().map(share).collect();
        let slopes: Vec<f64> = shares.iter().map(|share| -share * share).collect();
        let zero = vec![0.0; self.target_mean.len()];
        (self.line(&shares, self.target_mean), self.line(&slopes, &zero))
    }

    fn line(&self, shares: &[f64], offsets: &[f64]) -> Linear {
        let (outputs, features) = (offsets.len(), self.mean.len());
        let mut line = Linear::zeros(outputs, features);
        for (output, weight) in line.weight.chunks_exact_mut(features.max(1)).enumerate() {
            let products = self.products.iter().skip(output).step_by(outputs);
            let scaled: Vec<f64> = shares.iter().zip(products).map(|(share, product)| share * product).collect();
            for (weight, row) in weight.iter_mut().zip(self.basis.chunks_exact(shares.len().max(1))) {
                *weight = super::dot(row, &scaled);
            }
        }
        for ((intercept, offset), weight) in
            line.intercept.iter_mut().zip(offsets).zip(line.weight.chunks_exact(features.max(1)))
        {
            *intercept = offset - super::dot(self.mean, weight);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_same, difference, features, targets, weights};
    use super::super::{Features, pull};
    use super::*;

    /// A problem with made-up eigenvectors: the formulae hold for any.
    #[test]
    fn the_slope_of_squared_errors_is_that_of_differences() {
        let (width, rank, rows) = (5, 5, 40);
        let basis: Vec<f64> = (0..width * rank).map(|at| libm::sin(1.0 + at as f64)).collect();
        let products: Vec<f64> = (0..rank).map(|at| libm::cos(at as f64) * 9.0).collect();
        let fold = Diagonal {
            basis: &basis,
            spectrum: &[90.0, 20.0, 3.0, 0.2, 0.0],
            products: &products,
            mean: &[0.1, -0.4, 0.2, 0.0, 0.7],
            target_mean: &[0.3],
            least: 1e-9,
        };
        let x = features(3, rows, width);
        let (y, weight) = (targets(3, &x, width), weights(3, rows));
        let x = Features { values: &x, width };
        let (shift, scale) = (0.4, 1.7);
        let sum = |l2: f64| -> f64 {
            let z = fold.solve(l2).0.outputs(x);
            let error = |row: usize| f64::from(y[row]) - shift - scale * z[row];
            (0..rows).map(|row| f64::from(weight[row]) * error(row) * error(row)).sum()
        };
        for l2 in [1e-3, 0.3, 2.0, 700.0] {
            let (line, change) = fold.solve(l2);
            let pulls = pull::squared(&line.outputs(x), &y, Some(&weight), shift, scale);
            assert_same(Linear::pull(x, &pulls, 1).dot(&change), difference(l2, sum));
        }
    }

    #[test]
    fn the_slope_of_a_log_loss_of_classes_is_that_of_differences() {
        let (width, rows, outputs) = (3, 30, 3);
        let basis: Vec<f64> = (0..width * width).map(|at| libm::sin(2.0 + at as f64)).collect();
        let products: Vec<f64> = (0..width * outputs).map(|at| libm::cos(at as f64) * 9.0).collect();
        let fold = Diagonal {
            basis: &basis,
            spectrum: &[50.0, 8.0, 0.5],
            products: &products,
            mean: &[0.1, -0.4, 0.2],
            target_mean: &[-0.3, -0.5, -0.2],
            least: 1e-9,
        };
        let x = features(4, rows, width);
        let codes: Vec<u32> = (0..rows as u32).map(|row| row * 7 % 3).collect();
        let x = Features { values: &x, width };
        let sum = |l2: f64| -> f64 {
            let mut p = [0.0; 3];
            let z = fold.solve(l2).0.outputs(x);
            let rows = z.chunks_exact(outputs).zip(&codes);
            rows.map(|(z, code)| {
                pull::softmax(z, &mut p);
                -libm::log(p[*code as usize])
            })
            .sum()
        };
        let (line, change) = fold.solve(2.0);
        let pulls = pull::log_loss(&line.outputs(x), &codes, None, outputs);
        assert_same(Linear::pull(x, &pulls, outputs).dot(&change), difference(2.0, sum));
    }
}
