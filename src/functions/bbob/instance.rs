//! What an instance of a BBOB function draws: optimum, offset, rotations, with the generator of the 2009 code, which
//! COCO keeps (numbbo/coco, code-experiments/src/suite_bbob_legacy_code.c) so that results of all years compare.

use std::f64::consts::PI;

/// Modulus of the generator.
const MODULUS: u64 = 2_147_483_647;

/// One function at one number of dimensions, before anything of it is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instance {
    pub(super) dimensions: usize,
    /// Seed of all that is drawn but the offset.
    pub(super) seed: u64,
}

impl Instance {
    /// The instance of a function; `seed` is the function's own.
    pub(super) fn new(seed: u32, dimensions: usize, instance: u32) -> Instance {
        Instance { dimensions, seed: u64::from(seed) + 10_000 * u64::from(instance) }
    }

    /// Where the optimum lies: within [-4, 4], never 0 in any coordinate (RR-6829, section 0.2).
    pub(super) fn optimum(self) -> Vec<f64> {
        place_optimum(self.seed, self.dimensions)
    }

    /// The place of the optimum for functions that take it from the seed of the first rotation.
    pub(super) fn other_optimum(self) -> Vec<f64> {
        place_optimum(self.seed + 1_000_000, self.dimensions)
    }

    /// R of RR-6829.
    pub(super) fn first_rotation(self) -> Matrix {
        rotation(self.seed + 1_000_000, self.dimensions)
    }

    /// Q of RR-6829.
    pub(super) fn second_rotation(self) -> Matrix {
        rotation(self.seed, self.dimensions)
    }

    /// `R diag(base^(i / (n - 1))) Q`
    pub(super) fn stretched_rotation(self, base: f64) -> Matrix {
        let (first, second) = (self.first_rotation(), self.second_rotation());
        let n = self.dimensions;
        let stretch = powers(base, n);
        let entry = |row: usize, column: usize| {
            let terms = (0..n).map(|k| first.at(row, k) * stretch[k] * second.at(k, column));
            terms.sum()
        };
        Matrix::new(n, entry)
    }

    /// The least value: about Cauchy distributed, in hundredths, within [-1000, 1000] (RR-6829, section 0.2).
    pub(super) fn offset(self) -> f64 {
        let ratio = 100.0 * 100.0 * gauss(1, self.seed)[0] / gauss(1, self.seed + 1)[0];
        ((ratio + 0.5).floor() / 100.0).clamp(-1000.0, 1000.0)
    }
}

fn place_optimum(seed: u64, n: usize) -> Vec<f64> {
    let place = |u: f64| match 8.0 * (1e4 * u).floor() / 1e4 - 4.0 {
        0.0 => -1e-5,
        place => place,
    };
    uniform(n, seed).into_iter().map(place).collect()
}

/// `base^(i / (n - 1))` for each of n dimensions.
pub(super) fn powers(base: f64, n: usize) -> Vec<f64> {
    (0..n).map(|i| libm::pow(base, share(i, n))).collect()
}

/// `i / (n - 1)`, how far dimension i is on the way from first to last.
pub(super) fn share(i: usize, n: usize) -> f64 {
    i as f64 / (n as f64 - 1.0)
}

/// Uniform numbers in (0, 1): the minimal standard of Park & Miller 1988 (multiplier 16807), shuffled by a table as
/// Bays & Durham 1976 do. Seeds from the modulus on, undefined in COCO, count modulo it.
pub(super) fn uniform(n: usize, seed: u64) -> Vec<f64> {
    let mut state = (seed % MODULUS).max(1);
    let mut step = || {
        state = state * 16_807 % MODULUS;
        state
    };
    let mut table = [0; 32];
    // The first eight are dropped; the others fill the table from its end.
    for place in (0..40).rev() {
        let drawn = step();
        if let Some(entry) = table.get_mut(place) {
            *entry = drawn;
        }
    }
    let mut current = table[0];
    let draw = |_| {
        // The upper five bits of the last number choose the next.
        let place = (current / 67_108_865) as usize;
        current = std::mem::replace(&mut table[place], step());
        current as f64 / MODULUS as f64
    };
    (0..n).map(draw).collect()
}

/// Normal numbers by Box & Muller, never 0.
pub(super) fn gauss(n: usize, seed: u64) -> Vec<f64> {
    let uniform = uniform(2 * n, seed);
    let (radii, angles) = uniform.split_at(n);
    let normal = |(radius, angle): (&f64, &f64)| match (-2.0 * libm::log(*radius)).sqrt() * libm::cos(2.0 * PI * angle)
    {
        0.0 => 1e-99,
        normal => normal,
    };
    radii.iter().zip(angles).map(normal).collect()
}

/// A random rotation: normal numbers whose columns Gram and Schmidt make orthonormal, one after another.
fn rotation(seed: u64, n: usize) -> Matrix {
    let mut columns: Vec<Vec<f64>> = gauss(n * n, seed).chunks_exact(n).map(<[f64]>::to_vec).collect();
    for i in 0..n {
        let (before, rest) = columns.split_at_mut(i);
        let column = &mut rest[0];
        for other in before {
            let product = dot(column, other);
            column.iter_mut().zip(other).for_each(|(value, other)| *value -= product * *other);
        }
        let length = dot(column, column).sqrt();
        column.iter_mut().for_each(|value| *value /= length);
    }
    Matrix::new(n, |row, column| columns[column][row])
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A square matrix.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    n: usize,
    /// Row after row.
    values: Vec<f64>,
}

impl Matrix {
    /// From its entries by row and column.
    pub(super) fn new(n: usize, entry: impl Fn(usize, usize) -> f64) -> Matrix {
        let values = (0..n * n).map(|place| entry(place / n, place % n)).collect();
        Matrix { n, values }
    }

    /// Row after row.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.n + column]
    }

    /// The product with a vector.
    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        self.values.chunks_exact(self.n).map(|row| dot(row, x)).collect()
    }

    /// The product of the transposed matrix with a vector: the way back, for a rotation.
    pub(super) fn transposed_times(&self, x: &[f64]) -> Vec<f64> {
        let entry = |column: usize| (0..self.n).map(|row| self.at(row, column) * x[row]).sum();
        (0..self.n).map(entry).collect()
    }
}
