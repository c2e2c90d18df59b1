//! F-race (Birattari, Stützle, Paquete & Varrentrapp 2002; Birattari et al. 2010, section 4), as irace has it (López-Ibáñez et al.
//! 2016, section 3.3): after each fold Friedman's test says whether those who race differ, and Conover's comparison who is behind
//! the best, from the third fold on: each is compared by its ranks among all of them.
//!
//! irace takes the one with the least ranks for the best, here it is the one with the least mean, because that is what
//! chooses the winner; and who is behind must also be worse by Wilcoxon's signed-rank test against the best, as surely as so
//! few folds can say: up to four, on each of them. That keeps what looks bad by its ranks alone. As in irace, two are compared by
//! Wilcoxon's test.
//!
//! Once some candidates have been on all folds, it is known by how much a candidate differs from fold to fold beyond what the fold
//! and the candidate are: the residual of a two-way analysis of variance. With that one fold can tell who is worse than the best of them:
//! a t test of the mean of the differences, whose error is that of some folds drawn from all of them.

use super::race::{self, Field, Race, Test, differences, mean};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, Unit};
use crate::base::distributions::student_above;
use crate::base::rank_tests::{Friedman, signed_rank};
use crate::base::registry::Named;

/// How likely a candidate that is no worse is found to be in one comparison, where nothing else is said.
const LEVEL: f64 = 0.05;
/// On fewer folds ranks among many candidates are told apart where their scores are not.
const RANKED: usize = 3;
/// The same of Wilcoxon's test that confirms it, whatever the level, where there are folds enough to say so.
const CONFIRMED: f64 = 0.05;
/// So many candidates come to all folds before what is left between folds is known.
const EARLIER: usize = 5;
/// What is known of that is known of so many, the last ones.
const REMEMBERED: usize = 200;

/// The registry entry.
pub struct Racing;

impl Named for Racing {
    fn name(&self) -> &'static str {
        "racing"
    }
    fn summary(&self) -> &'static str {
        "fold by fold: who is behind the best of a batch by Friedman's test trains on no further fold (`level`)"
    }
}

impl SchedulerEntry for Racing {
    fn unit(&self) -> Unit {
        Unit::Fold
    }

    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        race::rungs(options, 1)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        let level = options.rule.level.unwrap_or(LEVEL);
        Box::new(Race::new(self.rungs(options), Ranks { level, whole: Vec::new(), residual: None }))
    }
}

struct Ranks {
    level: f64,
    /// The values of the last candidates that have been on all folds.
    whole: Vec<Vec<f64>>,
    /// Variance of what is left of these after candidate and fold, and its degrees of freedom.
    residual: Option<(f64, f64)>,
}

impl Test for Ranks {
    fn worse(&self, field: &Field<'_>) -> Vec<bool> {
        let behind = self.behind(&field.rows, field.best);
        let below = self.below(field);
        behind.into_iter().zip(below).map(|(behind, below)| behind || below).collect()
    }

    fn learn(&mut self, whole: &[Vec<f64>]) {
        self.whole.extend(whole.iter().filter(|values| values.iter().all(|value| value.is_finite())).cloned());
        self.whole.drain(..self.whole.len().saturating_sub(REMEMBERED));
        self.residual = (self.whole.len() >= EARLIER).then(|| residual(&self.whole));
    }
}

impl Ranks {
    /// Whether each is behind the best by its ranks.
    fn behind(&self, rows: &[&[f64]], best: usize) -> Vec<bool> {
        let folds = rows[best].len();
        let signed = |one: usize| signed_rank(&differences(rows[one], rows[best]));
        if rows.len() <= 2 {
            return (0..rows.len()).map(|one| one != best && signed(one) < self.level).collect();
        }
        let friedman = (folds >= RANKED).then(|| Friedman::new(rows)).filter(|friedman| friedman.p() < self.level);
        let Some(friedman) = friedman else { return vec![false; rows.len()] };
        // One-sided, so few folds are no surer than this.
        let surest = 0.5f64.powi(folds.min(1000) as i32);
        let is_behind =
            |one: usize| friedman.behind(one, best) < self.level && signed(one) <= f64::max(CONFIRMED, surest);
        (0..rows.len()).map(|one| one != best && is_behind(one)).collect()
    }

