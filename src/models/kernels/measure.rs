//! The measures of all pairs of two sets of rows: sums over features in f64, eight pairs at a time.
//!
//! A sum is one chain in the order of the features at any SIMD width, so measures have the same bits on every processor.
//! Distances are sums of differences, not differences of products, which would cancel for rows that are close.

use crate::backend::cpu::simd::{Kernel, Level, Simd, dispatch};
use ndarray::ArrayView2;

/// What a kernel is a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// `sum of x y`
    Product,
    /// `sum of (x - y)^2`
    SquaredDistance,
    /// `sum of |x - y|`
    AbsoluteDistance,
}

impl Measure {
    /// All of them, in the order of their codes.
    pub const ALL: [Measure; 3] = [Measure::Product, Measure::SquaredDistance, Measure::AbsoluteDistance];
}

/// Rows side by side in one vector.
const WIDE: usize = 8;
/// Rows that a tile measures against those.
const TALL: usize = 4;

/// Rows as the right side of a measurement: in strips of eight, `[strip][feature]`, the last filled up with zeros.
pub struct Columns {
    strips: Vec<[f64; WIDE]>,
    features: usize,
    count: usize,
}

impl Columns {
    /// Takes rows of `features` features each; `None` is a row of zeros.
    pub fn new<'a>(
        rows: impl ExactSizeIterator<Item = Option<ndarray::ArrayView1<'a, f32>>>,
        features: usize,
    ) -> Columns {
        let count = rows.len();
        let mut strips = vec![[0.0; WIDE]; count.div_ceil(WIDE) * features];
        for (place, row) in rows.enumerate() {
            let strip = &mut strips[place / WIDE * features..];
            for (to, x) in strip.iter_mut().zip(row.iter().flatten()) {
                to[place % WIDE] = f64::from(*x);
            }
        }
        Columns { strips, features, count }
    }

    /// All rows of a matrix.
    pub fn of(x: ArrayView2<'_, f32>) -> Columns {
        Columns::new(x.rows().into_iter().map(Some), x.ncols())
    }

    /// Measures each of `rows` against all columns; `take(row, measures)` is called in their order.
    pub fn measure(
        &self,
        level: Level,
        measure: Measure,
        rows: ArrayView2<'_, f32>,
        mut take: impl FnMut(usize, &[f64]),
    ) {
        let mut tile = vec![0.0; TALL * self.features];
        let mut measures = vec![[0.0; WIDE]; TALL * self.count.div_ceil(WIDE)];
        for first in (0..rows.nrows()).step_by(TALL) {
            let height = TALL.min(rows.nrows() - first);
            tile.fill(0.0);
            for row in 0..height {
                // Feature by feature, so that a tile's step reads its four numbers in one run.
                for (to, x) in tile[row..].iter_mut().step_by(TALL).zip(rows.row(first + row)) {
                    *to = f64::from(*x);
                }
            }
            dispatch(level, Tile { columns: self, measure, tile: &tile, out: &mut measures });
            let strips = self.count.div_ceil(WIDE);
            for row in 0..height {
                take(first + row, &measures[row * strips..][..strips].as_flattened()[..self.count]);
            }
        }
    }
}

/// Four rows against all columns.
struct Tile<'a> {
    columns: &'a Columns,
    measure: Measure,
    /// `[feature][row]`
    tile: &'a [f64],
    /// `[row][strip]`
    out: &'a mut [[f64; WIDE]],
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        match self.measure {
            Measure::Product => self.sums(
                #[inline(always)]
                |x, y, sum| x.mul_add(y, sum),
            ),
            Measure::SquaredDistance => self.sums(
                #[inline(always)]
                |x, y, sum| (x - y).mul_add(x - y, sum),
            ),
            Measure::AbsoluteDistance => self.sums(
                #[inline(always)]
                |x, y, sum| (x - y).abs() + sum,
            ),
        }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn sums(self, add: impl Fn(f64, f64, f64) -> f64) {
        let strips = self.out.len() / TALL;
        if self.columns.features == 0 {
            self.out.fill([0.0; WIDE]);
            return;
        }
        for (strip, columns) in self.columns.strips.chunks_exact(self.columns.features).enumerate() {
            let mut sums = [[0.0; WIDE]; TALL];
            for (y, x) in columns.iter().zip(self.tile.as_chunks::<TALL>().0) {
                for row in 0..TALL {
                    for at in 0..WIDE {
                        sums[row][at] = add(x[row], y[at], sums[row][at]);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                self.out[row * strips + strip] = sums;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, normal};
    use ndarray::Array2;

    fn rows(seed: u64, count: usize, features: usize) -> Array2<f32> {
        let key = Key::from_seed(seed);
        Array2::from_shape_fn((count, features), |(i, j)| normal(key.words((i * features + j) as u64)[0]))
    }

    fn plain(measure: Measure, x: ndarray::ArrayView1<'_, f32>, y: ndarray::ArrayView1<'_, f32>) -> f64 {
        let pairs = x.iter().zip(y).map(|(x, y)| (f64::from(*x), f64::from(*y)));
        match measure {
            Measure::Product => pairs.map(|(x, y)| x * y).sum(),
            Measure::SquaredDistance => pairs.map(|(x, y)| (x - y) * (x - y)).sum(),
            Measure::AbsoluteDistance => pairs.map(|(x, y)| (x - y).abs()).sum(),
        }
    }

    #[test]
    fn measures_are_sums_over_features_with_the_same_bits_at_every_width() {
        let (left, right) = (rows(1, 11, 5), rows(2, 19, 5));
        let columns = Columns::of(right.view());
        for measure in [Measure::Product, Measure::SquaredDistance, Measure::AbsoluteDistance] {
            let all = |level| {
                let mut found = Vec::new();
                columns.measure(level, measure, left.view(), |row, measures| {
                    assert_eq!(row, found.len() / 19);
                    found.extend_from_slice(measures);
                });
                found
            };
            let found = all(Level::detect());
            for (at, found) in found.iter().enumerate() {
                let truth = plain(measure, left.row(at / 19), right.row(at % 19));
                assert!((found - truth).abs() < 1e-13, "{measure:?} {at}: {found} is not {truth}");
            }
            for level in Level::available() {
                assert_eq!(found, all(level), "{measure:?} on {}", level.name());
            }
        }
    }

    #[test]
    fn a_row_that_is_not_there_is_zeros() {
        let right = rows(2, 2, 3);
        let columns = Columns::new([Some(right.row(0)), None, Some(right.row(1))].into_iter(), 3);
        let mut found = Vec::new();
        columns
            .measure(Level::detect(), Measure::Product, right.view(), |_, measures| found.extend_from_slice(measures));
        assert_eq!((found.len(), found[1], found[4]), (6, 0.0, 0.0));
        assert!((found[0] - plain(Measure::Product, right.row(0), right.row(0))).abs() < 1e-14);
    }
}
