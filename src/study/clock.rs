//! Where the time of a session went: seconds by phase.

use super::events::{Event, Observers, Phase};
use indexmap::IndexMap;
use std::time::Instant;

/// Seconds by phase.
#[derive(Debug, Default)]
pub(super) struct Clock {
    spent: Vec<(Phase, f64)>,
    current: Option<(Phase, Instant)>,
}

impl Clock {
    /// Ends the phase before and begins another, which everyone hears of.
    pub(super) fn enter(&mut self, phase: Phase, observers: &mut Observers) {
        self.leave();
        self.current = Some((phase, Instant::now()));
        observers.notify(&Event::Phase(phase));
    }

    fn leave(&mut self) {
        if let Some((phase, began)) = self.current.take() {
            self.spent.push((phase, began.elapsed().as_secs_f64()));
        }
    }

    /// Every phase's seconds, and their sum as `total`.
    pub(super) fn seconds(&mut self) -> IndexMap<String, f64> {
        self.leave();
        let mut seconds: IndexMap<String, f64> = IndexMap::new();
        for (phase, spent) in &self.spent {
            *seconds.entry(phase.name().to_owned()).or_default() += spent;
        }
        let total = seconds.values().sum();
        seconds.insert("total".to_owned(), total);
        seconds
    }
}
