//! Slopes through training against differences of a plain loop.

use super::super::pull;
use super::super::testing::{assert_same, features, targets, weights};
use super::*;
use crate::models::mlp::recipe::{BETA2, EPSILON, Optimizer, Schedule};

const WIDTH: usize = 3;
const ROWS_TRAINED: usize = 45;
const ROWS_SCORED: usize = 21;
const EPOCHS: u64 = 3;
const BUDGET: u64 = 5;
const KEY: Key = Key::from_seed(17);

/// A plain loop over rows and weights, with hyperparameters in f64: `NAMES` in their order.
struct Plain<'a> {
    training: &'a Training<'a>,
    hyper: [f64; NAMES.len()],
    /// `[inputs][units]`: a weight and its two moments; the last input is 1.
    layers: Vec<Vec<Vec<[f64; 3]>>>,
}

impl Plain<'_> {
    fn train<'a>(training: &'a Training<'a>, hyper: [f64; NAMES.len()]) -> Plain<'a> {
        let params = training.params;
        let layer = |(index, (inputs, units)): (usize, (usize, usize))| {
            let key = recipe::start_key(KEY, if index == params.layers as usize { MAX_LAYERS } else { index });
            let bound = params.start_bound(index, inputs);
            let weight = |input, unit| f64::from(bound * recipe::start_uniform(key, input, unit));
            let row = |input| (0..units).map(|unit| [weight(input, unit), 0.0, 0.0]).collect();
            (0..inputs).map(row).chain([vec![[0.0; 3]; units]]).collect()
        };
        let layers = params.shapes(WIDTH, training.outputs).enumerate().map(layer).collect();
        let mut plain = Plain { training, hyper, layers };
        let mut step = 0;
        for epoch in 0..EPOCHS {
            for minibatch in recipe::epoch_order(KEY, epoch, ROWS_TRAINED).chunks(params.batch as usize) {
                plain.step(minibatch, step);
                step += 1;
            }
        }
        plain
    }

    fn step(&mut self, minibatch: &[u32], step: u64) {
        let Training { params, x, y, weights, .. } = *self.training;
        let zeros = |layer: &Vec<Vec<[f64; 3]>>| layer.iter().map(|row| vec![0.0; row.len()]).collect();
        let mut gradients: Vec<Vec<Vec<f64>>> = self.layers.iter().map(zeros).collect();
        for (place, &row) in minibatch.iter().enumerate() {
            let row = row as usize;
            let (inputs, slopes) = self.forward(&x.values[row * WIDTH..][..WIDTH], Some((step, place)));
            let mut delta = inputs.last().expect("outputs").clone();
            match y {
                Targets::Values(y) => delta[0] -= f64::from(y[row]),
                Targets::Classes(codes) => {
                    let (z, smoothing) = (delta.clone(), self.hyper[3]);
                    pull::softmax(&z, &mut delta);
                    delta.iter_mut().for_each(|delta| *delta -= smoothing / z.len() as f64);
                    delta[codes[row] as usize] -= 1.0 - smoothing;
                }
            }
            let share = weights.map_or(1.0, |weights| f64::from(weights[row])) / minibatch.len() as f64;
            delta.iter_mut().for_each(|delta| *delta *= share);
            for index in (0..self.layers.len()).rev() {
                for (input, a) in inputs[index].iter().chain([&1.0]).enumerate() {
                    for (unit, delta) in delta.iter().enumerate() {
                        gradients[index][input][unit] += a * delta;
                    }
                }
                if index > 0 {
                    let back = |(row, slope): (&Vec<[f64; 3]>, &f64)| {
                        slope * row.iter().zip(&delta).map(|(w, delta)| w[0] * delta).sum::<f64>()
                    };
                    delta = self.layers[index].iter().zip(&slopes[index - 1]).map(back).collect();
                }
            }
        }
        let [learning_rate, momentum, decay, _] = self.hyper;
        let steps = params.steps_per_epoch(ROWS_TRAINED) * BUDGET;
        let rate = learning_rate * params.schedule.factor(step, steps);
        for (layer, gradients) in self.layers.iter_mut().zip(gradients) {
            let last = layer.len() - 1;
            for (input, (row, gradients)) in layer.iter_mut().zip(gradients).enumerate() {
                for ([w, m, v], g) in row.iter_mut().zip(gradients) {
                    *w *= if input == last { 1.0 } else { 1.0 - rate * decay };
                    if params.optimizer == Optimizer::Sgd {
                        *m = momentum * *m + g;
                        *w -= rate * *m;
                        continue;
                    }
                    let (beta2, epsilon, t) = (f64::from(BETA2), f64::from(EPSILON), step as i32 + 1);
                    *m = momentum * *m + (1.0 - momentum) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    let (m, v) = (*m / (1.0 - momentum.powi(t)), *v / (1.0 - beta2.powi(t)));
                    *w -= rate * m / (v + epsilon * epsilon).sqrt();
                }
            }
        }
    }

    /// What goes into each layer and comes out of the last; the slopes of each hidden unit.
    fn forward(&self, x: &[f32], training: Option<(u64, usize)>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let params = self.training.params;
        let mut inputs = vec![x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>()];
        let mut slopes = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut sums = vec![0.0; layer[0].len()];
            for (a, row) in inputs[index].iter().chain([&1.0]).zip(layer) {
                sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += a * weight[0]);
            }
            if index + 1 < self.layers.len() {
                let mut slope = vec![0.0; sums.len()];
                for (unit, z) in sums.iter_mut().enumerate() {
                    let key = recipe::dropout_key(KEY, index);
                    let is_kept = training.is_none_or(|(step, row)| {
                        recipe::dropout_uniforms(key, step, row, unit / 2)[unit % 2] >= params.dropout
                    });
                    let kept = f64::from(1.0 / (1.0 - params.dropout));
                    let scale = if !is_kept {
                        0.0
                    } else if training.is_some() {
                        kept
                    } else {
                        1.0
                    };
                    let value = |z: f64| curve(params.activation, z).0;
                    slope[unit] = scale * curve(params.activation, *z).1;
                    *z = scale * value(*z);
                }
                slopes.push(slope);
            }
            inputs.push(sums);
        }
        (inputs, slopes)
    }
}

