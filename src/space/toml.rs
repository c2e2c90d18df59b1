//! The `[space]` section of a study: what it says replaces a parameter of the model's default space, and a resolved
//! space is written so that reading it gives the same one.

use super::constraint::Constraint;
use super::{Condition, Domain, Limits, Parameter, Scale, Space, SpaceError, Value};
use crate::base::registry::nearest;

impl Space {
    /// The space that a study says, where there is none by default.
    pub fn of_table(table: &toml::Table) -> Result<Space, SpaceError> {
        let mut space = Space::default();
        for (name, written) in table.iter().filter(|(name, _)| *name != "constraints") {
            let domain = written_domain(name, written)?;
            let limits = Limits::of(&domain);
            let mut parameter = Parameter { name: name.clone(), domain, default: 0.0, limits, conditions: Vec::new() };
            parameter.default = parameter.nearest_to(None);
            space.parameters.push(parameter);
        }
        space.with_overrides(table)
    }

    /// The model's default space with what a study says of it.
    pub fn with_overrides(mut self, table: &toml::Table) -> Result<Space, SpaceError> {
        let mut conditions: Vec<(String, &toml::Value)> = Vec::new();
        let mut constraints = Vec::new();
        for (name, written) in self.flat(table) {
            if name == "constraints" {
                constraints = constraint_texts(written)?;
                continue;
            }
            let Some(column) = self.index(&name) else { return Err(self.unknown(name)) };
            let parameter = &mut self.parameters[column];
            if let Some(when) = override_parameter(parameter, written)? {
                parameter.conditions.clear();
                conditions.push((name.clone(), when));
            }
        }
        self.renew_conditions();
        for (name, when) in conditions {
            self.add_conditions(&name, when)?;
        }
        self.sort_parents_first()?;
        for text in constraints {
            let constraint = Constraint::parse(&text, &self)?;
            self.constraints.push(constraint);
        }
        Ok(self)
    }

