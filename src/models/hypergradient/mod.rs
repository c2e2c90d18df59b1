//! How a score on held-out rows changes with a hyperparameter, exactly: through the trained weights, not by training again.
//!
//! A score's sum over rows has a slope along every output of the model (`pull`), and by that along every weight
//! ([`Linear::pull`]). How the weights change with a hyperparameter follows from the equation that they solve, by the implicit
//! function theorem (Larsen et al. 1996; Bengio 2000; Pedregosa 2016, arXiv:1602.02355); where there is no equation, from
//! their training gone through again ([`mlp`]). One file a model. All of it is f64, on plain arrays; docs/gradients.md has
//! the formulae.

pub mod elastic_net;
pub mod kernel_ridge;
pub mod logistic;
pub mod mlp;
pub mod pull;
pub mod ridge;

/// Features of some rows, `[rows, features]`, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Columns.
    pub width: usize,
}

impl<'a> Features<'a> {
    /// One row after another. A model without features has no rows here either.
    pub fn rows(self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.width.max(1))
    }
}

/// A linear model, or how one changes, or the slopes along its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[outputs, features]`
    pub weight: Vec<f64>,
    /// `[outputs]`
    pub intercept: Vec<f64>,
}

impl Linear {
    /// Of zeros.
    pub fn zeros(outputs: usize, features: usize) -> Linear {
        Linear { weight: vec![0.0; outputs * features], intercept: vec![0.0; outputs] }
    }

    /// `x w + b`, `[rows, outputs]`.
    pub fn outputs(&self, x: Features<'_>) -> Vec<f64> {
        let mut outputs = Vec::with_capacity(x.rows().len() * self.intercept.len());
        for row in x.rows() {
            for (weight, intercept) in self.weight.chunks_exact(x.width.max(1)).zip(&self.intercept) {
                let products = row.iter().zip(weight).map(|(x, weight)| f64::from(*x) * weight);
                outputs.push(intercept + products.sum::<f64>());
            }
        }
        outputs
    }

    /// Slopes along the weights, of slopes along the outputs.
    pub fn pull(x: Features<'_>, pulls: &[f64], outputs: usize) -> Linear {
        let mut slopes = Linear::zeros(outputs, x.width);
        for (row, pulls) in x.rows().zip(pulls.chunks_exact(outputs)) {
            let places = slopes.weight.chunks_exact_mut(x.width.max(1)).zip(&mut slopes.intercept);
            for ((weight, intercept), pull) in places.zip(pulls) {
                weight.iter_mut().zip(row).for_each(|(slope, x)| *slope += pull * f64::from(*x));
                *intercept += pull;
            }
        }
        slopes
    }

    /// Sum of products.
    pub fn dot(&self, other: &Linear) -> f64 {
        dot(&self.weight, &other.weight) + dot(&self.intercept, &other.intercept)
    }
}

/// Sum of products.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What the tests of the models' equations share.
#[cfg(test)]
pub mod testing {
    use crate::base::random::{Key, normal, uniform};

    /// Rows of normal features, the later ones mixed from the ones before.
    pub fn features(seed: u64, rows: usize, width: usize) -> Vec<f32> {
        let key = Key::from_seed(seed);
        let mut values: Vec<f32> = (0..(rows * width) as u64).map(|at| normal(key.words(at)[0])).collect();
        for row in values.chunks_exact_mut(width) {
            (1..width).for_each(|at| row[at] = 0.7 * row[at] + 0.5 * row[at - 1] + 0.3);
        }
        values
    }

    /// A number that the features say something of, and noise.
    pub fn targets(seed: u64, x: &[f32], width: usize) -> Vec<f32> {
        let key = Key::from_seed(seed).child(1);
        let of = |(row, at): (&[f32], u64)| {
            row.iter().zip(1..).map(|(x, i)| x / i as f32).sum::<f32>() + 0.8 * normal(key.words(at)[0])
        };
        x.chunks_exact(width).zip(0..).map(of).collect()
    }

    /// What rows count for.
    pub fn weights(seed: u64, rows: usize) -> Vec<f32> {
        let key = Key::from_seed(seed).child(2);
        (0..rows as u64).map(|at| 0.2 + uniform(key.words(at)[0])).collect()
    }

    /// The slope of something by central differences with Richardson's extrapolation, along the logarithm of a number.
    pub fn difference(at: f64, value: impl Fn(f64) -> f64) -> f64 {
        let plain = |step: f64| (value(at * (1.0 + step)) - value(at * (1.0 - step))) / (2.0 * step * at);
        (4.0 * plain(5e-4) - plain(1e-3)) / 3.0
    }

    /// Fails unless two slopes are one within a ten-thousandth.
    pub fn assert_same(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-4 * expected.abs() && expected != 0.0, "{found}, not {expected}");
    }
}
