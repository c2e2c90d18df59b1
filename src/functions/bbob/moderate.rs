//! BBOB 6 to 9: functions of low or moderate conditioning.

use super::instance::{Instance, Matrix, powers};
use super::separable::weighted_squares;
use super::transform::{oscillated, penalty, round, shifted};
use super::{Constants, Prepared};

/// f6
pub(super) fn attractive_sector(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let bend = instance.stretched_rotation(10f64.sqrt());
    Prepared::new(optimum.clone(), Constants::default().turned(&bend), move |x| {
        let z = bend.times(&shifted(x, &optimum));
        let term = |(z, optimum): (&f64, &f64)| if z * optimum > 0.0 { 1e4 * z * z } else { z * z };
        let sum: f64 = z.iter().zip(&optimum).map(term).sum();
        libm::pow(oscillated(sum), 0.9)
    })
}

/// f7
pub(super) fn step_ellipsoid(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let (first, second) = (instance.first_rotation(), instance.second_rotation());
    let factors = powers(10f64.sqrt(), instance.dimensions);
    let weights = powers(100.0, instance.dimensions);
    let constants = Constants::default().turned(&second).and(&factors).and(&weights).turned(&first);
    Prepared::new(optimum.clone(), constants, move |x| {
        let mut z = second.times(&shifted(x, &optimum));
        z.iter_mut().zip(&factors).for_each(|(z, factor)| *z *= factor);
        let tilt = z[0].abs() / 1e4;
        // Steps of 1 far out, of 0.1 near the optimum. The text compares z, COCO |z|.
        let step = |z: f64| if z.abs() > 0.5 { round(z) } else { round(10.0 * z) / 10.0 };
        z.iter_mut().for_each(|z| *z = step(*z));
        0.1 * weighted_squares(&first.times(&z), &weights).max(tilt) + penalty(x)
    })
}

/// f8
pub(super) fn rosenbrock(instance: Instance) -> Prepared {
    let optimum: Vec<f64> = instance.optimum().iter().map(|place| 0.75 * place).collect();
    let factor = valley_factor(instance.dimensions);
    Prepared::new(optimum.clone(), Constants::default().and(&[factor]), move |x| {
        let z: Vec<f64> = shifted(x, &optimum).iter().map(|z| factor * z + 1.0).collect();
        rosenbrock_terms(&z).map(|(across, along)| 100.0 * across * across + along * along).sum()
    })
}

/// f9
pub(super) fn rotated_rosenbrock(instance: Instance) -> Prepared {
    let (place, minimizer, constants) = rotated_valley(instance);
    Prepared::new(minimizer, constants, move |x| {
        let z = place(x);
        rosenbrock_terms(&z).map(|(across, along)| 100.0 * across * across + along * along).sum()
    })
}

/// `z = max(1, sqrt(n) / 8) Q x + 1/2`, the x for which z is 1 everywhere, and a shader's constants: that factor times Q.
pub(super) fn rotated_valley(instance: Instance) -> (impl Fn(&[f64]) -> Vec<f64> + Send + Sync, Vec<f64>, Constants) {
    let rotation = instance.second_rotation();
    let factor = valley_factor(instance.dimensions);
    let minimizer = rotation.transposed_times(&vec![0.5 / factor; instance.dimensions]);
    let scaled = Matrix::new(instance.dimensions, |row, column| factor * rotation.at(row, column));
    let place = move |x: &[f64]| rotation.times(x).iter().map(|z| factor * z + 0.5).collect();
    (place, minimizer, Constants::default().turned(&scaled))
}

/// `(z_i^2 - z_(i+1), z_i - 1)` for each pair of neighbours.
pub(super) fn rosenbrock_terms(z: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    z.windows(2).map(|pair| (pair[0] * pair[0] - pair[1], pair[0] - 1.0))
}

fn valley_factor(n: usize) -> f64 {
    ((n as f64).sqrt() / 8.0).max(1.0)
}
