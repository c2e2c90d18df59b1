//! A step of the optimizer with its slopes.

use super::{DECAY, Dual, LANES, MOMENTUM, RATE};
use crate::models::mlp::recipe::{BETA2, EPSILON, MlpParams, Optimizer};

/// The optimizer's constants of one step, and their slopes.
pub(super) struct Step {
    params: MlpParams,
    /// The schedule's factor, which is the rate's slope along the learning rate.
    factor: f64,
    rate: f64,
    /// `momentum^t` and its slope along the momentum, `BETA2^t`.
    momentum_power: [f64; 2],
    beta2_power: f64,
}

impl Step {
    /// Before the first step.
    pub(super) fn new(params: MlpParams) -> Step {
        Step { params, factor: 1.0, rate: 0.0, momentum_power: [1.0, 0.0], beta2_power: 1.0 }
    }

    /// The constants of the step that follows; `step` counts from 0.
    pub(super) fn next(&mut self, step: u64, steps: u64) {
        let [power, slope] = self.momentum_power;
        let momentum = f64::from(self.params.momentum);
        self.momentum_power = [power * momentum, slope * momentum + power];
        self.beta2_power *= f64::from(BETA2);
        self.factor = self.params.schedule.factor(step, steps);
        self.rate = f64::from(self.params.learning_rate) * self.factor;
    }

    /// Moves weights along their gradients; `array` has them and their moments.
    #[inline(always)]
    pub(super) fn follow<const T: usize>(&self, array: [&mut Dual<T>; 3], gradient: &Dual<T>, decays: bool) {
        let [weight, first, second] = array;
        let momentum = f64::from(self.params.momentum);
        let is_adam = self.params.optimizer == Optimizer::Adam;
        let share = if is_adam { 1.0 - momentum } else { 1.0 };
        let left = f64::from(u8::from(is_adam));
        for lane in 0..LANES {
            let old = first[0].0[lane];
            for at in 0..T {
                first[at].0[lane] = momentum * first[at].0[lane] + share * gradient[at].0[lane];
            }
            first[MOMENTUM].0[lane] += old - left * gradient[0].0[lane];
        }
        let mut moved = *first;
        if is_adam {
            self.scale(&mut moved, second, gradient);
        }
        let decay = if decays { f64::from(self.params.weight_decay) } else { 0.0 };
        let (keep, decayed) = (1.0 - self.rate * decay, if decays { self.rate } else { 0.0 });
        for lane in 0..LANES {
            let old = weight[0].0[lane];
            for at in 0..T {
                weight[at].0[lane] = keep * weight[at].0[lane] - self.rate * moved[at].0[lane];
            }
            weight[RATE].0[lane] -= self.factor * (decay * old + moved[0].0[lane]);
            weight[DECAY].0[lane] -= decayed * old;
        }
    }

    /// Adam's second moment, and the first by its root.
    #[inline(always)]
    pub(super) fn scale<const T: usize>(&self, first: &mut Dual<T>, second: &mut Dual<T>, gradient: &Dual<T>) {
        let (beta2, epsilon) = (f64::from(BETA2), f64::from(EPSILON));
        let [power, power_slope] = self.momentum_power;
        let (first_share, second_share) = (1.0 / (1.0 - power), 1.0 / (1.0 - self.beta2_power));
        for lane in 0..LANES {
            let g = gradient[0].0[lane];
            second[0].0[lane] = beta2 * second[0].0[lane] + (1.0 - beta2) * g * g;
            let scale = 1.0 / (second[0].0[lane] * second_share + epsilon * epsilon).sqrt();
            let bend = -0.5 * scale * scale * scale * second_share * first[0].0[lane];
            for at in 1..T {
                second[at].0[lane] = beta2 * second[at].0[lane] + 2.0 * (1.0 - beta2) * g * gradient[at].0[lane];
                first[at].0[lane] = (first[at].0[lane] * scale + bend * second[at].0[lane]) * first_share;
            }
            first[0].0[lane] *= scale * first_share;
            first[MOMENTUM].0[lane] += first[0].0[lane] * power_slope * first_share;
        }
    }
}
