//! From what a user wrote to what runs: data read, names looked up, rows split, the space made.

use super::config::{BackendChoice, LoadedConfig, StudyConfig};
use super::error::{ConfigError, StudyError};
use super::model_options::{ModelBudget, ModelNames, ModelOptions};
use super::parts::Parts;
use super::pipeline::{self, Pipelines, Searched, Unsearchable};
use super::source::{About, Place, Source};
use crate::backend::{BackendError, cpu};
use crate::base::hash::Hasher;
use crate::base::random::Key;
use crate::base::registry::UnknownName;
use crate::data::Task;
use crate::data::dataset::Dataset;
use crate::data::metrics::{self, METRICS, Metric};
use crate::data::splits::{SplitError, Splits, split};
use crate::models::{self, MODELS, Model};
use crate::schedulers::{self, SchedulerEntry};
use crate::space::Space;
use crate::strategies::{self, STRATEGIES, StrategyEntry, StrategyOptions};
use std::ops::RangeInclusive;
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
    /// What candidates are trained with.
    pub pipelines: Pipelines,
    /// What is searched.
    pub space: Arc<Space>,
    /// What the user should know of the models.
    pub notes: Vec<String>,
    /// A lane's full budget, as the scheduler counts it.
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
        let strategy = strategies::find(&config.search.strategy).map_err(named("search.strategy"))?;
        let scheduler = schedulers::find(&config.search.scheduler).map_err(named("search.scheduler"))?;
        let named_metric = config.validate.metric.as_deref().map(metrics::find).transpose();
        let named_metric = named_metric.map_err(named("validate.metric"))?;
        let dataset = Dataset::load(&config.data)?;
        let task = dataset.task;
        let outputs = dataset.target.outputs();
        let (models, mut notes) = models_for(&config, source, &dataset)?;
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
        let limit = cpu::memory_limit(config.run.memory.saturating_mul(1 << 20));
        let Searched { space, pipelines } = searching(&config, source, models, &dataset, &splits, limit, &mut notes)?;
        config.space = space.to_toml();
        config.validate.metric = Some(metric.name().to_owned());
        config.data.task = Some(task);
        let named = |name: &&str| (*name).to_owned();
        config.model.name = ModelNames(pipelines.models().iter().map(named).collect());
        config.model.budget = Some(match pipelines.single() {
            Some(pipeline) => ModelBudget::One(pipeline.budget),
            None => ModelBudget::Each(pipelines.iter().map(|p| (p.model.name().to_owned(), p.budget)).collect()),
        });
        let budget = pipelines.budget();
        let space = Arc::new(space);
        if let Some(reason) = strategy.refusal(&space) {
            let can = |entry: &&&dyn StrategyEntry| entry.refusal(&space).is_none();
            let able = STRATEGIES.iter().filter(can).map(|entry| entry.name()).collect();
            let refused = ConfigError::Refused { strategy: strategy.name(), reason, able };
            return Err(at(source, "search.strategy", refused.into()));
        }
        let batch = batch(&config, strategy);
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
            pipelines,
            space,
            notes,
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
            candidates: self.config.search.candidates,
            batch: self.batch,
            population: self.config.search.population,
            crossover_rate: self.config.search.crossover_rate,
            mutation_rate: self.config.search.mutation_rate,
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

    /// A hash of everything in the study that changes a result. How long it searches is not in it, unless the strategy
    /// plans by it: a run can be resumed with more candidates, and on another machine.
    pub fn fingerprint(&self) -> Result<u64, ConfigError> {
        let mut config = self.config.clone();
        config.run = Default::default();
        config.stop = Default::default();
        if !self.strategy.follows_candidates() {
            config.search.candidates = 0;
        }
        // Where the data lie does not matter; what is in them has a fingerprint of its own.
        config.data.file = Default::default();
        config.data.test_file = None;
        let mut hash = Hasher::default();
        hash.text(&config.to_toml()?);
        Ok(hash.finish())
    }
}

/// Candidates that are proposed at a time. Stop rules look at whole batches: where there are any, batches are so small
/// that little is trained in vain; and where a strategy learns, so small that it can.
fn batch(config: &StudyConfig, strategy: &dyn StrategyEntry) -> u64 {
    const MOST: u64 = 1000;
    const TO_LEARN: u64 = 50;
    const WITH_TARGET: u64 = 100;
    const LEAST: u64 = 16;
    let by_patience = config.stop.patience.map_or(MOST, |patience| (patience / 2).clamp(LEAST, MOST));
    let by_target = config.stop.target.map_or(MOST, |_| WITH_TARGET);
    let by_learning = if strategy.is_adaptive() { TO_LEARN } else { MOST };
    config.search.batch.unwrap_or(by_patience.min(by_target).min(by_learning))
}

