//! What a candidate is trained with from its beginning to its end: one point, or several one after the other. The latter come
//! from populations, where a candidate takes over another's training, or from the study itself (`[model] schedule`).

use super::error::ConfigError;
use super::history::History;
use super::model_options::ModelOptions;
use super::objective::Objective;
use super::resolve::Study;
use crate::models::MODELS;
use crate::space::{Space, Value};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Points that follow each other in a candidate's training.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// At its beginning.
    pub first: Vec<f64>,
    /// From so many units of budget on, as the scheduler counts them; ascending.
    pub turns: Vec<(u64, Vec<f64>)>,
}

impl Recipe {
    /// One point to the end.
    pub fn of(point: &[f64]) -> Recipe {
        Recipe { first: point.to_vec(), turns: Vec::new() }
    }

    /// The point at its end.
    pub fn last(&self) -> &[f64] {
        self.turns.last().map_or(&self.first, |(_, point)| point)
    }

    /// As a study or a result shows it: of each part what changes at all, and from where on. None of one point alone.
    pub fn stages(&self, space: &Space) -> Vec<Stage> {
        let differs = |column: &usize| {
            let first = self.first[*column];
            self.turns.iter().any(|(_, point)| point[*column].to_bits() != first.to_bits() && !first.is_nan())
        };
        let changing: Vec<usize> = (0..self.first.len()).filter(differs).collect();
        let named = |point: &[f64]| {
            let named =
                |column: &usize| Some((space.parameters[*column].name.clone(), space.value(*column, point[*column])?));
            changing.iter().filter_map(named).collect()
        };
        if self.turns.is_empty() {
            return Vec::new();
        }
        let first = Stage { from: 0, params: named(&self.first) };
        let turns = self.turns.iter().map(|(from, point)| Stage { from: *from, params: named(point) });
        std::iter::once(first).chain(turns).collect()
    }
}

/// Hyperparameters from some unit of the budget on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Units of budget that are over.
    pub from: u64,
    /// Those that change, by their names.
    #[serde(flatten)]
    pub params: IndexMap<String, Value>,
}

/// The study's own stages: columns with their encoded values, from so many units on.
pub(super) type Stages = Vec<(u64, Vec<(usize, f64)>)>;

/// Looks up what `[model] schedule` says.
pub(super) fn stages(model: &ModelOptions, objective: &Objective, space: &Space) -> Result<Stages, ConfigError> {
    let wrong = |value: String, need: String| {
        Err(ConfigError::OutOfRange { key: "model.schedule", value, need: Cow::Owned(need) })
    };
    let Ok(models) = objective.models() else { return Ok(Vec::new()) };
    let able = schedulable(objective);
    let mut stages: Stages = Vec::new();
    for stage in &model.schedule {
        let budget = models.pipelines.budget();
        if stage.from == 0 || stage.from >= budget || stages.last().is_some_and(|(from, _)| *from >= stage.from) {
            let need = format!(
                "each `from` beyond the one before, and below the budget of {budget}; what holds at 0 is the candidate's own"
            );
            return wrong(format!("from = {}", stage.from), need);
        }
        let mut values = Vec::new();
        for (name, value) in &stage.params {
            let column = space.index(name).filter(|column| able.contains(column));
            let Some(column) = column else {
                let names: Vec<&str> = able.iter().map(|column| space.parameters[*column].name.as_str()).collect();
                let need = match names[..] {
                    [] => {
                        format!("a model with hyperparameters that may change while it is trained: {}", models_able())
                    }
                    _ => format!("hyperparameters that may change while the model is trained: {}", names.join(", ")),
                };
                return wrong(name.clone(), need);
            };
            match space.parameters[column].encode(value) {
                Some(encoded) if space.codecs()[column].count().is_none_or(|count| count >= 2) => {
                    values.push((column, encoded));
                }
                _ => {
                    let need = format!("a value of {name}'s range in [space], of which there is more than one");
                    return wrong(format!("{name} = {value}"), need);
                }
            }
        }
        stages.push((stage.from, values));
    }
    Ok(stages)
}

/// The columns of hyperparameters that may change while some model of the study is trained, and have more than one value.
pub(super) fn schedulable(objective: &Objective) -> Vec<usize> {
    let Ok(models) = objective.models() else { return Vec::new() };
    let mut columns: Vec<usize> = models.pipelines.iter().flat_map(|pipeline| pipeline.schedulable()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The models that have any, with their names.
pub(super) fn models_able() -> String {
    let able = MODELS.iter().filter(|model| !model.schedulable().is_empty());
    let named = able.map(|model| format!("{} ({})", model.name(), model.schedulable().join(", ")));
    named.collect::<Vec<_>>().join("; ")
}

impl Study {
    /// What a candidate is trained with.
    pub(super) fn recipe(&self, history: &History, candidate: u64) -> Recipe {
        if let Some(recipe) = history.recipe(candidate) {
            return recipe.clone();
        }
        let mut recipe = Recipe::of(history.point(candidate));
        for (from, values) in &self.stages {
            let mut point = recipe.last().to_vec();
            // What does not exist in a candidate does not begin to.
            for (column, value) in values.iter().filter(|(column, _)| !recipe.first[*column].is_nan()) {
                point[*column] = *value;
            }
            recipe.turns.push((*from, point));
        }
        recipe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    #[test]
    fn a_recipe_shows_what_changes_and_from_where_on() {
        let space =
            SpaceBuilder::new().log("rate", 1e-3, 1.0, 0.1).int("units", 1, 9, 4).float("drop", 0.0, 0.5, 0.0).build();
        let recipe =
            Recipe { first: vec![0.1, 4.0, 0.0], turns: vec![(3, vec![0.1, 4.0, 0.25]), (9, vec![0.2, 4.0, 0.25])] };
        let shown: Vec<(u64, Vec<String>)> = recipe
            .stages(&space)
            .iter()
            .map(|stage| (stage.from, stage.params.iter().map(|(name, value)| format!("{name} {value}")).collect()))
            .collect();
        let of = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        assert_eq!(
            shown,
            [(0, of(["rate 0.1", "drop 0.0"])), (3, of(["rate 0.1", "drop 0.25"])), (9, of(["rate 0.2", "drop 0.25"]))]
        );
        assert_eq!(recipe.last(), [0.2, 4.0, 0.25]);
        assert!(Recipe::of(&recipe.first).stages(&space).is_empty());
    }
}
