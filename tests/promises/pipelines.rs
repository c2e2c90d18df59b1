//! Studies that search over models, or over how the data are prepared.

use crate::support::{Folder, quiet, studies, without_models};
use std::collections::BTreeSet;
use thousandfold::backend::StopFlag;
use thousandfold::space::Value;
use thousandfold::study::events::{Event, Observer, Observers};
use thousandfold::study::history::Trial;
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{Ended, Start, StudyError, tune};

/// Two models, each with little to do.
const TWO: [&str; 4] = ["model.name=mlp,logistic", "model.budget={ mlp = 2 }", "space.mlp.hidden=8", "run.backend=cpu"];

fn strings(sets: &[&str]) -> Vec<String> {
    sets.iter().map(|set| (*set).to_owned()).collect()
}

fn run(sets: &[&str]) -> Result<RunResult, StudyError> {
    let folder = Folder::new();
    match tune(studies::small(&folder, &strings(sets)), Start::default(), &mut quiet(), &StopFlag::default())? {
        Ended::Finished(result) => Ok(*result),
        Ended::Interrupted { .. } => panic!("nobody interrupted it"),
    }
}

/// Keeps the scores of the first candidates, by id.
struct First(std::sync::Arc<std::sync::Mutex<Vec<Trial>>>);

impl Observer for First {
    fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        if let Event::Trials { trials, .. } = event {
            self.0.lock().unwrap().extend_from_slice(trials);
        }
        Ok(())
    }
}

/// The bits of each candidate's scores, in the order of ids.
fn scores(sets: &[&str]) -> Vec<Vec<u64>> {
    let folder = Folder::new();
    let seen = std::sync::Arc::default();
    let mut observers = Observers::default();
    observers.push(Box::new(First(std::sync::Arc::clone(&seen))));
    tune(studies::small(&folder, &strings(sets)), Start::default(), &mut observers, &StopFlag::default()).unwrap();
    let mut trials = seen.lock().unwrap().clone();
    trials.sort_by_key(|trial| trial.candidate);
    trials.iter().map(|trial| trial.scores.iter().map(|score| score.to_bits()).collect()).collect()
}

#[test]
fn of_several_models_each_begins_with_its_defaults_and_has_the_bits_that_it_has_alone() {
    let both = scores(&[&TWO[..], &["search.candidates=6"]].concat());
    let mlp = scores(&["model.name=mlp", "model.budget=2", "space.hidden=8", "search.candidates=1"]);
    let logistic = scores(&["model.name=logistic", "search.candidates=1"]);
    assert_eq!([&both[0], &both[1]], [&mlp[0], &logistic[0]]);
    assert_ne!(both[0], both[1]);
}

#[test]
fn the_winner_of_several_models_is_refitted_predicts_and_says_what_it_is() {
    let folder = Folder::new();
    let sets = strings(&[&TWO[..], &["search.candidates=24"]].concat());
    let ended = tune(studies::small(&folder, &sets), Start::default(), &mut quiet(), &StopFlag::default());
    let Ended::Finished(result) = ended.unwrap() else { panic!("nobody interrupted it") };
    assert_eq!(result.model.as_deref(), Some("mlp, logistic"));
    let models: BTreeSet<String> = result.top.iter().map(|chosen| chosen.params["model"].to_string()).collect();
    assert_eq!(models.len(), 2, "both were searched: {models:?}");
    let Value::Text(best) = &result.best.params["model"] else { panic!("a model has a name") };
    let own = format!("{best}.");
    assert!(result.best.params.keys().all(|name| name == "model" || name.starts_with(&own)), "{:?}", result.best);
    let fitted = thousandfold::study::model_file::FittedModel::load(&folder.path().join("run/model.safetensors"));
    assert_eq!(&fitted.unwrap().meta.model, best);
    assert!(result.test.unwrap().value.is_finite());
}

