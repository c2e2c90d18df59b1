//! Gradient boosting as a plain f64 loop over rows: no histogram, no whole numbers, every split from the rows themselves.

use std::sync::Arc;
use thousandfold::data::{ColumnKind, Fold, Target};
use thousandfold::models::gbdt::fold::GbdtFold;
use thousandfold::models::gbdt::params::{GbdtParams, Growth, Objective};
use thousandfold::models::gbdt::sample;

/// What boosting predicts for a fold's training rows and then for its rows to score, an output after the other.
pub fn predictions(fold: &Arc<Fold>, params: GbdtParams, rounds: u64) -> Vec<Vec<f64>> {
    let mut boosting = Boosting::new(fold.clone(), params);
    (0..rounds).for_each(|round| boosting.round(round));
    (0..boosting.rows.len()).map(|row| boosting.predict(row)).collect()
}

/// Sums of gradients and hessians, and a number of rows.
type Sums = (f64, f64, f64);

struct Boosting {
    fold: Arc<Fold>,
    params: GbdtParams,
    /// Of the training rows, then of those to score.
    rows: Vec<Vec<f32>>,
    y: Vec<f64>,
    weight: Vec<f64>,
    /// `[scores][rows]`
    scores: Vec<Vec<f64>>,
    classes: usize,
}

struct Leaf {
    rows: Vec<usize>,
    others: Vec<usize>,
    depth: u32,
    value: f64,
    dead: Vec<bool>,
    found: Option<Found>,
}

#[derive(Clone)]
struct Found {
    gain: f64,
    column: usize,
    /// Values that go left, and whether missing ones do.
    left: Vec<f32>,
    missing_left: bool,
    l2: f64,
}

impl Boosting {
    fn new(fold: Arc<Fold>, params: GbdtParams) -> Boosting {
        let rows = fold.row_sets().flat_map(|set| set.x.rows().into_iter().map(|row| row.to_vec())).collect::<Vec<_>>();
        let n = fold.train.y.len();
        let mut weight: Vec<f64> = match &fold.train.weight {
            Some(weight) => weight.iter().map(|w| f64::from(*w)).collect(),
            None => vec![1.0; n],
        };
        let (y, classes): (Vec<f64>, usize) = match &fold.train.y {
            Target::Classes { codes, classes } => (codes.iter().map(|code| f64::from(*code)).collect(), *classes),
            Target::Values(values) => {
                let own = |y: &f32| (f64::from(*y) - f64::from(fold.target.shift)) / f64::from(fold.target.scale);
                let is_count = params.objective == Objective::Poisson;
                (values.iter().map(|y| if is_count { f64::from(*y) } else { own(y) }).collect(), 0)
            }
        };
        if params.is_balanced {
            let count = |class: f64| y.iter().filter(|y| **y == class).count() as f64;
            let present = (0..classes).filter(|class| count(*class as f64) > 0.0).count() as f64;
            weight.iter_mut().zip(&y).for_each(|(w, y)| *w *= n as f64 / (present * count(*y)));
        }
        let total: f64 = weight.iter().sum();
        let mean = |of: &dyn Fn(f64) -> f64| y.iter().zip(&weight).map(|(y, w)| w * of(*y)).sum::<f64>() / total;
        let start: Vec<f64> = match (classes, params.objective) {
            (2, _) => vec![(mean(&|y| y) / (1.0 - mean(&|y| y))).ln()],
            (3.., _) => (0..classes).map(|class| mean(&|y| f64::from(u8::from(y == class as f64))).ln()).collect(),
            (_, Objective::Poisson) => vec![mean(&|y| y).ln()],
            _ => vec![mean(&|y| y)],
        };
        let scores = start.iter().map(|start| vec![*start; rows.len()]).collect();
        Boosting { fold, params, rows, y, weight, scores, classes }
    }

    fn predict(&self, row: usize) -> Vec<f64> {
        let score = |k: usize| self.scores[k][row];
        match (self.classes, self.params.objective) {
            (0, Objective::Poisson) => vec![score(0).exp()],
            (0, _) => vec![score(0) * f64::from(self.fold.target.scale) + f64::from(self.fold.target.shift)],
            (2, _) => vec![1.0 / (1.0 + score(0).exp()), 1.0 / (1.0 + (-score(0)).exp())],
            (classes, _) => {
                let sum: f64 = (0..classes).map(|k| score(k).exp()).sum();
                (0..classes).map(|k| score(k).exp() / sum).collect()
            }
        }
    }

    /// A row's gradient and hessian of one score.
    fn gradient(&self, k: usize, row: usize) -> (f64, f64) {
        let (y, w, score) = (self.y[row], self.weight[row], self.scores[k][row]);
        let (g, h) = match (self.classes, self.params.objective) {
            (0, Objective::Poisson) => (score.exp() - y, (score + 0.7).exp()),
            (0, _) => (score - y, 1.0),
            (2, _) => {
                let p = self.predict(row)[1];
                (p - y, p * (1.0 - p))
            }
            (classes, _) => {
                let (p, factor) = (self.predict(row)[k], classes as f64 / (classes as f64 - 1.0));
                (p - f64::from(u8::from(y == k as f64)), factor * p * (1.0 - p))
            }
        };
        (g * w, h * w)
    }

