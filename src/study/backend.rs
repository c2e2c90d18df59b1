//! Which backend trains a study: as it is named, or what the machine has.

use super::config::{BackendChoice, RunOptions};
use super::error::StudyError;
use super::function_trainer::FunctionTrainer;
use super::objective::{Models, Objective};
use super::pipeline::Pipeline;
use super::pipeline_trainer::PipelineTrainer;
use super::resolve::Study;
use crate::backend::cpu::CpuOptions;
use crate::backend::gpu::{Gpu, GpuOptions};
use crate::backend::{BackendError, Trainer};
use crate::data::Problem;
use std::sync::Arc;

/// What trains lanes.
pub(super) enum Backend {
    Cpu(CpuOptions),
    Gpu(Gpu),
}

/// A backend with every pipeline of a study opened on it.
pub(super) struct Opened<'a> {
    pub(super) backend: Backend,
    pub(super) trainer: Box<dyn Trainer + 'a>,
    /// What the user should know of the choice.
    pub(super) notes: Vec<String>,
}

/// Bytes that lanes in training may take.
fn bytes(run: &RunOptions) -> u64 {
    run.memory.saturating_mul(1 << 20)
}

fn cpu_options(run: &RunOptions) -> CpuOptions {
    CpuOptions { threads: run.threads, memory: bytes(run), simd: None }
}

/// Whether the study leaves it to the machine what trains it.
fn is_free(run: &RunOptions) -> bool {
    run.backend == BackendChoice::Auto && run.device.is_none()
}

impl Backend {
    /// Opens what `[run]` asks for; `auto` takes a hardware GPU where there is one, or the device that is named.
    pub(super) fn open(run: &RunOptions) -> Result<Backend, StudyError> {
        let options = GpuOptions { device: run.device.clone(), memory: bytes(run), ..GpuOptions::default() };
        match run.backend {
            BackendChoice::Cpu => Ok(Backend::Cpu(cpu_options(run))),
            BackendChoice::Auto if is_free(run) => match Gpu::open(&options) {
                Ok(gpu) => Ok(Backend::Gpu(gpu)),
                Err(BackendError::NoAdapter { .. }) => Ok(Backend::Cpu(cpu_options(run))),
                Err(error) => Err(error.into()),
            },
            BackendChoice::Auto | BackendChoice::Gpu => Ok(Backend::Gpu(Gpu::open(&options)?)),
        }
    }

    /// What `[run]` asks for, with a study's function, or its pipelines opened on their problems.
    pub(super) fn open_with_trainer(study: &Study, problems: Vec<Arc<Problem>>) -> Result<Opened<'_>, StudyError> {
        let run = &study.config.run;
        match &study.objective {
            Objective::Models(models) => Backend::open(run)?.or_cpu(models, &problems, run),
            Objective::Function(function) if run.backend == BackendChoice::Gpu || run.device.is_some() => {
                let reason = "analytic functions are evaluated on the processor".to_owned();
                let alternative = "To search it there: --backend cpu".to_owned();
                Err(BackendError::Unsuited { model: function.name(), reason, alternative }.into())
            }
            Objective::Function(function) => {
                let options = cpu_options(run);
                let trainer = Box::new(FunctionTrainer::new(function.evaluator(), &options)?);
                Ok(Opened { backend: Backend::Cpu(options), trainer, notes: Vec::new() })
            }
        }
    }

    /// Pipelines opened on their problems. Where `auto` found a GPU by itself that is too small for the study, the processor
    /// trains, and a note says so.
    fn or_cpu<'a>(
        self,
        models: &'a Models,
        problems: &[Arc<Problem>],
        run: &RunOptions,
    ) -> Result<Opened<'a>, StudyError> {
        let open = |backend: &Backend| -> Result<Box<dyn Trainer + 'a>, StudyError> {
            let pairs = models.pipelines.iter().zip(problems);
            let trainers = pairs.map(|(pipeline, problem)| backend.trainer(pipeline, problem.clone()));
            Ok(Box::new(PipelineTrainer::new(&models.pipelines, trainers.collect::<Result<_, _>>()?)))
        };
        match open(&self) {
            Err(StudyError::Backend(BackendError::DeviceTooSmall { device, need })) if is_free(run) => {
                let backend = Backend::Cpu(cpu_options(run));
                let trainer = open(&backend)?;
                let note = format!("{device} is too small for this study, so the processor trains: {need}");
                Ok(Opened { backend, trainer, notes: vec![note] })
            }
            trainer => Ok(Opened { trainer: trainer?, notes: Vec::new(), backend: self }),
        }
    }

    /// A pipeline's model, opened on a problem.
    pub(super) fn trainer(&self, pipeline: &Pipeline, problem: Arc<Problem>) -> Result<Box<dyn Trainer>, StudyError> {
        let Pipeline { model, space, .. } = pipeline;
        Ok(match self {
            Backend::Cpu(options) => model.open_cpu(space, problem, options)?,
            Backend::Gpu(gpu) => model.open_gpu(space, problem, gpu)?,
        })
    }

    pub(super) fn gpu(&self) -> Option<&Gpu> {
        match self {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(gpu),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::gpu::Provoked;
    use crate::study::StudyConfig;

    /// What trains a small study where the GPU has no room for its data; `None` where there is no adapter at all.
    fn opened(sets: &[&str]) -> Option<Result<(Backend, Vec<String>), StudyError>> {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..60).map(|row| format!("{},{row},k{}\n", row % 7, row % 2)).collect();
        std::fs::write(folder.path().join("data.csv"), format!("a,b,kind\n{rows}")).unwrap();
        let path = folder.path().join("study.toml");
        std::fs::write(&path, "[data]\nfile = 'data.csv'\ntarget = 'kind'\n").unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let study = Study::resolve(StudyConfig::load(&path, &sets).unwrap()).unwrap();
        let models = study.objective.models().unwrap();
        let problems = models.problems(study.key).unwrap();
        let provoked = Provoked { largest_buffer: 64, ..Provoked::default() };
        match Gpu::open(&GpuOptions { device: Some("0".to_owned()), provoked, ..GpuOptions::default() }) {
            Ok(gpu) => {
                let opened = Backend::Gpu(gpu).or_cpu(models, &problems, &study.config.run);
                Some(opened.map(|opened| (opened.backend, opened.notes)))
            }
            Err(error) => {
                assert!(std::env::var_os("REQUIRE_GPU").is_none(), "REQUIRE_GPU is set, and {error}");
                println!("SKIPPED: {error}");
                None
            }
        }
    }

    #[test]
    fn the_processor_trains_where_the_gpu_that_auto_found_is_too_small() {
        let Some(found) = opened(&[]) else { return };
        let found = found.map_err(|error| error.to_string()).unwrap();
        let (backend, notes) = found;
        assert_eq!(backend.name(), "cpu");
        assert!(notes[0].contains("is too small"));
    }

    #[test]
    fn a_gpu_that_was_asked_for_is_not_replaced() {
        for set in ["run.backend=gpu", "run.device=\"0\""] {
            let Some(named) = opened(&[set]) else { return };
            let error = named.map(|_| ()).unwrap_err();
            assert!(matches!(error, StudyError::Backend(BackendError::DeviceTooSmall { .. })), "{set}: {error}");
        }
    }
}
