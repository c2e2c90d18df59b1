//! Which candidate wins, and how good it honestly is. Pure functions of fold scores.

use super::parts::Parts;
use crate::base::random::{Key, below};
use crate::data::metrics::Direction;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What the choice looks at of one finished candidate.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// The candidate's id.
    pub candidate: u64,
    /// Mean of `folds`; NaN if the candidate failed.
    pub value: f64,
    /// One score for each row set of each fold.
    pub folds: &'a [f64],
    /// The model's cost: less is simpler.
    pub cost: f64,
}

/// An estimate with what it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimated score of the search's winner on new rows.
    pub value: f64,
    /// Standard deviation over bootstraps.
    pub std_error: f64,
    /// Bootstraps that it is the mean of.
    pub bootstraps: u32,
}

/// Mean in the order given; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard error of the mean; `None` of fewer than two values.
pub fn std_error(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (values.len() >= 2).then(|| (squares / (n - 1.0) / n).sqrt())
}

/// The best candidate by its mean; of equal ones the simpler, then the earlier. `None` if all failed.
pub fn best<'a>(direction: Direction, scored: &[Scored<'a>]) -> Option<Scored<'a>> {
    ranked(direction, scored, 1).first().copied().filter(|best| !best.value.is_nan())
}

/// The `count` best candidates, best first.
pub fn ranked<'a>(direction: Direction, scored: &[Scored<'a>], count: usize) -> Vec<Scored<'a>> {
    let compare = |a: &Scored<'_>, b: &Scored<'_>| {
        direction
            .compare(a.value, b.value)
            .then(crate::base::order::ascending(a.cost, b.cost))
            .then(a.candidate.cmp(&b.candidate))
    };
    let mut scored = scored.to_vec();
    if count < scored.len() && count > 0 {
        scored.select_nth_unstable_by(count - 1, compare);
        scored.truncate(count);
    }
    scored.sort_unstable_by(compare);
    scored
}

/// The one-standard-error choice (Breiman et al. 1984): the simplest candidate whose mean is within one standard error
/// of the best one's; of equally simple ones the better, then the earlier.
pub fn one_standard_error<'a>(direction: Direction, scored: &[Scored<'a>], parts: &Parts) -> Option<Scored<'a>> {
    let best = best(direction, scored)?;
    let margin = parts.std_error(best.folds).unwrap_or(0.0);
    let worst = best.value - direction.sign() * margin;
    scored
        .iter()
        .filter(|one| !one.value.is_nan() && direction.compare(one.value, worst).is_le())
        .min_by(|a, b| {
            crate::base::order::ascending(a.cost, b.cost)
                .then(direction.compare(a.value, b.value))
                .then(a.candidate.cmp(&b.candidate))
        })
        .copied()
}

/// Bootstraps of [`bias_corrected`].
const BOOTSTRAPS: u32 = 1000;

