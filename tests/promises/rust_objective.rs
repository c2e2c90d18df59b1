//! What an objective in Rust promises: a closure is a study, trainings in steps stand on rungs and go on, whatever the code does
//! the study goes on and says why it failed, and nothing depends on threads or on where the run was stopped.

use crate::study::run;
use crate::support::{Folder, program, quiet, studies};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thousandfold::backend::StopFlag;
use thousandfold::base::random::{Key, uniform_f64};
use thousandfold::data::metrics::Direction;
use thousandfold::schedulers::SCHEDULERS;
use thousandfold::space::{Points, Space, SpaceBuilder, Value};
use thousandfold::study::events::{Event, Observer};
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::objective::{
    Candidate, CustomObjective, Evaluation, Failure, Training, maximize, minimize, several,
};
use thousandfold::study::resolve::Study;
use thousandfold::study::result::{Chosen, RunResult};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::scorer::Scorer;
use thousandfold::study::stopping::StopReason;
use thousandfold::study::{Ended, LoadedConfig, Start, StudyConfig, load_result, load_run, tune};

fn space() -> Space {
    SpaceBuilder::new()
        .float("x", -2.0, 2.0, 1.0)
        .int("n", 1, 9, 5)
        .boolean("is_on", false)
        .categorical("kind", &["adam", "sgd"], "adam")
        .float("momentum", 0.5, 0.9, 0.7)
        .when("momentum", "kind", &["sgd"])
        .build()
}

/// A study of thirty random candidates in a folder.
fn study(folder: &Folder, space: &Space, objective: impl CustomObjective + 'static) -> LoadedConfig {
    let mut study = StudyConfig::for_objective("valley", space, objective).unwrap();
    study.config.run.dir = Some(folder.path().join("run"));
    study.config.search.strategy = "random".into();
    study.config.search.candidates = 30;
    study
}

fn with(mut study: LoadedConfig, change: impl FnOnce(&mut StudyConfig)) -> LoadedConfig {
    change(&mut study.config);
    study
}

fn ended(study: LoadedConfig) -> RunResult {
    run(study, Existing::Refuse)
}

