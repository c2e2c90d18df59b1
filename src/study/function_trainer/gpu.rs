//! Functions on a GPU: a batch of points goes there, a number an objective comes back. Noise is added here, as on the
//! processor, so that a candidate's repeats are one evaluation.

use super::{Lanes, report_of};
use crate::backend::gpu::{Gpu, Resident, ResidentBuffer, ResidentError, Slicer, words};
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::functions::{EvaluationBatch, FunctionShader, Noise};
use crate::space::Points;
use std::ops::ControlFlow;
use std::time::Instant;

/// Points of a batch at most: enough to fill any device, few enough that reports are not far apart.
const MOST_POINTS: usize = 1 << 20;
/// Points of the first batch, and of the least one that memory running out leads to.
const LEAST_POINTS: usize = 64;
/// Buffers of the function's kernel by their numbers.
const BATCH: usize = 0;
const POINTS: usize = 1;
const VALUES: usize = 4;
/// The word of an [`EvaluationBatch`] that says whether loops were cut.
const CUT: u64 = 2;

/// A function opened on a GPU.
pub struct GpuFunctionTrainer {
    gpu: Gpu,
    shader: FunctionShader,
    noise: Noise,
    lanes: Lanes,
    room: Option<Room>,
    /// Points that a batch may have: what fits, halved when memory runs out.
    most_points: usize,
    /// Devices lost so far, and how many of them since the last whole batch.
    losses: usize,
    losses_in_a_row: usize,
}

/// A function's kernel, with buffers for so many points.
struct Room {
    resident: Resident,
    points: usize,
    slicer: Slicer,
}

impl Room {
    fn new(gpu: &Gpu, shader: &FunctionShader, points: usize) -> Result<Room, ResidentError> {
        let words_of = |each: usize| (each as u64).saturating_mul(points as u64);
        let buffers = vec![
            ResidentBuffer::of_words("batch", size_of::<EvaluationBatch>() as u64 / 4),
            ResidentBuffer::of_words("points", words_of(shader.dimensions)),
            ResidentBuffer::holding("constants", bytemuck::pod_collect_to_vec(&shader.constants)),
            ResidentBuffer::of_words("scratch", words_of(shader.scratch)),
            ResidentBuffer::of_words("values", words_of(shader.objectives)),
        ];
        let resident = Resident::new(gpu, buffers, vec![shader.kernel()])?;
        let slicer = Slicer::new(FunctionShader::workgroups(points), 1, &gpu.options().provoked);
        Ok(Room { resident, points, slicer })
    }

    /// Values `[objective][member]` of points `[axis][member]`; `None` when the stop flag was raised.
    fn evaluate(
        &mut self,
        points: &[f32],
        shader: &FunctionShader,
        stop: &StopFlag,
    ) -> Result<Option<Vec<f32>>, ResidentError> {
        let members = points.len() / shader.dimensions.max(1);
        let batch = EvaluationBatch { first_group: 0, members: members as u32, are_loops_cut: 0 };
        self.resident.write(BATCH, 0, &words(&batch))?;
        self.resident.write(POINTS, 0, bytemuck::cast_slice(points))?;
        let all = FunctionShader::workgroups(members);
        let mut first = 0;
        while first < all {
            if stop.is_raised() {
                return Ok(None);
            }
            let groups = self.slicer.lanes().min(all - first);
            self.resident.write(BATCH, 0, &[first as u32])?;
            let seconds = self.resident.run(&[(0, groups as u32)])?;
            self.slicer.record(1, groups, seconds);
            first += groups;
        }
        if self.resident.read(BATCH, CUT, 1)?.first() != Some(&0) {
            return Err(self.resident.gpu().loops_cut().into());
        }
        let values = self.resident.read(VALUES, 0, members * shader.objectives)?;
        Ok(Some(bytemuck::pod_collect_to_vec(&values)))
    }
}

impl GpuFunctionTrainer {
    /// Opens a function: compiles its kernel and uploads what belongs to its instance.
    pub fn open(gpu: &Gpu, shader: FunctionShader, noise: Noise) -> Result<GpuFunctionTrainer, BackendError> {
        let words = (shader.dimensions + shader.scratch + shader.objectives).max(1) as u64;
        let most_points = (gpu.batch_bytes() / (4 * words)).clamp(1, MOST_POINTS as u64) as usize;
        let mut trainer = GpuFunctionTrainer {
            gpu: gpu.clone(),
            shader,
            noise,
            lanes: Lanes::new(),
            room: None,
            most_points,
            losses: 0,
            losses_in_a_row: 0,
        };
        while trainer.room.is_none() {
            match trainer.make_room(1) {
                Ok(room) => trainer.room = Some(room),
                Err(error) => trainer.recover(error)?,
            }
        }
        Ok(trainer)
    }

    /// Takes the buffers, or makes others where they are for fewer points.
    fn make_room(&mut self, points: usize) -> Result<Room, ResidentError> {
        match self.room.take() {
            Some(room) if room.points >= points => Ok(room),
            _ => {
                let points = points.max(LEAST_POINTS).next_power_of_two().min(self.most_points);
                Room::new(&self.gpu, &self.shader, points)
            }
        }
    }

    /// After a loss another device, after a lack of memory smaller batches; an error where neither helps.
    fn recover(&mut self, error: ResidentError) -> Result<(), BackendError> {
        self.room = None;
        match error {
            ResidentError::Lost { reason, .. } => {
                self.losses_in_a_row += 1;
                if self.losses_in_a_row > 1 {
                    return Err(self.gpu.failed(format!("it was lost twice in a row: {reason}")));
                }
                self.losses += 1;
                self.gpu.rebuild(self.losses).map(|_| ())
            }
            ResidentError::Failed(BackendError::DeviceTooSmall { .. }) if self.most_points > LEAST_POINTS => {
                self.most_points /= 2;
                Ok(())
            }
            ResidentError::Failed(error) => Err(error),
        }
    }

    /// Values `[objective][row]` of these rows of the points; `None` when the stop flag was raised.
    fn evaluate(&mut self, rows: &[usize], stop: &StopFlag) -> Result<Option<Vec<f32>>, ResidentError> {
        let mut points = vec![0.0; rows.len() * self.shader.dimensions];
        for (member, row) in rows.iter().enumerate() {
            for (axis, value) in self.lanes.points.row(*row).iter().enumerate() {
                points[axis * rows.len() + member] = *value as f32;
            }
        }
        let mut room = self.make_room(rows.len())?;
        let values = room.evaluate(&points, &self.shader, stop);
        self.room = Some(room);
        values
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
            let (batch, others) = waiting.split_at(waiting.len().min(self.most_points));
            let places = batch.iter().map(|slot| self.lanes.place(*slot)).collect::<Result<Vec<_>, _>>()?;
            // A candidate's repeats differ by their noise alone.
            let mut rows: Vec<usize> = places.iter().map(|(row, _)| *row).collect();
            rows.sort_unstable();
            rows.dedup();
            let found = match self.evaluate(&rows, stop) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.recover(error)?;
                    continue;
                }
            };
            self.losses_in_a_row = 0;
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
