//! Ends what its own curve gives little chance to beat the best so far at the full budget (Domhan, Springenberg & Hutter 2015,
//! "Speeding up automatic hyperparameter optimization of deep neural networks by extrapolation of learning curves").
//!
//! As there, parametric families are fitted and averaged by how well they explain the curve so far, with the uncertainty that
//! leaves. Here that is done in closed form rather than by sampling: a family's shape and the noise come from a short list, and given
//! both, a curve is linear in where it starts and how far it falls, with a normal prior. How far curves fall is learnt from
//! those that came to the full budget, and so is how much wider than the model's own uncertainty the errors are.

use super::stopping::{Rule, Stopping};
use super::{Scheduler, SchedulerEntry, SchedulerOptions, rungs};
use crate::base::distributions::normal_above;
use crate::base::order;
use crate::base::registry::Named;

/// So many candidates come to their full budget before one is judged by what is learnt of them.
const EARLIER: usize = 5;
/// What is learnt is learnt of so many, the last ones.
const REMEMBERED: usize = 200;
/// The least chance that goes on, where nothing else is said: Domhan et al.'s.
const LEVEL: f64 = 0.05;
/// Exponents of `x^-a`, decays of `exp(-b x / X)` where X is the full budget.
const POWERS: [f64; 7] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5];
const DECAYS: [f64; 7] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
/// Standard deviations of a value, in units of what curves fall.
const NOISE: [f64; 4] = [0.01, 0.03, 0.1, 0.3];
/// Prior precision of a curve's start, in these units.
const START: f64 = 1e-2;
/// A curve's end counts as no further off than this, squared and in variances: one that went astray has no width to say.
const FARTHEST: f64 = 100.0;
/// Falls differ by so much of what they are at least.
const LEAST_SPREAD: f64 = 0.1;

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
        Box::new(Stopping::new(options, LearningCurve::new(&self.rungs(options), level)))
    }
}

struct LearningCurve {
    level: f64,
    shapes: Vec<Shape>,
    /// The last whole curves, and the least value that any of them came to.
    curves: Vec<Vec<f64>>,
    best: f64,
    /// By how much they fell: the middle of them, and their standard deviation.
    fall: f64,
    spread: f64,
    /// Of each rung, by how much more than the model's own uncertainty the ends were off; 1 at least.
    wider: Vec<f64>,
}

/// The shape of a curve: how much of its fall is done at each rung, from 0 at the first one to 1 at the full budget.
struct Shape(Vec<f64>);

/// What is expected of a curve's fall before it is seen.
struct Prior {
    mean: f64,
    precision: f64,
}

/// One of the curves that may be: its weight, and the value at the full budget with its standard deviation.
struct End {
    weight: f64,
    mean: f64,
    deviation: f64,
}

impl LearningCurve {
    fn new(rungs: &[u64], level: f64) -> LearningCurve {
        let full = rungs.last().map_or(1.0, |budget| *budget as f64);
        let at: Vec<f64> = rungs.iter().map(|budget| *budget as f64).collect();
        let powers = POWERS.map(|power| Shape::new(&at, |x| libm::pow(x, -power)));
        let decays = DECAYS.map(|decay| Shape::new(&at, |x| libm::exp(-decay * x / full)));
        let shapes = powers.into_iter().chain(decays).collect();
        LearningCurve {
            level,
            shapes,
            curves: Vec::new(),
            best: f64::INFINITY,
            fall: 0.0,
            spread: 0.0,
            wider: vec![1.0; rungs.len()],
        }
    }

    /// What a curve may come to at the full budget: weights add up to 1.
    fn ends(&self, curve: &[f64]) -> Vec<End> {
        let Some(mut posteriors) = self.posteriors(curve) else { return Vec::new() };
        (0..curve.len()).for_each(|rung| posteriors.see(rung));
        posteriors.ends()
    }

