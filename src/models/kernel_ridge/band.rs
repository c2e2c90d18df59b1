//! One symmetric matrix, many penalties: `(K + l2 I) a = y` for every `l2` from one reduction of `K`.
//!
//! Householder reflections bring `K` to a band, `K = Q B Q'`, which a penalty does not leave: `K + l2 I = Q (B + l2 I) Q'`.
//! The reduction takes `4/3 n^3` multiplications, all in matrix products (Golub & Van Loan 2013, section 8.3.3; Bischof, Lang
//! & Sun 2000, algorithm 807), where an eigendecomposition has half of its work in products with one vector and then goes
//! on. After it a penalty costs a Cholesky factor of the band, `n BAND^2`, and a product with `Q`. A single penalty takes
//! the same way, so that its bits do not depend on how many others there are.

use crate::backend::cpu::simd::{Kernel, LANES, Level, Simd, dispatch};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Diagonals below the main one that are kept, and columns that are reduced at a time.
pub const BAND: usize = 16;

/// A number for each lane.
pub type Wide = [f64; LANES];

/// `K = Q B Q'`.
pub struct Reduction {
    /// `[rows][BAND + 1]`: entry `d` of row `i` is `B[i][i - d]`.
    band: Vec<[f64; BAND + 1]>,
    /// `Q = P_0 P_1 ...`
    reflections: Vec<Reflection>,
}

/// `I - V T V'` from its first row on, the identity above.
struct Reflection {
    first: usize,
    /// `V`, `[rows][BAND]`
    vectors: Vec<[f64; BAND]>,
    /// `T`, upper triangular.
    factor: [[f64; BAND]; BAND],
}

impl Reduction {
    /// Reduces a symmetric matrix, of which the lower half is read.
    pub fn new(level: Level, mut matrix: Mat<f64>) -> Reduction {
        let n = matrix.nrows();
        let mut reflections = Vec::new();
        let mut column = 0;
        while column + BAND + 1 < n {
            let first = column + BAND;
            let (left, rest) = matrix.as_mut().subcols_mut(column, n - column).split_at_col_mut(BAND);
            let mut panel = left.subrows_mut(first, n - first);
            let mut rows: Vec<[f64; BAND]> = (0..n - first).map(|i| std::array::from_fn(|j| panel[(i, j)])).collect();
            let mut vectors = vec![[0.0; BAND]; n - first];
            let mut factor = [[0.0; BAND]; BAND];
            dispatch(level, Panel { rows: &mut rows, vectors: &mut vectors, factor: &mut factor });
            for (i, row) in rows.iter().enumerate().take(BAND) {
                (i..BAND).for_each(|j| panel[(i, j)] = row[j]);
            }
            act_on_both_sides(rest.subrows_mut(first, n - first), view(&vectors), view(&factor));
            reflections.push(Reflection { first, vectors, factor });
            column += BAND;
        }
        let below = |i: usize, d: usize| if d <= i { matrix[(i, i - d)] } else { 0.0 };
        let band = (0..n).map(|i| std::array::from_fn(|d| below(i, d))).collect();
        Reduction { band, reflections }
    }

    /// Bytes of the reduction of so many rows.
    pub fn bytes(rows: usize) -> usize {
        (rows * (rows + 4 * BAND) / 2 + rows * (BAND + 1)) * size_of::<f64>()
    }

    /// `Q' y`
    pub fn rotated(&self, level: Level, y: &[f64]) -> Vec<f64> {
        let mut turned: Vec<[f64; 1]> = y.iter().map(|y| [*y]).collect();
        for reflection in &self.reflections {
            dispatch(level, Act { reflection, is_inverse: true, x: &mut turned });
        }
        turned.into_iter().map(|[y]| y).collect()
    }

    /// `Q (B + l2 I)^-1 y` for a right side in the basis, a penalty a lane. A penalty for which a pivot is not positive,
    /// because the matrix is singular as far as f64 can tell, gets NaN.
    pub fn solve(&self, level: Level, y: &[f64], penalties: &Wide) -> Vec<Wide> {
        let mut solution = dispatch(level, SolveBand { band: &self.band, y, penalties });
        for reflection in self.reflections.iter().rev() {
            dispatch(level, Act { reflection, is_inverse: false, x: &mut solution });
        }
        solution
    }
}

