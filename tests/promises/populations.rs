//! What populations promise: whoever takes over goes on from where its parent stands, hyperparameters change where they are said
//! to, and what came of it can be trained again.

use crate::gpu;
use crate::resume::{ends, resumed};
use crate::study::run;
use crate::support::{Folder, mixed_points, open_cpu, problem, quiet, studies};
use std::ops::ControlFlow;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use thousandfold::data::Task;
use thousandfold::models::{DataShape, MODELS, Model};
use thousandfold::schedulers::{SCHEDULERS, SchedulerEntry};
use thousandfold::space::{Points, Space, Value};
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, tune};

/// Units in all, and those after which lanes turn.
const BUDGET: u64 = 6;
const TURNS: [u64; 2] = [2, 4];

/// Models with hyperparameters that may change on the way.
fn schedulable() -> impl Iterator<Item = &'static dyn Model> {
    MODELS.iter().copied().filter(|model| !model.schedulable().is_empty())
}

/// Points that differ from others in what a model can change on the way alone: by a step towards the middle of the range.
fn turned(model: &dyn Model, space: &Space, points: &Points, step: f64) -> Points {
    let codecs = space.codecs();
    let mut turned = Points::new(points.width());
    for row in points.rows() {
        let mut row = row.to_vec();
        for (column, parameter) in space.parameters.iter().enumerate() {
            if model.schedulable().contains(&parameter.name.as_str()) && !row[column].is_nan() {
                let place = codecs[column].encode(row[column]);
                row[column] = codecs[column].decode(place + step * (0.5 - place));
            }
        }
        turned.push(&row);
    }
    turned
}

fn advance(trainer: &mut dyn Trainer, slots: &[Slot], budget: u64) -> Vec<Vec<u64>> {
    let mut found = vec![Vec::new(); slots.len()];
    let mut report = |lane: LaneReport| {
        let place = slots.iter().position(|slot| *slot == lane.slot).unwrap();
        found[place] = lane.evals.iter().map(|value| value.to_bits()).collect();
        ControlFlow::Continue(())
    };
    trainer.advance(slots, budget, true, &StopFlag::default(), &mut report).unwrap();
    found
}

fn start(trainer: &mut dyn Trainer, points: &Points) -> Vec<Slot> {
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: point % 2 }).collect();
    trainer.start(points, &lanes).unwrap()
}

/// What a trainer that is opened anew says of lanes that turn twice: told all at once, step by step, and of every other lane
/// with forks that go on beside their parents.
struct Found {
    at_once: Vec<Vec<u64>>,
    by_steps: Vec<Vec<u64>>,
    weights: [Weights; 2],
    unturned: Vec<Vec<u64>>,
    parents: Vec<Vec<u64>>,
    forks: Vec<Vec<u64>>,
}

fn found(trainer: &mut dyn Trainer, points: &Points, turns: &[Points; 2]) -> Found {
    let slots = start(trainer, points);
    TURNS.iter().zip(turns).for_each(|(at, turn)| trainer.turn(&slots, *at, turn).unwrap());
    let at_once = advance(trainer, &slots, BUDGET);
    let first = trainer.read_back(slots[0]).unwrap();
    trainer.release(&slots);
    let slots = start(trainer, points);
    for (at, turn) in TURNS.iter().zip(turns) {
        advance(trainer, &slots, *at);
        trainer.turn(&slots, *at, turn).unwrap();
    }
    let by_steps = advance(trainer, &slots, BUDGET);
    let second = trainer.read_back(slots[0]).unwrap();
    trainer.release(&slots);
    let slots = start(trainer, points);
    let unturned = advance(trainer, &slots, BUDGET);
    trainer.release(&slots);
    // All lanes go on beside their forks, of which every third takes the first turn.
    let slots = start(trainer, points);
    advance(trainer, &slots, TURNS[0]);
    let forks = trainer.fork(&slots).unwrap();
    let mut third = Points::new(points.width());
    turns[0].rows().step_by(3).for_each(|row| third.push(row));
    let turning: Vec<Slot> = forks.iter().copied().step_by(3).collect();
    trainer.turn(&turning, TURNS[0], &third).unwrap();
    let all = advance(trainer, &[&slots[..], &forks[..]].concat(), BUDGET);
    let (parents, forks) = all.split_at(slots.len());
    let (parents, forks) = (parents.to_vec(), forks.to_vec());
    Found { at_once, by_steps, weights: [first, second], unturned, parents, forks }
}

