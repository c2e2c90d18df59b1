//! Why programs of a command, or an objective in Rust, gave no value: as the journal keeps it, and as the result tells it.

use super::history::{History, Trial};
use super::journal::Frame;
use super::result::Failures;
use std::cmp::Reverse;
use std::collections::HashMap;

/// The reasons of those of these trials that have one, as a journal frame. It is written before their outcomes, so that there
/// is no outcome without its reason.
pub(super) fn frame(trials: &[Trial]) -> Option<Frame> {
    let of = |trial: &Trial| Some((trial.candidate, trial.failure.clone()?));
    let reasons: Vec<(u64, String)> = trials.iter().filter_map(of).collect();
    (!reasons.is_empty()).then_some(Frame::Reasons(reasons))
}

/// Each reason with how many candidates have it and the first of these, the most usual one first.
pub(super) fn by_reason(history: &History) -> Vec<Failures> {
    let mut failures: Vec<Failures> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for trial in history.trials.values() {
        let Some(reason) = trial.failure.as_deref() else { continue };
        let place = *places.entry(reason).or_insert(failures.len());
        match failures.get_mut(place) {
            Some(failures) => failures.candidates += 1,
            None => failures.push(Failures { reason: reason.to_owned(), candidates: 1, first: trial.candidate }),
        }
    }
    failures.sort_by_key(|failures| (Reverse(failures.candidates), failures.first));
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::history::{Shape, TrialStatus};

    #[test]
    fn the_journal_gives_reasons_back_to_those_who_failed_and_the_most_usual_comes_first() {
        let shape = Shape { lanes: 1, scores: 1, others: 0 };
        let trial = |candidate: u64, failure: Option<&str>| Trial {
            status: if failure.is_some() { TrialStatus::Failed } else { TrialStatus::Complete },
            failure: failure.map(str::to_owned),
            ..Trial::infeasible(candidate, shape)
        };
        let trials = [trial(0, Some("a")), trial(1, None), trial(2, Some("b")), trial(5, Some("b"))];
        let mut history = History::new(1, 1);
        let Some(Frame::Reasons(mut reasons)) = frame(&trials) else { panic!("three have reasons") };
        // What was written before an outcome that never was says nothing of a later one.
        reasons.push((1, "old".to_owned()));
        history.restore_reasons(&reasons);
        assert!(history.restore(&history.to_frame(&trials, false), shape));
        let failures: Vec<Option<&str>> = history.trials.values().map(|trial| trial.failure.as_deref()).collect();
        assert_eq!(failures, [Some("a"), None, Some("b"), Some("b")]);
        let told: Vec<(String, u64, u64)> =
            by_reason(&history).into_iter().map(|one| (one.reason, one.candidates, one.first)).collect();
        assert_eq!(told, [("b".to_owned(), 2, 2), ("a".to_owned(), 1, 0)]);
        assert_eq!(frame(&trials[1..2]), None);
    }
}
