//! Sequential minimal optimisation of one two-class problem or one regression: what LIBSVM 3.3 solves, on rows of a kernel
//! matrix that is there already.
//!
//! **Dual.** Minimise `1/2 b'Kb - p'b + epsilon |b|_1` over `lowest <= b <= highest` with `sum of b = 0`. A classifier has
//! `b = y alpha`, `p = y` and no epsilon, a regression `b = alpha - alpha*` and `p` its targets: LIBSVM's two variables
//! of a row are the two sides of one, of which at most one is not 0.
//!
//! **Step.** `f = p - K b` is kept for every row. A row that can go up would gain `f + up` by it, one that can go down
//! loses `f + low`; `up` and `low` hold the epsilon's side, and an infinity where the row is at its bound. The row `i` that
//! gains most goes up, and the row `j` goes down that gives the largest decrease of the dual to second order (Fan, Chen &
//! Lin 2005, WSS 2): `(f_i + up_i - f_j - low_j)^2 / (K_ii + K_jj - 2 K_ij)`. Done when the largest gain is within
//! `tolerance` of the least loss. Of equal rows the first is taken.
//!
//! There is no shrinking: a step reads two rows of at most some thousand numbers from a cache, sixteen at a
//! time, which takes less than deciding what could be left out. `f` is f64 as in LIBSVM, the kernel f32.

use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd};
use serde::{Deserialize, Serialize};

/// What a curvature that is not positive is taken for: LIBSVM's TAU.
pub const LEAST_CURVATURE: f64 = 1e-12;

/// The kernel of every pair of rows: `[row][strip]`, sixteen columns a strip.
pub struct Matrix {
    /// Strips of a row.
    pub strips: usize,
    /// One row after the other.
    pub values: Vec<Lanes>,
}

impl Matrix {
    /// Zeros.
    pub fn new(rows: usize, strips: usize) -> Matrix {
        Matrix { strips, values: vec![Lanes::ZERO; rows * strips] }
    }

    /// One row's strips.
    pub fn row(&self, row: usize) -> &[Lanes] {
        &self.values[row * self.strips..][..self.strips]
    }
}

/// The rows of one problem: two runs of strips of a kernel matrix, of which the second may be empty.
#[derive(Clone, Copy)]
pub struct Dual<'a> {
    /// Kernel of all rows of the fold.
    pub kernel: &'a Matrix,
    /// Its diagonal.
    pub diagonal: &'a [Lanes],
    /// First strip and number of strips of each run.
    pub runs: [(usize, usize); 2],
}

impl<'a> Dual<'a> {
    /// Where the problem's row stands in the matrix.
    pub fn place(&self, row: usize) -> usize {
        let [(first, strips), (second, _)] = self.runs;
        if row < strips * LANES { first * LANES + row } else { (second - strips) * LANES + row }
    }

    #[inline(always)]
    fn parts<'b>(&self, strips: &'b [Lanes]) -> [&'b [Lanes]; 2] {
        self.runs.map(
            #[inline(always)]
            |(first, count)| &strips[first..][..count],
        )
    }
}

/// One row's place in the dual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variable {
    /// Its linear term.
    pub p: f64,
    /// Its least value, at most 0.
    pub lowest: f64,
    /// Its largest value, at least 0.
    pub highest: f64,
}

impl Variable {
    /// A row that fills up a strip.
    pub const NONE: Variable = Variable { p: 0.0, lowest: 0.0, highest: 0.0 };
}

/// How far a problem has been solved.
#[derive(Clone)]
pub struct Search {
    f: Vec<Doubles>,
    up: Vec<Doubles>,
    low: Vec<Doubles>,
    variables: Vec<Variable>,
    b: Vec<f64>,
    epsilon: f64,
    /// Steps since the start.
    pub iterations: u64,
    /// Whether the tolerance is met, or nothing is left to do.
    pub is_done: bool,
    has_failed: bool,
}

impl Search {
    /// At zero; `variables` are those of whole strips.
    pub fn new(variables: Vec<Variable>, epsilon: f64) -> Search {
        let mut search = Search {
            f: variables
                .as_chunks()
                .0
                .iter()
                .map(|chunk| Doubles(chunk.map(|variable: Variable| variable.p)))
                .collect(),
            up: vec![Doubles::splat(0.0); variables.len() / LANES],
            low: vec![Doubles::splat(0.0); variables.len() / LANES],
            b: vec![0.0; variables.len()],
            variables,
            epsilon,
            iterations: 0,
            is_done: false,
            has_failed: false,
        };
        (0..search.b.len()).for_each(|row| search.set(row, 0.0));
        search
    }

    /// Bytes of the search over so many rows.
    pub fn bytes(rows: usize) -> usize {
        rows * (4 * size_of::<f64>() + size_of::<Variable>())
    }

