//! Parameters that exist under the same conditions, and the two densities over them: of the good outcomes and of the
//! others.

use super::levels::{Levels, Told};
use super::parzen::{Dimension, Observation, Parzen, Width};
use super::ranking::weighted;
use crate::base::random::{Key, below};
use crate::space::{Codec, Condition, Space};
use crate::strategies::cube::Cube;
use rayon::prelude::*;
use std::collections::HashMap;

/// Most draws from l that are compared for each proposal and group.
const DRAWS: usize = 24;
/// So many an axis where there are several groups, drawn for one after another: of 24 draws of one choice every value is among
/// them, the likeliest always wins, and a batch goes down one branch.
const DRAWS_AN_AXIS: usize = 4;
/// So many times as many are drawn where most are no candidate.
const PATIENCE: usize = 4;
/// Outcomes before l is more than the prior.
const STARTUP: usize = 10;
/// Most kernels of g; of more outcomes, a sample stands for the others.
const BAD: usize = 768;
/// Fewest good outcomes in all: of one alone the spread says nothing. A branch may hold one of them or none.
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
    /// Draws from l that are compared for a proposal.
    draws: usize,
    /// Outcomes in which the group exists, by number.
    members: Vec<u32>,
    /// The best of these.
    best: Levels,
    models: Option<Models>,
    /// What must hold for the group to exist, and for that to: ancestors first.
    pub(super) needs: Vec<Condition>,
}

/// Places of outcomes on all axes, `width` of them each, and how they are modelled.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) places: &'a [f64],
    pub(super) width: usize,
    pub(super) width_of_good: Width,
}

#[derive(Debug)]
pub(super) struct Models {
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
            groups.push(Group { best: Levels::new(objectives), ..Group::default() });
        }
        groups[number].columns.push(column);
        if let Some(axis) = axes.next_if(|axis| cube.column(*axis) == column) {
            groups[number].axes.push(axis);
            groups[number].dimensions.push(Dimension::new(cube.axes()[axis], *codec));
        }
    }
    let is_one = groups.len() == 1;
    for group in &mut groups {
        group.needs = group.columns.first().map_or_else(Vec::new, |column| needs(space, *column));
        group.draws = if is_one { DRAWS } else { DRAWS.min(DRAWS_AN_AXIS * group.axes.len()) };
    }
    groups
}

/// What must hold for a column to exist, ancestors first, each once. None of the values of one that can never exist.
fn needs(space: &Space, column: usize) -> Vec<Condition> {
    let conditions = &space.parameters[column].conditions;
    let of_ancestors = conditions.iter().flat_map(|condition| needs(space, condition.parent));
    let mut all: Vec<Condition> = Vec::new();
    for need in of_ancestors.chain(conditions.iter().cloned()) {
        match all.iter_mut().find(|known| known.parent == need.parent) {
            Some(known) => known.values.retain(|value| need.values.contains(value)),
            None => all.push(need),
        }
    }
    all
}

/// How many of so many outcomes count as good.
pub(super) fn goods(outcomes: usize) -> usize {
    // A tenth; from 250 outcomes on 25, as in Optuna, until the square root is more.
    let tenth = outcomes.div_ceil(10);
    tenth.min(25).max(libm::sqrt(outcomes as f64) as usize).min(tenth).max(FEWEST)
}

impl Group {
    /// Learns an outcome at these places of all axes.
    pub(super) fn tell(&mut self, places: &[f64], told: &Told) {
        if self.exists(places) {
            self.members.push(told.number);
            self.best.tell(told);
        }
    }

    pub(super) fn exists(&self, places: &[f64]) -> bool {
        self.axes.first().is_some_and(|axis| !places[*axis].is_nan())
    }

    /// Models outcomes anew: `top` are the best of all, best first, None where this group has all parameters.
    pub(super) fn learn(&mut self, rows: Rows<'_>, told: usize, top: Option<&[u32]>, key: Key) {
        let good = if told < STARTUP { Vec::new() } else { self.good(top) };
        self.models = Some(self.modelled(&good, &self.members, rows, key));
    }

    /// The group as it is where a branch exists: the branch's best are good, whatever there is elsewhere. None of a branch
    /// that was hardly looked at.
    pub(super) fn within(&self, branch: &Group, rows: Rows<'_>, key: Key) -> Option<Models> {
        if branch.members.len() < STARTUP {
            return None;
        }
        let is_here = |number: &u32| self.members.binary_search(number).is_ok();
        let members: Vec<u32> = branch.members.iter().copied().filter(is_here).collect();
        let mut good = branch.best.weighted(goods(branch.members.len()));
        good.retain(|(number, _)| is_here(number));
        Some(self.modelled(&good, &members, rows, key))
    }