    fn round(&mut self, round: u64) {
        let scores = self.scores.len();
        let gradients: Vec<Vec<(f64, f64)>> =
            (0..scores).map(|k| (0..self.y.len()).map(|row| self.gradient(k, row)).collect()).collect();
        let (mut rows, mut others) = (Vec::new(), Vec::new());
        sample::rows(&GbdtFold::new(self.fold.clone()), self.params.row_share, round, &mut rows, &mut others);
        for (k, gradients) in gradients.iter().enumerate() {
            let tree = round * scores as u64 + k as u64;
            let columns = self.fold.columns.len();
            let mut root = Leaf {
                rows: rows.iter().map(|row| *row as usize).collect(),
                others: others.iter().map(|row| *row as usize).collect(),
                depth: 0,
                value: 0.0,
                dead: vec![false; columns],
                found: None,
            };
            if self.params.column_share < 1.0 {
                let is_in = sample::columns(self.fold.key, self.params.column_share, tree, columns);
                root.dead = is_in.into_iter().map(|is_in| !is_in).collect();
            }
            self.look(&mut root, gradients);
            for leaf in self.grow(root, gradients) {
                for row in leaf.rows.iter().chain(&leaf.others) {
                    self.scores[k][*row] += leaf.value;
                }
            }
        }
    }

    fn grow(&self, root: Leaf, gradients: &[(f64, f64)]) -> Vec<Leaf> {
        let mut leaves = vec![root];
        let most = match self.params.growth {
            Growth::LeafWise { leaves, .. } => leaves as usize,
            Growth::LevelWise { .. } => usize::MAX,
        };
        while leaves.len() < most {
            let gain = |leaf: &Leaf| leaf.found.as_ref().map_or(0.0, |found| found.gain);
            let Some(best) = (0..leaves.len())
                .filter(|leaf| gain(&leaves[*leaf]) > 0.0)
                .reduce(|best, next| if gain(&leaves[next]) > gain(&leaves[best]) { next } else { best })
            else {
                break;
            };
            let parent = &leaves[best];
            let found = parent.found.clone().unwrap();
            let has_missing = (0..self.y.len()).any(|row| self.rows[row][found.column].is_nan());
            let goes_left = |missing_left: bool| {
                let column = found.column;
                // A value between two training values goes with the nearer one.
                let nearest = self.values(column);
                let is_number = self.fold.columns[column] == ColumnKind::Number;
                let left = found.left.clone();
                move |row: &usize| {
                    let x = self.rows[*row][column];
                    if x.is_nan() {
                        return missing_left;
                    }
                    let last = left.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let next = nearest.iter().copied().find(|value| *value > last);
                    match next {
                        _ if !is_number => left.contains(&x),
                        None => true,
                        Some(next) => f64::from(x) <= 0.5 * (f64::from(last) + f64::from(next)),
                    }
                }
            };
            let of_left = parent.rows.iter().filter(|row| goes_left(found.missing_left)(row)).count();
            let is_number = self.fold.columns[found.column] == ColumnKind::Number;
            let most_left = is_number && 2 * of_left >= parent.rows.len();
            let goes_left = goes_left(if has_missing { found.missing_left } else { most_left });
            let child = |is_left: bool| {
                let part = |rows: &[usize]| rows.iter().copied().filter(|row| goes_left(row) == is_left).collect();
                let rows: Vec<usize> = part(&parent.rows);
                let (g, h, _) = sums(&rows, gradients);
                let value = -self.soft(g) / (h + found.l2) * f64::from(self.params.learning_rate);
                let (depth, dead) = (parent.depth + 1, parent.dead.clone());
                let mut leaf = Leaf { rows, others: part(&parent.others), depth, value, dead, found: None };
                self.look(&mut leaf, gradients);
                leaf
            };
            let (left, right) = (child(true), child(false));
            leaves[best] = left;
            leaves.push(right);
        }
        leaves
    }

    /// The distinct training values of a column.
    fn values(&self, column: usize) -> Vec<f32> {
        let mut values: Vec<f32> =
            self.rows[..self.y.len()].iter().map(|row| row[column]).filter(|x| !x.is_nan()).collect();
        values.sort_by(f32::total_cmp);
        values.dedup();
        values
    }

    fn soft(&self, g: f64) -> f64 {
        (g.abs() - f64::from(self.params.l1)).max(0.0) * g.signum()
    }

