//! A search that keeps little: the best candidates and how the values are distributed. Nothing grows with the number of
//! candidates, so that a hundred million of them fit in any memory; what it finds is what a search that keeps all would.

use super::distribution::Distribution;
use super::error::{RunDirError, StudyError};
use super::events::{BestSoFar, Event, Progress};
use super::history::{History, Trial, TrialStatus};
use super::journal::{Frame, Kept};
use super::resolve::Study;
use super::search::Ports;
use super::stopping::{StopReason, Stopping};
use crate::data::metrics::Direction;
use crate::functions::Evaluator;
use crate::strategies::{Ask, Strategy};
use rayon::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};

/// Candidates that are drawn and evaluated between two looks at the clock at most: some milliseconds of work, some megabytes.
const AT_A_TIME: u64 = 1 << 16;
/// Candidates that one thread evaluates in a row.
const SERIAL: usize = 512;
/// The state is kept after at least so long, and after a share of the time that the search takes already: a journal grows with
/// the logarithm of that.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// See [`KEEP_EVERY`].
const SHARE_BETWEEN: f64 = 0.05;

/// When a search's state is kept.
pub(super) struct Cadence {
    began: Instant,
    kept: Instant,
}

impl Cadence {
    /// Of a search that begins now.
    pub(super) fn new() -> Cadence {
        let now = Instant::now();
        Cadence { began: now, kept: now }
    }

    pub(super) fn is_due(&self) -> bool {
        self.kept.elapsed() >= KEEP_EVERY.max(self.began.elapsed().mul_f64(SHARE_BETWEEN))
    }

    /// The state was kept just now.
    pub(super) fn reset(&mut self) {
        self.kept = Instant::now();
    }
}

/// A kept candidate.
#[derive(Debug, Clone, PartialEq)]
struct One {
    candidate: u64,
    value: f64,
    point: Vec<f64>,
}

/// The best candidates: never more than twice as many as are wanted.
#[derive(Debug)]
struct Best {
    most: usize,
    direction: Direction,
    all: Vec<One>,
    /// What a candidate must be better than to be kept, once there are enough.
    bar: f64,
}

impl Best {
    fn new(most: usize, direction: Direction) -> Best {
        Best { most, direction, all: Vec::new(), bar: f64::NAN }
    }

    /// Whether a value is worth keeping. Of equal ones the earlier is, and candidates come in their order.
    fn takes(&self, value: f64) -> bool {
        self.direction.compare(value, self.bar).is_lt()
    }

    fn push(&mut self, one: One) {
        self.all.push(one);
        if self.all.len() >= 2 * self.most.max(1) {
            self.sift();
        }
    }

    fn sift(&mut self) {
        let direction = self.direction;
        self.all.sort_by(|a, b| direction.compare(a.value, b.value).then(a.candidate.cmp(&b.candidate)));
        self.all.truncate(self.most);
        self.bar = self.all.get(self.most.wrapping_sub(1)).map_or(f64::NAN, |last| last.value);
    }
}

/// The state of a search that keeps little.
pub(super) struct Sweep<'a> {
    study: &'a Study,
    evaluator: &'a Evaluator,
    pool: rayon::ThreadPool,
    strategy: Box<dyn Strategy>,
    stopping: Stopping,
    has_target: bool,
    /// Why an earlier session ended, where that holds again.
    ended: Option<StopReason>,
    best: Best,
    distribution: Distribution,
    done: u64,
    failed: u64,
    total: u64,
    /// Of earlier sessions.
    resumed: u64,
    leader: Option<BestSoFar>,
    began: Instant,
}

