//! Columns in bins: a feature's values become small whole numbers once a fold, and every lane of it grows trees on those.
//!
//! A feature with no more distinct values than bins has one bin a value and its cuts half-way between neighbours, so that
//! nothing is lost. Beyond that bins hold about equally many training rows, and a value that has more than its share of
//! them stays alone (LightGBM's greedy search, `GreedyFindBin`). All of it is counted in whole numbers.

use crate::data::{ColumnKind, Fold};
use ndarray::{ArrayView1, ArrayView2};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bins of a feature's values at most; one more holds the rows whose cell is missing, and all fit into a byte.
pub const MOST_BINS: usize = 255;

/// How one feature's values become bins `0..bins`; the bin `bins` is for missing ones.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureBins {
    /// What the feature holds.
    pub kind: ColumnKind,
    /// Bins of values, without that of missing ones; 0 where no training row has a value.
    pub bins: usize,
    /// Of numbers: bin b holds `cuts[b - 1] < x <= cuts[b]`; ascending, one fewer than there are bins.
    pub cuts: Vec<f32>,
    /// Of numbers: the least and the greatest training value of each bin.
    pub spans: Vec<[f32; 2]>,
    /// Of numbers: where these lie on a scale of 2^32 steps from the least to the greatest training value; by rank where
    /// one of them is infinite.
    pub places: Vec<[u32; 2]>,
    /// Of categories: the bin of each code.
    pub codes: Vec<u8>,
}

impl FeatureBins {
    /// Fits at most `most` bins to a feature's training values; NaN is missing.
    pub fn fit(kind: ColumnKind, column: ArrayView1<'_, f32>, most: usize) -> FeatureBins {
        let most = most.clamp(2, MOST_BINS);
        match kind {
            ColumnKind::Number => FeatureBins::numbers(column, most),
            ColumnKind::Category { levels } => FeatureBins::categories(column, levels, most),
        }
    }

    fn numbers(column: ArrayView1<'_, f32>, most: usize) -> FeatureBins {
        // Adding zero makes one value of the two zeros.
        let mut values: Vec<f32> = column.iter().filter(|x| !x.is_nan()).map(|x| x + 0.0).collect();
        values.sort_unstable_by(f32::total_cmp);
        let distinct: Vec<(f32, usize)> = values.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
        let firsts = match distinct.len() <= most {
            true => (0..distinct.len()).collect(),
            false => first_values(&distinct, values.len(), most),
        };
        let lasts = firsts.iter().skip(1).map(|first| first - 1).chain(distinct.len().checked_sub(1));
        let spans: Vec<[f32; 2]> =
            firsts.iter().zip(lasts).map(|(first, last)| [distinct[*first].0, distinct[last].0]).collect();
        let cuts = spans.windows(2).map(|pair| middle(pair[0][1], pair[1][0])).collect();
        let places = places(&spans);
        FeatureBins { kind: ColumnKind::Number, bins: spans.len(), cuts, spans, places, codes: Vec::new() }
    }

    /// One bin a category; beyond `most` the most frequent have one each, and the others share the last.
    fn categories(column: ArrayView1<'_, f32>, levels: u32, most: usize) -> FeatureBins {
        let kind = ColumnKind::Category { levels };
        let levels = levels as usize;
        let mut own: Vec<usize> = (0..levels).collect();
        if levels > most {
            let mut rows = vec![0usize; levels];
            column.iter().filter_map(|x| code(*x)).for_each(|code| {
                if let Some(rows) = rows.get_mut(code) {
                    *rows += 1;
                }
            });
            own.sort_by_key(|code| (std::cmp::Reverse(rows[*code]), *code));
            own.truncate(most - 1);
            own.sort_unstable();
        }
        let mut codes = vec![own.len().min(most - 1) as u8; levels];
        own.iter().enumerate().for_each(|(bin, code)| codes[*code] = bin as u8);
        FeatureBins { kind, bins: levels.min(most), cuts: Vec::new(), spans: Vec::new(), places: Vec::new(), codes }
    }

