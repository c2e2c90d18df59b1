//! A study's way from its file to its result: data, folds, search, the winner, its test.

use super::backend::{Backend, Opened, OpenedCourse};
use super::clock::Clock;
use super::config::{LoadedConfig, StudyConfig};
use super::error::{RunDirError, StudyError};
use super::events::{Event, Observers, Phase, Progress};
use super::finish::{Closing, finish};
use super::generations::Generations;
use super::history::History;
use super::journal::{Frame, Header, Journal};
use super::lane_states::{Binding, LaneStates};
use super::objective::{Objective, ObjectiveOptions};
use super::plan::Plan;
use super::resolve::Study;
use super::result::RunResult;
use super::retention::Retention;
use super::run_dir::{Existing, RunDir, study_path};
use super::search::{Ports, Search};
use super::stopping::StopReason;
use super::sweep::Sweep;
use crate::backend::StopFlag;
use std::path::PathBuf;

/// This program's version.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// How a study came to rest.
#[derive(Debug)]
pub enum Ended {
    /// The search is over, the winner chosen and tested.
    Finished(Box<RunResult>),
    /// Interrupted; everything journalled is safe, and `resume` goes on from there.
    Interrupted {
        /// The run directory.
        dir: PathBuf,
        /// Candidates with an outcome.
        candidates: u64,
    },
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// What to do with a directory that holds a run.
    pub existing: Existing,
    /// Whether to drop what lies behind damage in the journal.
    pub salvage: bool,
}

/// Runs a study from its beginning, or from where its journal ends, to its result.
pub fn tune(
    mut loaded: LoadedConfig,
    start: Start,
    observers: &mut Observers,
    stop: &StopFlag,
) -> Result<Ended, StudyError> {
    let mut clock = Clock::default();
    let path = loaded.run_dir();
    // A directory that is there is locked at once. One that is not is made when there is something to put into it: a study
    // that cannot run leaves none behind.
    let there = path.exists().then(|| RunDir::open(&path, start.existing)).transpose()?;
    clock.enter(Phase::Loading, observers);
    if let Some(data) = &mut loaded.config.data {
        absolute(&mut data.file);
        data.test_file.iter_mut().for_each(absolute);
    }
    loaded.config.objective.iter_mut().flat_map(ObjectiveOptions::files_mut).for_each(|(_, file)| absolute(file));
    if there.is_some() && start.existing == Existing::Resume {
        loaded.config.search.plan = Plan::of_run(&path);
    }
    let study = Study::resolve(loaded)?;
    clock.enter(Phase::Preparing, observers);
    let problems = match &study.objective {
        Objective::Models(models) => models.problems(study.key)?,
        _ => Vec::new(),
    };
    clock.enter(Phase::Compiling, observers);
    let Opened { mut backend, mut trainer, notes: mut told } =
        Backend::open_with_trainer(&study, &study.dir, problems)?;
    // Before the directory is touched: it may refuse.
    let course = open_course(&study, &mut backend, &mut told)?;
    let dir = there.map_or_else(|| RunDir::open(&path, start.existing), Ok)?;
    // Only now is a run that was there before touched: whatever is wrong with this one has shown.
    let (mut journal, frames) = open_journal(&dir, &study, &backend, start)?;
    let name = match frames.first() {
        Some(Frame::Header(header)) => header.study.clone(),
        _ => study.name.clone(),
    };
    let notes: Vec<String> = told.into_iter().chain(notes(&study, &backend, &frames)).collect();
    notes.iter().for_each(|note| observers.notify(&Event::Note(note.clone())));

    clock.enter(Phase::Searching, observers);
    let described = match backend {
        Backend::Programs(_) => backend.device(),
        _ => format!("{}, {}", backend.name(), backend.device()),
    };
    let started = |progress: Progress, observers: &mut Observers| {
        observers.notify(&Event::Started {
            study: &name,
            dir: dir.path(),
            metric: study.objective.metric(),
            direction: study.direction(),
            data: &study.objective.describe(),
            backend: &described,
            progress,
        });
    };
    let found = match (study.config.run.history, &study.objective, course) {
        (Retention::Best(most), Objective::Function(function), Some(course)) => {
            if frames.iter().any(|frame| matches!(frame, Frame::Kept(_))) {
                return Err(of_the_other(&dir, "draws of the processor; go on with them there: --backend cpu"));
            }
            let evaluator = function.evaluator();
            let mut search = Generations::new(&study, &evaluator, course, most as usize, &dir)?;
            started(search.progress(), observers);
            let reason = search.run(&mut Ports { journal: &mut journal, observers, stop })?;
            let (progress, decisions) = (search.progress(), vec![search.described()]);
            Found { reason, progress, decisions, history: search.into_history() }
        }
        (Retention::Best(most), Objective::Function(function), None) => {
            if dir.state().exists() {
                return Err(of_the_other(&dir, "generations of a device; go on with them there: --backend gpu"));
            }
            let evaluator = function.evaluator();
            let mut sweep = Sweep::new(&study, &evaluator, most as usize, &frames, dir.path())?;
            started(sweep.progress(), observers);
            let reason = sweep.run(&mut Ports { journal: &mut journal, observers, stop })?;
            Found { reason, progress: sweep.progress(), decisions: Vec::new(), history: sweep.into_history() }
        }
        _ => {
            let mut search = Search::new(&study, backend.name(), &frames, dir.path())?;
            if let Some(note) = keep_states(&mut search, &study, &backend, &dir)? {
                observers.notify(&Event::Note(note));
            }
            started(search.progress(), observers);
            let reason = search.run(&mut *trainer, &mut Ports { journal: &mut journal, observers, stop })?;
            let (progress, decisions) = (search.progress(), search.decisions().to_vec());
            Found { reason, progress, decisions, history: search.into_history() }
        }
    };
    // The search's own rows and weights are not needed any more.
    drop(trainer);
    let Found { reason, progress, decisions, history } = found;
    let interrupted = || Ended::Interrupted { dir: dir.path().to_owned(), candidates: progress.candidates };
    if reason == StopReason::Interrupted {
        return Ok(interrupted());
    }
    let (study, history, backend) = (&study, &history, &backend);
    let closing = Closing { name, study, history, backend, reason, progress, notes, decisions, stop };
    match finish(closing, &dir, &frames, &mut journal, &mut clock, observers)? {
        None => Ok(interrupted()),
        Some(result) => {
            if let Err(error) = dir.forget_lanes() {
                observers.notify(&Event::Note(error.to_string()));
            }
            observers.notify(&Event::Finished(&result));
            Ok(Ended::Finished(Box::new(result)))
        }
    }
}

