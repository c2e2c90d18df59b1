//! Everything that can go wrong with a study, in words: what and where, then what to do.

use super::export::ExportError;
use super::objective::RustError;
use super::retention::Retention;
use super::run_dir::journal_path;
use super::source::Place;
use crate::backend::BackendError;
use crate::base::registry::UnknownName;
use crate::data::error::{DataError, cause, in_shell};
use crate::data::splits::SplitError;
use crate::models::WeightsError;
use crate::space::SpaceError;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// A study file, or a `--set`, that says something impossible.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} {}{}\n  To start from a table without a study file: thousandfold tune data.csv --target COLUMN", path.display(), unreadable(source), did_you_mean(near))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// A file in the same folder with nearly that name.
        near: Option<String>,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in the file, or in a `--set` or a flag.
    #[error("{}", Framed(place, message))]
    At {
        /// Where.
        place: Place,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A number out of its range.
    #[error("{key} = {value} is not possible: {need}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        need: Cow<'static, str>,
    },
    /// The metric, or the model, does not fit the task.
    #[error("{kind} \"{name}\" is not for {task}\n  These are: {}", fitting.join(", "))]
    Unfit {
        /// "metric" or "model".
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is predicted.
        task: String,
        /// Those that fit.
        fitting: Vec<&'static str>,
    },
    /// A section about data or models beside an objective that has none.
    #[error("[{section}] is about data and models, and this study {instead} of [objective]\n  Leave one of them out")]
    TwoObjectives {
        /// The section.
        section: &'static str,
        /// "searches the function", "runs the command" or "evaluates the shader".
        instead: &'static str,
    },
    /// A key of another kind of objective.
    #[error("{key} is for {of}, and this study {does}\n  Leave one of them out")]
    OtherObjective {
        /// The key.
        key: &'static str,
        /// Whose it is: "functions", "commands", "shaders" or "objectives in Rust".
        of: &'static str,
        /// "searches a function", "runs a command" or "evaluates a shader".
        does: &'static str,
    },
    /// A point of the user's that the space does not have.
    #[error("point {number} of search.points is not possible: {message}")]
    Point {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A run whose winners are wanted has none yet.
    #[error("{} has not come to its end: its winners are not known yet\n  To end it: thousandfold resume {}", dir.display(), in_shell(dir))]
    Unfinished {
        /// The run directory.
        dir: PathBuf,
    },
    /// A study that needs more of its candidates than it keeps.
    #[error(
        "run.history = \"{history}\" keeps too little for this study: {reason}\n  To keep every candidate: history = \"all\""
    )]
    KeepsTooLittle {
        /// What is kept.
        history: Retention,
        /// What needs more.
        reason: String,
    },
    /// Neither data, nor anything in their place.
    #[error(
        "nothing scores candidates: there are no [data], and [objective] has neither a function, a command nor a shader\n  Add one of them: command = [\"python\", \"train.py\", \"--rate={{rate}}\"]"
    )]
    NoObjective,
    /// A model is wanted of a study that has none.
    #[error("this study {instead}: there is no model in it")]
    NoModel {
        /// What it does instead.
        instead: String,
    },
    /// The strategy cannot search this space.
    #[error("strategy \"{strategy}\" cannot search this space: {reason}\n  These can: {}", able.join(", "))]
    Refused {
        /// Its name.
        strategy: &'static str,
        /// Why not.
        reason: String,
        /// Those that can.
        able: Vec<&'static str>,
    },
    /// A scheduler that ends candidates on their way, where there is no way or no single order.
    #[error("scheduler \"{scheduler}\" cannot be used here: {reason}\n  Without it: scheduler = \"full\"")]
    Unschedulable {
        /// Its name.
        scheduler: &'static str,
        /// Why not.
        reason: String,
    },
    /// A bound of what is left to gain, where there is none.
    #[error("stop.regret cannot be used here: {reason}\n  {remedy}")]
    NoRegret {
        /// Why not.
        reason: String,
        /// What can be done instead.
        remedy: &'static str,
    },
    /// The metric, or the model, has no use for sample weights.
    #[error("{kind} \"{name}\" has no use for sample weights\n  These have: {}", fitting.join(", "))]
    NoWeights {
        /// "metric" or "model".
        kind: &'static str,
        /// Its name.
        name: String,
        /// Those that have.
        fitting: Vec<&'static str>,
    },
    /// The resolved study does not fit in TOML.
    #[error("the study cannot be written: {0}")]
    Unwritable(String),
}

