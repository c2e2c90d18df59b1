//! Tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127): one density of the good
//! candidates, l, one of the others, g; of some draws from l the one with the highest l / g is proposed.
//!
//! Parameters that exist under the same conditions are modelled together, parents before their children. Some candidates are
//! kept to a branch of the space, and modelled by what there is in it. Candidates that are out count as bad ones, so that a
//! batch spreads. Under a scheduler who is good is judged budget by budget.

mod group;
mod levels;
mod parzen;
mod ranking;
pub(super) mod remainder;

use super::cube::Cube;
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions, minimized};
use crate::base::random::{Key, below, uniform_f64};
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::{Codec, Points, Space};
use group::{Group, Models, Rows, goods, groups};
use levels::{Levels, Told};
use parzen::Width;
use rayon::prelude::*;
use remainder::{Found, Remainder};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The registry entry.
pub struct Tpe;

impl Named for Tpe {
    fn name(&self) -> &'static str {
        "tpe"
    }
    fn summary(&self) -> &'static str {
        "draws where good candidates are dense and the others are not"
    }
}

impl StrategyEntry for Tpe {
    fn takes_several_objectives(&self) -> bool {
        true
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Search::new(space, options))
    }
}

/// Whole proposals that are drawn until one is allowed and was no candidate before.
const ATTEMPTS: u32 = 8;

/// Batches of so many and more look at few outcomes in all: two or five good ones, whose spread says little, shape a whole
/// batch. There kernels as wide as their gaps find more; outcome by outcome, the spread comes up to ten times as near.
const LARGE: u64 = 16;
/// Weight in g of a candidate that is out, in large batches: whole, so many of them drown what is known to fail.
const CROWDED: f64 = 0.1;

/// The share of proposals that are kept to a branch of the space, each as often, where what is good is judged by what there is
/// in the branch: one that looks worse may only be harder to search.
const BRANCHED: f64 = 0.4;
/// Outcomes before that: fewer show where to begin.
const BRANCHED_FROM: usize = 30;
/// Below a proposal's key, what its branch is drawn at; groups have the numbers from 0 on.
const BRANCH: u32 = u32::MAX;

/// What the keys below the strategy's are for; proposals take the others.
const LEARNING: u32 = u32::MAX;
const REMAINDER: u32 = u32::MAX - 1;

