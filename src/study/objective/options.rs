//! The `[objective]` section: an analytic function, a command, or an objective in Rust, in place of data and model.

use super::template::CommandLine;
use crate::data::metrics::Direction;
use crate::study::error::ConfigError;
use crate::study::stopping::Span;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[objective]` section of a study. It has a function, a command, or the name of an objective in Rust; the other keys belong to
/// one of them or to several.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveOptions {
    /// A name of the function registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// A program that is run for each candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
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
    /// Commands: which of two values is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
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
    /// Objectives in Rust: which of two values is better, for each value that a candidate has; written by the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directions: Option<Vec<Direction>>,
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

    /// A key that is set and is about commands alone.
    pub(super) fn of_commands(&self) -> Option<&'static str> {
        let said = [
            ("objective.direction", self.direction.is_some()),
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
        let said = [("objective.version", self.version.is_some()), ("objective.directions", self.directions.is_some())];
        said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
    }

    /// The same without what a run may change: how much its programs may have, on which no value depends that is not a failure,
    /// and where the program lies now, as a study may be moved. Workers stay in it: whether a search depends on them is another
    /// matter, see [`Plan`](crate::study::plan::Plan).
    pub(in crate::study) fn essential(&self) -> ObjectiveOptions {
        ObjectiveOptions { timeout: None, memory: None, suspended: None, directory: None, ..self.clone() }
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
const FREE: [&str; 5] = ["timeout", "memory", "workers", "suspended", "directory"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_change_what_is_not_essential() {
        let all: ObjectiveOptions = toml::from_str(
            "function = 'sphere'\ncommand = 'run'\nrepeats = 2\ndimensions = 2\ninstance = 1\nnoise = 0.1\ndirection = 'minimize'\nbudget = 9\ntimeout = '1s'\nmemory = 1\nworkers = 1\nsuspended = 1\ndirectory = '.'\nrust = 'valley'\nversion = '1'\ndirections = ['minimize']\n",
        )
        .unwrap();
        let keys = |options: &ObjectiveOptions| -> Vec<String> {
            toml::Table::try_from(options).unwrap().keys().cloned().collect()
        };
        let essential = keys(&ObjectiveOptions { workers: None, ..all.essential() });
        assert_eq!(keys(&all).len(), 16);
        for key in keys(&all) {
            assert_eq!(ObjectiveOptions::is_free(&key), !essential.contains(&key), "{key}");
        }
    }
}
