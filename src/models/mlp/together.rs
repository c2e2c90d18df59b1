//! Sixteen networks of one fold that walk in step, each in its own SIMD lane.
//!
//! Networks are padded to the widest of them. A padded unit starts at zero and stays there (zero in, zero out, zero
//! gradient), so padding changes no bit of any lane.

use super::activation::{Hidden, LossGradient, PlainRelu, softmax, unscale};
use super::cpu::{DenseRows, FoldTargets, Inputs, MlpFold, PREDICT_BLOCK};
use super::networks::{Layer, in_pairs};
use super::optimizer::{Step, Update};
use super::recipe::{self, MlpParams};
use crate::backend::cpu::gemm::{self, AsIs, Consumer, Epilogue, Pair, ROWS, Shared, ZERO_PAIR};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd};
use crate::backend::cpu::sparse::{self, SparseBatch, SparseRows};
use ndarray::ArrayView2;

/// A minibatch's features.
enum Minibatch<'a> {
    Dense(Shared, &'a DenseRows),
    Sparse(SparseBatch, &'a SparseRows),
}

impl<'a> Minibatch<'a> {
    /// With room for so many rows.
    fn new(rows: usize, fold: &'a MlpFold) -> Minibatch<'a> {
        match &fold.x {
            Inputs::Dense(matrix) => Minibatch::Dense(Shared::zeros(rows, fold.features), matrix),
            Inputs::Sparse(matrix) => Minibatch::Sparse(SparseBatch::new(fold.features), matrix),
        }
    }

    /// Takes training rows. Returns their number, filled up with zeros to whole tiles.
    fn gather(&mut self, fold: &MlpFold, order: &[u32]) -> usize {
        match self {
            Minibatch::Dense(x, matrix) => {
                x.fill(order.iter().map(|&row| &matrix.row(row)[..fold.features]));
                x.rows()
            }
            Minibatch::Sparse(x, matrix) => {
                x.gather(matrix, order);
                x.rows()
            }
        }
    }

    /// The same of rows to predict.
    fn fill<'x>(&mut self, rows: impl ExactSizeIterator<Item = &'x [f32]>) -> usize {
        match self {
            Minibatch::Dense(x, _) => {
                x.fill(rows);
                x.rows()
            }
            Minibatch::Sparse(x, _) => {
                x.fill(rows);
                x.rows()
            }
        }
    }

    #[inline(always)]
    fn product<V: Simd, E: Epilogue<V>>(&self, w: &[Lanes], bias: &[Lanes], out: &mut [Pair], epilogue: &E) {
        match self {
            Minibatch::Dense(x, _) => gemm::forward_shared::<V, E>(x, in_pairs(w), in_pairs(bias), out, epilogue),
            Minibatch::Sparse(x, _) => sparse::product::<V, E, 2, 2>(x, w, bias, out.as_flattened_mut(), epilogue),
        }
    }

    #[inline(always)]
    fn gradient<V: Simd, C: Consumer<V>>(&self, delta: &[Pair], consumer: &mut C) {
        match self {
            Minibatch::Dense(x, _) => gemm::gradient_shared::<V, C>(x, delta, consumer),
            Minibatch::Sparse(x, _) => sparse::gradient::<V, C, 2, 2>(x, delta.as_flattened(), consumer),
        }
    }
}

/// Activations and gradients of a minibatch, allocated once a call.
struct Scratch<'a> {
    x: Minibatch<'a>,
    classes: Vec<u32>,
    values: Vec<f32>,
    /// Each layer's outputs; the last one's become the loss's gradient.
    activations: Vec<Vec<Pair>>,
    /// Each hidden layer's derivative, where it cannot be told from the output.
    derivatives: Vec<Vec<Pair>>,
    /// Each hidden layer's gradient.
    deltas: Vec<Vec<Pair>>,
}

