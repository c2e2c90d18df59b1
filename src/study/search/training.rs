//! A round's training: what candidates need that the journal does not have, as lanes of the trainer.

use super::Search;
use super::{JOURNAL_EVERY, Ports};
use crate::backend::{Lane, LaneReport, Slot, Trainer};
use crate::space::Points;
use crate::study::error::StudyError;
use crate::study::events::Event;
use crate::study::history::Trial;
use crate::study::pending::Pending;
use crate::study::stopping::StopReason;
use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
use std::time::Instant;

/// What a round still needs.
#[derive(Default)]
struct Work {
    /// Candidates to train, by the budget that they are trained to.
    budgets: BTreeMap<u64, Vec<u64>>,
    /// Candidates with the point of an earlier one, the earlier one, and the budget.
    twins: Vec<(u64, u64, u64)>,
    /// Outcomes that need no training.
    ready: Vec<Trial>,
    /// Candidates whose outcome the journal has.
    known: Vec<u64>,
}

/// What a candidate trains to come from one budget to the next.
#[derive(Default)]
pub(super) struct Leg {
    lanes: Range<usize>,
    /// What it had reached, where it goes fold by fold.
    before: Option<Trial>,
    /// Units of budget that its lanes have had and that are not trained again, as the scheduler counts them.
    pub(super) had: u64,
    /// What each of them used of these; nothing of lanes that begin.
    pub(super) used: Vec<u64>,
    /// Seconds that they took.
    pub(super) seconds: f32,
    /// Operations of each lane.
    work: f64,
    /// Whether its lanes begin anew on each rung, each time with the whole budget that the rung says.
    begins_anew: bool,
}

