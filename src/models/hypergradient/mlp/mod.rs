//! The perceptron ends in no equation that its weights solve, so its training is gone through again with dual numbers: each
//! weight, moment and activation carries its slopes along the hyperparameters through every step of every minibatch.
//!
//! Forward-mode hypergradients (Franceschi et al. 2017, arXiv:1703.01785); the slopes of a minibatch's gradients are
//! products of its Hessian with those of the weights (Pearlmutter 1994). Sixteen rows, or sixteen inputs of a unit, lie side
//! by side; every sum has one order, so that every instruction set gives the same bits.

mod layer;
mod step;

use super::Features;
use crate::backend::cpu::double::Doubles;
use crate::backend::cpu::simd::{Kernel, LANES, Level, Simd, dispatch};
use crate::base::random::Key;
use crate::models::mlp::recipe::{self, Activation, MAX_LAYERS, MlpParams};
use layer::Layer;
use std::f64::consts::PI;
use step::Step;

/// What slopes are along, in the order of [`Outputs::slopes`]. Dropout is not: whether a draw leaves a unit out is a jump.
pub const NAMES: [&str; 4] = ["learning_rate", "momentum", "weight_decay", "label_smoothing"];

/// A number and its slopes, of rows or of inputs side by side.
type Dual<const T: usize> = [Doubles; T];
const ZERO: Doubles = Doubles::splat(0.0);

// Places of the slopes in dual numbers; numbers have no labels to smooth, and one place less.
const RATE: usize = 1;
const MOMENTUM: usize = 2;
const DECAY: usize = 3;
const SMOOTHING: usize = 4;
const OF_VALUES: usize = SMOOTHING;
const OF_CLASSES: usize = SMOOTHING + 1;

/// Targets of training rows.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// Class codes.
    Classes(&'a [u32]),
    /// Numbers as they are learnt.
    Values(&'a [f32]),
}

/// The training of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// The fold's key, which all draws come from.
    pub key: Key,
    /// The lane's hyperparameters.
    pub params: MlpParams,
    /// Training rows; there is at least one feature.
    pub x: Features<'a>,
    /// Their targets.
    pub y: Targets<'a>,
    /// Outputs of the last layer.
    pub outputs: usize,
    /// What rows count for.
    pub weights: Option<&'a [f32]>,
    /// Epochs that the lane was trained for.
    pub epochs: u64,
    /// Epochs that its schedule is made for.
    pub budget: u64,
}

/// What the network says of some rows: logits, or numbers as they are learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// `[rows, outputs]`
    pub values: Vec<f64>,
    /// How each changes with the hyperparameters of [`NAMES`]; NaN where there is none.
    pub slopes: Vec<[f64; NAMES.len()]>,
}

/// A training gone through again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// Of each set of rows.
    pub outputs: Vec<Outputs>,
    /// How far the weights are from those that the lane ended with, as a share of their size.
    pub drift: f64,
}

impl Outputs {
    /// How a sum with these slopes along the outputs changes with each hyperparameter.
    pub fn along(&self, pulls: &[f64]) -> [f64; NAMES.len()] {
        let mut sums = [0.0; NAMES.len()];
        for (slopes, pull) in self.slopes.iter().zip(pulls) {
            sums.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += pull * slope);
        }
        sums
    }
}

/// Bytes that going through a lane's training again takes at most, with its outputs of `evals` rows.
pub fn replay_bytes(params: &MlpParams, features: usize, outputs: usize, evals: usize) -> usize {
    let padded = |count: usize| count.next_multiple_of(LANES);
    let rows = padded(params.batch as usize);
    let layer = |(inputs, units): (usize, usize)| {
        3 * (units * padded(inputs) + padded(units)) + rows * (3 * units + padded(units))
    };
    let duals: usize = params.shapes(features, outputs).map(layer).sum::<usize>() + evals * outputs;
    size_of::<f64>() * (OF_CLASSES * duals + rows * (features + padded(features)))
}

