//! A candidate while its lanes report. Where it goes fold by fold, the folds before are part of it.

use super::history::{Shape, Trial, TrialStatus, as_journalled};
use crate::backend::{LaneReport, LaneStatus};
use std::ops::Range;

/// A candidate some of whose lanes have reported.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    status: TrialStatus,
    scores: Vec<f64>,
    /// Each lane's value, for each one beside the score.
    others: Vec<Vec<f64>>,
    train: Vec<f64>,
    seconds: f64,
    used: Vec<u64>,
    /// Of each score, how it changes with each encoded value; empty as long as nobody said.
    gradients: Vec<Vec<f64>>,
    /// The first lane that failed with a reason, and that.
    failure: Option<(usize, String)>,
    missing: usize,
    /// What it had before on other lanes, and how many lanes and scores that were.
    before: Option<(Trial, usize, usize)>,
    /// The lanes that are to report.
    lanes: Range<usize>,
    /// Their scores.
    new: Range<usize>,
}

impl Pending {
    /// One of whose lanes all are to report.
    pub(super) fn new(shape: Shape) -> Pending {
        Pending::leg(shape, 0..shape.lanes, 0..shape.scores, None)
    }

    /// One of which some lanes, which have these scores, are to report after those before them.
    pub(super) fn leg(shape: Shape, lanes: Range<usize>, new: Range<usize>, before: Option<&Trial>) -> Pending {
        let before = before.map(|trial| (trial.clone(), lanes.start, new.start));
        let mut pending = Pending {
            status: TrialStatus::Complete,
            scores: vec![f64::NAN; shape.scores],
            others: vec![vec![f64::NAN; shape.lanes]; shape.others],
            train: vec![f64::NAN; shape.lanes],
            seconds: 0.0,
            used: vec![0; shape.lanes],
            gradients: vec![Vec::new(); shape.scores],
            failure: None,
            missing: lanes.len(),
            before: None,
            lanes,
            new,
        };
        if let Some((trial, ..)) = &before {
            pending.status = trial.status;
            pending.scores.clone_from(&trial.scores);
            pending.used.clone_from(&trial.used);
        }
        Pending { before, ..pending }
    }

    /// Takes the report of lane `lane`, whose scores begin at `first`; whether it was the last.
    pub(super) fn take(&mut self, lane: usize, first: usize, report: &LaneReport) -> bool {
        self.status = self.status.with(report.status);
        self.scores[first..first + report.evals.len()].copy_from_slice(&report.evals);
        self.others.iter_mut().zip(&report.others).for_each(|(others, value)| others[lane] = *value);
        self.train[lane] = report.train;
        self.seconds += report.seconds;
        self.used[lane] = report.used;
        self.gradients[first..].iter_mut().zip(&report.gradients).for_each(|(known, told)| known.clone_from(told));
        // Lanes end in any order; the reason is the same whichever it was.
        if let Some(reason) = report.failure.as_ref()
            && self.failure.as_ref().is_none_or(|(first, _)| lane < *first)
        {
            self.failure = Some((lane, reason.clone()));
        }
        self.missing -= 1;
        self.missing == 0
    }

    /// The candidate, whose lanes had trained for so many seconds before.
    pub(super) fn finish(self, candidate: u64, seconds: f32) -> Trial {
        // A metric without an answer on some fold leaves the candidate without a score.
        let is_scored = self.scores[..self.new.end].iter().all(|score| !score.is_nan());
        let status = if is_scored { self.status } else { self.status.with(LaneStatus::NotFinite) };
        let (before, lanes, scores) = match &self.before {
            Some((trial, lanes, scores)) => (Some(trial), *lanes, *scores),
            None => (None, 0, 0),
        };
        let mean = |of_before: Option<f64>, new: &[f64]| mean_with(of_before, lanes, new);
        let others = self.others.iter().enumerate().map(|(other, values)| {
            mean(before.and_then(|trial| trial.others.get(other).copied()), &values[self.lanes.clone()])
        });
        let others = others.collect();
        let train = mean(before.map(|trial| f64::from(trial.train)), &self.train[self.lanes.clone()]) as f32;
        let gradient = mean_gradient(before.map(|trial| &trial.gradient[..]), scores, &self.gradients[self.new]);
        // The same as what a journal gives back: numbers, or nothing.
        let says_something = status.is_scored() && gradient.iter().any(|slope| !slope.is_nan());
        let gradient = if says_something { gradient } else { Vec::new() };
        let seconds = as_journalled(self.seconds as f32 + seconds);
        let failure = self.failure.map(|(_, reason)| reason);
        Trial { candidate, status, scores: self.scores, others, train, seconds, used: self.used, gradient, failure }
    }
}

