//! The `[objective]` section: an analytic function, or a command, in place of data and model.

use super::template::CommandLine;
use crate::data::metrics::Direction;
use crate::study::stopping::Span;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[objective]` section of a study. It has a function or a command; the other keys belong to one of them or to both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveOptions {
    /// A name of the function registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// A program that is run for each candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// How often each candidate is evaluated: a function with noise of its own each time, a command with a seed of its own.
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
    /// Commands: how many steps a whole trial has, where the program says its values on the way.
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

    /// The same without what a run may change as it likes, because no value depends on it that is not a failure.
    pub(in crate::study) fn essential(&self) -> ObjectiveOptions {
        ObjectiveOptions {
            timeout: None,
            memory: None,
            workers: None,
            suspended: None,
            directory: None,
            ..self.clone()
        }
    }

    /// Whether a run may change a key of this section as it likes: those that [`ObjectiveOptions::essential`] leaves out.
    pub(in crate::study) fn is_free(key: &str) -> bool {
        matches!(key, "timeout" | "memory" | "workers" | "suspended" | "directory")
    }
}
