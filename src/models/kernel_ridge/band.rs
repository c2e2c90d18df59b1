//! One symmetric matrix, many penalties: `(K + l2 I) a = y` for every `l2` from one reduction of `K`.
//!
//! Householder reflections bring `K` to a band, `K = Q B Q'`, which a penalty does not leave: `K + l2 I = Q (B + l2 I) Q'`.
//! The reduction takes `2/3 n^3` multiplications, all in products of blocks (Golub & Van Loan 2013, section 8.3.3; Bischof,
//! Lang & Sun 2000, algorithm 807), where an eigendecomposition has half of its work in products with one vector and then
//! goes on. After it a penalty costs a Cholesky factor of the band, `n BAND^2`, and a product with `Q`. A single penalty
//! takes the same way, so that its bits do not depend on how many others there are.

use super::block::{self, Block, LowerHalf, add_product, add_product_transposed, transposed};
use super::panel::{self, Reflection};
use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{Kernel, LANES, Level, Simd, dispatch};

/// Diagonals below the main one that are kept, and columns that are reduced at a time: those of a block.
pub const BAND: usize = LANES;

/// `K = Q B Q'`.
pub struct Reduction {
    /// `[rows][BAND + 1]`: entry `d` of row `i` is `B[i][i - d]`.
    band: Vec<[f64; BAND + 1]>,
    /// `Q = P_0 P_1 ...`
    reflections: Vec<Reflection>,
}

impl Reduction {
    /// Reduces a matrix.
    pub fn new(level: Level, matrix: LowerHalf) -> Reduction {
        dispatch(level, Reduce(matrix))
    }

    /// Bytes of the reduction of so many rows.
    pub fn bytes(rows: usize) -> u64 {
        LowerHalf::bytes(rows).saturating_add((rows * (BAND + 1) * size_of::<f64>()) as u64)
    }

    /// `Q' y`
    pub fn rotated(&self, level: Level, y: &[f64]) -> Vec<f64> {
        let mut turned = blocks(y.iter().map(|y| Doubles::splat(*y)), y.len());
        for reflection in &self.reflections {
            dispatch(level, Act { reflection, is_inverse: true, x: &mut turned });
        }
        turned.as_flattened().iter().take(y.len()).map(|lanes| lanes.0[0]).collect()
    }

    /// `Q (B + l2 I)^-1 y` for a right side in the basis, a penalty a lane. A penalty for which a pivot is not positive,
    /// because the matrix is singular as far as f64 can tell, gets NaN.
    pub fn solve(&self, level: Level, y: &[f64], penalties: &Doubles) -> Vec<Doubles> {
        let solution = dispatch(level, SolveBand { band: &self.band, y, penalties });
        let mut solution = blocks(solution.into_iter(), y.len());
        for reflection in self.reflections.iter().rev() {
            dispatch(level, Act { reflection, is_inverse: false, x: &mut solution });
        }
        let mut solution = solution.into_flattened();
        solution.truncate(y.len());
        solution
    }
}

/// Rows in blocks, the last filled up with zeros.
fn blocks(rows: impl Iterator<Item = Doubles>, count: usize) -> Vec<Block> {
    let mut blocks = vec![block::ZERO; count.div_ceil(LANES)];
    blocks.as_flattened_mut().iter_mut().zip(rows).for_each(|(to, row)| *to = row);
    blocks
}

/// The way of a matrix to its band, a block column at a time.
///
/// `P' A P` is `A - W V' - V W'` with `W = A V T - V (T' V' A V T) / 2`. The update of one reflection and the product with
/// the vectors of the next are one pass over what is left of the matrix: its next block column is updated before, because
/// the next vectors come from it.
struct Reduce(LowerHalf);

impl Kernel for Reduce {
    type Output = Reduction;

    #[inline(always)]
    fn run<V: Simd>(self) -> Reduction {
        let Reduce(mut matrix) = self;
        let (rows, block_rows) = (matrix.rows(), matrix.block_rows());
        let mut reflections = Vec::new();
        let mut update: Option<Update> = None;
        for column in 0..block_rows {
            if let Some(update) = &update {
                for row in column..block_rows {
                    update.act::<V>(row, column, matrix.block_mut(row, column));
                }
            }
            // A single row below is within the band.
            if (column + 1) * BAND + 1 >= rows {
                continue;
            }
            let first = column + 1;
            let mut panel: Vec<Block> = (first..block_rows).map(|row| transposed(matrix.block(row, column))).collect();
            let reflection = panel::reflect::<V>(first, &mut panel);
            *matrix.block_mut(first, column) = transposed(&panel[0]);
            let columns: Vec<Block> = reflection.vectors.iter().map(transposed).collect();
            let products = update_and_multiply::<V>(&mut matrix, update.as_ref(), &reflection, &columns);
            update = Some(Update::new::<V>(&reflection, columns, products));
            reflections.push(reflection);
        }
        let entry = |row: usize, d: usize| if d <= row { matrix.entry(row, row - d) } else { 0.0 };
        let band = (0..rows).map(|row| std::array::from_fn(|d| entry(row, d))).collect();
        Reduction { band, reflections }
    }
}

