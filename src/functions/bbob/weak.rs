//! BBOB 20 to 24: many optima, and little that leads from one to another.

use super::instance::{Instance, gauss, powers, uniform};
use super::transform::{oscillated, penalty, round, shifted, stretch};
use super::{Constants, Prepared};
use std::f64::consts::PI;

/// f20
pub(super) fn schwefel(instance: Instance) -> Prepared {
    /// Where `x sin(sqrt |x|)` is greatest, in hundreds; twice the optimum's coordinates.
    const TOP: f64 = 4.2096874637;
    let n = instance.dimensions;
    let signs: Vec<f64> = uniform(n, instance.seed).iter().map(|u| if *u < 0.5 { -1.0 } else { 1.0 }).collect();
    let minimizer = signs.iter().map(|sign| sign * 0.5 * TOP).collect();
    let factors = powers(10f64.sqrt(), n);
    Prepared::new(minimizer, Constants::default().and(&factors).and(&[TOP]), move |x| {
        let doubled: Vec<f64> = x.iter().zip(&signs).map(|(x, sign)| 2.0 * sign * x).collect();
        let mut z = doubled.clone();
        for (z, before) in z[1..].iter_mut().zip(&doubled) {
            *z += 0.25 * (before - TOP);
        }
        z.iter_mut().for_each(|z| *z -= TOP);
        stretch(&mut z, &factors);
        z.iter_mut().for_each(|z| *z = 100.0 * (*z + TOP));
        let beyond = z.iter().map(|z| (z.abs() - 500.0).max(0.0)).map(|beyond| beyond * beyond).sum::<f64>();
        let sum: f64 = z.iter().map(|z| z * libm::sin(z.abs().sqrt())).sum();
        0.01 * (beyond + 418.9828872724339 - sum / n as f64)
    })
}

/// f21
pub(super) fn gallagher_101(instance: Instance) -> Prepared {
    gallagher(instance, &Peaks { count: 101, best_condition: 1000f64.sqrt(), width: 10.0 })
}

/// f22
pub(super) fn gallagher_21(instance: Instance) -> Prepared {
    gallagher(instance, &Peaks { count: 21, best_condition: 1000.0, width: 9.8 })
}

/// What sets Gallagher's two functions apart.
struct Peaks {
    count: usize,
    /// Condition of the peak at the optimum; those of the others go from 1 to 1000.
    best_condition: f64,
    /// Of the box around 0 where the peaks lie.
    width: f64,
}

/// A peak `height exp(-1/(2n) sum scale_i (Q x - centre)_i^2)`.
struct Peak {
    height: f64,
    centre: Vec<f64>,
    scales: Vec<f64>,
}

fn gallagher(instance: Instance, peaks: &Peaks) -> Prepared {
    let n = instance.dimensions;
    let rotation = instance.second_rotation();
    let others = (peaks.count - 2) as f64;
    let conditions = order(&uniform(peaks.count - 1, instance.seed));
    let places = uniform(n * peaks.count, instance.seed);
    let place = |index: usize| -> Vec<f64> {
        let place = places[index * n..][..n].iter().map(|u| peaks.width * u - peaks.width / 2.0);
        // The best peak keeps away from the bounds.
        place.map(|place| if index == 0 { 0.8 * place } else { place }).collect()
    };
    let peak = |index: usize| {
        let (height, condition) = match index {
            0 => (10.0, peaks.best_condition),
            _ => {
                let rank = (index - 1) as f64 / others;
                (rank * (9.1 - 1.1) + 1.1, libm::pow(1000.0, conditions[index - 1] as f64 / others))
            }
        };
        let axes = order(&uniform(n, instance.seed + 1000 * index as u64));
        let scale = |axis: usize| libm::pow(condition, axis as f64 / (n as f64 - 1.0) - 0.5);
        Peak { height, centre: rotation.times(&place(index)), scales: axes.into_iter().map(scale).collect() }
    };
    let minimizer = place(0);
    let peaks: Vec<Peak> = (0..peaks.count).map(peak).collect();
    let best = peaks[0].centre.clone();
    let constants = peaks.iter().fold(Constants::default().turned(&rotation), |constants, peak| {
        let centre: Vec<f64> = peak.centre.iter().zip(&best).map(|(centre, best)| centre - best).collect();
        constants.and(&[peak.height]).and(&centre).and(&peak.scales)
    });
    Prepared::new(minimizer, constants, move |x| {
        let z = rotation.times(x);
        let height = |peak: &Peak| {
            let terms = z.iter().zip(&peak.centre).zip(&peak.scales);
            let distance: f64 = terms.map(|((z, centre), scale)| scale * (z - centre) * (z - centre)).sum();
            peak.height * libm::exp(-0.5 / n as f64 * distance)
        };
        let highest = peaks.iter().map(height).fold(0.0, f64::max);
        let below = oscillated(10.0 - highest);
        below * below + penalty(x)
    })
}

/// The indices in the order of their values.
fn order(values: &[f64]) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..values.len()).collect();
    indices.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    indices
}

/// f23
pub(super) fn katsuura(instance: Instance) -> Prepared {
    let n = instance.dimensions as f64;
    let optimum = instance.optimum();
    let bend = instance.stretched_rotation(10.0);
    let exponent = 10.0 / libm::pow(n, 1.2);
    Prepared::new(optimum.clone(), Constants::default().turned(&bend).and(&[exponent]), move |x| {
        let z = bend.times(&shifted(x, &optimum));
        let ruggedness = |z: f64| -> f64 {
            let wave = |j: u32| {
                let scale = (1u64 << j) as f64;
                (scale * z - round(scale * z)).abs() / scale
            };
            (1..=32).map(wave).sum()
        };
        let factor = |(z, i): (&f64, u32)| libm::pow(1.0 + f64::from(i) * ruggedness(*z), exponent);
        let product: f64 = z.iter().zip(1..).map(factor).product();
        10.0 / n / n * (product - 1.0) + penalty(x)
    })
}

/// f24
pub(super) fn lunacek(instance: Instance) -> Prepared {
    /// Centre of the funnel of the optimum.
    const BEST: f64 = 2.5;
    let n = instance.dimensions as f64;
    let (first, second) = (instance.first_rotation(), instance.second_rotation());
    let factors = powers(10.0, instance.dimensions);
    // Depth 1 of the second funnel, of width s around `other`.
    let s = 1.0 - 0.5 / ((n + 20.0).sqrt() - 4.1);
    let other = -((BEST * BEST - 1.0) / s).sqrt();
    let signs: Vec<f64> =
        gauss(instance.dimensions, instance.seed).iter().map(|g| if *g < 0.0 { -1.0 } else { 1.0 }).collect();
    let minimizer = signs.iter().map(|sign| sign * 0.5 * BEST).collect();
    let constants = Constants::default().turned(&second).and(&factors).turned(&first).and(&[s, BEST - other]);
    Prepared::new(minimizer, constants, move |x| {
        let doubled: Vec<f64> = x.iter().zip(&signs).map(|(x, sign)| 2.0 * sign * x).collect();
        let from = |centre: f64| -> Vec<f64> { doubled.iter().map(|x| x - centre).collect() };
        let squares = |z: Vec<f64>| -> f64 { z.iter().map(|z| z * z).sum() };
        let mut z = second.times(&from(BEST));
        stretch(&mut z, &factors);
        let waves: f64 = first.times(&z).iter().map(|z| libm::cos(2.0 * PI * z)).sum();
        squares(from(BEST)).min(n + s * squares(from(other))) + 10.0 * (n - waves) + 1e4 * penalty(x)
    })
}
