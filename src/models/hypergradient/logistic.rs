//! The softmax with an L2 penalty: its gradient is zero where it is trained, `g(w) + penalty w = 0`, so weights change with
//! the penalty by `-H^-1 w`, where `H` is the loss's Hessian with the penalty. One solve `H u = slopes along the weights` by
//! preconditioned conjugate gradients gives `-u w`, whatever the number of rows that are scored.

use super::{Features, Linear, dot, pull};

/// The residual that conjugate gradients end at, as a share of the right side.
const TOLERANCE: f64 = 1e-9;
/// Steps as many times as there are weights: rounding may cost some more than exact arithmetic takes.
const MOST_STEPS: usize = 4;

/// A fold's training problem at a trained model.
pub struct Trained<'a> {
    x: Features<'a>,
    mean: Vec<f64>,
    has_intercept: bool,
    penalty: f64,
    outputs: usize,
    /// `[rows, outputs]`
    probabilities: Vec<f64>,
    /// What each row counts for.
    weights: Option<&'a [f64]>,
}

impl<'a> Trained<'a> {
    /// `weights` are what each training row counts for, its class's share included; `penalty` is of half the squared weights.
    pub fn new(
        x: Features<'a>,
        weights: Option<&'a [f64]>,
        fitted: &Linear,
        has_intercept: bool,
        penalty: f64,
    ) -> Trained<'a> {
        let outputs = fitted.intercept.len();
        let mut probabilities = fitted.outputs(x);
        let mut p = vec![0.0; outputs];
        for row in probabilities.chunks_exact_mut(outputs.max(1)) {
            pull::softmax(row, &mut p);
            row.copy_from_slice(&p);
        }
        // About the means features and intercepts hardly mix, and few steps are needed.
        let mut mean = vec![0.0; x.width];
        if has_intercept {
            let share = 1.0 / x.rows().len() as f64;
            x.rows().for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += share * f64::from(*x)));
        }
        Trained { x, mean, has_intercept, penalty, outputs, probabilities, weights }
    }

    /// How a sum with these slopes along the weights changes with the penalty; `None` where the system is not solved.
    pub fn slope(&self, fitted: &Linear, slopes: &Linear) -> Option<f64> {
        // Of slopes along weights of features about their means, whose intercepts are others.
        let mut right = slopes.clone();
        let rows = right.weight.chunks_exact_mut(self.x.width.max(1)).zip(&slopes.intercept);
        for (weight, intercept) in rows {
            weight.iter_mut().zip(&self.mean).for_each(|(slope, mean)| *slope -= mean * intercept);
        }
        if !self.has_intercept {
            right.intercept.fill(0.0);
        }
        let solution = self.solve(&right)?;
        Some(-dot(&solution.weight, &fitted.weight))
    }

    /// Conjugate gradients with the Hessian's diagonal (Hestenes & Stiefel 1952). Intercepts that move together change
    /// nothing: the right side has no part along them, and by that no step has.
    fn solve(&self, right: &Linear) -> Option<Linear> {
        let diagonal = self.diagonal();
        let precondition = |residual: &Linear| {
            let share = |(residual, diagonal): (&f64, &f64)| if *diagonal > 0.0 { residual / diagonal } else { 0.0 };
            Linear {
                weight: residual.weight.iter().zip(&diagonal.weight).map(share).collect(),
                intercept: residual.intercept.iter().zip(&diagonal.intercept).map(share).collect(),
            }
        };
        let mut solution = Linear::zeros(self.outputs, self.x.width);
        let mut residual = right.clone();
        // What rounding left along intercepts that move together, and along those of classes that do not occur.
        let bends = |bend: &f64| *bend > 0.0;
        let count = diagonal.intercept.iter().filter(|bend| bends(bend)).count().max(1) as f64;
        let sum: f64 = residual
            .intercept
            .iter()
            .zip(&diagonal.intercept)
            .filter(|(_, bend)| bends(bend))
            .map(|(slope, _)| slope)
            .sum();
        for (slope, bend) in residual.intercept.iter_mut().zip(&diagonal.intercept) {
            *slope = if bends(bend) && self.has_intercept { *slope - sum / count } else { 0.0 };
        }
        let size = residual.dot(&residual);
        let enough = TOLERANCE * TOLERANCE * size;
        if size == 0.0 {
            return Some(solution);
        }
        let mut along = precondition(&residual);
        let mut size = residual.dot(&along);
        let most = 100 + MOST_STEPS * (right.weight.len() + right.intercept.len());
        for _ in 0..most {
            let change = self.hessian(&along);
            let step = size / along.dot(&change);
            if !step.is_finite() {
                return None;
            }
            add(&mut solution, step, &along);
            add(&mut residual, -step, &change);
            if residual.dot(&residual) <= enough {
                return Some(solution);
            }
            let next = precondition(&residual);
            let next_size = residual.dot(&next);
            let share = next_size / size;
            size = next_size;
            scale(&mut along, share);
            add(&mut along, 1.0, &next);
        }
        None
    }

    /// The Hessian times a direction: `sum v x (p d - p (p d))`, `d = x direction`, and the penalty's part.
    fn hessian(&self, direction: &Linear) -> Linear {
        let mut product = Linear::zeros(self.outputs, self.x.width);
        let mut moved = vec![0.0; self.outputs];
        let mut centred = vec![0.0; self.x.width];
        let width = self.x.width.max(1);
        let rows = self.x.rows().zip(self.probabilities.chunks_exact(self.outputs.max(1)));
        for (row, (x, p)) in rows.enumerate() {
            self.centre(x, &mut centred);
            let lines = direction.weight.chunks_exact(width).zip(&direction.intercept);
            moved.iter_mut().zip(lines).for_each(|(moved, (weight, intercept))| {
                *moved = dot(&centred, weight) + intercept;
            });
            let mean = dot(p, &moved);
            let weight = self.weight(row);
            let lines = product.weight.chunks_exact_mut(width).zip(&mut product.intercept);
            for ((line, intercept), (p, moved)) in lines.zip(p.iter().zip(&moved)) {
                let bend = weight * p * (moved - mean);
                line.iter_mut().zip(&centred).for_each(|(line, x)| *line += bend * x);
                *intercept += bend;
            }
        }
        product.weight.iter_mut().zip(&direction.weight).for_each(|(line, w)| *line += self.penalty * w);
        if !self.has_intercept {
            product.intercept.fill(0.0);
        }
        product
    }

    fn diagonal(&self) -> Linear {
        let mut diagonal = Linear::zeros(self.outputs, self.x.width);
        let mut centred = vec![0.0; self.x.width];
        let rows = self.x.rows().zip(self.probabilities.chunks_exact(self.outputs.max(1)));
        for (row, (x, p)) in rows.enumerate() {
            self.centre(x, &mut centred);
            let lines = diagonal.weight.chunks_exact_mut(self.x.width.max(1)).zip(&mut diagonal.intercept);
            for ((line, intercept), p) in lines.zip(p) {
                let bend = self.weight(row) * p * (1.0 - p);
                line.iter_mut().zip(&centred).for_each(|(line, x)| *line += bend * x * x);
                *intercept += bend;
            }
        }
        diagonal.weight.iter_mut().for_each(|line| *line += self.penalty);
        diagonal
    }

    fn centre(&self, x: &[f32], centred: &mut [f64]) {
        centred.iter_mut().zip(x.iter().zip(&self.mean)).for_each(|(to, (x, mean))| *to = f64::from(*x) - mean);
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.and_then(|weights| weights.get(row)).copied().unwrap_or(1.0)
    }
}

