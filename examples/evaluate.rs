//! A study's objective as a service for other programs: `evaluate STUDY.toml [KEY=VALUE ...]`, or `evaluate - KEY=VALUE ...` for a
//! study of sets alone. Prints the search space as a line of JSON; then, for each line of JSON that it reads (a list of candidates, each a map of
//! parameters by name), a line with the candidates' values, `null` for one that failed.

#[path = "shared/study.rs"]
mod shared;

use serde_json::json;
use std::error::Error;
use std::io::{BufRead, Write};
use thousandfold::space::{Points, Value};
use thousandfold::study::resolve::Study;
use thousandfold::study::scorer::Scorer;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: evaluate STUDY.toml|- [KEY=VALUE ...]")?;
    let sets: Vec<String> = arguments.collect();
    let study = Study::resolve(shared::loaded(&file, &sets)?)?;
    let mut scorer = Scorer::open(&study)?;
    let mut out = std::io::stdout().lock();
    let defaults = study.space.named(&study.space.defaults());
    let direction = study.direction();
    writeln!(out, "{}", json!({ "space": study.space.to_toml(), "defaults": defaults, "direction": direction }))?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let candidates: Vec<indexmap::IndexMap<String, Value>> = serde_json::from_str(&line?)?;
        let mut points = Points::new(study.space.parameters.len());
        for candidate in &candidates {
            points.push(&study.space.row(candidate).ok_or("a value outside of the space")?);
        }
        let trials = scorer.score(&points)?;
        let values = |value: f64| Some(value).filter(|value| !value.is_nan());
        let values: Vec<Vec<Option<f64>>> =
            trials.iter().map(|trial| trial.values().into_iter().map(values).collect()).collect();
        writeln!(out, "{}", json!(values))?;
        out.flush()?;
    }
    Ok(())
}
