//! What models share when they are said in ONNX.

use super::WeightsError;
use super::predict::linear_parts;
use crate::backend::Weights;
use crate::base::onnx::{Attribute, Element, Graph, Value};
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

/// A term of a sum over features: of the rows' feature, `[rows, 1]`, and of the same feature of each matrix, `[1, others]`.
pub(super) type Term = fn(&mut Graph, &Value, &[Value]) -> Value;

/// `x y`
pub(super) fn product(graph: &mut Graph, x: &Value, others: &[Value]) -> Value {
    graph.node("Mul", &[x, &others[0]], &[])
}

/// `(x - y)^2`
pub(super) fn squared_distance(graph: &mut Graph, x: &Value, others: &[Value]) -> Value {
    let distance = graph.node("Sub", &[x, &others[0]], &[]);
    graph.node("Mul", &[&distance, &distance], &[])
}

/// `|x - y|`
pub(super) fn absolute_distance(graph: &mut Graph, x: &Value, others: &[Value]) -> Value {
    let distance = graph.node("Sub", &[x, &others[0]], &[]);
    graph.node("Abs", &[&distance], &[])
}

/// `[rows, others]`, each the sum of a term over the features of a row of `x` and a row of the matrices `[others, features]`,
/// in 64 bits and in the order of the features: the same bits as a loop that rounds each product. (A product of matrices is
/// quicker, and cancels where two rows are close.)
pub(super) fn sum_over_features(graph: &mut Graph, x: &Value, matrices: &[ArrayView2<'_, f32>], term: Term) -> Value {
    let x = graph.cast(x, Element::Double);
    let by_feature = graph.node("Transpose", &[&x], &[]);
    let last = graph.integers(&[1], &[2]);
    let by_feature = graph.node("Unsqueeze", &[&by_feature, &last], &[]);
    let others = matrices.first().map_or(0, |matrix| matrix.nrows());
    let mut scanned = vec![by_feature];
    for matrix in matrices {
        let values: Vec<f32> = matrix.t().iter().copied().collect();
        let constant = graph.floats(&[matrix.ncols(), 1, others], &values);
        scanned.push(graph.cast(&constant, Element::Double));
    }
    let zeros = zeros(graph, &x, others);
    let scanned: Vec<&Value> = scanned.iter().collect();
    graph.scan(Element::Double, &zeros, &scanned, |body, sum, slices| {
        let term = term(body, &slices[0], &slices[1..]);
        body.node("Add", &[sum, &term], &[])
    })
}

/// Zeros in 64 bits, a row for each of `x`.
fn zeros(graph: &mut Graph, x: &Value, columns: usize) -> Value {
    let shape = graph.node("Shape", &[x], &[("end", Attribute::Integer(1))]);
    let columns = graph.integers(&[1], &[columns as i64]);
    let shape = graph.node("Concat", &[&shape, &columns], &[("axis", Attribute::Integer(0))]);
    let zero = graph.doubles(&[], &[0.0]);
    graph.node("Expand", &[&zero, &shape], &[])
}

/// [`unscale`] of sums in 64 bits.
pub(super) fn unscale_wide(graph: &mut Graph, target: Affine, scaled: &Value) -> Value {
    let [scale, shift] = [target.scale, target.shift].map(|value| graph.doubles(&[], &[f64::from(value)]));
    let spread = graph.node("Mul", &[scaled, &scale], &[]);
    let value = graph.node("Add", &[&spread, &shift], &[]);
    graph.cast(&value, Element::Float)
}

/// The same row for each of `x`.
pub(super) fn constant_rows(graph: &mut Graph, x: &Value, row: &[f32]) -> Value {
    let zeros = zeros(graph, x, row.len());
    let zeros = graph.cast(&zeros, Element::Float);
    let row = graph.floats(&[row.len()], row);
    graph.node("Add", &[&zeros, &row], &[])
}
