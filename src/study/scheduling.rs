//! What a study's scheduler is opened with, what its budgets mean to lanes, and whether the study has anything to end
//! candidates by.
//!
//! A scheduler knows budgets alone. Where their unit is an epoch, all lanes of a candidate get them; where it is a fold, so many of
//! its lanes get the model's whole budget. What is an epoch to a scheduler is training rows to a model that is trained in one step.

use super::config::{Resource, SearchOptions, StudyConfig};
use super::error::ConfigError;
use super::objective::Objective;
use super::recipe::{self, Stages};
use super::resolve::Study;
use crate::base::random::{Key, stream};
use crate::data::splits::Subsets;
use crate::schedulers::{ExplorerOptions, RUNGS_MOST, RuleOptions, SchedulerEntry, SchedulerOptions, Unit};
use crate::space::Space;
use crate::strategies::relay::Relay;
use std::borrow::Cow;
use std::ops::Range;

/// What a scheduler's budgets mean to lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    unit: Unit,
    /// Lanes of a candidate.
    lanes: usize,
    /// The full budget of a lane.
    budget: u64,
}

impl Axis {
    /// The full budget of a candidate, as its scheduler counts it.
    pub(super) fn whole(self) -> u64 {
        match self.unit {
            Unit::Epoch => self.budget,
            Unit::Fold => self.lanes as u64,
        }
    }

    /// Whether a candidate that goes on trains other lanes than before: then no lane's state has to be kept.
    pub(super) fn is_by_fold(self) -> bool {
        self.unit == Unit::Fold
    }

    /// The lanes that a candidate has scores of which has had so much.
    pub(super) fn scored(self, had: u64) -> Range<usize> {
        match self.unit {
            Unit::Epoch => 0..self.lanes,
            Unit::Fold => 0..self.lanes.min(had as usize),
        }
    }

    /// The lanes that a candidate trains to come from one budget to another.
    pub(super) fn leg(self, had: u64, to: u64) -> Range<usize> {
        match self.unit {
            Unit::Epoch => 0..self.lanes,
            Unit::Fold => self.scored(had).end..self.scored(to).end,
        }
    }

    /// The budget that each of these lanes is trained to.
    pub(super) fn of_lane(self, to: u64) -> u64 {
        match self.unit {
            Unit::Epoch => to,
            Unit::Fold => self.budget,
        }
    }

    /// The share of its whole training that each of these lanes gets.
    pub(super) fn share(self, had: u64, to: u64) -> f64 {
        match self.unit {
            Unit::Epoch => to.saturating_sub(had) as f64 / self.budget.max(1) as f64,
            Unit::Fold => 1.0,
        }
    }

    /// Units of the model's budget that the lanes of a candidate have had together, of one that goes on where it stands.
    pub(super) fn trained(self, had: u64) -> f64 {
        let each = match self.unit {
            Unit::Epoch => self.lanes as f64,
            Unit::Fold => self.budget as f64,
        };
        each * had as f64
    }
}

impl Study {
    /// What the scheduler is opened with.
    pub fn scheduler_options(&self) -> SchedulerOptions {
        options(&self.config.search, self.scheduler, &self.objective, self.batch)
    }

    /// What its explorer is opened with, if it has one.
    pub(super) fn explorer_options(&self) -> ExplorerOptions {
        ExplorerOptions {
            space: self.space.clone(),
            columns: searched(recipe::schedulable(&self.objective), &self.space),
            resample: self.config.search.resample,
            key: self.key.child(stream::EXPLORER),
        }
    }

    pub(super) fn axis(&self) -> Axis {
        axis(self.scheduler, &self.objective)
    }
}

fn axis(scheduler: &dyn SchedulerEntry, objective: &Objective) -> Axis {
    Axis { unit: scheduler.unit(), lanes: objective.lanes(), budget: objective.budget() }
}

