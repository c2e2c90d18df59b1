//! Matrix products of one network at a time, whose neighbouring units fill the SIMD lanes.
//!
//! A matrix is stored in **strips**: columns in sixteens, `[column strips][rows]` of [`Lanes`], the last strip padded with
//! zeros. Every product broadcasts one factor and streams the other. An output element is the chain of fused
//! multiply-adds that [`super::gemm`] makes of it, in the same order: which of the two trains a network changes no bit.
//!
//! Row counts are multiples of [`ROWS`].

use super::gemm::{Consumer, Epilogue, ROWS};
use super::simd::{LANES, Lanes, Simd, transpose};

/// A matrix of `rows` rows in strips.
#[derive(Clone, Copy)]
pub struct Strips<'a> {
    /// `[column strips][rows]`
    pub values: &'a [Lanes],
    /// A multiple of [`ROWS`].
    pub rows: usize,
}

/// `out = a w + bias`: `a` `[rows x inputs]`, `w` `[inputs x units]`, `bias` one vector a strip of units (none: 0),
/// `out` `[rows x units]`. Where `w` is a transposed matrix, this is the backward product.
#[inline(always)]
pub fn product<V: Simd, E: Epilogue<V>>(
    a: &[Lanes],
    rows: usize,
    w: Strips<'_>,
    bias: Option<&[Lanes]>,
    out: &mut [Lanes],
    epilogue: &E,
) {
    for (strip, (w, out)) in w.values.chunks_exact(w.rows).zip(out.chunks_exact_mut(rows)).enumerate() {
        let start = bias.map_or(V::zero(), |bias| V::load(&bias[strip]));
        match V::TILE_ROWS {
            8 => product_strip::<V, E, 8>(a, rows, w, start, out, strip * rows, epilogue),
            _ => product_strip::<V, E, 4>(a, rows, w, start, out, strip * rows, epilogue),
        }
    }
}

#[inline(always)]
fn product_strip<V: Simd, E: Epilogue<V>, const R: usize>(
    a: &[Lanes],
    rows: usize,
    w: &[Lanes],
    start: V,
    out: &mut [Lanes],
    first: usize,
    epilogue: &E,
) {
    for (tile, out) in out.chunks_exact_mut(R).enumerate() {
        let mut sums = [start; R];
        for (a, w) in a.chunks_exact(rows).zip(w.chunks(LANES)) {
            let a = &a[tile * R..][..R];
            let (halves, _) = w.as_chunks::<ROWS>();
            for (half, w) in halves.iter().enumerate() {
                multiply::<V, R>(a, half * ROWS, w, &mut sums);
            }
        }
        for (i, (sum, out)) in sums.into_iter().zip(out).enumerate() {
            epilogue.finish(sum, first + tile * R + i).store(out);
        }
    }
}

/// Adds the products of eight columns of a tile of `a`, from `offset` on, with the eight rows `w`.
#[inline(always)]
fn multiply<V: Simd, const R: usize>(a: &[Lanes], offset: usize, w: &[Lanes; ROWS], sums: &mut [V; R]) {
    let mut tile = [&[0.0; ROWS]; R];
    for (to, a) in tile.iter_mut().zip(a) {
        *to = &a.0.as_chunks::<ROWS>().0[offset / ROWS];
    }
    for k in 0..ROWS {
        let w = V::load(&w[k]);
        for i in 0..R {
            sums[i] = V::splat(tile[i][k]).mul_add(w, sums[i]);
        }
    }
}

/// `gradient = a^T delta`, handed over in runs of pairs, which are two neighbouring inputs of a strip: `a`
/// `[rows x inputs]`, `delta` `[rows x units]`.
#[inline(always)]
pub fn gradient<V: Simd, C: Consumer<V>>(a: &[Lanes], inputs: usize, delta: &[Lanes], rows: usize, consumer: &mut C) {
    for (strip, delta) in delta.chunks_exact(rows).enumerate() {
        for (tile, a) in a.chunks_exact(rows).flat_map(|a| [(0, a), (1, a)]).take(inputs / ROWS).enumerate() {
            let (half, a) = a;
            let mut gradients = [Lanes::ZERO; ROWS];
            if V::TILE_ROWS == ROWS {
                gradient_tile::<V, ROWS>(a, half * ROWS, delta, &mut gradients);
            } else {
                for (part, gradients) in gradients.chunks_exact_mut(ROWS / 2).enumerate() {
                    gradient_tile::<V, 4>(a, half * ROWS + part * ROWS / 2, delta, gradients);
                }
            }
            let (pairs, _) = gradients.as_chunks::<2>();
            consumer.consume((strip * inputs + tile * ROWS) / 2, pairs);
        }
    }
}

#[inline(always)]
fn gradient_tile<V: Simd, const R: usize>(a: &[Lanes], offset: usize, delta: &[Lanes], gradients: &mut [Lanes]) {
    let mut sums = [V::zero(); R];
    for (a, delta) in a.iter().zip(delta) {
        let a = &a.0.as_chunks::<R>().0[offset / R];
        let delta = V::load(delta);
        for i in 0..R {
            sums[i] = V::splat(a[i]).mul_add(delta, sums[i]);
        }
    }
    for (sum, gradient) in sums.into_iter().zip(gradients) {
        sum.store(gradient);
    }
}

/// The transposed of `w` `[inputs x units]`: strips of inputs with `units` rows, rounded up to a multiple of [`ROWS`].
#[inline(always)]
pub fn transposed<V: Simd>(w: Strips<'_>, units: usize, out: &mut [Lanes]) {
    let height = units.next_multiple_of(ROWS);
    for (strip, w) in w.values.chunks_exact(w.rows).enumerate() {
        for (block, out) in w.chunks(LANES).zip(out.chunks_exact_mut(height)) {
            let columns = transpose(load_block::<V>(block));
            for (column, out) in columns.into_iter().zip(&mut out[strip * LANES..]) {
                column.store(out);
            }
        }
    }
}

/// Sixteen vectors or fewer, filled up with zeros.
#[inline(always)]
pub fn load_block<V: Simd>(block: &[Lanes]) -> [V; LANES] {
    let mut vectors = [V::zero(); LANES];
    for (vector, from) in vectors.iter_mut().zip(block) {
        *vector = V::load(from);
    }
    vectors
}
