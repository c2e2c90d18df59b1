//! Between a parameter's values and [0, 1], where strategies think.
//!
//! A choice among n owns an n-th of the interval. Whole numbers own the interval from half a step below to half a step
//! above, on their scale, so that both end values are drawn as often as the others. Exponentials come from libm: a point
//! has the same bits on every platform.

use super::{Domain, Parameter, Scale, Space};

/// A number's way between value and scale.
impl Scale {
    /// The value's place on the scale.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => libm::log(value),
            Scale::Logit => libm::log(value) - libm::log1p(-value),
        }
    }

    /// The value at a place.
    fn value(self, place: f64) -> f64 {
        match self {
            Scale::Linear => place,
            Scale::Log => libm::exp(place),
            Scale::Logit => 1.0 / (1.0 + libm::exp(-place)),
        }
    }
}

/// A domain made ready for many conversions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Codec {
    /// `value = scale(from + unit * length)`, clamped to `low..=high`.
    Continuous {
        /// The scale.
        scale: Scale,
        /// Place of `low`.
        from: f64,
        /// Distance of the places of `low` and `high`.
        length: f64,
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
    },
    /// `low + k step` for `k` in `0..=last`, cut from a scale that is padded half a step at both ends.
    Stepped {
        /// The scale.
        scale: Scale,
        /// Place half a step below `low`.
        from: f64,
        /// Distance to the place half a step above the last value.
        length: f64,
        /// Least value.
        low: f64,
        /// Distance of neighbours.
        step: f64,
        /// Index of the greatest value.
        last: f64,
        /// The power of ten that makes `low` and `step` whole, so that 0.1 three times is the 0.3 that a person writes;
        /// 1 where there is none.
        decimals: f64,
    },
    /// Indices below `count`.
    Choice {
        /// Number of choices.
        count: f64,
    },
    /// One value.
    Constant(f64),
}

impl Codec {
    /// Of a parameter.
    pub fn new(parameter: &Parameter) -> Codec {
        let stepped = |scale: Scale, low: f64, high: f64, step: f64| {
            let last = libm::floor((high - low) / step + 1e-9);
            let from = scale.place(low - step / 2.0);
            let length = scale.place(low + (last + 0.5) * step) - from;
            Codec::Stepped { scale, from, length, low, step, last, decimals: decimals(low, step) }
        };
        match &parameter.domain {
            Domain::Float { low, high, step: Some(step), .. } => stepped(Scale::Linear, *low, *high, *step),
            Domain::Float { low, high, scale, step: None } => {
                let from = scale.place(*low);
                Codec::Continuous { scale: *scale, from, length: scale.place(*high) - from, low: *low, high: *high }
            }
            Domain::Int { low, high, scale, step } => stepped(*scale, *low as f64, *high as f64, *step as f64),
            Domain::Ordinal(choices) | Domain::Categorical(choices) => Codec::Choice { count: choices.len() as f64 },
            Domain::Bool => Codec::Choice { count: 2.0 },
            Domain::Fixed(_) => Codec::Constant(parameter.default),
        }
    }

    /// The encoded value at a place of [0, 1]; what lies outside, or is NaN, counts as the nearer end, or as 0.
    pub fn decode(&self, unit: f64) -> f64 {
        let unit = if unit > 0.0 { unit.min(1.0) } else { 0.0 };
        match *self {
            Codec::Continuous { scale, from, length, low, high } => {
                // The ends exactly: exp(ln low) need not be low.
                match unit {
                    0.0 => low,
                    1.0 => high,
                    _ => scale.value(from + unit * length).clamp(low, high),
                }
            }
            Codec::Stepped { scale, from, length, low, step, last, decimals } => {
                let value = scale.value(from + unit * length);
                scaled_multiple(low, step, whole((value - low) / step + 0.5).clamp(0.0, last), decimals)
            }
            Codec::Choice { count } => whole(unit * count).min(count - 1.0),
            Codec::Constant(value) => value,
        }
    }

    /// The place of an encoded value: the middle of its interval where it owns one. NaN of NaN.
    pub fn encode(&self, value: f64) -> f64 {
        match *self {
            Codec::Continuous { scale, from, length, .. } => ((scale.place(value) - from) / length).clamp(0.0, 1.0),
            Codec::Stepped { scale, from, length, low, step, last, .. } => {
                let index = libm::round((value - low) / step).clamp(0.0, last);
                let place = |index: f64| scale.place(low + index * step);
                // Half-way between the interval's ends on the scale.
                (((place(index - 0.5) + place(index + 0.5)) / 2.0 - from) / length).clamp(0.0, 1.0)
            }
            Codec::Choice { count } => (value + 0.5) / count,
            Codec::Constant(_) if value.is_nan() => f64::NAN,
            Codec::Constant(_) => 0.5,
        }
    }

