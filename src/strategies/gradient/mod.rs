//! Descents along gradients from many places at once, restarted elsewhere when they have come to their ends.
//!
//! A round is what every descent asks next. As long as all of it is told before the next round is asked for, a search takes
//! the same course however many candidates are asked for at a time. One file a part: [`descent`] a way down, [`stencil`]
//! differences where a model gives no slopes, [`memory`] curvature, [`places`] beginnings.

mod descent;
mod memory;
mod places;
mod stencil;

use super::cube::{Axis, Cube};
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::{Points, Space};
use descent::{Descent, Plan, Seen as Evaluated};
use places::{Place, Seen, is_near};
use std::collections::VecDeque;
use std::sync::Arc;

/// The registry entry.
pub struct GradientDescent;

impl Named for GradientDescent {
    fn name(&self) -> &'static str {
        "gradient"
    }
    fn summary(&self) -> &'static str {
        "descents from many places along the model's gradients, or differences; continuous numbers only"
    }
}

impl StrategyEntry for GradientDescent {
    fn refusal(&self, space: &Space) -> Option<String> {
        let cube = Cube::new(Arc::new(space.clone()));
        let steps = cube.axes().iter().enumerate().filter(|(_, kind)| **kind != Axis::Continuous);
        let names: Vec<String> = steps.map(|(axis, _)| space.parameters[cube.column(axis)].name.clone()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "gradient moves along continuous numbers, and these have steps or choices: {}. Fix them, or let another \
                 strategy search them first",
                names.join(", ")
            )
        })
    }

    fn uses_gradients(&self) -> bool {
        true
    }

    fn refines(&self) -> bool {
        true
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Search::new(space, options))
    }
}

/// Descents at a time, however large a batch is.
const MOST_DESCENTS: usize = 64;
/// Descents that a study can ask for: each is compared with the others now and then.
const MOST_ASKED_FOR: u64 = 4096;
/// Places that are tried for a beginning, of which the best is taken.
const TRIED: u32 = 4;
/// Descents that have come so near to each other, on every axis, are one.
const SAME: f64 = 1e-3;
/// One that has come so near to the best end of any, and isn't better, would end there too.
const KNOWN: f64 = 0.02;
/// Outcomes of an earlier search that descents begin from, and how far apart they are at least.
const RECALLED: usize = 64;
const DISTINCT: f64 = 0.05;

/// A candidate of the round.
struct Candidate {
    row: Vec<f64>,
    /// NaN until it is told, and if it failed.
    cost: f64,
    gradient: Option<Vec<f64>>,
}

/// A descent and what it stands on: the choices that it keeps and the axes that it moves along.
struct Runner {
    base: Place,
    axes: Vec<usize>,
    descent: Descent,
    /// What it asked for this round.
    asked: Option<Asked>,
}

/// A plan and its candidates' numbers in the round; none of what is not allowed.
struct Asked {
    plan: Plan,
    centre: Option<usize>,
    probes: Vec<[Option<usize>; 2]>,
}

/// Places tried for `elected` beginnings.
struct Pool {
    elected: usize,
    places: Vec<(Place, usize)>,
}

