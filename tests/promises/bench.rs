//! `bench` measures what it says, on the lanes it says, and tells when the backends do not agree.

use crate::gpu;
use crate::support::{Folder, mixed_points, open_cpu, problem, studies, train};
use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::GpuOptions;
use thousandfold::backend::{LaneReport, StopFlag};
use thousandfold::data::Task;
use thousandfold::models::{DataShape, MODELS};
use thousandfold::strategies::{self, Ask};
use thousandfold::study::bench::{BenchOptions, BenchReport, LaneScores, Shapes, bench, compare};
use thousandfold::study::resolve::Study;

fn program(folder: &Folder) -> Command {
    let mut command = Command::cargo_bin("thousandfold").unwrap();
    command.current_dir(folder.path()).args(["bench", "flowers.csv", "--target", "kind", "--set", "model.budget=2"]);
    command
}

fn json(dir: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("bench.json")).unwrap()).unwrap()
}

fn lanes(backend: &Value) -> Vec<u64> {
    backend["points"].as_array().unwrap().iter().map(|point| point["lanes"].as_u64().unwrap()).collect()
}

/// Every tag is closed in the order in which it was opened, and no text holds a bare bracket or ampersand.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{text}");
        assert!(text.split('&').skip(1).all(|entity| entity.split_once(';').is_some()), "{text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match (tag.strip_prefix('/'), tag.ends_with('/')) {
            (Some(closed), _) => assert_eq!(open.pop(), Some(closed)),
            (None, true) => {}
            (None, false) => open.push(name),
        }
    }
    assert!(svg.starts_with("<svg ") && open.is_empty(), "{open:?} left open");
}

#[test]
fn a_bench_measures_both_backends_on_the_same_lanes_and_checks_that_they_agree() {
    if gpu::open(GpuOptions::default()).is_none() {
        return;
    }
    let folder = Folder::new();
    studies::flowers(&folder);
    let output =
        program(&folder).args(["--lanes", "20,5", "--seconds", "60", "--device", "0", "-o", "out"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("lanes/s") && said.contains("CPU and GPU agree"), "{said}");
    let out = folder.path().join("out");
    let report = json(&out);
    let backends = report["backends"].as_array().unwrap();
    let names: Vec<&str> = backends.iter().map(|backend| backend["backend"].as_str().unwrap()).collect();
    assert_eq!(names, ["cpu", "gpu"]);
    for backend in backends {
        assert_eq!(lanes(backend), [5, 20]);
        assert!(backend["peaks"]["flops"].as_f64().unwrap() > 0.0);
        assert!(backend["points"].as_array().unwrap().iter().all(|point| point["flops_share"].as_f64().unwrap() > 0.0));
    }
    let kernels = backends[1]["points"][1]["kernels"].as_array().unwrap();
    assert!(kernels.iter().any(|kernel| kernel["seconds"].as_f64().unwrap() > 0.0), "{kernels:?}");
    assert!(backends[1]["start_up"]["compile"].as_f64().unwrap() > 0.0);
    assert_eq!(report["comparison"]["agrees"], Value::Bool(true), "{report}");
    assert_eq!(report["comparison"]["lanes"], 20);
    assert_eq!(report["drift"]["lanes"], 20);
    assert!(report["crossover"].is_object() && report["machine"]["processor"]["name"].is_string());
    let svg = std::fs::read_to_string(out.join("bench.svg")).unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains(">cpu</text>") && svg.contains(">gpu</text>"), "{svg}");
    let page = std::fs::read_to_string(out.join("bench.md")).unwrap();
    assert!(page.contains("bench.svg") && page.contains("| cpu | 20 |") && page.contains("| gpu | 20 |"), "{page}");
}

#[test]
fn the_cpu_is_measured_alone_where_it_is_named_or_all_there_is() {
    let folder = Folder::new();
    studies::flowers(&folder);
    let output = program(&folder).args(["--lanes", "6", "--backend", "cpu", "-o", "out"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&folder.path().join("out"));
    assert_eq!(report["backends"].as_array().unwrap().len(), 1);
    assert_eq!(lanes(&report["backends"][0]), [6]);
    assert!(report["comparison"].is_null() && report["crossover"].is_null());
    if cfg!(target_os = "linux") {
        // No driver, no GPU.
        let hidden = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"].map(|name| (name, "no-such-driver.json"));
        let output = program(&folder).args(["--lanes", "6"]).envs(hidden).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("no GPU was measured: there is none"), "{said}");
    }
}

