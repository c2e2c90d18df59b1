//! The `[model]` section of a study: one model or several, and how long each is trained.

use super::names::Names;
use super::recipe::Stage;
use indexmap::IndexMap;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The `[model]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// Names of the model registry; of several the model is searched too.
    pub name: Names,
    /// A lane's budget in the model's own unit (epochs, iterations); the model's default where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<ModelBudget>,
    /// Hyperparameters that change while a lane is trained: from so many units of budget on, other values than the candidate's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Stage>,
}

impl Default for ModelOptions {
    fn default() -> ModelOptions {
        ModelOptions { name: Names(vec!["mlp".to_owned()]), budget: None, schedule: Vec::new() }
    }
}

/// `30`, or `{ mlp = 30, logistic = 500 }` where there are several models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelBudget {
    /// Of the only model.
    One(u64),
    /// By the models' names.
    Each(IndexMap<String, u64>),
}

impl ModelBudget {
    /// What is said of a model; a single number is for whatever model there is.
    pub fn of(&self, model: &str) -> Option<u64> {
        match self {
            ModelBudget::One(budget) => Some(*budget),
            ModelBudget::Each(budgets) => budgets.get(model).copied(),
        }
    }
}

impl Serialize for ModelBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ModelBudget::One(budget) => budget.serialize(serializer),
            ModelBudget::Each(budgets) => budgets.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ModelBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ModelBudget, D::Error> {
        struct Budget;
        impl<'de> Visitor<'de> for Budget {
            type Value = ModelBudget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or one for each model: { mlp = 30 }")
            }

            fn visit_i64<E: Error>(self, budget: i64) -> Result<ModelBudget, E> {
                let is_bad = |_| E::invalid_value(Unexpected::Signed(budget), &self);
                u64::try_from(budget).map(ModelBudget::One).map_err(is_bad)
            }

            fn visit_u64<E: Error>(self, budget: u64) -> Result<ModelBudget, E> {
                Ok(ModelBudget::One(budget))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<ModelBudget, A::Error> {
                let mut budgets = IndexMap::new();
                while let Some((name, budget)) = map.next_entry::<String, u64>()? {
                    budgets.insert(name, budget);
                }
                Ok(ModelBudget::Each(budgets))
            }
        }
        deserializer.deserialize_any(Budget)
    }
}