/// Rows as a matrix.
fn view(rows: &[[f64; BAND]]) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(rows.as_flattened(), rows.len(), BAND)
}

/// Cholesky's factor of the band and both substitutions.
struct SolveBand<'a> {
    band: &'a [[f64; BAND + 1]],
    y: &'a [f64],
    penalties: &'a Wide,
}

impl Kernel for SolveBand<'_> {
    type Output = Vec<Wide>;

    #[inline(always)]
    fn run<V: Simd>(self) -> Vec<Wide> {
        let SolveBand { band, y, penalties } = self;
        let n = band.len();
        // Row i of the factor: L[i][i] inverted, L[i][i - 1], L[i][i - 2], ...
        let mut factor: Vec<[Wide; BAND + 1]> = Vec::with_capacity(n);
        let mut x: Vec<Wide> = Vec::with_capacity(n);
        for i in 0..n {
            let mut row = [[0.0; LANES]; BAND + 1];
            let reach = BAND.min(i);
            let mut sum = [y[i]; LANES];
            for d in (1..=reach).rev() {
                // L[i][i-d] = (B[i][i-d] - sum over k < i-d of L[i][k] L[i-d][k]) / L[i-d][i-d]
                let above = &factor[i - d];
                let mut entry = [band[i][d]; LANES];
                for e in 1..=BAND - d {
                    minus_product(&mut entry, &row[d + e], &above[e]);
                }
                for lane in 0..LANES {
                    row[d][lane] = entry[lane] * above[0][lane];
                }
                minus_product(&mut sum, &row[d], &x[i - d]);
            }
            let mut pivot = [0.0; LANES];
            for lane in 0..LANES {
                pivot[lane] = band[i][0] + penalties[lane];
            }
            for entry in &row[1..=reach] {
                minus_product(&mut pivot, entry, entry);
            }
            for lane in 0..LANES {
                row[0][lane] = if pivot[lane] > 0.0 { 1.0 / pivot[lane].sqrt() } else { f64::NAN };
                sum[lane] *= row[0][lane];
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
                x[i][lane] = sum[lane] * factor[i][0][lane];
            }
        }
        x
    }
}

#[inline(always)]
fn minus_product(from: &mut Wide, a: &Wide, b: &Wide) {
    for lane in 0..LANES {
        from[lane] = (-a[lane]).mul_add(b[lane], from[lane]);
    }
}

/// `(I - V T V') x`, or with `T'` its inverse, on `L` right sides at a time.
struct Act<'a, const L: usize> {
    reflection: &'a Reflection,
    is_inverse: bool,
    x: &'a mut [[f64; L]],
}

impl<const L: usize> Kernel for Act<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        /// Vectors whose products are summed at a time.
        const TILE: usize = 4;
        let Reflection { first, vectors, factor } = self.reflection;
        let x = &mut self.x[*first..];
        let mut products = [[0.0; L]; BAND];
        for (tile, products) in products.chunks_exact_mut(TILE).enumerate() {
            let mut sums = [[0.0; L]; TILE];
            for (vector, x) in vectors.iter().zip(x.iter()) {
                let vector = &vector.as_chunks::<TILE>().0[tile];
                for j in 0..TILE {
                    for lane in 0..L {
                        sums[j][lane] = vector[j].mul_add(x[lane], sums[j][lane]);
                    }
                }
            }
            products.copy_from_slice(&sums);
        }
        let mut shares = [[0.0; L]; BAND];
        for i in 0..BAND {
            for j in 0..BAND {
                let factor = if self.is_inverse { factor[j][i] } else { factor[i][j] };
                for lane in 0..L {
                    shares[i][lane] = factor.mul_add(products[j][lane], shares[i][lane]);
                }
            }
        }
        for (vector, x) in vectors.iter().zip(x) {
            let mut sum = *x;
            for j in 0..BAND {
                for lane in 0..L {
                    sum[lane] = (-vector[j]).mul_add(shares[j][lane], sum[lane]);
                }
            }
            *x = sum;
        }
    }
}

