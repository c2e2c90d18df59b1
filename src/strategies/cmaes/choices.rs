//! Axes of choices: each choice has a probability, which moves towards the choices of a generation's better half.
//!
//! The categorical part of CatCMA (Hamano, Saito, Nomura, Uchida & Shirakawa 2024, arXiv:2405.09962), algorithm 1: the
//! natural gradient, a step inside a trust region that widens while steps agree (ASNG; Shirakawa & Akimoto et al. 2019),
//! and a least probability of every choice.

use crate::base::random::{Key, uniform_f64};

/// How quickly the trust region answers: table 1 of the paper.
const ALPHA: f64 = 1.5;

/// The joint distribution of every axis of choices.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    /// Of each axis, of each choice.
    probabilities: Vec<Vec<f64>>,
    /// The least probability on each axis.
    floors: Vec<f64>,
    /// Free probabilities: the dimension of the distribution.
    free: f64,
    /// Sum of normalized steps, and the squared length that it would have if they were random.
    path: Vec<f64>,
    path_length: f64,
    /// How much shorter than the first one a step is.
    shortening: f64,
}

impl Choices {
    /// Every choice as likely as the others of its axis.
    pub(super) fn new(counts: &[u64]) -> Choices {
        let axes = counts.len() as f64;
        // Section 4.3: some axis leaves its likeliest choice in 27 % of all candidates.
        let spare = 1.0 - libm::pow(0.73, 1.0 / axes);
        let free = counts.iter().map(|count| count - 1).sum::<u64>() as usize;
        Choices {
            probabilities: counts.iter().map(|count| vec![1.0 / *count as f64; *count as usize]).collect(),
            floors: counts.iter().map(|count| spare / (count - 1) as f64).collect(),
            free: free as f64,
            path: vec![0.0; free],
            path_length: 0.0,
            shortening: 1.0,
        }
    }

    /// One choice on each axis.
    pub(super) fn pick(&self, key: Key) -> Vec<usize> {
        let pick = |(axis, probabilities): (u64, &Vec<f64>)| {
            let mut left = uniform_f64(key.words(axis));
            let chosen = probabilities.iter().position(|probability| {
                left -= probability;
                left < 0.0
            });
            chosen.unwrap_or(probabilities.len() - 1)
        };
        (0..).zip(&self.probabilities).map(pick).collect()
    }

    /// Learns from a generation's choices, best first, by the weights of its better half. An axis that did not exist for a
    /// candidate has `None`, and learns nothing of it.
    pub(super) fn update(&mut self, weights: &[f64], members: &[&[Option<usize>]]) {
        let mut gradient: Vec<Vec<f64>> = self.probabilities.iter().map(|axis| vec![0.0; axis.len()]).collect();
        for (weight, picks) in weights.iter().zip(members).filter(|(weight, _)| **weight > 0.0) {
            for ((gradient, probabilities), pick) in gradient.iter_mut().zip(&self.probabilities).zip(*picks) {
                let Some(pick) = pick else { continue };
                gradient.iter_mut().zip(probabilities).for_each(|(gradient, p)| *gradient -= weight * p);
                gradient[*pick] += weight;
            }
        }
        let natural = self.in_fisher_metric(&gradient);
        let length = f64::sqrt(natural.iter().map(|x| x * x).sum());
        if length == 0.0 {
            return;
        }
        // A step beyond the whole path would forget more than there is.
        let delta = (1.0 / self.shortening).min(f64::sqrt(self.free));
        for (probabilities, gradient) in self.probabilities.iter_mut().zip(&gradient) {
            probabilities.iter_mut().zip(gradient).for_each(|(p, gradient)| *p += delta / length * gradient);
        }
        let beta = delta / f64::sqrt(self.free);
        let gain = f64::sqrt(beta * (2.0 - beta));
        let path = self.path.iter_mut().zip(&natural);
        path.for_each(|(path, natural)| *path = (1.0 - beta) * *path + gain * natural / length);
        self.path_length = (1.0 - beta) * (1.0 - beta) * self.path_length + beta * (2.0 - beta);
        let squared: f64 = self.path.iter().map(|x| x * x).sum();
        self.shortening *= libm::exp(beta * (self.path_length - squared / ALPHA));
        self.keep_floors();
    }

    /// The gradient's components by the root of the Fisher information (Akimoto et al. 2019, appendix B).
    fn in_fisher_metric(&self, gradient: &[Vec<f64>]) -> Vec<f64> {
        let mut natural = Vec::with_capacity(self.path.len());
        for (probabilities, gradient) in self.probabilities.iter().zip(gradient) {
            let Some((last, others)) = probabilities.split_last() else { continue };
            let sum: f64 = gradient[..others.len()].iter().sum();
            let shared = sum / (last + f64::sqrt(*last));
            natural.extend(others.iter().zip(gradient).map(|(p, gradient)| {
                let root = f64::sqrt(*p);
                gradient / root + root * shared
            }));
        }
        natural
    }

    /// Raises every probability to its floor, at the cost of what lies above.
    fn keep_floors(&mut self) {
        for (probabilities, floor) in self.probabilities.iter_mut().zip(&self.floors) {
            probabilities.iter_mut().for_each(|p| *p = p.max(*floor));
            let sum: f64 = probabilities.iter().sum();
            let above = sum - floor * probabilities.len() as f64;
            if above > 0.0 {
                probabilities.iter_mut().for_each(|p| *p -= (sum - 1.0) * (*p - floor) / above);
            }
            let sum: f64 = probabilities.iter().sum();
            probabilities.iter_mut().for_each(|p| *p /= sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_that_wins_becomes_likely_and_none_dies_out() {
        let counts = [2, 5, 3, 4];
        let mut choices = Choices::new(&counts);
        let best = [1, 4, 0, 2];
        for generation in 0..60 {
            let mut members: Vec<Vec<usize>> =
                (0..10).map(|member| choices.pick(Key::from_seed(generation).child(member))).collect();
            members.sort_by_key(|picks| picks.iter().zip(&best).filter(|(pick, best)| pick != best).count());
            let members: Vec<Vec<Option<usize>>> =
                members.into_iter().map(|picks| picks.into_iter().map(Some).collect()).collect();
            let ranked: Vec<&[Option<usize>]> = members.iter().map(Vec::as_slice).collect();
            choices.update(&[0.4, 0.3, 0.15, 0.1, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0], &ranked);
        }
        for ((probabilities, best), floor) in choices.probabilities.iter().zip(best).zip(&choices.floors) {
            assert!(probabilities[best] > 0.6, "{:?}", choices.probabilities);
            assert!(probabilities.iter().all(|p| *p >= 0.999 * floor));
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn an_axis_that_nobody_had_stays_as_it_is() {
        let mut choices = Choices::new(&[2, 3]);
        choices.update(&[0.6, 0.4, 0.0], &[&[Some(1), None], &[Some(1), None], &[Some(0), None]]);
        assert!(choices.probabilities[0][1] > 0.5);
        assert_eq!(choices.probabilities[1], [1.0 / 3.0; 3]);
    }
}
