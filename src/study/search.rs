//! The only loop: a strategy asks, lanes train, outcomes are journalled, then told.
//!
//! Stop rules look at whole batches in the order of ids, so that the time at which a lane ends decides nothing; only the
//! time limit and an interrupt cut a batch short.

use super::error::{RunDirError, StudyError};
use super::events::{BestSoFar, Event, Observers, Progress};
use super::history::{History, Pending, Shape, Trial};
use super::journal::{Frame, Journal};
use super::resolve::Study;
use super::stopping::{StopReason, Stopping};
use crate::backend::{Lane, LaneReport, Slot, StopFlag, Trainer};
use crate::schedulers::Scheduler;
use crate::space::Points;
use crate::strategies::{Ask, Strategy};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Outcomes are on the disk at most so long after they were made.
const JOURNAL_EVERY: Duration = Duration::from_secs(1);

/// Where outcomes go, and where a stop comes from.
pub(super) struct Ports<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) observers: &'a mut Observers,
    pub(super) stop: &'a StopFlag,
}

/// Candidates that a strategy proposed together.
struct Batch {
    /// The first one's id.
    first: u64,
    points: Points,
}

impl Batch {
    fn candidate(&self, place: usize) -> u64 {
        self.first + place as u64
    }
}

/// What a batch still needs.
#[derive(Default)]
struct Work {
    /// Places in the batch to train, by their budget.
    budgets: BTreeMap<u64, Vec<usize>>,
    /// Candidates with the point of an earlier one, and the earlier one.
    twins: Vec<(u64, u64)>,
    /// Outcomes that need no training.
    ready: Vec<Trial>,
    /// Candidates whose outcome the journal has.
    known: Vec<u64>,
}

/// How much of this session's work is done, in operations of training.
#[derive(Debug, Clone, Copy, Default)]
struct Effort {
    done: f64,
    /// Of the candidates that were admitted so far, and their number.
    admitted: f64,
    candidates: u64,
}

impl Effort {
    /// The share that is done if `more` candidates follow that take as much as those before.
    fn share(&self, more: u64) -> f64 {
        let all = self.admitted + self.admitted / self.candidates.max(1) as f64 * more as f64;
        if all > 0.0 { self.done / all } else { 0.0 }
    }
}

/// Candidates that follow the first `done`: few at the start, so that there are outcomes early whenever the search is
/// stopped, then twice as many each time, up to `most`.
fn batch_size(done: u64, most: u64) -> u64 {
    const FIRST: u64 = 16;
    most.min(done.saturating_add(FIRST))
}

/// The state of a search.
pub(super) struct Search<'a> {
    study: &'a Study,
    /// The run directory, for messages.
    dir: &'a Path,
    strategy: Box<dyn Strategy>,
    scheduler: Box<dyn Scheduler>,
    stopping: Stopping,
    history: History,
    shape: Shape,
    /// Where each fold's scores begin among a candidate's.
    first_score: Vec<usize>,
    total: u64,
    resumed: u64,
    effort: Effort,
    lanes: u64,
    failed: u64,
    best: Option<BestSoFar>,
    /// What the strategy decided, for the result.
    decisions: Vec<String>,
    began: Instant,
}

