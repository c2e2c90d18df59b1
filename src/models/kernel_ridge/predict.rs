//! Predictions on the host from weights that may come from a file: every name and shape is checked.

use crate::backend::Weights;
use crate::data::Affine;
use crate::models::WeightsError;
use crate::models::kernels::weights::{find, kernel_rows, matrix, read_kernel};
use crate::models::predict::wrong_shape;
use ndarray::{Array2, ArrayView2};

/// `[rows, 1]` values in the target's own units.
pub fn predict(weights: &Weights, target: Affine, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, WeightsError> {
    let function = read_kernel(weights)?;
    let (dual, rows) = (find(weights, "dual")?, matrix(find(weights, "rows")?)?);
    let rest = find(weights, "dual_rest")?;
    if let Some(array) = [dual, rest].into_iter().find(|array| array.values.len() != rows.nrows()) {
        return Err(wrong_shape(array));
    }
    let parts = dual.values.iter().zip(&rest.values);
    let duals: Vec<f64> = parts.map(|(first, rest)| f64::from(*first) + f64::from(*rest)).collect();
    let mut predictions = Array2::zeros((x.nrows(), 1));
    kernel_rows(&function, x, rows, |row, values| {
        let sum: f64 = values.iter().zip(&duals).map(|(value, dual)| value * dual).sum();
        predictions[[row, 0]] = sum.mul_add(f64::from(target.scale), f64::from(target.shift)) as f32;
    })?;
    Ok(predictions)
}
