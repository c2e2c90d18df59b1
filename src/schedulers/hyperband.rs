//! Hyperband (Li et al. 2018, JMLR 18(185), algorithm 1): brackets of successive halving, from many candidates with little
//! budget to few with all of it, so that it does not matter how much of it shows who is good.
//!
//! Counts are whole numbers throughout: with R = 243 and eta = 3 there are six brackets.

use super::rungs::{Cohort, Share, geometric};
use super::{Reached, Round, Scheduler, SchedulerEntry, SchedulerOptions};
use crate::base::registry::Named;

/// The registry entry.
pub struct Hyperband;

impl Named for Hyperband {
    fn name(&self) -> &'static str {
        "hyperband"
    }
    fn summary(&self) -> &'static str {
        "brackets of halving, from many candidates with little budget to few with all of it"
    }
}

impl SchedulerEntry for Hyperband {
    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        let eta = options.eta.max(2);
        Box::new(Brackets { eta, brackets: brackets(options, eta), next: 0, cohort: Cohort::over() })
    }
}

/// A run of successive halving: of n candidates `floor(n / eta^i)` are on rung i.
struct Bracket {
    /// How many begin.
    begin: u64,
    /// The budget of each rung.
    budgets: Vec<u64>,
}

struct Brackets {
    eta: u64,
    /// The one with most rungs first.
    brackets: Vec<Bracket>,
    /// The bracket that begins next; after the last comes the first again.
    next: usize,
    cohort: Cohort,
}

impl Scheduler for Brackets {
    fn next(&mut self, room: u64, _: u64) -> Round {
        if !self.cohort.is_over() {
            return self.cohort.climb();
        }
        if room == 0 {
            return Round::default();
        }
        let Bracket { begin, budgets } = &self.brackets[self.next];
        self.cohort = Cohort::new(budgets, Share::Down(self.eta));
        self.next = (self.next + 1) % self.brackets.len();
        // What is left may be less than a bracket.
        self.cohort.begin(room.min(*begin))
    }

    fn report(&mut self, reached: &[Reached]) {
        self.cohort.report(reached);
    }
}

/// Bracket s of s_max, ..., 0 begins with `ceil((s_max + 1) eta^s / (s + 1))` candidates at `R / eta^s`.
fn brackets(options: &SchedulerOptions, eta: u64) -> Vec<Bracket> {
    let budgets = geometric(options);
    let rungs = budgets.len() as u64;
    let bracket = |s: usize| Bracket {
        begin: rungs.saturating_mul(eta.saturating_pow(s as u32)).div_ceil(s as u64 + 1),
        budgets: budgets[budgets.len() - 1 - s..].to_vec(),
    };
    (0..budgets.len()).rev().map(bracket).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{course, options, sizes};
    use super::*;

    #[test]
    fn brackets_are_those_that_were_published() {
        // Li et al. 2018, table 1: R = 81, eta = 3.
        let published = [
            vec![(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
            vec![(34, 3), (11, 9), (3, 27), (1, 81)],
            vec![(15, 9), (5, 27), (1, 81)],
            vec![(8, 27), (2, 81)],
            vec![(5, 81)],
        ]
        .concat();
        let value = |candidate: u64, budget: u64| (candidate * 13 % 97) as f64 / budget as f64;
        assert_eq!(sizes(&course(&Hyperband, &options(81), 143, 1, value)), published);
        // The next one begins where there is room for more.
        let more = sizes(&course(&Hyperband, &options(81), 143 + 10, 1, value));
        assert_eq!(more[published.len()..], [(10, 1), (3, 3), (1, 9), (1, 27), (1, 81)]);
        let of = SchedulerOptions { batch: 243, ..options(243) };
        assert_eq!(brackets(&of, 3).len(), 6);
    }
}
