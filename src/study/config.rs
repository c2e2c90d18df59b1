//! A study as a user writes it: study.toml and `--set` on top of it. Everything but the data file and its target, or the
//! function or the command in their place, has a default.

use super::criteria::{Criterion, Limits};
use super::error::ConfigError;
use super::model_options::ModelOptions;
use super::names::Names;
use super::objective::{Code, ObjectiveOptions};
use super::plan::Plan;
use super::retention::Retention;
use super::source::{Place, Source, explain};
use super::stopping::StopOptions;
use crate::data::options::DataOptions;
use crate::data::prepare::PrepareOptions;
use crate::data::read::near_file;
use crate::data::splits::ValidateOptions;
use crate::schedulers::RuleOptions;
use crate::space::Value;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Everything that a study file can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyConfig {
    /// Which file, what to predict, which columns play which part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataOptions>,
    /// An analytic function, a command or an objective in Rust, in place of data and model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveOptions>,
    /// How columns become features.
    #[serde(default)]
    pub prepare: PrepareOptions,
    /// What is trained.
    #[serde(default)]
    pub model: ModelOptions,
    /// Parameters that differ from the model's default space; see `docs/space.md`.
    #[serde(default)]
    pub space: toml::Table,
    /// How candidates are proposed.
    #[serde(default)]
    pub search: SearchOptions,
    /// How candidates are scored.
    #[serde(default)]
    pub validate: ValidateOptions,
    /// When the search stops before all candidates are done.
    #[serde(default)]
    pub stop: StopOptions,
    /// Where and on what it runs, and what it keeps; nothing here changes a result.
    #[serde(default)]
    pub run: RunOptions,
}

/// The `[search]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// Names of the strategy registry; several search one after the other.
    pub strategy: Names,
    /// A name of the scheduler registry.
    pub scheduler: String,
    /// How many candidates at most.
    pub candidates: u64,
    /// Everything random in the study follows from it.
    pub seed: u64,
    /// What a run that was made longer was planned by; the program writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// How many candidates a strategy proposes at a time; where it is not set 1000, fewer where there are stop rules, or
    /// where a strategy learns from the outcomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Members of a population; chosen by the space where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<u64>,
    /// `genetic`, `nsga2`: how likely two parents are crossed; where it is not set, `genetic` adapts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crossover_rate: Option<f64>,
    /// `genetic`, `nsga2`: how likely a parameter mutates; where it is not set, `genetic` adapts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutation_rate: Option<f64>,
    /// What is searched for; of several the trade-offs between them. The score comes first.
    #[serde(skip_serializing_if = "is_score_alone")]
    pub objectives: Vec<Criterion>,
    /// What candidates may take at most.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Points that are thought good, by their parameters' names; what a point does not name has its default. They come
    /// first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<IndexMap<String, Value>>,
    /// Run directories of earlier studies, whose winners come first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warm_start: Vec<PathBuf>,
    /// Schedulers by rungs: from rung to rung budgets grow by this factor, and as few candidates go on.
    #[serde(skip_serializing_if = "is_default_eta")]
    pub eta: u64,
    /// Schedulers: what their budgets count.
    #[serde(skip_serializing_if = "is_own")]
    pub resource: Resource,
    /// Schedulers: the least budget after which a candidate may end.
    #[serde(skip_serializing_if = "is_one")]
    pub min_budget: u64,
    /// Schedulers that judge candidates one by one: budgets grow by so much from rung to rung; where it is not set, by the
    /// factor `eta`, and with `patient` by a tenth of the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// `percentile`: how far from the best a candidate may be among earlier ones, 0 to 100.
    #[serde(skip_serializing_if = "is_default_percentile")]
    pub percentile: f64,
    /// `threshold`: the worst score that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// `patient`: rungs before the one that a candidate stands on, in which it may find nothing better.
    #[serde(skip_serializing_if = "is_default_patience")]
    pub patience: u64,
    /// `patient`: what is better is so by this much at least, in the metric's unit; below 0 what is worse by less is no worse.
    #[serde(skip_serializing_if = "is_default_min_delta")]
    pub min_delta: f64,
    /// `racing`, `wilcoxon`: how likely a comparison may end a candidate by mistake; `learning_curve`: the least chance to beat the
    /// best. Each has its own where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// `pbt`: the share of a population, the worst of it, that takes over from as many of the best at each rung.
    #[serde(skip_serializing_if = "is_default_quantile")]
    pub quantile: f64,
    /// `pbt`: how likely a hyperparameter of one that takes over is drawn afresh from its range.
    #[serde(skip_serializing_if = "is_default_resample")]
    pub resample: f64,
    /// `grid`: points along each continuous parameter.
    pub resolution: u64,
    /// `grid`: whether points come in random order.
    pub shuffle: bool,
}

