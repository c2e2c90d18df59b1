//! Drivers that end loops before their own condition does, as Mesa's software driver does after 65,535 turns in all.

use crate::gpu::{self, WHOLE};
use crate::support::{bits, problem, rows, train};
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::gpu::{
    Binding, GpuOptions, GpuPlan, GpuTrainer, Kernel, LANE_CUT, LANE_NOT_FINITE, LANE_RUNNING, LanePlan, Phase,
    Progress, Provoked, Role, Span,
};
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Trainer, Weights};
use thousandfold::data::{Fold, Problem, Task};
use thousandfold::models::ridge::Ridge;
use thousandfold::models::{DataShape, Model};
use thousandfold::space::Points;

const TICKS: u64 = 12;

const COUNT: &str = "
fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    while (is_within_span(at)) {
        for (var turn = 0u; turn < TURNS + nothing; turn += 1u) {
            if (thread == 0u) { state[lanes[lane].x] += 1u; }
        }
        at.unit += 1u;
    }
    return at;
}
@compute @workgroup_size(WORKGROUP)
fn score(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let lane = lane_of(group, groups);
    if (lane < span.lanes && thread == 0u) { results[lanes[lane].y] = state[lanes[lane].x]; }
}";

/// A lane's score is how many turns its loops had.
struct Turns([Vec<Kernel>; 2]);

fn turns(each: u32) -> Turns {
    let sources = [
        include_str!("../../shaders/shared/held.wgsl"),
        include_str!("../../shaders/shared/lane.wgsl"),
        include_str!("../../shaders/shared/train.wgsl"),
        COUNT,
    ];
    let constants = [
        ("LANE_RUNNING", LANE_RUNNING),
        ("LANE_NOT_FINITE", LANE_NOT_FINITE),
        ("LANE_CUT", LANE_CUT),
        ("WORKGROUP", 64),
        ("TURNS", each),
    ];
    let kernel = |name, entry| {
        let kernel = Kernel::new(name, entry, &sources).layout::<Progress>().layout::<Span>();
        let kernel = constants.iter().fold(kernel, |kernel, (name, value)| kernel.constant(name, *value));
        kernel.bind(&[
            Binding::new(Role::Lanes, "lanes", "array<vec2<u32>>"),
            Binding::new(Role::Progress, "progress", "array<Progress>"),
            Binding::new(Role::State, "state", "array<u32>"),
            Binding::new(Role::Results, "results", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
        ])
    };
    Turns([vec![kernel("count_train", "train")], vec![kernel("count_score", "score")]])
}

impl GpuPlan for Turns {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        &self.0[usize::from(phase == Phase::Score)]
    }
    fn shared(&self) -> Vec<Vec<u32>> {
        Vec::new()
    }
    fn lane(&self, _: &[f64], _: usize) -> LanePlan {
        LanePlan { descriptor: vec![0; 2], state_words: 1, result_words: 1, cost: 1.0 }
    }
    fn score_units(&self) -> u64 {
        1
    }
    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::Trained
    }
    fn can_converge(&self) -> bool {
        false
    }
    fn scores(&self, _: usize, results: &[u32]) -> (f64, Vec<f64>) {
        (f64::from(results[0]), Vec::new())
    }
    fn weights(&self, _: &[u32], _: &[u32]) -> Weights {
        Weights::of(Vec::new())
    }
}

/// Turns that a lane had, or why there are none; `None` without a device.
fn counted(each: u32, largest_slice: u64) -> Option<Result<f64, String>> {
    let provoked = Provoked { largest_slice, ..Provoked::default() };
    let gpu = gpu::open(GpuOptions { provoked, ..GpuOptions::default() })?;
    let mut trainer = GpuTrainer::open(&gpu, turns(each)).unwrap();
    let slots = trainer.start(&Points::from_values(1, vec![0.0]), &[Lane { point: 0, fold: 0 }]).unwrap();
    let mut score = f64::NAN;
    let mut report = |lane: LaneReport| {
        score = lane.train;
        ControlFlow::Continue(())
    };
    let ran = trainer.advance(&slots, TICKS, false, &StopFlag::default(), &mut report);
    Some(ran.map(|()| score).map_err(|error| error.to_string()))
}

#[test]
fn dispatches_whose_loops_were_cut_are_done_again_in_shorter_ones() {
    for largest_slice in [0, 1, 7, WHOLE] {
        let Some(score) = counted(20_000, largest_slice) else { return };
        assert_eq!(score, Ok(f64::from(20_000 * TICKS as u32)), "slices of {largest_slice} ticks");
    }
}

#[test]
fn scoring_whose_loops_were_cut_is_done_again_in_shorter_dispatches() {
    // A tile's terms are summed by one thread: a turn a row.
    let small = problem(1, 40, 2, 1, 1);
    let fold = Fold { evals: vec![rows(7, 150_000, 2, 1)], ..(*small.folds[0]).clone() };
    let problem = Arc::new(Problem { folds: vec![Arc::new(fold)], ..(*small).clone() });
    let space = Ridge.space(DataShape { task: Task::Regression, rows: 40, features: 2, outputs: 1 });
    let points = Points::from_values(space.parameters.len(), space.defaults());
    let scores = |largest_slice| {
        let provoked = Provoked { largest_slice, ..Provoked::default() };
        let gpu = gpu::open(GpuOptions { provoked, ..GpuOptions::default() })?;
        Some(bits(&train(&mut *Ridge.open_gpu(&space, problem.clone(), &gpu).unwrap(), &points, 1, 1)))
    };
    let Some(by_tiles) = scores(1) else { return };
    assert_eq!(scores(WHOLE).unwrap(), by_tiles);
}

#[test]
fn loops_too_long_for_a_driver_give_the_right_result_or_an_error_with_the_way_out() {
    match counted(100_000, 0) {
        Some(Err(said)) => {
            assert!(said.contains("ends loops before their time") && said.contains("--backend cpu"), "{said}")
        }
        Some(Ok(score)) => assert_eq!(score, f64::from(100_000 * TICKS as u32)),
        None => {}
    }
}
