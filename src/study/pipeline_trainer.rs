//! The trainer of a whole study: each lane goes to the trainer of its candidate's pipeline.

use super::pipeline::Pipelines;
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::space::Points;
use std::ops::ControlFlow;

/// One trainer a pipeline, behind one set of slots.
pub(super) struct PipelineTrainer<'a> {
    pipelines: &'a Pipelines,
    trainers: Vec<Box<dyn Trainer + 'a>>,
    /// Where each slot's lane is: a pipeline, and the slot of its trainer.
    slots: Vec<Option<(usize, Slot)>>,
    free: Vec<u32>,
    /// Parameters of the study.
    width: usize,
}

impl<'a> PipelineTrainer<'a> {
    /// `trainers` in the order of the pipelines.
    pub(super) fn new(pipelines: &'a Pipelines, trainers: Vec<Box<dyn Trainer + 'a>>) -> PipelineTrainer<'a> {
        PipelineTrainer { pipelines, trainers, slots: Vec::new(), free: Vec::new(), width: 0 }
    }

    fn place(&self, slot: Slot) -> Result<(usize, Slot), BackendError> {
        self.slots.get(slot.0 as usize).copied().flatten().ok_or(BackendError::NoSuchSlot(slot.0))
    }

    fn take_slot(&mut self, place: (usize, Slot)) -> Slot {
        match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = Some(place);
                Slot(free)
            }
            None => {
                self.slots.push(Some(place));
                Slot(self.slots.len() as u32 - 1)
            }
        }
    }
}

impl Trainer for PipelineTrainer<'_> {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        self.width = points.width();
        let of_point: Vec<usize> = points.rows().map(|row| self.pipelines.index(row)).collect();
        let mut slots = vec![Slot(u32::MAX); lanes.len()];
        for (index, pipeline) in self.pipelines.iter().enumerate() {
            let mine: Vec<usize> = (0..lanes.len()).filter(|lane| of_point[lanes[*lane].point] == index).collect();
            if mine.is_empty() {
                continue;
            }
            let mut own = Points::new(pipeline.space.parameters.len());
            let mut own_place = vec![0; points.len()];
            for point in (0..points.len()).filter(|point| of_point[*point] == index) {
                own_place[point] = own.len();
                own.push(&pipeline.own(points.row(point)));
            }
            let started: Vec<Lane> =
                mine.iter().map(|lane| Lane { point: own_place[lanes[*lane].point], ..lanes[*lane] }).collect();
            let inner = self.trainers[index].start(&own, &started)?;
            for (lane, slot) in mine.into_iter().zip(inner) {
                slots[lane] = self.take_slot((index, slot));
            }
        }
        Ok(slots)
    }

    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        let places = slots.iter().map(|slot| Ok((*slot, self.place(*slot)?))).collect::<Result<Vec<_>, _>>()?;
        for (index, pipeline) in self.pipelines.iter().enumerate() {
            let mut mine: Vec<(Slot, Slot)> = places
                .iter()
                .filter(|(_, (pipeline, _))| *pipeline == index)
                .map(|(outer, (_, inner))| (*inner, *outer))
                .collect();
            if mine.is_empty() {
                continue;
            }
            let inner: Vec<Slot> = mine.iter().map(|(inner, _)| *inner).collect();
            mine.sort_unstable();
            let own = self.pipelines.share(budget, pipeline);
            let (mut flow, width) = (ControlFlow::Continue(()), self.width);
            self.trainers[index].advance(&inner, own, keep, stop, &mut |lane| {
                let Ok(place) = mine.binary_search_by_key(&lane.slot, |(inner, _)| *inner) else { return flow };
                let gradients = lane.gradients.iter().map(|own| pipeline.spread(own, width)).collect();
                if report(LaneReport { slot: mine[place].1, gradients, ..lane }).is_break() {
                    flow = ControlFlow::Break(());
                }
                flow
            })?;
            if flow.is_break() || stop.is_raised() {
                break;
            }
        }
        Ok(())
    }

    fn want_gradients(&mut self, wanted: bool) {
        self.trainers.iter_mut().for_each(|trainer| trainer.want_gradients(wanted));
    }

    fn fork(&mut self, slots: &[Slot]) -> Result<Vec<Slot>, BackendError> {
        let fork = |slot: &Slot| {
            let (pipeline, inner) = self.place(*slot)?;
            let forks = self.trainers[pipeline].fork(&[inner])?;
            let inner = forks.first().copied().ok_or(BackendError::NoSuchSlot(slot.0))?;
            Ok(self.take_slot((pipeline, inner)))
        };
        slots.iter().map(fork).collect()
    }

    fn turn(&mut self, slots: &[Slot], at: u64, points: &Points) -> Result<(), BackendError> {
        for (slot, row) in slots.iter().zip(points.rows()) {
            let (index, inner) = self.place(*slot)?;
            let Some(pipeline) = self.pipelines.iter().nth(index) else { return Err(BackendError::NoSuchSlot(slot.0)) };
            let mut own = Points::new(pipeline.space.parameters.len());
            own.push(&pipeline.own(row));
            self.trainers[index].turn(&[inner], self.pipelines.share(at, pipeline), &own)?;
        }
        Ok(())
    }

    fn want_states(&mut self, wanted: bool) {
        self.trainers.iter_mut().for_each(|trainer| trainer.want_states(wanted));
    }

    fn want_training_scores(&mut self, wanted: bool) {
        self.trainers.iter_mut().for_each(|trainer| trainer.want_training_scores(wanted));
    }

    fn thaw(&mut self, slot: Slot, had: u64, state: &[u8]) -> bool {
        let Ok((index, inner)) = self.place(slot) else { return false };
        let Some(pipeline) = self.pipelines.iter().nth(index) else { return false };
        self.trainers[index].thaw(inner, self.pipelines.share(had, pipeline), state)
    }

    fn read_back(&mut self, slot: Slot) -> Result<Weights, BackendError> {
        let (pipeline, inner) = self.place(slot)?;
        self.trainers[pipeline].read_back(inner)
    }

    fn release(&mut self, slots: &[Slot]) {
        for slot in slots {
            let Some(place) = self.slots.get_mut(slot.0 as usize) else { continue };
            if let Some((pipeline, inner)) = place.take() {
                self.trainers[pipeline].release(&[inner]);
                self.free.push(slot.0);
            }
        }
    }
}
