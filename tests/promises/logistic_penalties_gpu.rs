//! L1 and elastic-net penalties of the softmax on the GPU: scikit-learn's solutions, the processor's iterations, and the rules
//! that its lanes keep.

use crate::gpu;
use crate::logistic::{array, codes, fold, rows};
use crate::logistic_penalties::{candidate, converges, elastic_net, fit, l1, mixed, points, space};
use crate::support::{bits, open_cpu, problem, train};
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::{GpuOptions, Provoked};
use thousandfold::backend::{LaneStatus, Trainer};
use thousandfold::data::Problem;
use thousandfold::models::logistic::solver::ABSENT;
use thousandfold::models::{Model, logistic::Logistic};

const BUDGET: u64 = 1000;

fn open(problem: &Arc<Problem>) -> Option<Box<dyn Trainer>> {
    let gpu = gpu::open(GpuOptions::default())?;
    Some(Logistic.open_gpu(&space(), problem.clone(), &gpu).unwrap())
}

#[test]
fn training_converges_to_scikit_learns_solution() {
    let Some(gpu) = gpu::open(GpuOptions::default()) else { return };
    converges(|problem| Logistic.open_gpu(&space(), problem.clone(), &gpu).unwrap());
}

/// Few steps from zero; what roundings make of a score in them. Measured: 4e-7.
const STEPS_TOLERANCE: f64 = 2e-5;

#[test]
fn an_iteration_is_the_same_as_on_the_processor() {
    let space = space();
    let mut no_intercept = l1(&space, 2.0);
    no_intercept[space.index("fit_intercept").unwrap()] = 0.0;
    let rows = [l1(&space, 0.3), elastic_net(&space, 1.0, 0.5), no_intercept, elastic_net(&space, 0.5, 0.0)];
    // The second has more classes than a workgroup has threads.
    for (features, classes) in [(9, 3), (7, 140)] {
        let problem = problem(1, 200, features, classes, BUDGET);
        let Some(mut gpu) = open(&problem) else { return };
        let mut cpu = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
        for budget in 1..6 {
            for ((gpu, _), (cpu, _)) in fit(&mut *gpu, &rows, budget).iter().zip(fit(&mut *cpu, &rows, budget)) {
                assert_eq!((gpu.status, gpu.used), (cpu.status, cpu.used));
                let distance = (gpu.train - cpu.train).abs() / cpu.train;
                assert!(distance < STEPS_TOLERANCE, "{classes} classes, {budget} iterations: {distance:e}");
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_neighbours_or_on_where_dispatches_cut_an_iteration() {
    let space = space();
    // Three blocks of rows: every dispatch of one tick but each third ends within an iteration.
    let problem = problem(1, 1100, 5, 3, 6);
    let rows = mixed(&space, 9);
    let open = |largest_slice| {
        let provoked = Provoked { largest_slice, ..Default::default() };
        let gpu = gpu::open(GpuOptions { provoked, ..GpuOptions::default() })?;
        Some(Logistic.open_gpu(&space, problem.clone(), &gpu).unwrap())
    };
    let Some(mut trainer) = open(gpu::WHOLE) else { return };
    let whole = bits(&train(&mut *trainer, &points(&rows), 1, 6));
    let alone = rows.iter().flat_map(|row| bits(&train(&mut *trainer, &points(std::slice::from_ref(row)), 1, 6)));
    assert_eq!(alone.collect::<Vec<u64>>(), whole);
    assert_eq!(bits(&train(&mut *open(1).unwrap(), &points(&rows), 1, 6)), whole);
}

#[test]
fn a_class_without_training_rows_is_fitted_as_on_the_processor() {
    let whole = problem(1, 60, 5, 3, BUDGET).folds[0].train.clone();
    // Class 1 of 4 never occurs, nor does class 3.
    let spread = codes(&whole).iter().map(|code| 2 * (code % 2)).collect();
    let train = rows(whole.x.clone(), spread, 4);
    let problem = fold(train.clone(), vec![train]);
    let space = space();
    let lanes = [l1(&space, 0.7), elastic_net(&space, 2.0, 0.5), candidate(&space, &[("l2", 0.7)])];
    let Some(mut gpu) = open(&problem) else { return };
    let mut cpu = open_cpu(&Logistic, &space, &problem, &CpuOptions::default());
    for ((report, gpu), (_, cpu)) in fit(&mut *gpu, &lanes, BUDGET).iter().zip(fit(&mut *cpu, &lanes, BUDGET)) {
        assert_eq!(report.status, LaneStatus::Trained);
        for (gpu, cpu) in gpu.arrays.iter().zip(&cpu.arrays) {
            assert_eq!((&gpu.name, &gpu.shape), (&cpu.name, &cpu.shape));
            for (a, b) in gpu.values.iter().zip(&cpu.values) {
                assert!(a == b || (a - b).abs() < 1e-3, "{}: {a} and {b}", gpu.name);
            }
        }
        let intercept = &array(gpu, "intercept").values;
        assert!(intercept[1] == ABSENT && intercept[3] == ABSENT && intercept[0].abs() < 1e3);
    }
}
