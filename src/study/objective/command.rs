//! A program in place of data and model: what a study says of it, and whether it can be run at all.

use super::bounds::Bounds;
use super::options::{ObjectiveOptions, check_repeats};
use super::template::{CHECKPOINT, CommandLine, GIVEN, Template, Unknown, is_name};
use super::{Objective, Resolved};
use crate::backend::cpu::CpuOptions;
use crate::base::shell::is_plain;
use crate::data::metrics::Direction;
use crate::space::{Domain, Space, Value};
use crate::study::config::{BackendChoice, RunOptions, StudyConfig};
use crate::study::error::{CommandError, ConfigError, StudyError};
use crate::study::resolve::{at, placed};
use crate::study::source::{About, Source};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What has a limit, by its place among the values beside the first, and that.
type Limits = Vec<(usize, Bounds)>;

/// A program that is run for each candidate.
#[derive(Debug, Clone)]
pub struct CommandObjective {
    line: CommandLine,
    template: Template,
    /// Where the program lies; `None` where that is another matter for each candidate.
    program: Option<PathBuf>,
    directory: PathBuf,
    /// Of the value, and of the first of `others`.
    directions: Vec<Direction>,
    /// What its results say beside the value, by name: first what is searched for, then what has a limit alone.
    others: Vec<String>,
    /// Of `others` by their places.
    limits: Limits,
    /// Steps of a whole trial; `None` of a program without steps.
    steps: Option<u64>,
    repeats: usize,
    timeout: Option<Duration>,
    /// Bytes.
    memory: Option<u64>,
    workers: usize,
    suspended: usize,
}

impl CommandObjective {
    /// The command as it is written.
    pub fn line(&self) -> &CommandLine {
        &self.line
    }

    /// The same, to be filled in.
    pub(in crate::study) fn template(&self) -> &Template {
        &self.template
    }

    /// Where its program lies, where it is the same for all candidates.
    pub(in crate::study) fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// Where it runs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Which of two of its first values is better.
    pub fn direction(&self) -> Direction {
        self.directions.first().copied().unwrap_or(Direction::Minimize)
    }

    /// Which of two values is better, for each value that is searched for.
    pub fn directions(&self) -> &[Direction] {
        &self.directions
    }

    /// The names of what its results say beside the value: first what is searched for, then what has a limit alone.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// Whether anything has a limit.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// By how much a candidate with these values beside the first is beyond the limits; 0 within.
    pub(in crate::study) fn violation(&self, others: &[f64]) -> f64 {
        let beyond = |(place, bounds): &(usize, Bounds)| others.get(*place).map_or(0.0, |value| bounds.beyond(*value));
        self.limits.iter().map(beyond).sum()
    }

    /// Steps of a whole trial; `None` where it does not say its values on the way.
    pub fn steps(&self) -> Option<u64> {
        self.steps
    }

    /// Runs of a candidate.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// How long a start of the program may run.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Bytes that it may hold with all of its children.
    pub fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// How many run at a time.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// How many are suspended at most.
    pub fn suspended(&self) -> usize {
        self.suspended
    }

    /// What it is called: its program, or the beginning of the shell's text.
    pub fn name(&self) -> String {
        const WORDS: usize = 3;
        let text = self.line.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        let shown = words.iter().take(WORDS).copied().collect::<Vec<_>>().join(" ");
        if words.len() > WORDS { format!("{shown} ...") } else { shown }
    }

    pub(super) fn describe(&self) -> String {
        let steps = self.steps.map(|steps| format!(", {steps} steps a trial")).unwrap_or_default();
        let repeats = if self.repeats > 1 { format!(", {} runs a candidate", self.repeats) } else { String::new() };
        format!("the command {}{steps}{repeats}", self.line)
    }
}

/// More processes than this at a time are no search.
const WORKERS_MOST: usize = 1024;
/// Programs that stand on a rung hold their memory, that of a GPU too: so many where the study does not say.
const SUSPENDED: usize = 16;

