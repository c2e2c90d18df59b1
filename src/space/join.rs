//! One space of several models': which model a candidate is of is a parameter too, and each model's own parameters exist
//! where it is theirs.

use super::{Condition, Domain, Limits, Parameter, Space, Value};

/// The parameter that says which model a candidate is of.
pub const MODEL: &str = "model";

impl Space {
    /// The models' spaces in one: [`MODEL`], then every parameter as `name.parameter`, in the order of the models.
    pub fn joined(spaces: &[(&str, Space)]) -> Space {
        let names: Vec<Value> = spaces.iter().map(|(name, _)| Value::Text((*name).to_owned())).collect();
        let mut parameters = vec![Parameter {
            name: MODEL.to_owned(),
            domain: Domain::Categorical(names.clone()),
            default: 0.0,
            limits: Limits::Choices(names.clone()),
            conditions: Vec::new(),
        }];
        for (code, ((prefix, space), name)) in spaces.iter().zip(names).enumerate() {
            let first = parameters.len();
            let is_mine = Condition { parent: 0, values: vec![code as f64], names: vec![name] };
            for parameter in &space.parameters {
                let mut parameter = parameter.clone();
                parameter.name = format!("{prefix}.{}", parameter.name);
                parameter.conditions.iter_mut().for_each(|condition| condition.parent += first);
                parameter.conditions.insert(0, is_mine.clone());
                parameters.push(parameter);
            }
        }
        Space { parameters, constraints: Vec::new() }
    }

    /// What one model sees of a space: the parameters called `prefix.parameter`, as `parameter`, and the column of each.
    /// With an empty prefix those whose names have none.
    pub fn part(&self, prefix: &str) -> (Space, Vec<usize>) {
        let own_name = |name: &str| match (name.split_once('.'), prefix) {
            (None, "") => Some(name.to_owned()),
            (Some((first, rest)), prefix) if first == prefix => Some(rest.to_owned()),
            _ => None,
        };
        let of_part = |column: &usize| own_name(&self.parameters[*column].name).is_some();
        let columns: Vec<usize> = (0..self.parameters.len()).filter(of_part).collect();
        let parameters = columns.iter().map(|column| {
            let mut parameter = self.parameters[*column].clone();
            parameter.name = own_name(&parameter.name).unwrap_or_default();
            // Conditions on what the part does not see hold where a candidate comes to it at all.
            parameter.conditions.retain_mut(|condition| {
                let parent = columns.binary_search(&condition.parent);
                condition.parent = parent.unwrap_or_default();
                parent.is_ok()
            });
            parameter
        });
        (Space { parameters: parameters.collect(), constraints: Vec::new() }, columns)
    }

    /// What a search begins with: every parameter's default, once for each model that it can choose.
    pub fn starts(&self) -> Vec<Vec<f64>> {
        let models = self.index(MODEL).filter(|model| matches!(self.parameters[*model].domain, Domain::Categorical(_)));
        let Some(model) = models else { return vec![self.defaults()] };
        let Domain::Categorical(choices) = &self.parameters[model].domain else { return vec![self.defaults()] };
        let mut codes: Vec<f64> = (0..choices.len()).map(|code| code as f64).collect();
        // The default model first, the others in their order.
        codes.sort_by_key(|code| *code != self.parameters[model].default);
        let start = |code: f64| {
            let mut row: Vec<f64> = self.parameters.iter().map(|parameter| parameter.default).collect();
            row[model] = code;
            self.mask(&mut row);
            row
        };
        codes.into_iter().map(start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    fn joined() -> Space {
        let net = SpaceBuilder::new()
            .categorical("optimizer", &["adam", "sgd"], "adam")
            .float("momentum", 0.0, 1.0, 0.9)
            .when("momentum", "optimizer", &["sgd"])
            .build();
        let line = SpaceBuilder::new().log("l2", 1e-3, 1e3, 1.0).build();
        Space::joined(&[("net", net), ("line", line)])
    }

    fn bits(row: &[f64]) -> Vec<u64> {
        row.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn a_model_sees_its_own_parameters_under_their_own_names() {
        let space = joined();
        let names: Vec<&str> = space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["model", "net.optimizer", "net.momentum", "line.l2"]);
        let (net, columns) = space.part("net");
        assert_eq!(columns, [1, 2]);
        assert_eq!(net.parameters[1].conditions.len(), 1);
        assert_eq!(net.parameters[1].conditions[0].parent, 0);
        assert_eq!(space.part("line").1, [3]);
        assert_eq!(net.part("").0, net, "what has no prefix is a part of its own");
    }

    #[test]
    fn a_search_begins_with_every_models_defaults() {
        let nan = f64::NAN;
        let starts = joined().starts();
        assert_eq!(starts.len(), 2);
        assert_eq!(bits(&starts[0]), bits(&[0.0, 0.0, nan, nan]));
        assert_eq!(bits(&starts[1]), bits(&[1.0, nan, nan, 1.0]));
        let table = toml::from_str("model = { categorical = [\"net\", \"line\"], default = \"line\" }").unwrap();
        let starts = joined().with_overrides(&table).unwrap().starts();
        assert_eq!(starts[0][0], 1.0);
    }

    #[test]
    fn what_is_written_reads_the_same_again() {
        let written = "model = ['line', 'net']\n[line]\nl2 = [0.5, 2.0]\n[net]\nmomentum = { float = [0.5, 0.9], when = { net.optimizer = 'sgd' } }";
        let space = joined().with_overrides(&toml::from_str(written).unwrap()).unwrap();
        let text = toml::to_string(&space.to_toml()).unwrap();
        assert_eq!(joined().with_overrides(&toml::from_str(&text).unwrap()).unwrap(), space, "{text}");
        // Choices changed their places: conditions followed.
        let mut row = vec![1.0, 1.0, 0.7, 2.0];
        space.mask(&mut row);
        assert_eq!(bits(&row), bits(&[1.0, 1.0, 0.7, f64::NAN]));
    }
}