impl<'a> Search<'a> {
    /// A search that goes on behind what these frames of its journal hold.
    pub(super) fn new(study: &'a Study, frames: &[Frame], dir: &'a Path) -> Result<Search<'a>, StudyError> {
        let mut history = History::new(study.space.parameters.len());
        let shape = study.shape();
        for frame in frames {
            if let Frame::Outcomes(outcomes) = frame
                && !history.restore(outcomes, shape)
            {
                return Err(RunDirError::Other { dir: dir.to_owned(), what: "other folds".to_owned() }.into());
            }
        }
        let strategy = study.strategy.open(study.space.clone(), &study.strategy_options());
        let wanted = study.config.search.candidates;
        let mut search = Search {
            study,
            dir,
            scheduler: study.scheduler.open(study.budget),
            stopping: Stopping::new(study.direction(), &study.config.stop, study.parts.clone()),
            shape,
            first_score: study.objective.first_scores(),
            resumed: history.trials.len() as u64,
            effort: Effort::default(),
            total: strategy.size().map_or(wanted, |size| size.min(wanted)),
            strategy,
            history,
            lanes: 0,
            failed: 0,
            best: None,
            decisions: Vec::new(),
            began: Instant::now(),
        };
        let known: Vec<Trial> = search.history.trials.values().cloned().collect();
        known.iter().for_each(|trial| search.count(trial));
        Ok(search)
    }

    /// Asks, trains and tells until there is a reason to stop.
    pub(super) fn run(&mut self, trainer: &mut dyn Trainer, ports: &mut Ports<'_>) -> Result<StopReason, StudyError> {
        let search = &self.study.config.search;
        self.began = Instant::now();
        trainer.want_gradients(self.study.strategy.uses_gradients());
        loop {
            let first = self.history.points.len() as u64;
            let n = batch_size(first, self.study.batch).min(search.candidates.saturating_sub(first));
            if n == 0 {
                return Ok(StopReason::Candidates);
            }
            let asked = self.strategy.ask(first, n as usize);
            self.hear(ports.observers);
            let batch = match asked {
                Ask::Proposals(points) => Batch { first, points },
                Ask::Done => return Ok(StopReason::SpaceExhausted),
                // Batches are told whole before the next one is asked for: there is nothing to wait for.
                Ask::Wait => return Err(StudyError::StrategyWaits { strategy: self.study.strategy.name() }),
            };
            self.check(&batch)?;
            let mut work = self.admit(&batch);
            if !self.study.config.search.limits.is_empty() {
                self.lead_again(&work.known);
            }
            self.keep(&mut work.ready, ports)?;
            for (budget, places) in work.budgets {
                if let Some(reason) = self.train(&batch, &places, budget, trainer, ports)? {
                    return Ok(reason);
                }
            }
            self.keep(&mut self.copies(&work.twins), ports)?;
            if let Some(reason) = self.tell(&batch, ports.observers) {
                return Ok(reason);
            }
        }
    }

    /// Whether the strategy proposes what it proposed when the journal was written.
    fn check(&mut self, batch: &Batch) -> Result<(), RunDirError> {
        match self.history.contradiction(batch.first, &batch.points) {
            None => Ok(()),
            Some(candidate) => {
                let what = format!("a strategy that proposed another candidate {candidate}");
                Err(RunDirError::Other { dir: self.dir.to_owned(), what })
            }
        }
    }

    /// What the candidates of a batch need that have no outcome in the journal.
    fn admit(&mut self, batch: &Batch) -> Work {
        let mut work = Work::default();
        for (place, row) in batch.points.rows().enumerate() {
            let candidate = batch.candidate(place);
            let twin = self.history.propose(row);
            match twin {
                _ if self.history.trials.contains_key(&candidate) => work.known.push(candidate),
                Some(twin) => work.twins.push((candidate, twin)),
                None if !self.study.space.is_allowed(row) => work.ready.push(Trial::infeasible(candidate, self.shape)),
                None => work.budgets.entry(self.scheduler.admit(candidate)).or_default().push(place),
            }
        }
        work
    }

    /// Trains candidates of a batch on every fold; a reason if it was cut short.
    fn train(
        &mut self,
        batch: &Batch,
        places: &[usize],
        budget: u64,
        trainer: &mut dyn Trainer,
        ports: &mut Ports<'_>,
    ) -> Result<Option<StopReason>, StudyError> {
        let folds = 0..self.shape.lanes;
        let lanes: Vec<Lane> =
            places.iter().flat_map(|&point| folds.clone().map(move |fold| Lane { point, fold })).collect();
        let mut work = vec![0.0; batch.points.len()];
        for place in places {
            work[*place] = self.study.objective.work(batch.points.row(*place));
        }
        self.effort.admitted += work.iter().sum::<f64>() * self.shape.lanes as f64;
        self.effort.candidates += places.len() as u64;
        let slots = trainer.start(&batch.points, &lanes)?;
        let lane_of: HashMap<Slot, Lane> = slots.iter().copied().zip(lanes).collect();
        let deadline = self.study.config.stop.time.and_then(|span| self.began.checked_add(span.0));
        let mut pending: HashMap<usize, Pending> = HashMap::new();
        let mut finished: Vec<Trial> = Vec::new();
        let mut written = Instant::now();
        let mut failure = None;
        let stop = ports.stop.until(deadline);
        let mut report = |report: LaneReport| {
            let Some(lane) = lane_of.get(&report.slot) else { return ControlFlow::Continue(()) };
            self.lanes += 1;
            self.effort.done += work[lane.point];
            let candidate = pending.entry(lane.point).or_insert_with(|| Pending::new(self.shape));
            if candidate.take(lane.fold, self.first_score[lane.fold], &report)
                && let Some(candidate) = pending.remove(&lane.point)
            {
                let mut trial = candidate.finish(batch.candidate(lane.point));
                self.study.objective.complete(&mut trial, batch.points.row(lane.point));
                finished.push(trial);
            }
            ports.observers.notify(&Event::Lane(self.progress()));
            if written.elapsed() >= JOURNAL_EVERY {
                failure = self.keep(&mut finished, ports).err();
                written = Instant::now();
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let advanced = trainer.advance(&slots, budget, false, &stop, &mut report);
        trainer.release(&slots);
        if let Some(failure) = failure {
            return Err(failure);
        }
        // What is whole is kept, whatever happened to the rest.
        self.keep(&mut finished, ports)?;
        advanced?;
        let is_whole = places.iter().all(|place| self.history.trials.contains_key(&batch.candidate(*place)));
        Ok(match is_whole {
            true => None,
            false if ports.stop.is_raised() => Some(StopReason::Interrupted),
            false => Some(StopReason::Time),
        })
    }

    /// Equal candidates have equal bits: none is trained twice.
    fn copies(&self, twins: &[(u64, u64)]) -> Vec<Trial> {
        // Where time has a limit an equal candidate is as far beyond it.
        let is_timed = self.study.config.search.limits.seconds.is_some();
        let copy = |(candidate, twin): &(u64, u64)| {
            let twin = self.history.trials.get(twin)?.clone();
            Some(Trial { candidate: *candidate, seconds: if is_timed { twin.seconds } else { 0.0 }, ..twin })
        };
        twins.iter().filter_map(copy).collect()
    }

    /// Journals outcomes, and only then lets anyone know.
    fn keep(&mut self, finished: &mut Vec<Trial>, ports: &mut Ports<'_>) -> Result<(), StudyError> {
        if finished.is_empty() {
            return Ok(());
        }
        finished.sort_by_key(|trial| trial.candidate);
        let outcomes = self.history.to_frame(finished, self.study.strategy.is_adaptive());
        ports.journal.append(&Frame::Outcomes(outcomes))?;
        for trial in finished.iter() {
            self.count(trial);
            self.history.trials.insert(trial.candidate, trial.clone());
        }
        ports.observers.notify(&Event::Trials { trials: finished, progress: self.progress() });
        finished.clear();
        Ok(())
    }

    fn count(&mut self, trial: &Trial) {
        self.failed += u64::from(!trial.status.is_scored());
        // A limit can only be looked at where the point is known: of a journal's candidates when they are proposed again.
        let point = (trial.candidate < self.history.points.len() as u64).then(|| self.history.point(trial.candidate));
        match point {
            Some(point) if self.study.objective.violation(trial, point) > 0.0 => {}
            None if !self.study.config.search.limits.is_empty() => {}
            _ => self.lead(trial),
        }
    }

    /// The best of candidates whose outcomes the journal has, and whose points are known now.
    fn lead_again(&mut self, known: &[u64]) {
        for candidate in known {
            let Some(trial) = self.history.trials.get(candidate).cloned() else { continue };
            if self.study.objective.violation(&trial, self.history.point(*candidate)) == 0.0 {
                self.lead(&trial);
            }
        }
    }

    fn lead(&mut self, trial: &Trial) {
        let value = trial.value();
        let direction = self.study.direction();
        if !value.is_nan() && self.best.is_none_or(|best| direction.compare(value, best.value).is_lt()) {
            self.best = Some(BestSoFar {
                candidate: trial.candidate,
                value,
                std_error: self.study.parts.std_error(&trial.scores),
            });
        }
    }

    /// Tells a whole batch in the order of ids; a reason to stop if there is one.
    fn tell(&mut self, batch: &Batch, observers: &mut Observers) -> Option<StopReason> {
        let mut outcomes = Vec::new();
        let mut reason = None;
        for (place, row) in batch.points.rows().enumerate() {
            let Some(trial) = self.history.trials.get(&batch.candidate(place)) else { continue };
            let violation = self.study.objective.violation(trial, row);
            // Who is beyond a limit is no choice, whatever the score.
            let value = if violation > 0.0 { f64::NAN } else { trial.value() };
            reason = reason.or(self.stopping.tell(value, &trial.scores));
            if self.study.strategy.is_adaptive() {
                outcomes.push(self.study.outcome(trial, row));
            }
        }
        self.strategy.tell(&outcomes);
        self.hear(observers);
        reason
    }

    /// Passes on what the strategy decided.
    fn hear(&mut self, observers: &mut Observers) {
        for decision in self.strategy.decisions() {
            observers.notify(&Event::Note(decision.clone()));
            self.decisions.push(decision);
        }
    }

    /// What the strategy decided, in its order.
    pub(super) fn decisions(&self) -> &[String] {
        &self.decisions
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            candidates: self.history.trials.len() as u64,
            total: self.total,
            lanes: self.lanes,
            share: self.effort.share(self.total.saturating_sub(self.history.points.len() as u64)),
            resumed: self.resumed,
            seconds: self.began.elapsed().as_secs_f64(),
            limit: self.study.config.stop.time.map(|span| span.0.as_secs_f64()),
            best: self.best,
            failed: self.failed,
        }
    }

    /// What was found. Outcomes of candidates that this search did not come to are left out: an earlier session may have
    /// gone further than this one was asked to.
    pub(super) fn into_history(mut self) -> History {
        self.history.forget_unproposed();
        self.history
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double_up_to_their_size() {
        let sizes: Vec<u64> =
            (0..6).scan(0, |done, _| Some((batch_size(*done, 100), *done += batch_size(*done, 100)).0)).collect();
        assert_eq!(sizes, [16, 32, 64, 100, 100, 100]);
        assert_eq!(batch_size(0, 3), 3);
    }

    #[test]
    fn a_share_expects_of_what_follows_what_came_before() {
        assert_eq!(Effort::default().share(10), 0.0);
        assert_eq!(Effort { done: 60.0, admitted: 100.0, candidates: 10 }.share(0), 0.6);
        assert_eq!(Effort { done: 60.0, admitted: 100.0, candidates: 10 }.share(30), 0.15);
    }
}
