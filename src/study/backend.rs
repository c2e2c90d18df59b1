//! Which backend trains a study: as it is named, or what the machine has.

use super::config::{BackendChoice, RunOptions};
use super::error::StudyError;
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

/// A backend with the study's model opened on it.
pub(super) struct Opened {
    pub(super) backend: Backend,
    pub(super) trainer: Box<dyn Trainer>,
    /// What the user should know of the choice.
    pub(super) note: Option<String>,
}

/// Bytes that lanes in training may take.
fn bytes(run: &RunOptions) -> u64 {
    run.memory.saturating_mul(1 << 20)
}

impl Backend {
    fn cpu(run: &RunOptions) -> Backend {
        Backend::Cpu(CpuOptions { threads: run.threads, memory: bytes(run), simd: None })
    }

    /// Opens what `[run]` asks for; `auto` takes a hardware GPU where there is one, or the device that is named.
    pub(super) fn open(run: &RunOptions) -> Result<Backend, StudyError> {
        let options = GpuOptions { device: run.device.clone(), memory: bytes(run), ..GpuOptions::default() };
        match run.backend {
            BackendChoice::Cpu => Ok(Backend::cpu(run)),
            BackendChoice::Gpu => Ok(Backend::Gpu(Gpu::open(&options)?)),
            BackendChoice::Auto if run.device.is_some() => Ok(Backend::Gpu(Gpu::open(&options)?)),
            BackendChoice::Auto => match Gpu::open(&options) {
                Ok(gpu) => Ok(Backend::Gpu(gpu)),
                Err(BackendError::NoAdapter { .. }) => Ok(Backend::cpu(run)),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// What `[run]` asks for, with the study's model opened on a problem. Where `auto` found a GPU by itself that is too
    /// small for the study, the processor trains, and a note says so.
    pub(super) fn open_with_trainer(study: &Study, problem: Arc<Problem>) -> Result<Opened, StudyError> {
        Backend::open(&study.config.run)?.or_cpu(study, problem)
    }

    fn or_cpu(self, study: &Study, problem: Arc<Problem>) -> Result<Opened, StudyError> {
        let run = &study.config.run;
        let is_free = run.backend == BackendChoice::Auto && run.device.is_none();
        match self.trainer(study, problem.clone()) {
            Err(StudyError::Backend(BackendError::DeviceTooSmall { device, need })) if is_free => {
                let backend = Backend::cpu(run);
                let trainer = backend.trainer(study, problem)?;
                let note = format!("{device} is too small for this study, so the processor trains: {need}");
                Ok(Opened { backend, trainer, note: Some(note) })
            }
            trainer => Ok(Opened { backend: self, trainer: trainer?, note: None }),
        }
    }

    /// The study's model, opened on a problem.
    pub(super) fn trainer(&self, study: &Study, problem: Arc<Problem>) -> Result<Box<dyn Trainer>, StudyError> {
        match self {
            Backend::Cpu(options) => Ok(study.model.open_cpu(&study.space, problem, options)?),
            Backend::Gpu(gpu) => Ok(study.model.open_gpu(&study.space, problem, gpu)?),
        }
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
    use crate::data::problem::build_problem;
    use crate::study::StudyConfig;

    /// What trains a small study where the GPU has no room for its data; `None` where there is no adapter at all.
    fn opened(sets: &[&str]) -> Option<Result<Opened, StudyError>> {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..60).map(|row| format!("{},{row},k{}\n", row % 7, row % 2)).collect();
        std::fs::write(folder.path().join("data.csv"), format!("a,b,kind\n{rows}")).unwrap();
        let path = folder.path().join("study.toml");
        std::fs::write(&path, "[data]\nfile = 'data.csv'\ntarget = 'kind'\n").unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let study = Study::resolve(StudyConfig::load(&path, &sets).unwrap()).unwrap();
        let (folds, prepare) = (&study.splits.folds, &study.config.prepare);
        let input = study.model.input();
        let problem =
            build_problem(&study.dataset, folds, prepare, input, study.metric, study.budget, study.key).unwrap();
        let provoked = Provoked { largest_buffer: 64, ..Provoked::default() };
        match Gpu::open(&GpuOptions { device: Some("0".to_owned()), provoked, ..GpuOptions::default() }) {
            Ok(gpu) => Some(Backend::Gpu(gpu).or_cpu(&study, Arc::new(problem))),
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
        assert_eq!(found.backend.name(), "cpu");
        assert!(found.note.unwrap().contains("is too small"));
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
