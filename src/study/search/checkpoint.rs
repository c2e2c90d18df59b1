//! Lanes that stand on a rung, kept on the disk where `[run] checkpoint` asks for it: written with their outcomes, and gone on
//! from where a run is resumed.

use super::Search;
use super::training::Leg;
use crate::backend::{Slot, Trainer};
use crate::study::events::{Event, Observers};
use crate::study::history::Trial;
use crate::study::lane_states::{LaneStates, Standing};
use crate::study::recipe::Recipe;
use std::collections::HashMap;

/// What a search keeps of its lanes.
#[derive(Default)]
pub(super) struct Checkpoint {
    /// `None` where nobody asked, or where there is no room for it any more.
    states: Option<LaneStates>,
    /// States that were reported, by candidate and lane, until their candidate is journalled.
    reported: HashMap<u64, Vec<Option<Vec<u8>>>>,
    /// What the user should hear of.
    trouble: Option<String>,
}

impl Checkpoint {
    /// Takes a lane's state, if it has one.
    pub(super) fn take(&mut self, candidate: u64, lane: usize, lanes: usize, state: Option<Vec<u8>>) {
        let Some(state) = state.filter(|_| self.states.is_some()) else { return };
        let of_lanes = self.reported.entry(candidate).or_insert_with(|| vec![None; lanes]);
        if let Some(place) = of_lanes.get_mut(lane) {
            *place = Some(state);
        }
    }

    /// Goes on without: what the run needs is in the journal, which the room on the disk is for.
    fn give_up(&mut self, error: &std::io::Error) {
        self.reported.clear();
        let Some(states) = self.states.take() else { return };
        self.trouble = Some(format!(
            "states of lanes are kept no longer, and the run goes on without: {}: {error}\n  Where it is resumed, lanes are trained from their beginning",
            states.path().display()
        ));
        states.delete();
    }
}

impl Search<'_> {
    /// Keeps lanes' states in a file, and goes on from those that it has.
    pub(in crate::study) fn keep_states(&mut self, states: LaneStates) {
        self.checkpoint.states = Some(states);
    }

    /// Whether trainers are to report states.
    pub(super) fn wants_states(&self) -> bool {
        self.checkpoint.states.is_some()
    }

    /// Keeps the states of candidates that have come to a rung, before the journal has their outcomes: a state alone does no harm.
    pub(super) fn keep_standing(&mut self, on_the_way: &[Trial], budget: u64) {
        let Checkpoint { states, reported, .. } = &mut self.checkpoint;
        let Some(file) = states else { return };
        let mut written = Ok(());
        for trial in on_the_way {
            let states: Option<Vec<Vec<u8>>> =
                reported.remove(&trial.candidate).and_then(|states| states.into_iter().collect());
            let Some(states) = states else { continue };
            let recipe = self.study.recipe(&self.history, trial.candidate);
            let standing = Standing { had: budget, seconds: trial.seconds, used: trial.used.clone(), states };
            written = written.and_then(|()| file.write(trial.candidate, &recipe, &standing));
        }
        if let Err(error) = written {
            self.checkpoint.give_up(&error);
        }
    }

    /// Nobody goes on from where these candidates stand.
    pub(super) fn forget_standing(&mut self, candidates: impl Iterator<Item = u64>) {
        let Some(states) = &mut self.checkpoint.states else { return };
        candidates.for_each(|candidate| states.forget(candidate));
    }

    /// Lets the started lanes of a candidate go on from where they stood when they were last written, if they were.
    pub(super) fn thaw(
        &mut self,
        recipe: &Recipe,
        budget: u64,
        slots: &[Slot],
        leg: &mut Leg,
        trainer: &mut dyn Trainer,
    ) {
        let Some(states) = self.checkpoint.states.as_mut() else { return };
        let Some(found) = states.find(recipe, budget).filter(|found| found.states.len() == slots.len()) else { return };
        let had = self.axis.of_lane(found.had);
        let mut stand = 0;
        leg.used = vec![0; slots.len()];
        for (lane, (slot, state)) in slots.iter().zip(&found.states).enumerate() {
            if trainer.thaw(*slot, had, state) {
                leg.used[lane] = found.used[lane];
                stand += 1;
            }
        }
        if stand == slots.len() {
            (leg.had, leg.seconds) = (found.had, found.seconds);
        }
    }

    /// Ends what a training leaves over, and says what went wrong.
    pub(super) fn settle_states(&mut self, is_whole: bool, observers: &mut Observers) {
        self.checkpoint.reported.clear();
        // In the middle of a round of a population somebody may have yet to take over what others have left behind.
        let states = self.checkpoint.states.as_mut().filter(|_| is_whole);
        if let Some(Err(error)) = states.map(LaneStates::tidy) {
            self.checkpoint.give_up(&error);
        }
        if let Some(trouble) = self.checkpoint.trouble.take() {
            observers.notify(&Event::Note(trouble));
        }
    }
}
