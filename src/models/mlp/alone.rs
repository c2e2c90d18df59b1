//! One network at a time, its neighbouring units in the SIMD lanes: for groups that would leave most lanes empty.
//!
//! The networks of a group take turns, an epoch each, so that an epoch's order is drawn once. Units are padded to sixteen;
//! padding stays zero, as in a group that walks together.

use super::activation::{Hidden, LossGradient, PlainRelu, softmax_strips, turned_rows, unscale};
use super::cpu::{DenseRows, FoldTargets, Inputs, MlpFold, PREDICT_BLOCK};
use super::networks::Layer;
use super::optimizer::{Step, Update};
use super::recipe::{self, MlpParams};
use crate::backend::cpu::gemm::{AsIs, Consumer, Epilogue, Pair, ROWS, ZERO_PAIR};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd};
use crate::backend::cpu::sparse::{self, SparseBatch, SparseRows};
use crate::backend::cpu::strips::{self, Strips};
use ndarray::ArrayView2;

/// A minibatch's features.
enum Minibatch<'a> {
    /// In strips.
    Dense(Vec<Lanes>, &'a DenseRows),
    Sparse(SparseBatch, &'a SparseRows),
}

impl<'a> Minibatch<'a> {
    /// With room for so many rows.
    fn new(rows: usize, fold: &'a MlpFold) -> Minibatch<'a> {
        match &fold.x {
            Inputs::Dense(matrix) => Minibatch::Dense(vec![Lanes::ZERO; fold.features.div_ceil(LANES) * rows], matrix),
            Inputs::Sparse(matrix) => Minibatch::Sparse(SparseBatch::new(fold.features), matrix),
        }
    }

    /// Takes training rows. Returns their number, filled up with zeros to whole tiles.
    fn gather(&mut self, fold: &MlpFold, order: &[u32]) -> usize {
        match self {
            Minibatch::Dense(x, matrix) => fill_strips(x, fold.features, order.iter().map(|&row| matrix.row(row))),
            Minibatch::Sparse(x, matrix) => {
                x.gather(matrix, order);
                x.rows()
            }
        }
    }

    /// The same of rows to predict.
    fn fill<'x>(&mut self, features: usize, rows: impl ExactSizeIterator<Item = &'x [f32]>) -> usize {
        match self {
            Minibatch::Dense(x, _) => fill_strips(x, features, rows),
            Minibatch::Sparse(x, _) => {
                x.fill(rows);
                x.rows()
            }
        }
    }

    #[inline(always)]
    fn product<V: Simd, E: Epilogue<V>>(&self, rows: usize, layer: &Layer, out: &mut [Lanes], epilogue: &E) {
        let (weights, biases) = (&layer.weights[0][..], &layer.biases[0][..]);
        match self {
            Minibatch::Dense(x, _) => {
                let weights = Strips { values: weights, rows: layer.inputs };
                strips::product::<V, E>(x, rows, weights, Some(biases), out, epilogue);
            }
            Minibatch::Sparse(x, _) => sparse::product::<V, E, 1, 4>(x, weights, biases, out, epilogue),
        }
    }

    #[inline(always)]
    fn gradient<V: Simd, C: Consumer<V>>(&self, inputs: usize, delta: &[Lanes], rows: usize, consumer: &mut C) {
        match self {
            Minibatch::Dense(x, _) => strips::gradient::<V, C>(x, inputs, delta, rows, consumer),
            Minibatch::Sparse(x, _) => sparse::gradient::<V, C, 1, 4>(x, delta, consumer),
        }
    }
}

/// Takes the rows that follow, filled up with zeros to whole tiles. Returns their padded number.
fn fill_strips<'a>(x: &mut [Lanes], features: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> usize {
    let real = rows.len();
    let padded = real.next_multiple_of(ROWS);
    for (row, values) in rows.enumerate() {
        let (sixteens, rest) = values.as_chunks::<LANES>();
        let mut places = x[row..].iter_mut().step_by(padded);
        for (from, to) in sixteens.iter().zip(places.by_ref()) {
            to.0 = *from;
        }
        if let Some(last) = places.next().filter(|_| !rest.is_empty()) {
            *last = Lanes::ZERO;
            last.0[..rest.len()].copy_from_slice(rest);
        }
    }
    for strip in x.chunks_exact_mut(padded).take(features.div_ceil(LANES)) {
        strip[real..].fill(Lanes::ZERO);
    }
    padded
}

