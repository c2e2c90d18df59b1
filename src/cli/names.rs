//! Arguments that name an entry of a registry: help lists the names, and a slip gets a suggestion.

use crate::base::registry::Named;
use crate::data::metrics::METRICS;
use crate::functions::FUNCTIONS;
use crate::models::MODELS;
use crate::schedulers::SCHEDULERS;
use crate::strategies::STRATEGIES;
use crate::study::names::ALL;
use clap::builder::{PossibleValue, PossibleValuesParser};

pub(super) fn models() -> PossibleValuesParser {
    parser(MODELS)
}

/// Models, or all that fit the data.
pub(super) fn models_or_all() -> PossibleValuesParser {
    let all = PossibleValue::new(ALL).help("every model that fits the data");
    values(MODELS).into_iter().chain([all]).collect::<Vec<_>>().into()
}

pub(super) fn metrics() -> PossibleValuesParser {
    parser(METRICS)
}

pub(super) fn strategies() -> PossibleValuesParser {
    parser(STRATEGIES)
}

pub(super) fn schedulers() -> PossibleValuesParser {
    parser(SCHEDULERS)
}

pub(super) fn functions() -> PossibleValuesParser {
    parser(FUNCTIONS)
}

fn parser<T: Named + ?Sized>(entries: &'static [&'static T]) -> PossibleValuesParser {
    values(entries).into()
}

fn values<T: Named + ?Sized>(entries: &'static [&'static T]) -> Vec<PossibleValue> {
    entries.iter().map(|entry| PossibleValue::new(entry.name()).help(entry.summary())).collect()
}
