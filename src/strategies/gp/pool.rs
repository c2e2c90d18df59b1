//! Candidates that are judged together: their means and variances, kept up to date while places are taken.
//!
//! A place that is taken lowers every variance by the square of one more row of `L^-1 K`: O(n) for each candidate, where to
//! ask the posterior anew would be O(n^2). Parts of a fixed size are worked on by any number of threads.

use super::acquisition::log_expected_improvement;
use super::kernel::Columns;
use super::posterior::Posterior;
use rayon::prelude::*;

/// Candidates of a part.
const PART: usize = 128;

/// A candidate and how the kernel sees it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) row: Vec<f64>,
    pub(super) features: Vec<f64>,
}

/// Candidates under a posterior.
#[derive(Debug)]
pub(super) struct Pool {
    candidates: Vec<Candidate>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    columns: Columns,
    /// `L^-1 K`, a row for each point of the posterior.
    whitened: Vec<f64>,
    means: Vec<f64>,
    variances: Vec<f64>,
    taken: Vec<bool>,
    scores: Vec<f64>,
    fresh: Vec<f64>,
}

impl Pool {
    pub(super) fn new(posterior: &Posterior, candidates: Vec<Candidate>) -> Pool {
        let parts = candidates.par_chunks(PART).map(|part| Part::new(posterior, part)).collect();
        Pool { candidates, parts }
    }

    pub(super) fn candidate(&self, index: usize) -> &Candidate {
        &self.candidates[index]
    }

    /// The `count` candidates of the highest expected improvement below `best`, best first.
    pub(super) fn best(&mut self, best: f64, count: usize) -> Vec<usize> {
        self.parts.par_iter_mut().for_each(|part| part.judge(best));
        let scores = self.parts.iter().flat_map(|part| &part.scores).copied().enumerate();
        let mut top: Vec<(f64, usize)> = Vec::with_capacity(count + 1);
        for (index, score) in scores.filter(|(_, score)| *score > f64::NEG_INFINITY) {
            if top.len() == count && top.last().is_some_and(|(least, _)| score <= *least) {
                continue;
            }
            let place = top.partition_point(|(higher, _)| *higher >= score);
            top.insert(place, (score, index));
            top.truncate(count);
        }
        top.into_iter().map(|(_, index)| index).collect()
    }

    /// It is no candidate any more.
    pub(super) fn take(&mut self, index: usize) {
        if let Some(taken) = self.parts.get_mut(index / PART).and_then(|part| part.taken.get_mut(index % PART)) {
            *taken = true;
        }
    }

    /// The posterior awaits the outcome of a place; `whitened` and `last` are its new row of the factor.
    pub(super) fn update(&mut self, posterior: &Posterior, place: &[f64], whitened: &[f64], last: f64) {
        let mut bent = place.to_vec();
        posterior.kernel().bend(&mut bent);
        self.parts.par_iter_mut().for_each(|part| part.update(posterior, &bent, whitened, last));
    }
}

impl Part {
    fn new(posterior: &Posterior, candidates: &[Candidate]) -> Part {
        let mut columns = Columns::new(candidates.first().map_or(0, |candidate| candidate.features.len()));
        candidates.iter().for_each(|candidate| columns.push(&candidate.features));
        posterior.kernel().bend_columns(&mut columns);
        let m = candidates.len();
        let (covariances, whitened) = posterior.whitened(&columns);
        let mut means = vec![0.0; m];
        let mut variances = vec![posterior.kernel().variance(); m];
        for (row, coefficient) in covariances.chunks_exact(m).zip(posterior.coefficients()) {
            means.iter_mut().zip(row).for_each(|(mean, covariance)| *mean += coefficient * covariance);
        }
        for row in whitened.chunks_exact(m) {
            variances.iter_mut().zip(row).for_each(|(variance, x)| *variance -= x * x);
        }
        let (taken, scores, fresh) = (vec![false; m], vec![0.0; m], vec![0.0; m]);
        Part { columns, whitened, means, variances, taken, scores, fresh }
    }

    fn judge(&mut self, best: f64) {
        let candidates = self.means.iter().zip(&self.variances).zip(&self.taken);
        for (score, ((mean, variance), taken)) in self.scores.iter_mut().zip(candidates) {
            *score = if *taken { f64::NEG_INFINITY } else { log_expected_improvement(*mean, *variance, best)[0] };
        }
    }

    fn update(&mut self, posterior: &Posterior, place: &[f64], whitened: &[f64], last: f64) {
        let m = self.means.len();
        posterior.covariances(|i| place[i], &self.columns, &mut self.fresh);
        for (row, x) in self.whitened.chunks_exact(m).zip(whitened) {
            self.fresh.iter_mut().zip(row).for_each(|(fresh, other)| *fresh -= x * other);
        }
        for (fresh, variance) in self.fresh.iter_mut().zip(&mut self.variances) {
            *fresh /= last;
            *variance -= *fresh * *fresh;
        }
        self.whitened.extend_from_slice(&self.fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::Dimension;
    use super::super::kernel::Kernel;
    use super::super::posterior::Scratch;
    use super::*;
    use crate::base::random::{Key, uniform_f64};

    fn place(number: u64) -> Vec<f64> {
        (0..2).map(|axis| uniform_f64(Key::from_seed(number).words(axis))).collect()
    }

    #[test]
    fn a_pool_that_is_kept_up_to_date_is_as_good_as_a_fresh_one() {
        let mut columns = Columns::new(2);
        (0..20).for_each(|number| columns.push(&place(number)));
        let values = (0..20).map(|number| place(number)[0] - place(number)[1]).collect();
        let kernel = Kernel { weights: vec![4.0, 9.0], signal: 1.0, noise: 1e-3, warps: Vec::new() };
        let mut posterior = Posterior::new(&[Dimension::Number; 2], kernel, columns, values, 4).expect("a factor");
        let candidates: Vec<Candidate> =
            (100..400).map(|number| Candidate { row: place(number), features: place(number) }).collect();
        let mut pool = Pool::new(&posterior, candidates.clone());
        let mut scratch = Scratch::default();
        for _ in 0..5 {
            let best = pool.best(-0.5, 3)[0];
            let features = pool.candidate(best).features.clone();
            let (whitened, last) = posterior.await_outcome(&features, &mut scratch);
            let whitened = whitened.to_vec();
            pool.update(&posterior, &features, &whitened, last);
            pool.take(best);
            assert!(!pool.best(-0.5, 300).contains(&best));
        }
        let fresh = Pool::new(&posterior, candidates);
        for (kept, fresh) in pool.parts.iter().zip(&fresh.parts) {
            for (kept, fresh) in kept.variances.iter().zip(&fresh.variances) {
                assert!((kept - fresh).abs() < 1e-9, "{kept} {fresh}");
            }
        }
    }
}