pub(super) fn resolve(config: &mut StudyConfig, source: &Source) -> Result<Resolved, StudyError> {
    let Some((options, line)) = config.objective.clone().and_then(|options| Some((options.clone(), options.command?)))
    else {
        return Err(ConfigError::NoObjective.into());
    };
    if cfg!(not(unix)) {
        return Err(at(source, "objective.command", CommandError::System.into()));
    }
    if let Some(key) = options.of_functions() {
        let error = ConfigError::OtherObjective { key, of: "functions", does: "runs a command" };
        return Err(at(source, key, error.into()));
    }
    if let Some((key, of)) = options.of_others() {
        let error = ConfigError::OtherObjective { key, of, does: "runs a command" };
        return Err(at(source, key, error.into()));
    }
    check_ranges(&options, &config.run).map_err(|error| match error {
        ConfigError::OutOfRange { key, .. } => at(source, key, error.into()),
        error => error.into(),
    })?;
    let space = space(config, source)?;
    let wrong = |error: CommandError| at(source, "objective.command", error.into());
    let names: Vec<&str> = space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let template = Template::new(&line, &names).map_err(|Unknown { name, near }| {
        let known = names.iter().copied().chain(GIVEN).map(str::to_owned).collect();
        wrong(CommandError::UnknownName { name, near, known })
    })?;
    let is_plain = |name: &str| {
        let named = space.parameters.iter().find(|parameter| parameter.name == name);
        match named.map(|parameter| &parameter.domain) {
            Some(Domain::Ordinal(values) | Domain::Categorical(values)) => values.iter().all(is_plain_value),
            Some(Domain::Fixed(value)) => is_plain_value(value),
            Some(Domain::Float { .. } | Domain::Int { .. } | Domain::Bool) => true,
            None => name != CHECKPOINT,
        }
    };
    if let Some(name) = template.quoted().find(|name| !is_plain(name)) {
        return Err(wrong(CommandError::Quoted { name: name.to_owned() }));
    }
    let (others, limits) = others(&options, source)?;
    let direction = options.direction.unwrap_or(Direction::Minimize);
    let directory = directory(&options, source)?;
    let program = program(&line, &template, &directory).map_err(wrong)?;
    if let Some(objective) = &mut config.objective {
        objective.directory = Some(directory.clone());
    }
    let notes = (options.budget.is_none() && config.search.min_budget > 1)
        .then(|| "search.min_budget is of no use without objective.budget".to_owned());
    let threads = CpuOptions { threads: config.run.threads, ..CpuOptions::default() }.thread_count();
    let objective = Objective::Command(Box::new(CommandObjective {
        line,
        template,
        program,
        directory,
        directions: std::iter::once(direction).chain(options.others.values().copied()).collect(),
        others,
        limits,
        steps: options.budget,
        repeats: options.repeats.unwrap_or(1) as usize,
        timeout: options.timeout.map(|span| span.0),
        memory: options.memory.map(|mib| mib.saturating_mul(1 << 20)),
        workers: options.workers.unwrap_or(threads).max(1),
        suspended: options.suspended.unwrap_or(SUSPENDED),
    }));
    Ok(Resolved { objective, space, notes: notes.into_iter().collect() })
}

/// Whether a value is the same word in quotes and out of them.
fn is_plain_value(value: &Value) -> bool {
    value.to_string().chars().all(is_plain)
}

fn check_ranges(options: &ObjectiveOptions, run: &RunOptions) -> Result<(), ConfigError> {
    let out_of_range =
        |key, value: String, need: &'static str| Err(ConfigError::OutOfRange { key, value, need: need.into() });
    check_repeats(options.repeats.unwrap_or(1))?;
    match options {
        ObjectiveOptions { budget: Some(0), .. } => {
            out_of_range("objective.budget", "0".to_owned(), "1 or more: how many steps a whole trial has")
        }
        ObjectiveOptions { timeout: Some(span), .. } if span.0.is_zero() => {
            out_of_range("objective.timeout", "0s".to_owned(), "more than nothing: \"90s\", \"10m\" or \"2h 30m\"")
        }
        ObjectiveOptions { memory: Some(0), .. } => {
            out_of_range("objective.memory", "0".to_owned(), "1 or more, in MiB")
        }
        ObjectiveOptions { workers: Some(workers), .. } if !(1..=WORKERS_MOST).contains(workers) => {
            out_of_range("objective.workers", workers.to_string(), "1 to 1024")
        }
        ObjectiveOptions { suspended: Some(suspended), .. } if *suspended > WORKERS_MOST => {
            out_of_range("objective.suspended", suspended.to_string(), "0 to 1024")
        }
        _ if run.backend == BackendChoice::Gpu || run.device.is_some() => {
            let (key, value) = match &run.device {
                Some(device) => ("run.device", device.clone()),
                None => ("run.backend", "gpu".to_owned()),
            };
            out_of_range(key, value, "a command decides by itself what it runs on")
        }
        _ => Ok(()),
    }
}

/// The names of what results say beside the value, and the limits of these by their places.
fn others(options: &ObjectiveOptions, source: &Source) -> Result<(Vec<String>, Limits), StudyError> {
    let mut names: Vec<String> = options.others.keys().cloned().collect();
    let mut limits = Limits::with_capacity(options.limits.len());
    for (name, bounds) in &options.limits {
        if let Some(reason) = bounds.fault() {
            let error = CommandError::Limit { name: name.clone(), reason };
            return Err(at(source, &format!("objective.limits.{name}"), error.into()));
        }
        let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.clone());
            names.len() - 1
        });
        limits.push((place, *bounds));
    }
    match names.iter().find(|name| TAKEN.contains(&name.as_str())) {
        None => Ok((names, limits)),
        Some(name) => {
            let section = if options.others.contains_key(name) { "others" } else { "limits" };
            let place = source.find(&format!("objective.{section}.{name}"), About::Name);
            Err(placed(place, CommandError::ResultName { section, name: name.clone() }.into()))
        }
    }
}

