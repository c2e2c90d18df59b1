//! An objective that a Rust program brings along, as a study has it: `[objective] rust` names it, and the program hands over the
//! code. All that changes a value stands in the study, so that a run is not gone on with by another objective.

use super::custom::CustomObjective;
use super::options::{ObjectiveOptions, check_repeats};
use super::template::is_name;
use super::{Objective, Resolved};
use crate::data::metrics::Direction;
use crate::space::Space;
use crate::study::config::{BackendChoice, LoadedConfig, StudyConfig};
use crate::study::error::{ConfigError, StudyError};
use crate::study::resolve::{at, placed};
use crate::study::source::{About, Source};
use std::fmt;
use std::path::{Component, Path};
use std::sync::Arc;

/// An objective in Rust, ready to be evaluated.
pub struct RustObjective {
    name: String,
    version: String,
    code: Arc<dyn CustomObjective>,
    directions: Vec<Direction>,
    /// Steps of a whole training; `None` of what is evaluated at once.
    steps: Option<u64>,
    repeats: usize,
}

impl RustObjective {
    /// Its name in the study.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which version of it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The program's own.
    pub(in crate::study) fn code(&self) -> &dyn CustomObjective {
        &*self.code
    }

    /// Which of two values is better, for each value that a candidate has.
    pub fn directions(&self) -> &[Direction] {
        &self.directions
    }

    /// Steps of a whole training; `None` of what is evaluated at once.
    pub fn steps(&self) -> Option<u64> {
        self.steps
    }

    /// Evaluations of a candidate.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    pub(super) fn describe(&self) -> String {
        let steps = self.steps.map(|steps| format!(", {steps} steps a training")).unwrap_or_default();
        let repeats = if self.repeats > 1 { format!(", {} repeats a candidate", self.repeats) } else { String::new() };
        format!("the objective {} in Rust, version {}{steps}{repeats}", self.name, self.version)
    }
}

/// The code of an objective in Rust, on its way from the program into the study.
#[derive(Clone)]
pub struct Code(Arc<dyn CustomObjective>);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an objective in Rust")
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// An objective in Rust that cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RustError {
    /// Its code is not here.
    #[error(
        "the objective \"{name}\" of this study is written in Rust, and this program does not have it\n  To go on with its run, run the Rust program that began it once more, with the same run directory and Existing::Resume"
    )]
    Elsewhere {
        /// Its name.
        name: String,
    },
    /// A name that no run can be called by.
    #[error(
        "an objective cannot be called \"{name}\": its run is kept in runs/NAME\n  Give it a name that a folder can have: one without slashes, and not \".\" or \"..\""
    )]
    Name {
        /// As it was given.
        name: String,
    },
    /// Nothing to search.
    #[error(
        "an objective has no search space of its own, and the space that it was given has no parameter\n  Say what it searches: SpaceBuilder::new().log(\"rate\", 1e-4, 1e-1, 1e-3).build()"
    )]
    NoSpace,
    /// A parameter that cannot be called so.
    #[error(
        "no parameter can be called \"{name}\"\n  Names have letters, digits and _, begin with no digit, and are not \"constraints\""
    )]
    ParameterName {
        /// As it was given.
        name: String,
    },
    /// Two parameters of one name.
    #[error("the space has two parameters that are called \"{name}\"\n  Give each a name of its own")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// No value at all.
    #[error(
        "the objective has no direction, and so no value\n  Say for each value whether less of it is better: vec![Direction::Minimize]"
    )]
    NoDirection,
    /// The study says otherwise.
    #[error(
        "objective.directions of the study are not those of the objective\n  Leave them out: the objective itself says which of two values is better"
    )]
    Directions,
    /// The study is of another one.
    #[error(
        "the study is of version {said} of the objective, and this program has version {version}\n  Go on with the version that began the run, or begin anew: Existing::Fresh, or another run directory"
    )]
    Version {
        /// What the study says.
        said: String,
        /// What the objective says.
        version: String,
    },
    /// No step at all.
    #[error(
        "the objective has a budget of 0\n  Say how many steps a whole training has: 1 of what is evaluated at once"
    )]
    NoBudget,
    /// Steps of what has none.
    #[error(
        "objective.budget is {budget}, and the objective is evaluated at once\n  Leave it out, or implement CustomObjective with a budget: docs/rust.md"
    )]
    AtOnce {
        /// What the study says.
        budget: u64,
    },
}

impl StudyConfig {
    /// A study of an objective in Rust and its space; every other key has its default. Its run is kept in `runs/NAME` where
    /// `config.run.dir` says nothing else.
    pub fn for_objective(
        name: &str,
        space: &Space,
        objective: impl CustomObjective + 'static,
    ) -> Result<LoadedConfig, StudyError> {
        if !is_folder_name(name) {
            return Err(RustError::Name { name: name.to_owned() }.into());
        }
        // As a section of a study names are keys: what could not stand there as one key is said here.
        let names: Vec<&str> = space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        if let Some(name) = names.iter().find(|name| !is_name(name) || **name == "constraints") {
            return Err(RustError::ParameterName { name: (*name).to_owned() }.into());
        }
        let is_twice = |(place, name): &(usize, &&str)| names[..*place].contains(*name);
        if let Some((_, name)) = names.iter().enumerate().find(is_twice) {
            return Err(RustError::NameTwice { name: (*name).to_owned() }.into());
        }
        let set = format!("objective.rust={}", toml::Value::String(name.to_owned()));
        let loaded = StudyConfig::of_sets(name, &[set])?;
        let config = StudyConfig { space: space.to_toml(), ..loaded.config };
        Ok(LoadedConfig { config, source: Source::default(), ..loaded }.with_objective(objective))
    }
}

