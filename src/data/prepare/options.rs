//! The `[prepare]` section of a study, as it is written.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// How columns become features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareOptions {
    /// What stands in for a missing number.
    pub impute: Impute,
    /// Whether a column with missing numbers gets a second feature that says where they are missing.
    pub indicator: bool,
    /// How numbers are scaled.
    pub scale: Scale,
    /// Categories rarer than this in the training rows share one feature: a number of rows, or below 1 a share of them.
    #[serde(deserialize_with = "not_negative")]
    pub rare: f64,
    /// How a regression target is scaled for training. Scores and predictions stay in its own units.
    pub target: TargetScale,
}

impl Default for PrepareOptions {
    fn default() -> PrepareOptions {
        PrepareOptions {
            impute: Impute::Median,
            indicator: true,
            scale: Scale::Standard,
            rare: 10.0,
            target: TargetScale::Standard,
        }
    }
}

/// What stands in for a missing number, as scikit-learn's SimpleImputer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impute {
    /// The mean.
    Mean,
    /// The median.
    Median,
    /// The most frequent value, the least of several; missing categories become the most frequent one too.
    MostFrequent,
    /// This number: `impute = { constant = 0 }`.
    Constant(#[serde(deserialize_with = "finite")] f64),
}

/// How numbers are scaled, after missing ones were filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// To mean 0 and standard deviation 1, as scikit-learn's StandardScaler.
    Standard,
    /// To median 0 and a distance of 1 between the quartiles, as RobustScaler.
    Robust,
    /// To the range from 0 to 1, as MinMaxScaler.
    MinMax,
    /// Not at all.
    None,
}

/// How a regression target is scaled for training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetScale {
    /// To mean 0 and standard deviation 1.
    Standard,
    /// Not at all.
    None,
}

fn not_negative<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = finite(deserializer)?;
    if value < 0.0 { Err(D::Error::custom(format!("{value} is negative"))) } else { Ok(value) }
}

fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if value.is_finite() { Ok(value) } else { Err(D::Error::custom(format!("{value} is not a finite number"))) }
}
