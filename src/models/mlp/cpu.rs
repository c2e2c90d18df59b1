//! The perceptron on the CPU: sixteen networks of one fold walk in step, each in its own SIMD lane.
//!
//! Networks of a group are padded to the widest of them. A padded unit starts at zero and stays there (zero in, zero
//! out, zero gradient), so padding changes no bit of any lane.

use super::MlpLanes;
use super::activation::{Hidden, LossGradient, PlainRelu, softmax, unscale};
use super::optimizer::{Step, Update};
use super::recipe::{self, MAX_LAYERS, MlpParams};
use crate::backend::cpu::gemm::{self, AsIs, Pair, ROWS, Shared, ZERO_PAIR};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::cpu::{GroupKey, LaneModel, LaneProgress};
use crate::backend::{WeightArray, Weights};
use crate::base::random::Key;
use crate::data::{Affine, Fold, Target};
use ndarray::ArrayView2;
use std::sync::Arc;

/// A fold with its columns padded to whole tiles and its regression targets scaled.
pub struct MlpFold {
    key: Key,
    rows: usize,
    features: usize,
    /// `[rows, features]`
    x: Vec<f32>,
    y: FoldTargets,
    outputs: usize,
    target: Affine,
}

/// Training targets as the loss wants them.
pub enum FoldTargets {
    /// Class codes.
    Classes(Vec<u32>),
    /// Scaled values.
    Values(Vec<f32>),
}

/// One layer of a group, its optimizer's moments beside its weights. Weights are `[inputs x units]` panels.
#[derive(Clone)]
pub struct Layer {
    /// Padded inputs: a multiple of [`ROWS`] in the first layer, of 2 elsewhere.
    pub inputs: usize,
    /// Weights, first and second moments.
    pub weights: [Vec<Pair>; 3],
    /// Biases, first and second moments; one pair a unit pair.
    pub biases: [Vec<Pair>; 3],
}

/// Up to sixteen networks and how far they have come.
pub struct Group {
    params: Vec<MlpParams>,
    layers: Vec<Layer>,
    /// Steps taken since the start.
    step: u64,
    epochs: u64,
}

impl LaneModel for MlpLanes {
    type Params = MlpParams;
    type Fold = MlpFold;
    type Group = Group;

    fn params(&self, point: &[f64]) -> MlpParams {
        MlpParams::read(&self.space, point)
    }

    fn key(&self, params: &MlpParams) -> GroupKey {
        // Relu last: groups without another activation take a shorter path.
        GroupKey {
            step: [params.batch, params.layers],
            likeness: [params.hidden[0], params.hidden[1], params.hidden[2], params.activation as u32],
        }
    }

    fn open_fold(&self, fold: &Arc<Fold>) -> MlpFold {
        let (rows, features) = fold.train.x.dim();
        let x = fold.train.x.iter().copied().collect();
        let Affine { shift, scale } = fold.target;
        let y = match &fold.train.y {
            Target::Classes { codes, .. } => FoldTargets::Classes(codes.clone()),
            Target::Values(values) => FoldTargets::Values(values.iter().map(|y| (y - shift) / scale).collect()),
        };
        let outputs = fold.train.y.outputs();
        MlpFold { key: fold.key, rows, features, x, y, outputs, target: fold.target }
    }

    fn bytes(&self, fold: &MlpFold, lanes: &[MlpParams]) -> u64 {
        let widths = padded_widths(lanes, fold.features, fold.outputs);
        let weights: usize = widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        let batch = lanes[0].batch as usize;
        let activations: usize = widths[1..].iter().map(|units| 3 * units * batch).sum();
        let scores = fold.rows * fold.outputs;
        ((3 * weights + activations + scores) * size_of::<Lanes>()) as u64
    }

    fn start(&self, fold: &MlpFold, lanes: &[MlpParams]) -> Group {
        let widths = padded_widths(lanes, fold.features, fold.outputs);
        let layers = (0..widths.len() - 1)
            .map(|layer| start_layer(fold, lanes, layer, widths[layer], widths[layer + 1]))
            .collect();
        Group { params: lanes.to_vec(), layers, step: 0, epochs: 0 }
    }