    /// Whether each has a worse mean over all folds than the best of those before, by its mean so far.
    fn below(&self, field: &Field<'_>) -> Vec<bool> {
        let (Some((variance, degrees)), Some(earlier)) = (self.residual, field.earlier) else {
            return vec![false; field.rows.len()];
        };
        let best = mean(field.rows[earlier]);
        let (folds, all) = (field.rows[earlier].len() as f64, field.folds as f64);
        // Of a difference of two candidates, on some of so many folds.
        let error = (2.0 * variance * (1.0 / folds - 1.0 / all)).sqrt();
        let is_below = |one: &[f64]| student_above((mean(one) - best) / error, degrees) < self.level;
        // The best so far may be another one than the best of those before, and cannot end either.
        field.rows.iter().enumerate().map(|(place, one)| place != field.best && is_below(one)).collect()
    }
}

/// The variance of what is left of values after the means of candidates and of folds, and its degrees of freedom.
fn residual(rows: &[Vec<f64>]) -> (f64, f64) {
    let folds = rows.iter().map(Vec::len).min().unwrap_or(0);
    let candidates: Vec<f64> = rows.iter().map(|row| mean(&row[..folds])).collect();
    let of_fold = |fold: usize| mean(&rows.iter().map(|row| row[fold]).collect::<Vec<f64>>());
    let of_folds: Vec<f64> = (0..folds).map(of_fold).collect();
    let all = mean(&candidates);
    let left = |(row, candidate): (&Vec<f64>, &f64)| -> f64 {
        let left = row.iter().zip(&of_folds).map(|(value, fold)| value - candidate - fold + all);
        left.map(|left| left * left).sum()
    };
    let squares: f64 = rows.iter().zip(&candidates).map(left).sum();
    let degrees = (rows.len().saturating_sub(1) * folds.saturating_sub(1)) as f64;
    (squares / degrees, degrees)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{course_of_folds, options};
    use super::super::{Round, RuleOptions};
    use super::*;

    fn rounds(folds: u64, level: f64, candidates: u64, batch: u64, value: impl Fn(u64, u64) -> f64) -> Vec<Round> {
        let rule = RuleOptions { level: Some(level), ..RuleOptions::default() };
        course_of_folds(&Racing, &SchedulerOptions { rule, ..options(folds) }, candidates, batch, value)
    }

    fn lanes(rounds: &[Round]) -> u64 {
        let (mut lanes, mut had) = (0, 0);
        for round in rounds.iter().filter(|round| !round.is_last()) {
            let to = round.go_on.first().map_or(round.budget, |(_, to)| *to);
            had = if round.begin > 0 { 0 } else { had };
            lanes += (round.begin + round.go_on.len() as u64) * (to - had);
            had = to;
        }
        lanes
    }

    #[test]
    fn who_is_behind_on_every_fold_trains_on_no_further_one() {
        // Twenty candidates in the same order on every fold: with nothing left to chance all but the best end after three.
        let value = |candidate: u64, fold: u64| (candidate * 7 % 20) as f64 + fold as f64 * 100.0;
        let clear = rounds(5, 0.05, 20, 20, value);
        assert_eq!((clear[0].begin, clear[0].budget, clear[2].ended.len()), (20, 1, 0));
        assert_eq!((&clear[3].go_on[..], clear[3].ended.len()), (&[(0, 4)][..], 19));
        assert_eq!(lanes(&clear), 20 * 3 + 2);
        // Where folds have nothing in common nobody ends, but for chance.
        let noise = |candidate: u64, fold: u64| ((candidate * 7919 + fold * 104_729) * 31 % 1009) as f64;
        let unclear = rounds(5, 0.05, 20, 20, noise);
        assert_eq!(lanes(&unclear), 100);
    }

    #[test]
    fn the_best_of_earlier_batches_races_along() {
        // The second batch is worse than the first one's best, and all of it ends.
        let value = |candidate: u64, fold: u64| if candidate == 3 { 0.0 } else { (candidate + 5) as f64 + fold as f64 };
        let rounds = rounds(5, 0.05, 40, 20, value);
        let second = rounds.iter().skip(1).position(|round| round.begin > 0).unwrap() + 1;
        let ended: Vec<u64> = rounds[second + 3].ended.iter().map(|(candidate, _)| *candidate).collect();
        assert_eq!(ended, (20..40).collect::<Vec<u64>>());
        assert!(rounds[second + 3].is_last());
    }

    #[test]
    fn who_is_better_on_some_fold_goes_on() {
        // Candidate 19 is last by far on the first fold and first on the second.
        let value = |candidate: u64, fold: u64| match (candidate, fold) {
            (19, 1) => -1.0,
            (19, _) => 100.0,
            _ => candidate as f64,
        };
        let rounds = rounds(5, 0.05, 20, 20, value);
        assert!(rounds[3].go_on.contains(&(19, 4)) && rounds[3].ended.len() > 10, "{:?}", rounds[3]);
    }

    #[test]
    fn one_fold_can_tell_once_it_is_known_how_much_folds_differ() {
        // Five candidates of one quality come to all folds; of the next ten five are of that quality and five are far from it.
        let wiggle = |candidate: u64, fold: u64| ((candidate * 7 + fold * 5) % 11) as f64 * 0.02;
        let value = |candidate: u64, fold: u64| wiggle(candidate, fold) + if candidate >= 10 { 1.0 } else { 0.0 };
        let rounds = rounds(5, 0.05, 15, 5, value);
        let after_one: Vec<u64> =
            rounds.iter().flat_map(|round| &round.ended).filter(|(_, had)| *had == 1).map(|(one, _)| *one).collect();
        assert_eq!(after_one, [10, 11, 12, 13, 14]);
    }

    #[test]
    fn the_best_so_far_cannot_end_whatever_the_level() {
        // At a level above a half even who is better than the best of those before is worse than it by the t test.
        let rows = [&[0.0, 1.0][..], &[2.0, 1.0], &[0.5, 1.0]];
        for (best, earlier) in [(0, 2), (0, 0)] {
            let field = Field { rows: rows.to_vec(), best, earlier: Some(earlier), folds: 5 };
            let ranks = Ranks { level: 0.95, whole: Vec::new(), residual: Some((1.0, 16.0)) };
            assert_eq!(ranks.worse(&field), [false, true, true], "{earlier}");
        }
    }

    #[test]
    fn what_is_left_of_values_is_that_of_a_two_way_analysis() {
        // Means of rows 2 and 4, of columns 2, 3 and 4: what is left is 0, 1, -1 and 0, -1, 1.
        let (variance, degrees) = residual(&[vec![1.0, 3.0, 2.0], vec![3.0, 3.0, 6.0]]);
        assert_eq!((variance, degrees), (2.0, 2.0));
        // What candidates and folds add changes nothing.
        let shifted = residual(&[vec![11.0, 23.0, 32.0], vec![113.0, 123.0, 136.0]]);
        assert!((shifted.0 - 2.0).abs() < 1e-12);
    }

    #[test]
    fn who_would_have_won_is_rarely_ended() {
        // Two hundred candidates whose qualities differ as much as their values from fold to fold, or twice as much.
        let (mut lost, mut least, mut trained) = (0, 0.0, 0);
        for set in 0..50u64 {
            let mut state = set.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as f64 / (1u64 << 31) as f64
            };
            let mut normal = || (0..12).map(|_| draw()).sum::<f64>() - 6.0;
            let spread = [1.0, 2.0][set as usize % 2];
            let values: Vec<Vec<f64>> = (0..200)
                .map(|_| {
                    let quality = spread * normal().abs();
                    (0..5).map(|fold| quality + fold as f64 + normal()).collect()
                })
                .collect();
            let rounds = rounds(5, LEVEL, 200, 50, |candidate, fold| values[candidate as usize][fold as usize]);
            let ended: Vec<u64> = rounds.iter().flat_map(|round| &round.ended).map(|(one, _)| *one).collect();
            let value = |one: &u64| mean(&values[*one as usize]);
            let best = (0..200).map(|one| value(&one)).fold(f64::INFINITY, f64::min);
            let found =
                (0..200).filter(|one| !ended.contains(one)).map(|one| value(&one)).fold(f64::INFINITY, f64::min);
            lost += usize::from(found > best);
            // In standard errors of a mean over five folds.
            least += (found - best) * 5f64.sqrt();
            trained += lanes(&rounds);
        }
        assert!(lost <= 2 && least / 50.0 < 0.01, "{lost} of 50, {}", least / 50.0);
        assert!(trained < 50 * 1000 * 8 / 10, "{trained} of 50,000 lanes");
    }
}
