//! A batch: candidates one after another, each awaited by the processes before the next is chosen.

use super::kernel::Kernel;
use super::models::Model;
use super::pool::{Candidate, Pool};
use super::posterior::{Posterior, Scratch};
use super::propose::{NEAR, Proposer, SPREAD};
use super::region::Region;
use super::{Branch, Search, fingerprint, stream};
use crate::base::order::ascending;
use crate::base::random::uniform_f64;
use crate::strategies::cube::{Axis, Cube};
use rayon::prelude::*;

/// Of so many candidates one is the nearby process's.
const NEARBY_EVERY: u64 = 3;
/// The share of candidates that are kept to a branch, where there are some, and the points of their pools: over the branch,
/// and around the best there.
const BRANCHED: f64 = 0.3;
const BRANCH_POOL: [u64; 2] = [256, 256];
/// The best places of the past that a pool has points around.
const CENTRES: usize = 5;
/// Candidates that a pool serves: then another is drawn.
const SERVED: usize = 100;
/// Candidates of a pool that are climbed from for one proposal, in a branch, and calls of each climb.
const CLIMBS: usize = 4;
const BRANCH_CLIMBS: usize = 2;
const CLIMB_CALLS: u32 = 30;

impl Search {
    /// Up to `n` candidates with ids from `first` on by the models, each awaited by them before the next is chosen.
    pub(super) fn propose(&mut self, first: u64, n: usize) -> Vec<Candidate> {
        let Some(model) = self.model.take() else { return Vec::new() };
        let centres = self.centres();
        let mut models: Vec<Model> = std::iter::once(model).chain(self.nearby.take()).collect();
        for model in &mut models {
            model.posterior.forget();
            for (_, features) in &self.awaited {
                model.posterior.await_outcome(features, &mut self.scratch);
            }
        }
        let mut bests: Vec<f64> =
            models.iter().map(|model| model.posterior.means_of_data().fold(f64::INFINITY, f64::min)).collect();
        let regions = [self.region.as_ref(), Some(&self.around)];
        let windows: Vec<Window> = models
            .iter()
            .zip(regions)
            .map(|(model, region)| Window::new(&self.cube, model.posterior.kernel(), region, &centres))
            .collect();
        let (cube, features) = (&self.cube, &self.features);
        let proposers: Vec<Proposer> = windows
            .iter()
            .zip(regions)
            .enumerate()
            .map(|(number, (window, region))| Proposer {
                cube,
                features,
                low: &window.low,
                high: &window.high,
                is_local: region.is_some(),
                centres: if number > 0 { &centres[..centres.len().min(1)] } else { &centres },
                lengths: &window.lengths,
                size: [SPREAD, NEAR],
            })
            .collect();
        let mut proposed: Vec<Candidate> = Vec::with_capacity(n);
        let climbs = if n > SERVED { 1 } else { CLIMBS };
        while proposed.len() < n {
            let key = self.key.child(stream::POOLS).child_of_number(first + proposed.len() as u64);
            let before = proposed.len();
            let mut pools: Vec<Pool> = Vec::new();
            for (number, (model, proposer)) in (0..).zip(models.iter().zip(&proposers)) {
                let key = if number > 0 { key.child(number) } else { key };
                pools.push(Pool::new(&model.posterior, proposer.pool(key, |row| self.may_propose(row))));
            }
            while proposed.len() < n.min(before + SERVED) {
                let id = first + proposed.len() as u64;
                let number = usize::from(pools.len() > 1 && id % NEARBY_EVERY == NEARBY_EVERY - 1);
                let within = |branch| self.choose_within(branch, id, &models[0].posterior, &proposers[0]);
                let found = self.branch(id).and_then(within).or_else(|| {
                    // A box of few values may have nothing left: then from all.
                    [number, 0].into_iter().find_map(|number| {
                        let posterior = &models[number].posterior;
                        self.choose(posterior, &proposers[number], &mut pools[number], bests[number], climbs)
                    })
                });
                let Some(candidate) = found else { break };
                self.seen.insert(fingerprint(&candidate.row));
                for ((model, pool), best) in models.iter_mut().zip(&mut pools).zip(&mut bests) {
                    let posterior = &mut model.posterior;
                    let (mean, _) = posterior.predict(&candidate.features, &mut self.scratch);
                    *best = best.min(mean);
                    let (whitened, last) = posterior.await_outcome(&candidate.features, &mut self.scratch);
                    pool.update(posterior, &candidate.features, whitened, last);
                }
                proposed.push(candidate);
            }
            if proposed.len() == before {
                break;
            }
        }
        let mut models = models.into_iter();
        self.model = models.next();
        self.nearby = models.next();
        proposed
    }

    /// The best places of the region's trials, the best first; NaN where a parameter does not exist.
    fn centres(&self) -> Vec<Vec<f64>> {
        let first = self.region.as_ref().map_or(0, |region| region.first);
        self.best_places(first..self.trials.len())
    }

