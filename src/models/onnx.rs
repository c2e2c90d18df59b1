//! What models share when they are said in ONNX.

use super::WeightsError;
use super::predict::linear_parts;
use crate::backend::Weights;
use crate::base::onnx::{Attribute, Graph, Value};
use crate::data::{Affine, Task};
use ndarray::ArrayView2;

/// A model that is linear in the features: [`super::predict::linear`] in a graph.
pub(super) fn linear(
    weights: &Weights,
    task: Task,
    target: Affine,
    graph: &mut Graph,
    x: &Value,
) -> Result<Value, WeightsError> {
    let (weight, intercept) = linear_parts(weights)?;
    let predicted = affine(graph, x, weight.t(), intercept);
    Ok(match task {
        Task::Classification => softmax(graph, &predicted),
        Task::Regression => unscale(graph, target, &predicted),
    })
}

/// `x weights + bias`, with weights of `[inputs, units]` and a bias a unit.
pub(super) fn affine(graph: &mut Graph, x: &Value, weights: ArrayView2<'_, f32>, bias: &[f32]) -> Value {
    let (inputs, units) = weights.dim();
    let values: Vec<f32> = weights.iter().copied().collect();
    let weights = graph.floats(&[inputs, units], &values);
    let bias = graph.floats(&[units], bias);
    graph.node("Gemm", &[x, &weights, &bias], &[])
}

/// Each row's logits become its probabilities.
pub(super) fn softmax(graph: &mut Graph, logits: &Value) -> Value {
    graph.node("Softmax", &[logits], &[("axis", Attribute::Integer(-1))])
}

/// Scaled predictions become values in the target's own units.
pub(super) fn unscale(graph: &mut Graph, target: Affine, scaled: &Value) -> Value {
    let [scale, shift] = [target.scale, target.shift].map(|value| graph.floats(&[], &[value]));
    let spread = graph.node("Mul", &[scaled, &scale], &[]);
    graph.node("Add", &[&spread, &shift], &[])
}
