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

impl Backend {
    /// Opens what `[run]` asks for; `auto` takes a hardware GPU where there is one, or the device that is named.
    pub(super) fn open(run: &RunOptions) -> Result<Backend, StudyError> {
        let memory = run.memory.saturating_mul(1 << 20);
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
