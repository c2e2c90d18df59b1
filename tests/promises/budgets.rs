//! What schedulers promise in a study: who goes on is trained on, who ends is trained no further, and nothing depends on where
//! the run was stopped.

use crate::gpu::shared;
use crate::resume::{ends, resumed};
use crate::study::{lanes_trained, run};
use crate::support::{Folder, quiet, studies};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use thousandfold::backend::StopFlag;
use thousandfold::data::Task;
use thousandfold::models::{MODELS, Model};
use thousandfold::schedulers::{SCHEDULERS, SchedulerEntry};
use thousandfold::study::events::{Event, Observer, Rungs};
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::result::{Chosen, RunResult};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::stopping::StopReason;
use thousandfold::study::{Ended, LoadedConfig, Start, StudyError, tune};

/// Twenty candidates of nine epochs on three folds, under rules that end some of them.
fn study(folder: &Folder, sets: &[&str]) -> LoadedConfig {
    let rules = ["search.threshold=1.1", "search.min_delta=0.02", "search.level=0.3"];
    let common = [&["search.candidates=20", "model.budget=9"][..], &rules].concat();
    studies::small(folder, &common.iter().chain(sets).map(|set| (*set).to_owned()).collect::<Vec<_>>())
}

fn ended(sets: &[&str]) -> RunResult {
    run(study(&Folder::new(), sets), Existing::Refuse)
}

fn scheduler(entry: &dyn SchedulerEntry) -> String {
    format!("search.scheduler=\"{}\"", entry.name())
}

fn early() -> impl Iterator<Item = &'static dyn SchedulerEntry> {
    SCHEDULERS.iter().copied().filter(|entry| entry.ends_early())
}

/// Those of them that end candidates, where others let them take over from each other.
fn ending() -> impl Iterator<Item = &'static dyn SchedulerEntry> {
    early().filter(|entry| !entry.explores())
}

/// Those of the candidates listed in both results that are equal to the bit, and how many are in both.
fn equal(a: &RunResult, b: &RunResult) -> (usize, usize) {
    let bits = |one: &Chosen| one.folds.iter().map(|score| score.to_bits()).collect::<Vec<u64>>();
    let pairs = a.top.iter().filter_map(|one| Some((one, b.top.iter().find(|two| two.candidate == one.candidate)?)));
    pairs.fold((0, 0), |(same, all), (one, two)| {
        (same + usize::from(bits(one) == bits(two) && one.used == two.used), all + 1)
    })
}

/// A task that a model has.
fn target(model: &dyn Model) -> &'static str {
    match model.tasks().contains(&Task::Classification) {
        true => "data.target=\"kind\"",
        false => "data.target=\"a\"",
    }
}

/// A study of a model in which schedulers count its own unit, and one in which they count rows: 64 of each fold. Models with no
/// unit of their own have the second alone, without having to say so.
fn rungs_of(model: &dyn Model) -> Vec<Vec<String>> {
    let name = format!("model.name=\"{}\"", model.name());
    let sets = |more: &[&str]| -> Vec<String> {
        [&name, target(model)].iter().chain(more).map(|set| (*set).to_owned()).collect()
    };
    match model.budget().has_steps() {
        true => vec![
            // Rungs of 1, 3 and 9 units.
            sets(&["model.budget=9", "validate.folds=2"]),
            sets(&["model.budget=9", "search.resource=rows"]),
        ],
        false => vec![sets(&["model.budget=1"])],
    }
}

#[test]
fn who_goes_on_ends_with_the_bits_of_one_go() {
    for model in MODELS {
        for sets in rungs_of(*model) {
            let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
            let full = ended(&[&sets[..], &["search.scheduler=full"]].concat());
            let halved = ended(&[&sets[..], &["search.scheduler=halving", "search.eta=3"]].concat());
            let (same, both) = equal(&full, &halved);
            assert!(both > 0 && same == both, "{sets:?}: {same} of {both}");
            assert_eq!(halved.counts.complete + halved.counts.pruned + halved.counts.failed, 20, "{sets:?}");
            // Of 20 candidates 7 come to a second rung.
            assert!(halved.counts.pruned >= 13, "{sets:?}: {:?}", halved.counts);
        }
    }
}

