//! Layer 3: analytic objective functions whose optima are known, to try strategies on. One family a file, one line in
//! [`FUNCTIONS`] each.
//!
//! Every function is minimised, costs no training, and is deterministic: exponentials and sines through libm, sums in a
//! fixed order, so that a point has the same bits of value on every platform. Noise is the [`Evaluator`]'s to add.

mod bbob;
mod classic;
mod evaluator;
mod lanes;
mod mixed;
mod multiobjective;
mod shader;

pub use evaluator::{Evaluator, Noise};
pub use lanes::LaneValues;
pub use shader::{EvaluationBatch, FunctionShader};

use crate::base::registry::{self, Named, UnknownName};
use crate::space::{Space, SpaceBuilder};
use std::ops::RangeInclusive;

/// An objective function in the registry.
pub trait Function: Named {
    /// How many parameters it can have.
    fn dimensions(&self) -> RangeInclusive<usize>;
    /// How many it has where nobody says, one of [`Function::dimensions`].
    fn default_dimensions(&self) -> usize;
    /// Whether its parameters are real numbers, each anywhere between its bounds. Where they aren't, [`Function::space`]
    /// says what they are: a choice is its index, and NaN a parameter that does not exist.
    fn is_box(&self) -> bool {
        true
    }
    /// The least and the greatest value of parameter `index`; infinite where the function is no box.
    fn bounds(&self, index: usize) -> (f64, f64);
    /// How many values it has, each to be minimised.
    fn objectives(&self) -> usize {
        1
    }
    /// Whether instances differ; where they don't, any number means the same function.
    fn has_instances(&self) -> bool {
        false
    }
    /// The least value within the bounds, where it is known; none for several objectives. A value may fall below by
    /// rounding, some 1e-13 of the function's range.
    fn optimum(&self, _dimensions: usize, _instance: u32) -> Option<f64> {
        None
    }
    /// A point of the least value, where one is known.
    fn minimizer(&self, _dimensions: usize, _instance: u32) -> Option<Vec<f64>> {
        None
    }
    /// At most `count` points of the Pareto front, `[point][objective]`, spread evenly over the parameters that walk
    /// it; none for one objective.
    fn front(&self, _count: usize) -> Option<Vec<Vec<f64>>> {
        None
    }
    /// Makes it ready for points of `dimensions` parameters, one of [`Function::dimensions`]: what belongs to the
    /// instance is drawn once, here.
    fn open(&self, dimensions: usize, instance: u32) -> Box<dyn Evaluate>;
    /// The same for sixteen points at a time; none where it takes them one by one.
    fn lanes(&self) -> Option<LaneValues> {
        None
    }
    /// The same for a GPU; none where it is evaluated on the processor alone.
    fn shader(&self, _dimensions: usize, _instance: u32) -> Option<FunctionShader> {
        None
    }

    /// Parameters x0, x1, ... on linear scales. Defaults lie a quarter up the range: many of these functions have their
    /// optimum in the middle, where the first candidate would find it.
    fn space(&self, dimensions: usize) -> Space {
        let add = |space: SpaceBuilder, index: usize| {
            let (low, high) = self.bounds(index);
            space.float(&format!("x{index}"), low, high, low + (high - low) / 4.0)
        };
        (0..dimensions).fold(SpaceBuilder::new(), add).build()
    }
}

/// A function of one instance and number of dimensions.
pub trait Evaluate: Send + Sync {
    /// Writes the point's values, one an objective. NaN in the point is NaN in every value, unless its parameter does not
    /// exist there; points outside of the bounds have values too.
    fn evaluate(&self, x: &[f64], values: &mut [f64]);
}

/// Something that computes one value.
struct Single<F>(F);

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Evaluate for Single<F> {
    fn evaluate(&self, x: &[f64], values: &mut [f64]) {
        // Maxima and comparisons inside would swallow a NaN.
        let is_number = x.iter().all(|x| !x.is_nan());
        values.fill(if is_number { (self.0)(x) } else { f64::NAN });
    }
}

/// Something that computes several values.
struct Several<F>(F);

impl<F: Fn(&[f64], &mut [f64]) + Send + Sync> Evaluate for Several<F> {
    fn evaluate(&self, x: &[f64], values: &mut [f64]) {
        if x.iter().any(|x| x.is_nan()) {
            values.fill(f64::NAN);
        } else {
            (self.0)(x, values);
        }
    }
}

