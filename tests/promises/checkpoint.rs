//! What `[run] checkpoint` promises: a run that was killed goes on between two rungs, to the same bits, and trains only what is
//! missing; whatever became of the file, nothing else changes.

use crate::gpu;
use crate::resume::ends;
use crate::support::{Folder, mixed_points, open_cpu, problem, quiet, studies};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
use thousandfold::data::Task;
use thousandfold::models::{DataShape, MODELS, Model};
use thousandfold::space::{Points, Space};
use thousandfold::study::events::{Event, Observer};
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{Ended, LoadedConfig, Start, load_run, tune};

/// Models that are trained in more than one step.
fn in_steps() -> impl Iterator<Item = &'static dyn Model> {
    MODELS.iter().copied().filter(|model| model.budget().default > 1)
}

/// Units after which lanes stand, and in all: so few that hardly any lane has come to its end where it stands.
fn budgets(model: &dyn Model) -> [u64; 2] {
    if model.budget().unit == "iterations" && model.budget().default > 10_000 { [12, 60] } else { [3, 9] }
}

/// A model's points, and as many that differ in what it can change on the way; none where there is nothing.
fn points(model: &dyn Model, space: &Space) -> (Points, Option<Points>) {
    let points = mixed_points(space, 19, 24.0);
    let codecs = space.codecs();
    let mut turned = Points::new(points.width());
    for row in points.rows() {
        let mut row = row.to_vec();
        for (column, parameter) in space.parameters.iter().enumerate() {
            if model.schedulable().contains(&parameter.name.as_str()) && !row[column].is_nan() {
                let place = codecs[column].encode(row[column]);
                row[column] = codecs[column].decode(place + 0.4 * (0.5 - place));
            }
        }
        turned.push(&row);
    }
    (points, (!model.schedulable().is_empty()).then_some(turned))
}

/// What a lane reports, to the last bit.
#[derive(Debug, Clone, PartialEq, Default)]
struct Told {
    scores: Vec<u64>,
    status: Option<LaneStatus>,
    used: u64,
    state: Option<Vec<u8>>,
}

fn advance(trainer: &mut dyn Trainer, slots: &[Slot], budget: u64) -> Vec<Told> {
    let mut told = vec![Told::default(); slots.len()];
    let mut report = |lane: LaneReport| {
        let place = slots.iter().position(|slot| *slot == lane.slot).unwrap();
        let scores = std::iter::once(lane.train).chain(lane.evals).map(f64::to_bits).collect();
        told[place] = Told { scores, status: Some(lane.status), used: lane.used, state: lane.state };
        ControlFlow::Continue(())
    };
    trainer.advance(slots, budget, true, &StopFlag::default(), &mut report).unwrap();
    told
}

/// Lanes on two folds by turns, which take another course on their way: before they stand, and where they do.
fn start(trainer: &mut dyn Trainer, points: &Points, turned: Option<&Points>, stand: u64) -> Vec<Slot> {
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: point % 2 }).collect();
    let slots = trainer.start(points, &lanes).unwrap();
    if let Some(turned) = turned {
        trainer.turn(&slots, 1, turned).unwrap();
        trainer.turn(&slots, stand, points).unwrap();
    }
    slots
}

fn weights(trainer: &mut dyn Trainer, slots: &[Slot]) -> Vec<Weights> {
    slots.iter().map(|slot| trainer.read_back(*slot).unwrap()).collect()
}

