//! What schedulers promise that count training rows: subsets are nested, stratified and the same for all candidates, none holds
//! a row that is scored, and what was trained is counted as it was.

use crate::study::run;
use crate::support::{Folder, quiet, studies};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::{Lane, StopFlag};
use thousandfold::base::random::Key;
use thousandfold::data::splits::Subsets;
use thousandfold::data::{Dataset, FoldRows, Preparation, Target, build_problem};
use thousandfold::models::{MODELS, Model};
use thousandfold::space::Points;
use thousandfold::study::events::{Event, Observer};
use thousandfold::study::journal::{Frame, Rung, read};
use thousandfold::study::objective::Models;
use thousandfold::study::resolve::Study;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, load_result, tune};

/// Halving on rows: 64 training rows in each of three folds, of which 21 are the first rung.
const BY_ROWS: [&str; 4] =
    ["search.scheduler=halving", "search.resource=rows", "search.candidates=20", "search.strategy=tpe"];

fn study(folder: &Folder, model: &dyn Model, sets: &[&str]) -> LoadedConfig {
    let target = match model.tasks().contains(&thousandfold::data::Task::Classification) {
        true => "data.target=kind",
        false => "data.target=a",
    };
    let budget = format!("model.budget={}", model.budget().default.min(6));
    let name = format!("model.name={}", model.name());
    let sets = [&BY_ROWS[..], &[&name, &budget, target], sets].concat();
    studies::small(folder, &sets.into_iter().map(str::to_owned).collect::<Vec<_>>())
}

fn named(name: &str) -> &'static dyn Model {
    MODELS.iter().copied().find(|model| model.name() == name).unwrap()
}

/// Of nearest neighbours, with rungs that are close to each other.
fn resolved(sets: &[&str]) -> Study {
    let folder = Folder::new();
    let sets = [&["search.scheduler=median", "search.interval=2"], sets].concat();
    Study::resolve(study(&folder, named("knn"), &sets)).unwrap()
}

fn parts(study: &Study) -> (&Models, &Subsets) {
    let models = study.objective.models().unwrap();
    (models, models.subsets.as_ref().unwrap())
}

fn is_in(some: &FoldRows, all: &FoldRows) -> bool {
    some.train.iter().all(|row| all.train.binary_search(row).is_ok())
}

#[test]
fn a_smaller_budget_s_rows_are_among_a_larger_one_s_and_none_of_them_is_scored() {
    let others: [&[&str]; 6] = [
        &[],
        &["validate.repeats=2"],
        &["data.target=a", "validate.folds=5"],
        &["validate.method=time_series"],
        &["validate.method=group", "data.group=colour", "validate.folds=2"],
        &["data.test=0.0", "validate.outer_folds=4"],
    ];
    for sets in others {
        let study = resolved(sets);
        let (models, subsets) = parts(&study);
        let (folds, test) = (&models.splits.folds, &models.splits.test);
        let group = |row: &u32| row / 3 % 3;
        let is_by_group = sets.contains(&"data.group=colour");
        let mut smaller = subsets.cut(folds, 0);
        for budget in 1..=subsets.full() {
            let cut = subsets.cut(folds, budget);
            for ((cut, whole), smaller) in cut.iter().zip(folds).zip(&smaller) {
                assert!(is_in(smaller, cut) && is_in(cut, whole), "{sets:?}, {budget}");
                assert!(cut.train.is_sorted_by(|a, b| a < b), "no row twice");
                // The same share of every fold, rounded up.
                let rows = (budget * whole.train.len() as u64).div_ceil(subsets.full());
                assert_eq!(cut.train.len() as u64, rows, "{sets:?}, {budget}");
                assert_eq!(cut.evals, whole.evals, "what is scored stays whole");
                let scored = cut.evals.iter().flatten().chain(test);
                if is_by_group {
                    let trained: BTreeSet<u32> = cut.train.iter().map(group).collect();
                    assert!(scored.clone().all(|row| !trained.contains(&group(row))), "{trained:?}");
                }
                assert!(scored.into_iter().all(|row| cut.train.binary_search(row).is_err()), "{sets:?}, {budget}");
            }
            smaller = cut;
        }
        assert_eq!(subsets.cut(folds, subsets.full()), *folds, "the full budget is every row");
    }
}

