//! Axes bent before the kernel sees them, so that a function may change faster near one end than near the other.
//!
//! The bend is the distribution function of Kumaraswamy, `u = 1 - (1 - x^a)^b`, with the exponents fitted beside the lengths
//! (Snoek et al. 2014, "Input warping for Bayesian optimization of non-stationary functions", arXiv:1402.0929, who take the
//! beta distribution, which has no closed form).

/// Places stay so far off both ends, where slopes may be infinite.
const MARGIN: f64 = 1e-7;

/// The bend of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Warp {
    pub(super) a: f64,
    pub(super) b: f64,
}

/// A place that is bent, and how it changes with the place, with `ln a` and with `ln b`.
pub(super) struct Bent {
    pub(super) place: f64,
    pub(super) by_place: f64,
    pub(super) by_log_a: f64,
    pub(super) by_log_b: f64,
}

impl Warp {
    pub(super) fn bend(&self, x: f64) -> f64 {
        let x = x.clamp(MARGIN, 1.0 - MARGIN);
        1.0 - libm::pow(1.0 - libm::pow(x, self.a), self.b)
    }

    pub(super) fn bend_with_slopes(&self, x: f64) -> Bent {
        let x = x.clamp(MARGIN, 1.0 - MARGIN);
        let power = libm::pow(x, self.a);
        let rest = 1.0 - power;
        let tail = libm::pow(rest, self.b);
        // What the bent place changes by with `x^a`.
        let inner = self.b * tail / rest;
        Bent {
            place: 1.0 - tail,
            by_place: inner * self.a * power / x,
            by_log_a: inner * self.a * power * libm::log(x),
            by_log_b: -self.b * tail * libm::log(rest),
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
            let bent = Warp { a, b }.bend_with_slopes(x);
            assert_eq!(bent.place, Warp { a, b }.bend(x));
            let step = 1e-6;
            let difference = |at: &dyn Fn(f64) -> f64| (at(step) - at(-step)) / (2.0 * step);
            let by_place = difference(&|step| Warp { a, b }.bend(x + step));
            let by_log_a = difference(&|step| Warp { a: a * step.exp(), b }.bend(x));
            let by_log_b = difference(&|step| Warp { a, b: b * step.exp() }.bend(x));
            for (slope, measured) in [(bent.by_place, by_place), (bent.by_log_a, by_log_a), (bent.by_log_b, by_log_b)] {
                assert!((slope - measured).abs() < 1e-7 * (1.0 + measured.abs()), "{x}: {slope} {measured}");
            }
        }
    }
}
