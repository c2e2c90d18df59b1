//! What a model tells the GPU backend: its kernels, its shared data, and a descriptor for each lane. The model knows its
//! algorithm; when, where and in what portions it runs is the trainer's business.

use super::kernel::{Kernel, WgslStruct};
use super::wgsl_struct;
use crate::backend::{LaneStatus, Weights};
use std::ops::Range;

/// [`Progress::status`]: the lane can be trained further.
pub const LANE_RUNNING: u32 = 0;
/// [`Progress::status`]: the lane converged.
pub const LANE_DONE: u32 = 1;
/// [`Progress::status`]: the lane's solver gave up before it converged.
pub const LANE_LIMIT: u32 = 2;
/// [`Progress::status`]: the lane's weights or loss became NaN or infinite.
pub const LANE_NOT_FINITE: u32 = 3;
/// [`Progress::status`]: the driver ended loops before their time, so that what the lane holds is wrong.
pub const LANE_CUT: u32 = 4;

wgsl_struct! {
    /// Where a lane is in its training; all zero before its first step.
    pub struct Progress {
        /// Whole units done, those of [`GpuPlan::lead_in`] included.
        pub unit: u32,
        /// How much of the unit at hand is done, as the model counts it: rows, or ticks.
        pub part: u32,
        /// Steps done since the start.
        pub step: u32,
        /// One of the `LANE_*` codes.
        pub status: u32,
    }
}

wgsl_struct! {
    /// What one dispatch works on: in training the ticks up to `until`, in scoring the tiles from `from` to `until`.
    pub struct Span {
        /// First unit, or first tile.
        pub from_unit: u32,
        /// First tick in it.
        pub from_part: u32,
        /// The unit in which the span ends, or the tile before which it does.
        pub until_unit: u32,
        /// The tick in it before which the span ends.
        pub until_part: u32,
        /// No lane is trained beyond this unit.
        pub budget: u32,
        /// The first unit that the window holds.
        pub window_unit: u32,
        /// The lane of the batch that the first workgroup has.
        pub first_lane: u32,
        /// The lane before which the dispatch ends; a workgroup beyond leaves at once.
        pub lanes: u32,
    }
}

/// The two things that are done with a batch of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Lanes walk to their budget.
    Train,
    /// Lanes predict their row sets, and reduce the predictions to what the metric needs.
    Score,
}

/// A lane, as its model lays it out.
#[derive(Debug, Clone, PartialEq)]
pub struct LanePlan {
    /// The kernel's struct of this lane, of the same size for every lane. The trainer fills in the first two words: where
    /// the lane's state and its results start, in words.
    pub descriptor: Vec<u32>,
    /// Words of state: weights, moments, scratch.
    pub state_words: u64,
    /// Words of results.
    pub result_words: u64,
    /// Work relative to other lanes; longer lanes are dispatched first.
    pub cost: f64,
}

impl LanePlan {
    /// What the lane takes of a binding: state and results have one each.
    pub fn bytes(&self) -> u64 {
        4 * self.state_words.max(self.result_words)
    }
}

/// One pass of what all lanes share and the device computes itself: distances, products, sorted columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Prologue {
    /// Its bindings may be of the roles Span, Shared, Prepare and Prepared. A workgroup is to the [`Span`] what a lane is
    /// elsewhere: its number is `workgroup_of` of shaders/shared/prologue.wgsl, and it leaves at once where that is not
    /// below `span.lanes`.
    pub kernel: Kernel,
    /// How many workgroups it takes. They may run in any order and in any number of dispatches; each is far shorter than
    /// [`super::LONGEST_DISPATCH`], because it is what a dispatch cannot be cut below.
    pub workgroups: u32,
}

/// A model on one problem, as the GPU backend sees it.
pub trait GpuPlan: Send {
    /// The kernels of a phase, in the order in which each span runs them. One workgroup a lane.
    fn kernels(&self, phase: Phase) -> &[Kernel];
    /// The arrays of [`super::Role::Shared`], uploaded once.
    fn shared(&self) -> Vec<Vec<u32>>;
    /// Words of the arrays of [`super::Role::Prepared`]: not initialised, and on the device as long as it lives.
    fn prepared(&self) -> Vec<u64> {
        Vec::new()
    }
    /// The passes that fill those arrays, in their order. They run before a device's first batch, each once, and again on
    /// a device that replaces a lost one: what they write depends on the shared arrays alone.
    fn prologue(&self) -> Vec<Prologue> {
        Vec::new()
    }
    /// Lays a lane out.
    fn lane(&self, point: &[f64], fold: usize) -> LanePlan;
    /// Ticks of a phase's unit: what a dispatch can be cut into (portions of an epoch's rows; 1 where a unit is one step).
    /// All take about as long, but for a unit's last: the next dispatch is sized by what the one before took.
    fn ticks_per_unit(&self, _phase: Phase) -> u64 {
        1
    }
    /// Units of training before the first that counts, such as the evaluation of a solver's start. [`Progress::unit`]
    /// counts them, a lane's budget and what it used of it do not.
    fn lead_in(&self) -> u64 {
        0
    }
    /// Units that scoring walks: tiles of rows.
    fn score_units(&self) -> u64;
    /// Words that each unit of training adds to [`super::Role::Window`]; 0 for a model without one.
    fn window_words(&self) -> u64 {
        0
    }
    /// The window of these units.
    fn window(&self, _units: Range<u64>) -> Vec<u32> {
        Vec::new()
    }
    /// What a lane that used up its budget while running is called.
    fn status_at_budget(&self) -> LaneStatus;
    /// Whether lanes may converge before their budget, so that a batch is worth asking whether all have.
    fn can_converge(&self) -> bool;
    /// The scores that a lane's results hold: on the training rows, and on each row set to score.
    fn scores(&self, fold: usize, results: &[u32]) -> (f64, Vec<f64>);
    /// The weights that a lane's state holds.
    fn weights(&self, descriptor: &[u32], state: &[u32]) -> Weights;
    /// The same, or why the device cannot have trained the lane rightly, where a model can tell.
    fn checked_weights(&self, descriptor: &[u32], state: &[u32]) -> Result<Weights, String> {
        Ok(self.weights(descriptor, state))
    }
}

/// The structs and codes that every kernel of a plan shares.
pub(crate) fn with_lane_header(kernel: Kernel) -> Kernel {
    kernel
        .constant("LANE_RUNNING", LANE_RUNNING)
        .constant("LANE_DONE", LANE_DONE)
        .constant("LANE_LIMIT", LANE_LIMIT)
        .constant("LANE_NOT_FINITE", LANE_NOT_FINITE)
        .constant("LANE_CUT", LANE_CUT)
        .layout::<Progress>()
        .layout::<Span>()
}

/// A struct's words, for descriptors and shared arrays.
pub fn words<T: WgslStruct>(value: &T) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(bytemuck::bytes_of(value))
}