struct Search {
    cube: Cube,
    key: Key,
    direction: Direction,
    batch: usize,
    population: Option<usize>,
    starts: Vec<Vec<f64>>,
    /// Beginnings whose outcomes are known.
    recalled: VecDeque<(Place, Evaluated)>,
    seen: Seen,
    best: Option<(Place, f64)>,
    /// The best end of a descent, and its value.
    end: Option<(Vec<f64>, f64)>,
    /// Whether candidates came with gradients, once one has come.
    has_gradients: Option<bool>,
    runners: Vec<Runner>,
    pools: Vec<Pool>,
    /// The round, the id of its first candidate, and how many were asked for.
    candidates: Vec<Candidate>,
    first: u64,
    asked: usize,
    round: u32,
    /// Beginnings so far.
    begun: u32,
    decisions: Vec<String>,
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        Search {
            cube: Cube::new(space.clone()),
            key: options.key,
            direction: options.direction(),
            batch: usize::try_from(options.batch).unwrap_or(usize::MAX).max(1),
            population: options.population.map(|population| population.clamp(1, MOST_ASKED_FOR) as usize),
            starts: space.starts(),
            recalled: VecDeque::new(),
            seen: Seen::default(),
            best: None,
            end: None,
            has_gradients: None,
            runners: Vec::new(),
            pools: Vec::new(),
            candidates: Vec::new(),
            first: 0,
            asked: 0,
            round: 0,
            begun: 0,
            decisions: Vec::new(),
        }
    }

    /// Descents at a time: the cubic root of what would fill a batch. A descent takes its dozens of rounds, and a study
    /// has a few dozen batches: of many descents none would come to its end.
    fn most(&self) -> usize {
        let moved = self.cube.axes().iter().filter(|axis| **axis == Axis::Continuous).count();
        let probes = if self.has_gradients == Some(true) { 0 } else { 2 * moved };
        let filling = self.batch / (1 + probes);
        self.population.unwrap_or_else(|| (libm::cbrt(filling as f64) as usize).clamp(1, MOST_DESCENTS))
    }

    /// Learns the round that is over, and makes the next.
    fn turn(&mut self, first: u64) {
        let told = std::mem::take(&mut self.candidates);
        self.learn(&told);
        self.elect(&told);
        self.retire();
        (self.first, self.asked) = (first, 0);
        let most = self.most();
        while self.runners.len() < most
            && let Some((place, seen)) = self.recalled.pop_front()
        {
            self.begin(place, &seen);
        }
        self.plan();
        self.retire();
        self.try_places(most.saturating_sub(self.runners.len()));
        if self.candidates.is_empty() {
            // Nothing around any descent is allowed.
            self.try_places(1);
        }
        self.round = self.round.wrapping_add(1);
    }

    fn learn(&mut self, told: &[Candidate]) {
        for runner in &mut self.runners {
            let Some(Asked { plan, centre, probes }) = runner.asked.take() else { continue };
            let cost = |number: Option<usize>| number.and_then(|number| told.get(number)).map_or(f64::NAN, |c| c.cost);
            let seen = centre.and_then(|centre| told.get(centre)).map(|candidate| evaluated(candidate, &runner.axes));
            if seen.as_ref().is_some_and(|seen| seen.cost.is_nan()) {
                self.seen.push(runner.base.moved(&runner.axes, &plan.centre), true);
            }
            let probes: Vec<[f64; 2]> = probes.into_iter().map(|pair| pair.map(cost)).collect();
            let seen = seen.unwrap_or(Evaluated { cost: f64::NAN, slopes: None });
            runner.descent.learn(plan, &seen, &probes);
        }
        self.keep_best();
    }

    fn keep_best(&mut self) {
        for Runner { base, axes, descent, .. } in &self.runners {
            if self.best.as_ref().is_none_or(|(_, best)| descent.cost() < *best) {
                let place = base.moved(axes, descent.x());
                self.best = Some((Place { row: self.cube.decode(&place), place }, descent.cost()));
            }
        }
    }

    /// Begins from the best of what was tried.
    fn elect(&mut self, told: &[Candidate]) {
        for mut pool in std::mem::take(&mut self.pools) {
            let cost = |number: usize| told.get(number).map_or(f64::NAN, |candidate| candidate.cost);
            for (place, number) in &pool.places {
                self.seen.push(place.place.clone(), cost(*number).is_nan());
            }
            pool.places.sort_by(|a, b| crate::base::order::ascending(cost(a.1), cost(b.1)));
            for (place, number) in pool.places.into_iter().take(pool.elected) {
                if let Some(candidate) = told.get(number).filter(|candidate| !candidate.cost.is_nan()) {
                    let seen = evaluated(candidate, &place.axes(&self.cube));
                    self.begin(place, &seen);
                }
            }
        }
        self.keep_best();
    }

    fn begin(&mut self, place: Place, seen: &Evaluated) {
        let axes = place.axes(&self.cube);
        let descent = Descent::new(place.along(&axes), seen);
        self.runners.push(Runner { base: place, axes, descent, asked: None });
    }

    /// Takes out what is over, and of descents that met the worse.
    fn retire(&mut self) {
        let place = |runner: &Runner| runner.base.moved(&runner.axes, runner.descent.x());
        for runner in self.runners.iter_mut().filter(|runner| !runner.descent.is_over()) {
            let is_known =
                |(end, cost): &(Vec<f64>, f64)| runner.descent.cost() >= *cost && is_near(&place(runner), end, KNOWN);
            if self.end.as_ref().is_some_and(is_known) {
                runner.descent.end();
            }
        }
        for one in 1..self.runners.len() {
            let (before, after) = self.runners.split_at_mut(one);
            let Some(later) = after.first_mut() else { continue };
            let here = place(later);
            for earlier in before.iter_mut().filter(|earlier| !earlier.descent.is_over()) {
                if is_near(&here, &place(earlier), SAME) {
                    let is_worse = later.descent.cost() >= earlier.descent.cost();
                    (if is_worse { &mut later.descent } else { &mut earlier.descent }).end();
                    if is_worse {
                        break;
                    }
                }
            }
        }
        for runner in self.runners.extract_if(.., |runner| runner.descent.is_over()) {
            let cost = runner.descent.cost();
            if self.end.as_ref().is_none_or(|(_, best)| cost < *best) {
                self.end = Some((place(&runner), cost));
            }
            self.seen.push(place(&runner), false);
        }
    }

    /// Asks for places to begin from: at first the space's starts and draws; later a draw far from what was
    /// seen after every two hops from the best (Wales & Doye 1997).
    fn try_places(&mut self, vacancies: usize) {
        if self.begun == 0 && self.recalled.is_empty() && self.seen.bases.is_empty() {
            let starts = std::mem::take(&mut self.starts);
            let draws = (vacancies.saturating_mul(TRIED as usize)).min(self.batch).max(vacancies);
            let drawn = starts.len()..draws.max(1);
            let mut places: Vec<Place> = starts.into_iter().map(|row| Place::of_row(&self.cube, row)).collect();
            for draw in drawn {
                let place = self.seen.far(&self.cube, self.key.child(0).child(draw as u32));
                self.seen.push(place.place.clone(), false);
                places.push(place);
            }
            self.seen = Seen::default();
            self.begun = 1;
            self.pool(vacancies, places);
            return;
        }
        for _ in 0..vacancies {
            self.begun = self.begun.wrapping_add(1);
            let key = self.key.child(self.begun);
            let from = self.best.as_ref().filter(|_| !self.begun.is_multiple_of(3)).map(|(place, _)| place);
            // Of several hops the best would be the shortest, back to where it came from.
            let places = match from {
                Some(from) => vec![self.seen.hop(&self.cube, from, key)],
                None => (0..TRIED).map(|number| self.seen.far(&self.cube, key.child(number))).collect(),
            };
            self.pool(1, places);
        }
    }

    fn pool(&mut self, elected: usize, places: Vec<Place>) {
        let mut numbered = Vec::with_capacity(places.len());
        for place in places {
            let number = self.push(place.row.clone());
            numbered.push((place, number));
        }
        self.pools.push(Pool { elected, places: numbered });
    }

    fn push(&mut self, row: Vec<f64>) -> usize {
        self.candidates.push(Candidate { row, cost: f64::NAN, gradient: None });
        self.candidates.len() - 1
    }

    /// What every descent asks next.
    fn plan(&mut self) {
        let best = self.best.as_ref().map_or(f64::INFINITY, |(_, best)| *best);
        for index in 0..self.runners.len() {
            let cube = &self.cube;
            let Some(Runner { base, axes, descent, .. }) = self.runners.get_mut(index) else { continue };
            let row = |x: &[f64]| cube.decode(&base.moved(axes, x));
            let Some(plan) = descent.plan(best, |x| cube.space().is_allowed(&row(x))) else { continue };
            let centre = plan.is_step.then(|| row(&plan.centre));
            let probe = |pair: &stencil::Pair| {
                pair.offsets.map(|offset| {
                    let mut x = plan.centre.clone();
                    x[pair.axis] += offset;
                    Some(row(&x)).filter(|row| cube.space().is_allowed(row))
                })
            };
            let probes: Vec<[Option<Vec<f64>>; 2]> = plan.pairs.iter().map(probe).collect();
            let centre = centre.map(|row| self.push(row));
            let probes = probes.into_iter().map(|pair| pair.map(|row| row.map(|row| self.push(row)))).collect();
            if let Some(runner) = self.runners.get_mut(index) {
                runner.asked = Some(Asked { plan, centre, probes });
            }
        }
    }

    /// What an outcome is to something that minimises.
    fn cost(&self, outcome: &Outcome) -> f64 {
        let cost = -self.direction.sign() * outcome.value();
        // What is out of the study's limits, and what has no slope to go along, is no place to be.
        if outcome.violation > 0.0 || !cost.is_finite() { f64::NAN } else { cost }
    }

    fn slopes(&self, outcome: &Outcome) -> Option<Vec<f64>> {
        let gradient = outcome.gradient.as_ref()?;
        Some(gradient.iter().map(|slope| -self.direction.sign() * slope).collect())
    }
}