fn refused(study: LoadedConfig) -> String {
    tune(study, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string()
}

fn number(chosen: &Chosen, name: &str) -> Option<f64> {
    chosen.params.get(name).map(|value| value.number().unwrap())
}

/// A value of every parameter, by way of what a candidate gives.
fn valley() -> Evaluation {
    minimize(|candidate| {
        let (x, n): (f64, u32) = (candidate.get("x")?, candidate.get("n")?);
        let (is_on, kind): (bool, &str) = (candidate.get("is_on")?, candidate.get("kind")?);
        let momentum: Option<f64> = candidate.get("momentum")?;
        assert_eq!(momentum.is_some(), kind == "sgd");
        Ok((x - 0.3).powi(2) + f64::from(n) + f64::from(u8::from(is_on)) + momentum.unwrap_or(2.0))
    })
}

#[test]
fn a_closure_is_a_study_and_its_values_are_what_it_gives() {
    let folder = Folder::new();
    let result = ended(study(&folder, &space(), valley()));
    assert_eq!((result.counts.complete, result.counts.failed), (30, 0), "{:?}", result.failures);
    for chosen in &result.top {
        let is_on = f64::from(u8::from(chosen.params["is_on"] == Value::Bool(true)));
        let (x, n) = (number(chosen, "x").unwrap(), number(chosen, "n").unwrap());
        let wanted = (x - 0.3).powi(2) + n + is_on + number(chosen, "momentum").unwrap_or(2.0);
        assert_eq!(chosen.value.to_bits(), wanted.to_bits(), "{chosen:?}");
    }
    assert!(result.top.iter().any(|one| one.params.contains_key("momentum")));
    assert!(result.top.iter().any(|one| !one.params.contains_key("momentum")));
    assert!(result.top.windows(2).all(|pair| pair[0].value <= pair[1].value), "less is better");
    let facts = result.rust.unwrap();
    assert_eq!((&facts.name[..], &facts.version[..], result.study.as_str()), ("valley", "1", "valley"));
    assert_eq!((result.metric.as_str(), result.model, result.best.std_error), ("value", None, None));
    let more = maximize(|candidate| Ok(-candidate.get::<f64>("x")?.abs()));
    let more = ended(study(&Folder::new(), &space(), more));
    assert!(more.best.value <= 0.0 && more.top.windows(2).all(|pair| pair[0].value >= pair[1].value));
}

#[test]
fn the_same_study_gives_the_same_bits_whatever_the_threads_and_its_text_is_the_same_study() {
    let of = |threads: usize| {
        let study = with(study(&Folder::new(), &space(), valley()), |config| {
            config.search.strategy = "tpe".into();
            config.search.batch = Some(5);
            config.run.threads = threads;
        });
        studies::comparable(&ended(study))
    };
    let one = of(1);
    assert_eq!(of(4), one);
    // The run's own study, read again and given its code, is the same.
    let folder = Folder::new();
    let first = studies::comparable(&ended(study(&folder, &space(), valley())));
    let again = format!("run.dir={}", folder.path().join("again").display());
    let text = StudyConfig::load(&folder.path().join("run/study.toml"), &[again]).unwrap();
    assert_eq!(text.config.objective.as_ref().unwrap().rust.as_deref(), Some("valley"));
    assert_eq!(
        studies::comparable(&ended(text.with_objective(valley())))
            .replace("\"study\":\"study\"", "\"study\":\"valley\""),
        first
    );
    // And one that a user writes.
    let file = folder.write(
        "mine.toml",
        "[objective]\nrust = 'valley'\nrepeats = 2\n[space]\nx = { float = [-2, 2] }\n[search]\ncandidates = 8\n",
    );
    let mine = StudyConfig::load(&file, &[folder.run_set() + "2"]).unwrap();
    let mine = ended(mine.with_objective(minimize(|candidate| Ok(candidate.get::<f64>("x")?.abs()))));
    assert_eq!((mine.counts.complete, mine.best.folds.len(), mine.lanes), (8, 2, 16));
}

#[test]
fn candidates_of_anybody_s_are_scored_as_a_search_scores_them() {
    let result = ended(study(&Folder::new(), &space(), valley()));
    let study = Study::resolve(study(&Folder::new(), &space(), valley())).unwrap();
    let mut points = Points::new(study.space.parameters.len());
    result.top.iter().for_each(|one| points.push(&study.space.row(&one.params).unwrap()));
    let trials = Scorer::open(&study).unwrap().score(&points).unwrap();
    assert!(trials.len() == 20 && trials.iter().zip(&result.top).all(|(trial, one)| trial.value() == one.value));
}

#[test]
fn each_repeat_has_a_seed_of_its_own_and_all_candidates_have_the_same() {
    let seeds = |seed: u64| {
        let seen = Arc::new(Mutex::new(BTreeMap::<u32, BTreeSet<u64>>::new()));
        let told = seen.clone();
        let objective = minimize(move |candidate| {
            told.lock().unwrap().entry(candidate.repeat()).or_default().insert(candidate.seed());
            Ok(uniform_f64(Key::from_seed(candidate.seed()).words(0)))
        });
        let study = study(&Folder::new(), &space(), objective.repeats(3));
        let result = ended(with(study, |config| config.search.seed = seed));
        assert!(result.top.iter().all(|one| one.folds == result.best.folds && one.std_error.is_some()));
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(seen.values().all(|seeds| seeds.len() == 1), "{seen:?}");
        seen.into_values().flatten().collect::<BTreeSet<u64>>()
    };
    let (one, two) = (seeds(1), seeds(2));
    assert_eq!((one.len(), two.len(), one.intersection(&two).count()), (3, 3, 0));
}

/// Nine chaotic steps, so that a step too many or too few, or a draw from elsewhere, changes every digit.
struct Chaos {
    begun: AtomicU64,
    steps: AtomicU64,
    bytes: u64,
    repeats: u32,
}

impl Chaos {
    fn new(bytes: u64, repeats: u32) -> Arc<Chaos> {
        Arc::new(Chaos { begun: AtomicU64::new(0), steps: AtomicU64::new(0), bytes, repeats })
    }

    fn first(x: f64, seed: u64) -> f64 {
        0.2 + 0.1 * x + 0.1 * uniform_f64(Key::from_seed(seed).words(7))
    }

    fn next(state: f64) -> f64 {
        3.9 * state * (1.0 - state)
    }
}

struct Orbit<'a> {
    chaos: &'a Chaos,
    state: f64,
}

