//! Fits softmax lanes on prepared folds and says what it took: `fit_softmax FOLDS.bin PENALTIES.bin THREADS TOLERANCE`, one
//! line of JSON for benches/logistic.py.
//!
//! FOLDS.bin is described in shared/folds.rs, PENALTIES.bin is floats in f64.

#[path = "shared/folds.rs"]
mod folds;

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::{Lane, LaneStatus, StopFlag, Weights};
use thousandfold::data::{Rows, Target};
use thousandfold::models;
use thousandfold::space::{Domain, Points, Value};

const USAGE: &str = "usage: fit_softmax FOLDS.bin PENALTIES.bin THREADS TOLERANCE";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folds = std::fs::read(arguments.next().ok_or(USAGE)?)?;
    let penalties = std::fs::read(arguments.next().ok_or(USAGE)?)?;
    let threads = arguments.next().ok_or(USAGE)?.parse()?;
    let tolerance: f64 = arguments.next().ok_or(USAGE)?.parse()?;
    let penalties: Vec<f64> = penalties.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();

    let model = models::find("logistic")?;
    let problem = folds::read(&folds, model.budget().default).ok_or("FOLDS.bin ends early")?;
    let mut space = model.space(folds::shape(&problem));
    let column = space.index("tolerance").ok_or("no parameter tolerance")?;
    space.parameters[column].domain = Domain::Fixed(Value::Float(tolerance));
    let mut points = Points::new(space.parameters.len());
    let l2 = space.index("l2").ok_or("no parameter l2")?;
    for penalty in &penalties {
        let mut row = space.defaults();
        row[l2] = *penalty;
        points.push(&row);
    }
    let folds = problem.folds.len();
    let lanes: Vec<Lane> =
        (0..penalties.len()).flat_map(|point| (0..folds).map(move |fold| Lane { point, fold })).collect();

    let start = Instant::now();
    let mut trainer = model.open_cpu(&space, problem.clone(), &CpuOptions { threads, ..CpuOptions::default() })?;
    let slots = trainer.start(&points, &lanes)?;
    let mut reports = Vec::with_capacity(lanes.len());
    trainer.advance(&slots, problem.budget, true, &StopFlag::default(), &mut |lane| {
        reports.push(lane);
        ControlFlow::Continue(())
    })?;
    let seconds = start.elapsed().as_secs_f64();

    let mut objectives = Vec::with_capacity(lanes.len());
    for (slot, lane) in slots.iter().zip(&lanes) {
        let weights = trainer.read_back(*slot)?;
        objectives.push(objective(&weights, &problem.folds[lane.fold].train, penalties[lane.point]));
    }
    let converged = reports.iter().filter(|report| report.status == LaneStatus::Trained).count();
    let iterations = reports.iter().map(|report| report.used as f64).sum::<f64>() / reports.len() as f64;
    let report = serde_json::json!({
        "seconds": seconds, "objectives": objectives, "converged": converged, "mean_iterations": iterations,
    });
    println!("{report}");
    Ok(())
}

/// The summed log loss with the penalty, in f64: what both programs minimise.
fn objective(weights: &Weights, rows: &Rows, l2: f64) -> f64 {
    let Target::Classes { codes, .. } = &rows.y else { return f64::NAN };
    let (weight, intercept) = (&weights.arrays[0].values, &weights.arrays[1].values);
    let losses = rows.x.rows().into_iter().zip(codes).map(|(row, code)| {
        let classes = weight.chunks_exact(row.len()).zip(intercept);
        let dot = |w: &[f32]| w.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
        let logits: Vec<f64> = classes.map(|(w, b)| dot(w) + f64::from(*b)).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logits.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest - logits[*code as usize]
    });
    losses.sum::<f64>() + 0.5 * l2 * weight.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>()
}