/// A command that cannot be run, or not for what the study searches.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No program at all.
    #[error(
        "the command is empty\n  Write the program and its arguments: command = [\"python\", \"train.py\", \"--rate={{rate}}\"]"
    )]
    Empty,
    /// The program is not there.
    #[error("the command's program \"{program}\" cannot be run: {reason}\n  A name is looked for on the search path, a path from {}: objective.directory", directory.display())]
    NotFound {
        /// As it is written.
        program: String,
        /// Where it would run.
        directory: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// It names something that is not there.
    #[error("the command takes {{{name}}}, and nothing is called that{}\n  These are: {}\n  For the text itself: {{{{{name}}}}}", near.as_ref().map(|near| format!("; did you mean {{{near}}}?")).unwrap_or_default(), known.join(", "))]
    UnknownName {
        /// As it is written.
        name: String,
        /// The nearest one.
        near: Option<String>,
        /// All of them.
        known: Vec<String>,
    },
    /// Quotes around a name whose value would need its own.
    #[error(
        "the command takes {{{name}}} within quotes, where only numbers and plain words can stand\n  Write {{{name}}} without quotes: its value is quoted where it has to be; or read it from the environment: $THOUSANDFOLD_{}", if name == "checkpoint" { "CHECKPOINT" } else { name }
    )]
    Quoted {
        /// As it is written.
        name: String,
    },
    /// Nothing to search.
    #[error(
        "a command has no search space of its own, and [space] is empty\n  Say what it searches: [space] rate = {{ log = [1e-4, 1e-1] }}"
    )]
    NoSpace,
    /// A parameter that cannot be called so.
    #[error("[space] {name}: {}", match is_taken {
        true => format!("a command is told something else by this name\n  Call the parameter otherwise: my_{}", name.to_ascii_lowercase()),
        false => "no environment variable can be called that\n  Names of a command's parameters have letters, digits and _, and begin with no digit".to_owned(),
    })]
    ParameterName {
        /// As it is written.
        name: String,
        /// Whether it is the name of something else.
        is_taken: bool,
    },
    /// A result that cannot be called so.
    #[error(
        "objective.{section}.{name}: in a line of results \"{name}\" is something else\n  Call it otherwise there, and here: {name}_2"
    )]
    ResultName {
        /// The key of the objective that names it.
        section: &'static str,
        /// As it is written.
        name: String,
    },
    /// A limit that is none.
    #[error(
        "objective.limits.{name} is no limit: {reason}\n  Write the most that it may be, {name} = 400, or {name} = {{ min = 0.9, max = 1.0 }} with one of these or both"
    )]
    Limit {
        /// Of which result.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Where it would run is not there.
    #[error("{} is no directory: the command cannot run there\n  Name one that is there: objective.directory", path.display())]
    NoDirectory {
        /// As it is written.
        path: PathBuf,
    },
    /// Not on this system.
    #[error("commands are run on Linux, macOS and other Unix systems alone\n  On Windows they run in WSL")]
    System,
}

/// A run directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// It holds a run already.
    #[error("{} holds a run already\n  Go on with it: --resume\n  Delete it and start again: --fresh", dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// It holds no run.
    #[error("{} holds no run{}\n  A run is kept in runs/NAME, or where --run-dir said", dir.display(), did_you_mean(near))]
    NoRun {
        /// The directory.
        dir: PathBuf,
        /// A directory of nearly that name.
        near: Option<String>,
    },
    /// It cannot be made, or not be written to.
    #[error("{} cannot hold a run: {}\n  Choose another directory: --run-dir DIR", dir.display(), if dir.is_file() { "it is a file".to_owned() } else { cause(source) })]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process writes to it.
    #[error("{} is in use by another thousandfold process\n  Wait for it, or choose another directory: --run-dir", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The study that is to go on is another one.
    #[error("{} was made with {what}\n  To start again: tune with --fresh; to keep both: tune with --run-dir DIR", dir.display())]
    Other {
        /// The directory.
        dir: PathBuf,
        /// What differs.
        what: String,
    },
    /// A result file that was changed or cut off.
    #[error("{} cannot be understood: {reason}\n  To have it written again: thousandfold resume {}", path.display(), in_shell(path.parent().unwrap_or(path)))]
    Result {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused a read or a write.
    #[error("{}: {}\n  {}", path.display(), cause(source), advice(path, source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

fn unreadable(source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory, not a study file".to_owned(),
        std::io::ErrorKind::InvalidData => "cannot be read: it is not UTF-8, as studies are".to_owned(),
        _ => format!("cannot be read: {}", cause(source)),
    }
}

/// What to do about a file of a run: what is safe depends on whether the run has a journal yet.
fn advice(path: &Path, source: &std::io::Error) -> String {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let is_full = matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge);
    let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    match (journal_path(dir).exists(), is_full) {
        (true, true) => format!(
            "Every candidate that was journalled is safe. Make room on the disk, then go on: thousandfold resume {}",
            in_shell(dir)
        ),
        (true, false) => {
            format!("Every candidate that was journalled is safe. To go on: thousandfold resume {}", in_shell(dir))
        }
        (false, true) => "Nothing was trained yet. Make room on the disk, then run the study again".to_owned(),
        (false, false) => "Nothing was trained yet. Choose a directory that can be written: --run-dir DIR".to_owned(),
    }
}

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not a journal at all.
    #[error("{}: is not a journal of thousandfold\n  It does not begin as one; to start again: tune with --fresh", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("{}: has format version {found}, and this program reads up to {known}\n  Go on with the newer version of thousandfold that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Written by an older version, which kept less than is needed.
    #[error("{}: has format version {found}, and this program reads {known} only\n  Go on with the version of thousandfold that wrote it, or begin anew: tune with --fresh", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is read.
        known: u32,
    },
    /// Damage in the middle.
    #[error("{}: damaged at byte {offset}: {what}\n  {frames} frame(s) before it are whole; resume with --salvage keeps those and drops {lost} byte(s) from there on", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged frame starts.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
        /// Whole frames before it.
        frames: usize,
        /// Bytes from there to the end.
        lost: u64,
    },
    /// The system refused a read or a write.
    #[error(transparent)]
    Io(#[from] RunDirError),
}

