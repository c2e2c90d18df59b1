//! A fold as boosting wants it: in bins, once for all lanes with as many of them, with targets and weights by sixteen rows.

use super::objective::{self, Loss, whole_weights};
use super::params::{GbdtParams, Objective};
use super::split::Column;
use super::validate;
use crate::backend::cpu::simd::{LANES, Lanes, Level};
use crate::data::{Affine, Fold, Rows, Target, Task};
use crate::models::trees::bins::{BinnedFold, ByBins, FeatureBins};
use crate::models::trees::histogram::Blocks;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A fold, binned when its first lane is trained.
pub struct GbdtFold {
    /// The fold itself.
    pub fold: Arc<Fold>,
    binned: ByBins<Binned>,
    targets: [OnceLock<RowTargets>; 4],
    /// Of the first set to score.
    eval_targets: [OnceLock<RowTargets>; 2],
}

/// All rows of a fold in bins: the training rows, then the row sets to score.
pub struct Binned {
    /// By column.
    pub bins: Vec<FeatureBins>,
    /// By column.
    pub columns: Vec<Column>,
    /// All rows.
    pub blocks: Blocks,
}

/// The training rows' targets and weights, sixteen a [`Lanes`].
pub struct RowTargets {
    /// Class codes, or numbers as they are learnt; 0 behind the training rows.
    pub y: Vec<Lanes>,
    /// How much each row counts; 0 behind the training rows.
    pub weight: Vec<Lanes>,
    /// The same as whole numbers, one a row.
    pub whole: Vec<u32>,
}

impl GbdtFold {
    /// Opens a fold without doing any work yet.
    pub fn new(fold: Arc<Fold>) -> GbdtFold {
        GbdtFold { fold, binned: ByBins::default(), targets: Default::default(), eval_targets: Default::default() }
    }

    /// Training rows.
    pub fn train_rows(&self) -> usize {
        self.fold.train.y.len()
    }

    /// Rows of all sets.
    pub fn rows(&self) -> usize {
        self.fold.row_sets().map(|rows| rows.y.len()).sum()
    }

    /// [`Lanes`] of the training rows.
    pub fn train_lanes(&self) -> usize {
        self.train_rows().div_ceil(LANES)
    }

    /// [`Lanes`] of all rows.
    pub fn lanes(&self) -> usize {
        self.rows().div_ceil(LANES)
    }

    /// The rows of one set among all: 0 are the training rows.
    pub fn set(&self, set: usize) -> Range<usize> {
        let before: usize = self.fold.row_sets().take(set).map(|rows| rows.y.len()).sum();
        before..before + self.fold.row_sets().nth(set).map_or(0, |rows| rows.y.len())
    }

    /// What a lane learns.
    pub fn loss(&self, params: &GbdtParams) -> Loss {
        match &self.fold.train.y {
            Target::Classes { classes: ..=2, .. } => Loss::Binary,
            Target::Classes { classes, .. } => Loss::Softmax { classes: *classes },
            Target::Values(_) => Loss::Value { objective: params.objective, quantile: params.quantile },
        }
    }

    /// Uses the fold in at most so many bins a column.
    pub fn with_binned<R>(&self, bins: u32, of: impl FnOnce(&Binned) -> R) -> R {
        self.binned.with(bins as usize, || Binned::new(&self.fold, bins as usize), of)
    }

    /// The training rows' targets and weights.
    pub fn targets(&self, params: &GbdtParams) -> &RowTargets {
        // A Poisson count has no scale of its own to choose.
        let is_count = params.objective == Objective::Poisson;
        let cell = &self.targets[2 * usize::from(params.is_balanced) + usize::from(is_count)];
        cell.get_or_init(|| RowTargets::new(&self.fold.train, self.fold.target, params.is_balanced, is_count))
    }

    /// Targets and weights of the first set to score, if there is one: what early stopping goes by.
    pub fn eval_targets(&self, params: &GbdtParams) -> Option<&RowTargets> {
        let is_count = params.objective == Objective::Poisson;
        let rows = self.fold.evals.first()?;
        let cell = &self.eval_targets[usize::from(is_count)];
        Some(cell.get_or_init(|| RowTargets::new(rows, self.fold.target, false, is_count)))
    }

