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

/// The largest difference between the backends' scores, of each model and task; `perturb` gives the GPU points that are
/// a little off.
fn largest_differences(perturb: bool) -> Option<Vec<(String, f64)>> {
    let mut differences = Vec::new();
    for model in MODELS.iter().filter(|model| !model.kernels().is_empty()) {
        for task in model.tasks() {
            let mut largest = 0.0f64;
            let classes = if *task == Task::Classification { 3 } else { 1 };
            let budget = if model.budget().default < 100 { 2 } else { 2000 };
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
            differences.push((format!("{}, {task:?}", model.name()), largest));
        }
    }
    Some(differences)
}

#[test]
fn cpu_and_gpu_agree_on_every_model_and_task() {
    for (of, difference) in largest_differences(false).unwrap_or_default() {
        assert!(difference < TOLERANCE, "{of}: {difference:e}");
    }
}

#[test]
fn the_comparison_sees_a_small_perturbation() {
    for (of, difference) in largest_differences(true).unwrap_or_default() {
        assert!(difference > TOLERANCE, "{of}: {difference:e}");
    }
}