    fn gather(&self, fold: &MlpFold, lanes: &[(&Group, usize)]) -> Group {
        let params: Vec<MlpParams> = lanes.iter().map(|(group, lane)| group.params[*lane]).collect();
        let widths = padded_widths(&params, fold.features, fold.outputs);
        let mut layers: Vec<Layer> = widths.windows(2).map(|pair| Layer::zeros(pair[0], pair[1])).collect();
        for (to, (group, from)) in lanes.iter().enumerate() {
            for (layer, source) in layers.iter_mut().zip(&group.layers) {
                layer.copy_lane(to, source, *from);
            }
        }
        let (step, epochs) = lanes.first().map_or((0, 0), |(group, _)| (group.step, group.epochs));
        Group { params, layers, step, epochs }
    }

    fn advance(&self, level: Level, fold: &MlpFold, group: &mut Group, budget: u64) -> Vec<LaneProgress> {
        dispatch(level, Training { fold, group, until: budget, of: self.budget });
        group.params.iter().map(|_| LaneProgress { used: group.epochs, is_capped: false }).collect()
    }

    fn predict(&self, level: Level, fold: &MlpFold, group: &mut Group, x: ArrayView2<'_, f32>, out: &mut [Lanes]) {
        dispatch(level, Predicting { fold, group, x, out });
    }

    fn read_back(&self, fold: &MlpFold, group: &Group, lane: usize) -> Weights {
        let mut arrays = Vec::new();
        for (index, (inputs, units)) in group.params[lane].shapes(fold.features, fold.outputs).enumerate() {
            let layer = &group.layers[index];
            let weight =
                |input: usize, unit: usize| layer.weights[0][unit / 2 * layer.inputs + input][unit % 2].0[lane];
            arrays.push(WeightArray {
                name: format!("layer_{index}.weight"),
                shape: vec![inputs, units],
                values: (0..inputs * units).map(|i| weight(i / units, i % units)).collect(),
            });
            arrays.push(WeightArray {
                name: format!("layer_{index}.bias"),
                shape: vec![units],
                values: (0..units).map(|unit| layer.biases[0][unit / 2][unit % 2].0[lane]).collect(),
            });
        }
        arrays.push(WeightArray {
            name: "activation".to_owned(),
            shape: vec![1],
            values: vec![group.params[lane].activation as u32 as f32],
        });
        Weights { arrays }
    }
}

/// Inputs, hidden widths and outputs that every lane of a group fits in.
fn padded_widths(lanes: &[MlpParams], features: usize, outputs: usize) -> Vec<usize> {
    let layers = lanes.first().map_or(1, |params| params.layers as usize).min(MAX_LAYERS);
    let widest = |layer: usize| lanes.iter().map(|params| params.hidden[layer] as usize).max().unwrap_or(0);
    let hidden = (0..layers).map(|layer| widest(layer).next_multiple_of(2));
    std::iter::once(features.next_multiple_of(ROWS)).chain(hidden).chain([outputs.next_multiple_of(2)]).collect()
}

fn start_layer(fold: &MlpFold, lanes: &[MlpParams], layer: usize, inputs: usize, units: usize) -> Layer {
    let mut start = Layer::zeros(inputs, units);
    let is_output = layer == lanes[0].layers as usize;
    let key = recipe::start_key(fold.key, if is_output { MAX_LAYERS } else { layer });
    let shapes: Vec<(usize, usize, f32)> = lanes
        .iter()
        .map(|params| {
            let (inputs, units) = params.shapes(fold.features, fold.outputs).nth(layer).unwrap_or((0, 0));
            (inputs, units, params.start_bound(layer, inputs))
        })
        .collect();
    for (pair, column) in start.weights[0].chunks_exact_mut(inputs).enumerate() {
        for (input, weights) in column.iter_mut().enumerate() {
            for (half, weights) in weights.iter_mut().enumerate() {
                let unit = 2 * pair + half;
                let uniform = recipe::start_uniform(key, input, unit);
                for (weight, &(inputs, units, bound)) in weights.0.iter_mut().zip(&shapes) {
                    if input < inputs && unit < units {
                        *weight = bound * uniform;
                    }
                }
            }
        }
    }
    start
}

impl Layer {
    fn zeros(inputs: usize, units: usize) -> Layer {
        let weights = vec![ZERO_PAIR; inputs * units / 2];
        let biases = vec![ZERO_PAIR; units / 2];
        Layer {
            inputs,
            weights: [weights.clone(), weights.clone(), weights],
            biases: [biases.clone(), biases.clone(), biases],
        }
    }