/// The models that a study names; of `all` those that fit, with a note on the others.
fn models_for(
    config: &StudyConfig,
    source: &Source,
    dataset: &Dataset,
) -> Result<(Vec<&'static dyn Model>, Vec<String>), StudyError> {
    let (task, outputs) = (dataset.task, dataset.target.outputs());
    let has_task = |model: &&dyn Model| model.tasks().contains(&task);
    let takes_weights = |model: &&dyn Model| dataset.weight.is_none() || model.takes_weights();
    let names = |fits: &dyn Fn(&&dyn Model) -> bool| -> Vec<&'static str> {
        MODELS.iter().copied().filter(fits).map(|model| model.name()).collect()
    };
    if config.model.name.is_all() {
        let fitting = MODELS.iter().copied().filter(has_task).filter(takes_weights).collect();
        let left_out = names(&|model| has_task(model) && !takes_weights(model));
        let note =
            (!left_out.is_empty()).then(|| format!("{} left out: no use for sample weights", left_out.join(", ")));
        return Ok((fitting, note.into_iter().collect()));
    }
    let mut models: Vec<&'static dyn Model> = Vec::new();
    for name in &config.model.name.0 {
        let model = models::find(name).map_err(|error| at(source, "model.name", error.into()))?;
        if !has_task(&model) {
            let fitting = names(&has_task);
            return Err(at(source, "model.name", unfit("model", model.name(), task, outputs, fitting).into()));
        }
        if !takes_weights(&model) {
            let fitting = names(&|model| has_task(model) && model.takes_weights());
            let error = ConfigError::NoWeights { kind: "model", name: model.name().to_owned(), fitting };
            return Err(at(source, "data.weight", error.into()));
        }
        if models.iter().any(|known| known.name() == model.name()) {
            let (key, value, need) = ("model.name", name.clone(), "each model once");
            return Err(at(source, key, ConfigError::OutOfRange { key, value, need }.into()));
        }
        models.push(model);
    }
    match &config.model.budget {
        Some(ModelBudget::One(budget)) if models.len() > 1 => {
            let (key, value) = ("model.budget", budget.to_string());
            let need = "one for each model, as their units differ: { mlp = 30 }";
            Err(at(source, key, ConfigError::OutOfRange { key, value, need }.into()))
        }
        Some(ModelBudget::Each(budgets)) => {
            let is_there = |name: &&String| models.iter().any(|model| model.name() == name.as_str());
            match budgets.keys().find(|name| !is_there(name)) {
                Some(name) => {
                    let (key, value, need) = ("model.budget", name.clone(), "the name of a model of this study");
                    Err(at(source, key, ConfigError::OutOfRange { key, value, need }.into()))
                }
                None => Ok((models, Vec::new())),
            }
        }
        _ => Ok((models, Vec::new())),
    }
}

/// The space of these models; of `all` those whose method is not sane for the data are left out with a note.
fn searching(
    config: &StudyConfig,
    source: &Source,
    mut models: Vec<&'static dyn Model>,
    dataset: &Dataset,
    splits: &Splits,
    memory: u64,
    notes: &mut Vec<String>,
) -> Result<Searched, StudyError> {
    loop {
        let error = match pipeline::searched(config, &models, dataset, splits, memory) {
            Ok(searched) => return Ok(searched),
            Err(error) => error,
        };
        return Err(match error {
            Unsearchable::Model(name, BackendError::Unsuited { reason, .. })
                if config.model.name.is_all() && models.len() > 1 =>
            {
                notes.push(format!("{name} left out: {reason}"));
                models.retain(|model| model.name() != name);
                continue;
            }
            Unsearchable::Model(_, error) => at(source, "model.name", error.into()),
            Unsearchable::Config(error) => match &error {
                ConfigError::OutOfRange { key, .. } => at(source, key, error.into()),
                _ => error.into(),
            },
            Unsearchable::Data(error) => error.into(),
            Unsearchable::Space(error) => {
                let place = error.key().and_then(|(key, is_name)| {
                    source.find(&format!("space.{key}"), if is_name { About::Name } else { About::Value })
                });
                placed(place, error.into())
            }
        });
    }
}

fn has_no_budget(model: &ModelOptions) -> bool {
    match &model.budget {
        Some(ModelBudget::One(budget)) => *budget == 0,
        Some(ModelBudget::Each(budgets)) => budgets.values().any(|budget| *budget == 0),
        None => false,
    }
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
/// Fewer than four have no three others to differ by.
const POPULATION: RangeInclusive<u64> = 4..=1_000_000;

fn check_ranges(config: &StudyConfig) -> Result<(), ConfigError> {
    let search = &config.search;
    let out_of_range = |key, value: String, need| Err(ConfigError::OutOfRange { key, value, need });
    match () {
        () if search.candidates == 0 => out_of_range("search.candidates", "0".to_owned(), "1 or more"),
        () if search.batch == Some(0) => out_of_range("search.batch", "0".to_owned(), "1 or more"),
        () if search.population.is_some_and(|members| !POPULATION.contains(&members)) => {
            out_of_range("search.population", search.population.unwrap_or(0).to_string(), "4 to 1,000,000")
        }
        () if search.crossover_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) => {
            out_of_range("search.crossover_rate", search.crossover_rate.unwrap_or(0.0).to_string(), "0 to 1")
        }
        () if search.mutation_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) => {
            out_of_range("search.mutation_rate", search.mutation_rate.unwrap_or(0.0).to_string(), "0 to 1")
        }
        () if search.resolution == 0 => out_of_range("search.resolution", "0".to_owned(), "1 or more"),
        () if has_no_budget(&config.model) => out_of_range("model.budget", "0".to_owned(), "1 or more"),
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
