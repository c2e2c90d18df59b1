//! Both backends keep the trainer's contract, and agree.

use crate::gpu;
use crate::support::{mixed_points, open_cpu, problem, train};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use thousandfold::data::{Fold, Problem, Task};
use thousandfold::models::{DataShape, MODELS, Model};
use thousandfold::space::{Points, Space};

/// Two roundings of the same arithmetic drift apart by some f32 ulps a step; over two epochs of at most four steps, and
/// for solvers to the same optimum, what remains in a mean over fifty rows is below this share. Measured: 3e-6.
const TOLERANCE: f64 = 5e-5;

/// Few units where each is a step of its own, and enough for a solver to come to its end.
fn budget(model: &dyn Model) -> u64 {
    let own = model.budget().default;
    let is_solver = model.agreement().budget >= own;
    match own {
        ..100 => 2,
        _ if is_solver => own.max(2000),
        _ => 6,
    }
}

/// A model's default space. One whose solver stops at a tolerance of its optimum ends elsewhere within it as soon as two
/// roundings differ: it is compared close to the optimum.
fn space(model: &dyn Model, task: Task, outputs: usize) -> Space {
    let space = model.space(DataShape { task, rows: 50, features: 9, outputs });
    let is_loose = space.number(&space.defaults(), "tolerance").is_some_and(|tolerance| tolerance > 0.0);
    let held = if is_loose { "tolerance = 1e-5" } else { "" };
    space.with_overrides(&toml::from_str(held).unwrap()).unwrap()
}

/// Where a solver stops at a tolerance, what the model says of it.
fn tolerance(model: &dyn Model, space: &Space) -> f64 {
    let is_loose = space.number(&space.defaults(), "tolerance").is_some_and(|tolerance| tolerance > 0.0);
    if is_loose { model.agreement().tolerance } else { TOLERANCE }
}

/// The largest difference between the backends' scores, in tolerances, of each model and task; `perturb` gives the GPU points that are
/// a little off.
fn largest_differences(perturb: bool) -> Option<Vec<(String, f64)>> {
    let mut differences = Vec::new();
    for model in MODELS {
        for task in model.tasks() {
            let mut largest = 0.0f64;
            let classes = if *task == Task::Classification { 3 } else { 1 };
            let budget = budget(*model);
            let problem = problem(2, 50, 9, classes, budget);
            let space = space(*model, *task, classes);
            let points = mixed_points(&space, 8, 24.0);
            let gpu = gpu::open(GpuOptions::default())?;
            let cpu = train(&mut *open_cpu(*model, &space, &problem, &CpuOptions::default()), &points, 2, budget);
            let gpu_points = if perturb { mixed_points(&space, 8, 24.5) } else { points };
            let gpu = train(&mut *model.open_gpu(&space, problem, &gpu).unwrap(), &gpu_points, 2, budget);
            for (lane, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
                assert_eq!(cpu.status, gpu.status, "{} lane {lane}", model.name());
                // Not every model scores its training rows.
                assert_eq!(cpu.train.is_nan(), gpu.train.is_nan(), "{} lane {lane}", model.name());
                let train = Some((cpu.train, gpu.train)).filter(|(cpu, _)| !cpu.is_nan());
                for (a, b) in train.into_iter().chain(cpu.evals.iter().copied().zip(gpu.evals.clone())) {
                    let difference = (a - b).abs() / a.abs().max(1e-3);
                    assert!(!difference.is_nan(), "{} lane {lane}: {a} and {b}", model.name());
                    largest = largest.max(difference);
                }
            }
            differences.push((format!("{}, {task:?}", model.name()), largest / tolerance(*model, &space)));
        }
    }
    Some(differences)
}

/// Scores of some points at two rungs, and the weights of the first lane.
fn on_rungs(
    trainer: &mut dyn Trainer,
    points: &Points,
    rungs: [u64; 2],
) -> Result<(Vec<Vec<u64>>, Weights), BackendError> {
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: point % 2 }).collect();
    let slots = trainer.start(points, &lanes)?;
    let mut found = vec![Vec::new(); slots.len()];
    // All at once, then every third lane: of each group some go on while the others stand.
    for (rung, turns) in rungs.into_iter().zip([1, 3]) {
        for turn in 0..turns {
            let called: Vec<Slot> = slots.iter().copied().skip(turn).step_by(turns).collect();
            let mut report = |lane: LaneReport| {
                let place = slots.iter().position(|slot| *slot == lane.slot).unwrap();
                found[place].extend(lane.evals.iter().map(|value| value.to_bits()));
                ControlFlow::Continue(())
            };
            trainer.advance(&called, rung, true, &StopFlag::default(), &mut report)?;
        }
    }
    let weights = trainer.read_back(slots[0])?;
    trainer.release(&slots);
    Ok((found, weights))
}

