//! Adam and SGD over sixteen SIMD lanes, of sixteen networks or of one network's units: applied to a tile's gradients
//! while they are still in the cache, so that no gradient is ever stored.

use super::recipe::{BETA2, EPSILON, MlpParams, Optimizer};
use crate::backend::cpu::gemm::{Consumer, Pair};
use crate::backend::cpu::math;
use crate::backend::cpu::simd::{LANES, Lanes, Simd};

// Moments of units that have died decay geometrically into denormal numbers, whose arithmetic is a hundred times slower
// on many processors. What follows keeps them away for one operation a moment; neither moves a weight by one bit.

/// Added to the first moment and taken away again: rounds it to multiples of 2^-99.
const NO_DENORMALS: f32 = f32::from_bits((127 - 76) << 23);
/// The least second moment, far below the square of Adam's epsilon.
const LEAST_SQUARE: f32 = 1e-30;

/// Every lane's constants of one step.
pub struct Step {
    /// The rate times Adam's bias corrections.
    rate: Lanes,
    /// `1 - rate * weight_decay`
    decay: Lanes,
    /// What the old first moment is multiplied with.
    momentum: Lanes,
    /// What the gradient is multiplied with in the first moment: `1 - momentum` for Adam, 1 for SGD.
    share: Lanes,
    /// Adam's epsilon where it stands beside the uncorrected second moment.
    floor: Lanes,
    is_adam: Lanes,
    /// `momentum^t` of each lane and `BETA2^t`.
    momentum_power: [f64; LANES],
    beta2_power: f64,
}

impl Step {
    /// Before the first step.
    pub fn new(params: &[MlpParams]) -> Step {
        let mut step = Step {
            rate: Lanes::ZERO,
            decay: Lanes::ZERO,
            momentum: Lanes::ZERO,
            share: Lanes::ZERO,
            floor: Lanes([1.0; LANES]),
            is_adam: Lanes::ZERO,
            momentum_power: [1.0; LANES],
            beta2_power: 1.0,
        };
        for (lane, params) in params.iter().enumerate() {
            let is_adam = params.optimizer == Optimizer::Adam;
            step.momentum.0[lane] = params.momentum;
            step.share.0[lane] = if is_adam { 1.0 - params.momentum } else { 1.0 };
            step.is_adam.0[lane] = f32::from(u8::from(is_adam));
        }
        step
    }

    /// As if `steps` steps had been taken: the powers are running products, so that a resumed lane keeps its bits.
    pub fn skip_to(&mut self, steps: u64) {
        for _ in 0..steps {
            self.multiply_powers();
        }
    }

    fn multiply_powers(&mut self) {
        for (power, momentum) in self.momentum_power.iter_mut().zip(self.momentum.0) {
            *power *= f64::from(momentum);
        }
        self.beta2_power *= f64::from(BETA2);
    }

    /// The constants of the step that follows; `step` counts from 0.
    pub fn next(&mut self, params: &[MlpParams], step: u64, steps: u64) {
        self.multiply_powers();
        let second = 1.0 - self.beta2_power;
        for (lane, params) in params.iter().enumerate() {
            let rate = params.rate(step, steps);
            self.decay.0[lane] = 1.0 - rate * params.weight_decay;
            let corrected = f64::from(rate) * second.sqrt() / (1.0 - self.momentum_power[lane]);
            self.rate.0[lane] = if params.optimizer == Optimizer::Adam { corrected as f32 } else { rate };
            self.floor.0[lane] = (f64::from(EPSILON) * f64::from(EPSILON) * second) as f32;
        }
    }

    /// Gives every SIMD lane the first one's constants: for one network whose units fill the lanes.
    pub fn spread(&mut self) {
        let constants = [&mut self.rate, &mut self.decay, &mut self.momentum, &mut self.share, &mut self.floor];
        for lanes in constants.into_iter().chain([&mut self.is_adam]) {
            *lanes = Lanes([lanes.0[0]; LANES]);
        }
    }
}

/// Takes the gradients of one array of a layer and moves its weights.
pub struct Update<'a, V: Simd> {
    weights: &'a mut [Lanes],
    first: &'a mut [Lanes],
    second: &'a mut [Lanes],
    rate: V,
    decay: V,
    momentum: V,
    share: V,
    floor: V,
    is_adam: V::Mask,
}

impl<'a, V: Simd> Update<'a, V> {
    /// `arrays`: the values, first and second moments; `decays` for weights, not for biases.
    #[inline(always)]
    pub fn new(step: &Step, arrays: [&'a mut [Lanes]; 3], decays: bool) -> Self {
        let [weights, first, second] = arrays;
        Update {
            weights,
            first,
            second,
            rate: V::load(&step.rate),
            decay: if decays { V::load(&step.decay) } else { V::splat(1.0) },
            momentum: V::load(&step.momentum),
            share: V::load(&step.share),
            floor: V::load(&step.floor),
            is_adam: V::zero().less(V::load(&step.is_adam)),
        }
    }

    /// Biases of networks side by side: the gradient is the sum of each column of `delta`, panels of `rows` rows.
    #[inline(always)]
    pub fn columns_of(&mut self, delta: &[Pair], rows: usize) {
        for (pair, column) in delta.chunks_exact(rows).enumerate() {
            let mut sums = [V::zero(), V::zero()];
            for row in column {
                sums[0] = sums[0].add(V::load(&row[0]));
                sums[1] = sums[1].add(V::load(&row[1]));
            }
            let mut gradient = [Lanes::ZERO; 2];
            sums[0].store(&mut gradient[0]);
            sums[1].store(&mut gradient[1]);
            self.follow(2 * pair, &gradient);
        }
    }

    /// Biases of one network: the same of strips.
    #[inline(always)]
    pub fn columns_of_strips(&mut self, delta: &[Lanes], rows: usize) {
        for (strip, column) in delta.chunks_exact(rows).enumerate() {
            let mut sum = V::zero();
            for row in column {
                sum = sum.add(V::load(row));
            }
            let mut gradient = Lanes::ZERO;
            sum.store(&mut gradient);
            self.follow(strip, &[gradient]);
        }
    }

    /// Moves the vectors from `first` on.
    #[inline(always)]
    fn follow(&mut self, first: usize, gradients: &[Lanes]) {
        let range = first..first + gradients.len();
        let weights = &mut self.weights[range.clone()];
        let moments = self.first[range.clone()].iter_mut().zip(&mut self.second[range]);
        for ((gradient, weight), (m, v)) in gradients.iter().zip(weights).zip(moments) {
            let g = V::load(gradient);
            let moment = V::load(m).mul_add(self.momentum, g.mul_add(self.share, V::splat(NO_DENORMALS)));
            let moment = moment.sub(V::splat(NO_DENORMALS));
            moment.store(m);
            let square = g.mul(V::splat(1.0 - BETA2));
            let square = square.mul_add(g, V::load(v).mul(V::splat(BETA2)));
            let square = V::splat(LEAST_SQUARE).max(square);
            square.store(v);
            let scale = math::reciprocal_sqrt(square.add(self.floor));
            let scale = V::select(self.is_adam, scale, V::splat(1.0));
            let step = moment.mul(self.rate);
            let decayed = V::load(weight).mul(self.decay);
            step.neg_mul_add(scale, decayed).store(weight);
        }
    }
}

impl<V: Simd> Consumer<V> for Update<'_, V> {
    #[inline(always)]
    fn consume(&mut self, first: usize, gradients: &[Pair]) {
        self.follow(2 * first, gradients.as_flattened());
    }
}