impl Search<'_> {
    /// Trains what a round asks for as far as the journal does not have it; a reason if it was cut short.
    pub(super) fn train_round(
        &mut self,
        training: &[(u64, u64)],
        begun: Range<u64>,
        trainer: &mut dyn Trainer,
        ports: &mut Ports<'_>,
    ) -> Result<Option<StopReason>, StudyError> {
        let mut work = self.admit(training, begun);
        if self.study.objective.limits().is_some() {
            self.lead_again(&work.known);
        }
        self.keep(&mut work.ready, self.axis.whole(), ports)?;
        for (budget, candidates) in work.budgets {
            if let Some(reason) = self.train(&candidates, budget, trainer, ports)? {
                return Ok(Some(reason));
            }
        }
        let mut copies: BTreeMap<u64, Vec<Trial>> = BTreeMap::new();
        for (candidate, twin, budget) in work.twins {
            copies.entry(budget).or_default().extend(self.copy(candidate, twin, budget));
        }
        for (budget, mut copies) in copies {
            self.keep(&mut copies, budget, ports)?;
        }
        Ok(None)
    }

    /// What a round's candidates need that have no outcome in the journal.
    fn admit(&mut self, training: &[(u64, u64)], begun: Range<u64>) -> Work {
        let mut work = Work::default();
        for &(candidate, budget) in training {
            let is_here = |twin: &u64| training.binary_search(&(*twin, budget)).is_ok();
            // In a population equal points may stand on different training.
            let twin = self.history.twin(candidate).filter(|_| self.explorer.is_none());
            if self.history.at(candidate, budget).is_some() {
                work.known.push(candidate);
                self.untold.extend(Some(candidate).filter(|_| self.history.over_at(candidate, budget).is_some()));
            } else if let Some(twin) = twin.filter(|twin| self.history.at(*twin, budget).is_some() || is_here(twin)) {
                work.twins.push((candidate, twin, budget));
            } else if !self.is_allowed(candidate) {
                work.ready.push(Trial::infeasible(candidate, self.shape));
            } else {
                self.effort.candidates += u64::from(begun.contains(&candidate));
                work.budgets.entry(budget).or_default().push(candidate);
            }
        }
        work
    }

    /// Whether all that a candidate is trained with meets the constraints.
    fn is_allowed(&self, candidate: u64) -> bool {
        let space = &self.study.space;
        space.is_allowed(self.history.point(candidate))
            && (self.study.stages.is_empty()
                || self.study.recipe(&self.history, candidate).turns.iter().all(|(_, point)| space.is_allowed(point)))
    }

    /// Trains candidates up to a budget; a reason if it was cut short.
    fn train(
        &mut self,
        candidates: &[u64],
        budget: u64,
        trainer: &mut dyn Trainer,
        ports: &mut Ports<'_>,
    ) -> Result<Option<StopReason>, StudyError> {
        self.look(Some(budget));
        let goes_on = !self.axis.is_by_fold() && budget < self.axis.whole();
        let to = self.axis.of_lane(budget);
        let mut legs: Vec<Leg> = candidates.iter().map(|candidate| self.leg(*candidate, budget)).collect();
        let slots = self.slots(candidates, &mut legs, budget, trainer)?;
        for (candidate, leg) in candidates.iter().zip(&mut legs) {
            leg.work = self.study.objective.work(self.history.point(*candidate)) * self.axis.share(leg.had, budget);
            self.effort.admitted += leg.work * leg.lanes.len() as f64;
        }
        trainer.want_states(self.wants_states());
        // Whom a population's scheduler lets go on comes to its end later: nobody reads how it scored on its training rows here.
        let wants_training_scores = !(goes_on && self.explorer.is_some());
        trainer.want_training_scores(wants_training_scores);
        let lane_of: HashMap<Slot, (usize, usize)> = slots
            .iter()
            .zip(&legs)
            .enumerate()
            .flat_map(|(place, (slots, leg))| {
                slots.iter().zip(leg.lanes.clone()).map(move |(slot, lane)| (*slot, (place, lane)))
            })
            .collect();
        let all: Vec<Slot> = slots.iter().flatten().copied().collect();
        let deadline = self.study.config.stop.time.and_then(|span| self.began.checked_add(span.0));
        let mut pending: HashMap<usize, Pending> = HashMap::new();
        let mut finished: Vec<Trial> = Vec::new();
        let mut written = Instant::now();
        let mut failure = None;
        let stop = ports.stop.until(deadline);
        let mut report = |mut report: LaneReport| {
            let Some(&(place, lane)) = lane_of.get(&report.slot) else { return ControlFlow::Continue(()) };
            let leg = &legs[place];
            if !wants_training_scores {
                report.train = f64::NAN;
            }
            self.lanes += 1;
            self.effort.done += leg.work;
            let had = leg.used.get(lane).copied().unwrap_or(0);
            let units = if leg.begins_anew { to } else { report.used.saturating_sub(had) };
            self.trained = self.trained.saturating_add(units);
            self.checkpoint.take(candidates[place], lane, self.shape.lanes, report.state.take());
            let candidate = pending.entry(place).or_insert_with(|| self.pending(leg));
            if candidate.take(lane, self.first_score[lane], &report)
                && let Some(candidate) = pending.remove(&place)
            {
                let mut trial = candidate.finish(candidates[place], leg.seconds);
                self.study.objective.complete(&mut trial, self.history.point(candidates[place]));
                finished.push(trial);
            }
            ports.observers.notify(&Event::Lane(self.progress()));
            // Who ends shortly after a write may be the last one for an hour: what took long is written by itself.
            if written.elapsed() >= JOURNAL_EVERY || report.seconds >= JOURNAL_EVERY.as_secs_f64() {
                failure = self.keep(&mut finished, budget, ports).err();
                written = Instant::now();
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let advanced = trainer.advance(&all, to, goes_on, &stop, &mut report);
        if let Some(failure) = failure {
            return Err(failure);
        }
        // What is whole is kept, whatever happened to the rest.
        self.keep(&mut finished, budget, ports)?;
        for (candidate, slots) in candidates.iter().zip(slots) {
            match goes_on && !self.history.trials.contains_key(candidate) {
                true => drop(self.standing.insert(*candidate, slots)),
                false => trainer.release(&slots),
            }
        }
        let is_done = candidates.iter().all(|candidate| self.history.at(*candidate, budget).is_some());
        self.settle_states(is_done, ports.observers);
        advanced?;
        Ok(match is_done {
            true => None,
            false if ports.stop.is_raised() => Some(StopReason::Interrupted),
            false => Some(StopReason::Time),
        })
    }

    /// What a candidate trains to come to a budget. Where lanes go on from where they stand, a run that is resumed has none that
    /// do, but for those that a checkpoint has; folds that were scored are done; a fit on more rows is another one.
    fn leg(&self, candidate: u64, budget: u64) -> Leg {
        let begins_anew = self.study.objective.begins_anew(self.history.point(candidate));
        let stands = !begins_anew && (self.axis.is_by_fold() || self.standing.contains_key(&candidate));
        let Some((had, trial)) = self.history.rung_below(candidate, budget).filter(|_| stands) else {
            return Leg { lanes: self.axis.leg(0, budget), begins_anew, ..Leg::default() };
        };
        let before = self.axis.is_by_fold().then(|| trial.clone());
        let (lanes, used) = (self.axis.leg(had, budget), trial.used.clone());
        Leg { lanes, before, had, used, seconds: trial.seconds, work: 0.0, begins_anew }
    }

    /// A candidate before the first of a leg's lanes reports.
    fn pending(&self, leg: &Leg) -> Pending {
        match self.axis.is_by_fold() {
            true => {
                let scores = self.scores_of(leg.lanes.clone());
                Pending::leg(self.shape, leg.lanes.clone(), scores, leg.before.as_ref())
            }
            false => Pending::new(self.shape),
        }
    }

    /// Where the scores of some lanes are among a candidate's.
    pub(super) fn scores_of(&self, lanes: Range<usize>) -> Range<usize> {
        let first = |lane: usize| self.first_score.get(lane).copied().unwrap_or(self.shape.scores);
        first(lanes.start)..first(lanes.end)
    }

    /// The slots of candidates, one a lane: where they stand, or from the beginning of their training.
    fn slots(
        &mut self,
        candidates: &[u64],
        legs: &mut [Leg],
        budget: u64,
        trainer: &mut dyn Trainer,
    ) -> Result<Vec<Vec<Slot>>, StudyError> {
        let mut points = Points::new(self.study.space.parameters.len());
        let (mut begin, mut lanes, mut recipes) = (Vec::new(), Vec::new(), Vec::new());
        let fresh = candidates.iter().zip(&mut *legs).filter(|(one, _)| !self.standing.contains_key(one));
        let mut fresh: Vec<(&u64, &mut Leg)> = fresh.collect();
        for (candidate, leg) in &fresh {
            begin.push(**candidate);
            let point = points.len();
            let recipe = self.study.recipe(&self.history, **candidate);
            points.push(&recipe.first);
            recipes.push(recipe);
            lanes.extend(leg.lanes.clone().map(|fold| Lane { point, fold }));
        }
        let mut started = match lanes.is_empty() {
            true => Vec::new().into_iter(),
            false => {
                trainer.announce(&begin);
                let started = trainer.start(&points, &lanes)?;
                let mut left = &started[..];
                for ((_, leg), recipe) in fresh.iter_mut().zip(&recipes) {
                    let (own, others) = left.split_at(leg.lanes.len());
                    self.follow(recipe, own, trainer)?;
                    self.thaw(recipe, budget, own, leg, trainer);
                    left = others;
                }
                started.into_iter()
            }
        };
        let slots = |(candidate, leg): (&u64, &Leg)| match self.standing.remove(candidate) {
            Some(slots) => slots,
            None => started.by_ref().take(leg.lanes.len()).collect(),
        };
        Ok(candidates.iter().zip(&*legs).map(slots).collect())
    }

    /// Equal candidates have equal bits: none is trained twice.
    fn copy(&self, candidate: u64, twin: u64, budget: u64) -> Option<Trial> {
        // Where time has a limit an equal candidate is as far beyond it.
        let is_timed = self.study.config.search.limits.seconds.is_some();
        let twin = self.history.at(twin, budget)?.clone();
        Some(Trial { candidate, seconds: if is_timed { twin.seconds } else { 0.0 }, ..twin })
    }
}
