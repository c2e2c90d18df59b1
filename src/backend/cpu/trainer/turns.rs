//! Lanes that go on with other hyperparameters than they began with: forks of others, and turns on the way.
//!
//! A lane that is trained again, because there was no room for it where it stood, takes the same turns again.

use super::{CpuTrainer, Job, SlotState};
use crate::backend::cpu::LaneModel;
use crate::backend::cpu::lane_model::LaneProgress;
use crate::backend::{BackendError, Slot, StopFlag};
use crate::space::Points;

/// What a lane is trained with that does not keep what it begins with.
#[derive(Debug, Clone)]
pub(super) struct Recipe<P> {
    /// At its beginning.
    pub(super) first: P,
    /// From so many units of budget on; ascending.
    turns: Vec<(u64, P)>,
}

/// A lane of a job that turns, by its place there, and the units of budget that it has had then.
pub(super) type Turn<P> = (u64, usize, P);

impl<M: LaneModel> CpuTrainer<M> {
    /// A second slot for the lane of each of these.
    pub(super) fn fork_slots(&mut self, slots: &[Slot]) -> Result<Vec<Slot>, BackendError> {
        let fork = |slot: &Slot| {
            let state = match self.slots.get(slot.0 as usize) {
                Some(SlotState::Started { params, fold, had }) => {
                    SlotState::Started { params: params.clone(), fold: *fold, had: *had }
                }
                Some(&SlotState::Trained { group, lane, fold }) if self.kept.get(group).is_some() => {
                    self.kept.join(group);
                    SlotState::Trained { group, lane, fold }
                }
                _ => return Err(BackendError::NoSuchSlot(slot.0)),
            };
            let fork = self.take_slot(state);
            if let Some(recipe) = self.recipes.get(&slot.0).cloned() {
                self.recipes.insert(fork.0, recipe);
            }
            Ok(fork)
        };
        slots.iter().map(fork).collect()
    }

    /// Lets lanes turn at `at` units, each to its row of `points`.
    pub(super) fn turn_slots(&mut self, slots: &[Slot], at: u64, points: &Points) -> Result<(), BackendError> {
        for (slot, row) in slots.iter().zip(points.rows()) {
            let params = self.model.params(row);
            let present = match self.slots.get(slot.0 as usize) {
                Some(SlotState::Started { params, .. }) => params.clone(),
                Some(SlotState::Trained { group, lane, .. }) => match self.kept.get(*group) {
                    Some(kept) => kept.params[*lane].clone(),
                    None => return Err(BackendError::NoSuchSlot(slot.0)),
                },
                _ => return Err(BackendError::NoSuchSlot(slot.0)),
            };
            let recipe = self.recipes.entry(slot.0).or_insert_with(|| Recipe { first: present, turns: Vec::new() });
            recipe.turns.push((at, params));
        }
        Ok(())
    }

    /// Sends groups that stand back to their beginnings, the last ones first, where there is no room for all of them: forks take
    /// as much again as those that they come from.
    pub(super) fn send_back(&mut self, jobs: &mut [Job<M>], budget: u64) {
        let bytes = |trainer: &Self, job: &Job<M>| trainer.model.bytes(trainer.fold(job.fold), &job.params);
        let standing = jobs.iter().filter(|job| job.state.is_some());
        let mut taken = standing.map(|job| bytes(self, job)).fold(0, u64::saturating_add);
        for job in jobs.iter_mut().rev().filter(|job| job.state.is_some()) {
            if taken <= self.memory {
                return;
            }
            taken -= bytes(self, job);
            let (fold, slots) = (job.fold, std::mem::take(&mut job.slots));
            let first = slots.iter().zip(&job.params).map(|(slot, params)| self.first_params(*slot, params.clone()));
            let params: Vec<M::Params> = first.collect();
            for (slot, params) in slots.iter().zip(&params) {
                self.slots[slot.0 as usize] = SlotState::Started { params: params.clone(), fold, had: 0 };
            }
            let turns = self.turns(&slots, 0, budget);
            *job = Job { turns, ..Job::fresh(fold, slots, params) };
        }
    }

    /// What a lane begins with when it is trained anew, if it stands with `params`.
    pub(super) fn first_params(&self, slot: Slot, params: M::Params) -> M::Params {
        self.recipes.get(&slot.0).map_or(params, |recipe| recipe.first.clone())
    }

    /// What a lane that begins with `params` is trained with when it has had so much, before it turns there.
    pub(super) fn params_at(&self, slot: Slot, params: &M::Params, had: u64) -> M::Params {
        let turns = self.recipes.get(&slot.0).into_iter().flat_map(|recipe| &recipe.turns);
        turns.take_while(|(at, _)| *at < had).last().map_or(params, |(_, params)| params).clone()
    }

    /// The turns that a job's lanes take on their way to a budget, in their order.
    pub(super) fn turns(&self, slots: &[Slot], had: u64, budget: u64) -> Vec<Turn<M::Params>> {
        if self.recipes.is_empty() {
            return Vec::new();
        }
        let of_lane = |(lane, slot): (usize, &Slot)| {
            let turns = self.recipes.get(&slot.0).into_iter().flat_map(|recipe| &recipe.turns);
            turns.filter(|(at, _)| (had..budget).contains(at)).map(move |(at, params)| (*at, lane, params.clone()))
        };
        let mut turns: Vec<Turn<M::Params>> = slots.iter().enumerate().flat_map(of_lane).collect();
        turns.sort_by_key(|(at, lane, _)| (*at, *lane));
        turns
    }

    /// Advances a job's group to a budget, and lets its lanes turn on the way; `None` if it was left because of a stop. A turn
    /// that is taken again changes nothing.
    pub(super) fn walk_by_turns(
        &self,
        fold: &M::Fold,
        job: &mut Job<M>,
        group: &mut M::Group,
        budget: u64,
        stop: &StopFlag,
    ) -> Option<Vec<LaneProgress>> {
        let mut had = job.had;
        for turns in job.turns.chunk_by(|a, b| a.0 == b.0) {
            if let Some((at, ..)) = turns.first().filter(|(at, ..)| *at > had) {
                self.walk(fold, group, had, *at, stop)?;
                had = *at;
            }
            for (_, lane, params) in turns {
                self.model.turn(fold, group, *lane, params);
                job.params[*lane] = params.clone();
            }
        }
        self.walk(fold, group, had, budget, stop)
    }
}