#[test]
fn lanes_that_have_no_room_between_two_rungs_begin_anew_and_end_with_the_same_bits() {
    /// Sizes of memory that are tried, from the least that is enough to train at all.
    const SIZES: usize = 4;
    let gpu = |memory: u64| gpu::open(GpuOptions { memory, ..GpuOptions::default() });
    for model in MODELS.iter().filter(|model| model.budget().default > 1) {
        let task = model.tasks()[0];
        let classes = if task == Task::Classification { 3 } else { 1 };
        let problem = problem(2, 100, 9, classes, 6);
        let space = space(*model, task, classes);
        let points = mixed_points(&space, 40, 64.0);
        let cpu = |memory: u64| {
            let options = CpuOptions { memory, ..CpuOptions::default() };
            let mut trainer = model.open_cpu(&space, problem.clone(), &options)?;
            on_rungs(&mut *trainer, &points, [2, 6])
        };
        let wide = cpu(1 << 30).unwrap();
        let sizes = (12..24).flat_map(|power| [1u64 << power, 3 << (power - 1)]);
        let trained = |memory: u64| match cpu(memory) {
            Err(BackendError::OutOfMemory { .. } | BackendError::Unsuited { .. }) => None,
            trained => Some((memory, trained.unwrap())),
        };
        let narrow: Vec<_> = sizes.filter_map(trained).take(SIZES).collect();
        assert_eq!(narrow.len(), SIZES, "{}", model.name());
        for (memory, narrow) in narrow {
            assert!(narrow == wide, "{} in {memory} bytes", model.name());
        }
        if let (Some(wide), Some(narrow)) = (gpu(0), gpu(1 << 20)) {
            let of = |gpu| on_rungs(&mut *model.open_gpu(&space, problem.clone(), &gpu).unwrap(), &points, [2, 6]);
            assert!(of(wide).unwrap() == of(narrow).unwrap(), "{} on a GPU", model.name());
        }
    }
}

#[test]
fn cpu_and_gpu_agree_on_every_model_and_task() {
    for (of, difference) in largest_differences(false).unwrap_or_default() {
        assert!(difference < 1.0, "{of}: {difference} times the tolerance");
    }
}

/// A problem whose training rows count for something each; with `alike` for 1.
fn weighted(classes: usize, budget: u64, alike: bool) -> Arc<Problem> {
    let problem = problem(2, 50, 9, classes, budget);
    let fold = |fold: &Arc<Fold>| {
        let mut fold = (**fold).clone();
        fold.train.weight = Some((0..50).map(|row| if alike { 1.0 } else { 0.5 + (row * 7 % 5) as f32 }).collect());
        Arc::new(fold)
    };
    Arc::new(Problem { folds: problem.folds.iter().map(fold).collect(), ..(*problem).clone() })
}

#[test]
fn weights_count_in_every_model_that_takes_them_and_are_alike_on_both_backends() {
    let gpu = gpu::open(GpuOptions::default());
    for model in MODELS.iter().filter(|model| model.takes_weights()) {
        for task in model.tasks() {
            let classes = if *task == Task::Classification { 3 } else { 1 };
            let budget = budget(*model);
            let space = space(*model, *task, classes);
            let points = mixed_points(&space, 4, 24.0);
            let evals = |reports: &[LaneReport]| -> Vec<f64> {
                reports.iter().flat_map(|report| report.evals.clone()).collect()
            };
            let on_cpu = |problem: &Arc<Problem>| {
                evals(&train(&mut *open_cpu(*model, &space, problem, &CpuOptions::default()), &points, 2, budget))
            };
            let plain = on_cpu(&problem(2, 50, 9, classes, budget));
            let alike = on_cpu(&weighted(classes, budget, true));
            let other = on_cpu(&weighted(classes, budget, false));
            let largest = |a: &[f64], b: &[f64]| {
                a.iter().zip(b).map(|(a, b)| (a - b).abs() / a.abs().max(1e-3)).fold(0.0, f64::max)
            };
            let name = model.name();
            assert!(largest(&plain, &alike) < TOLERANCE, "{name}, {task:?}: weights of 1 changed something");
            assert!(largest(&plain, &other) > TOLERANCE, "{name}, {task:?}: weights changed nothing");
            let Some(gpu) = &gpu else { continue };
            let mut trainer = model.open_gpu(&space, weighted(classes, budget, false), gpu).unwrap();
            let difference = largest(&other, &evals(&train(&mut *trainer, &points, 2, budget)));
            let tolerance = tolerance(*model, &space);
            assert!(difference < tolerance, "{name}, {task:?}: {difference:e} between backends");
        }
    }
}

#[test]
fn the_comparison_sees_a_small_perturbation() {
    for (of, difference) in largest_differences(true).unwrap_or_default() {
        assert!(difference > 1.0, "{of}: {difference} times the tolerance");
    }
}
