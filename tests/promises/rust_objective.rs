//! What an objective in Rust promises: a closure is a study, trainings in steps stand on rungs and go on, whatever the code does
//! the study goes on and says why it failed, and nothing depends on threads or on where the run was stopped.

mod ends;
mod steps;

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
use steps::Chaos;
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