/// What a line of results says by these names is something of its own.
const TAKEN: [&str; 3] = ["value", "step", "failure"];

/// What is searched: a command has no space of its own.
fn space(config: &StudyConfig, source: &Source) -> Result<Space, StudyError> {
    if let Some(section) = config.section_of_models() {
        let error = ConfigError::TwoObjectives { section, instead: "runs the command" };
        return Err(placed(source.find(section, About::Name), error.into()));
    }
    let said = |key: &str, about| source.find(&format!("space.{key}"), about);
    let names = || config.space.keys().filter(|name| *name != "constraints");
    if names().next().is_none() {
        return Err(at(source, "objective.command", CommandError::NoSpace.into()));
    }
    let is_taken = |name: &str| GIVEN.contains(&name.to_ascii_lowercase().as_str()) || RESERVED.contains(&name);
    if let Some(name) = names().find(|name| !is_name(name) || is_taken(name)) {
        let error = CommandError::ParameterName { name: name.clone(), is_taken: is_taken(name) };
        return Err(placed(said(name, About::Name), error.into()));
    }
    Space::of_table(&config.space).map_err(|error| {
        let place = error.key().and_then(|(key, is_name)| said(key, if is_name { About::Name } else { About::Value }));
        placed(place, error.into())
    })
}

/// Variables of this program's own: a parameter of that name would be one of them.
const RESERVED: [&str; 2] = ["LOG", "PROCESS"];

fn directory(options: &ObjectiveOptions, source: &Source) -> Result<PathBuf, StudyError> {
    let written = options.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let found = std::fs::canonicalize(&written);
    found
        .ok()
        .filter(|path| path.is_dir())
        .ok_or_else(|| at(source, "objective.directory", CommandError::NoDirectory { path: written }.into()))
}

/// Where the program lies. What only a candidate's values say is seen when it is run.
fn program(line: &CommandLine, template: &Template, directory: &Path) -> Result<Option<PathBuf>, CommandError> {
    match line {
        CommandLine::Arguments(arguments) if arguments.is_empty() => Err(CommandError::Empty),
        CommandLine::Shell(text) if text.trim().is_empty() => Err(CommandError::Empty),
        CommandLine::Arguments(_) => match template.program() {
            Some("") => Err(CommandError::Empty),
            Some(name) => find(name, directory).map(Some),
            None => Ok(None),
        },
        CommandLine::Shell(text) => {
            let shell = find("sh", directory)?;
            // The first word of a text says what runs, where it is a plain word.
            let first = text.split_whitespace().next().unwrap_or_default();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./+-".contains(c);
            if first.chars().all(is_plain) && !knows(&shell, first, directory) {
                find(first, directory)?;
            }
            Ok(Some(shell))
        }
    }
}

/// Whether a shell can run a word: a program, or something of its own.
fn knows(shell: &Path, word: &str, directory: &Path) -> bool {
    let mut command = std::process::Command::new(shell);
    command.args(["-c", "command -v -- \"$1\"", "sh", word]).current_dir(directory);
    let quiet = || std::process::Stdio::null();
    command.stdin(quiet()).stdout(quiet()).stderr(quiet()).status().is_ok_and(|status| status.success())
}

/// A program by its path, or by its name on the search path.
fn find(name: &str, directory: &Path) -> Result<PathBuf, CommandError> {
    let not_found = |reason: &'static str| CommandError::NotFound {
        program: name.to_owned(),
        directory: directory.to_owned(),
        reason,
    };
    if name.contains('/') {
        let path = directory.join(name);
        return match std::fs::metadata(&path) {
            Err(_) => Err(not_found("there is no such file")),
            Ok(found) if found.is_dir() => Err(not_found("it is a directory")),
            Ok(found) if !is_executable(&found) => Err(not_found("it is not executable")),
            Ok(_) => Ok(path),
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| directory.join(folder).join(name))
        .find(|path| std::fs::metadata(path).is_ok_and(|found| found.is_file() && is_executable(&found)));
    match found {
        Some(path) => Ok(path),
        None if directory.join(name).is_file() => Err(not_found("it is not on the search path, only in the directory")),
        None => Err(not_found("it is not on the search path")),
    }
}

#[cfg(unix)]
fn is_executable(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    found.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_found: &std::fs::Metadata) -> bool {
    true
}
