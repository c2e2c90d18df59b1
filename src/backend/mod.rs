//! Layer 2: what trains lanes. A [`Trainer`] is a backend opened on one model and one problem.

pub mod cpu;
pub mod gpu;
pub(crate) mod state;

use crate::space::Points;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// One candidate on one fold: the unit that a backend trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The candidate's row in the points given to [`Trainer::start`].
    pub point: usize,
    /// The fold's index in the problem.
    pub fold: usize,
}

/// A started lane's place in its trainer, until it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// How a lane's training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneStatus {
    /// Trained to its budget, or converged.
    Trained,
    /// Scored, but its solver stopped at its cap before it converged.
    IterationLimit,
    /// Its weights or loss became NaN or infinite; its scores are NaN.
    NotFinite,
    /// A program or an objective in Rust gave no score; [`LaneReport::failure`] says why. Its scores are NaN.
    Failed,
}

/// What a lane reports when it has reached its budget.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneReport {
    /// The lane.
    pub slot: Slot,
    /// How its training ended.
    pub status: LaneStatus,
    /// Of [`LaneStatus::Failed`] the reason.
    pub failure: Option<String>,
    /// The metric on the fold's training rows; NaN where the model does not score them.
    pub train: f64,
    /// The metric on each of the fold's row sets to score.
    pub evals: Vec<f64>,
    /// Values beside the metric, where an objective has several.
    pub others: Vec<f64>,
    /// Units of budget that were really used: epochs, iterations, trees.
    pub used: u64,
    /// The lane's share of wall time, in seconds: of its thread's where a processor trains models, so that the shares of as
    /// many lanes as there are threads pass at once.
    pub seconds: f64,
    /// How each of `evals` changes with each encoded value of its point, one a column: NaN where the model doesn't say.
    /// Empty where nobody asked ([`Trainer::want_gradients`]), and where the model, the metric or the backend has none.
    pub gradients: Vec<Vec<f64>>,
    /// Where the lane stands, for [`Trainer::thaw`]. `None` where nobody asked ([`Trainer::want_states`]), of a lane that is not
    /// kept, and of what keeps no state.
    pub state: Option<Vec<u8>>,
}

/// What a device reaches on two loops that do nothing else.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Peaks {
    /// f32 operations a second; a fused multiply-add counts as two.
    pub flops: f64,
    /// Bytes read and written a second by a copy in memory beyond the caches.
    pub bandwidth: f64,
}

/// Asks a trainer to stop: it ends the epoch or the dispatch in flight, reports what is whole, and returns.
#[derive(Debug, Clone, Default)]
pub struct StopFlag {
    is_raised: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl StopFlag {
    /// Asks for the stop.
    pub fn raise(&self) {
        self.is_raised.store(true, Ordering::Relaxed);
    }

    /// The same flag, which also counts as raised from `deadline` on.
    pub fn until(&self, deadline: Option<Instant>) -> StopFlag {
        StopFlag { is_raised: self.is_raised.clone(), deadline }
    }

    /// Whether it was asked for.
    pub fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// A lane's trained weights: named arrays, in the model's own order.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Name, shape and row-major values of each array.
    pub arrays: Vec<WeightArray>,
    /// The same of whole numbers, such as the features that a tree splits.
    pub integers: Vec<IntegerArray>,
}

impl Weights {
    /// Weights without whole numbers.
    pub fn of(arrays: Vec<WeightArray>) -> Weights {
        Weights { arrays, integers: Vec::new() }
    }
}

/// One named array of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightArray {
    /// Such as `layer_0.weight`.
    pub name: String,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// One named array of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegerArray {
    /// Such as `tree.feature`.
    pub name: String,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<u32>,
}

/// A backend opened on one model and one problem. A lane's bits depend on its point, its turns, its fold and its
/// budget alone: not on its neighbours, on how lanes were batched, or on how often its training was continued.
pub trait Trainer: Send {
    /// Says which candidates the points of the next [`Trainer::start`] are, to a trainer that tells others their numbers.
    fn announce(&mut self, _candidates: &[u64]) {}

    /// Gives each lane a slot. Nothing is trained yet.
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError>;

    /// Trains lanes up to `budget` (in the model's unit, counted from the lane's start) and scores them. Each report is
    /// handed over as soon as its lane is done; on `Break` what is in flight is finished and reported (of a command or an
    /// objective in Rust, which may run for hours, left), when the stop flag is raised it is left, and the rest stays where it was. With `keep` the
    /// slots can be advanced further or read back; without it their state is dropped as soon as they are scored.
    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError>;

    /// Whether lanes are to report gradients from now on, which takes time; at first they don't.
    fn want_gradients(&mut self, _wanted: bool) {}

    /// A slot for each of these, whose lane stands where that one does, on its way to the same bits: population-based training
    /// copies who is ahead over who is behind.
    fn fork(&mut self, slots: &[Slot]) -> Result<Vec<Slot>, BackendError> {
        match slots {
            [] => Ok(Vec::new()),
            _ => Err(BackendError::Unforkable),
        }
    }

