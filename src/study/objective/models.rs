//! Models on data: the table read, the rows split, the models' names looked up, their space and pipelines made.

use super::{Objective, Resolved};
use crate::backend::{BackendError, cpu};
use crate::base::random::Key;
use crate::data::dataset::Dataset;
use crate::data::metrics::{self, METRICS, Metric};
use crate::data::prepare::{Preparation, PrepareOptions};
use crate::data::problem::{FoldRows, build_folds};
use crate::data::splits::{SplitError, Splits, Subsets, split};
use crate::data::{DataError, Fold, Input, Problem, Task};
use crate::models::{self, MODELS, Model};
use crate::study::config::StudyConfig;
use crate::study::criteria::{Criterion, Limits};
use crate::study::error::{ConfigError, StudyError};
use crate::study::model_options::ModelBudget;
use crate::study::names::Names;
use crate::study::pipeline::{self, Pipeline, Pipelines, RowBudget, Searched, Unsearchable};
use crate::study::resolve::{at, placed};
use crate::study::source::{About, Source};
use std::sync::Arc;

/// Models that are trained on data.
pub struct Models {
    /// The data.
    pub dataset: Dataset,
    /// Their rows' parts.
    pub splits: Splits,
    /// What of its training rows a fold has on a rung, where a scheduler counts rows.
    pub subsets: Option<Subsets>,
    /// The score.
    pub metric: &'static dyn Metric,
    /// What candidates are trained with.
    pub pipelines: Pipelines,
    /// What is searched for, the score first.
    pub objectives: Vec<Criterion>,
    /// What candidates may take at most.
    pub limits: Limits,
}

impl Models {
    /// Scores of a candidate: one a row set of each fold.
    pub fn scores(&self) -> usize {
        self.splits.folds.iter().map(|fold| fold.evals.len()).sum()
    }

    /// Where each fold's scores begin among a candidate's.
    pub fn first_scores(&self) -> Vec<usize> {
        let next = |sum: &mut usize, evals: usize| Some(std::mem::replace(sum, *sum + evals));
        self.splits.folds.iter().map(|fold| fold.evals.len()).scan(0, next).collect()
    }

    /// Lets schedulers count training rows, for `all` models or for those that have no other unit. What they do not need to
    /// know is not drawn.
    pub(in crate::study) fn count_rows(&mut self, all: bool, key: Key) {
        if !all && self.pipelines.iter().all(|pipeline| pipeline.model.budget().has_steps()) {
            return;
        }
        let mut subsets = Subsets::draw(&self.dataset.target, self.dataset.weight.as_deref(), &self.splits.folds, key);
        while subsets.least() < subsets.full() && !self.varies(&subsets) {
            subsets.begin_at(2 * subsets.least());
        }
        self.pipelines.count_rows(RowBudget { full: subsets.full(), least: subsets.least() }, all);
        self.subsets = Some(subsets);
    }

    /// Whether some feature varies in each fold's smallest subset, however it is prepared.
    fn varies(&self, subsets: &Subsets) -> bool {
        let folds = subsets.cut(&self.splits.folds, subsets.least());
        self.pipelines.iter().all(|Pipeline { model, prepare, .. }| {
            let fit = |fold: &FoldRows| Preparation::fit(&self.dataset, &fold.train, prepare, model.input());
            folds.iter().all(|fold| !fit(fold).features().is_empty())
        })
    }

    /// The folds of a pipeline, prepared, with the training rows that a budget of rows says.
    pub(in crate::study) fn cut_folds(
        &self,
        pipeline: &Pipeline,
        subsets: &Subsets,
        budget: u64,
        key: Key,
    ) -> Result<Vec<Arc<Fold>>, DataError> {
        let folds = subsets.cut(&self.splits.folds, budget);
        build_folds(&self.dataset, &folds, &pipeline.prepare, pipeline.model.input(), key)
    }

