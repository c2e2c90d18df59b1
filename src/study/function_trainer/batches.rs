//! Points that go to a GPU in batches, and come back as values: what memory, time and lost devices make of a batch, whatever
//! evaluates its members.

use super::{Lanes, report_of};
use crate::backend::gpu::{Gpu, Kernel, Resident, ResidentBuffer, ResidentError, Slicer, words};
use crate::backend::{BackendError, LaneReport, LaneStatus, Slot, StopFlag};
use crate::functions::EvaluationBatch;
use std::ops::ControlFlow;
use std::time::Instant;

/// Members of a batch at most: enough to fill any device, few enough that reports are not far apart.
const MOST_MEMBERS: usize = 1 << 20;
/// Members of the first batch, and of the least one that memory running out leads to.
const LEAST_MEMBERS: usize = 64;
/// Buffers of the kernel by their numbers.
const BATCH: usize = 0;
const POINTS: usize = 1;
const VALUES: usize = 4;
/// The word of an [`EvaluationBatch`] that says whether loops were cut.
const CUT: u64 = 2;

/// A kernel that evaluates the members of a batch. It binds an [`EvaluationBatch`]; points, `[word][member]`; constants;
/// scratch words, `[word][member]`; and values, `[word][member]`.
pub(super) struct Plan {
    pub(super) kernel: Kernel,
    /// Members of a workgroup.
    pub(super) workgroup: u32,
    /// Words of a point.
    pub(super) words: usize,
    /// What all members share.
    pub(super) constants: Vec<u32>,
    /// Words that a member needs on the way.
    pub(super) scratch: usize,
    /// Words that come back of a member.
    pub(super) values: usize,
}

/// How the members of a batch lie on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As many in a workgroup as it has invocations.
    Dense,
    /// Each in a workgroup of its own, where none shares a loop with it.
    Apart,
}

/// An opened kernel, and the device that it runs on.
pub(super) struct Batches {
    gpu: Gpu,
    plan: Plan,
    room: Option<Room>,
    /// Members that a batch may have: what fits, halved when memory runs out.
    most: usize,
    /// Devices lost so far, and how many of them since the last whole batch.
    losses: usize,
    losses_in_a_row: usize,
}

/// The kernel with buffers for so many members.
struct Room {
    resident: Resident,
    members: usize,
    dense: Slicer,
    apart: Slicer,
}

/// What evaluates lanes on a device, a batch of them at a time.
pub(super) trait Evaluate {
    /// What comes back of a batch.
    type Found;

    fn batches(&mut self) -> &mut Batches;

    fn lanes(&self) -> &Lanes;

    /// Evaluates lanes at these rows of the points and of these repeats; `None` when the stop flag was raised.
    fn evaluate(&mut self, places: &[(usize, usize)], stop: &StopFlag) -> Result<Option<Self::Found>, ResidentError>;

    /// Puts into `values` those of the batch's lane of this number, which has this place. Why it has none, if it has none.
    fn values(
        &self,
        found: &Self::Found,
        number: usize,
        place: (usize, usize),
        values: &mut Vec<f64>,
    ) -> Option<String>;

    /// What a device could not do, in words that are of help here.
    fn explained(error: BackendError) -> BackendError {
        error
    }
}

