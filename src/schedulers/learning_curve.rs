//! Ends what its curve so far gives little chance to beat the best at the full budget (Domhan, Springenberg & Hutter 2015,
//! "Speeding up automatic hyperparameter optimization of deep neural networks by extrapolation of learning curves").
//!
//! Where a curve will end is learnt from those that came to the full budget, as in Baker, Gupta, Raskar & Naik 2017, "Accelerating
//! neural architecture search using performance prediction" (arXiv:1705.10823): for each rung a linear regression of ends on a curve's
//! last two values, with normal errors. What they leave uncertain with few curves is in the distribution: Student's t of a Bayesian
//! regression, where they have the deviation of residuals alone. It is of values warped so that how bad the bad ones are does not
//! count as much as who is good.

use super::stopping::{Rule, Stopping};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, rungs};
use crate::base::distributions::student_above;
use crate::base::order;
use crate::base::registry::Named;

/// So many candidates come to their full budget before one is judged by what is learnt of them. More than there are coefficients.
const EARLIER: usize = 5;
/// What is learnt is learnt of so many, the last ones.
const REMEMBERED: usize = 200;
/// The least chance that goes on, where nothing else is said: Domhan et al.'s.
const LEVEL: f64 = 0.05;
/// What draws the coefficients towards 0: so many more curves that vary as ends do and all end in the middle.
const DRAW: f64 = 0.1;
/// A value counts as no further from the best than this, in distances from the best end to their median.
const FARTHEST: f64 = 100.0;

/// The registry entry.
pub struct LearningCurveStopping;

impl Named for LearningCurveStopping {
    fn name(&self) -> &'static str {
        "learning_curve"
    }
    fn summary(&self) -> &'static str {
        "ends candidates whose curve has a chance below `level` to beat the best at the full budget"
    }
}

impl SchedulerEntry for LearningCurveStopping {
    fn rungs(&self, options: &SchedulerOptions) -> Vec<u64> {
        rungs::alone(options)
    }

    fn open(&self, options: &SchedulerOptions) -> Box<dyn Scheduler> {
        let level = options.rule.level.unwrap_or(LEVEL);
        Box::new(Stopping::new(options, LearningCurve::new(level)))
    }
}

struct LearningCurve {
    level: f64,
    /// The last whole curves, and the least value that any ever came to.
    curves: Vec<Vec<f64>>,
    best: f64,
    /// From the best end to the median of the remembered ones; 0 where nothing can be learnt of them.
    unit: f64,
    /// Of each rung but the last.
    ends: Vec<Regression>,
}

impl LearningCurve {
    fn new(level: f64) -> LearningCurve {
        LearningCurve { level, curves: Vec::new(), best: f64::INFINITY, unit: 0.0, ends: Vec::new() }
    }

    /// The logarithm of how far a value is from the best: what differs among the bad counts less than what differs among the good.
    fn warp(&self, value: f64) -> f64 {
        let distance = ((value - self.best) / self.unit).clamp(-FARTHEST, FARTHEST);
        libm::copysign(libm::log1p(distance.abs()), distance)
    }

    /// The last two values of a curve that has come to a rung; on the first one there is but one, and nothing for the other.
    fn last_two(&self, curve: &[f64], rung: usize) -> Option<[f64; 2]> {
        let before = rung.checked_sub(1).and_then(|before| curve.get(before));
        Some([self.warp(*curve.get(rung)?), before.map_or(0.0, |value| self.warp(*value))])
    }

    /// How likely a curve ends below a value; nothing where that cannot be said.
    fn chance_below(&self, curve: &[f64], value: f64) -> Option<f64> {
        let rung = curve.len().checked_sub(1)?;
        let is_number = curve.iter().rev().take(2).all(|value| value.is_finite());
        let regression = self.ends.get(rung).filter(|_| is_number)?;
        Some(regression.chance_below(self.warp(value), self.last_two(curve, rung)?))
    }
}

impl Rule for LearningCurve {
    fn goes_on(&self, curve: &[f64]) -> bool {
        // One of which no number can be had goes on.
        self.chance_below(curve, self.best).is_none_or(|chance| chance.is_nan() || chance >= self.level)
    }

