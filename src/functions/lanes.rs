//! Functions of sixteen points at a time, a point in each SIMD lane: a sum that waits for itself along the axes of one point
//! is sixteen sums beside each other. Terms are added in the order of the axes, so that each point has the bits that it has
//! alone.

use super::classic::ellipsoid_weight;
use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{Kernel, Level, Simd, dispatch};
use std::marker::PhantomData;

/// Values of sixteen points `[parameter][point]`, each with the bits that [`super::Evaluate::evaluate`] gives it.
pub type LaneValues = fn(&[Doubles], Level) -> Doubles;

/// What a function computes of sixteen points.
pub(super) trait Formula {
    /// Its values; must be `#[inline(always)]`.
    fn values<D: Double>(x: &[Doubles]) -> D;
}

/// [`LaneValues`] of a formula.
pub(super) fn values_of<F: Formula>(points: &[Doubles], level: Level) -> Doubles {
    dispatch(level, Apply(points, PhantomData::<F>))
}

struct Apply<'a, F>(&'a [Doubles], PhantomData<F>);

impl<F: Formula> Kernel for Apply<'_, F> {
    type Output = Doubles;
    #[inline(always)]
    fn run<V: Simd>(self) -> Doubles {
        let mut values = Doubles::splat(0.0);
        F::values::<V::Double>(self.0).store(&mut values);
        values
    }
}

pub(super) struct Sphere;

impl Formula for Sphere {
    #[inline(always)]
    fn values<D: Double>(x: &[Doubles]) -> D {
        let mut sum = D::splat(0.0);
        for x in x {
            let x = D::load(x);
            sum = sum.add(x.mul(x));
        }
        sum
    }
}

pub(super) struct Ellipsoid;

impl Formula for Ellipsoid {
    #[inline(always)]
    fn values<D: Double>(x: &[Doubles]) -> D {
        let mut sum = D::splat(0.0);
        for (i, along) in x.iter().enumerate() {
            let along = D::load(along);
            sum = sum.add(D::splat(ellipsoid_weight(i, x.len())).mul(along).mul(along));
        }
        sum
    }
}

pub(super) struct Rosenbrock;

impl Formula for Rosenbrock {
    #[inline(always)]
    fn values<D: Double>(x: &[Doubles]) -> D {
        let mut sum = D::splat(0.0);
        for pair in x.windows(2) {
            let (first, second) = (D::load(&pair[0]), D::load(&pair[1]));
            let (across, along) = (second.sub(first.mul(first)), D::splat(1.0).sub(first));
            sum = sum.add(D::splat(100.0).mul(across).mul(across).add(along.mul(along)));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Key;
    use crate::functions::FUNCTIONS;

    #[test]
    fn a_point_among_sixteen_has_the_bits_that_it_has_alone() {
        for (function, lanes) in FUNCTIONS.iter().filter_map(|function| Some((function, function.lanes()?))) {
            for dimensions in [2, 7, 100] {
                let opened = function.open(dimensions, 1);
                let mut points = vec![Doubles::splat(0.0); dimensions];
                for (axis, lanes) in points.iter_mut().enumerate() {
                    let (low, high) = function.bounds(axis);
                    Key::from_seed(3).child(axis as u32).fill_uniform(0, &mut lanes.0);
                    lanes.0.iter_mut().for_each(|x| *x = low + *x * (high - low));
                }
                points[1].0[5] = f64::NAN;
                points[0].0[7] = f64::INFINITY;
                for level in Level::available() {
                    let found = lanes(&points, level);
                    for (lane, found) in found.0.into_iter().enumerate() {
                        let alone: Vec<f64> = points.iter().map(|lanes| lanes.0[lane]).collect();
                        let mut value = [0.0];
                        opened.evaluate(&alone, &mut value);
                        let (name, level) = (function.name(), level.name());
                        let is_same = found.to_bits() == value[0].to_bits() || found.is_nan() && value[0].is_nan();
                        assert!(is_same, "{name} in {dimensions}, lane {lane} on {level}: {found} for {}", value[0]);
                    }
                }
            }
        }
        assert!(FUNCTIONS.iter().filter(|function| function.lanes().is_some()).count() >= 3);
    }
}
