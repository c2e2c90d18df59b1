//! Where the weights of up to sixteen networks are, and by which of two walks they train.
//!
//! Both walks give every weight the same sequence of fused multiply-adds, so the choice between them changes no bit and
//! may depend on anything: here on what each has to multiply, and on what the caches hold.

use super::cpu::MlpFold;
use super::recipe::{self, MAX_LAYERS, MlpParams};
use crate::backend::cpu::gemm::{Pair, ROWS};
use crate::backend::cpu::simd::{LANES, Lanes};

// Times of a vector's multiply-adds, in percent. Measured on two cores of a Zen 4 with 1 MiB of second-level cache each
// and 32 MiB of third, minibatches of 32: sixteen networks of 60-128-10, 60-512-10 and 784-64-10 (a state of 10 MB)
// trained 1.08 to 1.11 times as fast together as alone, of 784-128-10 (19 MB) 1.03 times, of 784-256-10 (39 MB) 0.89
// times.
const TOGETHER_COST: u64 = 100;
const UNCACHED_COST: u64 = 120;
const ALONE_COST: u64 = 110;
/// The largest state of sixteen networks, moments included, that counts as cached.
const CACHED_BYTES: usize = 16 << 20;

/// What the SIMD lanes of a vector hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// The same weight of sixteen networks: units in pairs, `[unit pairs][inputs][2]`.
    Together,
    /// Sixteen neighbouring units of one network: `[unit strips][inputs]`.
    Alone,
}

/// Values in one place of every `stride`th vector.
struct Run {
    first: usize,
    stride: usize,
    place: usize,
}

/// One layer of a group or of a network, its optimizer's moments beside its weights.
#[derive(Clone)]
pub struct Layer {
    /// Padded inputs.
    pub inputs: usize,
    /// Weights, first and second moments.
    pub weights: [Vec<Lanes>; 3],
    /// Biases, first and second moments.
    pub biases: [Vec<Lanes>; 3],
}

/// The weights and moments of up to sixteen networks.
pub struct Networks {
    walk: Walk,
    /// One for all networks, or one a network.
    pub layers: Vec<Vec<Layer>>,
}

impl Walk {
    /// The one that takes less time.
    pub fn choose(lanes: &[MlpParams], features: usize, outputs: usize) -> Walk {
        let together = Walk::Together.cost(lanes, features, outputs);
        let alone = Walk::Alone.cost(lanes, features, outputs);
        if alone < together { Walk::Alone } else { Walk::Together }
    }

    /// How long the walk takes a row: its multiply-adds, in units that both walks share.
    pub fn cost(self, lanes: &[MlpParams], features: usize, outputs: usize) -> u64 {
        match self {
            Walk::Together => {
                let weights = self.weights(lanes, features, outputs);
                let is_cached = 3 * weights * size_of::<Lanes>() <= CACHED_BYTES;
                weights as u64 * if is_cached { TOGETHER_COST } else { UNCACHED_COST }
            }
            Walk::Alone => {
                lanes.chunks(1).map(|lane| self.weights(lane, features, outputs) as u64).sum::<u64>() * ALONE_COST
            }
        }
    }

    /// Vectors that hold the weights of networks in one set of layers; a row of a product costs as many
    /// multiply-adds.
    pub fn weights(self, lanes: &[MlpParams], features: usize, outputs: usize) -> usize {
        let widths = self.widths(lanes, features, outputs);
        widths.windows(2).map(|pair| pair[0] * self.vectors(pair[1])).sum()
    }

    /// Vectors that hold one value of each of a layer's units.
    pub fn vectors(self, units: usize) -> usize {
        match self {
            Walk::Together => units,
            Walk::Alone => units.div_ceil(LANES),
        }
    }

    /// Padded inputs, hidden widths and outputs that every one of the networks fits in.
    pub fn widths(self, lanes: &[MlpParams], features: usize, outputs: usize) -> Vec<usize> {
        let layers = lanes.first().map_or(1, |params| params.layers as usize).min(MAX_LAYERS);
        let widest = |layer: usize| lanes.iter().map(|params| params.hidden[layer] as usize).max().unwrap_or(0);
        let units = match self {
            Walk::Together => 2,
            Walk::Alone => ROWS,
        };
        let above = (0..layers).map(widest).chain([outputs]).map(|width| width.next_multiple_of(units));
        std::iter::once(features.next_multiple_of(ROWS)).chain(above).collect()
    }