    /// Copies what both layers have room for; what is beyond is padding of the one and missing in the other.
    fn copy_lane(&mut self, to: usize, source: &Layer, from: usize) {
        let inputs = self.inputs.min(source.inputs);
        for (target, source_array) in self.weights.iter_mut().zip(&source.weights) {
            let columns = target.chunks_exact_mut(self.inputs).zip(source_array.chunks_exact(source.inputs));
            for (target, source) in columns {
                copy_lane(&mut target[..inputs], to, &source[..inputs], from);
            }
        }
        for (target, source) in self.biases.iter_mut().zip(&source.biases) {
            copy_lane(target, to, source, from);
        }
    }
}

fn copy_lane(target: &mut [Pair], to: usize, source: &[Pair], from: usize) {
    for (target, source) in target.iter_mut().zip(source) {
        for half in 0..2 {
            target[half].0[to] = source[half].0[from];
        }
    }
}

/// Activations and gradients of a minibatch, allocated once a call.
struct Scratch {
    /// The minibatch's features.
    x: Shared,
    classes: Vec<u32>,
    values: Vec<f32>,
    /// Each layer's outputs; the last one's become the loss's gradient.
    activations: Vec<Vec<Pair>>,
    /// Each hidden layer's derivative, where it cannot be told from the output.
    derivatives: Vec<Vec<Pair>>,
    /// Each hidden layer's gradient.
    deltas: Vec<Vec<Pair>>,
}

impl Scratch {
    fn new(rows: usize, features: usize, layers: &[Layer]) -> Scratch {
        let panels = || layers.iter().map(|layer| vec![ZERO_PAIR; layer.biases[0].len() * rows]).collect::<Vec<_>>();
        Scratch {
            x: Shared::zeros(rows, features),
            classes: vec![0; rows],
            values: vec![0.0; rows],
            activations: panels(),
            derivatives: panels(),
            deltas: panels(),
        }
    }

    /// Gathers a minibatch; rows beyond it, up to a whole tile, are zero. Returns the padded number of rows.
    fn gather(&mut self, fold: &MlpFold, order: &[u32]) -> usize {
        let features = fold.features;
        self.x.fill(order.iter().map(|&row| &fold.x[row as usize * features..][..features]));
        match &fold.y {
            FoldTargets::Classes(codes) => {
                self.classes.iter_mut().zip(order).for_each(|(to, &row)| *to = codes[row as usize]);
            }
            FoldTargets::Values(values) => {
                self.values.iter_mut().zip(order).for_each(|(to, &row)| *to = values[row as usize]);
            }
        }
        self.x.rows()
    }
}

/// Trains a group up to epoch `until` of the `of` that its schedules are made for.
struct Training<'a> {
    fold: &'a MlpFold,
    group: &'a mut Group,
    until: u64,
    of: u64,
}

impl Kernel for Training<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Training { fold, group, until, of } = self;
        let batch = group.params[0].batch as usize;
        let steps = group.params[0].steps_per_epoch(fold.rows) * of;
        let widest_batch = batch.min(fold.rows).next_multiple_of(ROWS);
        let mut scratch = Scratch::new(widest_batch, fold.features, &group.layers);
        let mut optimizer = Step::new(&group.params);
        optimizer.skip_to(group.step);
        while group.epochs < until {
            let order = recipe::epoch_order(fold.key, group.epochs, fold.rows);
            for minibatch in order.chunks(batch) {
                let rows = scratch.gather(fold, minibatch);
                optimizer.next(&group.params, group.step, steps);
                train_step::<V>(fold, group, &mut scratch, rows, minibatch.len(), &optimizer);
                group.step += 1;
            }
            group.epochs += 1;
        }
    }
}

