//! What stands between the matrix products of a perceptron: activations with their derivatives, dropout, and the
//! gradient of the loss, for sixteen networks that may differ in all of it, or for sixteen units of one network.

use super::recipe::{self, Activation, MlpParams};
use crate::backend::cpu::gemm::{self, Epilogue, Pair};
use crate::backend::cpu::simd::{LANES, Lanes, Simd, transpose};
use crate::backend::cpu::strips::{self, Strips, load_block};
use crate::backend::cpu::{math, random};
use crate::base::random::Key;
use crate::data::Affine;

/// `max(z, 0)` on the way to memory.
pub struct PlainRelu;

impl<V: Simd> Epilogue<V> for PlainRelu {
    #[inline(always)]
    fn finish(&self, value: V, _: usize) -> V {
        // In this order a NaN comes through.
        V::zero().max(value)
    }
}

/// Where relu's output is not positive, no gradient passes.
struct PassPositive<'a> {
    outputs: &'a [Lanes],
}

impl<V: Simd> Epilogue<V> for PassPositive<'_> {
    #[inline(always)]
    fn finish(&self, value: V, place: usize) -> V {
        V::select(V::zero().less(V::load(&self.outputs[place])), value, V::zero())
    }
}

/// Multiplies with a stored derivative; 0 stays 0 whatever the gradient is, as in [`PassPositive`].
struct TimesDerivative<'a> {
    derivatives: &'a [Lanes],
}

impl<V: Simd> Epilogue<V> for TimesDerivative<'_> {
    #[inline(always)]
    fn finish(&self, value: V, place: usize) -> V {
        let derivative = V::load(&self.derivatives[place]);
        V::select(V::zero().less(derivative.abs()), value.mul(derivative), V::zero())
    }
}

/// The hidden layers' activation and dropout of every lane.
pub struct Hidden {
    /// One where the lane has the activation of that code, else zero.
    is: [Lanes; 4],
    has: [bool; 4],
    dropout: Lanes,
    keep_scale: Lanes,
    has_dropout: bool,
}

impl Hidden {
    /// As in training.
    pub fn new(params: &[MlpParams]) -> Hidden {
        let mut hidden = Hidden::for_prediction(params);
        for (lane, params) in params.iter().enumerate() {
            hidden.dropout.0[lane] = params.dropout;
            hidden.keep_scale.0[lane] = 1.0 / (1.0 - params.dropout);
            hidden.has_dropout |= params.dropout > 0.0;
        }
        hidden
    }

    /// Without dropout.
    pub fn for_prediction(params: &[MlpParams]) -> Hidden {
        let mut is = [Lanes::ZERO; 4];
        let mut has = [false; 4];
        for (lane, params) in params.iter().enumerate() {
            is[params.activation as usize].0[lane] = 1.0;
            has[params.activation as usize] = true;
        }
        Hidden { is, has, dropout: Lanes::ZERO, keep_scale: Lanes([1.0; LANES]), has_dropout: false }
    }

    /// Whether outputs alone tell the derivative: every lane is relu without dropout.
    pub fn is_plain_relu(&self) -> bool {
        !self.has_dropout && !self.has[1..].contains(&true)
    }

    fn has(&self, activation: Activation) -> bool {
        self.has[activation as usize]
    }

    /// Turns sums `z` into outputs and derivatives, dropout included.
    #[inline(always)]
    pub fn activate<V: Simd>(&self, z: &mut [Pair], derivatives: &mut [Pair], rows: usize, key: Key, step: u64) {
        for (pair, (z, derivatives)) in z.chunks_exact_mut(rows).zip(derivatives.chunks_exact_mut(rows)).enumerate() {
            for (block, (z, derivatives)) in z.chunks_mut(LANES).zip(derivatives.chunks_mut(LANES)).enumerate() {
                let mut uniforms = [Lanes([1.0; LANES]); 2];
                if self.has_dropout {
                    const ROWS_ON: Lanes = places(1, 16);
                    uniforms = self.draw::<V>(key, step, &ROWS_ON, block * LANES, pair);
                }
                for (row, (z, derivatives)) in z.iter_mut().zip(derivatives).enumerate() {
                    for half in 0..2 {
                        self.finish(&mut z[half], &mut derivatives[half], V::splat(uniforms[half].0[row]));
                    }
                }
            }
        }
    }

