//! The GPU backend's own rules, on whatever adapter there is: a software one is enough.

use crate::support::{SquaredError, bits, mixed_points, problem, rows, train};
use std::cell::OnceCell;
use std::mem::ManuallyDrop;
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::gpu::{Gpu, GpuOptions, Provoked, adapters};
use thousandfold::backend::{BackendError, Lane, LaneStatus, StopFlag, Trainer};
use thousandfold::data::metrics::{Metric, Reduced};
use thousandfold::data::{Fold, Prediction, Problem, Task};
use thousandfold::models::{DataShape, MODELS, Model};
use thousandfold::space::{Points, Space};

/// An opened adapter; `None`, with the reason on the screen, where there is none and none is required.
pub fn open(options: GpuOptions) -> Option<Gpu> {
    let options = GpuOptions { device: Some("0".to_owned()), ..options };
    match Gpu::open(&options) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(std::env::var_os("REQUIRE_GPU").is_none(), "REQUIRE_GPU is set, and {error}");
            println!("SKIPPED: {error}");
            None
        }
    }
}

thread_local! {
    /// Never dropped: a thread that ends has no longer what the driver's clean-up asks of it.
    static SHARED: OnceCell<Option<ManuallyDrop<Gpu>>> = const { OnceCell::new() };
}

/// An adapter as it is without options, opened once a test: kernels are then compiled once for many small problems.
pub fn shared() -> Option<Gpu> {
    let open = || open(GpuOptions::default()).map(ManuallyDrop::new);
    SHARED.with(|shared| shared.get_or_init(open).as_deref().cloned())
}

const BUDGET: u64 = 2;
/// More ticks than any training here has: one dispatch does it all.
pub const WHOLE: u64 = 1 << 20;

/// The small study of these tests: eight candidates on two folds.
struct Case {
    model: &'static dyn Model,
    space: Space,
    points: Points,
    /// Classes of its problems, or 1 for numbers.
    classes: usize,
}

impl Case {
    fn problem(&self, folds: usize, rows: usize) -> Arc<Problem> {
        problem(folds, rows, 6, self.classes, BUDGET)
    }
}

fn cases() -> Vec<Case> {
    MODELS
        .iter()
        .map(|model| {
            let task = model.tasks()[0];
            let classes = if task == Task::Classification { 3 } else { 1 };
            let space = model.space(DataShape { task, rows: 60, features: 6, outputs: classes });
            let points = mixed_points(&space, 8, 20.0);
            Case { model: *model, space, points, classes }
        })
        .collect()
}

fn scores(case: &Case, options: GpuOptions) -> Option<Vec<u64>> {
    scores_of(case, 40, options)
}

fn scores_of(case: &Case, rows: usize, options: GpuOptions) -> Option<Vec<u64>> {
    let problem = case.problem(2, rows);
    let gpu = open(options)?;
    let mut trainer = case.model.open_gpu(&case.space, problem, &gpu).unwrap();
    Some(bits(&train(&mut *trainer, &case.points, 2, BUDGET)))
}

#[test]
fn bits_do_not_depend_on_dispatches_memory_or_run_time_checks() {
    // More than two ticks of a perceptron: dispatches of one tick end within an epoch.
    let rows = 300;
    for case in cases() {
        let Some(plain) = scores_of(&case, rows, GpuOptions::default()) else { return };
        for largest_slice in [1, WHOLE] {
            let provoked = Provoked { largest_slice, ..Provoked::default() };
            assert_eq!(scores_of(&case, rows, GpuOptions { provoked, ..GpuOptions::default() }).unwrap(), plain);
        }
        let few = Provoked { most_lanes: 3, ..Provoked::default() };
        assert_eq!(scores_of(&case, rows, GpuOptions { provoked: few, ..GpuOptions::default() }).unwrap(), plain);
        assert_eq!(scores_of(&case, rows, GpuOptions { memory: 200_000, ..GpuOptions::default() }).unwrap(), plain);
        // Poisoned buffers: a read of what was never written would show.
        assert_eq!(scores_of(&case, rows, GpuOptions { checked: true, ..GpuOptions::default() }).unwrap(), plain);
    }
}

