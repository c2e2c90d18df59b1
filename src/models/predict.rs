//! What models share when they predict on the host from weights that may come from a file.

use super::WeightsError;
use crate::backend::{IntegerArray, WeightArray, Weights};
use crate::data::{Affine, Task};
use ndarray::{Array2, ArrayView2, Axis};

/// What a model that is linear in the features predicts, from its `weight` `[outputs, features]` and `intercept`
/// `[outputs]`: `[rows, outputs]` probabilities, or values in the target's own units.
pub(super) fn linear(
    weights: &Weights,
    task: Task,
    target: Affine,
    x: ArrayView2<'_, f32>,
) -> Result<Array2<f32>, WeightsError> {
    let (weight, intercept) = linear_parts(weights)?;
    if weight.ncols() != x.ncols() {
        return Err(WeightsError(format!("the model has {} features, the rows have {}", weight.ncols(), x.ncols())));
    }
    let mut predicted = x.dot(&weight.t());
    for mut row in predicted.axis_iter_mut(Axis(0)) {
        row.iter_mut().zip(intercept).for_each(|(z, b)| *z += b);
    }
    match task {
        Task::Classification => softmax(&mut predicted),
        Task::Regression => predicted.mapv_inplace(|z| z * target.scale + target.shift),
    }
    Ok(predicted)
}

/// `weight` `[outputs, features]` and `intercept` `[outputs]` of a model that is linear in the features.
pub(super) fn linear_parts(weights: &Weights) -> Result<(ArrayView2<'_, f32>, &[f32]), WeightsError> {
    let (weight, intercept) = (floats(weights, "weight")?, floats(weights, "intercept")?);
    let [outputs, features] = weight.shape[..] else { return Err(wrong_shape(weight)) };
    let matrix = ArrayView2::from_shape((outputs, features), &weight.values).map_err(|_| wrong_shape(weight))?;
    if intercept.values.len() != outputs || outputs == 0 {
        return Err(wrong_shape(intercept));
    }
    Ok((matrix, &intercept.values))
}

/// Each row's logits become its probabilities.
pub(super) fn softmax(logits: &mut Array2<f32>) {
    for mut row in logits.axis_iter_mut(Axis(0)) {
        let largest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        row.mapv_inplace(|z| libm::expf(z - largest));
        let sum = row.sum();
        row.mapv_inplace(|e| e / sum);
    }
}

/// Finds an array of numbers.
pub(super) fn floats<'a>(weights: &'a Weights, name: &str) -> Result<&'a WeightArray, WeightsError> {
    weights.arrays.iter().find(|array| array.name == name).ok_or_else(|| missing(name))
}

/// Finds an array of whole numbers.
pub(super) fn integers<'a>(weights: &'a Weights, name: &str) -> Result<&'a IntegerArray, WeightsError> {
    weights.integers.iter().find(|array| array.name == name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> WeightsError {
    WeightsError(format!("{name} is missing"))
}

/// An array whose shape is not what the model needs, or not that of its values.
pub(super) fn wrong_shape(array: &WeightArray) -> WeightsError {
    WeightsError(format!("{} has the shape {:?} with {} values", array.name, array.shape, array.values.len()))
}
