//! Studies from file to result.

use crate::support::{Folder, quiet, studies, without_models};
use std::cell::Cell;
use std::rc::Rc;
use thousandfold::backend::StopFlag;
use thousandfold::base::random::{Key, normal};
use thousandfold::models::MODELS;
use thousandfold::study::events::{Event, Observer};
use thousandfold::study::model_file::FittedModel;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::stopping::StopReason;
use thousandfold::study::{Ended, LoadedConfig, Start, StudyConfig, StudyError, load_result, load_run, tune};

/// Runs a study to its end.
pub fn run(loaded: LoadedConfig, existing: Existing) -> thousandfold::study::result::RunResult {
    let start = Start { existing, salvage: false };
    match tune(loaded, start, &mut quiet(), &StopFlag::default()).unwrap() {
        Ended::Finished(result) => *result,
        Ended::Interrupted { .. } => panic!("nobody interrupted it"),
    }
}

/// Runs a study to its end, and counts the lanes of its search.
pub fn lanes_trained(loaded: LoadedConfig, existing: Existing) -> u64 {
    struct Lanes(Rc<Cell<u64>>);
    impl Observer for Lanes {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            self.0.set(self.0.get() + u64::from(matches!(event, Event::Lane(_))));
            Ok(())
        }
    }
    let lanes = Rc::new(Cell::new(0));
    let mut observers = quiet();
    observers.push(Box::new(Lanes(lanes.clone())));
    let start = Start { existing, salvage: false };
    let ended = tune(loaded, start, &mut observers, &StopFlag::default()).unwrap();
    assert!(matches!(ended, Ended::Finished(_)));
    lanes.get()
}

#[test]
fn a_table_and_its_target_are_a_whole_study() {
    let folder = Folder::new();
    let sets = ["search.candidates=6", "model.budget=3", "run.backend=cpu", &folder.run_set()].map(str::to_owned);
    let table = studies::flowers(&folder);
    let result = run(StudyConfig::for_table(&table, "kind", &sets).unwrap(), Existing::Refuse);
    assert_eq!(result.stopped_because, StopReason::Candidates);
    assert_eq!((result.counts.proposed, result.counts.complete), (6, 6));
    assert_eq!(result.best.folds.len(), 5);
    assert_eq!(result.metric, "log_loss");
    assert!(result.test.unwrap().value.is_finite());
    assert!(result.bias_corrected.unwrap().chosen.value >= result.best.value);
    for file in ["study.toml", "journal.tfj", "result.json", "model.safetensors"] {
        assert!(folder.path().join("run").join(file).exists(), "{file}");
    }
}

#[test]
fn the_resolved_study_runs_again_as_it_is_and_ends_the_same() {
    let folder = Folder::new();
    let result = run(studies::small(&folder, &[]), Existing::Refuse);
    let again = folder.path().join("run/study.toml");
    let sets = [format!("run.dir={}", folder.path().join("again").display())];
    let repeated = run(StudyConfig::load(&again, &sets).unwrap(), Existing::Refuse);
    assert_eq!(studies::comparable(&result), studies::comparable(&repeated));
}

#[test]
fn threads_and_memory_change_no_bit() {
    for model in MODELS.iter().filter(|model| model.tasks().contains(&thousandfold::data::Task::Classification)) {
        let results: Vec<_> = [("1", "0"), ("3", "0"), ("2", "12")]
            .map(|(threads, memory)| {
                let folder = Folder::new();
                let machine = [format!("run.threads={threads}"), format!("run.memory={memory}")];
                let of = [format!("model.name={}", model.name()), "model.budget=3".to_owned()];
                let sets = [&machine[..], &of].concat();
                studies::comparable(&run(studies::small(&folder, &sets), Existing::Refuse))
            })
            .into();
        assert!(results.iter().all(|result| *result == results[0]), "{}", model.name());
    }
}

