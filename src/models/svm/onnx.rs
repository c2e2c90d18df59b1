//! A machine in a graph: the decisions of all pairs by one product of the kernel with their coefficients, then LIBSVM's vote.

use super::predict::{Machines, parse};
use super::vote;
use crate::backend::Weights;
use crate::base::onnx::{Attribute, Element, Graph, Value};
use crate::data::{Affine, Task};
use crate::models::kernels::onnx::kernel;
use crate::models::{WeightsError, onnx};

/// What `predict` gives.
pub fn to_onnx(
    weights: &Weights,
    task: Task,
    target: Affine,
    graph: &mut Graph,
    x: &Value,
) -> Result<Value, WeightsError> {
    let machines = parse(weights, task)?;
    let kernel = kernel(&machines.function, graph, x, machines.support);
    let decisions = decisions(&machines, task, graph, &kernel);
    if task == Task::Regression {
        return Ok(onnx::unscale_wide(graph, target, &decisions));
    }
    let decisions = graph.cast(&decisions, Element::Float);
    let present = machines.present.len();
    let found = match present {
        0 | 1 => onnx::constant_rows(graph, x, &vec![1.0; present]),
        2 => two(graph, &decisions),
        _ => voted(graph, &decisions, present),
    };
    // Each class that occurs in its own place among all classes.
    let mut places = vec![0.0; present * machines.classes];
    for (row, class) in machines.present.iter().enumerate() {
        places[row * machines.classes + *class as usize] = 1.0;
    }
    let places = graph.floats(&[present, machines.classes], &places);
    Ok(graph.node("MatMul", &[&found, &places], &[]))
}

/// `[rows, pairs]` in 64 bits; of a regression one.
fn decisions(machines: &Machines<'_>, task: Task, graph: &mut Graph, kernel: &Value) -> Value {
    let pairs: Vec<(usize, usize)> = match task {
        Task::Classification => vote::every_pair(machines.present.len()).collect(),
        Task::Regression => vec![(0, 1)],
    };
    let mut coefficients = Vec::with_capacity(machines.class.len() * pairs.len());
    for (vector, class) in machines.class.iter().enumerate() {
        coefficients.extend(pairs.iter().map(|(a, b)| match *class as usize {
            class if class == *a => machines.coefficients[[b - 1, vector]],
            class if class == *b => machines.coefficients[[*a, vector]],
            _ => 0.0,
        }));
    }
    let coefficients = graph.floats(&[machines.class.len(), pairs.len()], &coefficients);
    let coefficients = graph.cast(&coefficients, Element::Double);
    let constants: Vec<f64> = machines.intercept.iter().take(pairs.len()).map(|value| f64::from(*value)).collect();
    let constants = graph.doubles(&[pairs.len()], &constants);
    let sums = graph.node("MatMul", &[kernel, &coefficients], &[]);
    graph.node("Add", &[&sums, &constants], &[])
}

/// The decision's logistic function; one of 0 is for the second class.
fn two(graph: &mut Graph, decisions: &Value) -> Value {
    let [zero, least] = [0.0, -f32::EPSILON].map(|value| graph.floats(&[], &[value]));
    let is_none = graph.node("Equal", &[decisions, &zero], &[]);
    let first = graph.node("Where", &[&is_none, &least, decisions], &[]);
    let second = graph.node("Neg", &[&first], &[]);
    let both = graph.node("Concat", &[&first, &second], &[("axis", Attribute::Integer(1))]);
    graph.node("Sigmoid", &[&both], &[])
}

/// [`vote::probabilities`] of three classes or more.
fn voted(graph: &mut Graph, decisions: &Value, classes: usize) -> Value {
    // 1 for the first class of a pair and -1 for its second.
    let mut signs = vec![0.0; vote::pairs(classes) * classes];
    let mut seconds = vec![0.0; classes];
    for (pair, (a, b)) in vote::every_pair(classes).enumerate() {
        signs[pair * classes + a] = 1.0;
        signs[pair * classes + b] = -1.0;
        seconds[b] += 1.0;
    }
    let signs = graph.floats(&[vote::pairs(classes), classes], &signs);
    let seconds = graph.floats(&[classes], &seconds);
    let [zero, one, three, none] = [0.0, 1.0, 3.0, f32::NEG_INFINITY].map(|value| graph.floats(&[], &[value]));
    let for_first = graph.node("Greater", &[decisions, &zero], &[]);
    let for_first = graph.cast(&for_first, Element::Float);
    let votes = graph.node("MatMul", &[&for_first, &signs], &[]);
    let votes = graph.node("Add", &[&votes, &seconds], &[]);
    let sums = graph.node("MatMul", &[decisions, &signs], &[]);
    let size = graph.node("Abs", &[&sums], &[]);
    let size = graph.node("Add", &[&size, &one], &[]);
    let size = graph.node("Mul", &[&size, &three], &[]);
    let within = graph.node("Div", &[&sums, &size], &[]);
    let scores = graph.node("Add", &[&votes, &within], &[]);
    // Of those with most votes the first wins, with the best score of theirs.
    let by_row = [("axes", Attribute::Integers(vec![1]))];
    let most = graph.node("ReduceMax", &[&votes], &by_row);
    let is_tied = graph.node("Equal", &[&votes, &most], &[]);
    let tied = graph.node("Where", &[&is_tied, &scores, &none], &[]);
    let best = graph.node("ReduceMax", &[&tied], &by_row);
    let settings = [("axis", Attribute::Integer(1)), ("keepdims", Attribute::Integer(0))];
    let winner = graph.node("ArgMax", &[&votes], &settings);
    let (depth, off_and_on) = (graph.integers(&[], &[classes as i64]), graph.floats(&[2], &[0.0, 1.0]));
    let winner = graph.node("OneHot", &[&winner, &depth, &off_and_on], &[]);
    let is_winner = graph.node("Greater", &[&winner, &zero], &[]);
    let scores = graph.node("Where", &[&is_winner, &best, &scores], &[]);
    onnx::softmax(graph, &scores)
}
