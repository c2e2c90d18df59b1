//! How a model writes its default space: one call a parameter, conditions after the parameter that has them.

use super::{Condition, Domain, Limits, Parameter, Scale, Space, Value};

/// Builds a [`Space`] in code. Ranges and defaults are the programmer's; [`SpaceBuilder::build`] panics on one that makes
/// no sense, which the contract tests of the registry would show.
#[derive(Debug, Default)]
pub struct SpaceBuilder {
    parameters: Vec<Parameter>,
}

impl SpaceBuilder {
    /// No parameter yet.
    pub fn new() -> SpaceBuilder {
        SpaceBuilder::default()
    }

    fn push(mut self, name: &str, domain: Domain, default: f64) -> SpaceBuilder {
        // Until `limits` says more, a model can work with what it searches by default.
        let limits = Limits::of(&domain);
        self.parameters.push(Parameter { name: name.to_owned(), domain, default, limits, conditions: Vec::new() });
        self
    }

    fn last(&mut self) -> &mut Parameter {
        self.parameters.last_mut().unwrap_or_else(|| panic!("a parameter comes first"))
    }

    /// The parameter before can be any real number between these if a study asks for it.
    pub fn within(mut self, low: f64, high: f64) -> SpaceBuilder {
        self.last().limits = Limits::Real(low, high);
        self
    }

    /// The parameter before can be any whole number between these if a study asks for it.
    pub fn within_whole(mut self, low: i64, high: i64) -> SpaceBuilder {
        self.last().limits = Limits::Whole(low as f64, high as f64);
        self
    }

    /// The parameter before is not searched unless a study opens it.
    pub fn held(mut self) -> SpaceBuilder {
        let parameter = self.last();
        if let Some(value) = parameter.value(parameter.default) {
            parameter.default = value.number().unwrap_or(0.0);
            parameter.domain = Domain::Fixed(value);
        }
        self
    }

    fn push_float(self, name: &str, low: f64, high: f64, scale: Scale, default: f64) -> SpaceBuilder {
        assert!(low < high && low <= default && default <= high, "{name}: {low} <= {default} <= {high}");
        self.push(name, Domain::Float { low, high, scale, step: None }, default)
    }

    fn push_int(self, name: &str, low: i64, high: i64, scale: Scale, default: i64) -> SpaceBuilder {
        assert!(low < high && low <= default && default <= high, "{name}: {low} <= {default} <= {high}");
        self.push(name, Domain::Int { low, high, scale, step: 1 }, default as f64)
    }

    /// A real number on a linear scale.
    pub fn float(self, name: &str, low: f64, high: f64, default: f64) -> SpaceBuilder {
        self.push_float(name, low, high, Scale::Linear, default)
    }

    /// A positive real number on a logarithmic scale.
    pub fn log(self, name: &str, low: f64, high: f64, default: f64) -> SpaceBuilder {
        self.push_float(name, low, high, Scale::Log, default)
    }

    /// A share in (0, 1) on the scale of log odds.
    pub fn logit(self, name: &str, low: f64, high: f64, default: f64) -> SpaceBuilder {
        self.push_float(name, low, high, Scale::Logit, default)
    }

    /// A whole number on a linear scale.
    pub fn int(self, name: &str, low: i64, high: i64, default: i64) -> SpaceBuilder {
        self.push_int(name, low, high, Scale::Linear, default)
    }

    /// A positive whole number on a logarithmic scale.
    pub fn log_int(self, name: &str, low: i64, high: i64, default: i64) -> SpaceBuilder {
        self.push_int(name, low, high, Scale::Log, default)
    }

    /// Whole numbers with an order but no arithmetic.
    pub fn ordinal(self, name: &str, values: &[i64], default: i64) -> SpaceBuilder {
        let index = values.iter().position(|value| *value == default);
        let index = index.unwrap_or_else(|| panic!("{name}: the default {default} is not a value"));
        self.push(name, Domain::Ordinal(values.iter().map(|value| Value::Int(*value)).collect()), index as f64)
    }

    /// Choices without an order.
    pub fn categorical(self, name: &str, choices: &[&str], default: &str) -> SpaceBuilder {
        let index = choices.iter().position(|choice| *choice == default);
        let index = index.unwrap_or_else(|| panic!("{name}: the default {default} is not a choice"));
        let choices = choices.iter().map(|choice| Value::Text((*choice).to_owned())).collect();
        self.push(name, Domain::Categorical(choices), index as f64)
    }

    /// false or true
    pub fn boolean(self, name: &str, default: bool) -> SpaceBuilder {
        self.push(name, Domain::Bool, f64::from(u8::from(default)))
    }

    /// `child` exists only where the earlier categorical parameter `parent` has one of `choices`.
    pub fn when(mut self, child: &str, parent: &str, choices: &[&str]) -> SpaceBuilder {
        let place = |name: &str| {
            let place = self.parameters.iter().position(|parameter| parameter.name == name);
            place.unwrap_or_else(|| panic!("{name} is not a parameter yet"))
        };
        let (child, parent) = (place(child), place(parent));
        assert!(parent < child, "parents stand before their children");
        let names: Vec<Value> = choices.iter().map(|choice| Value::Text((*choice).to_owned())).collect();
        // A parent that is held may never have the value: then the child does not exist.
        let values = names.iter().filter_map(|value| self.parameters[parent].encode(value)).collect();
        self.parameters[child].conditions.push(Condition { parent, values, names });
        self
    }

    /// The space.
    pub fn build(self) -> Space {
        Space { parameters: self.parameters, constraints: Vec::new() }
    }
}