/// A model file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The system refused to read it.
    #[error("{} {}\n  {A_MODEL_IS}", path.display(), match source.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {}", cause(source)),
    })]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a model file.
    #[error("{} is not a model of thousandfold: {reason}\n  {A_MODEL_IS}", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// Written by a newer version.
    #[error("{}: has format version {found}, and this program reads up to {known}\n  Use the newer version of thousandfold that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
}

const A_MODEL_IS: &str = "A finished run has its model in RUN/model.safetensors; the directory of the run will do, too";

/// A message in its place.
struct Framed<'a, M>(&'a Place, &'a M);

impl<M: fmt::Display> fmt::Display for Framed<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.frame(f, self.1)
    }
}

/// Why a study did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// What is wrong stands in the study file or in a flag.
    #[error("{}", Framed(place, error))]
    At {
        /// Where.
        place: Place,
        /// What is wrong.
        error: Box<StudyError>,
    },
    /// The study file or a flag.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The shader.
    #[error(transparent)]
    Wgsl(#[from] super::objective::WgslError),
    /// The objective in Rust.
    #[error(transparent)]
    Rust(#[from] RustError),
    /// A model, strategy, scheduler or metric that does not exist.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The splits.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The search space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The run directory.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The model file.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// The weights in it.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The model in another program's format.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// No candidate has a score.
    #[error("every one of the {candidates} candidates failed: {reason}\n  {remedy}")]
    AllFailed {
        /// How many there were.
        candidates: u64,
        /// What most of them died of.
        reason: String,
        /// What can be done about that.
        remedy: &'static str,
    },
    /// The time limit came first.
    #[error(
        "the time was over before any candidate was done on all its folds\n  Give it more: --time 10m, with --resume"
    )]
    NoTime,
    /// A scheduler was at work, and no candidate has had its whole budget.
    #[error(
        "no candidate was trained with its whole budget: the time was over before, or the last ones failed\n  Every score on the way is journalled. To go on: thousandfold resume {}, with more --time or --candidates",
        in_shell(dir)
    )]
    NoneWhole {
        /// The run directory.
        dir: PathBuf,
        /// The score that was asked of them.
        threshold: Option<f64>,
    },
    /// None of the best candidates can be trained on all rows.
    #[error(
        "candidate {candidate} is the best, but trained on all rows its weights became NaN or infinite{}\n  Narrow the ranges of [space]: it is at the edge of what can be trained",
        match tried { 0 | 1 => String::new(), more => format!(", as did those of the next {}", more - 1) }
    )]
    RefitFailed {
        /// The best one.
        candidate: u64,
        /// How many were tried.
        tried: usize,
    },
    /// Every candidate is beyond a limit of the study.
    #[error(
        "all {candidates} candidates with a score are beyond {limits}\n  Loosen the limits, or open [space] to candidates that keep them"
    )]
    AllBeyond {
        /// The key of the limits.
        limits: &'static str,
        /// Candidates with a score.
        candidates: u64,
    },
    /// No threads are to be had.
    #[error("the processor's threads cannot be started: {reason}\n  Ask for fewer: --threads 1")]
    Threads {
        /// What the system said.
        reason: String,
    },
    /// A strategy that waits for outcomes when all of them were told: a fault of the strategy.
    #[error(
        "strategy \"{strategy}\" waits for outcomes, and all of them were told to it: it will never go on\n  This is a fault of the strategy; every candidate that was journalled is safe"
    )]
    StrategyWaits {
        /// Its name.
        strategy: String,
    },
}

impl StudyError {
    /// Whether the input is to blame rather than the run.
    pub fn is_input(&self) -> bool {
        match self {
            StudyError::At { error, .. } => error.is_input(),
            StudyError::Backend(BackendError::NoAdapter { .. } | BackendError::OutOfMemory { .. }) => true,
            StudyError::Backend(_)
            | StudyError::AllFailed { .. }
            | StudyError::NoTime
            | StudyError::NoneWhole { .. }
            | StudyError::RefitFailed { .. }
            | StudyError::StrategyWaits { .. } => false,
            StudyError::RunDir(RunDirError::Io { .. })
            | StudyError::Journal(JournalError::Io(RunDirError::Io { .. })) => false,
            _ => true,
        }
    }
}
