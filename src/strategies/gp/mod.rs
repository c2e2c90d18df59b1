//! Bayesian optimisation: a Gaussian process says how good each place is likely to be and how sure that is; proposed is
//! where the most improvement is expected.
//!
//! One file a part: [`features`] candidates as the kernel sees them, [`values`] values as it sees them, [`kernel`],
//! [`warp`], [`fit`] its parameters, [`posterior`] what it says, [`acquisition`] what that is worth, [`pool`] and [`propose`] the
//! best places, [`region`] the box they stay in past some axes or trials.
//!
//! Factorisations and their products are faer's, which chooses instructions by the processor: equal seeds give equal bits
//! on one kind of processor, whatever its threads, and may part in the last bits, hence in later proposals, on another.

mod acquisition;
mod features;
mod fit;
mod kernel;
mod lbfgs;
mod pool;
mod posterior;
mod propose;
mod region;
mod values;
mod warp;

use super::cube::{Axis, Cube};
use super::sequence::Sequence;
use super::sobol::Sobol;
use super::tpe::remainder::{Found, Remainder};
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::hash::Hasher;
use crate::base::order::ascending;
use crate::base::random::Key;
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::{Points, Space};
use features::Features;
use kernel::{Columns, Kernel};
use pool::{Candidate, Pool};
use posterior::{Posterior, Scratch};
use propose::Proposer;
use rayon::prelude::*;
use region::Region;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use values::Scaling;

/// The registry entry.
pub struct GaussianProcess;

impl Named for GaussianProcess {
    fn name(&self) -> &'static str {
        "gp"
    }
    fn summary(&self) -> &'static str {
        "Bayesian optimisation by a Gaussian process; for trials that are few and dear"
    }
}

impl StrategyEntry for GaussianProcess {
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Search::new(space, options))
    }
}

/// What the keys below the strategy's are for.
mod stream {
    pub(super) const DESIGN: u32 = 1;
    pub(super) const POOLS: u32 = 2;
    pub(super) const REMAINDER: u32 = 3;
    pub(super) const DRAWS: u32 = 4;
}

/// What is out takes a row of the process's matrix each: of more, the rest is asked for when these are told.
const MOST_AT_A_TIME: usize = 1000;

/// Points of the design that a search, and each further region, begins with: as many as axes and one, between these.
const DESIGN: std::ops::RangeInclusive<usize> = 8..=40;
/// More axes, or trials, than so many: a trust region.
const MOST_AXES: usize = 20;
const MOST_TRIALS: usize = 1000;
/// Data of a region's process: those nearest to its centre.
const LOCAL_DATA: usize = 500;
/// Data that a kernel is fitted to: half of them the best, the others evenly from all.
const FITTED_DATA: usize = 500;
/// A kernel is fitted anew once the data are more by a share of one in so many.
const REFIT: usize = 25;
/// Fits that start from the prior, too: while the data are fewer, and every so many later.
const THOROUGH: usize = 50;
const THOROUGH_EVERY: u32 = 5;
/// Calls of the likelihood in a fit.
const FIT_CALLS: u32 = 60;
/// Data from which on axes are bent: fewer do not tell a bend from a length.
const BENT_FROM: usize = 50;
/// The best places of the past that a pool has points around.
const CENTRES: usize = 5;
/// Candidates that a pool serves: then another is drawn.
const SERVED: usize = 100;
/// Candidates of a pool that are climbed from for one proposal, and calls of each climb.
const CLIMBS: usize = 4;
const CLIMB_CALLS: u32 = 30;
/// See [`Search::room`].
const MOST_ROOM: usize = 256;
/// Share of the values' deviation by which a region must improve.
const MARGIN: f64 = 1e-3;

/// A trial that was told, or recalled.
struct Trial {
    features: Vec<f64>,
    /// Less is better; NaN if it failed.
    value: f64,
}

/// A process and what it was made from.
struct Model {
    posterior: Posterior,
    scaling: Scaling,
    /// Trials that were told when the kernel was fitted, and when the data were taken.
    fitted: usize,
    trials: usize,
    fits: u32,
}

