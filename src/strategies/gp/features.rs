//! Candidates as the kernel sees them: one number a dimension, and how far apart two of them are along each.
//!
//! Numbers keep their place on the cube (of stepped ones the middle of their step, so that what decodes to the same value
//! is the same point). Choices are 0 or 1 apart. A parameter that does not exist has the middle of its axis, and its
//! conditions have a dimension of their own that says whether they hold: so the distance is defined, and how much existence
//! matters is fitted.

use super::super::cube::{Axis, Cube};
use crate::space::Condition;

/// How two numbers of a dimension compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    /// By their difference.
    Number,
    /// By whether they are equal.
    Choice,
}

/// Along a dimension: the squared difference, or 1 where choices differ.
#[derive(Debug, Clone)]
pub(super) struct Features {
    dimensions: Vec<Dimension>,
    /// The column of a row that tells whether some conditions hold: that of any parameter that has them.
    indicators: Vec<usize>,
}

/// A choice of a parameter that does not exist.
const ABSENT: f64 = -1.0;

impl Features {
    pub(super) fn new(cube: &Cube) -> Features {
        let dimension =
            |axis: &Axis| if matches!(axis, Axis::Choices(_)) { Dimension::Choice } else { Dimension::Number };
        let mut dimensions: Vec<Dimension> = cube.axes().iter().map(dimension).collect();
        let mut known: Vec<&[Condition]> = Vec::new();
        let mut indicators = Vec::new();
        for (number, axis) in cube.axes().iter().enumerate() {
            let column = cube.column(number);
            let conditions = cube.space().parameters[column].conditions.as_slice();
            // The choices of a parameter tell its existence already, by one more.
            if !conditions.is_empty() && !matches!(axis, Axis::Choices(_)) && !known.contains(&conditions) {
                known.push(conditions);
                indicators.push(column);
                dimensions.push(Dimension::Choice);
            }
        }
        Features { dimensions, indicators }
    }

    /// All dimensions: first those of the axes.
    pub(super) fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Of a candidate.
    pub(super) fn of(&self, cube: &Cube, row: &[f64]) -> Vec<f64> {
        let mut features = cube.encode(row);
        for (axis, place) in features.iter_mut().enumerate() {
            match cube.axes()[axis] {
                Axis::Choices(_) if place.is_nan() => *place = ABSENT,
                _ if place.is_nan() => *place = 0.5,
                _ => {}
            }
        }
        features.extend(self.indicators.iter().map(|column| f64::from(u8::from(!row[*column].is_nan()))));
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;
    use std::sync::Arc;

    #[test]
    fn what_does_not_exist_has_a_place_and_existence_a_dimension() {
        let space = SpaceBuilder::new()
            .categorical("kind", &["a", "b", "c"], "a")
            .float("x", 0.0, 1.0, 0.2)
            .when("x", "kind", &["b", "c"])
            .float("y", 0.0, 1.0, 0.2)
            .when("y", "kind", &["b", "c"])
            .categorical("z", &["p", "q"], "p")
            .when("z", "kind", &["b"]);
        let cube = Cube::new(Arc::new(space.build()));
        let features = Features::new(&cube);
        use Dimension::{Choice, Number};
        assert_eq!(features.dimensions(), [Choice, Number, Number, Choice, Choice]);
        let without = features.of(&cube, &[0.0, f64::NAN, f64::NAN, f64::NAN]);
        assert_eq!(without[1..], [0.5, 0.5, -1.0, 0.0]);
        let with = features.of(&cube, &[1.0, 0.25, 0.75, 1.0]);
        assert_eq!(with[1..], [0.25, 0.75, 0.75, 1.0]);
    }

    #[test]
    fn what_decodes_to_the_same_value_is_the_same_point() {
        let cube = Cube::new(Arc::new(SpaceBuilder::new().int("n", 1, 4, 2).build()));
        let features = Features::new(&cube);
        let of = |place: f64| features.of(&cube, &cube.decode(&[place]));
        assert_eq!(of(0.26), of(0.49));
        assert_ne!(of(0.24), of(0.26));
    }
}
