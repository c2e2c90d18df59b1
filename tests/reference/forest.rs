//! A forest as a plain loop: real values, gains in f64, one row at a time. Draws come from the same keys, as the recipe
//! says; of numbers, everything to be scored must have been seen in training.

use std::cmp::Ordering;
use thousandfold::base::random::Key;
use thousandfold::data::{ColumnKind, Fold, Target};
use thousandfold::models::forest::recipe::{Criterion, ForestParams, Kind, ROOT, bootstrap_key, scaled, tree_key};

enum Node {
    Leaf(Vec<f64>),
    Split { feature: usize, goes_left: GoesLeft, children: Box<[Node; 2]> },
}

/// Whether a value goes left.
type GoesLeft = Box<dyn Fn(f32) -> bool>;
/// A row and how often it counts.
type Row = (usize, f64);

struct Plain<'a> {
    fold: &'a Fold,
    params: &'a ForestParams,
    looked_at: usize,
}

/// A side of a split: class weights, or the sum alone; with the weight.
struct Side {
    sums: Vec<f64>,
    weight: f64,
}

/// What a forest says of the fold's first row set to score.
pub fn predict(fold: &Fold, params: &ForestParams) -> Vec<Vec<f64>> {
    let (rows, features) = fold.train.x.dim();
    let draws = params.draws(rows, features);
    let plain = Plain { fold, params, looked_at: draws.features as usize };
    let forest: Vec<Node> = (0..params.trees)
        .map(|tree| {
            let key = tree_key(fold.key, tree);
            let mut counts = vec![if draws.rows == 0 { 1.0 } else { 0.0 }; rows];
            for draw in 0..u64::from(draws.rows) {
                let word = bootstrap_key(key).words(draw / 2)[draw as usize % 2];
                counts[scaled(word, rows as u32) as usize] += 1.0;
            }
            if let (0, Some(weights)) = (draws.rows, &fold.train.weight) {
                counts.iter_mut().zip(weights).for_each(|(count, weight)| *count = f64::from(*weight));
            }
            plain.grow(counts.into_iter().enumerate().filter(|(_, count)| *count > 0.0).collect(), key.child(ROOT), 0)
        })
        .collect();
    let said = |row: ndarray::ArrayView1<'_, f32>| {
        let mut sum = vec![0.0; fold.train.y.outputs()];
        for tree in &forest {
            let mut node = tree;
            let values = loop {
                match node {
                    Node::Leaf(values) => break values,
                    Node::Split { feature, goes_left, children } => {
                        node = &children[usize::from(!goes_left(row[*feature]))];
                    }
                }
            };
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / forest.len() as f64);
        }
        sum
    };
    fold.evals[0].x.rows().into_iter().map(said).collect()
}

