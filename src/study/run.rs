//! The only loop: a strategy asks, lanes train, outcomes are journalled, then told.

use super::config::{BackendChoice, LoadedConfig};
use super::error::{RunDirError, StudyError};
use super::events::{BestSoFar, Event, Observers, Phase, Progress};
use super::finish::finish;
use super::history::{History, Pending, Trial, TrialStatus, to_frame};
use super::journal::{Frame, Header, Journal, TestScore};
use super::resolve::Study;
use super::result::RunResult;
use super::run_dir::{Existing, RunDir};
use super::stopping::{StopReason, Stopping};
use crate::backend::cpu::CpuOptions;
use crate::backend::gpu::{Gpu, GpuOptions};
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer};
use crate::data::Problem;
use crate::data::problem::build_problem;
use crate::schedulers::Scheduler;
use crate::space::Points;
use crate::strategies::{Ask, Outcome, Strategy};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a study came to rest.
#[derive(Debug)]
pub enum Ended {
    /// The search is over, the winner chosen and tested.
    Finished(Box<RunResult>),
    /// Interrupted; everything journalled is safe, and `resume` goes on from there.
    Interrupted {
        /// The run directory.
        dir: PathBuf,
        /// Candidates with an outcome.
        candidates: u64,
    },
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// What to do with a directory that holds a run.
    pub existing: Existing,
    /// Whether to drop what lies behind damage in the journal.
    pub salvage: bool,
}

/// Outcomes are on the disk at most so long after they were made.
const JOURNAL_EVERY: Duration = Duration::from_secs(1);

/// Runs a study from its beginning, or from where its journal ends, to its result.
pub fn tune(
    loaded: LoadedConfig,
    start: Start,
    observers: &mut Observers,
    stop: &StopFlag,
) -> Result<Ended, StudyError> {
    let mut clock = Clock::default();
    let LoadedConfig { mut config, name } = loaded;
    let path = config.run.dir.clone().unwrap_or_else(|| Path::new("runs").join(&name));
    let dir = RunDir::open(&path, start.existing)?;
    clock.enter(Phase::Loading);
    absolute(&mut config.data.file);
    config.data.test_file.iter_mut().for_each(absolute);
    let study = Study::resolve(name, config, observers)?;
    let notes: Vec<String> = study.dataset.notes.iter().map(ToString::to_string).collect();
    let (mut journal, frames) = open_journal(&dir, &study, start.salvage)?;
    clock.enter(Phase::Preparing);
    let problem = Arc::new(build_problem(
        &study.dataset,
        &study.splits.folds,
        &study.config.prepare,
        study.metric,
        study.budget,
        study.key,
    )?);
    let backend = Backend::open(&study)?;
    notes.iter().for_each(|note| observers.notify(&Event::Note(note.clone())));
    // Shaders are compiled here; on the processor there is nothing to compile.
    clock.enter(Phase::Compiling);
    observers.notify(&Event::Phase(Phase::Compiling));
    let trainer = backend.trainer(&study, problem.clone())?;
    clock.enter(Phase::Searching);
    observers.notify(&Event::Phase(Phase::Searching));
    let mut search = Search::new(&study, &problem, trainer, &frames)?;
    observers.notify(&Event::Started {
        study: &study.name,
        dir: dir.path(),
        metric: study.metric.name(),
        direction: study.metric.direction(),
        backend: &backend.describe(),
        progress: search.progress(),
    });
    let reason = search.run(&mut journal, observers, stop)?;
    if reason == StopReason::Interrupted {
        let candidates = search.history.trials.len() as u64;
        return Ok(Ended::Interrupted { dir: dir.path().to_owned(), candidates });
    }
    let Search { history, lanes, began, .. } = search;
    let speed = if lanes > 0 { lanes as f64 / began.elapsed().as_secs_f64() } else { 0.0 };
    let tested =
        frames.iter().rev().find_map(|frame| if let Frame::Test(test) = frame { Some(test.clone()) } else { None });
    clock.enter(Phase::Refitting);
    observers.notify(&Event::Phase(Phase::Refitting));
    let closing = Closing { study: &study, history: &history, backend: &backend, reason, speed, notes, tested };
    let result = finish(closing, &dir, &mut journal, &mut clock, observers)?;
    observers.notify(&Event::Finished(&result));
    Ok(Ended::Finished(Box::new(result)))
}

/// What the last part of a study is given.
pub(super) struct Closing<'a> {
    pub(super) study: &'a Study,
    pub(super) history: &'a History,
    pub(super) backend: &'a Backend,
    pub(super) reason: StopReason,
    pub(super) speed: f64,
    pub(super) notes: Vec<String>,
    /// The test score of an earlier session, which is never read again.
    pub(super) tested: Option<TestScore>,
}