#[inline(always)]
fn train_step<V: Simd>(
    fold: &MlpFold,
    group: &mut Group,
    scratch: &mut Scratch,
    rows: usize,
    real_rows: usize,
    optimizer: &Step,
) {
    let hidden = Hidden::new(&group.params);
    let last = group.layers.len() - 1;
    forward::<V>(fold, &group.layers, scratch, rows, Some((&hidden, group.step)));
    let loss = LossGradient::new(&group.params, fold.outputs, real_rows);
    let output = &mut scratch.activations[last][..];
    let output = &mut output[..group.layers[last].biases[0].len() * rows];
    match &fold.y {
        FoldTargets::Classes(_) => loss.cross_entropy::<V>(output, rows, &scratch.classes),
        FoldTargets::Values(_) => loss.squared_error::<V>(output, rows, &scratch.values),
    }
    for layer in (0..=last).rev() {
        let units = group.layers[layer].biases[0].len();
        let (below, from_here) = scratch.deltas.split_at_mut(layer);
        let delta = if layer == last { &scratch.activations[last] } else { &from_here[0] };
        let delta = &delta[..units * rows];
        // The gradient of what is below needs this layer's weights as they were in the forward pass.
        if layer > 0 {
            let below_units = group.layers[layer - 1].biases[0].len();
            let outputs = &scratch.activations[layer - 1][..below_units * rows];
            let derivatives = &scratch.derivatives[layer - 1][..below_units * rows];
            let below = &mut below[layer - 1][..below_units * rows];
            let weights = &group.layers[layer];
            hidden.backward::<V>(delta, rows, &weights.weights[0], weights.inputs, outputs, derivatives, below);
        }
        let Layer { inputs, weights, biases } = &mut group.layers[layer];
        let mut update = Update::<V>::new(optimizer, weights, true);
        if layer == 0 {
            gemm::gradient_shared::<V, _>(&scratch.x, delta, &mut update);
        } else {
            let below = &scratch.activations[layer - 1][..*inputs / 2 * rows];
            gemm::gradient_lanes::<V, _>(below, delta, rows, &mut update);
        }
        let mut update = Update::<V>::new(optimizer, biases, false);
        update.columns_of(delta, rows);
    }
}

/// Every layer's outputs for the rows in `scratch.x`; with dropout and derivatives when training.
#[inline(always)]
fn forward<V: Simd>(
    fold: &MlpFold,
    layers: &[Layer],
    scratch: &mut Scratch,
    rows: usize,
    training: Option<(&Hidden, u64)>,
) {
    let last = layers.len() - 1;
    for (index, layer) in layers.iter().enumerate() {
        let (below, from_here) = scratch.activations.split_at_mut(index);
        let out = &mut from_here[0][..layer.biases[0].len() * rows];
        let (weights, biases) = (&layer.weights[0], &layer.biases[0]);
        let is_relu = training.is_some_and(|(hidden, _)| hidden.is_plain_relu()) && index != last;
        match (index == 0, is_relu) {
            (true, true) => {
                gemm::forward_shared::<V, _>(&scratch.x, weights, biases, out, &PlainRelu);
            }
            (true, false) => gemm::forward_shared::<V, _>(&scratch.x, weights, biases, out, &AsIs),
            (false, is_relu) => {
                let below = &below[index - 1][..layer.inputs / 2 * rows];
                match is_relu {
                    true => gemm::forward_lanes::<V, _>(below, layer.inputs, weights, biases, out, &PlainRelu),
                    false => gemm::forward_lanes::<V, _>(below, layer.inputs, weights, biases, out, &AsIs),
                }
            }
        }
        if let Some((hidden, step)) = training
            && index != last
            && !is_relu
        {
            let derivatives = &mut scratch.derivatives[index][..out.len()];
            hidden.activate::<V>(out, derivatives, rows, recipe::dropout_key(fold.key, index), step);
        }
    }
}

/// Predicts a block of rows.
struct Predicting<'a, 'x> {
    fold: &'a MlpFold,
    group: &'a Group,
    x: ArrayView2<'x, f32>,
    out: &'a mut [Lanes],
}

impl Kernel for Predicting<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Predicting { fold, group, x, out } = self;
        // Blocks as small as a minibatch keep activations in the cache.
        const BLOCK: usize = 32;
        let mut scratch = Scratch::new(BLOCK, fold.features, &group.layers);
        let hidden = Hidden::for_prediction(&group.params);
        let last = group.layers.len() - 1;
        for (block, out) in out.chunks_mut(BLOCK * fold.outputs).enumerate() {
            let real_rows = out.len() / fold.outputs;
            let rows = (block * BLOCK..block * BLOCK + real_rows).map(|row| x.row(row).to_slice().unwrap_or(&[]));
            scratch.x.fill(rows);
            let rows = scratch.x.rows();
            forward::<V>(fold, &group.layers, &mut scratch, rows, Some((&hidden, 0)));
            let logits = &mut scratch.activations[last];
            match fold.y {
                FoldTargets::Classes(_) => softmax::<V>(logits, rows, fold.outputs),
                FoldTargets::Values(_) => unscale::<V>(logits, fold.target),
            }
            for (row, out) in out.chunks_exact_mut(fold.outputs).enumerate() {
                for (output, out) in out.iter_mut().enumerate() {
                    *out = logits[output / 2 * rows + row][output % 2];
                }
            }
        }
        debug_assert!(group.params.len() <= LANES);
    }
}
