//! Products with a matrix that lanes share and that is zero for the most part, as indicators of categories make one: what is
//! zero is not multiplied.
//!
//! The other factor is of vectors side by side: `W` of them a column, `[panels][rows][W]`, which is a panel of
//! [`super::gemm`] with two and a strip of [`super::strips`] with one. `G` panels at a time keep their sums in registers. An output
//! element is the chain of fused multiply-adds that those two make of it, in the same order, without those of zero, so which of the
//! walks trains a network changes no bit. Only where the other factor is not finite would zeros have changed it.

// Iterators over a register tile are not always inlined, and then take twice as long as all the rest.
#![allow(clippy::needless_range_loop)]

use super::gemm::{Consumer, Epilogue, ROWS};
use super::simd::{Lanes, Simd};

/// A value that is not zero, and the column or row that it stands in.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Entry {
    at: u32,
    value: f32,
}

/// The entries of each row of a matrix, or of each column.
#[derive(Default)]
pub struct SparseRows {
    /// Where each one's entries begin, and where the last one's end.
    starts: Vec<usize>,
    entries: Vec<Entry>,
}

impl SparseRows {
    /// Of rows whose values may be zero.
    pub fn of<'a>(rows: impl Iterator<Item = &'a [f32]>) -> SparseRows {
        let mut sparse = SparseRows { starts: vec![0], entries: Vec::new() };
        rows.for_each(|values| sparse.push(values));
        sparse
    }

    fn push(&mut self, values: &[f32]) {
        let entries = (0u32..).zip(values).filter(|(_, value)| **value != 0.0);
        self.entries.extend(entries.map(|(at, value)| Entry { at, value: *value }));
        self.starts.push(self.entries.len());
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.starts.clear();
        self.starts.push(0);
    }

    #[inline(always)]
    fn get(&self, row: usize) -> &[Entry] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    /// The entries of these rows by column, each column's in the order of its rows.
    fn turn(&self, rows: usize, columns: usize, by_columns: &mut SparseRows) {
        let SparseRows { starts, entries } = by_columns;
        starts.clear();
        starts.resize(columns + 1, 0);
        self.entries.iter().for_each(|entry| starts[entry.at as usize + 1] += 1);
        (0..columns).for_each(|column| starts[column + 1] += starts[column]);
        entries.clear();
        entries.resize(self.entries.len(), Entry::default());
        for row in 0..rows {
            for entry in self.get(row) {
                let next = &mut starts[entry.at as usize];
                entries[*next] = Entry { at: row as u32, value: entry.value };
                *next += 1;
            }
        }
        // Each start has moved to its column's end, which is where the next one begins.
        starts.copy_within(..columns, 1);
        starts[0] = 0;
    }
}

/// Some rows of a matrix.
pub struct SparseBatch {
    /// Both rounded up to whole tiles, without entries.
    rows: usize,
    columns: usize,
    by_rows: SparseRows,
    by_columns: SparseRows,
}

impl SparseBatch {
    /// Of a matrix of so many columns, without rows.
    pub fn new(columns: usize) -> SparseBatch {
        let columns = columns.next_multiple_of(ROWS);
        SparseBatch { rows: 0, columns, by_rows: SparseRows::default(), by_columns: SparseRows::default() }
    }

    /// Rows, rounded up.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes rows of a matrix, for both products.
    pub fn gather(&mut self, matrix: &SparseRows, order: &[u32]) {
        self.by_rows.clear();
        for row in order {
            self.by_rows.entries.extend_from_slice(matrix.get(*row as usize));
            self.by_rows.starts.push(self.by_rows.entries.len());
        }
        self.pad(order.len());
        self.by_rows.turn(self.rows, self.columns, &mut self.by_columns);
    }

    /// Takes the rows that follow, for [`product`] alone.
    pub fn fill<'a>(&mut self, rows: impl ExactSizeIterator<Item = &'a [f32]>) {
        let count = rows.len();
        self.by_rows.clear();
        rows.for_each(|values| self.by_rows.push(values));
        self.pad(count);
    }

    fn pad(&mut self, rows: usize) {
        self.rows = rows.next_multiple_of(ROWS);
        self.by_rows.starts.resize(self.rows + 1, self.by_rows.entries.len());
    }
}

