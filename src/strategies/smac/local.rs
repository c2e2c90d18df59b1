//! Where the forest promises most: mixtures and mutations of the best candidates, then a climb from the best of them by
//! one-parameter neighbours (Hutter et al. 2011, section 4.2), in spaces of any kind.

use super::forest::{Feature, Forest};
use crate::base::random::Key;
use crate::space::Codec;
use crate::strategies::cube::{Axis, Cube, middle, reflected};
use crate::strategies::generations::Draws;

/// A space as a forest and its candidates see it.
pub(super) struct Terrain {
    pub(super) cube: Cube,
    pub(super) codecs: Vec<Codec>,
    pub(super) features: Vec<Feature>,
    is_conditional: bool,
}

impl Terrain {
    pub(super) fn new(cube: Cube) -> Terrain {
        let feature = |axis: &Axis| match axis {
            Axis::Continuous | Axis::Ordered(_) => Feature::Number,
            Axis::Choices(count) => Feature::Choice(*count as usize),
        };
        Terrain {
            codecs: cube.space().codecs(),
            features: cube.axes().iter().map(feature).collect(),
            is_conditional: cube.space().parameters.iter().any(|parameter| !parameter.conditions.is_empty()),
            cube,
        }
    }

    /// What a forest sees of a value on an axis: a number's place, a choice's code, NaN of NaN.
    pub(super) fn feature(&self, axis: usize, value: f64) -> f64 {
        match self.features[axis] {
            Feature::Number => self.codecs[self.cube.column(axis)].encode(value),
            Feature::Choice(_) => value,
        }
    }
}

/// A candidate that can be changed parameter by parameter.
#[derive(Debug, Clone, Default)]
struct Point {
    /// A value for every parameter, and what a forest sees of it: also of those that do not exist here.
    values: Vec<f64>,
    whole: Vec<f64>,
    /// The candidate's row and features.
    row: Vec<f64>,
    features: Vec<f64>,
}

impl Point {
    fn copy(&mut self, other: &Point) {
        self.values.clone_from(&other.values);
        self.whole.clone_from(&other.whole);
        self.row.clone_from(&other.row);
        self.features.clone_from(&other.features);
    }

    fn set(&mut self, terrain: &Terrain, axis: usize, place: f64) {
        let column = terrain.cube.column(axis);
        self.take(terrain, axis, terrain.codecs[column].decode(place));
    }

    fn take(&mut self, terrain: &Terrain, axis: usize, value: f64) {
        self.values[terrain.cube.column(axis)] = value;
        self.whole[axis] = terrain.feature(axis, value);
    }

    /// Leaves out what does not exist.
    fn settle(&mut self, terrain: &Terrain) {
        self.row.clone_from(&self.values);
        self.features.clone_from(&self.whole);
        if terrain.is_conditional {
            terrain.cube.space().mask(&mut self.row);
            for (axis, feature) in self.features.iter_mut().enumerate() {
                if self.row[terrain.cube.column(axis)].is_nan() {
                    *feature = f64::NAN;
                }
            }
        }
    }
}

/// What proposals are made from.
pub(super) struct Model {
    pub(super) forest: Forest,
    /// The best candidates.
    pub(super) elite: Breed,
    /// The best for each value of a choice on which others depend.
    pub(super) branches: Vec<Breed>,
}

/// What a proposal descends from.
pub(super) struct Breed {
    /// Rows, best first; one at least.
    pub(super) rows: Vec<Vec<f64>>,
    /// A column and the value there that all have, and their children too.
    pub(super) branch: Option<(usize, f64)>,
}

/// Trees that a proposal trusts. Fewer than the forest's, others each time: a batch spreads.
const TRUSTED: usize = 8;

/// Candidates that a proposal looks at; half of them are mixed, the others climb.
const LOOKS: usize = 200;

/// The widest steps' standard deviation (SMAC's neighbours), halved up to six times over.
const WIDEST: f64 = 0.2;

/// The candidate whose lower confidence bound is least of those that a key comes across, at an optimism that the key
/// draws (Hutter, Hoos & Leyton-Brown 2012, section 4); None if none of them is wanted.
pub(super) fn propose(
    terrain: &Terrain,
    forest: &Forest,
    breed: &Breed,
    key: Key,
    is_wanted: impl Fn(&[f64]) -> bool,
) -> Option<Vec<f64>> {
    let mut draws = Draws::new(key);
    let count = forest.len();
    let mut trees: Vec<u32> = (0..count as u32).collect();
    let some = TRUSTED.min(count);
    for place in 0..some {
        let other = place + draws.below(count - place);
        trees.swap(place, other);
    }
    trees.truncate(some);
    trees.sort_unstable();
    // Exponentially distributed with mean 1.
    let optimism = -libm::log(1.0 - draws.uniform());
    let (mut best, mut promise) = (Point::default(), f64::NEG_INFINITY);
    let mut point = Point::default();
    for look in 0..LOOKS {
        if look < LOOKS / 2 || promise == f64::NEG_INFINITY {
            mix(terrain, &breed.rows, &mut draws, &mut point);
        } else {
            point.copy(&best);
            let axes = if draws.uniform() < 0.7 { 1 } else { 2 };
            mutate(terrain, &breed.rows, &mut draws, &mut point, axes);
        }
        point.settle(terrain);
        let is_in = breed.branch.is_none_or(|(column, value)| point.row[column] == value);
        if !is_in || !terrain.cube.space().is_allowed(&point.row) || !is_wanted(&point.row) {
            continue;
        }
        let (mean, variance) = forest.predict(&point.features, &trees);
        let value = optimism * variance.sqrt() - mean;
        if value > promise {
            promise = value;
            std::mem::swap(&mut best, &mut point);
        }
    }
    (promise > f64::NEG_INFINITY).then_some(best.row)
}