    /// The bin of missing values, and of categories that the training rows do not have.
    pub fn missing(&self) -> u8 {
        self.bins as u8
    }

    /// Bins with that of missing values: what a histogram of the feature has.
    pub fn slots(&self) -> usize {
        self.bins + 1
    }

    /// Whether its values are categories.
    pub fn is_category(&self) -> bool {
        matches!(self.kind, ColumnKind::Category { .. })
    }

    /// The bin of a value.
    pub fn bin(&self, x: f32) -> u8 {
        match self.kind {
            ColumnKind::Number if x.is_nan() || self.bins == 0 => self.missing(),
            ColumnKind::Number => self.cuts.partition_point(|cut| *cut < x) as u8,
            ColumnKind::Category { .. } => {
                let bin = code(x).and_then(|code| self.codes.get(code));
                bin.copied().unwrap_or_else(|| self.missing())
            }
        }
    }
}

/// Ends of bins on a scale of whole steps.
fn places(spans: &[[f32; 2]]) -> Vec<[u32; 2]> {
    let ends = spans.first().zip(spans.last());
    let (low, high) = ends.map_or((0.0, 0.0), |(first, last)| (f64::from(first[0]), f64::from(last[1])));
    let unit = f64::from(u32::MAX) / (high - low);
    let is_scale = unit.is_finite() && unit > 0.0;
    let place = |value: f32, bin: usize| match is_scale {
        true => ((f64::from(value) - low) * unit) as u32,
        false => (bin as u64 * u64::from(u32::MAX) / spans.len() as u64) as u32,
    };
    spans.iter().enumerate().map(|(bin, span)| span.map(|value| place(value, bin))).collect()
}

/// A category's code; `None` where there is none.
pub fn code(x: f32) -> Option<usize> {
    (x >= 0.0).then_some(x as usize)
}

/// The number between two neighbours that parts them: `low <= middle < high`, half-way but for rounding.
fn middle(low: f32, high: f32) -> f32 {
    let middle = (0.5 * (f64::from(low) + f64::from(high))) as f32;
    // Infinities have no middle, and rounding may reach the upper neighbour.
    if middle >= low && middle < high { middle } else { low }
}

/// Where bins begin among distinct values: LightGBM's greedy walk. A value that has its share of rows alone gets a bin
/// alone; the others are gathered until they have a share of what is left.
fn first_values(distinct: &[(f32, usize)], rows: usize, most: usize) -> Vec<usize> {
    let is_large: Vec<bool> = distinct.iter().map(|(_, count)| count * most >= rows).collect();
    let large = distinct.iter().zip(&is_large).filter(|(_, is_large)| **is_large);
    let (large_values, large_rows) = large.fold((0, 0), |(n, rows), ((_, count), _)| (n + 1, rows + count));
    // A share is `rows_left / bins_left`; comparisons multiply it out.
    let (mut rows_left, mut bins_left) = (rows - large_rows, most - large_values);
    let mut share = (rows_left, bins_left.max(1));
    let (mut firsts, mut held) = (vec![0], 0);
    for place in 0..distinct.len() - 1 {
        let count = distinct[place].1;
        if !is_large[place] {
            rows_left -= count;
        }
        held += count;
        let is_full = held * share.1 >= share.0;
        let is_half_full = 2 * held * share.1 >= share.0;
        if is_large[place] || is_full || (is_large[place + 1] && is_half_full) {
            firsts.push(place + 1);
            if firsts.len() == most {
                break;
            }
            held = 0;
            if !is_large[place] {
                bins_left = bins_left.saturating_sub(1);
                share = (rows_left, bins_left.max(1));
            }
        }
    }
    firsts
}

/// A row set in bins, a feature after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinnedRows {
    /// Rows.
    pub rows: usize,
    features: usize,
    /// `[features, rows]`
    values: Vec<u8>,
}

