//! Predictions on the host from weights that may come from a file: every name, shape and value is checked.

use crate::backend::{WeightArray, Weights};
use crate::base::onnx::{Element, Graph, Value};
use crate::data::{Affine, Task};
use crate::models::predict::{floats, wrong_shape};
use crate::models::{WeightsError, onnx};
use ndarray::{Array2, ArrayView2};

/// A Gaussian a class and feature, and how often a class is.
struct Gaussians<'a> {
    /// `[classes, features]`
    mean: ArrayView2<'a, f32>,
    /// `[classes, features]`, positive.
    deviation: ArrayView2<'a, f32>,
    /// Of each class, the part of its log probability that no row changes.
    constants: Vec<f64>,
}

/// `[rows, classes]` probabilities.
pub fn predict(weights: &Weights, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, WeightsError> {
    let Gaussians { mean, deviation, constants } = parse(weights)?;
    let (classes, features) = mean.dim();
    if features != x.ncols() {
        return Err(WeightsError(format!("the model has {features} features, the rows have {}", x.ncols())));
    }
    let mut out = Array2::zeros((x.nrows(), classes));
    let mut logits = vec![0.0; classes];
    for (row, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
        for (class, logit) in logits.iter_mut().enumerate() {
            let moments = mean.row(class).into_iter().zip(deviation.row(class));
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

/// The same in a graph.
pub fn to_onnx(weights: &Weights, _: Task, _: Affine, graph: &mut Graph, x: &Value) -> Result<Value, WeightsError> {
    let Gaussians { mean, deviation, constants } = parse(weights)?;
    let distances = onnx::sum_over_features(graph, x, &[mean, deviation], |graph, x, moments| {
        let distance = graph.node("Sub", &[x, &moments[0]], &[]);
        let distance = graph.node("Div", &[&distance, &moments[1]], &[]);
        graph.node("Mul", &[&distance, &distance], &[])
    });
    let half = graph.doubles(&[], &[0.5]);
    let distances = graph.node("Mul", &[&distances, &half], &[]);
    let constants = graph.doubles(&[constants.len()], &constants);
    let logits = graph.node("Sub", &[&constants, &distances], &[]);
    let shares = onnx::softmax(graph, &logits);
    Ok(graph.cast(&shares, Element::Float))
}

fn parse(weights: &Weights) -> Result<Gaussians<'_>, WeightsError> {
    let (mean, deviation) = (floats(weights, "mean")?, floats(weights, "deviation")?);
    let prior = floats(weights, "prior")?;
    let [classes, features] = mean.shape[..] else { return Err(wrong_shape(mean)) };
    let (mean, deviation) = (view(mean, classes, features)?, view(deviation, classes, features)?);
    if classes == 0 || prior.shape != [classes] || prior.values.len() != classes {
        return Err(wrong_shape(prior));
    }
    if deviation.iter().any(|deviation| *deviation <= 0.0) {
        return Err(WeightsError("a deviation is not positive".to_owned()));
    }
    if prior.values.iter().any(|prior| *prior < 0.0) || prior.values.iter().all(|prior| *prior == 0.0) {
        return Err(WeightsError("the priors are no shares".to_owned()));
    }
    let constant = |class: usize| {
        let deviations = deviation.row(class).into_iter();
        libm::log(f64::from(prior.values[class])) - deviations.map(|d| libm::log(f64::from(*d))).sum::<f64>()
    };
    let constants = (0..classes).map(constant).collect();
    Ok(Gaussians { mean, deviation, constants })
}

fn view(array: &WeightArray, classes: usize, features: usize) -> Result<ArrayView2<'_, f32>, WeightsError> {
    let view = ArrayView2::from_shape((classes, features), &array.values);
    view.ok().filter(|_| array.shape == [classes, features]).ok_or_else(|| wrong_shape(array))
}
