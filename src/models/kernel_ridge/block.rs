//! Blocks of sixteen rows and columns, of which matrices are made here, and their products.

use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{LANES, Simd};

/// Sixteen vectors: a block's rows, or its columns.
pub type Block = [Doubles; LANES];

/// Nothing but zeros.
pub const ZERO: Block = [Doubles::splat(0.0); LANES];

/// `out[j] += sum over k of x[k] y[j][k]`, a chain of fused multiply-adds in the order of `k`.
#[inline(always)]
pub fn add_product<V: Simd>(out: &mut Block, x: &Block, y: &Block) {
    multiply_in_tiles::<V>(
        out,
        x,
        #[inline(always)]
        |j, k| y[j].0[k],
    );
}

/// The same with `y` transposed: `out[j] += sum over k of x[k] y[k][j]`.
#[inline(always)]
pub fn add_product_transposed<V: Simd>(out: &mut Block, x: &Block, y: &Block) {
    multiply_in_tiles::<V>(
        out,
        x,
        #[inline(always)]
        |j, k| y[k].0[j],
    );
}

/// As many vectors of `out` at a time as there are registers for.
#[inline(always)]
fn multiply_in_tiles<V: Simd>(out: &mut Block, x: &Block, y: impl Fn(usize, usize) -> f64) {
    match V::TILE_ROWS {
        8 => multiply::<V, 8>(out, x, y),
        _ => multiply::<V, 2>(out, x, y),
    }
}

#[inline(always)]
fn multiply<V: Simd, const TILE: usize>(out: &mut Block, x: &Block, y: impl Fn(usize, usize) -> f64) {
    for (tile, out) in out.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
        let mut sums = [V::Double::splat(0.0); TILE];
        for (sum, out) in sums.iter_mut().zip(out.iter()) {
            *sum = V::Double::load(out);
        }
        for (k, x) in x.iter().enumerate() {
            let x = V::Double::load(x);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = x.mul_add(V::Double::splat(y(tile * TILE + i, k)), *sum);
            }
        }
        for (sum, out) in sums.into_iter().zip(out) {
            sum.store(out);
        }
    }
}

/// Columns for rows.
#[inline(always)]
pub fn transposed(block: &Block) -> Block {
    let mut out = ZERO;
    for (i, row) in block.iter().enumerate() {
        for (j, value) in row.0.iter().enumerate() {
            out[j].0[i] = *value;
        }
    }
    out
}

/// The negative.
pub fn minus(block: &Block) -> Block {
    block.map(|vector| Doubles(vector.0.map(|value| -value)))
}

/// The lower half of a symmetric matrix.
#[derive(Clone)]
pub struct LowerHalf {
    rows: usize,
    /// `[block row][block column up to the row's own]`, columns; filled up with zeros. Blocks on the diagonal are whole.
    blocks: Vec<Block>,
}

impl LowerHalf {
    /// Zeros.
    pub fn new(rows: usize) -> LowerHalf {
        LowerHalf { rows, blocks: vec![ZERO; place(rows.div_ceil(LANES), 0)] }
    }

    /// Bytes of so many rows.
    pub fn bytes(rows: usize) -> u64 {
        (place(rows.div_ceil(LANES), 0) as u64).saturating_mul(size_of::<Block>() as u64)
    }

    /// Rows, those that fill up the last block not counted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of blocks.
    pub fn block_rows(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// The first row of a column that is kept: that of its block on the diagonal.
    pub fn first_row(column: usize) -> usize {
        column / LANES * LANES
    }

    /// Sets a column from its first row on.
    pub fn set_column(&mut self, column: usize, values: &[f64]) {
        let row = column / LANES;
        for (i, values) in values.chunks(LANES).enumerate() {
            self.block_mut(row + i, row)[column % LANES].0[..values.len()].copy_from_slice(values);
        }
    }

    /// An entry of the lower half.
    pub fn entry(&self, row: usize, column: usize) -> f64 {
        self.blocks[place(row / LANES, column / LANES)][column % LANES].0[row % LANES]
    }

    /// Columns of a block.
    #[inline(always)]
    pub fn block(&self, row: usize, column: usize) -> &Block {
        &self.blocks[place(row, column)]
    }

    /// Columns of a block.
    #[inline(always)]
    pub fn block_mut(&mut self, row: usize, column: usize) -> &mut Block {
        &mut self.blocks[place(row, column)]
    }
}

#[inline(always)]
fn place(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}
