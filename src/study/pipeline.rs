//! What candidates are trained with: a pipeline is a model behind a preparation. Where a study searches over models, or over
//! choices of `[prepare]`, each combination is a pipeline of its own, fitted on each fold, and a candidate's values say
//! which one it goes through.

use super::config::StudyConfig;
use super::criteria::Footprint;
use super::error::ConfigError;
use crate::backend::{BackendError, cpu};
use crate::data::dataset::Dataset;
use crate::data::prepare::{Preparation, PrepareOptions};
use crate::data::problem::check_memory;
use crate::data::splits::Splits;
use crate::data::{DataError, Input};
use crate::models::{DataShape, Model, Work};
use crate::space::{Condition, Domain, Limits, MODEL, Parameter, Space, SpaceError, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The section of a space that chooses among preparations.
const PREPARE: &str = "prepare";
/// Pipelines of a study at most: each holds its own prepared folds.
const MOST: usize = 64;

/// A model behind a preparation.
pub struct Pipeline {
    /// What is trained.
    pub model: &'static dyn Model,
    /// How columns become features.
    pub prepare: PrepareOptions,
    /// The model's own space.
    pub space: Arc<Space>,
    /// The study's column of each of its parameters.
    columns: Vec<usize>,
    /// What the model's defaults were made for.
    pub shape: DataShape,
    /// A lane's full budget, in the model's unit.
    pub budget: u64,
    /// Where a scheduler counts training rows instead.
    pub rows: Option<RowBudget>,
}

/// What a scheduler gives to a lane that it gives rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowBudget {
    /// All training rows of the smallest fold.
    pub full: u64,
    /// The least with which something can be learnt.
    pub least: u64,
}

impl Pipeline {
    /// A lane's full budget, as a scheduler counts it.
    pub fn counted(&self) -> u64 {
        self.rows.map_or(self.budget, |rows| rows.full)
    }

    /// What the model sees of a candidate.
    pub fn own(&self, row: &[f64]) -> Vec<f64> {
        self.columns.iter().map(|column| row[*column]).collect()
    }

    /// What the model says of each of its parameters, for each of the study's `width`; NaN of those that it does not see.
    pub fn spread(&self, own: &[f64], width: usize) -> Vec<f64> {
        let mut all = vec![f64::NAN; width];
        self.columns.iter().zip(own).for_each(|(column, value)| all[*column] = *value);
        all
    }

    /// The study's columns of what may change while a lane is trained.
    pub fn schedulable(&self) -> Vec<usize> {
        let names = self.model.schedulable();
        let own = self.space.parameters.iter().zip(&self.columns);
        own.filter(|(parameter, _)| names.contains(&parameter.name.as_str())).map(|(_, column)| *column).collect()
    }

    /// Size of a candidate: [`Model::cost`].
    pub fn cost(&self, row: &[f64]) -> f64 {
        self.model.cost(&self.space, &self.own(row), self.shape)
    }

    /// What a candidate's model takes, whatever it learns.
    pub fn footprint(&self, row: &[f64]) -> Footprint {
        let prediction = self.model.prediction(&self.space, &self.own(row), self.shape);
        Footprint { size: self.cost(row), prediction }
    }

    /// Whether its lanes stop by their scores: [`Model::stops_by_validation`].
    pub fn stops_by_validation(&self, row: &[f64]) -> bool {
        self.model.stops_by_validation(&self.space, &self.own(row))
    }

    /// What training a lane of a candidate takes with its full budget.
    pub fn work(&self, row: &[f64]) -> Work {
        self.model.work(&self.space, &self.own(row), self.shape, self.budget)
    }
}

/// Every pipeline of a study.
pub struct Pipelines {
    all: Vec<Pipeline>,
    /// Codes that choose a pipeline: of the model, then of each searched choice of `[prepare]`.
    choosing: Vec<usize>,
    chosen: HashMap<Vec<u64>, usize>,
}

/// A space to search with the pipelines that its candidates go through.
pub(super) struct Searched {
    pub(super) space: Space,
    pub(super) pipelines: Pipelines,
}