    /// Every pipeline's folds, prepared; equal preparations are made once.
    pub fn problems(&self, key: Key) -> Result<Vec<Arc<Problem>>, DataError> {
        let mut made: Vec<(Input, PrepareOptions, Vec<Arc<Fold>>)> = Vec::new();
        let mut problems = Vec::new();
        for pipeline in self.pipelines.iter() {
            let input = pipeline.model.input();
            let is_same = |(of, options, _): &&(Input, PrepareOptions, _)| *of == input && *options == pipeline.prepare;
            let folds = match made.iter().find(is_same) {
                Some((.., folds)) => folds.clone(),
                None => {
                    let folds = build_folds(&self.dataset, &self.splits.folds, &pipeline.prepare, input, key)?;
                    made.push((input, pipeline.prepare, folds.clone()));
                    folds
                }
            };
            problems.push(Arc::new(Problem {
                task: self.dataset.task,
                outputs: self.dataset.target.outputs(),
                budget: pipeline.budget,
                metric: self.metric,
                folds,
            }));
        }
        Ok(problems)
    }
}

/// Reads the data and looks everything up. Nothing is fitted but a preparation on the pool's rows, to count features.
pub(super) fn resolve(config: &mut StudyConfig, source: &Source, key: Key) -> Result<Resolved, StudyError> {
    let named_metric = config.validate.metric.as_deref().map(metrics::find).transpose();
    let named_metric = named_metric.map_err(|error| at(source, "validate.metric", error.into()))?;
    // A study has one or the other: the config was read so.
    let Some(data) = &config.data else { return Err(ConfigError::NoObjective.into()) };
    let dataset = Dataset::load(data)?;
    let task = dataset.task;
    let outputs = dataset.target.outputs();
    let (models, mut notes) = models_for(config, source, &dataset)?;
    let metric = named_metric.unwrap_or_else(|| metrics::default_for(task));
    if !metric.supports(task, outputs) {
        let fits = |metric: &&&dyn Metric| metric.supports(task, outputs);
        let fitting = METRICS.iter().filter(fits).map(|metric| metric.name()).collect();
        return Err(at(source, "validate.metric", unfit("metric", metric.name(), task, outputs, fitting).into()));
    }
    let splits = split(&dataset, data.test, &config.validate, key).map_err(|error| match error {
        SplitError::OutOfRange { key, .. } | SplitError::NothingLeft { key, .. } => at(source, key, error.into()),
        error => error.into(),
    })?;
    let limit = cpu::memory_limit(config.run.memory.saturating_mul(1 << 20));
    let Searched { space, pipelines } = searching(config, source, models, &dataset, &splits, limit, &mut notes)?;
    config.validate.metric = Some(metric.name().to_owned());
    config.data.iter_mut().for_each(|data| data.task = Some(task));
    let named = |name: &&str| (*name).to_owned();
    config.model.name = Names(pipelines.models().iter().map(named).collect());
    config.model.budget = Some(match pipelines.single() {
        Some(pipeline) => ModelBudget::One(pipeline.budget),
        None => ModelBudget::Each(pipelines.iter().map(|p| (p.model.name().to_owned(), p.budget)).collect()),
    });
    let (objectives, limits) = (config.search.objectives.clone(), config.search.limits);
    let models = Models { dataset, splits, subsets: None, metric, pipelines, objectives, limits };
    let objective = Objective::Models(Box::new(models));
    Ok(Resolved { objective, space, notes })
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
            return Err(at(source, key, ConfigError::OutOfRange { key, value, need: need.into() }.into()));
        }
        models.push(model);
    }
    match &config.model.budget {
        Some(ModelBudget::One(budget)) if models.len() > 1 => {
            let (key, value) = ("model.budget", budget.to_string());
            let need = "one for each model, as their units differ: { mlp = 30 }";
            Err(at(source, key, ConfigError::OutOfRange { key, value, need: need.into() }.into()))
        }
        Some(ModelBudget::Each(budgets)) => {
            let is_there = |name: &&String| models.iter().any(|model| model.name() == name.as_str());
            match budgets.keys().find(|name| !is_there(name)) {
                Some(name) => {
                    let (key, value, need) = ("model.budget", name.clone(), "the name of a model of this study");
                    Err(at(source, key, ConfigError::OutOfRange { key, value, need: need.into() }.into()))
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

fn unfit(kind: &'static str, name: &str, task: Task, outputs: usize, fitting: Vec<&'static str>) -> ConfigError {
    let task = match task {
        Task::Classification => format!("classification into {outputs} classes"),
        Task::Regression => "regression".to_owned(),
    };
    ConfigError::Unfit { kind, name: name.to_owned(), task, fitting }
}
