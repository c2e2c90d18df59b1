//! CMA-ES with the rates of Hansen's tutorial (arXiv:1604.00772). From [`SEPARABLE`] axes on it learns variances alone
//! (sep-CMA-ES, Ros & Hansen 2008); below, a matrix by which normal vectors are stretched: MA-ES (Beyer & Sendhoff 2017,
//! doi:10.1109/TEVC.2017.2680320), which needs no eigenvalues and no root. A run that has become a point begins anew.

use super::cpu::{BLOCK, Problem, Turn};
use super::draws::{for_each_chunk, normal, reflected};
use super::rates::{PARTS, Rates, SEPARABLE, part};
use super::state::{State, WIDTH, head, rank_key};
use super::{DevicePlan, GenerationMethod, Layout, Step};
use crate::backend::cpu::simd::{Kernel, Lanes, Level, Simd, dispatch};
use crate::base::random::{Key, uniform};
use rayon::prelude::*;

/// CMA-ES.
pub struct CmaEs;

/// Places in the head.
mod own {
    use super::head;
    pub const SIGMA: usize = head::OWN;
    /// The generation in which the run began.
    pub const BEGAN: usize = head::OWN + 1;
}

/// Single rows.
mod vector {
    pub const MEAN: usize = 1;
    pub const PATH_SIGMA: usize = 2;
    /// The path of the covariance, and variances: of separable runs.
    pub const PATH: usize = 3;
    pub const VARIANCE: usize = 4;
    /// Of others, the matrix: what a unit along axis k becomes is row k.
    pub const MATRIX: usize = 3;
}

/// The row of a member's normal numbers.
const NORMALS: usize = 1;

/// A run's step at its start, as a share of the cube.
const FIRST_SIGMA: f32 = 0.25;
/// Spreads below this have no place to go in f32.
const LEAST_SPREAD: f32 = 2e-8;
/// Steps beyond this diverge.
const MOST_SIGMA: f32 = 1e3;
/// The tag of the key of a run's first mean.
const RESTART: u32 = u32::MAX - 2;

impl GenerationMethod for CmaEs {
    fn default_members(&self, axes: usize, candidates: u64) -> u64 {
        let least = 4 + (3.0 * libm::log(axes.max(1) as f64)) as u64;
        (candidates / 400).clamp(least, 8 * least)
    }

    fn fewest_members(&self) -> u64 {
        4
    }

    fn layout(&self, axes: usize, members: usize) -> Layout {
        let is_separable = axes >= SEPARABLE;
        Layout {
            vectors: if is_separable { vector::VARIANCE + 1 } else { vector::MATRIX + axes },
            rows: 2,
            // Weights, and rank mu's.
            scratch_columns: 2,
            // Each part's sums, with weights and squares or not; the whole's; the matrix's change.
            scratch_vectors: 2 * PARTS + 2 + if is_separable { 0 } else { 2 * axes },
            ..Layout::new(axes, members)
        }
    }

    fn rates(&self, axes: usize, members: usize) -> Option<Rates> {
        Some(Rates::new(axes, members))
    }

    fn begin(&self, state: &mut State) {
        state.set_number(own::SIGMA, FIRST_SIGMA);
        let first = state.place(0).to_vec();
        state.vector_mut(vector::MEAN).copy_from_slice(&first);
        reshape(state);
    }