#[test]
fn classes_keep_their_shares_in_every_subset() {
    let study = resolved(&[]);
    let (models, subsets) = parts(&study);
    let Target::Classes { codes, classes } = &models.dataset.target else { panic!("three kinds") };
    let count = |rows: &[u32], class: usize| rows.iter().filter(|row| codes[**row as usize] as usize == class).count();
    for budget in subsets.least()..=subsets.full() {
        for (cut, whole) in subsets.cut(&models.splits.folds, budget).iter().zip(&models.splits.folds) {
            for class in 0..*classes {
                let share = (count(&whole.train, class) * cut.train.len()) as f64 / whole.train.len() as f64;
                let found = count(&cut.train, class) as f64;
                assert!((found - share).abs() < 1.0, "class {class} of {budget} rows: {found}, not {share}");
            }
        }
    }
}

#[test]
fn what_is_drawn_depends_on_seed_repeat_and_fold_alone() {
    let study = resolved(&["validate.repeats=2"]);
    let (models, subsets) = parts(&study);
    let folder = Folder::new();
    let sets = ["validate.repeats=2", "search.batch=5", "search.strategy=random"];
    let other = Study::resolve(self::study(&folder, named("ridge"), &sets)).unwrap();
    assert_eq!(parts(&other).1, subsets, "whatever is trained, and however it is searched");
    let target = Target::Values(vec![0.0; 500]);
    let fold = |repeat, fold| FoldRows { repeat, fold, train: (0..300).collect(), evals: Vec::new() };
    let drawn = |seed, which| {
        let folds = [which];
        Subsets::draw(&target, None, &folds, Key::from_seed(seed)).cut(&folds, 50)[0].train.clone()
    };
    let first = drawn(1, fold(0, 0));
    assert_eq!(first, drawn(1, fold(0, 0)));
    for (seed, which) in [(2, fold(0, 0)), (1, fold(1, 0)), (1, fold(0, 1))] {
        assert_ne!(first, drawn(seed, which));
    }
    // Drawn over the whole fold, not from its beginning.
    assert!(first.iter().any(|row| *row >= 200) && first.iter().any(|row| *row < 100));
    assert_eq!(models.splits.folds.len(), 6);
}

/// Kinds of so many rows, in a table with a column that tells them apart.
fn kinds(folder: &Folder, counts: &[usize], sets: &[&str]) -> Study {
    let mut text = "x,kind\n".to_owned();
    for (kind, count) in counts.iter().enumerate() {
        (0..*count).for_each(|row| writeln!(text, "{},k{kind}", kind * 10 + row % 7).unwrap());
    }
    let path = folder.write("kinds.csv", &text);
    let common = ["model.name=knn", "search.scheduler=halving", "validate.folds=2", "data.test=0.0"];
    let sets: Vec<String> = common.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    Study::resolve(StudyConfig::for_table(&path, "kind", &sets).unwrap()).unwrap()
}

#[test]
fn the_first_rung_has_four_rows_a_class_and_two_of_each_however_rare() {
    for (counts, least) in [(&[200usize, 200][..], 20), (&[30; 9], 36), (&[400, 60, 4], 20), (&[500, 500, 4, 4, 4], 20)]
    {
        let study = kinds(&Folder::new(), counts, &[]);
        let (models, subsets) = parts(&study);
        assert_eq!(subsets.least(), least, "{counts:?}");
        assert_eq!(study.scheduler_options().least, least, "{counts:?}");
        let Target::Classes { codes, classes } = &models.dataset.target else { panic!("kinds") };
        for cut in subsets.cut(&models.splits.folds, least) {
            for class in 0..*classes {
                let rows = cut.train.iter().filter(|row| codes[**row as usize] as usize == class).count();
                assert!(rows >= 2, "{counts:?}: {rows} of class {class}");
            }
        }
    }
    let study = kinds(&Folder::new(), &[200, 200], &["search.min_budget=50"]);
    assert_eq!(study.scheduler_options().least, 50, "a study may begin higher");
}

