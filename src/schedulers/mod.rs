//! Layer 3: schedulers, which say how much budget a candidate gets. One file and one line in [`SCHEDULERS`] each.

mod full;

use crate::base::registry::{self, Named, UnknownName};

/// Gives budgets to candidates. It sees no study.
pub trait Scheduler: Send {
    /// The budget that a candidate's lanes are trained to, in the model's unit.
    fn admit(&mut self, candidate: u64) -> u64;
}

/// A scheduler in the registry.
pub trait SchedulerEntry: Named {
    /// Opens it for lanes whose full budget is `budget`.
    fn open(&self, budget: u64) -> Box<dyn Scheduler>;
}

/// Every scheduler.
pub static SCHEDULERS: &[&dyn SchedulerEntry] = &[&full::FullBudget];

/// Finds a scheduler by name.
pub fn find(name: &str) -> Result<&'static dyn SchedulerEntry, UnknownName> {
    registry::find("scheduler", SCHEDULERS, name)
}
