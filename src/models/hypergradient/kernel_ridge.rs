//! Kernel ridge: dual weights `a = R s`, `(G + l2) s = R y` with `G = R K R` and the roots `R` of what rows count for. With
//! slopes `g` along the outputs of held-out rows, whose kernel with the training rows is `H`, and the adjoint
//! `(G + l2) u = R H' g`: a sum changes with `l2` by `-u s`, and with what changes the kernel by `g dH a - (R u) dK a`.

use super::dot;

/// A trained model and its adjoint, to be given how the kernel changes row by row.
pub struct Adjoint<'a> {
    /// `R u`
    solved: Vec<f64>,
    duals: &'a [f64],
    roots: Option<&'a [f64]>,
    /// Slopes along two parameters of the kernel, as far as rows were given.
    pub of_kernel: [f64; 2],
}

impl<'a> Adjoint<'a> {
    /// `solved` is `u`, `duals` are `a`.
    pub fn new(mut solved: Vec<f64>, duals: &'a [f64], roots: Option<&'a [f64]>) -> Adjoint<'a> {
        if let Some(roots) = roots {
            solved.iter_mut().zip(roots).for_each(|(solved, root)| *solved *= root);
        }
        Adjoint { solved, duals, roots, of_kernel: [0.0; 2] }
    }

    /// The slope along the penalty. A row that counts for nothing has no dual weight.
    pub fn of_penalty(&self) -> f64 {
        match self.roots {
            None => -dot(&self.solved, self.duals),
            Some(roots) => {
                let share = |((solved, dual), root): ((&f64, &f64), &f64)| {
                    if *root > 0.0 { solved * dual / (root * root) } else { 0.0 }
                };
                -self.solved.iter().zip(self.duals).zip(roots).map(share).sum::<f64>()
            }
        }
    }

    /// How the kernel of a training row with all training rows changes with two of its parameters.
    pub fn train(&mut self, row: usize, changes: &[[f64; 2]]) {
        self.add(-self.solved.get(row).copied().unwrap_or(0.0), changes);
    }

    /// The same of a held-out row, whose output has this slope.
    pub fn held(&mut self, pull: f64, changes: &[[f64; 2]]) {
        self.add(pull, changes);
    }

    fn add(&mut self, share: f64, changes: &[[f64; 2]]) {
        for (parameter, slope) in self.of_kernel.iter_mut().enumerate() {
            let products = changes.iter().zip(self.duals).map(|(change, dual)| change[parameter] * dual);
            *slope += share * products.sum::<f64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pull;
    use super::super::testing::{assert_same, difference, features, targets, weights};
    use super::*;
    use faer::linalg::solvers::Solve;
    use faer::{Mat, Side};

    const WIDTH: usize = 3;

    struct Data {
        x: Vec<f32>,
        y: Vec<f32>,
    }

    impl Data {
        fn new(seed: u64, rows: usize) -> Data {
            let x = features(seed, rows, WIDTH);
            Data { y: targets(seed, &x, WIDTH), x }
        }

        fn rows(&self) -> impl Iterator<Item = &[f32]> {
            self.x.chunks_exact(WIDTH)
        }

        /// Squared distances to another one's rows.
        fn distances(&self, other: &Data) -> Vec<Vec<f64>> {
            let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            self.rows().map(|a| other.rows().map(|b| square(a, b)).collect()).collect()
        }
    }

    /// `R (R K R + l2)^-1 R right`
    fn solve(train: &Data, roots: &[f64], gamma: f64, l2: f64, right: &[f64]) -> Vec<f64> {
        let distances = train.distances(train);
        let n = roots.len();
        let entry = |i: usize, j: usize| {
            roots[i] * roots[j] * libm::exp(-gamma * distances[i][j]) + if i == j { l2 } else { 0.0 }
        };
        let right = Mat::from_fn(n, 1, |i, _| roots[i] * right[i]);
        let solution = Mat::from_fn(n, n, entry).llt(Side::Lower).unwrap().solve(&right);
        (0..n).map(|i| solution[(i, 0)]).collect()
    }

    #[test]
    fn slopes_along_penalty_and_width_are_those_of_training_again() {
        let (train, held) = (Data::new(11, 25), Data::new(12, 15));
        let distances = held.distances(&train);
        let y: Vec<f64> = train.y.iter().map(|y| f64::from(*y)).collect();
        let roots: Vec<f64> = weights(11, 25).iter().map(|weight| f64::from(*weight).sqrt()).collect();
        let duals = |gamma: f64, l2: f64| -> Vec<f64> {
            solve(&train, &roots, gamma, l2, &y).iter().zip(&roots).map(|(s, root)| s * root).collect()
        };
        let outputs = |gamma: f64, duals: &[f64]| -> Vec<f64> {
            let row = |row: &Vec<f64>| row.iter().zip(duals).map(|(d, dual)| libm::exp(-gamma * d) * dual).sum();
            distances.iter().map(row).collect()
        };
        let sum = |gamma: f64, l2: f64| -> f64 {
            let z = outputs(gamma, &duals(gamma, l2));
            z.iter().zip(&held.y).map(|(z, y)| (f64::from(*y) - z).powi(2)).sum()
        };
        for (gamma, l2) in [(0.05, 0.01), (0.4, 1.0), (1.5, 0.2)] {
            let duals = duals(gamma, l2);
            let pulls = pull::squared(&outputs(gamma, &duals), &held.y, None, 0.0, 1.0);
            let along = |row: usize| -> f64 {
                pulls.iter().zip(&distances).map(|(pull, d)| pull * libm::exp(-gamma * d[row])).sum()
            };
            let right: Vec<f64> = (0..25).map(along).collect();
            let mut adjoint = Adjoint::new(solve(&train, &roots, gamma, l2, &right), &duals, Some(&roots));
            assert_same(adjoint.of_penalty(), difference(l2, |l2| sum(gamma, l2)));
            let changes = |distances: &[f64]| -> Vec<[f64; 2]> {
                distances.iter().map(|d| [-d * libm::exp(-gamma * d), 0.0]).collect()
            };
            train.distances(&train).iter().enumerate().for_each(|(row, d)| adjoint.train(row, &changes(d)));
            distances.iter().zip(&pulls).for_each(|(d, pull)| adjoint.held(*pull, &changes(d)));
            assert_same(adjoint.of_kernel[0], difference(gamma, |gamma| sum(gamma, l2)));
        }
    }
}