/// What a candidate is to a descent along these axes.
fn evaluated(candidate: &Candidate, axes: &[usize]) -> Evaluated {
    let slope = |gradient: &Vec<f64>, axis: usize| gradient.get(axis).copied().unwrap_or(f64::NAN);
    let along = |gradient: &Vec<f64>| axes.iter().map(|axis| slope(gradient, *axis)).collect();
    Evaluated { cost: candidate.cost, slopes: candidate.gradient.as_ref().map(along) }
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let mut points = Points::new(self.cube.space().parameters.len());
        if !self.cube.axes().contains(&Axis::Continuous) {
            // Nothing can be moved.
            let begun = usize::try_from(first).unwrap_or(usize::MAX);
            self.starts.iter().skip(begun).take(n).for_each(|start| points.push(start));
            return if points.is_empty() { Ask::Done } else { Ask::Proposals(points) };
        }
        if self.asked == self.candidates.len() {
            self.turn(first);
        }
        self.candidates.iter().skip(self.asked).take(n).for_each(|candidate| points.push(&candidate.row));
        self.asked += points.len();
        Ask::Proposals(points)
    }

    /// What is told of an earlier round, after the next was begun without it, comes too late.
    fn tell(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let number = outcome.candidate.checked_sub(self.first).and_then(|number| usize::try_from(number).ok());
            let (cost, gradient) = (self.cost(outcome), self.slopes(outcome));
            if !cost.is_nan() && self.has_gradients.is_none() {
                // Choices and steps keep what they are, and need no slopes.
                let moved = Place::of_row(&self.cube, outcome.point.clone()).axes(&self.cube);
                let has_slope = |axis: &usize, slopes: &[f64]| slopes.get(*axis).is_some_and(|slope| slope.is_finite());
                let is_whole = gradient.as_ref().is_some_and(|slopes| moved.iter().all(|axis| has_slope(axis, slopes)));
                self.has_gradients = Some(is_whole);
                self.decisions.push(if is_whole {
                    "gradient: the model gives gradients; a step costs one candidate".to_owned()
                } else {
                    "gradient: the model gives no gradient of some parameters; each costs two candidates a step"
                        .to_owned()
                });
            }
            if let Some(candidate) = number.and_then(|number| self.candidates.get_mut(number)) {
                candidate.cost = cost;
                candidate.gradient = gradient;
            }
        }
    }

    /// Begins from the best that are apart from each other, and keeps their choices.
    fn recall(&mut self, earlier: &[Outcome]) {
        let mut known: Vec<(f64, &Outcome)> = earlier.iter().map(|outcome| (self.cost(outcome), outcome)).collect();
        known.retain(|(cost, _)| !cost.is_nan());
        known.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut distinct: Vec<Place> = Vec::new();
        for (cost, outcome) in known {
            let place = Place::of_row(&self.cube, outcome.point.clone());
            let axes = place.axes(&self.cube);
            if axes.is_empty() || distinct.iter().any(|other| is_near(&place.place, &other.place, DISTINCT)) {
                continue;
            }
            let candidate = Candidate { row: Vec::new(), cost, gradient: self.slopes(outcome) };
            self.recalled.push_back((place.clone(), evaluated(&candidate, &axes)));
            distinct.push(place);
            if distinct.len() == RECALLED {
                break;
            }
        }
        self.seen.bases = distinct;
    }

    fn decisions(&mut self) -> Vec<String> {
        std::mem::take(&mut self.decisions)
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests;
