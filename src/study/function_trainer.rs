//! Analytic functions as a trainer: a lane is one evaluation. Threads share the lanes; what a lane gives depends on its point
//! and its number among the candidate's evaluations alone.

use crate::backend::cpu::CpuOptions;
use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
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
    points: Points,
    /// The row of each slot among `points`, and its lane's fold; `None` where it is free.
    slots: Vec<Option<(usize, usize)>>,
}

impl FunctionTrainer {
    /// Opens a function.
    pub fn new(evaluator: Evaluator, options: &CpuOptions) -> Result<FunctionTrainer, BackendError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(options.thread_count()).build();
        let failed = |error: rayon::ThreadPoolBuildError| BackendError::DeviceFailed {
            device: "processor".to_owned(),
            reason: error.to_string(),
        };
        Ok(FunctionTrainer { evaluator, pool: pool.map_err(failed)?, points: Points::new(0), slots: Vec::new() })
    }
}

impl Trainer for FunctionTrainer {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        if self.slots.iter().all(Option::is_none) {
            self.slots.clear();
            self.points = Points::new(points.width());
        }
        let (first, first_slot) = (self.points.len(), self.slots.len());
        points.rows().for_each(|row| self.points.push(row));
        self.slots.extend(lanes.iter().map(|lane| Some((first + lane.point, lane.fold))));
        Ok((first_slot..self.slots.len()).map(|slot| Slot(slot as u32)).collect())
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
            let place = |slot: &Slot| self.slots.get(slot.0 as usize).copied().flatten();
            self.pool.install(|| {
                let each = values.par_chunks_exact_mut(objectives).zip(slots).with_min_len(64);
                each.try_for_each(|(values, slot)| {
                    let (row, repeat) = place(slot).ok_or(BackendError::NoSuchSlot(slot.0))?;
                    self.evaluator.evaluate(self.points.row(row), repeat, values);
                    Ok(())
                })
            })?;
            let seconds = begun.elapsed().as_secs_f64() / slots.len() as f64;
            for (slot, values) in slots.iter().zip(values.chunks_exact(objectives)) {
                let is_finite = values.iter().all(|value| value.is_finite());
                let status = if is_finite { LaneStatus::Trained } else { LaneStatus::NotFinite };
                let value = |value: f64| if is_finite { value } else { f64::NAN };
                let lane = LaneReport {
                    slot: *slot,
                    status,
                    train: f64::NAN,
                    evals: vec![value(values[0])],
                    others: values[1..].iter().copied().map(value).collect(),
                    used: budget,
                    seconds,
                    gradients: Vec::new(),
                };
                if report(lane).is_break() {
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
        for slot in slots {
            if let Some(place) = self.slots.get_mut(slot.0 as usize) {
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Key;
    use crate::functions::{Noise, find};

    fn trainer(noise: f64) -> FunctionTrainer {
        let noise = Noise { deviation: noise, key: Key::from_seed(3) };
        let evaluator = Evaluator::new(find("zdt1").expect("it is there"), 3, 1, noise);
        FunctionTrainer::new(evaluator, &CpuOptions { threads: 2, ..CpuOptions::default() }).expect("two threads")
    }

    /// What three candidates of two lanes report, the last being the first again.
    fn reports(trainer: &mut FunctionTrainer) -> Vec<(LaneStatus, Vec<u64>)> {
        let points = Points::from_values(3, [[0.2, 0.3, 0.4], [0.5, f64::NAN, 0.5], [0.2, 0.3, 0.4]].concat());
        let lanes: Vec<Lane> = (0..3).flat_map(|point| [0, 1].map(|fold| Lane { point, fold })).collect();
        let slots = trainer.start(&points, &lanes).expect("slots");
        let mut reports = Vec::new();
        let mut report = |lane: LaneReport| {
            let values = lane.evals.iter().chain(&lane.others);
            reports.push((lane.status, values.map(|value| value.to_bits()).collect()));
            ControlFlow::Continue(())
        };
        trainer.advance(&slots, 1, false, &StopFlag::default(), &mut report).expect("values");
        trainer.release(&slots);
        reports
    }

    #[test]
    fn noise_follows_the_point_and_the_repeat_and_nothing_else() {
        let mut noisy = trainer(0.5);
        let first = reports(&mut noisy);
        assert_eq!(first, reports(&mut noisy), "released slots are taken again");
        assert_eq!(first[0], first[4], "equal candidates, equal bits");
        assert_ne!(first[0], first[1], "each repeat has noise of its own");
        assert_ne!(first[0].1[0], first[0].1[1], "each objective too");
        let exact = reports(&mut trainer(0.0));
        assert_eq!(exact[0], exact[1]);
        assert_ne!(exact[0], first[0]);
    }

    #[test]
    fn what_is_not_finite_has_no_value() {
        let reports = reports(&mut trainer(0.1));
        assert_eq!((reports[2].0, reports[3].0), (LaneStatus::NotFinite, LaneStatus::NotFinite));
        assert!(reports[2].1.iter().all(|bits| f64::from_bits(*bits).is_nan()));
        assert_eq!(reports[0].0, LaneStatus::Trained);
    }
}