impl Pipelines {
    /// Every pipeline.
    pub fn iter(&self) -> std::slice::Iter<'_, Pipeline> {
        self.all.iter()
    }

    /// The only one; `None` where there are several.
    pub fn single(&self) -> Option<&Pipeline> {
        if let [pipeline] = &self.all[..] { Some(pipeline) } else { None }
    }

    /// That of the study's defaults.
    pub fn first(&self) -> &Pipeline {
        &self.all[0]
    }

    /// The models' names, each once, in their order.
    pub fn models(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.all.iter().map(|pipeline| pipeline.model.name()).collect();
        names.dedup();
        names
    }

    /// Where among all pipelines a candidate's is.
    pub fn index(&self, row: &[f64]) -> usize {
        let codes: Vec<u64> = self.choosing.iter().map(|column| row[*column].to_bits()).collect();
        self.chosen.get(&codes).copied().unwrap_or(0)
    }

    /// A candidate's pipeline.
    pub fn of(&self, row: &[f64]) -> &Pipeline {
        &self.all[self.index(row)]
    }

    /// The full budget as a scheduler counts it: the model's own of a single model, the largest of several.
    pub fn budget(&self) -> u64 {
        self.all.iter().map(Pipeline::counted).max().unwrap_or(1)
    }

    /// What such a budget is to one of the pipelines: the same share of its own; whole units, and one at least.
    pub fn share(&self, budget: u64, pipeline: &Pipeline) -> u64 {
        let share = u128::from(budget) * u128::from(pipeline.counted());
        share.div_ceil(u128::from(self.budget().max(1))).min(u128::from(u64::MAX)) as u64
    }

    /// The least such budget of which one of the pipelines has more than so much of its own.
    pub fn beyond(&self, share: u64, pipeline: &Pipeline) -> u64 {
        let budget = u128::from(share) * u128::from(self.budget()) / u128::from(pipeline.counted().max(1));
        budget.saturating_add(1).min(u128::from(u64::MAX)) as u64
    }

    /// The least such budget of which each pipeline has a unit of its own.
    pub fn grain(&self) -> u64 {
        self.budget().div_ceil(self.all.iter().map(Pipeline::counted).min().unwrap_or(1).max(1))
    }

    /// The least such budget with which each pipeline can learn something.
    pub fn least_rung(&self) -> u64 {
        let needs = |pipeline: &Pipeline| {
            let least = pipeline.rows.map_or(1, |rows| rows.least);
            let share = u128::from(self.budget()) * u128::from(least);
            share.div_ceil(u128::from(pipeline.counted().max(1))).min(u128::from(u64::MAX)) as u64
        };
        self.all.iter().map(needs).max().unwrap_or(1)
    }

    /// Lets schedulers count rows, for every pipeline or only for models that have no other unit.
    pub(super) fn count_rows(&mut self, rows: RowBudget, all: bool) {
        for pipeline in &mut self.all {
            pipeline.rows = (all || !pipeline.model.budget().has_steps()).then_some(rows);
        }
    }
}

