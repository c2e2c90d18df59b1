//! CMA-ES: a Gaussian over the unit cube whose mean, step and covariance follow the better half of each generation, and
//! whose covariance shrinks along the worse half (active CMA); restarts by BIPOP when a run has come to its end.
//!
//! Hansen, "The CMA evolution strategy: a tutorial" (arXiv:1604.00772). One file a part: [`evolution`] the Gaussian,
//! [`margin`] ordered axes, [`choices`] axes without an order, [`restarts`] the ends and beginnings of runs. Places beyond
//! an end of a continuous axis are mirrored into it: mirroring keeps distances, so that the Gaussian learns the true shape
//! up to the end and beyond, never has to be drawn twice, and can centre on an optimum that lies on the end itself.

mod choices;
mod eigen;
mod evolution;
mod margin;
mod restarts;

use super::cube::{Axis, Cube, reflected};
use super::generation::{self, GenerationMethod};
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::random::{Key, uniform_f64};
use crate::base::registry::Named;
use crate::data::metrics::Direction;
use crate::space::{Codec, Points, Space};
use choices::Choices;
use evolution::Evolution;
pub(super) use evolution::Rates;
use margin::Cells;
use restarts::{FIRST_SIGMA, Plan, Progress, Restarts};
use std::sync::Arc;

/// The registry entry.
pub struct CmaEs;

impl Named for CmaEs {
    fn name(&self) -> &'static str {
        "cmaes"
    }
    fn summary(&self) -> &'static str {
        "covariance matrix adaptation with restarts; numbers above all"
    }
}

impl StrategyEntry for CmaEs {
    fn refusal(&self, space: &Space) -> Option<String> {
        let cube = Cube::new(Arc::new(space.clone()));
        let has_choices_alone =
            !cube.axes().is_empty() && cube.axes().iter().all(|axis| matches!(axis, Axis::Choices(_)));
        has_choices_alone
            .then(|| "cmaes learns along numbers, and every parameter searched is a choice without an order".to_owned())
    }

    fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        Some(&generation::CMAES)
    }

    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        Box::new(Search::new(space, options))
    }
}

/// What keys are for.
mod stream {
    pub(super) const SAMPLES: u32 = 1;
    pub(super) const RESTARTS: u32 = 2;
    pub(super) const MEANS: u32 = 3;
}

/// How often a member is drawn anew until its constraints hold, before one is drawn from the whole space.
const ATTEMPTS: u32 = 100;

/// What was found before may lie on one spot; a run needs a step to learn by.
const LEAST_FIRST_SIGMA: f64 = 0.02;

/// A member of a generation.
struct Member {
    /// Along the axes of numbers, from the mean, in units of sigma.
    step: Vec<f64>,
    /// On the axes of choices; `None` where the parameter does not exist.
    picks: Vec<Option<usize>>,
}

struct Search {
    cube: Cube,
    /// Axes of numbers, and their cells where they have some.
    numbers: Vec<(usize, Option<Cells>)>,
    /// Axes of choices, and how many each has.
    choices: Vec<(usize, u64)>,
    starts: Vec<Vec<f64>>,
    /// How many of them are proposed: none where another search came before.
    proposed_starts: usize,
    key: Key,
    direction: Direction,
    restarts: Restarts,
    /// The first run's step, as a share of the cube.
    first_sigma: f64,
    /// The best of the starts that were told, or of what was found before.
    best_start: Option<(f64, Vec<f64>)>,
    run: Option<Run>,
    /// Generations of all runs that are over.
    generation: u32,
    members: Vec<Member>,
    /// The id of the generation's first member.
    first: u64,
    values: Vec<Option<f64>>,
    /// How many of them are not there yet.
    missing: usize,
    /// Proposals beyond the generation, asked for before its outcomes were told; they are not learnt from.
    beyond: u32,
}

/// One run: from a plan to a stop criterion.
struct Run {
    evolution: Evolution,
    choices: Choices,
    progress: Progress,
    used: u64,
    limit: u64,
}

impl Search {
    fn new(space: Arc<Space>, options: &StrategyOptions) -> Search {
        let cube = Cube::new(space.clone());
        let mut numbers = Vec::new();
        let mut choices = Vec::new();
        for (place, axis) in cube.axes().iter().enumerate() {
            match *axis {
                Axis::Continuous => numbers.push((place, None)),
                Axis::Ordered(count) => {
                    let codec = Codec::new(&space.parameters[cube.column(place)]);
                    numbers.push((place, Some(Cells::new(codec, count))));
                }
                Axis::Choices(count) => choices.push((place, count)),
            }
        }
        // Eq. (48).
        let default = 4 + (3.0 * libm::log(cube.axes().len().max(1) as f64)) as usize;
        let population = options.population.map_or(default, |population| population.clamp(2, 1 << 20) as usize);
        Search {
            proposed_starts: space.starts().len(),
            starts: space.starts(),
            first_sigma: FIRST_SIGMA,
            key: options.key.child(stream::SAMPLES),
            direction: options.direction(),
            restarts: Restarts::new(options.key.child(stream::RESTARTS), population),
            best_start: None,
            run: None,
            generation: 0,
            members: Vec::new(),
            first: 0,
            values: Vec::new(),
            missing: 0,
            beyond: 0,
            cube,
            numbers,
            choices,
        }
    }