    fn device(&self, layout: &Layout) -> DevicePlan {
        let Layout { members, axes, .. } = *layout;
        let rates = Rates::new(axes, members);
        let is_separable = axes >= SEPARABLE;
        let keep = if is_separable {
            1.0 - rates.c_1 - rates.c_mu * rates.sum
        } else {
            1.0 - 0.5 * rates.c_1 - 0.5 * rates.c_mu * rates.sum
        };
        let matrix = axes * layout.stride();
        let draw = [Step::Over("draw", members * layout.stride()), Step::Over("settle", members * layout.stride())];
        let add_up = Step::Over("add_up", PARTS * layout.stride());
        let learn = [Step::Rank, Step::Over("weigh", members), add_up, Step::Alone("adapt")];
        let shape =
            if is_separable { vec![] } else { vec![Step::Over("factor", matrix), Step::Over("multiply", matrix)] };
        let steps =
            [&draw[..], &[Step::Evaluate { row: 0, column: 0 }], &learn, &shape, &[Step::Alone("restart")]].concat();
        DevicePlan {
            source: include_str!("../../../shaders/strategies/cmaes.wgsl"),
            counts: vec![
                ("IS_SEPARABLE", usize::from(is_separable)),
                ("VECTORS", layout.vectors),
                ("PARTS", PARTS),
                ("PART", part(members)),
                ("RESTART", RESTART as usize),
            ],
            numbers: vec![
                ("C_SIGMA", rates.c_sigma),
                ("SIGMA_GAIN", rates.sigma_gain()),
                ("SIGMA_RATE", rates.c_sigma / rates.d_sigma),
                ("LOG_FADING", libm::logf(1.0 - rates.c_sigma)),
                ("MOST_LENGTH", (1.4 + 2.0 / (axes as f32 + 1.0)) * rates.chi),
                ("C_C", rates.c_c),
                ("C_GAIN", f32::sqrt(rates.c_c * (2.0 - rates.c_c) * rates.mu_eff)),
                ("C_1", rates.c_1),
                ("C_MU", rates.c_mu),
                ("CHI", rates.chi),
                ("KEEP", keep),
                (
                    "KEEP_STALLED",
                    1.0 + rates.c_1 * (rates.c_c * (2.0 - rates.c_c)) - rates.c_1 - rates.c_mu * rates.sum,
                ),
                ("FIRST_SIGMA", FIRST_SIGMA),
                ("LEAST_SPREAD", LEAST_SPREAD),
                ("MOST_SIGMA", MOST_SIGMA),
            ],
            table: rates.weights,
            ranked: members,
            first: steps.clone(),
            steps,
        }
    }

    fn turn(&self, turn: &mut Turn<'_>) {
        sample(turn);
        if !weigh(turn) {
            begin_anew(turn.state);
            return;
        }
        // The best of all is a place, which is taken note of before places change: nothing here writes to them.
        let is_separable = turn.state.layout.axes >= SEPARABLE;
        add_up(turn, is_separable);
        if is_separable {
            learn_variances(turn);
        } else {
            learn_matrix(turn);
        }
        restart(turn);
    }
}

/// A sphere around the mean, and no paths.
fn reshape(state: &mut State) {
    let (axes, is_separable) = (state.layout.axes, state.layout.axes >= SEPARABLE);
    let chunks = state.layout.chunks();
    state.vectors[vector::PATH_SIGMA * chunks..].fill(Lanes::ZERO);
    if is_separable {
        state.vector_mut(vector::VARIANCE).fill(Lanes([1.0; WIDTH]));
    } else {
        for axis in 0..axes {
            state.vector_mut(vector::MATRIX + axis)[axis / WIDTH].0[axis % WIDTH] = 1.0;
        }
    }
}

/// Draws, places and evaluates a generation.
fn sample(turn: &mut Turn<'_>) {
    let (problem, key) = (turn.problem, turn.state.generation_key());
    let (members, chunks) = (turn.state.layout.members, turn.state.layout.chunks());
    let axes = turn.state.layout.axes;
    let sigma = turn.state.number(own::SIGMA);
    let State { vectors, rows, columns, .. } = &mut *turn.state;
    let mean = &vectors[vector::MEAN * chunks..][..chunks];
    let shape = if axes >= SEPARABLE {
        let roots = &mut turn.work.vectors[2 * PARTS * chunks..][..chunks];
        for (root, variance) in roots.iter_mut().zip(&vectors[vector::VARIANCE * chunks..][..chunks]) {
            root.0 = variance.0.map(f32::sqrt);
        }
        &*roots
    } else {
        &vectors[vector::MATRIX * chunks..]
    };
    let (places, normals) = rows.split_at_mut(members * chunks);
    let blocks = places.par_chunks_mut(BLOCK * chunks).zip(normals.par_chunks_mut(BLOCK * chunks));
    blocks.zip(columns.par_chunks_mut(BLOCK)).enumerate().for_each(|(block, ((places, normals), values))| {
        let first = block * BLOCK;
        let sample = Sample { problem, key, first, chunks, axes, sigma, mean, shape, places, normals, values };
        dispatch(problem.level, sample);
    });
}