#[test]
fn test_rows_never_show_in_what_the_search_sees() {
    let (folder, other) = (Folder::new(), Folder::new());
    let by_column = ["data.test_column=part".to_owned()];
    let result = run(studies::small_with_test(&folder, 1.0, &by_column), Existing::Refuse);
    let changed = run(studies::small_with_test(&other, -700.0, &by_column), Existing::Refuse);
    assert_ne!(result.data_fingerprint, changed.data_fingerprint, "the data do differ");
    let seen = |result: &thousandfold::study::result::RunResult| {
        let bits = |c: &thousandfold::study::result::Chosen| c.folds.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        (result.best.candidate, result.top.iter().map(bits).collect::<Vec<_>>())
    };
    assert_eq!(seen(&result), seen(&changed));
    assert_ne!(result.test.unwrap().value, changed.test.unwrap().value, "the test score sees them");
}

#[test]
fn nested_cross_validation_reports_a_score_of_each_outer_part() {
    let folder = Folder::new();
    let result = run(studies::small(&folder, &["validate.outer_folds=4".to_owned()]), Existing::Refuse);
    let outer = result.outer.unwrap();
    assert_eq!(outer.folds.len(), 4);
    assert!(outer.folds.iter().all(|score| score.is_some_and(f64::is_finite)));
    assert!(result.test.is_none(), "the outer parts are the test");
    assert_eq!(result.best.folds.len(), 12, "six pairs, each scored on both its parts");
}

/// A column that is constant in each of the named parts, huge in the last: no lane that trains on one part alone sees it,
/// and whatever trains on two does, unscaled. Rectifiers overflow on it; tanh does not, its gradients vanish there.
fn overflows_on_all_rows(folder: &Folder, parts: usize, sets: &[&str]) -> LoadedConfig {
    let key = Key::from_seed(3);
    let rows = (0..parts * 40).fold("x,huge,part,y\n".to_owned(), |text, row| {
        let (x, part) = (4.0 * normal(key.words(row as u64)[0]), row % parts);
        let huge = if part + 1 == parts { 1e30 } else { 0.0 };
        text + &format!("{x:.3},{huge},part{part},{}\n", if x.abs() > 2.0 { "far" } else { "near" })
    });
    let table = folder.write("data.csv", &rows);
    let study = [
        "data.fold=part",
        "data.test=0",
        "prepare.scale=none",
        "model.budget=20",
        "space.hidden=16",
        "space.layers=1",
        "space.optimizer=sgd",
        "space.learning_rate=0.05",
        "run.backend=cpu",
        "search.candidates=12",
    ];
    let sets = study.iter().chain(sets).map(|set| (*set).to_owned()).chain([folder.run_set()]);
    StudyConfig::for_table(&table, "y", &sets.collect::<Vec<_>>()).unwrap()
}

/// Two candidates that differ in their activation alone.
const TWO: [&str; 8] = [
    "space.activation=[\"relu\", \"tanh\"]",
    "space.momentum=0.9",
    "space.weight_decay=0.0001",
    "space.batch=16",
    "space.schedule=constant",
    "space.dropout=0.0",
    "space.label_smoothing=0.0",
    "search.strategy=grid",
];

#[test]
fn a_winner_that_overflows_on_all_rows_gives_way_to_the_next_best() {
    let folder = Folder::new();
    let result = run(overflows_on_all_rows(&folder, 2, &TWO), Existing::Refuse);
    let activation = |chosen: &thousandfold::study::result::Chosen| chosen.params["activation"].to_string();
    assert!(activation(&result.top[0]).contains("relu"), "{:?}", result.top);
    let next = result.top.iter().find(|chosen| activation(chosen).contains("tanh")).unwrap();
    assert_eq!(&result.best, next);
    assert!(activation(result.one_se.as_ref().unwrap()).contains("tanh"));
    let told = format!("candidate {} was passed over", result.top[0].candidate);
    assert!(result.notes.iter().any(|note| note.starts_with(&told)), "{:?}", result.notes);
    let model = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
    assert_eq!(model.meta.params, result.best.params);
    let again = run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume);
    assert_eq!(studies::comparable(&again), studies::comparable(&result));
}

