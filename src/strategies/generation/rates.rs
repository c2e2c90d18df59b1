//! What CMA-ES learns at, by dimension and population: table 1 of Hansen's tutorial (arXiv:1604.00772), computed in f64.

/// Axes from which on variances alone are learnt.
pub const SEPARABLE: usize = 100;

/// Parts into which members are divided for sums, in the order of their ids; parts are added in theirs.
pub const PARTS: usize = 64;

/// What is set by dimension and population (table 1 of the tutorial).
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
        let n = axes as f64;
        let half = libm::log((members as f64 + 1.0) / 2.0);
        let mut weights: Vec<f64> = (1..=members).map(|i| half - libm::log(i as f64)).collect();
        let (best, rest) = weights.split_at(members / 2);
        let mass = |weights: &[f64]| {
            let (sum, squares) = (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
            if squares > 0.0 { sum * sum / squares } else { 0.0 }
        };
        let (mu_eff, mu_eff_minus) = (mass(best), mass(rest));
        let c_sigma = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let d_sigma = 1.0 + 2.0 * (f64::sqrt((mu_eff - 1.0) / (n + 1.0)) - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n);
        let mut c_1 = 2.0 / ((n + 1.3) * (n + 1.3) + mu_eff);
        let mut c_mu = 2.0 * (0.25 + mu_eff + 1.0 / mu_eff - 2.0) / ((n + 2.0) * (n + 2.0) + mu_eff);
        if axes >= SEPARABLE {
            c_1 = (c_1 * (n + 2.0) / 3.0).min(1.0);
            c_mu *= (n + 2.0) / 3.0;
        }
        c_mu = c_mu.min(1.0 - c_1);
        let least = if c_mu > 0.0 {
            let alpha_mu = 1.0 + c_1 / c_mu;
            let alpha_mu_eff = 1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0);
            let alpha_definite = (1.0 - c_1 - c_mu) / (n * c_mu);
            alpha_mu.min(alpha_mu_eff).min(alpha_definite)
        } else {
            0.0
        };
        let positive: f64 = weights.iter().filter(|w| **w > 0.0).sum();
        let negative: f64 = -weights.iter().filter(|w| **w < 0.0).sum::<f64>();
        weights.iter_mut().for_each(|w| *w *= if *w >= 0.0 { 1.0 / positive } else { least / negative });
        let chi = f64::sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
        Rates {
            sum: weights.iter().sum::<f64>() as f32,
            weights: weights.iter().map(|weight| *weight as f32).collect(),
            mu_eff: mu_eff as f32,
            c_sigma: c_sigma as f32,
            d_sigma: d_sigma as f32,
            c_c: c_c as f32,
            c_1: c_1 as f32,
            c_mu: c_mu as f32,
            chi: chi as f32,
        }
    }
}

impl Rates {
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
