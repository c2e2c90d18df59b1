//! From what a user wrote to what runs: names looked up, data read, the space made.

use super::backend::Backend;
use super::config::{BackendChoice, LoadedConfig, Resource, SearchOptions, StudyConfig};
use super::criteria::{Criterion, Limits};
use super::error::{ConfigError, StudyError};
use super::history::{Shape, Trial};
use super::known::known_points;
use super::lane_states;
use super::model_options::{ModelBudget, ModelOptions};
use super::objective::{Objective, Resolved};
use super::parts::Parts;
use super::plan::{self, Plan};
use super::recipe::{self, Stages};
use super::regret::Allowed;
use super::retention::Retention;
use super::scheduling;
use super::source::{About, Place, Source};
use crate::backend::cpu::CpuOptions;
use crate::base::hash::Hasher;
use crate::base::random::Key;
use crate::base::registry::UnknownName;
use crate::data::metrics::Direction;
use crate::schedulers::{self, SchedulerEntry, Unit};
use crate::space::Space;
use crate::strategies::cube::Cube;
use crate::strategies::generation;
use crate::strategies::relay::{Refusal, Relay};
use crate::strategies::{self, Outcome, STRATEGIES, StrategyEntry, StrategyOptions};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// A study, resolved.
pub struct Study {
    /// Its name.
    pub name: String,
    /// Where its run is kept.
    pub dir: PathBuf,
    /// What the user wrote, defaults filled in.
    pub config: StudyConfig,
    /// What scores candidates.
    pub objective: Objective,
    /// Which scores of a candidate stand on the same rows.
    pub parts: Parts,
    /// Candidates that are proposed at a time.
    pub batch: u64,
    /// Which of two values is better, for each value that a candidate has; one at least.
    pub directions: Vec<Direction>,
    /// What is searched.
    pub space: Arc<Space>,
    /// The same as strategies see it.
    pub cube: Cube,
    /// What the user should know of the objective.
    pub notes: Vec<String>,
    /// Points that are thought good before anything is trained.
    pub known: Vec<Vec<f64>>,
    /// A lane's full budget: the model's own of a single model, the largest of several.
    pub budget: u64,
    /// How candidates are proposed.
    pub strategy: Relay,
    /// What it plans by.
    pub plan: Plan,
    /// What `[model] schedule` says.
    pub(super) stages: Stages,
    /// How budgets are given.
    pub scheduler: &'static dyn SchedulerEntry,
    /// The key of everything random.
    pub key: Key,
}

impl Study {
    /// Looks everything up and reads the data, if there are any.
    pub fn resolve(loaded: LoadedConfig) -> Result<Study, StudyError> {
        let dir = loaded.run_dir();
        let LoadedConfig { mut config, name, source, code } = loaded;
        let source = &source;
        check_ranges(&config).map_err(|error| match error {
            ConfigError::OutOfRange { key, .. } => at(source, key, error.into()),
            error => error.into(),
        })?;
        let named = |key: &'static str| move |error: UnknownName| at(source, key, error.into());
        legs(&mut config.search);
        let sweep = sweeping(&config);
        let strategies: Result<Vec<_>, _> = match sweep {
            Some(name) => strategies::find(name).map(|entry| vec![entry]),
            None => config.search.strategy.0.iter().map(|name| strategies::find(name)).collect(),
        };
        let strategy = Relay::new(strategies.map_err(named("search.strategy"))?);
        let scheduler = schedulers::find(&config.search.scheduler).map_err(named("search.scheduler"))?;
        let key = Key::from_seed(config.search.seed);
        let Resolved { mut objective, space, mut notes } = Objective::resolve(&mut config, source, key, code)?;
        let (known, told) = known_points(&mut config.search, &space, source)?;
        notes.extend(told);
        notes.extend(sweep.map(|name| format!("auto takes {name}: of all candidates the best alone are kept")));
        config.space = space.to_toml();
        let space = Arc::new(space);
        let directions = objective.directions();
        if let Some(Refusal { strategy, reason }) = strategy.refusal(&space, directions.len()) {
            let can =
                |entry: &'static dyn StrategyEntry| Relay::new(vec![entry]).refusal(&space, directions.len()).is_none();
            let able = STRATEGIES.iter().copied().filter(|entry| can(*entry)).map(|entry| entry.name()).collect();
            return Err(at(source, "search.strategy", ConfigError::Refused { strategy, reason, able }.into()));
        }
        let stages = recipe::stages(&config.model, &objective, &space)
            .map_err(|error| at(source, "model.schedule", error.into()))?;
        notes.extend(scheduling::count_rows(&config.search, scheduler, &mut objective, key));
        scheduling::check(&config, scheduler, &objective)
            .and_then(|()| scheduling::check_changes(scheduler, &strategy, &objective, &space, &stages))
            .map_err(|error| at(source, "search.scheduler", error.into()))?;
        let told = lane_states::check(&config, scheduler, &objective)
            .map_err(|error| at(source, "run.checkpoint", error.into()))?;
        notes.extend(told);
        check_regret(&config, &objective, directions.len()).map_err(|error| at(source, "stop.regret", error.into()))?;
        if let (Retention::Best(_), Some(reason)) =
            (config.run.history, needs_all(&config, &objective, &strategy, &space))
        {
            let error = ConfigError::KeepsTooLittle { history: config.run.history, reason };
            return Err(at(source, "run.history", error.into()));
        }
        let width = space.parameters.len().max(1);
        if let Retention::Best(most) = config.run.history
            && most as usize > MOST_KEPT / width
        {
            let need = format!("at most best:{}, of {width} parameters each", MOST_KEPT / width);
            let (key, value) = ("run.history", config.run.history.to_string());
            return Err(at(source, key, ConfigError::OutOfRange { key, value, need: need.into() }.into()));
        }
        let batch = batch(&config, &strategy, scheduler);
        config.search.batch = Some(batch);
        if strategy.follows_time() && config.stop.time.is_some() && config.run.threads == 0 {
            // Where a run goes on, its plan is the same whatever machine it is.
            config.run.threads = CpuOptions::default().thread_count();
        }
        let plan = plan::settle(&mut config, &strategy, scheduler);
        let parts = match config.run.history {
            Retention::All => objective.parts(),
            // The mean of its evaluations is all that is kept of a candidate.
            Retention::Best(_) => Parts::one_each(1),
        };
        Ok(Study {
            name,
            dir,
            config,
            parts,
            budget: objective.budget(),
            objective,
            batch,
            directions,
            cube: Cube::new(space.clone()),
            space,
            notes,
            known,
            strategy,
            plan,
            stages,
            scheduler,
            key,
        })
    }