/// Activations and gradients of a minibatch, with room for the widest network of a group.
struct Scratch<'a> {
    /// In strips of `rows` rows, like everything here.
    x: Minibatch<'a>,
    classes: Vec<u32>,
    values: Vec<f32>,
    /// Each layer's outputs; the last one's become the loss's gradient.
    activations: Vec<Vec<Lanes>>,
    /// Each hidden layer's derivative, where it cannot be told from the output.
    derivatives: Vec<Vec<Lanes>>,
    /// Each hidden layer's gradient.
    deltas: Vec<Vec<Lanes>>,
    /// The weights of the layer that a gradient passes, transposed.
    transposed: Vec<Lanes>,
    /// The outputs with rows in the SIMD lanes.
    turned: Vec<Pair>,
}

impl<'a> Scratch<'a> {
    /// With room for what is needed in training, or to predict.
    fn new(rows: usize, fold: &'a MlpFold, networks: &[Vec<Layer>], is_training: bool) -> Scratch<'a> {
        let depth = networks.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |layer: usize| networks.iter().map(|layers| layers[layer].biases[0].len()).max().unwrap_or(0);
        let panels = |is_wanted: bool| -> Vec<Vec<Lanes>> {
            let height = if is_wanted { rows } else { 0 };
            (0..depth).map(|layer| vec![Lanes::ZERO; widest(layer) * height]).collect()
        };
        let transposed = networks.iter().flat_map(|layers| layers.iter().skip(1));
        let transposed = transposed.map(|layer| layer.inputs.div_ceil(LANES) * layer.biases[0].len() * LANES);
        let transposed = if is_training { transposed.max().unwrap_or(0) } else { 0 };
        let outputs = if depth == 0 { 0 } else { widest(depth - 1) };
        Scratch {
            x: Minibatch::new(rows, fold),
            classes: vec![0; rows],
            values: vec![0.0; rows],
            activations: panels(true),
            derivatives: panels(true),
            deltas: panels(is_training),
            transposed: vec![Lanes::ZERO; transposed],
            turned: vec![ZERO_PAIR; outputs * LANES / 2 * turned_rows(rows)],
        }
    }
}

/// Trains networks from epoch `from` up to epoch `until` of the `of` that their schedules are made for.
pub struct Training<'a> {
    pub fold: &'a MlpFold,
    pub params: &'a [MlpParams],
    pub layers: &'a mut [Vec<Layer>],
    pub from: u64,
    pub until: u64,
    pub of: u64,
}

