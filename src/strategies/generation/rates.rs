//! What CMA-ES learns at, by dimension and population: what the strategy that proposes candidate by candidate learns at,
//! rounded to f32.

use crate::strategies::cmaes;

/// Axes from which on variances alone are learnt.
pub const SEPARABLE: usize = 100;

/// Parts into which members are divided for sums, in the order of their ids; parts are added in theirs.
pub const PARTS: usize = 64;

/// [`cmaes::Rates`], as generations compute with them.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Of a generation's members, best first; positive ones sum to 1.
    pub weights: Vec<f32>,
    /// All of them summed.
    pub sum: f32,
    pub mu_eff: f32,
    pub c_sigma: f32,
    pub d_sigma: f32,
    pub c_c: f32,
    pub c_1: f32,
    pub c_mu: f32,
    /// Expected length of a standard normal vector.
    pub chi: f32,
}

impl Rates {
    /// Of so many axes and members.
    pub fn new(axes: usize, members: usize) -> Rates {
        let rates = cmaes::Rates::new(axes, members, axes >= SEPARABLE);
        Rates {
            sum: rates.weights.iter().sum::<f64>() as f32,
            weights: rates.weights.iter().map(|weight| *weight as f32).collect(),
            mu_eff: rates.mu_eff as f32,
            c_sigma: rates.c_sigma as f32,
            d_sigma: rates.d_sigma as f32,
            c_c: rates.c_c as f32,
            c_1: rates.c_1 as f32,
            c_mu: rates.c_mu as f32,
            chi: rates.chi as f32,
        }
    }

    /// What a step adds to sigma's path.
    pub fn sigma_gain(&self) -> f32 {
        f32::sqrt(self.c_sigma * (2.0 - self.c_sigma) * self.mu_eff)
    }
}

/// Members of a part.
pub fn part(members: usize) -> usize {
    members.div_ceil(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_method_that_proposes_candidate_by_candidate() {
        // pycma 4.5.0: es = cma.CMAEvolutionStrategy(10 * [0], 1); es.sp.weights[:2], es.sp.weights.mueff
        let rates = Rates::new(10, 10);
        assert!((rates.weights[0] - 0.456_272_65).abs() < 1e-6 && (rates.weights[1] - 0.270_753_1).abs() < 1e-6);
    }
}