#[test]
fn who_goes_on_does_so_on_a_device_too() {
    if shared().is_none() {
        return;
    }
    for (model, budget) in [("mlp", 9), ("gbdt", 9), ("logistic", 9), ("knn", 1)] {
        let (name, budget) = (format!("model.name=\"{model}\""), format!("model.budget={budget}"));
        let on_device = ["run.backend=gpu", "run.device=\"0\"", "search.candidates=9", &budget, &name];
        let full = ended(&[&on_device[..], &["search.scheduler=full"]].concat());
        let halved = ended(&[&on_device[..], &["search.scheduler=halving"]].concat());
        let (same, both) = equal(&full, &halved);
        assert!(both > 0 && same == both, "{model}: {same} of {both}");
    }
}

#[test]
fn only_the_units_between_two_rungs_are_trained() {
    // Rungs of 1, 3 and 9 epochs with 20, 7 and 3 candidates on three folds: a lane is advanced once a rung.
    let lanes = lanes_trained(study(&Folder::new(), &["search.scheduler=halving"]), Existing::Refuse);
    assert_eq!(lanes, (20 + 7 + 3) * 3);
    let result = ended(&["search.scheduler=halving"]);
    assert_eq!((result.counts.complete, result.counts.pruned, result.counts.failed), (3, 17, 0));
    assert!(result.best.used.iter().all(|used| *used == 9), "the winner has had its whole budget");
}

/// What is told of rungs while a study runs, each once.
fn rungs_told(study: LoadedConfig) -> Vec<Rungs> {
    struct Told(Rc<RefCell<Vec<Rungs>>>);
    impl Observer for Told {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if let Event::Lane(progress) = event {
                self.0.borrow_mut().extend(progress.rungs);
            }
            Ok(())
        }
    }
    let told = Rc::new(RefCell::new(Vec::new()));
    let mut observers = quiet();
    observers.push(Box::new(Told(told.clone())));
    let start = Start { existing: Existing::Resume, salvage: false };
    tune(study, start, &mut observers, &StopFlag::default()).unwrap();
    let mut rungs = told.borrow().clone();
    rungs.dedup();
    rungs
}

#[test]
fn who_watches_hears_how_many_lanes_entered_and_are_alive_and_at_which_budget() {
    let at = |budget, entered, alive| Rungs { budget, whole: 9, is_by_fold: false, entered, alive };
    let told = rungs_told(study(&Folder::new(), &["search.scheduler=halving"]));
    assert_eq!(told, [at(1, 60, 60), at(3, 60, 21), at(9, 60, 9)]);
    // Of each batch anew.
    let told = rungs_told(study(&Folder::new(), &["search.scheduler=halving", "search.batch=10"]));
    let ten = [at(1, 30, 30), at(3, 30, 12), at(9, 30, 6)];
    assert_eq!(told, [ten, ten].concat());
    // Fold by fold each candidate has one lane on a fold; sixteen begin, then the other four.
    let race = ["search.scheduler=racing", "search.level=0.4", "validate.folds=6"];
    let told = rungs_told(study(&Folder::new(), &race));
    assert!(told.iter().all(|rungs| rungs.is_by_fold && rungs.whole == 6), "{told:?}");
    let (first, second) = told.split_at(told.iter().take_while(|rungs| rungs.entered == 16).count());
    assert!(second.iter().all(|rungs| rungs.entered == 4) && !second.is_empty(), "{told:?}");
    assert_eq!((first[0].budget, first[0].alive), (1, 16));
    assert!(first.windows(2).all(|pair| pair[0].budget < pair[1].budget && pair[0].alive >= pair[1].alive), "{told:?}");
    assert!(first.last().unwrap().alive < 16, "{told:?}");
    assert_eq!(rungs_told(study(&Folder::new(), &["search.scheduler=full"])), []);
    // Where a run goes on, those who entered before it was stopped are counted.
    let folder = Folder::new();
    let whole = rungs_told(study(&folder, &["search.scheduler=asha"]));
    let journal = folder.path().join("run/journal.tfj");
    let (bytes, ends) = (std::fs::read(&journal).unwrap(), ends(&journal));
    std::fs::write(&journal, &bytes[..ends[ends.len() / 2]]).unwrap();
    let rest = rungs_told(study(&folder, &["search.scheduler=asha"]));
    assert!(!rest.is_empty() && rest.len() < whole.len(), "{rest:?} of {whole:?}");
    assert_eq!(rest.last(), whole.last());
}