/// Every function.
pub static FUNCTIONS: &[&dyn Function] = &[
    &classic::SPHERE,
    &classic::ELLIPSOID,
    &classic::ROSENBROCK,
    &classic::RASTRIGIN,
    &classic::ACKLEY,
    &classic::GRIEWANK,
    &classic::SCHWEFEL,
    &classic::LEVY,
    &classic::BRANIN,
    &classic::HARTMANN6,
    &bbob::BBOB[0],
    &bbob::BBOB[1],
    &bbob::BBOB[2],
    &bbob::BBOB[3],
    &bbob::BBOB[4],
    &bbob::BBOB[5],
    &bbob::BBOB[6],
    &bbob::BBOB[7],
    &bbob::BBOB[8],
    &bbob::BBOB[9],
    &bbob::BBOB[10],
    &bbob::BBOB[11],
    &bbob::BBOB[12],
    &bbob::BBOB[13],
    &bbob::BBOB[14],
    &bbob::BBOB[15],
    &bbob::BBOB[16],
    &bbob::BBOB[17],
    &bbob::BBOB[18],
    &bbob::BBOB[19],
    &bbob::BBOB[20],
    &bbob::BBOB[21],
    &bbob::BBOB[22],
    &bbob::BBOB[23],
    &mixed::MODEL_CHOICE,
    &mixed::MIXED_RASTRIGIN,
    &mixed::CHOICE_PAIRS,
    &mixed::TRAINING,
    &mixed::DEEP_CHOICES,
    &multiobjective::ZDT1,
    &multiobjective::ZDT2,
    &multiobjective::ZDT3,
    &multiobjective::ZDT4,
    &multiobjective::ZDT6,
    &multiobjective::DTLZ1,
    &multiobjective::DTLZ2,
    &multiobjective::DTLZ7,
];