/// `out = x w + bias`: `w` `[panels][columns][W]`, `bias` `[panels][W]`, `out` `[panels][rows][W]`.
#[inline(always)]
pub fn product<V: Simd, E: Epilogue<V>, const W: usize, const G: usize>(
    x: &SparseBatch,
    w: &[Lanes],
    bias: &[Lanes],
    out: &mut [Lanes],
    epilogue: &E,
) {
    let (depth, height) = (x.columns * W, x.rows * W);
    let groups = w.chunks(G * depth).zip(bias.chunks(G * W)).zip(out.chunks_mut(G * height));
    for (group, ((w, bias), out)) in groups.enumerate() {
        let first = group * G * height;
        if w.len() == G * depth {
            panels::<V, E, W, G>(x, w, bias, out, first, epilogue);
        } else {
            let rest = w.chunks_exact(depth).zip(bias.chunks_exact(W)).zip(out.chunks_exact_mut(height));
            for (panel, ((w, bias), out)) in rest.enumerate() {
                panels::<V, E, W, 1>(x, w, bias, out, first + panel * height, epilogue);
            }
        }
    }
}

/// `first`: the index of the first vector in the product.
#[inline(always)]
fn panels<V: Simd, E: Epilogue<V>, const W: usize, const G: usize>(
    x: &SparseBatch,
    w: &[Lanes],
    bias: &[Lanes],
    out: &mut [Lanes],
    first: usize,
    epilogue: &E,
) {
    let (depth, height) = (x.columns * W, x.rows * W);
    for row in 0..x.rows {
        let mut sums = [[V::zero(); W]; G];
        for panel in 0..G {
            for i in 0..W {
                sums[panel][i] = V::load(&bias[panel * W + i]);
            }
        }
        add_products(x.by_rows.get(row), w, depth, &mut sums);
        for panel in 0..G {
            for i in 0..W {
                let place = panel * height + row * W + i;
                epilogue.finish(sums[panel][i], first + place).store(&mut out[place]);
            }
        }
    }
}

/// `gradient = x^T delta`, handed over in runs of pairs: `delta` `[panels][rows][W]`, the gradient as `w` in [`product`].
#[inline(always)]
pub fn gradient<V: Simd, C: Consumer<V>, const W: usize, const G: usize>(
    x: &SparseBatch,
    delta: &[Lanes],
    consumer: &mut C,
) {
    let (depth, height) = (x.columns * W, x.rows * W);
    for (group, delta) in delta.chunks(G * height).enumerate() {
        let first = group * G * depth;
        if delta.len() == G * height {
            gradient_panels::<V, C, W, G>(x, delta, first, consumer);
        } else {
            for (panel, delta) in delta.chunks_exact(height).enumerate() {
                gradient_panels::<V, C, W, 1>(x, delta, first + panel * depth, consumer);
            }
        }
    }
}

#[inline(always)]
fn gradient_panels<V: Simd, C: Consumer<V>, const W: usize, const G: usize>(
    x: &SparseBatch,
    delta: &[Lanes],
    first: usize,
    consumer: &mut C,
) {
    let (depth, height) = (x.columns * W, x.rows * W);
    for tile in 0..x.columns / ROWS {
        let mut gradients = [[[Lanes::ZERO; W]; ROWS]; G];
        for column in 0..ROWS {
            let mut sums = [[V::zero(); W]; G];
            add_products(x.by_columns.get(tile * ROWS + column), delta, height, &mut sums);
            for panel in 0..G {
                for i in 0..W {
                    sums[panel][i].store(&mut gradients[panel][column][i]);
                }
            }
        }
        for (panel, gradients) in gradients.iter().enumerate() {
            let (pairs, _) = gradients.as_flattened().as_chunks::<2>();
            consumer.consume((first + panel * depth + tile * ROWS * W) / 2, pairs);
        }
    }
}