/// Trains lanes in one go, and in two trainers one after the other; how many went on from where they stood.
fn check(
    what: &str,
    open: &dyn Fn() -> Box<dyn Trainer>,
    [stand, whole]: [u64; 2],
    points: &Points,
    turned: Option<&Points>,
) -> usize {
    let mut at_once = open();
    let slots = start(&mut *at_once, points, turned, stand);
    let expected = advance(&mut *at_once, &slots, whole);
    assert!(expected.iter().all(|lane| lane.state.is_none()), "{what}: nobody asked for states");
    let expected_weights = weights(&mut *at_once, &slots);
    let mut first = open();
    first.want_states(true);
    let slots = start(&mut *first, points, turned, stand);
    let standing = advance(&mut *first, &slots, stand);
    assert!(standing.iter().zip(&expected).any(|(a, b)| a.scores != b.scores), "{what}: there is something to train");
    drop(first);
    let mut second = open();
    let slots = start(&mut *second, points, turned, stand);
    let mut thawed = 0;
    for (slot, lane) in slots.iter().zip(&standing) {
        let state = lane.state.as_ref().unwrap_or_else(|| panic!("{what}: a lane that stands has a state"));
        thawed += usize::from(second.thaw(*slot, stand, state));
    }
    let again = advance(&mut *second, &slots, stand);
    for (lane, (again, standing)) in again.iter().zip(&standing).enumerate() {
        assert_eq!(again.scores, standing.scores, "{what}, lane {lane}: where it stands");
    }
    let found = advance(&mut *second, &slots, whole);
    for (lane, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "{what}, lane {lane}");
    }
    assert!(weights(&mut *second, &slots) == expected_weights, "{what}: weights");
    thawed
}

fn of_task(model: &dyn Model, task: Task) -> (Space, usize) {
    let classes = if task == Task::Classification { 3 } else { 1 };
    (model.space(DataShape { task, rows: 60, features: 7, outputs: classes }), classes)
}

#[test]
fn lanes_go_on_in_another_process_to_the_same_bits() {
    let (mut narrow, mut lanes) = (0, 0);
    for model in in_steps() {
        for task in model.tasks() {
            let (space, classes) = of_task(model, *task);
            let budgets = budgets(model);
            let problem = problem(2, 60, 7, classes, budgets[1]);
            let (points, turned) = points(model, &space);
            let what = format!("{}, {task:?}", model.name());
            let open = |options: CpuOptions| open_cpu(model, &space, &problem, &options);
            let wide = check(&what, &|| open(CpuOptions::default()), budgets, &points, turned.as_ref());
            assert_eq!(wide, points.len(), "{what}: all go on from where they stood");
            if turned.is_some() {
                // Where there is no room for all, the others begin anew.
                let options = CpuOptions { memory: 1 << 20, ..CpuOptions::default() };
                narrow +=
                    check(&format!("{what} in little memory"), &|| open(options), budgets, &points, turned.as_ref());
                lanes += points.len();
            }
        }
    }
    assert!((1..lanes).contains(&narrow), "{narrow} of {lanes} have room");
}

#[test]
fn lanes_go_on_in_another_process_on_a_device_to_the_same_bits() {
    for model in in_steps() {
        let task = model.tasks()[0];
        let (space, classes) = of_task(model, task);
        let [stand, whole] = budgets(model);
        let budgets = [stand, if whole > 10 { whole } else { 2 * stand }];
        let problem = problem(2, 60, 7, classes, budgets[1]);
        let (points, turned) = points(model, &space);
        let Some(gpu) = gpu::open(GpuOptions::default()) else { return };
        let open = || model.open_gpu(&space, problem.clone(), &gpu).unwrap();
        let what = format!("{} on a GPU", model.name());
        assert_eq!(check(&what, &open, budgets, &points, turned.as_ref()), points.len(), "{what}");
    }
}

/// None of these lets a lane stand.
fn refuses(what: &str, trainer: &mut dyn Trainer, slot: Slot, stand: u64, states: &[(String, Vec<u8>)]) {
    for (case, state) in states {
        assert!(!trainer.thaw(slot, stand, state), "{what}: {case}");
    }
}