#[test]
fn the_first_rung_is_raised_until_something_varies() {
    // One row in fifteen has anything to say.
    let folder = Folder::new();
    let rows: String = (0..120).map(|row| format!("{},k{}\n", u8::from(row % 15 == 4), row % 2)).collect();
    let path = folder.write("sparse.csv", &format!("x,kind\n{rows}"));
    let raised = |seed: u64| {
        let (seed, by) = (format!("search.seed={seed}"), ["search.scheduler=median", "search.interval=5"]);
        let sets = ["model.name=ridge", "validate.folds=2", "data.test=0.0", &seed];
        let sets: Vec<String> = sets.iter().chain(&by).map(|set| (*set).to_owned()).collect();
        let study = Study::resolve(StudyConfig::for_table(&path, "kind", &sets).unwrap()).ok()?;
        (parts(&study).1.least() > 20).then_some(study)
    };
    let study = (0..40).find_map(raised).expect("a draw of rows that are all the same");
    let (models, subsets) = parts(&study);
    let pipeline = models.pipelines.first();
    let varies = |budget: u64| {
        subsets.cut(&models.splits.folds, budget).iter().all(|fold| {
            let fitted = Preparation::fit(&models.dataset, &fold.train, &pipeline.prepare, pipeline.model.input());
            !fitted.features().is_empty()
        })
    };
    assert_eq!((varies(subsets.least()), varies(subsets.least() / 2)), (true, false));
}

/// What was journalled of candidates on their way.
fn rungs(folder: &Folder) -> Vec<Rung> {
    let frames = read(&folder.path().join("run/journal.tfj"), false).unwrap().0;
    frames.into_iter().filter_map(|frame| if let Frame::Rung(rung) = frame { Some(rung) } else { None }).collect()
}

/// The scores of points on folds that have these training rows alone, as if there were no others.
fn scores_on(study: &Study, folds: &[FoldRows], points: &Points) -> Vec<u64> {
    let models = study.objective.models().unwrap();
    let pipeline = models.pipelines.first();
    let (dataset, input): (&Dataset, _) = (&models.dataset, pipeline.model.input());
    let problem =
        build_problem(dataset, folds, &pipeline.prepare, input, models.metric, pipeline.budget, study.key).unwrap();
    let mut trainer = pipeline.model.open_cpu(&pipeline.space, Arc::new(problem), &CpuOptions::default()).unwrap();
    let lanes: Vec<Lane> =
        (0..points.len()).flat_map(|point| (0..folds.len()).map(move |fold| Lane { point, fold })).collect();
    let slots = trainer.start(points, &lanes).unwrap();
    let mut scores = vec![0; lanes.len()];
    let mut report = |report: thousandfold::backend::LaneReport| {
        let lane = slots.iter().position(|slot| *slot == report.slot).unwrap();
        scores[lane] = report.evals[0].to_bits();
        ControlFlow::Continue(())
    };
    trainer.advance(&slots, pipeline.budget, false, &StopFlag::default(), &mut report).unwrap();
    scores
}

#[test]
fn a_rung_s_scores_are_those_of_a_training_that_never_saw_the_other_rows() {
    for model in MODELS {
        let folder = Folder::new();
        run(study(&folder, *model, &[]), Existing::Refuse);
        let study = Study::resolve(study(&folder, *model, &[])).unwrap();
        let (models, subsets) = parts(&study);
        let mut points = Points::new(study.space.parameters.len());
        let mut found: Vec<u64> = Vec::new();
        for Rung { budget, outcomes } in rungs(&folder) {
            assert_eq!(budget, 21, "{}: a third of 64 rows", model.name());
            outcomes.points.chunks_exact(points.width()).for_each(|point| points.push(point));
            found.extend(outcomes.scores.iter().map(|score| score.to_bits()));
        }
        assert!(points.len() > 5 && found.len() == 3 * points.len(), "{}", model.name());
        let folds = subsets.cut(&models.splits.folds, 21);
        assert_eq!(found, scores_on(&study, &folds, &points), "{}", model.name());
        // One row more in each fold is another training.
        let more = subsets.cut(&models.splits.folds, 22);
        assert_ne!(found, scores_on(&study, &more, &points), "{}", model.name());
    }
}

