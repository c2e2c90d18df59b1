//! Axes bent before the kernel sees them, so that a function may change faster near one end than near the other.
//!
//! The bend is the distribution function of Kumaraswamy, `u = 1 - (1 - x^a)^b`, with the exponents fitted beside the lengths
//! (Snoek et al. 2014, "Input warping for Bayesian optimization of non-stationary functions", arXiv:1402.0929, who take the
//! beta distribution, which has no closed form).

use super::kernel::exp_of_negative;
use super::wide::{Loops, wide};

/// Places stay so far off both ends, where slopes may be infinite.
const MARGIN: f64 = 1e-7;

/// The bend of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Warp {
    pub(super) a: f64,
    pub(super) b: f64,
}

/// A place that is bent, and how it changes with the logarithms of the place and of `b`.
struct Bent {
    place: f64,
    by_log_place: f64,
    by_log_b: f64,
}

/// A place as it is bent: off both ends.
pub(super) fn inside(x: f64) -> f64 {
    x.clamp(MARGIN, 1.0 - MARGIN)
}

impl Warp {
    pub(super) fn bend(&self, x: f64) -> f64 {
        self.bend_logarithm(libm::log(inside(x))).place
    }

    /// How the bent place changes with the place.
    pub(super) fn slope(&self, x: f64) -> f64 {
        self.bend_logarithm(libm::log(inside(x))).by_log_place / inside(x)
    }

    /// Of many places inside whose logarithms are known: them bent, and how they change with the logarithms of `a` and `b`.
    pub(super) fn bend_all(&self, logs: &[f64], places: &mut [f64], by_logs: &mut [Vec<f64>; 2]) {
        let [by_a, by_b] = by_logs;
        wide(Rests(self, logs, places));
        by_b.iter_mut().zip(&*places).for_each(|(log_rest, rest)| *log_rest = libm::log(*rest));
        wide(Tails(self, logs, places, [by_a, by_b]));
    }

    /// Of a place inside whose logarithm is known.
    fn bend_logarithm(&self, log: f64) -> Bent {
        // Powers by their logarithms: neither base nor result is above 1.
        let rest = 1.0 - exp_of_negative(self.a * log);
        self.bend_rest(rest, libm::log(rest))
    }

    #[inline(always)]
    fn bend_rest(&self, rest: f64, log_rest: f64) -> Bent {
        let tail = exp_of_negative(self.b * log_rest);
        Bent {
            place: 1.0 - tail,
            by_log_place: self.a * self.b * (1.0 - rest) * tail / rest,
            by_log_b: -self.b * tail * log_rest,
        }
    }
}

/// `1 - x^a` of the logarithms of places.
struct Rests<'a>(&'a Warp, &'a [f64], &'a mut [f64]);

impl Loops for Rests<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rests(warp, logs, rests) = self;
        for (rest, log) in rests.iter_mut().zip(logs) {
            *rest = 1.0 - exp_of_negative(warp.a * log);
        }
    }
}

/// From rests to places, and from the rests' logarithms, in the second of two, to how places change.
struct Tails<'a>(&'a Warp, &'a [f64], &'a mut [f64], [&'a mut Vec<f64>; 2]);

impl Loops for Tails<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Tails(warp, logs, places, [by_a, by_b]) = self;
        for ((place, log), (by_a, by_b)) in places.iter_mut().zip(logs).zip(by_a.iter_mut().zip(by_b.iter_mut())) {
            let bent = warp.bend_rest(*place, *by_b);
            (*place, *by_a, *by_b) = (bent.place, bent.by_log_place * log, bent.by_log_b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_of_one_leave_an_axis_straight_and_others_keep_its_ends() {
        for x in [0.0, 0.2, 0.7, 1.0] {
            assert!((Warp { a: 1.0, b: 1.0 }.bend(x) - x).abs() < 2e-7);
        }
        for warp in [Warp { a: 0.3, b: 2.0 }, Warp { a: 4.0, b: 0.5 }] {
            assert!(warp.bend(0.0) < 0.02 && warp.bend(1.0) > 0.98);
            let places: Vec<f64> = (0..=50).map(|step| warp.bend(f64::from(step) / 50.0)).collect();
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
        }
    }

    #[test]
    fn slopes_are_what_a_bent_place_changes_by() {
        let (a, b) = (0.6f64, 1.7f64);
        for x in [0.05, 0.4, 0.93] {
            let warp = Warp { a, b };
            let (mut place, mut by_logs) = ([0.0], [vec![0.0], vec![0.0]]);
            warp.bend_all(&[libm::log(x)], &mut place, &mut by_logs);
            let exact = 1.0 - (1.0 - x.powf(a)).powf(b);
            assert!((place[0] - exact).abs() < 1e-14 && place[0] == warp.bend(x), "{x}: {exact}");
            let step = 1e-6;
            let difference = |at: &dyn Fn(f64) -> f64| (at(step) - at(-step)) / (2.0 * step);
            let by_place = difference(&|step| Warp { a, b }.bend(x + step));
            let by_log_a = difference(&|step| Warp { a: a * step.exp(), b }.bend(x));
            let by_log_b = difference(&|step| Warp { a, b: b * step.exp() }.bend(x));
            for (slope, measured) in [(warp.slope(x), by_place), (by_logs[0][0], by_log_a), (by_logs[1][0], by_log_b)] {
                assert!((slope - measured).abs() < 1e-7 * (1.0 + measured.abs()), "{x}: {slope} {measured}");
            }
        }
    }
}
