//! Searches without a run directory: `search STRATEGY,... CANDIDATES SEED BATCH STUDY.toml|- [KEY=VALUE ...]`, where `-` stands for a
//! study of sets alone.
//! One line of JSON: how the best value of the first objective fell, the seconds that proposals took, after how many candidates
//! `stop.target` was reached, which ends the search, and with several objectives every candidate's values.

#[path = "shared/study.rs"]
mod shared;

use serde_json::json;
use std::error::Error;
use std::time::Instant;
use thousandfold::base::random::Key;
use thousandfold::strategies::relay::Relay;
use thousandfold::strategies::{self, Ask, Outcome, StrategyOptions};
use thousandfold::study::objective::Objective;
use thousandfold::study::resolve::Study;
use thousandfold::study::scorer::Scorer;

/// The exit code where a strategy is not for the space.
const REFUSED: i32 = 3;
const USAGE: &str = "usage: search STRATEGY,... CANDIDATES SEED BATCH STUDY.toml|- [KEY=VALUE ...]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let names = next()?;
    let entries: Result<Vec<_>, _> = names.split(',').map(strategies::find).collect();
    let relay = Relay::new(entries?);
    let candidates: u64 = next()?.parse()?;
    let seed: u64 = next()?.parse()?;
    let batch: u64 = next()?.parse()?;
    let file = next()?;
    let sets: Vec<String> = arguments.collect();
    let study = Study::resolve(shared::loaded(&file, &sets)?)?;
    let mut scorer = Scorer::open(&study)?;
    if let Some(refusal) = relay.refusal(&study.space, study.directions.len()) {
        eprintln!("{}: {}", refusal.strategy, refusal.reason);
        std::process::exit(REFUSED);
    }
    let options = StrategyOptions { key: Key::from_seed(seed), candidates, batch, ..study.strategy_options() };
    scorer.want_gradients(relay.uses_gradients());
    let mut strategy = relay.open(study.space.clone(), &options);
    let (mut done, mut best, mut curve, mut seconds, mut last) = (0, f64::NAN, Vec::new(), 0.0, 0.0);
    let (mut all, mut reached) = (Vec::new(), None);
    let is_reached =
        |value: f64| study.config.stop.target.is_some_and(|target| study.direction().compare(value, target).is_le());
    while done < candidates && reached.is_none() {
        let start = Instant::now();
        let Ask::Proposals(points) = strategy.ask(done, batch.min(candidates - done) as usize) else { break };
        last = start.elapsed().as_secs_f64();
        let trials = scorer.score(&points)?;
        let mut outcomes = Vec::with_capacity(points.len());
        for (row, trial) in points.rows().zip(&trials) {
            let outcome = Outcome { candidate: done, ..scorer.outcome(trial, row) };
            let value = outcome.value();
            outcomes.push(outcome);
            if study.direction().compare(value, best).is_lt() {
                best = value;
            }
            done += 1;
            if reached.is_none() && is_reached(value) {
                reached = Some(done);
            }
            if is_on_the_curve(done) || done == candidates {
                curve.push((done, best));
            }
        }
        if study.directions.len() > 1 {
            all.extend(outcomes.iter().map(|outcome| outcome.values.clone()));
        }
        let start = Instant::now();
        strategy.tell(&outcomes);
        last += start.elapsed().as_secs_f64();
        seconds += last;
    }
    let optimum = match &study.objective {
        Objective::Function(function) => function.optimum(),
        _ => None,
    };
    let decisions = strategy.decisions();
    println!(
        "{}",
        json!({
            "strategy": relay.name(), "curve": curve, "optimum": optimum, "seconds": seconds,
            "seconds_of_the_last_batch": last, "reached": reached,
            "values": all, "decisions": decisions,
        })
    );
    Ok(())
}

/// 1, 2, 5, 10, 20, 25, 50, 100, ...: one, two, two and a half and five times powers of ten, and 400, 4,000, ...
fn is_on_the_curve(done: u64) -> bool {
    let mut power = 1;
    while power <= done {
        if [1, 2, 4, 5].iter().any(|times| times * power == done) || (power >= 10 && 5 * power == 2 * done) {
            return true;
        }
        power *= 10;
    }
    false
}