/// A model on both kinds of problem that it learns.
fn check(what: &str, trainer: &mut dyn Trainer, points: &Points, turns: &[Points; 2]) -> Vec<Vec<u64>> {
    let found = found(trainer, points, turns);
    assert!(found.at_once == found.by_steps, "{what}: what was said before is what is said on the way");
    assert!(found.weights[0] == found.weights[1], "{what}: weights");
    assert!(found.unturned == found.parents, "{what}: a parent goes on as if nothing had happened");
    let differing = found.at_once.iter().zip(&found.unturned).filter(|(a, b)| a != b).count();
    assert!(differing > points.len() / 2, "{what}: {differing} of {} turns change something", points.len());
    let same = |nth: usize| found.forks[nth] == found.unturned[nth];
    assert!((0..points.len()).filter(|nth| nth % 3 != 0).all(same), "{what}: forks that do not turn");
    assert!(!(0..points.len()).step_by(3).all(same), "{what}: forks that turn");
    found.at_once
}

#[test]
fn turns_are_the_same_whenever_they_are_said_and_forks_go_on_from_where_their_parents_stand() {
    let mut tried = 0;
    for model in schedulable() {
        for task in model.tasks() {
            let classes = if *task == Task::Classification { 3 } else { 1 };
            let problem = problem(2, 80, 9, classes, BUDGET);
            let space = model.space(DataShape { task: *task, rows: 80, features: 9, outputs: classes });
            let points = mixed_points(&space, 21, 24.0);
            let turns = [0.3, 0.6].map(|step| turned(model, &space, &points, step));
            let what = format!("{}, {task:?}", model.name());
            let mut wide = open_cpu(model, &space, &problem, &CpuOptions::default());
            let on_cpu = check(&what, &mut *wide, &points, &turns);
            // Where there is no room for all that stand, lanes begin anew and take their turns again.
            let narrow = CpuOptions { memory: 1 << 20, ..CpuOptions::default() };
            let mut narrow = open_cpu(model, &space, &problem, &narrow);
            let narrow = check(&format!("{what} in a MiB"), &mut *narrow, &points, &turns);
            assert!(narrow == on_cpu, "{what}: memory");
            tried += 1;
        }
    }
    assert!(tried >= 4, "models and tasks");
}

#[test]
fn turns_and_forks_are_the_same_on_a_device() {
    for model in schedulable() {
        let task = model.tasks()[0];
        let problem = problem(2, 50, 5, 3, BUDGET);
        let space = model.space(DataShape { task, rows: 50, features: 5, outputs: 3 });
        let points = mixed_points(&space, 9, 12.0);
        let turns = [0.3, 0.6].map(|step| turned(model, &space, &points, step));
        for memory in [0, 1 << 20] {
            let Some(gpu) = gpu::open(GpuOptions { memory, ..GpuOptions::default() }) else { return };
            let mut trainer = model.open_gpu(&space, problem.clone(), &gpu).unwrap();
            let on_device = check(&format!("{} on a GPU", model.name()), &mut *trainer, &points, &turns);
            let mut cpu = open_cpu(model, &space, &problem, &CpuOptions::default());
            let on_cpu = check(model.name(), &mut *cpu, &points, &turns);
            for (a, b) in on_device.iter().flatten().zip(on_cpu.iter().flatten()) {
                let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
                // Six epochs drift further apart than the two of the backends' contract.
                assert!((a - b).abs() / b.abs().max(1e-3) < 10.0 * model.agreement().tolerance, "{a} and {b}");
            }
        }
    }
}

/// Twenty members of nine epochs on three folds.
fn study(folder: &Folder, sets: &[&str]) -> LoadedConfig {
    let common = ["search.candidates=20", "model.budget=9", "search.scheduler=pbt", "search.strategy=random"];
    studies::small(folder, &common.iter().chain(sets).map(|set| (*set).to_owned()).collect::<Vec<_>>())
}