fn options(
    search: &SearchOptions,
    scheduler: &dyn SchedulerEntry,
    objective: &Objective,
    batch: u64,
) -> SchedulerOptions {
    let grain = match scheduler.unit() {
        // Of several models each has a unit of its own budget from one rung to the next.
        Unit::Epoch => objective.grain(),
        Unit::Fold => 1,
    };
    let first = match scheduler.unit() {
        Unit::Epoch => objective.least_rung(),
        Unit::Fold => 1,
    };
    let sign = objective.directions().first().map_or(-1.0, |direction| direction.sign());
    SchedulerOptions {
        budget: axis(scheduler, objective).whole(),
        batch,
        least: search.min_budget.max(first),
        eta: search.eta,
        interval: search.interval,
        grain,
        rule: RuleOptions {
            percentile: search.percentile,
            threshold: search.threshold.map(|worst| -sign * worst),
            patience: search.patience,
            min_delta: search.min_delta,
            level: search.level,
            quantile: search.quantile,
        },
        key: Key::from_seed(search.seed).child(stream::SCHEDULER),
    }
}

/// Where the scheduler gives lanes rows, draws which ones.
pub(super) fn count_rows(
    search: &SearchOptions,
    scheduler: &dyn SchedulerEntry,
    objective: &mut Objective,
    key: Key,
) -> Option<String> {
    let Objective::Models(models) = objective else { return None };
    if !scheduler.ends_early() || scheduler.unit() == Unit::Fold {
        return None;
    }
    models.count_rows(search.resource == Resource::Rows, key);
    let by_rows = models.pipelines.iter().filter(|pipeline| pipeline.rows.is_some());
    let mut names: Vec<&str> = by_rows.map(|pipeline| pipeline.model.name()).collect();
    names.dedup();
    let rows = models.subsets.as_ref().map_or(0, Subsets::full);
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("{names}: rungs are training rows, all {rows} of the smallest fold on the last, each rung's among the next one's")
    })
}

/// Whether a scheduler that ends candidates on their way has a way to look at.
pub(super) fn check(
    config: &StudyConfig,
    scheduler: &'static dyn SchedulerEntry,
    objective: &Objective,
) -> Result<(), ConfigError> {
    if !scheduler.ends_early() {
        return Ok(());
    }
    let objectives = objective.directions().len();
    let reason = match objective {
        Objective::Function(_) => Some("a function is evaluated at once".to_owned()),
        _ if objectives > 1 => Some(format!("of {objectives} objectives there is no single order of the candidates")),
        _ if scheduler.needs_threshold() && config.search.threshold.is_none() => {
            Some("it needs search.threshold, the worst score that goes on".to_owned())
        }
        Objective::Models(_) | Objective::Command(_) | Objective::Wgsl(_) | Objective::Rust(_) => {
            let options = options(&config.search, scheduler, objective, u64::MAX);
            match scheduler.unit() {
                Unit::Epoch => no_step(objective)
                    .or_else(|| no_rung(&config.search, scheduler, objective, &options))
                    .or_else(|| too_many_rungs(scheduler, &options)),
                Unit::Fold => {
                    check_level(scheduler, config.search.level)?;
                    no_fold(scheduler, objective, &options).or_else(|| too_many_rungs(scheduler, &options))
                }
            }
        }
    };
    match reason {
        Some(reason) => Err(ConfigError::Unschedulable { scheduler: scheduler.name(), reason }),
        None => Ok(()),
    }
}

