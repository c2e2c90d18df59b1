//! What a study of an analytic function promises: the same as any other, and that little can be kept of it.

use crate::study::run;
use crate::support::{Folder, quiet, studies};
use std::path::PathBuf;
use thousandfold::backend::StopFlag;
use thousandfold::study::error::ConfigError;
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::result::{Chosen, RunResult};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, load_run, tune};

/// A study of sets alone, in a folder of its own; on the processor, whatever GPU there is, unless they say otherwise.
fn study(folder: &Folder, sets: &[&str]) -> LoadedConfig {
    loaded(folder, sets).unwrap()
}

fn loaded(folder: &Folder, sets: &[&str]) -> Result<LoadedConfig, ConfigError> {
    let own = ["objective.function=rastrigin", "objective.dimensions=3", "run.backend=cpu"];
    let mut all: Vec<String> = own.iter().map(|set| (*set).to_owned()).chain([folder.run_set()]).collect();
    all.extend(sets.iter().map(|set| (*set).to_owned()));
    StudyConfig::of_sets("rastrigin", &all)
}

fn ended(sets: &[&str]) -> RunResult {
    run(study(&Folder::new(), sets), Existing::Refuse)
}

fn refusal(sets: &[&str]) -> String {
    let folder = Folder::new();
    match loaded(&folder, sets) {
        Ok(loaded) => tune(loaded, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

fn journal(folder: &Folder) -> PathBuf {
    folder.path().join("run/journal.tfj")
}

/// Ids and bits of candidates.
fn ids(chosen: &[Chosen]) -> Vec<(u64, u64)> {
    chosen.iter().map(|one| (one.candidate, one.value.to_bits())).collect()
}

#[test]
fn a_search_of_a_function_knows_how_near_it_came() {
    let result = ended(&["search.strategy=cmaes", "search.candidates=10000"]);
    let function = result.function.unwrap();
    assert_eq!((function.name.as_str(), function.dimensions, function.optimum), ("rastrigin", 3, Some(0.0)));
    assert_eq!(function.exact, Some(result.best.value), "without noise");
    assert!(result.best.value < 1e-6, "{}", result.best.value);
    assert_eq!(result.counts.complete, 10_000);
    assert!(result.model.is_none() && result.model_file.is_none() && result.one_se.is_none());
}

#[test]
fn noise_is_averaged_over_repeats_and_told_as_an_error() {
    let noisy = |repeats: &str| ended(&["objective.noise=2.0", repeats, "search.candidates=50"]);
    let (once, often) = (noisy("objective.repeats=1"), noisy("objective.repeats=400"));
    assert_eq!((once.best.std_error, often.best.folds.len()), (None, 400));
    let error = often.best.std_error.unwrap();
    assert!((error - 2.0 / 20.0).abs() < 0.02, "{error}, by theory a tenth");
    let off = often.best.value - often.function.unwrap().exact.unwrap();
    assert!(off.abs() < 4.0 * error, "{off}");
    let alike = ended(&["objective.repeats=2", "search.candidates=5"]);
    assert!(alike.notes[0].contains("the same"), "{:?}", alike.notes);
}

#[test]
fn the_best_are_the_same_whether_the_others_are_kept_or_not() {
    for strategy in ["random", "sobol", "halton", "latin"] {
        let strategy = format!("search.strategy={strategy}");
        // More than one batch of either kind.
        let sets = [strategy.as_str(), "search.candidates=70000", "objective.noise=0.5"];
        let all = ended(&sets);
        let few = ended(&[&sets[..], &["run.history=best:40"]].concat());
        assert_eq!(ids(&few.top), ids(&all.top), "{strategy}");
        assert_eq!(few.counts, all.counts, "{strategy}");
        assert_eq!(few.stopped_because, all.stopped_because, "{strategy}");
        let distribution = few.distribution.unwrap();
        assert!((distribution[0].value - all.best.value).abs() <= all.best.value.abs() / 256.0, "{strategy}");
    }
}

#[test]
fn a_search_that_keeps_little_goes_on_to_the_same_end() {
    let sets = ["search.candidates=200000", "run.history=best:7"];
    let folder = Folder::new();
    let whole = studies::comparable(&run(study(&folder, &sets), Existing::Refuse));
    let table = std::fs::read_to_string(folder.path().join("run/best.csv")).unwrap();
    assert_eq!((table.lines().count(), table.lines().next()), (8, Some("candidate,value,x0,x1,x2")));
    // As if it had been killed after its first batch: what was asked for then was less.
    let folder = Folder::new();
    run(study(&folder, &["search.candidates=65536", "run.history=best:7"]), Existing::Refuse);
    let longer = load_run(&folder.path().join("run"), &["search.candidates=200000".to_owned()]).unwrap();
    assert_eq!(studies::comparable(&run(longer, Existing::Resume)), whole);
    assert_eq!(std::fs::read_to_string(folder.path().join("run/best.csv")).unwrap(), table);
    let (frames, _) = read(&journal(&folder), false).unwrap();
    let kept: Vec<u64> =
        frames.iter().filter_map(|frame| if let Frame::Kept(kept) = frame { Some(kept.done) } else { None }).collect();
    assert_eq!(kept, [200_000], "of states the last one holds");
}

#[test]
fn what_keeps_too_little_says_what_needs_more() {
    for (sets, reason) in [
        (&["search.strategy=tpe"][..], "tpe is rebuilt"),
        (&["search.strategy=sobol,random"], "cannot go on from a candidate in its middle"),
        (&["search.strategy=grid"], "cannot go on from a candidate in its middle"),
        (&["stop.patience=10"], "stop.patience"),
        (&["objective.function=zdt1"], "no single order"),
    ] {
        let said = refusal(&[&["run.history=best:10"], sets].concat());
        assert!(said.contains(reason) && said.contains("history = \"all\""), "{said}");
    }
    let folder = Folder::new();
    run(study(&folder, &["search.candidates=40"]), Existing::Refuse);
    let few = load_run(&folder.path().join("run"), &["run.history=best:3".to_owned()]).unwrap();
    let start = Start { existing: Existing::Resume, salvage: false };
    let said = tune(few, start, &mut quiet(), &StopFlag::default()).unwrap_err().to_string();
    assert!(said.contains("run.history was \"all\" and now is \"best:3\""), "{said}");
}

#[test]
fn what_a_function_cannot_be_is_said_before_anything_is_evaluated() {
    let said: Vec<String> = [
        &["objective.function=rastrigen"][..],
        &["objective.dimensions=0"],
        &["objective.function=branin"],
        &["objective.noise=-1"],
        &["objective.repeats=0"],
        &["validate.folds=3"],
        &["model.name=gbdt"],
        &["space.y={ float = [0, 1] }"],
        &["run.history=worst:3"],
        &["objective.function=model_choice", "objective.dimensions=15", "run.backend=gpu"],
        &["objective.function=zdt1", "search.strategy=cmaes"],
    ]
    .into_iter()
    .map(refusal)
    .collect();
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn known_points_come_first_and_winners_of_earlier_runs_with_them() {
    let folder = Folder::new();
    let first = run(study(&folder, &["search.candidates=60", "search.strategy=sobol"]), Existing::Refuse);
    let winners: Vec<_> = first.top.iter().take(5).map(|one| one.params.clone()).collect();
    let warm = format!("search.warm_start=[{:?}]", folder.path().join("run"));
    let again = Folder::new();
    let sets = [warm.as_str(), "search.points=[{ x0 = 0.25 }]", "search.strategy=random", "search.candidates=20"];
    let result = run(study(&again, &sets), Existing::Refuse);
    let by_id = |id: u64| result.top.iter().find(|one| one.candidate == id).map(|one| one.params.clone());
    assert_eq!(result.strategy, "portfolio, random");
    // Candidate 0 is the defaults, 1 the user's own, 2 to 6 the winners.
    let found: Vec<_> = (2..7).map(by_id).collect();
    assert_eq!(found, winners.into_iter().map(Some).collect::<Vec<_>>());
    assert!(result.decisions[0].contains("random goes on after portfolio, from candidate 7"), "{:?}", result.decisions);
    // The earlier run is not needed any more.
    let written = std::fs::read_to_string(again.path().join("run/study.toml")).unwrap();
    assert!(written.contains("points") && !written.contains("warm_start"), "{written}");
    drop(folder);
    let resumed = load_run(&again.path().join("run"), &[]).unwrap();
    assert_eq!(studies::comparable(&run(resumed, Existing::Resume)), studies::comparable(&result));
}

#[test]
fn points_that_the_space_has_not_are_named() {
    let said: Vec<String> = [
        "search.points=[{ x0 = 1 }, { y = 1 }]",
        "search.points=[{ x0 = 100 }]",
        "search.points=[{ x0 = true }]",
        "search.warm_start=[\"nowhere\"]",
    ]
    .into_iter()
    .map(|set| refusal(&[set]))
    .collect();
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn methods_take_over_from_each_other_and_a_run_goes_on_wherever_it_was_cut() {
    let folder = Folder::new();
    let sets = ["search.strategy=sobol,tpe,cmaes", "search.candidates=120", "search.batch=16"];
    let result = run(study(&folder, &sets), Existing::Refuse);
    let whole = studies::comparable(&result);
    assert_eq!(result.decisions.len(), 2, "{:?}", result.decisions);
    let bytes = std::fs::read(journal(&folder)).unwrap();
    let mut end = 12;
    let mut cuts = 0;
    while end < bytes.len() {
        std::fs::write(journal(&folder), &bytes[..end]).unwrap();
        if cuts > 0 {
            let loaded = load_run(&folder.path().join("run"), &[]).unwrap();
            assert_eq!(studies::comparable(&run(loaded, Existing::Resume)), whole, "cut at byte {end}");
        }
        end += 8 + u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
        cuts += 1;
    }
    assert!(cuts > 7, "{cuts}");
}