    /// The same of some trials.
    fn best_places(&self, trials: impl Iterator<Item = usize>) -> Vec<Vec<f64>> {
        let mut order: Vec<usize> = trials.filter(|trial| !self.trials[*trial].value.is_nan()).collect();
        let by_value = |a: &usize, b: &usize| ascending(self.trials[*a].value, self.trials[*b].value).then(a.cmp(b));
        if order.len() > CENTRES {
            order.select_nth_unstable_by(CENTRES - 1, by_value);
            order.truncate(CENTRES);
        }
        order.sort_by(by_value);
        let axes = self.cube.axes().len();
        let place = |trial: usize| self.cube.encode(&self.cube.decode(&self.trials[trial].features[..axes]));
        order.into_iter().map(place).collect()
    }

    /// The next candidate from a pool: the best that climbs from its best lead to.
    fn choose(
        &self,
        posterior: &Posterior,
        proposer: &Proposer,
        pool: &mut Pool,
        best: f64,
        climbs: usize,
    ) -> Option<Candidate> {
        loop {
            let top = pool.best(best, climbs);
            if top.is_empty() {
                return None;
            }
            let climbed: Vec<(f64, Candidate)> = top
                .par_iter()
                .map(|index| {
                    let (from, mut scratch) = (pool.candidate(*index), Scratch::default());
                    proposer.climb(posterior, from, best, CLIMB_CALLS, &mut scratch)
                })
                .collect();
            let mut chosen: Option<(f64, Candidate)> = None;
            for (score, candidate) in climbed {
                if self.may_propose(&candidate.row) && chosen.as_ref().is_none_or(|(most, _)| score > *most) {
                    chosen = Some((score, candidate));
                }
            }
            // What the climbs led to may have been a candidate before, or where they began, by another's climb.
            let unclimbed = || top.iter().map(|index| pool.candidate(*index)).find(|from| self.may_propose(&from.row));
            let chosen = chosen.map(|(_, candidate)| candidate).or_else(|| unclimbed().cloned());
            for index in top {
                let row = &pool.candidate(index).row;
                if !self.may_propose(row)
                    || chosen.as_ref().is_some_and(|chosen| fingerprint(&chosen.row) == fingerprint(row))
                {
                    pool.take(index);
                }
            }
            if chosen.is_some() {
                return chosen;
            }
        }
    }

    /// The branch that a candidate is kept to, if it is to one; each as often.
    pub(super) fn branch(&self, id: u64) -> Option<Branch> {
        let uniform = uniform_f64(self.key.child(stream::BRANCHES).child_of_number(id).words(0));
        self.branches.get((uniform / BRANCHED * self.branches.len() as f64) as usize).copied()
    }

    /// The best candidate of a branch by what it improves on the best there, not on the best of all. None where nothing is
    /// known of the branch.
    fn choose_within(&self, branch: Branch, id: u64, posterior: &Posterior, proposer: &Proposer) -> Option<Candidate> {
        let is_in = |trial: &usize| self.trials[*trial].features[branch.axis] == branch.place;
        let centres = self.best_places((0..self.trials.len()).filter(is_in));
        if centres.is_empty() {
            return None;
        }
        let axes = self.cube.axes().len();
        let (low, high) = (vec![0.0; axes], vec![1.0; axes]);
        let (centres, size) = (&centres, BRANCH_POOL);
        let proposer = Proposer { low: &low, high: &high, is_local: false, centres, size, ..*proposer };
        let key = self.key.child(stream::BRANCHES).child_of_number(id).child(1);
        let may = |row: &[f64]| row[branch.column] == branch.value && self.may_propose(row);
        let mut pool = Pool::new(posterior, proposer.pool(key, may));
        let mut scratch = Scratch::default();
        let mean = |place: &Vec<f64>| {
            let features = self.features.of(&self.cube, &self.cube.decode(place));
            posterior.predict(&features, &mut scratch).0
        };
        let best = centres.iter().map(mean).fold(f64::INFINITY, f64::min);
        self.choose(posterior, &proposer, &mut pool, best, BRANCH_CLIMBS)
    }
}

/// Where a process proposes: between bounds, with steps as long as its lengths.
struct Window {
    low: Vec<f64>,
    high: Vec<f64>,
    lengths: Vec<f64>,
}

impl Window {
    fn new(cube: &Cube, kernel: &Kernel, region: Option<&Region>, centres: &[Vec<f64>]) -> Window {
        let axes = cube.axes().len();
        let (weights, lengths) = (&kernel.weights[..axes], kernel.lengths(axes));
        let (mut low, mut high) = match (region, centres.first()) {
            (Some(region), Some(centre)) => region.bounds(centre, weights),
            _ => (vec![0.0; axes], vec![1.0; axes]),
        };
        // Choices have no order in which some would be nearer.
        for (axis, _) in cube.axes().iter().enumerate().filter(|(_, axis)| matches!(axis, Axis::Choices(_))) {
            (low[axis], high[axis]) = (0.0, 1.0);
        }
        Window { low, high, lengths }
    }
}