/// Updates the matrix from a reflection's first block row and column on, and multiplies it with the reflection's vectors,
/// of which `columns` are the columns: rows of `A V`.
#[inline(always)]
fn update_and_multiply<V: Simd>(
    matrix: &mut LowerHalf,
    update: Option<&Update>,
    reflection: &Reflection,
    columns: &[Block],
) -> Vec<Block> {
    let Reflection { first, vectors, .. } = reflection;
    let mut products = vec![block::ZERO; vectors.len()];
    for row in 0..vectors.len() {
        // Columns of what the row's own blocks add.
        let mut own = block::ZERO;
        for column in 0..=row {
            let block = matrix.block_mut(first + row, first + column);
            if let Some(update) = update {
                update.act::<V>(first + row, first + column, block);
            }
            add_product::<V>(&mut own, block, &columns[column]);
            if column < row {
                add_product::<V>(&mut products[column], &vectors[row], block);
            }
        }
        let own = transposed(&own);
        for (product, own) in products[row].iter_mut().zip(&own) {
            V::Double::load(product).add(V::Double::load(own)).store(product);
        }
    }
    products
}

/// What a reflection adds to the matrix: `U V' + V U'` with `U = -W`.
struct Update {
    /// Block row of the matrix that it begins at.
    first: usize,
    /// `V` and `U`: their rows and their columns, in blocks.
    vectors: [Vec<Block>; 2],
    others: [Vec<Block>; 2],
}

impl Update {
    /// From the reflection, the columns of its vectors, and `A V`.
    #[inline(always)]
    fn new<V: Simd>(reflection: &Reflection, columns: Vec<Block>, products: Vec<Block>) -> Update {
        let Reflection { first, vectors, factor } = reflection;
        // U = V (T' V' A V T) / 2 - A V T
        let mut others = vec![block::ZERO; vectors.len()];
        let mut inner = block::ZERO;
        let negative = block::minus(factor);
        for ((other, product), columns) in others.iter_mut().zip(&products).zip(&columns) {
            add_product::<V>(other, &negative, product);
            add_product::<V>(&mut inner, other, columns);
        }
        let mut half = block::ZERO;
        add_product_transposed::<V>(&mut half, &inner, factor);
        let half = half.map(|vector| Doubles(vector.0.map(|value| -0.5 * value)));
        for (other, vectors) in others.iter_mut().zip(vectors) {
            add_product::<V>(other, &half, vectors);
        }
        let other_columns = others.iter().map(transposed).collect();
        Update { first: *first, vectors: [vectors.clone(), columns], others: [others, other_columns] }
    }

    /// Updates a block, of which the columns are given.
    #[inline(always)]
    fn act<V: Simd>(&self, row: usize, column: usize, block: &mut Block) {
        let (row, column) = (row - self.first, column - self.first);
        add_product::<V>(block, &self.others[1][row], &self.vectors[0][column]);
        add_product::<V>(block, &self.vectors[1][row], &self.others[0][column]);
    }
}

/// Cholesky's factor of the band and both substitutions.
struct SolveBand<'a> {
    band: &'a [[f64; BAND + 1]],
    y: &'a [f64],
    penalties: &'a Doubles,
}

impl Kernel for SolveBand<'_> {
    type Output = Vec<Doubles>;

    #[inline(always)]
    fn run<V: Simd>(self) -> Vec<Doubles> {
        let SolveBand { band, y, penalties } = self;
        let n = band.len();
        // Row i of the factor: L[i][i] inverted, L[i][i - 1], L[i][i - 2], ...
        let mut factor: Vec<[Doubles; BAND + 1]> = Vec::with_capacity(n);
        let mut x: Vec<Doubles> = Vec::with_capacity(n);
        for i in 0..n {
            let mut row = [Doubles::splat(0.0); BAND + 1];
            let reach = BAND.min(i);
            let mut sum = Doubles::splat(y[i]);
            for d in (1..=reach).rev() {
                // L[i][i-d] = (B[i][i-d] - sum over k < i-d of L[i][k] L[i-d][k]) / L[i-d][i-d]
                let above = &factor[i - d];
                let mut entry = Doubles::splat(band[i][d]);
                for e in 1..=BAND - d {
                    minus_product(&mut entry, &row[d + e], &above[e]);
                }
                for lane in 0..LANES {
                    row[d].0[lane] = entry.0[lane] * above[0].0[lane];
                }
                minus_product(&mut sum, &row[d], &x[i - d]);
            }
            let mut pivot = Doubles::splat(band[i][0]);
            for lane in 0..LANES {
                pivot.0[lane] += penalties.0[lane];
            }
            for entry in &row[1..=reach] {
                minus_product(&mut pivot, entry, entry);
            }
            for lane in 0..LANES {
                row[0].0[lane] = if pivot.0[lane] > 0.0 { 1.0 / pivot.0[lane].sqrt() } else { f64::NAN };
                sum.0[lane] *= row[0].0[lane];
            }
            x.push(sum);
            factor.push(row);
        }
        for i in (0..n).rev() {
            let mut sum = x[i];
            for d in 1..=BAND.min(n - 1 - i) {
                minus_product(&mut sum, &factor[i + d][d], &x[i + d]);
            }
            for lane in 0..LANES {
                x[i].0[lane] = sum.0[lane] * factor[i][0].0[lane];
            }
        }
        x
    }
}