    /// Entries by their dotted names: what a table below a model's name, or below `prepare`, holds is said of that.
    fn flat<'a>(&self, table: &'a toml::Table) -> Vec<(String, &'a toml::Value)> {
        let is_group = |name: &str| {
            let begins = |parameter: &Parameter| parameter.name.split_once('.').is_some_and(|(first, _)| first == name);
            self.index(name).is_none() && self.parameters.iter().any(begins)
        };
        let entries = table.iter().flat_map(|(name, value)| match value.as_table().filter(|_| is_group(name)) {
            Some(inner) => inner.iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect(),
            None => vec![(name.clone(), value)],
        });
        entries.collect()
    }

    fn unknown(&self, name: String) -> SpaceError {
        let known: Vec<String> = self.parameters.iter().map(|parameter| parameter.name.clone()).collect();
        // Of several models' parameters the one that is called so but for its model.
        let of_model = known.iter().find(|known| known.split_once('.').is_some_and(|(_, rest)| rest == name));
        let near = of_model.cloned().or_else(|| nearest(&name, known.iter().map(String::as_str)).map(str::to_owned));
        SpaceError::UnknownParameter { name, near, known }
    }

    /// Conditions of the default space are on indices of choices that may be others now.
    fn renew_conditions(&mut self) {
        for child in 0..self.parameters.len() {
            let mut conditions = std::mem::take(&mut self.parameters[child].conditions);
            for condition in &mut conditions {
                let parent = &self.parameters[condition.parent];
                condition.values = condition.names.iter().filter_map(|value| parent.encode(value)).collect();
            }
            self.parameters[child].conditions = conditions;
        }
    }

    fn add_conditions(&mut self, name: &str, when: &toml::Value) -> Result<(), SpaceError> {
        let Some(table) = when.as_table().filter(|table| !table.is_empty()) else {
            return Err(SpaceError::NotACondition { name: name.to_owned(), found: format!("when = {when}") });
        };
        for (parent_name, values) in self.flat(table) {
            let Some(parent) = self.index(&parent_name) else {
                let known = self.parameters.iter().map(|parameter| parameter.name.clone()).collect();
                return Err(SpaceError::UnknownParent { name: name.to_owned(), parent: parent_name, known });
            };
            let names: Option<Vec<Value>> = match values {
                toml::Value::Array(values) => values.iter().map(scalar).collect(),
                value => scalar(value).map(|value| vec![value]),
            };
            let Some(names) = names.filter(|names| !names.is_empty()) else {
                let found = format!("when = {{ {parent_name} = {values} }}");
                return Err(SpaceError::NotACondition { name: name.to_owned(), found });
            };
            let mut encoded = Vec::new();
            for value in &names {
                let known = &self.parameters[parent];
                match known.encode(value) {
                    Some(code) => encoded.push(code),
                    // Known to the model, but not searched here: the child waits for a study that opens it.
                    None if known.limits.allow(value) => {}
                    None => {
                        return Err(SpaceError::ParentValue {
                            name: name.to_owned(),
                            parent: parent_name,
                            value: value.to_string(),
                            values: known.limits.describe(),
                        });
                    }
                }
            }
            if let Some(child) = self.index(name) {
                self.parameters[child].conditions.push(Condition { parent, values: encoded, names });
            }
        }
        Ok(())
    }

    /// Puts parents before their children, otherwise keeping the order.
    fn sort_parents_first(&mut self) -> Result<(), SpaceError> {
        let count = self.parameters.len();
        let mut order: Vec<usize> = Vec::with_capacity(count);
        while order.len() < count {
            let is_ready = |column: &usize| {
                !order.contains(column)
                    && self.parameters[*column].conditions.iter().all(|condition| order.contains(&condition.parent))
            };
            match (0..count).find(is_ready) {
                Some(column) => order.push(column),
                None => {
                    let names = (0..count)
                        .filter(|column| !order.contains(column))
                        .map(|column| self.parameters[column].name.clone())
                        .collect();
                    return Err(SpaceError::Cycle { names });
                }
            }
        }
        let place_of = |old: usize| order.iter().position(|place| *place == old).unwrap_or(old);
        let mut sorted: Vec<Parameter> = order.iter().map(|column| self.parameters[*column].clone()).collect();
        for condition in sorted.iter_mut().flat_map(|parameter| &mut parameter.conditions) {
            condition.parent = place_of(condition.parent);
        }
        self.parameters = sorted;
        Ok(())
    }

    /// As a `[space]` section that gives this space again.
    pub fn to_toml(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for parameter in &self.parameters {
            let written = self.parameter_to_toml(parameter);
            let grouped = parameter.name.split_once('.').and_then(|(group, name)| {
                let entry = table.entry(group).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                Some((entry.as_table_mut()?, name))
            });
            match grouped {
                Some((group, name)) => group.insert(name.to_owned(), written),
                None => table.insert(parameter.name.clone(), written),
            };
        }
        if !self.constraints.is_empty() {
            let texts = self.constraints.iter().map(|constraint| constraint.text().into()).collect();
            table.insert("constraints".to_owned(), toml::Value::Array(texts));
        }
        table
    }

    fn parameter_to_toml(&self, parameter: &Parameter) -> toml::Value {
        let mut keys = toml::Table::new();
        let float_range = |low: f64, high: f64| toml::Value::Array(vec![low.into(), high.into()]);
        match &parameter.domain {
            Domain::Fixed(value) => return to_toml(value),
            Domain::Float { low, high, scale, step } => {
                let key = match scale {
                    Scale::Linear => "float",
                    Scale::Log => "log",
                    Scale::Logit => "logit",
                };
                keys.insert(key.to_owned(), float_range(*low, *high));
                if let Some(step) = step {
                    keys.insert("step".to_owned(), (*step).into());
                }
            }
            Domain::Int { low, high, scale, step } => {
                keys.insert("int".to_owned(), toml::Value::Array(vec![(*low).into(), (*high).into()]));
                if *scale == Scale::Log {
                    keys.insert("log".to_owned(), true.into());
                }
                if *step != 1 {
                    keys.insert("step".to_owned(), (*step).into());
                }
            }
            Domain::Ordinal(values) => {
                keys.insert("ordinal".to_owned(), toml::Value::Array(values.iter().map(to_toml).collect()));
            }
            Domain::Categorical(values) => {
                keys.insert("categorical".to_owned(), toml::Value::Array(values.iter().map(to_toml).collect()));
            }
            Domain::Bool => {
                keys.insert("categorical".to_owned(), toml::Value::Array(vec![false.into(), true.into()]));
            }
        }
        if let Some(default) = parameter.value(parameter.default) {
            keys.insert("default".to_owned(), to_toml(&default));
        }
        if !parameter.conditions.is_empty() {
            let mut when = toml::Table::new();
            for condition in &parameter.conditions {
                let names = condition.names.iter().map(to_toml).collect();
                when.insert(self.parameters[condition.parent].name.clone(), toml::Value::Array(names));
            }
            keys.insert("when".to_owned(), when.into());
        }
        toml::Value::Table(keys)
    }
}

