//! Methods that search one after the other: each takes its share of the candidates, and begins with what the ones before it
//! found. One method alone is a relay of one leg, and takes the course that it would take by itself.

use super::generation::GenerationMethod;
use super::leg::Leg;
use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::space::Space;
use std::sync::Arc;

/// One or more methods, in their order.
#[derive(Clone)]
pub struct Relay(Vec<&'static dyn StrategyEntry>);

/// Why a relay cannot search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The method that cannot.
    pub strategy: &'static str,
    /// Why not.
    pub reason: String,
}

impl Relay {
    /// Of these methods; one at least.
    pub fn new(entries: Vec<&'static dyn StrategyEntry>) -> Relay {
        assert!(!entries.is_empty(), "a relay without legs");
        Relay(entries)
    }

    /// The names, in their order.
    pub fn name(&self) -> String {
        self.0.iter().map(|entry| entry.name()).collect::<Vec<_>>().join(", ")
    }

    /// Whether it can be opened anew and asked from any candidate on.
    pub fn begins_anywhere(&self) -> bool {
        matches!(&self.0[..], [only] if only.begins_anywhere())
    }

    /// Why it cannot search this space for so many objectives, if it cannot.
    pub fn refusal(&self, space: &Space, objectives: usize) -> Option<Refusal> {
        let reason = |leg: usize, entry: &dyn StrategyEntry| {
            // What only moves numbers goes on from others' choices.
            let refusal = entry.refusal(space).filter(|_| leg == 0 || !entry.refines());
            let is_single = objectives > 1 && !entry.takes_several_objectives();
            let single = || format!("there are {objectives} objectives, and it heeds one");
            refusal.or_else(|| is_single.then(single))
        };
        let refused = |(leg, entry): (usize, &&'static dyn StrategyEntry)| {
            Some(Refusal { strategy: entry.name(), reason: reason(leg, *entry)? })
        };
        self.0.iter().enumerate().find_map(refused)
    }

    /// Whether proposals depend on outcomes.
    pub fn is_adaptive(&self) -> bool {
        self.0.iter().any(|entry| entry.is_adaptive())
    }

    /// Whether any of them has a use for gradients.
    pub fn uses_gradients(&self) -> bool {
        self.0.iter().any(|entry| entry.uses_gradients())
    }

    /// Whether its course depends on the number of candidates: several methods share it.
    pub fn follows_candidates(&self) -> bool {
        self.0.len() > 1 || self.0.iter().any(|entry| entry.follows_candidates())
    }

    /// Whether its course depends on the time that the search may take.
    pub fn follows_time(&self) -> bool {
        self.0.iter().any(|entry| entry.follows_time())
    }

    /// How it searches by whole generations, if it can: one method alone.
    pub fn generations(&self) -> Option<&'static dyn GenerationMethod> {
        match &self.0[..] {
            [only] => only.generations(),
            _ => None,
        }
    }

    /// Opens it on a space that it does not refuse.
    pub fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        match &self.0[..] {
            [only] => only.open(space, options),
            entries => Box::new(Running::new(entries.to_vec(), space, options.clone())),
        }
    }
}

struct Running {
    entries: Vec<&'static dyn StrategyEntry>,
    options: StrategyOptions,
    /// The place among them of what is run, and what runs it.
    place: usize,
    leg: Leg,
    /// The id of the next leg's first candidate.
    end: u64,
}

impl Running {
    fn new(entries: Vec<&'static dyn StrategyEntry>, space: Arc<Space>, options: StrategyOptions) -> Running {
        let own = own_options(&options, 0, entries.len(), 0);
        let leg = Leg::new(space, entries[0], &own, is_learnt_from(&entries[1..]));
        let end = end_of(&leg, 0, &own, &options);
        Running { entries, options, place: 0, leg, end }
    }

    /// Hands over to the next leg, whose first candidate is `first`.
    fn hand_over(&mut self, first: u64) {
        self.place += 1;
        let (entry, before) = (self.entries[self.place], self.leg.name());
        let own = own_options(&self.options, self.place, self.entries.len(), first);
        let keeps = is_learnt_from(&self.entries[self.place + 1..]);
        let decision = format!("{} goes on after {before}, from candidate {first} on", entry.name());
        self.leg.hand_over(first, entry, &own, keeps, decision);
        self.end = end_of(&self.leg, first, &own, &self.options);
    }

    fn is_last(&self) -> bool {
        self.place + 1 == self.entries.len()
    }
}