#[test]
fn activations_have_the_slopes_of_their_values() {
    for activation in Activation::NAMES.iter().enumerate().map(|(code, _)| Activation::from_code(code as f64)) {
        for z in [-2.3, -0.4, 0.2, 1.7] {
            let (_, slope, bend) = curve(activation, z);
            let difference = |of: fn((f64, f64, f64)) -> f64| {
                (of(curve(activation, z + 1e-5)) - of(curve(activation, z - 1e-5))) / 2e-5
            };
            assert!((difference(|curve| curve.0) - slope).abs() < 1e-8, "{activation:?} at {z}");
            assert!((difference(|curve| curve.1) - bend).abs() < 1e-8, "{activation:?} at {z}");
        }
    }
}

/// Of a score of held-out rows, against differences along every hyperparameter.
fn check(params: MlpParams, outputs: usize) {
    let (x, held) = (features(1, ROWS_TRAINED, WIDTH), features(2, ROWS_SCORED, WIDTH));
    let (y, y_held) = (targets(1, &x, WIDTH), targets(2, &held, WIDTH));
    let code = |y: &f32| ((y + 1.5).clamp(0.0, 2.9) as u32) % outputs as u32;
    let (codes, codes_held): (Vec<u32>, Vec<u32>) = (y.iter().map(code).collect(), y_held.iter().map(code).collect());
    let (weight, weight_held) = (weights(1, ROWS_TRAINED), weights(2, ROWS_SCORED));
    let training = Training {
        key: KEY,
        params,
        x: Features { values: &x, width: WIDTH },
        y: if outputs == 1 { Targets::Values(&y) } else { Targets::Classes(&codes) },
        outputs,
        weights: Some(&weight),
        epochs: EPOCHS,
        budget: BUDGET,
    };
    let sum = |hyper: [f64; NAMES.len()]| -> f64 {
        let plain = Plain::train(&training, hyper);
        let rows = held.chunks_exact(WIDTH).zip(&weight_held).enumerate();
        rows.map(|(row, (x, weight))| {
            let z = plain.forward(x, None).0.pop().expect("outputs");
            let mut p = vec![0.0; outputs];
            pull::softmax(&z, &mut p);
            let error = 0.3 + 1.4 * z[0] - f64::from(y_held[row]);
            let loss = if outputs == 1 { error * error } else { -libm::log(p[codes_held[row] as usize]) };
            f64::from(*weight) * loss
        })
        .sum()
    };
    let set = Features { values: &held, width: WIDTH };
    let replayed = training.replay(Level::detect(), &[set], &[]);
    let pulls = |z: &[f64]| match outputs {
        1 => pull::squared(z, &y_held, Some(&weight_held), 0.3, 1.4),
        _ => pull::log_loss(z, &codes_held, Some(&weight_held), outputs),
    };
    let found = replayed.outputs[0].along(&pulls(&replayed.outputs[0].values));
    let hyper = [params.learning_rate, params.momentum, params.weight_decay, params.label_smoothing].map(f64::from);
    for (at, found) in found.into_iter().enumerate().take(if outputs == 1 { 3 } else { 4 }) {
        // So near that no unit of relu's crosses its kink.
        let step = 1e-5 * hyper[at];
        let moved = |by: f64| {
            let mut hyper = hyper;
            hyper[at] += by;
            sum(hyper)
        };
        assert_same(found, (moved(step) - moved(-step)) / (2.0 * step));
    }
    assert_eq!(found[3].is_nan(), outputs == 1);
}