    fn learn(&mut self, curves: &[Vec<f64>]) {
        let whole = curves.iter().filter(|curve| curve.iter().all(|value| value.is_finite()));
        self.best = whole.clone().filter_map(|curve| curve.last().copied()).fold(self.best, f64::min);
        self.curves.extend(whole.cloned());
        self.curves.drain(..self.curves.len().saturating_sub(REMEMBERED));
        let mut ends: Vec<f64> = self.curves.iter().filter_map(|curve| curve.last().copied()).collect();
        ends.sort_by(|a, b| order::ascending(*a, *b));
        self.ends.clear();
        let Some(most) = ends.last().filter(|_| ends.len() >= EARLIER) else { return };
        // Half of them may be equally good.
        let middle = Some(ends[ends.len() / 2]).filter(|middle| *middle > self.best);
        self.unit = middle.unwrap_or(*most) - self.best;
        if !(self.unit > 0.0 && self.unit.is_finite()) {
            return;
        }
        let rungs = self.curves.iter().map(Vec::len).min().unwrap_or(0);
        let learnt = (0..rungs.saturating_sub(1)).map(|rung| {
            let seen =
                self.curves.iter().filter_map(|curve| Some((self.last_two(curve, rung)?, self.warp(*curve.last()?))));
            Regression::of(&seen.collect::<Vec<_>>())
        });
        self.ends = learnt.collect();
    }
}

/// Bayesian linear regression of a value on two others: coefficients with a normal prior at 0, nothing known of the middle and of
/// the noise (Gelman et al. 2013, "Bayesian Data Analysis", section 14.8).
struct Regression {
    count: f64,
    /// Middles of what it regresses on, and of the value.
    middles: [f64; 2],
    middle: f64,
    coefficients: [f64; 2],
    /// The coefficients' covariance in squares of `deviation`: of the first, of both, of the second.
    covariance: [f64; 3],
    /// Of the noise, and the degrees of freedom that are left for it.
    deviation: f64,
    degrees: f64,
}

/// What is regressed on, and the value.
type Seen = ([f64; 2], f64);

impl Regression {
    /// Of three at least.
    fn of(seen: &[Seen]) -> Regression {
        let count = seen.len() as f64;
        let mean = |of: &dyn Fn(&Seen) -> f64| seen.iter().map(of).sum::<f64>() / count;
        let middles = [mean(&|(x, _)| x[0]), mean(&|(x, _)| x[1])];
        let middle = mean(&|(_, y)| *y);
        let centred = seen.iter().map(|(x, y)| ([x[0] - middles[0], x[1] - middles[1]], y - middle));
        let sum = |of: &dyn Fn([f64; 2], f64) -> f64| centred.clone().map(|(x, y)| of(x, y)).sum::<f64>();
        let squares = sum(&|_, y| y * y);
        let draw = DRAW * squares / count;
        let [aa, ab, bb] = [sum(&|x, _| x[0] * x[0]) + draw, sum(&|x, _| x[0] * x[1]), sum(&|x, _| x[1] * x[1]) + draw];
        let [ay, by] = [sum(&|x, y| x[0] * y), sum(&|x, y| x[1] * y)];
        let determinant = aa * bb - ab * ab;
        let covariance = [bb / determinant, -ab / determinant, aa / determinant];
        let coefficients = [covariance[0] * ay + covariance[1] * by, covariance[1] * ay + covariance[2] * by];
        let residuals = sum(&|x, y| {
            let off = y - coefficients[0] * x[0] - coefficients[1] * x[1];
            off * off
        });
        // What varies takes a coefficient, and the middle is one.
        let varying = [0, 1].map(|i| usize::from(centred.clone().any(|(x, _)| x[i] != 0.0)));
        let degrees = (count - 1.0 - varying.iter().sum::<usize>() as f64).max(1.0);
        let deviation = (residuals / degrees).sqrt();
        Regression { count, middles, middle, coefficients, covariance, deviation, degrees }
    }