    /// What a strategy is told of a trained candidate, by a trainer whose lanes have so many clocks side by side.
    pub fn outcome(&self, trial: &Trial, row: &[f64], clocks: f64) -> Outcome {
        let violation = self.objective.violation(trial, row);
        // Who is beyond a limit is no choice, whatever the score. Of several objectives its values are told nevertheless, for
        // strategies that order such candidates by their violation.
        let value = if violation > 0.0 { f64::NAN } else { trial.reached() };
        let mut values = trial.values();
        match self.directions.len() {
            0 | 1 => values = vec![value],
            // What has a limit alone is not searched for.
            objectives => values.truncate(objectives),
        }
        Outcome {
            values,
            violation,
            folds: trial.scores.clone(),
            seconds: f64::from(trial.seconds) / clocks,
            gradient: (!trial.gradient.is_empty()).then(|| self.cube.slopes(row, &trial.gradient)),
            ..Outcome::new(trial.candidate, row.to_vec(), value)
        }
    }

    /// How many lanes are trained side by side with seconds of their own: on the processor as many as threads train models
    /// or evaluate an objective in Rust, of a command as many as programs run. A device's lanes, and a function's evaluations, report their shares of one clock.
    pub(super) fn clocks(&self, backend: &str) -> f64 {
        match &self.objective {
            Objective::Models(_) | Objective::Rust(_) if backend == Backend::CPU => self.plan.thread_count() as f64,
            // Not as many as run now: a run may go on with others, and its strategy decides as it did.
            Objective::Command(_) => self.plan.worker_count() as f64,
            _ => 1.0,
        }
    }

    /// How many numbers a candidate has.
    pub fn shape(&self) -> Shape {
        Shape {
            lanes: self.objective.lanes(),
            scores: self.objective.scores(),
            others: self.objective.values().len().saturating_sub(1),
        }
    }

    /// Which of two values of the first objective is better.
    pub fn direction(&self) -> Direction {
        self.directions.first().copied().unwrap_or(Direction::Minimize)
    }

    /// What the strategy is opened with.
    pub fn strategy_options(&self) -> StrategyOptions {
        StrategyOptions {
            key: self.key.child(crate::base::random::stream::STRATEGY),
            directions: self.directions.clone(),
            candidates: self.plan.candidates,
            time: self.plan.time.map(|span| span.0.as_secs_f64()),
            batch: self.batch,
            population: self.config.search.population,
            crossover_rate: self.config.search.crossover_rate,
            mutation_rate: self.config.search.mutation_rate,
            resolution: self.config.search.resolution,
            points: self.known.clone(),
            // Fewer folds say the same with less certainty, and of a population nobody ends.
            ends_early: self.scheduler.ends_early()
                && !self.scheduler.explores()
                && self.scheduler.unit() == Unit::Epoch,
            shuffle: self.config.search.shuffle,
        }
    }

