//! Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934, algorithm 2): halving without waiting for a cohort. Whoever is
//! among the best `1/eta` of those that have reached a rung goes on as soon as there is a place to train in, and where
//! nobody is, a new candidate begins.
//!
//! A round is what the paper's algorithm does with as many workers as the round has places, all of which report together: so
//! every place is taken, and a search takes the same course whatever trains. Two things are added. Who cannot be among the best
//! of its rung any more, whatever follows, ends at once. And when no candidate is left to begin, the best of each rung goes on
//! even where there are fewer than `eta` on it: without that a short search would train nobody with the whole budget.

use super::{Reached, Round, Scheduler, SchedulerEntry, SchedulerOptions, rungs};
use crate::base::order;
use crate::base::registry::Named;

/// The registry entry.
pub struct AsynchronousHalving;

impl Named for AsynchronousHalving {
    fn name(&self) -> &'static str {
        "asha"
    }
    fn summary(&self) -> &'static str {
        "halving without cohorts: the best third of those that came so far goes on while others begin (`eta`)"
    }
}

impl SchedulerEntry for AsynchronousHalving {
    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        // An interval is for those who judge candidates one by one: a share of each rung goes with a factor between rungs.
        rungs::alone(&SchedulerOptions { interval: None, ..*options })
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        let rung = |budget| Rung { budget, standing: Vec::new(), coming: 0 };
        Box::new(Asha { eta: options.eta.max(2), rungs: self.rungs(options).into_iter().map(rung).collect() })
    }
}

struct Asha {
    eta: u64,
    /// The one of the full budget last.
    rungs: Vec<Rung>,
}

struct Rung {
    budget: u64,
    /// Everyone who has reached it, best first; of equal ones the earlier candidate.
    standing: Vec<Standing>,
    /// How many go on to it in this round.
    coming: u64,
}

struct Standing {
    candidate: u64,
    value: f64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Where it is.
    Waits,
    /// Gone on to the next rung.
    Gone,
    /// At its end.
    Over,
}

impl Scheduler for Asha {
    fn next(&mut self, room: u64, batch: u64) -> Round {
        let go_on = self.promote(room == 0, batch);
        let begin = room.min(batch.saturating_sub(go_on.len() as u64));
        let is_over = begin == 0 && go_on.is_empty();
        let ended = self.end(room, is_over);
        let budget = self.rungs.first().map_or(0, |rung| rung.budget);
        Round { begin, budget, go_on, ended, ..Round::default() }
    }

    fn report(&mut self, reached: &[Reached]) {
        for one in reached {
            let Ok(rung) = self.rungs.binary_search_by_key(&one.budget, |rung| rung.budget) else { continue };
            // What failed has had a place among those of its rung, and none ahead of anybody.
            let is_over = one.value.is_nan() || rung + 1 == self.rungs.len();
            let state = if is_over { State::Over } else { State::Waits };
            self.rungs[rung].standing.push(Standing { candidate: one.candidate, value: one.value, state });
        }
        for rung in &mut self.rungs {
            rung.coming = 0;
            // Two sorted runs: little more than their merging.
            rung.standing.sort_by(|a, b| order::ascending(a.value, b.value).then(a.candidate.cmp(&b.candidate)));
        }
    }
}

impl Asha {
    /// Who goes on, from the highest rung down, and to which budget.
    fn promote(&mut self, is_last: bool, places: u64) -> Vec<(u64, u64)> {
        let mut go_on = Vec::new();
        for below in (0..self.rungs.len().saturating_sub(1)).rev() {
            let budget = self.rungs[below + 1].budget;
            let share = self.share(self.rungs[below].standing.len() as u64, is_last);
            let room = (places as usize).saturating_sub(go_on.len());
            let ahead = self.rungs[below].standing.iter_mut().take(share as usize);
            let promoted: Vec<(u64, u64)> = ahead
                .filter(|one| one.state == State::Waits)
                .take(room)
                .map(|one| {
                    one.state = State::Gone;
                    (one.candidate, budget)
                })
                .collect();
            self.rungs[below + 1].coming = promoted.len() as u64;
            go_on.extend(promoted);
        }
        go_on.sort_unstable();
        go_on
    }

    /// How many of so many on a rung go on.
    fn share(&self, standing: u64, is_last: bool) -> u64 {
        (standing / self.eta).max(u64::from(is_last))
    }