/// Adds the products of entries with the vectors that they stand at, in panels of `depth` vectors.
#[inline(always)]
fn add_products<V: Simd, const W: usize, const G: usize>(
    entries: &[Entry],
    vectors: &[Lanes],
    depth: usize,
    sums: &mut [[V; W]; G],
) {
    for entry in entries {
        let value = V::splat(entry.value);
        for panel in 0..G {
            let vectors = &vectors[panel * depth + entry.at as usize * W..][..W];
            for i in 0..W {
                sums[panel][i] = value.mul_add(V::load(&vectors[i]), sums[panel][i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::gemm::{self, AsIs, Pair, Shared};
    use crate::backend::cpu::simd::{Kernel, LANES, Level, dispatch};
    use crate::backend::cpu::strips::{self, Strips};
    use crate::base::random::{Key, normal, uniform};

    const FEATURES: usize = 37;
    const COLUMNS: usize = 40;

    /// Rows of which a fifth is not zero, one of them all zero and one a NaN.
    fn matrix(rows: usize) -> Vec<f32> {
        let key = Key::from_seed(3);
        let value = |at: usize| match uniform(key.child(1).words(at as u64)[0]) {
            _ if at / FEATURES == 2 => 0.0,
            _ if at == 4 * FEATURES + 5 => f32::NAN,
            share if share < 0.2 => normal(key.words(at as u64)[0]),
            _ => 0.0,
        };
        (0..rows * FEATURES).map(value).collect()
    }

    fn vectors(seed: u64, count: usize) -> Vec<Lanes> {
        let key = Key::from_seed(seed);
        (0..count)
            .map(|at| Lanes(std::array::from_fn(|lane| normal(key.words((at * LANES + lane) as u64)[0]))))
            .collect()
    }

    /// Gradients where the weights are.
    struct Kept(Vec<Lanes>);

    impl<V: Simd> Consumer<V> for Kept {
        fn consume(&mut self, first: usize, gradients: &[Pair]) {
            self.0[2 * first..][..2 * gradients.len()].copy_from_slice(gradients.as_flattened());
        }
    }

    /// The outputs and gradients of panels of so many vectors, by what multiplies all and by what leaves zeros out.
    struct Both<const W: usize, const G: usize> {
        rows: usize,
        panels: usize,
    }

    impl<const W: usize, const G: usize> Kernel for Both<W, G> {
        type Output = [Vec<Lanes>; 4];

        fn run<V: Simd>(self) -> Self::Output {
            let Both { rows, panels } = self;
            let x = matrix(rows);
            let order: Vec<u32> = (0..rows as u32).rev().collect();
            let rows_of = || order.iter().map(|row| &x[*row as usize * FEATURES..][..FEATURES]);
            let mut sparse = SparseBatch::new(FEATURES);
            sparse.gather(&SparseRows::of(x.chunks_exact(FEATURES)), &order);
            let height = sparse.rows();
            let (w, bias) = (vectors(5, panels * COLUMNS * W), vectors(6, panels * W));
            let delta = vectors(7, panels * height * W);
            let mut outs = [vec![Lanes::ZERO; delta.len()], vec![Lanes::ZERO; delta.len()]];
            let mut kept = [Kept(vec![Lanes::ZERO; w.len()]), Kept(vec![Lanes::ZERO; w.len()])];
            product::<V, _, W, G>(&sparse, &w, &bias, &mut outs[0], &AsIs);
            gradient::<V, _, W, G>(&sparse, &delta, &mut kept[0]);
            if W == 2 {
                let mut shared = Shared::zeros(rows, FEATURES);
                shared.fill(rows_of());
                let (w, bias) = (w.as_chunks::<2>().0, bias.as_chunks::<2>().0);
                gemm::forward_shared::<V, _>(&shared, w, bias, outs[1].as_chunks_mut::<2>().0, &AsIs);
                gemm::gradient_shared::<V, _>(&shared, delta.as_chunks::<2>().0, &mut kept[1]);
            } else {
                let mut strip = vec![Lanes::ZERO; COLUMNS.div_ceil(LANES) * height];
                for (row, values) in rows_of().enumerate() {
                    values
                        .iter()
                        .enumerate()
                        .for_each(|(j, value)| strip[j / LANES * height + row].0[j % LANES] = *value);
                }
                let weights = Strips { values: &w, rows: COLUMNS };
                strips::product::<V, _>(&strip, height, weights, Some(&bias), &mut outs[1], &AsIs);
                strips::gradient::<V, _>(&strip, COLUMNS, &delta, height, &mut kept[1]);
            }
            let ([out, dense_out], [kept, dense_kept]) = (outs, kept);
            [out, dense_out, kept.0, dense_kept.0]
        }
    }

    fn bits(vectors: &[Lanes]) -> Vec<u32> {
        // Which NaN it is may differ.
        vectors
            .iter()
            .flat_map(|vector| vector.0)
            .map(|value| if value.is_nan() { u32::MAX } else { value.to_bits() })
            .collect()
    }

    fn equal<const W: usize, const G: usize>() {
        for level in Level::available() {
            for (rows, panels) in [(32, 6), (13, 5), (8, 1), (5, 3)] {
                let [out, dense_out, gradient, dense_gradient] = dispatch(level, Both::<W, G> { rows, panels });
                let what = format!("{rows} rows, {panels} panels of {W}, {}", level.name());
                assert!(bits(&out) == bits(&dense_out), "product: {what}");
                assert!(bits(&gradient) == bits(&dense_gradient), "gradient: {what}");
            }
        }
    }

    #[test]
    fn what_leaves_zeros_out_gives_the_bits_of_what_multiplies_them() {
        equal::<2, 2>();
        equal::<1, 4>();
    }
}
