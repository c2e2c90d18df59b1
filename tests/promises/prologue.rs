//! What a GPU computes once for all lanes: in slices, before the first of them, and again on a device that replaces a
//! lost one.

use crate::gpu;
use std::ops::ControlFlow;
use thousandfold::backend::gpu::{
    Binding, GpuOptions, GpuPlan, GpuTrainer, Kernel, LanePlan, Phase, Progress, Prologue, Provoked, Role, Span,
};
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Trainer, Weights};
use thousandfold::space::Points;

const COUNT: u32 = 300;

const LANE: &str = "
fn lane_of(group: vec3<u32>, groups: vec3<u32>) -> u32 { return span.first_lane + group.y * groups.x + group.x; }
";
const SQUARES: &str = "
@compute @workgroup_size(1) fn squares(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = lane_of(group, groups);
    if (i < span.lanes) { squared[i] = numbers[i] * numbers[i]; }
}";
const DIFFERENCES: &str = "
@compute @workgroup_size(1) fn differences(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = lane_of(group, groups);
    if (i < span.lanes) { difference[i] = squared[i + 1u] - squared[i]; }
}";
const SUM: &str = "
@compute @workgroup_size(1) fn sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let lane = lane_of(group, groups);
    if (lane >= span.lanes) { return; }
    var total = 0u;
    for (var i = 0u; i < COUNT; i += 1u) { total += difference[i]; }
    results[lanes[lane].y] = total;
}";

/// A lane's score is the last square less the first, as the sum of differences that the prologue made.
struct Telescope(Vec<Kernel>);

fn kernel(name: &'static str, source: &'static str, bindings: &[Binding]) -> Kernel {
    let kernel = Kernel::new(name, name, &[LANE, source]).constant("COUNT", COUNT);
    kernel.layout::<Progress>().layout::<Span>().bind(bindings)
}

fn telescope() -> Telescope {
    Telescope(vec![kernel(
        "sum",
        SUM,
        &[
            Binding::new(Role::Lanes, "lanes", "array<vec2<u32>>"),
            Binding::new(Role::Results, "results", "array<u32>"),
            Binding::new(Role::Span, "span", "Span"),
            Binding::new(Role::Prepared(1), "difference", "array<u32>"),
        ],
    )])
}

impl GpuPlan for Telescope {
    fn kernels(&self, phase: Phase) -> &[Kernel] {
        if phase == Phase::Score { &self.0 } else { &[] }
    }
    fn shared(&self) -> Vec<Vec<u32>> {
        vec![(10..=10 + COUNT).collect()]
    }
    fn prepared(&self) -> Vec<u64> {
        vec![u64::from(COUNT) + 1, u64::from(COUNT)]
    }
    fn prologue(&self) -> Vec<Prologue> {
        let span = Binding::new(Role::Span, "span", "Span");
        let first = [
            span,
            Binding::new(Role::Shared(0), "numbers", "array<u32>"),
            Binding::new(Role::Prepare(0), "squared", "array<u32>"),
        ];
        let second = [
            span,
            Binding::new(Role::Prepared(0), "squared", "array<u32>"),
            Binding::new(Role::Prepare(1), "difference", "array<u32>"),
        ];
        vec![
            Prologue { kernel: kernel("squares", SQUARES, &first), workgroups: COUNT + 1 },
            Prologue { kernel: kernel("differences", DIFFERENCES, &second), workgroups: COUNT },
        ]
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

/// The score of three lanes on such a device, trained one after another, and how often the prologue's passes had been
/// dispatched after each.
fn run(options: GpuOptions) -> Option<(f64, [[u64; 2]; 3])> {
    let gpu = gpu::open(options)?;
    let mut trainer = GpuTrainer::open(&gpu, telescope()).unwrap();
    let lanes: Vec<Lane> = (0..3).map(|point| Lane { point, fold: 0 }).collect();
    let slots = trainer.start(&Points::from_values(1, vec![0.0; 3]), &lanes).unwrap();
    let mut scores = Vec::new();
    let mut dispatches = [[0; 2]; 3];
    for (slot, dispatches) in slots.into_iter().zip(&mut dispatches) {
        let mut report = |lane: LaneReport| {
            scores.push(lane.train);
            ControlFlow::Continue(())
        };
        trainer.advance(&[slot], 0, false, &StopFlag::default(), &mut report).unwrap();
        let times = gpu.pass_times();
        let count = |name: &str| times.iter().find(|pass| pass.kernel == name).map_or(0, |pass| pass.dispatches);
        *dispatches = ["squares", "differences"].map(count);
    }
    assert!(scores.len() == 3 && scores.iter().all(|score| *score == scores[0]), "{scores:?}");
    Some((scores[0], dispatches))
}

#[test]
fn a_prologue_is_done_once_in_slices_and_again_after_a_loss() {
    let first = f64::from(10 * 10);
    let wanted = f64::from((10 + COUNT) * (10 + COUNT)) - first;
    let sliced = |most_lanes, losses_after| GpuOptions {
        provoked: Provoked { most_lanes, losses_after, ..Provoked::default() },
        checked: true,
        ..GpuOptions::default()
    };
    let Some((score, dispatches)) = run(sliced(50, Vec::new())) else { return };
    assert_eq!(score, wanted);
    // 301 and 300 workgroups, at most fifty at a time; how many a dispatch has depends on what others took.
    assert!(dispatches[0].iter().all(|count| *count >= 6), "{dispatches:?}");
    assert_eq!(dispatches[0], dispatches[2]);
    for losses_after in [3, 8, 12] {
        let (score, dispatches) = run(sliced(50, vec![losses_after])).unwrap();
        assert_eq!(score, wanted, "lost after {losses_after}");
        assert!(dispatches[0].iter().sum::<u64>() >= losses_after + 12, "lost after {losses_after}: {dispatches:?}");
    }
}

#[test]
fn a_prologue_that_was_stopped_goes_on_where_it_stood() {
    let Some(gpu) = gpu::open(GpuOptions::default()) else { return };
    let mut trainer = GpuTrainer::open(&gpu, telescope()).unwrap();
    let slots = trainer.start(&Points::from_values(1, vec![0.0]), &[Lane { point: 0, fold: 0 }]).unwrap();
    let mut scores = Vec::new();
    let mut advance = |stop: &StopFlag| {
        let mut report = |lane: LaneReport| {
            scores.push(lane.train);
            ControlFlow::Continue(())
        };
        trainer.advance(&slots, 0, false, stop, &mut report).unwrap();
    };
    // Wherever the deadlines fall among the dispatches.
    for _ in 0..10 {
        let soon = std::time::Instant::now() + std::time::Duration::from_micros(300);
        advance(&StopFlag::default().until(Some(soon)));
    }
    advance(&StopFlag::default());
    assert_eq!(scores.last(), Some(&f64::from((10 + COUNT) * (10 + COUNT) - 100)));
}