/// Whether one of the legs to come learns from what is found.
fn is_learnt_from(to_come: &[&'static dyn StrategyEntry]) -> bool {
    to_come.iter().any(|entry| entry.is_adaptive())
}

/// What the leg in this place is opened with: what is left is shared equally by the legs that are left. Those that end by
/// themselves leave more to the others.
fn own_options(options: &StrategyOptions, place: usize, legs: usize, first: u64) -> StrategyOptions {
    let left = options.candidates.saturating_sub(first);
    let share = left.div_ceil((legs - place) as u64);
    // As much of the time as of the candidates.
    let time = options.time.map(|time| time * share as f64 / options.candidates.max(1) as f64);
    StrategyOptions { key: options.key.child(place as u32), candidates: share, time, ..options.clone() }
}

/// Where a leg hands over that begins at `first`.
fn end_of(leg: &Leg, first: u64, own: &StrategyOptions, options: &StrategyOptions) -> u64 {
    let left = options.candidates.saturating_sub(first);
    first.saturating_add(own.candidates.max(leg.whole().unwrap_or(0).min(left)))
}

impl Strategy for Running {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        loop {
            if first >= self.end && !self.is_last() {
                self.hand_over(first);
            }
            let n = match self.is_last() {
                true => n,
                false => n.min(usize::try_from(self.end - first).unwrap_or(n)),
            };
            match self.leg.ask(first, n) {
                Ask::Done if !self.is_last() => self.hand_over(first),
                answer => return answer,
            }
        }
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        self.leg.tell(outcomes);
    }

    fn recall(&mut self, earlier: &[Outcome]) {
        self.leg.recall(earlier);
    }

    fn size(&self) -> Option<u64> {
        // The last leg may have an end of its own, but where it begins is not known before.
        None
    }

    fn decisions(&mut self) -> Vec<String> {
        self.leg.decisions()
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::super::generations::testing::{bits, box_space, options, sphere};
    use super::*;

    fn relay(names: &[&str]) -> Relay {
        Relay::new(names.iter().map(|name| find(name).expect("it is there")).collect())
    }

    /// The candidates of a relay that is asked for `batch` at a time.
    fn course(names: &[&str], candidates: u64, batch: usize) -> Vec<Vec<f64>> {
        let mut strategy = relay(names).open(Arc::new(box_space(2)), &options(1, candidates));
        let mut rows: Vec<Vec<f64>> = Vec::new();
        while (rows.len() as u64) < candidates {
            let first = rows.len() as u64;
            let Ask::Proposals(points) = strategy.ask(first, batch.min((candidates - first) as usize)) else { break };
            let told = points.rows().zip(first..);
            let told: Vec<Outcome> =
                told.map(|(row, candidate)| Outcome::new(candidate, row.to_vec(), sphere(row))).collect();
            strategy.tell(&told);
            rows.extend(points.rows().map(<[f64]>::to_vec));
        }
        rows
    }

    #[test]
    fn one_leg_takes_the_course_of_its_method() {
        let mut alone = find("sobol").expect("it is there").open(Arc::new(box_space(2)), &options(1, 40));
        let Ask::Proposals(points) = alone.ask(0, 40) else { panic!("a sequence without end") };
        let rows: Vec<Vec<f64>> = points.rows().map(<[f64]>::to_vec).collect();
        assert_eq!(bits(&course(&["sobol"], 40, 40)), bits(&rows));
    }

    #[test]
    fn legs_take_equal_shares_and_what_one_leaves_is_the_others() {
        // Without a dimension to learn in, cmaes' second candidate is near its first; a sequence begins with its start.
        let rows = course(&["sobol", "random", "halton"], 90, 7);
        assert_eq!(rows.len(), 90);
        let start = box_space(2).defaults();
        let begun: Vec<usize> = (0..90).filter(|row| rows[*row] == start).collect();
        assert_eq!(begun, [0, 30, 60], "each leg begins with the defaults");
        // Two values along each of two axes: a grid of four, and the rest to the other.
        let grid = StrategyOptions { resolution: 2, ..options(1, 30) };
        let mut strategy = relay(&["grid", "random"]).open(Arc::new(box_space(2)), &grid);
        let mut told = 0;
        while told < 30 {
            let Ask::Proposals(points) = strategy.ask(told, 30 - told as usize) else { panic!("candidates are left") };
            told += points.len() as u64;
        }
        let said = strategy.decisions();
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("random goes on after grid, from candidate 5"), "{said:?}");
    }

    #[test]
    fn what_is_known_comes_whole_however_few_candidates_there_are() {
        let points: Vec<Vec<f64>> = (0..8).map(|i| vec![f64::from(i) / 2.0, 1.0]).collect();
        let known = StrategyOptions { points, ..options(1, 10) };
        let mut strategy = relay(&["portfolio", "random"]).open(Arc::new(box_space(2)), &known);
        let Ask::Proposals(points) = strategy.ask(0, 10) else { panic!("nine are known") };
        assert_eq!(points.len(), 9);
        assert!(strategy.decisions().is_empty(), "nobody took over yet");
    }

    #[test]
    fn a_refusal_names_the_leg() {
        let choices = crate::space::SpaceBuilder::new().categorical("kind", &["a", "b"], "a").build();
        let refusal = relay(&["random", "cmaes"]).refusal(&choices, 1).expect("choices alone");
        assert_eq!(refusal.strategy, "cmaes");
        assert!(relay(&["de"]).refusal(&choices, 2).is_some_and(|refusal| refusal.reason.contains("2 objectives")));
        assert_eq!(relay(&["random"]).refusal(&choices, 2), None, "it heeds no objective");
    }
}
