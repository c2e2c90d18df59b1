//! Fits one column on given rows. Sums run over the rows in their order, in f64, so they depend on nothing else.

use super::super::Affine;
use super::super::table::{Categories, MISSING};
use super::{CategoryPlan, CellPlan, CodePlan, Impute, NumberPlan, Plan, PrepareOptions, Scale};

/// A numeric column's plan and the names of its features.
pub(super) fn number(name: &str, values: &[f64], rows: &[u32], options: &PrepareOptions) -> (Plan, Vec<String>) {
    let mut cells: Vec<f64> = rows.iter().map(|&row| values[row as usize]).collect();
    let known: Vec<f64> = cells.iter().copied().filter(|cell| !cell.is_nan()).collect();
    let missing = cells.len() - known.len();
    let mut plan = NumberPlan {
        name: name.to_owned(),
        fill: fill(known, options.impute),
        shift: 0.0,
        scale: 1.0,
        value: None,
        indicator: None,
    };
    cells.iter_mut().filter(|cell| cell.is_nan()).for_each(|cell| *cell = plan.fill);

    let mut features = Vec::new();
    if varies(&cells) {
        (plan.shift, plan.scale) = scaling(cells, options.scale);
        plan.value = Some(0);
        features.push(name.to_owned());
    }
    if options.indicator && 0 < missing && missing < rows.len() {
        plan.indicator = Some(features.len() as u32);
        features.push(format!("{name} is missing"));
    }
    (Plan::Number(plan), features)
}

/// A category's plan and the names of its features.
pub(super) fn category(
    name: &str,
    categories: &Categories,
    rows: &[u32],
    options: &PrepareOptions,
) -> (Plan, Vec<String>) {
    let mut counts = vec![0_usize; categories.levels.len()];
    let mut missing = 0;
    for &row in rows {
        match categories.codes[row as usize] {
            MISSING => missing += 1,
            code => counts[code as usize] += 1,
        }
    }
    let mut fill = None;
    if options.impute == Impute::MostFrequent
        && let Some(most) = (0..counts.len()).rev().max_by_key(|&code| counts[code]).filter(|&code| counts[code] > 0)
    {
        counts[most] += std::mem::take(&mut missing);
        fill = Some(categories.levels[most].clone());
    }
    // As scikit-learn's min_frequency, which is a number of rows or a share of them.
    let least = if options.rare < 1.0 { options.rare * rows.len() as f64 } else { options.rare };
    let is_rare = |count: usize| count > 0 && (count as f64) < least;
    let rare_rows: usize = counts.iter().copied().filter(|&count| is_rare(count)).sum();

    let mut features = Vec::new();
    // A bucket that none, or all, of the rows fall in has no feature.
    let mut feature = |count: usize, feature_name: String| {
        (0 < count && count < rows.len()).then(|| {
            features.push(feature_name);
            features.len() as u32 - 1
        })
    };
    let mut levels = Vec::new();
    for (level, &count) in categories.levels.iter().zip(&counts).filter(|&(_, &count)| count > 0 && !is_rare(count)) {
        levels.push((level.clone(), feature(count, format!("{name}={level}"))));
    }
    let rare = feature(rare_rows, format!("{name} is rare"));
    let unknown = feature(missing, format!("{name} is unknown"));
    let rare_levels = categories.levels.iter().zip(&counts).filter(|&(_, &count)| is_rare(count));
    levels.extend(rare_levels.map(|(level, _)| (level.clone(), rare)));
    (Plan::Category(CategoryPlan { name: name.to_owned(), levels, rare, unknown, fill }), features)
}

/// The plan of a numeric column that stays as it is.
pub(super) fn cell(name: &str, values: &[f64], rows: &[u32]) -> (Plan, Vec<String>) {
    // As bits, so that a missing cell differs from all others and from none of its kind.
    let mut cells = rows.iter().map(|&row| (values[row as usize] as f32 + 0.0).to_bits());
    let first = cells.next();
    let varies = cells.any(|cell| Some(cell) != first);
    let plan = CellPlan { name: name.to_owned(), feature: varies.then_some(0) };
    (Plan::Cell(plan), varies.then(|| name.to_owned()).into_iter().collect())
}

