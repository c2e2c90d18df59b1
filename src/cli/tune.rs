//! `tune` and `resume`: a study from its file, or from a table alone, to its result.

use super::failure::Failure;
use super::flags::{Said, in_flags, load, sets};
use super::terminal::{self, TerminalArguments, print};
use super::{interrupt, names};
use crate::monitor::summary::summary;
use crate::study::run_dir::Existing;
use crate::study::stopping::Span;
use crate::study::{self, Ended, LoadedConfig, Start, StudyConfig};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::path::{Path, PathBuf};

/// Find the best candidate: run a study, or tune a model on a table
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  thousandfold tune data.csv --target species
  thousandfold tune configs/digits_mlp.toml --candidates 500
  thousandfold tune data.csv --target price --model mlp --metric mae --set validate.repeats=3
  thousandfold tune data.csv --target species --model mlp,logistic --candidates 2000
  thousandfold tune study.toml --set 'space.hidden={ int = [8, 64], log = true }'
  thousandfold tune --function rastrigin --dimensions 20 --strategy cmaes --candidates 20000"
)]
pub(super) struct TuneArguments {
    /// A study (.toml), or a table: CSV, gzip CSV, Parquet
    #[arg(value_name = "STUDY.toml|DATA", required_unless_present = "function")]
    input: Option<PathBuf>,
    /// The column to predict; a table needs it
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// How many candidates at most
    #[arg(long, value_name = "N", value_parser = whole())]
    candidates: Option<u64>,
    /// Everything random follows from it
    #[arg(long, value_name = "N", value_parser = whole())]
    seed: Option<u64>,
    /// What is trained: a model, several, or all; of several the model is searched too
    #[arg(long, value_name = "NAME,...", value_parser = names::models_or_all(), value_delimiter = ',')]
    model: Vec<String>,
    /// An analytic function to search, in place of data and model
    #[arg(
        long,
        value_name = "NAME",
        value_parser = names::functions(),
        hide_possible_values = true,
        conflicts_with_all = ["target", "model", "metric", "folds"]
    )]
    function: Option<String>,
    /// How many parameters the function has
    #[arg(long, value_name = "N", requires = "function")]
    dimensions: Option<u32>,
    /// How candidates are proposed; several search one after the other
    #[arg(long, value_name = "NAME,...", value_parser = names::strategies(), value_delimiter = ',')]
    strategy: Vec<String>,
    /// Which candidates end before they are trained to their end
    #[arg(long, value_name = "NAME", value_parser = names::schedulers(), conflicts_with = "function")]
    scheduler: Option<String>,
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
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  thousandfold resume runs/digits_mlp\n  thousandfold resume runs/digits_mlp --candidates 5000"
)]
pub(super) struct ResumeArguments {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the journal is damaged, keep what is whole before the damage
    #[arg(long)]
    salvage: bool,
    /// How many candidates at most, in all
    #[arg(long, value_name = "N", value_parser = whole())]
    candidates: Option<u64>,
    /// Stop after this time of this session: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<String>,
    /// Set a key that may change: search.candidates, and those of [stop] and [run]; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
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
        let said = self.said();
        let start = Start { existing, salvage: false };
        let sets = sets(&said, &self.sets);
        let loaded = match (&self.input, &self.function) {
            (None, Some(function)) => StudyConfig::of_sets(function, &sets).map_err(Failure::from),
            (input, _) => load(input.as_deref().unwrap_or(Path::new("")), self.target.as_deref(), &sets),
        };
        loaded.and_then(|loaded| run(loaded, start, terminal)).map_err(|failure| in_flags(failure, &said))
    }

    /// What the flags say; a `--set` of the same key has the last word.
    fn said(&self) -> Vec<Said> {
        let models = Some(self.model.join(",")).filter(|models| !models.is_empty());
        let strategies = Some(self.strategy.join(",")).filter(|strategies| !strategies.is_empty());
        let run_dir = self.run_dir.as_deref().map(Path::to_string_lossy);
        let texts = [
            ("target", "data.target", self.target.as_deref()),
            ("model", "model.name", models.as_deref()),
            ("function", "objective.function", self.function.as_deref()),
            ("strategy", "search.strategy", strategies.as_deref()),
            ("scheduler", "search.scheduler", self.scheduler.as_deref()),
            ("metric", "validate.metric", self.metric.as_deref()),
            ("time", "stop.time", self.time.as_deref()),
            ("run-dir", "run.dir", run_dir.as_deref()),
        ];
        let numbers = [
            ("candidates", "search.candidates", self.candidates),
            ("seed", "search.seed", self.seed),
            ("folds", "validate.folds", self.folds.map(u64::from)),
            ("dimensions", "objective.dimensions", self.dimensions.map(u64::from)),
        ];
        let mut said: Vec<Said> =
            texts.into_iter().filter_map(|(flag, key, text)| Some(Said::text(flag, key, text?))).collect();
        said.extend(numbers.into_iter().filter_map(|(flag, key, number)| Some(Said::number(flag, key, number?))));
        said.extend(self.machine.said());
        said
    }
}

impl ResumeArguments {
    pub(super) fn run(&self, terminal: &TerminalArguments) -> Result<(), Failure> {
        let mut said: Vec<Said> = Vec::new();
        said.extend(self.candidates.map(|candidates| Said::number("candidates", "search.candidates", candidates)));
        said.extend(self.time.as_deref().map(|time| Said::text("time", "stop.time", time)));
        said.extend(self.machine.said());
        let loaded = study::load_run(&self.run, &sets(&said, &self.sets)).map_err(Failure::from);
        let start = Start { existing: Existing::Resume, salvage: self.salvage };
        loaded.and_then(|loaded| run(loaded, start, terminal)).map_err(|failure| in_flags(failure, &said))
    }
}

impl MachineArguments {
    pub(super) fn said(&self) -> Vec<Said> {
        let texts = [("backend", "run.backend", &self.backend), ("device", "run.device", &self.device)];
        let mut said: Vec<Said> =
            texts.into_iter().filter_map(|(flag, key, text)| Some(Said::text(flag, key, text.as_deref()?))).collect();
        said.extend(self.threads.map(|threads| Said::number("threads", "run.threads", threads as u64)));
        said
    }
}

/// Runs a study to its end or its interruption, with progress on standard error and the result on standard output.
fn run(loaded: LoadedConfig, start: Start, terminal: &TerminalArguments) -> Result<(), Failure> {
    let mut observers = terminal.observers();
    let stop = interrupt::stop_flag(Some(loaded.run_dir()));
    match study::tune(loaded, start, &mut observers, &stop)? {
        Ended::Finished(result) => print(&summary(&result, terminal::columns())),
        Ended::Interrupted { dir, candidates } => Err(Failure::interrupted(&dir, candidates)),
    }
}

/// What TOML's whole numbers hold.
fn whole() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=i64::MAX as u64)
}

fn time(text: &str) -> Result<String, String> {
    text.parse::<Span>().map(|_| text.to_owned())
}
