//! Objectives that a Rust program brings along: what it implements to have them searched. What is evaluated at once is a
//! closure; what is trained in steps says how one begins, what a step is, and what it is worth where it stands.

use super::candidate::Candidate;
use crate::data::metrics::Direction;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What scores candidates, in Rust. [`minimize`], [`maximize`] and [`several`] make one of a closure; whoever trains in steps
/// implements it, so that [schedulers](crate::schedulers) can end candidates on their way.
///
/// Lanes are evaluated side by side on the study's threads. A failure, a panic, and a value that is NaN or infinite are that
/// candidate's alone: the reason is kept, and the others go on. (Panics of a program that is built with `panic = "abort"` end
/// it; what Rust says of a panic on standard error is the program's to change, by its panic hook.)
///
/// ```
/// use thousandfold::backend::StopFlag;
/// use thousandfold::space::SpaceBuilder;
/// use thousandfold::study::events::Observers;
/// use thousandfold::study::objective::{Candidate, CustomObjective, Failure, Training};
/// use thousandfold::study::{Ended, Start, StudyConfig, tune};
///
/// /// Gradient descent on (x - 3)^2, from 0.
/// struct Descent;
///
/// struct Descending {
///     rate: f64,
///     x: f64,
/// }
///
/// impl CustomObjective for Descent {
///     fn budget(&self) -> u64 {
///         27
///     }
///     fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
///         Ok(Box::new(Descending { rate: candidate.get("rate")?, x: 0.0 }))
///     }
/// }
///
/// impl Training for Descending {
///     fn step(&mut self) -> Result<(), Failure> {
///         self.x -= self.rate * 2.0 * (self.x - 3.0);
///         Ok(())
///     }
///     fn score(&self) -> Result<Vec<f64>, Failure> {
///         Ok(vec![(self.x - 3.0).powi(2)])
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let space = SpaceBuilder::new().log("rate", 1e-4, 2.0, 0.01).build();
/// let study = StudyConfig::for_objective("descent", &space, Descent)?;
/// let mut study = study.with_sets(&["search.candidates=40", "search.scheduler=hyperband"])?;
/// # study.config.run.dir = Some(folder.path().join("run"));
/// match tune(study, Start::default(), &mut Observers::default(), &StopFlag::default())? {
///     Ended::Finished(result) => assert!(result.best.value < 0.1),
///     Ended::Interrupted { .. } => unreachable!("nobody raised the flag"),
/// }
/// # Ok(())
/// # }
/// ```
pub trait CustomObjective: Send + Sync {
    /// Which of two values is better, for each value that a candidate has: one, or several whose trade-offs are searched.
    fn directions(&self) -> Vec<Direction> {
        vec![Direction::Minimize]
    }

    /// How many steps a whole training has; 1 of what is evaluated at once. `objective.budget` of the study holds where it is said.
    fn budget(&self) -> u64 {
        1
    }

    /// How often each candidate is evaluated, each time with another [seed](Candidate::seed); the mean is its value.
    /// `objective.repeats` of the study holds where it is said.
    fn repeats(&self) -> u32 {
        1
    }

    /// Which version this is. A run is gone on with by the version that it was begun with alone: change it when values change.
    fn version(&self) -> &str {
        "1"
    }

    /// Begins a candidate's training: no step of it is done. Equal seeds and parameters have to lead to equal values.
    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure>;
}

/// A candidate in training. It stays where it stands while a scheduler decides on it, and goes on from there.
pub trait Training: Send {
    /// Trains one step.
    fn step(&mut self) -> Result<(), Failure>;

    /// Its values where it stands, as many as the objective has directions. How often it is asked for them changes nothing.
    fn score(&self) -> Result<Vec<f64>, Failure>;

    /// Bytes that it holds while it stands. Of those that say so no more than `run.memory` are kept; the others begin anew when they
    /// are to go on, to the same values. Who says 0 is always kept.
    fn bytes(&self) -> u64 {
        0
    }
}

/// Why there is no value. Every error becomes one by `?`, with its sources; anything else by [`Failure::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A reason in words.
    pub fn new(reason: impl fmt::Display) -> Failure {
        Failure(reason.to_string())
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// A failure is no `Error` itself: every error could not become one then.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason += &format!(": {cause}");
            source = cause.source();
        }
        Failure(reason)
    }
}

/// An objective of a closure that gives one value, the less the better.
///
/// ```
/// use thousandfold::study::objective::minimize;
/// let parabola = minimize(|candidate| Ok((candidate.get::<f64>("x")? - 1.0).powi(2)));
/// ```
pub fn minimize(evaluate: impl Fn(&Candidate) -> Result<f64, Failure> + Send + Sync + 'static) -> Evaluation {
    several([Direction::Minimize], move |candidate| Ok(vec![evaluate(candidate)?]))
}

/// An objective of a closure that gives one value, the more the better.
pub fn maximize(evaluate: impl Fn(&Candidate) -> Result<f64, Failure> + Send + Sync + 'static) -> Evaluation {
    several([Direction::Maximize], move |candidate| Ok(vec![evaluate(candidate)?]))
}

/// An objective of a closure that gives several values, whose trade-offs are searched.
pub fn several(
    directions: impl Into<Vec<Direction>>,
    evaluate: impl Fn(&Candidate) -> Result<Vec<f64>, Failure> + Send + Sync + 'static,
) -> Evaluation {
    Evaluation { directions: directions.into(), repeats: 1, version: "1".to_owned(), evaluate: Box::new(evaluate) }
}

/// An objective that evaluates candidates at once, by a closure.
pub struct Evaluation {
    directions: Vec<Direction>,
    repeats: u32,
    version: String,
    evaluate: Box<Evaluate>,
}

/// What an [`Evaluation`] calls.
type Evaluate = dyn Fn(&Candidate) -> Result<Vec<f64>, Failure> + Send + Sync;

impl Evaluation {
    /// The same with so many evaluations of a candidate.
    pub fn repeats(self, repeats: u32) -> Evaluation {
        Evaluation { repeats, ..self }
    }

    /// The same as another version: see [`CustomObjective::version`].
    pub fn version(self, version: impl Into<String>) -> Evaluation {
        Evaluation { version: version.into(), ..self }
    }
}

impl CustomObjective for Evaluation {
    fn directions(&self) -> Vec<Direction> {
        self.directions.clone()
    }

    fn repeats(&self) -> u32 {
        self.repeats
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        Ok(Box::new(AtOnce { evaluate: &*self.evaluate, candidate: candidate.clone() }))
    }
}

/// One step, which is the evaluation.
struct AtOnce<'a> {
    evaluate: &'a Evaluate,
    candidate: Candidate,
}

impl Training for AtOnce<'_> {
    fn step(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn score(&self) -> Result<Vec<f64>, Failure> {
        (self.evaluate)(&self.candidate)
    }
}

impl<T: CustomObjective + ?Sized> CustomObjective for Arc<T> {
    fn directions(&self) -> Vec<Direction> {
        (**self).directions()
    }

    fn budget(&self) -> u64 {
        (**self).budget()
    }

    fn repeats(&self) -> u32 {
        (**self).repeats()
    }

    fn version(&self) -> &str {
        (**self).version()
    }

    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        (**self).begin(candidate)
    }
}