#[test]
fn solvers_that_the_budget_stopped_are_told_of() {
    let folder = Folder::new();
    let sets = |budget: u64| {
        ["model.name=svm".to_owned(), "search.candidates=3".to_owned(), format!("model.budget={budget}")].to_vec()
    };
    let stopped = run(studies::small(&folder, &sets(2)), Existing::Refuse);
    let told = "3 of 3 candidates, the best among them, had not converged";
    assert!(stopped.notes.iter().any(|note| note.starts_with(told)), "{:?}", stopped.notes);
    let folder = Folder::new();
    let converged = run(studies::small(&folder, &sets(1_000_000)), Existing::Refuse);
    assert!(converged.notes.iter().all(|note| !note.contains("converged")), "{:?}", converged.notes);
}

#[test]
fn an_outer_part_whose_choice_overflows_has_no_score_and_the_others_have() {
    let folder = Folder::new();
    let nested = [&TWO[..], &["validate.outer_folds=3"]].concat();
    let result = run(overflows_on_all_rows(&folder, 3, &nested), Existing::Refuse);
    let outer = load_result(&folder.path().join("run")).unwrap().unwrap().outer.unwrap();
    assert_eq!(Some(&outer), result.outer.as_ref());
    let scored: Vec<f64> = outer.folds.iter().copied().flatten().collect();
    assert!(!scored.is_empty() && scored.len() < 3, "{outer:?}");
    assert!(outer.folds[2].is_some(), "the two other parts have no huge value");
    assert_eq!(outer.value, Some(scored.iter().sum::<f64>() / scored.len() as f64));
    assert!(result.notes.iter().any(|note| note.contains("outer parts have no score")), "{:?}", result.notes);
    let shown = thousandfold::monitor::summary::summary(&result, 200);
    assert!(shown.contains(&format!("over {} of 3 outer folds", scored.len())), "{shown}");
}