struct Sample<'a> {
    problem: &'a Problem,
    key: Key,
    first: usize,
    chunks: usize,
    axes: usize,
    sigma: f32,
    mean: &'a [Lanes],
    /// Deviations, or the matrix.
    shape: &'a [Lanes],
    places: &'a mut [Lanes],
    normals: &'a mut [Lanes],
    values: &'a mut [f32],
}

impl Kernel for Sample<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let chunks = self.chunks;
        let sigma = V::splat(self.sigma);
        let rows = self.places.chunks_exact_mut(chunks).zip(self.normals.chunks_exact_mut(chunks));
        for (member, (place, normals)) in (self.first..).zip(rows) {
            for_each_chunk::<V>(
                self.key,
                (member * chunks * WIDTH) as u32,
                normals,
                #[inline(always)]
                |_, words, chunk| normal(words).store(chunk),
            );
            if self.axes >= SEPARABLE {
                for (chunk, place) in place.iter_mut().enumerate() {
                    let step = V::load(&self.shape[chunk]).mul(V::load(&normals[chunk]));
                    reflected(sigma.mul_add(step, V::load(&self.mean[chunk]))).store(place);
                }
            } else {
                for (chunk, place) in place.iter_mut().enumerate() {
                    let mut step = V::zero();
                    for axis in 0..self.axes {
                        let normal = V::splat(normals[axis / WIDTH].0[axis % WIDTH]);
                        step = normal.mul_add(V::load(&self.shape[axis * chunks + chunk]), step);
                    }
                    reflected(sigma.mul_add(step, V::load(&self.mean[chunk]))).store(place);
                }
            }
        }
        self.problem.evaluate::<V>(chunks, self.places, self.values);
    }
}

/// Each member's weights by its rank; false where no member has a value, and nothing can be learnt.
fn weigh(turn: &mut Turn<'_>) -> bool {
    let State { layout, columns, .. } = &*turn.state;
    let members = layout.members;
    let keys = &mut turn.work.keys;
    keys.clear();
    keys.extend(columns[..members].iter().enumerate().map(|(member, value)| rank_key(*value, member)));
    keys.sort_unstable();
    if keys[0] >> 32 == u64::from(u32::MAX) {
        return false;
    }
    let rates = turn.problem.rates.as_ref().map(|rates| &rates.weights[..]).unwrap_or_default();
    let (means, changes) = turn.work.columns.split_at_mut(members);
    for (key, weight) in keys.iter().zip(rates) {
        let member = (key & 0xffff_ffff) as usize;
        means[member] = weight.max(0.0);
        changes[member] = *weight;
    }
    true
}

/// Sums of weighted normal vectors, and of their squares where variances are learnt; what members weigh in the shape is
/// completed on the way.
fn add_up(turn: &mut Turn<'_>, is_separable: bool) {
    let (members, chunks, axes) = (turn.state.layout.members, turn.state.layout.chunks(), turn.state.layout.axes);
    let normals = &turn.state.rows[NORMALS * members * chunks..];
    let (means, changes) = turn.work.columns.split_at_mut(members);
    let level = turn.problem.level;
    let (parts, rest) = turn.work.vectors.split_at_mut(2 * PARTS * chunks);
    let size = part(members);
    // Of few members the last parts have none.
    parts[2 * chunks * members.div_ceil(size)..].fill(Lanes::ZERO);
    let columns = means.par_chunks(size).zip(changes.par_chunks_mut(size));
    let parts_of = columns.zip(normals.par_chunks(size * chunks)).zip(parts.par_chunks_mut(2 * chunks));
    parts_of.for_each(|(((means, changes), normals), sums)| {
        dispatch(level, AddUp { chunks, axes, is_separable, normals, means, changes, sums });
    });
    let totals = &mut rest[..2 * chunks];
    totals.fill(Lanes::ZERO);
    for sums in parts.chunks_exact(2 * chunks) {
        for (total, sum) in totals.iter_mut().zip(sums) {
            total.0.iter_mut().zip(sum.0).for_each(|(total, sum)| *total += sum);
        }
    }
}

