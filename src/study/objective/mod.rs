//! What candidates are scored by: models that are trained on data, an analytic function, a program, a user's shader, or Rust code. All
//! that the loop needs to know of them is here.

mod bounds;
mod candidate;
mod command;
mod custom;
mod function;
mod models;
mod options;
mod rust;
mod shell;
pub(super) mod template;
mod wgsl;

pub use bounds::Bounds;
pub use candidate::{Candidate, FromValue};
pub use command::CommandObjective;
pub use custom::{CustomObjective, Evaluation, Failure, Training, maximize, minimize, several};
pub use function::FunctionObjective;
pub use models::Models;
pub use options::ObjectiveOptions;
pub use rust::{Code, RustError, RustObjective};
pub use template::CommandLine;
pub use wgsl::{WgslError, WgslObjective};

use super::config::StudyConfig;
use super::criteria::{self, Criterion};
use super::error::{ConfigError, StudyError};
use super::history::{Trial, TrialStatus};
use super::parts::Parts;
use super::resolve::placed;
use super::source::{About, Source};
use crate::base::random::Key;
use crate::data::describe::columns_by_kind;
use crate::data::metrics::Direction;
use crate::space::Space;

/// What scores candidates.
pub enum Objective {
    /// Models on data.
    Models(Box<Models>),
    /// An analytic function.
    Function(FunctionObjective),
    /// A program.
    Command(Box<CommandObjective>),
    /// A user's shader.
    Wgsl(Box<WgslObjective>),
    /// Rust code.
    Rust(RustObjective),
}

/// An objective with what it makes of the study's space.
pub(super) struct Resolved {
    pub(super) objective: Objective,
    pub(super) space: Space,
    /// What the user should know of it.
    pub(super) notes: Vec<String>,
}

impl Objective {
    /// Looks up what the study names, and fills in what it leaves open. `code` is that of an objective in Rust, if there is one.
    pub(super) fn resolve(
        config: &mut StudyConfig,
        source: &Source,
        key: Key,
        code: Option<Code>,
    ) -> Result<Resolved, StudyError> {
        let Some(options) = &config.objective else { return models::resolve(config, source, key) };
        if options.rust.is_some() {
            return rust::resolve(config, source, code);
        }
        let both = |key, of, does| {
            let both = ConfigError::OtherObjective { key, of, does };
            Err(placed(source.find(key, About::Name), both.into()))
        };
        match (&options.function, &options.command, &options.wgsl) {
            (Some(_), None, None) => function::resolve(config, source, key),
            (None, Some(_), None) => command::resolve(config, source),
            (None, None, Some(_)) => wgsl::resolve(config, source, key),
            (Some(_), Some(_), _) => both("objective.function", "functions", "runs a command"),
            (Some(_), None, Some(_)) => both("objective.function", "functions", "evaluates a shader"),
            (None, Some(_), Some(_)) => both("objective.command", "commands", "evaluates a shader"),
            (None, None, None) => Err(placed(source.find("objective", About::Name), ConfigError::NoObjective.into())),
        }
    }

    /// The models, where they are what is searched.
    pub fn models(&self) -> Result<&Models, ConfigError> {
        match self {
            Objective::Models(models) => Ok(models),
            Objective::Function(function) => {
                Err(ConfigError::NoModel { instead: format!("searches the function {}", function.name()) })
            }
            Objective::Command(command) => {
                Err(ConfigError::NoModel { instead: format!("runs the command {}", command.name()) })
            }
            Objective::Wgsl(wgsl) => {
                Err(ConfigError::NoModel { instead: format!("evaluates the shader {}", wgsl.name()) })
            }
            Objective::Rust(rust) => {
                Err(ConfigError::NoModel { instead: format!("evaluates the objective {} in Rust", rust.name()) })
            }
        }
    }

    /// The models' names, the function's, the command's, or the shader's.
    pub fn name(&self) -> String {
        match self {
            Objective::Models(models) => models.pipelines.models().join(", "),
            Objective::Function(function) => function.name().to_owned(),
            Objective::Command(command) => command.name(),
            Objective::Wgsl(wgsl) => wgsl.name(),
            Objective::Rust(rust) => rust.name().to_owned(),
        }
    }