    /// The same for strips of one network.
    #[inline(always)]
    pub fn activate_strips<V: Simd>(
        &self,
        z: &mut [Lanes],
        derivatives: &mut [Lanes],
        rows: usize,
        key: Key,
        step: u64,
    ) {
        for (strip, (z, derivatives)) in z.chunks_exact_mut(rows).zip(derivatives.chunks_exact_mut(rows)).enumerate() {
            for (block, (z, derivatives)) in z.chunks_exact_mut(2).zip(derivatives.chunks_exact_mut(2)).enumerate() {
                let mut uniforms = [V::splat(1.0); 2];
                if self.has_dropout {
                    // Eight pairs of units of two rows.
                    const PAIRS_ON: Lanes = places(8, 2);
                    let [even, odd] = self.draw::<V>(key, step, &PAIRS_ON, 2 * block, strip * LANES / 2);
                    uniforms = V::load(&even).interleave(V::load(&odd));
                }
                for row in 0..2 {
                    self.finish(&mut z[row], &mut derivatives[row], uniforms[row]);
                }
            }
        }
    }

    /// [`recipe::dropout_uniforms`] of sixteen places, which lie at `offsets` from that of a row and a pair.
    #[inline(always)]
    fn draw<V: Simd>(&self, key: Key, step: u64, offsets: &Lanes, row: usize, pair: usize) -> [Lanes; 2] {
        let first = V::splat_bits(recipe::dropout_place(row, pair));
        let words = random::words(key, V::load(offsets).add_bits(first), step as u32);
        let mut uniforms = [Lanes::ZERO; 2];
        for (words, uniforms) in words.into_iter().zip(&mut uniforms) {
            random::uniform(words).store(uniforms);
        }
        uniforms
    }

    #[inline(always)]
    fn finish<V: Simd>(&self, z: &mut Lanes, derivatives: &mut Lanes, uniforms: V) {
        let (mut output, mut derivative) = self.apply(V::load(z));
        if self.has_dropout {
            let is_left_out = uniforms.less(V::load(&self.dropout));
            let scale = V::select(is_left_out, V::zero(), V::load(&self.keep_scale));
            output = output.mul(scale);
            derivative = derivative.mul(scale);
        }
        output.store(z);
        derivative.store(derivatives);
    }

    /// Each lane's own activation of `z` and its derivative; only what some lane has is computed.
    #[inline(always)]
    fn apply<V: Simd>(&self, z: V) -> (V, V) {
        let one = V::splat(1.0);
        let mut output = V::zero().max(z);
        let mut derivative = V::select(V::zero().less(z), one, V::zero());
        let mut choose = |activation: Activation, value: V, slope: V| {
            let is_chosen = V::zero().less(V::load(&self.is[activation as usize]));
            output = V::select(is_chosen, value, output);
            derivative = V::select(is_chosen, slope, derivative);
        };
        if self.has(Activation::Tanh) {
            let t = math::tanh(z);
            choose(Activation::Tanh, t, t.neg_mul_add(t, one));
        }
        if self.has(Activation::Gelu) {
            const ROOT: f32 = 0.797_884_6; // sqrt(2 / pi)
            const CUBIC: f32 = 0.044_715;
            let square = z.mul(z);
            let t = math::tanh(z.mul(V::splat(ROOT)).mul(square.mul_add(V::splat(CUBIC), one)));
            let half = V::splat(0.5);
            let gate = t.mul_add(half, half);
            let inner = square.mul_add(V::splat(3.0 * CUBIC * ROOT), V::splat(ROOT));
            let slope = t.neg_mul_add(t, one).mul(inner).mul(half).mul_add(z, gate);
            choose(Activation::Gelu, z.mul(gate), slope);
        }
        if self.has(Activation::Silu) {
            let gate = one.div(one.add(math::exp(V::zero().sub(z))));
            let value = z.mul(gate);
            choose(Activation::Silu, value, value.mul(one.sub(gate)).add(gate));
        }
        (output, derivative)
    }

