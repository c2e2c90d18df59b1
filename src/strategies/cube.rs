//! The space as a unit cube, as strategies that learn see it: an axis for each parameter that has more than one value.

use crate::base::random::{Key, uniform_f64};
use crate::space::{Codec, Domain, Space};
use std::sync::Arc;

/// What neighbours on an axis have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Any place is a value of its own.
    Continuous,
    /// So many values in their order, each with an interval of its own.
    Ordered(u64),
    /// So many values without an order.
    Choices(u64),
}

/// A space's searched parameters as axes of a unit cube.
#[derive(Debug, Clone)]
pub struct Cube {
    space: Arc<Space>,
    codecs: Vec<Codec>,
    /// The column of each axis.
    columns: Vec<usize>,
    axes: Vec<Axis>,
}

impl Cube {
    /// Of a space.
    pub fn new(space: Arc<Space>) -> Cube {
        let codecs = space.codecs();
        let axis = |column: usize| match (&space.parameters[column].domain, codecs[column].count()) {
            (_, Some(0 | 1)) => None,
            (_, None) => Some(Axis::Continuous),
            (Domain::Categorical(_) | Domain::Bool, Some(count)) => Some(Axis::Choices(count)),
            (_, Some(count)) => Some(Axis::Ordered(count)),
        };
        let (columns, axes) = (0..codecs.len()).filter_map(|column| Some((column, axis(column)?))).unzip();
        Cube { space, codecs, columns, axes }
    }

    /// The space.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Every axis, in the order of the parameters.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The column of an axis in a candidate's row.
    pub fn column(&self, axis: usize) -> usize {
        self.columns[axis]
    }

    /// The candidate at a place of the cube; parameters that do not exist there are NaN. Places outside count as the
    /// nearest inside.
    pub fn decode(&self, place: &[f64]) -> Vec<f64> {
        let mut row: Vec<f64> = self.codecs.iter().map(|codec| codec.decode(0.5)).collect();
        for (column, place) in self.columns.iter().zip(place) {
            row[*column] = self.codecs[*column].decode(*place);
        }
        self.space.mask(&mut row);
        row
    }

    /// The place of a candidate: the middle of its interval on an axis of single values, NaN where a parameter does not
    /// exist.
    pub fn encode(&self, row: &[f64]) -> Vec<f64> {
        self.columns.iter().map(|column| self.codecs[*column].encode(row[*column])).collect()
    }

    /// A gradient along a candidate's encoded values, one a parameter, as one along the axes.
    pub fn slopes(&self, row: &[f64], gradient: &[f64]) -> Vec<f64> {
        let slope = |column: &usize| gradient[*column] * self.codecs[*column].slope(row[*column]);
        self.columns.iter().map(slope).collect()
    }

    /// A candidate that is allowed, drawn uniformly; where constraints leave next to nothing, the last that was tried.
    pub fn draw(&self, key: Key) -> Vec<f64> {
        let mut place = vec![0.0; self.axes.len()];
        let mut row = Vec::new();
        for attempt in 0..ATTEMPTS {
            let key = key.child(attempt);
            (0u64..).zip(&mut place).for_each(|(axis, place)| *place = uniform_f64(key.words(axis)));
            row = self.decode(&place);
            if self.space.is_allowed(&row) {
                break;
            }
        }
        row
    }
}

/// The choice at a place of an axis of `count`.
pub fn choice(place: f64, count: u64) -> u64 {
    ((place * count as f64) as u64).min(count - 1)
}

/// The middle of a choice's interval.
pub fn middle(choice: u64, count: u64) -> f64 {
    (choice as f64 + 0.5) / count as f64
}

/// A place beyond the unit interval, reflected at its ends as often as it takes.
pub fn reflected(place: f64) -> f64 {
    let folded = place.rem_euclid(2.0);
    if folded > 1.0 { 2.0 - folded } else { folded }
}

/// How often a candidate is drawn anew until its constraints hold. A space of which one point in a thousand is allowed
/// then fails once in e^30 candidates; the last draw is kept, and the study reports it as failed.
pub(super) const ATTEMPTS: u32 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    fn cube() -> Cube {
        let space = SpaceBuilder::new()
            .log("rate", 1e-4, 1.0, 0.1)
            .categorical("kind", &["plain", "wide"], "plain")
            .int("width", 1, 4, 2)
            .categorical("held", &["so"], "so")
            .when("width", "kind", &["wide"]);
        Cube::new(Arc::new(space.build()))
    }

    #[test]
    fn parameters_that_have_one_value_have_no_axis() {
        let cube = cube();
        let mut axes = cube.axes().to_vec();
        axes.sort_by_key(|axis| format!("{axis:?}"));
        assert_eq!(axes, [Axis::Choices(2), Axis::Continuous, Axis::Ordered(4)]);
    }

    #[test]
    fn a_candidate_comes_back_from_its_place() {
        let cube = cube();
        for number in 0..200 {
            let row = cube.draw(Key::from_seed(number));
            let back = cube.decode(&cube.encode(&row));
            for (value, again) in row.iter().zip(&back) {
                assert!(
                    (value.is_nan() && again.is_nan()) || (value - again).abs() <= 1e-12 * value.abs(),
                    "{row:?} {back:?}"
                );
            }
        }
    }
}