/// The winner's score without the optimism of having been chosen: bootstrap bias correction (BBC-CV, Tsamardinos,
/// Greasidou & Borboudakis 2018, arXiv:1708.07180), over validation parts: each bootstrap draws parts of one repeat with
/// repetition, chooses the best candidate on those, and scores it on the parts that were not drawn, whose rows had no say
/// in the choice. Bootstraps take turns through the repeats. `None` for fewer than two parts.
pub fn bias_corrected(direction: Direction, scored: &[Scored<'_>], parts: &Parts, key: Key) -> Option<Estimate> {
    let means: Vec<(u64, Vec<f64>)> = ranked(direction, scored, scored.len())
        .into_iter()
        .filter(|one| !one.value.is_nan())
        .map(|one| (one.candidate, parts.means(one.folds)))
        .collect();
    if means.is_empty() || parts.a_repeat() < 2 {
        return None;
    }
    let contenders = contenders(direction, &means);
    let values: Vec<Option<f64>> = (0..BOOTSTRAPS)
        .into_par_iter()
        .map(|bootstrap| {
            let repeat = bootstrap as usize % parts.repeats();
            left_out_score(direction, &contenders, repeat * parts.a_repeat(), parts.a_repeat(), key.child(bootstrap))
        })
        .collect();
    let values: Vec<f64> = values.into_iter().flatten().collect();
    let value = mean(&values);
    let spread = std_error(&values)? * (values.len() as f64).sqrt();
    Some(Estimate { value, std_error: spread, bootstraps: values.len() as u32 })
}

/// One bootstrap over `count` parts from `first` on; `None` if it draws every part.
fn left_out_score(
    direction: Direction,
    contenders: &[&(u64, Vec<f64>)],
    first: usize,
    count: usize,
    key: Key,
) -> Option<f64> {
    let mut drawn = vec![0u32; count];
    (0..count).for_each(|draw| drawn[below(key, draw as u64, count as u64) as usize] += 1);
    let left_out = drawn.iter().filter(|times| **times == 0).count();
    if left_out == 0 {
        return None;
    }
    let in_bag = |means: &[f64]| -> f64 { means[first..].iter().zip(&drawn).map(|(s, n)| s * f64::from(*n)).sum() };
    let (_, chosen) = contenders
        .iter()
        .map(|one| (in_bag(&one.1), one))
        .min_by(|a, b| direction.compare(a.0, b.0).then(a.1.0.cmp(&b.1.0)))?;
    let out = chosen.1[first..].iter().zip(&drawn).filter(|(_, times)| **times == 0);
    Some(out.map(|(score, _)| score).sum::<f64>() / left_out as f64)
}

/// More contenders than this are not worth looking for: each candidate is compared with all of them.
const MOST_CONTENDERS: usize = 500;

/// Candidates that no other one beats or equals on every part, out of candidates in the order of their means. No bootstrap
/// chooses another one before these, so only they need to be looked at: with a handful of parts, a handful out of a
/// million. Where there would be too many, all candidates.
fn contenders(direction: Direction, ranked: &[(u64, Vec<f64>)]) -> Vec<&(u64, Vec<f64>)> {
    let sign = direction.sign();
    let is_covered = |one: &[f64], by: &[f64]| one.iter().zip(by).all(|(a, b)| sign * a <= sign * b);
    let mut front: Vec<&(u64, Vec<f64>)> = Vec::new();
    // What covers a candidate has at least its mean, so it stands before it.
    for one in ranked {
        if !front.iter().any(|by| is_covered(&one.1, &by.1)) {
            front.push(one);
            if front.len() > MOST_CONTENDERS {
                return ranked.iter().collect();
            }
        }
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored<'a>(rows: &'a [(f64, Vec<f64>)]) -> Vec<Scored<'a>> {
        let one = |(candidate, (cost, folds)): (usize, &'a (f64, Vec<f64>))| Scored {
            candidate: candidate as u64,
            value: mean(folds),
            folds,
            cost: *cost,
        };
        rows.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_best_is_never_nan_and_ties_go_to_the_simpler() {
        let rows = [(1.0, vec![f64::NAN, 0.1]), (9.0, vec![0.2, 0.4]), (5.0, vec![0.4, 0.2]), (1.0, vec![0.5, 0.5])];
        assert_eq!(best(Direction::Minimize, &scored(&rows)).unwrap().candidate, 2);
        assert_eq!(best(Direction::Maximize, &scored(&rows)).unwrap().candidate, 3);
        assert!(best(Direction::Minimize, &scored(&rows[..1])).is_none());
    }

    #[test]
    fn one_standard_error_takes_the_simplest_within_reach() {
        // The best: mean 0.3, standard error 0.1; reach 0.4.
        let rows = [(9.0, vec![0.2, 0.4]), (5.0, vec![0.39, 0.40]), (1.0, vec![0.41, 0.41]), (7.0, vec![0.3, 0.31])];
        let parts = Parts::one_each(2);
        assert_eq!(one_standard_error(Direction::Minimize, &scored(&rows), &parts).unwrap().candidate, 1);
    }

    #[test]
    fn bias_correction_is_the_mean_over_bootstraps_of_the_left_out_folds() {
        // Two folds: a bootstrap that leaves one out draws the other twice. Candidate 0 wins on fold 0 (0.1) and is then
        // scored on fold 1 (0.5); candidate 1 wins on fold 1 (0.2), then scored on fold 0 (0.6).
        let rows = [(1.0, vec![0.1, 0.5]), (1.0, vec![0.6, 0.2]), (1.0, vec![0.7, 0.6])];
        let estimate =
            bias_corrected(Direction::Minimize, &scored(&rows), &Parts::one_each(2), Key::from_seed(1)).unwrap();
        assert!(estimate.bootstraps > 400 && estimate.bootstraps < 600, "about half leave one out");
        assert!((estimate.value - 0.55).abs() < 0.01, "{}", estimate.value);
        let naive = best(Direction::Minimize, &scored(&rows)).unwrap().value;
        assert!(estimate.value > naive, "the correction is pessimistic");
    }

    #[test]
    fn looking_at_contenders_only_changes_nothing() {
        let key = Key::from_seed(4);
        let draw = |i: u64| crate::base::random::uniform_f64(key.words(i));
        let rows: Vec<(f64, Vec<f64>)> =
            (0..200u64).map(|i| (1.0, (0..5).map(|fold| draw(i * 5 + fold)).collect())).collect();
        let direction = Direction::Maximize;
        let all: Vec<(u64, Vec<f64>)> =
            ranked(direction, &scored(&rows), 200).iter().map(|one| (one.candidate, one.folds.to_vec())).collect();
        let front = contenders(direction, &all);
        assert!(front.len() < all.len() / 2);
        let all: Vec<_> = all.iter().collect();
        for bootstrap in 0..50 {
            let score = |set: &[&(u64, Vec<f64>)]| left_out_score(direction, set, 0, 5, key.child(bootstrap));
            assert_eq!(score(&all), score(&front));
        }
    }

    #[test]
    fn scores_on_the_same_rows_are_drawn_together() {
        // Two repeats of two parts, both of them equal: what is drawn in one repeat is not scored in the other.
        let rows = [(1.0, vec![0.1, 0.5, 0.1, 0.5]), (1.0, vec![0.6, 0.2, 0.6, 0.2])];
        let once: Vec<(f64, Vec<f64>)> = rows.iter().map(|(cost, folds)| (*cost, folds[..2].to_vec())).collect();
        let key = Key::from_seed(1);
        let direction = Direction::Minimize;
        let twice = bias_corrected(direction, &scored(&rows), &Parts::repeated(2, 2), key);
        assert_eq!(twice, bias_corrected(direction, &scored(&once), &Parts::one_each(2), key));
    }

    #[test]
    fn the_standard_error_is_the_textbook_one() {
        assert_eq!(std_error(&[1.0]), None);
        assert!((std_error(&[1.0, 2.0, 3.0, 4.0]).unwrap() - 0.645_497_224_367_902_8).abs() < 1e-15);
    }
}