/// Twenty candidates of any model on five folds under a race.
fn race(folder: &Folder, model: &dyn Model, sets: &[&str]) -> LoadedConfig {
    let name = format!("model.name=\"{}\"", model.name());
    let target = target(model);
    let budget = format!("model.budget={}", model.budget().default.min(6));
    let sets = [&[&name[..], target, &budget, "validate.folds=5", "search.scheduler=racing"], sets].concat();
    study(folder, &sets)
}

#[test]
fn a_race_ends_with_the_bits_of_all_folds_at_once_whatever_the_model() {
    let mut pruned = 0;
    for model in MODELS {
        let with = |sets: &[&str]| run(race(&Folder::new(), *model, sets), Existing::Refuse);
        let (full, raced) = (with(&["search.scheduler=full"]), with(&[]));
        let (same, both) = equal(&full, &raced);
        assert!(both > 0 && same == both, "{}: {same} of {both}", model.name());
        assert_eq!(raced.counts.complete + raced.counts.pruned + raced.counts.failed, 20, "{}", model.name());
        pruned += raced.counts.pruned;
    }
    // One-step models race as others do.
    assert!(pruned > 20, "{pruned} of {}", 20 * MODELS.len());
}

/// Of each candidate of a race the scores on all folds that it was on, NaN behind the one where it ended, and the race's result.
fn raced(model: &dyn Model, sets: &[&str]) -> (BTreeMap<u64, Vec<f64>>, RunResult) {
    let folder = Folder::new();
    let result = run(race(&folder, model, sets), Existing::Refuse);
    let (frames, _) = read(&folder.path().join("run/journal.tfj"), false).unwrap();
    let mut scores = BTreeMap::new();
    for frame in &frames {
        let outcomes = match frame {
            Frame::Rung(rung) => &rung.outcomes,
            Frame::Outcomes(outcomes) => outcomes,
            _ => continue,
        };
        let candidates = outcomes.candidates.iter().flat_map(|(first, count)| *first..first + count);
        // What comes later has more folds.
        scores.extend(candidates.zip(outcomes.scores.chunks(5).map(<[f64]>::to_vec)));
    }
    (scores, result)
}

#[test]
fn a_race_on_a_device_ends_with_the_bits_of_all_folds_at_once_and_ends_whom_the_processor_ends() {
    if shared().is_none() {
        return;
    }
    let on_device = ["run.backend=gpu", "run.device=\"0\""];
    // Means of losses differ by rounding, and which candidate is behind which does not.
    const APART: f64 = 1e-4;
    for name in ["knn", "logistic", "mlp"] {
        let model = *MODELS.iter().find(|model| model.name() == name).unwrap();
        let (on_gpu, result) = raced(model, &on_device);
        assert_eq!(result.backend, "gpu");
        assert!(result.counts.pruned > 4, "{name}: {:?}", result.counts);
        let full = [&on_device[..], &["search.scheduler=full"]].concat();
        let (same, both) = equal(&run(race(&Folder::new(), model, &full), Existing::Refuse), &result);
        assert!(both > 0 && same == both, "{name}: {same} of {both}");
        let (on_cpu, _) = raced(model, &["run.backend=cpu"]);
        let folds = |scores: &BTreeMap<u64, Vec<f64>>| -> Vec<(u64, usize)> {
            let count = |scores: &Vec<f64>| scores.iter().filter(|score| !score.is_nan()).count();
            scores.iter().map(|(candidate, scores)| (*candidate, count(scores))).collect()
        };
        assert_eq!(folds(&on_gpu), folds(&on_cpu), "{name}: where each candidate ended");
        for (candidate, scores) in &on_gpu {
            let pairs = scores.iter().zip(&on_cpu[candidate]).filter(|(score, _)| !score.is_nan());
            for (gpu, cpu) in pairs {
                assert!((gpu - cpu).abs() <= APART * cpu.abs(), "{name}, candidate {candidate}: {gpu} and {cpu}");
            }
        }
    }
}

