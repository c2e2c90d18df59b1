//! What a program is started with: its arguments, and its environment.

use super::course::Goal;
use super::leftovers;
use crate::space::Space;
use crate::study::objective::CommandObjective;
use crate::study::objective::template::CHECKPOINT;
use crate::study::resolve::Study;
use indexmap::IndexMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Variables of a program's environment begin with this; a parameter's goes on with its name.
const PREFIX: &str = "THOUSANDFOLD_";

/// Python keeps what it prints until there is much of it, unless this is set: a value on the way would come when it is over.
const UNBUFFERED: &str = "PYTHONUNBUFFERED";

/// How a study's programs are started.
pub(super) struct Launch<'a> {
    command: &'a CommandObjective,
    space: Arc<Space>,
    seed: u64,
    mark: String,
}

/// One start.
pub(super) struct Start<'a> {
    pub(super) candidate: u64,
    pub(super) repeat: usize,
    pub(super) row: &'a [f64],
    pub(super) goal: Goal<'a>,
    pub(super) checkpoint: &'a Path,
    /// Its number among all starts of the study.
    pub(super) number: u64,
}

impl<'a> Launch<'a> {
    pub(super) fn new(study: &'a Study, command: &'a CommandObjective) -> Launch<'a> {
        // No other study's mark, on this machine or in another container of it: it decides no result.
        let random = RandomState::new().build_hasher().finish();
        let mark = format!("{}-{random:016x}", std::process::id());
        Launch { command, space: study.space.clone(), seed: study.config.search.seed, mark }
    }

    /// What the environment of every process of this study holds.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// The command of a start.
    pub(super) fn command(&self, start: &Start<'_>) -> Command {
        let parameters = self.space.named(start.row).into_iter();
        let mut values: IndexMap<String, String> = parameters.map(|(name, value)| (name, value.to_string())).collect();
        let given = [
            ("budget", start.goal.budget.to_string()),
            ("whole_budget", start.goal.whole.unwrap_or(start.goal.budget).to_string()),
            ("seed", seed(self.seed, start.repeat).to_string()),
            // Where the command names it, it is text: that is seen to before anything is run. The environment has it as it is.
            (CHECKPOINT, start.checkpoint.to_string_lossy().into_owned()),
            ("trial", start.candidate.to_string()),
            ("repeat", start.repeat.to_string()),
        ];
        // A parameter that does not exist in this candidate is not to be taken from the environment of the study.
        let absent = self.space.parameters.iter().filter(|parameter| !values.contains_key(&parameter.name));
        let absent: Vec<String> = absent.map(|parameter| format!("{PREFIX}{}", parameter.name)).collect();
        let mut variables: Vec<(String, String)> =
            values.iter().map(|(name, value)| (format!("{PREFIX}{name}"), value.clone())).collect();
        for (name, value) in given {
            variables.push((format!("{PREFIX}{}", name.to_ascii_uppercase()), value.clone()));
            values.insert(name.to_owned(), value);
        }
        let template = self.command.template();
        let filled = template.filled(&values);
        let (first, rest) = filled.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let mut command = match (template.is_shell(), self.command.program()) {
            (true, Some(shell)) => {
                let mut command = Command::new(shell);
                command.args(["-c", first]);
                command
            }
            (_, Some(program)) => Command::new(program),
            // A path is meant from where the program runs.
            (_, None) if first.contains('/') => Command::new(self.command.directory().join(first)),
            (_, None) => Command::new(first),
        };
        command.args(rest).current_dir(self.command.directory()).envs(variables);
        command.env(format!("{PREFIX}{}", CHECKPOINT.to_ascii_uppercase()), start.checkpoint);
        command.env(leftovers::VARIABLE, format!("{}.{}", self.mark, start.number));
        if std::env::var_os(UNBUFFERED).is_none() {
            command.env(UNBUFFERED, "1");
        }
        for name in absent {
            command.env_remove(name);
        }
        command
    }
}

/// The seed of a repeat: the same for all candidates, so that differences between them are not noise, and one that every
/// library takes.
fn seed(study: u64, repeat: usize) -> u64 {
    study.wrapping_add(repeat as u64) & u64::from(u32::MAX)
}