    /// Gives a row its value, and what follows for its ways up and down.
    #[inline(always)]
    fn set(&mut self, row: usize, b: f64) {
        let Variable { lowest, highest, .. } = self.variables[row];
        self.b[row] = b;
        self.up[row / LANES].0[row % LANES] = match b {
            b if b >= highest => f64::NEG_INFINITY,
            b if b < 0.0 => self.epsilon,
            _ => -self.epsilon,
        };
        self.low[row / LANES].0[row % LANES] = match b {
            b if b <= lowest => f64::INFINITY,
            b if b > 0.0 => -self.epsilon,
            _ => self.epsilon,
        };
    }

    /// The solution in f32, strip by strip.
    pub fn coefficients(&self) -> Vec<Lanes> {
        self.b.as_chunks().0.iter().map(|strip: &[f64; LANES]| Lanes(strip.map(|b| b as f32))).collect()
    }

    /// The solution's entries with their places in the matrix.
    pub fn solution(&self, runs: [(usize, usize); 2]) -> impl Iterator<Item = (usize, f64)> {
        let places = runs.into_iter().flat_map(|(first, strips)| first * LANES..(first + strips) * LANES);
        places.zip(self.b.iter().copied())
    }

    /// The constant of the decision function `K b + constant`: what free rows agree on, or else the middle of what the
    /// bound ones allow. NaN where the kernel is not finite.
    pub fn constant(&self) -> f64 {
        if self.has_failed {
            return f64::NAN;
        }
        let (mut sum, mut free) = (0.0, 0u32);
        let (mut most, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
        let values = |strips: &[Doubles]| strips.iter().flat_map(|strip| strip.0).collect::<Vec<f64>>();
        let sides = values(&self.up).into_iter().zip(values(&self.low));
        for (f, (up, low)) in values(&self.f).into_iter().zip(sides) {
            if up == low {
                sum += f + up;
                free += 1;
            }
            most = most.max(f + up);
            least = least.min(f + low);
        }
        match free {
            0 => 0.5 * (most + least),
            free => sum / f64::from(free),
        }
    }
}

/// What a search that was stopped goes on from; the rest follows from its problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// `f` and `b` of every row.
    rows: Vec<(f64, f64)>,
    iterations: u64,
    is_done: bool,
    has_failed: bool,
}

impl Search {
    /// Where it stands.
    pub fn freeze(&self) -> Frozen {
        let f = self.f.iter().flat_map(|f| f.0);
        Frozen {
            rows: f.zip(self.b.iter().copied()).collect(),
            iterations: self.iterations,
            is_done: self.is_done,
            has_failed: self.has_failed,
        }
    }

    /// Brings a search at its beginning to where another one stood; false where that had a problem of another size.
    pub fn thaw(&mut self, frozen: &Frozen) -> bool {
        if frozen.rows.len() != self.b.len() || frozen.rows.len() != LANES * self.f.len() {
            return false;
        }
        for (row, (f, b)) in frozen.rows.iter().enumerate() {
            self.f[row / LANES].0[row % LANES] = *f;
            self.set(row, *b);
        }
        self.iterations = frozen.iterations;
        (self.is_done, self.has_failed) = (frozen.is_done, frozen.has_failed);
        true
    }
}

/// Solves on until the tolerance is met or `until` steps have been made.
pub struct Advance<'a> {
    /// The problem.
    pub dual: Dual<'a>,
    /// Where it stands.
    pub search: &'a mut Search,
    /// Largest violation of the conditions of an optimum.
    pub tolerance: f64,
    /// Steps counted from the start.
    pub until: u64,
}

/// The row that gains most by going up, and how much others lose least by going down.
#[derive(Clone, Copy)]
struct Choice {
    row: usize,
    gain: f64,
    loss: f64,
}

impl Kernel for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Advance { dual, search, tolerance, until } = self;
        if search.is_done {
            return;
        }
        let none = dual.parts(dual.kernel.row(dual.place(0)));
        let mut choice = update::<V::Double>(search, none, none, 0.0);
        loop {
            if choice.gain - choice.loss < tolerance || search.has_failed {
                search.is_done = true;
                return;
            }
            if search.iterations >= until {
                return;
            }
            let i = choice.row;
            let row_i = dual.kernel.row(dual.place(i));
            let own = dual.diagonal[dual.place(i) / LANES].0[dual.place(i) % LANES];
            let Some(j) = partner::<V>(search, dual.parts(row_i), dual.parts(dual.diagonal), own, choice.gain) else {
                // A violation without a partner: the kernel is not finite.
                search.has_failed = true;
                continue;
            };
            let other = dual.place(j);
            let row_j = dual.kernel.row(other);
            let diagonals = f64::from(own) + f64::from(dual.diagonal[other / LANES].0[other % LANES]);
            let curvature = diagonals - 2.0 * f64::from(row_i[other / LANES].0[other % LANES]);
            let loss = search.f[j / LANES].0[j % LANES] + search.low[j / LANES].0[j % LANES];
            let wanted = (choice.gain - loss) / if curvature > 0.0 { curvature } else { LEAST_CURVATURE };
            let step = move_pair(search, i, j, wanted);
            if !step.is_finite() {
                search.has_failed = true;
                continue;
            }
            choice = update::<V::Double>(search, dual.parts(row_i), dual.parts(row_j), step);
            search.iterations += 1;
        }
    }
}

