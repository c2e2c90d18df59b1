//! Flags that stand for keys of a study, and the study that they and its file make.

use super::failure::Failure;
use crate::data::error::in_shell;
use crate::study::run_dir::expect_run;
use crate::study::{LoadedConfig, StudyConfig};
use std::path::Path;

/// A flag that was given.
pub(super) struct Said {
    /// As it was typed, nearly: `--metric rmse`.
    flag: String,
    /// As `--set` would say it.
    set: String,
}

impl Said {
    /// Quoted as TOML does it, so that a device called `0` or a column called `true` stays a text.
    pub(super) fn text(flag: &str, key: &str, text: &str) -> Said {
        Said { flag: format!("--{flag} {text}"), set: format!("{key}={}", toml::Value::String(text.to_owned())) }
    }

    pub(super) fn number(flag: &str, key: &str, number: u64) -> Said {
        Said { flag: format!("--{flag} {number}"), set: format!("{key}={number}") }
    }
}

/// What flags and `--set` say, in the order in which they hold.
pub(super) fn sets(said: &[Said], sets: &[String]) -> Vec<String> {
    said.iter().map(|said| said.set.clone()).chain(sets.iter().cloned()).collect()
}

/// Errors about a key that a flag set name the flag, which is what the user knows.
pub(super) fn in_flags(failure: Failure, said: &[Said]) -> Failure {
    said.iter()
        .fold(failure, |failure, said| failure.renamed(&format!("--set {}: ", said.set), &format!("{}: ", said.flag)))
}

/// A study from its file, or of a table alone.
pub(super) fn load(input: &Path, target: Option<&str>, sets: &[String]) -> Result<LoadedConfig, Failure> {
    if expect_run(input).is_ok() {
        let (dir, run) = (input.display(), in_shell(input));
        return Err(Failure::Input(format!(
            "{dir} is the directory of a run\n  To go on with it: thousandfold resume {run}"
        )));
    }
    if input.extension().is_some_and(|extension| extension == "toml") {
        return Ok(StudyConfig::load(input, sets)?);
    }
    match target {
        Some(target) => Ok(StudyConfig::for_table(input, target, sets)?),
        None => Err(Failure::no_target(input)),
    }
}
