//! What schedulers share that judge every candidate for itself: a batch climbs all rungs, and at each of them a rule says who
//! does not go on.

use super::rungs::alone;
use super::{Reached, Round, Scheduler, SchedulerOptions};
use std::collections::HashMap;

/// Who goes on.
pub(super) trait Rule: Send {
    /// Whether a candidate whose values at the rungs so far are `curve`, no NaN among them, goes on.
    fn goes_on(&self, curve: &[f64]) -> bool;

    /// Hears the values at every rung of some candidates that have had their whole budget.
    fn learn(&mut self, _curves: &[Vec<f64>]) {}
}

/// A batch after the other under a rule.
pub(super) struct Stopping<R> {
    rule: R,
    /// Every rung's budget.
    budgets: Vec<u64>,
    /// The rung that the batch has reached, where some of it stand there still.
    rung: usize,
    /// Values of those who climb, by candidate.
    curves: HashMap<u64, Vec<f64>>,
}

impl<R: Rule> Stopping<R> {
    pub(super) fn new(options: &SchedulerOptions, rule: R) -> Stopping<R> {
        Stopping { rule, budgets: alone(options), rung: 0, curves: HashMap::new() }
    }
}

impl<R: Rule> Scheduler for Stopping<R> {
    fn next(&mut self, room: u64, batch: u64) -> Round {
        let mut ended = Vec::new();
        let mut go_on = Vec::new();
        if let [had, budget, ..] = self.budgets[self.rung..] {
            self.curves.retain(|candidate, curve| {
                let goes_on = self.rule.goes_on(curve);
                if goes_on {
                    go_on.push((*candidate, budget))
                } else {
                    ended.push((*candidate, had))
                }
                goes_on
            });
        }
        ended.sort_unstable();
        go_on.sort_unstable();
        if !go_on.is_empty() {
            self.rung += 1;
            return Round { go_on, ended, ..Round::default() };
        }
        self.rung = 0;
        Round { begin: room.min(batch), budget: self.budgets[0], go_on, ended, ..Round::default() }
    }

    fn report(&mut self, reached: &[Reached]) {
        for one in reached {
            if one.value.is_nan() {
                self.curves.remove(&one.candidate);
            } else {
                self.curves.entry(one.candidate).or_default().push(one.value);
            }
        }
        if self.rung + 1 == self.budgets.len() {
            let mut whole: Vec<(u64, Vec<f64>)> = self.curves.drain().collect();
            whole.sort_unstable_by_key(|(candidate, _)| *candidate);
            self.rule.learn(&whole.into_iter().map(|(_, curve)| curve).collect::<Vec<_>>());
        }
    }
}