/// Evaluates lanes batch by batch, and reports those of a batch that is whole.
pub(super) fn advance<E: Evaluate>(
    evaluator: &mut E,
    slots: &[Slot],
    budget: u64,
    stop: &StopFlag,
    report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
) -> Result<(), BackendError> {
    let mut waiting = slots;
    let mut values = Vec::new();
    while !waiting.is_empty() && !stop.is_raised() {
        let begun = Instant::now();
        let (batch, others) = waiting.split_at(waiting.len().min(evaluator.batches().most));
        let places = batch.iter().map(|slot| evaluator.lanes().place(*slot)).collect::<Result<Vec<_>, _>>()?;
        let found = match evaluator.evaluate(&places, stop) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => {
                evaluator.batches().recover(error).map_err(E::explained)?;
                continue;
            }
        };
        // All that was asked of it is there: a loss from here on is the first again.
        evaluator.batches().losses_in_a_row = 0;
        waiting = others;
        let seconds = begun.elapsed().as_secs_f64() / batch.len() as f64;
        let mut flow = ControlFlow::Continue(());
        for (number, (slot, place)) in batch.iter().zip(places).enumerate() {
            let failure = evaluator.values(&found, number, place, &mut values);
            let status = failure.as_ref().map(|_| LaneStatus::Failed);
            if status.is_some() {
                values.fill(f64::NAN);
            }
            let lane = report_of(*slot, &values, budget, seconds);
            let lane = LaneReport { status: status.unwrap_or(lane.status), failure, ..lane };
            // The batch is whole: each of its lanes is reported, even if the first report ends the run.
            if report(lane).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        if flow.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

impl Plan {
    fn workgroups(&self, members: usize, layout: Layout) -> u64 {
        match layout {
            Layout::Dense => (members as u64).div_ceil(u64::from(self.workgroup)),
            Layout::Apart => members as u64,
        }
    }
}

impl Room {
    fn new(gpu: &Gpu, plan: &Plan, members: usize) -> Result<Room, ResidentError> {
        let words_of = |each: usize| (each as u64).saturating_mul(members as u64);
        let buffers = vec![
            ResidentBuffer::of_words("batch", size_of::<EvaluationBatch>() as u64 / 4),
            ResidentBuffer::of_words("points", words_of(plan.words)),
            ResidentBuffer::holding("constants", plan.constants.clone()),
            ResidentBuffer::of_words("scratch", words_of(plan.scratch)),
            ResidentBuffer::of_words("values", words_of(plan.values)),
        ];
        let resident = Resident::new(gpu, buffers, vec![plan.kernel.clone()])?;
        let slicer = |layout| Slicer::new(plan.workgroups(members, layout), 1, &gpu.options().provoked);
        Ok(Room { resident, members, dense: slicer(Layout::Dense), apart: slicer(Layout::Apart) })
    }

    fn evaluate(
        &mut self,
        points: &[u32],
        plan: &Plan,
        layout: Layout,
        stop: &StopFlag,
    ) -> Result<Option<Vec<u32>>, ResidentError> {
        let members = points.len() / plan.words.max(1);
        let are_apart = u32::from(layout == Layout::Apart);
        let batch = EvaluationBatch { first_group: 0, members: members as u32, are_loops_cut: 0, are_apart };
        self.resident.write(BATCH, 0, &words(&batch))?;
        self.resident.write(POINTS, 0, points)?;
        let all = plan.workgroups(members, layout);
        let slicer = match layout {
            Layout::Dense => &mut self.dense,
            Layout::Apart => &mut self.apart,
        };
        let mut first = 0;
        while first < all {
            if stop.is_raised() {
                return Ok(None);
            }
            let groups = slicer.lanes().min(all - first);
            self.resident.write(BATCH, 0, &[first as u32])?;
            let seconds = self.resident.run(&[(0, groups as u32)])?;
            slicer.record(1, groups, seconds);
            first += groups;
        }
        if self.resident.read(BATCH, CUT, 1)?.first() != Some(&0) {
            return Err(self.resident.gpu().loops_cut().into());
        }
        self.resident.read(VALUES, 0, members * plan.values).map(Some)
    }
}

impl Batches {
    /// Compiles the kernel, and uploads what all members share.
    pub(super) fn open(gpu: &Gpu, plan: Plan) -> Result<Batches, BackendError> {
        let words = (plan.words + plan.scratch + plan.values).max(1) as u64;
        let most = (gpu.batch_bytes() / (4 * words)).clamp(1, MOST_MEMBERS as u64) as usize;
        let mut batches = Batches { gpu: gpu.clone(), plan, room: None, most, losses: 0, losses_in_a_row: 0 };
        while batches.room.is_none() {
            match batches.make_room(1) {
                Ok(room) => batches.room = Some(room),
                Err(error) => batches.recover(error)?,
            }
        }
        Ok(batches)
    }

    /// Values `[word][member]` of points `[word][member]`, no more than a batch may have; `None` when the stop flag
    /// was raised.
    pub(super) fn evaluate(
        &mut self,
        points: &[u32],
        layout: Layout,
        stop: &StopFlag,
    ) -> Result<Option<Vec<u32>>, ResidentError> {
        let mut room = self.make_room(points.len() / self.plan.words.max(1))?;
        let values = room.evaluate(points, &self.plan, layout, stop);
        self.room = Some(room);
        values
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
            ResidentError::Failed(BackendError::DeviceTooSmall { .. }) if self.most > LEAST_MEMBERS => {
                self.most /= 2;
                Ok(())
            }
            ResidentError::Failed(error) => Err(error),
        }
    }

    /// Takes the buffers, or makes others where they are for fewer members.
    fn make_room(&mut self, members: usize) -> Result<Room, ResidentError> {
        match self.room.take() {
            Some(room) if room.members >= members => Ok(room),
            _ => {
                let members = members.max(LEAST_MEMBERS).next_power_of_two().min(self.most);
                Room::new(&self.gpu, &self.plan, members)
            }
        }
    }
}