#[test]
fn a_race_trains_no_fold_of_who_has_ended_and_says_what_that_saved() {
    let knn = MODELS.iter().find(|model| model.name() == "knn").unwrap();
    let result = run(race(&Folder::new(), *knn, &[]), Existing::Refuse);
    let lanes = lanes_trained(race(&Folder::new(), *knn, &[]), Existing::Refuse);
    // One unit of budget a lane; twins take none, and are not saved by the scheduler.
    let saved = result.saved.unwrap();
    assert!(result.counts.pruned > 0 && saved > 0.0);
    let needed = (100.0 * (1.0 - saved)).round() as u64;
    assert!(lanes <= needed, "{lanes} of {needed}");
    let all = lanes_trained(race(&Folder::new(), *knn, &["search.scheduler=full"]), Existing::Refuse);
    assert!(lanes < all, "{lanes} of {all}");
}

#[test]
fn folds_that_are_in_the_journal_are_not_trained_again() {
    let folder = Folder::new();
    let sets = ["validate.folds=5", "search.scheduler=racing"];
    let whole = lanes_trained(study(&folder, &sets), Existing::Refuse);
    let journal = folder.path().join("run/journal.tfj");
    let bytes = std::fs::read(&journal).unwrap();
    // The header and the first rung: candidates on two folds, none of them a twin.
    let done = match &read(&journal, false).unwrap().0[1] {
        Frame::Rung(rung) => rung.budget * rung.outcomes.train.len() as u64,
        other => panic!("{other:?}"),
    };
    std::fs::write(&journal, &bytes[..ends(&journal)[2]]).unwrap();
    std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
    assert!(done >= 2);
    assert_eq!(lanes_trained(study(&folder, &sets), Existing::Resume), whole - done);
}

#[test]
fn a_space_that_is_exhausted_lets_those_who_wait_go_on() {
    let few =
        ["space.hidden={ int = [4, 16] }", "search.strategy=grid", "search.resolution=5", "search.candidates=1000"];
    let held = ["layers=1", "activation=relu", "optimizer=adam", "batch=32", "dropout=0.0", "learning_rate=0.01"];
    let more = ["weight_decay=0.0", "label_smoothing=0.0", "schedule=constant", "class_weight=none"];
    let held: Vec<String> = held.iter().chain(&more).map(|set| format!("space.{set}")).collect();
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    for entry in ending() {
        let scheduler = scheduler(entry);
        let result = ended(&[&few[..], &held, &["search.threshold=5", &scheduler]].concat());
        let counts = result.counts;
        assert!(counts.complete > 0, "{}", entry.name());
        assert_eq!(counts.complete + counts.pruned + counts.failed, 5, "{}", entry.name());
        assert_eq!(result.stopped_because, StopReason::SpaceExhausted, "{}", entry.name());
    }
}

/// What schedulers count: epochs; rows, on rungs so close that there are several; and with one share of both, both.
const COUNTED: [(&str, &[&str]); 3] = [
    ("epochs", &[]),
    ("rows", &["model.name=knn", "model.budget=1", "search.interval=9", "search.threshold=5"]),
    ("rows and epochs", &["model.name=[\"knn\", \"mlp\"]", "model.budget={ mlp = 9 }", "search.interval=9"]),
];

#[test]
fn a_journal_cut_anywhere_goes_on_to_the_same_rungs() {
    let strategies = ["search.strategy=random", "search.strategy=tpe", "search.strategy=genetic"];
    let cases = early().flat_map(|entry| strategies.map(|strategy| COUNTED.map(|counted| (entry, strategy, counted))));
    for (case, (entry, strategy, (counted, of))) in cases.flatten().enumerate() {
        let is_epochs = counted == "epochs";
        // Each scheduler with a strategy that learns of all that ends; the others with one of each kind: candidates end one by
        // one, fold by fold, or take over from each other. What is counted is the same to all that do not ask for folds.
        let says_more = match counted {
            "epochs" => strategy.ends_with("tpe") || ["asha", "racing", "pbt"].contains(&entry.name()),
            "rows" => strategy.ends_with("tpe") && ["hyperband", "asha", "median"].contains(&entry.name()),
            _ => strategy.ends_with("tpe") && entry.name() == "asha",
        };
        if !says_more {
            continue;
        }
        let folder = Folder::new();
        let scheduler = scheduler(entry);
        let sets = [of, &[&scheduler[..], strategy, "search.batch=7", "search.population=5"]].concat();
        let result = run(study(&folder, &sets), Existing::Refuse);
        let may_end_nobody = strategy.ends_with("genetic") || entry.explores() || !is_epochs;
        assert!(result.counts.pruned > 0 || may_end_nobody, "{} ends nobody", entry.name());
        let whole = studies::comparable(&result);
        let journal = folder.path().join("run/journal.tfj");
        let bytes = std::fs::read(&journal).unwrap();
        // Every seventh frame, in each case from another one on, and the last.
        let ends = ends(&journal);
        for end in ends.iter().skip(1 + case % 7).step_by(7).chain(ends.last()) {
            std::fs::write(&journal, &bytes[..*end]).unwrap();
            std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
            assert_eq!(resumed(&folder), whole, "{}, {strategy}, {counted}, cut at {end}", entry.name());
        }
    }
}

