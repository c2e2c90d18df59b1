//! The training recipe of the multilayer perceptron: everything that both backends and the reference loop must agree on.
//!
//! Nothing here depends on the backend, and what training draws depends on the fold alone (common random numbers):
//! two lanes of a fold see the same initial uniforms, the same row order and the same dropout uniforms.
//!
//! - **Layers**: `z_l = a_(l-1) W_l + b_l`, `a_l = act(z_l)` for hidden layers, the last one linear. `W_l` is
//!   `[inputs, units]`.
//! - **Start**: biases 0, weights `bound * u` with `u` in [-1, 1) from [`start_uniform`]; He's bound
//!   `sqrt(6 / inputs)` before relu, gelu and silu, LeCun's `sqrt(3 / inputs)` before tanh and the output.
//! - **Minibatches**: epoch `e` walks [`epoch_order`] in pieces of `batch` rows; the last piece may be short.
//! - **Loss**: mean over the minibatch's rows of softmax cross-entropy against `(1 - s) onehot + s / classes`
//!   (`s` = label smoothing), or of half the squared error on the scaled target. So the output's gradient is
//!   `(softmax - smoothed) / rows`, or `(prediction - target) / rows`, times what the row counts for ([`row_weights`]).
//! - **Dropout** (inverted) after each hidden activation: kept and scaled by `1 / (1 - rate)` where
//!   [`dropout_uniforms`] `>= rate`.
//! - **Adam** (Kingma & Ba 2015) with decoupled decay (Loshchilov & Hutter 2019, AdamW) of weights, not biases:
//!   `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
//!   `w = (1 - rate decay) w - rate m_hat / sqrt(v_hat + EPSILON^2)`. The epsilon stands inside the root, where it
//!   does the same (no division by 0) without a second rounding path; with gradients above 1e-7 no bit shows it.
//! - **SGD**: `m = momentum m + g`, `w = (1 - rate decay) w - rate m`.
//! - **Rate**: [`Schedule::factor`] times the learning rate, by step out of all steps of the full budget.

use crate::base::random::{self, Key};
use crate::data::Rows;
use crate::models::linear::{self, ClassWeight};
use std::f64::consts::PI;

/// Most hidden layers.
pub const MAX_LAYERS: usize = 3;
/// Adam's second decay.
pub const BETA2: f32 = 0.999;
/// Adam's epsilon.
pub const EPSILON: f32 = 1e-8;

/// Children of a fold's key.
mod tag {
    pub const START: u32 = 1;
    pub const ORDER: u32 = 2;
    pub const DROPOUT: u32 = 3;
}

/// A hidden layer's non-linearity; the discriminant is its code in shaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// `max(z, 0)`
    Relu = 0,
    /// `tanh z`
    Tanh = 1,
    /// `z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))` (Hendrycks & Gimpel 2016, the tanh form)
    Gelu = 2,
    /// `z / (1 + e^-z)`
    Silu = 3,
}

impl Activation {
    /// Names in the space, in the order of the codes.
    pub const NAMES: [&'static str; 4] = ["relu", "tanh", "gelu", "silu"];

    /// From its code; anything else is relu.
    pub fn from_code(code: f64) -> Activation {
        match code as u32 {
            1 => Activation::Tanh,
            2 => Activation::Gelu,
            3 => Activation::Silu,
            _ => Activation::Relu,
        }
    }
}

/// How weights follow gradients; the discriminant is its code in shaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Optimizer {
    /// Adam with decoupled decay.
    Adam = 0,
    /// Stochastic gradient descent with momentum.
    Sgd = 1,
}

impl Optimizer {
    /// Names in the space, in the order of the codes.
    pub const NAMES: [&'static str; 2] = ["adam", "sgd"];

    /// From its code; anything else is Adam.
    pub fn from_code(code: f64) -> Optimizer {
        if code == 1.0 { Optimizer::Sgd } else { Optimizer::Adam }
    }
}

/// How the learning rate changes over the full budget; the discriminant is its code in shaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Schedule {
    /// Always 1.
    Constant = 0,
    /// Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, without restarts).
    Cosine = 1,
    /// Up from 1/25 to 1 over the first 30 %, then down to 1/250,000, by half cosines (Smith & Topin 2018, with the
    /// constants that PyTorch's OneCycleLR has as defaults).
    OneCycle = 2,
}

impl Schedule {
    /// Names in the space, in the order of the codes.
    pub const NAMES: [&'static str; 3] = ["constant", "cosine", "one_cycle"];

    /// From its code; anything else is constant.
    pub fn from_code(code: f64) -> Schedule {
        match code as u32 {
            1 => Schedule::Cosine,
            2 => Schedule::OneCycle,
            _ => Schedule::Constant,
        }
    }

    /// What the learning rate is multiplied with at `step` (from 0) of `steps`.
    pub fn factor(self, step: u64, steps: u64) -> f64 {
        const WARM: f64 = 0.3;
        const START: f64 = 1.0 / 25.0;
        const END: f64 = START / 1e4;
        // libm, not the platform's cosine: a rate must have the same bits everywhere.
        let fall = |from: f64, to: f64, share: f64| to + (from - to) * 0.5 * (1.0 + libm::cos(PI * share));
        let share = step as f64 / steps as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => fall(1.0, 0.0, share),
            Schedule::OneCycle if share < WARM => fall(START, 1.0, share / WARM),
            Schedule::OneCycle => fall(1.0, END, (share - WARM) / (1.0 - WARM)),
        }
    }
}

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpParams {
    /// Units of each hidden layer; only the first `layers` count, the others are 0.
    pub hidden: [u32; MAX_LAYERS],
    /// Number of hidden layers, 1 to 3.
    pub layers: u32,
    /// After each hidden layer.
    pub activation: Activation,
    /// Adam or SGD.
    pub optimizer: Optimizer,
    /// The schedule's peak.
    pub learning_rate: f32,
    /// Adam's first decay, or SGD's momentum.
    pub momentum: f32,
    /// Decoupled decay, multiplied with the rate.
    pub weight_decay: f32,
    /// Rows of a minibatch.
    pub batch: u32,
    /// How the rate changes.
    pub schedule: Schedule,
    /// Share of hidden units that a step leaves out.
    pub dropout: f32,
    /// Share of each target spread over all classes; 0 in regression.
    pub label_smoothing: f32,
    /// Whether rows count by their class, so that all classes count alike; false in regression.
    pub is_balanced: bool,
}