#[test]
fn candidates_of_several_models_fit_into_narrow_terminals() {
    let result = run(&["model.name=naive_bayes,logistic", "search.candidates=6", "run.backend=cpu"]).unwrap();
    for columns in [40, 60, 80, 120] {
        let shown = thousandfold::monitor::summary::summary(&result, columns);
        // Paths are left whole.
        let lines = shown.lines().take_while(|line| !line.starts_with("run directory"));
        let widest = lines.map(thousandfold::monitor::text::width).max().unwrap_or(0);
        assert!((30..=columns).contains(&widest), "{columns} columns:\n{shown}");
    }
}

#[test]
fn a_study_of_several_models_is_resumed_to_the_same_result() {
    let whole = run(&[&TWO[..], &["search.candidates=20"]].concat()).unwrap();
    let folder = Folder::new();
    let first = strings(&[&TWO[..], &["search.candidates=7"]].concat());
    tune(studies::small(&folder, &first), Start::default(), &mut quiet(), &StopFlag::default()).unwrap();
    let loaded =
        thousandfold::study::load_run(&folder.path().join("run"), &strings(&["search.candidates=20"])).unwrap();
    let start = Start { existing: Existing::Resume, salvage: false };
    let Ended::Finished(resumed) = tune(loaded, start, &mut quiet(), &StopFlag::default()).unwrap() else {
        panic!("nobody interrupted it")
    };
    let mut resumed = *resumed;
    // The shorter run has read the test rows, and that is told.
    resumed.notes.clone_from(&whole.notes);
    assert_eq!(studies::comparable(&whole), studies::comparable(&resumed));
}

#[test]
fn a_preparation_that_is_searched_gives_the_scores_that_it_gives_alone() {
    let searched = ["space.prepare.scale=['none', 'robust']", "space.prepare.indicator=[true, false]"];
    let grid = ["search.strategy=grid", "space.l2=1.0", "space.fit_intercept=true", "model.name=logistic"];
    let mut seen: Vec<Vec<u64>> = scores(&[&searched[..], &grid[..]].concat());
    let mut alone: Vec<Vec<u64>> = Vec::new();
    for scale in ["none", "robust"] {
        for indicator in ["true", "false"] {
            let (scale, indicator) = (format!("prepare.scale={scale}"), format!("prepare.indicator={indicator}"));
            alone.extend(scores(&[&[&scale[..], &indicator[..]], &grid[..]].concat()));
        }
    }
    seen.sort();
    alone.sort();
    assert_eq!(alone.len(), 4);
    assert_eq!(seen, alone);
    alone.dedup();
    assert!(alone.len() > 2, "a preparation matters");
}

#[test]
fn what_cannot_be_searched_together_says_why() {
    let cases: [&[&str]; 9] = [
        &["model.name=mlp,mlp"],
        &["model.name=mlp,logistik"],
        &["model.name=[]"],
        &["model.name=mlp,logistic", "model.budget=5"],
        &["model.name=mlp", "space.prepare.scale={ float = [0.0, 1.0] }"],
        &["model.name=mlp", "space.prepare.rare={ float = [0.0, 1.0] }"],
        &["model.name=mlp", "space.prepare.scal=['none']"],
        &["model.name=mlp,logistic", "space.learning_rate=0.1"],
        &["model.name=mlp,logistic", "space.mlp.learning_rat=0.1"],
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|sets| {
            let folder = Folder::new();
            studies::flowers(&folder);
            let path = folder.write("study.toml", "[data]\nfile = 'flowers.csv'\ntarget = 'kind'\n");
            let loaded = thousandfold::study::StudyConfig::load(&path, &strings(sets)).map_err(StudyError::from);
            let ended = loaded.and_then(|mut loaded| {
                loaded.config.run.dir = Some(folder.path().join("run"));
                tune(loaded, Start::default(), &mut quiet(), &StopFlag::default())
            });
            without_models(&ended.unwrap_err().to_string()) + "\n"
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}