#[test]
fn a_run_that_is_stopped_between_rungs_goes_on_to_the_same_end() {
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
    let cases = [
        ("hyperband", "epochs", [5, 40, 66, 80]),
        ("asha", "epochs", [5, 40, 60, 70]),
        ("racing", "epochs", [3, 10, 20, 34]),
        ("patient", "epochs", [5, 60, 66, 80]),
        ("halving", "rows", [5, 30, 62, 70]),
        ("asha", "rows and epochs", [5, 20, 40, 55]),
    ];
    for (name, counted, after) in cases {
        let scheduler = format!("search.scheduler={name}");
        let of = COUNTED.into_iter().find(|(of, _)| *of == counted).unwrap().1;
        let sets = [of, &[&scheduler]].concat();
        let whole = studies::comparable(&ended(&sets));
        for lanes in after {
            let folder = Folder::new();
            let stop = StopFlag::default();
            let mut observers = quiet();
            observers.push(Box::new(StopAfter(stop.clone(), lanes)));
            let study = study(&folder, &sets);
            let ended = tune(study, Start::default(), &mut observers, &stop).unwrap();
            assert!(matches!(ended, Ended::Interrupted { .. }), "{name}, {lanes}");
            assert_eq!(resumed(&folder), whole, "{name}, {counted}, {lanes}");
        }
    }
}

#[test]
fn candidates_with_the_same_point_have_the_same_scores_on_every_rung() {
    // Six points, twenty candidates: most are twins, some of candidates that began on a higher rung.
    let few =
        ["space.layers=1", "space.activation=relu", "space.optimizer=adam", "space.batch=32", "space.dropout=0.0"];
    let held =
        ["space.learning_rate=0.01", "space.weight_decay=0.0", "space.label_smoothing=0.0", "space.schedule=constant"];
    let points = ["space.hidden={ int = [4, 9] }", "space.class_weight=none"];
    for entry in ending() {
        let scheduler = scheduler(entry);
        let sets =
            [&few[..], &held, &points, &["search.batch=9", "search.strategy=random", "search.threshold=5"]].concat();
        let (full, early) = (ended(&sets), ended(&[&sets[..], &[&scheduler]].concat()));
        let (same, both) = equal(&full, &early);
        assert!(same == both && both > 0, "{}: {same} of {both}", entry.name());
    }
}

#[test]
fn a_run_under_a_scheduler_that_is_made_longer_loses_nothing() {
    for entry in ending() {
        for strategy in ["search.strategy=random", "search.strategy=tpe"] {
            if strategy.ends_with("random") && !["asha", "racing", "pbt"].contains(&entry.name()) {
                continue;
            }
            let folder = Folder::new();
            let scheduler = scheduler(entry);
            let sets = [&scheduler[..], strategy, "search.batch=50"];
            let short = run(study(&folder, &sets), Existing::Refuse);
            let mut longer = study(&folder, &sets);
            longer.config.search.candidates = 50;
            let longer = run(longer, Existing::Resume);
            let what = format!("{}, {strategy}", entry.name());
            assert!(longer.best.value <= short.best.value, "{what}");
            assert!(longer.counts.complete >= short.counts.complete, "{what}");
            let counts = longer.counts;
            assert_eq!(counts.complete + counts.pruned + counts.failed, 50, "{what}");
            let (same, both) = equal(&short, &longer);
            assert_eq!(same, both, "{what}");
        }
    }
}

