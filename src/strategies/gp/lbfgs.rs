//! Minimises a smooth function in a box: limited-memory BFGS (Liu & Nocedal 1989) whose steps are projected onto the box.
//!
//! What lies on a bound and wants beyond it is held there for the step, as in projected Newton methods (Bertsekas 1982).
//! Arithmetic is in a fixed order, so that equal inputs give equal bits.

use std::collections::VecDeque;

/// Pairs of steps and changes of gradient that the curvature is made of.
const MEMORY: usize = 8;
/// Sufficient decrease: the share of what the slope promises.
const ARMIJO: f64 = 1e-4;
/// Halvings of a step that are tried.
const HALVINGS: u32 = 12;

/// What a search ended with.
pub(super) struct Minimum {
    pub(super) place: Vec<f64>,
    pub(super) value: f64,
}

/// When to end.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Calls of the function.
    pub(super) calls: u32,
    /// The first step's length along its longest axis, before the curvature is known.
    pub(super) first_step: f64,
    /// A step that lowers the value by less is the last.
    pub(super) least_gain: f64,
}

/// From `start`, within `low` and `high`. `f` gives the value and writes the gradient; a value that is not finite is a place
/// where nobody can stand. None where that is so of the start.
pub(super) fn minimise(
    start: &[f64],
    low: &[f64],
    high: &[f64],
    limits: Limits,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<Minimum> {
    let n = start.len();
    let project = |place: &mut [f64]| {
        for ((x, low), high) in place.iter_mut().zip(low).zip(high) {
            *x = x.max(*low).min(*high);
        }
    };
    let mut place = start.to_vec();
    project(&mut place);
    let (mut gradient, mut next, mut next_gradient) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let mut direction = vec![0.0; n];
    let mut value = f(&place, &mut gradient);
    if !value.is_finite() {
        return None;
    }
    let mut calls = 1;
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    while calls < limits.calls {
        for (i, direction) in direction.iter_mut().enumerate() {
            let is_held = (place[i] <= low[i] && gradient[i] > 0.0) || (place[i] >= high[i] && gradient[i] < 0.0);
            *direction = if is_held { 0.0 } else { -gradient[i] };
        }
        if !direction.iter().any(|d| *d != 0.0) {
            break;
        }
        let free: Vec<bool> = direction.iter().map(|d| *d != 0.0).collect();
        if pairs.is_empty() {
            let longest = direction.iter().fold(0.0, |longest: f64, d| longest.max(d.abs()));
            direction.iter_mut().for_each(|d| *d *= limits.first_step / longest);
        } else {
            precondition(&pairs, &mut direction);
            direction.iter_mut().zip(&free).filter(|(_, free)| !**free).for_each(|(d, _)| *d = 0.0);
            if dot(&direction, &gradient) >= 0.0 {
                pairs.clear();
                continue;
            }
        }
        let mut step = 1.0;
        let mut found = None;
        for _ in 0..HALVINGS {
            for (i, next) in next.iter_mut().enumerate() {
                *next = place[i] + step * direction[i];
            }
            project(&mut next);
            let promised: f64 = (0..n).map(|i| gradient[i] * (next[i] - place[i])).sum();
            let tried = f(&next, &mut next_gradient);
            calls += 1;
            if tried.is_finite() && tried <= value + ARMIJO * promised {
                found = Some(tried);
                break;
            }
            if calls >= limits.calls {
                break;
            }
            step *= 0.4;
        }
        let Some(lower) = found else {
            // The curvature may be stale: once more along the gradient, or the end.
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let moved: Vec<f64> = (0..n).map(|i| next[i] - place[i]).collect();
        let turned: Vec<f64> = (0..n).map(|i| next_gradient[i] - gradient[i]).collect();
        let curvature = dot(&moved, &turned);
        if curvature > 1e-10 * dot(&turned, &turned).sqrt() * dot(&moved, &moved).sqrt() {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair { moved, turned, curvature });
        }
        let gain = value - lower;
        std::mem::swap(&mut place, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = lower;
        if gain < limits.least_gain {
            break;
        }
    }
    Some(Minimum { place, value })
}

struct Pair {
    moved: Vec<f64>,
    turned: Vec<f64>,
    curvature: f64,
}

/// The two loops of Nocedal & Wright, algorithm 7.4, on a descent direction.
fn precondition(pairs: &VecDeque<Pair>, direction: &mut [f64]) {
    let mut shares = [0.0; MEMORY];
    for (pair, share) in pairs.iter().zip(&mut shares).rev() {
        *share = dot(&pair.moved, direction) / pair.curvature;
        direction.iter_mut().zip(&pair.turned).for_each(|(d, y)| *d -= *share * y);
    }
    if let Some(last) = pairs.back() {
        let scale = last.curvature / dot(&last.turned, &last.turned);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for (pair, share) in pairs.iter().zip(&shares) {
        let back = dot(&pair.turned, direction) / pair.curvature;
        direction.iter_mut().zip(&pair.moved).for_each(|(d, s)| *d += (share - back) * s);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { calls: 400, first_step: 0.1, least_gain: 0.0 };

    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut sum = 0.0;
        for i in 0..x.len() - 1 {
            let (across, along) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            sum += 100.0 * across * across + along * along;
            gradient[i] += -400.0 * across * x[i] - 2.0 * along;
            gradient[i + 1] += 200.0 * across;
        }
        sum
    }

    #[test]
    fn the_bottom_of_a_bent_valley_is_found() {
        let found = minimise(&[-1.2; 6], &[-5.0; 6], &[5.0; 6], LIMITS, rosenbrock).expect("finite");
        assert!(found.value < 1e-12 && found.place.iter().all(|x| (x - 1.0).abs() < 1e-5), "{:?}", found.place);
    }

    #[test]
    fn a_minimum_on_the_box_is_found_and_nothing_beyond_is_looked_at() {
        let found = minimise(&[-1.0, 0.2], &[-2.0, -1.0], &[0.5, 5.0], LIMITS, |x, gradient| {
            assert!(x[0] <= 0.5 && x[1] >= -1.0);
            rosenbrock(x, gradient)
        });
        let found = found.expect("finite");
        assert!(found.place[0] == 0.5 && (found.place[1] - 0.25).abs() < 1e-6, "{:?}", found.place);
    }

    #[test]
    fn a_wall_of_nan_is_kept_off_and_a_start_inside_is_said() {
        let walled = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 2.0 * (x[0] - 1.0);
            if x[0] > 0.9 { f64::NAN } else { (x[0] - 1.0) * (x[0] - 1.0) }
        };
        let found = minimise(&[0.0], &[-5.0], &[5.0], LIMITS, walled).expect("finite");
        assert!(found.place[0] > 0.8 && found.place[0] <= 0.9);
        assert!(minimise(&[2.0], &[-5.0], &[5.0], LIMITS, walled).is_none());
    }
}
