//! One run of CMA-ES over axes of numbers: the Gaussian, its evolution paths, and their update by a ranked generation.
//!
//! Equations are those of Hansen's tutorial (arXiv:1604.00772v2); "table 1" is its table of default parameters.

use super::eigen::{Eigen, eigen};
use crate::base::random::{Key, normal_f64};

/// Axes up to which the whole covariance is learnt; beyond them its diagonal alone (sep-CMA-ES, Ros & Hansen 2008).
pub(super) const FULL: usize = 100;

/// What is set by dimension and population (table 1).
#[derive(Debug, Clone)]
pub struct Rates {
    /// Of a generation's members, best first; positive ones sum to 1.
    pub weights: Vec<f64>,
    /// Variance effective selection mass, eq. (8).
    pub mu_eff: f64,
    pub c_sigma: f64,
    pub d_sigma: f64,
    pub c_c: f64,
    pub c_1: f64,
    pub c_mu: f64,
    /// Expected length of a standard normal vector.
    pub chi: f64,
}

impl Rates {
    /// Of so many axes and members, where the whole covariance is learnt or its diagonal alone.
    pub fn new(axes: usize, population: usize, is_diagonal: bool) -> Rates {
        let n = axes as f64;
        // Eq. (49): w'_i = ln((lambda + 1) / 2) - ln i.
        let half = libm::log((population as f64 + 1.0) / 2.0);
        let mut weights: Vec<f64> = (1..=population).map(|i| half - libm::log(i as f64)).collect();
        let (best, rest) = weights.split_at(population / 2);
        let mass = |weights: &[f64]| {
            let (sum, squares) = (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
            if squares > 0.0 { sum * sum / squares } else { 0.0 }
        };
        let (mu_eff, mu_eff_minus) = (mass(best), mass(rest));
        // Eqs. (55) to (58).
        let c_sigma = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let d_sigma = 1.0 + 2.0 * (f64::sqrt((mu_eff - 1.0) / (n + 1.0)) - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n);
        let mut c_1 = 2.0 / ((n + 1.3) * (n + 1.3) + mu_eff);
        let mut c_mu = 2.0 * (0.25 + mu_eff + 1.0 / mu_eff - 2.0) / ((n + 2.0) * (n + 2.0) + mu_eff);
        if is_diagonal {
            // Ros & Hansen 2008, section 3: a diagonal has fewer numbers to learn, and learns them faster.
            c_1 = (c_1 * (n + 2.0) / 3.0).min(1.0);
            c_mu *= (n + 2.0) / 3.0;
        }
        c_mu = c_mu.min(1.0 - c_1);
        // Eqs. (50) to (53): negative weights sum to no more than keeps the covariance positive definite.
        let alpha_mu = 1.0 + c_1 / c_mu;
        let alpha_mu_eff = 1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0);
        let alpha_definite = (1.0 - c_1 - c_mu) / (n * c_mu);
        let positive: f64 = weights.iter().filter(|w| **w > 0.0).sum();
        let negative: f64 = -weights.iter().filter(|w| **w < 0.0).sum::<f64>();
        let least = alpha_mu.min(alpha_mu_eff).min(alpha_definite);
        weights.iter_mut().for_each(|w| *w *= if *w >= 0.0 { 1.0 / positive } else { least / negative });
        let chi = f64::sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
        Rates { weights, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi }
    }
}

/// The covariance, and its root by which it is sampled.
#[derive(Debug, Clone)]
enum Shape {
    /// Row after row; `basis.values` are square roots, that is standard deviations.
    Full { covariance: Vec<f64>, basis: Eigen },
    /// Variances.
    Diagonal(Vec<f64>),
}

impl Shape {
    fn new(n: usize) -> Shape {
        if n > FULL {
            return Shape::Diagonal(vec![1.0; n]);
        }
        let identity: Vec<f64> = (0..n * n).map(|place| f64::from(u8::from(place % (n + 1) == 0))).collect();
        Shape::Full { basis: Eigen { values: vec![1.0; n], vectors: identity.clone() }, covariance: identity }
    }

    fn variance(&self, axis: usize, n: usize) -> f64 {
        match self {
            Shape::Full { covariance, .. } => covariance[axis * n + axis],
            Shape::Diagonal(variances) => variances[axis],
        }
    }