#[test]
fn threads_and_memory_change_no_decision() {
    for (entry, (counted, of)) in early().flat_map(|entry| COUNTED.map(|counted| (entry, counted))) {
        let says_more = match counted {
            "epochs" => true,
            "rows" => ["hyperband", "asha", "median"].contains(&entry.name()),
            _ => entry.name() == "asha",
        };
        if !says_more {
            continue;
        }
        let scheduler = scheduler(entry);
        let with = |machine: [&str; 2]| studies::comparable(&ended(&[of, &[&scheduler], &machine[..]].concat()));
        let (one, three) = (with(["run.threads=1", "run.memory=0"]), with(["run.threads=3", "run.memory=1"]));
        assert_eq!(one, three, "{}, {counted}", entry.name());
    }
}

#[test]
fn where_a_whole_rung_fails_that_is_said() {
    let wild =
        ["space.learning_rate=[800.0, 900.0]", "space.optimizer=sgd", "space.momentum=0.99", "space.weight_decay=1.0"];
    let deep = ["model.budget=27", "space.activation=relu"];
    let schedulers = [
        &["search.scheduler=halving", "search.min_budget=9"][..],
        &["search.scheduler=asha", "search.min_budget=9"],
        &["search.scheduler=racing"],
    ];
    for scheduler in schedulers {
        let error = refused(study(&Folder::new(), &[&wild[..], &deep, scheduler].concat()));
        assert!(error.contains("every one of the 20 candidates failed"), "{scheduler:?}: {error}");
    }
}

#[test]
fn what_has_no_rungs_is_refused_with_what_to_do() {
    let cases = [
        (
            &["model.name=ridge", "model.budget=1", "validate.folds=2"][..],
            "no rung between 20 training rows, the least to learn from, and the whole budget of 48: the next lower one is 16",
        ),
        (
            &["model.name=ridge", "model.budget=1", "search.min_budget=22"],
            "no rung between search.min_budget = 22 and the whole budget of 64: the next lower one is 21",
        ),
        (
            &["model.name=[\"ridge\", \"mlp\"]", "model.budget={ mlp = 2 }"],
            "no rung between 32, where each model has had a unit of its own or rows enough to learn from,",
        ),
        (&["model.budget=1"], "model.budget is 1"),
        (&["search.objectives=[\"score\", \"size\"]"], "of 2 objectives there is no single order"),
        (&["search.min_budget=4"], "no rung between search.min_budget = 4 and the whole budget of 9"),
        (&["search.eta=1"], "2 or more"),
        (&["search.percentile=101"], "0, the best, to 100, the worst"),
        (&["search.interval=0"], "1 or more"),
        (
            &["search.scheduler=median", "search.interval=1", "model.budget=10000000000"],
            "has more than 1000 rungs, where they are 1 apart: set search.interval = 10010011 or more",
        ),
        (&["search.min_delta=inf"], "a number, in the metric's unit"),
        (&["search.level=1.0"], "a share between 0 and 1"),
        (&["search.scheduler=racing", "search.level=0.5"], "with \"racing\" it has to be less than 0.5"),
        (&["search.scheduler=patient", "search.min_budget=9"], "the next lower one is 8"),
        (&["search.scheduler=asha", "model.budget=1"], "model.budget is 1"),
        (
            &["search.scheduler=racing", "validate.method=hold_out"],
            "after 1 fold at the earliest, and there is one in all: set validate.folds or validate.repeats higher",
        ),
        (&["search.scheduler=racing", "search.min_budget=3"], "after 3 folds at the earliest"),
        (&["search.scheduler=racing", "validate.outer_folds=4"], "which are no folds"),
        (&["search.scheduler=wilcoxon", "search.level=0.1"], "after 4 folds at the earliest, and there are 3 in all"),
    ];
    for (sets, said) in cases {
        let tpe = ["search.scheduler=halving", "search.strategy=tpe"];
        let folder = Folder::new();
        let error = refused(study(&folder, &[&tpe[..], sets].concat()));
        assert!(error.contains(said), "{error}");
        assert!(!folder.path().join("run").exists(), "nothing was begun");
    }
    let folder = Folder::new();
    let error = refused(studies::small(&folder, &["search.scheduler=threshold".to_owned()]));
    assert!(error.contains("it needs search.threshold") && error.contains("scheduler = \"full\""), "{error}");
}

fn refused(loaded: LoadedConfig) -> String {
    let refused: StudyError = tune(loaded, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err();
    refused.to_string()
}
