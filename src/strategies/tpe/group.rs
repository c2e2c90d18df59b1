//! Parameters that exist under the same conditions, and the two densities over them: of the good outcomes and of the
//! others.

use super::parzen::{Dimension, Observation, Parzen, Width};
use super::ranking::Ranking;
use crate::base::random::{Key, below};
use crate::space::{Codec, Space};
use crate::strategies::cube::Cube;
use rayon::prelude::*;
use std::collections::HashMap;

/// Draws from l that are compared for each proposal and group.
const DRAWS: u32 = 24;
/// So many times as many are drawn where most are no candidate.
const PATIENCE: u32 = 4;
/// Outcomes before l is more than the prior.
pub(super) const STARTUP: usize = 10;
/// Most kernels of g; of more outcomes, a sample stands for the others.
const BAD: usize = 768;
/// Fewest good outcomes: of one alone the spread says nothing.
const FEWEST: usize = 2;
/// Least bandwidth of l by that of g, where it follows the spread, times the square root of the axes and up to 1. The search
/// gets no nearer than l's kernels are wide; along many axes it is far from the best for longer, and narrow kernels end it
/// early. Best on BBOB's functions is 0.15 to 0.3 in 2 dimensions, 0.5 to 0.7 in 10, 0.7 to 1 in 20.
const FINER: f64 = 0.15;
/// Most kernels of l.
pub(super) const GOOD: usize = 400;
/// The latest outcomes, which count whole in g.
const RECENT: usize = 25;
/// Factors of kernels that make a second thread worth its while.
const PARALLEL: usize = 50_000;

/// Parameters that exist under the same conditions.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Columns of all of them, those of one value too.
    pub(super) columns: Vec<usize>,
    /// Their axes.
    pub(super) axes: Vec<usize>,
    dimensions: Vec<Dimension>,
    /// Outcomes in which the group exists, by number.
    members: Vec<u32>,
    /// The best of these.
    best: Ranking,
    models: Option<Models>,
}

#[derive(Debug)]
struct Models {
    /// l
    good: Parzen,
    /// g
    bad: Parzen,
}

/// Parameters by their conditions, in the order of their first columns: parents stand before their children.
pub(super) fn groups(space: &Space, cube: &Cube, codecs: &[Codec], objectives: usize) -> Vec<Group> {
    let conditions = |column: usize| {
        let conditions = space.parameters[column].conditions.iter();
        let mut conditions: Vec<(usize, Vec<u64>)> = conditions
            .map(|condition| {
                let mut values: Vec<u64> = condition.values.iter().map(|value| value.to_bits()).collect();
                values.sort_unstable();
                (condition.parent, values)
            })
            .collect();
        conditions.sort();
        conditions
    };
    let mut known = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut axes = (0..cube.axes().len()).peekable();
    for (column, codec) in codecs.iter().enumerate() {
        let number = *known.entry(conditions(column)).or_insert(groups.len());
        if number == groups.len() {
            groups.push(Group { best: Ranking::new(objectives), ..Group::default() });
        }
        groups[number].columns.push(column);
        if let Some(axis) = axes.next_if(|axis| cube.column(*axis) == column) {
            groups[number].axes.push(axis);
            groups[number].dimensions.push(Dimension::new(cube.axes()[axis], *codec));
        }
    }
    groups
}

/// How many of so many outcomes count as good.
pub(super) fn goods(outcomes: usize) -> usize {
    // A tenth; from 250 outcomes on 25, as in Optuna, until the square root is more.
    let tenth = outcomes.div_ceil(10);
    tenth.min(25).max(libm::sqrt(outcomes as f64) as usize).min(tenth).max(FEWEST)
}

impl Group {
    /// Learns an outcome by its number, the places of all axes, and its values, each to be minimised.
    pub(super) fn tell(&mut self, number: u32, places: &[f64], values: &[f64], violation: f64) {
        if self.exists(places) {
            self.members.push(number);
            self.best.tell(number, values, violation);
        }
    }

    fn exists(&self, places: &[f64]) -> bool {
        self.axes.first().is_some_and(|axis| !places[*axis].is_nan())
    }

    /// Models outcomes anew: `top` are the best of all, by number, empty where the groups are one or too little is known;
    /// `places` are those of all axes, `width` an outcome.
    pub(super) fn learn(
        &mut self,
        places: &[f64],
        width: usize,
        told: usize,
        top: &[u32],
        width_of_good: Width,
        key: Key,
    ) {
        let good = self.best.weighted(if told < STARTUP { 0 } else { self.goods(top) });
        let bad = self.sample(&good, key);
        let observe = |numbers: &[(u32, f64)]| -> Vec<Observation> {
            let observe = |(number, weight): &(u32, f64)| {
                let row = &places[*number as usize * width..][..width];
                Observation { places: self.axes.iter().map(|axis| row[*axis]).collect(), weight: *weight }
            };
            numbers.iter().map(observe).collect()
        };
        let (good, bad) = (observe(&good), observe(&bad));
        // Optuna's least bandwidth: a hundredth of the range, or more.
        let least = |n: usize| 1.0 / (n as f64 + 2.0).min(100.0);
        let finer = match width_of_good {
            Width::Spread => (FINER * libm::sqrt(self.axes.len() as f64)).min(1.0),
            Width::Gap => 1.0,
        };
        self.models = Some(Models {
            good: Parzen::new(&self.dimensions, &good, finer * least(good.len()), width_of_good),
            bad: Parzen::new(&self.dimensions, &bad, least(bad.len()), Width::Gap),
        });
    }