impl Training<'_> {
    /// Trains again. `ended` has the weights `[inputs, units]` and biases of each layer that the lane ended with.
    pub fn replay(&self, level: Level, sets: &[Features<'_>], ended: &[(Vec<f32>, Vec<f32>)]) -> Replayed {
        let training = *self;
        match self.y {
            Targets::Classes(_) => dispatch(level, Replay::<OF_CLASSES> { training, sets, ended }),
            Targets::Values(_) => dispatch(level, Replay::<OF_VALUES> { training, sets, ended }),
        }
    }

    /// What a row's loss is multiplied by in a minibatch of so many.
    fn share(&self, row: u32, rows: usize) -> f64 {
        let weight = self.weights.and_then(|weights| weights.get(row as usize)).copied().unwrap_or(1.0);
        f64::from(weight) / rows as f64
    }

    /// The gradient of the loss by the outputs of a minibatch, and its slopes.
    #[inline(always)]
    fn loss<const T: usize>(&self, minibatch: &[u32], outputs: &[Dual<T>], deltas: &mut [Dual<T>]) {
        let columns = outputs.chunks_exact(self.outputs).zip(deltas.chunks_exact_mut(self.outputs));
        for (rows, (z, delta)) in minibatch.chunks(LANES).zip(columns) {
            // Rows beyond the minibatch say nothing.
            delta.fill([ZERO; T]);
            for (place, &row) in rows.iter().enumerate() {
                let share = self.share(row, minibatch.len());
                match self.y {
                    Targets::Values(y) => {
                        for slope in 0..T {
                            delta[0][slope].0[place] = z[0][slope].0[place] * share;
                        }
                        delta[0][0].0[place] = (z[0][0].0[place] - f64::from(y[row as usize])) * share;
                    }
                    Targets::Classes(codes) => {
                        let smoothing = f64::from(self.params.label_smoothing);
                        cross_entropy(z, delta, place, codes[row as usize] as usize, smoothing, share);
                    }
                }
            }
        }
    }
}

/// `softmax - ((1 - s) onehot + s / classes)` of one row.
#[inline(always)]
fn cross_entropy<const T: usize>(
    z: &[Dual<T>],
    delta: &mut [Dual<T>],
    place: usize,
    code: usize,
    smoothing: f64,
    share: f64,
) {
    let largest = z.iter().map(|z| z[0].0[place]).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for (delta, z) in delta.iter_mut().zip(z) {
        delta[0].0[place] = libm::exp(z[0].0[place] - largest);
        sum += delta[0].0[place];
    }
    delta.iter_mut().for_each(|delta| delta[0].0[place] /= sum);
    for slope in 1..T {
        let mean: f64 = delta.iter().zip(z).map(|(p, z)| p[0].0[place] * z[slope].0[place]).sum();
        for (delta, z) in delta.iter_mut().zip(z) {
            delta[slope].0[place] = delta[0].0[place] * (z[slope].0[place] - mean) * share;
        }
    }
    let even = 1.0 / z.len() as f64;
    for (class, delta) in delta.iter_mut().enumerate() {
        let own = f64::from(u8::from(class == code));
        if let Some(delta) = delta.get_mut(SMOOTHING) {
            delta.0[place] += (own - even) * share;
        }
        delta[0].0[place] = (delta[0].0[place] - ((1.0 - smoothing) * own + smoothing * even)) * share;
    }
}

/// Trains again and says what comes out.
struct Replay<'a, const T: usize> {
    training: Training<'a>,
    sets: &'a [Features<'a>],
    ended: &'a [(Vec<f32>, Vec<f32>)],
}

