//! No early stopping: every candidate gets the whole budget.

use super::{Scheduler, SchedulerEntry};
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
    fn open(&self, budget: u64) -> Box<dyn Scheduler> {
        Box::new(Full(budget))
    }
}

struct Full(u64);

impl Scheduler for Full {
    fn admit(&mut self, _: u64) -> u64 {
        self.0
    }
}
