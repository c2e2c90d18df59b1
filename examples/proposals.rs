//! Draws random candidates of ten mixed parameters and says how fast, one line of JSON for benches/proposals.py:
//! `proposals CANDIDATES`.
//!
//! The space is Optuna's twin in that script: every kind of parameter, one of them conditional.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::space::{Space, SpaceBuilder};
use thousandfold::strategies::{self, Ask, StrategyOptions};

fn space() -> Space {
    SpaceBuilder::new()
        .categorical("optimizer", &["adam", "sgd"], "adam")
        .log("learning_rate", 1e-4, 1e-1, 1e-3)
        .log("weight_decay", 1e-6, 1.0, 1e-4)
        .float("dropout", 0.0, 0.5, 0.0)
        .float("momentum", 0.5, 0.99, 0.9)
        .when("momentum", "optimizer", &["sgd"])
        .int("layers", 1, 3, 1)
        .log_int("hidden", 8, 256, 64)
        .categorical("activation", &["relu", "tanh", "gelu", "silu"], "relu")
        .ordinal("batch", &[16, 32, 64, 128], 32)
        .boolean("bias", true)
        .build()
}

fn main() -> Result<(), Box<dyn Error>> {
    let candidates: usize = std::env::args().nth(1).ok_or("usage: proposals CANDIDATES")?.parse()?;
    let options = StrategyOptions::new(Key::from_seed(1), Direction::Minimize, candidates as u64);
    let mut strategy = strategies::find("random")?.open(Arc::new(space()), &options);
    let start = Instant::now();
    let Ask::Proposals(points) = strategy.ask(0, candidates) else {
        return Err("random search stopped proposing".into());
    };
    let seconds = start.elapsed().as_secs_f64();
    black_box(points);
    println!("{}", serde_json::json!({ "candidates": candidates, "parameters": 10, "seconds": seconds }));
    Ok(())
}