    /// Models of some outcomes with their weights against the others of the members.
    fn modelled(&self, good: &[(u32, f64)], members: &[u32], rows: Rows<'_>, key: Key) -> Models {
        let bad = sample(members, good, key);
        let observe = |numbers: &[(u32, f64)]| -> Vec<Observation> {
            let observe = |(number, weight): &(u32, f64)| {
                let row = &rows.places[*number as usize * rows.width..][..rows.width];
                Observation { places: self.axes.iter().map(|axis| row[*axis]).collect(), weight: *weight }
            };
            numbers.iter().map(observe).collect()
        };
        let (good, bad) = (observe(good), observe(&bad));
        // Optuna's least bandwidth: a hundredth of the range, or more.
        let least = |n: usize| 1.0 / (n as f64 + 2.0).min(100.0);
        let finer = match rows.width_of_good {
            Width::Spread => (FINER * libm::sqrt(self.axes.len() as f64)).min(1.0),
            Width::Gap => 1.0,
        };
        Models {
            good: Parzen::new(&self.dimensions, &good, finer * least(good.len()), rows.width_of_good),
            bad: Parzen::new(&self.dimensions, &bad, least(bad.len()), Width::Gap),
        }
    }

    /// The outcomes that count as good, with their weights: those of the group that are among the best of all, so that a branch that holds them
    /// is looked at as closely as it deserves. A branch that holds none is drawn from at random: the best of its own are no
    /// good ones, and to go on there would pass by the rest of it.
    fn good(&self, top: Option<&[u32]>) -> Vec<(u32, f64)> {
        let Some(top) = top else { return self.best.weighted(goods(self.members.len())) };
        let is_here = |number: &u32| self.members.binary_search(number).is_ok();
        let here: Vec<u32> = top.iter().copied().filter(is_here).collect();
        // With budgets the group's own best may be others: of how many candidates one is good depends on how many there are.
        if self.best.are_several() { weighted(&here) } else { self.best.weighted(here.len()) }
    }

    /// Counts a candidate that is out as a bad one of this weight (the constant liar of Ginsbourger et al. 2010).
    pub(super) fn await_outcome(&mut self, places: &[f64], weight: f64) {
        let is_here = self.exists(places);
        if let Some(models) = self.models.as_mut().filter(|_| is_here) {
            models.bad.push(&places_on(&self.axes, places), weight);
        }
    }

    /// The same in models of a branch.
    pub(super) fn await_within(&self, models: &mut Models, places: &[f64], weight: f64) {
        if self.exists(places) {
            models.bad.push(&places_on(&self.axes, places), weight);
        }
    }

