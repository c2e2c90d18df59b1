//! Ordered axes: neighbours of the mean's value stay in reach, however narrow the Gaussian becomes.
//!
//! CMA-ES with margin (Hamano, Saito, Nomura & Shirakawa 2022, arXiv:2205.13482), section 4.2 and 4.3: mean and spread of
//! an axis are changed so that each side of the mean's cell keeps a least probability. Unlike there the widening is solved
//! anew from the covariance each generation, and so ends where the Gaussian is wide enough by itself.

use crate::base::random::inverse_normal_cdf;
use crate::space::{Codec, Scale};

/// The cells of an ordered axis in the unit interval; the first and the last one have no outer end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells {
    codec: Codec,
    count: u64,
}

impl Cells {
    pub(super) fn new(codec: Codec, count: u64) -> Cells {
        Cells { codec, count }
    }

    /// The ends of the cell that holds a place; `None` beyond the first or the last.
    fn around(&self, place: f64) -> (Option<f64>, Option<f64>) {
        let value = self.codec.decode(place);
        let index = match self.codec {
            Codec::Stepped { low, step, .. } => libm::round((value - low) / step),
            _ => value,
        };
        let upper = (index + 1.0 < self.count as f64).then(|| self.upper_end(index));
        ((index > 0.0).then(|| self.upper_end(index - 1.0)), upper)
    }

    fn upper_end(&self, index: f64) -> f64 {
        match self.codec {
            Codec::Stepped { scale, from, length, low, step, .. } => {
                let value = low + (index + 0.5) * step;
                let place = match scale {
                    Scale::Linear => value,
                    Scale::Log => libm::log(value),
                    Scale::Logit => libm::log(value) - libm::log1p(-value),
                };
                (place - from) / length
            }
            _ => (index + 1.0) / self.count as f64,
        }
    }

    /// The mean and the widening that leave every other cell's side at least `alpha` (or half of it, where there are two
    /// sides) of the probability.
    pub(super) fn keep_open(&self, mean: f64, spread: f64, alpha: f64) -> (f64, f64) {
        let (low, up) = match self.around(mean) {
            (Some(low), Some(up)) => (low, up),
            // Eq. (8): at either end the mean stays close enough to its only threshold.
            (Some(end), None) => return (mean.min(end + quantile(alpha) * spread), 1.0),
            (None, Some(end)) => return (mean.max(end - quantile(alpha) * spread), 1.0),
            (None, None) => return (mean, 1.0),
        };
        let (p_low, p_up) = (tail((mean - low) / spread), tail((up - mean) / spread));
        let least = alpha / 2.0;
        if p_low >= least && p_up >= least {
            return (mean, 1.0);
        }
        // Eqs. (10) to (15): raise both sides to the margin, take what they gained from what lies above it, and solve
        // for the Gaussian that has these tails.
        let p_mid = 1.0 - p_low - p_up;
        let (raised_low, raised_up) = (p_low.max(least), p_up.max(least));
        let share = (1.0 - raised_low - raised_up - p_mid) / (raised_low + raised_up + p_mid - 3.0 * least);
        let q_low = quantile(raised_low + share * (raised_low - least));
        let q_up = quantile(raised_up + share * (raised_up - least));
        ((low * q_up + up * q_low) / (q_low + q_up), (up - low) / ((q_low + q_up) * spread))
    }
}

/// Probability above so many standard deviations.
fn tail(deviations: f64) -> f64 {
    libm::erfc(deviations * std::f64::consts::FRAC_1_SQRT_2) / 2.0
}

/// The standard deviations above which a probability lies; never on the other side of the mean.
fn quantile(probability: f64) -> f64 {
    -inverse_normal_cdf(probability.min(0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    fn cells(space: SpaceBuilder) -> Cells {
        let space = space.build();
        let codec = Codec::new(&space.parameters[0]);
        Cells::new(codec, codec.count().expect("ordered"))
    }

    #[test]
    fn ends_are_where_the_value_changes() {
        for cells in [
            cells(SpaceBuilder::new().int("n", -2, 7, 0)),
            cells(SpaceBuilder::new().log_int("n", 1, 50, 3)),
            cells(SpaceBuilder::new().ordinal("n", &[1, 2, 4, 8], 2)),
        ] {
            for index in 0..cells.count - 1 {
                let end = cells.upper_end(index as f64);
                let (below, above) = (cells.codec.decode(end - 1e-9), cells.codec.decode(end + 1e-9));
                assert_eq!(
                    (below, above),
                    (cells.codec.nth(index, cells.count), cells.codec.nth(index + 1, cells.count))
                );
            }
        }
    }

    #[test]
    fn a_narrow_axis_still_reaches_both_neighbours() {
        let cells = cells(SpaceBuilder::new().int("n", 0, 9, 4));
        let alpha = 0.01;
        for (mean, spread) in [(0.45, 1e-6), (0.41, 0.01), (0.4999, 1e-9), (0.45, 0.02)] {
            let (moved, widening) = cells.keep_open(mean, spread, alpha);
            let (low, up) = (tail((moved - 0.4) / (spread * widening)), tail((0.5 - moved) / (spread * widening)));
            // 1e-6: the quantile's relative error of 1e-9, in a tail.
            assert!(low > alpha / 2.0 - 1e-6 && up > alpha / 2.0 - 1e-6, "{mean}, {spread}: {low}, {up}");
        }
        assert_eq!(cells.keep_open(0.45, 0.2, alpha), (0.45, 1.0));
    }

    #[test]
    fn the_end_cells_stay_near_their_threshold() {
        let cells = cells(SpaceBuilder::new().int("n", 0, 1, 0));
        let alpha = 0.01;
        for mean in [0.1, 0.9] {
            let (moved, widening) = cells.keep_open(mean, 1e-3, alpha);
            assert_eq!(widening, 1.0);
            assert_eq!(moved < 0.5, mean < 0.5);
            assert!((tail((moved - 0.5).abs() / 1e-3) - alpha).abs() < 1e-6, "{moved}");
        }
    }
}
