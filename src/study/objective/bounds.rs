//! What a result of a program may be: limits that a study names, each one number or two.

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The range that a result is to lie in, its ends among it. In a study it is `400`, the most, or `{ min = 0.9, max = 1.0 }`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// What it is at least.
    pub min: Option<f64>,
    /// What it is at most.
    pub max: Option<f64>,
}

impl Bounds {
    /// What is wrong with them, if anything is.
    pub(super) fn fault(self) -> Option<&'static str> {
        let is_number = |end: Option<f64>| end.is_none_or(f64::is_finite);
        match (self.min, self.max) {
            (None, None) => Some("it says neither min nor max"),
            (min, max) if !is_number(min) || !is_number(max) => Some("its ends are to be finite numbers"),
            (Some(min), Some(max)) if min > max => Some("nothing is as much as its min and as little as its max"),
            _ => None,
        }
    }

    /// How far a value is outside, as a share of the end that it is beyond; in the value's own unit where that end is 0. Of
    /// NaN nobody knows that it is outside.
    pub(super) fn beyond(self, value: f64) -> f64 {
        let share = |end: f64, beyond: f64| beyond.max(0.0) / if end == 0.0 { 1.0 } else { end.abs() };
        let below = self.min.map_or(0.0, |min| share(min, min - value));
        let above = self.max.map_or(0.0, |max| share(max, value - max));
        below + above
    }
}

impl Serialize for Bounds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Bounds { min: None, max: Some(max) } = self {
            return serializer.serialize_f64(*max);
        }
        let ends = [("min", self.min), ("max", self.max)];
        let mut map = serializer.serialize_map(None)?;
        for (name, end) in ends.iter().filter_map(|(name, end)| Some((name, (*end)?))) {
            map.serialize_entry(name, &end)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bounds, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Bounds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit: a number, which is the most, or { min = 0.9, max = 1.0 } with one of these or both")
    }

    fn visit_f64<E: Error>(self, max: f64) -> Result<Bounds, E> {
        Ok(Bounds { min: None, max: Some(max) })
    }

    fn visit_i64<E: Error>(self, max: i64) -> Result<Bounds, E> {
        self.visit_f64(max as f64)
    }

    fn visit_u64<E: Error>(self, max: u64) -> Result<Bounds, E> {
        self.visit_f64(max as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bounds, A::Error> {
        let mut bounds = Bounds::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "min" => bounds.min = Some(map.next_value()?),
                "max" => bounds.max = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(Error::unknown_field(&key, &["min", "max"]));
                }
            }
        }
        Ok(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Limits {
        size: Bounds,
    }

    fn read(text: &str) -> Result<Bounds, String> {
        let limits: Result<Limits, _> = toml::from_str(&format!("size = {text}"));
        limits.map(|limits| limits.size).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (low, high) = (Some(0.5), Some(400.0));
        for (text, bounds) in [
            ("400", Bounds { min: None, max: high }),
            ("4e2", Bounds { min: None, max: high }),
            ("{ max = 400 }", Bounds { min: None, max: high }),
            ("{ min = 0.5 }", Bounds { min: low, max: None }),
            ("{ min = 0.5, max = 400.0 }", Bounds { min: low, max: high }),
        ] {
            assert_eq!(read(text), Ok(bounds), "{text}");
            let written = toml::to_string(&Limits { size: bounds }).unwrap();
            assert_eq!(toml::from_str::<Limits>(&written).unwrap().size, bounds, "{written}");
        }
        assert!(read("'much'").unwrap_err().contains("a number, which is the most"));
        assert!(read("{ most = 3 }").unwrap_err().contains("unknown field `most`"));
    }

    #[test]
    fn what_is_outside_counts_by_its_share() {
        let bounds = |min, max| Bounds { min, max };
        let both = bounds(Some(2.0), Some(4.0));
        assert_eq!([1.0, 2.0, 3.0, 4.0, 6.0].map(|value| both.beyond(value)), [0.5, 0.0, 0.0, 0.0, 0.5]);
        assert_eq!(bounds(None, Some(-2.0)).beyond(1.0), 1.5, "of what is below 0 the share is of its amount");
        assert_eq!(bounds(None, Some(0.0)).beyond(3.0), 3.0, "of nothing there is no share");
        assert_eq!(both.beyond(f64::NAN), 0.0);
        assert_eq!(both.beyond(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn limits_that_nothing_can_keep_are_none() {
        let fault = |min, max| Bounds { min, max }.fault();
        assert_eq!([fault(Some(1.0), Some(1.0)), fault(None, Some(-1.0))], [None, None]);
        assert!(fault(None, None).is_some() && fault(Some(2.0), Some(1.0)).is_some());
        assert!(fault(None, Some(f64::NAN)).is_some() && fault(Some(f64::NEG_INFINITY), None).is_some());
    }
}