    /// How likely a value comes to less than another; NaN where there was no noise and it is exactly that.
    fn chance_below(&self, value: f64, x: [f64; 2]) -> f64 {
        let [a, b] = [x[0] - self.middles[0], x[1] - self.middles[1]];
        let mean = self.middle + self.coefficients[0] * a + self.coefficients[1] * b;
        let of_mean = 1.0 / self.count
            + a * a * self.covariance[0]
            + 2.0 * a * b * self.covariance[1]
            + b * b * self.covariance[2];
        student_above((mean - value) / (self.deviation * (1.0 + of_mean).sqrt()), self.degrees)
    }
}

#[cfg(test)]
mod tests {
    use super::super::percentile::PercentileStopping;
    use super::super::testing::{course, options};
    use super::super::{Round, RuleOptions};
    use super::*;

    const RUNGS: [u64; 5] = [1, 3, 9, 27, 81];

    /// Uniform numbers between 0 and 1.
    struct Draw(u64);

    impl Draw {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / (1u64 << 31) as f64
        }

        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.next()).sum::<f64>() - 6.0
        }
    }

    /// Curves of powers, decays and logistic steps that come to an end between 0 and 1, with noise.
    fn curves(seed: u64, count: usize, noise: f64) -> Vec<Vec<f64>> {
        let mut draw = Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut curve = || {
            let (end, fall, kind) = (draw.next(), 0.3 + draw.next(), draw.next());
            let (power, decay) = (0.3 + 1.2 * draw.next(), 2.0 + 20.0 * draw.next());
            let shape = |x: f64| match kind {
                kind if kind < 0.4 => x.powf(-power),
                kind if kind < 0.8 => (-decay * x / 81.0).exp(),
                _ => 1.0 / (1.0 + (x / (4.0 * decay)).powi(2)),
            };
            let last = shape(81.0);
            RUNGS.map(|x| end + fall * (shape(x as f64) - last) + noise * draw.normal()).to_vec()
        };
        (0..count).map(|_| curve()).collect()
    }

    fn learnt(curves: &[Vec<f64>]) -> LearningCurve {
        let mut rule = LearningCurve::new(0.05);
        rule.learn(curves);
        rule
    }

    #[test]
    fn chances_are_those_of_numpy_and_scipy() {
        let earlier: [[f64; 3]; 7] = [
            [0.9, 0.7, 0.5],
            [0.8, 0.75, 0.7],
            [1.0, 0.5, 0.3],
            [0.7, 0.6, 0.45],
            [0.95, 0.9, 0.85],
            [0.6, 0.55, 0.5],
            [1.2, 1.1, 400.0],
        ];
        let rule = learnt(&earlier.map(|curve| curve.to_vec()));
        // numpy.linalg.lstsq of the warped values with a row more for each coefficient, and scipy.stats.t.cdf.
        for (curve, chance) in [
            (&[0.75][..], 0.2815554634917247),
            (&[0.75, 0.5], 0.48393194947927826),
            (&[0.85, 0.8], 0.10374068476307985),
        ] {
            let found = rule.chance_below(curve, rule.best).unwrap();
            assert!((found - chance).abs() < 1e-9, "{curve:?}: {found}");
        }
    }

    #[test]
    fn chances_are_what_they_say() {
        // Of curves that the rule has not seen, how many of those with a chance below p to end below a value do so.
        let rule = learnt(&curves(2, 60, 0.02));
        let fresh = curves(3, 2000, 0.02);
        for rungs in 1..=4 {
            for (low, high) in [(0.0, 0.05), (0.05, 0.3), (0.3, 0.7), (0.7, 0.95), (0.95, 1.0)] {
                let (mut all, mut below) = (0.0, 0.0);
                for curve in &fresh {
                    for value in [0.1, 0.3, 0.5, 0.7, 0.9] {
                        let chance = rule.chance_below(&curve[..rungs], value).unwrap();
                        if chance >= low && chance <= high {
                            all += 1.0;
                            below += f64::from(curve[4] < value);
                        }
                    }
                }
                if all > 100.0 {
                    let share = below / all;
                    assert!(
                        share > low - 0.15 && share < high + 0.1,
                        "{rungs} rungs, {low} to {high}: {share} of {all}"
                    );
                }
            }
        }
    }

    /// Whether the candidate that ends best came to its end, and the share of all training that was saved.
    fn outcome(entry: &dyn SchedulerEntry, curves: &[Vec<f64>], rule: RuleOptions) -> (bool, f64) {
        let place = |budget: u64| RUNGS.iter().position(|rung| *rung == budget).unwrap();
        let value = |candidate: u64, budget: u64| curves[candidate as usize][place(budget)];
        let of = SchedulerOptions { rule, ..options(81) };
        let rounds: Vec<Round> = course(entry, &of, curves.len() as u64, 16, value);
        let ended: Vec<(u64, u64)> = rounds.iter().flat_map(|round| round.ended.clone()).collect();
        let best = (0..curves.len()).min_by(|a, b| curves[*a][4].total_cmp(&curves[*b][4])).unwrap() as u64;
        let saved: u64 = ended.iter().map(|(_, had)| 81 - had).sum();
        (ended.iter().all(|(candidate, _)| *candidate != best), saved as f64 / (81 * curves.len()) as f64)
    }

    fn over_sets(entry: &dyn SchedulerEntry, rule: RuleOptions) -> (usize, f64) {
        let sets: Vec<(bool, f64)> = (0..100).map(|set| outcome(entry, &curves(100 + set, 128, 0.02), rule)).collect();
        let kept = sets.iter().filter(|(is_kept, _)| *is_kept).count();
        (kept, sets.iter().map(|(_, saved)| saved).sum::<f64>() / 100.0)
    }

    #[test]
    fn it_keeps_the_winner_more_often_than_a_percentile_and_saves_more() {
        // Of a hundred sets of 128 candidates, at the level that saves as much.
        let rule = RuleOptions::default();
        let (kept, saved) = over_sets(&LearningCurveStopping, RuleOptions { level: Some(0.003), ..rule });
        let (kept_by_55, saved_by_55) = over_sets(&PercentileStopping, RuleOptions { percentile: 55.0, ..rule });
        assert!(kept > kept_by_55 && saved > saved_by_55, "{kept} {saved}: {kept_by_55} {saved_by_55}");
    }

    #[test]
    fn the_best_counts_however_many_came_to_their_end_with_it() {
        let mut curves = curves(9, 300, 0.0);
        curves[0] = vec![0.5, 0.2, 0.1, 0.0, -7.0];
        assert_eq!(learnt(&curves).best, -7.0);
    }

    #[test]
    fn what_says_nothing_goes_on() {
        let rule = learnt(&curves(5, 30, 0.0));
        assert!(!rule.goes_on(&[3.0, 2.9, 2.8]), "far from the best");
        assert!(rule.goes_on(&[3.0, f64::INFINITY]));
        assert!(learnt(&curves(5, 4, 0.0)).goes_on(&[3.0, 2.9, 2.8]), "too few before it");
        assert!(learnt(&vec![vec![1.0; 5]; 30]).goes_on(&[3.0, 2.9, 2.8]), "curves that never fell");
        assert!(learnt(&[]).goes_on(&[]) && rule.goes_on(&[0.0]));
        let beyond = learnt(&vec![vec![f64::MAX, -f64::MAX]; 30]);
        assert!(beyond.goes_on(&[f64::MAX]), "further apart than every number");
    }

    #[test]
    fn a_curve_that_went_astray_does_not_end_all_judgement() {
        let with = |end: f64| {
            let mut curves = curves(5, 199, 0.0);
            curves.push(vec![1.0, 1.0, 1.0, 1.0, end]);
            learnt(&curves)
        };
        let chance = |end| with(end).chance_below(&[3.0, 2.9, 2.8], 0.0);
        for end in [1e10, 1e100, 1e160, f64::INFINITY, f64::NAN] {
            assert!(!with(end).goes_on(&[3.0, 2.9, 2.8]), "{end}");
        }
        assert!(chance(1e10).is_some() && chance(1e10) == chance(1e160), "beyond the farthest all is the same");
    }
}
