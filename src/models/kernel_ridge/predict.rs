//! Predictions on the host from weights that may come from a file: every name and shape is checked.

use crate::backend::Weights;
use crate::base::onnx::{Graph, Value};
use crate::data::{Affine, Task};
use crate::models::kernels::KernelFunction;
use crate::models::kernels::onnx::kernel;
use crate::models::kernels::weights::{kernel_rows, matrix, read_kernel};
use crate::models::predict::{floats, wrong_shape};
use crate::models::{WeightsError, onnx};
use ndarray::{Array2, ArrayView2};

/// `[rows, 1]` values in the target's own units.
pub fn predict(weights: &Weights, target: Affine, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, WeightsError> {
    let (function, duals, rows) = parse(weights)?;
    let mut predictions = Array2::zeros((x.nrows(), 1));
    kernel_rows(&function, x, rows, |row, values| {
        let sum: f64 = values.iter().zip(&duals).map(|(value, dual)| value * dual).sum();
        predictions[[row, 0]] = sum.mul_add(f64::from(target.scale), f64::from(target.shift)) as f32;
    })?;
    Ok(predictions)
}

/// The same in a graph.
pub fn to_onnx(
    weights: &Weights,
    _: Task,
    target: Affine,
    graph: &mut Graph,
    x: &Value,
) -> Result<Value, WeightsError> {
    let (function, duals, rows) = parse(weights)?;
    let kernel = kernel(&function, graph, x, rows);
    let duals = graph.doubles(&[duals.len(), 1], &duals);
    let scaled = graph.node("MatMul", &[&kernel, &duals], &[]);
    Ok(onnx::unscale_wide(graph, target, &scaled))
}

/// The kernel, and the rows that it is measured against with the coefficient of each.
fn parse(weights: &Weights) -> Result<(KernelFunction, Vec<f64>, ArrayView2<'_, f32>), WeightsError> {
    let function = read_kernel(weights)?;
    let (dual, rows) = (floats(weights, "dual")?, matrix(floats(weights, "rows")?)?);
    let rest = floats(weights, "dual_rest")?;
    if let Some(array) = [dual, rest].into_iter().find(|array| array.values.len() != rows.nrows()) {
        return Err(wrong_shape(array));
    }
    let parts = dual.values.iter().zip(&rest.values);
    let duals = parts.map(|(first, rest)| f64::from(*first) + f64::from(*rest)).collect();
    Ok((function, duals, rows))
}
