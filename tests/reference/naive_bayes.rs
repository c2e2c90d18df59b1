//! Gaussian naive Bayes as a plain loop in f64, one class and one feature at a time.

use ndarray::ArrayView2;

/// A row's probabilities after these training rows; `weight` is one number a row.
pub fn predict(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    weight: &[f64],
    classes: usize,
    (smoothing, is_uniform): (f64, bool),
    row: &[f32],
) -> Vec<f64> {
    let column = |j: usize| x.column(j).iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let moments = |values: &[f64], weight: &[f64]| {
        let all: f64 = weight.iter().sum();
        let mean = values.iter().zip(weight).map(|(x, w)| x * w).sum::<f64>() / all;
        (mean, values.iter().zip(weight).map(|(x, w)| (x - mean).powi(2) * w).sum::<f64>() / all)
    };
    let ones = vec![1.0; codes.len()];
    let largest = (0..x.ncols()).map(|j| moments(&column(j), &ones).1).fold(0.0, f64::max);
    let of_class = |class: usize| -> Vec<f64> {
        codes.iter().zip(weight).map(|(code, w)| if *code as usize == class { *w } else { 0.0 }).collect()
    };
    let likelihood = |class: usize| {
        let own = of_class(class);
        let share = own.iter().sum::<f64>() / weight.iter().sum::<f64>();
        if share == 0.0 {
            return f64::NEG_INFINITY;
        }
        let terms = (0..x.ncols()).map(|j| {
            let (mean, variance) = moments(&column(j), &own);
            let variance = variance + smoothing * largest;
            -0.5 * ((f64::from(row[j]) - mean).powi(2) / variance + variance.ln())
        });
        terms.sum::<f64>() + if is_uniform { 0.0 } else { share.ln() }
    };
    let likelihoods: Vec<f64> = (0..classes).map(likelihood).collect();
    let largest = likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = likelihoods.iter().map(|l| (l - largest).exp()).collect();
    let all: f64 = shares.iter().sum();
    shares.iter().map(|share| share / all).collect()
}