/// The place in a list of one drawn with a preference for the first.
fn favourite(draws: &mut Draws, count: usize) -> usize {
    let u = draws.uniform();
    ((u * u * count as f64) as usize).min(count - 1)
}

/// A child of one or two of the best candidates.
fn mix(terrain: &Terrain, elite: &[Vec<f64>], draws: &mut Draws, point: &mut Point) {
    let axes = terrain.cube.axes();
    let first = &elite[favourite(draws, elite.len())];
    let second = &elite[favourite(draws, elite.len())];
    let share = if draws.uniform() < 0.5 { 0.0 } else { draws.uniform() * 0.5 };
    point.values.clone_from(first);
    point.whole.resize(axes.len(), f64::NAN);
    for (axis, kind) in axes.iter().enumerate() {
        let column = terrain.cube.column(axis);
        let value = if draws.uniform() < share && !second[column].is_nan() { second[column] } else { first[column] };
        let value = if value.is_nan() { second[column] } else { value };
        if !value.is_nan() {
            point.take(terrain, axis, value);
            continue;
        }
        // It may come into being by a mutation.
        let third = elite[favourite(draws, elite.len())][column];
        if third.is_nan() {
            let place = match kind {
                Axis::Choices(count) => draws.choice(*count),
                _ => draws.uniform(),
            };
            point.set(terrain, axis, place);
        } else {
            point.take(terrain, axis, third);
        }
    }
    // Held parameters that do not exist in the first.
    for (value, codec) in point.values.iter_mut().zip(&terrain.codecs) {
        if value.is_nan() {
            *value = codec.decode(0.5);
        }
    }
    point.settle(terrain);
    let mut changed = 1;
    while draws.uniform() < 0.5 {
        changed += 1;
    }
    mutate(terrain, elite, draws, point, changed);
}

/// Changes some parameters that exist, or come into being.
fn mutate(terrain: &Terrain, elite: &[Vec<f64>], draws: &mut Draws, point: &mut Point, changes: usize) {
    let axes = terrain.cube.axes();
    for _ in 0..changes {
        let mut axis = draws.below(axes.len());
        for _ in 0..64 {
            if !point.features[axis].is_nan() {
                break;
            }
            axis = draws.below(axes.len());
        }
        let place = match axes[axis] {
            Axis::Choices(count) => {
                let current = point.whole[axis] as u64;
                let other = draws.below(count as usize - 1) as u64;
                middle(other + u64::from(other >= current), count)
            }
            Axis::Continuous | Axis::Ordered(_) => {
                step(terrain, elite, draws, point.values[terrain.cube.column(axis)], axis)
            }
        };
        point.set(terrain, axis, place);
        if terrain.is_conditional && matches!(axes[axis], Axis::Choices(_)) {
            point.settle(terrain);
        }
    }
}

/// A place near a value's: normally distributed, as widely as the best candidates are apart on the axis or by a drawn
/// width. Where values have an order it counts from the next value's place, so that it is never the same value again.
fn step(terrain: &Terrain, elite: &[Vec<f64>], draws: &mut Draws, value: f64, axis: usize) -> f64 {
    let column = terrain.cube.column(axis);
    let any = |draws: &mut Draws| elite[draws.below(elite.len())][column];
    let apart =
        if draws.uniform() < 0.5 { terrain.feature(axis, any(draws)) - terrain.feature(axis, any(draws)) } else { 0.0 };
    let drawn = WIDEST * libm::exp2(-6.0 * draws.uniform());
    let width = if apart == 0.0 || apart.is_nan() { drawn } else { apart.abs() };
    let away = width * draws.normal();
    let codec = &terrain.codecs[column];
    match terrain.cube.axes()[axis] {
        Axis::Ordered(count) => {
            let index = codec.index(value);
            let is_down = index + 1 == count || away < 0.0 && index > 0;
            let next = if is_down { index - 1 } else { index + 1 };
            reflected(codec.encode(codec.nth(next, count)) + if is_down { -away.abs() } else { away.abs() })
        }
        _ => reflected(codec.encode(value) + away),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;
    use std::sync::Arc;

    #[test]
    fn a_step_leads_to_another_value_and_to_the_next_wherever_it_begins() {
        let space = SpaceBuilder::new().log_int("width", 1, 1024, 4).int("depth", 1, 9, 2).build();
        let terrain = Terrain::new(Cube::new(Arc::new(space)));
        for (axis, count) in [(0, 1024), (1, 9)] {
            let codec = terrain.codecs[axis];
            for index in [0, 1, count / 2, count - 2, count - 1] {
                let mut row = terrain.cube.space().defaults();
                row[axis] = codec.nth(index, count);
                let mut draws = Draws::new(Key::from_seed(index));
                let found: Vec<u64> = (0..400)
                    .map(|_| step(&terrain, std::slice::from_ref(&row), &mut draws, row[axis], axis))
                    .map(|place| codec.index(codec.decode(place)))
                    .collect();
                // A step as wide as the cube may come back from its end.
                let same = found.iter().filter(|found| **found == index).count();
                assert!(same < 20, "{same} of 400 from {index} of {count}");
                let is_next = |found: &u64| found.abs_diff(index) == 1;
                assert!(found.iter().any(is_next), "none next to {index} of {count}");
            }
        }
    }
}
