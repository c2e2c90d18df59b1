//! The processes of a search, kept up to date with what is told: of all trials, and of those next to the best.

use super::kernel::{Columns, Kernel};
use super::posterior::Posterior;
use super::values::Scaling;
use super::{Search, fit};
use crate::base::order::ascending;

/// Data of a region's process: those nearest to its centre.
pub(super) const LOCAL_DATA: usize = 500;
/// Data of the process next to the best: so many an axis, within these; from so many trials on.
const NEARBY_DATA_AN_AXIS: usize = 12;
const NEARBY_DATA: std::ops::RangeInclusive<usize> = 40..=200;
const NEARBY_FROM: usize = 40;
/// Data that a kernel is fitted to: half of them the best, the others evenly from all.
const FITTED_DATA: usize = 500;
/// A kernel is fitted anew once the data are more by a share of one in so many.
const REFIT: usize = 25;
/// Fits that start from the prior, too: while the data are fewer, and every so many later.
const THOROUGH: usize = 50;
const THOROUGH_EVERY: u32 = 5;
/// Calls of the likelihood in a fit.
const FIT_CALLS: u32 = 60;
/// Data from which on axes are bent: fewer do not tell a bend from a length.
const BENT_FROM: usize = 50;

/// A process and what it was made from.
pub(super) struct Model {
    pub(super) posterior: Posterior,
    pub(super) scaling: Scaling,
    /// Trials that were told when the kernel was fitted, and when the data were taken.
    fitted: usize,
    trials: usize,
    fits: u32,
}

impl Search {
    /// Brings the model up to date with what was told. False where there is nothing to model.
    pub(super) fn learn(&mut self) -> bool {
        let told = self.trials.len();
        if self.model.as_ref().is_some_and(|model| model.trials == told) {
            return true;
        }
        let before = self.model.take();
        let Some(centre) = self.best_trial() else { return false };
        let kernel = before.as_ref().map(|model| model.posterior.kernel().clone());
        let chosen = self.chosen(centre, kernel.as_ref());
        let is_due = |model: &Model| told >= model.fitted + (model.fitted / REFIT).max(1);
        self.model = match before {
            Some(model) if !is_due(&model) => self.extended(model, &chosen),
            before => self.fitted(before.as_ref(), &chosen),
        };
        self.model.is_some()
    }

    /// With the kernel and the scaling that the model has.
    fn extended(&mut self, mut model: Model, chosen: &[usize]) -> Option<Model> {
        let told = self.trials.len();
        let values = |trials: &[usize], scaling: &Scaling| -> Vec<f64> {
            trials.iter().map(|trial| scaling.scaled(self.trials[*trial].value)).collect()
        };
        // Far below all that the scaling was made of, powers overflow.
        if values(chosen, &model.scaling).iter().any(|value| !value.is_finite()) {
            return self.fitted(Some(&model), chosen);
        }
        if chosen.len() == told && model.posterior.data() == model.trials {
            let fresh = &chosen[model.trials..];
            let points: Vec<&[f64]> = fresh.iter().map(|trial| self.trials[*trial].features.as_slice()).collect();
            model.posterior.learn(&points, &values(fresh, &model.scaling), &mut self.scratch);
        } else {
            let kernel = model.posterior.kernel().clone();
            let values = values(chosen, &model.scaling);
            model.posterior =
                Posterior::new(self.features.dimensions(), kernel, self.points(chosen), values, self.room)?;
        }
        Some(Model { trials: told, ..model })
    }