#[test]
fn what_is_no_state_of_a_lane_is_refused() {
    let gpu = gpu::open(GpuOptions::default());
    let mut others: Vec<(String, Vec<u8>)> = vec![("of nothing".to_owned(), Vec::new())];
    for model in in_steps() {
        let task = model.tasks()[0];
        let (space, classes) = of_task(model, task);
        let [stand, whole] = budgets(model);
        let points = mixed_points(&space, 3, 24.0);
        for on_device in [false, true] {
            if on_device && gpu.is_none() {
                continue;
            }
            let what = format!("{}{}", model.name(), if on_device { " on a GPU" } else { "" });
            let open = |features: usize| {
                let problem = problem(2, 60, features, classes, whole);
                let space = model.space(DataShape { task, rows: 60, features, outputs: classes });
                match gpu.as_ref().filter(|_| on_device) {
                    Some(gpu) => model.open_gpu(&space, problem, gpu).unwrap(),
                    None => open_cpu(model, &space, &problem, &CpuOptions::default()),
                }
            };
            let states = |features: usize, budget: u64| -> Vec<Vec<u8>> {
                let mut trainer = open(features);
                trainer.want_states(true);
                let slots = start(&mut *trainer, &points, None, stand);
                advance(&mut *trainer, &slots, budget).into_iter().map(|lane| lane.state.unwrap()).collect()
            };
            let own = states(7, stand);
            let mut trainer = open(7);
            let slots = start(&mut *trainer, &points, None, stand);
            let mut cases = others.clone();
            cases.push(("another fold's".to_owned(), own[0].clone()));
            cases.push(("a unit later".to_owned(), states(7, stand + 1).swap_remove(1)));
            let middle = own[1].len() / 2;
            for at in [0, 5, 13, middle, own[1].len() - 1] {
                let mut flipped = own[1].clone();
                flipped[at] ^= 16;
                cases.push((format!("byte {at}"), flipped));
                cases.push((format!("cut at {at}"), own[1][..at].to_vec()));
            }
            cases.push(("longer".to_owned(), [&own[1][..], &[0; 4]].concat()));
            // What a solver on other features keeps is of another size; sums over rows are not.
            if !["forest", "gbdt", "svm"].contains(&model.name()) {
                cases.push(("of more features".to_owned(), states(40, stand).swap_remove(1)));
            }
            refuses(&what, &mut *trainer, slots[1], stand, &cases);
            assert!(trainer.thaw(slots[1], stand, &own[1]), "{what}: its own");
            assert!(!trainer.thaw(slots[1], stand, &own[1]), "{what}: it stands already");
            trainer.release(&slots);
            assert!(!trainer.thaw(slots[0], stand, &own[0]), "{what}: it is not there any more");
            others.push((format!("of {what}"), own[1].clone()));
        }
    }
}

/// Perceptrons on three folds, whose lanes' states are kept.
fn study(folder: &Folder, sets: &[&str]) -> LoadedConfig {
    let common = ["search.strategy=random", "model.budget=9", "run.checkpoint=true"];
    studies::small(folder, &common.iter().chain(sets).map(|set| (*set).to_owned()).collect::<Vec<_>>())
}

fn journal(folder: &Folder) -> PathBuf {
    folder.path().join("run/journal.tfj")
}

fn lanes(folder: &Folder) -> PathBuf {
    folder.path().join("run/lanes.state")
}

/// What a kill would have left at some moment.
#[derive(Debug, Clone, Default)]
struct Left {
    journal: Vec<u8>,
    states: Vec<u8>,
}

#[derive(Debug, Default)]
struct Seen {
    /// One a phase: the first moment at which the journal was so long.
    left: Vec<Left>,
    /// Units that were trained.
    trained: u64,
    notes: Vec<String>,
}

struct Watcher(Rc<RefCell<Seen>>, PathBuf);

impl Observer for Watcher {
    fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        let mut seen = self.0.borrow_mut();
        match event {
            Event::Lane(progress) => {
                seen.trained = progress.trained;
                let journal = std::fs::read(self.1.join("journal.tfj"))?;
                if seen.left.last().is_none_or(|left| left.journal.len() < journal.len()) {
                    let states = std::fs::read(self.1.join("lanes.state")).unwrap_or_default();
                    seen.left.push(Left { journal, states });
                }
            }
            Event::Note(note) => seen.notes.push(note.clone()),
            _ => {}
        }
        Ok(())
    }
}