struct Search {
    space: Arc<Space>,
    cube: Cube,
    features: Features,
    key: Key,
    direction: Direction,
    /// What the search begins with.
    starts: Vec<Vec<f64>>,
    /// Then the best of what was recalled.
    best_recalled: Option<Vec<f64>>,
    /// How many of the trials were recalled.
    recalled: usize,
    sobol: Sobol,
    /// Points of the sequence that were looked at, and how many are still to be proposed.
    drawn: u64,
    design: usize,
    trials: Vec<Trial>,
    /// Their features, by columns.
    columns: Columns,
    /// Places that are out, by id.
    awaited: VecDeque<(u64, Vec<f64>)>,
    /// Rows that were candidates.
    seen: HashSet<u64>,
    /// Only where no parameter is a continuum: what is left when the pool has nothing.
    remainder: Option<Remainder>,
    model: Option<Model>,
    region: Option<Region>,
    /// Rows that a posterior is given for places that are out; it takes more.
    room: usize,
    scratch: Scratch,
    decisions: Vec<String>,
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        let cube = Cube::new(space.clone());
        let axes = cube.axes().len();
        let features = Features::new(&cube);
        Search {
            key: options.key,
            direction: options.direction(),
            starts: space.starts(),
            best_recalled: None,
            recalled: 0,
            columns: Columns::new(features.dimensions().len()),
            room: usize::try_from(options.batch).unwrap_or(MOST_ROOM).min(MOST_ROOM),
            sobol: Sobol::new(options.key.child(stream::DESIGN), axes),
            drawn: 0,
            design: design_of(axes),
            trials: Vec::new(),
            awaited: VecDeque::new(),
            seen: HashSet::new(),
            remainder: Remainder::new(&space, &space.codecs(), options.key.child(stream::REMAINDER)),
            model: None,
            region: None,
            scratch: Scratch::default(),
            decisions: Vec::new(),
            features,
            cube,
            space,
        }
    }

    /// Whether a row is allowed and was no candidate.
    fn may_propose(&self, row: &[f64]) -> bool {
        self.space.is_allowed(row) && !self.seen.contains(&fingerprint(row))
    }

    fn note(&mut self, row: &[f64]) {
        self.seen.insert(fingerprint(row));
        if let Some(remainder) = &mut self.remainder {
            remainder.insert(row);
        }
    }

    /// The next point of the design.
    fn design_point(&mut self) -> Option<Vec<f64>> {
        /// Points of the sequence that are looked at for one that may be proposed.
        const LOOKS: u32 = 64;
        for _ in 0..LOOKS {
            let place: Vec<f64> =
                (0..self.cube.axes().len()).map(|axis| self.sobol.coordinate(self.drawn, axis)).collect();
            self.drawn += 1;
            let row = self.cube.decode(&place);
            if self.may_propose(&row) {
                return Some(row);
            }
        }
        self.another()
    }

    /// A candidate where nothing better is known: of a discrete space any that is left, None when there is none.
    fn another(&mut self) -> Option<Vec<f64>> {
        match self.remainder.as_mut().map(Remainder::find) {
            Some(Found::Row(row)) => Some(row),
            Some(Found::Exhausted) => None,
            Some(Found::Nothing) | None => {
                self.drawn += 1;
                Some(self.cube.draw(self.key.child(stream::DRAWS).child_of_number(self.drawn)))
            }
        }
    }

    /// Brings the model up to date with what was told. False where there is nothing to model.
    fn learn(&mut self) -> bool {
        let told = self.trials.len();
        if self.model.as_ref().is_some_and(|model| model.trials == told) {
            return true;
        }
        let before = self.model.take();
        let Some(centre) = self.best_trial() else { return false };
        let kernel = before.as_ref().map(|model| model.posterior.kernel().clone());
        let chosen = self.chosen(centre, kernel.as_ref());
        let is_due = |model: &Model| told >= model.fitted + (model.fitted / REFIT).max(1);
        self.model = match before {
            Some(model) if !is_due(&model) => self.extended(model, &chosen),
            before => self.fitted(before.as_ref(), &chosen),
        };
        self.model.is_some()
    }

    /// With the kernel and the scaling that the model has.
    fn extended(&mut self, mut model: Model, chosen: &[usize]) -> Option<Model> {
        let told = self.trials.len();
        let values = |trials: &[usize], scaling: &Scaling| -> Vec<f64> {
            trials.iter().map(|trial| scaling.scaled(self.trials[*trial].value)).collect()
        };
        // Far below all that the scaling was made of, powers overflow.
        if values(chosen, &model.scaling).iter().any(|value| !value.is_finite()) {
            return self.fitted(Some(&model), chosen);
        }
        if chosen.len() == told && model.posterior.data() == model.trials {
            let fresh = &chosen[model.trials..];
            let points: Vec<&[f64]> = fresh.iter().map(|trial| self.trials[*trial].features.as_slice()).collect();
            model.posterior.learn(&points, &values(fresh, &model.scaling), &mut self.scratch);
        } else {
            let kernel = model.posterior.kernel().clone();
            let values = values(chosen, &model.scaling);
            model.posterior =
                Posterior::new(self.features.dimensions(), kernel, self.points(chosen), values, self.room)?;
        }
        Some(Model { trials: told, ..model })
    }

    /// With a scaling and a kernel of its own.
    fn fitted(&self, before: Option<&Model>, chosen: &[usize]) -> Option<Model> {
        let told = self.trials.len();
        let scaling = Scaling::new(chosen.iter().map(|trial| self.trials[*trial].value))?;
        let scaled = |trials: &[usize]| -> Vec<f64> {
            trials.iter().map(|trial| scaling.scaled(self.trials[*trial].value)).collect()
        };
        let fits = before.map_or(0, |model| model.fits);
        let is_thorough = chosen.len() < THOROUGH || fits.is_multiple_of(THOROUGH_EVERY);
        let kernel = before.map(|model| model.posterior.kernel());
        let fitted = self.representative(chosen);
        let dimensions = self.features.dimensions();
        let how = [is_thorough, chosen.len() >= BENT_FROM];
        let kernel = fit::fit(dimensions, &self.points(&fitted), &scaled(&fitted), kernel, how, FIT_CALLS)
            .unwrap_or_else(|| fit::prior_kernel(dimensions.len()));
        let posterior = Posterior::new(dimensions, kernel, self.points(chosen), scaled(chosen), self.room)?;
        Some(Model { posterior, scaling, fitted: told, trials: told, fits: fits + 1 })
    }

    /// The best trial of the region, or of all.
    fn best_trial(&self) -> Option<usize> {
        let first = self.region.as_ref().map_or(0, |region| region.first);
        let known = (first..self.trials.len()).filter(|trial| !self.trials[*trial].value.is_nan());
        known.min_by(|a, b| ascending(self.trials[*a].value, self.trials[*b].value))
    }

    /// The data of a process: all, or those nearest to the region's centre, in the order of their ids.
    fn chosen(&self, centre: usize, kernel: Option<&Kernel>) -> Vec<usize> {
        let told = self.trials.len();
        if self.region.is_none() || told <= LOCAL_DATA {
            return (0..told).collect();
        }
        let prior = fit::prior_kernel(self.features.dimensions().len());
        let mut apart = vec![0.0; told];
        let place = |i: usize| self.trials[centre].features[i];
        kernel.unwrap_or(&prior).squares(self.features.dimensions(), place, &self.columns, 0, &mut apart);
        let mut order: Vec<usize> = (0..told).collect();
        order.select_nth_unstable_by(LOCAL_DATA - 1, |a, b| ascending(apart[*a], apart[*b]).then(a.cmp(b)));
        order.truncate(LOCAL_DATA);
        order.sort_unstable();
        order
    }

    /// Those of some trials that a kernel is fitted to.
    fn representative(&self, chosen: &[usize]) -> Vec<usize> {
        if chosen.len() <= FITTED_DATA {
            return chosen.to_vec();
        }
        let mut order = chosen.to_vec();
        order.sort_by(|a, b| ascending(self.trials[*a].value, self.trials[*b].value).then(a.cmp(b)));
        let (best, others) = order.split_at(FITTED_DATA / 2);
        let wanted = FITTED_DATA - best.len();
        let spread = (0..wanted).map(|number| others[number * others.len() / wanted]);
        let mut fitted: Vec<usize> = best.iter().copied().chain(spread).collect();
        fitted.sort_unstable();
        fitted
    }

    fn points(&self, trials: &[usize]) -> Columns {
        let mut columns = Columns::new(self.features.dimensions().len());
        trials.iter().for_each(|trial| columns.push(&self.trials[*trial].features));
        columns
    }

    /// The best places of the region's trials, the best first.
    /// Places; NaN where a parameter does not exist.
    fn centres(&self) -> Vec<Vec<f64>> {
        let first = self.region.as_ref().map_or(0, |region| region.first);
        let mut order: Vec<usize> =
            (first..self.trials.len()).filter(|trial| !self.trials[*trial].value.is_nan()).collect();
        let by_value = |a: &usize, b: &usize| ascending(self.trials[*a].value, self.trials[*b].value).then(a.cmp(b));
        if order.len() > CENTRES {
            order.select_nth_unstable_by(CENTRES - 1, by_value);
            order.truncate(CENTRES);
        }
        order.sort_by(by_value);
        let axes = self.cube.axes().len();
        let place = |trial: usize| self.cube.encode(&self.cube.decode(&self.trials[trial].features[..axes]));
        order.into_iter().map(place).collect()
    }

    /// Up to `n` candidates with ids from `first` on by the model, each awaited by it before the next is chosen.
    fn propose(&mut self, first: u64, n: usize) -> Vec<Candidate> {
        let Some(mut model) = self.model.take() else { return Vec::new() };
        model.posterior.forget();
        for (_, features) in &self.awaited {
            model.posterior.await_outcome(features, &mut self.scratch);
        }
        let axes = self.cube.axes().len();
        let centres = self.centres();
        let weights = &model.posterior.kernel().weights[..axes];
        let lengths: Vec<f64> = weights.iter().map(|weight| 1.0f64.min(1.0 / weight.sqrt())).collect();
        let (mut low, mut high) = match (&self.region, centres.first()) {
            (Some(region), Some(centre)) => region.bounds(centre, weights),
            _ => (vec![0.0; axes], vec![1.0; axes]),
        };
        // Choices have no order in which some would be nearer.
        for (axis, _) in self.cube.axes().iter().enumerate().filter(|(_, axis)| matches!(axis, Axis::Choices(_))) {
            (low[axis], high[axis]) = (0.0, 1.0);
        }
        let mut proposed: Vec<Candidate> = Vec::with_capacity(n);
        let mut best = model.posterior.means_of_data().fold(f64::INFINITY, f64::min);
        let climbs = if n > SERVED { 1 } else { CLIMBS };
        while proposed.len() < n {
            let proposer = Proposer {
                cube: &self.cube,
                features: &self.features,
                low: &low,
                high: &high,
                is_local: self.region.is_some(),
                centres: &centres,
                lengths: &lengths,
            };
            let key = self.key.child(stream::POOLS).child_of_number(first + proposed.len() as u64);
            let mut pool = Pool::new(&model.posterior, proposer.pool(key, |row| self.may_propose(row)));
            let before = proposed.len();
            while proposed.len() < n.min(before + SERVED) {
                let top = pool.best(best, climbs);
                let climbed: Vec<(f64, Candidate)> = top
                    .par_iter()
                    .map(|index| {
                        let (from, mut scratch) = (pool.candidate(*index), Scratch::default());
                        proposer.climb(&model.posterior, from, best, CLIMB_CALLS, &mut scratch)
                    })
                    .collect();
                let mut chosen: Option<(f64, Candidate)> = None;
                for (score, candidate) in climbed {
                    if self.may_propose(&candidate.row) && chosen.as_ref().is_none_or(|(most, _)| score > *most) {
                        chosen = Some((score, candidate));
                    }
                }
                if top.is_empty() {
                    break;
                }
                // What the climbs led to may have been a candidate before, or where they began, by another's climb.
                let unclimbed =
                    || top.iter().map(|index| pool.candidate(*index)).find(|from| self.may_propose(&from.row));
                let chosen = chosen.map(|(_, candidate)| candidate).or_else(|| unclimbed().cloned());
                let Some(candidate) = chosen else {
                    top.iter().for_each(|index| pool.take(*index));
                    continue;
                };
                let (mean, _) = model.posterior.predict(&candidate.features, &mut self.scratch);
                best = best.min(mean);
                let (whitened, last) = model.posterior.await_outcome(&candidate.features, &mut self.scratch);
                pool.update(&model.posterior, &candidate.features, whitened, last);
                self.seen.insert(fingerprint(&candidate.row));
                top.into_iter().for_each(|index| {
                    if !self.may_propose(&pool.candidate(index).row) {
                        pool.take(index);
                    }
                });
                proposed.push(candidate);
            }
            if proposed.len() == before {
                break;
            }
        }
        self.model = Some(model);
        proposed
    }

    /// Opens a region when it is time, and another when the last has come to its end.
    fn watch_region(&mut self) {
        let (axes, told) = (self.cube.axes().len(), self.trials.len());
        let candidate = told - self.recalled;
        match &self.region {
            None if axes > MOST_AXES || told >= MOST_TRIALS => {
                self.region = Some(Region::new(axes, 0));
                self.decisions.push(format!(
                    "gp proposes within a trust region from candidate {candidate} on: {axes} parameters, {told} trials"
                ));
            }
            Some(region) if region.is_over() => {
                self.region = Some(Region::new(axes, told));
                self.design = design_of(axes);
                self.model = None;
                self.decisions
                    .push(format!("gp begins another trust region at candidate {candidate}: the last converged"));
            }
            _ => {}
        }
    }

    /// What is proposed whatever the outcomes: the starts, the best that was recalled, the design.
    fn planned(&mut self, id: u64) -> Option<Vec<f64>> {
        if let Some(start) = usize::try_from(id).ok().and_then(|id| self.starts.get(id)) {
            return Some(start.clone());
        }
        if let Some(row) = self.best_recalled.take().filter(|row| self.may_propose(row)) {
            return Some(row);
        }
        if self.design == 0 {
            return None;
        }
        self.design -= 1;
        self.design_point()
    }

    /// Proposes a row.
    fn take(&mut self, id: u64, row: &[f64], points: &mut Points) {
        self.note(row);
        self.awaited.push_back((id, self.features.of(&self.cube, row)));
        points.push(row);
    }

    fn remember(&mut self, outcome: &Outcome) {
        let features = self.features.of(&self.cube, &outcome.point);
        let value = if outcome.violation > 0.0 { f64::NAN } else { -self.direction.sign() * outcome.value() };
        self.columns.push(&features);
        self.trials.push(Trial { features, value });
    }
}

