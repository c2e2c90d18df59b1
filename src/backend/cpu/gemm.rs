//! Matrix products over sixteen lanes at a time: the inner loops of every model whose lanes walk in step.
//!
//! A matrix that lanes share is row-major `f32`, its values broadcast. A matrix of which each lane has its own is stored
//! in **panels**: columns in pairs, `[column pairs][rows][2]` of [`Lanes`], so that a register tile of 8 x 2 reads and
//! writes memory in one run. Weights are `[inputs x units]` panels, activations `[rows x units]` panels.
//! Every output element is one chain of fused multiply-adds in the order of the inner index, whatever the tile: that
//! is why tile size and instruction set change no bit.
//!
//! Row counts are multiples of [`ROWS`], unit counts of 2; callers pad with zeros.

use super::simd::{Lanes, Simd};

/// Two neighbouring columns of one row.
pub type Pair = [Lanes; 2];

/// Zero.
pub const ZERO_PAIR: Pair = [Lanes::ZERO; 2];

/// What row counts are multiples of: the rows of the largest tile.
pub const ROWS: usize = 8;

/// What becomes of a finished element of a product before it is stored.
pub trait Epilogue<V: Simd> {
    /// `value` is the vector at index `place` of the product, counted through its panels as they lie in memory.
    fn finish(&self, value: V, place: usize) -> V;
}

/// Stores elements as they are.
pub struct AsIs;

impl<V: Simd> Epilogue<V> for AsIs {
    #[inline(always)]
    fn finish(&self, value: V, _: usize) -> V {
        value
    }
}

/// What is done with a finished gradient element.
pub trait Consumer<V: Simd> {
    /// `gradients[i]` belongs to the weight pair at index `first + i` of the weights' panels.
    fn consume(&mut self, first: usize, gradients: &[Pair]);
}

/// A matrix that lanes share, `[rows x columns]`, packed twice so that both products read it in one run.
pub struct Shared {
    columns: usize,
    /// `[row tiles][columns]`, eight rows' values of one column.
    by_rows: Vec<Tile>,
    /// `[column tiles][rows]`, eight columns' values of one row.
    by_columns: Vec<Tile>,
    rows: usize,
}

/// Eight neighbours of a shared matrix.
pub type Tile = [f32; ROWS];

impl Shared {
    /// A matrix of zeros with room for `rows` rows of `columns` columns, both rounded up to whole tiles.
    pub fn zeros(rows: usize, columns: usize) -> Shared {
        let (rows, columns) = (rows.next_multiple_of(ROWS), columns.next_multiple_of(ROWS));
        let tiles = vec![[0.0; ROWS]; rows * columns / ROWS];
        Shared { columns, by_rows: tiles.clone(), by_columns: tiles, rows }
    }

    /// Rows, rounded up.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, rounded up.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Becomes the square of each element of another matrix, which is no larger than this one had room for.
    pub fn fill_with_squares(&mut self, of: &Shared) {
        debug_assert_eq!(self.columns, of.columns);
        self.rows = of.rows;
        let square = |to: &mut [Tile], from: &[Tile]| {
            let pairs = to.as_flattened_mut().iter_mut().zip(from.as_flattened());
            pairs.for_each(|(to, from)| *to = from * from);
        };
        square(&mut self.by_rows, &of.by_rows);
        square(&mut self.by_columns, &of.by_columns);
    }

    /// Takes the rows that follow: at most as many as there was room for, rounded up with zeros. Rows may be shorter
    /// than the columns.
    pub fn fill<'a>(&mut self, rows: impl ExactSizeIterator<Item = &'a [f32]>) {
        self.rows = rows.len().next_multiple_of(ROWS);
        let (columns, height) = (self.columns, self.rows);
        let mut filled = 0;
        for (row, values) in rows.enumerate() {
            let (chunks, rest) = values.as_chunks::<ROWS>();
            let by_columns = self.by_columns[row..].iter_mut().step_by(height);
            for (to, from) in by_columns.zip(chunks) {
                *to = *from;
            }
            if !rest.is_empty() {
                let last = &mut self.by_columns[chunks.len() * height + row];
                *last = [0.0; ROWS];
                last[..rest.len()].copy_from_slice(rest);
            }
            let by_rows = &mut self.by_rows[row / ROWS * columns..][..columns];
            for (to, from) in by_rows.iter_mut().zip(values) {
                to[row % ROWS] = *from;
            }
            filled = row + 1;
        }
        for row in filled..height {
            self.by_columns[row..].iter_mut().step_by(height).take(columns / ROWS).for_each(|tile| *tile = [0.0; ROWS]);
            self.by_rows[row / ROWS * columns..][..columns].iter_mut().for_each(|tile| tile[row % ROWS] = 0.0);
        }
    }
}

