//! How the values of a search are distributed, in constant memory and to the same counts whatever the order: each value falls
//! into one of 2^20 bins, whose edges are a 256th of a power of two apart.

use serde::{Deserialize, Serialize};

/// Bits of a value that name its bin: sign, exponent and eight of the fraction.
const BITS: u32 = 20;

/// Counts of values. NaN is counted by whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    counts: Vec<u64>,
    total: u64,
}

/// Bins that hold something: how many empty ones stand before each, and its count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bins(Vec<(u32, u64)>);

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution { counts: vec![0; 1 << BITS], total: 0 }
    }
}

/// A value's bits in an order that is the values' own.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The value of ordered bits.
fn unordered(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

impl Distribution {
    /// Counts a value.
    pub fn record(&mut self, value: f64) {
        self.counts[(ordered(value) >> (64 - BITS)) as usize] += 1;
        self.total += 1;
    }

    /// Values that were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value below which a share of all lie, from the least (0) to the greatest (1): the lower edge of its bin, good to
    /// four thousandths of itself. None of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share.clamp(0.0, 1.0) * self.total.saturating_sub(1) as f64) as u64;
        let mut below = 0;
        let bin = self.counts.iter().position(|count| {
            below += count;
            below > rank
        })?;
        let edge = unordered((bin as u64) << (64 - BITS));
        // Below zero the bin's lower edge is the one with the larger bits.
        Some(if edge < 0.0 { unordered(((bin as u64 + 1) << (64 - BITS)).wrapping_sub(1)) } else { edge })
    }

    /// What a journal keeps.
    pub fn bins(&self) -> Bins {
        let mut last = 0;
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Bins(filled.map(|(bin, count)| ((bin - std::mem::replace(&mut last, bin + 1)) as u32, *count)).collect())
    }

    /// From what a journal kept; `None` where that is damaged.
    pub fn of_bins(bins: &Bins) -> Option<Distribution> {
        let mut distribution = Distribution::default();
        let mut next = 0usize;
        for (gap, count) in &bins.0 {
            let bin = next.checked_add(*gap as usize)?;
            *distribution.counts.get_mut(bin)? = *count;
            distribution.total = distribution.total.checked_add(*count)?;
            next = bin + 1;
        }
        Some(distribution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_values_to_four_thousandths() {
        let mut distribution = Distribution::default();
        assert_eq!(distribution.quantile(0.5), None);
        let mut values: Vec<f64> = (1..=1000).map(|i| (f64::from(i) - 400.3) * 1.7).collect();
        values.iter().rev().for_each(|value| distribution.record(*value));
        values.sort_by(f64::total_cmp);
        for share in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let exact = values[(share * 999.0) as usize];
            let found = distribution.quantile(share).expect("a thousand values");
            assert!((found - exact).abs() <= exact.abs() / 256.0, "{share}: {found} for {exact}");
        }
        distribution.record(f64::INFINITY);
        distribution.record(f64::NEG_INFINITY);
        distribution.record(-0.0);
        assert_eq!(distribution.total(), 1003);
    }

    #[test]
    fn a_journal_gives_back_the_counts_that_it_was_made_of() {
        let mut distribution = Distribution::default();
        [1e-300, 1e300, 0.0, -5.0, 1.0, 1.0, f64::MAX, f64::INFINITY]
            .iter()
            .for_each(|value| distribution.record(*value));
        let bins = distribution.bins();
        assert_eq!(Distribution::of_bins(&bins), Some(distribution));
        assert_eq!(Distribution::of_bins(&Bins(vec![(1 << BITS, 1)])), None, "beyond the last bin");
        assert_eq!(Distribution::of_bins(&Bins(vec![(0, u64::MAX), (0, 1)])), None, "more than can be counted");
    }
}
