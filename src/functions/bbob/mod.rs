//! The 24 noiseless functions of the Black-Box Optimization Benchmark with their instances, as COCO defines them.
//!
//! Hansen, Finck, Ros & Auger 2009, "Real-parameter black-box optimization benchmarking 2009: noiseless functions
//! definitions" (INRIA RR-6829), by their numbers there; where COCO's code (numbbo/coco, version 2.8) does otherwise,
//! the code is followed and a comment says so. A function is a term that is 0 at its least, plus the instance's offset.

mod conditioned;
mod instance;
mod moderate;
mod multimodal;
mod separable;
mod transform;
mod weak;

use super::shader::{FunctionShader, MATH, SHARED, SINGLE};
use super::{Evaluate, Function, Single};
use crate::base::registry::Named;
use instance::{Instance, Matrix};
use std::ops::RangeInclusive;

/// A BBOB function.
pub(super) struct Bbob {
    name: &'static str,
    summary: &'static str,
    number: u32,
    /// What the instance's seed begins with: the function's number, but for those that share another's optimum.
    seed: u32,
    prepare: fn(Instance) -> Prepared,
}

/// From a point to its value.
type Value = Box<dyn Fn(&[f64]) -> f64 + Send + Sync>;

/// An instance's function, without its offset.
struct Prepared {
    minimizer: Vec<f64>,
    constants: Constants,
    value: Value,
}

/// What a function's shader reads of an instance beside its minimizer, in the shader's order.
#[derive(Default)]
struct Constants {
    values: Vec<f32>,
    has_matrix: bool,
}

impl Constants {
    /// These, and numbers after them.
    fn and(mut self, numbers: &[f64]) -> Constants {
        self.values.extend(numbers.iter().map(|number| *number as f32));
        self
    }

    /// These, and a matrix that turns members' vectors.
    fn turned(self, matrix: &Matrix) -> Constants {
        Constants { has_matrix: true, ..self.and(matrix.values()) }
    }
}

impl Prepared {
    fn new(
        minimizer: Vec<f64>,
        constants: Constants,
        value: impl Fn(&[f64]) -> f64 + Send + Sync + 'static,
    ) -> Prepared {
        Prepared { minimizer, constants, value: Box::new(value) }
    }
}

/// From f1 to f24.
pub(super) static BBOB: [Bbob; 24] = [
    entry(1, "bbob_f1", "BBOB 1: sphere", 1, separable::sphere),
    entry(2, "bbob_f2", "BBOB 2: ellipsoid, separable", 2, separable::ellipsoid),
    entry(3, "bbob_f3", "BBOB 3: Rastrigin, separable", 3, separable::rastrigin),
    entry(4, "bbob_f4", "BBOB 4: Büche-Rastrigin, separable, skewed", 3, separable::bueche_rastrigin),
    entry(5, "bbob_f5", "BBOB 5: linear slope, optimum in a corner", 5, separable::linear_slope),
    entry(6, "bbob_f6", "BBOB 6: attractive sector, a narrow cone of small values", 6, moderate::attractive_sector),
    entry(7, "bbob_f7", "BBOB 7: step ellipsoid, plateaus", 7, moderate::step_ellipsoid),
    entry(8, "bbob_f8", "BBOB 8: Rosenbrock", 8, moderate::rosenbrock),
    entry(9, "bbob_f9", "BBOB 9: Rosenbrock, rotated", 9, moderate::rotated_rosenbrock),
    entry(10, "bbob_f10", "BBOB 10: ellipsoid, rotated, condition 10^6", 10, conditioned::ellipsoid),
    entry(11, "bbob_f11", "BBOB 11: discus, one short axis", 11, conditioned::discus),
    entry(12, "bbob_f12", "BBOB 12: bent cigar, one long bent axis", 12, conditioned::bent_cigar),
    entry(13, "bbob_f13", "BBOB 13: sharp ridge, no gradient on the way", 13, conditioned::sharp_ridge),
    entry(14, "bbob_f14", "BBOB 14: different powers along the axes", 14, conditioned::different_powers),
    entry(15, "bbob_f15", "BBOB 15: Rastrigin, rotated", 15, multimodal::rastrigin),
    entry(16, "bbob_f16", "BBOB 16: Weierstrass, rugged, several equal optima", 16, multimodal::weierstrass),
    entry(17, "bbob_f17", "BBOB 17: Schaffer F7, condition 10", 17, multimodal::schaffer),
    entry(18, "bbob_f18", "BBOB 18: Schaffer F7, condition 1000", 17, multimodal::steep_schaffer),
    entry(19, "bbob_f19", "BBOB 19: Griewank-Rosenbrock", 19, multimodal::griewank_rosenbrock),
    entry(20, "bbob_f20", "BBOB 20: Schwefel, the best optima near corners", 20, weak::schwefel),
    entry(21, "bbob_f21", "BBOB 21: Gallagher, 101 peaks", 21, weak::gallagher_101),
    entry(22, "bbob_f22", "BBOB 22: Gallagher, 21 peaks, steeper", 22, weak::gallagher_21),
    entry(23, "bbob_f23", "BBOB 23: Katsuura, rugged everywhere", 23, weak::katsuura),
    entry(24, "bbob_f24", "BBOB 24: Lunacek bi-Rastrigin, the wider funnel is the wrong one", 24, weak::lunacek),
];

