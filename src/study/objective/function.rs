//! An analytic function in place of data and model: what a study says of it.

use super::options::check_repeats;
use super::{Objective, Resolved};
use crate::base::random::{Key, stream};
use crate::functions::{self, Evaluator, Function, FunctionShader, LaneValues, Noise};
use crate::study::config::StudyConfig;
use crate::study::error::{ConfigError, StudyError};
use crate::study::resolve::{at, placed};
use crate::study::source::{About, Source};

/// An analytic function, ready to be evaluated.
pub struct FunctionObjective {
    function: &'static dyn Function,
    dimensions: usize,
    instance: u32,
    repeats: usize,
    noise: Noise,
}

impl FunctionObjective {
    /// Its name in the registry.
    pub fn name(&self) -> &'static str {
        self.function.name()
    }

    /// Parameters.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Which of its instances; `None` where there is one.
    pub fn instance(&self) -> Option<u32> {
        self.function.has_instances().then_some(self.instance)
    }

    /// Values of a candidate.
    pub fn objectives(&self) -> usize {
        self.function.objectives()
    }

    /// Evaluations of a candidate.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Standard deviation of the noise on each value.
    pub fn noise(&self) -> f64 {
        self.noise.deviation
    }

    /// The least value that there is, where it is known.
    pub fn optimum(&self) -> Option<f64> {
        self.function.optimum(self.dimensions, self.instance)
    }

    /// The function, opened.
    pub fn evaluator(&self) -> Evaluator {
        Evaluator::new(self.function, self.dimensions, self.instance, self.noise)
    }

    /// The values of sixteen points at a time, where the function has that form and a candidate's value is the function's.
    pub fn lanes(&self) -> Option<LaneValues> {
        self.function.lanes().filter(|_| self.noise.deviation == 0.0 && self.repeats == 1)
    }

    /// What an instance adds to every value: its optimum, where instances differ, else 0. It is what the shader's
    /// [`FunctionShader::offset`] is, without a shader made.
    pub fn offset(&self) -> f64 {
        self.instance().and_then(|_| self.optimum()).unwrap_or(0.0)
    }

    /// Whether a GPU can evaluate it.
    pub fn has_shader(&self) -> bool {
        // Asked of the least size: a large one's rotations take seconds.
        self.function.shader(*self.function.dimensions().start(), self.instance).is_some()
    }

    /// The function for a GPU, with the noise to add to its values there.
    pub fn shader(&self) -> Option<(FunctionShader, Noise)> {
        Some((self.function.shader(self.dimensions, self.instance)?, self.noise))
    }

    pub(super) fn describe(&self) -> String {
        let instance = self.instance().map(|instance| format!(", instance {instance}")).unwrap_or_default();
        let noise = match self.noise.deviation {
            0.0 => String::new(),
            deviation => format!(", noise of {deviation} on each of {} evaluations", self.repeats),
        };
        let least = self.optimum().map(|optimum| format!(", {optimum} at its least")).unwrap_or_default();
        format!("the function {} of {} parameters{instance}{least}{noise}", self.name(), self.dimensions)
    }
}

pub(super) fn resolve(config: &mut StudyConfig, source: &Source, key: Key) -> Result<Resolved, StudyError> {
    if let Some(section) = config.section_of_models() {
        let error = ConfigError::TwoObjectives { section, instead: "searches the function" };
        return Err(placed(source.find(section, About::Name), error.into()));
    }
    let Some(options) = &mut config.objective else { return Err(ConfigError::NoObjective.into()) };
    let name = options.function.clone().unwrap_or_default();
    let function = functions::find(&name).map_err(|error| at(source, "objective.function", error.into()))?;
    if let Some(key) = options.of_commands() {
        let error = ConfigError::OtherObjective { key, of: "commands", does: "searches a function" };
        return Err(at(source, key, error.into()));
    }
    if let Some((key, of)) = options.of_others() {
        let error = ConfigError::OtherObjective { key, of, does: "searches a function" };
        return Err(at(source, key, error.into()));
    }
    let (instance, noise, repeats) =
        (options.instance.unwrap_or(1), options.noise.unwrap_or(0.0), options.repeats.unwrap_or(1));
    let out_of_range = |key, value: String, need: String| {
        at(source, key, ConfigError::OutOfRange { key, value, need: need.into() }.into())
    };
    let allowed = function.dimensions();
    let dimensions = options.dimensions.unwrap_or_else(|| function.default_dimensions());
    if !allowed.contains(&dimensions) {
        let (least, most) = (*allowed.start(), *allowed.end());
        let need = match least == most {
            true => format!("{} has {least}", function.name()),
            false => format!("{} has {least} to {most}", function.name()),
        };
        return Err(out_of_range("objective.dimensions", dimensions.to_string(), need));
    }
    if !(noise >= 0.0 && noise.is_finite()) {
        return Err(out_of_range("objective.noise", noise.to_string(), "0 or more".to_owned()));
    }
    check_repeats(repeats).map_err(|error| at(source, "objective.repeats", error.into()))?;
    options.dimensions = Some(dimensions);
    (options.instance, options.noise, options.repeats) = (Some(instance), Some(noise), Some(repeats));
    let space = function.space(dimensions);
    let space = space.with_overrides(&config.space).map_err(|error| {
        let place = error.key().and_then(|(key, is_name)| {
            source.find(&format!("space.{key}"), if is_name { About::Name } else { About::Value })
        });
        placed(place, error.into())
    })?;
    let notes = (repeats > 1 && noise == 0.0)
        .then(|| format!("without noise all {repeats} evaluations of a candidate are the same"));
    let objective = Objective::Function(FunctionObjective {
        function,
        dimensions,
        instance,
        repeats: repeats as usize,
        noise: Noise { deviation: noise, key: key.child(stream::NOISE) },
    });
    Ok(Resolved { objective, space, notes: notes.into_iter().collect() })
}
