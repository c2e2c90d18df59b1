//! Predictions on the host from weights that may come from a file: every name, shape and value is checked.

use crate::backend::{WeightArray, Weights};
use crate::models::WeightsError;
use crate::models::predict::wrong_shape;
use ndarray::{Array2, ArrayView2};

/// `[rows, classes]` probabilities.
pub fn predict(weights: &Weights, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, WeightsError> {
    let find = |name: &str| {
        let array = weights.arrays.iter().find(|array| array.name == name);
        array.ok_or_else(|| WeightsError(format!("{name} is missing")))
    };
    let (mean, deviation, prior) = (find("mean")?, find("deviation")?, find("prior")?);
    let [classes, features] = mean.shape[..] else { return Err(wrong_shape(mean)) };
    let is_whole = |array: &WeightArray, shape: &[usize]| {
        array.shape == shape && shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n)) == Some(array.values.len())
    };
    for (array, shape) in [(mean, &[classes, features][..]), (deviation, &[classes, features]), (prior, &[classes])] {
        if classes == 0 || !is_whole(array, shape) {
            return Err(wrong_shape(array));
        }
    }
    if features != x.ncols() {
        return Err(WeightsError(format!("the model has {features} features, the rows have {}", x.ncols())));
    }
    if deviation.values.iter().any(|deviation| *deviation <= 0.0) {
        return Err(WeightsError("a deviation is not positive".to_owned()));
    }
    if prior.values.iter().any(|prior| *prior < 0.0) || prior.values.iter().all(|prior| *prior == 0.0) {
        return Err(WeightsError("the priors are no shares".to_owned()));
    }
    let constant = |class: usize| {
        let deviations = deviation.values[class * features..][..features].iter();
        libm::log(f64::from(prior.values[class])) - deviations.map(|d| libm::log(f64::from(*d))).sum::<f64>()
    };
    let constants: Vec<f64> = (0..classes).map(constant).collect();
    let mut out = Array2::zeros((x.nrows(), classes));
    let mut logits = vec![0.0; classes];
    for (row, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
        for (class, logit) in logits.iter_mut().enumerate() {
            let entries = class * features..(class + 1) * features;
            let moments = mean.values[entries.clone()].iter().zip(&deviation.values[entries]);
            let term = |((mean, deviation), x): ((&f32, &f32), &f32)| {
                let distance = (f64::from(*x) - f64::from(*mean)) / f64::from(*deviation);
                distance * distance
            };
            *logit = constants[class] - 0.5 * moments.zip(row).map(term).sum::<f64>();
        }
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logits.iter_mut().for_each(|logit| *logit = libm::exp(*logit - largest));
        let sum: f64 = logits.iter().sum();
        out.iter_mut().zip(&logits).for_each(|(out, share)| *out = (share / sum) as f32);
    }
    Ok(out)
}