    /// The gradient of a hidden layer's sums from the gradient of the layer above and its weights.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub fn backward<V: Simd>(
        &self,
        delta: &[Pair],
        rows: usize,
        weights: &[Pair],
        inputs: usize,
        outputs: &[Pair],
        derivatives: &[Pair],
        below: &mut [Pair],
    ) {
        let (outputs, derivatives) = (outputs.as_flattened(), derivatives.as_flattened());
        if self.is_plain_relu() {
            gemm::backward_lanes::<V, _>(delta, rows, weights, inputs, below, &PassPositive { outputs });
        } else {
            gemm::backward_lanes::<V, _>(delta, rows, weights, inputs, below, &TimesDerivative { derivatives });
        }
    }

    /// The same for strips of one network, whose `weights` are transposed: inputs fill the SIMD lanes.
    #[inline(always)]
    pub fn backward_strips<V: Simd>(
        &self,
        delta: &[Lanes],
        rows: usize,
        weights: Strips<'_>,
        outputs: &[Lanes],
        derivatives: &[Lanes],
        below: &mut [Lanes],
    ) {
        if self.is_plain_relu() {
            strips::product::<V, _>(delta, rows, weights, None, below, &PassPositive { outputs });
        } else {
            strips::product::<V, _>(delta, rows, weights, None, below, &TimesDerivative { derivatives });
        }
    }
}

/// The places of so many pairs of so many rows, as offsets from the first.
const fn places(pairs: usize, rows: usize) -> Lanes {
    let mut places = [0; LANES];
    let mut i = 0;
    while i < pairs * rows {
        places[i] = recipe::dropout_place(i / pairs, i % pairs);
        i += 1;
    }
    random::integers(places)
}

/// The gradient of the loss by the output layer's sums.
pub struct LossGradient {
    outputs: usize,
    real_rows: usize,
    /// The smoothed target of the true class, and of every other.
    on: Lanes,
    off: Lanes,
}

impl LossGradient {
    /// For a minibatch of `real_rows` rows; rows beyond them are padding and get a gradient of zero.
    pub fn new(params: &[MlpParams], outputs: usize, real_rows: usize) -> LossGradient {
        let (mut on, mut off) = (Lanes::ZERO, Lanes::ZERO);
        for (lane, params) in params.iter().enumerate() {
            off.0[lane] = params.label_smoothing / outputs as f32;
            on.0[lane] = 1.0 - params.label_smoothing + off.0[lane];
        }
        LossGradient { outputs, real_rows, on, off }
    }

    /// `(softmax - smoothed target) / rows`, in place of the logits.
    #[inline(always)]
    pub fn cross_entropy<V: Simd>(&self, logits: &mut [Pair], rows: usize, classes: &[u32]) {
        softmax::<V>(logits, rows, self.outputs);
        let share = V::splat(1.0 / self.real_rows as f32);
        let (on, off) = (V::load(&self.on), V::load(&self.off));
        for (pair, column) in logits.chunks_exact_mut(rows).enumerate() {
            for (row, values) in column.iter_mut().enumerate() {
                for (half, value) in values.iter_mut().enumerate() {
                    let output = 2 * pair + half;
                    if row >= self.real_rows || output >= self.outputs {
                        *value = Lanes::ZERO;
                    } else {
                        let target = if classes[row] as usize == output { on } else { off };
                        V::load(value).sub(target).mul(share).store(value);
                    }
                }
            }
        }
    }

    /// The same for strips of one network, of which each SIMD lane has the same smoothing.
    #[inline(always)]
    pub fn cross_entropy_strips<V: Simd>(
        &self,
        logits: &mut [Lanes],
        rows: usize,
        classes: &[u32],
        turned: &mut [Pair],
    ) {
        softmax_strips::<V>(logits, rows, self.outputs, turned);
        let (share, on, off) = (1.0 / self.real_rows as f32, self.on.0[0], V::load(&self.off));
        for (strip, column) in logits.chunks_exact_mut(rows).enumerate() {
            let (real, padding) = column.split_at_mut(self.real_rows);
            padding.fill(Lanes::ZERO);
            let outputs = self.outputs.saturating_sub(strip * LANES).min(LANES);
            for (values, &class) in real.iter_mut().zip(classes) {
                let probabilities = *values;
                V::load(values).sub(off).mul(V::splat(share)).store(values);
                if let Some(truth) = (class as usize).checked_sub(strip * LANES).filter(|truth| *truth < LANES) {
                    values.0[truth] = (probabilities.0[truth] - on) * share;
                }
                values.0[outputs..].fill(0.0);
            }
        }
    }

    /// The same as [`LossGradient::squared_error`] for strips of one network.
    pub fn squared_error_strips(&self, predictions: &mut [Lanes], targets: &[f32]) {
        let share = 1.0 / self.real_rows as f32;
        let (real, padding) = predictions.split_at_mut(self.real_rows);
        padding.fill(Lanes::ZERO);
        for (values, target) in real.iter_mut().zip(targets) {
            let error = (values.0[0] - target) * share;
            *values = Lanes::ZERO;
            values.0[0] = error;
        }
    }

