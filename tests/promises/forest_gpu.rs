//! Forests on the GPU: the processor's trees, to the bit.

use crate::forest::{BUDGET, PLAIN, evals, mixed_candidates, one_fold, open_space, points, settings, table};
use crate::forest_fixtures::fixture;
use crate::gpu;
use crate::support::{open_cpu, train};
use ndarray::Array2;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::{GpuOptions, Provoked};
use thousandfold::backend::{BackendError, LaneReport, LaneStatus, Trainer, Weights};
use thousandfold::base::random::{Key, normal};
use thousandfold::data::{Affine, Fold, Problem, Rows, Target};
use thousandfold::models::forest::Forest;
use thousandfold::models::forest::recipe::{Criterion, ForestParams, Kind};
use thousandfold::models::{DataShape, Model};
use thousandfold::space::{Domain, Points, Scale, Space};

/// The open space with these bins alone: a device has a copy of the data for each number of them.
fn space(outputs: usize, bins: u32) -> Space {
    let mut space = open_space(outputs);
    let index = space.index("bins").unwrap();
    let bins = i64::from(bins);
    space.parameters[index].domain = Domain::Int { low: bins, high: bins, scale: Scale::Linear, step: 1 };
    space.parameters[index].default = bins as f64;
    space
}

fn run(mut trainer: Box<dyn Trainer>, points: &Points, folds: usize) -> (Vec<LaneReport>, Vec<Weights>) {
    let reports = train(&mut *trainer, points, folds, BUDGET);
    // A device keeps no trees but their hash: reading back fails where the processor grows others.
    let weights = reports.iter().map(|report| trainer.read_back(report.slot).unwrap()).collect();
    (reports, weights)
}

/// Fails unless both backends grow the same forests of one candidate each.
fn compare(fold: &Fold, params: &ForestParams, what: &str) {
    let Some(gpu) = gpu::shared() else { return };
    let (problem, space) = (one_fold(fold.clone()), space(fold.train.y.outputs(), params.bins));
    let one = points(&space, &[*params]);
    let cpu = run(open_cpu(&Forest, &space, &problem, &CpuOptions::default()), &one, 1);
    let gpu = run(Forest.open_gpu(&space, problem, &gpu).unwrap(), &one, 1);
    assert_eq!(gpu.1, cpu.1, "{what}, {params:?}");
    assert_eq!((gpu.0[0].status, gpu.0[0].used), (cpu.0[0].status, cpu.0[0].used), "{what}, {params:?}");
    // Every prediction shows in a squared error.
    assert_eq!(evals(&gpu.0), evals(&cpu.0), "{what}, {params:?}");
}

/// Weights of a few sizes, none for some rows.
fn weighted(fold: &Fold) -> Fold {
    let weight = |rows: &Rows| Some((0..rows.y.len()).map(|row| (row * 7 % 5) as f32 / 3.0).collect());
    let mut fold = fold.clone();
    fold.train.weight = weight(&fold.train);
    fold.evals.iter_mut().for_each(|rows| rows.weight = weight(rows));
    fold
}

/// Every way to grow, with few trees.
fn ways() -> Vec<ForestParams> {
    let mut ways = settings();
    let base = ForestParams { trees: 3, features: 0.5, bootstrap: 1.0, ..PLAIN };
    ways.extend([
        ForestParams { is_balanced: true, ..base },
        ForestParams { is_balanced: true, criterion: Criterion::Entropy, bootstrap: 0.0, ..base },
        ForestParams { kind: Kind::ExtraTrees, criterion: Criterion::Entropy, min_leaf: 2, ..base },
        ForestParams { bins: 5, ..base },
        ForestParams { depth: 1, ..base },
        ForestParams { bootstrap: 0.01, ..base },
        ForestParams { min_leaf: 1000, ..base },
    ]);
    ways.iter().map(|params| ForestParams { trees: params.trees.min(3), ..*params }).collect()
}

#[test]
fn both_backends_grow_the_same_trees_to_the_bit() {
    for outputs in [1, 2, 3, 20] {
        let fold = table(outputs, 120);
        for params in ways() {
            compare(&fold, &params, "a table");
            compare(&weighted(&fold), &params, "a weighted table");
        }
    }
}

#[test]
fn known_sets_grow_the_same_trees_on_both_backends() {
    let base = ForestParams { trees: 2, features: 0.3, bootstrap: 1.0, ..PLAIN };
    for set in ["iris", "breast_cancer", "breast_cancer with gaps", "diabetes", "mixed", "mixed numbers with gaps"] {
        let fold = fixture(set);
        for params in [base, ForestParams { kind: Kind::ExtraTrees, bootstrap: 0.0, min_leaf: 3, ..base }] {
            compare(&fold, &params, set);
        }
    }
}

/// Features that tell the same of all rows but a few, which weigh next to nothing: gains differ by less than f32 can tell.
fn near_ties(outputs: usize) -> Fold {
    let key = Key::from_seed(21);
    let draw = |i: usize, j: usize| normal(key.words((i * 16 + j) as u64)[0]);
    let is_light = |i: usize| i.is_multiple_of(9);
    let x = |i: usize, j: usize| if is_light(i) { draw(i, j) } else { draw(i, 8) };
    let x = Array2::from_shape_fn((200, 6), |(i, j)| (x(i, j) * 8.0).round());
    let y = match outputs {
        1 => Target::Values((0..200).map(|i| draw(i, 8) + draw(i, 9)).collect()),
        _ => {
            Target::Classes { codes: (0..200).map(|i| u32::from(draw(i, 8) + draw(i, 9) > 0.0)).collect(), classes: 2 }
        }
    };
    let weight = (0..200).map(|i| if is_light(i) { 1e-6 } else { 1.0 }).collect();
    let train = Rows { x, y, weight: Some(weight) };
    let evals = vec![train.clone()];
    Fold::of_numbers(key, train, evals, Affine::IDENTITY)
}

