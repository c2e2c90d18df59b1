//! Several objectives, and limits, from the study file to the result.

use crate::study::run;
use crate::support::{Folder, quiet, studies};
use thousandfold::backend::StopFlag;
use thousandfold::data::Task;
use thousandfold::models::{self, DataShape, MODELS};
use thousandfold::study::result::{Chosen, RunResult};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{Start, StudyConfig, load_run, tune};

fn sets(sets: &[&str]) -> Vec<String> {
    sets.iter().map(|set| (*set).to_owned()).collect()
}

/// Values of a candidate, each to be minimised: the score of the small study is a log loss.
fn values(chosen: &Chosen) -> Vec<f64> {
    std::iter::once(chosen.value).chain(chosen.others.iter().copied()).collect()
}

fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a != b
}

fn assert_is_a_front(result: &RunResult) {
    assert!(!result.front.is_empty());
    for one in &result.front {
        let by = result.front.iter().find(|other| dominates(&values(other), &values(one)));
        assert!(by.is_none(), "{} is beaten by {:?}", one.candidate, by.map(|by| by.candidate));
    }
    for one in &result.top {
        let by = result.front.iter().find(|front| dominates(&values(one), &values(front)));
        assert!(by.is_none(), "{} beats {:?} of the front", one.candidate, by.map(|by| by.candidate));
    }
}

#[test]
fn trade_offs_of_score_and_size_are_found_and_a_killed_search_goes_on_to_the_same() {
    for strategy in ["tpe", "nsga2"] {
        let folder = Folder::new();
        let strategy = format!("search.strategy={strategy}");
        let asked = ["search.objectives=[\"score\", \"size\"]", "search.candidates=30", "search.batch=5"];
        let study = studies::small(&folder, &sets(&[&asked[..], &[&strategy, "search.population=6"]].concat()));
        let result = run(study, Existing::Refuse);
        assert_eq!(result.objectives, ["log_loss", "size"]);
        assert_is_a_front(&result);
        let smallest = result.front.iter().map(|one| one.others[0]).fold(f64::INFINITY, f64::min);
        assert!(result.best.others[0] > smallest, "the best by score is not the smallest");
        let journal = folder.path().join("run/journal.tfj");
        let bytes = std::fs::read(&journal).unwrap();
        std::fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
        let again = run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume);
        let front =
            |result: &RunResult| result.front.iter().map(|one| (one.candidate, values(one))).collect::<Vec<_>>();
        assert_eq!(front(&again), front(&result));
    }
}

#[test]
fn a_function_of_several_objectives_has_a_front() {
    let folder = Folder::new();
    let asked =
        ["objective.function=zdt1", "objective.dimensions=5", "search.strategy=nsga2", "search.candidates=2000"];
    let loaded = StudyConfig::of_sets("zdt1", &sets(&[&asked[..], &[&folder.run_set()]].concat())).unwrap();
    let result = run(loaded, Existing::Refuse);
    assert_is_a_front(&result);
    // The front is f2 = 1 - sqrt(f1).
    let off = |one: &Chosen| one.others[0] - (1.0 - one.value.sqrt());
    let worst = result.front.iter().map(off).fold(0.0, f64::max);
    assert!(result.front.len() > 50 && worst < 0.05, "{} of them, {worst} off", result.front.len());
}

#[test]
fn a_prediction_takes_more_of_more_rows_features_and_settings() {
    let shape = |task, rows, features, outputs| DataShape { task, rows, features, outputs };
    for model in MODELS {
        let task = model.tasks()[0];
        let outputs = if task == Task::Classification { 3 } else { 1 };
        let takes = |rows, features| {
            let shape = shape(task, rows, features, outputs);
            let space = model.space(shape);
            model.prediction(&space, &space.defaults(), shape)
        };
        let (few, many) = (takes(1000, 10), takes(4000, 40));
        // Trees are bounded by their own settings.
        let is_bounded = ["forest", "gbdt"].contains(&model.name());
        assert!(
            few >= 1.0 && (many > few || is_bounded && many == few) && many.is_finite(),
            "{}: {few}, {many}",
            model.name()
        );
    }
    // A hundred trees of ten levels for each of three classes; three by four weights.
    let of = |name: &str, sets: &[(&str, f64)], shape: DataShape| {
        let model = models::find(name).unwrap();
        let space = model.space(shape);
        let mut point = space.defaults();
        sets.iter().for_each(|(name, value)| point[space.index(name).unwrap()] = *value);
        model.prediction(&space, &point, shape)
    };
    let classes = shape(Task::Classification, 1_000_000, 4, 3);
    assert_eq!(of("logistic", &[], classes), 12.0);
    assert_eq!(of("gbdt", &[("trees", 100.0), ("leaves", 128.0)], classes), 100.0 * 3.0 * 8.0);
    assert_eq!(of("forest", &[("trees", 100.0), ("depth", 10.0)], classes), 100.0 * (10.0 + 3.0));
    assert_eq!(of("knn", &[("k", 5.0)], shape(Task::Classification, 1000, 4, 3)), 4005.0);
}

#[test]
fn trade_offs_of_score_and_prediction_are_a_front_and_a_limit_holds() {
    let asked = ["search.objectives=[\"score\", \"prediction\"]", "search.candidates=20", "search.strategy=nsga2"];
    let folder = Folder::new();
    let result = run(studies::small(&folder, &sets(&asked)), Existing::Refuse);
    assert_eq!(result.objectives, ["log_loss", "prediction"]);
    assert_is_a_front(&result);
    let least = result.front.iter().map(|one| one.others[0]).fold(f64::INFINITY, f64::min);
    assert!(least < result.best.others[0]);
    let folder = Folder::new();
    let limit = format!("search.limits={{ prediction = {least} }}");
    let limited = run(studies::small(&folder, &sets(&[&asked[..], &[&limit]].concat())), Existing::Refuse);
    assert!(!limited.front.is_empty() && limited.front.iter().all(|one| one.others[0] <= least));
}

#[test]
fn who_is_beyond_a_limit_is_no_choice() {
    let sizes = |limit: &str| {
        let folder = Folder::new();
        let result = run(studies::small(&folder, &sets(&["search.candidates=20", limit])), Existing::Refuse);
        (result.best.candidate, result.top.len())
    };
    let all = sizes("search.seed=3");
    let few = sizes("search.limits={ size = 400 }");
    assert!(few.1 < all.1, "{few:?} of {all:?}");
    let folder = Folder::new();
    let none = studies::small(&folder, &sets(&["search.limits={ size = 0.5 }"]));
    let error = tune(none, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("beyond search.limits"), "{error}");
}

#[test]
fn what_cannot_be_searched_for_is_said_first() {
    let said: Vec<String> = [
        &["search.objectives=[\"size\"]"][..],
        &["search.objectives=[\"score\", \"score\"]"],
        &["search.objectives=[\"score\", \"beauty\"]"],
        &["search.objectives=[\"score\", \"size\"]", "search.strategy=cmaes"],
        &["search.limits={ seconds = 0 }"],
    ]
    .into_iter()
    .map(|asked| {
        let folder = Folder::new();
        let text = "[data]\nfile = 'flowers.csv'\ntarget = 'kind'\n[run]\nbackend = 'cpu'\n";
        studies::flowers(&folder);
        let path = folder.write("study.toml", text);
        match StudyConfig::load(&path, &sets(asked)) {
            Ok(loaded) => tune(loaded, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    })
    .collect();
    insta::assert_snapshot!(said.join("\n\n"));
}