fn constraint_texts(written: &toml::Value) -> Result<Vec<String>, SpaceError> {
    let texts =
        written.as_array().and_then(|texts| texts.iter().map(|text| text.as_str().map(str::to_owned)).collect());
    texts.ok_or_else(|| SpaceError::NotConstraints { found: written.to_string() })
}

fn scalar(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::Boolean(value) => Some(Value::Bool(*value)),
        toml::Value::Integer(value) => Some(Value::Int(*value)),
        toml::Value::Float(value) if value.is_finite() => Some(Value::Float(*value)),
        toml::Value::String(value) => Some(Value::Text(value.clone())),
        _ => None,
    }
}

fn to_toml(value: &Value) -> toml::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(value) => value.clone().into(),
    }
}

/// Replaces a parameter's domain and default; gives back its condition, if one is written.
fn override_parameter<'a>(
    parameter: &mut Parameter,
    written: &'a toml::Value,
) -> Result<Option<&'a toml::Value>, SpaceError> {
    let old_default = parameter.value(parameter.default);
    parameter.domain = written_domain(&parameter.name, written)?;
    let key = |key| written.as_table().and_then(|keys| keys.get(key));
    let (default, when) = (key("default"), key("when"));
    parameter.check_limits()?;
    let wanted = match default {
        Some(written) => {
            let found = scalar(written).and_then(|value| parameter.encode(&value));
            let error = || SpaceError::Default {
                name: parameter.name.clone(),
                default: written.to_string(),
                values: parameter.describe(),
            };
            Some(found.ok_or_else(error)?)
        }
        None => old_default.as_ref().and_then(|value| parameter.encode(value)),
    };
    parameter.default = wanted.unwrap_or_else(|| parameter.nearest_to(old_default.as_ref()));
    Ok(when)
}

fn written_domain(name: &str, written: &toml::Value) -> Result<Domain, SpaceError> {
    match written {
        toml::Value::Array(values) => choices(name, values, false),
        toml::Value::Table(keys) => {
            check_keys(name, keys)?;
            domain(name, keys, written)
        }
        value => scalar(value).map(Domain::Fixed).ok_or_else(|| not_a_parameter(name, written)),
    }
}

fn not_a_parameter(name: &str, written: &toml::Value) -> SpaceError {
    SpaceError::NotAParameter { name: name.to_owned(), found: written.to_string() }
}

const KEYS: [&str; 9] = ["float", "log", "logit", "int", "ordinal", "categorical", "step", "default", "when"];

fn check_keys(name: &str, keys: &toml::Table) -> Result<(), SpaceError> {
    match keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => {
            let near = nearest(key, KEYS).map(str::to_owned);
            Err(SpaceError::UnknownKey { name: name.to_owned(), key: key.clone(), near })
        }
        None => Ok(()),
    }
}