const ETA: u64 = 3;

fn is_default_eta(eta: &u64) -> bool {
    *eta == ETA
}

fn is_own(resource: &Resource) -> bool {
    *resource == Resource::Own
}

fn is_one(budget: &u64) -> bool {
    *budget == 1
}

fn is_default_percentile(percentile: &f64) -> bool {
    *percentile == RuleOptions::default().percentile
}

fn is_default_patience(patience: &u64) -> bool {
    *patience == RuleOptions::default().patience
}

fn is_default_min_delta(min_delta: &f64) -> bool {
    *min_delta == RuleOptions::default().min_delta
}

fn is_default_quantile(quantile: &f64) -> bool {
    *quantile == RuleOptions::default().quantile
}

/// As in Jaderberg et al. 2017 and Ray Tune.
const RESAMPLE: f64 = 0.25;

fn is_default_resample(resample: &f64) -> bool {
    *resample == RESAMPLE
}

fn is_score_alone(objectives: &[Criterion]) -> bool {
    objectives == [Criterion::Score]
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        let rule = RuleOptions::default();
        SearchOptions {
            strategy: Names(vec!["auto".to_owned()]),
            scheduler: "full".to_owned(),
            candidates: 256,
            seed: 0,
            plan: None,
            batch: None,
            population: None,
            crossover_rate: None,
            mutation_rate: None,
            objectives: vec![Criterion::Score],
            limits: Limits::default(),
            points: Vec::new(),
            warm_start: Vec::new(),
            eta: ETA,
            resource: Resource::Own,
            min_budget: 1,
            interval: None,
            percentile: rule.percentile,
            threshold: rule.threshold,
            patience: rule.patience,
            min_delta: rule.min_delta,
            level: rule.level,
            quantile: rule.quantile,
            resample: RESAMPLE,
            resolution: 5,
            shuffle: false,
        }
    }
}

/// What schedulers give to candidates, but for those that go by folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// The model's own unit, epochs, trees or iterations; rows where it has none.
    #[default]
    Own,
    /// Training rows, whatever the model.
    Rows,
}

/// Which backend trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendChoice {
    /// A hardware GPU where there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A GPU, or an error.
    Gpu,
}

/// The `[run]` section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// The run directory; `runs/NAME` where it is not set, after the study file or the data file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Which backend trains.
    pub backend: BackendChoice,
    /// An adapter's index or part of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Threads that train; 0 takes one a core.
    pub threads: usize,
    /// MiB that lanes may take, in training or kept on a rung; 0 lets the backend choose.
    pub memory: u64,
    /// What is kept of candidates: `"all"`, or `"best:1000"`.
    pub history: Retention,
    /// Whether the states of lanes that stand on a rung are kept on the disk, so that a run that was killed goes on from there.
    #[serde(skip_serializing_if = "is_false")]
    pub checkpoint: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A study file with what was set on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedConfig {
    /// What it says.
    pub config: StudyConfig,
    /// The study's name, after its file.
    pub name: String,
    /// Where it says it.
    pub source: Source,
    /// Of an objective in Rust.
    pub code: Option<Code>,
}

impl LoadedConfig {
    /// Where its run is kept.
    pub fn run_dir(&self) -> PathBuf {
        self.config.run.dir.clone().unwrap_or_else(|| Path::new("runs").join(&self.name))
    }