/// Why a study has no space.
pub(super) enum Unsearchable {
    Space(SpaceError),
    Config(ConfigError),
    Data(DataError),
    /// A model, by its name, whose method is not sane for the data.
    Model(&'static str, BackendError),
}

/// Makes the space of these models under the study's `[space]`, and its pipelines. `memory` is what lanes may take.
pub(super) fn searched(
    config: &StudyConfig,
    models: &[&'static dyn Model],
    dataset: &Dataset,
    splits: &Splits,
    memory: u64,
) -> Result<Searched, Unsearchable> {
    let rows = splits.folds.iter().map(|fold| fold.train.len()).min().unwrap_or(0);
    let mut features: Vec<(Input, PrepareOptions, usize)> = Vec::new();
    let mut shape = |input: Input, prepare: PrepareOptions| {
        let known = features.iter().find(|(of, options, _)| *of == input && *options == prepare);
        let features = match known {
            Some((.., count)) => *count,
            None => {
                let preparation = Preparation::fit(dataset, &splits.pool, &prepare, input);
                let machine = cpu::memory().unwrap_or(u64::MAX);
                check_memory(dataset, &preparation, &splits.folds, machine).map_err(Unsearchable::Data)?;
                let count = preparation.features().len();
                features.push((input, prepare, count));
                count
            }
        };
        Ok(DataShape { task: dataset.task, rows, features, outputs: dataset.target.outputs() })
    };
    let mut spaces = Vec::with_capacity(models.len());
    for model in models {
        let shape = shape(model.input(), config.prepare)?;
        model.suits(shape, memory).map_err(|error| Unsearchable::Model(model.name(), error))?;
        spaces.push((model.name(), model.space(shape)));
    }
    let mut space = match spaces.pop() {
        Some((_, only)) if spaces.is_empty() => only,
        last => Space::joined(&spaces.into_iter().chain(last).collect::<Vec<_>>()),
    };
    for key in searched_keys(config) {
        let mut parameter = parameter(&config.prepare, &key)?;
        parameter.conditions.extend(only_for_features(models, &key)?);
        space.parameters.push(parameter);
    }
    let space = space.with_overrides(&config.space).map_err(Unsearchable::Space)?;

    let choices = choices(&space)?;
    let mut pipelines = Pipelines {
        all: Vec::new(),
        choosing: choices.iter().map(|choice| choice.column).collect(),
        chosen: HashMap::new(),
    };
    let combinations: usize = choices.iter().map(|choice| choice.values.len()).product();
    if combinations > MOST {
        let key = "space.prepare";
        let need = "fewer choices: models and preparations together may have 64 combinations";
        return Err(Unsearchable::Config(ConfigError::OutOfRange {
            key,
            value: combinations.to_string(),
            need: need.into(),
        }));
    }
    for number in 0..combinations {
        let mut rest = number;
        let (mut codes, mut prepare, mut model) = (Vec::new(), config.prepare, models[0]);
        // The model changes slowest, so that its pipelines lie together.
        for choice in choices.iter().rev() {
            let (code, value) = &choice.values[rest % choice.values.len()];
            rest /= choice.values.len();
            codes.insert(0, code.to_bits());
            match (&choice.key, value) {
                (Some(key), Some(value)) => prepare = with(prepare, key, value)?,
                (None, Some(value)) => model = named(models, value),
                (_, None) => {}
            }
        }
        let input = model.input();
        if input == Input::Columns {
            prepare = PrepareOptions { target: prepare.target, ..config.prepare };
        }
        let known =
            pipelines.all.iter().position(|known| known.model.name() == model.name() && known.prepare == prepare);
        let place = match known {
            Some(place) => place,
            None => {
                let prefix = if models.len() > 1 { model.name() } else { "" };
                let (own, columns) = space.part(prefix);
                let budget = config.model.budget.as_ref().and_then(|budget| budget.of(model.name()));
                let budget = budget.unwrap_or(model.budget().default);
                let (shape, own) = (shape(input, prepare)?, Arc::new(own));
                pipelines.all.push(Pipeline { model, prepare, space: own, columns, shape, budget, rows: None });
                pipelines.all.len() - 1
            }
        };
        pipelines.chosen.insert(codes, place);
    }
    Ok(Searched { space, pipelines })
}

/// What chooses a pipeline: the model, or a key of `[prepare]`, with the codes of its values.
struct Choice {
    column: usize,
    key: Option<String>,
    /// `None` where the parameter does not exist, and `[prepare]` holds as it is.
    values: Vec<(f64, Option<Value>)>,
}

fn choices(space: &Space) -> Result<Vec<Choice>, Unsearchable> {
    let mut choices = Vec::new();
    for (column, parameter) in space.parameters.iter().enumerate() {
        let key = parameter.name.strip_prefix(PREPARE).and_then(|rest| rest.strip_prefix('.'));
        if key.is_none() && parameter.name != MODEL {
            continue;
        }
        let count = match &parameter.domain {
            Domain::Categorical(values) | Domain::Ordinal(values) => values.len(),
            Domain::Bool => 2,
            Domain::Fixed(_) => 1,
            Domain::Float { .. } | Domain::Int { .. } => {
                let error = SpaceError::NotListed { name: parameter.name.clone() };
                return Err(Unsearchable::Space(error));
            }
        };
        let codes: Vec<f64> =
            if count == 1 { vec![parameter.default] } else { (0..count).map(|code| code as f64).collect() };
        let mut values: Vec<_> = codes.into_iter().map(|code| (code, parameter.value(code))).collect();
        if !parameter.conditions.is_empty() {
            values.push((f64::NAN, None));
        }
        choices.push(Choice { column, key: key.map(str::to_owned), values });
    }
    choices.sort_by_key(|choice| choice.key.is_some());
    Ok(choices)
}

fn named(models: &[&'static dyn Model], value: &Value) -> &'static dyn Model {
    let name = value.to_string();
    models.iter().copied().find(|model| model.name() == name).unwrap_or(models[0])
}

/// The keys of `[prepare]` that a study's space names.
fn searched_keys(config: &StudyConfig) -> Vec<String> {
    let grouped = config.space.get(PREPARE).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
    let dotted = config.space.keys().filter_map(|key| key.strip_prefix(PREPARE)?.strip_prefix('.'));
    grouped.map(String::as_str).chain(dotted).map(str::to_owned).collect()
}

/// The condition under which a choice of preparation changes anything: that the model takes prepared features.
fn only_for_features(models: &[&'static dyn Model], key: &str) -> Result<Option<Condition>, Unsearchable> {
    let takes = |model: &&&dyn Model| model.input() == Input::Features || key == "target";
    let names: Vec<Value> = models.iter().filter(takes).map(|model| Value::Text(model.name().to_owned())).collect();
    if names.is_empty() {
        let names = models.iter().map(|model| model.name()).collect::<Vec<_>>().join(", ");
        let value = format!("{{ {key} }} for {names}");
        let need = "columns are taken as they are there, and nothing is prepared";
        return Err(Unsearchable::Config(ConfigError::OutOfRange { key: "space.prepare", value, need: need.into() }));
    }
    let values = models.iter().zip(0..).filter(|(model, _)| takes(model)).map(|(_, code)| f64::from(code)).collect();
    Ok((names.len() < models.len()).then_some(Condition { parent: 0, values, names }))
}

/// A key of `[prepare]` as a parameter that is held at what the study says.
fn parameter(prepare: &PrepareOptions, key: &str) -> Result<Parameter, Unsearchable> {
    let texts = |names: &[&str]| Limits::Choices(names.iter().map(|name| Value::Text((*name).to_owned())).collect());
    let limits = match key {
        "impute" => texts(&["mean", "median", "most_frequent"]),
        "indicator" => Limits::Choices(vec![Value::Bool(false), Value::Bool(true)]),
        "scale" => texts(&["standard", "robust", "min_max", "none"]),
        "rare" => Limits::Real(0.0, f64::MAX),
        "target" => texts(&["standard", "none"]),
        _ => {
            let known = ["impute", "indicator", "scale", "rare", "target"];
            let near = crate::base::registry::nearest(key, known).map(|near| format!("{PREPARE}.{near}"));
            let known = known.iter().map(|key| format!("{PREPARE}.{key}")).collect();
            let name = format!("{PREPARE}.{key}");
            return Err(Unsearchable::Space(SpaceError::UnknownParameter { name, near, known }));
        }
    };
    let said = toml::Value::try_from(prepare).ok().and_then(|said| Some(said.get(key)?.clone()));
    let value = said.and_then(|said| said.try_into::<Value>().ok()).unwrap_or_else(|| match &limits {
        // `impute = { constant = 0 }` is no choice of a list.
        Limits::Choices(values) => values[0].clone(),
        _ => Value::Float(0.0),
    });
    let (name, domain) = (format!("{PREPARE}.{key}"), Domain::Fixed(value));
    Ok(Parameter { name, domain, default: 0.0, limits, conditions: Vec::new() })
}

/// Preparation with another value of a key.
fn with(prepare: PrepareOptions, key: &str, value: &Value) -> Result<PrepareOptions, Unsearchable> {
    let unwritable = |reason: String| Unsearchable::Config(ConfigError::Unwritable(reason));
    let mut table = toml::Table::try_from(prepare).map_err(|error| unwritable(error.to_string()))?;
    table.insert(key.to_owned(), toml::Value::try_from(value).map_err(|error| unwritable(error.to_string()))?);
    table.try_into().map_err(|error: toml::de::Error| unwritable(error.to_string()))
}