/// The mean of some values, and of `count` others before them whose mean is known.
fn mean_with(before: Option<f64>, count: usize, values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    match before {
        Some(mean) => (mean * count as f64 + sum) / (count + values.len()) as f64,
        None => sum / values.len() as f64,
    }
}

/// The mean of the scores' gradients; none where one of them has none.
fn mean_gradient(before: Option<&[f64]>, count: usize, gradients: &[Vec<f64>]) -> Vec<f64> {
    let width = gradients.first().map_or(0, Vec::len);
    let differs = |gradient: &[f64]| gradient.len() != width;
    if width == 0 || before.is_some_and(differs) || gradients.iter().any(|gradient| differs(gradient)) {
        return Vec::new();
    }
    let column = |column: usize| gradients.iter().map(|gradient| gradient[column]).collect::<Vec<f64>>();
    (0..width).map(|place| mean_with(before.map(|gradient| gradient[place]), count, &column(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Slot;

    const SHAPE: Shape = Shape { lanes: 4, scores: 4, others: 1 };

    fn report(score: f64) -> LaneReport {
        LaneReport {
            slot: Slot(0),
            status: LaneStatus::Trained,
            train: score / 2.0,
            evals: vec![score],
            others: vec![score * 2.0],
            used: (score * 8.0) as u64,
            seconds: 0.25,
            gradients: vec![vec![score, -score]],
            failure: None,
            state: None,
        }
    }

    #[test]
    fn folds_one_after_another_are_the_candidate_that_all_at_once_are() {
        let scores = [0.5, 0.25, 1.0, 0.125];
        let mut at_once = Pending::new(SHAPE);
        let done: Vec<bool> = (0..4).map(|lane| at_once.take(lane, lane, &report(scores[lane]))).collect();
        assert_eq!(done, [false, false, false, true]);
        let at_once = at_once.finish(7, 0.0);
        let mut first = Pending::leg(SHAPE, 0..2, 0..2, None);
        assert!(!first.take(1, 1, &report(scores[1])) && first.take(0, 0, &report(scores[0])));
        let first = first.finish(7, 0.0);
        assert_eq!((first.status, first.reached(), first.value().is_nan()), (TrialStatus::Complete, 0.375, true));
        assert_eq!((&first.used[..], first.train), (&[4, 2, 0, 0][..], 0.1875));
        let mut all = Pending::leg(SHAPE, 2..4, 2..4, Some(&first));
        assert!(!all.take(2, 2, &report(scores[2])) && all.take(3, 3, &report(scores[3])));
        // In binary fractions no mean is rounded.
        assert_eq!(all.finish(7, first.seconds), at_once);
    }

    #[test]
    fn a_fold_that_fails_ends_a_candidate_whatever_came_before() {
        let mut first = Pending::leg(SHAPE, 0..1, 0..1, None);
        assert!(first.take(0, 0, &report(0.5)));
        let first = first.finish(7, 0.0);
        assert_eq!(first.status, TrialStatus::Complete);
        let mut second = Pending::leg(SHAPE, 1..2, 1..2, Some(&first));
        second.take(1, 1, &report(f64::NAN));
        let second = second.finish(7, first.seconds);
        assert_eq!((second.status, second.reached().is_nan()), (TrialStatus::NotFinite, true));
    }

    #[test]
    fn a_gradient_is_that_of_the_mean_or_none() {
        assert_eq!(mean_gradient(None, 0, &[vec![1.0, 4.0], vec![2.0, 0.0]]), [1.5, 2.0]);
        assert_eq!(mean_gradient(Some(&[1.0, 4.0]), 1, &[vec![2.0, 0.0]]), [1.5, 2.0]);
        assert!(mean_gradient(None, 0, &[vec![1.0, 4.0], Vec::new()]).is_empty(), "a score without one");
        assert!(mean_gradient(Some(&[]), 1, &[vec![1.0, 4.0]]).is_empty(), "folds before without one");
    }
}
