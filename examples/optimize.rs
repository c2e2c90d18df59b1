//! Searches an analytic function and says how near it came: `optimize STRATEGY FUNCTION DIMENSIONS CANDIDATES SEED [BATCH]`.
//! One line of JSON: the distance of the best value so far from the known optimum after 1, 2, 4, ... candidates and at the
//! end, and the seconds that proposals took.

use serde_json::json;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::functions;
use thousandfold::strategies::{self, Ask, Outcome, StrategyOptions};

const USAGE: &str = "usage: optimize STRATEGY FUNCTION DIMENSIONS CANDIDATES SEED [BATCH]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let entry = strategies::find(&next()?)?;
    let function = functions::find(&next()?)?;
    let dimensions: usize = next()?.parse()?;
    let candidates: u64 = next()?.parse()?;
    let seed: u64 = next()?.parse()?;
    let batch: u64 = next().map_or(Ok(100), |batch| batch.parse())?;
    if !function.dimensions().contains(&dimensions) || function.objectives() != 1 {
        return Err(format!("{} has one objective in {:?} dimensions", function.name(), function.dimensions()).into());
    }
    let space = Arc::new(function.space(dimensions));
    if let Some(reason) = entry.refusal(&space) {
        return Err(reason.into());
    }
    let instance = seed as u32 + 1;
    let optimum = function.optimum(dimensions, instance).unwrap_or(0.0);
    let objective = function.open(dimensions, instance);
    let new = StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, candidates);
    let mut strategy = entry.open(space, &StrategyOptions { batch, ..new });
    let (mut done, mut best, mut curve, mut seconds) = (0, f64::INFINITY, Vec::new(), 0.0);
    while done < candidates {
        let start = Instant::now();
        let Ask::Proposals(points) = strategy.ask(done, batch.min(candidates - done) as usize) else { break };
        seconds += start.elapsed().as_secs_f64();
        let mut outcomes = Vec::with_capacity(points.len());
        for row in points.rows() {
            let mut value = [0.0];
            objective.evaluate(row, &mut value);
            let [value] = value;
            outcomes.push(Outcome { candidate: done, point: row.to_vec(), value, folds: vec![value] });
            best = best.min(value);
            done += 1;
            if done.is_power_of_two() || done == candidates {
                curve.push((done, best - optimum));
            }
        }
        let start = Instant::now();
        strategy.tell(&outcomes);
        seconds += start.elapsed().as_secs_f64();
    }
    println!(
        "{}",
        json!({ "strategy": entry.name(), "function": function.name(), "curve": curve, "seconds": seconds })
    );
    Ok(())
}