/// Data are found again from any working directory.
fn absolute(path: &mut PathBuf) {
    if let Ok(found) = std::fs::canonicalize(&path) {
        *path = found;
    }
}

fn open_journal(dir: &RunDir, study: &Study, salvage: bool) -> Result<(Journal, Vec<Frame>), StudyError> {
    let header = Header {
        data_fingerprint: study.dataset.fingerprint,
        study_fingerprint: study.fingerprint()?,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        scores: study.scores() as u32,
    };
    let path = dir.journal();
    if !path.exists() {
        dir.write_study(&study.config.to_toml()?)?;
        return Ok((Journal::create(&path, header)?, Vec::new()));
    }
    let (journal, frames) = Journal::open(&path, salvage)?;
    let differs = match frames.first() {
        Some(Frame::Header(found)) if found.data_fingerprint != header.data_fingerprint => Some("other data"),
        Some(Frame::Header(found)) if found.study_fingerprint != header.study_fingerprint => Some("another study"),
        Some(Frame::Header(found)) if found.scores != header.scores => Some("other folds"),
        _ => None,
    };
    match differs {
        Some(what) => Err(RunDirError::Other { dir: dir.path().to_owned(), what: what.to_owned() }.into()),
        None => {
            dir.write_study(&study.config.to_toml()?)?;
            Ok((journal, frames))
        }
    }
}

/// What trains lanes.
pub(super) enum Backend {
    Cpu(CpuOptions),
    Gpu(Gpu),
}

impl Backend {
    fn open(study: &Study) -> Result<Backend, StudyError> {
        let run = &study.config.run;
        let memory = run.memory << 20;
        let cpu = Backend::Cpu(CpuOptions { threads: run.threads, memory, simd: None });
        let options = GpuOptions { device: run.device.clone(), memory, ..GpuOptions::default() };
        match run.backend {
            BackendChoice::Cpu => Ok(cpu),
            BackendChoice::Gpu => Ok(Backend::Gpu(Gpu::open(&options)?)),
            BackendChoice::Auto if run.device.is_some() => Ok(Backend::Gpu(Gpu::open(&options)?)),
            BackendChoice::Auto => match Gpu::open(&options) {
                Ok(gpu) => Ok(Backend::Gpu(gpu)),
                Err(BackendError::NoAdapter { .. }) => Ok(cpu),
                Err(error) => Err(error.into()),
            },
        }
    }

    pub(super) fn trainer(&self, study: &Study, problem: Arc<Problem>) -> Result<Box<dyn Trainer>, StudyError> {
        match self {
            Backend::Cpu(options) => Ok(study.model.open_cpu(&study.space, problem, options)?),
            Backend::Gpu(gpu) => Ok(study.model.open_gpu(&study.space, problem, gpu)?),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Backend::Cpu(_) => "cpu",
            Backend::Gpu(_) => "gpu",
        }
    }

    pub(super) fn device(&self) -> String {
        match self {
            Backend::Cpu(options) => options.describe(),
            Backend::Gpu(gpu) => gpu.name().to_owned(),
        }
    }

    fn describe(&self) -> String {
        format!("{}, {}", self.name(), self.device())
    }
}

/// The state of a search.
struct Search<'a> {
    study: &'a Study,
    problem: &'a Problem,
    trainer: Box<dyn Trainer>,
    strategy: Box<dyn Strategy>,
    scheduler: Box<dyn Scheduler>,
    stopping: Stopping,
    history: History,
    total: u64,
    resumed: u64,
    lanes: u64,
    failed: u64,
    best: Option<BestSoFar>,
    began: Instant,
}