impl<'a> Scratch<'a> {
    /// With room for what these activations need, in training or to predict.
    fn new(rows: usize, fold: &'a MlpFold, layers: &[Layer], hidden: &Hidden, is_training: bool) -> Scratch<'a> {
        let panels = |is_wanted: bool| -> Vec<Vec<Pair>> {
            let height = if is_wanted { rows } else { 0 };
            layers.iter().map(|layer| vec![ZERO_PAIR; layer.pairs() * height]).collect()
        };
        Scratch {
            x: Minibatch::new(rows, fold),
            classes: vec![0; rows],
            values: vec![0.0; rows],
            activations: panels(true),
            derivatives: panels(!hidden.is_plain_relu()),
            deltas: panels(is_training),
        }
    }

    /// Gathers a minibatch; rows beyond it, up to a whole tile, are zero. Returns the padded number of rows.
    fn gather(&mut self, fold: &MlpFold, order: &[u32]) -> usize {
        fold.y.gather(order, &mut self.classes, &mut self.values);
        self.x.gather(fold, order)
    }
}

/// Trains networks from epoch `from` up to epoch `until` of the `of` that their schedules are made for.
pub struct Training<'a> {
    pub fold: &'a MlpFold,
    pub params: &'a [MlpParams],
    pub layers: &'a mut [Layer],
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
        let hidden = Hidden::new(params);
        let mut scratch = Scratch::new(widest_batch, fold, layers, &hidden, true);
        let mut step = from * steps_per_epoch;
        let mut optimizer = Step::new(params);
        optimizer.skip_to(step);
        let weights = fold.weights(params);
        for epoch in from..until {
            let order = recipe::epoch_order(fold.key, epoch, fold.rows);
            for minibatch in order.chunks(batch) {
                let rows = scratch.gather(fold, minibatch);
                optimizer.next(params, step, steps_per_epoch * of);
                let weights = weights.as_ref().map(|weights| minibatch.iter().map(|row| weights.of(*row)));
                let loss = LossGradient::new(params, fold.outputs, minibatch.len());
                train_step::<V>(fold, layers, &mut scratch, rows, &hidden, &loss, weights, step, &optimizer);
                step += 1;
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
    let output = &mut scratch.activations[last][..];
    let output = &mut output[..layers[last].pairs() * rows];
    match &fold.y {
        FoldTargets::Classes(_) => loss.cross_entropy::<V>(output, rows, &scratch.classes),
        FoldTargets::Values(_) => loss.squared_error::<V>(output, rows, &scratch.values),
    }
    if let Some(weights) = weights {
        LossGradient::weigh::<V>(output, rows, weights);
    }
    for layer in (0..=last).rev() {
        let units = layers[layer].pairs();
        let (below, from_here) = scratch.deltas.split_at_mut(layer);
        let delta = if layer == last { &scratch.activations[last] } else { &from_here[0] };
        let delta = &delta[..units * rows];
        // The gradient of what is below needs this layer's weights as they were in the forward pass.
        if layer > 0 {
            let below_units = layers[layer - 1].pairs();
            let outputs = &scratch.activations[layer - 1][..below_units * rows];
            let derivatives = &scratch.derivatives[layer - 1];
            let below = &mut below[layer - 1][..below_units * rows];
            let Layer { inputs, weights, .. } = &layers[layer];
            hidden.backward::<V>(delta, rows, in_pairs(&weights[0]), *inputs, outputs, derivatives, below);
        }
        let Layer { inputs, weights, biases } = &mut layers[layer];
        let weights = weights.each_mut().map(|array| &mut array[..]);
        let mut update = Update::<V>::new(optimizer, weights, true);
        if layer == 0 {
            scratch.x.gradient::<V, _>(delta, &mut update);
        } else {
            let below = &scratch.activations[layer - 1][..*inputs / 2 * rows];
            gemm::gradient_lanes::<V, _>(below, delta, rows, &mut update);
        }
        let biases = biases.each_mut().map(|array| &mut array[..]);
        let mut update = Update::<V>::new(optimizer, biases, false);
        update.columns_of(delta, rows);
    }
}

/// Every layer's outputs for the rows in `scratch.x`.
#[inline(always)]
fn forward<V: Simd>(fold: &MlpFold, layers: &[Layer], scratch: &mut Scratch, rows: usize, hidden: &Hidden, step: u64) {
    let last = layers.len() - 1;
    for (index, layer) in layers.iter().enumerate() {
        let (below, from_here) = scratch.activations.split_at_mut(index);
        let out = &mut from_here[0][..layer.pairs() * rows];
        let (weights, biases) = (in_pairs(&layer.weights[0]), in_pairs(&layer.biases[0]));
        let is_relu = hidden.is_plain_relu() && index != last;
        match (index == 0, is_relu) {
            (true, true) => scratch.x.product::<V, _>(&layer.weights[0], &layer.biases[0], out, &PlainRelu),
            (true, false) => scratch.x.product::<V, _>(&layer.weights[0], &layer.biases[0], out, &AsIs),
            (false, is_relu) => {
                let below = &below[index - 1][..layer.inputs / 2 * rows];
                match is_relu {
                    true => gemm::forward_lanes::<V, _>(below, layer.inputs, weights, biases, out, &PlainRelu),
                    false => gemm::forward_lanes::<V, _>(below, layer.inputs, weights, biases, out, &AsIs),
                }
            }
        }
        if index != last && !is_relu {
            let derivatives = &mut scratch.derivatives[index][..out.len()];
            hidden.activate::<V>(out, derivatives, rows, recipe::dropout_key(fold.key, index), step);
        }
    }
}

/// Predicts a block of rows.
pub struct Predicting<'a, 'x> {
    pub fold: &'a MlpFold,
    pub params: &'a [MlpParams],
    pub layers: &'a [Layer],
    pub x: ArrayView2<'x, f32>,
    pub out: &'a mut [Lanes],
}

impl Kernel for Predicting<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predicting { fold, params, layers, x, out } = self;
        let hidden = Hidden::for_prediction(params);
        let mut scratch = Scratch::new(PREDICT_BLOCK, fold, layers, &hidden, false);
        let last = layers.len() - 1;
        for (block, out) in out.chunks_mut(PREDICT_BLOCK * fold.outputs).enumerate() {
            let real_rows = out.len() / fold.outputs;
            let rows = (0..real_rows).map(|row| x.row(block * PREDICT_BLOCK + row).to_slice().unwrap_or(&[]));
            let rows = scratch.x.fill(rows);
            forward::<V>(fold, layers, &mut scratch, rows, &hidden, 0);
            let logits = &mut scratch.activations[last];
            match fold.y {
                FoldTargets::Classes(_) => softmax::<V>(logits, rows, fold.outputs),
                FoldTargets::Values(_) => unscale::<V>(logits.as_flattened_mut(), fold.target),
            }
            for (row, out) in out.chunks_exact_mut(fold.outputs).enumerate() {
                for (output, out) in out.iter_mut().enumerate() {
                    *out = logits[output / 2 * rows + row][output % 2];
                }
            }
        }
        debug_assert!(params.len() <= LANES);
    }
}