/// Finds a function by name.
pub fn find(name: &str) -> Result<&'static dyn Function, UnknownName> {
    registry::find("function", FUNCTIONS, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hasher;
    use crate::base::random::Key;

    /// Instances of a function that are worth a look.
    fn instances(function: &dyn Function) -> &'static [u32] {
        if function.has_instances() { &[0, 1, 7, 1_000_000] } else { &[1] }
    }

    /// Points of the space, the first of them the defaults.
    fn points(function: &dyn Function, dimensions: usize, count: u32) -> Vec<Vec<f64>> {
        let space = function.space(dimensions);
        let codecs = space.codecs();
        let draw = |tag: u32| {
            let mut point = vec![0.0; dimensions];
            Key::from_seed(11).child(tag).fill_uniform(0, &mut point);
            codecs.iter().zip(&mut point).for_each(|(codec, x)| *x = codec.decode(*x));
            space.mask(&mut point);
            point
        };
        [space.defaults()].into_iter().chain((1..count).map(draw)).collect()
    }

    fn values(function: &dyn Function, opened: &dyn Evaluate, x: &[f64]) -> Vec<f64> {
        let mut values = vec![-1e300; function.objectives()];
        opened.evaluate(x, &mut values);
        values
    }

    #[test]
    fn every_function_is_found_by_its_own_name() {
        for function in FUNCTIONS {
            let found = find(function.name()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found.summary(), function.summary());
            assert_eq!(FUNCTIONS.iter().filter(|other| other.name() == function.name()).count(), 1);
        }
        let error = find("bbob_f25").err().unwrap_or_else(|| panic!("there is no bbob_f25"));
        assert_eq!(error.kind, "function");
    }

    #[test]
    fn minimizers_have_the_optimum_and_nothing_is_below_it() {
        for function in FUNCTIONS.iter().filter(|function| function.objectives() == 1) {
            for dimensions in [function.default_dimensions(), *function.dimensions().start()] {
                for &instance in instances(*function) {
                    let name = function.name();
                    let opened = function.open(dimensions, instance);
                    let optimum = function.optimum(dimensions, instance).unwrap_or_else(|| panic!("{name}"));
                    let best = function.minimizer(dimensions, instance).unwrap_or_else(|| panic!("{name}"));
                    let is_inside = |(index, x): (usize, &f64)| {
                        let (low, high) = function.bounds(index);
                        low <= *x && *x <= high
                    };
                    let is_possible = if function.is_box() {
                        best.iter().enumerate().all(is_inside)
                    } else {
                        function.space(dimensions).log_density(&best) > f64::NEG_INFINITY
                    };
                    assert!(is_possible, "{name}: {best:?}");
                    let at_best = values(*function, &*opened, &best)[0];
                    // Sums of numbers up to 5,000 round in the thirteenth digit.
                    assert!((at_best - optimum).abs() < 1e-11, "{name}, instance {instance}: {at_best} at {optimum}");
                    for x in points(*function, dimensions, 100) {
                        let value = values(*function, &*opened, &x)[0];
                        assert!(value > optimum, "{name}, instance {instance}: {value} below {optimum}");
                    }
                    // Next to a choice is another one: mixed.rs looks there.
                    for step in [1e-3, -1e-3].into_iter().filter(|_| function.is_box()) {
                        // Nor is anything next to it: the minimiser is no other function's.
                        let near: Vec<f64> = best.iter().map(|x| x + step).collect();
                        let value = values(*function, &*opened, &near)[0];
                        assert!(value > optimum - 1e-11, "{name}, instance {instance}: {value} below {optimum}");
                    }
                }
            }
        }
    }

    #[test]
    fn defaults_are_off_the_optimum_and_within_the_bounds() {
        for function in FUNCTIONS {
            let dimensions = function.default_dimensions();
            assert!(function.dimensions().contains(&dimensions));
            let space = function.space(dimensions);
            assert_eq!(space.parameters.len(), dimensions);
            if !function.is_box() {
                let defaults = values(*function, &*function.open(dimensions, 1), &space.defaults())[0];
                assert!(function.optimum(dimensions, 1).is_some_and(|optimum| defaults > optimum));
                continue;
            }
            assert_eq!(space.parameters[dimensions - 1].name, format!("x{}", dimensions - 1));
            if let Some(best) = function.minimizer(dimensions, 1) {
                assert!(space.defaults().iter().zip(&best).all(|(x, best)| x != best), "{}", function.name());
            }
        }
    }

    #[test]
    fn nan_in_a_point_is_nan_in_every_value() {
        for function in FUNCTIONS {
            let dimensions = function.default_dimensions();
            let opened = function.open(dimensions, 1);
            let defaults = function.space(dimensions).defaults();
            for place in (0..dimensions).filter(|place| !defaults[*place].is_nan()) {
                let mut x = defaults.clone();
                x[place] = f64::NAN;
                let values = values(*function, &*opened, &x);
                assert!(values.iter().all(|value| value.is_nan()), "{}: {values:?}", function.name());
            }
        }
    }

    #[test]
    fn points_far_outside_have_values_too() {
        for function in FUNCTIONS {
            let dimensions = function.default_dimensions();
            let opened = function.open(dimensions, 3);
            for x in [-1e4, 1e4, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
                let values = values(*function, &*opened, &vec![x; dimensions]);
                assert!(values.iter().all(|value| *value != -1e300), "{}", function.name());
            }
        }
    }

    #[test]
    fn instances_differ_where_they_are_said_to() {
        for function in FUNCTIONS {
            let dimensions = function.default_dimensions();
            let x = function.space(dimensions).defaults();
            let value = |instance| values(*function, &*function.open(dimensions, instance), &x)[0];
            assert_eq!(value(1) != value(2), function.has_instances(), "{}", function.name());
            assert_eq!(value(1).to_bits(), value(1).to_bits());
        }
    }

    #[test]
    fn values_have_the_same_bits_on_every_platform() {
        for (is_box, expected) in [(true, 1_277_404_580_661_837_903), (false, 18_445_645_808_251_099_150)] {
            let mut hash = Hasher::default();
            for function in FUNCTIONS.iter().filter(|function| function.is_box() == is_box) {
                let dimensions = function.default_dimensions();
                let opened = function.open(dimensions, 1);
                for x in points(*function, dimensions, 8) {
                    values(*function, &*opened, &x).iter().for_each(|value| hash.word(value.to_bits()));
                }
            }
            assert_eq!(hash.finish(), expected, "boxes: {is_box}");
        }
    }

    #[test]
    fn functions_of_any_size_open_at_the_sizes_between() {
        for function in FUNCTIONS {
            let (least, most) = (*function.dimensions().start(), *function.dimensions().end());
            for dimensions in [least, least + 1, 40, 100].into_iter().filter(|n| *n <= most) {
                let opened = function.open(dimensions, 5);
                let values = values(*function, &*opened, &function.space(dimensions).defaults());
                assert!(
                    values.iter().all(|value| value.is_finite()),
                    "{} in {dimensions}: {values:?}",
                    function.name()
                );
            }
        }
    }
}