impl<'a> Search<'a> {
    fn new(
        study: &'a Study,
        problem: &'a Problem,
        trainer: Box<dyn Trainer>,
        frames: &[Frame],
    ) -> Result<Search<'a>, StudyError> {
        let mut history = History::new(study.space.parameters.len());
        for frame in frames {
            if let Frame::Outcomes(outcomes) = frame
                && !history.restore(outcomes, study.scores())
            {
                let dir = study.config.run.dir.clone().unwrap_or_default();
                return Err(RunDirError::Other { dir, what: "other folds".to_owned() }.into());
            }
        }
        let strategy = study.strategy.open(study.space.clone(), &study.strategy_options());
        let wanted = study.config.search.candidates;
        let mut search = Search {
            study,
            problem,
            trainer,
            scheduler: study.scheduler.open(study.budget),
            stopping: Stopping::new(study.metric.direction(), &study.config.stop),
            resumed: history.trials.len() as u64,
            total: strategy.size().map_or(wanted, |size| size.min(wanted)),
            strategy,
            history,
            lanes: 0,
            failed: 0,
            best: None,
            began: Instant::now(),
        };
        let known: Vec<Trial> = search.history.trials.values().cloned().collect();
        known.iter().for_each(|trial| search.count(trial));
        Ok(search)
    }

    /// Asks, trains and tells until there is a reason to stop.
    fn run(
        &mut self,
        journal: &mut Journal,
        observers: &mut Observers,
        stop: &StopFlag,
    ) -> Result<StopReason, StudyError> {
        let wanted = self.study.config.search.candidates;
        loop {
            let first = self.history.points.len() as u64;
            if first >= wanted {
                return Ok(StopReason::Candidates);
            }
            let n = self.study.config.search.batch.min(wanted - first) as usize;
            let points = match self.strategy.ask(first, n) {
                Ask::Proposals(points) => points,
                Ask::Wait | Ask::Done => return Ok(StopReason::SpaceExhausted),
            };
            if let Some(reason) = self.train(first, &points, journal, observers, stop)? {
                return Ok(reason);
            }
            if let Some(reason) = self.tell(first, &points) {
                return Ok(reason);
            }
        }
    }

    /// Trains the candidates of a batch that have no outcome yet; a reason if it was cut short.
    fn train(
        &mut self,
        first: u64,
        points: &Points,
        journal: &mut Journal,
        observers: &mut Observers,
        stop: &StopFlag,
    ) -> Result<Option<StopReason>, StudyError> {
        let mut twins: Vec<(u64, u64)> = Vec::new();
        let mut budgets: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut ready = Vec::new();
        for (place, row) in points.rows().enumerate() {
            let candidate = first + place as u64;
            let twin = self.history.propose(row);
            if self.history.trials.contains_key(&candidate) {
                continue;
            }
            match twin {
                Some(twin) => twins.push((candidate, twin)),
                None if !self.study.space.is_allowed(row) => {
                    ready.push(Trial::infeasible(candidate, self.study.scores()))
                }
                None => budgets.entry(self.scheduler.admit(candidate)).or_default().push(place),
            }
        }
        self.keep(&mut ready, journal, observers)?;
        for (budget, places) in budgets {
            if let Some(reason) = self.train_lanes(first, points, &places, budget, journal, observers, stop)? {
                return Ok(Some(reason));
            }
        }
        // Equal candidates have equal bits: none is trained twice.
        let mut copies: Vec<Trial> = twins
            .iter()
            .filter_map(|(candidate, twin)| {
                Some(Trial { candidate: *candidate, seconds: 0.0, ..self.history.trials.get(twin)?.clone() })
            })
            .collect();
        self.keep(&mut copies, journal, observers)?;
        Ok(None)
    }

    #[allow(clippy::too_many_arguments)]
    fn train_lanes(
        &mut self,
        first: u64,
        points: &Points,
        places: &[usize],
        budget: u64,
        journal: &mut Journal,
        observers: &mut Observers,
        stop: &StopFlag,
    ) -> Result<Option<StopReason>, StudyError> {
        let folds = self.problem.folds.len();
        let lanes: Vec<Lane> =
            places.iter().flat_map(|&point| (0..folds).map(move |fold| Lane { point, fold })).collect();
        let slots = self.trainer.start(points, &lanes)?;
        let lane_of: HashMap<Slot, Lane> = slots.iter().copied().zip(lanes).collect();
        let first_score: Vec<usize> = self
            .problem
            .folds
            .iter()
            .scan(0, |sum, fold| Some(std::mem::replace(sum, *sum + fold.evals.len())))
            .collect();
        let mut pending: HashMap<usize, Pending> = HashMap::new();
        let mut finished: Vec<Trial> = Vec::new();
        let mut written = Instant::now();
        let mut failure = None;
        let deadline = self.study.config.stop.time.map(|span| self.began + span.0);
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let scores = self.study.scores();
        // The trainer is lent to the loop below, the rest of the search to what happens with its reports.
        let mut trainer = std::mem::replace(&mut self.trainer, Box::new(Nothing));
        let mut report = |lane: LaneReport| {
            let Some(Lane { point, fold }) = lane_of.get(&lane.slot).copied() else { return ControlFlow::Continue(()) };
            self.lanes += 1;
            let candidate = pending.entry(point).or_insert_with(|| Pending::new(folds, scores));
            if candidate.take(fold, first_score[fold], &lane)
                && let Some(candidate) = pending.remove(&point)
            {
                finished.push(candidate.finish(first + point as u64));
            }
            observers.notify(&Event::Lane(self.progress()));
            if written.elapsed() >= JOURNAL_EVERY {
                written = Instant::now();
                if let Err(error) = self.keep(&mut finished, journal, observers) {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if is_late() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let advanced = trainer.advance(&slots, budget, false, stop, &mut report);
        trainer.release(&slots);
        self.trainer = trainer;
        if let Some(error) = failure {
            return Err(error);
        }
        // What is whole is kept, whatever happened to the rest.
        self.keep(&mut finished, journal, observers)?;
        advanced?;
        let is_whole = places.iter().all(|place| self.history.trials.contains_key(&(first + *place as u64)));
        match is_whole {
            true => Ok(None),
            false if stop.is_raised() => Ok(Some(StopReason::Interrupted)),
            false => Ok(Some(StopReason::Time)),
        }
    }

    /// Journals outcomes, and only then lets anyone know.
    fn keep(
        &mut self,
        finished: &mut Vec<Trial>,
        journal: &mut Journal,
        observers: &mut Observers,
    ) -> Result<(), StudyError> {
        if finished.is_empty() {
            return Ok(());
        }
        finished.sort_by_key(|trial| trial.candidate);
        journal.append(&Frame::Outcomes(to_frame(finished)))?;
        for trial in finished.iter() {
            self.count(trial);
            self.history.trials.insert(trial.candidate, trial.clone());
        }
        let progress = self.progress();
        observers.notify(&Event::Trials { trials: finished, progress });
        finished.clear();
        Ok(())
    }

    fn count(&mut self, trial: &Trial) {
        let value = trial.value();
        self.failed += u64::from(!trial.status.is_scored());
        let direction = self.study.metric.direction();
        if !value.is_nan() && self.best.is_none_or(|best| direction.compare(value, best.value).is_lt()) {
            self.best = Some(BestSoFar { candidate: trial.candidate, value, std_error: trial.std_error() });
        }
    }

    /// Tells the strategy a whole batch, in the order of ids; a reason to stop if there is one.
    fn tell(&mut self, first: u64, points: &Points) -> Option<StopReason> {
        let mut outcomes = Vec::with_capacity(points.len());
        let mut reason = None;
        for (place, row) in points.rows().enumerate() {
            let Some(trial) = self.history.trials.get(&(first + place as u64)) else { continue };
            let value = trial.value();
            reason = reason.or(self.stopping.tell(value, &trial.scores));
            if self.strategy.is_adaptive() {
                let (candidate, point) = (trial.candidate, row.to_vec());
                outcomes.push(Outcome { candidate, point, value, folds: trial.scores.clone() });
            }
        }
        self.strategy.tell(&outcomes);
        reason
    }

    fn progress(&self) -> Progress {
        Progress {
            candidates: self.history.trials.len() as u64,
            total: self.total,
            lanes: self.lanes,
            lanes_per_candidate: self.problem.folds.len() as u64,
            resumed: self.resumed,
            seconds: self.began.elapsed().as_secs_f64(),
            best: self.best,
            failed: self.failed,
        }
    }
}

/// Stands in for the trainer while it is lent out.
struct Nothing;

impl Trainer for Nothing {
    fn start(&mut self, _: &Points, _: &[Lane]) -> Result<Vec<Slot>, crate::backend::BackendError> {
        Ok(Vec::new())
    }
    fn advance(
        &mut self,
        _: &[Slot],
        _: u64,
        _: bool,
        _: &StopFlag,
        _: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), crate::backend::BackendError> {
        Ok(())
    }
    fn read_back(&mut self, slot: Slot) -> Result<crate::backend::Weights, crate::backend::BackendError> {
        Err(crate::backend::BackendError::NoSuchSlot(slot.0))
    }
    fn release(&mut self, _: &[Slot]) {}
}

/// Seconds by phase.
#[derive(Debug, Default)]
pub(super) struct Clock {
    spent: Vec<(Phase, f64)>,
    current: Option<(Phase, Instant)>,
}

impl Clock {
    /// Ends the phase before and begins another.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.leave();
        self.current = Some((phase, Instant::now()));
    }

    fn leave(&mut self) {
        if let Some((phase, began)) = self.current.take() {
            self.spent.push((phase, began.elapsed().as_secs_f64()));
        }
    }

    /// Every phase's seconds, and their sum.
    pub(super) fn seconds(&mut self) -> indexmap::IndexMap<String, f64> {
        self.leave();
        let mut seconds: indexmap::IndexMap<String, f64> = indexmap::IndexMap::new();
        for (phase, spent) in &self.spent {
            *seconds.entry(phase.name().to_owned()).or_default() += spent;
        }
        let total = seconds.values().sum();
        seconds.insert("total".to_owned(), total);
        seconds
    }
}

/// What most failed candidates died of.
pub(super) fn usual_failure(history: &History) -> &'static str {
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    for trial in history.trials.values().filter(|trial| !trial.status.is_scored()) {
        *counts.entry(trial.status.reason()).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(reason, count)| (*count, *reason))
        .map_or(TrialStatus::NotFinite.reason(), |(reason, _)| reason)
}
