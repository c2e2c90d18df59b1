//! A trust region: past some axes or trials, proposals stay within a box around the best that grows while it succeeds and
//! shrinks while it fails.
//!
//! Before that, the same kind of box holds a part of each batch. TuRBO-1 of Eriksson et al. 2019, "Scalable global optimization via local Bayesian optimization" (arXiv:1910.01739),
//! section 2 and supplement; failures are counted in trials, not in batches, and the process has the trials of earlier regions,
//! too.

/// Of the box's longest edge, in the unit cube.
const FIRST_LENGTH: f64 = 0.8;
const MOST_LENGTH: f64 = 1.6;
/// The same of the box around the best that a part of each batch is from, while there is no region.
const NEARBY_LENGTH: f64 = 0.4;
const LEAST_LENGTH: f64 = 0.007_812_5;
/// Batches in a row that improve until the box grows.
const SUCCESSES: u32 = 3;

/// The state of a region.
#[derive(Debug, Clone)]
pub(super) struct Region {
    length: f64,
    successes: u32,
    /// Trials in a row without improvement, and how many of them it takes to shrink.
    failures: usize,
    patience: usize,
    /// The first trial that belongs to it.
    pub(super) first: usize,
}

impl Region {
    /// Of `axes`, from a trial on.
    pub(super) fn new(axes: usize, first: usize) -> Region {
        Region { length: FIRST_LENGTH, successes: 0, failures: 0, patience: axes.max(4), first }
    }

    /// The box that the nearby process proposes in. It never ends for good: one too small is followed by another.
    pub(super) fn around_the_best(axes: usize) -> Region {
        Region { length: NEARBY_LENGTH, patience: 2 * axes.max(5), ..Region::new(axes, 0) }
    }

    /// Learns whether a batch improved on the best, and how many trials it had.
    pub(super) fn learn(&mut self, is_better: bool, trials: usize) {
        if is_better {
            self.successes += 1;
            self.failures = 0;
        } else {
            self.successes = 0;
            self.failures += trials;
        }
        if self.successes >= SUCCESSES {
            self.length = (2.0 * self.length).min(MOST_LENGTH);
            self.successes = 0;
        } else if self.failures >= self.patience {
            self.length /= 2.0;
            self.failures = 0;
        }
    }

    /// Whether it is too small to go on.
    pub(super) fn is_over(&self) -> bool {
        self.length < LEAST_LENGTH
    }

    /// The box around a place: edges in the proportion of the lengths, whose geometric mean is the region's.
    pub(super) fn bounds(&self, centre: &[f64], weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let logs = weights.iter().map(|weight| -0.5 * libm::log(*weight));
        let mean = logs.clone().sum::<f64>() / weights.len().max(1) as f64;
        let halves: Vec<f64> =
            logs.map(|log| 0.5 * self.length * libm::exp((log - mean).clamp(-MOST_SKEW, MOST_SKEW))).collect();
        let low = centre.iter().zip(&halves).map(|(x, half)| (x - half).max(0.0)).collect();
        let high = centre.iter().zip(&halves).map(|(x, half)| (x + half).min(1.0)).collect();
        (low, high)
    }
}

/// An axis that doesn't matter has a length of hundreds: its edge is at most so many times as long as the others', ln 8.
const MOST_SKEW: f64 = 2.079_441_541_679_835_7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_success_shrinks_with_failure_and_ends() {
        let mut region = Region::new(10, 0);
        (0..3).for_each(|_| region.learn(true, 5));
        assert_eq!(region.length, 1.6);
        region.learn(false, 5);
        assert_eq!(region.length, 1.6);
        region.learn(false, 5);
        assert_eq!(region.length, 0.8);
        (0..14).for_each(|_| region.learn(false, 5));
        assert!(region.is_over());
    }

    #[test]
    fn the_box_is_long_where_lengths_are_and_within_the_cube() {
        let region = Region::new(2, 0);
        let (low, high) = region.bounds(&[0.5, 0.1], &[16.0, 1.0]);
        assert!((high[0] - low[0] - 0.4).abs() < 1e-12, "{low:?} {high:?}");
        assert!(low[1] == 0.0 && (high[1] - 0.9).abs() < 1e-12);
    }
}