/// Moves a pair as far as it wants, or to the first bound or kink.
#[inline(always)]
fn move_pair(search: &mut Search, i: usize, j: usize, wanted: f64) -> f64 {
    let (b_i, b_j) = (search.b[i], search.b[j]);
    let top = if b_i < 0.0 { 0.0 } else { search.variables[i].highest };
    let bottom = if b_j > 0.0 { 0.0 } else { search.variables[j].lowest };
    let (room_i, room_j) = (top - b_i, b_j - bottom);
    let step = wanted.min(room_i).min(room_j);
    search.set(i, if step >= room_i { top } else { b_i + step });
    search.set(j, if step >= room_j { bottom } else { b_j - step });
    step
}

/// `f -= step (K_i - K_j)`, and the next choice.
#[inline(always)]
fn update<D: Double>(search: &mut Search, k_i: [&[Lanes]; 2], k_j: [&[Lanes]; 2], step: f64) -> Choice {
    let step = D::splat(-step);
    let mut most = D::splat(f64::NEG_INFINITY);
    let mut least = D::splat(f64::INFINITY);
    let (mut at, mut strip, one) = (D::splat(0.0), D::splat(0.0), D::splat(1.0));
    let mut first = 0;
    for (k_i, k_j) in k_i.into_iter().zip(k_j) {
        let range = first..first + k_i.len();
        first = range.end;
        let f = search.f[range.clone()].iter_mut();
        let sides = search.up[range.clone()].iter().zip(&search.low[range]);
        for (((k_i, k_j), f), (up, low)) in k_i.iter().zip(k_j).zip(f).zip(sides) {
            let value = step.mul_add(D::widen(k_i).sub(D::widen(k_j)), D::load(f));
            value.store(f);
            let (gain, loss) = (value.add(D::load(up)), value.add(D::load(low)));
            let is_more = most.less(gain);
            most = D::select(is_more, gain, most);
            at = D::select(is_more, strip, at);
            least = D::select(loss.less(least), loss, least);
            strip = strip.add(one);
        }
    }
    let gain = most.largest();
    Choice { row: first_of(most, at, gain), gain, loss: least.least() }
}

/// The row that goes down with row `i`: the largest decrease to second order, in f32, which is fine enough for a choice.
#[inline(always)]
fn partner<V: Simd>(
    search: &Search,
    k_i: [&[Lanes]; 2],
    diagonal: [&[Lanes]; 2],
    own: f32,
    gain: f64,
) -> Option<usize> {
    let gain = V::Double::splat(gain);
    let (own, two, tau) = (V::splat(own), V::splat(2.0), V::splat(LEAST_CURVATURE as f32));
    let (mut most, mut at) = (V::zero(), V::zero());
    let (mut strip, one) = (V::zero(), V::splat(1.0));
    let mut first = 0;
    let mut gap = Lanes::ZERO;
    for (k_i, diagonal) in k_i.into_iter().zip(diagonal) {
        let range = first..first + k_i.len();
        first = range.end;
        let losses = search.f[range.clone()].iter().zip(&search.low[range]);
        for ((k_i, diagonal), (f, low)) in k_i.iter().zip(diagonal).zip(losses) {
            gain.sub(V::Double::load(f).add(V::Double::load(low))).narrow(&mut gap);
            let gap = V::load(&gap).max(V::zero());
            let curvature = two.neg_mul_add(V::load(k_i), own.add(V::load(diagonal)));
            let curvature = V::select(V::zero().less(curvature), curvature, tau);
            let decrease = gap.mul(gap).div(curvature);
            let is_more = most.less(decrease);
            most = V::select(is_more, decrease, most);
            at = V::select(is_more, strip, at);
            strip = strip.add(one);
        }
    }
    let mut lanes = [Lanes::ZERO; 2];
    most.store(&mut lanes[0]);
    at.store(&mut lanes[1]);
    let (most, at) = (V::Double::widen(&lanes[0]), V::Double::widen(&lanes[1]));
    let largest = most.largest();
    (largest > 0.0).then(|| first_of(most, at, largest))
}

/// The first row whose value is the largest: strip `at`, place of the lane.
#[inline(always)]
fn first_of<D: Double>(most: D, at: D, largest: f64) -> usize {
    let places =
        D::load(&Doubles([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]));
    let row = at.mul_add(D::splat(LANES as f64), places);
    // Where no value is above minus infinity there is no row; the caller then has no gap to close.
    D::select(most.less(D::splat(largest)), D::splat(f64::INFINITY), row).least().min(u32::MAX.into()) as usize
}
