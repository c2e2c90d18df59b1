//! Where descents begin: what an earlier search found, places far from all that was seen, and hops from the best.

use crate::base::random::{Key, below, normal_f64, uniform_f64};
use crate::strategies::cube::{Axis, Cube, reflected};
use std::collections::VecDeque;

/// Places that are remembered, to begin elsewhere.
const MOST_SEEN: usize = 256;
/// Draws of which the one farthest from what was seen is taken.
const DRAWS: u32 = 8;
/// Hops that are tried until one is allowed.
const HOPS: u32 = 16;
/// Distances of hops: from a 32nd of the cube to a half, as powers of 2.
const HOP: [f64; 2] = [-5.0, -1.0];

/// A place of the whole cube, and its candidate.
#[derive(Debug, Clone)]
pub struct Place {
    /// On every axis; NaN where a parameter does not exist.
    pub place: Vec<f64>,
    /// Encoded values.
    pub row: Vec<f64>,
}

impl Place {
    /// Of a candidate.
    pub fn of_row(cube: &Cube, row: Vec<f64>) -> Place {
        Place { place: cube.encode(&row), row }
    }

    /// The axes along which it can be moved: continuous, and of a parameter that exists.
    pub fn axes(&self, cube: &Cube) -> Vec<usize> {
        let is_free = |(axis, kind): (usize, &Axis)| {
            let exists = self.place.get(axis).is_some_and(|place| !place.is_nan());
            (*kind == Axis::Continuous && exists).then_some(axis)
        };
        cube.axes().iter().enumerate().filter_map(is_free).collect()
    }

    /// Moved to `x` along these axes.
    pub fn moved(&self, axes: &[usize], x: &[f64]) -> Vec<f64> {
        let mut place = self.place.clone();
        for (axis, x) in axes.iter().zip(x) {
            if let Some(place) = place.get_mut(*axis) {
                *place = *x;
            }
        }
        place
    }

    /// Where it is along these axes.
    pub fn along(&self, axes: &[usize]) -> Vec<f64> {
        axes.iter().map(|axis| self.place.get(*axis).copied().unwrap_or(0.5)).collect()
    }
}

/// What was seen of the cube.
#[derive(Debug, Default)]
pub struct Seen {
    /// Places, and whether they failed; the latest last.
    places: VecDeque<(Vec<f64>, bool)>,
    /// Candidates of an earlier search, the best first: their choices are kept.
    pub bases: Vec<Place>,
}

impl Seen {
    /// Remembers a place.
    pub fn push(&mut self, place: Vec<f64>, has_failed: bool) {
        if self.places.len() == MOST_SEEN {
            self.places.pop_front();
        }
        self.places.push_back((place, has_failed));
    }

    /// A place to begin: of some draws the one farthest from all that was seen, and nearer to what didn't fail than to
    /// what did where there is such a one.
    pub fn far(&self, cube: &Cube, key: Key) -> Place {
        let draws = (0..DRAWS).map(|draw| self.draw(cube, key.child(draw)));
        let judged = draws.map(|drawn| {
            let distance = |(place, failed): &(Vec<f64>, bool)| (distance(&drawn.place, place), *failed);
            let nearest = self.places.iter().map(distance).min_by(|a, b| a.0.total_cmp(&b.0));
            (nearest.unwrap_or((f64::INFINITY, false)), drawn)
        });
        let best = judged.max_by(|(a, _), (b, _)| b.1.cmp(&a.1).then(a.0.total_cmp(&b.0)));
        best.map_or_else(|| self.draw(cube, key), |(_, drawn)| drawn)
    }

    fn draw(&self, cube: &Cube, key: Key) -> Place {
        let count = self.bases.len() as u64;
        let base = if count == 0 { None } else { self.bases.get(below(key.child(u32::MAX), 0, count) as usize) };
        let Some(base) = base else { return Place::of_row(cube, cube.draw(key)) };
        moves(cube, base, key, |_, _, words| uniform_f64(words))
    }

    /// A place around this one, along all of its axes or along some: where valleys lie side by side along the axes, one
    /// that is better on one axis is not given up for another.
    pub fn hop(&self, cube: &Cube, from: &Place, key: Key) -> Place {
        let own = key.child(u32::MAX);
        let size = libm::exp2(HOP[0] + (HOP[1] - HOP[0]) * uniform_f64(own.words(0)));
        let share = 1.0 / f64::from(1u32 << below(own, 1, 4));
        moves(cube, from, key, |axis, x, words| {
            let moves = share == 1.0 || uniform_f64(own.words(2 + axis)) < share;
            if moves { reflected(x + size * normal_f64(words)) } else { x }
        })
    }
}

/// The first allowed of some moves along a place's axes; else the place itself.
fn moves(cube: &Cube, from: &Place, key: Key, to: impl Fn(u64, f64, [u32; 2]) -> f64) -> Place {
    let axes = from.axes(cube);
    let x = from.along(&axes);
    for attempt in 0..HOPS {
        let key = key.child(attempt);
        let x: Vec<f64> = (0..).zip(&x).map(|(axis, x)| to(axis, *x, key.words(axis))).collect();
        let place = from.moved(&axes, &x);
        let row = cube.decode(&place);
        if cube.space().is_allowed(&row) {
            return Place { place, row };
        }
    }
    from.clone()
}

/// The square of the distance of two places over the axes that both have.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).filter(|square| !square.is_nan()).sum()
}

/// Whether two places are one for a descent: the same choices, and hardly apart elsewhere.
pub fn is_near(a: &[f64], b: &[f64], apart: f64) -> bool {
    a.iter().zip(b).all(|(a, b)| a.is_nan() && b.is_nan() || (a - b).abs() < apart)
}
