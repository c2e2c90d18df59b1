//! No early stopping: every candidate gets the whole budget.

use super::{Reached, Round, Scheduler, SchedulerEntry, SchedulerOptions};
use crate::base::registry::Named;

/// The registry entry.
pub struct FullBudget;

impl Named for FullBudget {
    fn name(&self) -> &'static str {
        "full"
    }
    fn summary(&self) -> &'static str {
        "every candidate gets the whole budget"
    }
}

impl SchedulerEntry for FullBudget {
    fn ends_early(&self) -> bool {
        false
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        Box::new(Full(options.budget))
    }
}

struct Full(u64);

impl Scheduler for Full {
    fn next(&mut self, room: u64, batch: u64) -> Round {
        Round { begin: room.min(batch), budget: self.0, ..Round::default() }
    }

    fn report(&mut self, _: &[Reached]) {}
}
