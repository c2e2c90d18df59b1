//! Nearest neighbours as a plain loop in f64: every distance, one sort, one vote after another.

use ndarray::ArrayView2;

/// The rows of `train` by their distance to `row`, nearest first, of equal ones the first; each with its distance.
pub fn neighbours(metric: &str, train: ArrayView2<'_, f32>, row: &[f32]) -> Vec<(f64, usize)> {
    let distance = |other: Vec<f64>| -> f64 {
        let pairs = || other.iter().zip(row).map(|(a, b)| (*a, f64::from(*b)));
        match metric {
            "euclidean" => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
            "manhattan" => pairs().map(|(a, b)| (a - b).abs()).sum(),
            _ => {
                let dot = |f: fn(f64, f64) -> f64| pairs().map(|(a, b)| f(a, b)).sum::<f64>();
                let lengths = (dot(|a, _| a * a) * dot(|_, b| b * b)).sqrt();
                let cosine = if lengths > 0.0 { dot(|a, b| a * b) / lengths } else { 0.0 };
                if 1.0 - cosine < 1e-12 { 0.0 } else { 1.0 - cosine }
            }
        }
    };
    let rows = train.rows().into_iter().map(|other| other.iter().map(|x| f64::from(*x)).collect());
    let mut all: Vec<(f64, usize)> = rows.map(distance).enumerate().map(|(i, d)| (d, i)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all
}

/// The weighted mean of what the first `k` of these stand for.
pub fn vote(near: &[(f64, usize)], k: usize, is_by_distance: bool, value: impl Fn(usize) -> f64) -> f64 {
    let near = &near[..k.min(near.len())];
    let is_there = near.iter().any(|(distance, _)| *distance == 0.0);
    let weight = |distance: f64| match (is_by_distance, is_there) {
        (false, _) => 1.0,
        (true, true) => f64::from(u8::from(distance == 0.0)),
        (true, false) => 1.0 / distance,
    };
    let all: f64 = near.iter().map(|(distance, _)| weight(*distance)).sum();
    near.iter().map(|(distance, row)| weight(*distance) * value(*row)).sum::<f64>() / all
}
