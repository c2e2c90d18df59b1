//! Tunes a training loop of its own: a small perceptron in plain Rust that learns to tell two moons apart, trained in steps, so that
//! hyperband ends most candidates after a few of them. `cargo run --release --example rust_objective`; with `--resume` it goes on
//! where it was stopped.
//!
//! To tune something else: change `space`, what `begin` reads of a candidate, what a `step` is, and what `score` gives.

use std::error::Error;
use std::io::{IsTerminal, stderr};
use thousandfold::backend::StopFlag;
use thousandfold::base::random::{Key, normal, uniform};
use thousandfold::monitor::progress::ProgressView;
use thousandfold::monitor::summary::summary;
use thousandfold::space::{Space, SpaceBuilder};
use thousandfold::study::events::Observers;
use thousandfold::study::objective::{Candidate, CustomObjective, Failure, Training};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{Ended, Start, StudyConfig, tune};

/// Points in the plane, and whether each is of the upper moon.
type Points = Vec<([f32; 2], bool)>;

/// What is tuned.
fn space() -> Space {
    SpaceBuilder::new()
        .log("learning_rate", 1e-3, 1.0, 0.05)
        .log_int("hidden", 2, 32, 8)
        .categorical("optimizer", &["plain", "momentum"], "plain")
        .float("momentum", 0.5, 0.99, 0.9)
        .when("momentum", "optimizer", &["momentum"])
        .build()
}

/// The data, which all candidates share.
struct Moons {
    training: Points,
    validation: Points,
}

impl CustomObjective for Moons {
    /// Passes over the training points.
    fn budget(&self) -> u64 {
        81
    }

    /// Each candidate is trained twice, from other weights.
    fn repeats(&self) -> u32 {
        2
    }

    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        let hidden: usize = candidate.get("hidden")?;
        // The same weights for all candidates of a repeat: differences between them are not luck.
        let weights = (0..4 * hidden as u64 + 1).map(|place| normal(Key::from_seed(candidate.seed()).words(place)[0]));
        let weights: Vec<f32> = weights.collect();
        Ok(Box::new(Perceptron {
            moons: self,
            learning_rate: candidate.get("learning_rate")?,
            // Under another optimizer the parameter does not exist.
            momentum: candidate.get::<Option<f32>>("momentum")?.unwrap_or(0.0),
            velocity: vec![0.0; weights.len()],
            weights,
        }))
    }
}

/// One hidden layer of tanh units: for each two weights, a bias and what it says; at the end the output's bias.
struct Perceptron<'a> {
    moons: &'a Moons,
    learning_rate: f32,
    momentum: f32,
    weights: Vec<f32>,
    velocity: Vec<f32>,
}

impl Perceptron<'_> {
    /// How likely a point is of the upper moon.
    fn probability(&self, point: [f32; 2]) -> f32 {
        let (units, bias) = self.weights.split_at(self.weights.len() - 1);
        let sum: f32 = units.chunks_exact(4).map(|unit| unit[3] * activation(unit, point)).sum();
        1.0 / (1.0 + (-sum - bias[0]).exp())
    }
}

fn activation(unit: &[f32], [x, y]: [f32; 2]) -> f32 {
    (unit[0] * x + unit[1] * y + unit[2]).tanh()
}

impl Training for Perceptron<'_> {
    /// One pass over the training points, a point at a time.
    fn step(&mut self) -> Result<(), Failure> {
        for &(point, is_upper) in &self.moons.training {
            let error = self.probability(point) - f32::from(u8::from(is_upper));
            let mut gradient = vec![error; self.weights.len()];
            for (slope, unit) in gradient.chunks_exact_mut(4).zip(self.weights.chunks_exact(4)) {
                let value = activation(unit, point);
                let inner = error * unit[3] * (1.0 - value * value);
                slope.copy_from_slice(&[inner * point[0], inner * point[1], inner, error * value]);
            }
            for ((weight, velocity), slope) in self.weights.iter_mut().zip(&mut self.velocity).zip(&gradient) {
                *velocity = self.momentum * *velocity - self.learning_rate * slope;
                *weight += *velocity;
            }
        }
        Ok(())
    }

    /// The log loss on the validation points. One that has become NaN is a failed trial, and no other's concern.
    fn score(&self) -> Result<Vec<f64>, Failure> {
        let loss = |&(point, is_upper): &([f32; 2], bool)| {
            let upper = f64::from(self.probability(point)).clamp(1e-7, 1.0 - 1e-7);
            -(if is_upper { upper } else { 1.0 - upper }).ln()
        };
        let points = &self.moons.validation;
        Ok(vec![points.iter().map(loss).sum::<f64>() / points.len() as f64])
    }
}

/// Two half circles that reach into each other, with noise.
fn moons(seed: u64, count: u64) -> Points {
    let key = Key::from_seed(seed);
    let point = |number: u64| {
        let is_upper = number.is_multiple_of(2);
        let angle = std::f32::consts::PI * uniform(key.words(2 * number)[0]);
        let noise = key.words(2 * number + 1).map(|word| 0.2 * normal(word));
        let (x, y) = if is_upper { (angle.cos(), angle.sin()) } else { (1.0 - angle.cos(), 0.5 - angle.sin()) };
        ([x + noise[0], y + noise[1]], is_upper)
    };
    (0..count).map(point).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let objective = Moons { training: moons(1, 200), validation: moons(2, 500) };
    let study = StudyConfig::for_objective("moons", &space(), objective)?;
    let study = study.with_sets(&["search.candidates=150", "search.scheduler=hyperband", "search.seed=1"])?;
    let resume = std::env::args().any(|argument| argument == "--resume");
    let start = Start { existing: if resume { Existing::Resume } else { Existing::Fresh }, ..Start::default() };
    let mut observers = Observers::default();
    observers.push(match stderr().is_terminal() {
        true => Box::new(ProgressView::terminal(true)),
        false => Box::new(ProgressView::lines(Box::new(stderr()))),
    });
    match tune(study, start, &mut observers, &StopFlag::default())? {
        Ended::Finished(result) => anstream::print!("{}", summary(&result, 100)),
        Ended::Interrupted { dir, .. } => println!("stopped; what is done is in {}", dir.display()),
    }
    Ok(())
}