    /// A place on each of the group's axes: of some draws from l the one that is likeliest there by comparison with g.
    /// Draws that are no candidate count only where there are no others. `within`: models of a branch in the place of those
    /// of all outcomes.
    pub(super) fn propose(&self, within: Option<&Models>, key: Key, is_candidate: impl Fn(&[f64]) -> bool) -> Vec<f64> {
        let Some(Models { good, bad }) = within.or(self.models.as_ref()) else { return vec![0.5; self.axes.len()] };
        let all = (0..(self.draws * PATIENCE) as u32).map(|draw| good.draw(key.child(draw)));
        let mut points: Vec<Vec<f64>> = all.filter(|point| is_candidate(point)).take(self.draws).collect();
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

/// A row's places on some axes.
fn places_on(axes: &[usize], places: &[f64]) -> Vec<f64> {
    axes.iter().map(|axis| places[*axis]).collect()
}

/// Of some outcomes those that are not good, with their weights: the latest count whole, older ones less by their age (as in
/// Optuna).
fn sample(members: &[u32], good: &[(u32, f64)], key: Key) -> Vec<(u32, f64)> {
    let n = members.len();
    let strata = n.min(BAD);
    let edge = |stratum: usize| stratum * n / strata;
    let pick = |stratum: usize| {
        let size = edge(stratum + 1) - edge(stratum);
        edge(stratum) + if size == 1 { 0 } else { below(key, stratum as u64, size as u64) as usize }
    };
    let weight = |place: usize| if place + RECENT >= n { 1.0 } else { (place + 1) as f64 / (n - RECENT) as f64 };
    let picks = (0..strata).map(pick).map(|place| (members[place], weight(place)));
    picks.filter(|(number, _)| good.binary_search_by_key(number, |(good, _)| *good).is_err()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_group_those_are_good_that_are_among_the_best_of_all() {
        let mut group = Group::default();
        // Three came to the whole budget, with scores on the way that two others had better ones than.
        let rungs = |number: u32| match number {
            0..3 => vec![(1, 5.0), (9, f64::from(number))],
            _ => vec![(1, f64::from(number))],
        };
        for number in 0..5 {
            let rungs = rungs(number);
            let values = rungs.last().map(|(_, value)| *value).into_iter().collect();
            group.members.push(number);
            group.best.tell(&Told { number, values, violation: 0.0, rungs: Some(rungs) });
        }
        let good = |top: &[u32]| group.good(Some(top)).into_iter().map(|(number, _)| number).collect::<Vec<u32>>();
        assert_eq!(good(&[0, 1, 2, 9]), [0, 1, 2]);
        assert!(good(&[8, 9]).is_empty());
    }
    use crate::space::SpaceBuilder;
    use crate::strategies::cube;
    use std::sync::Arc;

    /// The groups of a choice and a number under each of its values, and their cube.
    fn branches() -> (Vec<Group>, Cube) {
        let space = SpaceBuilder::new().categorical("kind", &["a", "b", "c", "d"], "a");
        let space = space.float("x", 0.0, 1.0, 0.5).float("y", 0.0, 1.0, 0.5).when("x", "kind", &["a"]);
        let space = Arc::new(space.when("y", "kind", &["b"]).build());
        let cube = Cube::new(space.clone());
        (groups(&space, &cube, &space.codecs(), 1), cube)
    }

    /// Tells rows with their values, and learns.
    fn learn(groups: &mut [Group], cube: &Cube, outcomes: &[([f64; 3], f64)]) {
        let mut all = Levels::new(1);
        let mut places = Vec::new();
        for (number, (row, value)) in (0..).zip(outcomes) {
            let place = cube.encode(row);
            let told = Told { number, values: vec![*value], violation: 0.0, rungs: None };
            groups.iter_mut().for_each(|group| group.tell(&place, &told));
            all.tell(&told);
            places.extend(place);
        }
        let top = all.best(goods(outcomes.len()));
        let width = cube.axes().len();
        groups.iter_mut().for_each(|group| {
            let rows = Rows { places: &places, width, width_of_good: Width::Spread };
            group.learn(rows, outcomes.len(), Some(&top), Key::from_seed(1));
        });
    }

    /// Kernels of the group's good outcomes, the prior's not counted.
    fn kernels(group: &Group) -> usize {
        group.models.as_ref().map_or(0, |models| models.good.len() - 1)
    }

    fn draw(group: &Group, count: u32) -> Vec<f64> {
        (0..count).map(|number| group.propose(None, Key::from_seed(2).child(number), |_| true)[0]).collect()
    }

    #[test]
    fn a_branch_is_looked_at_where_the_best_of_all_are_and_at_random_where_it_has_none() {
        const NONE: f64 = f64::NAN;
        let (mut groups, cube) = branches();
        // Four of forty are good: three in b, around 0.9, and one in neither branch. a is best near 0.1, and bad.
        let outcome = |index: usize| {
            let step = index as f64 / 40.0;
            match index {
                0 => ([2.0, NONE, NONE], 0.0),
                1..4 => ([1.0, NONE, 0.88 + 0.01 * index as f64], 0.1 * index as f64),
                _ if index.is_multiple_of(2) => ([0.0, step, NONE], 10.0 + step),
                _ => ([1.0, NONE, 0.8 * step], 10.0 + step),
            }
        };
        learn(&mut groups, &cube, &(0..40).map(outcome).collect::<Vec<_>>());
        assert_eq!(groups.iter().map(kernels).collect::<Vec<_>>(), [4, 0, 3]);
        let near = |places: &[f64], place: f64| places.iter().filter(|other| (*other - place).abs() < 0.1).count();
        let (x, y) = (draw(&groups[1], 400), draw(&groups[2], 400));
        assert!(near(&y, 0.9) > 200, "{}", near(&y, 0.9));
        // A fifth of the range.
        assert!((40..130).contains(&near(&x, 0.1)), "{}", near(&x, 0.1));
        assert!((40..130).contains(&near(&x, 0.6)), "{}", near(&x, 0.6));
    }

    #[test]
    fn the_likeliest_branch_is_not_the_only_one() {
        let (mut groups, cube) = branches();
        let outcome = |index: usize| {
            let kind = (index % 4) as f64;
            let row = [kind, if kind == 0.0 { 0.5 } else { f64::NAN }, if kind == 1.0 { 0.5 } else { f64::NAN }];
            (row, kind)
        };
        learn(&mut groups, &cube, &(0..40).map(outcome).collect::<Vec<_>>());
        let kinds: Vec<u64> = draw(&groups[0], 400).into_iter().map(|place| cube::choice(place, 4)).collect();
        let counts = [0, 1, 2, 3].map(|kind| kinds.iter().filter(|other| **other == kind).count());
        assert!(counts[0] > 200 && counts[1..].iter().sum::<usize>() > 4, "{counts:?}");
    }

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
                let told = Told { number, values: vec![f64::from(number)], violation: 0.0, rungs: None };
                groups[0].tell(&place, &told);
                places.extend(place);
            }
            let rows = Rows { places: &places, width: axes, width_of_good: Width::Spread };
            groups[0].learn(rows, 200, None, Key::from_seed(1));
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
