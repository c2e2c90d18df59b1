//! `tune` and `resume`: a study from its file, or from a table alone, to its result.

use super::failure::Failure;
use super::terminal::{self, TerminalArguments, print};
use super::{interrupt, names};
use crate::monitor::summary::summary;
use crate::study::run_dir::Existing;
use crate::study::stopping::Span;
use crate::study::{self, Ended, LoadedConfig, Start, StudyConfig};
use clap::Args;
use std::path::{Path, PathBuf};

/// Find the best candidate: run a study, or tune a model on a table
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold tune data.csv --target species
  thousandfold tune configs/digits_mlp.toml --candidates 500
  thousandfold tune data.csv --target price --model mlp --metric mae --set validate.repeats=3
  thousandfold tune study.toml --set 'space.hidden={ int = [8, 64], log = true }'")]
pub(super) struct TuneArguments {
    /// A study (.toml), or a table: CSV, gzip CSV, Parquet
    #[arg(value_name = "STUDY.toml|DATA")]
    input: PathBuf,
    /// The column to predict; a table needs it
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// How many candidates at most
    #[arg(long, value_name = "N")]
    candidates: Option<u64>,
    /// Everything random follows from it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What is trained
    #[arg(long, value_name = "NAME", value_parser = names::models())]
    model: Option<String>,
    /// How candidates are proposed
    #[arg(long, value_name = "NAME", value_parser = names::strategies())]
    strategy: Option<String>,
    /// How candidates are scored
    #[arg(long, value_name = "NAME", value_parser = names::metrics(), hide_possible_values = true)]
    metric: Option<String>,
    /// Number of cross-validation folds
    #[arg(long, value_name = "N")]
    folds: Option<u32>,
    /// Stop after this time: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<String>,
    /// Set any key of the study: --set search.candidates=100; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Where the run is kept [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on with the run that is there
    #[arg(long, conflicts_with = "fresh")]
    resume: bool,
    /// Delete the run that is there, and start again
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    machine: MachineArguments,
}

/// Go on with a run that was stopped; it ends with the same bits as if it never had been
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  thousandfold resume runs/digits_mlp")]
pub(super) struct ResumeArguments {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the journal is damaged, keep what is whole before the damage
    #[arg(long)]
    salvage: bool,
    #[command(flatten)]
    machine: MachineArguments,
}

/// What a run may use; nothing here changes what a study is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(super) struct MachineArguments {
    /// What trains: a GPU where there is one, or as named
    #[arg(long, value_name = "NAME", value_parser = ["auto", "cpu", "gpu"])]
    backend: Option<String>,
    /// Which GPU: its number in `thousandfold devices`, or a part of its name
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Threads that train [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl TuneArguments {
    pub(super) fn run(&self, terminal: &TerminalArguments) -> Result<(), Failure> {
        let existing = match (self.resume, self.fresh) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Fresh,
            _ => Existing::Refuse,
        };
        run(load(&self.input, self.target.as_deref(), &self.sets())?, Start { existing, salvage: false }, terminal)
    }

    /// The flags as `--set` would say them; a `--set` of the same key has the last word.
    fn sets(&self) -> Vec<String> {
        let run_dir = self.run_dir.as_deref().map(Path::to_string_lossy);
        let texts = [
            ("data.target", self.target.as_deref()),
            ("model.name", self.model.as_deref()),
            ("search.strategy", self.strategy.as_deref()),
            ("validate.metric", self.metric.as_deref()),
            ("stop.time", self.time.as_deref()),
            ("run.dir", run_dir.as_deref()),
        ];
        let numbers = [
            ("search.candidates", self.candidates),
            ("search.seed", self.seed),
            ("validate.folds", self.folds.map(u64::from)),
        ];
        let mut sets: Vec<String> = texts.into_iter().filter_map(|(key, value)| Some(set_text(key, value?))).collect();
        sets.extend(numbers.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))));
        sets.extend(self.machine.sets());
        sets.extend(self.sets.iter().cloned());
        sets
    }
}

impl ResumeArguments {
    pub(super) fn run(&self, terminal: &TerminalArguments) -> Result<(), Failure> {
        let loaded = study::load_run(&self.run, &self.machine.sets())?;
        run(loaded, Start { existing: Existing::Resume, salvage: self.salvage }, terminal)
    }
}

impl MachineArguments {
    pub(super) fn sets(&self) -> Vec<String> {
        let texts = [("run.backend", &self.backend), ("run.device", &self.device)];
        let mut sets: Vec<String> =
            texts.into_iter().filter_map(|(key, value)| Some(set_text(key, value.as_deref()?))).collect();
        sets.extend(self.threads.map(|threads| format!("run.threads={threads}")));
        sets
    }
}

/// A study from its file, or of a table alone.
pub(super) fn load(input: &Path, target: Option<&str>, sets: &[String]) -> Result<LoadedConfig, Failure> {
    if input.extension().is_some_and(|extension| extension == "toml") {
        return Ok(StudyConfig::load(input, sets)?);
    }
    match target {
        Some(target) => Ok(StudyConfig::for_table(input, target, sets)?),
        None => Err(Failure::no_target(input)),
    }
}

/// Runs a study to its end or its interruption, with progress on standard error and the result on standard output.
fn run(loaded: LoadedConfig, start: Start, terminal: &TerminalArguments) -> Result<(), Failure> {
    let mut observers = terminal.observers();
    let stop = interrupt::stop_flag();
    match study::tune(loaded, start, &mut observers, &stop)? {
        Ended::Finished(result) => print(&summary(&result, terminal::columns())),
        Ended::Interrupted { dir, candidates } => Err(Failure::interrupted(&dir, candidates)),
    }
}

/// Quoted as TOML does it, so that a device called `0` or a column called `true` stays a text.
pub(super) fn set_text(key: &str, value: &str) -> String {
    format!("{key}={}", toml::Value::String(value.to_owned()))
}

fn time(text: &str) -> Result<String, String> {
    text.parse::<Span>().map(|_| text.to_owned())
}
