//! What lanes of a fold share on the processor: every piece once, before the lanes, within the memory.

use crate::support::{bits, mixed_points, problem, train, try_train};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use thousandfold::backend::cpu::simd::{Lanes, Level};
use thousandfold::backend::cpu::{CpuOptions, CpuTrainer, GroupKey, LaneModel, LaneProgress, RowBlock};
use thousandfold::backend::{BackendError, Lane, StopFlag, Trainer, Weights};
use thousandfold::data::{Fold, Task};
use thousandfold::models::{DataShape, MODELS};
use thousandfold::space::Points;

const PIECES: usize = 20;
/// Bytes that a fold says its shared work takes.
const SHARED: u64 = 1 << 20;

/// Predicts a number that two stages of shared work make: the second adds up what the pieces of the first are.
struct Staged {
    done: Arc<AtomicUsize>,
}

struct StagedFold {
    fold: Arc<Fold>,
    squares: [OnceLock<usize>; PIECES],
    sum: OnceLock<usize>,
}

impl LaneModel for Staged {
    type Params = f64;
    type Fold = StagedFold;
    type Group = Vec<f64>;

    fn params(&self, point: &[f64]) -> f64 {
        point[0]
    }
    fn key(&self, _: &f64) -> GroupKey {
        GroupKey { step: [0; 2], likeness: [0; 4] }
    }
    fn open_fold(&self, fold: &Arc<Fold>) -> StagedFold {
        StagedFold { fold: fold.clone(), squares: Default::default(), sum: OnceLock::new() }
    }
    fn bytes(&self, _: &StagedFold, _: &[f64]) -> u64 {
        1 << 10
    }
    fn shared_bytes(&self, _: &StagedFold, _: &[f64]) -> u64 {
        SHARED
    }
    fn missing_pieces(&self, fold: &StagedFold, _: &[f64]) -> Vec<usize> {
        let first: Vec<usize> = (0..PIECES).filter(|piece| fold.squares[*piece].get().is_none()).collect();
        if first.is_empty() && fold.sum.get().is_none() { vec![PIECES] } else { first }
    }
    fn do_piece(&self, _: Level, fold: &StagedFold, piece: usize) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let cell = if piece == PIECES { &fold.sum } else { &fold.squares[piece] };
        cell.get_or_init(|| match piece {
            PIECES => fold.squares.iter().map(|square| square.get().unwrap()).sum(),
            piece => piece * piece,
        });
    }
    fn start(&self, fold: &StagedFold, lanes: &[f64]) -> Vec<f64> {
        assert!(fold.sum.get().is_some(), "a lane began before its fold's shared work was done");
        lanes.to_vec()
    }
    fn gather(&self, _: &StagedFold, lanes: &[(&Vec<f64>, usize)]) -> Vec<f64> {
        lanes.iter().map(|(group, lane)| group[*lane]).collect()
    }
    fn advance(&self, _: Level, _: &StagedFold, group: &mut Vec<f64>, budget: u64) -> Vec<LaneProgress> {
        group.iter().map(|_| LaneProgress { used: budget, is_capped: false }).collect()
    }
    fn predict(&self, _: Level, fold: &StagedFold, group: &mut Vec<f64>, rows: RowBlock<'_>, out: &mut [Lanes]) {
        assert_eq!(rows.x.ncols(), fold.fold.train.x.ncols());
        let shared = *fold.sum.get().unwrap() as f32;
        for (lane, factor) in group.iter().enumerate() {
            out.iter_mut().for_each(|out| out.0[lane] = *factor as f32 * shared);
        }
    }
    fn read_back(&self, _: &StagedFold, _: &Vec<f64>, _: usize) -> Weights {
        Weights::of(Vec::new())
    }
}

const FOLDS: usize = 4;

