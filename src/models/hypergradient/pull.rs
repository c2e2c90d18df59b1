//! Slopes of a score's sum along a model's outputs: of squared errors, and of losses of probabilities by their logits.

/// The least probability that a logarithm is taken of, and the distance of the greatest from 1, as scores clip them.
const CLIP: f64 = f32::EPSILON as f64;

/// Of `sum v (y - shift - scale z)^2` along `z`, one a row.
pub fn squared(z: &[f64], y: &[f32], weight: Option<&[f32]>, shift: f64, scale: f64) -> Vec<f64> {
    let slope = |(row, (z, y)): (usize, (&f64, &f32))| {
        2.0 * weight_of(weight, row) * scale * (shift + scale * z - f64::from(*y))
    };
    z.iter().zip(y).enumerate().map(slope).collect()
}

/// Of `-sum v ln p(own class)` along the logits, `[rows, outputs]`; 0 where the probability is clipped.
pub fn log_loss(logits: &[f64], codes: &[u32], weight: Option<&[f32]>, outputs: usize) -> Vec<f64> {
    of_classes(logits, codes, weight, outputs, |p, code, slopes| {
        let own = p.get(code).copied().unwrap_or(f64::NAN);
        if (CLIP..=1.0 - CLIP).contains(&own) || own.is_nan() {
            slopes.iter_mut().zip(p).for_each(|(slope, p)| *slope = *p);
            slopes.iter_mut().skip(code).take(1).for_each(|slope| *slope -= 1.0);
        }
    })
}

/// Of the Brier score's sum along the logits: of two classes the second counts, of more all.
pub fn brier(logits: &[f64], codes: &[u32], weight: Option<&[f32]>, outputs: usize) -> Vec<f64> {
    of_classes(logits, codes, weight, outputs, |p, code, slopes| {
        let first = usize::from(p.len() == 2);
        let error = |class: usize| if class < first { 0.0 } else { p[class] - f64::from(u8::from(class == code)) };
        let mean: f64 = p.iter().enumerate().map(|(class, p)| p * error(class)).sum();
        for (class, slope) in slopes.iter_mut().enumerate() {
            *slope = 2.0 * p[class] * (error(class) - mean);
        }
    })
}

fn of_classes(
    logits: &[f64],
    codes: &[u32],
    weight: Option<&[f32]>,
    outputs: usize,
    slopes: impl Fn(&[f64], usize, &mut [f64]),
) -> Vec<f64> {
    let mut all = vec![0.0; logits.len()];
    let mut p = vec![0.0; outputs];
    let rows = logits.chunks_exact(outputs).zip(all.chunks_exact_mut(outputs)).zip(codes);
    for (row, ((logits, out), code)) in rows.enumerate() {
        softmax(logits, &mut p);
        slopes(&p, *code as usize, out);
        out.iter_mut().for_each(|slope| *slope *= weight_of(weight, row));
    }
    all
}

/// Probabilities of a row's logits.
pub fn softmax(logits: &[f64], p: &mut [f64]) {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    p.iter_mut().zip(logits).for_each(|(p, logit)| *p = libm::exp(logit - most));
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
}

fn weight_of(weight: Option<&[f32]>, row: usize) -> f64 {
    weight.and_then(|weight| weight.get(row)).map_or(1.0, |weight| f64::from(*weight))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_same, weights};
    use super::*;

    const CODES: [u32; 4] = [0, 2, 1, 2];

    fn check(outputs: usize, codes: &[u32], slopes: &[f64], logits: &[f64], sum: impl Fn(&[f64]) -> f64) {
        assert_eq!(slopes.len(), codes.len() * outputs);
        for (at, slope) in slopes.iter().enumerate() {
            let moved = |by: f64| {
                let mut logits = logits.to_vec();
                logits[at] += by;
                sum(&logits)
            };
            assert_same(*slope, (moved(1e-5) - moved(-1e-5)) / 2e-5);
        }
    }

    #[test]
    fn losses_of_classes_have_the_slopes_of_their_sums() {
        for outputs in [2, 3] {
            let codes: Vec<u32> = CODES.iter().map(|code| code % outputs as u32).collect();
            let logits: Vec<f64> = (0..4 * outputs).map(|at| libm::sin(at as f64) * 1.5).collect();
            let weight = weights(1, 4);
            let sum = |term: &dyn Fn(&[f64], usize) -> f64, logits: &[f64]| -> f64 {
                let mut p = vec![0.0; outputs];
                let rows = logits.chunks_exact(outputs).zip(&codes).zip(&weight);
                rows.map(|((logits, code), weight)| {
                    softmax(logits, &mut p);
                    f64::from(*weight) * term(&p, *code as usize)
                })
                .sum()
            };
            let log = |p: &[f64], code: usize| -libm::log(p[code]);
            check(outputs, &codes, &log_loss(&logits, &codes, Some(&weight), outputs), &logits, |z| sum(&log, z));
            let squares = |p: &[f64], code: usize| -> f64 {
                let first = if p.len() == 2 { 1 } else { 0 };
                (first..p.len()).map(|class| (p[class] - f64::from(u8::from(class == code))).powi(2)).sum()
            };
            check(outputs, &codes, &brier(&logits, &codes, Some(&weight), outputs), &logits, |z| sum(&squares, z));
        }
    }

    #[test]
    fn squared_errors_have_the_slopes_of_their_sum() {
        let (y, weight) = ([1.0, -2.0, 5.0], weights(2, 3));
        let z = [0.3, -0.7, 0.1];
        let sum = |z: &[f64]| -> f64 {
            let error = |row: usize| f64::from(y[row]) - 2.0 - 3.0 * z[row];
            (0..3).map(|row| f64::from(weight[row]) * error(row) * error(row)).sum()
        };
        check(1, &[0; 3], &squared(&z, &y, Some(&weight), 2.0, 3.0), &z, sum);
    }

    #[test]
    fn clipped_probabilities_have_no_slope_and_absent_classes_none_of_their_own() {
        assert_eq!(log_loss(&[40.0, 0.0], &[0], None, 2), [0.0, 0.0]);
        let slopes = log_loss(&[0.5, -1e30, 0.1], &[0], None, 3);
        assert!(slopes[1] == 0.0 && slopes[0] < 0.0, "{slopes:?}");
    }
}