    /// What is expected of a curve before any of it is seen, where anything is.
    fn posteriors<'a>(&'a self, curve: &[f64]) -> Option<Posteriors<'a>> {
        let unit = self.fall.abs();
        let first = curve.first().copied().filter(|_| unit > 0.0)?;
        // A curve that rises from the first to the last is as likely as those before it rose.
        let spread = (self.spread / unit).max(LEAST_SPREAD);
        let fall = Prior { mean: self.fall / unit, precision: 1.0 / (spread * spread) };
        let of_shape = |shape| NOISE.map(|noise| (shape, Regression::new(noise, &fall)));
        Some(Posteriors {
            first,
            unit,
            values: curve.iter().map(|value| (value - first) / unit).collect(),
            models: self.shapes.iter().flat_map(of_shape).collect(),
        })
    }

    /// How likely a curve comes to less than a value; NaN where it has values whose squares are beyond every number.
    fn chance_below(&self, curve: &[f64], value: f64) -> f64 {
        let wider = self.wider.get(curve.len().saturating_sub(1)).copied().unwrap_or(1.0);
        let below = |end: &End| end.weight * normal_above((end.mean - value) / (wider * end.deviation));
        self.ends(curve).iter().map(below).sum()
    }
}

impl Rule for LearningCurve {
    fn goes_on(&self, curve: &[f64]) -> bool {
        if self.curves.len() < EARLIER || self.fall == 0.0 || !curve.iter().all(|value| value.is_finite()) {
            return true;
        }
        // A curve of which no number can be had says nothing of its end, as one with a part beyond every number.
        let chance = self.chance_below(curve, self.best);
        chance.is_nan() || chance >= self.level
    }

    fn learn(&mut self, curves: &[Vec<f64>]) {
        self.curves.extend(curves.iter().filter(|curve| curve.iter().all(|value| value.is_finite())).cloned());
        let ends = self.curves.iter().filter_map(|curve| curve.last().copied());
        self.best = ends.fold(self.best, f64::min);
        self.curves.drain(..self.curves.len().saturating_sub(REMEMBERED));
        let falls = self.curves.iter().filter_map(|curve| Some(curve.first()? - curve.last()?));
        let falls: Vec<f64> = falls.collect();
        self.fall = quantile(&falls, 0.5);
        // Of a normal distribution the middle half is so many standard deviations wide; a few that rise without end do not count.
        self.spread = (quantile(&falls, 0.75) - quantile(&falls, 0.25)) / 1.349;
        self.wider = self.wider();
    }
}

impl LearningCurve {
    /// By how much more than its own uncertainty a prediction from each rung on was off: the root of the mean square, 1 at least.
    fn wider(&self) -> Vec<f64> {
        let mut squares = vec![(0.0, 0.0); self.wider.len()];
        for curve in &self.curves {
            let (Some(mut posteriors), Some(end)) = (self.posteriors(curve), curve.last()) else { continue };
            for (rung, (sum, count)) in squares.iter_mut().enumerate().take(curve.len()) {
                posteriors.see(rung);
                let off = off(&posteriors.ends(), *end);
                // Where no number can be had of it, it says nothing.
                if !off.is_nan() {
                    *sum += off.min(FARTHEST);
                    *count += 1.0;
                }
            }
        }
        let root = |(sum, count): (f64, f64)| if count > 0.0 { f64::max((sum / count).sqrt(), 1.0) } else { 1.0 };
        squares.into_iter().map(root).collect()
    }
}

/// The square of how far a curve's end is from the mean of those it might have had, in variances of these; NaN of none.
fn off(ends: &[End], end: f64) -> f64 {
    let mean: f64 = ends.iter().map(|end| end.weight * end.mean).sum();
    let spread = |end: &End| {
        let off = end.mean - mean;
        end.weight * (end.deviation * end.deviation + off * off)
    };
    let variance: f64 = ends.iter().map(spread).sum();
    (end - mean) * (end - mean) / variance
}

impl Shape {
    /// Of a function that falls.
    fn new(at: &[f64], falling: impl Fn(f64) -> f64) -> Shape {
        let values: Vec<f64> = at.iter().map(|x| falling(*x)).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return Shape(Vec::new()) };
        let whole = first - last;
        Shape(values.iter().map(|value| if whole > 0.0 { (first - value) / whole } else { 1.0 }).collect())
    }
}

