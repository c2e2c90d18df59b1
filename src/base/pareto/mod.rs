//! Trade-offs of several values, each to be minimised: who dominates whom, fronts, how crowded a front is
//! ([`Scores::crowding`], [`Scores::thin`]), and how much it covers ([`hypervolume`]).
//!
//! Deb's constrained domination (Deb et al. 2002, doi:10.1109/4235.996017, definition 1): within its limits beats beyond,
//! beyond by less beats beyond by more, and within the limits values decide. What failed is dominated by all that did not.

mod crowding;
mod hypervolume;
mod sorting;

pub use hypervolume::{contributions, hypervolume, subset};

use super::order::ascending;
use std::cmp::Ordering;

/// Values and violations of some candidates, by number from 0.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    objectives: usize,
    /// `[candidate][objective]`; all NaN where one is.
    values: Vec<f64>,
    /// 0 within the limits.
    violations: Vec<f64>,
}

impl Scores {
    /// Of nobody yet.
    pub fn new(objectives: usize) -> Scores {
        Scores { objectives, ..Scores::default() }
    }

    /// Takes the next candidate: its values to be minimised, and by how much it is beyond its limits. It failed if a value
    /// is NaN or missing; a violation that is NaN is beyond all others.
    pub fn push(&mut self, values: impl IntoIterator<Item = f64>, violation: f64) {
        let begun = self.values.len();
        self.values.extend(values.into_iter().take(self.objectives));
        self.values.resize(begun + self.objectives, f64::NAN);
        if self.values[begun..].iter().any(|value| value.is_nan()) {
            self.values[begun..].fill(f64::NAN);
        }
        self.violations.push(if violation.is_nan() { f64::INFINITY } else { violation.max(0.0) });
    }

    /// How many candidates there are.
    pub fn len(&self) -> usize {
        self.violations.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// A candidate's values.
    pub fn values(&self, candidate: usize) -> &[f64] {
        &self.values[candidate * self.objectives..][..self.objectives]
    }

    /// By how much a candidate is beyond its limits.
    pub fn violation(&self, candidate: usize) -> f64 {
        self.violations[candidate]
    }

    /// Whether a candidate has no values.
    pub fn has_failed(&self, candidate: usize) -> bool {
        self.values(candidate).iter().any(|value| value.is_nan())
    }

    /// Whether a candidate has values, and is within its limits.
    pub fn is_feasible(&self, candidate: usize) -> bool {
        !self.has_failed(candidate) && self.violation(candidate) == 0.0
    }

    /// Whether `a` is better than `b` whatever the objectives are worth.
    pub fn dominates(&self, a: usize, b: usize) -> bool {
        match (self.has_failed(a), self.has_failed(b)) {
            (false, false) => {}
            (a_failed, _) => return !a_failed,
        }
        match ascending(self.violation(a), self.violation(b)) {
            Ordering::Equal if self.is_feasible(a) => {
                let pairs = || self.values(a).iter().zip(self.values(b));
                pairs().all(|(a, b)| a <= b) && pairs().any(|(a, b)| a < b)
            }
            order => order.is_lt(),
        }
    }

    /// Fronts: first those whom nobody dominates, then those whom these alone dominate, and so on; within a front by
    /// number. What failed is the last front, whatever its violation.
    ///
    /// In time O(n log n) for two objectives, and O(n log^(k-1) n) for k.
    pub fn fronts(&self) -> Vec<Vec<usize>> {
        let feasible: Vec<usize> = (0..self.len()).filter(|candidate| self.is_feasible(*candidate)).collect();
        let mut fronts = sorting::fronts(self, feasible);
        let is_beyond = |candidate: &usize| !self.has_failed(*candidate) && self.violation(*candidate) > 0.0;
        let mut beyond: Vec<usize> = (0..self.len()).filter(is_beyond).collect();
        beyond.sort_by(|a, b| ascending(self.violation(*a), self.violation(*b)));
        fronts.extend(beyond.chunk_by(|a, b| self.violation(*a) == self.violation(*b)).map(<[usize]>::to_vec));
        let failed: Vec<usize> = (0..self.len()).filter(|candidate| self.has_failed(*candidate)).collect();
        fronts.extend((!failed.is_empty()).then_some(failed));
        fronts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, below};

    /// Candidates with many ties: values among a few, some beyond their limits, some failed.
    fn drawn(seed: u64, objectives: usize, count: u64, distinct: u64) -> Scores {
        let key = Key::from_seed(seed);
        let mut scores = Scores::new(objectives);
        for candidate in 0..count {
            let key = key.child_of_number(candidate);
            let value = |objective: usize| {
                let value = below(key, objective as u64, distinct) as f64;
                if value == 0.0 && objective == 1 { -0.0 } else { value - 3.0 }
            };
            let fate = below(key, 100, 10);
            let fails = fate == 0 && seed.is_multiple_of(2);
            let violation = if fate < 3 && seed.is_multiple_of(3) { below(key, 101, 4) as f64 } else { 0.0 };
            scores.push((0..objectives).map(|o| if fails { f64::NAN } else { value(o) }), violation);
        }
        scores
    }

    /// Fronts by their definition.
    fn peeled(scores: &Scores) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..scores.len()).collect();
        let mut fronts = Vec::new();
        while !left.is_empty() {
            let is_first = |a: &usize| !left.iter().any(|b| scores.dominates(*b, *a));
            let (first, others): (Vec<usize>, Vec<usize>) = left.iter().partition(|a| is_first(a));
            fronts.push(first);
            left = others;
        }
        fronts
    }

    #[test]
    fn fronts_are_those_that_peeling_gives() {
        for seed in 0..60 {
            for objectives in 1..6 {
                // Few and many ties, and sets below and above those that are compared one by one.
                let (count, distinct) = ([7, 60, 250][seed as usize % 3], [3, 12, 1000][seed as usize / 3 % 3]);
                let scores = drawn(seed, objectives, count, distinct);
                assert_eq!(scores.fronts(), peeled(&scores), "{objectives} objectives, seed {seed}");
            }
        }
    }

    #[test]
    fn chains_and_single_fronts_are_sorted() {
        for objectives in 2..5 {
            let (mut chain, mut front) = (Scores::new(objectives), Scores::new(objectives));
            for i in 0..3000 {
                chain.push((0..objectives).map(|_| f64::from(i)), 0.0);
                let along = |objective| f64::from(if objective == 0 { i } else { -i });
                front.push((0..objectives).map(along), 0.0);
            }
            assert_eq!(chain.fronts().len(), 3000);
            assert_eq!(front.fronts().len(), 1);
        }
    }

    #[test]
    fn limits_come_before_values_and_failures_last() {
        let mut scores = Scores::new(2);
        let nan = f64::NAN;
        for (values, violation) in [
            ([nan, 0.0], 0.0),
            ([0.0, 0.0], 2.0),
            ([5.0, 5.0], 1.0),
            ([9.0, 9.0], -1.0),
            ([9.0, 8.0], 0.0),
            ([0.0, 9.0], nan),
            ([1.0, nan], 3.0),
        ] {
            scores.push(values, violation);
        }
        // One that failed is last though its violation is none.
        assert_eq!(scores.fronts()[..4], [vec![4], vec![3], vec![2], vec![1]]);
        assert_eq!(scores.fronts()[4..], [vec![5], vec![0, 6]]);
        scores.push([1.0], 0.0);
        assert!(scores.has_failed(7), "a value is missing");
    }
}