impl CustomObjective for Chaos {
    fn budget(&self) -> u64 {
        9
    }
    fn repeats(&self) -> u32 {
        self.repeats
    }
    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        assert_eq!(candidate.budget(), 9, "whatever the rung");
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Orbit { chaos: self, state: Chaos::first(candidate.get("x")?, candidate.seed()) }))
    }
}

impl Training for Orbit<'_> {
    fn step(&mut self) -> Result<(), Failure> {
        self.chaos.steps.fetch_add(1, Ordering::Relaxed);
        self.state = Chaos::next(self.state);
        Ok(())
    }
    fn score(&self) -> Result<Vec<f64>, Failure> {
        Ok(vec![self.state])
    }
    fn bytes(&self) -> u64 {
        self.chaos.bytes
    }
}

/// What every scheduler of the registry needs.
fn scheduled(folder: &Folder, scheduler: &str, objective: impl CustomObjective + 'static) -> LoadedConfig {
    with(study(folder, &space(), objective), |config| {
        config.search.scheduler = scheduler.to_owned();
        config.search.batch = Some(9);
        config.search.threshold = Some(0.9);
        config.search.level = Some(0.3);
    })
}

#[test]
fn steps_in_legs_are_steps_in_one_go_under_every_scheduler() {
    let full = Chaos::new(0, 5);
    let whole = ended(scheduled(&Folder::new(), "full", full.clone()));
    assert_eq!((full.begun.load(Ordering::Relaxed), full.steps.load(Ordering::Relaxed)), (150, 150 * 9));
    let mut early = 0;
    // A population changes hyperparameters of models alone.
    for entry in SCHEDULERS.iter().filter(|entry| entry.ends_early() && !entry.explores()) {
        let chaos = Chaos::new(0, 5);
        let result = ended(scheduled(&Folder::new(), entry.name(), chaos.clone()));
        let counts = result.counts;
        assert_eq!((counts.complete + counts.pruned, counts.failed), (30, 0), "{}", entry.name());
        for chosen in &result.top {
            let same = whole.top.iter().find(|one| one.candidate == chosen.candidate);
            let bits = |one: &Chosen| one.folds.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(same.is_none_or(|same| bits(same) == bits(chosen)), "{}: {chosen:?}", entry.name());
            assert_eq!(chosen.used, [9; 5], "{}", entry.name());
        }
        let (begun, steps) = (chaos.begun.load(Ordering::Relaxed), chaos.steps.load(Ordering::Relaxed));
        assert!(begun <= 150, "{}: none began twice, and {begun} did", entry.name());
        assert!(steps < 150 * 9 || counts.pruned == 0, "{}: {steps}", entry.name());
        early += counts.pruned;
        // Of trainings that say how large they are some begin anew, and end the same.
        let large = Chaos::new(300 << 10, 5);
        let study = scheduled(&Folder::new(), entry.name(), large.clone());
        let result_of_few = ended(with(study, |config| config.run.memory = 1));
        assert_eq!(studies::comparable(&result_of_few), studies::comparable(&result), "{}", entry.name());
        let again = large.begun.load(Ordering::Relaxed) > begun;
        assert!(again || ["racing", "wilcoxon"].contains(&entry.name()), "{}", entry.name());
    }
    assert!(early > 100, "{early} were ended early");
}

