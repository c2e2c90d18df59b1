//! Groups that stand where they were scored, and may go on; and the room that they take beside those in training. What has none
//! begins anew when it goes on: an equal second training gives equal bits.

use super::{CpuTrainer, Job, SlotState};
use crate::backend::Slot;
use crate::backend::cpu::LaneModel;

/// A group whose lanes may be advanced further.
pub(super) struct KeptGroup<M: LaneModel> {
    pub(super) state: M::Group,
    pub(super) params: Vec<M::Params>,
    /// Units of budget that its lanes have had.
    pub(super) had: u64,
    /// Of its state.
    pub(super) bytes: u64,
    /// How many slots still point at it.
    pub(super) users: usize,
}

/// All of a trainer's.
pub(super) struct Kept<M: LaneModel> {
    groups: Vec<Option<KeptGroup<M>>>,
    free: Vec<usize>,
    bytes: u64,
}

impl<M: LaneModel> Default for Kept<M> {
    fn default() -> Kept<M> {
        Kept { groups: Vec::new(), free: Vec::new(), bytes: 0 }
    }
}

impl<M: LaneModel> Kept<M> {
    /// Bytes of all states.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps a group: its number.
    pub(super) fn insert(&mut self, group: KeptGroup<M>) -> usize {
        self.bytes += group.bytes;
        match self.free.pop() {
            Some(number) => {
                self.groups[number] = Some(group);
                number
            }
            None => {
                self.groups.push(Some(group));
                self.groups.len() - 1
            }
        }
    }

    pub(super) fn get(&self, number: usize) -> Option<&KeptGroup<M>> {
        self.groups.get(number).and_then(Option::as_ref)
    }

    /// Takes a group out, whoever points at it.
    pub(super) fn take(&mut self, number: usize) -> Option<KeptGroup<M>> {
        let group = self.groups.get_mut(number)?.take()?;
        self.bytes -= group.bytes;
        self.free.push(number);
        Some(group)
    }

    /// One slot more points at a group.
    pub(super) fn join(&mut self, number: usize) {
        if let Some(Some(group)) = self.groups.get_mut(number) {
            group.users += 1;
        }
    }

    /// One slot less points at a group, which is dropped with the last one.
    pub(super) fn leave(&mut self, number: usize) {
        let Some(Some(group)) = self.groups.get_mut(number) else { return };
        group.users -= 1;
        if group.users == 0 {
            drop(self.take(number));
        }
    }
}

impl<M: LaneModel> CpuTrainer<M> {
    /// Drops the state of a group that was trained where there is no room for it beside those before it.
    pub(super) fn drop_without_room(&self, job: &mut Job<M>, done: &mut u64) {
        if job.state.is_none() || job.stood {
            return;
        }
        let bytes = self.model.bytes(self.fold(job.fold), &job.params);
        let others = [self.kept.bytes(), self.standing, self.in_training, *done];
        let taken = others.into_iter().fold(0, u64::saturating_add);
        if taken.saturating_add(bytes) > self.memory {
            job.state = None;
            job.begins_anew = true;
        } else {
            *done += bytes;
        }
    }

    /// Puts a trained group's lanes back into their slots; without a state they are spent.
    pub(super) fn put_back(&mut self, job: Job<M>) {
        let Job { fold, slots, params, state, had, begins_anew, .. } = job;
        let Some(state) = state else {
            for (slot, params) in slots.into_iter().zip(params) {
                self.slots[slot.0 as usize] = match begins_anew {
                    true => SlotState::Started { params: self.first_params(slot, params), fold, had },
                    false => SlotState::Spent,
                };
            }
            return;
        };
        let bytes = self.model.bytes(self.fold(fold), &params);
        let group = self.kept.insert(KeptGroup { state, params, had, bytes, users: slots.len() });
        for (lane, slot) in slots.into_iter().enumerate() {
            self.slots[slot.0 as usize] = SlotState::Trained { group, lane, fold };
        }
    }

    /// Makes room for the lanes of some jobs: where others that are kept leave too little, these begin anew when they are next
    /// advanced.
    pub(super) fn make_room(&mut self, jobs: &[Job<M>]) {
        let shared = Self::params_by_fold(jobs).into_iter();
        let shared = shared.map(|(fold, lanes)| self.model.shared_bytes(self.fold(fold), &lanes)).max().unwrap_or(0);
        let groups = self.pool.current_num_threads().min(jobs.len()) as u64;
        let standing = jobs.iter().filter(|job| job.state.is_some());
        let standing = standing.map(|job| self.model.bytes(self.fold(job.fold), &job.params)).sum::<u64>();
        self.standing = standing.min(self.memory);
        let fresh = self.largest_group(jobs).saturating_mul(groups).saturating_add(shared);
        self.in_training = fresh.min(self.memory - self.standing);
        for slot in 0..self.slots.len() {
            if self.kept.bytes() <= self.memory - self.standing - self.in_training {
                return;
            }
            if let SlotState::Trained { group, lane, fold } = self.slots[slot]
                && let Some(kept) = self.kept.get(group)
            {
                let params = self.first_params(Slot(slot as u32), kept.params[lane].clone());
                self.slots[slot] = SlotState::Started { params, fold, had: kept.had };
                self.kept.leave(group);
            }
        }
    }
}
