//! From decisions to predictions: LIBSVM's vote, and numbers in its order for metrics that want probabilities.
//!
//! A positive decision of a pair is a vote for its first class, any other for its second; most votes win, and of classes with
//! equally many the first. For metrics each class gets a score: its votes, and within a vote the sum of its decisions, as
//! scikit-learn's `decision_function` of shape "ovr" (`votes + sum / (3 (|sum| + 1))`). The softmax of the scores is what is
//! called a probability here. It is not calibrated: it ranks rows, and the most probable class is LIBSVM's. Where several
//! classes have most votes, the winner's score is raised to the largest of theirs, because a sum may rank them otherwise.
//!
//! Of two classes the probability is the decision's logistic function.

/// The number of pairs of so many classes.
pub fn pairs(classes: usize) -> usize {
    classes * classes.saturating_sub(1) / 2
}

/// All pairs of classes in the order of their decisions: (0, 1), (0, 2), ..., (1, 2), ...
pub fn every_pair(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |a| (a + 1..classes).map(move |b| (a, b)))
}

/// Probabilities of the classes that occur, from their pairs' decisions.
pub fn probabilities(decisions: &[f32], out: &mut [f32]) {
    match out {
        [] => {}
        [only] => *only = 1.0,
        [first, second] => {
            // No vote for the first class is one for the second: equal probabilities would be read otherwise.
            let decision = if decisions[0] == 0.0 { -f32::EPSILON } else { decisions[0] };
            *first = logistic(decision);
            *second = logistic(-decision);
        }
        _ => {
            scores(decisions, out);
            let largest = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            out.iter_mut().for_each(|score| *score = libm::expf(*score - largest));
            let sum: f32 = out.iter().sum();
            out.iter_mut().for_each(|p| *p /= sum);
        }
    }
}

fn logistic(decision: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-decision))
}

fn scores(decisions: &[f32], out: &mut [f32]) {
    let classes = out.len();
    let mut votes = vec![0u32; classes];
    out.fill(0.0);
    for ((a, b), decision) in every_pair(classes).zip(decisions) {
        votes[if *decision > 0.0 { a } else { b }] += 1;
        out[a] += decision;
        out[b] -= decision;
    }
    for (score, votes) in out.iter_mut().zip(&votes) {
        *score = *votes as f32 + *score / (3.0 * (score.abs() + 1.0));
    }
    let most = votes.iter().copied().max().unwrap_or(0);
    let winner = votes.iter().position(|votes| *votes == most).unwrap_or(0);
    let tied = out.iter().zip(&votes).filter(|(_, votes)| **votes == most);
    out[winner] = tied.map(|(score, _)| *score).fold(f32::NEG_INFINITY, f32::max);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::order::most_likely;

    fn predicted(decisions: &[f32], classes: usize) -> (usize, Vec<f32>) {
        let mut out = vec![0.0; classes];
        probabilities(decisions, &mut out);
        (most_likely(out.iter().copied()).unwrap(), out)
    }

    #[test]
    fn the_most_probable_class_is_the_votes_winner() {
        // (0, 1), (0, 2), (1, 2): a circle of one vote each goes to the first class, whatever the sums say.
        let (winner, p) = predicted(&[-9.0, 0.1, -9.0], 3);
        assert_eq!(winner, 0, "a circle");
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(predicted(&[-0.1, 9.0, 0.1], 3).0, 1, "two votes, whatever the sums say");
        assert_eq!(predicted(&[0.1, -9.0, 0.0], 3).0, 2, "a decision of 0 is a vote for the second");
        assert_eq!(predicted(&[0.0], 2).0, 1);
        assert_eq!(predicted(&[1e-6], 2).0, 0);
        assert_eq!(predicted(&[], 1).1, [1.0]);
    }

    #[test]
    fn within_a_vote_the_sum_of_decisions_ranks() {
        let rank = |decision: f32| predicted(&[decision, 1.0, 1.0], 3).1[0];
        assert!(rank(0.5) < rank(0.6) && rank(-0.6) < rank(-0.5));
        let two = |decision: f32| predicted(&[decision], 2).1[0];
        assert!(two(-3.0) < two(-2.9) && two(0.0) < two(0.1) && two(60.0) == 1.0 && two(-200.0) == 0.0);
    }
}
