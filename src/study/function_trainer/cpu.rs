//! Functions on the processor: threads share the lanes.

use super::{Lanes, report_of};
use crate::backend::cpu::CpuOptions;
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::functions::Evaluator;
use crate::space::Points;
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::time::Instant;

/// Lanes that are evaluated between two looks at the stop flag.
const BETWEEN_LOOKS: usize = 4096;

/// A function opened on the CPU.
pub struct FunctionTrainer {
    evaluator: Evaluator,
    pool: rayon::ThreadPool,
    lanes: Lanes,
}

impl FunctionTrainer {
    /// Opens a function.
    pub fn new(evaluator: Evaluator, options: &CpuOptions) -> Result<FunctionTrainer, BackendError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(options.thread_count()).build();
        let failed = |error: rayon::ThreadPoolBuildError| BackendError::DeviceFailed {
            device: "processor".to_owned(),
            reason: error.to_string(),
        };
        Ok(FunctionTrainer { evaluator, pool: pool.map_err(failed)?, lanes: Lanes::new() })
    }
}

impl Trainer for FunctionTrainer {
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
        let objectives = self.evaluator.objectives();
        let mut values = vec![0.0; objectives * slots.len().min(BETWEEN_LOOKS)];
        for slots in slots.chunks(BETWEEN_LOOKS) {
            if stop.is_raised() {
                return Ok(());
            }
            let begun = Instant::now();
            let values = &mut values[..objectives * slots.len()];
            self.pool.install(|| {
                let each = values.par_chunks_exact_mut(objectives).zip(slots).with_min_len(64);
                each.try_for_each(|(values, slot)| {
                    let (row, repeat) = self.lanes.place(*slot)?;
                    self.evaluator.evaluate(self.lanes.points.row(row), repeat, values);
                    Ok(())
                })
            })?;
            let seconds = begun.elapsed().as_secs_f64() / slots.len() as f64;
            for (slot, values) in slots.iter().zip(values.chunks_exact(objectives)) {
                if report(report_of(*slot, values, budget, seconds)).is_break() {
                    return Ok(());
                }
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
