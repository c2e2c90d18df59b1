//! Which of a candidate's scores stand on the same rows, and so how much noise there is in their mean.
//!
//! The folds of one repeat are scored on different rows. Repeats draw the same rows again, and in nested cross-validation
//! every outer part is scored by several lanes: their scores are no further evidence, and do not make an error smaller.

use super::choice::{mean, std_error};
use crate::data::splits::Splits;

/// The validation part that each score is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// For each score, in the order of the folds and their row sets.
    of_score: Vec<usize>,
    repeats: usize,
    /// Parts of one repeat, whose rows are different.
    a_repeat: usize,
}

impl Parts {
    /// Of a study's splits.
    pub fn new(splits: &Splits) -> Parts {
        if !splits.outer.is_empty() {
            let sets = splits.folds.iter().flat_map(|fold| &fold.evals);
            let of_set = |rows: &Vec<u32>| splits.outer.iter().position(|part| part.test == *rows);
            return Parts {
                of_score: sets.map(|rows| of_set(rows).unwrap_or(0)).collect(),
                repeats: 1,
                a_repeat: splits.outer.len(),
            };
        }
        let folds = splits.folds.len();
        let a_repeat = splits.folds.iter().filter(|fold| fold.repeat == 0).count();
        // A part that is held out again and again is drawn anew each time: each is a part of its own.
        let a_repeat = if a_repeat == 1 { folds } else { a_repeat };
        Parts::repeated(folds / a_repeat.max(1), a_repeat)
    }

    /// One score each on so many parts.
    pub fn one_each(parts: usize) -> Parts {
        Parts::repeated(1, parts)
    }

    /// One score each on so many parts of so many repeats.
    pub fn repeated(repeats: usize, a_repeat: usize) -> Parts {
        Parts { of_score: (0..repeats * a_repeat).collect(), repeats, a_repeat }
    }

    /// How often all rows are scored.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Parts of one repeat.
    pub fn a_repeat(&self) -> usize {
        self.a_repeat
    }

    /// The mean score on each part, one repeat after another.
    pub fn means(&self, scores: &[f64]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.repeats * self.a_repeat];
        for (part, score) in self.of_score.iter().zip(scores) {
            sums[*part].0 += score;
            sums[*part].1 += 1.0;
        }
        sums.into_iter().map(|(sum, count)| sum / count).collect()
    }

    /// Standard error of the mean of scores: that of one repeat, from the variances of all of them. `None` where a repeat
    /// has fewer than two parts.
    pub fn std_error(&self, scores: &[f64]) -> Option<f64> {
        let means = self.means(scores);
        let errors: Option<Vec<f64>> = means.chunks(self.a_repeat.max(1)).map(std_error).collect();
        let squares: Vec<f64> = errors?.iter().map(|error| error * error).collect();
        (!squares.is_empty()).then(|| mean(&squares).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_the_same_rows_do_not_make_an_error_smaller() {
        let scores = [0.1, 0.3, 0.5, 0.2];
        let once = Parts::one_each(4);
        let thrice = Parts::repeated(3, 4);
        assert_eq!(once.std_error(&scores), std_error(&scores));
        let difference = thrice.std_error(&[scores, scores, scores].concat()).unwrap() - std_error(&scores).unwrap();
        assert!(difference.abs() < 1e-15);
    }

    #[test]
    fn scores_on_one_part_are_one_piece_of_evidence() {
        // Nested with three parts: lanes without (0, 1), (0, 2) and (1, 2), each scored on both.
        let nested = Parts { of_score: vec![0, 1, 0, 2, 1, 2], repeats: 1, a_repeat: 3 };
        let scores = [1.0, 2.0, 3.0, 6.0, 4.0, 8.0];
        assert_eq!(nested.means(&scores), [2.0, 3.0, 7.0]);
        assert_eq!(nested.std_error(&scores), std_error(&[2.0, 3.0, 7.0]));
    }
}