    /// Ends all who wait, or else those who wait in vain, whatever those who may yet come to their rung reach there.
    fn end(&mut self, room: u64, are_all: bool) -> Vec<(u64, u64)> {
        let mut ended = Vec::new();
        // How many may yet come to the rung: to the first one those who begin, to others those who are on their way or wait below.
        let mut to_come = room;
        for rung in 0..self.rungs.len() {
            to_come = to_come.saturating_add(self.rungs[rung].coming);
            let most = self.share((self.rungs[rung].standing.len() as u64).saturating_add(to_come), true);
            let rung = &mut self.rungs[rung];
            let mut waiting = 0;
            for (rank, one) in rung.standing.iter_mut().enumerate().filter(|(_, one)| one.state == State::Waits) {
                if are_all || rank as u64 >= most {
                    one.state = State::Over;
                    ended.push((one.candidate, rung.budget));
                } else {
                    waiting += 1;
                }
            }
            to_come = to_come.saturating_add(waiting);
        }
        ended.sort_unstable();
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{course, options};
    use super::*;

    /// The rounds of a search over curves whose values at every unit of budget are known.
    fn rounds(eta: u64, budget: u64, batch: u64, candidates: usize, curves: &[Vec<f64>]) -> Vec<Round> {
        let of = SchedulerOptions { eta, ..options(budget) };
        let value = |candidate: u64, budget: u64| curves[candidate as usize][budget as usize - 1];
        course(&AsynchronousHalving, &of, candidates as u64, batch, value)
    }

    #[test]
    fn rounds_are_those_of_the_published_algorithm() {
        // A plain implementation of algorithm 2 with as many workers as a round has places: tests/fixtures/schedulers/asha.py.
        let curves: Vec<Vec<f64>> = include_str!("../../tests/fixtures/schedulers/curves.csv")
            .lines()
            .map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect())
            .collect();
        let mut cases: Vec<(Vec<u64>, Vec<String>)> = Vec::new();
        for line in include_str!("../../tests/fixtures/schedulers/asha.csv").lines().skip(1) {
            let (case, round) = line.split_once(';').unwrap();
            let case: Vec<u64> = case.split(',').map(|cell| cell.parse().unwrap()).collect();
            if cases.last().is_none_or(|(last, _)| *last != case) {
                cases.push((case.clone(), Vec::new()));
            }
            cases.last_mut().unwrap().1.push(round.to_owned());
        }
        assert!(cases.len() >= 6, "{}", cases.len());
        let written = |rounds: &[Round]| -> Vec<String> {
            let go_on = |round: &Round| -> Vec<String> {
                round.go_on.iter().map(|(candidate, budget)| format!("{candidate}:{budget}")).collect()
            };
            let training = rounds.iter().filter(|round| !round.is_last());
            training.map(|round| format!("{};{}", round.begin, go_on(round).join(" "))).collect()
        };
        for (case, expected) in cases {
            let [eta, budget, batch, candidates] = case[..] else { panic!("{case:?}") };
            let of = |eta| written(&rounds(eta, budget, batch, candidates as usize, &curves));
            assert_eq!(of(eta), expected, "{case:?}");
            assert_ne!(of(eta + 1), expected, "{case:?}, by another share");
        }
    }

    #[test]
    fn a_table_worked_by_hand() {
        // Nine candidates, three places, rungs of 1, 2 and 4; eta = 2. Who goes on keeps its value.
        let values = [5.0, 1.0, 4.0, 3.0, 2.0, 9.0, 8.0, 7.0, 6.0];
        let curves: Vec<Vec<f64>> = values.map(|value| vec![value; 4]).to_vec();
        let rounds = rounds(2, 4, 3, 9, &curves);
        let table: Vec<(u64, &[(u64, u64)])> = rounds.iter().map(|round| (round.begin, &round.go_on[..])).collect();
        let expected: [(u64, &[(u64, u64)]); 7] = [
            // 0, 1 and 2 begin.
            (3, &[]),
            // One of three: candidate 1. Beside it 3 and 4 begin.
            (2, &[(1, 2)]),
            // Two of five: 1 is gone already, so 4 goes on; 5 and 6 begin.
            (2, &[(4, 2)]),
            // On the second rung one of two, 1; on the first three of seven, 3; 7 begins.
            (1, &[(1, 4), (3, 2)]),
            // On the second rung one of three is gone; on the first four of eight, 2; 8 begins.
            (1, &[(2, 2)]),
            // On the second rung two of four: 4. On the first four of nine have gone.
            (0, &[(4, 4)]),
            (0, &[]),
        ];
        assert_eq!(table, expected);
        // On the first rung 0 and the last four were left, on the second 3 and 2.
        let mut ended: Vec<(u64, u64)> = rounds.iter().flat_map(|round| round.ended.clone()).collect();
        ended.sort_unstable();
        assert_eq!(ended, [(0, 1), (2, 2), (3, 2), (5, 1), (6, 1), (7, 1), (8, 1)]);
    }

    #[test]
    fn rungs_are_a_factor_apart_whatever_the_interval_of_other_schedulers() {
        let spaced = SchedulerOptions { interval: Some(2), ..options(27) };
        assert_eq!(AsynchronousHalving.rungs(&spaced), [1, 3, 9, 27]);
        assert_eq!(AsynchronousHalving.rungs(&options(27)), [1, 3, 9, 27]);
    }

    #[test]
    fn who_waits_in_vain_ends_at_once() {
        // Better and better candidates: whoever has as many ahead as can go on at most has no hope.
        let curves: Vec<Vec<f64>> = (0..30).map(|candidate| vec![-f64::from(candidate); 9]).collect();
        let rounds = rounds(3, 9, 5, 30, &curves);
        // At most ten of thirty leave the first rung: the first five have ten better ones after the third round.
        let first = rounds.iter().position(|round| round.ended.contains(&(0, 1))).unwrap();
        let begun: u64 = rounds[..first].iter().map(|round| round.begin).sum();
        assert!(begun < 20, "{begun} have begun before the worst one ends");
        let ended: usize = rounds.iter().map(|round| round.ended.len()).sum();
        assert!(rounds.last().unwrap().ended.len() < ended / 2, "most end on the way");
    }

    #[test]
    fn where_few_begin_one_of_them_comes_to_the_full_budget_nevertheless() {
        let curves = vec![vec![2.0; 27], vec![1.0; 27]];
        let rounds = rounds(3, 27, 10, 2, &curves);
        let on: Vec<(u64, u64)> = rounds.iter().flat_map(|round| round.go_on.clone()).collect();
        assert_eq!(on, [(1, 3), (1, 9), (1, 27)]);
    }
}