    /// The vector of an array, and the place in it, that hold what belongs to an input and a unit of a lane.
    fn place(self, inputs: usize, input: usize, unit: usize, lane: usize) -> (usize, usize) {
        let Run { first, stride, place } = self.units(inputs, lane)(unit);
        (first + stride * input, place)
    }

    /// Where the values of a lane's units are, one for each of `inputs`.
    fn units(self, inputs: usize, lane: usize) -> impl Fn(usize) -> Run {
        move |unit| match self {
            Walk::Together => Run { first: unit / 2 * inputs * 2 + unit % 2, stride: 2, place: lane },
            Walk::Alone => Run { first: unit / LANES * inputs, stride: 1, place: unit % LANES },
        }
    }
}

/// Copies what belongs to one lane, `inputs` values of each of `units` units, from one array to another. `to` and `from` say
/// of a unit where its first value is.
fn copy_units(
    target: &mut [Lanes],
    to: impl Fn(usize) -> Run,
    source: &[Lanes],
    from: impl Fn(usize) -> Run,
    inputs: usize,
    units: usize,
) {
    if inputs == 0 {
        return;
    }
    for unit in 0..units {
        let (to, from) = (to(unit), from(unit));
        let values = source[from.first..].iter().step_by(from.stride).take(inputs);
        for (vector, value) in target[to.first..].iter_mut().step_by(to.stride).zip(values) {
            vector.0[to.place] = value.0[from.place];
        }
    }
}

impl Layer {
    /// `vectors`: of the biases.
    fn zeros(inputs: usize, vectors: usize) -> Layer {
        let weights = vec![Lanes::ZERO; inputs * vectors];
        let biases = vec![Lanes::ZERO; vectors];
        Layer {
            inputs,
            weights: [weights.clone(), weights.clone(), weights],
            biases: [biases.clone(), biases.clone(), biases],
        }
    }

    /// Unit pairs of a layer whose networks walk together.
    pub fn pairs(&self) -> usize {
        self.biases[0].len() / 2
    }
}

/// Neighbouring vectors two by two.
pub fn in_pairs(vectors: &[Lanes]) -> &[Pair] {
    vectors.as_chunks().0
}

impl Networks {
    /// Weights and moments of zero.
    pub fn zeros(walk: Walk, fold: &MlpFold, lanes: &[MlpParams]) -> Networks {
        let layers = |lanes: &[MlpParams]| -> Vec<Layer> {
            let widths = walk.widths(lanes, fold.features, fold.outputs);
            widths.windows(2).map(|pair| Layer::zeros(pair[0], walk.vectors(pair[1]))).collect()
        };
        let layers = match walk {
            Walk::Together => vec![layers(lanes)],
            Walk::Alone => lanes.chunks(1).map(layers).collect(),
        };
        Networks { walk, layers }
    }

    /// The weights that training starts from; all networks have the same depth.
    pub fn start(walk: Walk, fold: &MlpFold, lanes: &[MlpParams]) -> Networks {
        let mut networks = Networks::zeros(walk, fold, lanes);
        let depth = lanes.first().map_or(0, |params| params.layers as usize);
        for layer in 0..=depth {
            let key = recipe::start_key(fold.key, if layer == depth { MAX_LAYERS } else { layer });
            let shapes: Vec<(usize, usize, f32)> = lanes
                .iter()
                .map(|params| {
                    let (inputs, units) = params.shapes(fold.features, fold.outputs).nth(layer).unwrap_or((0, 0));
                    (inputs, units, params.start_bound(layer, inputs))
                })
                .collect();
            let widest = |width: fn(&(usize, usize, f32)) -> usize| shapes.iter().map(width).max().unwrap_or(0);
            let (widest_inputs, widest_units) = (widest(|shape| shape.0), widest(|shape| shape.1));
            // Sixteen units at a time are neighbours in memory on either walk.
            let places = (0..widest_units.div_ceil(LANES)).flat_map(|strip| {
                let units = strip * LANES..widest_units.min((strip + 1) * LANES);
                (0..widest_inputs).flat_map(move |input| units.clone().map(move |unit| (input, unit)))
            });
            for (input, unit) in places {
                let uniform = recipe::start_uniform(key, input, unit);
                for (lane, &(inputs, units, bound)) in shapes.iter().enumerate() {
                    if input < inputs && unit < units {
                        let target = networks.layer_mut(lane, layer);
                        let (vector, place) = walk.place(target.inputs, input, unit, lane);
                        target.weights[0][vector].0[place] = bound * uniform;
                    }
                }
            }
        }
        networks
    }

