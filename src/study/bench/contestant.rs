//! One backend in the benchmark: opened once, then timed at every number of lanes.

use super::compare::LaneScores;
use super::report::{BackendReport, KernelTime, NotRun, Point, StartUp};
use super::workload::Workload;
use super::{BenchEvent, BenchOptions, Watch};
use crate::backend::gpu::{self, PassTime};
use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, cpu};
use crate::data::Problem;
use crate::models::Work;
use crate::space::Points;
use crate::study::backend::Backend;
use crate::study::config::RunOptions;
use crate::study::error::StudyError;
use crate::study::pipeline::Pipeline;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Few lanes are trained again until so much time has passed, in seconds: a single short run is mostly noise.
const REPEAT_SECONDS: f64 = 0.5;
/// They are trained so often at most.
const MOST_RUNS: u32 = 5;
/// A device whose rate grew by less, from one number of lanes to the next, is taken to be full.
const FULL_GROWTH: f64 = 1.5;
/// How often it is looked whether the time is up.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How far a backend is with a number of lanes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measuring {
    /// "cpu" or "gpu".
    pub backend: &'static str,
    /// Lanes to train.
    pub lanes: usize,
    /// Lanes done.
    pub done: usize,
}

/// A backend, opened on the benchmark's problem.
pub(super) struct Contestant {
    pub(super) backend: Backend,
    trainer: Box<dyn Trainer>,
    pub(super) report: BackendReport,
    /// Every lane of the largest number that was trained.
    pub(super) scores: Vec<LaneScores>,
}

/// One timed run.
struct Run {
    seconds: f64,
    /// Reports in the order of the lanes; `None` for those that a stop left out.
    reports: Vec<Option<LaneReport>>,
}

impl Contestant {
    /// Opens a backend, trains a first short lane on every fold, and measures the device's peaks.
    pub(super) fn open(
        pipeline: &Pipeline,
        problem: &Arc<Problem>,
        workload: &Workload,
        run: &RunOptions,
    ) -> Result<Contestant, StudyError> {
        let began = Instant::now();
        let backend = Backend::open(run)?;
        let open = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let mut trainer = backend.trainer(pipeline, problem.clone())?;
        let first: Vec<Lane> = (0..problem.folds.len()).map(|fold| Lane { point: 0, fold }).collect();
        if !workload.points.is_empty() {
            train(trainer.as_mut(), &workload.points, &first, 1, &StopFlag::default(), &mut |_| {})?;
        }
        let prepare = began.elapsed().as_secs_f64();
        let compile = backend.gpu().map_or(0.0, |gpu| gpu.compile_seconds());
        let peaks = match &backend {
            Backend::Cpu(options) => cpu::measure::measure(options),
            Backend::Programs(_) => cpu::measure::measure(&cpu::CpuOptions::default()),
            Backend::Gpu(gpu) => gpu::measure(gpu)?,
        };
        let adapter = backend.gpu().map(|gpu| gpu.adapter());
        let report = BackendReport {
            backend: backend.name(),
            device: backend.device(),
            driver: adapter.map(|adapter| adapter.driver.clone()),
            is_software: adapter.is_some_and(|adapter| adapter.is_software),
            peaks,
            start_up: StartUp { open, compile, prepare: (prepare - compile).max(0.0) },
            points: Vec::new(),
            not_run: Vec::new(),
            failure: None,
        };
        Ok(Contestant { backend, trainer, report, scores: Vec::new() })
    }

    /// Times every number of lanes that the limit allows, least first.
    pub(super) fn measure(
        &mut self,
        pipeline: &Pipeline,
        workload: &Workload,
        options: &BenchOptions,
        watch: &mut Watch<'_>,
        stop: &StopFlag,
    ) {
        for &count in &options.lanes {
            match self.point(pipeline, workload, count, options.seconds, watch, stop) {
                Ok(point) => {
                    watch(&BenchEvent::Measured { backend: self.report.backend, point: &point });
                    self.report.points.push(point);
                }
                Err(Unmeasured::LeftOut(reason)) => self.report.not_run.push(NotRun { lanes: count, reason }),
                Err(Unmeasured::Failed(error)) => {
                    self.report.not_run.push(NotRun { lanes: count, reason: "the device failed".to_owned() });
                    self.report.failure = Some(error.to_string());
                }
            }
        }
    }