struct AddUp<'a> {
    chunks: usize,
    axes: usize,
    is_separable: bool,
    normals: &'a [Lanes],
    means: &'a [f32],
    changes: &'a mut [f32],
    /// Of the vectors, then of the squares.
    sums: &'a mut [Lanes],
}

impl Kernel for AddUp<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        self.sums.fill(Lanes::ZERO);
        let (vectors, squares) = self.sums.split_at_mut(self.chunks);
        let members = self.normals.chunks_exact(self.chunks).zip(self.means.iter().zip(self.changes));
        for (normals, (mean, change)) in members {
            if *mean != 0.0 {
                let mean = V::splat(*mean);
                for (sum, normals) in vectors.iter_mut().zip(normals) {
                    mean.mul_add(V::load(normals), V::load(sum)).store(sum);
                }
            }
            if *change < 0.0 {
                // What was worst is taken away as if it were as long as is expected.
                *change = *change * self.axes as f32 / squared_length::<V>(normals, self.axes).max(1e-30);
            }
            if self.is_separable && *change != 0.0 {
                let change = V::splat(*change);
                for (sum, normals) in squares.iter_mut().zip(normals) {
                    let normals = V::load(normals);
                    change.mul(normals).mul_add(normals, V::load(sum)).store(sum);
                }
            }
        }
    }
}

/// Numbers of lanes.
const COUNT: Lanes = Lanes([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]);

/// The squared length of a row of so many axes.
struct SquaredLength<'a>(&'a [Lanes], usize);

impl Kernel for SquaredLength<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<V: Simd>(self) -> f32 {
        squared_length::<V>(self.0, self.1)
    }
}

/// The squared length of a row: sixteen sums, halves added to halves.
#[inline(always)]
fn squared_length<V: Simd>(row: &[Lanes], axes: usize) -> f32 {
    let mut sum = V::zero();
    for (chunk, lanes) in row.iter().enumerate() {
        let value = V::load(lanes);
        let left = axes - chunk * WIDTH;
        // What is behind the last axis means nothing.
        let value =
            if left < WIDTH { V::select(V::load(&COUNT).less(V::splat(left as f32)), value, V::zero()) } else { value };
        sum = sum.add(value.mul(value));
    }
    let mut sums = Lanes::ZERO;
    sum.store(&mut sums);
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            sums.0[lane] += sums.0[lane + width];
        }
    }
    sums.0[0]
}

/// Moves sigma's path by a normal vector, and sigma by its length (eqs. 43 and 44); the path's length.
fn adapt_sigma(state: &mut State, rates: &Rates, level: Level, step: &[Lanes]) -> f32 {
    let axes = state.layout.axes;
    let gain = rates.sigma_gain();
    let path = state.vector_mut(vector::PATH_SIGMA);
    for (path, step) in path.iter_mut().zip(step) {
        for (path, step) in path.0.iter_mut().zip(step.0) {
            *path = (1.0 - rates.c_sigma) * *path + gain * step;
        }
    }
    let length = f32::sqrt(dispatch(level, SquaredLength(path, axes)));
    let change = (rates.c_sigma / rates.d_sigma * (length / rates.chi - 1.0)).min(1.0);
    let sigma = state.number(own::SIGMA) * libm::expf(change);
    state.set_number(own::SIGMA, sigma);
    length
}