    /// How they train.
    pub fn walk(&self) -> Walk {
        self.walk
    }

    fn layer(&self, lane: usize, layer: usize) -> &Layer {
        match self.walk {
            Walk::Together => &self.layers[0][layer],
            Walk::Alone => &self.layers[lane][layer],
        }
    }

    fn layer_mut(&mut self, lane: usize, layer: usize) -> &mut Layer {
        match self.walk {
            Walk::Together => &mut self.layers[0][layer],
            Walk::Alone => &mut self.layers[lane][layer],
        }
    }

    /// A lane's weights of one layer, or their moments: `[inputs, units]`, and the biases'.
    pub fn values(
        &self,
        lane: usize,
        layer: usize,
        array: usize,
        (inputs, units): (usize, usize),
    ) -> (Vec<f32>, Vec<f32>) {
        let source = self.layer(lane, layer);
        let value = |vectors: &[Lanes], (vector, place): (usize, usize)| vectors[vector].0[place];
        let weight =
            |i: usize| value(&source.weights[array], self.walk.place(source.inputs, i / units, i % units, lane));
        let bias = |unit| value(&source.biases[array], self.walk.place(1, 0, unit, lane));
        ((0..inputs * units).map(weight).collect(), (0..units).map(bias).collect())
    }

    /// Takes over a lane of other networks, moments included.
    pub fn copy_lane(&mut self, to: usize, source: &Networks, from: usize, params: &MlpParams, fold: &MlpFold) {
        let walks = (self.walk, source.walk);
        for (layer, (inputs, units)) in params.shapes(fold.features, fold.outputs).enumerate() {
            let (target, source) = (self.layer_mut(to, layer), source.layer(from, layer));
            let heights = (target.inputs, source.inputs);
            for (target, source) in target.weights.iter_mut().zip(&source.weights) {
                copy_units(target, walks.0.units(heights.0, to), source, walks.1.units(heights.1, from), inputs, units);
            }
            for (target, source) in target.biases.iter_mut().zip(&source.biases) {
                copy_units(target, walks.0.units(1, to), source, walks.1.units(1, from), 1, units);
            }
        }
    }

    /// Gives a lane weights of one layer, or their moments: `[inputs, units]`, and the biases'.
    fn set_values(
        &mut self,
        lane: usize,
        layer: usize,
        array: usize,
        (_, units): (usize, usize),
        weights: &[f32],
        biases: &[f32],
    ) {
        let walk = self.walk;
        let target = self.layer_mut(lane, layer);
        for (i, weight) in weights.iter().enumerate() {
            let (vector, place) = walk.place(target.inputs, i / units, i % units, lane);
            target.weights[array][vector].0[place] = *weight;
        }
        for (unit, bias) in biases.iter().enumerate() {
            let (vector, place) = walk.place(1, 0, unit, lane);
            target.biases[array][vector].0[place] = *bias;
        }
    }

    /// All of a lane: layer by layer its weights with their biases, then the moments of both.
    pub fn lane(&self, lane: usize, params: &MlpParams, fold: &MlpFold) -> Vec<f32> {
        let mut all = Vec::new();
        for (layer, shape) in params.shapes(fold.features, fold.outputs).enumerate() {
            for array in 0..3 {
                let (weights, biases) = self.values(lane, layer, array, shape);
                all.extend(weights);
                all.extend(biases);
            }
        }
        all
    }

    /// One network made of that; `None` where it is of another shape.
    pub fn of_lane(params: &MlpParams, fold: &MlpFold, all: &[f32]) -> Option<Networks> {
        let lanes = std::slice::from_ref(params);
        let mut networks = Networks::zeros(Walk::choose(lanes, fold.features, fold.outputs), fold, lanes);
        let mut left = all;
        for (layer, (inputs, units)) in params.shapes(fold.features, fold.outputs).enumerate() {
            for array in 0..3 {
                let (weights, rest) = left.split_at_checked(inputs * units)?;
                let (biases, rest) = rest.split_at_checked(units)?;
                networks.set_values(0, layer, array, (inputs, units), weights, biases);
                left = rest;
            }
        }
        left.is_empty().then_some(networks)
    }
}
