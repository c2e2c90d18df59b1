//! The nearest training rows of some rows, in the order of their exact distances, of equal ones the first.
//!
//! A quick pass in f32 takes sixteen training rows at a time against a tile of rows and lets through what may be among the
//! nearest; of those, f64 decides. Differences are squared, not lengths and products added up: a quick distance is then off
//! by a small share of itself, so that hardly more than the nearest are let through.

use super::distance::{self, Distance, Slack};
use crate::backend::cpu::gemm::{ROWS, Tile};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use ndarray::ArrayView2;

/// Bytes of training rows that all tiles go through before the next come: about what the first-level cache holds.
const CHUNK_BYTES: usize = 24 << 10;

/// A neighbour of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// What it weighs by the inverse of its distance, in units of the nearest one's weight. Where some are at no distance,
    /// those weigh 1 and all others nothing.
    pub weight: f32,
    /// Which training row.
    pub row: u32,
}

/// Training rows as a search reads them.
pub struct Index {
    distance: Distance,
    rows: usize,
    /// Columns of a strip: the features, and for cosines two more.
    width: usize,
    /// `[strips of sixteen rows][width]`, an even number of strips, filled up with zeros.
    strips: Vec<Lanes>,
    /// The square of each row's length, where cosines need it.
    squares: Vec<f64>,
    slack: Slack,
}

impl Index {
    /// Packs rows for one kind of distance.
    pub fn new(distance: Distance, x: ArrayView2<'_, f32>) -> Index {
        let squares = if distance == Distance::Cosine { distance::squares(x) } else { Vec::new() };
        let width = width(distance, x.ncols());
        let mut strips = vec![Lanes::ZERO; x.nrows().div_ceil(2 * LANES) * 2 * width];
        let mut values = vec![0.0; width];
        for (row, x) in x.rows().into_iter().enumerate() {
            packed(distance, x.iter(), squares.get(row).copied(), 0, &mut values);
            let strip = &mut strips[row / LANES * width..][..width];
            strip.iter_mut().zip(&values).for_each(|(to, value)| to.0[row % LANES] = *value);
        }
        Index { distance, rows: x.nrows(), width, strips, squares, slack: distance.slack(width) }
    }

    /// Bytes that packed rows take.
    pub fn bytes(distance: Distance, rows: usize, features: usize) -> u64 {
        let squares = if distance == Distance::Cosine { 8 * rows } else { 0 };
        (rows.next_multiple_of(2 * LANES) * width(distance, features) * 4 + squares) as u64
    }

    /// The `most` nearest of each of these rows, one list after another. `train` are the rows that were packed; `most` is
    /// at most their number, and above 0.
    pub fn nearest(
        &self,
        level: Level,
        train: ArrayView2<'_, f32>,
        x: ArrayView2<'_, f32>,
        most: usize,
    ) -> Vec<Neighbour> {
        dispatch(level, Search { index: self, level, train, x, most })
    }
}

fn width(distance: Distance, features: usize) -> usize {
    if distance == Distance::Cosine { features + 2 } else { features }
}

/// A row as quick distances need it: for cosines a unit vector. A row of zeros has no direction; it gets one of its own,
/// right-angled to all others: `place` is 0 for training rows, 1 for those that look for neighbours.
fn packed<'a>(
    distance: Distance,
    row: impl ExactSizeIterator<Item = &'a f32>,
    square: Option<f64>,
    place: usize,
    out: &mut [f32],
) {
    let features = row.len();
    if distance != Distance::Cosine {
        out.iter_mut().zip(row).for_each(|(out, x)| *out = *x);
        return;
    }
    let length = square.unwrap_or(0.0).sqrt();
    let unit = |x: &f32| if length > 0.0 { (f64::from(*x) / length) as f32 } else { 0.0 };
    out.iter_mut().zip(row).for_each(|(out, x)| *out = unit(x));
    out[features..].fill(0.0);
    out[features + place] = f32::from(u8::from(length == 0.0));
}

struct Search<'a, 't, 'x> {
    index: &'a Index,
    level: Level,
    train: ArrayView2<'t, f32>,
    x: ArrayView2<'x, f32>,
    most: usize,
}