impl<const T: usize> Kernel for Replay<'_, T> {
    type Output = Replayed;

    #[inline(always)]
    fn run<V: Simd>(self) -> Replayed {
        let Replay { training, sets, ended } = self;
        let Training { key, params, x, epochs, budget, .. } = training;
        let (rows, batch) = (x.rows().len(), (params.batch as usize).max(1));
        let mut network = Network::<T>::start(&training);
        let mut scratch = Scratch::new(&network, batch.min(rows));
        let steps = params.steps_per_epoch(rows) * budget;
        let mut optimizer = Step::new(params);
        let mut step = 0;
        for epoch in 0..epochs {
            let order = recipe::epoch_order(key, epoch, rows);
            for minibatch in order.chunks(batch) {
                optimizer.next(step, steps);
                scratch.gather(x, minibatch.iter().map(|row| *row as usize));
                network.forward::<V>(&mut scratch, Some((key, step)));
                if let (Some(outputs), Some(deltas)) = (scratch.outputs.last(), scratch.deltas.last_mut()) {
                    training.loss(minibatch, outputs, deltas);
                }
                network.step::<V>(&mut scratch, &optimizer);
                step += 1;
            }
        }
        // A loop, since closures of iterators are not compiled for the instruction set.
        let mut outputs = Vec::with_capacity(sets.len());
        for x in sets {
            outputs.push(network.outputs::<V>(&mut scratch, *x));
        }
        Replayed { outputs, drift: network.distance(ended) }
    }
}

/// A network and its optimizer's moments.
struct Network<const T: usize> {
    params: MlpParams,
    layers: Vec<Layer<T>>,
}

/// What passes through a network for a minibatch, in blocks of rows: `[blocks, units]` of each layer.
struct Scratch<const T: usize> {
    /// Features, which have no slopes.
    x: Vec<[Doubles; 1]>,
    outputs: Vec<Vec<Dual<T>>>,
    /// The activations' slopes.
    slopes: Vec<Vec<Dual<T>>>,
    /// The loss's gradient by the layers' sums.
    deltas: Vec<Vec<Dual<T>>>,
    /// What goes into each layer with inputs side by side: `[rows, vectors of inputs]`.
    turned_x: Vec<[Doubles; 1]>,
    turned: Vec<Vec<Dual<T>>>,
    rows: usize,
}

impl<const T: usize> Scratch<T> {
    fn new(network: &Network<T>, rows: usize) -> Scratch<T> {
        let most = rows.next_multiple_of(LANES).max(LANES);
        let features = network.layers.first().map_or(0, |layer| layer.inputs);
        let each = |count: fn(&Layer<T>) -> usize, rows: usize| {
            network.layers.iter().map(|layer| vec![[ZERO; T]; count(layer) * rows]).collect()
        };
        let blocks = || each(|layer| layer.units, most / LANES);
        Scratch {
            x: vec![[ZERO]; features * most / LANES],
            outputs: blocks(),
            slopes: blocks(),
            deltas: blocks(),
            turned_x: vec![[ZERO]; features.div_ceil(LANES) * most],
            turned: each(|layer| layer.units.div_ceil(LANES), most),
            rows: 0,
        }
    }

    /// Takes some rows; those up to a whole block are zero.
    #[inline(always)]
    fn gather(&mut self, x: Features<'_>, rows: impl ExactSizeIterator<Item = usize>) {
        self.rows = rows.len();
        self.x.fill([ZERO]);
        let vectors = x.width.div_ceil(LANES);
        for (place, row) in rows.enumerate() {
            let block = &mut self.x[place / LANES * x.width..][..x.width];
            let turned = self.turned_x[place * vectors..][..vectors].as_flattened_mut();
            let values = &x.values[row * x.width..][..x.width];
            for (at, (to, from)) in block.iter_mut().zip(values).enumerate() {
                to[0].0[place % LANES] = f64::from(*from);
                turned[at / LANES].0[at % LANES] = f64::from(*from);
            }
        }
    }
}