#[test]
fn a_study_says_how_many_steps_and_repeats_there_are_where_it_wants_others() {
    let at_once = study(&Folder::new(), &space(), minimize(|_| Ok(0.0)));
    let error = refused(at_once.with_sets(&["objective.budget=27"]).unwrap());
    assert!(
        error.contains("--set objective.budget=27: objective.budget is 27, and the objective is evaluated"),
        "{error}"
    );
    struct Longer;
    struct Counted(u64, u64);
    impl CustomObjective for Longer {
        fn budget(&self) -> u64 {
            3
        }
        fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
            Ok(Box::new(Counted(0, candidate.budget())))
        }
    }
    impl Training for Counted {
        fn step(&mut self) -> Result<(), Failure> {
            self.0 += 1;
            Ok(())
        }
        fn score(&self) -> Result<Vec<f64>, Failure> {
            Ok(vec![(self.0 * 100 + self.1) as f64])
        }
    }
    let longer = study(&Folder::new(), &space(), Longer);
    let longer = ended(longer.with_sets(&["objective.budget=7", "objective.repeats=2"]).unwrap());
    assert_eq!((longer.best.value, longer.best.used), (707.0, vec![7, 7]));
}

/// An error with a source.
#[derive(Debug)]
struct Unreadable(std::num::ParseFloatError);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table cannot be read")
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

const KINDS: [&str; 12] =
    ["good", "says", "error", "panic", "formatted", "silent", "nan", "infinite", "two", "none", "slip", "in_drop"];

/// A kind of misbehaviour a candidate.
fn misbehaving() -> Evaluation {
    several([Direction::Minimize], |candidate| {
        let kind: &str = candidate.get("kind")?;
        match kind {
            "says" => Err(Failure::new("no data\n\n  for it")),
            "error" => Ok(vec!["x".parse::<f64>().map_err(Unreadable)?]),
            "panic" => panic!("lost"),
            "formatted" => Ok(vec![[1.0][KINDS.len()]]),
            "silent" => std::panic::panic_any(3_u8),
            "nan" => Ok(vec![f64::NAN]),
            "infinite" => Ok(vec![f64::NEG_INFINITY]),
            "two" => Ok(vec![1.0, 2.0]),
            "none" => Ok(Vec::new()),
            "slip" => Ok(vec![candidate.get("kidn")?]),
            _ => Ok(vec![candidate.id() as f64]),
        }
    })
}

/// Every kind once.
fn grid(study: LoadedConfig) -> LoadedConfig {
    with(study, |config| config.search.strategy = "grid".into())
}

#[test]
fn every_failure_is_recorded_with_its_reason_and_hurts_no_other() {
    let folder = Folder::new();
    let kinds = SpaceBuilder::new().categorical("kind", &KINDS, "good").build();
    let result = ended(grid(with(study(&folder, &kinds, misbehaving()), |config| config.run.threads = 3)));
    let counts = result.counts;
    assert_eq!((counts.proposed, counts.complete, counts.failed), (12, 2, 10), "{:?}", result.failures);
    let complete: Vec<f64> = result.top.iter().map(|one| one.value).collect();
    assert_eq!(complete, [0.0, 11.0]);
    let (frames, _) = read(&folder.path().join("run/journal.tfj"), false).unwrap();
    let reasons =
        frames.iter().filter_map(|frame| if let Frame::Reasons(reasons) = frame { Some(reasons) } else { None });
    let reasons: BTreeMap<u64, &str> =
        reasons.flatten().map(|(candidate, reason)| (*candidate, reason.as_str())).collect();
    let reason = |kind: &str| {
        let candidate = KINDS.iter().position(|one| *one == kind).unwrap() as u64;
        reasons.get(&candidate).copied().unwrap_or_default()
    };
    assert_eq!(reason("says"), "no data / for it");
    assert_eq!(reason("error"), "the table cannot be read: invalid float literal");
    assert_eq!(reason("panic"), "it panicked: lost");
    assert_eq!(reason("formatted"), "it panicked: index out of bounds: the len is 1 but the index is 12");
    assert_eq!(reason("silent"), "it panicked: it said nothing");
    assert_eq!((reason("nan"), reason("infinite")), ("its value is NaN", "its value is -inf"));
    assert_eq!(reason("two"), "it gave 2 values, and the objective has 1 value");
    assert_eq!(reason("none"), "it gave 0 values, and the objective has 1 value");
    assert!(
        reason("slip").starts_with("no parameter is called \"kidn\"; did you mean \"kind\"?"),
        "{}",
        reason("slip")
    );
    assert_eq!(reason("good"), "");
    let summary = thousandfold::monitor::summary::summary(&result, 120);
    assert!(summary.contains("it panicked: lost") && summary.contains("2 candidates of valley"), "{summary}");
    // Whoever goes on with the run hears the same of it, and nothing is evaluated again.
    let gone = several([Direction::Minimize], |_| panic!("nothing is evaluated again"));
    let again = run(grid(study(&folder, &kinds, gone)), Existing::Resume);
    assert_eq!(studies::comparable(&again), studies::comparable(&result));
}