    /// What a value is called.
    pub fn metric(&self) -> &'static str {
        match self {
            Objective::Models(models) => models.metric.name(),
            _ => "value",
        }
    }

    /// Which of two values is better, for each value that a candidate has.
    pub fn directions(&self) -> Vec<Direction> {
        match self {
            // Whatever else is asked for is better the less there is of it.
            Objective::Models(models) => {
                let direction = |criterion: &Criterion| match criterion {
                    Criterion::Score => models.metric.direction(),
                    Criterion::Seconds | Criterion::Size | Criterion::Prediction => Direction::Minimize,
                };
                models.objectives.iter().map(direction).collect()
            }
            Objective::Function(function) => vec![Direction::Minimize; function.objectives()],
            Objective::Command(command) => command.directions().to_vec(),
            Objective::Wgsl(wgsl) => wgsl.directions().to_vec(),
            Objective::Rust(rust) => rust.directions().to_vec(),
        }
    }

    /// The names of all values, the first one's first: of those that are searched for, then of a command's that have a limit alone.
    pub fn values(&self) -> Vec<String> {
        match self {
            Objective::Models(models) => {
                let named = |criterion: &Criterion| criterion.to_string();
                std::iter::once(models.metric.name().to_owned())
                    .chain(models.objectives[1..].iter().map(named))
                    .collect()
            }
            Objective::Command(command) => {
                std::iter::once("value".to_owned()).chain(command.others().iter().cloned()).collect()
            }
            _ => {
                let further = (2..=self.directions().len()).map(|number| format!("value {number}"));
                std::iter::once("value".to_owned()).chain(further).collect()
            }
        }
    }

    /// Puts to a trained candidate the values that are not lanes' to report.
    pub fn complete(&self, trial: &mut Trial, row: &[f64]) {
        if let Objective::Models(models) = self {
            let model = models.pipelines.of(row).footprint(row);
            trial.others = models.objectives[1..].iter().map(|one| criteria::value(*one, trial, model)).collect();
        }
    }

    /// By how much a candidate is beyond what the study allows; 0 within.
    pub fn violation(&self, trial: &Trial, row: &[f64]) -> f64 {
        match self {
            Objective::Models(models) if !models.limits.is_empty() => {
                models.limits.violation(trial, models.pipelines.of(row).footprint(row))
            }
            Objective::Command(command) => command.violation(&trial.others),
            _ => 0.0,
        }
    }

    /// The key of the study's limits, if it has any.
    pub fn limits(&self) -> Option<&'static str> {
        match self {
            Objective::Models(models) if !models.limits.is_empty() => Some("search.limits"),
            Objective::Command(command) if command.has_limits() => Some("objective.limits"),
            _ => None,
        }
    }

    /// Lanes of a candidate.
    pub fn lanes(&self) -> usize {
        match self {
            Objective::Models(models) => models.splits.folds.len(),
            Objective::Function(function) => function.repeats(),
            Objective::Command(command) => command.repeats(),
            Objective::Wgsl(wgsl) => wgsl.repeats(),
            Objective::Rust(rust) => rust.repeats(),
        }
    }

    /// Where each lane's scores begin among a candidate's.
    pub fn first_scores(&self) -> Vec<usize> {
        match self {
            Objective::Models(models) => models.first_scores(),
            _ => (0..self.lanes()).collect(),
        }
    }

    /// Scores of a candidate.
    pub fn scores(&self) -> usize {
        match self {
            Objective::Models(models) => models.scores(),
            _ => self.lanes(),
        }
    }

    /// Which scores stand on the same rows.
    pub fn parts(&self) -> Parts {
        match self {
            Objective::Models(models) => Parts::new(&models.splits),
            _ => Parts::one_each(self.lanes()),
        }
    }

    /// A lane's full budget, as the scheduler counts it.
    pub fn budget(&self) -> u64 {
        match self {
            Objective::Models(models) => models.pipelines.budget(),
            Objective::Function(_) | Objective::Wgsl(_) => 1,
            Objective::Command(command) => command.steps().unwrap_or(1),
            Objective::Rust(rust) => rust.steps().unwrap_or(1),
        }
    }

    /// The least budget at which each model has had a unit of its own: of several each has the same share of its own budget.
    pub fn grain(&self) -> u64 {
        match self {
            Objective::Models(models) => models.pipelines.grain(),
            _ => 1,
        }
    }

    /// The least budget after which a candidate may end: each model has had a unit of its own, or rows enough.
    pub fn least_rung(&self) -> u64 {
        match self {
            Objective::Models(models) => models.pipelines.least_rung(),
            _ => 1,
        }
    }

    /// What a user can do where every candidate ended so.
    pub fn remedy(&self, status: TrialStatus) -> &'static str {
        match (self, status) {
            (Objective::Rust(_), TrialStatus::Failed) => {
                "Evaluate the parameters of one candidate by hand; docs/rust.md says what counts as a failure"
            }
            (Objective::Wgsl(_), TrialStatus::Failed) => {
                "Try the shader with values that you know: --set 'space.NAME=0.5'; docs/wgsl.md says when a candidate fails"
            }
            _ => status.remedy(),
        }
    }

    /// Whether a candidate that goes on is trained from its beginning: on more rows, a fit is another one.
    pub fn begins_anew(&self, row: &[f64]) -> bool {
        match self {
            Objective::Models(models) => models.pipelines.of(row).rows.is_some(),
            _ => false,
        }
    }

    /// Operations that a lane of a candidate takes; more than none.
    pub fn work(&self, row: &[f64]) -> f64 {
        match self {
            // A lane takes something even where there is nothing to multiply.
            Objective::Models(models) => models.pipelines.of(row).work(row).flops.max(1.0),
            _ => 1.0,
        }
    }

    /// Which of two equally good candidates is taken, that with less of it: the size of its model, or of anything else
    /// with several objectives the second value, where less of that is better.
    pub fn cost(&self, trial: &Trial, row: &[f64]) -> f64 {
        match self {
            Objective::Models(models) => models.pipelines.of(row).cost(row),
            _ => match self.directions()[..] {
                [_, second, ..] => -second.sign() * trial.others.first().copied().unwrap_or(0.0),
                _ => 0.0,
            },
        }
    }

    /// Of every name and cell of the data, or of a shader and its tables; 0 without any.
    pub fn data_fingerprint(&self) -> u64 {
        match self {
            Objective::Models(models) => models.dataset.fingerprint,
            Objective::Wgsl(wgsl) => wgsl.fingerprint(),
            Objective::Function(_) | Objective::Command(_) | Objective::Rust(_) => 0,
        }
    }

    /// What there is to search on, in a few words.
    pub fn describe(&self) -> String {
        match self {
            Objective::Models(models) => columns_by_kind(&models.dataset),
            Objective::Function(function) => function.describe(),
            Objective::Command(command) => command.describe(),
            Objective::Wgsl(wgsl) => wgsl.describe(),
            Objective::Rust(rust) => rust.describe(),
        }
    }

    /// What the user should know of the data.
    pub fn data_notes(&self) -> Vec<String> {
        match self {
            Objective::Models(models) => models.dataset.notes.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }
}
