//! What stops by its validation rows is trained again for as long as it went there, and never stops by test rows.

use crate::study::run;
use crate::support::{Folder, studies};
use std::path::PathBuf;
use thousandfold::base::random::{Key, normal};
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::model_file::FittedModel;
use thousandfold::study::result::{Refit, RunResult};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{LoadedConfig, StudyConfig, load_run};

/// Boosting that learns its 72 training rows by heart soon, on data of three kinds.
const STOPS: [&str; 6] = [
    "model.name=gbdt",
    "search.candidates=4",
    "space.early_stopping=4",
    "space.trees=150",
    "space.learning_rate=0.3",
    "space.min_leaf=3",
];

fn sets(more: &[&str]) -> Vec<String> {
    STOPS.iter().chain(more).map(|set| (*set).to_owned()).collect()
}

fn model_path(folder: &Folder) -> PathBuf {
    folder.path().join("run/model.safetensors")
}

/// Rounds of the model file: it has a tree a round and kind.
fn rounds(folder: &Folder) -> u64 {
    let model = FittedModel::load(&model_path(folder)).unwrap();
    let roots = model.weights.integers.iter().find(|array| array.name == "tree.root").unwrap();
    assert_eq!(roots.values.len() % 3, 0);
    roots.values.len() as u64 / 3
}

fn stopped(folder: &Folder, loaded: LoadedConfig) -> (RunResult, u64) {
    let result = run(loaded, Existing::Refuse);
    let rounds = rounds(folder);
    (result, rounds)
}

#[test]
fn a_winner_is_trained_again_for_as_many_rounds_as_its_folds_used() {
    let folder = Folder::new();
    let (result, rounds) = stopped(&folder, studies::small(&folder, &sets(&[])));
    let used = &result.best.used;
    assert_eq!(used.len(), 3, "one fold, one lane");
    assert!(used.iter().all(|used| (1..100).contains(used)), "{used:?}");
    let mean = used.iter().sum::<u64>() as f64 / 3.0;
    assert_eq!(result.refit, Some(Refit { budget: mean.round() as u64, unit: "trees".to_owned() }));
    assert_eq!(rounds, mean.round() as u64);
    assert!(result.test.is_some_and(|test| test.value.is_finite()));
    // The journal has it, of every lane.
    let frames = read(&folder.path().join("run/journal.tfj"), false).unwrap().0;
    let lanes = frames.iter().map(|frame| match frame {
        Frame::Outcomes(outcomes) => outcomes.used.iter().map(|(_, lanes)| lanes).sum(),
        _ => 0,
    });
    assert_eq!(lanes.sum::<u64>(), 12);
}

#[test]
fn what_never_stops_by_validation_rows_has_its_whole_budget_again() {
    let folder = Folder::new();
    let (result, rounds) =
        stopped(&folder, studies::small(&folder, &sets(&["space.early_stopping=0", "space.trees=9"])));
    assert_eq!((result.refit, rounds, &result.best.used[..]), (None, 9, &[9, 9, 9][..]));
}

#[test]
fn test_rows_do_not_decide_when_training_stops() {
    let model = |shift: f64| {
        let folder = Folder::new();
        let (result, rounds) =
            stopped(&folder, studies::small_with_test(&folder, shift, &sets(&["data.test_column=part"])));
        let weights = FittedModel::load(&model_path(&folder)).unwrap().weights;
        (weights, rounds, result.test.unwrap().value)
    };
    let ((a, rounds, score), (b, .., other)) = (model(0.0), model(6.0));
    assert!(rounds > 1);
    assert_ne!(score, other, "the test rows differ");
    assert_eq!(a, b);
}

#[test]
fn a_killed_run_trains_its_winner_for_the_same_rounds() {
    let folder = Folder::new();
    let (whole, rounds_of_whole) = stopped(&folder, studies::small(&folder, &sets(&["search.batch=2"])));
    let model = std::fs::read(model_path(&folder)).unwrap();
    let journal = folder.path().join("run/journal.tfj");
    let bytes = std::fs::read(&journal).unwrap();
    // In the second batch; behind all of them, but before the test rows were read; and with the model file lost.
    for share in [0.6, 0.93, 1.0] {
        std::fs::write(&journal, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
        std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
        std::fs::remove_file(model_path(&folder)).unwrap();
        let resumed = run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume);
        assert_eq!(studies::comparable(&resumed), studies::comparable(&whole), "{share}");
        assert_eq!(rounds(&folder), rounds_of_whole);
        assert_eq!(std::fs::read(model_path(&folder)).unwrap(), model, "{share}");
    }
}

/// Ninety numbers in three parts, those of the first part moved by so much.
fn moved(by: f64) -> (Option<f64>, u64) {
    let key = Key::from_seed(12);
    let folder = Folder::new();
    let rows = (0..90).fold(
        "a,b,c,part,y
"
        .to_owned(),
        |text, row| {
            let [a, b, c, noise] = [0, 1, 2, 3].map(|column| f64::from(normal(key.words(row * 4 + column)[0])));
            let y = 2.0 * a - b + noise + if row % 3 == 0 { by } else { 0.0 };
            text + &format!(
                "{a:.3},{b:.3},{c:.3},p{},{y:.4}
",
                row % 3
            )
        },
    );
    let table = folder.write("data.csv", &rows);
    let study = ["data.fold=part", "data.test=0", "validate.outer_folds=3", "validate.metric=rmse", "run.backend=cpu"];
    let sets = study.iter().map(|set| (*set).to_owned()).chain(sets(&[])).chain([folder.run_set()]);
    let result = run(StudyConfig::for_table(&table, "y", &sets.collect::<Vec<_>>()).unwrap(), Existing::Refuse);
    let outer = result.outer.unwrap();
    (outer.folds[0], outer.candidates[0])
}

#[test]
fn what_an_outer_part_is_scored_with_stopped_by_other_parts() {
    let [(score, chosen), (up, chosen_up), (down, chosen_down)] = [0.0, 3.0, -3.0].map(moved);
    assert_eq!([chosen, chosen], [chosen_up, chosen_down], "the part's targets choose nothing");
    let square = |score: Option<f64>| score.unwrap() * score.unwrap();
    // The same predictions p: mean (y + d - p)^2 + mean (y - d - p)^2 = 2 mean (y - p)^2 + 2 d^2.
    let (sum, expected) = (square(up) + square(down), 2.0 * square(score) + 2.0 * 9.0);
    assert!((sum - expected).abs() < 1e-4 * expected, "{sum} is not {expected}");
}