impl Plain<'_> {
    fn side(&self, rows: &[Row]) -> Side {
        let (mut sums, mut weight) = (vec![0.0; self.fold.train.y.outputs()], 0.0);
        for (row, count) in rows {
            weight += count;
            match &self.fold.train.y {
                Target::Classes { codes, .. } => sums[codes[*row] as usize] += count,
                Target::Values(values) => sums[0] += count * f64::from(values[*row]),
            }
        }
        Side { sums, weight }
    }

    fn is_uniform(&self, rows: &[Row]) -> bool {
        let first = rows[0].0;
        rows.iter().all(|(row, _)| match &self.fold.train.y {
            Target::Classes { codes, .. } => codes[*row] == codes[first],
            Target::Values(values) => values[*row] == values[first],
        })
    }

    /// What both sides are worth; the more the better.
    fn gain(&self, left: &Side, right: &Side) -> f64 {
        let log = |count: f64| if count > 0.0 { count * count.log2() } else { 0.0 };
        let of = |side: &Side| match (&self.fold.train.y, self.params.criterion) {
            (Target::Classes { .. }, Criterion::Entropy) => {
                side.sums.iter().map(|count| log(*count)).sum::<f64>() - log(side.weight)
            }
            _ => side.sums.iter().map(|sum| sum * sum).sum::<f64>() / side.weight,
        };
        of(left) + of(right)
    }

    fn grow(&self, rows: Vec<Row>, key: Key, depth: u32) -> Node {
        let all = self.side(&rows);
        let leaf = || Node::Leaf(all.sums.iter().map(|sum| sum / all.weight).collect());
        let min_leaf = self.params.min_leaf as usize;
        if depth >= self.params.depth || rows.len() < 2.max(2 * min_leaf) || self.is_uniform(&rows) {
            return leaf();
        }
        let features = self.fold.train.x.ncols();
        let mut order: Vec<usize> = (0..features).collect();
        let (mut has_varied, mut best): (bool, Option<(f64, usize, GoesLeft)>) = (false, None);
        for drawn in 0..features {
            if drawn >= self.looked_at && has_varied {
                break;
            }
            let [word, cut] = key.words(drawn as u64);
            order.swap(drawn, drawn + scaled(word, (features - drawn) as u32) as usize);
            let feature = order[drawn];
            let splits = self.splits(feature, &rows, &all, cut);
            let x = |row: usize| self.fold.train.x[[row, feature]];
            has_varied |= rows.iter().any(|(row, _)| x(*row).to_bits() != x(rows[0].0).to_bits());
            for goes_left in splits {
                let (left, right): (Vec<Row>, Vec<Row>) = rows.iter().partition(|(row, _)| goes_left(x(*row)));
                if left.len().min(right.len()) < min_leaf {
                    continue;
                }
                let gain = self.gain(&self.side(&left), &self.side(&right));
                // Nothing but rounding is between gains that are so near; logarithms have 26 binary places.
                let doubt =
                    |best: f64| if self.params.criterion == Criterion::Entropy { 1e-6 } else { 1e-9 * best.abs() };
                if best.as_ref().is_none_or(|(best, ..)| gain > best + doubt(*best)) {
                    best = Some((gain, feature, goes_left));
                }
            }
        }
        let Some((_, feature, goes_left)) = best else { return leaf() };
        let (left, right): (Vec<Row>, Vec<Row>) =
            rows.iter().partition(|(row, _)| goes_left(self.fold.train.x[[*row, feature]]));
        let children = [(left, 0), (right, 1)].map(|(rows, side)| self.grow(rows, key.child(side), depth + 1));
        Node::Split { feature, goes_left, children: Box::new(children) }
    }

    /// The splits of a feature that a node compares, in their order.
    fn splits(&self, feature: usize, rows: &[Row], all: &Side, word: u32) -> Vec<GoesLeft> {
        let column = self.fold.train.x.column(feature);
        match self.fold.columns[feature] {
            ColumnKind::Number => {
                let mut values: Vec<f32> = rows.iter().map(|(row, _)| column[*row]).filter(|x| !x.is_nan()).collect();
                values.sort_by(f32::total_cmp);
                values.dedup();
                let missing: Vec<Row> = rows.iter().filter(|(row, _)| column[*row].is_nan()).copied().collect();
                let mut cuts: Vec<f64> =
                    values.windows(2).map(|pair| 0.5 * (f64::from(pair[0]) + f64::from(pair[1]))).collect();
                if self.params.kind == Kind::ExtraTrees && values.len() > 1 {
                    cuts = vec![drawn_cut(column.iter().copied(), &values, word)];
                } else if !missing.is_empty() && !values.is_empty() {
                    cuts.push(f64::INFINITY);
                }
                let mut splits: Vec<GoesLeft> = Vec::new();
                for cut in cuts {
                    let left: Vec<Row> =
                        rows.iter().filter(|(row, _)| f64::from(column[*row]) <= cut).copied().collect();
                    let is_left_heavier = 2.0 * self.side(&left).weight > all.weight;
                    let directions: &[bool] = match missing.is_empty() {
                        true => &[is_left_heavier],
                        false if cut.is_infinite() => &[false],
                        false => &[false, true],
                    };
                    for &missing_left in directions {
                        splits.push(Box::new(move |x| if x.is_nan() { missing_left } else { f64::from(x) <= cut }));
                    }
                }
                splits
            }
            ColumnKind::Category { levels } => {
                let category = move |x: f32| if x.is_nan() { levels as usize } else { x as usize };
                let of = |code: usize| -> Vec<Row> {
                    rows.iter().filter(|(row, _)| category(column[*row]) == code).copied().collect()
                };
                let largest =
                    (0..all.sums.len()).fold(0, |best, k| if all.sums[k] > all.sums[best] { k } else { best });
                let mut present: Vec<(f64, usize)> = (0..=levels as usize)
                    .filter(|code| !of(*code).is_empty())
                    .map(|code| (self.side(&of(code)).sums[largest] / self.side(&of(code)).weight, code))
                    .collect();
                present.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1)));
                let order: Vec<usize> = present.iter().map(|(_, code)| *code).collect();
                let mut splits: Vec<GoesLeft> = Vec::new();
                for cut in 1..order.len() {
                    if self.params.kind == Kind::ExtraTrees && cut != 1 + scaled(word, order.len() as u32 - 1) as usize
                    {
                        continue;
                    }
                    let (left, right) = (order[..cut].to_vec(), order[cut..].to_vec());
                    let rows_left: Vec<Row> = left.iter().flat_map(|code| of(*code)).collect();
                    let is_left_heavier = 2.0 * self.side(&rows_left).weight > all.weight;
                    splits.push(Box::new(move |x| {
                        let code = category(x);
                        left.contains(&code) || (is_left_heavier && !right.contains(&code))
                    }));
                }
                splits
            }
        }
    }
}

/// The greatest value at or below the place that a word draws between the least and the greatest of a node.
fn drawn_cut(column: impl Iterator<Item = f32> + Clone, values: &[f32], word: u32) -> f64 {
    let known = column.filter(|x| !x.is_nan());
    let low = known.clone().fold(f32::INFINITY, f32::min);
    let high = known.clone().fold(f32::NEG_INFINITY, f32::max);
    let unit = f64::from(u32::MAX) / (f64::from(high) - f64::from(low));
    let place = |x: f32| ((f64::from(x) - f64::from(low)) * unit) as u32;
    let (first, last) = (values[0], values[values.len() - 1]);
    let drawn = place(first) + scaled(word, place(last) - place(first));
    let below = known.filter(|x| place(*x) <= drawn && *x < last);
    f64::from(below.fold(first, f32::max))
}
