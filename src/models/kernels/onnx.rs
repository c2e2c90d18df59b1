//! Kernels in a graph.

use super::{KernelFunction, KernelKind, Measure};
use crate::base::onnx::{Element, Graph, Value};
use crate::models::onnx::{absolute_distance, squared_distance, sum_over_features};
use ndarray::ArrayView2;

/// `[rows of x, rows]` in 64 bits: the kernel of each row of features with each of these rows.
pub fn kernel(function: &KernelFunction, graph: &mut Graph, x: &Value, rows: ArrayView2<'_, f32>) -> Value {
    let measure = match function.kind.measure() {
        Measure::SquaredDistance => sum_over_features(graph, x, &[rows], squared_distance),
        Measure::AbsoluteDistance => sum_over_features(graph, x, &[rows], absolute_distance),
        Measure::Product => {
            let values: Vec<f32> = rows.t().iter().copied().collect();
            let rows = graph.floats(&[rows.ncols(), rows.nrows()], &values);
            let [x, rows] = [x, &rows].map(|value| graph.cast(value, Element::Double));
            graph.node("MatMul", &[&x, &rows], &[])
        }
    };
    let mut number = |value: f64| graph.doubles(&[], &[value]);
    match function.kind {
        KernelKind::Linear => measure,
        KernelKind::Rbf | KernelKind::Laplacian => {
            let rate = number(-function.gamma);
            let exponent = graph.node("Mul", &[&measure, &rate], &[]);
            graph.node("Exp", &[&exponent], &[])
        }
        KernelKind::Polynomial | KernelKind::Sigmoid => {
            let (gamma, coef0, degree) =
                (number(function.gamma), number(function.coef0), number(f64::from(function.degree)));
            let scaled = graph.node("Mul", &[&measure, &gamma], &[]);
            let base = graph.node("Add", &[&scaled, &coef0], &[]);
            match function.kind {
                KernelKind::Polynomial => graph.node("Pow", &[&base, &degree], &[]),
                _ => graph.node("Tanh", &[&base], &[]),
            }
        }
    }
}