/// `out = x w + bias`: `x` `[rows x inputs]` is shared, `w` is `[inputs x units]`, `bias` one pair a unit pair, `out`
/// `[rows x units]`.
#[inline(always)]
pub fn forward_shared<V: Simd, E: Epilogue<V>>(x: &Shared, w: &[Pair], bias: &[Pair], out: &mut [Pair], epilogue: &E) {
    let panels = w.chunks_exact(x.columns).zip(bias).zip(out.chunks_exact_mut(x.rows));
    for (pair, ((w, bias), out)) in panels.enumerate() {
        for (tile, (tile_x, out)) in x.by_rows.chunks_exact(w.len()).zip(out.chunks_exact_mut(ROWS)).enumerate() {
            let first = pair * x.rows + tile * ROWS;
            if V::TILE_ROWS == ROWS {
                forward_shared_tile::<V, E, ROWS>(tile_x, 0, w, bias, out, first, epilogue);
            } else {
                for (part, out) in out.chunks_exact_mut(2).enumerate() {
                    forward_shared_tile::<V, E, 2>(tile_x, 2 * part, w, bias, out, first + 2 * part, epilogue);
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_shared_tile<V: Simd, E: Epilogue<V>, const R: usize>(
    x: &[Tile],
    offset: usize,
    w: &[Pair],
    bias: &Pair,
    out: &mut [Pair],
    first: usize,
    epilogue: &E,
) {
    let mut sums = [[V::load(&bias[0]), V::load(&bias[1])]; R];
    for (x, w) in x.iter().zip(w) {
        let (w0, w1) = (V::load(&w[0]), V::load(&w[1]));
        for i in 0..R {
            let a = V::splat(x[offset + i]);
            sums[i][0] = a.mul_add(w0, sums[i][0]);
            sums[i][1] = a.mul_add(w1, sums[i][1]);
        }
    }
    store_tile(&sums, out, first, epilogue);
}

/// `first`: the index of the tile's first pair in the product.
#[inline(always)]
fn store_tile<V: Simd, E: Epilogue<V>, const R: usize>(
    sums: &[[V; 2]; R],
    out: &mut [Pair],
    first: usize,
    epilogue: &E,
) {
    for i in 0..R {
        for half in 0..2 {
            epilogue.finish(sums[i][half], 2 * (first + i) + half).store(&mut out[i][half]);
        }
    }
}

/// `out = a w + bias`, all of each lane's own: `a` `[rows x inputs]`, `w` `[inputs x units]`, `out` `[rows x units]`.
#[inline(always)]
pub fn forward_lanes<V: Simd, E: Epilogue<V>>(
    a: &[Pair],
    inputs: usize,
    w: &[Pair],
    bias: &[Pair],
    out: &mut [Pair],
    epilogue: &E,
) {
    let rows = out.len() / bias.len();
    for (pair, ((w, bias), out)) in w.chunks_exact(inputs).zip(bias).zip(out.chunks_exact_mut(rows)).enumerate() {
        match V::TILE_ROWS {
            8 => forward_lanes_panel::<V, E, 8>(a, rows, w, bias, out, pair, epilogue),
            _ => forward_lanes_panel::<V, E, 2>(a, rows, w, bias, out, pair, epilogue),
        }
    }
}

#[inline(always)]
fn forward_lanes_panel<V: Simd, E: Epilogue<V>, const R: usize>(
    a: &[Pair],
    rows: usize,
    w: &[Pair],
    bias: &Pair,
    out: &mut [Pair],
    pair: usize,
    epilogue: &E,
) {
    for (tile, out) in out.chunks_exact_mut(R).enumerate() {
        let mut sums = [[V::load(&bias[0]), V::load(&bias[1])]; R];
        for (a, w) in a.chunks_exact(rows).zip(w.chunks_exact(2)) {
            let a = &a[tile * R..][..R];
            for half in 0..2 {
                let (w0, w1) = (V::load(&w[half][0]), V::load(&w[half][1]));
                for i in 0..R {
                    let a = V::load(&a[i][half]);
                    sums[i][0] = a.mul_add(w0, sums[i][0]);
                    sums[i][1] = a.mul_add(w1, sums[i][1]);
                }
            }
        }
        store_tile(&sums, out, pair * rows + tile * R, epilogue);
    }
}

/// `out = delta w^T`: `delta` `[rows x units]`, `w` `[inputs x units]`, `out` `[rows x inputs]`.
#[inline(always)]
pub fn backward_lanes<V: Simd, E: Epilogue<V>>(
    delta: &[Pair],
    rows: usize,
    w: &[Pair],
    inputs: usize,
    out: &mut [Pair],
    epilogue: &E,
) {
    for (pair, out) in out.chunks_exact_mut(rows).enumerate() {
        match V::TILE_ROWS {
            8 => backward_lanes_panel::<V, E, 8>(delta, rows, w, inputs, out, pair, epilogue),
            _ => backward_lanes_panel::<V, E, 2>(delta, rows, w, inputs, out, pair, epilogue),
        }
    }
}

#[inline(always)]
fn backward_lanes_panel<V: Simd, E: Epilogue<V>, const R: usize>(
    delta: &[Pair],
    rows: usize,
    w: &[Pair],
    inputs: usize,
    out: &mut [Pair],
    pair: usize,
    epilogue: &E,
) {
    for (tile, out) in out.chunks_exact_mut(R).enumerate() {
        let mut sums = [[V::zero(); 2]; R];
        for (delta, w) in delta.chunks_exact(rows).zip(w.chunks_exact(inputs)) {
            let delta = &delta[tile * R..][..R];
            let w = &w[2 * pair..][..2];
            for half in 0..2 {
                let (w0, w1) = (V::load(&w[0][half]), V::load(&w[1][half]));
                for i in 0..R {
                    let d = V::load(&delta[i][half]);
                    sums[i][0] = d.mul_add(w0, sums[i][0]);
                    sums[i][1] = d.mul_add(w1, sums[i][1]);
                }
            }
        }
        store_tile(&sums, out, pair * rows + tile * R, epilogue);
    }
}

/// `gradient = x^T delta`, handed over in runs of pairs: `x` `[rows x inputs]` is shared, `delta` is `[rows x units]`.
#[inline(always)]
pub fn gradient_shared<V: Simd, C: Consumer<V>>(x: &Shared, delta: &[Pair], consumer: &mut C) {
    for (pair, delta) in delta.chunks_exact(x.rows).enumerate() {
        for (tile, x_tile) in x.by_columns.chunks_exact(x.rows).take(x.columns / ROWS).enumerate() {
            let mut gradients = [ZERO_PAIR; ROWS];
            if V::TILE_ROWS == ROWS {
                gradient_shared_tile::<V, ROWS>(x_tile, 0, delta, &mut gradients);
            } else {
                for (part, gradients) in gradients.chunks_exact_mut(2).enumerate() {
                    gradient_shared_tile::<V, 2>(x_tile, 2 * part, delta, gradients);
                }
            }
            consumer.consume(pair * x.columns + tile * ROWS, &gradients);
        }
    }
}

#[inline(always)]
fn gradient_shared_tile<V: Simd, const R: usize>(x: &[Tile], offset: usize, delta: &[Pair], gradients: &mut [Pair]) {
    let mut sums = [[V::zero(); 2]; R];
    for (x, delta) in x.iter().zip(delta) {
        let (d0, d1) = (V::load(&delta[0]), V::load(&delta[1]));
        for i in 0..R {
            let a = V::splat(x[offset + i]);
            sums[i][0] = a.mul_add(d0, sums[i][0]);
            sums[i][1] = a.mul_add(d1, sums[i][1]);
        }
    }
    for i in 0..R {
        sums[i][0].store(&mut gradients[i][0]);
        sums[i][1].store(&mut gradients[i][1]);
    }
}

/// `gradient = a^T delta`, all of each lane's own, handed over in runs of pairs: `a` `[rows x inputs]`, `delta`
/// `[rows x units]`.
#[inline(always)]
pub fn gradient_lanes<V: Simd, C: Consumer<V>>(a: &[Pair], delta: &[Pair], rows: usize, consumer: &mut C) {
    let inputs = 2 * (a.len() / rows);
    // Four pairs of inputs fill the 8 x 2 tile; with fewer registers one pair does.
    let step = if V::TILE_ROWS == 8 { 4 } else { 1 };
    for (pair, delta) in delta.chunks_exact(rows).enumerate() {
        for first in (0..inputs / 2).step_by(step) {
            let a = &a[first * rows..];
            let mut gradients = [ZERO_PAIR; ROWS];
            let pairs = (a.len() / rows).min(step);
            match pairs {
                4 => gradient_lanes_tile::<V, 4>(a, delta, &mut gradients),
                3 => gradient_lanes_tile::<V, 3>(a, delta, &mut gradients),
                2 => gradient_lanes_tile::<V, 2>(a, delta, &mut gradients),
                _ => gradient_lanes_tile::<V, 1>(a, delta, &mut gradients),
            }
            consumer.consume(pair * inputs + 2 * first, &gradients[..2 * pairs]);
        }
    }
}

#[inline(always)]
fn gradient_lanes_tile<V: Simd, const Q: usize>(a: &[Pair], delta: &[Pair], gradients: &mut [Pair; ROWS]) {
    let rows = delta.len();
    let mut columns: [&[Pair]; Q] = [&[]; Q];
    for q in 0..Q {
        columns[q] = &a[q * rows..][..rows];
    }
    let mut sums = [[[V::zero(); 2]; 2]; Q];
    for row in 0..rows {
        let (d0, d1) = (V::load(&delta[row][0]), V::load(&delta[row][1]));
        for q in 0..Q {
            for half in 0..2 {
                let a = V::load(&columns[q][row][half]);
                sums[q][half][0] = a.mul_add(d0, sums[q][half][0]);
                sums[q][half][1] = a.mul_add(d1, sums[q][half][1]);
            }
        }
    }
    for q in 0..Q {
        for half in 0..2 {
            sums[q][half][0].store(&mut gradients[2 * q + half][0]);
            sums[q][half][1].store(&mut gradients[2 * q + half][1]);
        }
    }
}