/// Weights read back predict in the features' own basis, in another order of sums.
const TOLERANCE: f64 = 2e-5;

#[test]
fn a_set_of_more_rows_than_are_trained_on_is_scored_by_its_own_rows() {
    for case in cases() {
        // The minibatches' window holds far fewer entries than the set has rows.
        let set = rows(300, 3000, 6, case.classes);
        let small = case.problem(1, 40);
        let fold = Arc::new(Fold { evals: vec![set.clone()], ..(*small.folds[0]).clone() });
        let (task, target) = (small.task, fold.target);
        let large = Arc::new(Problem { folds: vec![fold], ..(*small).clone() });
        let score = |checked| {
            let gpu = open(GpuOptions { checked, ..GpuOptions::default() })?;
            let mut trainer = case.model.open_gpu(&case.space, large.clone(), &gpu).unwrap();
            let reports = train(&mut *trainer, &case.points, 1, BUDGET);
            let weights = trainer.read_back(reports[0].slot).unwrap();
            Some((bits(&reports), reports[0].evals[0], weights))
        };
        let Some((plain, scored, weights)) = score(false) else { return };
        assert_eq!(score(true).unwrap().0, plain, "{}", case.model.name());
        let predicted = case.model.predict(&weights, task, target, set.x.view()).unwrap();
        let values: Vec<f32> = predicted.iter().copied().collect();
        let prediction = match task {
            Task::Classification => Prediction::Probabilities { classes: case.classes, values: &values },
            Task::Regression => Prediction::Values(&values),
        };
        let own = SquaredError.finish(set.truth(), Reduced::Predictions(prediction));
        assert!((own - scored).abs() < TOLERANCE * scored, "{}: {own} and {scored}", case.model.name());
    }
}

#[test]
fn bits_do_not_depend_on_neighbours() {
    for case in cases() {
        let Some(together) = scores(&case, GpuOptions::default()) else { return };
        let mut alone = Vec::new();
        for row in case.points.rows() {
            let one = Points::from_values(row.len(), row.to_vec());
            alone.extend(
                scores(&Case { points: one, space: case.space.clone(), ..case }, GpuOptions::default()).unwrap(),
            );
        }
        assert_eq!(alone, together, "{}", case.model.name());
    }
}

#[test]
fn out_of_memory_halves_the_batch_and_goes_on() {
    for case in cases() {
        let Some(plain) = scores(&case, GpuOptions::default()) else { return };
        let full = Provoked { largest_buffer: 300_000, ..Provoked::default() };
        assert_eq!(scores(&case, GpuOptions { provoked: full, ..GpuOptions::default() }).unwrap(), plain);
    }
}

#[test]
fn a_lost_device_is_rebuilt_and_a_second_loss_ends_the_run() {
    for case in cases() {
        let Some(plain) = scores(&case, GpuOptions::default()) else { return };
        let lost = Provoked { losses_after: vec![2], largest_slice: 1, ..Provoked::default() };
        assert_eq!(scores(&case, GpuOptions { provoked: lost, ..GpuOptions::default() }).unwrap(), plain);
        let twice = Provoked { losses_after: vec![2, 1], largest_slice: 1, ..Provoked::default() };
        let Some(gpu) = open(GpuOptions { provoked: twice, ..GpuOptions::default() }) else { return };
        let mut trainer = case.model.open_gpu(&case.space, case.problem(2, 40), &gpu).unwrap();
        let lanes: Vec<Lane> = (0..8).map(|point| Lane { point, fold: 0 }).collect();
        let slots = trainer.start(&case.points, &lanes).unwrap();
        let error = trainer.advance(&slots, BUDGET, false, &StopFlag::default(), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(error, Err(BackendError::DeviceFailed { .. })), "{}: {error:?}", case.model.name());
    }
}