#[test]
fn a_search_whose_best_all_overflow_says_so() {
    let folder = Folder::new();
    let loaded = overflows_on_all_rows(&folder, 2, &["space.activation=relu"]);
    let error = tune(loaded, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err();
    assert!(matches!(error, StudyError::RefitFailed { tried: 5, .. }), "{error}");
    assert!(error.to_string().contains("as did those of the next 4"), "{error}");
    assert!(!error.is_input());
}

#[test]
fn equal_candidates_are_trained_once() {
    let folder = Folder::new();
    let sets =
        ["space.l2=[0.1, 1.0, 10.0]".to_owned(), "search.candidates=40".to_owned(), "model.name=logistic".to_owned()];
    let loaded = studies::small(&folder, &sets);
    assert_eq!(lanes_trained(loaded, Existing::Refuse), 3 * 3, "three values on three folds");
    let result = load_result(&folder.path().join("run")).unwrap().unwrap();
    assert_eq!(result.counts.complete, 40);
}

#[test]
fn the_search_stops_at_its_target_with_the_reason() {
    let folder = Folder::new();
    let sets = ["stop.target=100".to_owned(), "search.batch=2".to_owned()];
    let result = run(studies::small(&folder, &sets), Existing::Refuse);
    assert_eq!(result.stopped_because, StopReason::Target);
    assert_eq!(result.counts.proposed, 2, "it stops at the end of its batch");
}

#[test]
fn candidates_that_overflow_fail_and_the_others_go_on() {
    let folder = Folder::new();
    let sets = [
        "space.learning_rate=[0.001, 900.0]".to_owned(),
        "space.optimizer=sgd".to_owned(),
        "space.momentum=0.99".to_owned(),
    ];
    let result = run(studies::small(&folder, &sets), Existing::Refuse);
    assert!(result.counts.failed > 0 && result.counts.complete > 0, "{:?}", result.counts);
    assert_eq!(result.counts.failed + result.counts.complete, result.counts.proposed);
}

/// What is said of a study file of these lines with these sets, with the folder's name taken out.
fn refusal(lines: &str, sets: &[&str]) -> String {
    let folder = Folder::new();
    studies::flowers(&folder);
    let path = folder.write("study.toml", lines);
    let mut sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    sets.insert(0, folder.run_set());
    let ended = StudyConfig::load(&path, &sets)
        .map_err(StudyError::from)
        .and_then(|loaded| tune(loaded, Start::default(), &mut quiet(), &StopFlag::default()));
    without_models(&ended.unwrap_err().to_string()).replace(&format!("{}/", folder.path().display()), "")
}

const DATA: &str = "[data]\nfile = 'flowers.csv'\ntarget = 'kind'\n";

#[test]
fn what_a_study_file_cannot_say_is_marked_with_the_right_word() {
    let cases = [
        ("no section", String::new()),
        ("no target", "[data]\nfile = 'flowers.csv'\n".to_owned()),
        ("not TOML", format!("{DATA}[search\ncandidates = 3\n")),
        ("unknown section", format!("{DATA}[serach]\ncandidates = 3\n")),
        ("unknown key", format!("{DATA}[search]\n# many\ncandidate = 3\n")),
        ("unknown kind of value", format!("{DATA}[prepare]\nimpute = 'medain'\n")),
        ("unknown backend", format!("{DATA}[run]\nbackend = 'gpuu'\n")),
        ("text for a number", format!("{DATA}[search]\ncandidates = 'many'\n")),
        ("negative", format!("{DATA}[search]\nseed = -1\n")),
        ("number for a section", format!("{DATA}model = 3\n")),
        ("not a time", format!("{DATA}[stop]\ntime = 'ten minutes'\n")),
        ("zero candidates", format!("{DATA}[search]\ncandidates = 0\n")),
        ("device for the processor", format!("{DATA}[run]\nbackend = 'cpu'\ndevice = 'RTX'\n")),
        ("unknown model", format!("{DATA}[model]\nname = 'mpl'\n")),
        ("unknown strategy", format!("{DATA}[search]\nstrategy = 'gird'\n")),
        ("unknown scheduler", format!("{DATA}[search]\nscheduler = 'ful'\n")),
        ("unknown metric", format!("{DATA}[validate]\nmetric = 'acuracy'\n")),
        ("metric of another task", format!("{DATA}[validate]\nfolds = 3\nmetric = 'rmse'\n")),
        ("unknown parameter", format!("{DATA}[space]\nlearning_rat = 0.1\n")),
        ("low above high", format!("{DATA}[space]\nlearning_rate = {{ log = [1e-1, 1e-4] }}\n")),
        ("log of zero", format!("{DATA}[space.learning_rate]\nlog = [0.0, 0.1]\n")),
        (
            "condition on nothing",
            format!("{DATA}[space]\nmomentum = {{ float = [0.5, 0.9], when = {{ optimiser = 'sgd' }} }}\n"),
        ),
    ];
    let told: Vec<String> = cases.iter().map(|(case, file)| format!("# {case}\n{}\n", refusal(file, &[]))).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_a_set_cannot_say_names_the_set() {
    let cases: [&[&str]; 10] = [
        &["search.candidates"],
        &["=3"],
        &["search..seed=3"],
        &["search.candidate=3"],
        &["search.seed=1", "search.candidates=many", "search.batch=2"],
        &["search.seed.x=3"],
        &["model.name=mpl"],
        &["space.hiden=3"],
        &["search.candidates=5", "search.candidates=0"],
        &["prepare.scale=standart"],
    ];
    let told: Vec<String> = cases.iter().map(|sets| refusal(DATA, sets) + "\n").collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_a_file_lacks_can_be_set() {
    let folder = Folder::new();
    studies::flowers(&folder);
    let path = folder.write("study.toml", "[data]\nfile = 'flowers.csv'\n[search]\ncandidates = 9\n");
    let sets = ["data.target=kind", "search.seed=7", "space.activation=tanh", "data.drop=['a']"].map(str::to_owned);
    let loaded = StudyConfig::load(&path, &sets).unwrap();
    let data = loaded.config.data.unwrap();
    assert_eq!((data.target.as_str(), loaded.config.search.candidates), ("kind", 9));
    assert_eq!((loaded.config.search.seed, &data.drop[..]), (7, &["a".to_owned()][..]));
    assert_eq!(loaded.config.space["activation"].as_str(), Some("tanh"), "a bare word is a text");
    assert_eq!(data.file, folder.path().join("flowers.csv"), "beside the study file");
}