    /// The study with keys set as `--set` sets them: `["search.candidates=500", "stop.time=10m"]`.
    pub fn with_sets(mut self, sets: &[&str]) -> Result<LoadedConfig, ConfigError> {
        let table = toml::Table::try_from(&self.config).map_err(|error| ConfigError::Unwritable(error.to_string()))?;
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        self.config = with_sets(table, &sets)?.map_err(ConfigError::Unwritable)?;
        self.source.sets.extend(sets);
        Ok(self)
    }
}

impl StudyConfig {
    /// A study of a table alone: its target, and the default for everything else.
    pub fn for_table(file: &Path, target: &str, sets: &[String]) -> Result<LoadedConfig, ConfigError> {
        let mut table = toml::Table::new();
        let mut data = toml::Table::new();
        data.insert("file".to_owned(), file.to_string_lossy().into_owned().into());
        data.insert("target".to_owned(), target.into());
        table.insert("data".to_owned(), data.into());
        let source = Source { sets: sets.to_vec(), ..Source::default() };
        // Both keys are there, so nothing can be missing.
        let config = with_sets(table, sets)?.map_err(ConfigError::Unwritable)?;
        Ok(LoadedConfig { config, name: stem(file), source, code: None })
    }

    /// A study that is made of sets alone.
    pub fn of_sets(name: &str, sets: &[String]) -> Result<LoadedConfig, ConfigError> {
        let source = Source { sets: sets.to_vec(), ..Source::default() };
        let config = with_sets(toml::Table::new(), sets)?.map_err(ConfigError::Unwritable)?;
        Ok(LoadedConfig { config, name: name.to_owned(), source, code: None })
    }

    /// Reads a study file and applies `--set key=value` on top. Data paths in the file are relative to it.
    pub fn load(path: &Path, sets: &[String]) -> Result<LoadedConfig, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let near = (source.kind() == ErrorKind::NotFound).then(|| near_file(path)).flatten();
            ConfigError::Unreadable { path: path.to_owned(), near, source }
        })?;
        let located = |span: Option<Range<usize>>, message: &str| {
            let place = Place::of_span(path, &text, span.unwrap_or(0..0));
            ConfigError::At { place, message: explain(message) }
        };
        let table = toml::from_str(&text).map_err(|error| match looks_like_a_table(&text) {
            true => located(None, NOT_A_STUDY),
            false => located(error.span(), error.message()),
        })?;
        // The file alone first, so that its errors come with their line. What is missing in it may still be set.
        if let Err(error) = toml::from_str::<StudyConfig>(&text)
            && (!is_missing(&error) || sets.is_empty())
        {
            return Err(located(error.span(), error.message()));
        }
        let mut config = with_sets(table, sets)?.map_err(|missing| located(None, &missing))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let has_set = |key: &str| sets.iter().any(|set| set.split('=').next().is_some_and(|k| k.trim() == key));
        if let Some(data) = &mut config.data {
            if !has_set("data.file") {
                data.file = beside(folder, &data.file);
            }
            if let Some(file) = data.test_file.as_mut().filter(|_| !has_set("data.test_file")) {
                *file = beside(folder, file);
            }
        }
        if let Some(objective) = config.objective.as_mut().filter(|objective| objective.command.is_some())
            && !has_set("objective.directory")
        {
            // A command runs beside its study.
            objective.directory = Some(folder.join(objective.directory.take().unwrap_or_else(|| PathBuf::from("."))));
        }
        for (key, file) in config.objective.iter_mut().flat_map(ObjectiveOptions::files_mut) {
            if !has_set(&key) && !has_set("objective.tables") {
                *file = beside(folder, file);
            }
        }
        let source = Source { path: path.to_owned(), text, sets: sets.to_vec() };
        Ok(LoadedConfig { config, name: stem(path), source, code: None })
    }

    /// As a file that runs again as it is.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let unwritable = |error: toml::ser::Error| ConfigError::Unwritable(error.to_string());
        if self.objective.is_none() {
            return toml::to_string_pretty(self).map_err(unwritable);
        }
        let mut table = toml::Table::try_from(self).map_err(unwritable)?;
        OF_MODELS.iter().for_each(|section| drop(table.remove(*section)));
        toml::to_string_pretty(&table).map_err(unwritable)
    }

    /// The first section that says something of data or models.
    pub(super) fn section_of_models(&self) -> Option<&'static str> {
        let is_said = [
            self.data.is_some(),
            self.prepare != PrepareOptions::default(),
            self.model != ModelOptions::default(),
            self.validate != ValidateOptions::default(),
        ];
        OF_MODELS.into_iter().zip(is_said).find_map(|(section, is_said)| is_said.then_some(section))
    }
}

