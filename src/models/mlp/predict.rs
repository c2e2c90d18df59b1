//! Predictions on the host from weights that may come from a file: every name, shape and value is checked.

use super::recipe::{Activation, MAX_LAYERS};
use crate::backend::Weights;
use crate::base::onnx::{Graph, Value};
use crate::data::{Affine, Task};
use crate::models::predict::{floats, softmax, wrong_shape};
use crate::models::{Explanation, WeightsError, onnx};
use ndarray::{Array2, ArrayView1, ArrayView2};

/// `[rows, outputs]` probabilities, or values in the target's own units.
pub fn predict(
    weights: &Weights,
    task: Task,
    target: Affine,
    x: ArrayView2<'_, f32>,
) -> Result<Array2<f32>, WeightsError> {
    let (layers, activation) = parse(weights)?;
    let features = layers.first().map_or(0, |layer| layer.weight.nrows());
    if features != x.ncols() {
        return Err(WeightsError(format!("the model has {features} features, the rows have {}", x.ncols())));
    }
    let mut outputs = x.to_owned();
    for (index, layer) in layers.iter().enumerate() {
        outputs = outputs.dot(&layer.weight) + layer.bias;
        if index + 1 < layers.len() {
            outputs.mapv_inplace(|z| activate(activation, z));
        }
    }
    match task {
        Task::Classification => softmax(&mut outputs),
        Task::Regression => outputs.mapv_inplace(|z| z * target.scale + target.shift),
    }
    Ok(outputs)
}

/// The same in a graph.
pub fn to_onnx(
    weights: &Weights,
    task: Task,
    target: Affine,
    graph: &mut Graph,
    x: &Value,
) -> Result<Value, WeightsError> {
    let (layers, activation) = parse(weights)?;
    let mut outputs = x.clone();
    for (index, layer) in layers.iter().enumerate() {
        outputs = onnx::affine(graph, &outputs, layer.weight, &layer.bias.to_vec());
        if index + 1 < layers.len() {
            outputs = activate_in(graph, activation, &outputs);
        }
    }
    Ok(match task {
        Task::Classification => onnx::softmax(graph, &outputs),
        Task::Regression => onnx::unscale(graph, target, &outputs),
    })
}

/// Its layers.
pub fn explain(weights: &Weights) -> Result<Explanation, WeightsError> {
    let (layers, activation) = parse(weights)?;
    let inputs = layers.iter().map(|layer| layer.weight.nrows()).take(1);
    let widths: Vec<String> =
        inputs.chain(layers.iter().map(|layer| layer.bias.len())).map(|width| width.to_string()).collect();
    let count: usize = layers.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum();
    let facts = vec![
        ("layers", widths.join("-")),
        ("activation", Activation::NAMES[activation as usize].to_owned()),
        ("weights", count.to_string()),
    ];
    Ok(Explanation { facts, features: Vec::new() })
}

struct Layer<'a> {
    weight: ArrayView2<'a, f32>,
    bias: ArrayView1<'a, f32>,
}

fn parse(weights: &Weights) -> Result<(Vec<Layer<'_>>, Activation), WeightsError> {
    let find = |name: &str| weights.arrays.iter().find(|array| array.name == name);
    let mut layers: Vec<Layer<'_>> = Vec::new();
    for index in 0..=MAX_LAYERS {
        let (name, bias_name) = (format!("layer_{index}.weight"), format!("layer_{index}.bias"));
        let Some(array) = find(&name) else { break };
        let weight = match array.shape[..] {
            [inputs, units] => ArrayView2::from_shape((inputs, units), &array.values),
            _ => return Err(wrong_shape(array)),
        };
        let weight = weight.map_err(|_| wrong_shape(array))?;
        let array = floats(weights, &bias_name)?;
        let bias = ArrayView1::from(&array.values[..]);
        let is_chained = layers.last().is_none_or(|below| below.weight.ncols() == weight.nrows());
        if bias.len() != weight.ncols() || !is_chained {
            return Err(wrong_shape(array));
        }
        layers.push(Layer { weight, bias });
    }
    if layers.is_empty() {
        return Err(WeightsError("layer_0.weight is missing".to_owned()));
    }
    let code = find("activation").and_then(|array| array.values.first().copied());
    match code {
        Some(code) if (0.0..4.0).contains(&code) => Ok((layers, Activation::from_code(f64::from(code)))),
        _ => Err(WeightsError("activation is missing or unknown".to_owned())),
    }
}

fn activate(activation: Activation, z: f32) -> f32 {
    match activation {
        Activation::Relu => z.max(0.0),
        Activation::Tanh => libm::tanhf(z),
        Activation::Gelu => 0.5 * z * (1.0 + libm::tanhf(0.797_884_6 * (z + 0.044_715 * z * z * z))),
        Activation::Silu => z / (1.0 + libm::expf(-z)),
    }
}

/// [`activate`] in a graph.
fn activate_in(graph: &mut Graph, activation: Activation, z: &Value) -> Value {
    match activation {
        Activation::Relu => graph.node("Relu", &[z], &[]),
        Activation::Tanh => graph.node("Tanh", &[z], &[]),
        Activation::Silu => {
            let gate = graph.node("Sigmoid", &[z], &[]);
            graph.node("Mul", &[z, &gate], &[])
        }
        Activation::Gelu => {
            let [half, one, rate, cubic] = [0.5, 1.0, 0.797_884_6, 0.044_715].map(|value| graph.floats(&[], &[value]));
            let square = graph.node("Mul", &[z, z], &[]);
            let square = graph.node("Mul", &[&square, &cubic], &[]);
            let bent = graph.node("Add", &[&square, &one], &[]);
            let bent = graph.node("Mul", &[&bent, z], &[]);
            let bent = graph.node("Mul", &[&bent, &rate], &[]);
            let gate = graph.node("Tanh", &[&bent], &[]);
            let gate = graph.node("Add", &[&gate, &one], &[]);
            let gate = graph.node("Mul", &[&gate, &half], &[]);
            graph.node("Mul", &[z, &gate], &[])
        }
    }
}
