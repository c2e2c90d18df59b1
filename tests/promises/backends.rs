//! Both backends keep the trainer's contract, and agree.

use crate::gpu;
use crate::support::{mixed_points, open_cpu, problem, train};
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::data::Task;
use thousandfold::models::{DataShape, MODELS};

/// Two roundings of the same arithmetic drift apart by some f32 ulps a step; over two epochs of at most four steps, and
/// for solvers to the same optimum, what remains in a mean over fifty rows is below this share. Measured: 3e-6.
const TOLERANCE: f64 = 5e-5;

/// Scores of every model and task on both backends; `shift` is added to the GPU's points' first free number.
fn largest_difference(budget_of: impl Fn(u64) -> u64, perturb: bool) -> Option<f64> {
    let mut largest = 0.0f64;
    for model in MODELS.iter().filter(|model| !model.kernels().is_empty()) {
        for task in model.tasks() {
            let classes = if *task == Task::Classification { 3 } else { 1 };
            let budget = budget_of(model.budget().default);
            let problem = problem(2, 50, 9, classes, budget);
            let space = model.space(DataShape { task: *task, rows: 50, features: 9, outputs: classes });
            let points = mixed_points(&space, 8, 24.0);
            let gpu = gpu::open(GpuOptions::default())?;
            let cpu = train(&mut *open_cpu(*model, &space, &problem, &CpuOptions::default()), &points, 2, budget);
            let gpu_points = if perturb { mixed_points(&space, 8, 24.5) } else { points };
            let gpu = train(&mut *model.open_gpu(&space, problem, &gpu).unwrap(), &gpu_points, 2, budget);
            for (lane, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
                assert_eq!(cpu.status, gpu.status, "{} lane {lane}", model.name());
                for (a, b) in
                    std::iter::once((cpu.train, gpu.train)).chain(cpu.evals.iter().copied().zip(gpu.evals.clone()))
                {
                    let difference = (a - b).abs() / a.abs().max(1e-3);
                    assert!(!difference.is_nan(), "{} lane {lane}: {a} and {b}", model.name());
                    largest = largest.max(difference);
                }
            }
        }
    }
    Some(largest)
}

#[test]
fn cpu_and_gpu_agree_on_every_model_and_task() {
    if let Some(difference) = largest_difference(|budget| if budget < 100 { 2 } else { 2000 }, false) {
        assert!(difference < TOLERANCE, "{difference:e}");
    }
}

#[test]
fn the_comparison_sees_a_small_perturbation() {
    if let Some(difference) = largest_difference(|budget| if budget < 100 { 2 } else { 2000 }, true) {
        assert!(difference > TOLERANCE, "{difference:e}");
    }
}