fn domain(name: &str, keys: &toml::Table, written: &toml::Value) -> Result<Domain, SpaceError> {
    let step = keys.get("step");
    let kinds: Vec<&str> = ["float", "int", "log", "logit", "ordinal", "categorical"]
        .into_iter()
        .filter(|kind| keys.contains_key(*kind))
        .collect();
    let is_log_int = kinds[..] == ["int", "log"] && keys["log"].as_bool().is_some();
    match kinds[..] {
        ["int"] => int_domain(name, keys, Scale::Linear, step, written),
        ["int", "log"] if is_log_int => {
            let scale = if keys["log"].as_bool() == Some(true) { Scale::Log } else { Scale::Linear };
            int_domain(name, keys, scale, step, written)
        }
        [kind @ ("float" | "log" | "logit")] => float_domain(name, keys, kind, step, written),
        [kind @ ("ordinal" | "categorical")] => match keys[kind].as_array() {
            Some(values) => choices(name, values, kind == "ordinal"),
            None => Err(not_a_parameter(name, written)),
        },
        _ => Err(not_a_parameter(name, written)),
    }
}

fn range(name: &str, value: &toml::Value, written: &toml::Value) -> Result<(f64, f64), SpaceError> {
    let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|value| value as f64));
    let pair = value.as_array().and_then(|ends| match &ends[..] {
        [low, high] => Some((number(low)?, number(high)?)),
        _ => None,
    });
    match pair {
        Some((low, high)) if low.is_finite() && high.is_finite() => {
            if low < high {
                Ok((low, high))
            } else {
                Err(SpaceError::LowAboveHigh { name: name.to_owned(), low, high })
            }
        }
        _ => Err(not_a_parameter(name, written)),
    }
}

fn float_domain(
    name: &str,
    keys: &toml::Table,
    kind: &str,
    step: Option<&toml::Value>,
    written: &toml::Value,
) -> Result<Domain, SpaceError> {
    let (low, high) = range(name, &keys[kind], written)?;
    let bad_range = |scale, need| Err(SpaceError::ScaleRange { name: name.to_owned(), scale, low, high, need });
    let scale = match kind {
        "log" if low <= 0.0 => return bad_range("log", "a logarithmic scale begins above 0"),
        "logit" if low <= 0.0 || high >= 1.0 => return bad_range("logit", "shares lie between 0 and 1, both excluded"),
        "log" => Scale::Log,
        "logit" => Scale::Logit,
        _ => Scale::Linear,
    };
    let step = step.map(|step| step.as_float().or(step.as_integer().map(|step| step as f64)).unwrap_or(f64::NAN));
    match step {
        Some(step) if !(step > 0.0 && step <= high - low) || scale != Scale::Linear => {
            Err(SpaceError::Step { name: name.to_owned(), step, low, high })
        }
        Some(step) => {
            check_last(name, low, high, step)?;
            Ok(Domain::Float { low, high, scale, step: Some(step) })
        }
        None => Ok(Domain::Float { low, high, scale, step: None }),
    }
}

/// Both ends of a range are values: what a study writes is what it searches.
fn check_last(name: &str, low: f64, high: f64, step: f64) -> Result<(), SpaceError> {
    if is_step(high, low, step) {
        return Ok(());
    }
    let last = super::codec::multiple(low, step, libm::floor((high - low) / step));
    Err(SpaceError::StepEnd { name: name.to_owned(), step, low, high, last })
}