/// The plan of a category that stays one feature.
pub(super) fn code(name: &str, categories: &Categories, rows: &[u32]) -> (Plan, Vec<String>) {
    let mut occurs = vec![false; categories.levels.len()];
    let mut has_missing = false;
    for &row in rows {
        match categories.codes[row as usize] {
            MISSING => has_missing = true,
            code => occurs[code as usize] = true,
        }
    }
    let levels: Vec<String> =
        categories.levels.iter().zip(&occurs).filter(|(_, occurs)| **occurs).map(|(level, _)| level.clone()).collect();
    let varies = levels.len() + usize::from(has_missing) > 1;
    let plan = CodePlan { name: name.to_owned(), levels, feature: varies.then_some(0) };
    (Plan::Code(plan), varies.then(|| name.to_owned()).into_iter().collect())
}

/// Mean and population standard deviation of a regression target.
pub(super) fn target(values: &[f32], rows: &[u32]) -> Affine {
    let cells: Vec<f64> = rows.iter().map(|&row| f64::from(values[row as usize])).collect();
    let mean = mean(&cells);
    let scale = standard_deviation(&cells, mean) as f32;
    Affine { shift: mean as f32, scale: if scale.is_normal() { scale } else { 1.0 } }
}

fn varies(cells: &[f64]) -> bool {
    cells.iter().any(|cell| Some(cell) != cells.first())
}

fn fill(mut known: Vec<f64>, impute: Impute) -> f64 {
    match impute {
        Impute::Constant(value) => value,
        _ if known.is_empty() => 0.0,
        Impute::Mean => mean(&known),
        Impute::Median => quantile(&mut known, 0.5),
        Impute::MostFrequent => most_frequent(known),
    }
}

/// Shift and scale; a spread of 0 scales by 1, as in scikit-learn.
fn scaling(mut cells: Vec<f64>, scale: Scale) -> (f64, f64) {
    let (shift, scale) = match scale {
        Scale::None => (0.0, 1.0),
        Scale::Standard => {
            let mean = mean(&cells);
            (mean, standard_deviation(&cells, mean))
        }
        Scale::Robust => {
            let [lower, median, upper] = [0.25, 0.5, 0.75].map(|q| quantile(&mut cells, q));
            (median, upper - lower)
        }
        Scale::MinMax => {
            let (least, most) = cells.iter().fold((f64::MAX, f64::MIN), |(l, m), &cell| (l.min(cell), m.max(cell)));
            (least, most - least)
        }
    };
    (shift, if scale > 0.0 { scale } else { 1.0 })
}

fn mean(cells: &[f64]) -> f64 {
    cells.iter().sum::<f64>() / cells.len() as f64
}

/// With the correction for a rounded mean (Chan, Golub & LeVeque 1983, equation 1.7).
fn standard_deviation(cells: &[f64], mean: f64) -> f64 {
    let (mut squares, mut remainder) = (0.0, 0.0);
    for cell in cells {
        squares += (cell - mean) * (cell - mean);
        remainder += cell - mean;
    }
    let n = cells.len() as f64;
    ((squares - remainder * remainder / n) / n).max(0.0).sqrt()
}

/// A quantile with linear interpolation, numpy's default. Reorders the cells.
fn quantile(cells: &mut [f64], q: f64) -> f64 {
    let place = q * (cells.len() - 1) as f64;
    let (_, &mut low, above) = cells.select_nth_unstable_by(place as usize, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + (high - low) * place.fract()
}

/// The value that occurs most often; the least of several.
fn most_frequent(mut cells: Vec<f64>) -> f64 {
    cells.sort_unstable_by(f64::total_cmp);
    let mut best: &[f64] = &[];
    for run in cells.chunk_by(|a, b| a == b) {
        if run.len() > best.len() {
            best = run;
        }
    }
    best.first().copied().unwrap_or(0.0)
}