    /// Where a lane's scores start, one a score.
    pub fn start(&self, params: &GbdtParams) -> Vec<f32> {
        let targets = self.targets(params);
        let y: Vec<f32> = (0..self.train_rows()).map(|row| targets.y[row / LANES].0[row % LANES]).collect();
        objective::start(self.loss(params), &y, |row| targets.weight[row / LANES].0[row % LANES])
    }

    /// Whether there is nothing to learn: a count cannot be below 0.
    pub fn is_hopeless(&self, params: &GbdtParams, start: &[f32]) -> bool {
        let is_count = matches!(self.loss(params), Loss::Value { objective: Objective::Poisson, .. });
        let is_negative = || matches!(&self.fold.train.y, Target::Values(y) if y.iter().any(|y| *y < 0.0));
        is_count && is_negative() || start.iter().any(|start| !start.is_finite())
    }

    /// By which power of two validation losses become whole numbers, where a lane stops by them.
    pub fn loss_exponent(&self, params: &GbdtParams, start: &[f32]) -> Option<i32> {
        let stops = params.early_stopping > 0 && self.fold.may_stop_early;
        let targets = self.eval_targets(params).filter(|_| stops)?;
        Some(validate::exponent(Level::detect(), self.loss(params), start, self.set(1).len(), targets))
    }
}

/// How a model's task and objective scale numbers: counts are learnt as they are.
pub fn is_scaled(task: Task, objective: Objective) -> bool {
    task == Task::Regression && objective != Objective::Poisson
}

impl Binned {
    fn new(fold: &Fold, most: usize) -> Binned {
        let BinnedFold { features, sets } = BinnedFold::new(fold, most);
        let rows: usize = sets.iter().map(|set| set.rows).sum();
        let columns: Vec<Column> = features
            .iter()
            .enumerate()
            .map(|(column, bins)| Column {
                slots: bins.slots(),
                is_category: bins.is_category(),
                has_missing: sets[0].column(column).contains(&bins.missing()),
            })
            .collect();
        let codes: Vec<Vec<u8>> = (0..features.len())
            .map(|column| {
                let missing = features[column].missing();
                // The slot of missing values is the first here.
                let slot = |bin: &u8| if *bin == missing { 0 } else { bin + 1 };
                sets.iter().flat_map(|set| set.column(column).iter().map(slot)).collect()
            })
            .collect();
        let slots: Vec<usize> = features.iter().map(FeatureBins::slots).collect();
        Binned { blocks: Blocks::new(rows, &slots, |column, row| codes[column][row]), bins: features, columns }
    }
}

impl RowTargets {
    fn new(of: &Rows, target: Affine, is_balanced: bool, is_count: bool) -> RowTargets {
        let rows = of.y.len();
        let mut weight = of.weight.clone().unwrap_or_else(|| vec![1.0; rows]);
        let y: Vec<f32> = match &of.y {
            Target::Classes { codes, classes } => {
                if is_balanced {
                    balance(&mut weight, codes, *classes);
                }
                codes.iter().map(|code| *code as f32).collect()
            }
            Target::Values(values) if is_count => values.clone(),
            Target::Values(values) => values.iter().map(|y| (y - target.shift) / target.scale).collect(),
        };
        let whole = whole_weights(&weight);
        RowTargets { y: by_sixteen(&y), weight: by_sixteen(&weight), whole }
    }
}

/// scikit-learn's `class_weight="balanced"`: rows over classes that occur times the class's rows.
fn balance(weight: &mut [f32], codes: &[u32], classes: usize) {
    let mut counts = vec![0u32; classes];
    codes.iter().for_each(|code| counts[*code as usize] += 1);
    let present = counts.iter().filter(|count| **count > 0).count();
    for (weight, code) in weight.iter_mut().zip(codes) {
        *weight *= (codes.len() as f64 / (present as f64 * f64::from(counts[*code as usize]))) as f32;
    }
}

fn by_sixteen(values: &[f32]) -> Vec<Lanes> {
    let lanes = |chunk: &[f32]| Lanes(std::array::from_fn(|lane| chunk.get(lane).copied().unwrap_or(0.0)));
    values.chunks(LANES).map(lanes).collect()
}
