//! Trains perceptrons on one prepared fold and says what it took: `fit_mlp FOLDS.bin EPOCHS THREADS CANDIDATES`, one line
//! of JSON for benches/mlp.py.
//!
//! FOLDS.bin is described in shared/folds.rs. CANDIDATES is a file of learning rates in f64, a lane of the fixed shape
//! each, or `random:N`: N candidates of the default space, as a study draws them.

#[path = "shared/folds.rs"]
mod folds;

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use thousandfold::backend::cpu::{CpuOptions, measure};
use thousandfold::backend::{Lane, StopFlag};
use thousandfold::base::random::Key;
use thousandfold::data::{Prediction, metrics};
use thousandfold::models;
use thousandfold::space::{Points, Space};
use thousandfold::strategies::{self, Ask, StrategyOptions};

const USAGE: &str = "usage: fit_mlp FOLDS.bin EPOCHS THREADS RATES.bin|random:N";

fn main() -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or(USAGE)?)?;
    let epochs = arguments.next().ok_or(USAGE)?.parse()?;
    let threads = arguments.next().ok_or(USAGE)?.parse()?;
    let candidates = arguments.next().ok_or(USAGE)?;

    let model = models::find("mlp")?;
    let problem = folds::read(&file, epochs).ok_or("FOLDS.bin ends early")?;
    let shape = folds::shape(&problem);
    let space = Arc::new(model.space(shape));
    let points = match candidates.strip_prefix("random:") {
        Some(count) => random(&space, count.parse()?)?,
        None => fixed(&space, &std::fs::read(candidates)?)?,
    };
    let lanes: Vec<Lane> = (0..points.len()).map(|point| Lane { point, fold: 0 }).collect();
    let options = CpuOptions { threads, ..CpuOptions::default() };
    let mut trainer = model.open_cpu(&space, problem.clone(), &options)?;
    let start_seconds = began.elapsed().as_secs_f64();

    let start = Instant::now();
    let slots = trainer.start(&points, &lanes)?;
    trainer.advance(&slots, epochs, true, &StopFlag::default(), &mut |_| ControlFlow::Continue(()))?;
    let seconds = start.elapsed().as_secs_f64();

    let held_out = &problem.folds[0].evals[0];
    let (mut losses, mut accuracies, mut flops) = (Vec::new(), Vec::new(), 0.0);
    for (slot, point) in slots.iter().zip(points.rows()) {
        flops += model.work(&space, point, shape, epochs).flops;
        let weights = trainer.read_back(*slot)?;
        let values = model.predict(&weights, problem.task, problem.folds[0].target, held_out.x.view())?;
        let values = values.as_slice().ok_or("predictions are not row-major")?;
        let prediction = Prediction::Probabilities { classes: problem.outputs, values };
        losses.push(metrics::find("log_loss")?.score(held_out.truth(), prediction));
        accuracies.push(metrics::find("accuracy")?.score(held_out.truth(), prediction));
    }
    let report = serde_json::json!({
        "start_seconds": start_seconds, "seconds": seconds, "flops": flops, "log_losses": losses,
        "accuracies": accuracies, "peak_flops": measure::measure(&options).flops, "backend": options.describe(),
    });
    println!("{report}");
    Ok(())
}

/// A 64-unit relu network with Adam at each of these learning rates: nothing that scikit-learn's and JAX's lack.
fn fixed(space: &Space, rates: &[u8]) -> Result<Points, Box<dyn Error>> {
    let column = |name: &str| space.index(name).ok_or(format!("no parameter {name}"));
    let (rate, decay, schedule) = (column("learning_rate")?, column("weight_decay")?, column("schedule")?);
    let mut points = Points::new(space.parameters.len());
    for bytes in rates.as_chunks::<8>().0 {
        let mut row = space.defaults();
        row[rate] = f64::from_le_bytes(*bytes);
        row[decay] = 0.0;
        // The code of "constant".
        row[schedule] = 0.0;
        points.push(&row);
    }
    Ok(points)
}

fn random(space: &Arc<Space>, count: usize) -> Result<Points, Box<dyn Error>> {
    let direction = metrics::find("log_loss")?.direction();
    let options = StrategyOptions::new(Key::from_seed(1), direction, count as u64);
    match strategies::find("random")?.open(space.clone(), &options).ask(0, count) {
        Ask::Proposals(points) => Ok(points),
        _ => Err("random search stopped proposing".into()),
    }
}