impl<'a> Sweep<'a> {
    /// A search that keeps the `most` best, and goes on behind what these frames of its journal hold.
    pub(super) fn new(
        study: &'a Study,
        evaluator: &'a Evaluator,
        most: usize,
        frames: &[Frame],
        dir: &Path,
    ) -> Result<Sweep<'a>, StudyError> {
        let direction = study.direction();
        let strategy = study.strategy.open(study.space.clone(), &study.strategy_options());
        let wanted = study.config.search.candidates;
        let failed = |error: rayon::ThreadPoolBuildError| StudyError::Threads { reason: error.to_string() };
        let mut sweep = Sweep {
            study,
            evaluator,
            pool: rayon::ThreadPoolBuilder::new().num_threads(study.config.run.threads).build().map_err(failed)?,
            stopping: Stopping::new(direction, &study.config.stop, study.parts.clone()),
            ended: None,
            has_target: study.config.stop.target.is_some(),
            best: Best::new(most, direction),
            distribution: Distribution::default(),
            done: 0,
            failed: 0,
            total: strategy.size().map_or(wanted, |size| size.min(wanted)),
            strategy,
            resumed: 0,
            leader: None,
            began: Instant::now(),
        };
        let kept = frames.iter().rev().find_map(|frame| if let Frame::Kept(kept) = frame { Some(kept) } else { None });
        if let Some(kept) = kept {
            if kept.done > wanted {
                let what =
                    format!("{} candidates, and cannot go back to {wanted}: the others were not kept", kept.done);
                return Err(RunDirError::Other { dir: dir.to_owned(), what }.into());
            }
            let damaged = || RunDirError::Other { dir: dir.to_owned(), what: "another history".to_owned() };
            sweep.restore(kept).ok_or_else(damaged)?;
        }
        Ok(sweep)
    }

    fn restore(&mut self, kept: &Kept) -> Option<()> {
        let width = self.study.space.parameters.len();
        let fits = kept.candidates.len() == kept.values.len() && kept.points.len() == kept.values.len() * width;
        if !fits || kept.failed > kept.done {
            return None;
        }
        let points = kept.points.chunks_exact(width.max(1));
        let all = kept.candidates.iter().zip(&kept.values).zip(points);
        self.best.all = all
            .map(|((candidate, value), point)| One { candidate: *candidate, value: *value, point: point.to_vec() })
            .collect();
        self.best.sift();
        self.distribution = Distribution::of_bins(&kept.bins)?;
        (self.done, self.failed, self.resumed) = (kept.done, kept.failed, kept.done);
        self.leader = self.best.all.first().map(|one| leader(one.candidate, one.value));
        if let Some(leader) = self.leader.filter(|_| self.has_target) {
            self.ended = self.stopping.tell(leader.value, &[leader.value]);
        }
        Some(())
    }

    /// Asks and evaluates until there is a reason to stop.
    pub(super) fn run(&mut self, ports: &mut Ports<'_>) -> Result<StopReason, StudyError> {
        self.began = Instant::now();
        let deadline = self.study.config.stop.time.and_then(|span| self.began.checked_add(span.0));
        let stop = ports.stop.until(deadline);
        let mut cadence = Cadence::new();
        let mut values = Vec::new();
        let at_a_time = at_a_time(self.study.space.parameters.len(), self.study.objective.lanes());
        let reason = loop {
            if let Some(reason) = self.ended.take() {
                break reason;
            }
            if stop.is_raised() {
                break if ports.stop.is_raised() { StopReason::Interrupted } else { StopReason::Time };
            }
            let n = at_a_time.min(self.study.config.search.candidates.saturating_sub(self.done));
            if n == 0 {
                break StopReason::Candidates;
            }
            let asked = self.pool.install(|| self.strategy.ask(self.done, n as usize));
            let Ask::Proposals(points) = asked else { break StopReason::SpaceExhausted };
            values.clear();
            values.resize(points.len(), f64::NAN);
            let (evaluator, space, repeats) = (self.evaluator, &self.study.space, self.study.objective.lanes());
            self.pool.install(|| {
                let blocks = values.par_chunks_mut(SERIAL).enumerate();
                blocks.for_each(|(block, values)| {
                    for (place, value) in values.iter_mut().enumerate() {
                        let row = points.row(block * SERIAL + place);
                        if space.is_allowed(row) {
                            *value = mean_value(evaluator, row, repeats);
                        }
                    }
                });
            });
            let reason = self.take(&values, |place| points.row(place).to_vec());
            ports.observers.notify(&Event::Lane(self.progress()));
            if let Some(reason) = reason {
                break reason;
            }
            if cadence.is_due() {
                self.keep(ports)?;
                cadence.reset();
            }
        };
        self.keep(ports)?;
        Ok(reason)
    }

    /// Counts a batch's values in the order of their ids; a reason to stop if there is one.
    fn take(&mut self, values: &[f64], point: impl Fn(usize) -> Vec<f64>) -> Option<StopReason> {
        let mut reason = None;
        for (place, value) in values.iter().enumerate() {
            let candidate = self.done + place as u64;
            if value.is_nan() {
                self.failed += 1;
            } else {
                self.distribution.record(*value);
                if self.best.takes(*value) {
                    self.best.push(One { candidate, value: *value, point: point(place) });
                }
                if self.leader.is_none_or(|best| self.best.direction.compare(*value, best.value).is_lt()) {
                    self.leader = Some(leader(candidate, *value));
                }
            }
            if self.has_target {
                reason = reason.or(self.stopping.tell(*value, std::slice::from_ref(value)));
            }
        }
        self.done += values.len() as u64;
        reason
    }

    /// Journals the state.
    fn keep(&mut self, ports: &mut Ports<'_>) -> Result<(), StudyError> {
        self.best.sift();
        let all = &self.best.all;
        let kept = Kept {
            done: self.done,
            failed: self.failed,
            candidates: all.iter().map(|one| one.candidate).collect(),
            values: all.iter().map(|one| one.value).collect(),
            points: all.iter().flat_map(|one| one.point.iter().copied()).collect(),
            bins: self.distribution.bins(),
        };
        ports.journal.append(&Frame::Kept(kept))?;
        Ok(())
    }

    pub(super) fn progress(&self) -> Progress {
        let session = self.done - self.resumed;
        Progress {
            candidates: self.done,
            total: self.total,
            lanes: session * self.study.objective.lanes() as u64,
            share: session as f64 / self.total.saturating_sub(self.resumed).max(1) as f64,
            resumed: self.resumed,
            seconds: self.began.elapsed().as_secs_f64(),
            limit: self.study.config.stop.time.map(|span| span.0.as_secs_f64()),
            best: self.leader,
            failed: self.failed,
            pruned: 0,
            trained: 0,
            saved: 0.0,
            rungs: None,
            remaining: None,
        }
    }

    /// What was found.
    pub(super) fn into_history(mut self) -> History {
        self.best.sift();
        let trials = self.best.all.into_iter().map(|one| (trial(one.candidate, one.value), one.point));
        History::of_the_best(trials, self.done, self.failed, Some(self.distribution))
    }
}

