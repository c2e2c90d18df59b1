//! What a strategy plans by: how many candidates and how much time there are, and the threads, or the programs of a command,
//! that train in it. A run that is made longer goes on as it was planned, so that what it has done already stays what its
//! strategy would have done.

use super::config::{RunOptions, StudyConfig};
use super::resolve::Study;
use super::retention::Retention;
use super::run_dir::study_path;
use super::stopping::{Span, StopOptions};
use crate::backend::cpu::CpuOptions;
use crate::schedulers::SchedulerEntry;
use crate::strategies::relay::Relay;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The `[search.plan]` section: the numbers that a run began with. The program writes it into the study of a run that was
/// made longer; where it is not, the study's own numbers are the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// As `search.candidates`.
    pub candidates: u64,
    /// As `stop.time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// As `run.threads`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub threads: usize,
    /// As `objective.workers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
}

fn is_zero(threads: &usize) -> bool {
    *threads == 0
}

impl Plan {
    /// What a study asks for now.
    pub(super) fn current(config: &StudyConfig) -> Plan {
        Plan {
            candidates: config.search.candidates,
            time: config.stop.time,
            threads: config.run.threads,
            workers: config.objective.as_ref().and_then(|objective| objective.workers),
        }
    }

    /// The time that there is, and what decides how much is trained in it.
    fn training(&self) -> (Option<Span>, usize, Option<usize>) {
        (self.time, self.threads, self.workers)
    }

    /// Threads of a model's training.
    pub(super) fn thread_count(&self) -> usize {
        CpuOptions { threads: self.threads, ..CpuOptions::default() }.thread_count().max(1)
    }

    /// Programs of a command that run at a time.
    pub(super) fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(|| self.thread_count()).max(1)
    }

    /// What a study plans by.
    pub(super) fn of(config: &StudyConfig) -> Plan {
        config.search.plan.unwrap_or_else(|| Plan::current(config))
    }

    /// What the run in a directory was planned by, if there is one. What is wrong with its study shows elsewhere.
    pub(super) fn of_run(dir: &Path) -> Option<Plan> {
        let text = std::fs::read_to_string(study_path(dir)).ok()?;
        toml::from_str(&text).ok().as_ref().map(Plan::of)
    }
}

impl Study {
    /// Whether the strategy plans by the number of candidates. Whole generations do by their members alone.
    pub fn plans_by_candidates(&self) -> bool {
        plans_by_candidates(&self.config, &self.strategy)
    }

    /// Whether the strategy plans by the time there is, and so by what the threads get done in it.
    pub fn plans_by_time(&self) -> bool {
        self.strategy.follows_time() && self.plan.time.is_some()
    }

    /// How many candidates the search goes to that has come to `first`: cohorts of a scheduler keep to the plan, then to what is
    /// asked for now.
    pub(super) fn end_after(&self, first: u64) -> u64 {
        let asked = self.config.search.candidates;
        if first < self.plan.candidates { asked.min(self.plan.candidates) } else { asked }
    }

    /// The configuration with the plan in the place of what was asked for since, and nothing of what the strategy does not
    /// plan by: what decides how a search goes.
    pub(super) fn planned(&self) -> StudyConfig {
        let mut config = self.config.clone();
        // What is kept is part of the journal.
        let threads = if self.plans_by_time() { self.plan.threads } else { 0 };
        config.run = RunOptions { history: config.run.history, threads, ..RunOptions::default() };
        let time = self.plan.time.filter(|_| self.strategy.follows_time());
        config.stop = StopOptions { time, ..StopOptions::default() };
        config.search.candidates = if self.plans_by_candidates() { self.plan.candidates } else { 0 };
        if self.scheduler.explores() {
            // Who takes over from whom depends on who else there is: a population is as large as it was begun.
            config.search.candidates = self.config.search.candidates;
        }
        config.search.plan = None;
        if let Some(objective) = &mut config.objective {
            objective.workers = self.plan.workers.filter(|_| self.plans_by_time());
        }
        config
    }
}

/// Keeps in the study how it was planned, where that is not what it asks for now and its strategy goes by it.
pub(super) fn settle(config: &mut StudyConfig, strategy: &Relay, scheduler: &dyn SchedulerEntry) -> Plan {
    let (plan, current) = (Plan::of(config), Plan::current(config));
    // How many are asked for at a time follows the plan too, where a strategy learns; and so do a scheduler's cohorts.
    let is_planned = strategy.is_adaptive() || scheduler.ends_early() || plans_by_candidates(config, strategy);
    let by_candidates = is_planned && plan.candidates != current.candidates;
    let by_time = strategy.follows_time() && plan.training() != current.training();
    config.search.plan = (by_candidates || by_time).then_some(plan);
    plan
}

fn plans_by_candidates(config: &StudyConfig, strategy: &Relay) -> bool {
    match config.run.history != Retention::All && strategy.is_adaptive() {
        true => config.search.population.is_none(),
        false => strategy.follows_candidates(),
    }
}
