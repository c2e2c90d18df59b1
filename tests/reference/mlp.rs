//! The perceptron as a plain loop in f64: what `recipe` says, one network, one row, one weight at a time. Never tuned.

use thousandfold::base::random::Key;
use thousandfold::data::{Fold, Target};
use thousandfold::models::mlp::recipe::{self, Activation, BETA2, EPSILON, MAX_LAYERS, MlpParams, Optimizer};

/// A layer: weights `[inputs][units]` and biases, each with its two moments.
struct Layer {
    weights: Vec<Vec<[f64; 3]>>,
    biases: Vec<[f64; 3]>,
}

/// A network after its training.
pub struct Mlp {
    params: MlpParams,
    layers: Vec<Layer>,
    shift: f64,
    scale: f64,
    is_classifier: bool,
    /// What each training row counts for; empty where all count alike.
    weights: Vec<f64>,
}

/// Own weights times those of balanced classes, about a mean of 1.
fn row_weights(fold: &Fold, is_balanced: bool) -> Vec<f64> {
    let n = fold.train.y.len();
    let mut weights: Vec<f64> = match &fold.train.weight {
        Some(weights) => weights.iter().map(|weight| f64::from(*weight)).collect(),
        None => vec![1.0; n],
    };
    if let (Target::Classes { codes, .. }, true) = (&fold.train.y, is_balanced) {
        for (weight, code) in weights.iter_mut().zip(codes) {
            *weight /= codes.iter().filter(|other| *other == code).count() as f64;
        }
    }
    let mean = weights.iter().sum::<f64>() / n as f64;
    weights.iter().map(|weight| weight / mean).collect()
}

fn activate(activation: Activation, z: f64) -> (f64, f64) {
    match activation {
        Activation::Relu => (z.max(0.0), if z > 0.0 { 1.0 } else { 0.0 }),
        Activation::Tanh => (z.tanh(), 1.0 - z.tanh() * z.tanh()),
        Activation::Gelu => {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let t = (root * (z + 0.044715 * z * z * z)).tanh();
            let slope = root * (1.0 + 3.0 * 0.044715 * z * z);
            (0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * slope)
        }
        Activation::Silu => {
            let gate = 1.0 / (1.0 + (-z).exp());
            (z * gate, gate + z * gate * (1.0 - gate))
        }
    }
}

impl Mlp {
    /// Trains on a fold for `epochs` of the `budget` that the schedule is made for.
    pub fn train(fold: &Fold, params: MlpParams, epochs: u64, budget: u64) -> Mlp {
        let (rows, features) = fold.train.x.dim();
        let outputs = fold.train.y.outputs();
        let mut mlp = Mlp {
            params,
            layers: Vec::new(),
            shift: f64::from(fold.target.shift),
            scale: f64::from(fold.target.scale),
            is_classifier: matches!(fold.train.y, Target::Classes { .. }),
            weights: row_weights(fold, params.is_balanced),
        };
        for (index, (inputs, units)) in params.shapes(features, outputs).enumerate() {
            let is_output = index == params.layers as usize;
            let key = recipe::start_key(fold.key, if is_output { MAX_LAYERS } else { index });
            let bound = f64::from(params.start_bound(index, inputs));
            let weight = |input, unit| [bound * f64::from(recipe::start_uniform(key, input, unit)), 0.0, 0.0];
            mlp.layers.push(Layer {
                weights: (0..inputs).map(|input| (0..units).map(|unit| weight(input, unit)).collect()).collect(),
                biases: vec![[0.0; 3]; units],
            });
        }
        let steps = params.steps_per_epoch(rows) * budget;
        let mut step = 0;
        for epoch in 0..epochs {
            let order = recipe::epoch_order(fold.key, epoch, rows);
            for minibatch in order.chunks(params.batch as usize) {
                mlp.step(fold, minibatch, step, steps);
                step += 1;
            }
        }
        mlp
    }

