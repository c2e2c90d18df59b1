//! Lanes' states as bytes: read from the device with their scores, and put back into started slots of another process.

use super::{Batch, GpuTrainer, Home};
use crate::backend::Slot;
use crate::backend::gpu::plan::{GpuPlan, Progress, words};
use crate::backend::gpu::session::{Fault, Session};
use crate::backend::state;
use std::sync::Arc;

/// Words of a lane's progress, which stand before those of its state.
const PROGRESS_WORDS: usize = size_of::<Progress>() / 4;

/// What the states of a plan's lanes are.
fn kind<P>(fold: usize, had: u64) -> u64 {
    state::kind("gpu", std::any::type_name::<P>(), fold, had)
}

/// A lane's state after `had` units of budget.
pub(super) fn to_bytes<P>(fold: usize, had: u64, progress: Progress, state: &[u32]) -> Vec<u8> {
    let all = words(&progress).into_iter().chain(state.iter().copied());
    let bytes: Vec<u8> = all.flat_map(u32::to_le_bytes).collect();
    state::seal(kind::<P>(fold, had), &bytes)
}

impl Batch {
    /// The words of all its lanes' states. `None` where the memory does not reach for a copy: then it does not for one on a disk.
    pub(super) fn read_states(&self, session: &Session) -> Result<Option<Vec<u32>>, Fault> {
        match session.read(&self.state, 0, self.state_words as usize) {
            Err(Fault::OutOfMemory(_)) => Ok(None),
            words => words.map(Some),
        }
    }
}

impl<P: GpuPlan> GpuTrainer<P> {
    /// Lets a started lane stand where a state says; whether it does.
    pub(super) fn thaw_slot(&mut self, slot: Slot, had: u64, bytes: &[u8]) -> bool {
        let kept = self.kept_bytes();
        let Some(lane) = self.slots.get(&slot.0).filter(|lane| lane.home.is_none() && had > 0) else { return false };
        let Some(bytes) = state::unseal(kind::<P>(lane.fold, had), bytes) else { return false };
        let (bytes, rest) = bytes.as_chunks::<4>();
        let all: Vec<u32> = bytes.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let Some((progress, words)) = all.split_at_checked(PROGRESS_WORDS) else { return false };
        let has_room = kept.saturating_add(lane.first.bytes()) <= self.gpu.kept_bytes();
        if !rest.is_empty() || words.len() as u64 != lane.first.state_words || !has_room {
            return false;
        }
        // A device that was lost shows when the lane is trained.
        if self.resident.is_none() && self.settle().is_err() {
            return false;
        }
        let Some(resident) = &self.resident else { return false };
        let Ok(buffer) = resident.session.upload("state", words) else { return false };
        let progress = bytemuck::pod_collect_to_vec::<u32, Progress>(progress).first().copied().unwrap_or_default();
        if let Some(lane) = self.slots.get_mut(&slot.0) {
            (lane.done, lane.home) = (had, Some(Home { state: Arc::new(buffer), word: 0, progress }));
        }
        true
    }
}
