//! The GPU backend: the only place that names wgpu. A model gives a [`GpuPlan`] (kernels, bindings, a descriptor and
//! the bytes of each lane); [`GpuTrainer`] executes it in batches that fit the memory and dispatches that fit 100 ms.

mod adapters;
mod kernel;
mod measure;
mod plan;
mod resident;
mod runner;
mod scoring;
mod session;
mod slices;
mod statistic;
mod trainer;
mod users;

pub use adapters::{Adapter, adapters};
pub use kernel::{Binding, Kernel, Role, WgslStruct, WgslType};
pub use measure::{measure, measure_kernels};
pub use plan::{
    GpuPlan, LANE_CUT, LANE_DONE, LANE_LIMIT, LANE_NOT_FINITE, LANE_RUNNING, LanePlan, Phase, Progress, Prologue, Span,
    words,
};
pub use resident::{Resident, ResidentBuffer, ResidentError};
pub use scoring::{DeviceScoring, LaneSets, SETS, padded};
pub use slices::LONGEST_DISPATCH;
pub use statistic::{DeviceRows, DeviceSet, DeviceStatistic};
pub use trainer::GpuTrainer;
pub use users::{IS_ENDLESS, TURNS_LEFT, UsersFault, UsersFaultKind, UsersFunction, inspect, is_field};

pub(crate) use kernel::wgsl_struct;
pub(crate) use plan::with_lane_header;
pub(crate) use slices::Slicer;

use super::BackendError;
use session::{Fault, Session};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the GPU backend may use the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuOptions {
    /// Which adapter: its index in [`adapters`] or a part of its name, in any case of letters. None takes the first
    /// hardware adapter; a software adapter is taken only when it is named.
    pub device: Option<String>,
    /// Bytes that lanes' state may take; 0 takes what one binding of the device may hold.
    pub memory: u64,
    /// Test mode: shaders keep every run-time check, and buffers are filled with a NaN pattern before their first use,
    /// so that a read of what was never written shows in the scores.
    pub checked: bool,
    /// Faults to provoke, for tests.
    pub provoked: Provoked,
}

/// Faults that a test wants to see survived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provoked {
    /// The device is destroyed after so many dispatches; each further number counts from the rebuilt device's first.
    pub losses_after: Vec<u64>,
    /// Buffers of more bytes than this fail as if the device's memory were full; 0 lets all through.
    pub largest_buffer: u64,
    /// The first dispatch does so many ticks of the model's clock, or what the driver was seen to bear, and none does more;
    /// 0 leaves it to the measured times.
    pub largest_slice: u64,
    /// No dispatch has more than so many lanes; 0 leaves it to the measured times.
    pub most_lanes: u64,
}

/// Device seconds of one kernel, and how often it was dispatched.
#[derive(Debug, Clone, PartialEq)]
pub struct PassTime {
    /// The kernel's name.
    pub kernel: String,
    /// Seconds on the device, by timestamp queries where there are any, otherwise from submission to completion.
    pub seconds: f64,
    /// Number of dispatches.
    pub dispatches: u64,
}

/// An opened GPU: cheap to clone, and able to rebuild its device after a loss.
#[derive(Clone)]
pub struct Gpu {
    shared: Arc<Shared>,
}

struct Shared {
    adapter: Adapter,
    options: GpuOptions,
    session: Mutex<Arc<Session>>,
    times: Arc<Mutex<Times>>,
}

/// What the phases of the GPU took since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Times {
    compile: f64,
    passes: Vec<PassTime>,
}

impl Gpu {
    /// Opens the adapter that the options name, with all its limits.
    pub fn open(options: &GpuOptions) -> Result<Gpu, BackendError> {
        let adapter = adapters::choose(options.device.as_deref())?;
        let times = Arc::new(Mutex::new(Times::default()));
        let session = Session::open(&adapter, options, options.provoked.losses_after.first().copied(), &times)
            .map_err(|reason| BackendError::DeviceFailed { device: adapter.name.clone(), reason })?;
        let shared = Shared { adapter, options: options.clone(), session: Mutex::new(Arc::new(session)), times };
        Ok(Gpu { shared: Arc::new(shared) })
    }