fn design_of(axes: usize) -> usize {
    (axes + 1).clamp(*DESIGN.start(), *DESIGN.end())
}

/// A hash of a row's bits.
fn fingerprint(row: &[f64]) -> u64 {
    let mut hasher = Hasher::default();
    row.iter().for_each(|value| hasher.word(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }));
    hasher.finish()
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let n = n.min(MOST_AT_A_TIME);
        if self.design == 0 {
            self.watch_region();
        }
        let mut points = Points::new(self.space.parameters.len());
        while points.len() < n {
            let Some(row) = self.planned(first + points.len() as u64) else { break };
            self.take(first + points.len() as u64, &row, &mut points);
        }
        if points.len() < n && self.learn() {
            let begun = first + points.len() as u64;
            for candidate in self.propose(begun, n - points.len()) {
                self.take(first + points.len() as u64, &candidate.row, &mut points);
            }
        }
        while points.len() < n {
            let Some(row) = self.design_point() else { break };
            self.take(first + points.len() as u64, &row, &mut points);
        }
        if points.is_empty() { Ask::Done } else { Ask::Proposals(points) }
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        let before = self.best_trial().map(|trial| self.trials[trial].value);
        for outcome in outcomes {
            while self.awaited.front().is_some_and(|(id, _)| *id <= outcome.candidate) {
                self.awaited.pop_front();
            }
            self.note(&outcome.point);
            self.remember(outcome);
        }
        let after = self.best_trial().map(|trial| self.trials[trial].value);
        if let (Some(region), Some(model), Some(before), Some(after)) = (&mut self.region, &self.model, before, after) {
            let gain = model.scaling.scaled(before) - model.scaling.scaled(after);
            region.learn(gain > MARGIN, outcomes.len());
        }
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        earlier.iter().for_each(|outcome| self.remember(outcome));
        self.recalled = self.trials.len();
        self.design = self.design.saturating_sub(self.recalled);
        let earlier = earlier.iter().filter(|outcome| !outcome.value().is_nan() && outcome.violation <= 0.0);
        let best = earlier.min_by(|a, b| self.direction.compare(a.value(), b.value()));
        self.best_recalled = best.map(|outcome| outcome.point.clone());
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