    /// `B D z`, eq. (39).
    fn stretch(&self, z: &[f64]) -> Vec<f64> {
        match self {
            Shape::Full { basis, .. } => {
                let mut y = vec![0.0; z.len()];
                for ((z, length), vector) in z.iter().zip(&basis.values).zip(basis.vectors.chunks_exact(z.len())) {
                    y.iter_mut().zip(vector).for_each(|(y, b)| *y += z * length * b);
                }
                y
            }
            Shape::Diagonal(variances) => z.iter().zip(variances).map(|(z, c)| z * f64::sqrt(*c)).collect(),
        }
    }

    /// `B D^-1 B^T y`: y by the inverse root of the covariance.
    fn whiten(&self, y: &[f64]) -> Vec<f64> {
        match self {
            Shape::Full { basis, .. } => {
                let mut white = vec![0.0; y.len()];
                for (length, vector) in basis.values.iter().zip(basis.vectors.chunks_exact(y.len())) {
                    let along = dot(vector, y) / length;
                    white.iter_mut().zip(vector).for_each(|(white, b)| *white += along * b);
                }
                white
            }
            Shape::Diagonal(variances) => y.iter().zip(variances).map(|(y, c)| y / f64::sqrt(*c)).collect(),
        }
    }

    /// `C <- keep C`
    fn scale(&mut self, keep: f64) {
        match self {
            Shape::Full { covariance, .. } => covariance.iter_mut().for_each(|c| *c *= keep),
            Shape::Diagonal(variances) => variances.iter_mut().for_each(|c| *c *= keep),
        }
    }