/// Whether hyperparameters can change on the way where the scheduler or the study changes them, and whether the strategy can do
/// with that.
pub(super) fn check_changes(
    scheduler: &'static dyn SchedulerEntry,
    strategy: &Relay,
    objective: &Objective,
    space: &Space,
    stages: &Stages,
) -> Result<(), ConfigError> {
    let refused = |reason: String| Err(ConfigError::Unschedulable { scheduler: scheduler.name(), reason });
    if strategy.uses_gradients() && (scheduler.explores() || !stages.is_empty()) {
        let name = strategy.name();
        let reason = format!("{name} follows slopes along hyperparameters that are the same for the whole training");
        return match scheduler.explores() {
            true => refused(reason),
            false => Err(ConfigError::OutOfRange {
                key: "model.schedule",
                value: "a schedule".to_owned(),
                need: Cow::Owned(format!("another strategy: {reason}")),
            }),
        };
    }
    let by_rows = objective.models().is_ok_and(|models| models.subsets.is_some());
    if by_rows && !stages.is_empty() {
        return Err(ConfigError::OutOfRange {
            key: "model.schedule",
            value: "a schedule".to_owned(),
            need: Cow::Borrowed("a scheduler that does not count rows: its stages are units of the model's own budget"),
        });
    }
    if !scheduler.explores() {
        return Ok(());
    }
    if !stages.is_empty() {
        return refused("it makes schedules, and model.schedule is one already".to_owned());
    }
    let models = match objective {
        Objective::Models(models) => models,
        _ => return refused("it changes hyperparameters of models on their way".to_owned()),
    };
    if !models.splits.outer.is_empty() {
        return refused(
            "what a population copies it chooses by all rows, and outer parts of nested cross-validation are to be unseen
  Keep test rows in their place: [data] test = 0.2".to_owned(),
        );
    }
    let fixed = models.pipelines.iter().find(|pipeline| pipeline.schedulable().is_empty());
    if let Some(pipeline) = fixed {
        let (name, able) = (pipeline.model.name(), recipe::models_able());
        return refused(format!(
            "{name} has no hyperparameters that may change while it is trained; these have: {able}"
        ));
    }
    if models.subsets.is_some() {
        return refused(
            "members go on from where others stand, and on more rows nobody does: resource = \"own\"".to_owned(),
        );
    }
    let columns = recipe::schedulable(objective);
    if searched(columns.clone(), space).is_empty() {
        let names: Vec<&str> = columns.iter().map(|column| space.parameters[*column].name.as_str()).collect();
        return refused(format!("[space] holds all that may change on the way: {}", names.join(", ")));
    }
    Ok(())
}

/// Those of some columns that have more than one value.
fn searched(mut columns: Vec<usize>, space: &Space) -> Vec<usize> {
    let codecs = space.codecs();
    columns.retain(|column| codecs[*column].count() != Some(1));
    columns
}

/// A level of a one-sided test: from a half on it ends who is as good as the best, or better.
fn check_level(scheduler: &dyn SchedulerEntry, level: Option<f64>) -> Result<(), ConfigError> {
    match level.filter(|level| *level >= 0.5) {
        Some(level) => Err(ConfigError::OutOfRange {
            key: "search.level",
            value: level.to_string(),
            need: Cow::Owned(format!(
                "with \"{}\" it has to be less than 0.5, from where on who is as good as the best would end",
                scheduler.name()
            )),
        }),
        None => Ok(()),
    }
}

/// Why candidates have no scores on their way, if they have none.
fn no_step(objective: &Objective) -> Option<String> {
    match objective {
        Objective::Command(command) if command.steps().is_none() => Some(
            "nothing says that the command has values on the way\n  Where it prints a line {\"step\": 1, \"value\": 0.5} after each step, say how many a whole trial has: objective.budget = 27".to_owned(),
        ),
        Objective::Wgsl(_) => Some(
            "a shader has its value at once; \"racing\" ends candidates between the evaluations that objective.repeats asks for"
                .to_owned(),
        ),
        Objective::Rust(rust) if rust.steps().is_none() => Some(
            "the objective is evaluated at once\n  To train it in steps, implement CustomObjective with a budget: docs/rust.md".to_owned(),
        ),
        _ => None,
    }
}

