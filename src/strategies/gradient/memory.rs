//! What the steps of a descent taught of its curvature: the pairs of L-BFGS, and the moments of Adam where there are none.

use std::collections::VecDeque;

/// Pairs that are remembered; more help only where there are many more parameters than a search of gradients meets.
const PAIRS: usize = 12;
/// Decay of the first moment, and of the second (Kingma & Ba 2015).
const BETAS: [f64; 2] = [0.9, 0.999];

/// What a descent remembers of its steps.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Steps and by how much the slopes changed along them, the latest last.
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
    /// Means of the slopes and of their squares.
    moments: Vec<[f64; 2]>,
    told: i32,
}

impl Memory {
    /// Learns how slopes changed along a step; what says that the function bends down is left out, as L-BFGS does, whose
    /// matrix must stay positive.
    pub fn learn_pair(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let bend = dot(&step, &change);
        let sizes = dot(&step, &step) * dot(&change, &change);
        if !sizes.is_finite() || bend <= 1e-10 * sizes.sqrt() || sizes == 0.0 {
            return;
        }
        if self.pairs.len() == PAIRS {
            self.pairs.pop_front();
        }
        self.pairs.push_back((step, change));
    }

    /// Learns the slopes of a place that was stepped to.
    pub fn learn_slopes(&mut self, slopes: &[f64]) {
        self.moments.resize(slopes.len(), [0.0; 2]);
        self.told = self.told.saturating_add(1);
        for (moments, slope) in self.moments.iter_mut().zip(slopes) {
            for ((moment, beta), value) in moments.iter_mut().zip(BETAS).zip([*slope, slope * slope]) {
                *moment = beta * *moment + (1.0 - beta) * value;
            }
        }
    }

    /// Forgets the pairs, after steps along them led nowhere.
    pub fn forget(&mut self) {
        self.pairs.clear();
    }

    /// Whether there is a pair.
    pub fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Adam's step for a rate of 1.
    pub fn adam(&self, axis: usize) -> f64 {
        let Some(moments) = self.moments.get(axis) else { return 0.0 };
        let [mean, square] = [0, 1].map(|moment| moments[moment] / (1.0 - power(BETAS[moment], self.told)));
        let step = -mean / square.sqrt();
        // Of slopes that were 0 ever, or so small that their squares are.
        if step.is_finite() { step.clamp(-1.0, 1.0) } else { 0.0 }
    }

    /// The step that the pairs deem best (Nocedal 1980; algorithm 7.4 of Nocedal & Wright 2006), on the free axes alone.
    /// `slopes` are 0 on the others; the inverse of a curvature that is known goes into the initial matrix.
    pub fn direction(&self, slopes: &[f64], free: &[bool], curvature: &[f64]) -> Vec<f64> {
        let masked = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).zip(free).map(|((a, b), is_free)| if *is_free { a * b } else { 0.0 }).sum()
        };
        let mut along: Vec<f64> = slopes.to_vec();
        let mut shares = Vec::with_capacity(self.pairs.len());
        let mut scale = 0.0;
        for (step, change) in self.pairs.iter().rev() {
            let bend = masked(step, change);
            if bend <= 0.0 {
                shares.push((0.0, f64::INFINITY));
                continue;
            }
            if scale == 0.0 {
                scale = bend / masked(change, change);
            }
            let share = masked(step, &along) / bend;
            along.iter_mut().zip(change).for_each(|(along, change)| *along -= share * change);
            shares.push((share, bend));
        }
        let most = curvature.iter().copied().fold(0.0, f64::max);
        for (along, bend) in along.iter_mut().zip(curvature) {
            *along *= if *bend > 0.0 { 1.0 / bend.max(1e-8 * most) } else { scale };
        }
        for ((step, change), (share, bend)) in self.pairs.iter().zip(shares.into_iter().rev()) {
            let back = share - masked(change, &along) / bend;
            if bend.is_finite() {
                along.iter_mut().zip(step).for_each(|(along, step)| *along += back * step);
            }
        }
        along.iter_mut().zip(free).for_each(|(along, is_free)| *along = if *is_free { -*along } else { 0.0 });
        along
    }
}

/// By libm, whose bits are the same everywhere.
fn power(base: f64, exponent: i32) -> f64 {
    libm::pow(base, f64::from(exponent))
}

/// Sum of products.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slopes of `x' A x / 2` with a matrix that is not diagonal.
    fn slopes(x: &[f64]) -> Vec<f64> {
        vec![4.0 * x[0] + x[1], x[0] + 3.0 * x[1] + 0.5 * x[2], 0.5 * x[1] + 2.0 * x[2]]
    }

    fn taught(steps: &[[f64; 3]]) -> Memory {
        let mut memory = Memory::default();
        steps.iter().for_each(|step| memory.learn_pair(step.to_vec(), slopes(step)));
        memory
    }

    #[test]
    fn the_latest_pair_is_kept_exactly() {
        // The secant equation: a change of slopes leads to the step that made it.
        let memory = taught(&[[1.0, 0.2, 0.0], [0.1, 1.0, 0.3], [0.0, 0.2, 1.0]]);
        let direction = memory.direction(&slopes(&[0.0, 0.2, 1.0]), &[true; 3], &[f64::NAN; 3]);
        for (found, step) in direction.iter().zip([0.0, -0.2, -1.0]) {
            assert!((found - step).abs() < 1e-12, "{direction:?}");
        }
    }

    #[test]
    fn what_bends_down_is_not_learnt_and_fixed_axes_stay() {
        let mut memory = taught(&[[1.0, 0.2, 0.0]]);
        memory.learn_pair(vec![0.0, 0.0, 1.0], vec![0.0, 0.0, -1.0]);
        memory.learn_pair(vec![0.0; 3], vec![0.0; 3]);
        assert_eq!(memory.pairs.len(), 1);
        let direction = memory.direction(&[1.0, 0.0, 1.0], &[true, false, true], &[f64::NAN; 3]);
        assert!(direction[0] < 0.0 && direction[1] == 0.0 && direction[2] < 0.0, "{direction:?}");
    }

    #[test]
    fn the_first_step_of_adam_is_a_whole_one_against_each_slope() {
        let mut memory = Memory::default();
        memory.learn_slopes(&[1e-3, -50.0, 0.0]);
        let steps = [0, 1, 2].map(|axis| memory.adam(axis));
        assert!((steps[0] + 1.0).abs() < 1e-9 && (steps[1] - 1.0).abs() < 1e-9 && steps[2] == 0.0, "{steps:?}");
    }
}
