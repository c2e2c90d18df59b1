//! A study as a user writes it: study.toml and `--set` on top of it. Everything but the data file and its target has a
//! default.

use super::error::ConfigError;
use super::stopping::StopOptions;
use crate::base::registry::nearest;
use crate::data::options::DataOptions;
use crate::data::prepare::PrepareOptions;
use crate::data::splits::ValidateOptions;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Everything that a study file can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyConfig {
    /// Which file, what to predict, which columns play which part.
    pub data: DataOptions,
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
    /// Where and on what it runs; nothing here changes a result.
    #[serde(default)]
    pub run: RunOptions,
}

/// The `[model]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// A name of the model registry.
    pub name: String,
    /// A lane's budget in the model's own unit (epochs, iterations); the model's default where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
}

impl Default for ModelOptions {
    fn default() -> ModelOptions {
        ModelOptions { name: "mlp".to_owned(), budget: None }
    }
}

/// The `[search]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// A name of the strategy registry.
    pub strategy: String,
    /// A name of the scheduler registry.
    pub scheduler: String,
    /// How many candidates at most.
    pub candidates: u64,
    /// Everything random in the study follows from it.
    pub seed: u64,
    /// How many candidates a strategy proposes at a time.
    pub batch: u64,
    /// `grid`: points along each continuous parameter.
    pub resolution: u64,
    /// `grid`: whether points come in random order.
    pub shuffle: bool,
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        SearchOptions {
            strategy: "random".to_owned(),
            scheduler: "full".to_owned(),
            candidates: 256,
            seed: 0,
            batch: 1000,
            resolution: 5,
            shuffle: false,
        }
    }
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
    /// MiB that lanes in training may take; 0 lets the backend choose.
    pub memory: u64,
}

/// A study file with what was set on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedConfig {
    /// What it says.
    pub config: StudyConfig,
    /// The study's name, after its file.
    pub name: String,
}

impl StudyConfig {
    /// A study of a table alone: its target, and the default for everything else.
    pub fn for_table(file: &Path, target: &str, sets: &[String]) -> Result<LoadedConfig, ConfigError> {
        let mut table = toml::Table::new();
        let mut data = toml::Table::new();
        data.insert("file".to_owned(), file.to_string_lossy().into_owned().into());
        data.insert("target".to_owned(), target.into());
        table.insert("data".to_owned(), data.into());
        apply_sets(&mut table, sets)?;
        Ok(LoadedConfig { config: from_sets(table, sets)?, name: stem(file) })
    }

    /// Reads a study file and applies `--set key=value` on top. Data paths in the file are relative to it.
    pub fn load(path: &Path, sets: &[String]) -> Result<LoadedConfig, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        // The file alone first, so that its errors come with their line.
        let mut table: toml::Table = match toml::from_str(&text) {
            Ok(table) => table,
            Err(error) => return Err(located(path, &text, error.span(), error.message())),
        };
        let mut config: StudyConfig = match toml::from_str(&text) {
            Ok(config) => config,
            Err(error) if error.message().starts_with("missing field") && !sets.is_empty() => {
                apply_sets(&mut table, sets)?;
                from_sets(table.clone(), sets)?
            }
            Err(error) => return Err(located(path, &text, error.span(), error.message())),
        };
        if !sets.is_empty() {
            apply_sets(&mut table, sets)?;
            config = from_sets(table, sets)?;
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let has_set = |key: &str| sets.iter().any(|set| set.split('=').next().is_some_and(|k| k.trim() == key));
        if !has_set("data.file") {
            config.data.file = beside(folder, &config.data.file);
        }
        if let Some(file) = config.data.test_file.as_mut().filter(|_| !has_set("data.test_file")) {
            *file = beside(folder, file);
        }
        Ok(LoadedConfig { config, name: stem(path) })
    }

    /// As a file that runs again as it is.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self).map_err(|error| ConfigError::Unwritable(error.to_string()))
    }
}

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

fn located(path: &Path, text: &str, span: Option<Range<usize>>, message: &str) -> ConfigError {
    let span = span.unwrap_or(0..0);
    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
    ConfigError::InFile { path: path.to_owned(), line, mark: mark(text, &span), message: explain(message) }
}

/// The line of a span with a marker under it.
fn mark(text: &str, span: &Range<usize>) -> String {
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |place| place + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    let column = text[line_start..start].chars().count();
    let width = text[start..span.end.clamp(start, text.len())].lines().next().unwrap_or("").chars().count().max(1);
    format!("  | {line}\n  | {}{}", " ".repeat(column), "^".repeat(width))
}

/// serde's words for an unknown key or value, with the nearest right one.
fn explain(message: &str) -> String {
    let message = message.trim_end();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (kind, known) = match (message.strip_prefix("unknown "), &quoted[..]) {
        (Some(rest), [_, known @ ..]) => (rest.split(' ').next().unwrap_or(""), known),
        _ => return message.to_owned(),
    };
    let kind = if kind == "field" { "key" } else { "value" };
    let near = nearest(quoted[0], known.iter().copied());
    let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    format!("unknown {kind} \"{}\"{near}\n  known: {}", quoted[0], known.join(", "))
}

fn apply_sets(table: &mut toml::Table, sets: &[String]) -> Result<(), ConfigError> {
    for set in sets {
        let Some((key, value)) = set.split_once('=') else {
            return Err(ConfigError::Set {
                set: set.clone(),
                message: "a key, \"=\" and a value are needed".to_owned(),
            });
        };
        let parts: Vec<&str> = key.trim().split('.').collect();
        let (last, above) = match parts.split_last() {
            Some((last, above)) if parts.iter().all(|part| !part.is_empty()) => (*last, above),
            _ => return Err(ConfigError::Set { set: set.clone(), message: "the key is empty".to_owned() }),
        };
        let mut place = &mut *table;
        for part in above {
            let entry = place.entry((*part).to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            place = entry.as_table_mut().ok_or_else(|| ConfigError::Set {
                set: set.clone(),
                message: format!("\"{part}\" is a value and holds no keys"),
            })?;
        }
        place.insert(last.to_owned(), parse_value(value.trim()));
    }
    Ok(())
}

/// A TOML value; what is none is a text, so that quotes are not needed on the command line.
fn parse_value(text: &str) -> toml::Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok().filter(|table| table.len() == 1);
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn from_sets(table: toml::Table, sets: &[String]) -> Result<StudyConfig, ConfigError> {
    table.try_into().map_err(|error: toml::de::Error| {
        let message = explain(error.message());
        // The set that the message is about: the one whose last key it names, else the only one.
        let is_named = |set: &&String| {
            let key = set.split('=').next().unwrap_or("").trim();
            key.rsplit('.').next().is_some_and(|last| message.contains(&format!("\"{last}\"")))
        };
        let set = sets.iter().find(is_named).or(sets.first()).cloned().unwrap_or_default();
        ConfigError::Set { set, message }
    })
}
