//! The only loop: a strategy asks, lanes train, outcomes are journalled, then told.
//!
//! Stop rules look at whole batches in the order of ids, so that the time at which a lane ends decides nothing; only the
//! time limit and an interrupt cut a batch short.

use super::error::{RunDirError, StudyError};
use super::events::{BestSoFar, Event, Observers, Progress};
use super::history::{History, Pending, Shape, Trial, TrialStatus};
use super::journal::{Frame, Journal, Rung};
use super::resolve::Study;
use super::stopping::{StopReason, Stopping};
use crate::backend::{Lane, LaneReport, Slot, StopFlag, Trainer};
use crate::schedulers::{Reached, Scheduler};
use crate::space::Points;
use crate::strategies::{Ask, Strategy};
use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
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
    /// Slots of candidates that were scored on their way and may go on.
    standing: HashMap<u64, Vec<Slot>>,
    /// Candidates that have come to their end since the strategy was last told.
    untold: Vec<u64>,
    stopping: Stopping,
    history: History,
    shape: Shape,
    /// See [`Study::clocks`].
    clocks: f64,
    /// Where each fold's scores begin among a candidate's.
    first_score: Vec<usize>,
    total: u64,
    resumed: u64,
    effort: Effort,
    lanes: u64,
    failed: u64,
    pruned: u64,
    /// Units of budget of this session's lanes.
    trained: u64,
    /// Units that those who were ended early did not need, and what the whole budgets of all that have come to their end are.
    spared: f64,
    whole: f64,
    best: Option<BestSoFar>,
    /// What the strategy decided, for the result.
    decisions: Vec<String>,
    began: Instant,
}

impl<'a> Search<'a> {
    /// A search on a backend of this name that goes on behind what these frames of its journal hold.
    pub(super) fn new(
        study: &'a Study,
        backend: &str,
        frames: &[Frame],
        dir: &'a Path,
    ) -> Result<Search<'a>, StudyError> {
        let mut history = History::new(study.space.parameters.len(), study.budget);
        let shape = study.shape();
        for frame in frames {
            let fits = match frame {
                Frame::Outcomes(outcomes) => history.restore(outcomes, shape),
                Frame::Rung(rung) => history.restore_rung(rung, shape),
                _ => true,
            };
            if !fits {
                return Err(RunDirError::Other { dir: dir.to_owned(), what: "other folds".to_owned() }.into());
            }
        }
        // A plan by the time there is was made of what the backend reported on which the run was begun.
        let begun_on = match frames.first() {
            Some(Frame::Header(header)) => &header.backend,
            _ => backend,
        };
        let strategy = study.strategy.open(study.space.clone(), &study.strategy_options());
        let wanted = study.config.search.candidates;
        let mut search = Search {
            study,
            dir,
            scheduler: study.scheduler.open(&study.scheduler_options()),
            standing: HashMap::new(),
            untold: Vec::new(),
            stopping: Stopping::new(study.direction(), &study.config.stop, study.parts.clone()),
            shape,
            clocks: study.clocks(begun_on),
            first_score: study.objective.first_scores(),
            resumed: history.trials.len() as u64,
            effort: Effort::default(),
            total: strategy.size().map_or(wanted, |size| size.min(wanted)),
            strategy,
            history,
            lanes: 0,
            failed: 0,
            pruned: 0,
            trained: 0,
            spared: 0.0,
            whole: 0.0,
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
        self.began = Instant::now();
        trainer.want_gradients(self.study.strategy.uses_gradients());
        loop {
            let first = self.history.points.len() as u64;
            let room = self.study.end_after(first).saturating_sub(first);
            let round = self.scheduler.next(room, batch_size(first, self.study.batch));
            self.end(&round.ended, trainer, ports);
            if (round.begin > 0 || round.is_last())
                && let Some(reason) = self.tell(ports.observers)
            {
                return Ok(reason);
            }
            if round.is_last() {
                return Ok(StopReason::Candidates);
            }
            let begun = match self.propose(first, round.begin, ports)? {
                Some(begun) => begun,
                None => return Ok(StopReason::SpaceExhausted),
            };
            let fresh = begun.clone().map(|candidate| (candidate, round.budget));
            let mut training: Vec<(u64, u64)> = fresh.chain(round.go_on).collect();
            training.sort_unstable();
            if let Some(reason) = self.train_round(&training, begun, trainer, ports)? {
                return Ok(reason);
            }
            if self.study.scheduler.ends_early() {
                let reached = training.iter().map(|(candidate, budget)| self.reached(*candidate, *budget));
                self.scheduler.report(&reached.collect::<Vec<Reached>>());
            }
        }
    }

