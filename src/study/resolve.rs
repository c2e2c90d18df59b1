//! From what a user wrote to what runs: data read, names looked up, rows split, the space made.

use super::config::{BackendChoice, LoadedConfig, StudyConfig};
use super::error::{ConfigError, StudyError};
use super::parts::Parts;
use super::source::{About, Place, Source};
use crate::backend::cpu::memory;
use crate::base::hash::Hasher;
use crate::base::random::Key;
use crate::base::registry::UnknownName;
use crate::data::Task;
use crate::data::dataset::Dataset;
use crate::data::metrics::{self, METRICS, Metric};
use crate::data::prepare::Preparation;
use crate::data::problem::check_memory;
use crate::data::splits::{SplitError, Splits, split};
use crate::models::{self, DataShape, MODELS, Model};
use crate::schedulers::{self, SchedulerEntry};
use crate::space::Space;
use crate::strategies::{self, StrategyEntry, StrategyOptions};
use std::sync::Arc;

/// A study, resolved.
pub struct Study {
    /// Its name.
    pub name: String,
    /// What the user wrote, defaults filled in.
    pub config: StudyConfig,
    /// The data.
    pub dataset: Dataset,
    /// Their rows' parts.
    pub splits: Splits,
    /// Which scores of a candidate stand on the same rows.
    pub parts: Parts,
    /// Candidates that are proposed at a time.
    pub batch: u64,
    /// The score.
    pub metric: &'static dyn Metric,
    /// What is trained.
    pub model: &'static dyn Model,
    /// What is searched.
    pub space: Arc<Space>,
    /// What the model's defaults were made for.
    pub shape: DataShape,
    /// A lane's full budget.
    pub budget: u64,
    /// How candidates are proposed.
    pub strategy: &'static dyn StrategyEntry,
    /// How budgets are given.
    pub scheduler: &'static dyn SchedulerEntry,
    /// The key of everything random.
    pub key: Key,
}

impl Study {
    /// Reads the data and looks everything up. Nothing is fitted but a preparation on the pool's rows, to count features.
    pub fn resolve(loaded: LoadedConfig) -> Result<Study, StudyError> {
        let LoadedConfig { mut config, name, source } = loaded;
        let source = &source;
        check_ranges(&config).map_err(|error| match error {
            ConfigError::OutOfRange { key, .. } => at(source, key, error.into()),
            error => error.into(),
        })?;
        let named = |key: &'static str| move |error: UnknownName| at(source, key, error.into());
        let model = models::find(&config.model.name).map_err(named("model.name"))?;
        let strategy = strategies::find(&config.search.strategy).map_err(named("search.strategy"))?;
        let scheduler = schedulers::find(&config.search.scheduler).map_err(named("search.scheduler"))?;
        let named_metric = config.validate.metric.as_deref().map(metrics::find).transpose();
        let named_metric = named_metric.map_err(named("validate.metric"))?;
        let dataset = Dataset::load(&config.data)?;
        let task = dataset.task;
        let outputs = dataset.target.outputs();
        if !model.tasks().contains(&task) {
            let fitting =
                MODELS.iter().filter(|model| model.tasks().contains(&task)).map(|model| model.name()).collect();
            return Err(at(source, "model.name", unfit("model", model.name(), task, outputs, fitting).into()));
        }
        if dataset.weight.is_some() && !model.takes_weights() {
            let takes = |model: &&&dyn Model| model.takes_weights() && model.tasks().contains(&task);
            let fitting = MODELS.iter().filter(takes).map(|model| model.name()).collect();
            let error = ConfigError::NoWeights { kind: "model", name: model.name().to_owned(), fitting };
            return Err(at(source, "data.weight", error.into()));
        }
        let metric = named_metric.unwrap_or_else(|| metrics::default_for(task));
        if !metric.supports(task, outputs) {
            let fits = |metric: &&&dyn Metric| metric.supports(task, outputs);
            let fitting = METRICS.iter().filter(fits).map(|metric| metric.name()).collect();
            return Err(at(source, "validate.metric", unfit("metric", metric.name(), task, outputs, fitting).into()));
        }
        let key = Key::from_seed(config.search.seed);
        let splits = split(&dataset, config.data.test, &config.validate, key).map_err(|error| match error {
            SplitError::OutOfRange { key, .. } | SplitError::NothingLeft { key, .. } => at(source, key, error.into()),
            error => error.into(),
        })?;
        let rows = splits.folds.iter().map(|fold| fold.train.len()).min().unwrap_or(0);
        let preparation = Preparation::fit(&dataset, &splits.pool, &config.prepare, model.input());
        check_memory(&dataset, &preparation, &splits.folds, memory().unwrap_or(u64::MAX))?;
        let features = preparation.features().len();
        let shape = DataShape { task, rows, features, outputs };
        let space = model.space(shape).with_overrides(&config.space).map_err(|error| {
            let place = error.key().and_then(|(key, is_name)| {
                source.find(&format!("space.{key}"), if is_name { About::Name } else { About::Value })
            });
            placed(place, error.into())
        })?;
        config.space = space.to_toml();
        config.validate.metric = Some(metric.name().to_owned());
        config.data.task = Some(task);
        let budget = config.model.budget.unwrap_or(model.budget().default);
        config.model.budget = Some(budget);
        let space = Arc::new(space);
        let batch = batch(&config);
        config.search.batch = Some(batch);
        let parts = Parts::new(&splits);
        Ok(Study {
            name,
            config,
            dataset,
            splits,
            parts,
            batch,
            metric,
            model,
            space,
            shape,
            budget,
            strategy,
            scheduler,
            key,
        })
    }