#[test]
fn slopes_of_scores_are_those_of_training_again() {
    let mut case = 0;
    for (optimizer, learning_rate) in [(Optimizer::Adam, 0.02), (Optimizer::Sgd, 0.1)] {
        for activation in [Activation::Relu, Activation::Tanh, Activation::Gelu, Activation::Silu] {
            for (layers, outputs) in [(1, 1), (1, 3), (2, 1), (2, 2)] {
                let params = MlpParams {
                    hidden: if layers == 1 { [6, 0, 0] } else { [6, 5, 0] },
                    layers,
                    activation,
                    optimizer,
                    learning_rate,
                    momentum: 0.75,
                    weight_decay: 0.3,
                    batch: [16, 10, 64][case % 3],
                    schedule: Schedule::from_code((case % 3) as f64),
                    dropout: if case.is_multiple_of(5) { 0.25 } else { 0.0 },
                    label_smoothing: if outputs == 1 { 0.0 } else { 0.1 },
                    is_balanced: false,
                };
                check(params, outputs);
                case += 1;
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let (x, codes) = (features(1, ROWS_TRAINED, WIDTH), [0, 1, 2].repeat(ROWS_TRAINED / 3));
    let params = MlpParams {
        hidden: [9, 5, 0],
        layers: 2,
        activation: Activation::Gelu,
        optimizer: Optimizer::Adam,
        learning_rate: 0.01,
        momentum: 0.9,
        weight_decay: 0.1,
        batch: 16,
        schedule: Schedule::Cosine,
        dropout: 0.2,
        label_smoothing: 0.1,
        is_balanced: false,
    };
    let x = Features { values: &x, width: WIDTH };
    let y = Targets::Classes(&codes);
    let training = Training { key: KEY, params, x, y, outputs: 3, weights: None, epochs: EPOCHS, budget: BUDGET };
    let bits = |level| {
        let replayed = training.replay(level, &[x], &[]);
        let slopes = replayed.outputs[0].slopes.as_flattened().iter();
        slopes.chain(&replayed.outputs[0].values).map(|value| value.to_bits()).collect::<Vec<u64>>()
    };
    let plain = bits(Level::Plain);
    assert!(Level::available().into_iter().all(|level| bits(level) == plain));
}