    /// Asks for the next candidates and puts them into the history: their ids, or nothing where there are none any more.
    fn propose(&mut self, first: u64, n: u64, ports: &mut Ports<'_>) -> Result<Option<Range<u64>>, StudyError> {
        if n == 0 {
            return Ok(Some(first..first));
        }
        let asked = self.strategy.ask(first, n as usize);
        self.hear(ports.observers);
        match asked {
            Ask::Proposals(points) => {
                self.check(first, &points)?;
                points.rows().for_each(|row| self.history.propose(row));
                Ok(Some(first..first + points.len() as u64))
            }
            Ask::Done => Ok(None),
            // Cohorts are told whole before the next one is asked for: there is nothing to wait for.
            Ask::Wait => Err(StudyError::StrategyWaits { strategy: self.study.strategy.name() }),
        }
    }

    /// Whether the strategy proposes what it proposed when the journal was written.
    fn check(&mut self, first: u64, points: &Points) -> Result<(), RunDirError> {
        match self.history.contradiction(first, points) {
            None => Ok(()),
            Some(candidate) => {
                let what = format!("a strategy that proposed another candidate {candidate}");
                Err(RunDirError::Other { dir: self.dir.to_owned(), what })
            }
        }
    }

    /// Trains what a round asks for as far as the journal does not have it; a reason if it was cut short.
    fn train_round(
        &mut self,
        training: &[(u64, u64)],
        begun: Range<u64>,
        trainer: &mut dyn Trainer,
        ports: &mut Ports<'_>,
    ) -> Result<Option<StopReason>, StudyError> {
        let mut work = self.admit(training, begun);
        if !self.study.config.search.limits.is_empty() {
            self.lead_again(&work.known);
        }
        self.keep(&mut work.ready, self.study.budget, ports)?;
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
            let twin = self.history.twin(candidate);
            if self.history.at(candidate, budget).is_some() {
                work.known.push(candidate);
                self.untold.extend(Some(candidate).filter(|_| self.history.over_at(candidate, budget).is_some()));
            } else if let Some(twin) = twin.filter(|twin| self.history.at(*twin, budget).is_some() || is_here(twin)) {
                work.twins.push((candidate, twin, budget));
            } else if !self.study.space.is_allowed(self.history.point(candidate)) {
                work.ready.push(Trial::infeasible(candidate, self.shape));
            } else {
                self.effort.candidates += u64::from(begun.contains(&candidate));
                work.budgets.entry(budget).or_default().push(candidate);
            }
        }
        work
    }

    /// Trains candidates up to a budget on every fold; a reason if it was cut short.
    fn train(
        &mut self,
        candidates: &[u64],
        budget: u64,
        trainer: &mut dyn Trainer,
        ports: &mut Ports<'_>,
    ) -> Result<Option<StopReason>, StudyError> {
        let is_whole = budget >= self.study.budget;
        // What a candidate's lanes have had where it stands, seconds among that, and operations of this leg of one.
        let (mut before, mut seconds, mut work) = (Vec::new(), Vec::new(), Vec::new());
        for candidate in candidates {
            let stands = self.standing.contains_key(candidate).then(|| self.history.last_rung(*candidate)).flatten();
            let had = stands.map_or(0, |(had, _)| had);
            seconds.push(stands.map_or(0.0, |(_, trial)| trial.seconds));
            let share = budget.saturating_sub(had) as f64 / self.study.budget.max(1) as f64;
            work.push(self.study.objective.work(self.history.point(*candidate)) * share);
            before.push(stands.map_or_else(Vec::new, |(_, trial)| trial.used.clone()));
        }
        self.effort.admitted += work.iter().sum::<f64>() * self.shape.lanes as f64;
        let slots = self.slots(candidates, trainer)?;
        let lane_of: HashMap<Slot, (usize, usize)> = slots
            .iter()
            .enumerate()
            .flat_map(|(place, slots)| slots.iter().enumerate().map(move |(fold, slot)| (*slot, (place, fold))))
            .collect();
        let all: Vec<Slot> = slots.iter().flatten().copied().collect();
        let deadline = self.study.config.stop.time.and_then(|span| self.began.checked_add(span.0));
        let mut pending: HashMap<usize, Pending> = HashMap::new();
        let mut finished: Vec<Trial> = Vec::new();
        let mut written = Instant::now();
        let mut failure = None;
        let stop = ports.stop.until(deadline);
        let mut report = |report: LaneReport| {
            let Some(&(place, fold)) = lane_of.get(&report.slot) else { return ControlFlow::Continue(()) };
            self.lanes += 1;
            self.effort.done += work[place];
            let more = report.used.saturating_sub(before[place].get(fold).copied().unwrap_or(0));
            self.trained = self.trained.saturating_add(more);
            let candidate = pending.entry(place).or_insert_with(|| Pending::new(self.shape));
            if candidate.take(fold, self.first_score[fold], &report)
                && let Some(candidate) = pending.remove(&place)
            {
                let mut trial = candidate.finish(candidates[place], seconds[place]);
                self.study.objective.complete(&mut trial, self.history.point(candidates[place]));
                finished.push(trial);
            }
            ports.observers.notify(&Event::Lane(self.progress()));
            if written.elapsed() >= JOURNAL_EVERY {
                failure = self.keep(&mut finished, budget, ports).err();
                written = Instant::now();
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let advanced = trainer.advance(&all, budget, !is_whole, &stop, &mut report);
        if let Some(failure) = failure {
            return Err(failure);
        }
        // What is whole is kept, whatever happened to the rest.
        self.keep(&mut finished, budget, ports)?;
        for (candidate, slots) in candidates.iter().zip(slots) {
            match self.history.trials.contains_key(candidate) || is_whole {
                true => trainer.release(&slots),
                false => drop(self.standing.insert(*candidate, slots)),
            }
        }
        advanced?;
        let is_done = candidates.iter().all(|candidate| self.history.at(*candidate, budget).is_some());
        Ok(match is_done {
            true => None,
            false if ports.stop.is_raised() => Some(StopReason::Interrupted),
            false => Some(StopReason::Time),
        })
    }

    /// The slots of candidates, one a fold: where they stand, or from the beginning of their training. A run that is resumed
    /// has none that stand.
    fn slots(&mut self, candidates: &[u64], trainer: &mut dyn Trainer) -> Result<Vec<Vec<Slot>>, StudyError> {
        let folds = self.shape.lanes;
        let mut points = Points::new(self.study.space.parameters.len());
        let mut lanes = Vec::new();
        for candidate in candidates.iter().filter(|candidate| !self.standing.contains_key(candidate)) {
            let point = points.len();
            points.push(self.history.point(*candidate));
            lanes.extend((0..folds).map(|fold| Lane { point, fold }));
        }
        let mut started = match lanes.is_empty() {
            true => Vec::new().into_iter(),
            false => trainer.start(&points, &lanes)?.into_iter(),
        };
        let slots = |candidate: &u64| match self.standing.remove(candidate) {
            Some(slots) => slots,
            None => started.by_ref().take(folds).collect(),
        };
        Ok(candidates.iter().map(slots).collect())
    }

    /// What a scheduler hears of a candidate.
    fn reached(&self, candidate: u64, budget: u64) -> Reached {
        let Some(trial) = self.history.at(candidate, budget) else {
            return Reached { candidate, budget, value: f64::NAN };
        };
        let value = -self.study.direction().sign() * trial.reached();
        // Who is beyond a limit comes last, and yet stands there: it is no failure.
        let is_beyond = self.study.objective.violation(trial, self.history.point(candidate)) > 0.0;
        Reached { candidate, budget, value: if is_beyond && !value.is_nan() { f64::INFINITY } else { value } }
    }

    /// Ends candidates where they stand.
    fn end(&mut self, ended: &[(u64, u64)], trainer: &mut dyn Trainer, ports: &mut Ports<'_>) {
        let pruned = ended.iter().filter_map(|(candidate, budget)| self.history.prune(*candidate, *budget));
        let trials: Vec<Trial> = pruned.collect();
        self.untold.extend(ended.iter().map(|(candidate, _)| candidate));
        trials.iter().for_each(|trial| self.count(trial));
        for (candidate, _) in ended {
            if let Some(slots) = self.standing.remove(candidate) {
                trainer.release(&slots);
            }
        }
        if !trials.is_empty() {
            ports.observers.notify(&Event::Trials { trials: &trials, progress: self.progress() });
        }
    }

    /// Equal candidates have equal bits: none is trained twice.
    fn copy(&self, candidate: u64, twin: u64, budget: u64) -> Option<Trial> {
        // Where time has a limit an equal candidate is as far beyond it.
        let is_timed = self.study.config.search.limits.seconds.is_some();
        let twin = self.history.at(twin, budget)?.clone();
        Some(Trial { candidate, seconds: if is_timed { twin.seconds } else { 0.0 }, ..twin })
    }

    /// Journals outcomes at a budget, and only then lets anyone know. Those that failed, and those that had the whole budget,
    /// have come to their end.
    fn keep(&mut self, finished: &mut Vec<Trial>, budget: u64, ports: &mut Ports<'_>) -> Result<(), StudyError> {
        if finished.is_empty() {
            return Ok(());
        }
        finished.sort_by_key(|trial| trial.candidate);
        let with_points = self.study.strategy.is_adaptive();
        let is_whole = budget >= self.study.budget;
        let (over, on_the_way): (Vec<Trial>, Vec<Trial>) =
            finished.drain(..).partition(|trial| is_whole || !trial.status.is_scored());
        if !on_the_way.is_empty() {
            let outcomes = self.history.to_frame(&on_the_way, with_points);
            ports.journal.append(&Frame::Rung(Rung { budget, outcomes }))?;
            on_the_way.into_iter().for_each(|trial| self.history.reach(budget, trial));
        }
        if !over.is_empty() {
            ports.journal.append(&Frame::Outcomes(self.history.to_frame(&over, with_points)))?;
            for trial in &over {
                self.count(trial);
                self.untold.push(trial.candidate);
                self.history.trials.insert(trial.candidate, trial.clone());
            }
            ports.observers.notify(&Event::Trials { trials: &over, progress: self.progress() });
        }
        Ok(())
    }

    /// See [`Progress::saved`].
    fn saved(&self) -> f64 {
        self.spared / self.whole.max(1.0)
    }

    fn count(&mut self, trial: &Trial) {
        let all = self.shape.lanes as f64 * self.study.budget as f64;
        self.whole += all;
        if trial.status == TrialStatus::Pruned {
            let had = self.history.last_rung(trial.candidate).map_or(0, |(had, _)| had);
            self.spared += all - self.shape.lanes as f64 * had as f64;
            self.pruned += 1;
            return;
        }
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

    /// Tells who has come to the end, in the order of ids; a reason to stop if there is one.
    fn tell(&mut self, observers: &mut Observers) -> Option<StopReason> {
        let mut untold = std::mem::take(&mut self.untold);
        untold.sort_unstable();
        untold.dedup();
        let mut outcomes = Vec::new();
        let mut reason = None;
        for candidate in untold {
            let Some(trial) = self.history.trials.get(&candidate) else { continue };
            let row = self.history.point(candidate);
            let violation = self.study.objective.violation(trial, row);
            // Who is beyond a limit is no choice, whatever the score.
            let value = if violation > 0.0 { f64::NAN } else { trial.value() };
            // Who was ended early had no chance to be an improvement.
            if trial.status != TrialStatus::Pruned {
                reason = reason.or(self.stopping.tell(value, &trial.scores));
            }
            if self.study.strategy.is_adaptive() {
                outcomes.push(self.study.outcome(trial, row, self.clocks));
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
            pruned: self.pruned,
            trained: self.trained,
            saved: self.saved(),
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