#[test]
fn gains_that_f32_cannot_tell_apart_are_compared_exactly() {
    for outputs in [1, 2] {
        for depth in [1, 2, 4, 32] {
            compare(&near_ties(outputs), &ForestParams { depth, ..PLAIN }, "features that are nearly alike");
        }
    }
}

#[test]
fn many_candidates_side_by_side_on_two_folds_score_alike_on_both_backends() {
    let Some(gpu) = gpu::shared() else { return };
    for outputs in [1, 3] {
        let fold = table(outputs, 60);
        let other = Fold { evals: vec![fold.train.clone(), fold.evals[0].clone()], ..weighted(&fold) };
        let folds = vec![Arc::new(fold.clone()), Arc::new(other)];
        let problem = Arc::new(Problem { folds, ..(*one_fold(fold)).clone() });
        let space = space(outputs, 255);
        let all = points(&space, &mixed_candidates());
        let cpu = train(&mut *open_cpu(&Forest, &space, &problem, &CpuOptions::default()), &all, 2, BUDGET);
        let gpu = train(&mut *Forest.open_gpu(&space, problem, &gpu).unwrap(), &all, 2, BUDGET);
        assert_eq!(evals(&gpu), evals(&cpu));
        assert!(gpu.iter().all(|report| report.train.is_nan() && report.status == LaneStatus::Trained));
    }
}

#[test]
fn extremes_end_alike_on_both_backends() {
    let fold = table(3, 40);
    let of = |rows: Rows| Fold { train: rows, ..fold.clone() };
    let classes = |codes: Vec<u32>| Target::Classes { codes, classes: 3 };
    let x = fold.train.x.clone();
    let params = ForestParams { trees: 2, bootstrap: 1.0, ..PLAIN };
    let weightless = Rows { weight: Some(vec![0.0; 40]), ..fold.train.clone() };
    for (rows, what) in [
        (Rows::new(x.clone(), classes(vec![1; 40])), "one class"),
        (Rows::new(x.mapv(|_| f32::NAN), fold.train.y.clone()), "nothing known"),
        (Rows::new(x.mapv(|_| 2.0), fold.train.y.clone()), "constant features"),
        (Rows::new(x.slice(ndarray::s![..1, ..]).to_owned(), classes(vec![2])), "one row"),
        (weightless, "rows without weight"),
    ] {
        for params in [params, ForestParams { bootstrap: 0.0, ..params }] {
            let Some(gpu) = gpu::shared() else { return };
            let (problem, space) = (one_fold(of(rows.clone())), space(3, 255));
            let one = points(&space, &[params]);
            let cpu = train(&mut *open_cpu(&Forest, &space, &problem, &CpuOptions::default()), &one, 1, BUDGET);
            let gpu = train(&mut *Forest.open_gpu(&space, problem, &gpu).unwrap(), &one, 1, BUDGET);
            assert_eq!((gpu[0].status, gpu[0].used), (cpu[0].status, cpu[0].used), "{what}");
            if cpu[0].status == LaneStatus::Trained {
                assert_eq!(evals(&gpu), evals(&cpu), "{what}");
            }
        }
    }
}

#[test]
fn a_search_over_many_bins_is_refused_on_a_gpu_with_the_way_out() {
    let Some(gpu) = gpu::shared() else { return };
    let problem = one_fold(table(3, 40));
    let shape = DataShape { task: problem.task, rows: 40, features: 6, outputs: 3 };
    let table = toml::from_str("bins = { int = [15, 255] }").unwrap();
    let space = Forest.space(shape).with_overrides(&table).unwrap();
    let error = Forest.open_gpu(&space, problem, &gpu).err().unwrap();
    assert!(matches!(error, BackendError::Unsuited { .. }), "{error}");
    assert!(error.to_string().contains("ordinal = [15, 63, 255]"), "{error}");
}

#[test]
fn trees_are_the_same_however_dispatches_cut_their_growth() {
    let params = ForestParams { trees: 3, ..PLAIN };
    for fold in [table(20, 120), weighted(&table(20, 120))] {
        let (problem, space) = (one_fold(fold), space(20, params.bins));
        let one = points(&space, &[params]);
        let cpu = run(open_cpu(&Forest, &space, &problem, &CpuOptions::default()), &one, 1);
        for largest_slice in [9, 40, gpu::WHOLE] {
            let provoked = Provoked { largest_slice, ..Provoked::default() };
            let Some(gpu) = gpu::open(GpuOptions { provoked, ..GpuOptions::default() }) else { return };
            let gpu = run(Forest.open_gpu(&space, problem.clone(), &gpu).unwrap(), &one, 1);
            assert_eq!((&gpu.1, evals(&gpu.0)), (&cpu.1, evals(&cpu.0)), "slices of {largest_slice} ticks");
        }
    }
}