/// Trainings that fail on their way, in every place where they can.
struct Fragile;

struct Breaking {
    place: String,
    step: u64,
}

impl CustomObjective for Fragile {
    fn budget(&self) -> u64 {
        9
    }
    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        let place: String = candidate.get("kind")?;
        assert_ne!(place, "begin");
        Ok(Box::new(Breaking { place, step: 0 }))
    }
}

impl Training for Breaking {
    fn step(&mut self) -> Result<(), Failure> {
        self.step += 1;
        if self.place == "step" && self.step == 2 {
            return Err(Failure::new("step 2"));
        }
        Ok(())
    }
    fn score(&self) -> Result<Vec<f64>, Failure> {
        assert_ne!(self.place, "score");
        Ok(vec![if self.place == "nan" && self.step > 1 { f64::NAN } else { self.step as f64 }])
    }
    fn bytes(&self) -> u64 {
        assert_ne!(self.place, "bytes");
        8
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        assert!(self.place != "drop" || std::thread::panicking(), "in its drop");
    }
}

#[test]
fn a_training_may_fail_anywhere_on_its_way() {
    let places = ["good", "begin", "step", "score", "nan", "bytes", "drop"];
    let kinds = SpaceBuilder::new().categorical("kind", &places, "good").build();
    let study = grid(with(study(&Folder::new(), &kinds, Fragile), |config| {
        (config.search.scheduler, config.search.threshold) = ("threshold".to_owned(), Some(100.0));
    }));
    let result = ended(study);
    assert_eq!((result.counts.complete, result.counts.failed), (2, 5), "{:?}", result.failures);
    assert!(result.top.iter().all(|one| one.value == 9.0));
    let told: Vec<&str> = result.failures.iter().map(|one| one.reason.as_str()).collect();
    assert!(told.contains(&"step 2") && told.contains(&"its value is NaN after step 3"), "{told:?}");
    assert_eq!(told.iter().filter(|reason| reason.starts_with("it panicked: ")).count(), 3, "{told:?}");
}

#[test]
fn where_every_candidate_fails_the_reason_is_said() {
    let error = refused(study(&Folder::new(), &space(), minimize(|_| Err(Failure::new("no such table")))));
    assert!(error.contains("every one of the 30 candidates failed: no such table"), "{error}");
    assert!(error.contains("docs/rust.md"), "{error}");
}

#[test]
fn a_value_is_told_as_soon_as_it_is_there() {
    struct Tells(Arc<AtomicBool>);
    impl Observer for Tells {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if matches!(event, Event::Lane(_)) {
                self.0.store(true, Ordering::Relaxed);
            }
            Ok(())
        }
    }
    let told = Arc::new(AtomicBool::new(false));
    let heard = told.clone();
    // The second candidate waits until somebody has heard of another one.
    let objective = minimize(move |candidate| {
        let began = Instant::now();
        while candidate.id() == 1 && !heard.load(Ordering::Relaxed) {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(Failure::new("nobody heard of any other for a minute"));
            }
            std::thread::yield_now();
        }
        Ok(candidate.id() as f64)
    });
    let mut observers = quiet();
    observers.push(Box::new(Tells(told)));
    let study = with(study(&Folder::new(), &space(), objective), |config| config.run.threads = 2);
    let Ended::Finished(result) = tune(study, Start::default(), &mut observers, &StopFlag::default()).unwrap() else {
        panic!("nobody interrupted it")
    };
    assert_eq!(result.counts.failed, 0, "{:?}", result.failures);
}

