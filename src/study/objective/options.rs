//! The `[objective]` section: an analytic function, a command, a shader, or an objective in Rust, in place of data and model.

use super::bounds::Bounds;
use super::template::CommandLine;
use crate::data::metrics::Direction;
use crate::study::error::ConfigError;
use crate::study::stopping::Span;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[objective]` section of a study. It has a function, a command, a shader, or the name of an objective in Rust; the other keys
/// belong to one of them or to several.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveOptions {
    /// A name of the function registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// A program that is run for each candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// A file with a user's shader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wgsl: Option<PathBuf>,
    /// How often each candidate is evaluated: a function with noise of its own each time, others with a seed of
    /// its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// Functions: how many parameters it has, where that is free; the function's default where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Functions: which of its instances, where it has several; they differ in where the optimum lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// Functions: standard deviation of the normal noise on each value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Commands and shaders: which of two values is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Shaders and objectives in Rust: the same of each of several values; of the latter the program writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directions: Option<Vec<Direction>>,
    /// Commands: what else its results say that is searched for, by the name that it has there, and which of two is better.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub others: IndexMap<String, Direction>,
    /// Commands: what results of these names may be; candidates outside are no choice.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub limits: IndexMap<String, Bounds>,
    /// Shaders: tables of numbers that it reads, by the names that it reads them by.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub tables: IndexMap<String, PathBuf>,
    /// Shaders: how many turns the loops of an evaluation may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Commands: how many steps a whole trial has, where the program says its values on the way. Objectives in Rust that are
    /// trained in steps: how many, where that is not what they say themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Commands: how long a start of the program may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Commands: MiB that the program may hold with all of its children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Commands: how many run at a time; as `run.threads` says where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Commands: how many at most are suspended while a scheduler has not decided on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<usize>,
    /// Commands: where the program runs; the study file's folder where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The name of an objective that a Rust program brings along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rust: Option<String>,
    /// Objectives in Rust: which version of it; written by the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl ObjectiveOptions {
    /// A key that is set and is about functions alone.
    pub(super) fn of_functions(&self) -> Option<&'static str> {
        let said = [
            ("objective.dimensions", self.dimensions.is_some()),
            ("objective.instance", self.instance.is_some()),
            ("objective.noise", self.noise.is_some()),
        ];
        said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
    }

    /// A key that is set and is about shaders alone.
    pub(super) fn of_shaders(&self) -> Option<&'static str> {
        let said = [("objective.tables", !self.tables.is_empty()), ("objective.steps", self.steps.is_some())];
        said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
    }

    /// A key that is set and is about neither functions nor commands, and what it is about.
    pub(super) fn of_others(&self) -> Option<(&'static str, &'static str)> {
        let of_shaders = self.of_shaders().map(|key| (key, "shaders"));
        let of_rust = self.of_rust().map(|key| (key, "objectives in Rust"));
        let of_both = self.directions.as_ref().map(|_| ("objective.directions", "shaders and objectives in Rust"));
        of_shaders.or(of_rust).or(of_both)
    }

    /// A key that is set and is about commands, but not about functions.
    pub(super) fn of_commands(&self) -> Option<&'static str> {
        self.direction.map(|_| "objective.direction").or_else(|| self.of_programs())
    }

    /// A key that is set and is about commands alone.
    pub(super) fn of_programs(&self) -> Option<&'static str> {
        let said = [
            ("objective.others", !self.others.is_empty()),
            ("objective.limits", !self.limits.is_empty()),
            ("objective.budget", self.budget.is_some()),
            ("objective.timeout", self.timeout.is_some()),
            ("objective.memory", self.memory.is_some()),
            ("objective.workers", self.workers.is_some()),
            ("objective.suspended", self.suspended.is_some()),
            ("objective.directory", self.directory.is_some()),
        ];
        said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
    }

    /// A key that is set and is about objectives in Rust alone.
    pub(super) fn of_rust(&self) -> Option<&'static str> {
        self.version.as_ref().map(|_| "objective.version")
    }

    /// The same without what a run may change: how much its programs may have, on which no value depends that is not a failure,
    /// and where the program, or a shader and its tables, lie now, as a study may be moved; what is in those has a fingerprint. Workers stay in it: whether a search depends on them is another
    /// matter, see [`Plan`](crate::study::plan::Plan).
    pub(in crate::study) fn essential(&self) -> ObjectiveOptions {
        ObjectiveOptions {
            timeout: None,
            memory: None,
            suspended: None,
            directory: None,
            wgsl: None,
            tables: IndexMap::new(),
            ..self.clone()
        }
    }

    /// The files that it names beside a program: a shader and its tables, by their keys.
    pub(in crate::study) fn files_mut(&mut self) -> impl Iterator<Item = (String, &mut PathBuf)> {
        let wgsl = self.wgsl.iter_mut().map(|path| ("objective.wgsl".to_owned(), path));
        wgsl.chain(self.tables.iter_mut().map(|(name, path)| (format!("objective.tables.{name}"), path)))
    }

    /// Whether a run may change a key of this section.
    pub(in crate::study) fn is_free(key: &str) -> bool {
        FREE.contains(&key)
    }
}

/// More repeats than any noise needs would fill the memory with scores.
const REPEATS_MOST: u32 = 10_000;

/// Whether a candidate can be evaluated so often; what would be allowed if not.
pub(super) fn check_repeats(repeats: u32) -> Result<(), ConfigError> {
    match (1..=REPEATS_MOST).contains(&repeats) {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange {
            key: "objective.repeats",
            value: repeats.to_string(),
            need: format!("1 to {REPEATS_MOST}").into(),
        }),
    }
}

/// What [`ObjectiveOptions::essential`] leaves out, and `workers`.
const FREE: [&str; 7] = ["timeout", "memory", "workers", "suspended", "directory", "wgsl", "tables"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_change_what_is_not_essential() {
        let all: ObjectiveOptions = toml::from_str(
            "function = 'sphere'\ncommand = 'run'\nwgsl = 'a.wgsl'\nsteps = 9\nrepeats = 2\ndimensions = 2\ninstance = 1\nnoise = 0.1\ndirection = 'minimize'\nbudget = 9\ntimeout = '1s'\nmemory = 1\nworkers = 1\nsuspended = 1\ndirectory = '.'\nrust = 'valley'\nversion = '1'\ndirections = ['minimize']\nothers = { size = 'minimize' }\nlimits = { size = 3 }\ntables = { a = 'a.csv' }\n",
        )
        .unwrap();
        let keys = |options: &ObjectiveOptions| -> Vec<String> {
            toml::Table::try_from(options).unwrap().keys().cloned().collect()
        };
        let essential = keys(&ObjectiveOptions { workers: None, ..all.essential() });
        assert_eq!(keys(&all).len(), 21);
        for key in keys(&all) {
            assert_eq!(ObjectiveOptions::is_free(&key), !essential.contains(&key), "{key}");
        }
    }
}
