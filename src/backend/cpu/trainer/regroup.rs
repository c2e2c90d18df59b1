//! Lanes that go on from where they stand: in the group that they are in where all of it goes on, else gathered into other ones.

use super::kept::KeptGroup;
use super::{CpuTrainer, Job, SlotState};
use crate::backend::Slot;
use crate::backend::cpu::LaneModel;
use crate::backend::cpu::lane_model::GroupKey;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A lane of a kept group that goes on without some of its neighbours: its key, its group, its place there, its slot.
type Survivor = (GroupKey, usize, usize, Slot);

impl<M: LaneModel> CpuTrainer<M> {
    /// The jobs of lanes that stand, which are given by fold and kept group.
    pub(super) fn trained_jobs(&mut self, trained: BTreeMap<(usize, usize), Vec<(usize, Slot)>>) -> Vec<Job<M>> {
        let mut jobs = Vec::new();
        // By fold, and by the units that they have had: who walks in step has come as far.
        let mut survivors: BTreeMap<(usize, u64), Vec<Survivor>> = BTreeMap::new();
        for ((fold, group), mut lanes) in trained {
            let Some(kept) = self.kept.get(group) else { continue };
            // Until they are put back they are nowhere: nobody else may take them for lanes that stand.
            lanes.iter().for_each(|(_, slot)| self.slots[slot.0 as usize] = SlotState::Spent);
            lanes.sort_unstable();
            // A lane that was forked has several slots: each takes a copy.
            let is_whole = lanes.len() == kept.params.len() && kept.users == lanes.len();
            if is_whole && lanes.iter().enumerate().all(|(place, (lane, _))| place == *lane) {
                let Some(kept) = self.kept.take(group) else { continue };
                let slots = lanes.into_iter().map(|(_, slot)| slot).collect();
                let (state, had) = (Some(kept.state), kept.had);
                jobs.push(Job { state, had, stood: true, ..Job::fresh(fold, slots, kept.params) });
            } else {
                survivors.entry((fold, kept.had)).or_default().extend(
                    lanes.into_iter().map(|(lane, slot)| (self.model.key(&kept.params[lane]), group, lane, slot)),
                );
            }
        }
        for ((fold, had), mut lanes) in survivors {
            lanes.sort_by(|a, b| b.cmp(a));
            jobs.extend(self.gathered(fold, had, &lanes));
            for (_, group, ..) in lanes {
                self.kept.leave(group);
            }
        }
        jobs
    }

    /// Lanes of a fold that have had as much, in groups of those that may walk in step: neighbours together.
    fn gathered(&self, fold: usize, had: u64, lanes: &[Survivor]) -> Vec<Job<M>> {
        let (prepared, most) = (self.fold(fold), self.group_lanes());
        let gather = |members: &[Survivor]| {
            let sources: Vec<(&KeptGroup<M>, usize)> = members
                .iter()
                .filter_map(|(_, group, lane, _)| self.kept.get(*group).map(|kept| (kept, *lane)))
                .collect();
            let states: Vec<(&M::Group, usize)> = sources.iter().map(|(kept, lane)| (&kept.state, *lane)).collect();
            let slots = members.iter().map(|(.., slot)| *slot).collect();
            let params = sources.iter().map(|(kept, lane)| kept.params[*lane].clone()).collect();
            let state = Some(self.model.gather(prepared, &states));
            Job { state, had, stood: true, ..Job::fresh(fold, slots, params) }
        };
        let groups = lanes.chunk_by(|a, b| a.0.step == b.0.step).flat_map(|alike| alike.chunks(most));
        let groups: Vec<&[Survivor]> = groups.collect();
        self.pool.install(|| groups.into_par_iter().map(gather).collect())
    }
}