fn ended(sets: &[&str]) -> RunResult {
    run(study(&Folder::new(), sets), Existing::Refuse)
}

fn populations() -> impl Iterator<Item = &'static dyn SchedulerEntry> {
    SCHEDULERS.iter().copied().filter(|entry| entry.explores())
}

/// The rows of a run's lineage.
fn lineage(folder: &Folder) -> Vec<Vec<String>> {
    let mut table = csv::Reader::from_path(folder.path().join("run/lineage.csv")).unwrap();
    table.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn the_winner_s_training_can_be_run_again_to_the_same_score() {
    for entry in populations() {
        for model in schedulable() {
            let (folder, name) = (Folder::new(), format!("model.name={}", model.name()));
            let scheduler = format!("search.scheduler={}", entry.name());
            let result = run(study(&folder, &[&name, &scheduler, "search.quantile=0.5"]), Existing::Refuse);
            assert!(result.best.schedule.len() > 1, "{}: it took over at some rung", model.name());
            let recipe = folder.path().join("run/recipe.toml");
            let again =
                StudyConfig::load(&recipe, &[format!("run.dir={}", folder.path().join("again").display())]).unwrap();
            let again = run(again, Existing::Refuse);
            assert_eq!(again.best.folds, result.best.folds, "{}", model.name());
            assert_eq!(again.best.used, result.best.used, "{}", model.name());
            assert_eq!(again.best.params, result.best.params, "{}", model.name());
            let test = |result: &RunResult| result.test.as_ref().map(|test| test.value);
            assert_eq!(test(&again), test(&result));
            let stages = |result: &RunResult| result.best.schedule.clone();
            assert_eq!(stages(&again), stages(&result));
        }
    }
}

#[test]
fn who_took_over_is_in_the_lineage_and_on_as_many_rungs_as_there_are() {
    let folder = Folder::new();
    let result = run(study(&folder, &["search.interval=3"]), Existing::Refuse);
    let rows = lineage(&folder);
    // Rungs at 3 and 6, at each of which a quarter of twenty takes over.
    let at = |rung: &str| rows.iter().filter(|row| row[2] == rung).count();
    assert_eq!((at("3"), at("6"), rows.len()), (5, 5, 10));
    assert!(rows.iter().all(|row| row[0] != row[1]));
    assert_eq!((result.counts.complete, result.counts.pruned), (20, 0));
    assert!(result.lineage_file.is_some() && result.recipe_file.is_some());
    // Who never took over is trained as without a population.
    let full = ended(&["search.scheduler=full"]);
    let taken: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let (mut own, mut others) = (0, 0);
    for one in &result.top {
        let Some(without) = full.top.iter().find(|other| other.candidate == one.candidate) else { continue };
        match taken.contains(&one.candidate.to_string().as_str()) {
            false => {
                assert_eq!(one.folds, without.folds);
                own += 1;
            }
            true => others += usize::from(one.folds != without.folds),
        }
    }
    assert!(own > 0 && others > 0, "{own}, {others}");
}

#[test]
fn training_rows_are_scored_where_members_end_and_where_anybody_else_may() {
    let scored = |sets: &[&str]| {
        let folder = Folder::new();
        let result = run(study(&folder, sets), Existing::Refuse);
        assert!(result.top.iter().all(|one| one.train_value.is_some()), "{sets:?}");
        let frames = read(&folder.path().join("run/journal.tfj"), false).unwrap().0;
        let on_the_way = |frame: &Frame| match frame {
            Frame::Rung(rung) => rung.outcomes.train.clone(),
            _ => Vec::new(),
        };
        let on_the_way: Vec<f32> = frames.iter().flat_map(on_the_way).collect();
        assert!(on_the_way.len() >= 20, "{sets:?}");
        on_the_way.iter().filter(|value| !value.is_nan()).count()
    };
    for entry in populations() {
        assert_eq!(scored(&[&format!("search.scheduler={}", entry.name())]), 0, "{}", entry.name());
    }
    assert!(scored(&["search.scheduler=asha"]) >= 20);
}

#[test]
fn lanes_whose_training_rows_are_not_scored_train_and_score_as_others_do() {
    for model in schedulable() {
        let task = model.tasks()[0];
        let problem = problem(2, 80, 9, if task == Task::Classification { 3 } else { 1 }, BUDGET);
        let space = model.space(DataShape { task, rows: 80, features: 9, outputs: problem.outputs });
        let points = mixed_points(&space, 7, 8.0);
        let course = |wanted: [bool; 2]| {
            let mut trainer = open_cpu(model, &space, &problem, &CpuOptions::default());
            let slots = start(&mut *trainer, &points);
            let mut reports: Vec<(u64, Slot, Vec<u64>, f64)> = Vec::new();
            for (budget, wanted) in [TURNS[0], BUDGET].into_iter().zip(wanted) {
                trainer.want_training_scores(wanted);
                let mut report = |lane: LaneReport| {
                    let evals = lane.evals.iter().map(|value| value.to_bits()).collect();
                    reports.push((budget, lane.slot, evals, lane.train));
                    ControlFlow::Continue(())
                };
                trainer.advance(&slots, budget, true, &StopFlag::default(), &mut report).unwrap();
            }
            reports.sort_by_key(|report| (report.0, report.1));
            reports
        };
        let (all, few) = (course([true, true]), course([false, true]));
        assert_eq!(all.len(), 2 * points.len());
        for (one, other) in all.iter().zip(&few) {
            assert_eq!((one.0, one.1, &one.2), (other.0, other.1, &other.2), "{}", model.name());
            let is_scored = other.0 == BUDGET && one.3.to_bits() == other.3.to_bits();
            assert!(!one.3.is_nan() && (is_scored || (other.0 < BUDGET && other.3.is_nan())), "{}", model.name());
        }
    }
}

#[test]
fn a_population_goes_on_as_large_as_it_was_begun() {
    let folder = Folder::new();
    let whole = studies::comparable(&run(study(&folder, &[]), Existing::Refuse));
    for candidates in [10, 40] {
        let mut other = study(&folder, &[]);
        other.config.search.candidates = candidates;
        let start = Start { existing: Existing::Resume, ..Start::default() };
        let error = tune(other, start, &mut quiet(), &StopFlag::default()).err().map(|error| error.to_string());
        let said = format!("search.candidates was 20 and now is {candidates}");
        assert!(error.as_ref().is_some_and(|error| error.contains(&said)), "{error:?}");
    }
    assert_eq!(studies::comparable(&run(study(&folder, &[]), Existing::Resume)), whole);
}

#[test]
fn a_schedule_keeps_to_the_constraints_of_the_space() {
    let folder = Folder::new();
    let sets = [
        "search.scheduler=full",
        "space.constraints=[\"learning_rate <= 0.05\"]",
        "model.schedule=[{ from = 2, learning_rate = 0.1 }]",
    ];
    let error = tune(study(&folder, &sets), Start::default(), &mut quiet(), &StopFlag::default()).err().unwrap();
    assert!(error.to_string().contains("no draw met the constraints"), "{error}");
}

#[test]
fn a_population_on_a_device_takes_the_course_that_its_scores_give_it() {
    if gpu::shared().is_none() {
        return;
    }
    let sets = ["search.candidates=8", "search.interval=3", "validate.folds=2"];
    let folder = Folder::new();
    let result = run(study(&folder, &[&sets[..], &["run.backend=gpu", "run.device=\"0\""]].concat()), Existing::Refuse);
    assert_eq!((result.backend.as_str(), result.counts.complete), ("gpu", 8));
    assert_eq!(lineage(&folder).len(), 4);
    let whole = studies::comparable(&result);
    let journal = folder.path().join("run/journal.tfj");
    let (bytes, ends) = (std::fs::read(&journal).unwrap(), ends(&journal));
    std::fs::write(&journal, &bytes[..ends[ends.len() / 2]]).unwrap();
    std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
    assert_eq!(resumed(&folder), whole);
}

#[test]
fn a_schedule_of_the_study_changes_what_it_names_from_there_on() {
    let with = |sets: &[&str]| {
        let folder = Folder::new();
        let common = ["search.candidates=6", "model.budget=6", "search.strategy=random"];
        let sets: Vec<String> = common.iter().chain(sets).map(|set| (*set).to_owned()).collect();
        run(studies::small(&folder, &sets), Existing::Refuse)
    };
    let plain = with(&[]);
    let first = ["space.dropout={ float = [0.1, 0.4], default = 0.25 }", "search.candidates=1"];
    let same = with(&[&first[..], &["model.schedule=[{ from = 5, dropout = 0.25 }]"]].concat());
    assert_eq!(same.best.folds, with(&first).best.folds, "what changes to itself");
    let changed = with(&["model.schedule=[{ from = 2, learning_rate = 1e-4 }, { from = 4, learning_rate = 0.1 }]"]);
    assert_ne!(changed.best.folds, plain.best.folds);
    // Under any scheduler, rung by rung, to the same bits.
    let halved = with(&[
        "model.schedule=[{ from = 2, learning_rate = 1e-4 }, { from = 4, learning_rate = 0.1 }]",
        "search.scheduler=halving",
        "search.eta=2",
    ]);
    let twin = changed.top.iter().find(|one| one.candidate == halved.best.candidate).unwrap();
    assert_eq!(twin.folds, halved.best.folds);
    let raced = with(&[
        "model.schedule=[{ from = 2, learning_rate = 1e-4 }, { from = 4, learning_rate = 0.1 }]",
        "search.scheduler=racing",
    ]);
    let twin = changed.top.iter().find(|one| one.candidate == raced.best.candidate).unwrap();
    assert_eq!(twin.folds, raced.best.folds);
    assert_eq!(raced.best.params["learning_rate"], Value::Float(0.1), "that of its end");
}

/// What is left of the perceptron's space is continuous.
const CONTINUOUS: &[&str] =
    &["space.layers=1", "space.hidden=8", "space.activation=relu", "space.batch=16", "space.schedule=constant"];

#[test]
fn what_cannot_change_on_the_way_is_refused_with_what_can() {
    let cases = [
        (
            &["model.name=logistic"][..],
            "logistic has no hyperparameters that may change while it is trained; these have",
        ),
        (&["model.name=[\"mlp\", \"logistic\"]", "model.budget={ mlp = 9 }"], "logistic has no hyperparameters"),
        (
            &["space.learning_rate=0.01", "space.weight_decay=0.0", "space.dropout=0.0", "space.label_smoothing=0.0"],
            "[space] holds all that may change on the way: learning_rate, weight_decay, dropout, label_smoothing",
        ),
        (&[&["search.strategy=gradient"], CONTINUOUS].concat(), "slopes along hyperparameters"),
        (&["validate.outer_folds=3"], "are to be unseen"),
        (&["model.schedule=[{ from = 2, dropout = 0.1 }]"], "model.schedule is one already"),
        (&["search.scheduler=full", "model.schedule=[{ from = 2, hidden = 9 }]"], "learning_rate, weight_decay"),
        (&["search.scheduler=full", "model.schedule=[{ from = 9, dropout = 0.1 }]"], "below the budget of 9"),
        (&["search.scheduler=full", "model.schedule=[{ from = 0, dropout = 0.1 }]"], "each `from` beyond"),
        (&["search.scheduler=full", "model.schedule=[{ from = 2, dropout = 0.9 }]"], "a value of dropout's range"),
        (&["search.quantile=0.6"], "a share from 0 to 0.5"),
        (&["search.interval=20"], "search.interval = 20 leaves no rung below the whole budget of 9: set it to less"),
        (&["search.resample=-0.1"], "a share from 0 to 1"),
        (&["model.budget=1"], "model.budget is 1"),
        (&["search.objectives=[\"score\", \"size\"]"], "of 2 objectives there is no single order"),
    ];
    for (sets, said) in cases {
        let folder = Folder::new();
        let error = match tune(study(&folder, sets), Start::default(), &mut quiet(), &StopFlag::default()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{sets:?}: is not refused"),
        };
        assert!(error.contains(said), "{sets:?}: {error}");
        assert!(!folder.path().join("run").exists(), "nothing was begun");
    }
}
