//! A function with noise on its values, if there is to be any: drawn by a point's bits, so that equal candidates have equal
//! values.

use super::{Evaluate, Function};
use crate::base::hash::Hasher;
use crate::base::random::{Key, normal_f64};

/// Normal noise on values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation.
    pub deviation: f64,
    /// What it is drawn by.
    pub key: Key,
}

impl Noise {
    /// Adds noise to a point's values as its evaluation number `repeat` has it.
    pub fn add(&self, point: &[f64], repeat: usize, values: &mut [f64]) {
        if self.deviation > 0.0 {
            let mut hash = Hasher::default();
            point.iter().for_each(|value| hash.word(if value.is_nan() { u64::MAX } else { value.to_bits() }));
            let key = self.key.child(repeat as u32).child_of_number(hash.finish());
            for (objective, value) in (0u64..).zip(values) {
                *value += self.deviation * normal_f64(key.words(objective));
            }
        }
    }
}

/// A function with its noise.
pub struct Evaluator {
    function: Box<dyn Evaluate>,
    objectives: usize,
    noise: Noise,
}

impl Evaluator {
    /// A function of so many parameters, and one of its instances.
    pub fn new(function: &'static dyn Function, dimensions: usize, instance: u32, noise: Noise) -> Evaluator {
        Evaluator { function: function.open(dimensions, instance), objectives: function.objectives(), noise }
    }

    /// Values of a point.
    pub fn objectives(&self) -> usize {
        self.objectives
    }

    /// Writes a point's values as its evaluation number `repeat` gives them, one an objective.
    pub fn evaluate(&self, point: &[f64], repeat: usize, values: &mut [f64]) {
        self.function.evaluate(point, values);
        self.noise.add(point, repeat, values);
    }

    /// A point's values without noise.
    pub fn exact(&self, point: &[f64]) -> Vec<f64> {
        let mut values = vec![0.0; self.objectives];
        self.function.evaluate(point, &mut values);
        values
    }
}