#[test]
fn no_candidate_begins_inside_another_one_that_waits_for_its_own_threads() {
    thread_local!(static HOLDS: Cell<bool> = const { Cell::new(false) });
    for threads in [2, 4] {
        let lock = Mutex::new(());
        let objective = minimize(move |candidate| {
            // To lock it here would be to wait for ever for what this thread holds.
            if HOLDS.get() {
                return Err(Failure::new("inside another candidate"));
            }
            let began = Instant::now();
            let held = loop {
                match lock.try_lock() {
                    Ok(held) => break held,
                    Err(_) if began.elapsed() > Duration::from_secs(20) => {
                        return Err(Failure::new("it waits for ever"));
                    }
                    Err(_) => std::thread::yield_now(),
                }
            };
            HOLDS.set(true);
            let id = candidate.id();
            let chaos = |piece: u64| (0..500).fold(Chaos::first(0.0, id + piece), |state, _| Chaos::next(state));
            let sum = (0..64).into_par_iter().map(chaos).max_by(f64::total_cmp);
            HOLDS.set(false);
            drop(held);
            Ok(sum.unwrap_or(0.0))
        });
        let study = with(study(&Folder::new(), &space(), objective), |config| {
            (config.run.threads, config.search.candidates, config.search.batch) = (threads, 200, Some(5));
        });
        assert_eq!(ended(study).counts.complete, 200, "{threads} threads");
    }
}

#[test]
fn a_raised_flag_leaves_those_that_have_not_begun() {
    let stop = StopFlag::default();
    let (raised, count) = (stop.clone(), Arc::new(AtomicU64::new(0)));
    let seen = count.clone();
    let objective = move || {
        let (raised, seen) = (raised.clone(), seen.clone());
        minimize(move |candidate| {
            if seen.fetch_add(1, Ordering::Relaxed) == 4 {
                raised.raise();
            }
            candidate.get("x")
        })
    };
    let folder = Folder::new();
    let threads = |config: &mut StudyConfig| config.run.threads = 1;
    let first = tune(with(study(&folder, &space(), objective()), threads), Start::default(), &mut quiet(), &stop);
    assert!(matches!(first.unwrap(), Ended::Interrupted { candidates: 5, .. }));
    assert_eq!(count.load(Ordering::Relaxed), 5);
    let result = run(with(study(&folder, &space(), objective()), threads), Existing::Resume);
    assert_eq!((result.counts.complete, count.load(Ordering::Relaxed)), (30, 30), "none was evaluated twice");
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_bits() {
    struct StopAfter(StopFlag, u64);
    impl Observer for StopAfter {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if let Event::Lane(progress) = event
                && progress.lanes >= self.1
            {
                self.0.raise();
            }
            Ok(())
        }
    }
    for scheduler in ["full", "hyperband", "racing"] {
        let of = |folder: &Folder| {
            with(scheduled(folder, scheduler, Chaos::new(0, 5)), |config| {
                config.search.strategy = "tpe".into();
            })
        };
        let whole = studies::comparable(&ended(of(&Folder::new())));
        for lanes in [3, 33, 60] {
            let folder = Folder::new();
            let stop = StopFlag::default();
            let mut observers = quiet();
            observers.push(Box::new(StopAfter(stop.clone(), lanes)));
            let stopped = tune(of(&folder), Start::default(), &mut observers, &stop).unwrap();
            assert!(matches!(stopped, Ended::Interrupted { .. }), "{scheduler}, {lanes}");
            // As a program goes on that has the run's directory alone.
            let run_dir = folder.path().join("run");
            let resumed = run(load_run(&run_dir, &[]).unwrap().with_objective(Chaos::new(0, 5)), Existing::Resume);
            assert_eq!(studies::comparable(&resumed), whole, "{scheduler}, {lanes}");
        }
    }
}

