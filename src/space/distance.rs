//! How far apart two candidates are, and how densely random search draws one: both in the unit cube, where every
//! parameter weighs the same whatever its range.

use super::{Codec, Domain, Scale, Space};

impl Space {
    /// Distance of two candidates in [0, 1]: the root of the mean square over the parameters (Gower 1971, on the units of
    /// the codec). Choices without an order are 0 or 1 apart, ordinals by their places, numbers by their places on their
    /// scale over the whole range. A parameter that only one of the two has counts 1, one that neither has 0. Parameters
    /// that are held do not count; without any other the distance is 0.
    pub fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut sum = 0.0;
        let mut count = 0u32;
        for (parameter, (a, b)) in self.parameters.iter().zip(a.iter().zip(b)) {
            let codec = Codec::new(parameter);
            if codec.count() == Some(1) && parameter.conditions.is_empty() {
                continue;
            }
            let apart = match (a.is_nan(), b.is_nan()) {
                (true, true) => 0.0,
                (false, false) => codec.apart(*a, *b, matches!(parameter.domain, Domain::Ordinal(_))),
                _ => 1.0,
            };
            sum += apart * apart;
            count += 1;
        }
        if count == 0 { 0.0 } else { (sum / f64::from(count)).sqrt() }
    }

    /// Natural logarithm of the density with which random search draws a candidate, before constraints: with respect to
    /// counting for choices and whole numbers, to length (in the parameter's own unit) for a continuum, and parameters
    /// that do not exist do not count. Minus infinity for what is never drawn: a value outside its range or between
    /// steps, or a parameter that exists where its condition does not hold, or the other way round.
    pub fn log_density(&self, row: &[f64]) -> f64 {
        let columns = self.parameters.iter().zip(row);
        columns
            .map(|(parameter, value)| match (parameter.exists(row), value.is_nan()) {
                (false, true) => 0.0,
                (true, false) => Codec::new(parameter).log_density(*value),
                _ => f64::NEG_INFINITY,
            })
            .sum()
    }
}

impl Codec {
    /// Distance of two encoded values, at most 1.
    fn apart(&self, a: f64, b: f64, is_ordered: bool) -> f64 {
        match *self {
            Codec::Continuous { scale, length, .. } => (scale.place(a) - scale.place(b)).abs() / length,
            Codec::Stepped { last: 0.0, .. } | Codec::Constant(_) => 0.0,
            Codec::Stepped { scale, low, step, last, .. } => {
                (scale.place(a) - scale.place(b)).abs() / (scale.place(low + last * step) - scale.place(low))
            }
            Codec::Choice { count } if is_ordered && count > 1.0 => (a - b).abs() / (count - 1.0),
            Codec::Choice { .. } => f64::from(u8::from(a != b)),
        }
    }

    /// See [`Space::log_density`].
    fn log_density(&self, value: f64) -> f64 {
        let is_possible = match *self {
            Codec::Continuous { low, high, .. } => (low..=high).contains(&value),
            _ => self.decode(self.encode(value)) == value,
        };
        if !is_possible {
            return f64::NEG_INFINITY;
        }
        match *self {
            // The change of variables from the scale's place to the value.
            Codec::Continuous { scale, length, .. } => {
                let slope = match scale {
                    Scale::Linear => 0.0,
                    Scale::Log => libm::log(value),
                    Scale::Logit => libm::log(value) + libm::log1p(-value),
                };
                -libm::log(length) - slope
            }
            Codec::Stepped { scale, length, step, .. } => {
                let owned = scale.place(value + step / 2.0) - scale.place(value - step / 2.0);
                libm::log(owned / length)
            }
            Codec::Choice { count } => -libm::log(count),
            Codec::Constant(_) => 0.0,
        }
    }
}