/// What each training row's loss is multiplied by: its own weight times its class's, scaled to a mean of 1 over the fold so
/// that learning rates keep their meaning. `None` where all count alike.
pub fn row_weights(rows: &Rows, is_balanced: bool) -> Option<Vec<f32>> {
    let class_weight = if is_balanced { ClassWeight::Balanced } else { ClassWeight::None };
    let weights = linear::row_weights(rows, class_weight)?;
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    Some(weights.iter().map(|weight| (weight / mean) as f32).collect())
}

impl MlpParams {
    /// Inputs and units of each layer, the output's included: `layers + 1` pairs.
    pub fn shapes(&self, features: usize, outputs: usize) -> impl Iterator<Item = (usize, usize)> {
        let hidden = self.hidden;
        let layers = self.layers as usize;
        (0..=layers).map(move |layer| {
            let inputs = if layer == 0 { features } else { hidden[layer - 1] as usize };
            (inputs, if layer == layers { outputs } else { hidden[layer] as usize })
        })
    }

    /// Number of weights and biases.
    pub fn weights(&self, features: usize, outputs: usize) -> usize {
        self.shapes(features, outputs).map(|(inputs, units)| (inputs + 1) * units).sum()
    }

    /// Steps of an epoch over `rows` training rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch as usize) as u64
    }

    /// Half the width of a layer's initial weights.
    pub fn start_bound(&self, layer: usize, inputs: usize) -> f32 {
        let is_output = layer == self.layers as usize;
        let gain = if is_output || self.activation == Activation::Tanh { 3.0 } else { 6.0 };
        (gain / inputs as f32).sqrt()
    }

    /// The learning rate at `step` of `steps`.
    pub fn rate(&self, step: u64, steps: u64) -> f32 {
        (f64::from(self.learning_rate) * self.schedule.factor(step, steps)) as f32
    }
}

/// What the initial weight from `input` to `unit` of a layer is a multiple of, in [-1, 1); all lanes of a fold share it,
/// whatever their widths. The output layer is number [`MAX_LAYERS`] for every depth.
pub fn start_uniform(layer_key: Key, input: usize, unit: usize) -> f32 {
    2.0 * random::uniform(layer_key.words((input as u64) << 32 | unit as u64)[0]) - 1.0
}

/// The key of a layer's [`start_uniform`]; `layer` counts hidden layers from 0, the output layer is [`MAX_LAYERS`].
pub fn start_key(fold: Key, layer: usize) -> Key {
    fold.child(tag::START).child(layer as u32)
}

/// The order in which an epoch walks the fold's training rows.
pub fn epoch_order(fold: Key, epoch: u64, rows: usize) -> Vec<u32> {
    random::shuffled(fold.child(tag::ORDER).child(epoch as u32), rows)
}

/// The key of a hidden layer's [`dropout_uniforms`].
pub fn dropout_key(fold: Key, layer: usize) -> Key {
    fold.child(tag::DROPOUT).child(layer as u32)
}

/// Uniforms of the units `2 pair` and `2 pair + 1` for one row of the minibatch of a step (counted from the lane's
/// start). WGSL: `threefry(key, vec2(row << 15 | pair, step))`.
pub fn dropout_uniforms(layer_key: Key, step: u64, row: usize, pair: usize) -> [f32; 2] {
    layer_key.words(step << 32 | u64::from(dropout_place(row, pair))).map(random::uniform)
}

/// The low half of the counter that [`dropout_uniforms`] draws at; the high half is the step.
pub const fn dropout_place(row: usize, pair: usize) -> u32 {
    (row as u32) << 15 | pair as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_peak_and_end_where_they_say() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(Schedule::Constant.factor(77, 100), 1.0);
        close(Schedule::Cosine.factor(0, 100), 1.0);
        close(Schedule::Cosine.factor(50, 100), 0.5);
        close(Schedule::Cosine.factor(100, 100), 0.0);
        close(Schedule::OneCycle.factor(0, 100), 1.0 / 25.0);
        close(Schedule::OneCycle.factor(30, 100), 1.0);
        close(Schedule::OneCycle.factor(100, 100), 1.0 / 250_000.0);
    }

    #[test]
    fn an_order_depends_on_fold_and_epoch() {
        let fold = Key::from_seed(3);
        assert_ne!(epoch_order(fold, 0, 50), epoch_order(fold, 1, 50));
        assert_ne!(epoch_order(fold, 0, 50), epoch_order(Key::from_seed(4), 0, 50));
    }
}