struct Search {
    space: Arc<Space>,
    cube: Cube,
    codecs: Vec<Codec>,
    key: Key,
    directions: Vec<Direction>,
    width_of_good: Width,
    /// In g, of a candidate that is out.
    weight_of_awaited: f64,
    /// What the search begins with.
    starts: Vec<Vec<f64>>,
    groups: Vec<Group>,
    /// The best of all outcomes; None where the one group knows them.
    best: Option<Levels>,
    /// Places of every outcome on every axis, one outcome after another.
    places: Vec<f64>,
    told: usize,
    /// Candidates that are out, by id, with their places.
    awaited: VecDeque<(u64, Vec<f64>)>,
    /// Whether outcomes came since the models were made.
    is_stale: bool,
    /// Models of each group where a branch exists, by the branch's group; of those that were asked for since.
    within: HashMap<usize, Vec<Option<Models>>>,
    /// Only where no parameter is a continuum: no candidate comes twice.
    remainder: Option<Remainder>,
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        let cube = Cube::new(space.clone());
        let codecs = space.codecs();
        let objectives = options.directions.len();
        let groups = groups(&space, &cube, &codecs, objectives);
        Search {
            starts: space.starts(),
            best: (groups.len() > 1).then(|| Levels::new(objectives)),
            groups,
            key: options.key,
            directions: options.directions.clone(),
            width_of_good: if options.batch < LARGE { Width::Spread } else { Width::Gap },
            weight_of_awaited: if options.batch < LARGE { 1.0 } else { CROWDED },
            places: Vec::new(),
            told: 0,
            awaited: VecDeque::new(),
            is_stale: true,
            within: HashMap::new(),
            remainder: Remainder::new(&space, &codecs, options.key.child(REMAINDER)),
            codecs,
            cube,
            space,
        }
    }

    /// Puts an outcome to the others.
    fn take(&mut self, outcome: &Outcome) {
        let places = self.cube.encode(&outcome.point);
        let sign = self.directions.first().map_or(1.0, |direction| -direction.sign());
        let minimized_rungs =
            |rungs: &Vec<(u64, f64)>| rungs.iter().map(|(budget, value)| (*budget, sign * value)).collect();
        let told = Told {
            number: self.told as u32,
            values: minimized(&self.directions, &outcome.values).collect(),
            violation: outcome.violation,
            rungs: outcome.rungs.as_ref().map(minimized_rungs),
        };
        self.groups.iter_mut().for_each(|group| group.tell(&places, &told));
        self.best.iter_mut().for_each(|best| best.tell(&told));
        self.places.extend_from_slice(&places);
        self.told += 1;
    }

    /// Models all outcomes anew.
    fn learn(&mut self) {
        let (told, key) = (self.told, self.learning_key());
        let rows = Rows { places: &self.places, width: self.cube.axes().len(), width_of_good: self.width_of_good };
        let top = self.best.as_ref().map(|best| best.best(goods(told)));
        self.groups.par_iter_mut().for_each(|group| group.learn(rows, told, top.as_deref(), key));
        self.within.clear();
        for (_, places) in &self.awaited {
            self.groups.iter_mut().for_each(|group| group.await_outcome(places, self.weight_of_awaited));
        }
        self.is_stale = false;
    }

    fn learning_key(&self) -> Key {
        self.key.child(LEARNING).child(self.told as u32)
    }

    /// Models the outcomes in a branch, unless that was done since the last ones came.
    fn learn_within(&mut self, branch: usize) {
        if self.within.contains_key(&branch) {
            return;
        }
        let rows = Rows { places: &self.places, width: self.cube.axes().len(), width_of_good: self.width_of_good };
        let key = self.learning_key();
        let mut within: Vec<Option<Models>> =
            self.groups.par_iter().map(|group| group.within(&self.groups[branch], rows, key)).collect();
        for (_, places) in &self.awaited {
            self.await_within(branch, &mut within, places);
        }
        self.within.insert(branch, within);
    }

    /// Counts a candidate that is out as a bad one of a branch, if it is there.
    fn await_within(&self, branch: usize, within: &mut [Option<Models>], places: &[f64]) {
        if self.groups[branch].exists(places) {
            for (group, models) in self.groups.iter().zip(within) {
                models.iter_mut().for_each(|models| group.await_within(models, places, self.weight_of_awaited));
            }
        }
    }

    /// The group whose branch a proposal is kept to, if it is to one.
    fn branch(&self, key: Key) -> Option<usize> {
        if self.told < BRANCHED_FROM {
            return None;
        }
        let branches = || (0..self.groups.len()).filter(|group| !self.groups[*group].needs.is_empty());
        let uniform = uniform_f64(key.child(BRANCH).words(0));
        branches().nth((uniform / BRANCHED * branches().count() as f64) as usize)
    }

    /// The candidate of an id; None where all were candidates already.
    fn candidate(&mut self, id: u64) -> Option<Vec<f64>> {
        if let Some(start) = usize::try_from(id).ok().and_then(|id| self.starts.get(id)) {
            return Some(start.clone());
        }
        let key = self.key.child_of_number(id);
        for attempt in 0..ATTEMPTS {
            let key = key.child(attempt);
            let branch = self.branch(key);
            branch.iter().for_each(|branch| self.learn_within(*branch));
            let row = self.propose(key, branch);
            if self.is_candidate(&row) {
                return Some(row);
            }
        }
        match self.remainder.as_mut().map(Remainder::find) {
            Some(Found::Row(row)) => Some(row),
            Some(Found::Exhausted) => None,
            Some(Found::Nothing) | None => Some(self.cube.draw(key.child(ATTEMPTS))),
        }
    }

    /// A row that the models deem good, in a branch if one is said.
    fn propose(&self, key: Key, branch: Option<usize>) -> Vec<f64> {
        let mut row = vec![f64::NAN; self.codecs.len()];
        let within = branch.and_then(|branch| self.within.get(&branch));
        let needs = branch.map_or(&[][..], |branch| &self.groups[branch].needs);
        for (number, group) in (0u32..).zip(&self.groups) {
            let conditions = &self.space.parameters[group.columns[0]].conditions;
            if !conditions.iter().all(|condition| condition.values.contains(&row[condition.parent])) {
                continue;
            }
            group.columns.iter().for_each(|column| row[*column] = self.codecs[*column].decode(0.5));
            // Where all parameters exist together, each draw is a whole candidate.
            let is_whole = self.groups.len() == 1 && (self.remainder.is_some() || !self.space.constraints.is_empty());
            let is_candidate = |point: &[f64]| {
                let mut row = row.clone();
                self.put(group, point, &mut row);
                self.is_candidate(&row)
            };
            let within = within.and_then(|within| within.get(number as usize)?.as_ref());
            let point = group.propose(within, key.child(number), |point| !is_whole || is_candidate(point));
            self.put(group, &point, &mut row);
            // What the branch needs is so, whatever was drawn.
            for need in needs.iter().filter(|need| group.columns.contains(&need.parent)) {
                if !need.values.contains(&row[need.parent]) && !need.values.is_empty() {
                    let pick = below(key.child(BRANCH), need.parent as u64 + 1, need.values.len() as u64);
                    row[need.parent] = need.values[pick as usize];
                }
            }
        }
        row
    }

    /// Writes a group's values into a row.
    fn put(&self, group: &Group, point: &[f64], row: &mut [f64]) {
        for (axis, place) in group.axes.iter().zip(point) {
            let column = self.cube.column(*axis);
            row[column] = self.codecs[column].decode(*place);
        }
    }

    fn is_candidate(&self, row: &[f64]) -> bool {
        self.space.is_allowed(row) && self.remainder.as_ref().is_none_or(|remainder| !remainder.contains(row))
    }
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        if self.is_stale {
            self.learn();
        }
        let mut points = Points::new(self.codecs.len());
        for id in (first..).take(n) {
            let Some(row) = self.candidate(id) else { break };
            let places = self.cube.encode(&row);
            self.groups.iter_mut().for_each(|group| group.await_outcome(&places, self.weight_of_awaited));
            let mut within = std::mem::take(&mut self.within);
            within.iter_mut().for_each(|(branch, within)| self.await_within(*branch, within, &places));
            self.within = within;
            self.awaited.push_back((id, places));
            if let Some(remainder) = &mut self.remainder {
                remainder.insert(&row);
            }
            points.push(&row);
        }
        if points.is_empty() { Ask::Done } else { Ask::Proposals(points) }
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            while self.awaited.front().is_some_and(|(id, _)| *id <= outcome.candidate) {
                self.awaited.pop_front();
            }
            // A candidate of a search that goes on after a break was not asked for here.
            if let Some(remainder) = &mut self.remainder {
                remainder.insert(&outcome.point);
            }
            self.take(outcome);
        }
        self.is_stale = true;
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        for outcome in earlier {
            if let Some(remainder) = &mut self.remainder {
                remainder.insert(&outcome.point);
            }
            self.take(outcome);
            self.is_stale = true;
        }
        if self.told > 0 {
            self.starts.clear();
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;
    use crate::strategies::find;

    fn options(seed: u64) -> StrategyOptions {
        batches(seed, 1000)
    }

    fn batches(seed: u64, batch: u64) -> StrategyOptions {
        StrategyOptions { batch, ..StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, 1000) }
    }

    /// The outcomes of a search that asks for `sizes` at a time, one after another, as long as it proposes.
    fn search(space: &Arc<Space>, name: &str, seed: u64, sizes: &[usize], f: impl Fn(&[f64]) -> f64) -> Vec<Outcome> {
        let most = sizes.iter().copied().max().unwrap_or(1) as u64;
        let mut strategy = find(name).expect("a strategy").open(space.clone(), &batches(seed, most));
        let mut all: Vec<Outcome> = Vec::new();
        for size in sizes {
            let Ask::Proposals(points) = strategy.ask(all.len() as u64, *size) else { break };
            let outcome = |(candidate, row): (u64, &[f64])| {
                assert!(space.is_allowed(row));
                Outcome::new(candidate, row.to_vec(), f(row))
            };
            let outcomes: Vec<Outcome> = (all.len() as u64..).zip(points.rows()).map(outcome).collect();
            strategy.tell(&outcomes);
            all.extend(outcomes);
        }
        all
    }

    fn best(outcomes: &[Outcome]) -> f64 {
        outcomes.iter().map(|outcome| outcome.value()).fold(f64::INFINITY, f64::min)
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(|a, b| crate::base::order::ascending(*a, *b));
        values[values.len() / 2]
    }

    fn bowl_space(dimensions: usize) -> Arc<Space> {
        let add = |builder: SpaceBuilder, axis: usize| builder.float(&format!("x{axis}"), -5.0, 5.0, -4.0);
        Arc::new((0..dimensions).fold(SpaceBuilder::new(), add).build())
    }

    fn bowl(row: &[f64]) -> f64 {
        (0..).zip(row).map(|(axis, x)| (x - f64::from(axis) * 0.7) * (x - f64::from(axis) * 0.7)).sum()
    }

    fn tree() -> Arc<Space> {
        let space = SpaceBuilder::new()
            .categorical("kind", &["a", "b", "c"], "a")
            .log("rate", 1e-5, 1.0, 0.5)
            .int("x", 1, 32, 2)
            .float("y", -5.0, 5.0, -4.0)
            .categorical("kernel", &["p", "q", "r"], "p")
            .when("x", "kind", &["a", "b"])
            .when("y", "kind", &["b"])
            .when("kernel", "kind", &["b"]);
        Arc::new(space.build())
    }

    /// Best where kind = b, rate = 1e-3, x = 20, y = 2, kernel = r.
    fn tree_value(row: &[f64]) -> f64 {
        let rate = libm::log10(row[1]) + 3.0;
        let width = if row[2].is_nan() { 2.0 } else { (row[2] - 20.0) / 16.0 };
        let inner = if row[3].is_nan() { 2.0 } else { 0.2 * (row[3] - 2.0) * (row[3] - 2.0) + 0.5 * (2.0 - row[4]) };
        rate * rate + width * width + inner
    }

    #[test]
    fn the_bottom_of_a_bowl_is_found_far_nearer_than_by_random_search() {
        let space = bowl_space(5);
        // Fewer looks at the outcomes find less.
        for (sizes, margin) in [(vec![1; 200], 10.0), (vec![16, 32, 64, 88], 2.5)] {
            let run = |name| median((0..7).map(|seed| best(&search(&space, name, seed, &sizes, bowl))).collect());
            let (tpe, random) = (run("tpe"), run("random"));
            assert!(margin * tpe < random, "{tpe} against {random}");
        }
    }

    #[test]
    fn conditions_steps_and_choices_are_searched_together() {
        let space = tree();
        let run = |name| {
            median((0..7).map(|seed| best(&search(&space, name, seed, &[16, 32, 64, 88], tree_value))).collect())
        };
        let (tpe, random) = (run("tpe"), run("random"));
        assert!(4.0 * tpe < random, "{tpe} against {random}");
        for outcome in search(&space, "tpe", 9, &[16, 32, 64], tree_value) {
            let mut masked = outcome.point.clone();
            space.mask(&mut masked);
            assert!(masked.iter().zip(&outcome.point).all(|(a, b)| a.to_bits() == b.to_bits()), "{outcome:?}");
        }
    }

    #[test]
    fn a_branch_that_looks_worse_is_searched_as_closely() {
        // Nearly all of "flat" is better than nearly all of "steep", whose best is the best of all.
        let space = SpaceBuilder::new()
            .categorical("kind", &["flat", "steep"], "flat")
            .float("a", 0.0, 1.0, 0.5)
            .when("a", "kind", &["flat"])
            .float("b", 0.0, 1.0, 0.5)
            .float("c", 0.0, 1.0, 0.5)
            .when("b", "kind", &["steep"])
            .when("c", "kind", &["steep"]);
        let space = Arc::new(space.build());
        let value = |row: &[f64]| match row[0] == 0.0 {
            true => 0.2 + 0.1 * (row[1] - 0.3) * (row[1] - 0.3),
            false => 10.0 * ((row[2] - 0.83) * (row[2] - 0.83) + (row[3] - 0.17) * (row[3] - 0.17)),
        };
        let found = (0..9).map(|seed| best(&search(&space, "tpe", seed, &[10; 30], value)));
        let found = median(found.collect());
        assert!(found < 0.02, "{found}, and flat has 0.2");
    }

    #[test]
    fn what_is_proposed_does_not_depend_on_how_many_are_asked_for() {
        let space = tree();
        let ask = |sizes: &[usize]| {
            let mut search = Search::new(space.clone(), &options(3));
            let mut rows: Vec<Vec<f64>> = Vec::new();
            for round in 0..3 {
                let begun = rows.len();
                for size in sizes {
                    let Ask::Proposals(points) = search.ask(rows.len() as u64, *size) else { panic!("no end") };
                    rows.extend(points.rows().map(<[f64]>::to_vec));
                }
                let outcome = |(candidate, row): (u64, &Vec<f64>)| {
                    let value = tree_value(row) + f64::from(round);
                    Outcome::new(candidate, row.clone(), value)
                };
                search.tell(&(begun as u64..).zip(&rows[begun..]).map(outcome).collect::<Vec<_>>());
            }
            rows.concat().into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(ask(&[30]), ask(&[1, 2, 7, 20]));
    }

    #[test]
    fn a_search_that_goes_on_after_a_break_proposes_the_same() {
        let space = tree();
        let whole = search(&space, "tpe", 5, &[16, 32, 16], tree_value);
        let mut resumed = Search::new(space, &options(5));
        resumed.tell(&whole[..48]);
        let Ask::Proposals(points) = resumed.ask(48, 16) else { panic!("no end") };
        for (row, outcome) in points.rows().zip(&whole[48..]) {
            assert!(row.iter().zip(&outcome.point).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn failures_are_bad_and_poison_nothing() {
        let space = bowl_space(3);
        let all_fail = search(&space, "tpe", 1, &[16, 32, 64], |_| f64::NAN);
        assert!(all_fail.iter().all(|outcome| outcome.point.iter().all(|x| (-5.0..=5.0).contains(x))));
        // The half with x0 < 0 fails: it is left alone, and the best of the other half is found.
        let half = |row: &[f64]| if row[0] < 0.0 { f64::NAN } else { bowl(row) };
        let outcomes = search(&space, "tpe", 2, &[16, 32, 64, 64], half);
        let failed = outcomes[48..].iter().filter(|outcome| outcome.value().is_nan()).count();
        assert!(failed < 32 && best(&outcomes) < 0.3, "{failed} failed, best {}", best(&outcomes));
        let infinite =
            search(&space, "tpe", 2, &[16, 32], |row| if row[0] < 0.0 { f64::INFINITY } else { f64::NEG_INFINITY });
        assert_eq!(infinite.len(), 48);
    }

    #[test]
    fn under_a_scheduler_scores_are_compared_with_those_of_the_same_budget() {
        // With little budget everything scores better than with all of it, and best far from where it is best in the end.
        let space = bowl_space(2);
        let with = |budget: u64, row: &[f64]| match budget {
            1 => (row[0] + 4.0).abs() + row[1].abs(),
            _ => 100.0 + (row[0] - 3.0).abs() + row[1].abs(),
        };
        let mut strategy = find("tpe").expect("tpe").open(space.clone(), &batches(6, 20));
        let mut middle = 0.0;
        for round in 0..8 {
            let Ask::Proposals(points) = strategy.ask(20 * round, 20) else { panic!("no end") };
            let mut xs: Vec<f64> = points.rows().map(|row| row[0]).collect();
            xs.sort_by(f64::total_cmp);
            middle = xs[10];
            let outcome = |(candidate, row): (u64, &[f64])| {
                // Every other one has the whole budget.
                let budgets = if candidate.is_multiple_of(2) { &[1, 9][..] } else { &[1] };
                let rungs: Vec<(u64, f64)> = budgets.iter().map(|budget| (*budget, with(*budget, row))).collect();
                let value = rungs.last().map_or(f64::NAN, |(_, value)| *value);
                Outcome { rungs: Some(rungs), ..Outcome::new(candidate, row.to_vec(), value) }
            };
            strategy.tell(&(20 * round..).zip(points.rows()).map(outcome).collect::<Vec<_>>());
        }
        assert!((middle - 3.0).abs() < 1.5, "half of the last candidates are below {middle}");
    }

    #[test]
    fn a_discrete_space_is_searched_without_repeats_to_its_end() {
        let space = Arc::new(SpaceBuilder::new().int("x", 1, 12, 3).categorical("k", &["a", "b", "c"], "a").build());
        let outcomes = search(&space, "tpe", 4, &[5; 20], |row| (row[0] - 7.0).abs() + row[1]);
        let mut rows: Vec<(u64, u64)> = outcomes.iter().map(|o| (o.point[0] as u64, o.point[1] as u64)).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!((rows.len(), outcomes.len()), (36, 36));
    }

    #[test]
    fn a_space_of_one_value_has_one_candidate() {
        let space = Arc::new(SpaceBuilder::new().float("x", 0.0, 1.0, 0.3).held().build());
        let outcomes = search(&space, "tpe", 1, &[2, 2], |row| row[0]);
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].point, [0.3]);
    }

    #[test]
    fn five_hundred_parameters_are_searched() {
        let space = bowl_space(500);
        let outcomes = search(&space, "tpe", 1, &[16, 16], bowl);
        assert_eq!(outcomes.len(), 32);
    }
}