/// The sections that a study without models has no use for.
const OF_MODELS: [&str; 4] = ["data", "prepare", "model", "validate"];

/// A path of a study file: beside the file where something is there, else as it is.
fn beside(folder: &Path, file: &Path) -> PathBuf {
    let beside = folder.join(file);
    if file.is_relative() && beside.exists() { beside } else { file.to_owned() }
}

/// `data/iris.csv.gz` gives `iris`.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.split('.').next() {
        Some(stem) if !stem.is_empty() => stem.to_owned(),
        _ => "study".to_owned(),
    }
}

const NOT_A_STUDY: &str = "this is no study: its first line is none of TOML\n  A table is read as one when its name does not end in .toml: thousandfold tune data.csv --target COLUMN";

/// Whether a text begins with a row of cells where a study has a section, a key or a comment.
fn looks_like_a_table(text: &str) -> bool {
    text.lines().next().is_some_and(|line| !line.contains(['[', '=', '#']) && line.contains([',', ';', '\t']))
}

fn is_missing(error: &toml::de::Error) -> bool {
    error.message().starts_with("missing field")
}

/// The study with every set applied. They are applied one after another, so that what is wrong is laid at the right one's
/// door. The inner error says what is missing in the end.
fn with_sets(mut table: toml::Table, sets: &[String]) -> Result<Result<StudyConfig, String>, ConfigError> {
    for set in sets {
        let at = |message: String| ConfigError::At { place: Place::Set(set.clone()), message };
        apply(&mut table, set).map_err(at)?;
        match StudyConfig::deserialize(table.clone()) {
            Err(error) if !is_missing(&error) => return Err(at(explain(error.message()))),
            _ => {}
        }
    }
    Ok(match StudyConfig::deserialize(table) {
        Ok(config) if config.data.is_none() && config.objective.is_none() => Err("missing field `data`".to_owned()),
        config => config.map_err(|error| error.message().to_owned()),
    })
}

/// Puts what a `--set key.path=value` says into a table.
fn apply(table: &mut toml::Table, set: &str) -> Result<(), String> {
    let (key, value) = set.split_once('=').ok_or("a key, \"=\" and a value are needed")?;
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, above) = match parts.split_last() {
        Some((last, above)) if parts.iter().all(|part| !part.is_empty()) => (*last, above),
        _ => return Err("the key is empty".to_owned()),
    };
    let mut place = table;
    for part in above {
        let entry = place.entry((*part).to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = entry.as_table_mut().ok_or_else(|| format!("\"{part}\" is a value and holds no keys"))?;
    }
    place.insert(last.to_owned(), parse_value(value.trim())?);
    Ok(())
}

/// A TOML value; a bare word is a text, so that quotes are not needed on the command line.
fn parse_value(text: &str) -> Result<toml::Value, String> {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok().filter(|table| table.len() == 1);
    match parsed.and_then(|mut table| table.remove("value")) {
        Some(value) => Ok(value),
        None if text.starts_with(['{', '[', '"', '\'']) => Err(format!(
            "{text} is begun and not ended as TOML has it\n  Write {{ int = [8, 64], log = true }}, [\"a\", \"b\"] or a bare word, in quotes for the shell"
        )),
        None if text.parse::<i128>().is_ok() => Err(format!("{text} is beyond {}, the largest whole number", i64::MAX)),
        None => Ok(toml::Value::String(text.to_owned())),
    }
}
