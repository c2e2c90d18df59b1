//! Grid search: every combination once, any of them by its number, so that 10^8 points start at once in no memory.
//!
//! Points are numbered by a tree: a parameter's values one after the other, each followed by the points of the parameters
//! below it. A parameter that does not exist under the values above takes no number, so each real point comes exactly
//! once. How many points lie below depends only on the values of those parents that later parameters look at, so counts
//! are kept by those values: a table, not a walk.

use super::{Ask, Outcome, Strategy, StrategyEntry, StrategyOptions};
use crate::base::permutation::Permutation;
use crate::base::registry::Named;
use crate::space::{Codec, Points, Space};
use std::collections::HashMap;
use std::sync::Arc;

/// The registry entry.
pub struct GridSearch;

impl Named for GridSearch {
    fn name(&self) -> &'static str {
        "grid"
    }
    fn summary(&self) -> &'static str {
        "every combination once, in order or shuffled"
    }
}

impl StrategyEntry for GridSearch {
    fn begins_anywhere(&self) -> bool {
        false
    }
    fn is_adaptive(&self) -> bool {
        false
    }
    fn open(&self, space: Arc<Space>, options: &StrategyOptions) -> Box<dyn Strategy> {
        let mut tree = Tree::new(&space, options.resolution);
        let size = tree.count(0, &mut Vec::new());
        let order = options.shuffle.then(|| Permutation::new(options.key, size));
        let starts = space.starts();
        let known: Vec<u64> = starts.iter().filter_map(|start| tree.number_of(start)).collect();
        Box::new(Grid { space, tree, size, order, starts, known, next: 0 })
    }
}

/// Distance in the unit interval within which two values of a continuum are one but for roundings.
const SAME_PLACE: f64 = 1e-12;

/// Puts the default itself where a grid's point along a continuum is the default but for the roundings of its scale: the
/// defaults are candidate 0, and their twin would be trained beside them.
fn snap(values: &mut [f64], codec: &Codec, default: f64) {
    let place = codec.encode(default);
    values
        .iter_mut()
        .filter(|value| (codec.encode(**value) - place).abs() <= SAME_PLACE)
        .for_each(|value| *value = default);
}

struct Grid {
    space: Arc<Space>,
    tree: Tree,
    size: u64,
    order: Option<Permutation>,
    /// What the search begins with.
    starts: Vec<Vec<f64>>,
    /// The numbers of those that are points of the grid.
    known: Vec<u64>,
    /// Numbers of the grid that were looked at: more than candidates where constraints leave some out.
    next: u64,
}

impl Strategy for Grid {
    fn ask(&mut self, first: u64, n: usize) -> Ask {
        let mut points = Points::new(self.space.parameters.len());
        let begun = usize::try_from(first).unwrap_or(usize::MAX);
        self.starts.iter().skip(begun).take(n).for_each(|start| points.push(start));
        while points.len() < n && self.next < self.size {
            let number = self.order.as_ref().map_or(self.next, |order| order.index(self.next));
            self.next += 1;
            if self.known.contains(&number) {
                continue;
            }
            let row = self.tree.point(number);
            if self.space.is_allowed(&row) {
                points.push(&row);
            }
        }
        if points.is_empty() { Ask::Done } else { Ask::Proposals(points) }
    }

    fn tell(&mut self, _: &[Outcome]) {}

    fn size(&self) -> Option<u64> {
        let all = self.size.saturating_add((self.starts.len() - self.known.len()) as u64);
        self.space.constraints.is_empty().then_some(all)
    }
}

/// The numbering of a grid's points.
struct Tree {
    columns: Vec<Column>,
    /// Points from a column on, by the bits of the values that they depend on.
    counts: HashMap<(usize, Vec<u64>), u64>,
}

struct Column {
    values: Vec<f64>,
    conditions: Vec<(usize, Vec<f64>)>,
    /// Columns before this one whose values this one or a later one looks at.
    looked_at: Vec<usize>,
}

impl Tree {
    fn new(space: &Space, resolution: u64) -> Tree {
        let mut columns: Vec<Column> = space
            .parameters
            .iter()
            .map(|parameter| {
                let codec = Codec::new(parameter);
                // Whole numbers are thinned out as a continuum is: both ends and evenly between them on their scale.
                let count = codec.count().unwrap_or(resolution.max(1));
                let is_number = matches!(codec, Codec::Stepped { .. });
                let mut values: Vec<f64> = if is_number && count > resolution.max(2) {
                    let last = (resolution.max(2) - 1) as f64;
                    (0..resolution.max(2)).map(|place| codec.decode(place as f64 / last)).collect()
                } else {
                    (0..count).map(|index| codec.nth(index, count)).collect()
                };
                if codec.count().is_none() {
                    snap(&mut values, &codec, parameter.default);
                }
                values.dedup();
                let conditions = parameter.conditions.iter().map(|c| (c.parent, c.values.clone())).collect();
                Column { values, conditions, looked_at: Vec::new() }
            })
            .collect();
        for column in 0..columns.len() {
            let mut looked_at: Vec<usize> = columns[column..]
                .iter()
                .flat_map(|later| later.conditions.iter().map(|(parent, _)| *parent))
                .filter(|parent| *parent < column)
                .collect();
            looked_at.sort_unstable();
            looked_at.dedup();
            columns[column].looked_at = looked_at;
        }
        Tree { columns, counts: HashMap::new() }
    }

    /// The values of a column under the values above it: NaN alone where it does not exist.
    fn values(&self, column: usize, above: &[f64]) -> Vec<f64> {
        let column = &self.columns[column];
        let exists = column.conditions.iter().all(|(parent, values)| values.contains(&above[*parent]));
        if exists { column.values.clone() } else { vec![f64::NAN] }
    }

    /// Points from a column on, under the values above it. Saturates at 2^64 - 1.
    fn count(&mut self, column: usize, above: &mut Vec<f64>) -> u64 {
        if column == self.columns.len() {
            return 1;
        }
        let looked_at = self.columns[column].looked_at.iter().map(|parent| above[*parent].to_bits()).collect();
        let key = (column, looked_at);
        if let Some(count) = self.counts.get(&key) {
            return *count;
        }
        let mut sum = 0u64;
        for value in self.values(column, above) {
            above.push(value);
            sum = sum.saturating_add(self.count(column + 1, above));
            above.pop();
        }
        self.counts.insert(key, sum);
        sum
    }

    /// The point of a number below the count of all.
    fn point(&mut self, mut number: u64) -> Vec<f64> {
        let mut row = Vec::with_capacity(self.columns.len());
        for column in 0..self.columns.len() {
            for value in self.values(column, &row) {
                row.push(value);
                let below = self.count(column + 1, &mut row);
                if number < below {
                    break;
                }
                number -= below;
                row.pop();
            }
        }
        row
    }

    /// The number of a point, where it is one of the grid.
    fn number_of(&mut self, point: &[f64]) -> Option<u64> {
        let mut row = Vec::with_capacity(point.len());
        let mut number = 0u64;
        for (column, wanted) in point.iter().enumerate() {
            let mut is_found = false;
            for value in self.values(column, &row) {
                row.push(value);
                if value.to_bits() == wanted.to_bits() || value.is_nan() && wanted.is_nan() {
                    is_found = true;
                    break;
                }
                number = number.saturating_add(self.count(column + 1, &mut row));
                row.pop();
            }
            if !is_found {
                return None;
            }
        }
        Some(number)
    }
}