/// A search by whole generations, where the study has one: what learns and keeps the best alone goes by them, and on a device
/// all that can. Where the GPU was found by itself and cannot do it, the processor does.
fn open_course(
    study: &Study,
    backend: &mut Backend,
    told: &mut Vec<String>,
) -> Result<Option<OpenedCourse>, StudyError> {
    let Objective::Function(function) = &study.objective else { return Ok(None) };
    let on_device = backend.gpu().is_some() && study.strategy.generations().is_some();
    if study.config.run.history == Retention::All || !(study.strategy.is_adaptive() || on_device) {
        return Ok(None);
    }
    match (backend.course(study, function), backend.instead(&study.config.run)) {
        (Err(error), Some(processor)) => {
            let reason = error.to_string();
            told.push(format!("the processor searches: {}", reason.lines().next().unwrap_or_default()));
            *backend = processor;
            backend.course(study, function).map(Some)
        }
        (course, _) => course.map(Some),
    }
}

/// Opens the file of lanes' states where the study wants one, and deletes one that it does not want; a note if something is wrong
/// with it. A run goes on without one.
fn keep_states(
    search: &mut Search<'_>,
    study: &Study,
    backend: &Backend,
    dir: &RunDir,
) -> Result<Option<String>, StudyError> {
    if !study.keeps_states() {
        return Ok(dir.forget_lanes().err().map(|error| error.to_string()));
    }
    let binding = Binding {
        data_fingerprint: study.objective.data_fingerprint(),
        study_fingerprint: study.fingerprint()?,
        program: PROGRAM.to_owned(),
        backend: match backend.gpu() {
            // Its states are laid out alike on every device, and trained to other last bits.
            Some(gpu) => format!("{}, {}", backend.name(), gpu.name()),
            None => backend.name().to_owned(),
        },
    };
    Ok(match LaneStates::open(&dir.lanes(), &binding) {
        Ok((states, note)) => {
            search.keep_states(states);
            note
        }
        Err(error) => Some(format!("{}: {error}: no states of lanes are kept", dir.lanes().display())),
    })
}

/// A directory holds a search of another kind.
fn of_the_other(dir: &RunDir, what: &str) -> StudyError {
    RunDirError::Other { dir: dir.path().to_owned(), what: what.to_owned() }.into()
}

/// What a search found, and how it went.
struct Found {
    reason: StopReason,
    progress: Progress,
    decisions: Vec<String>,
    history: History,
}

