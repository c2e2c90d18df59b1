//! BBOB 1 to 5: separable functions.

use super::instance::{Instance, powers};
use super::transform::{oscillate, oscillated, penalty, shifted, skew, stretch};
use super::{Constants, Prepared};
use std::f64::consts::PI;

/// f1
pub(super) fn sphere(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    Prepared::new(optimum.clone(), Constants::default(), move |x| shifted(x, &optimum).iter().map(|z| z * z).sum())
}

/// f2
pub(super) fn ellipsoid(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let weights = powers(1e6, instance.dimensions);
    Prepared::new(optimum.clone(), Constants::default().and(&weights), move |x| {
        let mut z = shifted(x, &optimum);
        oscillate(&mut z);
        weighted_squares(&z, &weights)
    })
}

/// f3
pub(super) fn rastrigin(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let factors = powers(10f64.sqrt(), instance.dimensions);
    Prepared::new(optimum.clone(), Constants::default().and(&factors), move |x| {
        let mut z = shifted(x, &optimum);
        oscillate(&mut z);
        skew(&mut z, 0.2);
        stretch(&mut z, &factors);
        rastrigin_of(&z)
    })
}

/// f4. The text calls odd those dimensions, counted from 1, that are even here.
pub(super) fn bueche_rastrigin(instance: Instance) -> Prepared {
    let mut optimum = instance.optimum();
    // In COCO's code alone: the steep half of a skewed dimension is always the upper one.
    optimum.iter_mut().step_by(2).for_each(|place| *place = place.abs());
    let factors = powers(10f64.sqrt(), instance.dimensions);
    Prepared::new(optimum.clone(), Constants::default().and(&factors), move |x| {
        let bend = |(i, (x, optimum)): (usize, (&f64, &f64))| {
            let z = oscillated(x - optimum);
            let skewed = if z > 0.0 && i % 2 == 0 { 10.0 } else { 1.0 };
            factors[i] * skewed * z
        };
        let z: Vec<f64> = x.iter().zip(&optimum).enumerate().map(bend).collect();
        rastrigin_of(&z) + 100.0 * penalty(x)
    })
}

/// f5. Beyond the corner it is flat.
pub(super) fn linear_slope(instance: Instance) -> Prepared {
    let corner: Vec<f64> = instance.optimum().iter().map(|place| if *place < 0.0 { -5.0 } else { 5.0 }).collect();
    let slopes = powers(10.0, instance.dimensions);
    Prepared::new(corner.clone(), Constants::default().and(&slopes), move |x| {
        let term = |((x, corner), slope): ((&f64, &f64), &f64)| {
            let held = if x * corner < 25.0 { x } else { corner };
            5.0 * slope - slope * corner.signum() * held
        };
        x.iter().zip(&corner).zip(&slopes).map(term).sum()
    })
}

/// `sum w_i z_i^2`
pub(super) fn weighted_squares(z: &[f64], weights: &[f64]) -> f64 {
    z.iter().zip(weights).map(|(z, weight)| weight * z * z).sum()
}

/// `10 (n - sum cos(2 pi z_i)) + sum z_i^2`
pub(super) fn rastrigin_of(z: &[f64]) -> f64 {
    let waves: f64 = z.iter().map(|z| libm::cos(2.0 * PI * z)).sum();
    let squares: f64 = z.iter().map(|z| z * z).sum();
    10.0 * (z.len() as f64 - waves) + squares
}
