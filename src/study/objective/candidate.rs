//! A candidate as an objective in Rust sees it: its parameters by name, as the types that the code asks for.

use super::custom::Failure;
use crate::base::registry::nearest;
use crate::space::{Space, Value};
use indexmap::IndexMap;
use std::sync::Arc;

/// A candidate that is to be scored.
#[derive(Debug, Clone)]
pub struct Candidate {
    space: Arc<Space>,
    params: Arc<IndexMap<String, Value>>,
    id: u64,
    repeat: u32,
    seed: u64,
    budget: u64,
}

impl Candidate {
    /// The candidate of a row of the space's codes.
    pub(in crate::study) fn new(space: &Arc<Space>, row: &[f64], id: u64) -> Candidate {
        let params = Arc::new(space.named(row));
        Candidate { space: space.clone(), params, id, repeat: 0, seed: 0, budget: 1 }
    }

    /// The same for one of its repeats.
    pub(in crate::study) fn of_repeat(&self, repeat: u32, seed: u64, budget: u64) -> Candidate {
        Candidate { repeat, seed, budget, ..self.clone() }
    }

    /// A parameter as a number, a whole number, a bool or a text (`f64`, `f32`, `i64`, `u64`, `u32`, `usize`, `bool`, `&str`,
    /// `String`, [`Value`]). Ask for an [`Option`] where a condition may switch the parameter off: it is `None` then. A name that
    /// the space does not have, a value that is none of the type, and a parameter that is switched off where no option was
    /// asked for are failures, which say so.
    pub fn get<'a, T: FromValue<'a>>(&'a self, name: &str) -> Result<T, Failure> {
        if let Some(value) = self.params.get(name) {
            let wrong = || Failure::new(format!("the parameter \"{name}\" is {value}, which is not {}", T::KIND));
            return T::of(value).ok_or_else(wrong);
        }
        if self.space.index(name).is_some() {
            return T::absent().ok_or_else(|| {
                Failure::new(format!(
                    "the parameter \"{name}\" does not exist in this candidate, as its condition says: ask for an Option"
                ))
            });
        }
        let names = || self.space.parameters.iter().map(|parameter| parameter.name.as_str());
        let near = nearest(name, names()).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        let known = names().collect::<Vec<_>>().join(", ");
        Err(Failure::new(format!("no parameter is called \"{name}\"{near}\n  The space has: {known}")))
    }

    /// Every parameter that exists in it, by name.
    pub fn params(&self) -> &IndexMap<String, Value> {
        &self.params
    }

    /// Its number among all candidates of the study, from 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Which of its repeats this is, from 0.
    pub fn repeat(&self) -> u32 {
        self.repeat
    }

    /// What everything random in the evaluation is to follow from: another one for each repeat, and the same for all
    /// candidates, so that differences between them are not noise.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many steps a whole training has; 1 of what is evaluated at once. A scheduler may end it before.
    pub fn budget(&self) -> u64 {
        self.budget
    }
}