    /// From `at` units of budget on, which none of these lanes has gone beyond and no earlier turn of theirs stands behind, each
    /// is trained with another point, `points` row by row; only hyperparameters that its model can change on the way differ
    /// from those it has.
    fn turn(&mut self, slots: &[Slot], _at: u64, _points: &Points) -> Result<(), BackendError> {
        if slots.is_empty() { Ok(()) } else { Err(BackendError::Unforkable) }
    }

    /// Whether lanes are to be scored on their training rows from now on, which takes time; at first they are. Without, a lane's
    /// status goes by the rows to score alone. A trainer may score them all the same.
    fn want_training_scores(&mut self, _wanted: bool) {}

    /// Whether lanes that are kept are to report where they stand from now on; at first they don't.
    fn want_states(&mut self, _wanted: bool) {}

    /// Lets a started lane, whose turns are said, stand where one stood that reported this `state` after `had` units of budget:
    /// of the same fold of an equal problem, point and turns before, on the same kind of backend, maybe in another process. It
    /// goes on to the same bits. False where the bytes are not whole or not such a state, or where there is no room for it; the
    /// lane then begins at its beginning.
    fn thaw(&mut self, _slot: Slot, _had: u64, _state: &[u8]) -> bool {
        false
    }

    /// The weights of a lane that was advanced with `keep`.
    fn read_back(&mut self, slot: Slot) -> Result<Weights, BackendError>;

    /// Frees slots; they must not be used again.
    fn release(&mut self, slots: &[Slot]);
}

/// Why a backend could not go on.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No device fits what was asked for.
    #[error("no usable GPU adapter: {reason}\n  adapters: {}\n  To train on the processor: --backend cpu", if known.is_empty() { "none".to_owned() } else { known.join("; ") })]
    NoAdapter {
        /// Why none was taken.
        reason: String,
        /// Names of the adapters that were seen.
        known: Vec<String>,
    },
    /// A device is too small for one lane.
    #[error("{device} is too small for this study: {need}\n  To train on the processor: --backend cpu")]
    DeviceTooSmall {
        /// The device.
        device: String,
        /// What is needed and what there is.
        need: String,
    },
    /// A device was lost twice in a row, or failed in a way that a retry does not mend.
    #[error(
        "{device} failed: {reason}\n  Every candidate that was journalled is safe. To go on, on the processor: thousandfold resume RUN --backend cpu"
    )]
    DeviceFailed {
        /// The device.
        device: String,
        /// What it said.
        reason: String,
    },
    /// A shader did not compile on this device.
    #[error("{device} rejected the shader {shader}: {reason}\n  To train on the processor: --backend cpu")]
    ShaderRejected {
        /// The device.
        device: String,
        /// The shader's name.
        shader: String,
        /// What the compiler said.
        reason: String,
    },
    /// A user's shader, which no processor can take over.
    #[error("{device} cannot evaluate the shader: {reason}\n  {remedy}")]
    UsersShader {
        /// The device.
        device: String,
        /// What it said.
        reason: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// A command's programs cannot be started, whatever their parameters are.
    #[error(
        "no process can be started: {reason}\n  Every candidate that was journalled is safe. To go on, with fewer at a time: thousandfold resume RUN --set objective.workers=1 --set objective.suspended=0"
    )]
    Processes {
        /// What the system said.
        reason: String,
    },
    /// What a command's programs hold in memory cannot be seen.
    #[error("objective.memory cannot be watched here: {reason}\n  Leave it out, or make the processes visible (/proc)")]
    Unwatched {
        /// What the system said.
        reason: String,
    },
    /// A command takes the path of its checkpoints, which is no text.
    #[error(
        "the command takes {{checkpoint}}, and {path} is not UTF-8\n  Read it from the environment: THOUSANDFOLD_CHECKPOINT; or choose another directory: --run-dir DIR"
    )]
    PathNotText {
        /// As far as it can be shown.
        path: String,
    },
    /// The slot was never started, was released, or kept no state.
    #[error("slot {0} holds no trained lane")]
    NoSuchSlot(u32),
    /// Lanes were to go on with other hyperparameters, and whatever trains them does not change any on the way.
    #[error("what is trained here cannot go on with other hyperparameters")]
    Unforkable,
    /// The model's method is not sane for these data, or not there on this backend.
    #[error("{model} cannot be trained here: {reason}\n  {alternative}")]
    Unsuited {
        /// The model.
        model: &'static str,
        /// Why not.
        reason: String,
        /// What can be done instead.
        alternative: String,
    },
    /// Not enough host memory for a lane of this model on this data.
    #[error(
        "one lane needs {need_mib} MiB, more than the {limit_mib} MiB that are allowed\n  Allow more: --set run.memory={need_mib}, or take a smaller model"
    )]
    OutOfMemory {
        /// What one lane needs.
        need_mib: u64,
        /// What is allowed.
        limit_mib: u64,
    },
}