/// Eqs. (41) to (47) where the covariance is a diagonal.
fn learn_variances(turn: &mut Turn<'_>) {
    let Some(rates) = &turn.problem.rates else { return };
    let state = &mut *turn.state;
    let (chunks, axes) = (state.layout.chunks(), state.layout.axes);
    let (steps, squares) = turn.work.vectors[2 * PARTS * chunks..].split_at(chunks);
    let sigma = state.number(own::SIGMA);
    let length = adapt_sigma(state, rates, turn.problem.level, steps);
    let age = state.generation() - state.head[own::BEGAN];
    let faded = libm::powf(1.0 - rates.c_sigma, 2.0 * (age as f32 + 2.0));
    let is_moving = length / f32::sqrt(1.0 - faded) < (1.4 + 2.0 / (axes as f32 + 1.0)) * rates.chi;
    let gain = if is_moving { f32::sqrt(rates.c_c * (2.0 - rates.c_c) * rates.mu_eff) } else { 0.0 };
    let stalled = if is_moving { 0.0 } else { rates.c_c * (2.0 - rates.c_c) };
    let keep = 1.0 + rates.c_1 * stalled - rates.c_1 - rates.c_mu * rates.sum;
    for axis in 0..axes {
        let (chunk, lane) = (axis / WIDTH, axis % WIDTH);
        let variance = state.vector(vector::VARIANCE)[chunk].0[lane];
        let step = f32::sqrt(variance) * steps[chunk].0[lane];
        state.vector_mut(vector::MEAN)[chunk].0[lane] += sigma * step;
        let path = &mut state.vector_mut(vector::PATH)[chunk].0[lane];
        *path = (1.0 - rates.c_c) * *path + gain * step;
        let path = *path;
        let variance = variance * (keep + rates.c_mu * squares[chunk].0[lane]) + rates.c_1 * path * path;
        state.vector_mut(vector::VARIANCE)[chunk].0[lane] = variance;
    }
}

/// Beyer & Sendhoff 2017, figure 3, with the worst members' weights of the tutorial:
/// `M <- M ((1 - c_1 / 2 - c_mu / 2 sum w) I + c_1 / 2 s s^T + c_mu / 2 sum w z z^T)`.
fn learn_matrix(turn: &mut Turn<'_>) {
    let Some(rates) = &turn.problem.rates else { return };
    let state = &mut *turn.state;
    let (chunks, axes, members) = (state.layout.chunks(), state.layout.axes, state.layout.members);
    let level = turn.problem.level;
    let (sums, changes) = turn.work.vectors[2 * PARTS * chunks..].split_at_mut(2 * chunks);
    let steps = &sums[..chunks];
    let sigma = state.number(own::SIGMA);
    adapt_sigma(state, rates, level, steps);
    // The mean moves by the stretched step.
    for axis in 0..axes {
        let weight = sigma * steps[axis / WIDTH].0[axis % WIDTH];
        let (head, matrix) = state.vectors.split_at_mut(vector::MATRIX * chunks);
        let mean = &mut head[vector::MEAN * chunks..][..chunks];
        for (mean, row) in mean.iter_mut().zip(&matrix[axis * chunks..][..chunks]) {
            mean.0.iter_mut().zip(row.0).for_each(|(mean, row)| *mean = weight.mul_add(row, *mean));
        }
    }
    let State { vectors, rows, .. } = &mut *state;
    let normals = &rows[NORMALS * members * chunks..];
    let path = &vectors[vector::PATH_SIGMA * chunks..][..chunks];
    let weights = &turn.work.columns[members..];
    let (products, copies) = changes.split_at_mut(axes * chunks);
    products.par_chunks_mut(TILE * chunks).enumerate().for_each(|(tile, rows)| {
        let first = tile * TILE;
        dispatch(level, Products { chunks, first, rates, normals, weights, path, rows });
    });
    let matrix = &mut vectors[vector::MATRIX * chunks..];
    copies.copy_from_slice(matrix);
    let (products, copies) = (&*products, &*copies);
    matrix.par_chunks_mut(TILE * chunks).enumerate().for_each(|(tile, rows)| {
        dispatch(level, Multiply { chunks, first: tile * TILE, axes, products, copies, rows });
    });
}

/// Rows of a matrix that a thread takes at a time.
const TILE: usize = 8;

/// Rows of the matrix by which M is multiplied.
struct Products<'a> {
    chunks: usize,
    first: usize,
    rates: &'a Rates,
    normals: &'a [Lanes],
    weights: &'a [f32],
    path: &'a [Lanes],
    rows: &'a mut [Lanes],
}

