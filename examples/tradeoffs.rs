//! Searches an analytic function of several objectives and says how much of the trade-offs it found: `tradeoffs STRATEGY
//! FUNCTION DIMENSIONS CANDIDATES SEED [BATCH] [REACH] [POPULATION]`. One line of JSON: the hypervolume of all candidates
//! so far after 1, 2, 4, ... of them and at the end, its reference point (REACH, or else 1.1, times the greatest values on
//! the function's front), the hypervolume of a thousand points of the front, and the seconds that proposals took.

use serde_json::json;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use thousandfold::base::pareto::hypervolume;
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::functions;
use thousandfold::strategies::{self, Ask, Outcome, StrategyOptions};

const USAGE: &str = "usage: tradeoffs STRATEGY FUNCTION DIMENSIONS CANDIDATES SEED [BATCH] [REACH] [POPULATION]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let entry = strategies::find(&next()?)?;
    let function = functions::find(&next()?)?;
    let dimensions: usize = next()?.parse()?;
    let candidates: u64 = next()?.parse()?;
    let seed: u64 = next()?.parse()?;
    let batch: u64 = next().map_or(Ok(100), |batch| batch.parse())?;
    let reach: f64 = next().map_or(Ok(1.1), |reach| reach.parse())?;
    let population: Option<u64> = next().ok().map(|population| population.parse()).transpose()?;
    let front = function.front(1000).ok_or_else(|| format!("{} has one objective", function.name()))?;
    if !function.dimensions().contains(&dimensions) {
        return Err(format!("{} has {:?} dimensions", function.name(), function.dimensions()).into());
    }
    let space = Arc::new(function.space(dimensions));
    if let Some(reason) = entry.refusal(&space) {
        return Err(reason.into());
    }
    let objectives = function.objectives();
    let greatest = |objective: usize| front.iter().map(|point| point[objective]).fold(f64::NEG_INFINITY, f64::max);
    let reference: Vec<f64> = (0..objectives).map(|objective| reach * greatest(objective)).collect();
    let objective = function.open(dimensions, 1);
    let new = StrategyOptions::new(Key::from_seed(seed), Direction::Minimize, candidates);
    let directions = vec![Direction::Minimize; objectives];
    let mut strategy = entry.open(space, &StrategyOptions { batch, directions, population, ..new });
    let (mut found, mut curve, mut seconds): (Vec<Vec<f64>>, _, _) = (Vec::new(), Vec::new(), 0.0);
    while (found.len() as u64) < candidates {
        let first = found.len() as u64;
        let start = Instant::now();
        let Ask::Proposals(points) = strategy.ask(first, batch.min(candidates - first) as usize) else { break };
        seconds += start.elapsed().as_secs_f64();
        let mut outcomes = Vec::with_capacity(points.len());
        for (candidate, row) in (first..).zip(points.rows()) {
            let mut values = vec![0.0; objectives];
            objective.evaluate(row, &mut values);
            found.push(values.clone());
            outcomes.push(Outcome { values, ..Outcome::new(candidate, row.to_vec(), 0.0) });
            if found.len().is_power_of_two() || found.len() as u64 == candidates {
                curve.push((found.len(), hypervolume(found.iter().map(Vec::as_slice), &reference)));
            }
        }
        let start = Instant::now();
        strategy.tell(&outcomes);
        seconds += start.elapsed().as_secs_f64();
    }
    let whole = hypervolume(front.iter().map(Vec::as_slice), &reference);
    let (strategy, function) = (entry.name(), function.name());
    println!(
        "{}",
        json!({ "strategy": strategy, "function": function, "curve": curve, "reference": reference, "front": whole,
            "seconds": seconds })
    );
    Ok(())
}
