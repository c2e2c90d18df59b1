//! What models share when they predict on the host from weights that may come from a file.

use super::WeightsError;
use crate::backend::WeightArray;
use ndarray::{Array2, Axis};

/// Each row's logits become its probabilities.
pub(super) fn softmax(logits: &mut Array2<f32>) {
    for mut row in logits.axis_iter_mut(Axis(0)) {
        let largest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        row.mapv_inplace(|z| libm::expf(z - largest));
        let sum = row.sum();
        row.mapv_inplace(|e| e / sum);
    }
}

/// An array whose shape is not what the model needs, or not that of its values.
pub(super) fn wrong_shape(array: &WeightArray) -> WeightsError {
    WeightsError(format!("{} has the shape {:?} with {} values", array.name, array.shape, array.values.len()))
}