/// Blocks of units with rows side by side to rows with units side by side.
#[inline(always)]
fn turn<const T: usize>(blocks: &[Dual<T>], units: usize, turned: &mut [Dual<T>]) {
    let vectors = units.div_ceil(LANES);
    for (block, turned) in blocks.chunks_exact(units).zip(turned.chunks_exact_mut(LANES * vectors)) {
        for (unit, values) in block.iter().enumerate() {
            for (row, to) in turned.iter_mut().skip(unit / LANES).step_by(vectors).enumerate() {
                for at in 0..T {
                    to[at].0[unit % LANES] = values[at].0[row];
                }
            }
        }
    }
}

impl<const T: usize> Network<T> {
    /// The weights that training starts from, which no hyperparameter changes.
    fn start(training: &Training<'_>) -> Network<T> {
        let params = training.params;
        let layer = |(index, (inputs, units)): (usize, (usize, usize))| {
            let is_output = index == params.layers as usize;
            let key = recipe::start_key(training.key, if is_output { MAX_LAYERS } else { index });
            let bound = params.start_bound(index, inputs);
            let zeros = vec![[ZERO; T]; inputs.div_ceil(LANES) * units];
            let mut weights = [zeros.clone(), zeros.clone(), zeros];
            for (unit, weights) in weights[0].chunks_exact_mut(inputs.div_ceil(LANES)).enumerate() {
                for input in 0..inputs {
                    let weight = f64::from(bound * recipe::start_uniform(key, input, unit));
                    weights[input / LANES][0].0[input % LANES] = weight;
                }
            }
            let biases = vec![[ZERO; T]; units.div_ceil(LANES)];
            Layer { inputs, units, weights, biases: [biases.clone(), biases.clone(), biases] }
        };
        let shapes = params.shapes(training.x.width, training.outputs);
        Network { params, layers: shapes.enumerate().map(layer).collect() }
    }

    /// Every layer's outputs and slopes for the rows in the scratch; with dropout in a step of training.
    #[inline(always)]
    fn forward<V: Simd>(&self, scratch: &mut Scratch<T>, training: Option<(Key, u64)>) {
        let Scratch { x, outputs, slopes, rows, .. } = scratch;
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let (below, from_here) = outputs.split_at_mut(index);
            let out = &mut from_here[0][..rows.div_ceil(LANES) * layer.units];
            match below.last() {
                None => layer.sums::<V, 1>(x, out),
                Some(below) => layer.sums::<V, T>(below, out),
            }
            if index < last {
                let training = training.map(|(key, step)| (recipe::dropout_key(key, index), step));
                activate(&self.params, out, &mut slopes[index], layer.units, training);
            }
        }
    }

    /// Goes back through the layers, each of which moves once what is below has its gradient.
    #[inline(always)]
    fn step<V: Simd>(&mut self, scratch: &mut Scratch<T>, optimizer: &Step) {
        let Scratch { outputs, slopes, deltas, turned_x, turned, rows, .. } = scratch;
        for (index, layer) in self.layers.iter_mut().enumerate().rev() {
            let (below, from_here) = deltas.split_at_mut(index);
            let delta = &from_here[0][..rows.div_ceil(LANES) * layer.units];
            match below.last_mut() {
                Some(below) => {
                    layer.back::<V>(delta, &slopes[index - 1], below);
                    turn(
                        &outputs[index - 1][..rows.div_ceil(LANES) * layer.inputs],
                        layer.inputs,
                        &mut turned[index - 1],
                    );
                    layer.follow::<V, T>(&turned[index - 1], delta, *rows, optimizer);
                }
                None => layer.follow::<V, 1>(turned_x, delta, *rows, optimizer),
            }
            layer.follow_biases(delta, optimizer);
        }
    }

    /// What the network says of rows, a block at a time.
    #[inline(always)]
    fn outputs<V: Simd>(&self, scratch: &mut Scratch<T>, x: Features<'_>) -> Outputs {
        let units = self.layers.last().map_or(0, |layer| layer.units);
        let rows = x.rows().len();
        let mut outputs =
            Outputs { values: Vec::with_capacity(rows * units), slopes: Vec::with_capacity(rows * units) };
        for first in (0..rows).step_by(LANES) {
            let block = first..rows.min(first + LANES);
            let count = block.len();
            scratch.gather(x, block);
            self.forward::<V>(scratch, None);
            let last = scratch.outputs.last().map_or(&[][..], |last| &last[..units]);
            for place in 0..count {
                for output in last {
                    outputs.values.push(output[0].0[place]);
                    let slope = |at: usize| output.get(at + 1).map_or(f64::NAN, |slopes| slopes.0[place]);
                    outputs.slopes.push(std::array::from_fn(slope));
                }
            }
        }
        outputs
    }

    /// How far the weights are from others, as a share of their size.
    fn distance(&self, others: &[(Vec<f32>, Vec<f32>)]) -> f64 {
        let (mut distance, mut size) = (0.0, 0.0);
        let mut compare = |own: f64, other: f32| {
            distance += (own - f64::from(other)) * (own - f64::from(other));
            size += own * own;
        };
        for (layer, (weights, biases)) in self.layers.iter().zip(others) {
            for (place, other) in weights.iter().enumerate() {
                let (input, unit) = (place / layer.units, place % layer.units);
                let own = &layer.weights[0][unit * layer.vectors() + input / LANES];
                compare(own[0].0[input % LANES], *other);
            }
            biases.iter().enumerate().for_each(|(unit, other)| compare(layer.bias(unit, 0), *other));
        }
        (distance / size).sqrt()
    }
}