impl LoadedConfig {
    /// The study with the code of its objective: of a file that says `[objective] rust = "NAME"`, or of a run that goes on.
    pub fn with_objective(mut self, objective: impl CustomObjective + 'static) -> LoadedConfig {
        let name = self.name.clone();
        self.config.objective.get_or_insert_default().rust.get_or_insert(name);
        LoadedConfig { code: Some(Code(Arc::new(objective))), ..self }
    }
}

/// Whether a run's directory of this name lies in `runs/` itself, on any system.
fn is_folder_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_whole = matches!(components.next(), Some(Component::Normal(one)) if one == name);
    is_whole && components.next().is_none() && !name.contains(['/', '\\'])
}

pub(super) fn resolve(config: &mut StudyConfig, source: &Source, code: Option<Code>) -> Result<Resolved, StudyError> {
    let Some((options, name)) = config.objective.clone().and_then(|options| Some((options.clone(), options.rust?)))
    else {
        return Err(ConfigError::NoObjective.into());
    };
    let Some(Code(code)) = code else {
        return Err(at(source, "objective.rust", RustError::Elsewhere { name }.into()));
    };
    check_keys(config, &options).map_err(|error| match error {
        ConfigError::OtherObjective { key, .. } | ConfigError::OutOfRange { key, .. } => at(source, key, error.into()),
        ConfigError::TwoObjectives { section, .. } => placed(source.find(section, About::Name), error.into()),
        error => error.into(),
    })?;
    let (directions, version) = (code.directions(), code.version().to_owned());
    let wrong = |key, error: RustError| Err(at(source, key, error.into()));
    match options.directions {
        _ if directions.is_empty() => return wrong("objective.rust", RustError::NoDirection),
        Some(said) if said != directions => return wrong("objective.directions", RustError::Directions),
        _ => {}
    }
    if let Some(said) = options.version.filter(|said| *said != version) {
        return wrong("objective.version", RustError::Version { said, version });
    }
    let steps = match (code.budget(), options.budget) {
        (0, _) => return wrong("objective.rust", RustError::NoBudget),
        (1, Some(budget)) if budget > 1 => return wrong("objective.budget", RustError::AtOnce { budget }),
        (1, _) => None,
        (budget, said) => Some(said.unwrap_or(budget)),
    };
    let repeats = options.repeats.unwrap_or_else(|| code.repeats());
    check_repeats(repeats).map_err(|error| at(source, "objective.repeats", error.into()))?;
    if config.space.keys().all(|name| name == "constraints") {
        return wrong("objective.rust", RustError::NoSpace);
    }
    let space = Space::of_table(&config.space).map_err(|error| {
        let place = error.key().and_then(|(key, is_name)| {
            source.find(&format!("space.{key}"), if is_name { About::Name } else { About::Value })
        });
        placed(place, error.into())
    })?;
    if let Some(options) = &mut config.objective {
        (options.version, options.directions) = (Some(version.clone()), Some(directions.clone()));
        (options.budget, options.repeats) = (steps, Some(repeats));
    }
    let objective = RustObjective { name, version, code, directions, steps, repeats: repeats as usize };
    Ok(Resolved { objective: Objective::Rust(objective), space, notes: Vec::new() })
}

/// Whether the study says nothing that an objective in Rust has no use for.
fn check_keys(config: &StudyConfig, options: &ObjectiveOptions) -> Result<(), ConfigError> {
    let does = "evaluates an objective in Rust";
    if let Some(section) = config.section_of_models() {
        return Err(ConfigError::TwoObjectives { section, instead: "evaluates the objective in Rust" });
    }
    let of_functions = options.function.is_some().then_some("objective.function").or_else(|| options.of_functions());
    if let Some(key) = of_functions {
        return Err(ConfigError::OtherObjective { key, of: "functions", does });
    }
    // A budget both may have.
    let others = ObjectiveOptions { budget: None, ..options.clone() };
    let of_commands = options.command.is_some().then_some("objective.command").or_else(|| others.of_commands());
    if let Some(key) = of_commands {
        return Err(ConfigError::OtherObjective { key, of: "commands", does });
    }
    let of_shaders = options.wgsl.is_some().then_some("objective.wgsl").or_else(|| options.of_shaders());
    if let Some(key) = of_shaders {
        return Err(ConfigError::OtherObjective { key, of: "shaders", does });
    }
    let out_of_range =
        |key, value: String, need: &'static str| Err(ConfigError::OutOfRange { key, value, need: need.into() });
    if options.budget == Some(0) {
        return out_of_range("objective.budget", "0".to_owned(), "1 or more: how many steps a whole training has");
    }
    let on_a_device = "an objective in Rust decides by itself what it runs on";
    match (&config.run.device, config.run.backend) {
        (Some(device), _) => out_of_range("run.device", device.clone(), on_a_device),
        (None, BackendChoice::Gpu) => out_of_range("run.backend", "gpu".to_owned(), on_a_device),
        (None, BackendChoice::Auto | BackendChoice::Cpu) => Ok(()),
    }
}
