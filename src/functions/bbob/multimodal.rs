//! BBOB 15 to 19: many optima, with a structure that leads to the best.

use super::instance::{Instance, Matrix, powers};
use super::moderate::{rosenbrock_terms, rotated_valley};
use super::separable::rastrigin_of;
use super::transform::{oscillate, penalty, shifted, skew};
use super::{Constants, Prepared};
use std::f64::consts::PI;

/// f15
pub(super) fn rastrigin(instance: Instance) -> Prepared {
    let optimum = instance.optimum();
    let rotation = instance.first_rotation();
    let bend = instance.stretched_rotation(10f64.sqrt());
    Prepared::new(optimum.clone(), Constants::default().turned(&rotation).turned(&bend), move |x| {
        let mut z = rotation.times(&shifted(x, &optimum));
        oscillate(&mut z);
        skew(&mut z, 0.2);
        rastrigin_of(&bend.times(&z))
    })
}

/// f16: 12 waves, each half as high and a third as long as the one before.
pub(super) fn weierstrass(instance: Instance) -> Prepared {
    let n = instance.dimensions as f64;
    let optimum = instance.optimum();
    let rotation = instance.first_rotation();
    let bend = instance.stretched_rotation(0.1);
    let mut waves = [(1.0, 1.0); 12];
    for k in 1..waves.len() {
        waves[k] = (waves[k - 1].0 / 2.0, waves[k - 1].1 * 3.0);
    }
    let height = move |z: f64| -> f64 {
        waves.iter().map(|(height, frequency)| libm::cos(2.0 * PI * (z + 0.5) * frequency) * height).sum()
    };
    let least = height(0.0);
    Prepared::new(optimum.clone(), Constants::default().turned(&rotation).turned(&bend), move |x| {
        let mut z = rotation.times(&shifted(x, &optimum));
        oscillate(&mut z);
        let mean = bend.times(&z).iter().map(|z| height(*z)).sum::<f64>() / n;
        let above = mean - least;
        10.0 * above * above * above + 10.0 / n * penalty(x)
    })
}

/// f17
pub(super) fn schaffer(instance: Instance) -> Prepared {
    schaffer_of(instance, 10.0)
}

/// f18
pub(super) fn steep_schaffer(instance: Instance) -> Prepared {
    schaffer_of(instance, 1000.0)
}

fn schaffer_of(instance: Instance, condition: f64) -> Prepared {
    let n = instance.dimensions;
    let optimum = instance.optimum();
    let (first, second) = (instance.first_rotation(), instance.second_rotation());
    let factors = powers(condition.sqrt(), n);
    let bend = Matrix::new(n, |row, column| factors[row] * second.at(row, column));
    Prepared::new(optimum.clone(), Constants::default().turned(&first).turned(&bend), move |x| {
        let mut z = first.times(&shifted(x, &optimum));
        skew(&mut z, 0.5);
        let z = bend.times(&z);
        let term = |pair: &[f64]| {
            // s^(1/2) and s^(1/5) of the text, where s is the root of this.
            let square = pair[0] * pair[0] + pair[1] * pair[1];
            let wave = libm::sin(50.0 * libm::pow(square, 0.1));
            square.sqrt().sqrt() * (1.0 + wave * wave)
        };
        let mean = z.windows(2).map(term).sum::<f64>() / (n as f64 - 1.0);
        mean * mean + 10.0 * penalty(x)
    })
}

/// f19
pub(super) fn griewank_rosenbrock(instance: Instance) -> Prepared {
    let n = instance.dimensions as f64;
    let (place, minimizer, constants) = rotated_valley(instance);
    Prepared::new(minimizer, constants, move |x| {
        let term = |(across, along): (f64, f64)| {
            let s = 100.0 * across * across + along * along;
            s / 4000.0 - libm::cos(s)
        };
        10.0 + 10.0 * rosenbrock_terms(&place(x)).map(term).sum::<f64>() / (n - 1.0)
    })
}