impl BinnedRows {
    /// Bins rows by what was fitted on a fold's training rows; one [`FeatureBins`] a column of `x`.
    pub fn new(features: &[FeatureBins], x: ArrayView2<'_, f32>) -> BinnedRows {
        let mut values = Vec::with_capacity(x.len());
        for (bins, column) in features.iter().zip(x.columns()) {
            values.extend(column.iter().map(|x| bins.bin(*x)));
        }
        BinnedRows { rows: x.nrows(), features: features.len(), values }
    }

    /// Row sets one after the other.
    pub fn joined(sets: &[BinnedRows]) -> BinnedRows {
        let features = sets.first().map_or(0, |set| set.features);
        let columns = (0..features).flat_map(|feature| sets.iter().flat_map(move |set| set.column(feature)));
        BinnedRows { rows: sets.iter().map(|set| set.rows).sum(), features, values: columns.copied().collect() }
    }

    /// Every feature's bins, one a row.
    pub fn columns(&self) -> Vec<&[u8]> {
        (0..self.features).map(|feature| self.column(feature)).collect()
    }

    /// A feature's bins, one a row.
    pub fn column(&self, feature: usize) -> &[u8] {
        &self.values[feature * self.rows..][..self.rows]
    }
}

/// A fold in bins.
#[derive(Debug, Clone, PartialEq)]
pub struct BinnedFold {
    /// How each feature was binned.
    pub features: Vec<FeatureBins>,
    /// The training rows, then the row sets to score.
    pub sets: Vec<BinnedRows>,
}

impl BinnedFold {
    /// Bins a fold into at most `most` bins a feature.
    pub fn new(fold: &Fold, most: usize) -> BinnedFold {
        let columns = fold.train.x.columns().into_iter().zip(fold.columns.iter());
        let features: Vec<FeatureBins> = columns.map(|(column, kind)| FeatureBins::fit(*kind, column, most)).collect();
        let sets = fold.row_sets().map(|rows| BinnedRows::new(&features, rows.x.view())).collect();
        BinnedFold { features, sets }
    }

    /// The training rows.
    pub fn train(&self) -> &BinnedRows {
        &self.sets[0]
    }
}

/// What is made of a fold once for every number of bins that a feature may have: each when its first lane asks, and
/// shared by all lanes.
pub struct ByBins<T> {
    made: Mutex<BTreeMap<usize, Arc<OnceLock<T>>>>,
}

impl<T> Default for ByBins<T> {
    fn default() -> ByBins<T> {
        ByBins { made: Mutex::default() }
    }
}