    /// With a scaling and a kernel of its own.
    fn fitted(&self, before: Option<&Model>, chosen: &[usize]) -> Option<Model> {
        let told = self.trials.len();
        let scaling = Scaling::new(chosen.iter().map(|trial| self.trials[*trial].value))?;
        let scaled = |trials: &[usize]| -> Vec<f64> {
            trials.iter().map(|trial| scaling.scaled(self.trials[*trial].value)).collect()
        };
        let fits = before.map_or(0, |model| model.fits);
        let is_thorough = chosen.len() < THOROUGH || fits.is_multiple_of(THOROUGH_EVERY);
        let kernel = before.map(|model| model.posterior.kernel());
        let fitted = representative(chosen.to_vec(), FITTED_DATA, |trial| self.trials[trial].value);
        let dimensions = self.features.dimensions();
        let bends = chosen.len() >= BENT_FROM;
        let kernel =
            fit::fit(dimensions, &self.points(&fitted), &scaled(&fitted), kernel, [is_thorough, bends], FIT_CALLS)
                .unwrap_or_else(|| fit::prior_kernel(dimensions.len()));
        let posterior = Posterior::new(dimensions, kernel, self.points(chosen), scaled(chosen), self.room)?;
        Some(Model { posterior, scaling, fitted: told, trials: told, fits: fits + 1 })
    }

    /// Brings the process of the trials next to the best up to date with what was told.
    pub(super) fn learn_nearby(&mut self) {
        let told = self.trials.len();
        if self.region.is_some() || told < NEARBY_FROM {
            self.nearby = None;
            return;
        }
        if self.nearby.as_ref().is_some_and(|model| model.trials == told) {
            return;
        }
        let (Some(centre), Some(model)) = (self.best_trial(), &self.model) else { return };
        let count = NEARBY_DATA_AN_AXIS * self.cube.axes().len();
        let count = count.clamp(*NEARBY_DATA.start(), *NEARBY_DATA.end());
        let chosen = self.nearest(centre, model.posterior.kernel(), count);
        let before = self.nearby.take();
        self.nearby = self.fitted(before.as_ref(), &chosen);
    }

    /// The trials nearest to one of them, in the order of their ids.
    fn nearest(&self, centre: usize, kernel: &Kernel, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.trials.len()).collect();
        if order.len() > count {
            let mut apart = vec![0.0; order.len()];
            let place = |i: usize| self.trials[centre].features[i];
            kernel.squares(self.features.dimensions(), place, &self.columns, 0, &mut apart);
            order.select_nth_unstable_by(count - 1, |a, b| ascending(apart[*a], apart[*b]).then(a.cmp(b)));
            order.truncate(count);
            order.sort_unstable();
        }
        order
    }

    /// The best trial of the region, or of all.
    pub(super) fn best_trial(&self) -> Option<usize> {
        let first = self.region.as_ref().map_or(0, |region| region.first);
        let known = (first..self.trials.len()).filter(|trial| !self.trials[*trial].value.is_nan());
        known.min_by(|a, b| ascending(self.trials[*a].value, self.trials[*b].value))
    }

    /// The data of a process: all, or those nearest to the region's centre, in the order of their ids.
    fn chosen(&self, centre: usize, kernel: Option<&Kernel>) -> Vec<usize> {
        let told = self.trials.len();
        if self.region.is_none() || told <= LOCAL_DATA {
            return (0..told).collect();
        }
        let prior = fit::prior_kernel(self.features.dimensions().len());
        self.nearest(centre, kernel.unwrap_or(&prior), LOCAL_DATA)
    }

    fn points(&self, trials: &[usize]) -> Columns {
        let mut columns = Columns::new(self.features.dimensions().len());
        trials.iter().for_each(|trial| columns.push(&self.trials[*trial].features));
        columns
    }
}

/// The most of some trials that stand for all of them: half of them the best, less is better, the others evenly from the rest.
/// Ascending.
pub(super) fn representative(mut trials: Vec<usize>, most: usize, value: impl Fn(usize) -> f64) -> Vec<usize> {
    if trials.len() <= most {
        return trials;
    }
    trials.sort_by(|a, b| ascending(value(*a), value(*b)).then(a.cmp(b)));
    let (best, others) = trials.split_at(most / 2);
    let wanted = most - best.len();
    let spread = (0..wanted).map(|number| others[number * others.len() / wanted]);
    let mut chosen: Vec<usize> = best.iter().copied().chain(spread).collect();
    chosen.sort_unstable();
    chosen
}
