//! A commented study file for a table: what was found in the data, and every choice with its alternatives.

use super::objective::Models;
use super::pipeline::Pipeline;
use super::resolve::Study;
use crate::data::describe;
use crate::data::error::{count, list, thousands};
use crate::data::metrics::METRICS;
use crate::data::note::Note;
use crate::data::{Cells, Column, Target, Task};
use crate::models::MODELS;
use crate::strategies::STRATEGIES;
use std::path::Path;

/// Comments begin in this column where there is room.
const COMMENT_COLUMN: usize = 38;
/// Columns of numbers with at most so many different whole ones may be codes.
const CODES_MOST: usize = 10;

/// The file's text. `file` is the data's path as the study is to name it, `name` the study file's own.
pub fn study_text(study: &Study, models: &Models, file: &Path, name: &str) -> String {
    let sections = [
        head(models, name),
        data(models, file),
        prepare(models),
        model(models),
        space(study),
        search(study),
        validate(study, models),
        stop(study),
    ];
    sections.join("\n")
}

fn head(models: &Models, name: &str) -> String {
    let dataset = &models.dataset;
    let mut lines = vec![
        format!("A study made by thousandfold init. Run it: thousandfold tune {name}"),
        String::new(),
        format!("{}.", describe::columns_by_kind(dataset)),
        format!("\"{}\" is predicted: {}.", dataset.target_name, target(models)),
    ];
    lines.extend(columns(&dataset.features.columns));
    for note in &dataset.notes {
        lines.extend(note.to_string().lines().map(str::to_owned));
    }
    lines.iter().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

/// What each column holds, as far as anybody reads on.
fn columns(columns: &[Column]) -> Vec<String> {
    const SHOWN: usize = 40;
    let shown = &columns[..columns.len().min(SHOWN)];
    let widest = shown.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    let line = |column: &Column| format!("  {:widest$}  {}", column.name, describe::column(column));
    let more = (columns.len() > SHOWN).then(|| format!("  and {}", count(columns.len() - SHOWN, "further column")));
    shown.iter().map(line).chain(more).collect()
}

/// The target in words.
fn target(models: &Models) -> String {
    const SHOWN: usize = 10;
    match &models.dataset.target {
        Target::Classes { codes, classes } => {
            let mut rows = vec![0u64; *classes];
            codes.iter().for_each(|code| rows[*code as usize] += 1);
            let named: Vec<String> = models
                .dataset
                .class_names
                .iter()
                .zip(&rows)
                .take(SHOWN)
                .map(|(name, rows)| format!("{name} ({})", thousands(*rows)))
                .collect();
            let more = if *classes > SHOWN { ", ..." } else { "" };
            format!("{classes} classes, with rows: {}{more}", named.join(", "))
        }
        Target::Values(values) => {
            let (low, high) =
                values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
            format!("a number from {low} to {high}")
        }
    }
}

fn data(models: &Models, file: &Path) -> String {
    let dataset = &models.dataset;
    let task = match dataset.task {
        Task::Classification => "classification",
        Task::Regression => "regression",
    };
    let other = if dataset.task == Task::Classification { "regression" } else { "classification" };
    let mut text = String::from("[data]\n");
    text += &key("file", &quoted(&file.to_string_lossy()), "relative to this file");
    text += &key("target", &quoted(&dataset.target_name), "");
    text += &key("task", &quoted(task), &format!("or \"{other}\""));
    text += &key("test", "0.2", "share of the rows, locked away until the end");
    let doubtful: Vec<String> = dataset.notes.iter().filter_map(doubtful_column).map(quoted).collect();
    if !doubtful.is_empty() {
        text += &comment(&key("drop", &format!("[{}]", doubtful.join(", ")), "what was warned of above"));
    }
    let codes: Vec<String> = dataset
        .features
        .columns
        .iter()
        .filter(|column| may_be_codes(column))
        .map(|column| quoted(&column.name))
        .collect();
    if !codes.is_empty() {
        let shown: Vec<String> = codes.iter().take(8).cloned().collect();
        text += &comment(&key("categories", &format!("[{}]", shown.join(", ")), "if these numbers are codes"));
    }
    text
}

fn doubtful_column(note: &Note) -> Option<&str> {
    match note {
        Note::LooksLikeId { column } | Note::LeaksTarget { column, .. } => Some(column),
        _ => None,
    }
}

/// Three or more, but few different whole numbers: two are as well as one 0/1 column anyway.
fn may_be_codes(column: &Column) -> bool {
    let Cells::Numbers(values) = &column.cells else { return false };
    let mut met: Vec<f64> = Vec::new();
    for value in values.iter().filter(|value| !value.is_nan()) {
        if value.fract() != 0.0 {
            return false;
        }
        if !met.contains(value) {
            met.push(*value);
        }
        if met.len() > CODES_MOST {
            return false;
        }
    }
    met.len() >= 3
}

fn prepare(models: &Models) -> String {
    let missing: Vec<&str> = (models.dataset.features.columns.iter())
        .filter(|column| column.missing() > 0)
        .map(|column| column.name.as_str())
        .collect();
    let mut text = String::from("[prepare]\n");
    if !missing.is_empty() {
        text += &format!("# missing cells: {}\n", list(&missing));
    }
    text += &key("impute", "\"median\"", "mean, most_frequent, { constant = 0 }");
    text += &key("indicator", "true", "a feature that says where a number was missing");
    text += &key("scale", "\"standard\"", "robust, min_max, none");
    text
}

fn model(models: &Models) -> String {
    let fitting: Vec<&str> =
        MODELS.iter().filter(|model| model.tasks().contains(&models.dataset.task)).map(|model| model.name()).collect();
    let mut text = String::from("[model]\n");
    let names: Vec<String> = models.pipelines.models().into_iter().map(quoted).collect();
    let (name, budget, unit) = match models.pipelines.single() {
        Some(pipeline) => (names.concat(), pipeline.budget.to_string(), pipeline.model.budget().unit),
        None => {
            let each = |pipeline: &Pipeline| format!("{} = {}", pipeline.model.name(), pipeline.budget);
            let each: Vec<String> = models.pipelines.iter().map(each).collect();
            (format!("[{}]", names.join(", ")), format!("{{ {} }}", each.join(", ")), "each in its own unit")
        }
    };
    text += &key("name", &name, &format!("{}; several as a list, or all", fitting.join(", ")));
    text += &key("budget", &budget, unit);
    text
}

fn space(study: &Study) -> String {
    let table = study.space.to_toml();
    let names = || study.space.parameters.iter().map(|parameter| parameter.name.as_str());
    let widest = names().map(str::len).max().unwrap_or(0);
    let mut text = String::from("[space]  # the model's own, for this data; a single value is not searched\n");
    let written = |name: &str| match name.split_once('.') {
        Some((group, name)) => table.get(group)?.get(name),
        None => table.get(name),
    };
    for (name, value) in names().filter_map(|name| Some((name, written(name)?))) {
        text += &format!("{name:widest$} = {}\n", inline(value));
    }
    text
}

/// A parameter on one line: its range first, then what belongs to it.
fn inline(value: &toml::Value) -> String {
    let Some(keys) = value.as_table() else { return value.to_string() };
    const LAST: [&str; 3] = ["step", "default", "when"];
    let place = |key: &str| LAST.iter().position(|last| *last == key).map_or(0, |place| place + 1);
    let mut pairs: Vec<(&String, &toml::Value)> = keys.iter().collect();
    pairs.sort_by_key(|(key, _)| place(key));
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn search(study: &Study) -> String {
    let strategies: Vec<&str> = STRATEGIES.iter().map(|strategy| strategy.name()).collect();
    let search = &study.config.search;
    let mut text = String::from("[search]\n");
    text += &key("strategy", &quoted(&search.strategy.0.join(", ")), &strategies.join(", "));
    text += &key("candidates", &search.candidates.to_string(), "at most");
    text += &key("seed", &search.seed.to_string(), "everything random follows from it");
    text
}

fn validate(study: &Study, models: &Models) -> String {
    let outputs = models.dataset.target.outputs();
    let metrics: Vec<&str> = METRICS
        .iter()
        .filter(|metric| metric.supports(models.dataset.task, outputs))
        .map(|metric| metric.name())
        .collect();
    let validate = &study.config.validate;
    let mut text = String::from("[validate]\n");
    text += &key("folds", &validate.folds.to_string(), "");
    text += &key("repeats", &validate.repeats.to_string(), "how often all folds are drawn anew");
    text += &format!("# metrics: {}\n", metrics.join(", "));
    text += &key("metric", &quoted(models.metric.name()), "");
    text
}

fn stop(study: &Study) -> String {
    let patience = (study.config.search.candidates / 4).max(1).to_string();
    let mut text = String::from("[stop]\n");
    text += &comment(&key("time", "\"10m\"", "of the search"));
    text += &comment(&key("patience", &patience, "candidates without a significant improvement"));
    text
}

/// `name = value  # comment`
fn key(name: &str, value: &str, comment: &str) -> String {
    let setting = format!("{name:<10} = {value}");
    match comment {
        "" => setting + "\n",
        _ => format!("{setting:<COMMENT_COLUMN$} # {comment}\n"),
    }
}

fn comment(line: &str) -> String {
    format!("# {line}")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
