//! A search that is told what matters ends where no more than that is left to gain.

use crate::study::run;
use crate::support::{Folder, quiet, studies};
use thousandfold::backend::StopFlag;
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::stopping::StopReason;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, load_run, tune};

fn function(folder: &Folder, sets: &[&str]) -> LoadedConfig {
    let own = ["objective.function=rosenbrock", "objective.dimensions=2", "run.backend=cpu", "search.batch=10"];
    let mut all: Vec<String> = own.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    all.push(folder.run_set());
    StudyConfig::of_sets("rosenbrock", &all).unwrap()
}

fn ended(sets: &[&str]) -> RunResult {
    run(function(&Folder::new(), sets), Existing::Refuse)
}

#[test]
fn a_search_ends_where_no_more_than_what_matters_is_left_to_gain() {
    let ends = |regret: &str, seed: &str| {
        ended(&["search.strategy=gp", "search.candidates=200", &format!("stop.regret={regret}"), seed])
    };
    for seed in ["search.seed=1", "search.seed=2"] {
        let result = ends("5.0", seed);
        let remaining = result.remaining.unwrap();
        assert_eq!(result.stopped_because, StopReason::Regret, "{seed}: {remaining:?}");
        assert!(remaining.regret <= remaining.allowed && remaining.allowed == 5.0, "{remaining:?}");
        assert!(result.counts.proposed < 200 && result.counts.proposed >= 20, "{:?}", result.counts);
        // The optimum is 0.
        assert!(result.best.value <= 5.0, "{seed}: {}", result.best.value);
        let finer = ends("2.0", seed);
        assert!(finer.counts.proposed >= result.counts.proposed, "{seed}: {:?}", finer.counts);
    }
}

#[test]
fn whatever_proposes_and_a_search_far_from_the_optimum_goes_on() {
    // Forty random candidates come nowhere near the end of the valley in ten dimensions.
    let sets = ["objective.dimensions=10", "search.candidates=60", "search.strategy=random", "stop.regret=1.0"];
    let result = ended(&sets);
    assert_eq!(result.stopped_because, StopReason::Candidates);
    let remaining = result.remaining.unwrap();
    assert!(remaining.regret > result.best.value / 2.0 && remaining.regret > 1.0, "{remaining:?}");
    assert!(ended(&["search.strategy=random"]).remaining.is_none(), "nobody asked");
}

#[test]
fn a_search_that_was_cut_ends_at_the_same_candidate() {
    let sets = ["search.strategy=gp", "search.candidates=200", "stop.regret=5.0"];
    let whole = ended(&sets);
    let folder = Folder::new();
    run(function(&folder, &["search.strategy=gp", "search.candidates=30", "stop.regret=5.0"]), Existing::Refuse);
    let longer = load_run(&folder.path().join("run"), &["search.candidates=200".to_owned()]).unwrap();
    let longer = run(longer, Existing::Resume);
    assert_eq!(longer.stopped_because, whole.stopped_because);
    assert_eq!(longer.remaining, whole.remaining);
    assert_eq!(studies::comparable(&longer), studies::comparable(&whole));
}

#[test]
fn folds_tell_what_their_noise_leaves_unsure() {
    let folder = Folder::new();
    let sets = ["stop.regret=noise", "search.candidates=200", "search.batch=20", "model.name=logistic"];
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let result = run(studies::small(&folder, &sets), Existing::Refuse);
    let remaining = result.remaining.unwrap();
    assert_eq!(result.stopped_because, StopReason::Regret, "{remaining:?}");
    // Three folds: errors of a mean are larger by the root of 1 + 3 * (1/3) / (2/3).
    let expected = result.best.std_error.unwrap() * 2.5f64.sqrt();
    assert!((remaining.allowed / expected - 1.0).abs() < 0.05, "{remaining:?}, {expected} expected");
}

#[test]
fn where_there_is_no_noise_or_no_best_that_is_said() {
    for (sets, said) in [
        (&["stop.regret=noise"][..], "one fold says nothing of its noise"),
        (&["stop.regret=0.1", "objective.function=zdt1", "objective.dimensions=5"], "of 2 objectives there is no best"),
        (&["stop.regret=0.1", "run.history=best:5"], "stop.regret is a bound from all outcomes"),
    ] {
        let folder = Folder::new();
        let error = tune(function(&folder, sets), Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(!folder.path().join("run").exists(), "nothing was begun");
    }
}