    /// By how much an encoded value changes with its place in [0, 1]: a slope along values times this is one along places.
    /// NaN where there is no continuum.
    pub fn slope(&self, value: f64) -> f64 {
        match *self {
            Codec::Continuous { scale, length, .. } => {
                length
                    * match scale {
                        Scale::Linear => 1.0,
                        Scale::Log => value,
                        Scale::Logit => value * (1.0 - value),
                    }
            }
            Codec::Stepped { .. } | Codec::Choice { .. } | Codec::Constant(_) => f64::NAN,
        }
    }

    /// How many values there are; `None` for a continuum.
    pub fn count(&self) -> Option<u64> {
        match *self {
            Codec::Continuous { .. } => None,
            Codec::Stepped { last, .. } => Some(last as u64 + 1),
            Codec::Choice { count } => Some(count as u64),
            Codec::Constant(_) => Some(1),
        }
    }

    /// The number of a value among all in ascending order, from 0; 0 in a continuum.
    pub fn index(&self, value: f64) -> u64 {
        match *self {
            Codec::Stepped { low, step, last, .. } => libm::round((value - low) / step).clamp(0.0, last) as u64,
            Codec::Choice { .. } => value as u64,
            Codec::Continuous { .. } | Codec::Constant(_) => 0,
        }
    }

    /// The value number `index` of `count`, in ascending order; of a continuum, evenly spread from end to end.
    pub fn nth(&self, index: u64, count: u64) -> f64 {
        match *self {
            Codec::Continuous { .. } if count < 2 => self.decode(0.5),
            Codec::Continuous { .. } => self.decode(index as f64 / (count - 1) as f64),
            Codec::Stepped { low, step, decimals, .. } => scaled_multiple(low, step, index as f64, decimals),
            Codec::Choice { .. } => index as f64,
            Codec::Constant(value) => value,
        }
    }
}

/// The floor of a number of 0 or more, without the call that processors before SSE4 need for it.
fn whole(value: f64) -> f64 {
    value as i64 as f64
}

/// `low + index step`, rounded once where the two are decimal.
pub(super) fn multiple(low: f64, step: f64, index: f64) -> f64 {
    scaled_multiple(low, step, index, decimals(low, step))
}

fn scaled_multiple(low: f64, step: f64, index: f64, decimals: f64) -> f64 {
    if decimals == 1.0 {
        return low + index * step;
    }
    (libm::round(low * decimals) + index * libm::round(step * decimals)) / decimals
}

/// The least power of ten that makes both whole numbers, but for the rounding of their binary form.
fn decimals(low: f64, step: f64) -> f64 {
    let is_whole = |value: f64| {
        let nearest = libm::round(value);
        nearest.abs() < 1e15 && (value - nearest).abs() <= 2.0 * f64::EPSILON * nearest.abs()
    };
    let powers = std::iter::successors(Some(1.0), |power| Some(power * 10.0)).take(16);
    powers.into_iter().find(|power| is_whole(low * power) && is_whole(step * power)).unwrap_or(1.0)
}

impl Space {
    /// Every parameter's codec, in the order of the columns.
    pub fn codecs(&self) -> Vec<Codec> {
        self.parameters.iter().map(Codec::new).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::space::SpaceBuilder;

    #[test]
    fn values_are_counted_from_the_least() {
        let space =
            SpaceBuilder::new().log_int("a", 3, 900, 5).ordinal("b", &[16, 32, 64], 32).boolean("c", true).build();
        for codec in space.codecs() {
            let count = codec.count().unwrap_or(0);
            assert!(count > 1 && (0..count).all(|index| codec.index(codec.nth(index, count)) == index), "{codec:?}");
        }
    }

    #[test]
    fn slopes_are_those_of_the_way_from_place_to_value() {
        let space = SpaceBuilder::new().float("a", -2.0, 5.0, 0.0).log("b", 1e-4, 10.0, 1.0).logit("c", 0.01, 0.9, 0.5);
        let space = space.int("d", 1, 9, 2).build();
        let codecs = space.codecs();
        for codec in &codecs[..3] {
            for place in [0.1, 0.5, 0.8] {
                let difference = (codec.decode(place + 1e-6) - codec.decode(place - 1e-6)) / 2e-6;
                let slope = codec.slope(codec.decode(place));
                assert!((slope - difference).abs() < 1e-6 * difference, "{slope}, not {difference}");
            }
        }
        assert!(codecs[3].slope(2.0).is_nan());
    }
}
