//! The only loop: a strategy asks, lanes train, outcomes are journalled, then told.
//!
//! Stop rules look at whole batches in the order of ids, so that the time at which a lane ends decides nothing; only the
//! time limit and an interrupt cut a batch short.

mod checkpoint;
mod climb;
mod forking;
mod training;

use crate::backend::{Slot, StopFlag, Trainer};
use crate::schedulers::{Explorer, Reached, Scheduler};
use crate::space::Points;
use crate::strategies::{Ask, Outcome, Strategy};
use crate::study::choice::mean;
use crate::study::error::{RunDirError, StudyError};
use crate::study::events::{BestSoFar, Event, Observers, Progress, Rungs};
use crate::study::failures;
use crate::study::history::{History, Shape, Trial, TrialStatus};
use crate::study::journal::{Frame, Journal, Rung};
use crate::study::regret::RegretRule;
use crate::study::resolve::Study;
use crate::study::scheduling::Axis;
use crate::study::stopping::{StopReason, Stopping};
use checkpoint::Checkpoint;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
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
    /// Where candidates take over others' training.
    explorer: Option<Box<dyn Explorer>>,
    axis: Axis,
    /// Slots of candidates that were scored on their way and may go on.
    standing: HashMap<u64, Vec<Slot>>,
    checkpoint: Checkpoint,
    /// Candidates that have come to their end since the strategy was last told.
    untold: Vec<u64>,
    /// Candidates that have begun since then, and the budget that they had then.
    begun: Vec<(u64, u64)>,
    /// Candidates of which the strategy has heard before their end.
    heard: HashSet<u64>,
    /// Whether the strategy has no further candidate.
    is_exhausted: bool,
    stopping: Stopping,
    regret: Option<RegretRule>,
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
    /// The candidates that climb together, and where they stand.
    cohort: climb::Cohort,
    rungs: Option<Rungs>,
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
        let axis = study.axis();
        let mut history = History::new(study.space.parameters.len(), axis.whole());
        let shape = study.shape();
        for frame in frames {
            let fits = match frame {
                Frame::Outcomes(outcomes) => history.restore(outcomes, shape),
                Frame::Rung(rung) => history.restore_rung(rung, shape),
                Frame::Reasons(reasons) => {
                    history.restore_reasons(reasons);
                    true
                }
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
            explorer: study.scheduler.explorer(study.explorer_options()),
            axis,
            standing: HashMap::new(),
            checkpoint: Checkpoint::default(),
            untold: Vec::new(),
            begun: Vec::new(),
            heard: HashSet::new(),
            is_exhausted: false,
            stopping: Stopping::new(study.direction(), &study.config.stop, study.parts.clone()),
            regret: RegretRule::new(study),
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
            cohort: climb::Cohort::default(),
            rungs: None,
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
            let room = if self.is_exhausted { 0 } else { self.study.end_after(first).saturating_sub(first) };
            let round = self.scheduler.next(room, batch_size(first, self.study.batch));
            self.end(&round.ended, trainer, ports);
            if (round.begin > 0 || round.is_last())
                && let Some(reason) = self.tell(ports.observers)
            {
                return Ok(reason);
            }
            if round.is_last() {
                return Ok(if self.is_exhausted { StopReason::SpaceExhausted } else { StopReason::Candidates });
            }
            self.take_over(&round.forks, trainer)?;
            let begun = self.propose(first, round.begin, ports)?;
            // Who waits for a place to go on may have one now.
            self.is_exhausted |= begun.is_empty() && round.begin > 0;
            self.begun.extend(begun.clone().map(|candidate| (candidate, round.budget)));
            let fresh = begun.clone().map(|candidate| (candidate, round.budget));
            let mut training: Vec<(u64, u64)> = fresh.chain(round.go_on).collect();
            training.sort_unstable();
            if let Some(reason) = self.train_round(&training, begun, trainer, ports)? {
                return Ok(reason);
            }
            if self.study.scheduler.ends_early() {
                let reached = training.iter().map(|(candidate, budget)| self.reached(*candidate, *budget));
                let reached: Vec<Reached> = reached.collect();
                self.tell_explorer(&reached);
                self.scheduler.report(&reached);
            }
        }
    }

    /// Asks for the next candidates and puts them into the history: their ids, none where there are none any more.
    fn propose(&mut self, first: u64, n: u64, ports: &mut Ports<'_>) -> Result<Range<u64>, StudyError> {
        if n == 0 {
            return Ok(first..first);
        }
        self.enter(first);
        let asked = self.strategy.ask(first, n as usize);
        self.hear(ports.observers);
        match asked {
            Ask::Proposals(points) => {
                self.check(first, &points)?;
                points.rows().for_each(|row| self.history.propose(row));
                let proposed = first..first + points.len() as u64;
                for candidate in proposed.clone() {
                    self.climb(candidate);
                    self.weigh(candidate);
                }
                Ok(proposed)
            }
            Ask::Done => Ok(first..first),
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

    /// What a scheduler hears of a candidate.
    fn reached(&self, candidate: u64, budget: u64) -> Reached {
        let Some(trial) = self.history.at(candidate, budget) else {
            return Reached { candidate, budget, value: f64::NAN, values: Vec::new() };
        };
        let sign = -self.study.direction().sign();
        // Who is beyond a limit comes last, and yet stands there: it is no failure.
        let is_beyond = self.study.objective.violation(trial, self.history.point(candidate)) > 0.0;
        let value = |score: f64| if is_beyond && !score.is_nan() { f64::INFINITY } else { sign * score };
        let of_lane = |lane: usize| value(mean(&trial.scores[self.scores_of(lane..lane + 1)]));
        let values = self.axis.scored(budget).map(of_lane).collect();
        Reached { candidate, budget, value: value(trial.reached()), values }
    }

    /// Ends candidates where they stand.
    fn end(&mut self, ended: &[(u64, u64)], trainer: &mut dyn Trainer, ports: &mut Ports<'_>) {
        let pruned = ended.iter().filter_map(|(candidate, budget)| self.history.prune(*candidate, *budget));
        let trials: Vec<Trial> = pruned.collect();
        self.untold.extend(ended.iter().map(|(candidate, _)| candidate));
        for trial in &trials {
            self.count(trial);
            self.fall(trial);
            self.weigh(trial.candidate);
        }
        self.forget_standing(ended.iter().map(|(candidate, _)| *candidate));
        for (candidate, _) in ended {
            if let Some(slots) = self.standing.remove(candidate) {
                trainer.release(&slots);
            }
        }
        if !trials.is_empty() {
            self.look(None);
            ports.observers.notify(&Event::Trials { trials: &trials, progress: self.progress() });
        }
    }

    /// Journals outcomes at a budget, and only then lets anyone know. Those that failed, and those that had the whole budget,
    /// have come to their end.
    fn keep(&mut self, finished: &mut Vec<Trial>, budget: u64, ports: &mut Ports<'_>) -> Result<(), StudyError> {
        if finished.is_empty() {
            return Ok(());
        }
        finished.sort_by_key(|trial| trial.candidate);
        let with_points = self.study.strategy.is_adaptive();
        let is_whole = budget >= self.axis.whole();
        let (over, on_the_way): (Vec<Trial>, Vec<Trial>) =
            finished.drain(..).partition(|trial| is_whole || !trial.status.is_scored());
        self.forget_standing(over.iter().map(|trial| trial.candidate));
        if !on_the_way.is_empty() {
            self.keep_standing(&on_the_way, budget);
            let outcomes = self.history.to_frame(&on_the_way, with_points);
            ports.journal.append(&Frame::Rung(Rung { budget, outcomes }))?;
            on_the_way.into_iter().for_each(|trial| self.history.reach(budget, trial));
        }
        if !over.is_empty() {
            if let Some(reasons) = failures::frame(&over) {
                ports.journal.append(&reasons)?;
            }
            ports.journal.append(&Frame::Outcomes(self.history.to_frame(&over, with_points)))?;
            for trial in &over {
                self.count(trial);
                self.untold.push(trial.candidate);
                self.arrive(trial.clone());
                self.weigh(trial.candidate);
            }
            self.look(None);
            ports.observers.notify(&Event::Trials { trials: &over, progress: self.progress() });
        }
        Ok(())
    }

    /// See [`Progress::saved`].
    fn saved(&self) -> f64 {
        self.spared / self.whole.max(1.0)
    }

    /// Counts what a candidate that has come to its end took of its whole budget.
    fn weigh(&mut self, candidate: u64) {
        // Of a journal's candidates it is known how they are trained when they are proposed again.
        if candidate >= self.history.points.len() as u64 {
            return;
        }
        let Some(trial) = self.history.trials.get(&candidate) else { return };
        let whole = self.axis.trained(self.axis.whole());
        self.whole += whole;
        // What is trained anew on each rung has had all of them, and may have had more than without a scheduler.
        let rungs: Vec<u64> = self.history.rungs_of(candidate).collect();
        let (last, all) = (rungs.last().copied().unwrap_or(0), rungs.iter().sum());
        let begins_anew = self.study.objective.begins_anew(self.history.point(candidate));
        let climbed = self.axis.trained(if begins_anew { all } else { last });
        self.spared += match trial.status {
            TrialStatus::Pruned => whole - climbed,
            _ if begins_anew => -climbed,
            _ => 0.0,
        };
    }

    fn count(&mut self, trial: &Trial) {
        if trial.status == TrialStatus::Pruned {
            self.pruned += 1;
            return;
        }
        self.failed += u64::from(!trial.status.is_scored());
        // A limit can only be looked at where the point is known: of a journal's candidates when they are proposed again.
        let point = (trial.candidate < self.history.points.len() as u64).then(|| self.history.point(trial.candidate));
        match point {
            Some(point) if self.study.objective.violation(trial, point) > 0.0 => {}
            None if self.study.objective.limits().is_some() => {}
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

    /// Tells the stop rules who has come to the end, in the order of ids, and the strategy who has begun or has come to the end; a
    /// reason to stop if there is one.
    fn tell(&mut self, observers: &mut Observers) -> Option<StopReason> {
        let mut untold = std::mem::take(&mut self.untold);
        untold.sort_unstable();
        untold.dedup();
        let mut reason = None;
        for candidate in &untold {
            let Some(trial) = self.history.trials.get(candidate) else { continue };
            // Who was ended early had no chance to be an improvement.
            if trial.status == TrialStatus::Pruned {
                continue;
            }
            // Who is beyond a limit is no choice, whatever the score.
            let is_beyond = self.study.objective.violation(trial, self.history.point(*candidate)) > 0.0;
            let value = if is_beyond { f64::NAN } else { trial.value() };
            reason = reason.or(self.stopping.tell(value, &trial.scores));
            self.regret.iter_mut().for_each(|rule| rule.tell(*candidate));
        }
        let begun = std::mem::take(&mut self.begun);
        let is_learning = self.study.strategy.is_adaptive();
        let outcomes = if is_learning { self.outcomes(&untold, begun) } else { Vec::new() };
        self.strategy.tell(&outcomes);
        self.hear(observers);
        let is_over = self.regret.as_mut().is_some_and(|rule| rule.is_over(&self.history, self.study));
        reason.or(is_over.then_some(StopReason::Regret))
    }

    /// What a strategy hears of these candidates: how they ended, or what they had reached when the next ones begin, as it hears of
    /// each once and of all before it is asked again.
    fn outcomes(&mut self, over: &[u64], begun: Vec<(u64, u64)>) -> Vec<Outcome> {
        let is_over = |candidate: &u64| over.binary_search(candidate).is_ok();
        let ended = over.iter().filter(|candidate| !self.heard.remove(candidate)).map(|candidate| (*candidate, None));
        let mut told: Vec<(u64, Option<u64>)> = ended.collect();
        for (candidate, budget) in begun.into_iter().filter(|(candidate, _)| !is_over(candidate)) {
            self.heard.insert(candidate);
            told.push((candidate, Some(budget)));
        }
        told.sort_unstable();
        let outcome = |(candidate, stands): (u64, Option<u64>)| {
            let trial = match stands {
                Some(budget) => self.history.at(candidate, budget)?,
                None => self.history.trials.get(&candidate)?,
            };
            let outcome = self.study.outcome(trial, self.history.point(candidate), self.clocks);
            Some(Outcome { rungs: self.rungs(trial, stands), ..outcome })
        };
        told.into_iter().filter_map(outcome).collect()
    }

    /// The budgets that a scheduler gave a candidate until it stood on one of them, or until its end, and its scores there.
    fn rungs(&self, trial: &Trial, stands: Option<u64>) -> Option<Vec<(u64, f64)>> {
        // Members of a population have other values where they end than where they stood.
        if !self.study.scheduler.ends_early() || self.study.scheduler.explores() {
            return None;
        }
        let is_whole = trial.status.is_scored() && trial.status != TrialStatus::Pruned;
        let last = stands.or(is_whole.then(|| self.axis.whole()));
        let is_below = |budget: &u64| last.is_none_or(|last| *budget < last);
        let score = |budget: u64| Some((budget, self.history.at(trial.candidate, budget)?.reached()));
        let below = self.history.rungs_of(trial.candidate).filter(is_below).filter_map(score);
        Some(below.chain(last.map(|last| (last, trial.reached()))).collect())
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
            rungs: self.rungs,
            remaining: self.regret.as_ref().and_then(RegretRule::last),
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