    /// Where the first run begins: the best of the starts that were told, or the default; a parameter that does not exist
    /// there has its default's place.
    fn first_mean(&self) -> Vec<f64> {
        let start = self.best_start.as_ref().map_or(&self.starts[0], |(_, row)| row);
        let parameters = &self.cube.space().parameters;
        let place = |(axis, _): &(usize, Option<Cells>)| {
            let parameter = &parameters[self.cube.column(*axis)];
            let value = start[self.cube.column(*axis)];
            Codec::new(parameter).encode(if value.is_nan() { parameter.default } else { value })
        };
        self.numbers.iter().map(place).collect()
    }

    fn begin(&self, plan: &Plan) -> Run {
        let mean = if plan.number == 0 {
            self.first_mean()
        } else {
            let key = self.key.child(stream::MEANS).child(plan.number);
            (0..self.numbers.len() as u64).map(|axis| uniform_f64(key.words(axis))).collect()
        };
        let counts: Vec<u64> = self.choices.iter().map(|(_, count)| *count).collect();
        Run {
            evolution: Evolution::new(mean, plan.sigma, plan.population),
            choices: Choices::new(&counts),
            progress: Progress::new(self.direction, self.cube.axes().len(), plan.population),
            used: 0,
            limit: plan.limit,
        }
    }

    /// The candidate of a member of the generation.
    fn propose(&self, run: &Run, number: u32) -> (Member, Vec<f64>) {
        let key = self.key.child(self.generation).child(number);
        for attempt in 0..ATTEMPTS {
            let key = key.child(attempt);
            let step = run.evolution.step(key.child(0));
            let picks = run.choices.pick(key.child(1));
            let row = self.decode(&run.evolution.place(&step), &picks);
            if self.cube.space().is_allowed(&row) {
                let picks = picks.into_iter().map(Some).collect();
                return (self.existing(Member { step, picks }, &row), row);
            }
        }
        let row = self.cube.draw(key.child(ATTEMPTS));
        let drawn = self.cube.encode(&row);
        let mean = &run.evolution.mean;
        let places = self.numbers.iter().zip(mean).map(|((axis, _), mean)| match drawn[*axis] {
            place if place.is_nan() => *mean,
            place => place,
        });
        let step = run.evolution.step_to(&places.collect::<Vec<f64>>());
        let pick = |(axis, count): &(usize, u64)| Some((drawn[*axis] * *count as f64) as usize);
        let picks = self.choices.iter().map(pick).collect();
        (self.existing(Member { step, picks }, &row), row)
    }

    fn decode(&self, places: &[f64], picks: &[usize]) -> Vec<f64> {
        let mut cube = vec![0.0; self.cube.axes().len()];
        for ((axis, cells), place) in self.numbers.iter().zip(places) {
            // The end cells of an ordered axis reach on for ever: nothing needs mirroring.
            cube[*axis] = if cells.is_some() { *place } else { reflected(*place) };
        }
        for ((axis, count), pick) in self.choices.iter().zip(picks) {
            cube[*axis] = (*pick as f64 + 0.5) / *count as f64;
        }
        self.cube.decode(&cube)
    }

    /// A member without the choices that its candidate does not have.
    fn existing(&self, mut member: Member, row: &[f64]) -> Member {
        for ((axis, _), pick) in self.choices.iter().zip(&mut member.picks) {
            if row[self.cube.column(*axis)].is_nan() {
                *pick = None;
            }
        }
        member
    }