fn add(to: &mut Linear, share: f64, from: &Linear) {
    to.weight.iter_mut().zip(&from.weight).for_each(|(to, from)| *to += share * from);
    to.intercept.iter_mut().zip(&from.intercept).for_each(|(to, from)| *to += share * from);
}

fn scale(line: &mut Linear, share: f64) {
    line.weight.iter_mut().chain(&mut line.intercept).for_each(|value| *value *= share);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_same, difference, features, targets, weights};
    use super::*;

    const WIDTH: usize = 4;

    struct Data {
        x: Vec<f32>,
        codes: Vec<u32>,
        weights: Vec<f64>,
        outputs: usize,
        has_intercept: bool,
    }

    impl Data {
        fn new(seed: u64, rows: usize, outputs: usize, has_intercept: bool) -> Data {
            let x = features(seed, rows, WIDTH);
            let class = |y: &f32| ((y + 1.5).clamp(0.0, 2.9) as u32) % outputs as u32;
            let codes = targets(seed, &x, WIDTH).iter().map(class).collect();
            let weights = weights(seed, rows).iter().map(|weight| f64::from(*weight)).collect();
            Data { x, codes, weights, outputs, has_intercept }
        }

        fn features(&self) -> Features<'_> {
            Features { values: &self.x, width: WIDTH }
        }

        /// Newton's steps to the end, from zero: independent of what is tested but for the Hessian, whose errors would only
        /// make it slower.
        fn train(&self, penalty: f64) -> Linear {
            let mut fitted = Linear::zeros(self.outputs, WIDTH);
            let ones: Vec<f32> = self.weights.iter().map(|weight| *weight as f32).collect();
            for _ in 0..200 {
                let pulls = pull::log_loss(&fitted.outputs(self.features()), &self.codes, Some(&ones), self.outputs);
                let mut slopes = Linear::pull(self.features(), &pulls, self.outputs);
                slopes.weight.iter_mut().zip(&fitted.weight).for_each(|(slope, w)| *slope += penalty * w);
                let trained = Trained {
                    mean: vec![0.0; WIDTH],
                    ..Trained::new(self.features(), Some(&self.weights), &fitted, self.has_intercept, penalty)
                };
                if !self.has_intercept {
                    slopes.intercept.fill(0.0);
                }
                if slopes.dot(&slopes) < 1e-18 {
                    break;
                }
                let step = trained.solve(&slopes).expect("a solution");
                // Far from the end whole steps could lead away.
                let share = 1.0 / (1.0 + step.dot(&step).sqrt() / 4.0);
                add(&mut fitted, if slopes.dot(&slopes) < 1e-2 { -1.0 } else { -share }, &step);
            }
            fitted
        }
    }

    #[test]
    fn the_slope_of_a_held_out_log_loss_is_that_of_training_again() {
        for (outputs, has_intercept) in [(2, true), (3, true), (3, false)] {
            let (train, held) = (Data::new(5, 60, outputs, has_intercept), Data::new(6, 40, outputs, has_intercept));
            let held_weights: Vec<f32> = held.weights.iter().map(|weight| *weight as f32).collect();
            let sum = |penalty: f64| -> f64 {
                let mut p = vec![0.0; outputs];
                let z = train.train(penalty).outputs(held.features());
                let rows = z.chunks_exact(outputs).zip(held.codes.iter().zip(&held_weights));
                rows.map(|(z, (code, weight))| {
                    pull::softmax(z, &mut p);
                    -f64::from(*weight) * libm::log(p[*code as usize])
                })
                .sum()
            };
            for penalty in [0.02, 0.7, 30.0] {
                let fitted = train.train(penalty);
                let z = fitted.outputs(held.features());
                let pulls = pull::log_loss(&z, &held.codes, Some(&held_weights), outputs);
                let slopes = Linear::pull(held.features(), &pulls, outputs);
                let trained = Trained::new(train.features(), Some(&train.weights), &fitted, has_intercept, penalty);
                assert_same(trained.slope(&fitted, &slopes).expect("a solution"), difference(penalty, sum));
            }
        }
    }
}