/// A kept candidate of which nothing but its value is known.
pub(super) fn trial(candidate: u64, value: f64) -> Trial {
    Trial {
        failure: None,
        candidate,
        status: TrialStatus::Complete,
        scores: vec![value],
        others: Vec::new(),
        train: f32::NAN,
        seconds: 0.0,
        used: Vec::new(),
        gradient: Vec::new(),
    }
}

/// As many candidates of a width that is usual, fewer of wide ones or of many evaluations.
fn at_a_time(width: usize, repeats: usize) -> u64 {
    const USUAL: u64 = 16;
    (AT_A_TIME * USUAL / (width as u64 * repeats as u64).max(USUAL)).max(SERIAL as u64)
}

fn leader(candidate: u64, value: f64) -> BestSoFar {
    BestSoFar { candidate, value, std_error: None }
}

/// The mean over a point's evaluations; NaN where one of them is not finite.
pub(super) fn mean_value(evaluator: &Evaluator, point: &[f64], repeats: usize) -> f64 {
    let mut value = [0.0];
    let mut sum = 0.0;
    for repeat in 0..repeats {
        evaluator.evaluate(point, repeat, &mut value);
        sum += value[0];
    }
    let mean = sum / repeats as f64;
    if mean.is_finite() { mean } else { f64::NAN }
}