const fn entry(
    number: u32,
    name: &'static str,
    summary: &'static str,
    seed: u32,
    prepare: fn(Instance) -> Prepared,
) -> Bbob {
    Bbob { name, summary, number, seed, prepare }
}

const TRANSFORM: &str = include_str!("../../../shaders/functions/bbob/transform.wgsl");
/// Sources of functions up to these numbers.
const SHADERS: [(u32, &[&str]); 5] = [
    (5, &[MATH, SHARED, SINGLE, TRANSFORM, include_str!("../../../shaders/functions/bbob/separable.wgsl")]),
    (9, &[MATH, SHARED, SINGLE, TRANSFORM, include_str!("../../../shaders/functions/bbob/moderate.wgsl")]),
    (14, &[MATH, SHARED, SINGLE, TRANSFORM, include_str!("../../../shaders/functions/bbob/conditioned.wgsl")]),
    (19, &[MATH, SHARED, SINGLE, TRANSFORM, include_str!("../../../shaders/functions/bbob/multimodal.wgsl")]),
    (24, &[MATH, SHARED, SINGLE, TRANSFORM, include_str!("../../../shaders/functions/bbob/weak.wgsl")]),
];

impl Named for Bbob {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
}

impl Function for Bbob {
    /// COCO stops at 40; rotations cost the cube, points the square of it.
    fn dimensions(&self) -> RangeInclusive<usize> {
        2..=1_000
    }
    fn default_dimensions(&self) -> usize {
        10
    }
    fn bounds(&self, _: usize) -> (f64, f64) {
        transform::BOUNDS
    }
    fn has_instances(&self) -> bool {
        true
    }
    fn optimum(&self, dimensions: usize, instance: u32) -> Option<f64> {
        Some(Instance::new(self.seed, dimensions, instance).offset())
    }
    fn minimizer(&self, dimensions: usize, instance: u32) -> Option<Vec<f64>> {
        Some((self.prepare)(Instance::new(self.seed, dimensions, instance)).minimizer)
    }
    fn shader(&self, dimensions: usize, instance: u32) -> Option<FunctionShader> {
        let (_, sources) = SHADERS.into_iter().find(|(last, _)| self.number <= *last)?;
        let instance = Instance::new(self.seed, dimensions, instance);
        let Prepared { minimizer, constants, .. } = (self.prepare)(instance);
        // The minimizer as a sum of two: what f32 takes from it would shift the optimum.
        let high = minimizer.iter().map(|x| *x as f32);
        let low = minimizer.iter().map(|x| (x - f64::from(*x as f32)) as f32);
        Some(FunctionShader {
            name: self.name,
            sources,
            number: self.number,
            dimensions,
            objectives: 1,
            constants: high.chain(low).chain(constants.values).collect(),
            scratch: if constants.has_matrix { 2 * dimensions } else { 0 },
            offset: instance.offset(),
        })
    }
    fn open(&self, dimensions: usize, instance: u32) -> Box<dyn Evaluate> {
        let instance = Instance::new(self.seed, dimensions, instance);
        let offset = instance.offset();
        let value = (self.prepare)(instance).value;
        Box::new(Single(move |x: &[f64]| value(x) + offset))
    }
}