impl Kernel for Training<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Training { fold, params, layers, from, until, of } = self;
        let batch = params[0].batch as usize;
        let steps_per_epoch = params[0].steps_per_epoch(fold.rows);
        let widest_batch = batch.min(fold.rows).next_multiple_of(ROWS);
        let mut scratch = Scratch::new(widest_batch, fold, layers, true);
        let mut optimizers: Vec<Step> = params.chunks(1).map(Step::new).collect();
        optimizers.iter_mut().for_each(|optimizer| optimizer.skip_to(from * steps_per_epoch));
        for epoch in from..until {
            let order = recipe::epoch_order(fold.key, epoch, fold.rows);
            for ((params, layers), optimizer) in params.iter().zip(layers.iter_mut()).zip(&mut optimizers) {
                let lanes = [*params; LANES];
                let hidden = Hidden::new(&lanes);
                let weights = fold.weights(&lanes[..1]);
                for (step, minibatch) in (epoch * steps_per_epoch..).zip(order.chunks(batch)) {
                    let rows = scratch.x.gather(fold, minibatch);
                    fold.y.gather(minibatch, &mut scratch.classes, &mut scratch.values);
                    optimizer.next(&lanes[..1], step, steps_per_epoch * of);
                    optimizer.spread();
                    let loss = LossGradient::new(&lanes, fold.outputs, minibatch.len());
                    let weights = weights.as_ref().map(|weights| minibatch.iter().map(|row| weights.of(*row)));
                    train_step::<V>(fold, layers, &mut scratch, rows, &hidden, &loss, weights, step, optimizer);
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn train_step<V: Simd>(
    fold: &MlpFold,
    layers: &mut [Layer],
    scratch: &mut Scratch,
    rows: usize,
    hidden: &Hidden,
    loss: &LossGradient,
    weights: Option<impl Iterator<Item = Lanes> + Clone>,
    step: u64,
    optimizer: &Step,
) {
    let last = layers.len() - 1;
    forward::<V>(fold, layers, scratch, rows, hidden, step);
    let output = &mut scratch.activations[last][..layers[last].biases[0].len() * rows];
    match &fold.y {
        FoldTargets::Classes(_) => {
            loss.cross_entropy_strips::<V>(output, rows, &scratch.classes, &mut scratch.turned);
        }
        FoldTargets::Values(_) => loss.squared_error_strips(output, &scratch.values),
    }
    if let Some(weights) = weights {
        LossGradient::weigh_strips::<V>(output, rows, weights);
    }
    for layer in (0..=last).rev() {
        let strips = layers[layer].biases[0].len();
        let (below, from_here) = scratch.deltas.split_at_mut(layer);
        let delta = if layer == last { &scratch.activations[last] } else { &from_here[0] };
        let delta = &delta[..strips * rows];
        // The gradient of what is below needs this layer's weights as they were in the forward pass.
        if layer > 0 {
            let here = &layers[layer];
            let units = if layer == last { fold.outputs } else { layers[layer + 1].inputs };
            let below_strips = layers[layer - 1].biases[0].len();
            let outputs = &scratch.activations[layer - 1][..below_strips * rows];
            let derivatives = &scratch.derivatives[layer - 1][..below_strips * rows];
            let below = &mut below[layer - 1][..below_strips * rows];
            let height = units.next_multiple_of(ROWS);
            let weights = &mut scratch.transposed[..below_strips * height];
            strips::transposed::<V>(Strips { values: &here.weights[0], rows: here.inputs }, units, weights);
            let weights = Strips { values: weights, rows: height };
            hidden.backward_strips::<V>(delta, rows, weights, outputs, derivatives, below);
        }
        let Layer { inputs, weights, biases } = &mut layers[layer];
        let mut update = Update::<V>::new(optimizer, weights.each_mut().map(|array| &mut array[..]), true);
        match layer.checked_sub(1) {
            None => scratch.x.gradient::<V, _>(*inputs, delta, rows, &mut update),
            Some(below) => {
                strips::gradient::<V, _>(&scratch.activations[below], *inputs, delta, rows, &mut update);
            }
        }
        let mut update = Update::<V>::new(optimizer, biases.each_mut().map(|array| &mut array[..]), false);
        update.columns_of_strips(delta, rows);
    }
}

/// Every layer's outputs for the rows in `scratch.x`.
#[inline(always)]
fn forward<V: Simd>(fold: &MlpFold, layers: &[Layer], scratch: &mut Scratch, rows: usize, hidden: &Hidden, step: u64) {
    let last = layers.len() - 1;
    for (index, layer) in layers.iter().enumerate() {
        let (below, from_here) = scratch.activations.split_at_mut(index);
        let out = &mut from_here[0][..layer.biases[0].len() * rows];
        let is_relu = hidden.is_plain_relu() && index != last;
        match (below.last(), is_relu) {
            (None, true) => scratch.x.product::<V, _>(rows, layer, out, &PlainRelu),
            (None, false) => scratch.x.product::<V, _>(rows, layer, out, &AsIs),
            (Some(below), is_relu) => {
                let weights = Strips { values: &layer.weights[0], rows: layer.inputs };
                let biases = Some(&layer.biases[0][..]);
                match is_relu {
                    true => strips::product::<V, _>(below, rows, weights, biases, out, &PlainRelu),
                    false => strips::product::<V, _>(below, rows, weights, biases, out, &AsIs),
                }
            }
        }
        if index != last && !is_relu {
            let derivatives = &mut scratch.derivatives[index][..out.len()];
            hidden.activate_strips::<V>(out, derivatives, rows, recipe::dropout_key(fold.key, index), step);
        }
    }
}

/// Predicts a block of rows.
pub struct Predicting<'a, 'x> {
    pub fold: &'a MlpFold,
    pub params: &'a [MlpParams],
    pub layers: &'a [Vec<Layer>],
    pub x: ArrayView2<'x, f32>,
    pub out: &'a mut [Lanes],
}

impl Kernel for Predicting<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predicting { fold, params, layers, x, out } = self;
        let outputs = fold.outputs;
        let mut scratch = Scratch::new(PREDICT_BLOCK, fold, layers, false);
        for (block, out) in out.chunks_mut(PREDICT_BLOCK * outputs).enumerate() {
            let block_rows =
                (0..out.len() / outputs).map(|row| x.row(block * PREDICT_BLOCK + row).to_slice().unwrap_or(&[]));
            let rows = scratch.x.fill(fold.features, block_rows);
            for (lane, (params, layers)) in params.iter().zip(layers).enumerate() {
                let hidden = Hidden::for_prediction(&[*params; LANES]);
                forward::<V>(fold, layers, &mut scratch, rows, &hidden, 0);
                let last = layers.len() - 1;
                let predicted = &mut scratch.activations[last][..layers[last].biases[0].len() * rows];
                match fold.y {
                    FoldTargets::Classes(_) => {
                        softmax_strips::<V>(predicted, rows, outputs, &mut scratch.turned);
                    }
                    FoldTargets::Values(_) => unscale::<V>(predicted, fold.target),
                }
                for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
                    for (output, out) in out.iter_mut().enumerate() {
                        out.0[lane] = predicted[output / LANES * rows + row].0[output % LANES];
                    }
                }
            }
        }
    }
}
