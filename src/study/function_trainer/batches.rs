//! Points that go to a GPU in batches, and come back as values: what memory, time and lost devices make of a batch, whatever
//! evaluates its members.

use crate::backend::gpu::{Gpu, Kernel, Resident, ResidentBuffer, ResidentError, Slicer, words};
use crate::backend::{BackendError, StopFlag};
use crate::functions::EvaluationBatch;

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

    /// Members that a batch may have now.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Values `[word][member]` of points `[word][member]`, no more than [`Batches::most`] of them; `None` when the stop flag
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

    /// Says that all that was asked of a batch is there: a loss from here on is the first again.
    pub(super) fn settled(&mut self) {
        self.losses_in_a_row = 0;
    }

    /// After a loss another device, after a lack of memory smaller batches; an error where neither helps.
    pub(super) fn recover(&mut self, error: ResidentError) -> Result<(), BackendError> {
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