/// The scores of two rounds of lanes on all folds, and how many pieces each round did.
fn run(memory: u64, threads: usize) -> Result<(Vec<u64>, [usize; 2]), BackendError> {
    let done = Arc::new(AtomicUsize::new(0));
    let options = CpuOptions { memory, threads, simd: None };
    let mut trainer = CpuTrainer::open(Staged { done: done.clone() }, problem(FOLDS, 12, 3, 1, 1), &options)?;
    // `train` expects lanes that fit.
    let slots = trainer.start(&Points::from_values(1, vec![0.0]), &[Lane { point: 0, fold: 0 }])?;
    trainer.advance(&slots, 1, false, &StopFlag::default(), &mut |_| ControlFlow::Continue(()))?;
    let mut scores = Vec::new();
    let counts = [0, 1].map(|round| {
        let before = if round == 0 { 0 } else { done.load(Ordering::Relaxed) };
        let factors = (0..40).map(|i| f64::from(i) * 0.1 + f64::from(round)).collect();
        scores.extend(bits(&train(&mut trainer, &Points::from_values(1, factors), FOLDS, 1)));
        done.load(Ordering::Relaxed) - before
    });
    Ok((scores, counts))
}

#[test]
fn shared_work_is_done_once_and_before_the_lanes() {
    for threads in [1, 3] {
        let (_, counts) = run(1 << 30, threads).unwrap();
        assert_eq!(counts, [FOLDS * (PIECES + 1), 0], "{threads} threads");
    }
}

#[test]
fn folds_that_do_not_fit_together_are_trained_some_at_a_time_to_the_same_bits() {
    let (whole, _) = run(1 << 30, 2).unwrap();
    // Room for two of four folds.
    let (scores, counts) = run(2 * SHARED + (1 << 12), 2).unwrap();
    assert_eq!(scores, whole);
    assert!(counts[1] >= FOLDS / 2 * (PIECES + 1), "{counts:?}: what has no room must have been done again");
    let error = run(SHARED, 2).unwrap_err();
    assert!(matches!(error, BackendError::OutOfMemory { need_mib: 2, .. }), "{error}");
}

#[test]
fn a_stop_leaves_shared_work_that_is_finished_later() {
    let done = Arc::new(AtomicUsize::new(0));
    let mut trainer =
        CpuTrainer::open(Staged { done: done.clone() }, problem(1, 12, 3, 1, 1), &CpuOptions::default()).unwrap();
    let stop = StopFlag::default();
    stop.raise();
    let lane = Lane { point: 0, fold: 0 };
    let slots = trainer.start(&Points::from_values(1, vec![0.5]), &[lane]).unwrap();
    let mut reports = 0;
    let mut advance = |stop: &StopFlag| {
        let mut report = |_| {
            reports += 1;
            ControlFlow::Continue(())
        };
        trainer.advance(&slots, 1, true, stop, &mut report).unwrap();
        reports
    };
    assert_eq!(advance(&stop), 0);
    assert_eq!(done.load(Ordering::Relaxed), 0);
    assert_eq!(advance(&StopFlag::default()), 1);
    assert_eq!(done.load(Ordering::Relaxed), PIECES + 1);
}

#[test]
fn less_memory_changes_no_bit_of_any_model() {
    for model in MODELS {
        for task in model.tasks() {
            let outputs = if *task == Task::Classification { 3 } else { 1 };
            let budget = model.budget().default.min(20);
            let problem = problem(3, 60, 9, outputs, budget);
            let space = model.space(DataShape { task: *task, rows: 60, features: 9, outputs });
            let points = mixed_points(&space, 20, 24.0);
            let run = |memory| {
                let options = CpuOptions { memory, threads: 2, simd: None };
                let mut trainer = model.open_cpu(&space, problem.clone(), &options)?;
                Ok(bits(&try_train(&mut *trainer, &points, 3, budget)?))
            };
            let whole: Result<_, BackendError> = run(1 << 30);
            let whole = whole.unwrap();
            // Half as much again and again, until no lane has room.
            let mut memory = 1 << 22;
            loop {
                match run(memory) {
                    Ok(scores) => assert_eq!(scores, whole, "{}, {task:?}, {memory} bytes", model.name()),
                    Err(BackendError::OutOfMemory { .. } | BackendError::Unsuited { .. }) => break,
                    Err(error) => panic!("{}, {task:?}, {memory} bytes: {error}", model.name()),
                }
                memory /= 2;
            }
            assert!(
                (1..1 << 22).contains(&memory),
                "{}, {task:?}: {memory} bytes were the first too few",
                model.name()
            );
        }
    }
}
