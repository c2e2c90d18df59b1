//! The method under way of several that search one after the other, and what the ones to come begin with: what a relay and
//! `auto` do alike.

use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::space::Space;
use std::sync::Arc;

/// A method that has taken over at some candidate.
pub(super) struct Leg {
    space: Arc<Space>,
    entry: &'static dyn StrategyEntry,
    strategy: Box<dyn Strategy>,
    /// The id of its first candidate.
    first: u64,
    /// All that was found so far, as long as a method may come that learns from it.
    found: Option<Vec<Outcome>>,
    decisions: Vec<String>,
}

impl Leg {
    /// The first method. `keeps`: whether one may come that learns from what is found.
    pub(super) fn new(
        space: Arc<Space>,
        entry: &'static dyn StrategyEntry,
        options: &StrategyOptions,
        keeps: bool,
    ) -> Leg {
        let (strategy, found) = (entry.open(space.clone(), options), keeps.then(Vec::new));
        Leg { space, entry, strategy, first: 0, found, decisions: Vec::new() }
    }

    /// Goes on with another method from candidate `first` on, and with what was found so far.
    pub(super) fn hand_over(
        &mut self,
        first: u64,
        entry: &'static dyn StrategyEntry,
        options: &StrategyOptions,
        keeps: bool,
        decision: String,
    ) {
        self.decisions.extend(self.strategy.decisions());
        self.decisions.push(decision);
        // The one before is let go first: what it knows may be as large as what was found.
        (self.entry, self.first) = (entry, first);
        self.strategy = entry.open(self.space.clone(), options);
        let found = self.found.take().unwrap_or_default();
        self.strategy.recall(&found);
        self.found = keeps.then_some(found);
    }

    /// Says something to the user.
    pub(super) fn decide(&mut self, decision: String) {
        self.decisions.push(decision);
    }

    pub(super) fn name(&self) -> &'static str {
        self.entry.name()
    }

    /// How many candidates the method has that all come, whatever its share.
    pub(super) fn whole(&self) -> Option<u64> {
        self.size().filter(|_| self.entry.comes_whole())
    }
}

impl Strategy for Leg {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        self.strategy.ask(first - self.first, n)
    }

    /// The method hears of its own candidates, by its own ids.
    fn tell(&mut self, outcomes: &[Outcome]) {
        if let Some(found) = &mut self.found {
            found.extend_from_slice(outcomes);
        }
        if self.first == 0 {
            return self.strategy.tell(outcomes);
        }
        let own = |outcome: &Outcome| {
            let candidate = outcome.candidate.checked_sub(self.first)?;
            Some(Outcome { candidate, ..outcome.clone() })
        };
        self.strategy.tell(&outcomes.iter().filter_map(own).collect::<Vec<Outcome>>());
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        self.strategy.recall(earlier);
        if let Some(found) = &mut self.found {
            found.extend_from_slice(earlier);
        }
    }

    fn decisions(&mut self) -> Vec<String> {
        let mut decisions = std::mem::take(&mut self.decisions);
        decisions.extend(self.strategy.decisions());
        decisions
    }

    /// The method's.
    fn size(&self) -> Option<u64> {
        self.strategy.size()
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::super::generations::testing::{box_space, options, sphere};
    use super::*;

    /// A leg of a sequence that was told of its first candidates.
    fn leg(keeps: bool) -> Leg {
        let entry = find("sobol").expect("it is there");
        let mut leg = Leg::new(Arc::new(box_space(2)), entry, &options(1, 100), keeps);
        let Ask::Proposals(points) = leg.ask(0, 50) else { panic!("a sequence without end") };
        let told: Vec<Outcome> =
            (0..).zip(points.rows()).map(|(id, row)| Outcome::new(id, row.to_vec(), sphere(row))).collect();
        leg.tell(&told);
        leg
    }

    #[test]
    fn what_was_found_is_kept_only_as_long_as_a_method_may_come_that_learns_from_it() {
        let (mut kept, unkept) = (leg(true), leg(false));
        assert_eq!(kept.found.as_ref().map(Vec::len), Some(50));
        assert_eq!(unkept.found, None);
        let next = find("cmaes").expect("it is there");
        kept.hand_over(50, next, &options(2, 50), false, "cmaes goes on".to_owned());
        assert_eq!(kept.decisions(), ["cmaes goes on"]);
        assert_eq!((kept.found.as_ref(), kept.name()), (None, "cmaes"));
        // It begins at the best of what was found, and not with the defaults.
        let Ask::Proposals(points) = kept.ask(50, 6) else { panic!("a search without end") };
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        assert!(median(points.rows().map(sphere).collect()) < sphere(&box_space(2).defaults()));
    }
}