/// QR of a panel, by Householder reflections whose product is `I - V T V'`: what is left of the panel is the band's part,
/// upper triangular.
///
/// A reflection is one pass over the rows. It acts on them, and sums on the way what the next one needs to know of the
/// column that it will reflect: its products with all columns (its own square among them) and with the vectors before it.
struct Panel<'a> {
    /// `[rows][BAND]`
    rows: &'a mut [[f64; BAND]],
    /// `V`, zero before.
    vectors: &'a mut [[f64; BAND]],
    /// `T`, zero before.
    factor: &'a mut [[f64; BAND]; BAND],
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Panel { rows, vectors, factor } = self;
        let columns = BAND.min(rows.len());
        let mut reflector = Reflector::default();
        // Sums over the rows below a column's head, of the column times each column, and times each vector.
        let (mut by_column, mut by_vector) = ([0.0; BAND], [0.0; BAND]);
        for row in rows.iter().skip(1) {
            add_product(&mut by_column, row[0], row);
        }
        for j in 0..columns {
            let head = rows[j];
            reflector.aim(j, &head, &by_column);
            // Compact WY (Schreiber & Van Loan 1989): T grows by -tau T V' v and tau.
            let before: [f64; BAND] = std::array::from_fn(|k| vectors[j][k] + reflector.scale * by_vector[k]);
            for (i, row) in factor.iter_mut().enumerate().take(j) {
                let sum = (i..j).fold(0.0, |sum: f64, k| row[k].mul_add(before[k], sum));
                row[j] = -reflector.tau * sum;
            }
            factor[j][j] = reflector.tau;
            vectors[j][j] = 1.0;
            for k in j + 1..BAND {
                rows[j][k] = head[k] - reflector.share[k];
            }
            rows[j][j] = reflector.beta;
            (by_column, by_vector) = ([0.0; BAND], [0.0; BAND]);
            let next = (j + 1).min(BAND - 1);
            for (i, (row, vector)) in rows.iter_mut().zip(vectors.iter_mut()).enumerate().skip(j + 1) {
                let own = row[j] * reflector.scale;
                vector[j] = own;
                add_product(row, -own, &reflector.share);
                row[j] = 0.0;
                if i > j + 1 {
                    let lead = row[next];
                    add_product(&mut by_column, lead, row);
                    add_product(&mut by_vector, lead, vector);
                }
            }
        }
    }
}

/// One Householder reflection of a panel: `I - tau v v'`, where `v` is `scale` times the column below its head, of which 1
/// stands in the head's place.
#[derive(Default)]
struct Reflector {
    /// What becomes of the head: the column's length, with the sign that does not cancel.
    beta: f64,
    tau: f64,
    scale: f64,
    /// `tau v' A`, of the columns from its own on.
    share: [f64; BAND],
}

impl Reflector {
    /// Aims it at column `j`: `head` is the row of its first entry, `below` has the products of what lies below it.
    #[inline(always)]
    fn aim(&mut self, j: usize, head: &[f64; BAND], below: &[f64; BAND]) {
        let tail = below[j];
        // Nothing to reflect leaves the identity.
        *self = Reflector { beta: head[j], ..Reflector::default() };
        if tail != 0.0 {
            let norm = head[j].hypot(tail.sqrt());
            self.beta = if head[j] > 0.0 { -norm } else { norm };
            (self.tau, self.scale) = ((self.beta - head[j]) / self.beta, 1.0 / (head[j] - self.beta));
            for k in j..BAND {
                self.share[k] = self.tau * self.scale.mul_add(below[k], head[k]);
            }
        }
    }
}

/// `to += factor * of`
#[inline(always)]
fn add_product(to: &mut [f64; BAND], factor: f64, of: &[f64; BAND]) {
    for k in 0..BAND {
        to[k] = factor.mul_add(of[k], to[k]);
    }
}