    /// The adapter's name, with its API and driver.
    pub fn name(&self) -> &str {
        &self.shared.adapter.name
    }

    /// The adapter, as [`adapters`] lists it.
    pub fn adapter(&self) -> &Adapter {
        &self.shared.adapter
    }

    /// Seconds that translating and compiling shaders took so far.
    pub fn compile_seconds(&self) -> f64 {
        lock(&self.shared.times).compile
    }

    /// Device time of each kernel so far, in the order of first use.
    pub fn pass_times(&self) -> Vec<PassTime> {
        lock(&self.shared.times).passes.clone()
    }

    /// Bytes that a batch of lanes may take on this device.
    pub(crate) fn batch_bytes(&self) -> u64 {
        let binding = self.session().largest_binding();
        match self.shared.options.memory {
            0 => binding,
            memory => memory.min(binding),
        }
    }

    /// Bytes that lanes may keep between calls: as many as were allowed, otherwise as many as the device has.
    pub(crate) fn kept_bytes(&self) -> u64 {
        match self.shared.options.memory {
            0 => u64::MAX,
            memory => memory,
        }
    }

    pub(crate) fn options(&self) -> &GpuOptions {
        &self.shared.options
    }

    pub(crate) fn session(&self) -> Arc<Session> {
        lock(&self.shared.session).clone()
    }

    /// Replaces a lost device. `losses` counts those before, which decides what a test provokes next.
    pub(crate) fn rebuild(&self, losses: usize) -> Result<Arc<Session>, BackendError> {
        let provoked = self.shared.options.provoked.losses_after.get(losses).copied();
        let session = adapters::look_up_again(&self.shared.adapter)
            .and_then(|adapter| Session::open(&adapter, &self.shared.options, provoked, &self.shared.times))
            .map_err(|reason| self.failed(reason))?;
        let session = Arc::new(session);
        *lock(&self.shared.session) = session.clone();
        Ok(session)
    }

    pub(crate) fn failed(&self, reason: impl Into<String>) -> BackendError {
        BackendError::DeviceFailed { device: self.name().to_owned(), reason: reason.into() }
    }

    pub(crate) fn error(&self, fault: Fault) -> BackendError {
        let device = self.name().to_owned();
        match fault {
            Fault::OutOfMemory(need) => BackendError::DeviceTooSmall { device, need },
            Fault::Shader(shader, reason) => BackendError::ShaderRejected { device, shader: shader.to_owned(), reason },
            Fault::LoopsCut => BackendError::DeviceFailed {
                device,
                reason: "its driver ends loops before their time even in the shortest dispatch, as Mesa's software \
                         driver does after 65,535 turns, so that it cannot train this"
                    .to_owned(),
            },
            Fault::Lost(reason) | Fault::Failed(reason) => BackendError::DeviceFailed { device, reason },
        }
    }

    /// What it is when even the shortest dispatch does not get to its end.
    pub(crate) fn loops_cut(&self) -> BackendError {
        self.error(Fault::LoopsCut)
    }

    pub(crate) fn too_small(&self, need: String) -> BackendError {
        BackendError::DeviceTooSmall { device: self.name().to_owned(), need }
    }
}

/// A poisoned lock only says that another thread panicked; what these locks guard is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first adapter, for tests; `None`, with the reason on the screen, where there is none and none is required.
#[cfg(test)]
pub(crate) fn open_for_test(options: GpuOptions) -> Option<Gpu> {
    match Gpu::open(&GpuOptions { device: Some("0".to_owned()), ..options }) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(std::env::var_os("REQUIRE_GPU").is_none(), "REQUIRE_GPU is set, and {error}");
            println!("SKIPPED: {error}");
            None
        }
    }
}