fn int_domain(
    name: &str,
    keys: &toml::Table,
    scale: Scale,
    step: Option<&toml::Value>,
    written: &toml::Value,
) -> Result<Domain, SpaceError> {
    let (low, high) = range(name, &keys["int"], written)?;
    if low.fract() != 0.0 || high.fract() != 0.0 || low.abs().max(high.abs()) > 9e15 {
        return Err(not_a_parameter(name, written));
    }
    if scale == Scale::Log && low < 1.0 {
        let need = "a logarithmic scale of whole numbers begins at 1";
        return Err(SpaceError::ScaleRange { name: name.to_owned(), scale: "log", low, high, need });
    }
    let step = step.map_or(Some(1), toml::Value::as_integer);
    match step.filter(|step| *step >= 1 && *step as f64 <= high - low && (scale == Scale::Linear || *step == 1)) {
        Some(step) => {
            check_last(name, low, high, step as f64)?;
            Ok(Domain::Int { low: low as i64, high: high as i64, scale, step })
        }
        None => {
            let step = keys.get("step").map_or(f64::NAN, |step| step.as_integer().map_or(f64::NAN, |step| step as f64));
            Err(SpaceError::Step { name: name.to_owned(), step, low, high })
        }
    }
}

fn choices(name: &str, values: &[toml::Value], is_ordered: bool) -> Result<Domain, SpaceError> {
    let problem = |problem: String| SpaceError::Choices { name: name.to_owned(), problem };
    let mut choices: Vec<Value> = Vec::new();
    for value in values {
        let value =
            scalar(value).ok_or_else(|| problem(format!("{value} is not a choice; take numbers, texts or bools")))?;
        if choices.iter().any(|choice| choice.is_same(&value)) {
            return Err(problem(format!("{value} is in its list twice")));
        }
        choices.push(value);
    }
    match (&choices[..], is_ordered) {
        ([], _) => Err(problem("its list is empty; give one choice or more".to_owned())),
        ([Value::Bool(_), Value::Bool(_)], false) => Ok(Domain::Bool),
        (_, true) => Ok(Domain::Ordinal(choices)),
        (_, false) => Ok(Domain::Categorical(choices)),
    }
}

impl Parameter {
    /// What an encoded value means; `None` for one that it cannot have, or of NaN.
    pub fn value(&self, encoded: f64) -> Option<Value> {
        if encoded.is_nan() {
            return None;
        }
        match &self.domain {
            Domain::Float { .. } => Some(Value::Float(encoded)),
            Domain::Int { .. } => Some(Value::Int(encoded as i64)),
            Domain::Ordinal(choices) | Domain::Categorical(choices) => choices.get(encoded as usize).cloned(),
            Domain::Bool => Some(Value::Bool(encoded != 0.0)),
            Domain::Fixed(value) => Some(value.clone()),
        }
    }

    /// A value's code in [`super::Points`]; `None` for one that the parameter cannot have.
    pub fn encode(&self, value: &Value) -> Option<f64> {
        let number = value.number();
        match &self.domain {
            Domain::Float { low, high, step: None, .. } => number.filter(|value| (*low..=*high).contains(value)),
            Domain::Float { low, high, step: Some(step), .. } => {
                let number = number.filter(|value| (*low..=*high).contains(value) && is_step(*value, *low, *step))?;
                // The bits that decoding gives, however the number was written.
                let codec = super::Codec::new(self);
                Some(codec.decode(codec.encode(number)))
            }
            Domain::Int { low, high, step, .. } => number.filter(|value| {
                (*low as f64..=*high as f64).contains(value) && is_step(*value, *low as f64, *step as f64)
            }),
            Domain::Ordinal(choices) | Domain::Categorical(choices) => {
                choices.iter().position(|choice| choice.is_same(value)).map(|index| index as f64)
            }
            Domain::Bool => {
                if let Value::Bool(value) = value {
                    Some(f64::from(u8::from(*value)))
                } else {
                    None
                }
            }
            Domain::Fixed(fixed) => fixed.is_same(value).then(|| number.unwrap_or(0.0)),
        }
    }