/// `A = P' A P` for a symmetric `A`, of which only the lower half is there: `A - W V' - V W'` with
/// `W = A V T - V (T' V' A V T) / 2`.
fn act_on_both_sides(mut a: MatMut<'_, f64>, vectors: MatRef<'_, f64>, factor: MatRef<'_, f64>) {
    let (rows, columns) = (vectors.nrows(), vectors.ncols());
    let mut sides: Mat<f64> = Mat::zeros(rows, columns);
    let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
    let below = BlockStructure::StrictTriangularUpper;
    triangular::matmul(sides.as_mut(), whole, Accum::Replace, a.as_ref(), lower, vectors, whole, 1.0, Par::Seq);
    triangular::matmul(sides.as_mut(), whole, Accum::Add, a.as_ref().transpose(), below, vectors, whole, 1.0, Par::Seq);
    let mut w = product(sides.as_ref(), factor);
    let inner = product(factor.transpose(), product(vectors.transpose(), w.as_ref()).as_ref());
    matmul(w.as_mut(), Accum::Add, vectors, inner.as_ref(), -0.5, Par::Seq);
    // Both products in one: [W V] [V W]'
    let mut left: Mat<f64> = Mat::zeros(rows, 2 * columns);
    let mut right: Mat<f64> = Mat::zeros(rows, 2 * columns);
    left.as_mut().subcols_mut(0, columns).copy_from(&w);
    left.as_mut().subcols_mut(columns, columns).copy_from(vectors);
    right.as_mut().subcols_mut(0, columns).copy_from(vectors);
    right.as_mut().subcols_mut(columns, columns).copy_from(&w);
    let (left, right) = (left.as_ref(), right.transpose());
    triangular::matmul(a.as_mut(), lower, Accum::Add, left, whole, right, whole, -1.0, Par::Seq);
}

fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Key, normal};

    fn kernel(n: usize) -> Mat<f64> {
        let key = Key::from_seed(n as u64);
        let x: Vec<f64> = (0..3 * n).map(|i| f64::from(normal(key.words(i as u64)[0]))).collect();
        let square = |i: usize, j: usize| (0..3).map(|k| (x[3 * i + k] - x[3 * j + k]).powi(2)).sum::<f64>();
        Mat::from_fn(n, n, |i, j| (-0.3 * square(i, j)).exp())
    }

    #[test]
    fn every_penalty_is_solved_from_one_reduction() {
        // Fewer rows than the band, a panel that ends at the last rows, and several panels.
        for n in [1, 2, 7, 17, 18, 33, 100] {
            let matrix = kernel(n);
            let y: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
            let (level, reduction) = (Level::detect(), Reduction::new(Level::detect(), matrix.clone()));
            let penalties = std::array::from_fn(|lane| 10f64.powi(lane as i32 - 8));
            let solutions = reduction.solve(level, &reduction.rotated(level, &y), &penalties);
            for (lane, l2) in penalties.iter().enumerate() {
                for i in 0..n {
                    let sum: f64 = (0..n).map(|j| matrix[(i, j)] * solutions[j][lane]).sum();
                    let residual = sum + l2 * solutions[i][lane] - y[i];
                    // Backward stable: some ulps of |K| |a|, where a is up to |y| / l2.
                    let allowed = 1e-14 * n as f64 * (1.0 + 1.0 / l2);
                    assert!(residual.abs() < allowed, "{n} rows, l2 {l2}: row {i} is off by {residual:e}");
                }
            }
        }
    }

    #[test]
    fn a_penalty_has_the_bits_that_it_has_alone_at_every_width() {
        let (level, reduction) = (Level::detect(), Reduction::new(Level::detect(), kernel(50)));
        let y = reduction.rotated(level, &[1.0; 50]);
        let penalties = std::array::from_fn(|lane| 0.01 * f64::from(1 << lane));
        let together = reduction.solve(level, &y, &penalties);
        for level in Level::available() {
            assert_eq!(reduction.rotated(level, &[1.0; 50]), y, "{}", level.name());
            for (lane, l2) in penalties.iter().enumerate() {
                let alone = reduction.solve(level, &y, &[*l2; LANES]);
                assert!((0..50).all(|i| alone[i][3] == together[i][lane]), "l2 {l2} on {}", level.name());
            }
        }
    }

    #[test]
    fn a_singular_matrix_gives_nan_for_no_penalty_and_leaves_the_others_alone() {
        let (level, reduction) = (Level::detect(), Reduction::new(Level::detect(), Mat::from_fn(30, 30, |_, _| -1.0)));
        let mut penalties = [100.0; LANES];
        penalties[0] = 0.0;
        let solutions = reduction.solve(level, &reduction.rotated(level, &[1.0; 30]), &penalties);
        assert!(solutions[0][0].is_nan() && (solutions[0][1] - 1.0 / 70.0).abs() < 1e-12);
    }
}
