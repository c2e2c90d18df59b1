//! The logarithm of expected improvement, precise where improvement is all but impossible.
//!
//! Ament et al. 2023, "Unexpected improvements to expected improvement" (arXiv:2310.20708): far from the best, expected
//! improvement is 0 in floating point, and its gradient too; its logarithm says which way is up. With a mean `m`, a
//! deviation `s` and a best value `b`, it is `ln s + ln h(u)`, `u = (b - m) / s`, `h(u) = pdf(u) + u cdf(u)`.

/// ln sqrt(2 pi)
const LN_ROOT_2_PI: f64 = 0.918_938_533_204_672_7;

/// `ln h(u)` and its slope `cdf(u) / h(u)`.
pub(super) fn log_improvement(u: f64) -> (f64, f64) {
    if u > -1.0 {
        let cdf = 0.5 * libm::erfc(-u * std::f64::consts::FRAC_1_SQRT_2);
        let h = libm::exp(-0.5 * u * u - LN_ROOT_2_PI) + u * cdf;
        return (libm::log(h), cdf / h);
    }
    // h = pdf(u) (1 - t m(t)) with t = -u and Mills's ratio m = cdf(-t) / pdf(t).
    let t = -u;
    let (mills, rest) = if t < 20.0 {
        let mills = 0.5 * libm::erfc(t * std::f64::consts::FRAC_1_SQRT_2) / libm::exp(-0.5 * t * t - LN_ROOT_2_PI);
        (mills, 1.0 - t * mills)
    } else {
        // The asymptotic series of Mills's ratio; its next term is below 1e-8 of the sum.
        let x = 1.0 / (t * t);
        let rest = x * (1.0 - 3.0 * x * (1.0 - 5.0 * x * (1.0 - 7.0 * x)));
        ((1.0 - rest) / t, rest)
    };
    (-0.5 * u * u - LN_ROOT_2_PI + libm::log(rest), mills / rest)
}

/// Of a mean and variance below a best value, and what it changes by with the mean and with the variance.
pub(super) fn log_expected_improvement(mean: f64, variance: f64, best: f64) -> [f64; 3] {
    let deviation = variance.max(LEAST_VARIANCE).sqrt();
    let u = (best - mean) / deviation;
    let (value, slope) = log_improvement(u);
    let by_deviation = (1.0 - u * slope) / deviation;
    [value + libm::log(deviation), -slope / deviation, by_deviation / (2.0 * deviation)]
}

/// Below, a variance is rounding.
pub(super) const LEAST_VARIANCE: f64 = 1e-14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_hold_from_the_middle_into_the_tail() {
        // ln(pdf(u) + u cdf(u)) in 50 digits (mpmath).
        let known = [
            (2.0, 0.697_383_545_788_228_3),
            (0.0, -0.918_938_533_204_672_7),
            (-1.0, -2.485_121_025_712_641_3),
            (-5.0, -16.744_301_162_660_99),
            (-19.0, -187.316_047_601_126_67),
            (-25.0, -319.861_463_581_495_95),
            (-1000.0, -500_014.734_452_091_16),
        ];
        for (u, expected) in known {
            let (value, _) = log_improvement(u);
            assert!((value - expected).abs() < 1e-8 * expected.abs().max(1.0), "{u}: {value} for {expected}");
        }
    }

    #[test]
    fn the_two_ways_into_the_tail_meet() {
        let (near, far) = (log_improvement(-20.0 + 1e-9), log_improvement(-20.0 - 1e-9));
        assert!((near.0 - far.0).abs() < 1e-6 && (near.1 - far.1).abs() < 1e-4, "{near:?} {far:?}");
    }

    #[test]
    fn slopes_are_what_the_logarithm_changes_by() {
        for (mean, variance) in [(0.3, 1.0), (-2.0, 0.1), (4.0, 0.5), (9.0, 0.1)] {
            let at = |mean: f64, variance: f64| log_expected_improvement(mean, variance, 0.2)[0];
            let [_, by_mean, by_variance] = log_expected_improvement(mean, variance, 0.2);
            let step = 1e-6;
            let measured = (at(mean + step, variance) - at(mean - step, variance)) / (2.0 * step);
            // Differences round at 1e-10 of the value.
            assert!((by_mean - measured).abs() < 1e-5 * by_mean.abs() + 1e-9, "{mean}: {by_mean} {measured}");
            let measured = (at(mean, variance + step) - at(mean, variance - step)) / (2.0 * step);
            assert!(
                (by_variance - measured).abs() < 1e-5 * by_variance.abs() + 1e-9,
                "{mean}: {by_variance} {measured}"
            );
        }
    }
}