/// Runs a study to its end: its result, and what was seen on the way.
fn watched(loaded: LoadedConfig, existing: Existing) -> (String, Seen) {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut observers = quiet();
    observers.push(Box::new(Watcher(seen.clone(), loaded.run_dir())));
    let start = Start { existing, salvage: false };
    let Ended::Finished(result) = tune(loaded, start, &mut observers, &StopFlag::default()).unwrap() else {
        panic!("nobody interrupted it")
    };
    drop(observers);
    (studies::comparable(&result), Rc::try_unwrap(seen).unwrap().into_inner())
}

/// The same of a run that was killed and left this.
fn resumed(folder: &Folder, left: &Left, sets: &[String]) -> (String, Seen) {
    std::fs::write(journal(folder), &left.journal).unwrap();
    std::fs::write(lanes(folder), &left.states).unwrap();
    drop(std::fs::remove_file(folder.path().join("run/result.json")));
    watched(load_run(&folder.path().join("run"), sets).unwrap(), Existing::Resume)
}

/// Units that the outcomes of a journal took, where all lanes of a candidate take part in all of its rungs.
fn journalled(folder: &Folder, journal: &[u8]) -> u64 {
    let path = folder.path().join("journal");
    std::fs::write(&path, journal).unwrap();
    let mut of_candidates: BTreeMap<u64, u64> = BTreeMap::new();
    for frame in read(&path, false).unwrap().0 {
        let outcomes = match frame {
            Frame::Rung(rung) => rung.outcomes,
            Frame::Outcomes(outcomes) => outcomes,
            _ => continue,
        };
        let used: Vec<u64> = outcomes.used.iter().flat_map(|(used, lanes)| vec![*used; *lanes as usize]).collect();
        let candidates = outcomes.candidates.iter().flat_map(|(first, count)| *first..first + count);
        for (candidate, used) in candidates.zip(used.chunks(3)) {
            let used = used.iter().sum::<u64>();
            of_candidates.entry(candidate).and_modify(|had| *had = used.max(*had)).or_insert(used);
        }
    }
    of_candidates.values().sum()
}

/// Where each frame of a file of states ends.
fn frames(folder: &Folder, states: &[u8]) -> Vec<usize> {
    let path = folder.path().join("states");
    std::fs::write(&path, states).unwrap();
    // Headers of both files are as long.
    ends(&path)
}

const SCHEDULERS: [&[&str]; 6] = [
    &["search.scheduler=halving"],
    &["search.scheduler=hyperband"],
    &["search.scheduler=asha", "search.batch=5"],
    &["search.scheduler=median", "search.interval=2", "search.candidates=6"],
    &["search.scheduler=pbt", "search.interval=3", "search.quantile=0.5", "search.candidates=8"],
    // Each with a share of its own budget on a rung.
    &["search.scheduler=halving", "model.name=[\"mlp\", \"gbdt\"]", "model.budget={ mlp = 9, gbdt = 18 }"],
];

#[test]
fn a_run_killed_at_any_phase_trains_only_what_is_missing_to_the_same_bits() {
    for sets in SCHEDULERS {
        let folder = Folder::new();
        let without = watched(study(&folder, &[sets, &["run.checkpoint=false"]].concat()), Existing::Refuse);
        let (whole, seen) = watched(study(&folder, sets), Existing::Fresh);
        assert_eq!((&whole, seen.trained), (&without.0, without.1.trained), "{sets:?}: states change nothing");
        assert!(seen.left.len() > 2, "{sets:?}: {} phases", seen.left.len());
        for (phase, left) in seen.left.iter().enumerate() {
            let (again, resumed) = resumed(&folder, left, &[]);
            let missing = seen.trained - journalled(&folder, &left.journal);
            assert_eq!(resumed.trained, missing, "{sets:?}, phase {phase}");
            assert_eq!(again, whole, "{sets:?}, phase {phase}");
            assert!(resumed.notes.iter().all(|note| !note.contains("lanes.state")), "{:?}", resumed.notes);
        }
    }
}