    fn step(&mut self, fold: &Fold, minibatch: &[u32], step: u64, steps: u64) {
        let params = self.params;
        let mut bias_gradients: Vec<Vec<f64>> = self.layers.iter().map(|layer| vec![0.0; layer.biases.len()]).collect();
        let mut weight_gradients: Vec<Vec<Vec<f64>>> = self
            .layers
            .iter()
            .map(|layer| layer.weights.iter().map(|units| vec![0.0; units.len()]).collect())
            .collect();
        for (place, &row) in minibatch.iter().enumerate() {
            let x: Vec<f64> = fold.train.x.row(row as usize).iter().map(|&x| f64::from(x)).collect();
            let (outputs, slopes) = self.forward(&x, Some((fold.key, step, place)));
            let mut delta = self.loss_gradient(fold, row as usize, outputs.last().unwrap());
            let counts = self.weights.get(row as usize).copied().unwrap_or(1.0);
            delta.iter_mut().for_each(|d| *d *= counts / minibatch.len() as f64);
            for index in (0..self.layers.len()).rev() {
                let below: &[f64] = if index == 0 { &x } else { &outputs[index - 1] };
                for (input, a) in below.iter().enumerate() {
                    for (unit, d) in delta.iter().enumerate() {
                        weight_gradients[index][input][unit] += a * d;
                    }
                }
                for (unit, d) in delta.iter().enumerate() {
                    bias_gradients[index][unit] += d;
                }
                if index > 0 {
                    let weights = &self.layers[index].weights;
                    delta = (0..below.len())
                        .map(|input| {
                            let sum: f64 = delta.iter().zip(&weights[input]).map(|(d, w)| d * w[0]).sum();
                            sum * slopes[index - 1][input]
                        })
                        .collect();
                }
            }
        }
        let rate = f64::from(params.rate(step, steps));
        for (layer, (weights, biases)) in self.layers.iter_mut().zip(weight_gradients.iter().zip(&bias_gradients)) {
            for (weights, gradients) in layer.weights.iter_mut().zip(weights) {
                for (weight, gradient) in weights.iter_mut().zip(gradients) {
                    update(&params, weight, *gradient, rate, f64::from(params.weight_decay), step);
                }
            }
            for (bias, gradient) in layer.biases.iter_mut().zip(biases) {
                update(&params, bias, *gradient, rate, 0.0, step);
            }
        }
    }

    /// Outputs of every layer, and the slope of each hidden unit with its dropout.
    fn forward(&self, x: &[f64], training: Option<(Key, u64, usize)>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let mut outputs: Vec<Vec<f64>> = Vec::new();
        let mut slopes = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let below: &[f64] = if index == 0 { x } else { &outputs[index - 1] };
            let mut sums: Vec<f64> = layer.biases.iter().map(|bias| bias[0]).collect();
            for (a, weights) in below.iter().zip(&layer.weights) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += a * weight[0];
                }
            }
            if index + 1 < self.layers.len() {
                let mut slope = vec![0.0; sums.len()];
                for (unit, sum) in sums.iter_mut().enumerate() {
                    (*sum, slope[unit]) = activate(self.params.activation, *sum);
                    if let Some((key, step, row)) = training
                        && self.params.dropout > 0.0
                    {
                        let key = recipe::dropout_key(key, index);
                        let uniform = recipe::dropout_uniforms(key, step, row, unit / 2)[unit % 2];
                        let is_kept = uniform >= self.params.dropout;
                        let scale = if is_kept { 1.0 / (1.0 - f64::from(self.params.dropout)) } else { 0.0 };
                        *sum *= scale;
                        slope[unit] *= scale;
                    }
                }
                slopes.push(slope);
            }
            outputs.push(sums);
        }
        (outputs, slopes)
    }

    fn loss_gradient(&self, fold: &Fold, row: usize, outputs: &[f64]) -> Vec<f64> {
        match &fold.train.y {
            Target::Classes { codes, classes } => {
                let smoothing = f64::from(self.params.label_smoothing);
                let mut gradient = softmax(outputs);
                for (class, g) in gradient.iter_mut().enumerate() {
                    let on = if codes[row] as usize == class { 1.0 - smoothing } else { 0.0 };
                    *g -= on + smoothing / *classes as f64;
                }
                gradient
            }
            Target::Values(values) => vec![outputs[0] - (f64::from(values[row]) - self.shift) / self.scale],
        }
    }

    /// Probabilities, or the value in the target's own units.
    pub fn predict(&self, x: &[f32]) -> Vec<f64> {
        let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let outputs = self.forward(&x, None).0.pop().unwrap();
        if self.is_classifier { softmax(&outputs) } else { vec![outputs[0] * self.scale + self.shift] }
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

fn update(params: &MlpParams, [w, m, v]: &mut [f64; 3], gradient: f64, rate: f64, decay: f64, step: u64) {
    let momentum = f64::from(params.momentum);
    *w *= 1.0 - rate * decay;
    match params.optimizer {
        Optimizer::Adam => {
            let (beta2, epsilon) = (f64::from(BETA2), f64::from(EPSILON));
            let t = step as i32 + 1;
            *m = momentum * *m + (1.0 - momentum) * gradient;
            *v = beta2 * *v + (1.0 - beta2) * gradient * gradient;
            let (m_hat, v_hat) = (*m / (1.0 - momentum.powi(t)), *v / (1.0 - beta2.powi(t)));
            *w -= rate * m_hat / (v_hat + epsilon * epsilon).sqrt();
        }
        Optimizer::Sgd => {
            *m = momentum * *m + gradient;
            *w -= rate * *m;
        }
    }
}
