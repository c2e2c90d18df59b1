//! Arguments that name an entry of a registry: help lists the names, and a slip gets a suggestion.

use crate::base::registry::Named;
use crate::data::metrics::METRICS;
use crate::models::MODELS;
use crate::strategies::STRATEGIES;
use clap::builder::{PossibleValue, PossibleValuesParser};

pub(super) fn models() -> PossibleValuesParser {
    parser(MODELS)
}

pub(super) fn metrics() -> PossibleValuesParser {
    parser(METRICS)
}

pub(super) fn strategies() -> PossibleValuesParser {
    parser(STRATEGIES)
}

fn parser<T: Named + ?Sized>(entries: &'static [&'static T]) -> PossibleValuesParser {
    entries.iter().map(|entry| PossibleValue::new(entry.name()).help(entry.summary())).collect::<Vec<_>>().into()
}
