//! Sequential model-based algorithm configuration (SMAC; Hutter, Hoos & Leyton-Brown 2011; Lindauer et al. 2022): a random
//! forest learns how good candidates are, and what it promises most is tried next.
//!
//! Batches as in Hutter, Hoos & Leyton-Brown 2012, "Parallel algorithm configuration": each proposal is as optimistic as
//! it is drawn to be, and trusts trees of its own.

mod forest;
mod local;

use super::cube::Cube;
use super::sobol::SobolSearch;
use super::tpe::remainder::{Found, Remainder};
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::hash::Hasher;
use crate::base::random::{Key, inverse_normal_cdf, uniform_f64};
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::{Points, Space};
use forest::{Forest, Table};
use local::{Breed, Model, Terrain, propose};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The registry entry.
pub struct Smac;

impl Named for Smac {
    fn name(&self) -> &'static str {
        "smac"
    }
    fn summary(&self) -> &'static str {
        "tries what a random forest of the outcomes promises; choices and conditions above all"
    }
}

impl StrategyEntry for Smac {
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Search::new(space, options))
    }
}

/// Outcomes that a forest is grown from at most: the best half of them, and of the others every so many, by rank.
const SAMPLES: usize = 2000;

/// Trees of a forest.
const TREES: u32 = 48;

/// The share of candidates that are drawn whatever the model says, so that it hears of what it thinks nothing of.
const RANDOM: f64 = 0.05;

/// Candidates of a branch that a proposal there descends from, and ranks among which they are looked for.
const BREED: usize = 12;
const BRANCHED: usize = 10_000;

/// The share of proposals that keep to one value of a choice on which others depend, each value as often: the best
/// branch need not be the one that is easiest to search.
const BRANCH: f64 = 0.3;

/// Searches for one proposal, each without what the ones before found, until one comes up with a candidate that is new.
const ATTEMPTS: u32 = 4;

/// What the keys below the strategy's are for; proposals take the others.
const LEARNING: u32 = u32::MAX;
const REMAINDER: u32 = u32::MAX - 1;
const OPENING: u32 = u32::MAX - 2;

struct Search {
    space: Arc<Space>,
    direction: Direction,
    /// The candidates before there is a model, and those that are drawn whatever it says.
    opening: Box<dyn Strategy>,
    /// How many candidates are the space's starts.
    starts: u64,
    /// Outcomes that come from the opening before there is a model.
    least: usize,
    /// Every outcome's row, one after another, and value.
    rows: Vec<f64>,
    values: Vec<f64>,
    learnt: Learnt,
    /// Whether outcomes came since the model was made.
    is_stale: bool,
}

/// What proposals are made from, by any number of threads.
struct Learnt {
    key: Key,
    terrain: Terrain,
    model: Option<Model>,
    /// Hashes of all candidates up to the last outcomes, and of those since: none is proposed twice. Two of 10^5 share
    /// one with a chance of 10^-9.
    seen: HashSet<u64>,
    out: HashSet<u64>,
    /// Only where no parameter is a continuum, which may come to its end.
    remainder: Option<Remainder>,
}

impl Learnt {
    fn is_new(&self, row: &[f64]) -> bool {
        let hash = hash(row);
        !self.seen.contains(&hash) && !self.out.contains(&hash)
    }

    fn insert(&mut self, row: &[f64]) {
        self.out.insert(hash(row));
        if let Some(remainder) = &mut self.remainder {
            remainder.insert(row);
        }
    }

    /// Whether a candidate is drawn without regard to the model.
    fn is_random(&self, id: u64) -> bool {
        uniform_f64(self.key.child_of_number(id).words(0)) < RANDOM
    }