    /// (lanes, lanes a second) of every point.
    pub(super) fn rates(&self) -> Vec<(usize, f64)> {
        self.report.points.iter().map(|point| (point.lanes, point.lanes_per_second)).collect()
    }

    fn point(
        &mut self,
        pipeline: &Pipeline,
        workload: &Workload,
        count: usize,
        limit: f64,
        watch: &mut Watch<'_>,
        stop: &StopFlag,
    ) -> Result<Point, Unmeasured> {
        self.is_worth_it(count, limit, stop)?;
        let lanes = workload.first(count).ok_or_else(|| left_out("there are no more candidates"))?;
        let (backend, began) = (self.report.backend, Instant::now());
        let (mut fastest, mut kernels, mut runs): (Option<Run>, Vec<KernelTime>, u32) = (None, Vec::new(), 0);
        while runs == 0 || (runs < MOST_RUNS && began.elapsed().as_secs_f64() < REPEAT_SECONDS) {
            let before = self.pass_times();
            let mut report = |done| watch(&BenchEvent::Measuring(Measuring { backend, lanes: count, done }));
            let trainer = self.trainer.as_mut();
            let run = until(Duration::from_secs_f64(limit), stop, |stop| {
                train(trainer, &workload.points, lanes, pipeline.budget, stop, &mut report)
            })?;
            let done = run.reports.iter().flatten().count();
            if done < count {
                match (runs, stop.is_raised()) {
                    (0, true) => return Err(left_out("interrupted")),
                    (0, false) => return Err(left_out(format!("{done} of them were done after {limit} s"))),
                    // The runs before are whole.
                    _ => break,
                }
            }
            runs += 1;
            if fastest.as_ref().is_none_or(|fastest| run.seconds < fastest.seconds) {
                kernels = spent(&before, &self.pass_times());
                fastest = Some(run);
            }
        }
        let run = fastest.ok_or_else(|| left_out("interrupted"))?;
        let reports: Vec<LaneReport> = run.reports.into_iter().flatten().collect();
        let point = self.figures(pipeline, workload, lanes, &reports, run.seconds);
        self.scores = reports.into_iter().map(LaneScores::from).collect();
        Ok(Point { runs, kernels, ..point })
    }

    /// Whether so many lanes can be done in time, as far as that is known: a few lanes leave a device idle, and more of
    /// them may take no longer. Only where more lanes have not gone faster, the rate will not grow any more.
    fn is_worth_it(&self, count: usize, limit: f64, stop: &StopFlag) -> Result<(), Unmeasured> {
        if self.report.failure.is_some() {
            return Err(left_out("the device failed"));
        }
        if stop.is_raised() {
            return Err(left_out("interrupted"));
        }
        if let Some(before) = self.report.not_run.last() {
            return Err(left_out(format!("{} lanes were too many already", before.lanes)));
        }
        let (is_full, last) = match &self.report.points[..] {
            [.., before, last] => (last.lanes_per_second < FULL_GROWTH * before.lanes_per_second, last),
            [last] => (false, last),
            [] => return Ok(()),
        };
        let expected = if is_full { count as f64 / last.lanes_per_second } else { last.seconds };
        if expected > limit {
            return Err(left_out(format!("would take {expected:.0} s or more, and {limit} s are allowed")));
        }
        Ok(())
    }

    fn figures(
        &self,
        pipeline: &Pipeline,
        workload: &Workload,
        lanes: &[Lane],
        reports: &[LaneReport],
        seconds: f64,
    ) -> Point {
        let mut work = Work::default();
        for (lane, report) in lanes.iter().zip(reports) {
            let one = workload.work(pipeline, *lane, report.used);
            work.flops += one.flops;
            work.bytes += one.bytes;
        }
        let (flops, bytes) = (work.flops / seconds, work.bytes / seconds);
        let peaks = &self.report.peaks;
        Point {
            lanes: lanes.len(),
            runs: 1,
            seconds,
            lanes_per_second: lanes.len() as f64 / seconds,
            flops,
            flops_share: flops / peaks.flops,
            bytes,
            bytes_share: bytes / peaks.bandwidth,
            not_finite: reports.iter().filter(|report| report.status == LaneStatus::NotFinite).count(),
            kernels: Vec::new(),
        }
    }