#[cfg(test)]
mod tests {
    use super::BBOB;
    use crate::functions::Function;

    /// COCO's values at some points.
    struct Row {
        function: usize,
        instance: u32,
        offset: f64,
        at_best: f64,
        points: Vec<Vec<f64>>,
        values: Vec<f64>,
    }

    /// The fixture's rows, each with its points.
    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        let mut points: Vec<Vec<f64>> = Vec::new();
        for line in include_str!("../../../tests/fixtures/functions/bbob.csv").lines() {
            let (kind, numbers) = line.split_once(',').unwrap_or_else(|| panic!("{line}"));
            let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let numbers: Vec<f64> = numbers.split(',').map(number).collect();
            if kind == "point" {
                points.push(numbers[2..].to_vec());
            } else {
                let n = numbers[1] as usize;
                rows.push(Row {
                    function: numbers[0] as usize,
                    instance: numbers[2] as u32,
                    offset: numbers[3],
                    at_best: numbers[4],
                    points: points.iter().filter(|point| point.len() == n).cloned().collect(),
                    values: numbers[5..].to_vec(),
                });
            }
        }
        rows
    }

    /// The greatest relative difference from COCO's values when instance `instance + shift` is taken for `instance`.
    fn difference(row: &Row, shift: u32) -> f64 {
        let n = row.points[0].len();
        let opened = BBOB[row.function - 1].open(n, row.instance + shift);
        let relative = |(point, expected): (&Vec<f64>, &f64)| {
            let mut value = [0.0];
            opened.evaluate(point, &mut value);
            (value[0] - expected).abs() / expected.abs()
        };
        row.points.iter().zip(&row.values).map(relative).fold(0.0, f64::max)
    }

    // COCO takes logarithms, powers and cosines from the platform's C library, which may differ from libm in the last
    // bit. Rotations and condition numbers multiply that, and most where a wave is sampled far out: f19 takes cosines
    // of numbers up to 1e6, f23 the distance to whole numbers of numbers up to 1e11. The greatest differences seen:
    // 4e-11 in these two, 2e-12 in f16, 4e-13 in the others.
    const TOLERANCE: f64 = 1e-9;

    #[test]
    fn values_are_those_of_coco() {
        let rows = rows();
        assert_eq!(rows.len(), 24 * 5 * 3);
        for row in &rows {
            let difference = difference(row, 0);
            let place = (row.function, row.points[0].len(), row.instance);
            assert!(difference < TOLERANCE, "f{}, {} dimensions, instance {}: {difference}", place.0, place.1, place.2);
        }
    }

    #[test]
    fn another_instance_has_other_values_than_coco() {
        for row in &rows() {
            assert!(difference(row, 1) > 1e3 * TOLERANCE, "f{}, instance {}", row.function, row.instance);
        }
    }

    #[test]
    fn optima_are_those_of_coco() {
        for row in &rows() {
            let optimum = BBOB[row.function - 1].optimum(row.points[0].len(), row.instance);
            // Hundredths: no rounding in between.
            assert_eq!(optimum, Some(row.offset), "f{}, instance {}", row.function, row.instance);
            assert!((row.at_best - row.offset).abs() < 1e-6, "f{}: {}", row.function, row.at_best);
        }
    }
}
