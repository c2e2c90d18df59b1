//! The benchmark: the same lanes on the CPU and on the GPU, at more and more lanes.
//!
//! What is timed is what a study does with a batch: lanes are started, trained to their full budget and scored. What
//! happens once (opening a device, compiling shaders, preparing folds) is timed apart. Nothing is printed here.

mod compare;
mod contestant;
mod report;
mod workload;

pub use compare::{Comparison, Crossover, Drift, LaneScores, compare, crossover, drift};
pub use contestant::Measuring;
pub use report::{BackendReport, BenchReport, DataReport, KernelTime, Machine, NotRun, Point, StartUp};
pub use workload::Shapes;

use super::config::{BackendChoice, LoadedConfig, RunOptions};
use super::error::{ConfigError, StudyError};
use super::pipeline::Pipeline;
use super::resolve::Study;
use crate::backend::{BackendError, StopFlag};
use crate::data::Problem;
use crate::data::metrics;
use crate::models::Agreement;
use contestant::Contestant;
use std::sync::Arc;
use workload::Workload;

/// Lanes that are trained on both backends to see whether they agree: six candidates or more on five folds.
const COMPARED_LANES: usize = 32;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchOptions {
    /// Numbers of lanes, least first.
    pub lanes: Vec<usize>,
    /// What the lanes look like.
    pub shapes: Shapes,
    /// A number of lanes that takes a backend longer, in seconds, is left out there.
    pub seconds: f64,
}

/// What the benchmark is at.
#[derive(Debug)]
pub enum BenchEvent<'a> {
    /// Data are read and folds prepared.
    Preparing,
    /// A device is opened and its peaks are measured.
    Opening(&'static str),
    /// Lanes are trained on both backends to compare their scores.
    Comparing,
    /// Lanes are being trained.
    Measuring(Measuring),
    /// A number of lanes is done.
    Measured {
        /// "cpu" or "gpu".
        backend: &'static str,
        /// What came out.
        point: &'a Point,
    },
}

/// Watches a benchmark.
pub type Watch<'a> = dyn FnMut(&BenchEvent<'_>) + 'a;

/// Measures what `[run]` names: with `auto` the processor, and the GPU where there is one.
pub fn bench(
    loaded: LoadedConfig,
    options: &BenchOptions,
    watch: &mut Watch<'_>,
    stop: &StopFlag,
) -> Result<BenchReport, StudyError> {
    watch(&BenchEvent::Preparing);
    let study = Study::resolve(loaded)?;
    let models = study.objective.models()?;
    let Some(pipeline) = models.pipelines.single() else {
        let value = models.pipelines.models().join(", ");
        let need = "one model behind one preparation, whose lanes can be compared".into();
        return Err(ConfigError::OutOfRange { key: "model.name", value, need }.into());
    };
    let Some(problem) = models.problems(study.key)?.pop() else { return Err(StudyError::NoTime) };
    let workload = Workload::draw(&study, pipeline, &problem, options);
    let (mut contestants, without_gpu) = open(&study, pipeline, &problem, &workload, watch)?;
    let mut comparison = None;
    if let [cpu, gpu] = &contestants[..] {
        watch(&BenchEvent::Comparing);
        comparison = agreement(pipeline, &problem, &workload, [cpu, gpu], stop)?;
    }
    for contestant in &mut contestants {
        contestant.measure(pipeline, &workload, options, watch, stop);
    }
    let mut report = BenchReport::new(&study, pipeline, options);
    report.without_gpu = without_gpu;
    report.comparison = comparison;
    if let [cpu, gpu] = &contestants[..] {
        report.crossover = crossover(&cpu.rates(), &gpu.rates());
        report.drift = drift(&cpu.scores, &gpu.scores);
    }
    report.backends = contestants.into_iter().map(|contestant| contestant.report).collect();
    report.is_interrupted = stop.is_raised();
    Ok(report)
}

/// Opens every backend that takes part; and why the GPU does not, where nobody asked for one by name.
fn open(
    study: &Study,
    pipeline: &Pipeline,
    problem: &Arc<Problem>,
    workload: &Workload,
    watch: &mut Watch<'_>,
) -> Result<(Vec<Contestant>, Option<String>), StudyError> {
    let run = &study.config.run;
    let choices: &[BackendChoice] = match run.backend {
        BackendChoice::Auto => &[BackendChoice::Cpu, BackendChoice::Gpu],
        BackendChoice::Cpu => &[BackendChoice::Cpu],
        BackendChoice::Gpu => &[BackendChoice::Gpu],
    };
    let may_lack_gpu = run.backend == BackendChoice::Auto && run.device.is_none();
    let (mut contestants, mut without_gpu) = (Vec::new(), None);
    for &backend in choices {
        watch(&BenchEvent::Opening(if backend == BackendChoice::Cpu { "cpu" } else { "gpu" }));
        let device = run.device.clone().filter(|_| backend == BackendChoice::Gpu);
        match Contestant::open(pipeline, problem, workload, &RunOptions { backend, device, ..run.clone() }) {
            Ok(contestant) => contestants.push(contestant),
            Err(StudyError::Backend(BackendError::NoAdapter { reason, .. })) if may_lack_gpu => {
                without_gpu = Some(reason);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((contestants, without_gpu))
}

/// Trains some lanes on both for the short budget that the model names, and compares their scores by a metric that
/// moves with every prediction: an accuracy hides small differences, and turns them into large ones.
fn agreement(
    pipeline: &Pipeline,
    problem: &Problem,
    workload: &Workload,
    contestants: [&Contestant; 2],
    stop: &StopFlag,
) -> Result<Option<Comparison>, StudyError> {
    let lanes = workload.first(COMPARED_LANES.min(workload.lanes.len())).unwrap_or_default();
    let agreement = pipeline.model.agreement();
    let agreement = Agreement { budget: agreement.budget.min(pipeline.budget), ..agreement };
    // Log loss or the root mean squared error: the registry's first metric of each task.
    let smooth = Arc::new(Problem {
        metric: metrics::default_for(problem.task),
        task: problem.task,
        outputs: problem.outputs,
        budget: problem.budget,
        folds: problem.folds.clone(),
    });
    let mut sides = Vec::new();
    for contestant in contestants {
        let mut trainer = contestant.backend.trainer(pipeline, smooth.clone())?;
        sides.push(contestant::scores(trainer.as_mut(), &workload.points, lanes, agreement.budget, stop)?);
    }
    Ok(match &sides[..] {
        [cpu, gpu] if !stop.is_raised() => Some(compare(cpu, gpu, agreement)),
        _ => None,
    })
}