    fn pass_times(&self) -> Vec<PassTime> {
        self.backend.gpu().map(|gpu| gpu.pass_times()).unwrap_or_default()
    }
}

/// Why a number of lanes has no point.
enum Unmeasured {
    LeftOut(String),
    Failed(BackendError),
}

impl From<BackendError> for Unmeasured {
    fn from(error: BackendError) -> Unmeasured {
        Unmeasured::Failed(error)
    }
}

fn left_out(reason: impl Into<String>) -> Unmeasured {
    Unmeasured::LeftOut(reason.into())
}

impl From<LaneReport> for LaneScores {
    fn from(report: LaneReport) -> LaneScores {
        let scores = std::iter::once(report.train).chain(report.evals).collect();
        LaneScores { status: report.status, scores }
    }
}

/// The scores of lanes after a budget; fewer where a stop came first.
pub(super) fn scores(
    trainer: &mut dyn Trainer,
    points: &Points,
    lanes: &[Lane],
    budget: u64,
    stop: &StopFlag,
) -> Result<Vec<LaneScores>, BackendError> {
    let run = train(trainer, points, lanes, budget, stop, &mut |_| {})?;
    Ok(run.reports.into_iter().flatten().map(LaneScores::from).collect())
}

/// Does work with a flag that is raised when the time is up, or when `stop` is.
fn until<T>(limit: Duration, stop: &StopFlag, work: impl FnOnce(&StopFlag) -> T) -> T {
    let time_up = StopFlag::default();
    let (working, done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (began, raised) = (Instant::now(), time_up.clone());
        let watch = move || {
            while done.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if stop.is_raised() || began.elapsed() >= limit {
                    raised.raise();
                }
            }
        };
        // Where there is no thread to be had, the work is done without a limit.
        let is_watched = std::thread::Builder::new().spawn_scoped(scope, watch).is_ok();
        let worked = work(if is_watched { &time_up } else { stop });
        drop(working);
        worked
    })
}

/// Starts, trains and scores lanes; `report` hears how many are done.
fn train(
    trainer: &mut dyn Trainer,
    points: &Points,
    lanes: &[Lane],
    budget: u64,
    stop: &StopFlag,
    report: &mut dyn FnMut(usize),
) -> Result<Run, BackendError> {
    let began = Instant::now();
    let slots = trainer.start(points, lanes)?;
    let place: HashMap<Slot, usize> = slots.iter().enumerate().map(|(place, slot)| (*slot, place)).collect();
    let mut reports: Vec<Option<LaneReport>> = vec![None; lanes.len()];
    let mut done = 0;
    let mut take = |lane: LaneReport| {
        done += 1;
        let slot = place.get(&lane.slot).and_then(|place| reports.get_mut(*place));
        slot.into_iter().for_each(|slot| *slot = Some(lane.clone()));
        report(done);
        ControlFlow::Continue(())
    };
    let advanced = trainer.advance(&slots, budget, false, stop, &mut take);
    let seconds = began.elapsed().as_secs_f64();
    trainer.release(&slots);
    advanced?;
    Ok(Run { seconds, reports })
}

/// What each kernel took between two moments.
fn spent(before: &[PassTime], after: &[PassTime]) -> Vec<KernelTime> {
    let time = |now: &PassTime| {
        let then = before.iter().find(|then| then.kernel == now.kernel);
        KernelTime {
            kernel: now.kernel.clone(),
            seconds: now.seconds - then.map_or(0.0, |then| then.seconds),
            dispatches: now.dispatches - then.map_or(0, |then| then.dispatches),
        }
    };
    after.iter().map(time).filter(|kernel| kernel.dispatches > 0).collect()
}