#[test]
fn no_lanes_and_no_time_are_wrong_usage() {
    let folder = Folder::new();
    studies::flowers(&folder);
    for wrong in [["--lanes", "10,0"], ["--lanes", "many"], ["--seconds", "-1"], ["--shapes", "round"]] {
        assert_eq!(program(&folder).args(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

fn on_cpu(folder: &Folder, options: &BenchOptions, stop: &StopFlag) -> BenchReport {
    bench(studies::small(folder, &[]), options, &mut |_| {}, stop).unwrap()
}

#[test]
fn flops_are_counted_from_every_lanes_own_shape() {
    let folder = Folder::new();
    let lanes = 10;
    let options = BenchOptions { lanes: vec![lanes], shapes: Shapes::Random, seconds: 60.0 };
    let report = on_cpu(&folder, &options, &StopFlag::default());
    let point = &report.backends[0].points[0];
    let study = Study::resolve(studies::small(&folder, &[])).unwrap();
    let random = strategies::find("random").unwrap();
    let Ask::Proposals(points) = random.open(study.space.clone(), &study.strategy_options()).ask(0, 4) else {
        panic!("random search always proposes")
    };
    let counted = |points: &thousandfold::space::Points| -> f64 {
        let work = |lane: usize| {
            let rows = study.objective.models().unwrap().splits.folds[lane % 3].train.len();
            let pipeline = study.objective.models().unwrap().pipelines.single().unwrap();
            let shape = DataShape { rows, ..pipeline.shape };
            pipeline.model.work(&study.space, points.row(lane / 3), shape, study.budget).flops
        };
        (0..lanes).map(work).sum()
    };
    let measured = point.flops * point.seconds;
    assert!((measured / counted(&points) - 1.0).abs() < 1e-12, "{measured} and {}", counted(&points));
    // The count tells shapes apart: lanes that all had the defaults' would have another one.
    let width = study.space.parameters.len();
    let defaults = thousandfold::space::Points::from_values(width, study.space.defaults().repeat(4));
    assert!((measured / counted(&defaults) - 1.0).abs() > 1e-3);
}

#[test]
fn what_would_take_too_long_is_left_out_and_said() {
    let folder = Folder::new();
    let options = BenchOptions { lanes: vec![3, 300, 3000], shapes: Shapes::Default, seconds: 1e-6 };
    let report = on_cpu(&folder, &options, &StopFlag::default());
    let left_out: Vec<usize> = report.backends[0].not_run.iter().map(|not_run| not_run.lanes).collect();
    assert!(left_out.ends_with(&[300, 3000]), "{:?}", report.backends[0]);
    let text = thousandfold::monitor::bench::text(&report);
    assert!(text.contains("cpu did not run 300 lanes") && text.contains("cpu did not run 3,000 lanes"), "{text}");
}

#[test]
fn a_stop_ends_it_with_what_there_is() {
    let folder = Folder::new();
    let stop = StopFlag::default();
    stop.raise();
    let options = BenchOptions { lanes: vec![3, 30], shapes: Shapes::Default, seconds: 60.0 };
    let report = on_cpu(&folder, &options, &stop);
    assert!(report.is_interrupted && report.backends[0].points.is_empty());
    assert!(report.backends[0].not_run.iter().all(|not_run| not_run.reason == "interrupted"), "{report:?}");
    assert_eq!(report.backends[0].not_run.len(), 2);
}

/// Scores of every model on the CPU and on the GPU (or on the CPU again), whose points are moved by a fiftieth.
fn sides(is_moved: bool, on_gpu: bool) -> Vec<(&'static str, bool)> {
    let scores = |report: LaneReport| LaneScores::from(report);
    let mut verdicts = Vec::new();
    for model in MODELS {
        let agreement = model.agreement();
        let task = model.tasks()[0];
        let outputs = if task == Task::Classification { 3 } else { 1 };
        let problem = problem(2, 50, 9, outputs, model.budget().default);
        let space = model.space(DataShape { task, rows: 50, features: 9, outputs });
        let (still, moved) = (mixed_points(&space, 8, 24.0), mixed_points(&space, 8, 24.5));
        let cpu = || open_cpu(*model, &space, &problem, &CpuOptions::default());
        let first = train(&mut *cpu(), &still, 2, agreement.budget);
        let other = match gpu::open(GpuOptions::default()).filter(|_| on_gpu) {
            Some(gpu) => model.open_gpu(&space, problem.clone(), &gpu).unwrap(),
            None => cpu(),
        };
        let mut other = other;
        let second = train(&mut *other, if is_moved { &moved } else { &still }, 2, agreement.budget);
        let [first, second] = [first, second].map(|side| side.into_iter().map(scores).collect::<Vec<_>>());
        verdicts.push((model.name(), compare(&first, &second, agreement).agrees));
    }
    verdicts
}

#[test]
fn every_model_agrees_within_what_it_states() {
    assert!(sides(false, true).iter().all(|(_, agrees)| *agrees), "{:?}", sides(false, true));
}

#[test]
fn a_side_that_is_a_little_off_does_not_agree() {
    assert!(sides(true, true).iter().all(|(_, agrees)| !agrees), "{:?}", sides(true, true));
}