/// A curve under every shape and noise, of which it has been seen up to some rung.
struct Posteriors<'a> {
    /// The curve's first value, and by how much curves fall.
    first: f64,
    unit: f64,
    /// Its values from the first one on, in that unit.
    values: Vec<f64>,
    models: Vec<(&'a Shape, Regression)>,
}

impl Posteriors<'_> {
    /// Sees the value at the next rung.
    fn see(&mut self, rung: usize) {
        let Some(value) = self.values.get(rung) else { return };
        for (Shape(done), regression) in &mut self.models {
            if let Some(done) = done.get(rung) {
                regression.see(*value, *done);
            }
        }
    }

    fn ends(&self) -> Vec<End> {
        let end = |(_, regression): &(&Shape, Regression)| {
            let (log_evidence, mean, variance) = regression.posterior();
            let deviation = (variance + regression.noise * regression.noise).sqrt() * self.unit;
            End { weight: log_evidence, mean: self.first + mean * self.unit, deviation }
        };
        let mut ends: Vec<End> = self.models.iter().map(end).collect();
        let most = ends.iter().map(|end| end.weight).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = ends.iter().map(|end| libm::exp(end.weight - most)).collect();
        let sum: f64 = weights.iter().sum();
        ends.iter_mut().zip(weights).for_each(|(end, weight)| end.weight = weight / sum);
        ends
    }
}

/// Bayesian linear regression of `start - fall * done` with normal noise, value by value.
struct Regression {
    noise: f64,
    log_noise: f64,
    /// Of the noise.
    precision: f64,
    count: f64,
    /// Of start and fall: the posterior's precision.
    ss: f64,
    sf: f64,
    ff: f64,
    /// The precision times the mean.
    bs: f64,
    bf: f64,
    /// Squares of what was seen and expected, times their precisions.
    squares: f64,
}

impl Regression {
    fn new(noise: f64, expected: &Prior) -> Regression {
        Regression {
            noise,
            log_noise: libm::log(noise),
            precision: 1.0 / (noise * noise),
            count: 0.0,
            ss: START,
            sf: 0.0,
            ff: expected.precision,
            bs: 0.0,
            bf: expected.precision * expected.mean,
            squares: expected.precision * expected.mean * expected.mean,
        }
    }

    fn see(&mut self, value: f64, done: f64) {
        let precision = self.precision;
        self.count += 1.0;
        self.ss += precision;
        self.sf -= precision * done;
        self.ff += precision * done * done;
        self.bs += precision * value;
        self.bf -= precision * done * value;
        self.squares += precision * value * value;
    }

    /// The logarithm of the evidence but for a constant, and the mean and variance of `start - fall`, which is the value at the full
    /// budget.
    fn posterior(&self) -> (f64, f64, f64) {
        let Regression { ss, sf, ff, bs, bf, .. } = *self;
        let determinant = ss * ff - sf * sf;
        let start = (ff * bs - sf * bf) / determinant;
        let fall = (ss * bf - sf * bs) / determinant;
        let fit = self.squares - (start * bs + fall * bf);
        let log_evidence = -self.count * self.log_noise - 0.5 * libm::log(determinant) - 0.5 * fit;
        // Of a difference of both: their variances, less twice what they have in common.
        (log_evidence, start - fall, (ff + ss + 2.0 * sf) / determinant)
    }
}