    /// How many outcomes count as good: those of the group that are among the best of all, so that a branch that holds them
    /// is looked at as closely as it deserves; in a branch that holds none, the best of its own.
    fn goods(&self, top: &[u32]) -> usize {
        match top.iter().filter(|number| self.members.binary_search(number).is_ok()).count() {
            0 => goods(self.members.len()),
            among => among,
        }
    }

    /// The others with their weights: the latest count whole, older ones less by their age (as in Optuna).
    fn sample(&self, good: &[(u32, f64)], key: Key) -> Vec<(u32, f64)> {
        let n = self.members.len();
        let strata = n.min(BAD);
        let edge = |stratum: usize| stratum * n / strata;
        let pick = |stratum: usize| {
            let size = edge(stratum + 1) - edge(stratum);
            edge(stratum) + if size == 1 { 0 } else { below(key, stratum as u64, size as u64) as usize }
        };
        let weight = |place: usize| {
            if place + RECENT >= n { 1.0 } else { (place + 1) as f64 / (n - RECENT) as f64 }
        };
        let picks = (0..strata).map(pick).map(|place| (self.members[place], weight(place)));
        picks.filter(|(number, _)| good.binary_search_by_key(number, |(good, _)| *good).is_err()).collect()
    }

    /// Counts a candidate that is out as a bad one of this weight (the constant liar of Ginsbourger et al. 2010).
    pub(super) fn await_outcome(&mut self, places: &[f64], weight: f64) {
        if self.exists(places)
            && let Some(models) = &mut self.models
        {
            let places: Vec<f64> = self.axes.iter().map(|axis| places[*axis]).collect();
            models.bad.push(&places, weight);
        }
    }

    /// A place on each of the group's axes: of some draws from l the one that is likeliest there by comparison with g.
    /// Draws that are no candidate count only where there are no others.
    pub(super) fn propose(&self, key: Key, is_candidate: impl Fn(&[f64]) -> bool) -> Vec<f64> {
        let Some(Models { good, bad }) = &self.models else { return vec![0.5; self.axes.len()] };
        let all = (0..DRAWS * PATIENCE).map(|draw| good.draw(key.child(draw)));
        let mut points: Vec<Vec<f64>> = all.filter(|point| is_candidate(point)).take(DRAWS as usize).collect();
        if points.is_empty() {
            points.push(good.draw(key));
        }
        // Nothing is known to be good: g alone would send everything to the corners.
        if good.len() == 1 {
            return points.swap_remove(0);
        }
        let ratio = |point: &Vec<f64>| good.score(point) - bad.score(point);
        let is_long = points.len() * (good.len() + bad.len()) * self.axes.len() > PARALLEL;
        let ratios: Vec<f64> =
            if is_long { points.par_iter().map(ratio).collect() } else { points.iter().map(ratio).collect() };
        let mut best = 0;
        for (draw, ratio) in ratios.iter().enumerate() {
            if *ratio > ratios[best] {
                best = draw;
            }
        }
        points.swap_remove(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;
    use std::sync::Arc;

    #[test]
    fn kernels_stay_the_wider_the_more_axes_there_are() {
        // All that is good lies in one place, so that kernels are as narrow as they may be.
        let width = |axes: usize| {
            let space =
                (0..axes).fold(SpaceBuilder::new(), |space, axis| space.float(&format!("x{axis}"), 0.0, 1.0, 0.5));
            let space = Arc::new(space.build());
            let cube = Cube::new(space.clone());
            let mut groups = groups(&space, &cube, &space.codecs(), 1);
            let mut places = Vec::new();
            for number in 0..200u32 {
                let place = vec![if number < 20 { 0.5 } else { 0.1 }; axes];
                groups[0].tell(number, &place, &[f64::from(number)], 0.0);
                places.extend(place);
            }
            groups[0].learn(&places, axes, 200, &[], Width::Spread, Key::from_seed(1));
            let good = &groups[0].models.as_ref().expect("models").good;
            let draws = (0..1000).map(|draw| (good.draw(Key::from_seed(3).child(draw))[0] - 0.5).abs());
            let mut draws: Vec<f64> = draws.collect();
            draws.sort_by(f64::total_cmp);
            draws[500]
        };
        let (few, many) = (width(4), width(16));
        assert!((many / few - 2.0).abs() < 0.4, "{few} {many}");
    }
}