#[test]
fn journal_and_states_go_together_whichever_is_longer() {
    for sets in [SCHEDULERS[0], SCHEDULERS[4]] {
        let folder = Folder::new();
        let (whole, seen) = watched(study(&folder, sets), Existing::Refuse);
        let all = &seen.left.last().unwrap().states;
        let ends = frames(&folder, all);
        assert_eq!(*ends.last().unwrap(), all.len());
        for (phase, left) in seen.left.iter().enumerate() {
            let missing = seen.trained - journalled(&folder, &left.journal);
            let mut most = u64::MAX;
            for (nth, end) in ends.iter().enumerate().skip(1).step_by(3) {
                // Every other time in the middle of a frame.
                let cut = if nth % 2 == 0 { *end } else { (end + 20).min(all.len()) };
                let left = Left { journal: left.journal.clone(), states: all[..cut].to_vec() };
                let (again, resumed) = resumed(&folder, &left, &[]);
                assert_eq!(again, whole, "{sets:?}, phase {phase}, {nth} states");
                assert!(resumed.trained <= most, "{sets:?}, phase {phase}: more states, less training");
                most = resumed.trained;
            }
            let longest = Left { journal: left.journal.clone(), states: all.clone() };
            let (again, resumed) = resumed(&folder, &longest, &[]);
            assert_eq!(again, whole, "{sets:?}, phase {phase}, all states");
            assert!(resumed.trained <= missing, "{sets:?}, phase {phase}: {} and {missing}", resumed.trained);
        }
    }
}

#[test]
fn a_damaged_file_costs_training_and_a_note_and_nothing_else() {
    let folder = Folder::new();
    let (whole, seen) = watched(study(&folder, SCHEDULERS[0]), Existing::Refuse);
    let left = seen.left.last().unwrap();
    let ends = frames(&folder, &left.states);
    let missing = seen.trained - journalled(&folder, &left.journal);
    let places = [0, 9, ends[0] + 30, ends[1] + 2, ends[2] + 5, ends[3] + 60, ends[ends.len() - 2] + 500];
    for at in places {
        let mut states = left.states.clone();
        states[at] ^= 64;
        let (again, resumed) = resumed(&folder, &Left { states, ..left.clone() }, &[]);
        assert_eq!(again, whole, "byte {at}");
        assert!(resumed.trained >= missing, "byte {at}");
        assert!(resumed.notes.iter().any(|note| note.contains("lanes.state")), "byte {at}: {:?}", resumed.notes);
    }
    let (again, anew) = resumed(&folder, &Left { states: Vec::new(), ..left.clone() }, &[]);
    assert_eq!(again, whole);
    assert!(anew.trained > missing && !anew.notes.iter().any(|note| note.contains("lanes.state")), "{:?}", anew.notes);
    // A directory stands where the file would.
    std::fs::write(journal(&folder), &left.journal).unwrap();
    std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
    std::fs::create_dir(lanes(&folder)).unwrap();
    let loaded = load_run(&folder.path().join("run"), &[]).unwrap();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut observers = quiet();
    observers.push(Box::new(Watcher(seen.clone(), loaded.run_dir())));
    let start = Start { existing: Existing::Resume, salvage: false };
    assert!(tune(loaded, start, &mut observers, &StopFlag::default()).is_ok(), "the run goes on without");
    assert!(seen.borrow().notes.iter().any(|note| note.contains("no states of lanes are kept")));
}

#[test]
fn states_of_another_backend_are_of_no_use() {
    if gpu::shared().is_none() {
        return;
    }
    let folder = Folder::new();
    let sets = [SCHEDULERS[0], &["run.backend=gpu", "run.device=\"0\"", "search.candidates=6"]].concat();
    let (whole, seen) = watched(study(&folder, &sets), Existing::Refuse);
    let left = seen.left.last().unwrap();
    let missing = seen.trained - journalled(&folder, &left.journal);
    let (again, on_device) = resumed(&folder, left, &[]);
    assert_eq!((again, on_device.trained), (whole, missing), "on its own");
    std::fs::write(journal(&folder), &left.journal).unwrap();
    std::fs::write(lanes(&folder), &left.states).unwrap();
    std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
    let mut loaded = load_run(&folder.path().join("run"), &["run.backend=cpu".to_owned()]).unwrap();
    loaded.config.run.device = None;
    let (_, on_cpu) = watched(loaded, Existing::Resume);
    assert!(on_cpu.trained > missing, "{} and {missing}", on_cpu.trained);
    assert!(on_cpu.notes.iter().any(|note| note.contains("another program, backend or study")), "{:?}", on_cpu.notes);
}