#[test]
fn stop_rules_hold() {
    let stopped = |change: &dyn Fn(&mut StudyConfig)| {
        let study = study(&Folder::new(), &space(), valley());
        ended(with(study, |config| {
            config.search.candidates = 1000;
            change(config);
        }))
        .stopped_because
    };
    assert_eq!(stopped(&|config| config.stop.target = Some(9.0)), StopReason::Target);
    assert_eq!(stopped(&|config| config.stop.patience = Some(20)), StopReason::Patience);
}

#[test]
fn of_several_values_the_trade_offs_are_found() {
    let objective = several([Direction::Minimize, Direction::Maximize], |candidate| {
        let x: f64 = candidate.get("x")?;
        Ok(vec![x * x, x])
    });
    let folder = Folder::new();
    let result = ended(with(study(&folder, &space(), objective), |config| {
        config.search.strategy = "nsga2".into();
    }));
    assert_eq!(result.objectives, ["value", "value 2"]);
    let front: Vec<(f64, f64)> = result.front.iter().map(|one| (one.value, one.others[0])).collect();
    assert!(front.len() > 1);
    for (less, more) in &front {
        assert!(
            !front.iter().any(|other| other.0 <= *less && other.1 >= *more && other != &(*less, *more)),
            "{front:?}"
        );
        assert!(*more > -0.5, "a step to the left of 0 makes both worse: {front:?}");
    }
    let early = several([Direction::Minimize; 2], |_| Ok(vec![1.0, 1.0]));
    let early = with(study(&Folder::new(), &space(), early), |config| config.search.scheduler = "asha".to_owned());
    assert!(refused(early).contains("of 2 objectives there is no single order"));
}

#[test]
fn of_those_that_are_equal_in_the_first_value_the_better_in_the_second_is_the_best() {
    for (direction, best) in [(Direction::Minimize, f64::min as fn(f64, f64) -> f64), (Direction::Maximize, f64::max)] {
        let objective = several([Direction::Minimize, direction], |candidate| Ok(vec![1.0, candidate.get("x")?]));
        let result = ended(with(study(&Folder::new(), &space(), objective), |config| {
            config.search.strategy = "random".into();
        }));
        let others = result.top.iter().map(|one| one.others[0]);
        assert_eq!(result.best.others[0], others.reduce(best).unwrap(), "{direction:?}");
        assert!(result.front.iter().all(|one| one.others == result.best.others), "{direction:?}");
    }
}

#[test]
fn what_cannot_be_searched_is_said_before_anything_is_evaluated() {
    let never = || minimize(|_| panic!("nothing is evaluated"));
    let named = |name: &str, space: &Space| StudyConfig::for_objective(name, space, never()).unwrap_err().to_string();
    let twice = SpaceBuilder::new().float("x", 0.0, 1.0, 0.5).int("n", 1, 2, 1).boolean("x", true).build();
    assert!(named("valley", &twice).contains("two parameters that are called \"x\""));
    for name in ["", "a.b", "my-x", "1x", "constraints"] {
        let error = named("valley", &SpaceBuilder::new().float(name, 0.0, 1.0, 0.5).build());
        assert!(error.contains(&format!("no parameter can be called \"{name}\"")), "{error}");
    }
    for name in ["a/b", "..", ".", "a/", "/a", "a\\b", "../valley"] {
        let error = named(name, &space());
        assert!(error.contains(&format!("cannot be called \"{name}\"")) && error.contains("not \".\""), "{error}");
    }
    assert!(named("", &space()).contains("Give it a name"));
    let folder = Folder::new();
    let of = |objective: Evaluation, change: &dyn Fn(&mut StudyConfig)| {
        refused(with(study(&folder, &space(), objective), change))
    };
    let as_it_is = |_: &mut StudyConfig| {};
    let empty = refused(study(&folder, &SpaceBuilder::new().build(), never()));
    assert!(empty.contains("the space that it was given has no parameter"), "{empty}");
    let repeats = of(never().repeats(0), &as_it_is);
    assert!(repeats.contains("objective.repeats = 0 is not possible: 1 to 10000"), "{repeats}");
    let none = of(several([], |_| panic!("nothing is evaluated")), &as_it_is);
    assert!(none.contains("the objective has no direction"), "{none}");
    let gpu = of(never(), &|config| config.run.backend = thousandfold::study::config::BackendChoice::Gpu);
    assert!(gpu.contains("decides by itself what it runs on"), "{gpu}");
    let best = of(never(), &|config| config.run.history = "best:10".parse().unwrap());
    assert!(best.contains("keeps too little"), "{best}");
    let function = of(never(), &|config| config.objective.as_mut().unwrap().function = Some("sphere".to_owned()));
    assert!(function.contains("objective.function is for functions"), "{function}");
    let workers = of(never(), &|config| config.objective.as_mut().unwrap().workers = Some(3));
    assert!(workers.contains("objective.workers is for commands"), "{workers}");
    let early = of(never(), &|config| config.search.scheduler = "halving".to_owned());
    assert!(early.contains("the objective is evaluated at once"), "{early}");
    struct Idle;
    impl CustomObjective for Idle {
        fn budget(&self) -> u64 {
            0
        }
        fn begin<'a>(&'a self, _: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
            panic!("nothing is evaluated")
        }
    }
    let idle = refused(study(&folder, &space(), Idle));
    assert!(idle.contains("has a budget of 0"), "{idle}");
    assert!(!folder.path().join("run").exists(), "nothing was begun");
    let versions =
        StudyConfig::of_sets("sphere", &["objective.function=sphere", "objective.version=\"2\""].map(str::to_owned));
    assert!(refused(versions.unwrap()).contains("objective.version is for objectives in Rust"));
}