    /// The code nearest to a value that the parameter may not have.
    fn nearest_to(&self, value: Option<&Value>) -> f64 {
        let number = value.and_then(Value::number);
        match (&self.domain, number) {
            (Domain::Float { low, high, step: None, .. }, Some(value)) => value.clamp(*low, *high),
            (Domain::Fixed(fixed), _) => fixed.number().unwrap_or(0.0),
            (Domain::Ordinal(choices), Some(value)) => {
                let distance = |choice: &Value| choice.number().map_or(f64::INFINITY, |choice| (choice - value).abs());
                let nearest = choices.iter().enumerate().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
                nearest.map_or(0.0, |(index, _)| index as f64)
            }
            (Domain::Int { .. } | Domain::Float { .. }, _) => {
                let codec = super::Codec::new(self);
                number.map_or_else(|| codec.decode(0.5), |value| codec.decode(codec.encode(value)))
            }
            (Domain::Ordinal(_) | Domain::Categorical(_) | Domain::Bool, _) => 0.0,
        }
    }

    /// What it may be, for messages.
    pub fn describe(&self) -> String {
        let list = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        match &self.domain {
            Domain::Float { low, high, .. } => format!("{low} to {high}"),
            Domain::Int { low, high, .. } => format!("{low} to {high}"),
            Domain::Ordinal(values) | Domain::Categorical(values) => list(values),
            Domain::Bool => "false, true".to_owned(),
            Domain::Fixed(value) => value.to_string(),
        }
    }

    /// Whether the model can work with every value of the domain.
    fn check_limits(&self) -> Result<(), SpaceError> {
        let values: Vec<Value> = match &self.domain {
            Domain::Float { low, high, .. } => vec![Value::Float(*low), Value::Float(*high)],
            Domain::Int { low, high, .. } => vec![Value::Int(*low), Value::Int(*high)],
            Domain::Ordinal(values) | Domain::Categorical(values) => values.clone(),
            Domain::Bool => vec![Value::Bool(false), Value::Bool(true)],
            Domain::Fixed(value) => vec![value.clone()],
        };
        let needs_whole = matches!(self.limits, Limits::Whole(..));
        let is_continuous = matches!(self.domain, Domain::Float { .. });
        let impossible = values.iter().find(|value| !self.limits.allow(value) || needs_whole && is_continuous);
        match impossible {
            Some(value) => Err(SpaceError::Impossible {
                name: self.name.clone(),
                value: if needs_whole && is_continuous {
                    "a range of real numbers".to_owned()
                } else {
                    value.to_string()
                },
                possible: self.limits.describe(),
            }),
            None => Ok(()),
        }
    }
}

fn is_step(value: f64, low: f64, step: f64) -> bool {
    let steps = (value - low) / step;
    (steps - steps.round()).abs() < 1e-9
}

impl Value {
    /// As a number; a bool is none.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Bool(_) | Value::Text(_) => None,
        }
    }

    /// The same value; 2 and 2.0 are.
    pub fn is_same(&self, other: &Value) -> bool {
        self == other || self.number().is_some_and(|number| other.number() == Some(number))
    }
}

impl Limits {
    /// What nobody says more of: the values of a domain.
    pub(super) fn of(domain: &Domain) -> Limits {
        match domain {
            Domain::Float { low, high, .. } => Limits::Real(*low, *high),
            Domain::Int { low, high, .. } => Limits::Whole(*low as f64, *high as f64),
            Domain::Ordinal(values) | Domain::Categorical(values) => Limits::Choices(values.clone()),
            Domain::Bool => Limits::Choices(vec![Value::Bool(false), Value::Bool(true)]),
            Domain::Fixed(value) => Limits::Choices(vec![value.clone()]),
        }
    }

    /// Whether the model can work with a value.
    pub(super) fn allow(&self, value: &Value) -> bool {
        match (self, value.number()) {
            (Limits::Whole(low, high), Some(value)) => value.fract() == 0.0 && (*low..=*high).contains(&value),
            (Limits::Real(low, high), Some(value)) => (*low..=*high).contains(&value),
            (Limits::Choices(choices), _) => choices.iter().any(|choice| choice.is_same(value)),
            _ => false,
        }
    }

    /// What the model can work with, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Limits::Whole(low, high) => format!("whole numbers from {low} to {high}"),
            Limits::Real(low, high) => format!("numbers from {low} to {high}"),
            Limits::Choices(choices) => choices.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
        }
    }
}