/// Data are found again from any working directory.
fn absolute(path: &mut PathBuf) {
    if let Ok(found) = std::fs::canonicalize(&path) {
        *path = found;
    }
}

fn open_journal(
    dir: &RunDir,
    study: &Study,
    backend: &Backend,
    start: Start,
) -> Result<(Journal, Vec<Frame>), StudyError> {
    let header = Header {
        data_fingerprint: study.objective.data_fingerprint(),
        study_fingerprint: study.fingerprint()?,
        program: PROGRAM.to_owned(),
        backend: backend.name().to_owned(),
        scores: study.objective.scores() as u32,
        objectives: study.directions.len() as u32,
        study: study.name.clone(),
    };
    if start.existing == Existing::Fresh {
        dir.clear()?;
    }
    let path = dir.journal();
    let text = portable(&study.config).to_toml()?;
    if !dir.has_run() {
        dir.write_study(&text)?;
        return Ok((Journal::create(&path, header)?, Vec::new()));
    }
    let (journal, frames) = Journal::open(&path, start.salvage)?;
    let differs = match frames.first() {
        Some(Frame::Header(found)) if found.data_fingerprint != header.data_fingerprint => {
            Some(if matches!(study.objective, Objective::Wgsl(_)) {
                "another shader, or other tables"
            } else {
                "other data"
            })
        }
        Some(Frame::Header(found)) if found.study_fingerprint != header.study_fingerprint => Some("another study"),
        Some(Frame::Header(found)) if found.scores != header.scores => Some("other folds"),
        Some(Frame::Header(found)) if found.objectives != header.objectives => Some("other objectives"),
        _ => None,
    };
    if let Some(what) = differs {
        let key = (what == "another study").then(|| other_key(dir, study)).flatten();
        let what = key.map_or_else(|| what.to_owned(), |key| format!("{what}: {key}"));
        return Err(RunDirError::Other { dir: dir.path().to_owned(), what }.into());
    }
    dir.write_study(&text)?;
    Ok((journal, frames))
}

/// A study as its run directory keeps it: without the directory, so that it runs anywhere, and beside the run that is
/// there.
fn portable(config: &StudyConfig) -> StudyConfig {
    let mut config = config.clone();
    config.run.dir = None;
    config
}

/// The first key that the run's study has and this one has not, or not so, with what it holds in both.
fn other_key(dir: &RunDir, study: &Study) -> Option<String> {
    let then: toml::Table = toml::from_str(&std::fs::read_to_string(study_path(dir.path())).ok()?).ok()?;
    let now: toml::Table = toml::from_str(&study.config.to_toml().ok()?).ok()?;
    let in_words = |value: Option<&toml::Value>| value.map_or_else(|| "not set".to_owned(), toml::Value::to_string);
    // What a run may change as it likes.
    let is_free = |section: &str, key: &str| match (section, key) {
        ("search", "candidates" | "plan") => !study.scheduler.explores(),
        ("run", "history") => false,
        ("objective", key) => ObjectiveOptions::is_free(key),
        (section, key) => matches!((section, key), ("run" | "stop", _) | ("data", "file" | "test_file")),
    };
    let sections = then.keys().chain(now.keys());
    sections
        .flat_map(|section| {
            let keys =
                |study: &toml::Table| study.get(section).and_then(toml::Value::as_table).cloned().unwrap_or_default();
            let (then, now) = (keys(&then), keys(&now));
            let names: Vec<String> = then.keys().chain(now.keys()).cloned().collect();
            let differing =
                names.into_iter().filter(|key| !is_free(section, key) && then.get(key) != now.get(key)).map(|key| {
                    let (was, is) = (in_words(then.get(&key)), in_words(now.get(&key)));
                    format!("{section}.{key} was {was} and now is {is}")
                });
            differing.collect::<Vec<_>>()
        })
        .next()
}

/// What the user should know of the data and of the run so far.
fn notes(study: &Study, backend: &Backend, frames: &[Frame]) -> Vec<String> {
    let mut notes: Vec<String> = study.objective.data_notes();
    notes.extend(study.notes.iter().cloned());
    let Some(Frame::Header(header)) = frames.first() else { return notes };
    if header.backend != backend.name() {
        let (then, now) = (&header.backend, backend.name());
        notes.push(format!(
            "this run was begun on the {then} and goes on on the {now}: their scores agree closely, not to the last bit"
        ));
    }
    if header.program != PROGRAM {
        notes.push(format!(
            "this run was begun by version {} of thousandfold and goes on with version {PROGRAM}: where one of them \
             trains otherwise, scores before and after differ",
            header.program
        ));
    }
    notes
}
