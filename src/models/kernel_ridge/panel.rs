//! QR of a panel of sixteen columns, by Householder reflections whose product is `I - V T V'`.

use super::block::{self, Block};
use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{LANES, Simd};

/// What a panel is reflected by: `I - V T V'`.
pub struct Reflection {
    /// Block row of the matrix that `V` begins at; above it is the identity.
    pub first: usize,
    /// `V`: rows, in blocks.
    pub vectors: Vec<Block>,
    /// `T`, upper triangular: rows.
    pub factor: Block,
}

/// Reflects a panel, whose rows from block row `first` of the matrix on are given in blocks: its upper triangle becomes what
/// is left of it; below is nothing of use.
///
/// A reflection is one pass over the rows. It acts on them, and sums on the way what the next one needs to know of the
/// column that it will reflect: its products with all columns (its own square among them) and with the vectors before it.
#[inline(always)]
pub fn reflect<V: Simd>(first: usize, panel: &mut [Block]) -> Reflection {
    let mut reflection = Reflection { first, vectors: vec![block::ZERO; panel.len()], factor: block::ZERO };
    let (rows, vectors) = (panel.as_flattened_mut(), reflection.vectors.as_flattened_mut());
    let mut reflector = Reflector::default();
    // Sums over the rows below a column's head, of the column times each column, and times each vector.
    let (mut below_by_column, mut below_by_vector) = (Doubles::splat(0.0), Doubles::splat(0.0));
    let mut by_column = V::Double::splat(0.0);
    for row in rows.iter().skip(1) {
        by_column = V::Double::splat(row.0[0]).mul_add(V::Double::load(row), by_column);
    }
    by_column.store(&mut below_by_column);
    for j in 0..LANES {
        let head = rows[j];
        reflector.aim(j, &head, &below_by_column);
        // Compact WY (Schreiber & Van Loan 1989): T grows by -tau T V' v and tau.
        let before: [f64; LANES] =
            std::array::from_fn(|k| reflector.scale.mul_add(below_by_vector.0[k], vectors[j].0[k]));
        for (i, row) in reflection.factor.iter_mut().enumerate().take(j) {
            let sum = (i..j).fold(0.0, |sum: f64, k| row.0[k].mul_add(before[k], sum));
            row.0[j] = -reflector.tau * sum;
        }
        reflection.factor[j].0[j] = reflector.tau;
        vectors[j].0[j] = 1.0;
        for k in j + 1..LANES {
            rows[j].0[k] = head.0[k] - reflector.share.0[k];
        }
        rows[j].0[j] = reflector.beta;
        let (mut by_column, mut by_vector, mut by_own) = (V::Double::splat(0.0), V::Double::splat(0.0), 0.0f64);
        let next = (j + 1).min(LANES - 1);
        let share = V::Double::load(&reflector.share);
        for (i, (row, vector)) in rows.iter_mut().zip(vectors.iter_mut()).enumerate().skip(j + 1) {
            let own = row.0[j] * reflector.scale;
            let left = V::Double::splat(-own).mul_add(share, V::Double::load(row));
            left.store(row);
            if i > j + 1 {
                let lead = row.0[next];
                by_column = V::Double::splat(lead).mul_add(left, by_column);
                // Its own entry is not there yet: a vector would wait for a number that was just written into it.
                by_vector = V::Double::splat(lead).mul_add(V::Double::load(vector), by_vector);
                by_own = lead.mul_add(own, by_own);
            }
            vector.0[j] = own;
        }
        by_column.store(&mut below_by_column);
        by_vector.store(&mut below_by_vector);
        below_by_vector.0[j] = by_own;
    }
    reflection
}

/// One Householder reflection of a panel: `I - tau v v'`, where `v` is `scale` times the column below its head, of which 1
/// stands in the head's place.
struct Reflector {
    /// What becomes of the head: the column's length, with the sign that does not cancel.
    beta: f64,
    tau: f64,
    scale: f64,
    /// `tau v' A`, of the columns from its own on.
    share: Doubles,
}

impl Default for Reflector {
    fn default() -> Reflector {
        Reflector { beta: 0.0, tau: 0.0, scale: 0.0, share: Doubles::splat(0.0) }
    }
}

impl Reflector {
    /// Aims it at column `j`: `head` is the row of its first entry, `below` has the products of what lies below it.
    #[inline(always)]
    fn aim(&mut self, j: usize, head: &Doubles, below: &Doubles) {
        let (head, below) = (&head.0, &below.0);
        let tail = below[j];
        // Nothing to reflect leaves the identity.
        *self = Reflector { beta: head[j], ..Reflector::default() };
        if tail != 0.0 {
            let norm = head[j].mul_add(head[j], tail).sqrt();
            self.beta = if head[j] > 0.0 { -norm } else { norm };
            (self.tau, self.scale) = ((self.beta - head[j]) / self.beta, 1.0 / (head[j] - self.beta));
            for k in j..LANES {
                self.share.0[k] = self.tau * self.scale.mul_add(below[k], head[k]);
            }
        }
    }
}
