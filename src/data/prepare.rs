//! Preparation turns a table's columns into finite features. It is fitted on the training rows of one fold and on nothing
//! else, then applied to any rows with the same columns, those of a file to predict among them.
//!
//! Features that do not vary over the training rows are left out, so the number of features can differ between folds.
//! Models that take columns as they are ([`Input::Columns`]) get numbers and codes instead, missing cells as NaN.

mod fit;
mod onnx;
mod options;
mod transform;

pub use options::{Impute, PrepareOptions, Scale, TargetScale};

use super::dataset::Dataset;
use super::read::ReadOptions;
use super::table::Cells;
use super::{Affine, ColumnKind, Input, Target};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A fitted preparation. It goes into the model file, and says by name which columns it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    columns: Vec<Plan>,
    features: Vec<String>,
}

/// What becomes of one column. Features are named by their index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Plan {
    Number(NumberPlan),
    Category(CategoryPlan),
    Cell(CellPlan),
    Code(CodePlan),
}

/// `feature = (cell - shift) / scale`, with `fill` for a missing cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NumberPlan {
    name: String,
    fill: f64,
    shift: f64,
    scale: f64,
    value: Option<u32>,
    /// 1 where the cell is missing.
    indicator: Option<u32>,
}

/// One-hot: 1 in the feature of the cell's category, and 0 in all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CategoryPlan {
    name: String,
    /// Categories that the training rows have, each with its feature; rare ones share one.
    levels: Vec<(String, Option<u32>)>,
    rare: Option<u32>,
    /// Where missing cells go, and categories that the training rows do not have.
    unknown: Option<u32>,
    /// The category that missing cells are taken for, if they are.
    fill: Option<String>,
}

/// A number as it is, NaN where it is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CellPlan {
    name: String,
    feature: Option<u32>,
}

/// A category as its place among the levels that the training rows have; NaN where it is missing or another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CodePlan {
    name: String,
    levels: Vec<String>,
    feature: Option<u32>,
}

impl Plan {
    fn name(&self) -> &str {
        match self {
            Plan::Cell(plan) => &plan.name,
            Plan::Code(plan) => &plan.name,
            Plan::Number(plan) => &plan.name,
            Plan::Category(plan) => &plan.name,
        }
    }
}

impl Preparation {
    /// Fits every column on these rows of the data set's features. Of the options, [`Input::Columns`] heeds none.
    pub fn fit(dataset: &Dataset, rows: &[u32], options: &PrepareOptions, input: Input) -> Preparation {
        let fitted: Vec<(Plan, Vec<String>)> = (dataset.features.columns.par_iter())
            .map(|column| match (&column.cells, input) {
                (Cells::Numbers(values), Input::Features) => fit::number(&column.name, values, rows, options),
                (Cells::Categories(categories), Input::Features) => {
                    fit::category(&column.name, categories, rows, options)
                }
                (Cells::Numbers(values), Input::Columns) => fit::cell(&column.name, values, rows),
                (Cells::Categories(categories), Input::Columns) => fit::code(&column.name, categories, rows),
            })
            .collect();
        let (mut columns, mut features) = (Vec::with_capacity(fitted.len()), Vec::new());
        for (mut plan, names) in fitted {
            plan.shift_features(features.len() as u32);
            columns.push(plan);
            features.extend(names);
        }
        Preparation { columns, features }
    }

    /// The features' names, in their order: `age`, `age is missing`, `deck=B`, `deck is rare`, `deck is unknown`.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// What each feature holds.
    pub fn kinds(&self) -> Vec<ColumnKind> {
        let mut kinds = vec![ColumnKind::Number; self.features.len()];
        for plan in &self.columns {
            if let Plan::Code(CodePlan { levels, feature: Some(feature), .. }) = plan
                && let Some(kind) = kinds.get_mut(*feature as usize)
            {
                *kind = ColumnKind::Category { levels: levels.len() as u32 };
            }
        }
        kinds
    }

    /// The category that becomes most features, and how many those are.
    pub fn widest_category(&self) -> Option<(&str, usize)> {
        let width = |plan: &CategoryPlan| {
            // Rare levels share a feature.
            let own = plan.levels.iter().filter(|(_, feature)| feature.is_some() && *feature != plan.rare).count();
            own + [plan.rare, plan.unknown].iter().flatten().count()
        };
        let categories = self.columns.iter().filter_map(|plan| match plan {
            Plan::Category(plan) => Some((plan.name.as_str(), width(plan))),
            _ => None,
        });
        categories.max_by_key(|(_, features)| *features)
    }