/// Why there is no budget after which a candidate may end, if there is none.
fn no_rung(
    search: &SearchOptions,
    scheduler: &dyn SchedulerEntry,
    objective: &Objective,
    options: &SchedulerOptions,
) -> Option<String> {
    let budget = options.budget;
    let by_rows = objective.models().is_ok_and(|models| models.subsets.is_some());
    if budget == 1 && !by_rows {
        let key = if objective.models().is_ok() { "model.budget" } else { "objective.budget" };
        return Some(format!("{key} is 1, which cannot be cut short"));
    }
    if scheduler.rungs(options).len() > 1 {
        return None;
    }
    if let Some(interval) = search.interval.filter(|interval| scheduler.explores() && *interval >= budget) {
        return Some(format!(
            "search.interval = {interval} leaves no rung below the whole budget of {budget}: set it to less"
        ));
    }
    let without = SchedulerOptions { least: 1, grain: 1, ..*options };
    let lower = scheduler.rungs(&without).into_iter().rev().nth(1).unwrap_or(1);
    let first = match options.least {
        least if least == search.min_budget => format!("search.min_budget = {least}"),
        least if by_rows && options.grain == 1 => format!("{least} training rows, the least to learn from,"),
        least if by_rows => {
            format!("{least}, where each model has had a unit of its own or rows enough to learn from,")
        }
        least => format!("{least}, where each model has had a unit of its own,"),
    };
    let instead = if by_rows { "; \"racing\" ends candidates between folds" } else { "" };
    Some(format!(
        "there is no rung between {first} and the whole budget of {budget}: the next lower one is {lower}{instead}"
    ))
}

/// Why there are more rungs than can be looked at, if there are.
fn too_many_rungs(scheduler: &dyn SchedulerEntry, options: &SchedulerOptions) -> Option<String> {
    let rungs = scheduler.rungs(options);
    let [.., before, last, _] = rungs[..] else { return None };
    if rungs.len() as u64 <= RUNGS_MOST {
        return None;
    }
    let (budget, apart) = (options.budget, last - before);
    // Of the least budget and those that so many steps more come to, the last is the whole one.
    let enough = budget.saturating_sub(options.least).div_ceil(RUNGS_MOST - 1);
    let what = match scheduler.unit() {
        Unit::Epoch => "rungs",
        Unit::Fold => "tests between folds",
    };
    Some(format!(
        "of a whole budget of {budget} it has more than {RUNGS_MOST} {what}, where they are {apart} apart: set search.interval = {enough} or more"
    ))
}

/// Why there is no fold after which a candidate may end, if there is none.
fn no_fold(scheduler: &dyn SchedulerEntry, objective: &Objective, options: &SchedulerOptions) -> Option<String> {
    let models = objective.models().ok();
    if models.is_some_and(|models| !models.splits.outer.is_empty()) {
        return Some(
            "in nested cross-validation the same rows are scored by several lanes, which are no folds".to_owned(),
        );
    }
    if scheduler.rungs(options).len() > 1 {
        return None;
    }
    let endless = SchedulerOptions { budget: FOLDS_MOST, ..*options };
    let first = scheduler.rungs(&endless).first().copied().unwrap_or(1);
    let first = if first == 1 { "1 fold".to_owned() } else { format!("{first} folds") };
    let folds = match options.budget {
        1 => "there is one".to_owned(),
        folds => format!("there are {folds}"),
    };
    let remedy = match models {
        Some(_) => "set validate.folds or validate.repeats higher",
        None => "set objective.repeats higher",
    };
    Some(format!("it ends candidates after {first} at the earliest, and {folds} in all: {remedy}"))
}

/// More than any study has.
const FOLDS_MOST: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_epochs_of_all_lanes_or_whole_lanes() {
        let epochs = Axis { unit: Unit::Epoch, lanes: 5, budget: 30 };
        assert_eq!((epochs.whole(), epochs.leg(3, 10), epochs.of_lane(10)), (30, 0..5, 10));
        assert_eq!((epochs.scored(3), epochs.share(3, 9), epochs.trained(3)), (0..5, 0.2, 15.0));
        let folds = Axis { unit: Unit::Fold, ..epochs };
        assert_eq!((folds.whole(), folds.leg(2, 3), folds.of_lane(3)), (5, 2..3, 30));
        assert_eq!((folds.scored(2), folds.share(2, 3), folds.trained(2)), (0..2, 1.0, 60.0));
        // What a candidate's lanes have in all is the same either way.
        assert_eq!(epochs.trained(epochs.whole()), folds.trained(folds.whole()));
    }
}