#[test]
fn a_kept_lane_survives_a_loss() {
    for case in cases() {
        let read = |losses_after: Vec<u64>| {
            let provoked = Provoked { losses_after, ..Provoked::default() };
            let gpu = open(GpuOptions { provoked, ..GpuOptions::default() })?;
            let mut trainer = case.model.open_gpu(&case.space, case.problem(1, 40), &gpu).unwrap();
            let lanes = [Lane { point: 0, fold: 0 }, Lane { point: 1, fold: 0 }];
            let slots = trainer.start(&case.points, &lanes).unwrap();
            for slot in &slots {
                trainer
                    .advance(&[*slot], BUDGET, true, &StopFlag::default(), &mut |_| ControlFlow::Continue(()))
                    .unwrap();
            }
            Some(trainer.read_back(slots[0]).unwrap())
        };
        let Some(whole) = read(Vec::new()) else { return };
        // A lane takes a few dispatches: the device is lost under the first, under the second, and when it is read.
        for dispatches in 2..8 {
            assert_eq!(read(vec![dispatches]).unwrap(), whole, "{}, {dispatches}", case.model.name());
        }
    }
}

#[test]
fn a_lane_that_overflows_leaves_its_neighbours_alone() {
    let model = MODELS.iter().find(|model| model.name() == "mlp").unwrap();
    let table = toml::from_str("optimizer = \"sgd\"\nlearning_rate = [0.01, 900.0]\nmomentum = 0.99").unwrap();
    let shape = DataShape { task: Task::Classification, rows: 60, features: 6, outputs: 3 };
    let space = model.space(shape).with_overrides(&table).unwrap();
    let column = space.index("learning_rate").unwrap();
    let mut points = Points::new(space.parameters.len());
    for i in 0..4 {
        let mut row = space.defaults();
        row[column] = f64::from(u8::from(i == 2));
        points.push(&row);
    }
    // Hot enough to overflow within the budget.
    let problem = problem(1, 200, 6, 3, 40);
    let Some(gpu) = open(GpuOptions::default()) else { return };
    let reports = train(&mut *model.open_gpu(&space, problem, &gpu).unwrap(), &points, 1, 40);
    assert_eq!(reports[2].status, LaneStatus::NotFinite);
    assert!(reports[2].train.is_nan());
    assert!(reports[0].status == LaneStatus::Trained && reports[0].train.is_finite());
    assert!([1, 3].iter().all(|&lane| reports[lane].train.to_bits() == reports[0].train.to_bits()));
}

#[test]
fn rungs_end_with_the_bits_of_one_go() {
    for case in cases() {
        let Some(plain) = scores(&case, GpuOptions::default()) else { return };
        let Some(gpu) = open(GpuOptions::default()) else { return };
        let mut trainer = case.model.open_gpu(&case.space, case.problem(2, 40), &gpu).unwrap();
        let lanes: Vec<Lane> = (0..16).map(|i| Lane { point: i / 2, fold: i % 2 }).collect();
        let slots = trainer.start(&case.points, &lanes).unwrap();
        let advance = |trainer: &mut dyn Trainer, budget| {
            let mut reports = Vec::new();
            let mut report = |lane| {
                reports.push(lane);
                ControlFlow::Continue(())
            };
            trainer.advance(&slots, budget, true, &StopFlag::default(), &mut report).unwrap();
            reports.sort_by_key(|report: &thousandfold::backend::LaneReport| report.slot);
            reports
        };
        advance(&mut *trainer, 1);
        assert_eq!(bits(&advance(&mut *trainer, BUDGET)), plain, "{}", case.model.name());
    }
}

#[test]
fn an_unknown_adapter_is_answered_with_those_there_are() {
    let options = GpuOptions { device: Some("no such adapter".to_owned()), ..GpuOptions::default() };
    let Err(BackendError::NoAdapter { reason, known }) = Gpu::open(&options) else {
        panic!("there is none of that name")
    };
    assert!(reason.contains("no such adapter"));
    assert_eq!(known.len(), adapters().len());
}