#[inline(always)]
fn minus_product(from: &mut Doubles, a: &Doubles, b: &Doubles) {
    for lane in 0..LANES {
        from.0[lane] = (-a.0[lane]).mul_add(b.0[lane], from.0[lane]);
    }
}

/// `(I - V T V') x`, or with `T'` its inverse, on a right side a lane.
struct Act<'a> {
    reflection: &'a Reflection,
    is_inverse: bool,
    /// Rows, in blocks.
    x: &'a mut [Block],
}

impl Kernel for Act<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Reflection { first, vectors, factor } = self.reflection;
        let x = &mut self.x[*first..];
        let (mut products, mut shares) = (block::ZERO, block::ZERO);
        for (vectors, x) in vectors.iter().zip(x.iter()) {
            add_product_transposed::<V>(&mut products, x, vectors);
        }
        match self.is_inverse {
            true => add_product_transposed::<V>(&mut shares, &products, factor),
            false => add_product::<V>(&mut shares, &products, factor),
        }
        let shares = block::minus(&shares);
        for (vectors, x) in vectors.iter().zip(x) {
            add_product::<V>(x, &shares, vectors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, normal};

    fn kernel(n: usize) -> impl Fn(usize, usize) -> f64 {
        let key = Key::from_seed(n as u64);
        let x: Vec<f64> = (0..3 * n).map(|i| f64::from(normal(key.words(i as u64)[0]))).collect();
        move |i, j| (-0.3 * (0..3).map(|k| (x[3 * i + k] - x[3 * j + k]).powi(2)).sum::<f64>()).exp()
    }

    fn lower_half(n: usize, entry: impl Fn(usize, usize) -> f64) -> LowerHalf {
        let mut matrix = LowerHalf::new(n);
        for column in 0..n {
            let values: Vec<f64> = (LowerHalf::first_row(column)..n).map(|row| entry(row, column)).collect();
            matrix.set_column(column, &values);
        }
        matrix
    }

    #[test]
    fn every_penalty_is_solved_from_one_reduction() {
        // Fewer rows than the band, a panel that ends at the last rows, and several panels.
        for n in [1, 2, 7, 17, 18, 33, 100] {
            let matrix = kernel(n);
            let y: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
            let (level, reduction) = (Level::detect(), Reduction::new(Level::detect(), lower_half(n, &matrix)));
            let penalties = Doubles(std::array::from_fn(|lane| 10f64.powi(lane as i32 - 8)));
            let solutions = reduction.solve(level, &reduction.rotated(level, &y), &penalties);
            for (lane, l2) in penalties.0.iter().enumerate() {
                for i in 0..n {
                    let sum: f64 = (0..n).map(|j| matrix(i, j) * solutions[j].0[lane]).sum();
                    let residual = sum + l2 * solutions[i].0[lane] - y[i];
                    // Backward stable: some ulps of |K| |a|, where a is up to |y| / l2.
                    let allowed = 1e-14 * n as f64 * (1.0 + 1.0 / l2);
                    assert!(residual.abs() < allowed, "{n} rows, l2 {l2}: row {i} is off by {residual:e}");
                }
            }
        }
    }

    #[test]
    fn a_penalty_has_the_bits_that_it_has_alone_at_every_width() {
        let matrix = lower_half(50, kernel(50));
        let (level, reduction) = (Level::detect(), Reduction::new(Level::detect(), matrix.clone()));
        let y = reduction.rotated(level, &[1.0; 50]);
        let penalties = Doubles(std::array::from_fn(|lane| 0.01 * f64::from(1 << lane)));
        let together = reduction.solve(level, &y, &penalties);
        for level in Level::available() {
            let reduction = Reduction::new(level, matrix.clone());
            assert_eq!(reduction.rotated(level, &[1.0; 50]), y, "{}", level.name());
            for (lane, l2) in penalties.0.iter().enumerate() {
                let alone = reduction.solve(level, &y, &Doubles::splat(*l2));
                assert!((0..50).all(|i| alone[i].0[3] == together[i].0[lane]), "l2 {l2} on {}", level.name());
            }
        }
    }

    #[test]
    fn a_singular_matrix_gives_nan_for_no_penalty_and_leaves_the_others_alone() {
        let (level, reduction) = (Level::detect(), Reduction::new(Level::detect(), lower_half(30, |_, _| -1.0)));
        let mut penalties = Doubles::splat(100.0);
        penalties.0[0] = 0.0;
        let solutions = reduction.solve(level, &reduction.rotated(level, &[1.0; 30]), &penalties);
        assert!(solutions[0].0[0].is_nan() && (solutions[0].0[1] - 1.0 / 70.0).abs() < 1e-12);
    }
}