    /// A hash of everything in the study that changes a result. How long it searches is in it as it was planned, and only
    /// if the strategy plans by it: a run can be resumed with more candidates, and on another machine.
    pub fn fingerprint(&self) -> Result<u64, ConfigError> {
        let mut config = self.planned();
        // Where the data lie does not matter; what is in them has a fingerprint of its own.
        if let Some(data) = &mut config.data {
            data.file = Default::default();
            data.test_file = None;
        }
        config.objective = config.objective.map(|objective| objective.essential());
        let mut hash = Hasher::default();
        hash.text(&config.to_toml()?);
        Ok(hash.finish())
    }
}

/// Whether what is left to gain has a bound, and something to compare it to.
fn check_regret(config: &StudyConfig, objective: &Objective, objectives: usize) -> Result<(), ConfigError> {
    let (reason, remedy) = match config.stop.regret {
        None => return Ok(()),
        Some(_) if objectives > 1 => {
            (format!("of {objectives} objectives there is no best"), "To end by time: [stop] time = \"10m\"")
        }
        Some(Allowed::Noise) if objective.parts().a_repeat() < 2 => (
            "one fold says nothing of its noise".to_owned(),
            "Say what matters, in the metric's unit: regret = 0.001; or validate by several folds",
        ),
        Some(_) => return Ok(()),
    };
    Err(ConfigError::NoRegret { reason, remedy })
}

/// Numbers that a journal's frame keeps of the best candidates at most: 80 MB.
const MOST_KEPT: usize = 10_000_000;

/// What in a study needs every candidate, if anything does.
fn needs_all(config: &StudyConfig, objective: &Objective, strategy: &Relay, space: &Space) -> Option<String> {
    match objective {
        Objective::Models(_) => Some("the choice of a model looks at every candidate's folds".to_owned()),
        Objective::Command(_) | Objective::Rust(_) => {
            Some("what a program has taken so long for is not thrown away".to_owned())
        }
        Objective::Wgsl(_) => Some("the best alone are kept of functions that the program has itself".to_owned()),
        Objective::Function(function) if function.objectives() > 1 => {
            Some("of several objectives there is no single order of the candidates".to_owned())
        }
        _ if config.stop.patience.is_some() => Some("stop.patience counts from outcome to outcome".to_owned()),
        _ if config.stop.regret.is_some() => Some("stop.regret is a bound from all outcomes".to_owned()),
        _ if strategy.is_adaptive() => match strategy.generations() {
            Some(_) if config.search.crossover_rate.or(config.search.mutation_rate).is_some() => {
                Some("whole generations have fixed rates, and one is set in [search]".to_owned())
            }
            Some(_) => generation::refusal(space),
            None => {
                let can = STRATEGIES.iter().filter(|entry| entry.generations().is_some());
                let can: Vec<&str> = can.map(|entry| entry.name()).collect();
                let why = "is rebuilt from all outcomes when a run goes on; these are not";
                Some(format!("{} {why}: {}", strategy.name(), can.join(", ")))
            }
        },
        _ if !strategy.begins_anywhere() => {
            Some(format!("{} cannot go on from a candidate in its middle", strategy.name()))
        }
        _ => None,
    }
}

/// Known points come first, whatever searches then; where nothing is to search then, the program chooses.
fn legs(search: &mut SearchOptions) {
    let names = &mut search.strategy.0;
    let has_known = !(search.points.is_empty() && search.warm_start.is_empty());
    if has_known && !names.iter().any(|name| name == PORTFOLIO) {
        names.insert(0, PORTFOLIO.to_owned());
    }
    if matches!(&names[..], [only] if only == PORTFOLIO) {
        names.push(AUTO.to_owned());
    }
}

/// What the program takes by itself where only the best are kept. What learns there forgets what it did not keep, and the
/// values' distribution would be that of its way.
fn sweeping(config: &StudyConfig) -> Option<&'static str> {
    let is_auto = matches!(&config.search.strategy.0[..], [only] if only == AUTO);
    (is_auto && config.run.history != Retention::All).then_some("random")
}

/// The strategy of known points.
const PORTFOLIO: &str = "portfolio";
/// The strategy that chooses among the others, also after known points.
const AUTO: &str = "auto";

