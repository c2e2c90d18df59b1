//! BBOB 10 to 14: one optimum, axes of very different lengths.

use super::instance::{Instance, powers, share};
use super::separable::weighted_squares;
use super::transform::{oscillate, shifted, skew};
use super::{Constants, Prepared};

/// f10
pub(super) fn ellipsoid(instance: Instance) -> Prepared {
    oscillating(instance, powers(1e6, instance.dimensions))
}

/// f11
pub(super) fn discus(instance: Instance) -> Prepared {
    let weights = (0..instance.dimensions).map(|i| if i == 0 { 1e6 } else { 1.0 });
    oscillating(instance, weights.collect())
}

/// Weighted squares of `T_osz(R (x - optimum))`.
fn oscillating(instance: Instance, weights: Vec<f64>) -> Prepared {
    let optimum = instance.optimum();
    let rotation = instance.first_rotation();
    Prepared::new(optimum.clone(), Constants::default().turned(&rotation).and(&weights), move |x| {
        let mut z = rotation.times(&shifted(x, &optimum));
        oscillate(&mut z);
        weighted_squares(&z, &weights)
    })
}

/// f12
pub(super) fn bent_cigar(instance: Instance) -> Prepared {
    let optimum = instance.other_optimum();
    let rotation = instance.first_rotation();
    Prepared::new(optimum.clone(), Constants::default().turned(&rotation), move |x| {
        let mut z = rotation.times(&shifted(x, &optimum));
        skew(&mut z, 0.5);
        let z = rotation.times(&z);
        z[0] * z[0] + z[1..].iter().map(|z| 1e6 * z * z).sum::<f64>()
    })
}

/// f13
pub(super) fn sharp_ridge(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let bend = instance.stretched_rotation(10f64.sqrt());
    Prepared::new(optimum.clone(), Constants::default().turned(&bend), move |x| {
        let z = bend.times(&shifted(x, &optimum));
        z[0] * z[0] + 100.0 * z[1..].iter().map(|z| z * z).sum::<f64>().sqrt()
    })
}

/// f14
pub(super) fn different_powers(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let rotation = instance.first_rotation();
    let exponents: Vec<f64> = (0..instance.dimensions).map(|i| 2.0 + 4.0 * share(i, instance.dimensions)).collect();
    Prepared::new(optimum.clone(), Constants::default().turned(&rotation).and(&exponents), move |x| {
        let z = rotation.times(&shifted(x, &optimum));
        z.iter().zip(&exponents).map(|(z, exponent)| libm::pow(z.abs(), *exponent)).sum::<f64>().sqrt()
    })
}
