//! Fits any model on prepared folds and says what it took and how good it is, as one line of JSON for the scripts in
//! benches/: `fit_lanes MODEL FOLDS.bin POINTS THREADS [--metric NAME] [--budget N] [--weights] [--device NAME]`.
//!
//! FOLDS.bin is described in shared/folds.rs. POINTS is a JSON file with a list of objects of hyperparameters; what one
//! does not name has the model's default, and what the model holds is taken as it is named. A number instead is that many
//! candidates of the model's space, as random search draws them. Every point is trained on every fold, by the
//! processor, or by the GPU whose name has NAME in it ("any": the first that is no software).

#[path = "shared/folds.rs"]
mod folds;

use indexmap::IndexMap;
use serde_json::json;
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::gpu::{Gpu, GpuOptions};
use thousandfold::backend::{Lane, LaneReport, LaneStatus, StopFlag, Weights};
use thousandfold::base::random::Key;
use thousandfold::data::metrics::Direction;
use thousandfold::data::{Problem, metrics};
use thousandfold::models;
use thousandfold::space::{Points, Space, Value};
use thousandfold::strategies::{self, Ask, StrategyOptions};

const USAGE: &str =
    "usage: fit_lanes MODEL FOLDS.bin POINTS THREADS [--metric NAME] [--budget N] [--weights] [--device NAME]";

type Named = IndexMap<String, Value>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let model = models::find(&next()?)?;
    let folds = std::fs::read(next()?)?;
    let candidates = next()?;
    let threads = next()?.parse()?;
    let (mut metric, mut budget, mut with_weights, mut device) = (None, model.budget().default, false, None);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match flag.as_str() {
            "--metric" => metric = Some(metrics::find(&value()?)?),
            "--budget" => budget = value()?.parse()?,
            "--weights" => with_weights = true,
            "--device" => device = Some(value()?),
            _ => return Err(USAGE.into()),
        }
    }
    let problem = folds::read(&folds, budget).ok_or("FOLDS.bin ends early")?;
    let metric = metric.unwrap_or(problem.metric);
    let problem = Arc::new(Problem { metric, ..(*problem).clone() });
    let space = model.space(folds::shape(&problem));
    let (space, points) = match candidates.parse() {
        Ok(count) => draw(space, count)?,
        Err(_) => read(space, &candidates)?,
    };
    let folds = problem.folds.len();
    let lanes: Vec<Lane> =
        (0..points.len()).flat_map(|point| (0..folds).map(move |fold| Lane { point, fold })).collect();

    let only = |name: &str| (name != "any").then(|| name.to_owned());
    let gpu = device.map(|name| Gpu::open(&GpuOptions { device: only(&name), ..GpuOptions::default() })).transpose()?;
    let start = Instant::now();
    let mut trainer = match &gpu {
        Some(gpu) => model.open_gpu(&space, problem.clone(), gpu)?,
        None => model.open_cpu(&space, problem.clone(), &CpuOptions { threads, ..CpuOptions::default() })?,
    };
    let slots = trainer.start(&points, &lanes)?;
    let mut reports: Vec<Option<LaneReport>> = vec![None; lanes.len()];
    trainer.advance(&slots, budget, with_weights, &StopFlag::default(), &mut |lane| {
        if let Some(place) = slots.binary_search(&lane.slot).ok().and_then(|place| reports.get_mut(place)) {
            *place = Some(lane);
        }
        ControlFlow::Continue(())
    })?;
    let seconds = start.elapsed().as_secs_f64();

    let reports: Vec<LaneReport> = reports.into_iter().flatten().collect();
    let scores: Vec<f64> = reports.iter().flat_map(|report| report.evals.clone()).collect();
    let used = reports.iter().map(|report| report.used as f64).sum::<f64>() / reports.len().max(1) as f64;
    let is_capped = |report: &&LaneReport| report.status == LaneStatus::IterationLimit;
    let mut result = json!({
        "seconds": seconds,
        "device": gpu.as_ref().map(Gpu::name),
        "is_software": gpu.as_ref().is_some_and(|gpu| gpu.adapter().is_software),
        "scores": scores.chunks(folds).collect::<Vec<_>>(),
        "train": reports.iter().map(|report| report.train).collect::<Vec<_>>().chunks(folds).collect::<Vec<_>>(),
        "mean_used": used,
        "capped": reports.iter().filter(is_capped).count(),
        "not_finite": reports.iter().filter(|report| report.status == LaneStatus::NotFinite).count(),
    });
    if with_weights {
        let weights = slots.iter().map(|slot| Ok(arrays(&trainer.read_back(*slot)?)));
        result["weights"] = weights.collect::<Result<Vec<_>, Box<dyn Error>>>()?.into();
    }
    println!("{result}");
    Ok(())
}

/// So many candidates of a space.
fn draw(space: Space, count: usize) -> Result<(Space, Points), Box<dyn Error>> {
    let options = StrategyOptions::new(Key::from_seed(0), Direction::Minimize, count as u64);
    match strategies::find("random")?.open(Arc::new(space.clone()), &options).ask(0, count) {
        Ask::Proposals(points) => Ok((space, points)),
        Ask::Wait | Ask::Done => Err("no candidates".into()),
    }
}

/// The candidates that a file names, and a space that holds them.
fn read(space: Space, file: &str) -> Result<(Space, Points), Box<dyn Error>> {
    let named: Vec<Named> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let space = holding(space, &named)?;
    let mut points = Points::new(space.parameters.len());
    for named in &named {
        points.push(&space.row(named).ok_or_else(|| format!("the model has no candidate {named:?}"))?);
    }
    Ok((space, points))
}

/// A space that can hold every value that is named: as it is where it can, else made of these values alone.
fn holding(space: Space, named: &[Named]) -> Result<Space, Box<dyn Error>> {
    let mut overrides = toml::Table::new();
    for parameter in &space.parameters {
        let mut values: Vec<&Value> = Vec::new();
        for value in named.iter().filter_map(|named| named.get(&parameter.name)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.iter().any(|value| parameter.encode(value).is_none()) {
            let values = values.into_iter().map(toml::Value::try_from).collect::<Result<Vec<_>, _>>()?;
            let is_one = values.len() == 1;
            let first = values.first().cloned().filter(|_| is_one);
            overrides.insert(parameter.name.clone(), first.unwrap_or(toml::Value::Array(values)));
        }
    }
    Ok(space.with_overrides(&overrides)?)
}

/// A lane's weights by name.
fn arrays(weights: &Weights) -> serde_json::Value {
    let floats = weights.arrays.iter().map(|array| (array.name.clone(), json!(array.values)));
    let integers = weights.integers.iter().map(|array| (array.name.clone(), json!(array.values)));
    floats.chain(integers).collect::<serde_json::Map<_, _>>().into()
}