#[test]
fn a_run_is_gone_on_with_by_the_same_objective_on_the_same_space_alone() {
    let folder = Folder::new();
    ended(study(&folder, &space(), valley()));
    let resume = |study: LoadedConfig| {
        let start = Start { existing: Existing::Resume, salvage: false };
        tune(study, start, &mut quiet(), &StopFlag::default()).unwrap_err().to_string()
    };
    let wider = SpaceBuilder::new().float("x", -3.0, 2.0, 1.0).build();
    let other = resume(study(&folder, &wider, minimize(|candidate| candidate.get("x"))));
    assert!(other.contains("was made with another study: space."), "{other}");
    let newer = resume(study(&folder, &space(), valley().version("2")));
    assert!(newer.contains("objective.version was \"1\" and now is \"2\""), "{newer}");
    let newer = resume(load_run(&folder.path().join("run"), &[]).unwrap().with_objective(valley().version("2")));
    assert!(newer.contains("is of version 1 of the objective, and this program has version 2"), "{newer}");
    let turned = resume(study(&folder, &space(), maximize(|candidate| candidate.get("x"))));
    assert!(turned.contains("objective.directions was [\"minimize\"]"), "{turned}");
    // A run may be made longer.
    let longer =
        run(with(study(&folder, &space(), valley()), |config| config.search.candidates = 40), Existing::Resume);
    assert_eq!(longer.counts.complete, 40);
}

#[test]
fn the_command_line_shows_such_a_run_and_says_who_can_go_on_with_it() {
    let folder = Folder::new();
    let result = ended(study(&folder, &space(), valley()));
    let shown = program::done(&folder, &["show", "run"]);
    assert!(shown.out.starts_with("valley: 30 candidates of valley"), "{}", shown.out);
    assert_eq!(load_result(&folder.path().join("run")).unwrap().unwrap().best, result.best);
    for arguments in [&["resume", "run"][..], &["tune", "run/study.toml", "--run-dir", "other"]] {
        let told = program::run(&folder, arguments);
        assert_eq!(told.code, Some(1), "{}", told.err);
        assert!(told.err.contains("the objective \"valley\" of this study is written in Rust"), "{}", told.err);
        assert!(told.err.contains("run the Rust program that began it once more"), "{}", told.err);
    }
    assert!(!folder.path().join("other").exists());
    let told = program::run(&folder, &["show", "run", "--model"]);
    assert!(told.err.contains("evaluates the objective valley in Rust: there is no model in it"), "{}", told.err);
}
