//! Bayesian optimisation: a Gaussian process says how good each place is likely to be and how sure that is; proposed is
//! where the most improvement is expected.
//!
//! One process knows of all trials. Another, fitted to those next to the best alone, proposes every third candidate of a
//! batch in a box around it: what a function is like there, one kernel for the whole space does not tell. Where choices
//! open branches of the space, some candidates are kept to one of them, so that none is given up for being hard to search.
//!
//! One file a part: [`features`] candidates as the kernel sees them, [`values`] values as it sees them, [`kernel`] and
//! [`warp`], [`fit`] its parameters, [`posterior`] what it says, [`models`] the processes of a search, [`acquisition`] what
//! a place is worth, [`pool`] and [`propose`] the best places, [`batch`] one after another, [`region`] the boxes that they
//! stay in; [`regret`] how much there is still to find, [`wide`] the loops of all.
//!
//! Factorisations and their products are faer's, which chooses instructions by the processor: equal seeds give equal bits
//! on one kind of processor, whatever its threads, and may part in the last bits, hence in later proposals, on another.

mod acquisition;
mod batch;
mod features;
mod fit;
mod kernel;
mod lbfgs;
mod models;
mod pool;
mod posterior;
mod propose;
mod region;
mod regret;
mod values;
mod warp;
mod wide;

pub use regret::RegretBound;

use super::cube::{Axis, Cube};
use super::sequence::Sequence;
use super::sobol::Sobol;
use super::tpe::remainder::{Found, Remainder};
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::hash::Hasher;
use crate::base::random::{Key, uniform_f64};
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::{Points, Space};
use features::Features;
use kernel::Columns;
use models::Model;
use posterior::Scratch;
use region::Region;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

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
    pub(super) const BRANCHES: u32 = 5;
}

/// What is out takes a row of the process's matrix each: of more, the rest is asked for when these are told.
const MOST_AT_A_TIME: usize = 1000;

/// Points of the design that a search, and each further region, begins with: as many as axes and one, between these.
const DESIGN: std::ops::RangeInclusive<usize> = 8..=40;
/// More axes that exist together, or trials, than so many: a trust region.
const MOST_AXES: usize = 20;
const MOST_TRIALS: usize = 1000;
/// See [`Search::room`].
const MOST_ROOM: usize = 256;
/// Share of the values' deviation by which a region must improve.
const MARGIN: f64 = 1e-3;

/// A value of a choice on which other parameters depend.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Branch {
    column: usize,
    value: f64,
    /// The choice's axis, and the value's place there.
    axis: usize,
    place: f64,
}

/// A trial that was told, or recalled.
struct Trial {
    features: Vec<f64>,
    /// Less is better; NaN if it failed.
    value: f64,
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
    /// The most axes that exist together, as far as random candidates show.
    most_axes: usize,
    region: Option<Region>,
    /// The process of the trials next to the best, and the box that it proposes in; while there is no region.
    nearby: Option<Model>,
    around: Region,
    branches: Vec<Branch>,
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
            most_axes: most_axes(&cube, options.key.child(stream::DRAWS)),
            region: None,
            nearby: None,
            around: Region::around_the_best(axes),
            branches: branches(&cube),
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

    /// Opens a region when it is time, and another when the last has come to its end.
    fn watch_region(&mut self) {
        let (axes, told) = (self.cube.axes().len(), self.trials.len());
        let candidate = told - self.recalled;
        match &self.region {
            None if self.most_axes > MOST_AXES || told >= MOST_TRIALS => {
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

/// Every value of the choices on which other parameters depend.
fn branches(cube: &Cube) -> Vec<Branch> {
    let conditions = cube.space().parameters.iter().flat_map(|parameter| &parameter.conditions);
    let parents: BTreeSet<usize> = conditions.map(|condition| condition.parent).collect();
    let codecs = cube.space().codecs();
    let mut branches = Vec::new();
    for (axis, kind) in cube.axes().iter().enumerate() {
        let column = cube.column(axis);
        if let (true, Axis::Choices(count)) = (parents.contains(&column), kind) {
            let values = (0..*count).map(|choice| codecs[column].nth(choice, *count));
            branches.extend(values.map(|value| Branch { column, value, axis, place: codecs[column].encode(value) }));
        }
    }
    branches
}

/// The most axes that exist together in some random candidates.
fn most_axes(cube: &Cube, key: Key) -> usize {
    let axes = cube.axes().len();
    if cube.space().parameters.iter().all(|parameter| parameter.conditions.is_empty()) {
        return axes;
    }
    let existing = |number: u32| {
        let key = key.child(number);
        let row = cube.decode(&(0u64..axes as u64).map(|axis| uniform_f64(key.words(axis))).collect::<Vec<f64>>());
        (0..axes).filter(|axis| !row[cube.column(*axis)].is_nan()).count()
    };
    (0..64).map(existing).max().unwrap_or(axes)
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
            self.learn_nearby();
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
        if let (Some(nearby), Some(before), Some(after)) = (&self.nearby, before, after) {
            let gain = nearby.scaling.scaled(before) - nearby.scaling.scaled(after);
            self.around.learn(gain > MARGIN, outcomes.len());
            if self.around.is_over() {
                self.around = Region::around_the_best(self.cube.axes().len());
            }
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