impl<T> ByBins<T> {
    /// For which numbers of bins it is made already.
    pub fn made(&self) -> Vec<usize> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().filter(|(_, cell)| cell.get().is_some()).map(|(most, _)| *most).collect()
    }

    /// Uses what belongs to at most `most` bins a feature; `make` makes it on whichever thread asks first.
    pub fn with<R>(&self, most: usize, make: impl FnOnce() -> T, of: impl FnOnce(&T) -> R) -> R {
        let cell = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.entry(most).or_default().clone()
        };
        // Made outside the map's lock: lanes with other bins need not wait.
        of(cell.get_or_init(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    fn numbers(values: Vec<f32>, most: usize) -> FeatureBins {
        FeatureBins::fit(ColumnKind::Number, Array1::from(values).view(), most)
    }

    #[test]
    fn few_distinct_values_have_a_bin_each_and_cuts_half_way() {
        let bins = numbers(vec![3.0, 1.0, f32::NAN, 1.0, 2.0, -0.0, 0.0], 255);
        assert_eq!(bins.cuts, [0.5, 1.5, 2.5]);
        assert_eq!(bins.bins, 4);
        for (x, bin) in [(-7.0, 0), (0.5, 0), (0.51, 1), (2.5, 2), (9.0, 3), (f32::NAN, 4), (f32::INFINITY, 3)] {
            assert_eq!(bins.bin(x), bin, "{x}");
        }
    }

    #[test]
    fn neighbours_without_a_number_between_them_are_told_apart() {
        let above = f32::from_bits(1.0f32.to_bits() + 1);
        for (low, high) in [(1.0, above), (f32::MIN, f32::MAX), (1.0, f32::INFINITY), (f32::NEG_INFINITY, 2.0)] {
            let bins = numbers(vec![low, high], 255);
            assert_eq!((bins.bin(low), bin_count(&bins), bins.bin(high)), (0, 2, 1), "{low} and {high}");
        }
    }

    fn bin_count(bins: &FeatureBins) -> usize {
        bins.cuts.len() + 1
    }

    #[test]
    fn many_values_are_cut_into_bins_of_about_equally_many_rows() {
        // A tenth of the rows have the value 0; the others are all different.
        let values: Vec<f32> = (0..10_000).map(|row| if row % 10 == 0 { 0.0 } else { row as f32 }).collect();
        let bins = numbers(values.clone(), 64);
        assert_eq!(bins.bins, 64);
        let mut rows = vec![0usize; 64];
        values.iter().for_each(|x| rows[usize::from(bins.bin(*x))] += 1);
        assert_eq!(rows[0], 1000);
        let share = 9000 / 63;
        assert!(rows[1..].iter().all(|rows| rows.abs_diff(share) <= 2), "{rows:?}");
        for (bin, [least, greatest]) in bins.spans.iter().enumerate() {
            assert_eq!((usize::from(bins.bin(*least)), usize::from(bins.bin(*greatest))), (bin, bin));
        }
    }

    #[test]
    fn categories_beyond_the_bins_share_one_and_unknown_ones_are_missing() {
        // Code 5 has most rows, then 2; the others share the last of three bins.
        let column = Array1::from(vec![5.0, 5.0, 5.0, 2.0, 2.0, 0.0, 1.0, 3.0, 4.0, f32::NAN]);
        let bins = FeatureBins::fit(ColumnKind::Category { levels: 6 }, column.view(), 3);
        assert_eq!(bins.codes, [2, 2, 0, 2, 2, 1]);
        assert_eq!((bins.bins, bins.bin(5.0), bins.bin(f32::NAN), bins.bin(6.0), bins.bin(-1.0)), (3, 1, 3, 3, 3));
        let all = FeatureBins::fit(ColumnKind::Category { levels: 6 }, column.view(), 6);
        assert_eq!(all.codes, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_feature_without_a_value_has_only_the_bin_of_missing_ones() {
        let bins = numbers(vec![f32::NAN; 3], 255);
        assert_eq!((bins.slots(), bins.bin(f32::NAN), bins.bin(1.0)), (1, 0, 0));
    }

    #[test]
    fn rows_lie_by_feature_and_are_binned_once() {
        let x = ndarray::array![[1.0, 10.0], [2.0, 10.0], [3.0, 30.0]];
        let fold = Fold::of_numbers(
            crate::base::random::Key::from_seed(1),
            crate::data::Rows::new(x.clone(), crate::data::Target::Values(vec![0.0; 3])),
            vec![crate::data::Rows::new(x, crate::data::Target::Values(vec![0.0; 3]))],
            crate::data::Affine::IDENTITY,
        );
        let by_bins = ByBins::default();
        let make = || BinnedFold::new(&fold, 255);
        by_bins.with(255, make, |binned| {
            assert_eq!(binned.train().columns(), [&[0, 1, 2], &[0, 0, 1]]);
            let joined = BinnedRows::joined(&binned.sets);
            assert_eq!(joined.columns(), [&[0, 1, 2, 0, 1, 2], &[0, 0, 1, 0, 0, 1]]);
        });
        let again = by_bins.with(255, || panic!("it was made"), |binned| binned.features.len());
        assert_eq!((again, by_bins.made()), (2, vec![255]));
    }

    #[test]
    fn bins_lie_on_a_scale_of_whole_steps() {
        let bins = numbers(vec![-1.0, 0.0, 3.0], 255);
        assert_eq!(bins.places, [[0, 0], [u32::MAX / 4; 2], [u32::MAX; 2]]);
        let infinite = numbers(vec![f32::NEG_INFINITY, 0.0, 3.0, f32::INFINITY], 255);
        assert!(infinite.places.windows(2).all(|pair| pair[0][1] < pair[1][0]));
    }
}