    /// What the strategy is opened with.
    pub fn strategy_options(&self) -> StrategyOptions {
        StrategyOptions {
            key: self.key.child(crate::base::random::stream::STRATEGY),
            direction: self.metric.direction(),
            resolution: self.config.search.resolution,
            shuffle: self.config.search.shuffle,
        }
    }

    /// Scores of a candidate: one a row set of each fold.
    pub fn scores(&self) -> usize {
        self.splits.folds.iter().map(|fold| fold.evals.len()).sum()
    }

    /// Where each fold's scores begin among a candidate's.
    pub fn first_scores(&self) -> Vec<usize> {
        let next = |sum: &mut usize, evals: usize| Some(std::mem::replace(sum, *sum + evals));
        self.splits.folds.iter().map(|fold| fold.evals.len()).scan(0, next).collect()
    }

    /// A hash of everything in the study that changes a result. How long it searches is not in it: a run can be resumed
    /// with more candidates, and on another machine.
    pub fn fingerprint(&self) -> Result<u64, ConfigError> {
        let mut config = self.config.clone();
        config.run = Default::default();
        config.stop = Default::default();
        config.search.candidates = 0;
        // Where the data lie does not matter; what is in them has a fingerprint of its own.
        config.data.file = Default::default();
        config.data.test_file = None;
        let mut hash = Hasher::default();
        hash.text(&config.to_toml()?);
        Ok(hash.finish())
    }
}

/// Candidates that are proposed at a time. Stop rules look at whole batches: where there are any, batches are so small
/// that little is trained in vain.
fn batch(config: &StudyConfig) -> u64 {
    const MOST: u64 = 1000;
    const WITH_TARGET: u64 = 100;
    const LEAST: u64 = 16;
    let by_patience = config.stop.patience.map_or(MOST, |patience| (patience / 2).clamp(LEAST, MOST));
    let by_target = config.stop.target.map_or(MOST, |_| WITH_TARGET);
    config.search.batch.unwrap_or(by_patience.min(by_target))
}

/// An error about what a key holds, at the place where the study says it.
fn at(source: &Source, key: &str, error: StudyError) -> StudyError {
    placed(source.find(key, About::Value), error)
}

fn placed(place: Option<Place>, error: StudyError) -> StudyError {
    match place {
        Some(place) => StudyError::At { place, error: Box::new(error) },
        None => error,
    }
}

fn unfit(kind: &'static str, name: &str, task: Task, outputs: usize, fitting: Vec<&'static str>) -> ConfigError {
    let task = match task {
        Task::Classification => format!("classification into {outputs} classes"),
        Task::Regression => "regression".to_owned(),
    };
    ConfigError::Unfit { kind, name: name.to_owned(), task, fitting }
}

/// More threads than any machine has cores would bring it to its knees before they train anything.
const THREADS_MOST: usize = 1024;

fn check_ranges(config: &StudyConfig) -> Result<(), ConfigError> {
    let search = &config.search;
    let out_of_range = |key, value: String, need| Err(ConfigError::OutOfRange { key, value, need });
    match () {
        () if search.candidates == 0 => out_of_range("search.candidates", "0".to_owned(), "1 or more"),
        () if search.batch == Some(0) => out_of_range("search.batch", "0".to_owned(), "1 or more"),
        () if search.resolution == 0 => out_of_range("search.resolution", "0".to_owned(), "1 or more"),
        () if config.model.budget == Some(0) => out_of_range("model.budget", "0".to_owned(), "1 or more"),
        () if config.stop.patience == Some(0) => out_of_range("stop.patience", "0".to_owned(), "1 or more"),
        () if config.stop.min_delta.is_nan() || config.stop.min_delta < 0.0 => {
            out_of_range("stop.min_delta", config.stop.min_delta.to_string(), "0 or more")
        }
        () if config.stop.time.is_some_and(|span| span.0.is_zero()) => {
            out_of_range("stop.time", "0s".to_owned(), "more than nothing: \"90s\", \"10m\" or \"2h 30m\"")
        }
        () if config.run.threads > THREADS_MOST => {
            out_of_range("run.threads", config.run.threads.to_string(), "at most 1024; 0 takes one a core")
        }
        () if config.run.device.is_some() && config.run.backend == BackendChoice::Cpu => out_of_range(
            "run.device",
            config.run.device.clone().unwrap_or_default(),
            "a device is for backend = \"gpu\"",
        ),
        () => Ok(()),
    }
}