    /// Finds a leaf's best split.
    fn look(&self, leaf: &mut Leaf, gradients: &[(f64, f64)]) {
        let params = &self.params;
        let (most_depth, min_rows) = (
            match params.growth {
                Growth::LeafWise { depth: 0, .. } => u32::MAX,
                Growth::LeafWise { depth, .. } | Growth::LevelWise { depth } => depth,
            },
            f64::from(params.min_leaf),
        );
        let all = sums(&leaf.rows, gradients);
        let min_hessian = f64::from(params.min_child_weight);
        if leaf.depth >= most_depth || all.2 < 2.0 * min_rows || all.1 < 2.0 * min_hessian {
            return;
        }
        let score = |(g, h, _): Sums, l2: f64| self.soft(g) * self.soft(g) / (h + l2);
        let least = score(all, f64::from(params.l2)) + f64::from(params.min_gain);
        for column in 0..leaf.dead.len() {
            if leaf.dead[column] {
                continue;
            }
            let mut best: Option<Found> = None;
            let mut offer = |left: Sums, values: &[f32], missing_left: bool, l2: f64| {
                let right = (all.0 - left.0, all.1 - left.1, all.2 - left.2);
                if left.2.min(right.2) < min_rows || left.1.min(right.1) < min_hessian {
                    return;
                }
                let gain = score(left, l2) + score(right, l2) - least;
                if gain > 1e-9 && best.as_ref().is_none_or(|best| gain > best.gain + 1e-12) {
                    best = Some(Found { gain, column, left: values.to_vec(), missing_left, l2 });
                }
            };
            let of = |value: f32| {
                let is_it = |row: &&usize| {
                    let x = self.rows[**row][column];
                    x == value || x.is_nan() && value.is_nan()
                };
                let (g, h, _) = sums(&leaf.rows.iter().filter(is_it).copied().collect::<Vec<_>>(), gradients);
                // LightGBM counts a value's rows by their share of the hessian.
                (g, h, (h * all.2 / all.1 + 0.5).floor())
            };
            let values = self.values(column);
            let own: Vec<(f32, Sums)> = values.iter().map(|value| (*value, of(*value))).collect();
            match self.fold.columns[column] {
                ColumnKind::Number => {
                    let missing = of(f32::NAN);
                    let has_missing = (0..self.y.len()).any(|row| self.rows[row][column].is_nan());
                    let mut right = (0.0, 0.0, 0.0);
                    for cut in (1..own.len()).rev() {
                        right = add(right, own[cut].1);
                        let left = (all.0 - right.0, all.1 - right.1, all.2 - right.2);
                        offer(left, &values[..cut], true, f64::from(params.l2));
                    }
                    let mut left = (0.0, 0.0, 0.0);
                    for cut in 1..=own.len() {
                        left = add(left, own[cut - 1].1);
                        if has_missing && (missing.1 > 0.0 || cut < own.len()) {
                            offer(left, &values[..cut], false, f64::from(params.l2));
                        }
                    }
                }
                ColumnKind::Category { levels } => {
                    let rules = (f64::from(params.category_smoothing), f64::from(params.category_rows));
                    if levels <= params.one_hot_levels {
                        own.iter().for_each(|(value, sums)| offer(*sums, &[*value], false, f64::from(params.l2)));
                    } else {
                        let mut order: Vec<&(f32, Sums)> = own.iter().filter(|(_, sums)| sums.2 >= rules.0).collect();
                        let key = |sums: &Sums| sums.0 / (sums.1 + rules.0);
                        order.sort_by(|a, b| key(&a.1).total_cmp(&key(&b.1)));
                        let most = (params.most_categories as usize).min(order.len().div_ceil(2));
                        for _ in 0..2 {
                            let (mut left, mut group) = ((0.0, 0.0, 0.0), 0.0);
                            for i in 0..most {
                                left = add(left, order[i].1);
                                group += order[i].1.2;
                                if all.2 - left.2 < rules.1 {
                                    break;
                                }
                                let is_allowed =
                                    left.2.min(all.2 - left.2) >= min_rows && left.1.min(all.1 - left.1) >= min_hessian;
                                if is_allowed && group >= rules.1 {
                                    group = 0.0;
                                    let set: Vec<f32> = order[..=i].iter().map(|(value, _)| *value).collect();
                                    offer(left, &set, false, f64::from(params.l2) + f64::from(params.category_l2));
                                }
                            }
                            order.reverse();
                        }
                    }
                }
            }
            match best {
                Some(found) if leaf.found.as_ref().is_none_or(|best| found.gain > best.gain + 1e-12) => {
                    leaf.found = Some(found);
                }
                Some(_) => {}
                None => leaf.dead[column] = true,
            }
        }
    }
}

fn sums(rows: &[usize], gradients: &[(f64, f64)]) -> Sums {
    rows.iter().fold((0.0, 0.0, 0.0), |sum, row| add(sum, (gradients[*row].0, gradients[*row].1, 1.0)))
}

fn add(a: Sums, b: Sums) -> Sums {
    (a.0 + b.0, a.1 + b.1, a.2 + b.2)
}
