//! What kernels on a GPU share: codes of kernel functions, and the measures of all row sets with the training rows.

use super::measure::{Columns, Measure};
use crate::backend::cpu::simd::Level;
use crate::backend::gpu::{DeviceRows, DeviceSet, Kernel};
use crate::data::{Problem, Rows};
use rayon::prelude::*;

/// The codes of kernel functions.
pub fn constants(kernel: Kernel) -> Kernel {
    super::KernelKind::ALL
        .iter()
        .fold(kernel, |kernel, (kind, name)| kernel.constant(&format!("KERNEL_{}", name.to_uppercase()), kind.code()))
}

/// Every fold's measures, a row to score after the other, each with the columns of its fold.
pub struct DeviceMeasures {
    /// The measures of every kind, one kind after the other.
    pub x: Vec<u32>,
    /// Targets in their own units.
    pub y: Vec<u32>,
    /// Where each kind has its fold's sets.
    kinds: Vec<(Measure, Vec<Vec<DeviceSet>>)>,
}

impl DeviceMeasures {
    /// Measures a problem; `columns` are a fold's training rows in the order that the model wants, `takes` says which of
    /// a fold's row sets are measured.
    pub fn new(
        problem: &Problem,
        measures: &[Measure],
        columns: &[&Columns],
        mut rows_of: impl FnMut(usize, &Rows) -> Option<ndarray::Array2<f32>>,
    ) -> DeviceMeasures {
        let level = Level::detect();
        let mut packed = DeviceMeasures { x: Vec::new(), y: Vec::new(), kinds: Vec::new() };
        for measure in measures {
            let rows = DeviceRows::pack(problem, |fold, rows| {
                let Some(x) = rows_of(fold, rows) else { return Vec::new() };
                let blocks: Vec<usize> = (0..x.nrows()).step_by(64).collect();
                let block = |first: &usize| {
                    let mut values = Vec::new();
                    let rows = x.slice(ndarray::s![*first..(*first + 64).min(x.nrows()), ..]);
                    columns[fold].measure(level, *measure, rows, |_, measures| {
                        values.extend(measures.iter().map(|measure| *measure as f32));
                    });
                    values
                };
                blocks.par_iter().flat_map_iter(block).collect()
            });
            let first = packed.x.len() as u32;
            let moved =
                |sets: Vec<DeviceSet>| sets.into_iter().map(|set| DeviceSet { x: first + set.x, ..set }).collect();
            packed.x.extend(rows.x);
            packed.y = rows.y;
            packed.kinds.push((*measure, rows.sets.into_iter().map(moved).collect()));
        }
        packed
    }

    /// A fold's sets for a kernel that is a function of this measure.
    pub fn sets(&self, measure: Measure, fold: usize) -> &[DeviceSet] {
        self.kinds.iter().find(|(kind, _)| *kind == measure).map_or(&[], |(_, folds)| &folds[fold])
    }
}