/// Candidates that are proposed at a time. Stop rules look at whole batches: where there are any, batches are so small
/// that little is trained in vain; and where a strategy learns, so small that it can, often.
fn batch(config: &StudyConfig, strategy: &Relay, scheduler: &dyn SchedulerEntry) -> u64 {
    const MOST: u64 = 1000;
    const TO_LEARN: u64 = 50;
    const ROUNDS: u64 = 200;
    const WITH_TARGET: u64 = 100;
    const LEAST: u64 = 16;
    let by_patience = config.stop.patience.map_or(MOST, |patience| (patience / 2).clamp(LEAST, MOST));
    let by_target = config.stop.target.map_or(MOST, |_| WITH_TARGET);
    if scheduler.explores() {
        // A population trains side by side, and learns on its way.
        return config.search.batch.unwrap_or(MOST);
    }
    let by_learning = match strategy.is_adaptive() {
        true => (Plan::of(config).candidates / ROUNDS).max(TO_LEARN),
        false => MOST,
    };
    config.search.batch.unwrap_or(by_patience.min(by_target).min(by_learning))
}

fn has_no_budget(model: &ModelOptions) -> bool {
    match &model.budget {
        Some(ModelBudget::One(budget)) => *budget == 0,
        Some(ModelBudget::Each(budgets)) => budgets.values().any(|budget| *budget == 0),
        None => false,
    }
}

/// An error about what a key holds, at the place where the study says it.
pub(super) fn at(source: &Source, key: &str, error: StudyError) -> StudyError {
    placed(source.find(key, About::Value), error)
}

pub(super) fn placed(place: Option<Place>, error: StudyError) -> StudyError {
    match place {
        Some(place) => StudyError::At { place, error: Box::new(error) },
        None => error,
    }
}

/// More threads than any machine has cores would bring it to its knees before they train anything.
const THREADS_MOST: usize = 1024;
/// Fewer than four have no three others to differ by.
const POPULATION: RangeInclusive<u64> = 4..=1_000_000;

fn wrong_limit(limits: &Limits) -> Option<f64> {
    limits.all().find(|limit| limit.is_nan() || *limit <= 0.0)
}

fn has_twice(objectives: &[Criterion]) -> bool {
    objectives.iter().enumerate().any(|(place, one)| objectives[..place].contains(one))
}