    /// Multiplies each row's gradient by what the row counts for in each lane.
    #[inline(always)]
    pub fn weigh<V: Simd>(gradient: &mut [Pair], rows: usize, weights: impl Iterator<Item = Lanes> + Clone) {
        for column in gradient.chunks_exact_mut(rows) {
            for (values, weight) in column.iter_mut().zip(weights.clone()) {
                values.iter_mut().for_each(|value| V::load(value).mul(V::load(&weight)).store(value));
            }
        }
    }

    /// The same for strips of one network.
    #[inline(always)]
    pub fn weigh_strips<V: Simd>(gradient: &mut [Lanes], rows: usize, weights: impl Iterator<Item = Lanes> + Clone) {
        for column in gradient.chunks_exact_mut(rows) {
            for (value, weight) in column.iter_mut().zip(weights.clone()) {
                V::load(value).mul(V::splat(weight.0[0])).store(value);
            }
        }
    }

    /// `(prediction - target) / rows`, in place of the predictions.
    #[inline(always)]
    pub fn squared_error<V: Simd>(&self, predictions: &mut [Pair], rows: usize, targets: &[f32]) {
        let share = V::splat(1.0 / self.real_rows as f32);
        for (row, values) in predictions[..rows].iter_mut().enumerate() {
            values[1] = Lanes::ZERO;
            if row >= self.real_rows {
                values[0] = Lanes::ZERO;
            } else {
                V::load(&values[0]).sub(V::splat(targets[row])).mul(share).store(&mut values[0]);
            }
        }
    }
}

/// Softmax over the outputs of each row, in place.
#[inline(always)]
pub fn softmax<V: Simd>(logits: &mut [Pair], rows: usize, outputs: usize) {
    for row in 0..rows {
        let mut largest = V::load(&logits[row][0]);
        for output in 1..outputs {
            largest = V::load(&logits[output / 2 * rows + row][output % 2]).max(largest);
        }
        let mut sum = V::zero();
        for output in 0..outputs {
            let place = &mut logits[output / 2 * rows + row][output % 2];
            let e = math::exp(V::load(place).sub(largest));
            sum = sum.add(e);
            e.store(place);
        }
        let scale = V::splat(1.0).div(sum);
        for output in 0..outputs {
            let place = &mut logits[output / 2 * rows + row][output % 2];
            V::load(place).mul(scale).store(place);
        }
    }
}

/// Softmax over the outputs of each row of one network's strips, in place. In `turned`, a panel of
/// [`turned_rows`]`(rows)`, SIMD lanes are rows, so that a row's sum has the order that [`softmax`] gives it.
#[inline(always)]
pub fn softmax_strips<V: Simd>(logits: &mut [Lanes], rows: usize, outputs: usize, turned: &mut [Pair]) {
    let height = turned_rows(rows);
    for (strip, column) in logits.chunks_exact(rows).enumerate() {
        let panels = &mut turned[strip * LANES / 2 * height..];
        for (place, block) in column.chunks(LANES).enumerate() {
            for (output, values) in transpose(load_block::<V>(block)).into_iter().enumerate() {
                values.store(&mut panels[output / 2 * height + place][output % 2]);
            }
        }
    }
    softmax::<V>(turned, height, outputs);
    for (strip, column) in logits.chunks_exact_mut(rows).enumerate() {
        let panels = &turned[strip * LANES / 2 * height..];
        for (place, block) in column.chunks_mut(LANES).enumerate() {
            let mut values = [V::zero(); LANES];
            for (output, value) in values.iter_mut().enumerate() {
                *value = V::load(&panels[output / 2 * height + place][output % 2]);
            }
            for (value, to) in transpose(values).into_iter().zip(block) {
                value.store(to);
            }
        }
    }
}

/// Pairs of a column of what [`softmax_strips`] turns.
pub fn turned_rows(rows: usize) -> usize {
    rows.div_ceil(LANES)
}

/// Brings regression predictions back into the target's own units, in place.
#[inline(always)]
pub fn unscale<V: Simd>(predictions: &mut [Lanes], target: Affine) {
    for values in predictions {
        V::load(values).mul_add(V::splat(target.scale), V::splat(target.shift)).store(values);
    }
}