impl Kernel for Search<'_, '_, '_> {
    type Output = Vec<Neighbour>;

    #[inline(always)]
    fn run<V: Simd>(self) -> Vec<Neighbour> {
        let Search { index, level, train, x, most } = self;
        let (width, rows) = (index.width, x.nrows());
        let squares = if index.distance == Distance::Cosine { distance::squares(x) } else { Vec::new() };
        let mut tiles: Vec<Tile> = vec![[0.0; ROWS]; rows.div_ceil(ROWS) * width];
        let mut values = vec![0.0; width];
        for (row, x) in x.rows().into_iter().enumerate() {
            packed(index.distance, x.iter(), squares.get(row).copied(), 1, &mut values);
            let tile = &mut tiles[row / ROWS * width..][..width];
            tile.iter_mut().zip(&values).for_each(|(to, value)| to[row % ROWS] = *value);
        }
        let mut pools: Vec<Pool> = (0..rows)
            .map(|row| Pool {
                exact: Exact {
                    index,
                    level,
                    train,
                    x: x.row(row).to_slice().unwrap_or(&[]),
                    square: squares.get(row).copied(),
                },
                most,
                entries: Vec::with_capacity(capacity(most)),
                threshold: f32::INFINITY,
            })
            .collect();
        let pairs = (CHUNK_BYTES / (2 * width * size_of::<Lanes>()).max(1)).max(1);
        for (chunk, strips) in index.strips.chunks(pairs * 2 * width).enumerate() {
            for (tile, pools) in tiles.chunks_exact(width).zip(pools.chunks_mut(ROWS)) {
                for (pair, strips) in strips.chunks_exact(2 * width).enumerate() {
                    let (left, right) = strips.split_at(width);
                    let first = (chunk * pairs + pair) * 2 * LANES;
                    match V::TILE_ROWS {
                        ROWS => offer::<V, ROWS>(index.distance, tile, 0, [left, right], first, pools),
                        _ => {
                            for (part, pools) in pools.chunks_mut(2).enumerate() {
                                offer::<V, 2>(index.distance, tile, 2 * part, [left, right], first, pools);
                            }
                        }
                    }
                }
            }
        }
        let mut nearest = Vec::with_capacity(rows * most);
        pools.into_iter().for_each(|pool| pool.finish(&mut nearest));
        nearest
    }
}

/// Measures thirty-two training rows from `first` on against `R` rows of a tile, and lets through what may be near.
#[inline(always)]
fn offer<V: Simd, const R: usize>(
    distance: Distance,
    tile: &[Tile],
    offset: usize,
    strips: [&[Lanes]; 2],
    first: usize,
    pools: &mut [Pool<'_, '_>],
) {
    let mut sums = [[V::zero(); 2]; R];
    let columns = tile.iter().zip(strips[0].iter().zip(strips[1]));
    if distance == Distance::Manhattan {
        for (x, (left, right)) in columns {
            let (left, right) = (V::load(left), V::load(right));
            for i in 0..R {
                let x = V::splat(x[offset + i]);
                sums[i][0] = sums[i][0].add(left.sub(x).abs());
                sums[i][1] = sums[i][1].add(right.sub(x).abs());
            }
        }
    } else {
        for (x, (left, right)) in columns {
            let (left, right) = (V::load(left), V::load(right));
            for i in 0..R {
                let x = V::splat(x[offset + i]);
                let (left, right) = (left.sub(x), right.sub(x));
                sums[i][0] = left.mul_add(left, sums[i][0]);
                sums[i][1] = right.mul_add(right, sums[i][1]);
            }
        }
    }
    // Rows that the last tile lacks have no pool.
    for (sums, pool) in sums.into_iter().zip(pools) {
        for (half, sum) in sums.into_iter().enumerate() {
            let beyond = V::mask_bits(V::splat(pool.threshold).less(sum));
            let mut within = !beyond & ((1 << LANES) - 1);
            if within == 0 {
                continue;
            }
            let mut quick = Lanes::ZERO;
            sum.store(&mut quick);
            while within != 0 {
                let lane = within.trailing_zeros() as usize;
                within &= within - 1;
                pool.add(quick.0[lane], first + half * LANES + lane);
            }
        }
    }
}

/// Room of a pool: what is near, and as much again before it is sorted out.
fn capacity(most: usize) -> usize {
    2 * most + 64
}

