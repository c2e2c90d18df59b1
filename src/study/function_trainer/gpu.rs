//! Functions on a GPU: a batch of points goes there, a number an objective comes back. Noise is added here, as on the
//! processor, so that a candidate's repeats are one evaluation.

use super::batches::{Batches, Layout, Plan};
use super::{Lanes, report_of};
use crate::backend::gpu::{Gpu, ResidentError};
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::functions::{FunctionShader, Noise};
use crate::space::Points;
use std::ops::ControlFlow;
use std::time::Instant;

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

    /// Values `[objective][row]` of these rows of the points; `None` when the stop flag was raised.
    fn evaluate(&mut self, rows: &[usize], stop: &StopFlag) -> Result<Option<Vec<f32>>, ResidentError> {
        let mut points = vec![0; rows.len() * self.shader.dimensions];
        for (member, row) in rows.iter().enumerate() {
            for (axis, value) in self.lanes.points.row(*row).iter().enumerate() {
                points[axis * rows.len() + member] = (*value as f32).to_bits();
            }
        }
        let values = self.batches.evaluate(&points, Layout::Dense, stop)?;
        Ok(values.map(|values| bytemuck::pod_collect_to_vec(&values)))
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
        let mut waiting = slots;
        while !waiting.is_empty() && !stop.is_raised() {
            let begun = Instant::now();
            let (batch, others) = waiting.split_at(waiting.len().min(self.batches.most()));
            let places = batch.iter().map(|slot| self.lanes.place(*slot)).collect::<Result<Vec<_>, _>>()?;
            // A candidate's repeats differ by their noise alone.
            let mut rows: Vec<usize> = places.iter().map(|(row, _)| *row).collect();
            rows.sort_unstable();
            rows.dedup();
            let found = match self.evaluate(&rows, stop) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.batches.recover(error)?;
                    continue;
                }
            };
            self.batches.settled();
            waiting = others;
            let seconds = begun.elapsed().as_secs_f64() / batch.len() as f64;
            let mut values = vec![0.0; self.shader.objectives];
            let mut flow = ControlFlow::Continue(());
            for (slot, (row, repeat)) in batch.iter().zip(places) {
                let member = rows.partition_point(|other| *other < row);
                for (objective, value) in values.iter_mut().enumerate() {
                    *value = f64::from(found[objective * rows.len() + member]) + self.shader.offset;
                }
                self.noise.add(self.lanes.points.row(row), repeat, &mut values);
                // The batch is whole: each of its lanes is reported, even if the first report ends the run.
                if report(report_of(*slot, &values, budget, seconds)).is_break() {
                    flow = ControlFlow::Break(());
                }
            }
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A function has no weights.
    fn read_back(&mut self, _slot: Slot) -> Result<Weights, BackendError> {
        Ok(Weights::of(Vec::new()))
    }

    fn release(&mut self, slots: &[Slot]) {
        self.lanes.release(slots);
    }
}
