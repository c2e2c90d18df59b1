//! Lanes' states as bytes: reported with their scores, and put back into started slots of another process.

use super::kept::KeptGroup;
use super::{CpuTrainer, Job, SlotState};
use crate::backend::Slot;
use crate::backend::cpu::LaneModel;
use crate::backend::state;

impl<M: LaneModel> CpuTrainer<M> {
    /// The state of a job's lane after `had` units of budget, if states are wanted and the model has any.
    pub(super) fn frozen(&self, job: &Job<M>, group: &M::Group, lane: usize, had: u64) -> Option<Vec<u8>> {
        if !self.wants_states {
            return None;
        }
        let bytes = self.model.freeze(self.fold(job.fold), group, lane)?;
        Some(state::seal(kind::<M>(job.fold, had), &bytes))
    }

    /// Lets a started lane stand where a state says; whether it does.
    pub(super) fn thaw_slot(&mut self, slot: Slot, had: u64, bytes: &[u8]) -> bool {
        let Some(SlotState::Started { params, fold, .. }) = self.slots.get(slot.0 as usize) else { return false };
        let (fold, params) = (*fold, self.params_at(slot, params, had));
        let Some(bytes) = state::unseal(kind::<M>(fold, had), bytes) else { return false };
        // What has no room is not made at all.
        let need = self.model.bytes(self.fold(fold), std::slice::from_ref(&params));
        if self.kept.bytes().saturating_add(need) > self.memory {
            return false;
        }
        let Some(state) = self.model.thaw(self.fold(fold), &params, bytes) else { return false };
        let group = self.kept.insert(KeptGroup { state, params: vec![params], had, bytes: need, users: 1 });
        self.slots[slot.0 as usize] = SlotState::Trained { group, lane: 0, fold };
        true
    }
}

/// What the states of a model's lanes are.
fn kind<M: LaneModel>(fold: usize, had: u64) -> u64 {
    state::kind("cpu", std::any::type_name::<M>(), fold, had)
}