impl Kernel for Products<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let chunks = self.chunks;
        self.rows.fill(Lanes::ZERO);
        for (normals, weight) in self.normals.chunks_exact(chunks).zip(self.weights) {
            if *weight == 0.0 {
                continue;
            }
            for (axis, row) in (self.first..).zip(self.rows.chunks_exact_mut(chunks)) {
                let factor = V::splat(weight * normals[axis / WIDTH].0[axis % WIDTH]);
                for (sum, normals) in row.iter_mut().zip(normals) {
                    factor.mul_add(V::load(normals), V::load(sum)).store(sum);
                }
            }
        }
        let rates = self.rates;
        let keep = 1.0 - 0.5 * rates.c_1 - 0.5 * rates.c_mu * rates.sum;
        for (axis, row) in (self.first..).zip(self.rows.chunks_exact_mut(chunks)) {
            let along = V::splat(0.5 * rates.c_1 * self.path[axis / WIDTH].0[axis % WIDTH]);
            for (value, path) in row.iter_mut().zip(self.path) {
                let grown = V::splat(0.5 * rates.c_mu).mul(V::load(value));
                along.mul_add(V::load(path), grown).store(value);
            }
            row[axis / WIDTH].0[axis % WIDTH] += keep;
        }
    }
}

/// Rows of the new matrix. Its transpose is stored, and the factor is symmetric: `M^T <- factor M^T`.
struct Multiply<'a> {
    chunks: usize,
    first: usize,
    axes: usize,
    products: &'a [Lanes],
    /// The matrix before.
    copies: &'a [Lanes],
    rows: &'a mut [Lanes],
}

impl Kernel for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let chunks = self.chunks;
        for (axis, row) in (self.first..).zip(self.rows.chunks_exact_mut(chunks)) {
            row.fill(Lanes::ZERO);
            let factors = &self.products[axis * chunks..][..chunks];
            for other in 0..self.axes {
                let factor = V::splat(factors[other / WIDTH].0[other % WIDTH]);
                for (value, before) in row.iter_mut().zip(&self.copies[other * chunks..][..chunks]) {
                    factor.mul_add(V::load(before), V::load(value)).store(value);
                }
            }
        }
    }
}

/// Begins anew where the Gaussian has become a point, or no Gaussian.
fn restart(turn: &mut Turn<'_>) {
    let state = &mut *turn.state;
    let (axes, chunks) = (state.layout.axes, state.layout.chunks());
    let sigma = state.number(own::SIGMA);
    let mut widest = 0.0f32;
    let shape =
        if axes >= SEPARABLE { state.vector(vector::VARIANCE) } else { &state.vectors[vector::MATRIX * chunks..] };
    let mut is_finite = sigma.is_finite();
    for (index, value) in shape.iter().flat_map(|lanes| lanes.0).enumerate() {
        if index % (chunks * WIDTH) < axes {
            is_finite &= value.is_finite();
            widest = widest.max(value.abs());
        }
    }
    let widest = if axes >= SEPARABLE { f32::sqrt(widest) } else { widest };
    if is_finite && sigma * widest >= LEAST_SPREAD && sigma < MOST_SIGMA {
        return;
    }
    begin_anew(state);
}

/// A run from a mean that is drawn.
fn begin_anew(state: &mut State) {
    let axes = state.layout.axes;
    let key = state.generation_key().child(RESTART);
    for axis in 0..axes {
        state.vector_mut(vector::MEAN)[axis / WIDTH].0[axis % WIDTH] = uniform(key.words(axis as u64)[0]);
    }
    state.head[own::BEGAN] = state.generation().wrapping_add(1);
    state.set_number(own::SIGMA, FIRST_SIGMA);
    reshape(state);
}

#[cfg(test)]
mod tests {
    use super::super::testing::course;
    use super::super::{CMAES, Course};
    use super::*;

    #[test]
    fn a_run_that_has_become_a_point_begins_anew() {
        let mut course = course(&CMAES, "sphere", 4, 20, 1);
        assert!(course.advance(400).is_ok());
        let words = course.state();
        assert!(words[own::BEGAN] > 0, "it never began anew");
        let found = course.best(1)[0].0;
        assert!(found < 1e-12, "{found:e}");
    }
}