/// A type that a parameter can be asked for as.
pub trait FromValue<'a>: Sized {
    /// What it is, in words.
    const KIND: &'static str;

    /// A value as this type; `None` where it is none.
    fn of(value: &'a Value) -> Option<Self>;

    /// What stands for a parameter that does not exist; `None` where nothing does.
    fn absent() -> Option<Self> {
        None
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const KIND: &'static str = T::KIND;

    fn of(value: &'a Value) -> Option<Self> {
        T::of(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<'a> FromValue<'a> for f64 {
    const KIND: &'static str = "a number";

    fn of(value: &'a Value) -> Option<f64> {
        value.number()
    }
}

impl<'a> FromValue<'a> for f32 {
    const KIND: &'static str = "a number that 32 bits hold";

    fn of(value: &'a Value) -> Option<f32> {
        let number = value.number()?;
        Some(number as f32).filter(|narrow| narrow.is_finite() || !number.is_finite())
    }
}

impl<'a> FromValue<'a> for bool {
    const KIND: &'static str = "true or false";

    fn of(value: &'a Value) -> Option<bool> {
        if let Value::Bool(value) = value { Some(*value) } else { None }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const KIND: &'static str = "a text";

    fn of(value: &'a Value) -> Option<&'a str> {
        if let Value::Text(value) = value { Some(value) } else { None }
    }
}

impl<'a> FromValue<'a> for String {
    const KIND: &'static str = "a text";

    fn of(value: &'a Value) -> Option<String> {
        <&str>::of(value).map(str::to_owned)
    }
}

impl<'a> FromValue<'a> for Value {
    const KIND: &'static str = "a value";

    fn of(value: &'a Value) -> Option<Value> {
        Some(value.clone())
    }
}

/// Whole numbers, as far as the type holds them.
macro_rules! whole_numbers {
    ($($whole:ty: $kind:literal),*) => {
        $(impl<'a> FromValue<'a> for $whole {
            const KIND: &'static str = $kind;

            fn of(value: &'a Value) -> Option<$whole> {
                if let Value::Int(value) = value { <$whole>::try_from(*value).ok() } else { None }
            }
        })*
    };
}

whole_numbers!(
    i64: "a whole number",
    u64: "a whole number of 0 or more",
    u32: "a whole number of 0 or more that 32 bits hold",
    usize: "a whole number of 0 or more"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceBuilder;

    fn candidate(optimizer: &str) -> Candidate {
        let space = SpaceBuilder::new()
            .log("rate", 1e-4, 1.0, 0.01)
            .int("hidden", -2, 64, 8)
            .boolean("bias", true)
            .categorical("optimizer", &["adam", "sgd"], "adam")
            .float("momentum", 0.0, 1.0, 0.9)
            .when("momentum", "optimizer", &["sgd"])
            .build();
        let named = IndexMap::from([("optimizer".to_owned(), Value::Text(optimizer.to_owned()))]);
        let row = space.row(&named).unwrap();
        Candidate::new(&Arc::new(space), &row, 3)
    }

    #[test]
    fn parameters_come_as_the_types_that_are_asked_for() {
        let candidate = candidate("sgd");
        assert_eq!((candidate.get::<f64>("rate").unwrap(), candidate.get::<usize>("hidden").unwrap()), (0.01, 8));
        assert_eq!((candidate.get::<f64>("hidden").unwrap(), candidate.get::<bool>("bias").unwrap()), (8.0, true));
        assert_eq!(candidate.get::<&str>("optimizer").unwrap(), "sgd");
        assert_eq!(candidate.get::<Option<f64>>("momentum").unwrap(), Some(0.9));
        assert_eq!(candidate.params().len(), 5);
    }

    #[test]
    fn a_number_that_32_bits_do_not_hold_is_no_infinity() {
        assert_eq!(f32::of(&Value::Float(0.1)), Some(0.1));
        assert_eq!([1e39, -1e39].map(|number| f32::of(&Value::Float(number))), [None; 2]);
        let wide = SpaceBuilder::new().float("x", 0.0, 1e40, 1e39).build();
        let row = wide.defaults();
        let failure = Candidate::new(&Arc::new(wide), &row, 0).get::<f32>("x").unwrap_err();
        assert!(failure.reason().ends_with("which is not a number that 32 bits hold"), "{}", failure.reason());
    }

    #[test]
    fn what_a_condition_switches_off_is_none_and_a_slip_is_no_none() {
        let candidate = candidate("adam");
        assert_eq!(candidate.get::<Option<f64>>("momentum").unwrap(), None);
        let failure = |failure: Failure| failure.reason().to_owned();
        assert!(failure(candidate.get::<f64>("momentum").unwrap_err()).contains("does not exist in this candidate"));
        let slip = failure(candidate.get::<Option<f64>>("momentun").unwrap_err());
        assert_eq!(
            slip,
            "no parameter is called \"momentun\"; did you mean \"momentum\"?\n  The space has: rate, hidden, bias, optimizer, momentum"
        );
        assert!(failure(candidate.get::<i64>("rate").unwrap_err()).ends_with("which is not a whole number"));
        assert!(
            failure(candidate.get::<bool>("optimizer").unwrap_err()).ends_with("is adam, which is not true or false")
        );
    }
}