/// The value at a share of the way from the least to the largest, no value between two; 0 of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| order::ascending(*a, *b));
    let place = (share * sorted.len().saturating_sub(1) as f64) as usize;
    sorted.get(place).copied().unwrap_or(0.0)
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
        let mut rule = LearningCurve::new(&RUNGS, 0.05);
        rule.learn(curves);
        rule
    }

    #[test]
    fn a_curve_of_a_known_family_comes_to_its_known_end() {
        let rule = learnt(&curves(1, 30, 0.0));
        let mean = |curve: &[f64]| rule.ends(curve).iter().map(|end| end.weight * end.mean).sum::<f64>();
        for (power, fall) in [(0.5, 1.0), (1.0, 0.7), (1.5, 1.3)] {
            let curve = RUNGS.map(|x| 0.25 + fall * ((x as f64).powf(-power) - 81f64.powf(-power)));
            let off: Vec<f64> = (1..=4).map(|rungs| (mean(&curve[..rungs]) - 0.25).abs()).collect();
            assert!(off[3] < 0.03 && off[2] < 0.08, "{power}: {off:?}");
            // What was left to fall from there is known better than if it stayed where it is.
            assert!(off[3] < curve[3] - 0.25, "{power}: {off:?}");
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
                        let chance = rule.chance_below(&curve[..rungs], value);
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
    fn it_keeps_the_winner_more_often_than_earlier_curves_alone_do_and_saves_more() {
        // Of a hundred sets of 128 candidates.
        let rule = RuleOptions::default();
        let by_curve = |level: f64| over_sets(&LearningCurveStopping, RuleOptions { level: Some(level), ..rule });
        let by_percentile = |percentile: f64| over_sets(&PercentileStopping, RuleOptions { percentile, ..rule });
        let ((kept, saved), (kept_by_median, saved_by_median)) = (by_curve(0.1), by_percentile(50.0));
        assert!(
            kept >= kept_by_median + 5 && saved > saved_by_median,
            "{kept} {saved}: {kept_by_median} {saved_by_median}"
        );
        // The percentile that keeps it as often as the default does.
        let ((kept, saved), (kept_by_65, saved_by_65)) = (over_sets(&LearningCurveStopping, rule), by_percentile(65.0));
        assert!(kept >= kept_by_65 && saved > saved_by_65 + 0.02, "{kept} {saved}: {kept_by_65} {saved_by_65}");
    }

    #[test]
    fn what_says_nothing_goes_on() {
        let rule = learnt(&curves(5, 30, 0.0));
        assert!(!rule.goes_on(&[3.0, 2.9, 2.8]), "far from the best");
        assert!(rule.goes_on(&[3.0, f64::INFINITY]));
        assert!(learnt(&curves(5, 4, 0.0)).goes_on(&[3.0, 2.9, 2.8]), "too few before it");
        assert!(learnt(&vec![vec![1.0; 5]; 30]).goes_on(&[3.0, 2.9, 2.8]), "curves that never fell");
        assert!(learnt(&[]).goes_on(&[]) && rule.goes_on(&[0.0]));
        // Squares of these are beyond every number.
        let beyond = [1e160, -1e160, 2e160];
        assert!(rule.chance_below(&beyond, 0.5).is_nan() && rule.goes_on(&beyond));
    }

    #[test]
    fn a_curve_that_went_astray_does_not_end_all_judgement() {
        for end in [1e10, 1e100, 1e160] {
            let mut curves = curves(5, 30, 0.0);
            curves.push(vec![1.0, 1.0, 1.0, 1.0, end]);
            let rule = learnt(&curves);
            // One of 31 counts as ten standard deviations off.
            assert!(rule.wider.iter().all(|wider| *wider < 2.5), "{end}: {:?}", rule.wider);
            assert!(!rule.goes_on(&[3.0, 2.9, 2.8]), "{end}");
        }
    }

    #[test]
    fn uncertainties_are_widened_by_what_each_rung_alone_says() {
        // Along a curve each rung adds to what is known of it; here every rung begins with nothing.
        let rule = learnt(&curves(7, 40, 1.0));
        for (rung, wider) in rule.wider.iter().enumerate() {
            let offs = rule.curves.iter().map(|curve| off(&rule.ends(&curve[..=rung]), curve[4]).min(FARTHEST));
            let mean = offs.sum::<f64>() / rule.curves.len() as f64;
            assert_eq!(*wider, mean.sqrt().max(1.0), "rung {rung}");
        }
        assert!(rule.wider.iter().any(|wider| *wider > 1.0), "{:?}", rule.wider);
    }
}