fn check_ranges(config: &StudyConfig) -> Result<(), ConfigError> {
    let search = &config.search;
    let out_of_range =
        |key, value: String, need| Err(ConfigError::OutOfRange { key, value, need: Cow::Borrowed(need) });
    match () {
        () if search.candidates == 0 => out_of_range("search.candidates", "0".to_owned(), "1 or more"),
        () if search.batch == Some(0) => out_of_range("search.batch", "0".to_owned(), "1 or more"),
        () if search.population.is_some_and(|members| !POPULATION.contains(&members)) => {
            out_of_range("search.population", search.population.unwrap_or(0).to_string(), "4 to 1,000,000")
        }
        () if search.crossover_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) => {
            out_of_range("search.crossover_rate", search.crossover_rate.unwrap_or(0.0).to_string(), "0 to 1")
        }
        () if search.mutation_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) => {
            out_of_range("search.mutation_rate", search.mutation_rate.unwrap_or(0.0).to_string(), "0 to 1")
        }
        () if search.objectives.first() != Some(&Criterion::Score) => {
            let named: Vec<String> = search.objectives.iter().map(ToString::to_string).collect();
            out_of_range(
                "search.objectives",
                format!("{named:?}"),
                "\"score\" first, then any of \"seconds\", \"size\" and \"prediction\"",
            )
        }
        () if has_twice(&search.objectives) => {
            let named: Vec<String> = search.objectives.iter().map(ToString::to_string).collect();
            out_of_range("search.objectives", format!("{named:?}"), "each of them once")
        }
        () if wrong_limit(&search.limits).is_some() => {
            out_of_range("search.limits", wrong_limit(&search.limits).unwrap_or(0.0).to_string(), "more than 0")
        }
        () if config.objective.is_some() && search.objectives.len() > 1 => out_of_range(
            "search.objectives",
            "beside [objective]".to_owned(),
            "a function, a shader or an objective in Rust says which there are, and of a command they are objective.others",
        ),
        () if config.objective.is_some() && !search.limits.is_empty() => {
            let need = "these are about models, and there is none; limits of a command are objective.limits";
            out_of_range("search.limits", "beside [objective]".to_owned(), need)
        }
        () if search.plan.is_some_and(|plan| plan.candidates == 0) => {
            out_of_range("search.plan", "0 candidates".to_owned(), "1 or more")
        }
        () if search.plan.is_some_and(|plan| plan.threads > THREADS_MOST) => {
            out_of_range("search.plan", "its threads".to_owned(), "at most 1024")
        }
        () if search.eta < 2 => out_of_range("search.eta", search.eta.to_string(), "2 or more"),
        () if search.min_budget == 0 => out_of_range("search.min_budget", "0".to_owned(), "1 or more"),
        () if !(0.0..=100.0).contains(&search.percentile) => {
            out_of_range("search.percentile", search.percentile.to_string(), "0, the best, to 100, the worst")
        }
        () if search.threshold.is_some_and(f64::is_nan) => {
            out_of_range("search.threshold", "nan".to_owned(), "a number")
        }
        () if config.objective.is_some() && search.resource == Resource::Rows => out_of_range(
            "search.resource",
            "rows".to_owned(),
            "\"own\" beside [objective], which trains no model on rows",
        ),
        () if search.interval == Some(0) => out_of_range("search.interval", "0".to_owned(), "1 or more"),
        () if !search.min_delta.is_finite() => {
            out_of_range("search.min_delta", search.min_delta.to_string(), "a number, in the metric's unit")
        }
        () if search.level.is_some_and(|level| !(level > 0.0 && level < 1.0)) => {
            out_of_range("search.level", search.level.unwrap_or(0.0).to_string(), "a share between 0 and 1")
        }
        () if !(0.0..=0.5).contains(&search.quantile) => {
            out_of_range("search.quantile", search.quantile.to_string(), "a share from 0 to 0.5")
        }
        () if !(0.0..=1.0).contains(&search.resample) => {
            out_of_range("search.resample", search.resample.to_string(), "a share from 0 to 1")
        }
        () if search.resolution == 0 => out_of_range("search.resolution", "0".to_owned(), "1 or more"),
        () if has_no_budget(&config.model) => out_of_range("model.budget", "0".to_owned(), "1 or more"),
        () if config.stop.patience == Some(0) => out_of_range("stop.patience", "0".to_owned(), "1 or more"),
        () if config.stop.min_delta.is_nan() || config.stop.min_delta < 0.0 => {
            out_of_range("stop.min_delta", config.stop.min_delta.to_string(), "0 or more")
        }
        () if config.stop.time.is_some_and(|span| span.0.is_zero()) => {
            out_of_range("stop.time", "0s".to_owned(), "more than nothing: \"90s\", \"10m\" or \"2h 30m\"")
        }
        () if config.run.threads > THREADS_MOST => {
            out_of_range("run.threads", config.run.threads.to_string(), "at most 1024; 0 takes one a core")
        }
        () if config.run.device.is_some() && config.run.backend == BackendChoice::Cpu => out_of_range(
            "run.device",
            config.run.device.clone().unwrap_or_default(),
            "a device is for backend = \"gpu\"",
        ),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A study of sets alone, with three threads.
    fn study(sets: &[&str]) -> Study {
        let sets: Vec<String> = sets.iter().chain(&["run.threads=3"]).map(|set| (*set).to_owned()).collect();
        Study::resolve(StudyConfig::of_sets("study", &sets).unwrap()).unwrap()
    }

    #[test]
    fn a_strategy_hears_of_shares_of_the_search_s_time_whatever_trains() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.csv");
        let rows: String = (0..60).map(|row| format!("{},{row},k{}\n", row % 7, row % 2)).collect();
        std::fs::write(&file, format!("a,b,kind\n{rows}")).unwrap();
        let models = study(&[&format!("data.file={}", file.display()), "data.target=kind"]);
        // Each thread has a clock of its own; a device has one, and a function's evaluations report shares of it.
        assert_eq!((models.clocks("cpu"), models.clocks("gpu")), (3.0, 1.0));
        let function = study(&["objective.function=sphere"]);
        assert_eq!((function.clocks("cpu"), function.clocks("gpu")), (1.0, 1.0));
        let of_command = ["objective.command=echo {x}", "space.x={ float = [0, 1] }"];
        let clocks = |more: &[&str]| study(&[&of_command[..], more].concat()).clocks("programs");
        assert_eq!((clocks(&[]), clocks(&["objective.workers=5"])), (3.0, 5.0));
        let planned = "search.plan={ candidates = 9, threads = 3, workers = 7 }";
        assert_eq!(clocks(&["objective.workers=5", "stop.time=9s", planned]), 7.0, "as many as the run began with");
        let row = models.space.defaults();
        let trial = Trial { seconds: 6.0, ..Trial::infeasible(0, models.shape()) };
        let told = |backend| models.outcome(&trial, &row, models.clocks(backend)).seconds;
        assert_eq!((told("cpu"), told("gpu")), (2.0, 6.0));
    }
}