    /// `C <- C + weight y y^T`
    fn add(&mut self, weight: f64, y: &[f64]) {
        match self {
            Shape::Full { covariance, .. } => {
                for (row, a) in covariance.chunks_exact_mut(y.len()).zip(y) {
                    row.iter_mut().zip(y).for_each(|(c, b)| *c += weight * (a * b));
                }
            }
            Shape::Diagonal(variances) => variances.iter_mut().zip(y).for_each(|(c, y)| *c += weight * (y * y)),
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The state of a run.
#[derive(Debug, Clone)]
pub(super) struct Evolution {
    pub(super) mean: Vec<f64>,
    pub(super) sigma: f64,
    /// What each axis's spread is multiplied by when members are placed: 1 but on ordered axes that narrow too far, see
    /// [`super::margin`].
    pub(super) widening: Vec<f64>,
    first_sigma: f64,
    rates: Rates,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    shape: Shape,
    generations: u64,
    /// The generation after which the covariance's root was taken.
    rooted: u64,
    is_broken: bool,
}

/// Steps below this share of the cube are not searched: pycma's `tolx`.
const LEAST_STEP: f64 = 1e-11;
/// Growth of a step beyond which the run diverges: pycma's `tolfacupx`.
const MOST_GROWTH: f64 = 1e3;
/// ConditionCov: largest ratio of the covariance's eigenvalues.
const MOST_CONDITION: f64 = 1e14;

impl Evolution {
    pub(super) fn new(mean: Vec<f64>, sigma: f64, population: usize) -> Evolution {
        let n = mean.len();
        Evolution {
            sigma,
            widening: vec![1.0; n],
            first_sigma: sigma,
            rates: Rates::new(n, population, n > FULL),
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            shape: Shape::new(n),
            generations: 0,
            rooted: 0,
            is_broken: false,
            mean,
        }
    }

    pub(super) fn population(&self) -> usize {
        self.rates.weights.len()
    }

    /// What members weigh, best first.
    pub(super) fn weights(&self) -> &[f64] {
        &self.rates.weights
    }

    /// Standard deviation along an axis, without its widening.
    pub(super) fn spread(&self, axis: usize) -> f64 {
        self.sigma * f64::sqrt(self.shape.variance(axis, self.mean.len()))
    }

    /// A member's step from the mean, in units of sigma: eqs. (38) and (39).
    pub(super) fn step(&self, key: Key) -> Vec<f64> {
        // The quantile of 0 is infinite: half of the least number that is drawn stands for it.
        let normal = |axis| normal_f64(key.words(axis));
        let z: Vec<f64> = (0..self.mean.len() as u64).map(normal).collect();
        self.shape.stretch(&z)
    }

    /// Where a step leads: eq. (40).
    pub(super) fn place(&self, step: &[f64]) -> Vec<f64> {
        let axes = self.mean.iter().zip(step).zip(&self.widening);
        axes.map(|((mean, step), widening)| mean + self.sigma * widening * step).collect()
    }

    /// The step to a place that was not sampled, cut to a length that a sample might have: Hansen 2011 (arXiv:1110.4181),
    /// eq. (3).
    pub(super) fn step_to(&self, place: &[f64]) -> Vec<f64> {
        let axes = self.mean.iter().zip(place).zip(&self.widening);
        let mut step: Vec<f64> =
            axes.map(|((mean, place), widening)| (place - mean) / (self.sigma * widening)).collect();
        let n = step.len() as f64;
        let white = self.shape.whiten(&step);
        let length = f64::sqrt(dot(&white, &white));
        let most = f64::sqrt(n) + 2.0 * n / (n + 2.0);
        if length > most {
            step.iter_mut().for_each(|step| *step *= most / length);
        }
        step
    }

    /// Learns from a generation's steps, best first.
    pub(super) fn update(&mut self, steps: &[&[f64]]) {
        let n = self.mean.len();
        let Rates { weights, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi } = &self.rates;
        self.generations += 1;
        // Eqs. (41) and (42): the mean moves by the weighted mean of the better half.
        let mut mean_step = vec![0.0; n];
        for (weight, step) in weights.iter().zip(steps).filter(|(weight, _)| **weight > 0.0) {
            mean_step.iter_mut().zip(*step).for_each(|(mean, step)| *mean += weight * step);
        }
        self.mean.iter_mut().zip(&mean_step).for_each(|(mean, step)| *mean += self.sigma * step);
        // Eqs. (43) and (44): cumulative step size adaptation.
        let gain = f64::sqrt(c_sigma * (2.0 - c_sigma) * mu_eff);
        let white = self.shape.whiten(&mean_step);
        self.path_sigma.iter_mut().zip(&white).for_each(|(path, white)| *path = (1.0 - c_sigma) * *path + gain * white);
        let length = f64::sqrt(dot(&self.path_sigma, &self.path_sigma));
        self.sigma *= libm::exp((c_sigma / d_sigma * (length / chi - 1.0)).min(1.0));
        // Eq. (45): the path of the covariance stalls while that of sigma is long.
        let faded = libm::pow(1.0 - c_sigma, 2.0 * (self.generations + 1) as f64);
        let is_moving = length / f64::sqrt(1.0 - faded) < (1.4 + 2.0 / (n as f64 + 1.0)) * chi;
        let gain = if is_moving { f64::sqrt(c_c * (2.0 - c_c) * mu_eff) } else { 0.0 };
        self.path_c.iter_mut().zip(&mean_step).for_each(|(path, step)| *path = (1.0 - c_c) * *path + gain * step);
        // Eqs. (46) and (47): rank one and rank mu, with what was worst taken away.
        let stalled = if is_moving { 0.0 } else { c_c * (2.0 - c_c) };
        let sum: f64 = weights.iter().sum();
        let lengths: Vec<f64> = weights
            .iter()
            .zip(steps)
            .map(|(weight, step)| {
                let white = if *weight < 0.0 { self.shape.whiten(step) } else { Vec::new() };
                dot(&white, &white)
            })
            .collect();
        self.shape.scale(1.0 + c_1 * stalled - c_1 - c_mu * sum);
        self.shape.add(*c_1, &self.path_c);
        for ((weight, step), length) in weights.iter().zip(steps).zip(lengths) {
            let weight = if *weight < 0.0 { weight * n as f64 / length.max(f64::MIN_POSITIVE) } else { *weight };
            self.shape.add(c_mu * weight, step);
        }
        self.take_root();
    }

    /// Widens the search where a generation's values say nothing (the tutorial's appendix C, "escape flat fitness").
    pub(super) fn escape(&mut self) {
        self.sigma *= libm::exp(0.2 + self.rates.c_sigma / self.rates.d_sigma);
    }

    /// The covariance's root, as often as ten times while it changes by its own size (section B.2).
    fn take_root(&mut self) {
        let n = self.mean.len();
        let gap = 1.0 / (10.0 * n as f64 * (self.rates.c_1 + self.rates.c_mu));
        match &mut self.shape {
            Shape::Full { covariance, basis } if (self.generations - self.rooted) as f64 >= gap => {
                self.rooted = self.generations;
                match eigen(covariance, n) {
                    Some(root) if root.values.iter().all(|value| *value > 0.0) => *basis = root,
                    _ => {
                        self.is_broken = true;
                        return;
                    }
                }
                basis.values.iter_mut().for_each(|value| *value = f64::sqrt(*value));
            }
            Shape::Full { .. } => {}
            Shape::Diagonal(variances) => {
                self.is_broken |= !variances.iter().all(|value| *value > 0.0 && value.is_finite())
            }
        }
    }

    /// Whether the Gaussian has become a point, a needle, or larger than everything: stop criteria of section B.3 that look
    /// at the state alone.
    pub(super) fn is_exhausted(&self) -> bool {
        let n = self.mean.len();
        let is_finite = self.sigma.is_finite() && self.sigma > 0.0 && self.mean.iter().all(|mean| mean.is_finite());
        if self.is_broken || !is_finite {
            return true;
        }
        // TolX and TolXUp.
        let path = self.path_c.iter().fold(0.0f64, |most, path| most.max(path.abs()));
        let spread = (0..n).fold(0.0f64, |most, axis| most.max(self.spread(axis)));
        if spread.max(self.sigma * path) < LEAST_STEP || spread > MOST_GROWTH * self.first_sigma {
            return true;
        }
        // NoEffectCoord.
        if (0..n).any(|axis| {
            let step = 0.2 * self.spread(axis) * self.widening[axis];
            self.mean[axis] + step == self.mean[axis]
        }) {
            return true;
        }
        let Shape::Full { basis, .. } = &self.shape else { return false };
        // ConditionCov; the values are roots.
        let longest = basis.values.iter().fold(0.0f64, |most, value| most.max(*value));
        let shortest = basis.values.iter().fold(f64::INFINITY, |least, value| least.min(*value));
        if longest * longest > MOST_CONDITION * (shortest * shortest) {
            return true;
        }
        // NoEffectAxis: one axis each generation.
        let axis = (self.generations % n as u64) as usize;
        let step = 0.1 * self.sigma * basis.values[axis];
        let vector = &basis.vectors[axis * n..][..n];
        self.mean
            .iter()
            .zip(vector)
            .zip(&self.widening)
            .all(|((mean, b), widening)| mean + step * widening * b == *mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_reference_implementation() {
        // pycma 4.5.0: es = cma.CMAEvolutionStrategy(10 * [0], 1); es.sp.weights, es.sp.weights.mueff
        let rates = Rates::new(10, 10, false);
        let known = [
            0.45627264690340597,
            0.2707530970017852,
            0.16223111715866978,
            0.08523354710016448,
            0.025509591835974777,
            -0.08001260758087224,
            -0.22176416099914653,
            -0.34455494178482093,
            -0.45286408637842196,
            -0.5497499176973853,
        ];
        for (weight, known) in rates.weights.iter().zip(known) {
            assert!((weight - known).abs() < 1e-9, "{:?}", rates.weights);
        }
        assert!((rates.mu_eff - 3.1672992814107017).abs() < 1e-9);
    }

    #[test]
    fn a_diagonal_learns_as_the_whole_covariance_does_on_its_axes() {
        // One generation in each: the same steps, so the same diagonal but for the learning rates.
        let mut shape = Shape::new(FULL + 1);
        let y: Vec<f64> = (0..=FULL).map(|axis| axis as f64 / 10.0).collect();
        shape.scale(0.5);
        shape.add(0.25, &y);
        assert!((0..=FULL).all(|axis| shape.variance(axis, FULL + 1) == 0.5 + 0.25 * (y[axis] * y[axis])));
        let white = shape.whiten(&shape.stretch(&y));
        assert!(white.iter().zip(&y).all(|(white, y)| (white - y).abs() < 1e-12));
    }
}
