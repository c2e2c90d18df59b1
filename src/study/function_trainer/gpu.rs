//! Functions on a GPU: a batch of points goes there, a number an objective comes back. Noise is added here, as on the
//! processor, so that a candidate's repeats are one evaluation.

use super::Lanes;
use super::batches::{self, Batches, Evaluate, Layout, Plan};
use crate::backend::gpu::{Gpu, ResidentError};
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::functions::{FunctionShader, Noise};
use crate::space::Points;
use std::ops::ControlFlow;

/// A function opened on a GPU.
pub struct GpuFunctionTrainer {
    batches: Batches,
    shader: FunctionShader,
    noise: Noise,
    lanes: Lanes,
}

impl GpuFunctionTrainer {
    /// Opens a function: compiles its kernel and uploads what belongs to its instance.
    pub fn open(gpu: &Gpu, shader: FunctionShader, noise: Noise) -> Result<GpuFunctionTrainer, BackendError> {
        let plan = Plan {
            kernel: shader.kernel(),
            workgroup: FunctionShader::WORKGROUP,
            words: shader.dimensions,
            constants: bytemuck::pod_collect_to_vec(&shader.constants),
            scratch: shader.scratch,
            values: shader.objectives,
        };
        Ok(GpuFunctionTrainer { batches: Batches::open(gpu, plan)?, shader, noise, lanes: Lanes::new() })
    }
}

/// Values `[objective][row]`, and the rows of the points that they are of.
pub(super) struct Found {
    rows: Vec<usize>,
    values: Vec<f32>,
}

impl Evaluate for GpuFunctionTrainer {
    type Found = Found;

    fn batches(&mut self) -> &mut Batches {
        &mut self.batches
    }

    fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn evaluate(&mut self, places: &[(usize, usize)], stop: &StopFlag) -> Result<Option<Found>, ResidentError> {
        // A candidate's repeats differ by their noise alone.
        let mut rows: Vec<usize> = places.iter().map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut points = vec![0; rows.len() * self.shader.dimensions];
        for (member, row) in rows.iter().enumerate() {
            for (axis, value) in self.lanes.points.row(*row).iter().enumerate() {
                points[axis * rows.len() + member] = (*value as f32).to_bits();
            }
        }
        let values = self.batches.evaluate(&points, Layout::Dense, stop)?;
        Ok(values.map(|values| Found { rows, values: bytemuck::pod_collect_to_vec(&values) }))
    }

    fn values(
        &self,
        found: &Found,
        _number: usize,
        (row, repeat): (usize, usize),
        values: &mut Vec<f64>,
    ) -> Option<String> {
        let member = found.rows.partition_point(|other| *other < row);
        let of = |objective: usize| f64::from(found.values[objective * found.rows.len() + member]) + self.shader.offset;
        values.clear();
        values.extend((0..self.shader.objectives).map(of));
        self.noise.add(self.lanes.points.row(row), repeat, values);
        None
    }
}

impl Trainer for GpuFunctionTrainer {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        Ok(self.lanes.start(points, lanes))
    }

    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        _keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        batches::advance(self, slots, budget, stop, report)
    }

    /// A function has no weights.
    fn read_back(&mut self, _slot: Slot) -> Result<Weights, BackendError> {
        Ok(Weights::of(Vec::new()))
    }

    fn release(&mut self, slots: &[Slot]) {
        self.lanes.release(slots);
    }
}