#[test]
fn there_is_a_file_only_while_a_run_that_asks_for_it_is_on_its_way() {
    let folder = Folder::new();
    let (_, plain) = watched(study(&folder, &[SCHEDULERS[0], &["run.checkpoint=false"]].concat()), Existing::Refuse);
    assert!(plain.left.iter().all(|left| left.states.is_empty()));
    let (_, seen) = watched(study(&folder, SCHEDULERS[0]), Existing::Fresh);
    let left = seen.left.last().unwrap();
    assert!(left.states.len() > 10_000 && !lanes(&folder).exists(), "it is gone with the end");
    // Who does not want it any more has it no more, and a fresh start knows it.
    let (_, changed) = resumed(&folder, left, &["run.checkpoint=false".to_owned()]);
    assert!(changed.left.iter().all(|left| left.states.is_empty()) && !lanes(&folder).exists());
    std::fs::write(lanes(&folder), &left.states).unwrap();
    let (_, fresh) = watched(study(&folder, SCHEDULERS[0]), Existing::Fresh);
    assert_eq!(fresh.trained, seen.trained);
    assert!(!fresh.notes.iter().any(|note| note.contains("lanes.state")), "{:?}", fresh.notes);
}

#[test]
#[cfg(unix)]
fn where_the_disk_has_no_room_for_states_the_run_goes_on_without() {
    let folder = Folder::new();
    studies::flowers(&folder);
    let tune = ["tune", "flowers.csv", "--target", "kind", "--backend", "cpu", "--candidates", "9", "--run-dir"];
    let sets = ["--scheduler", "halving", "--set=model.budget=9", "--set=validate.folds=3", "--set=space.hidden=64"];
    let told = crate::support::program::ended(&mut crate::errors::on_a_disk_of(
        64,
        &folder,
        &[&tune[..], &["small"], &sets, &["--set=run.checkpoint=true"]].concat(),
    ));
    assert_eq!(told.code, Some(0), "{}", told.err);
    let warnings = told.err.lines().filter(|line| line.contains("states of lanes are kept no longer")).count();
    assert_eq!(warnings, 1, "{}", told.err);
    assert!(!Path::new(&folder.path().join("small/lanes.state")).exists());
    crate::support::program::done(&folder, &[&tune[..], &["large"], &sets].concat());
    let result = |run: &str| crate::support::program::result(&folder, run);
    assert_eq!(result("small"), result("large"));
}

#[test]
fn where_nothing_could_be_kept_it_is_said() {
    let refused = |sets: &[&str]| {
        let folder = Folder::new();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).chain([folder.run_set()]).collect();
        let loaded = thousandfold::study::StudyConfig::of_sets("study", &sets).unwrap();
        tune(loaded, Start::default(), &mut quiet(), &StopFlag::default()).unwrap_err().to_string()
    };
    let of_function = refused(&["objective.function=sphere", "run.checkpoint=true"]);
    assert!(of_function.contains("evaluated at once") && of_function.contains("Leave the key out"), "{of_function}");
    let command = ["objective.command=echo {x}", "space.x={ float = [0, 1] }", "run.checkpoint=true"];
    let of_command = refused(&command);
    assert!(of_command.contains("THOUSANDFOLD_CHECKPOINT") && of_command.contains("Leave it out"), "{of_command}");
    for scheduler in ["full", "racing"] {
        let folder = Folder::new();
        let sets = [format!("search.scheduler={scheduler}"), "search.candidates=3".to_owned()];
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let (_, seen) = watched(study(&folder, &sets), Existing::Refuse);
        let said = format!("under the scheduler \"{scheduler}\" no lane goes on");
        assert!(seen.notes.iter().any(|note| note.contains(&said)), "{:?}", seen.notes);
        assert!(seen.left.iter().all(|left| left.states.is_empty()));
    }
}
