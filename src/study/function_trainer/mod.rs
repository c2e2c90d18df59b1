//! Analytic functions and a user's shaders as trainers: a lane is one evaluation. What a lane gives depends on its point and
//! its number among the candidate's evaluations alone. The processor evaluates in f64, a GPU in f32; shaders run on a GPU.

mod batches;
mod cpu;
mod gpu;
mod wgsl;

pub use cpu::FunctionTrainer;
pub use gpu::GpuFunctionTrainer;
pub use wgsl::WgslTrainer;
pub(super) use wgsl::of_shader;

use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot};
use crate::space::Points;

/// The lanes that were started, each with its point.
struct Lanes {
    points: Points,
    /// The row of each slot among `points`, and its lane's fold; `None` where it is free.
    slots: Vec<Option<(usize, usize)>>,
}

impl Lanes {
    fn new() -> Lanes {
        Lanes { points: Points::new(0), slots: Vec::new() }
    }

    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Vec<Slot> {
        if self.slots.iter().all(Option::is_none) {
            self.slots.clear();
            self.points = Points::new(points.width());
        }
        let (first, first_slot) = (self.points.len(), self.slots.len());
        points.rows().for_each(|row| self.points.push(row));
        self.slots.extend(lanes.iter().map(|lane| Some((first + lane.point, lane.fold))));
        (first_slot..self.slots.len()).map(|slot| Slot(slot as u32)).collect()
    }

    /// The row of a lane's point, and its number among the candidate's evaluations.
    fn place(&self, slot: Slot) -> Result<(usize, usize), BackendError> {
        self.slots.get(slot.0 as usize).copied().flatten().ok_or(BackendError::NoSuchSlot(slot.0))
    }

    fn release(&mut self, slots: &[Slot]) {
        for slot in slots {
            if let Some(place) = self.slots.get_mut(slot.0 as usize) {
                *place = None;
            }
        }
    }
}

/// What a lane of these values reports.
fn report_of(slot: Slot, values: &[f64], used: u64, seconds: f64) -> LaneReport {
    let is_finite = values.iter().all(|value| value.is_finite());
    let status = if is_finite { LaneStatus::Trained } else { LaneStatus::NotFinite };
    let value = |value: f64| if is_finite { value } else { f64::NAN };
    LaneReport {
        slot,
        status,
        failure: None,
        train: f64::NAN,
        evals: vec![value(values[0])],
        others: values[1..].iter().copied().map(value).collect(),
        used,
        seconds,
        gradients: Vec::new(),
        state: None,
    }
}

#[cfg(test)]
mod tests;
