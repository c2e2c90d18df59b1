//! What a benchmark found: every number, with the machine named. `bench.json` is this, field by field.

use super::BenchOptions;
use super::compare::{Comparison, Crossover, Drift};
use super::workload::Shapes;
use crate::backend::Peaks;
use crate::backend::cpu::{self, Processor};
use crate::study::pipeline::Pipeline;
use crate::study::resolve::Study;
use serde::Serialize;

/// A whole benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// The program's version.
    pub version: String,
    /// The study's name.
    pub study: String,
    /// The model.
    pub model: String,
    /// A lane's full budget.
    pub budget: u64,
    /// What it counts.
    pub budget_unit: String,
    /// How lanes were scored.
    pub metric: String,
    /// What everything random followed from.
    pub seed: u64,
    /// What the lanes looked like.
    pub shapes: Shapes,
    /// Seconds that a number of lanes could take.
    pub seconds_allowed: f64,
    /// What they were trained on.
    pub data: DataReport,
    /// Where.
    pub machine: Machine,
    /// Each backend's figures: the CPU's first.
    pub backends: Vec<BackendReport>,
    /// Why no GPU took part.
    pub without_gpu: Option<String>,
    /// Whether both gave the same scores after a short budget.
    pub comparison: Option<Comparison>,
    /// How far their scores are apart after the full budget.
    pub drift: Option<Drift>,
    /// From how many lanes on the GPU is the faster.
    pub crossover: Option<Crossover>,
    /// Whether someone stopped it before its end.
    pub is_interrupted: bool,
}

/// The data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataReport {
    /// Their file.
    pub file: String,
    /// Rows of a fold's training part.
    pub rows: usize,
    /// Prepared features.
    pub features: usize,
    /// Classes, or 1.
    pub outputs: usize,
    /// Folds of all repeats.
    pub folds: usize,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Its processor and memory.
    pub processor: Processor,
    /// The processor's family.
    pub architecture: String,
    /// The operating system, with its version where it says.
    pub os: String,
}

/// What was measured on one backend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendReport {
    /// "cpu" or "gpu".
    pub backend: &'static str,
    /// Threads and instruction set, or the adapter.
    pub device: String,
    /// A GPU's driver with its version.
    pub driver: Option<String>,
    /// Whether the processor plays the GPU.
    pub is_software: bool,
    /// What the device reached on two loops that do nothing else.
    pub peaks: Peaks,
    /// What happened once.
    pub start_up: StartUp,
    /// A point a number of lanes, least lanes first.
    pub points: Vec<Point>,
    /// What was left out.
    pub not_run: Vec<NotRun>,
    /// Why the backend could not go on.
    pub failure: Option<String>,
}

/// Seconds of what happens once before the first lane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StartUp {
    /// Opening the device.
    pub open: f64,
    /// Translating and compiling shaders.
    pub compile: f64,
    /// Bringing the folds into the backend's form, and a first short lane on each.
    pub prepare: f64,
}

/// One number of lanes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Lanes.
    pub lanes: usize,
    /// Times that they were trained.
    pub runs: u32,
    /// Wall seconds of the fastest run: lanes started, trained to their budget and scored.
    pub seconds: f64,
    /// Lanes a second.
    pub lanes_per_second: f64,
    /// f32 operations of training a second, counted from every lane's own shape.
    pub flops: f64,
    /// Their share of the device's peak.
    pub flops_share: f64,
    /// Bytes of lanes' state that training read and wrote a second.
    pub bytes: f64,
    /// Their share of the device's memory bandwidth; above 1 where state stays in caches.
    pub bytes_share: f64,
    /// Lanes whose training turned to NaN.
    pub not_finite: usize,
    /// The kernels' times in the fastest run; none on the CPU.
    pub kernels: Vec<KernelTime>,
}

/// Device time of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelTime {
    /// Its name.
    pub kernel: String,
    /// Seconds on the device.
    pub seconds: f64,
    /// Dispatches.
    pub dispatches: u64,
}

/// A number of lanes without a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotRun {
    /// Lanes.
    pub lanes: usize,
    /// Why.
    pub reason: String,
}

impl BenchReport {
    /// A report that names everything and holds no figures yet.
    pub(super) fn new(study: &Study, pipeline: &Pipeline, options: &BenchOptions) -> BenchReport {
        let folds = study.objective.lanes();
        BenchReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            study: study.name.clone(),
            model: pipeline.model.name().to_owned(),
            budget: pipeline.budget,
            budget_unit: pipeline.model.budget().unit.to_owned(),
            metric: study.objective.metric().to_owned(),
            seed: study.config.search.seed,
            shapes: options.shapes,
            seconds_allowed: options.seconds,
            data: DataReport {
                file: study.config.data.iter().map(|data| data.file.to_string_lossy()).collect(),
                rows: pipeline.shape.rows,
                features: pipeline.shape.features,
                outputs: pipeline.shape.outputs,
                folds,
            },
            machine: Machine {
                processor: cpu::processor(),
                architecture: std::env::consts::ARCH.to_owned(),
                os: sysinfo::System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned()),
            },
            backends: Vec::new(),
            without_gpu: None,
            comparison: None,
            drift: None,
            crossover: None,
            is_interrupted: false,
        }
    }

    /// Whether everything that was to be measured could be, and both backends agree.
    pub fn is_good(&self) -> bool {
        let agrees = self.comparison.as_ref().is_none_or(|comparison| comparison.agrees);
        agrees && self.backends.iter().all(|backend| backend.failure.is_none())
    }
}