/// What may be among the nearest of one row so far.
struct Pool<'a, 't> {
    exact: Exact<'a, 't>,
    most: usize,
    /// A quick distance's bits, which are in the order of positive numbers, above the training row.
    entries: Vec<u64>,
    /// Quick distances beyond it are not among the nearest.
    threshold: f32,
}

impl Pool<'_, '_> {
    #[inline(always)]
    fn add(&mut self, quick: f32, row: usize) {
        // Rows beyond the last are zeros that fill up a strip. Others came before the threshold was lowered.
        if row < self.exact.index.rows && quick <= self.threshold {
            self.entries.push(u64::from(quick.to_bits()) << 32 | row as u64);
            if self.entries.len() == capacity(self.most) {
                self.sort_out();
            }
        }
    }

    /// Drops what is certainly not among the nearest, and lowers the threshold.
    fn sort_out(&mut self) {
        let (_, last, _) = self.entries.select_nth_unstable(self.most - 1);
        let index = self.exact.index;
        // No exact distance of these is greater than one bound, and what is nearer is not quicker than the other.
        let bound = index.slack.widen(index.slack.widen(f64::from(quick_of(*last))));
        self.threshold = bound as f32;
        self.entries.retain(|entry| quick_of(*entry) <= self.threshold);
        if self.entries.len() > self.most + capacity(self.most) / 4 {
            // Many at about one distance: their exact order leaves as many as are wanted. Rows come in their order, so
            // that none at the distance of the last one, or at none at all, can push it out.
            let exact = self.exact.sorted(&self.entries);
            let last = exact[self.most - 1].0;
            self.entries.clear();
            self.entries.extend(exact[..self.most].iter().map(|(_, entry)| *entry));
            let bound = index.slack.widen(index.distance.quick_of(last));
            self.threshold = if last == 0.0 { -1.0 } else { bound as f32 };
        }
    }

    fn finish(mut self, nearest: &mut Vec<Neighbour>) {
        if self.entries.len() > self.most {
            self.sort_out();
        }
        let exact = self.exact.sorted(&self.entries);
        let distance = |ordered_by: f64| self.exact.index.distance.finish(ordered_by);
        let first = exact.first().map_or(0.0, |(first, _)| distance(*first));
        nearest.extend(exact.iter().take(self.most).map(|(own, entry)| {
            let own = distance(*own);
            let weight = if own == first { 1.0 } else { (first / own) as f32 };
            Neighbour { weight, row: row_of(*entry) }
        }));
    }
}

fn quick_of(entry: u64) -> f32 {
    f32::from_bits((entry >> 32) as u32)
}

fn row_of(entry: u64) -> u32 {
    entry as u32
}

/// Exact distances to one row.
#[derive(Clone, Copy)]
struct Exact<'a, 't> {
    index: &'a Index,
    level: Level,
    train: ArrayView2<'t, f32>,
    x: &'a [f32],
    square: Option<f64>,
}

impl Exact<'_, '_> {
    /// Entries with what they are ordered by, in order.
    fn sorted(self, entries: &[u64]) -> Vec<(f64, u64)> {
        let mut sorted = dispatch(self.level, Measured { exact: self, entries });
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(row_of(a.1).cmp(&row_of(b.1))));
        sorted
    }
}

/// Entries with what they are ordered by.
struct Measured<'a, 't, 'e> {
    exact: Exact<'a, 't>,
    entries: &'e [u64],
}

impl Kernel for Measured<'_, '_, '_> {
    type Output = Vec<(f64, u64)>;

    #[inline(always)]
    fn run<V: Simd>(self) -> Vec<(f64, u64)> {
        let Measured { exact: Exact { index, train, x, square, .. }, entries } = self;
        let mut measured = Vec::with_capacity(entries.len());
        for entries in entries.chunks(LANES) {
            // The last chunk is filled up with its first entry.
            let rows: [usize; LANES] = std::array::from_fn(|i| row_of(*entries.get(i).unwrap_or(&entries[0])) as usize);
            let values = rows.map(|row| train.row(row).to_slice().unwrap_or(&[]));
            let squares = rows.map(|row| index.squares.get(row).copied().unwrap_or(0.0));
            let distances = index.distance.between::<V>(values, x, (squares, square.unwrap_or(0.0)));
            measured.extend(distances.into_iter().zip(entries.iter().copied()));
        }
        measured
    }
}
