//! What the process is fitted to: values turned so that less is better, brought near to a normal distribution.
//!
//! A few huge losses would stretch the scale until the good candidates are all alike. The bad tail is therefore cut, and
//! the rest goes through the power transform of Yeo & Johnson 2000 ("A new family of power transformations to improve
//! normality or symmetry") with the most likely exponent, as HEBO does (Cowen-Rivers et al. 2022, arXiv:2012.03826).

use crate::base::order::ascending;

/// Values beyond the median by more than so many times the distance from there to the first quartile count as that.
const TAIL: f64 = 20.0;
/// Exponents that are tried: from -1 to 2, of which 1 leaves the values alone.
const EXPONENTS: i32 = 24;

/// A monotone way from values to the process's units, in which they have mean 0 and variance 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaling {
    median: f64,
    spread: f64,
    exponent: f64,
    mean: f64,
    deviation: f64,
    /// In the process's units.
    least: f64,
    worst: f64,
}

impl Scaling {
    /// Of values to be minimised, of which some are not finite; None where less than two different ones are.
    pub(super) fn new(values: impl Iterator<Item = f64>) -> Option<Scaling> {
        let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_by(|a, b| ascending(*a, *b));
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        if first == last || !(last - first).is_finite() {
            return None;
        }
        let median = sorted[sorted.len() / 2];
        let quartile = sorted[sorted.len() / 4];
        // Ties may leave no distance: then that to the best, to the worst.
        let distances = [median - quartile, median - first, last - median];
        let spread = distances.into_iter().find(|distance| *distance > 0.0)?;
        let places: Vec<f64> = sorted.iter().map(|value| ((value - median) / spread).min(TAIL)).collect();
        let exponents = (0..=EXPONENTS).map(|step| -1.0 + f64::from(step) * 3.0 / f64::from(EXPONENTS));
        let mut best: Option<(f64, f64)> = None;
        for exponent in exponents {
            let likelihood = log_likelihood(&places, exponent);
            if likelihood.is_finite() && best.is_none_or(|(most, _)| likelihood > most) {
                best = Some((likelihood, exponent));
            }
        }
        let exponent = best.map_or(1.0, |(_, exponent)| exponent);
        let powers: Vec<f64> = places.iter().map(|place| power(*place, exponent)).collect();
        let (mean, deviation) = moments(&powers);
        if !(deviation > 0.0 && deviation.is_finite()) {
            return None;
        }
        let unit = |place: &f64| (place - mean) / deviation;
        let (least, worst) = (powers.first().map_or(0.0, unit), powers.last().map_or(0.0, unit));
        Some(Scaling { median, spread, exponent, mean, deviation, least, worst })
    }

    /// In the process's units. What failed is as bad as the worst that did not: left out, its place would stay attractive
    /// for ever.
    pub(super) fn scaled(&self, value: f64) -> f64 {
        if value.is_nan() || value == f64::INFINITY {
            return self.worst;
        }
        if value == f64::NEG_INFINITY {
            return self.least;
        }
        let place = ((value - self.median) / self.spread).min(TAIL);
        (power(place, self.exponent) - self.mean) / self.deviation
    }

    /// The value that is so in the process's units.
    pub(super) fn unscaled(&self, scaled: f64) -> f64 {
        self.median + self.spread * unpower(scaled * self.deviation + self.mean, self.exponent)
    }
}

/// What [`power`] makes of it is `y`.
fn unpower(y: f64, exponent: f64) -> f64 {
    let lowered = |y: f64, exponent: f64| match exponent.abs() < 1e-9 {
        true => libm::expm1(y),
        // Beyond what a power of the exponent comes to, there is no place.
        false => libm::pow((1.0 + exponent * y).max(0.0), 1.0 / exponent) - 1.0,
    };
    if y >= 0.0 { lowered(y, exponent) } else { -lowered(-y, 2.0 - exponent) }
}

/// Yeo & Johnson 2000, eq. (2.1).
fn power(x: f64, exponent: f64) -> f64 {
    let raised = |base: f64, exponent: f64| {
        if exponent.abs() < 1e-9 { libm::log1p(base) } else { (libm::pow(1.0 + base, exponent) - 1.0) / exponent }
    };
    if x >= 0.0 { raised(x, exponent) } else { -raised(-x, 2.0 - exponent) }
}

/// Of the exponent, where mean and variance are the most likely ones; ibid., eq. (3.1).
fn log_likelihood(places: &[f64], exponent: f64) -> f64 {
    let powers: Vec<f64> = places.iter().map(|place| power(*place, exponent)).collect();
    let (_, deviation) = moments(&powers);
    let stretch: f64 = places.iter().map(|x| libm::copysign(libm::log1p(x.abs()), *x)).sum();
    (exponent - 1.0) * stretch - places.len() as f64 * libm::log(deviation)
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, normal_f64};

    fn normals() -> Vec<f64> {
        (0..400).map(|i| normal_f64(Key::from_seed(3).words(i))).collect()
    }

    #[test]
    fn order_is_kept_and_the_scale_is_one_whatever_the_tails() {
        let values: Vec<f64> = normals().iter().map(|x| libm::exp(3.0 * x) - 7.0).collect();
        let scaling = Scaling::new(values.iter().copied()).expect("different values");
        let mut pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, scaling.scaled(*value))).collect();
        pairs.sort_by(|a, b| ascending(a.0, b.0));
        assert!(pairs.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        let (mean, deviation) = moments(&pairs.iter().map(|pair| pair.1).collect::<Vec<f64>>());
        assert!(mean.abs() < 1e-9 && (deviation - 1.0).abs() < 1e-9);
        // Log-normal values are skewed by hundreds; what comes out is within what 400 normal draws show.
        let skew = pairs.iter().map(|pair| pair.1 * pair.1 * pair.1).sum::<f64>() / 400.0;
        assert!(skew.abs() < 1.0, "{skew}");
    }

    #[test]
    fn what_is_scaled_comes_back() {
        for shape in [-1.0, 0.3, 2.0] {
            let values: Vec<f64> = normals().iter().map(|x| libm::exp(shape * x)).collect();
            let scaling = Scaling::new(values.iter().copied()).expect("different values");
            let tail = scaling.median + TAIL * scaling.spread;
            for value in values.iter().filter(|value| **value < tail) {
                let back = scaling.unscaled(scaling.scaled(*value));
                assert!((back - value).abs() < 1e-9 * (1.0 + value.abs()), "{value} {back}");
            }
        }
    }

    #[test]
    fn one_absurd_value_leaves_the_others_apart() {
        let values = normals().into_iter().chain([1e30]);
        let scaling = Scaling::new(values).expect("different values");
        assert!(scaling.scaled(0.5) - scaling.scaled(-0.5) > 0.5);
    }

    #[test]
    fn what_failed_is_as_bad_as_the_worst() {
        let scaling = Scaling::new([3.0, f64::NAN, 1.0, f64::INFINITY, 2.0].into_iter()).expect("different values");
        assert_eq!(scaling.scaled(f64::NAN), scaling.scaled(3.0));
        assert_eq!(scaling.scaled(f64::INFINITY), scaling.scaled(3.0));
        assert_eq!(scaling.scaled(f64::NEG_INFINITY), scaling.scaled(1.0));
        assert!(Scaling::new([f64::NAN, 1.0, 1.0].into_iter()).is_none());
    }
}