    fn propose(&self, id: u64, attempt: u32) -> Option<Vec<f64>> {
        let model = self.model.as_ref()?;
        if attempt == 0 && self.is_random(id) {
            return None;
        }
        let key = self.key.child_of_number(id).child(attempt);
        let branch = (uniform_f64(key.words(0)) / BRANCH * model.branches.len() as f64) as usize;
        let breed = model.branches.get(branch).unwrap_or(&model.elite);
        // The first attempt is made side by side with others: it knows what all of them know, however many are asked for.
        propose(&self.terrain, &model.forest, breed, key.child(0), |row| {
            if attempt == 0 { !self.seen.contains(&hash(row)) } else { self.is_new(row) }
        })
    }
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        let terrain = Terrain::new(Cube::new(space.clone()));
        let opening = StrategyOptions { key: options.key.child(OPENING), ..options.clone() };
        let starts = space.starts().len();
        Search {
            opening: SobolSearch.open(space.clone(), &opening),
            starts: starts as u64,
            least: starts + (2 * terrain.features.len()).clamp(5, 50),
            direction: options.direction(),
            rows: Vec::new(),
            values: Vec::new(),
            is_stale: false,
            learnt: Learnt {
                key: options.key,
                model: None,
                seen: HashSet::new(),
                out: HashSet::new(),
                remainder: Remainder::new(&space, &terrain.codecs, options.key.child(REMAINDER)),
                terrain,
            },
            space,
        }
    }

    fn row(&self, number: usize) -> &[f64] {
        let width = self.learnt.terrain.codecs.len();
        &self.rows[number * width..][..width]
    }

    /// Grows a forest from the outcomes, if there are enough.
    fn learn(&mut self) {
        self.is_stale = false;
        let told = self.values.len();
        if told < self.least || self.learnt.terrain.features.is_empty() {
            return;
        }
        let mut order: Vec<usize> = (0..told).collect();
        order.sort_by(|a, b| self.direction.compare(self.values[*a], self.values[*b]).then(a.cmp(b)));
        // As long as every candidate failed there is nothing to learn from.
        if order.first().is_none_or(|best| self.values[*best].is_nan()) {
            return;
        }
        let targets = self.targets(&order);
        // Ranks that the forest sees.
        let best = told.min(SAMPLES / 2);
        let others = told.min(SAMPLES) - best;
        let strided = (0..others).map(|other| best + other * (told - best) / others);
        let seen: Vec<usize> = (0..best).chain(strided).collect();
        let mut columns = Vec::with_capacity(seen.len() * self.learnt.terrain.features.len());
        for axis in 0..self.learnt.terrain.features.len() {
            let column = self.learnt.terrain.cube.column(axis);
            columns.extend(seen.iter().map(|rank| self.learnt.terrain.feature(axis, self.row(order[*rank])[column])));
        }
        let table = Table {
            features: &self.learnt.terrain.features,
            columns,
            targets: seen.iter().map(|rank| targets[*rank]).collect(),
        };
        let key = self.learnt.key.child(LEARNING).child(told as u32);
        let forest = Forest::grow(&table, TREES, key);
        let elite = (told / 10).clamp(8, 200).min(told);
        let rows = order[..elite].iter().map(|number| self.row(*number).to_vec()).collect();
        let elite = Breed { rows, branch: None };
        self.learnt.model = Some(Model { forest, elite, branches: self.branches(&order) });
    }

    /// The best candidates of every value of a choice on which others depend.
    fn branches(&self, order: &[usize]) -> Vec<Breed> {
        let conditions = self.space.parameters.iter().flat_map(|parameter| &parameter.conditions);
        let parents: BTreeSet<usize> = conditions.map(|condition| condition.parent).collect();
        let mut branches: Vec<Breed> = Vec::new();
        for column in parents {
            let first = branches.len();
            for number in order.iter().take(BRANCHED) {
                let row = self.row(*number);
                let value = row[column];
                match branches[first..].iter_mut().find(|breed| breed.branch == Some((column, value))) {
                    Some(breed) if breed.rows.len() < BREED => breed.rows.push(row.to_vec()),
                    Some(_) => (),
                    None if value.is_nan() => (),
                    None => branches.push(Breed { rows: vec![row.to_vec()], branch: Some((column, value)) }),
                }
            }
        }
        branches
    }

    /// The target of every rank: normal scores, which neither a scale nor a few values far out can distort. What failed
    /// is worst.
    fn targets(&self, order: &[usize]) -> Vec<f64> {
        let value = |rank: usize| self.values[order[rank]];
        let mut targets = Vec::with_capacity(order.len());
        while targets.len() < order.len() {
            let first = targets.len();
            // Equal values have equal targets.
            let is_same = |rank: &usize| value(*rank) == value(first) || value(*rank).is_nan() && value(first).is_nan();
            let last = (first..order.len()).take_while(is_same).last().unwrap_or(first);
            let quantile = ((first + last) as f64 / 2.0 + 0.5) / order.len() as f64;
            targets.resize(last + 1, inverse_normal_cdf(quantile));
        }
        targets
    }

    /// A candidate of an id before there is a model, or whatever it says.
    fn open_candidate(&mut self, id: u64) -> Option<Vec<f64>> {
        match self.opening.ask(id, 1) {
            Ask::Proposals(points) if !points.is_empty() => Some(points.row(0).to_vec()),
            _ => None,
        }
    }

    /// The candidate of an id; None where all were candidates already.
    fn candidate(&mut self, id: u64, proposed: Option<Vec<f64>>) -> Option<Vec<f64>> {
        if let Some(row) = proposed.filter(|row| self.learnt.is_new(row)) {
            return Some(row);
        }
        let is_open = self.learnt.model.is_none() || self.learnt.is_random(id);
        if is_open && let Some(row) = self.open_candidate(id).filter(|row| self.learnt.is_new(row)) {
            return Some(row);
        }
        if let Some(row) = (1..ATTEMPTS).find_map(|attempt| self.learnt.propose(id, attempt)) {
            return Some(row);
        }
        match self.learnt.remainder.as_mut().map(Remainder::find) {
            Some(Found::Row(row)) => Some(row),
            Some(Found::Exhausted) => None,
            Some(Found::Nothing) | None => {
                Some(self.learnt.terrain.cube.draw(self.learnt.key.child_of_number(id).child(ATTEMPTS)))
            }
        }
    }

    fn hear(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.learnt.insert(&outcome.point);
            self.rows.extend_from_slice(&outcome.point);
            self.values.push(outcome.value());
        }
        self.is_stale = true;
    }
}

fn hash(row: &[f64]) -> u64 {
    let mut hasher = Hasher::default();
    row.iter().for_each(|value| hasher.word(if value.is_nan() { u64::MAX } else { value.to_bits() }));
    hasher.finish()
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        if self.is_stale {
            let out = std::mem::take(&mut self.learnt.out);
            self.learnt.seen.extend(out);
            self.learn();
        }
        let (starts, learnt) = (self.starts, &self.learnt);
        let propose = |id| if id < starts { None } else { learnt.propose(id, 0) };
        let proposed: Vec<Option<Vec<f64>>> = (first..first + n as u64).into_par_iter().map(propose).collect();
        let mut points = Points::new(self.learnt.terrain.codecs.len());
        for (id, proposed) in (first..).zip(proposed) {
            let candidate = if id < starts { self.open_candidate(id) } else { self.candidate(id, proposed) };
            let Some(row) = candidate else { break };
            self.learnt.insert(&row);
            points.push(&row);
        }
        if points.is_empty() { Ask::Done } else { Ask::Proposals(points) }
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        self.hear(outcomes);
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        self.hear(earlier);
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests;