    /// Learns the generation whose values are all there.
    fn close_generation(&mut self) {
        let Some(run) = &mut self.run else { return };
        let values: Vec<f64> = self.values.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| self.direction.compare(values[*a], values[*b]));
        let sorted: Vec<f64> = order.iter().map(|member| values[*member]).collect();
        run.used += values.len() as u64;
        // A generation of failures alone has no ranks.
        if !sorted[0].is_nan() {
            let steps: Vec<&[f64]> = order.iter().map(|member| self.members[*member].step.as_slice()).collect();
            let picks: Vec<&[Option<usize>]> =
                order.iter().map(|member| self.members[*member].picks.as_slice()).collect();
            run.choices.update(run.evolution.weights(), &picks);
            run.evolution.update(&steps);
        }
        if self.direction.compare(sorted[0], sorted[(sorted.len() * 7).div_ceil(10) - 1]).is_eq() {
            run.evolution.escape();
        }
        let is_over = run.progress.ends_with(&sorted) || run.evolution.is_exhausted() || run.used >= run.limit;
        if is_over {
            let plan = self.restarts.next(run.used);
            self.run = Some(self.begin(&plan));
        } else {
            let alpha = 1.0 / (values.len() * self.cube.axes().len()) as f64;
            for (number, (_, cells)) in self.numbers.iter().enumerate() {
                let Some(cells) = cells else { continue };
                let evolution = &mut run.evolution;
                (evolution.mean[number], evolution.widening[number]) =
                    cells.keep_open(evolution.mean[number], evolution.spread(number), alpha);
            }
        }
        self.generation = self.generation.wrapping_add(1);
        self.members.clear();
        self.values.clear();
        self.missing = 0;
        self.beyond = 0;
    }
}

impl Strategy for Search {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let mut points = Points::new(self.cube.space().parameters.len());
        let begun = usize::try_from(first).unwrap_or(usize::MAX);
        self.starts[..self.proposed_starts].iter().skip(begun).take(n).for_each(|start| points.push(start));
        if !points.is_empty() {
            return Ask::Proposals(points);
        }
        if self.cube.axes().is_empty() {
            (0..n).for_each(|_| points.push(&self.starts[0]));
            return Ask::Proposals(points);
        }
        let run =
            self.run.take().unwrap_or_else(|| self.begin(&Plan { sigma: self.first_sigma, ..self.restarts.first() }));
        let left = run.evolution.population() - self.members.len();
        if self.members.is_empty() {
            self.first = first;
        }
        for _ in 0..n.min(left) {
            let (member, row) = self.propose(&run, self.members.len() as u32);
            self.members.push(member);
            self.values.push(None);
            self.missing += 1;
            points.push(&row);
        }
        for _ in 0..if left == 0 { n } else { 0 } {
            points.push(&self.propose(&run, self.members.len() as u32 + self.beyond).1);
            self.beyond = self.beyond.wrapping_add(1);
        }
        self.run = Some(run);
        Ask::Proposals(points)
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            if outcome.candidate < self.proposed_starts as u64 {
                let best = self.best_start.as_ref().map_or(f64::NAN, |(best, _)| *best);
                if self.direction.compare(outcome.value(), best).is_lt() {
                    self.best_start = Some((outcome.value(), outcome.point.clone()));
                }
                continue;
            }
            let member = outcome.candidate.checked_sub(self.first).and_then(|member| usize::try_from(member).ok());
            let Some(value) = member.and_then(|member| self.values.get_mut(member)) else { continue };
            self.missing -= usize::from(value.replace(outcome.value()).is_none());
            let population = self.run.as_ref().map(|run| run.evolution.population());
            if Some(self.values.len()) == population && self.missing == 0 {
                self.close_generation();
            }
        }
    }

    /// A warm start (after Nomura et al. 2021, "Warm Starting CMA-ES for Hyperparameter Optimization"): the first run begins at
    /// the best candidate with the spread of the best tenth.
    fn recall(&mut self, earlier: &[Outcome]) {
        let mut ranked: Vec<&Outcome> = earlier.iter().filter(|outcome| !outcome.value().is_nan()).collect();
        ranked.sort_by(|a, b| self.direction.compare(a.value(), b.value()));
        let Some(best) = ranked.first() else { return };
        self.best_start = Some((best.value(), best.point.clone()));
        self.proposed_starts = 0;
        ranked.truncate((ranked.len() / 10).max(self.cube.axes().len().min(ranked.len())));
        let places: Vec<Vec<f64>> = ranked.iter().map(|outcome| self.cube.encode(&outcome.point)).collect();
        let variances = self.numbers.iter().filter_map(|(axis, _)| variance(places.iter().map(|place| place[*axis])));
        let (sum, count) = variances.fold((0.0, 0.0), |(sum, count), variance| (sum + variance, count + 1.0));
        if count > 0.0 {
            self.first_sigma = f64::sqrt(sum / count).clamp(LEAST_FIRST_SIGMA, FIRST_SIGMA);
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

/// Of those that are numbers; none of fewer than two.
fn variance(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let numbers = values.filter(|value| !value.is_nan());
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    (count >= 2.0).then(|| numbers.map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0))
}

#[cfg(test)]
mod tests;
