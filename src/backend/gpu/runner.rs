//! Walks a batch of lanes through training and scoring, and before the first a plan's prologue, in dispatches that fit
//! the time limit.

use super::Provoked;
use super::kernel::Role;
use super::plan::{GpuPlan, LANE_RUNNING, Phase, Prologue, Span, words};
use super::session::{Buffer, Fault, Pass, Pipeline, Took};
use super::slices::Slicer;
use super::trainer::{Batch, Resident};
use crate::backend::StopFlag;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of window that are on the device at a time.
const WINDOW_BYTES: u64 = 64 << 20;

/// How far a device has come in a plan's prologue.
pub(super) struct Opening {
    passes: Vec<(Prologue, Arc<Pipeline>)>,
    /// Passes done, and workgroups of the one at hand.
    done: (usize, u32),
}

impl Opening {
    /// Nothing is done yet.
    pub(super) fn new(passes: Vec<Prologue>, pipelines: Vec<Arc<Pipeline>>) -> Opening {
        Opening { passes: passes.into_iter().zip(pipelines).collect(), done: (0, 0) }
    }
}

impl Resident {
    /// Goes on with the prologue to its end; false when the stop flag was raised before.
    pub(super) fn open(&mut self, stop: &StopFlag, provoked: &Provoked) -> Result<bool, Fault> {
        while let Some((pass, pipeline)) = self.opening.passes.get(self.opening.done.0) {
            let mut slicer = Slicer::new(u64::from(pass.workgroups), 1, provoked);
            let mut first = self.opening.done.1;
            while first < pass.workgroups {
                if stop.is_raised() {
                    self.opening.done.1 = first;
                    return Ok(false);
                }
                let until = u64::from(first) + slicer.lanes();
                let until = until.min(u64::from(pass.workgroups)) as u32;
                let span = Span { first_lane: first, lanes: until, ..Span::default() };
                self.session.write(&self.span, 0, &words(&span))?;
                let bindings = pass.kernel.bindings.iter().filter_map(|binding| self.buffer(binding.role)).collect();
                let took = self.session.run(&[Pass { pipeline, bindings, workgroups: until - first }])?;
                slicer.record(1, u64::from(until - first), took.wall);
                first = until;
            }
            self.opening.done = (self.opening.done.0 + 1, 0);
        }
        Ok(true)
    }
}

/// Walks one batch through its phases.
pub(super) struct Runner<'a, P> {
    pub(super) resident: &'a mut Resident,
    pub(super) batch: &'a Batch,
    pub(super) plan: &'a P,
    /// The unit at which training ends, the lead-in included.
    pub(super) budget: u64,
    pub(super) stop: &'a StopFlag,
    /// Ticks of the largest dispatch so far of the phase at hand.
    pub(super) largest: (Phase, u64),
}

impl<P: GpuPlan> Runner<'_, P> {
    /// Trains lanes through these units; false when the stop flag was raised.
    pub(super) fn train(&mut self, units: Range<u64>, mut slicer: Slicer) -> Result<bool, Fault> {
        let ticks = self.plan.ticks_per_unit(Phase::Train).max(1);
        self.largest = (Phase::Train, 0);
        let mut at = units.start * ticks;
        while at < units.end.saturating_mul(ticks) {
            let window = self.hold(at / ticks, units.end)?;
            let until = (at + slicer.ticks()).min(window.saturating_mul(ticks));
            // A dispatch longer than those before is looked at, so that what a driver cuts short is not trained to its end.
            let is_longest = until - at > self.largest.1;
            if !self.dispatch(Phase::Train, at..until, ticks, &mut slicer)? {
                return Ok(false);
            }
            at = until;
            if (is_longest || self.plan.can_converge()) && self.is_every_lane_done()? {
                break;
            }
        }
        Ok(true)
    }

    /// Scores every row set; false when the stop flag was raised.
    pub(super) fn score(&mut self, mut slicer: Slicer) -> Result<bool, Fault> {
        self.largest = (Phase::Score, 0);
        let mut at = 0;
        while at < self.plan.score_units() {
            let until = (at + slicer.ticks()).min(self.plan.score_units());
            if !self.dispatch(Phase::Score, at..until, 1, &mut slicer)? {
                return Ok(false);
            }
            at = until;
        }
        Ok(true)
    }

    /// Makes the window hold `unit` and gives the first unit up to `end` that it does not hold.
    fn hold(&mut self, unit: u64, end: u64) -> Result<u64, Fault> {
        let per_unit = 4 * self.plan.window_words();
        if per_unit == 0 {
            return Ok(end);
        }
        if !self.resident.window_units.contains(&unit) {
            let room = WINDOW_BYTES.min(self.resident.session.largest_binding());
            let units = unit..end.min(unit + (room / per_unit).max(1));
            self.resident.window = self.resident.session.upload("window", &self.plan.window(units.clone()))?;
            self.resident.window_units = units;
        }
        Ok(self.resident.window_units.end.min(end))
    }

    /// Takes every lane through a slice of ticks, as many lanes at a time as the slicer says; false when the stop flag
    /// was raised.
    fn dispatch(&mut self, phase: Phase, slice: Range<u64>, ticks: u64, slicer: &mut Slicer) -> Result<bool, Fault> {
        let all = self.batch.places.len() as u64;
        self.largest.1 = self.largest.1.max(slice.end - slice.start);
        let mut first = 0;
        while first < all {
            if self.stop.is_raised() {
                return Ok(false);
            }
            let until = (first + slicer.lanes()).min(all);
            let took = self.run(phase, &slice, ticks, first..until)?;
            slicer.record(slice.end - slice.start, until - first, took.wall);
            first = until;
        }
        Ok(true)
    }

    /// One dispatch, and what it took.
    fn run(&self, phase: Phase, slice: &Range<u64>, ticks: u64, lanes: Range<u64>) -> Result<Took, Fault> {
        let span = Span {
            from_unit: (slice.start / ticks) as u32,
            from_part: (slice.start % ticks) as u32,
            until_unit: (slice.end / ticks) as u32,
            until_part: (slice.end % ticks) as u32,
            budget: self.budget.min(u64::from(u32::MAX)) as u32,
            window_unit: self.resident.window_units.start as u32,
            first_lane: lanes.start as u32,
            lanes: lanes.end as u32,
        };
        let resident = &*self.resident;
        resident.session.write(&resident.span, 0, &words(&span))?;
        let pipelines = match phase {
            Phase::Train => &resident.train,
            Phase::Score => &resident.score,
        };
        let passes: Vec<_> = pipelines
            .iter()
            .zip(self.plan.kernels(phase))
            .map(|(pipeline, kernel)| Pass {
                pipeline,
                bindings: kernel.bindings.iter().filter_map(|binding| self.buffer(binding.role)).collect(),
                workgroups: (lanes.end - lanes.start) as u32,
            })
            .collect();
        resident.session.run(&passes)
    }

    fn buffer(&self, role: Role) -> Option<&Buffer> {
        Some(match role {
            Role::Lanes => &self.batch.lanes,
            Role::Progress => &self.batch.progress,
            Role::State => &self.batch.state,
            Role::Results => &self.batch.results,
            role => self.resident.buffer(role)?,
        })
    }

    fn is_every_lane_done(&self) -> Result<bool, Fault> {
        let progress = self.batch.read_progress(&self.resident.session)?;
        Ok(progress.iter().all(|lane| lane.status != LANE_RUNNING || u64::from(lane.unit) >= self.budget))
    }
}