#[test]
fn a_rung_that_was_closed_is_opened_again_to_the_same_bits_on_a_device_too() {
    if crate::gpu::shared().is_none() {
        return;
    }
    // Each batch goes from few rows to all. Where memory is limited one rung is open at a time.
    let batches = ["search.batch=9", "run.backend=gpu", "run.device=\"0\""];
    let with = |memory: &str| {
        let sets = [&batches[..], &[memory]].concat();
        studies::comparable(&run(study(&Folder::new(), named("knn"), &sets), Existing::Refuse))
    };
    assert_eq!(with("run.memory=64"), with("run.memory=0"));
}

#[test]
fn rows_are_counted_as_often_as_they_were_trained_on() {
    struct Units(Rc<Cell<u64>>);
    impl Observer for Units {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if let Event::Lane(progress) = event {
                self.0.set(progress.trained);
            }
            Ok(())
        }
    }
    let ended = |sets: &[&str]| {
        let units = Rc::new(Cell::new(0));
        let mut observers = quiet();
        observers.push(Box::new(Units(units.clone())));
        let folder = Folder::new();
        // Penalties that differ, so that no candidate is another one's twin.
        let loaded = study(&folder, named("ridge"), &[&["search.strategy=random"], sets].concat());
        tune(loaded, Start::default(), &mut observers, &StopFlag::default()).unwrap();
        (load_result(&folder.path().join("run")).unwrap().unwrap(), units.get())
    };
    let (result, units) = ended(&[]);
    assert_eq!((result.counts.complete, result.counts.pruned), (7, 13));
    // Twenty candidates on 21 rows, seven of them on 64 more, in each of three folds.
    assert_eq!(units, 3 * (20 * 21 + 7 * 64));
    let whole = (3 * 20 * 64) as f64;
    assert_eq!(result.saved, Some(1.0 - units as f64 / whole));
    // Who is ended on the third of four rungs has been trained on all three; so have those who were not.
    let (result, units) = ended(&["search.scheduler=percentile", "search.percentile=60", "search.interval=20"]);
    assert!(result.counts.pruned > 0 && result.counts.complete > 5, "{:?}", result.counts);
    assert!((result.saved.unwrap() - (1.0 - units as f64 / whole)).abs() < 1e-12, "{:?}, {units}", result.saved);
}

#[test]
fn of_models_with_and_without_a_unit_each_has_the_same_share_of_its_own() {
    let folder = Folder::new();
    let both = ["model.name=knn,mlp", "model.budget={ mlp = 9 }", "space.mlp.batch=16"];
    let common = ["search.scheduler=halving", "search.candidates=20", "search.strategy=tpe", "search.eta=2"];
    let sets: Vec<String> = common.iter().chain(&both).map(|set| (*set).to_owned()).collect();
    let result = run(studies::small(&folder, &sets), Existing::Refuse);
    assert_eq!(result.counts.complete + result.counts.pruned + result.counts.failed, 20);
    let rungs = rungs(&folder);
    let budgets: Vec<(u64, u64)> =
        rungs.iter().flat_map(|rung| rung.outcomes.used.iter().map(|(used, _)| (rung.budget, *used))).collect();
    // Half of 64 rows, once; half of nine epochs.
    assert!(budgets.contains(&(32, 1)) && budgets.contains(&(32, 5)), "{budgets:?}");
    assert!(budgets.iter().all(|(budget, used)| *budget == 32 && [1, 5].contains(used)), "{budgets:?}");
}

#[test]
fn where_no_scheduler_asks_for_rows_none_are_drawn() {
    for sets in [&["search.scheduler=full"][..], &["search.scheduler=racing"]] {
        let study = Study::resolve(study(&Folder::new(), named("knn"), sets)).unwrap();
        assert!(study.objective.models().unwrap().subsets.is_none(), "{sets:?}");
        assert_eq!(study.budget, 1, "{sets:?}");
    }
    let own = Study::resolve(study(&Folder::new(), named("gbdt"), &["search.resource=own"])).unwrap();
    assert!(own.objective.models().unwrap().subsets.is_none());
    assert_eq!(own.budget, 6);
    let error = StudyConfig::of_sets("f", &["objective.function=sphere".to_owned(), "search.resource=rows".to_owned()]);
    let error = Study::resolve(error.unwrap()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("search.resource") && error.contains("trains no model on rows"), "{error}");
}
