//! Neighbours in a graph: the same distances, the nearest of them, of equal ones the first, and their vote.

use super::distance::{self, Distance};
use super::predict::{Neighbours, parse};
use crate::backend::Weights;
use crate::base::onnx::{Attribute, Element, Graph, Value};
use crate::data::{Affine, Target, Task};
use crate::models::WeightsError;
use crate::models::onnx::{absolute_distance, product, squared_distance, sum_over_features};

/// What `predict` gives.
pub fn to_onnx(
    weights: &Weights,
    task: Task,
    target: Affine,
    graph: &mut Graph,
    x: &Value,
) -> Result<Value, WeightsError> {
    let Neighbours { rows, targets, params } = parse(weights, task)?;
    let distances = match params.distance {
        Distance::Euclidean => sum_over_features(graph, x, &[rows], squared_distance),
        Distance::Manhattan => sum_over_features(graph, x, &[rows], absolute_distance),
        Distance::Cosine => {
            let dots = sum_over_features(graph, x, &[rows], product);
            cosine(graph, x, &dots, &distance::squares(rows))
        }
    };
    let count = graph.integers(&[1], &[params.neighbours as i64]);
    let settings = [("axis", Attribute::Integer(-1)), ("largest", Attribute::Integer(0))];
    let [distances, nearest] = graph.nodes("TopK", &[&distances, &count], &settings);
    let shares = shares(graph, &params, &distances);
    let (first_axis, last_axis) = (graph.integers(&[1], &[1]), graph.integers(&[1], &[2]));
    let total = graph.node("ReduceSum", &[&shares, &first_axis], &[]);
    match &targets {
        Target::Classes { codes, classes } => {
            let codes: Vec<i64> = codes.iter().map(|code| i64::from(*code)).collect();
            let codes = graph.integers(&[codes.len()], &codes);
            let own = graph.node("Gather", &[&codes, &nearest], &[]);
            let (depth, off_and_on) = (graph.integers(&[], &[*classes as i64]), graph.floats(&[2], &[0.0, 1.0]));
            let own = graph.node("OneHot", &[&own, &depth, &off_and_on], &[]);
            let shares = graph.node("Unsqueeze", &[&shares, &last_axis], &[]);
            let votes = graph.node("Mul", &[&own, &shares], &[]);
            let keep = [("keepdims", Attribute::Integer(0))];
            let votes = graph.node("ReduceSum", &[&votes, &first_axis], &keep);
            Ok(graph.node("Div", &[&votes, &total], &[]))
        }
        Target::Values(values) => {
            // What is left of a shift loses nothing to it when it is summed.
            let values: Vec<f32> = values.iter().map(|value| value - target.shift).collect();
            let values = graph.floats(&[values.len()], &values);
            let own = graph.node("Gather", &[&values, &nearest], &[]);
            let votes = graph.node("Mul", &[&own, &shares], &[]);
            let votes = graph.node("ReduceSum", &[&votes, &first_axis], &[]);
            let mean = graph.node("Div", &[&votes, &total], &[]);
            let shift = graph.floats(&[], &[target.shift]);
            Ok(graph.node("Add", &[&mean, &shift], &[]))
        }
    }
}

/// What each neighbour counts for, the nearest one 1.
fn shares(graph: &mut Graph, params: &super::KnnParams, distances: &Value) -> Value {
    let one = graph.floats(&[], &[1.0]);
    if !params.is_by_distance {
        let shape = graph.node("Shape", &[distances], &[]);
        return graph.node("Expand", &[&one, &shape], &[]);
    }
    let distances = match params.distance {
        Distance::Euclidean => graph.node("Sqrt", &[distances], &[]),
        _ => distances.clone(),
    };
    let first = graph.integers(&[1], &[0]);
    let first = graph.node("Gather", &[&distances, &first], &[("axis", Attribute::Integer(1))]);
    let share = graph.node("Div", &[&first, &distances], &[]);
    let share = graph.cast(&share, Element::Float);
    // Where the nearest is at no distance, so are all that count.
    let is_nearest = graph.node("Equal", &[&distances, &first], &[]);
    graph.node("Where", &[&is_nearest, &one, &share], &[])
}

/// [`Distance::Cosine`] from products of rows, and the squares of the training rows' lengths.
fn cosine(graph: &mut Graph, x: &Value, dots: &Value, squares: &[f64]) -> Value {
    let [zero, one, least] = [0.0, 1.0, distance::ZERO_COSINE].map(|value| graph.doubles(&[], &[value]));
    let theirs = graph.doubles(&[1, squares.len()], squares);
    let x = graph.cast(x, Element::Double);
    let own = graph.node("Mul", &[&x, &x], &[]);
    let axis = graph.integers(&[1], &[1]);
    let own = graph.node("ReduceSum", &[&own, &axis], &[]);
    let lengths = graph.node("Mul", &[&own, &theirs], &[]);
    let lengths = graph.node("Sqrt", &[&lengths], &[]);
    let cosines = graph.node("Div", &[dots, &lengths], &[]);
    let distances = graph.node("Sub", &[&one, &cosines], &[]);
    let is_none = graph.node("Less", &[&distances, &least], &[]);
    let distances = graph.node("Where", &[&is_none, &zero, &distances], &[]);
    let is_zero = graph.node("Equal", &[&lengths, &zero], &[]);
    graph.node("Where", &[&is_zero, &one, &distances], &[])
}