/// Turns sums into outputs and the activation's slopes, dropout included.
#[inline(always)]
fn activate<const T: usize>(
    params: &MlpParams,
    z: &mut [Dual<T>],
    slopes: &mut [Dual<T>],
    units: usize,
    training: Option<(Key, u64)>,
) {
    let kept = f64::from(1.0 / (1.0 - params.dropout));
    for (place, (z, slopes)) in z.iter_mut().zip(slopes).enumerate() {
        let (block, unit) = (place / units, place % units);
        for row in 0..LANES {
            let (value, slope, bend) = curve(params.activation, z[0].0[row]);
            let scale = match training {
                Some((key, step)) if params.dropout > 0.0 => {
                    let uniforms = recipe::dropout_uniforms(key, step, block * LANES + row, unit / 2);
                    if uniforms[unit % 2] >= params.dropout { kept } else { 0.0 }
                }
                _ => 1.0,
            };
            z[0].0[row] = scale * value;
            slopes[0].0[row] = scale * slope;
            for at in 1..T {
                slopes[at].0[row] = scale * bend * z[at].0[row];
                z[at].0[row] *= scale * slope;
            }
        }
    }
}

/// An activation, its slope, and the slope's slope; relu's is taken for 0 where it has a kink.
#[inline(always)]
fn curve(activation: Activation, z: f64) -> (f64, f64, f64) {
    match activation {
        Activation::Relu if z <= 0.0 => (0.0, 0.0, 0.0),
        Activation::Relu => (z, 1.0, 0.0),
        Activation::Tanh => {
            let t = libm::tanh(z);
            let slope = 1.0 - t * t;
            (t, slope, -2.0 * t * slope)
        }
        Activation::Gelu => {
            const CUBIC: f64 = 0.044715;
            let root = (2.0 / PI).sqrt();
            let t = libm::tanh(root * (z + CUBIC * z * z * z));
            let (inner, bend) = (root * (1.0 + 3.0 * CUBIC * z * z), 6.0 * root * CUBIC * z);
            let rise = 1.0 - t * t;
            let slope = 0.5 * (1.0 + t) + 0.5 * z * rise * inner;
            (0.5 * z * (1.0 + t), slope, rise * inner + 0.5 * z * rise * (bend - 2.0 * t * inner * inner))
        }
        Activation::Silu => {
            let gate = 1.0 / (1.0 + libm::exp(-z));
            let rise = gate * (1.0 - gate);
            (z * gate, gate + z * rise, rise * (2.0 + z * (1.0 - 2.0 * gate)))
        }
    }
}

#[cfg(test)]
mod tests;
