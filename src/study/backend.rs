//! Which backend trains a study: as it is named, or what the machine has.

use super::config::{BackendChoice, RunOptions};
use super::error::StudyError;
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
    Gpu {
        gpu: Gpu,
        /// What trains the models without kernels, where the processor may.
        helper: Option<CpuOptions>,
    },
}

/// A backend with every pipeline of a study opened on it.
pub(super) struct Opened<'a> {
    pub(super) backend: Backend,
    pub(super) trainer: PipelineTrainer<'a>,
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
        let gpu = |gpu| Backend::Gpu { gpu, helper: is_free(run).then(|| cpu_options(run)) };
        match run.backend {
            BackendChoice::Cpu => Ok(Backend::Cpu(cpu_options(run))),
            BackendChoice::Auto if is_free(run) => match Gpu::open(&options) {
                Ok(found) => Ok(gpu(found)),
                Err(BackendError::NoAdapter { .. }) => Ok(Backend::Cpu(cpu_options(run))),
                Err(error) => Err(error.into()),
            },
            BackendChoice::Auto | BackendChoice::Gpu => Ok(gpu(Gpu::open(&options)?)),
        }
    }

    /// What `[run]` asks for, with a study's pipelines opened on their problems. Where `auto` found a GPU by itself that is
    /// too small for the study, the processor trains, and a note says so.
    pub(super) fn open_with_trainer<'a>(study: &'a Study, problems: &[Arc<Problem>]) -> Result<Opened<'a>, StudyError> {
        let run = &study.config.run;
        // No model has use for a device that would have to be opened first.
        if is_free(run) && study.pipelines.iter().all(|pipeline| !has_kernels(pipeline)) {
            return Backend::Cpu(cpu_options(run)).or_cpu(study, problems);
        }
        Backend::open(run)?.or_cpu(study, problems)
    }

    fn or_cpu<'a>(self, study: &'a Study, problems: &[Arc<Problem>]) -> Result<Opened<'a>, StudyError> {
        let run = &study.config.run;
        let open = |backend: &Backend| -> Result<PipelineTrainer<'a>, StudyError> {
            let pairs = study.pipelines.iter().zip(problems);
            let trainers = pairs.map(|(pipeline, problem)| backend.trainer(pipeline, problem.clone()));
            Ok(PipelineTrainer::new(&study.pipelines, trainers.collect::<Result<_, _>>()?))
        };
        match open(&self) {
            Err(StudyError::Backend(BackendError::DeviceTooSmall { device, need })) if is_free(run) => {
                let backend = Backend::Cpu(cpu_options(run));
                let trainer = open(&backend)?;
                let note = format!("{device} is too small for this study, so the processor trains: {need}");
                Ok(Opened { backend, trainer, notes: vec![note] })
            }
            trainer => {
                let notes = self.helped(study).into_iter().collect();
                Ok(Opened { trainer: trainer?, notes, backend: self })
            }
        }
    }

    /// Which models the processor trains beside a GPU.
    fn helped(&self, study: &Study) -> Option<String> {
        if let Backend::Cpu(_) = self {
            return None;
        }
        let mut names: Vec<&str> =
            study.pipelines.iter().filter(|p| !has_kernels(p)).map(|pipeline| pipeline.model.name()).collect();
        names.dedup();
        (!names.is_empty()).then(|| format!("{} trained by the processor: no GPU kernels", names.join(", ")))
    }

    /// A pipeline's model, opened on a problem.
    pub(super) fn trainer(&self, pipeline: &Pipeline, problem: Arc<Problem>) -> Result<Box<dyn Trainer>, StudyError> {
        let Pipeline { model, space, .. } = pipeline;
        Ok(match self {
            Backend::Cpu(options) => model.open_cpu(space, problem, options)?,
            Backend::Gpu { helper: Some(options), .. } if !has_kernels(pipeline) => {
                model.open_cpu(space, problem, options)?
            }
            Backend::Gpu { gpu, .. } => model.open_gpu(space, problem, gpu)?,
        })
    }

    pub(super) fn gpu(&self) -> Option<&Gpu> {
        match self {
            Backend::Cpu(_) => None,
            Backend::Gpu { gpu, .. } => Some(gpu),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Backend::Cpu(_) => "cpu",
            Backend::Gpu { .. } => "gpu",
        }
    }

    pub(super) fn device(&self) -> String {
        match self {
            Backend::Cpu(options) => options.describe(),
            Backend::Gpu { gpu, .. } => gpu.name().to_owned(),
        }
    }
}

/// Whether a GPU can train a pipeline's model.
fn has_kernels(pipeline: &Pipeline) -> bool {
    !pipeline.model.kernels().is_empty()
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
        let problems = study.pipelines.problems(&study).unwrap();
        let provoked = Provoked { largest_buffer: 64, ..Provoked::default() };
        match Gpu::open(&GpuOptions { device: Some("0".to_owned()), provoked, ..GpuOptions::default() }) {
            Ok(gpu) => {
                let opened = Backend::Gpu { gpu, helper: None }.or_cpu(&study, &problems);
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