    /// Whether it can be applied: one that was fitted can, one that was read from a file may say anything.
    pub fn check(&self) -> Result<(), String> {
        let width = self.features.len();
        let fits = |feature: &Option<u32>| feature.is_none_or(|feature| (feature as usize) < width);
        let is_whole = |plan: &Plan| match plan {
            Plan::Number(plan) => {
                let numbers = [plan.fill, plan.shift, plan.scale];
                numbers.iter().all(|number| number.is_finite())
                    && plan.scale != 0.0
                    && [&plan.value, &plan.indicator].into_iter().all(fits)
            }
            Plan::Category(plan) => {
                plan.levels.iter().all(|(_, feature)| fits(feature))
                    && [&plan.rare, &plan.unknown].into_iter().all(fits)
            }
            Plan::Cell(plan) => fits(&plan.feature),
            Plan::Code(plan) => fits(&plan.feature),
        };
        if width == 0 {
            return Err("it has no feature".to_owned());
        }
        if let Some(plan) = self.columns.iter().find(|plan| !is_whole(plan)) {
            return Err(format!("its preparation of column \"{}\" makes no sense", plan.name()));
        }
        let made: HashSet<u32> = self.columns.iter().flat_map(Plan::features).collect();
        match self.features.iter().zip(0..).find(|(_, feature)| !made.contains(feature)) {
            Some((name, _)) => Err(format!("its feature \"{name}\" comes of no column")),
            None => Ok(()),
        }
    }

    /// Each column with its features; a column that does not vary has none.
    pub fn features_by_column(&self) -> impl Iterator<Item = (&str, Vec<u32>)> {
        self.columns.iter().map(|plan| (plan.name(), plan.features()))
    }

    /// The columns it needs.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(Plan::name)
    }

    /// How a file to predict is read: these columns only, and each as the kind it was fitted on.
    pub fn read_options(&self, missing: &[String]) -> ReadOptions {
        let categories = self.columns.iter().filter(|plan| matches!(plan, Plan::Category(_) | Plan::Code(_)));
        ReadOptions {
            only: Some(self.columns().map(str::to_owned).collect()),
            skip: Vec::new(),
            categories: categories.map(|plan| plan.name().to_owned()).collect(),
            missing: missing.to_vec(),
        }
    }
}

impl Plan {
    /// What it makes of its column.
    fn features(&self) -> Vec<u32> {
        match self {
            Plan::Number(plan) => [plan.value, plan.indicator].into_iter().flatten().collect(),
            Plan::Category(plan) => plan.features(),
            Plan::Cell(plan) => plan.feature.into_iter().collect(),
            Plan::Code(plan) => plan.feature.into_iter().collect(),
        }
    }

    /// Moves all feature indices up, which a plan counts from 0 when it is fitted.
    fn shift_features(&mut self, by: u32) {
        let shift = |feature: &mut Option<u32>| feature.iter_mut().for_each(|feature| *feature += by);
        match self {
            Plan::Number(plan) => [&mut plan.value, &mut plan.indicator].into_iter().for_each(shift),
            Plan::Category(plan) => {
                plan.levels.iter_mut().for_each(|(_, feature)| shift(feature));
                [&mut plan.rare, &mut plan.unknown].into_iter().for_each(shift);
            }
            Plan::Cell(plan) => shift(&mut plan.feature),
            Plan::Code(plan) => shift(&mut plan.feature),
        }
    }
}

impl CategoryPlan {
    /// Its features, ascending.
    fn features(&self) -> Vec<u32> {
        let of_levels = self.levels.iter().filter_map(|(_, feature)| *feature);
        let mut features: Vec<u32> = of_levels.chain([self.rare, self.unknown].into_iter().flatten()).collect();
        features.sort_unstable();
        features.dedup();
        features
    }
}

/// How the targets of these rows are scaled; classes never are.
pub fn fit_target(target: &Target, rows: &[u32], scale: TargetScale) -> Affine {
    match (target, scale) {
        (Target::Values(values), TargetScale::Standard) => fit::target(values, rows),
        _ => Affine::IDENTITY,
    }
}
