//! What a fold's training rows say of its classes: weighted means and variances, as scikit-learn's `GaussianNB` has them.

use super::NaiveBayesParams;
use crate::backend::{WeightArray, Weights};
use crate::data::{Rows, Target};

/// Moments of the features within each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Columns of x.
    pub features: usize,
    /// Sum of the weights of each class's rows; without weights their number.
    pub counts: Vec<f64>,
    /// `[classes, features]`; zeros for a class whose rows weigh nothing.
    pub means: Vec<f64>,
    /// `[classes, features]`, around those means.
    pub variances: Vec<f64>,
    /// Mean of each feature over all rows, which count alike.
    pub overall: Vec<f64>,
    /// Variance of each feature over all rows, which count alike.
    pub spread: Vec<f64>,
}

impl Moments {
    /// Two passes over the rows, in their order.
    pub fn new(rows: &Rows) -> Moments {
        let features = rows.x.ncols();
        let (codes, classes): (&[u32], usize) = match &rows.y {
            Target::Classes { codes, classes } => (codes, *classes),
            // Not a task of this model: one class, which everything belongs to.
            Target::Values(values) => (&vec![0; values.len()], 1),
        };
        let weight = |row: usize| rows.weight.as_ref().map_or(1.0, |weight| f64::from(weight[row]));
        let mut moments = Moments {
            features,
            counts: vec![0.0; classes],
            means: vec![0.0; classes * features],
            variances: vec![0.0; classes * features],
            overall: vec![0.0; features],
            spread: vec![0.0; features],
        };
        for (row, (x, code)) in rows.x.rows().into_iter().zip(codes).enumerate() {
            let weight = weight(row);
            moments.counts[*code as usize] += weight;
            let sums = moments.means[*code as usize * features..].iter_mut().zip(&mut moments.overall);
            for ((sum, all), x) in sums.zip(x) {
                *sum += weight * f64::from(*x);
                *all += f64::from(*x);
            }
        }
        moments.divide(codes.len(), |moments| (&mut moments.means, &mut moments.overall));
        for (row, (x, code)) in rows.x.rows().into_iter().zip(codes).enumerate() {
            let weight = weight(row);
            let first = *code as usize * features;
            for (j, x) in x.iter().enumerate() {
                let (own, all) = (f64::from(*x) - moments.means[first + j], f64::from(*x) - moments.overall[j]);
                moments.variances[first + j] += weight * (own * own);
                moments.spread[j] += all * all;
            }
        }
        moments.divide(codes.len(), |moments| (&mut moments.variances, &mut moments.spread));
        moments
    }

    /// Divides sums within the classes by their weights, and sums over all rows by their number.
    fn divide(&mut self, rows: usize, sums: impl Fn(&mut Moments) -> (&mut Vec<f64>, &mut Vec<f64>)) {
        let (features, counts) = (self.features, self.counts.clone());
        let (within, over) = sums(self);
        for (class, count) in counts.into_iter().enumerate() {
            let sums = &mut within[class * features..][..features];
            sums.iter_mut().for_each(|sum| *sum = if count > 0.0 { *sum / count } else { 0.0 });
        }
        over.iter_mut().for_each(|sum| *sum /= rows.max(1) as f64);
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// What a candidate adds to every variance.
    pub fn added(&self, params: &NaiveBayesParams) -> f64 {
        params.smoothing * self.spread.iter().copied().fold(0.0, f64::max)
    }

    /// A variance with what is added to it. Nothing is left of it only where no feature varies: then all classes have the
    /// same one, so that none is more likely than another by it.
    pub fn smoothed(variance: f64, added: f64) -> f64 {
        let sum = variance + added;
        if sum > 0.0 { sum } else { f64::from(f32::MAX) }
    }

    /// Each class's share before any feature is seen: 0 for a class whose rows weigh nothing.
    pub fn priors(&self, params: &NaiveBayesParams) -> Vec<f64> {
        let count = |count: &f64| match params.has_uniform_priors {
            true => f64::from(u8::from(*count > 0.0)),
            false => *count,
        };
        let all: f64 = self.counts.iter().map(count).sum();
        self.counts.iter().map(|own| count(own) / all).collect()
    }

    /// A candidate's weights.
    pub fn weights(&self, params: &NaiveBayesParams) -> Weights {
        let added = self.added(params);
        // Normal numbers, so that nobody divides by zero.
        let deviation = |variance: &f64| Moments::smoothed(*variance, added).sqrt() as f32;
        let deviation = |variance: &f64| deviation(variance).clamp(f32::MIN_POSITIVE, f32::MAX);
        let shape = vec![self.classes(), self.features];
        let array =
            |name: &str, shape: Vec<usize>, values: Vec<f32>| WeightArray { name: name.to_owned(), shape, values };
        Weights::of(vec![
            array("mean", shape.clone(), self.means.iter().map(|mean| *mean as f32).collect()),
            array("deviation", shape, self.variances.iter().map(deviation).collect()),
            array("prior", vec![self.classes()], self.priors(params).into_iter().map(|prior| prior as f32).collect()),
        ])
    }
}
