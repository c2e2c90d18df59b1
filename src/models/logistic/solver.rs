//! The solver of the softmax model: everything that both backends must agree on. Nothing here depends on the backend.
//!
//! **Objective**, with logits `z_k = w_k x + b_k`:
//! `f = sum over rows of weight (ln sum_k exp z_k - z_y) + penalty / 2 sum_k |w_k|^2 + l1 sum_k |w_k|_1`, intercepts
//! unpenalised. A row's weight is its sample weight times its class's.
//! `penalty` is the candidate's `l2`, which is 1/C of scikit-learn's `LogisticRegression`; where only two classes occur
//! it is `2 l2`: scikit-learn then fits one `w` with `l2 / 2 |w|^2`, and the symmetric softmax `-w/2, +w/2` has only half
//! of its square (see [`penalty`]), but all of its size. What follows is of candidates with `penalty = "l2"`;
//! `orthant.rs` says what is otherwise where there is an L1 term.
//!
//! **Basis**: features are centred (with an intercept) and rotated once a fold into the eigenbasis of their Gram matrix
//! (`basis.rs`). The penalty does not change by it, and the Hessian comes close to a diagonal.
//!
//! **Iteration** `i` of a lane evaluates loss and gradient once, over all rows, at `trial = w + step direction`:
//! 1. [`Search::judge`] accepts the trial (then it becomes `w`) or shortens the step. Iteration 0 evaluates the start.
//! 2. Where `i` is a multiple of [`REFRESH`] and the trial was accepted, the curvature becomes the Hessian's diagonal
//!    there: `sum over rows of x^2 p (1 - p) + penalty`, at least [`LEAST_CURVATURE`].
//! 3. An accepted step gives a pair `s = step direction`, `y = change of the gradient`, kept in place `i mod` [`MEMORY`]
//!    of a ring; a rejected trial leaves that place empty, so that a lane's ring turns at the pace of its neighbours'.
//! 4. After an accepted trial the next direction is `-H g` by the two loops of L-BFGS (Nocedal & Wright 2006, algorithm
//!    7.4) with `H0 = gamma / curvature`, `gamma = s'y / (y' y / curvature)` of the newest pair. If it does not descend,
//!    the pairs are forgotten and the direction is `-g / curvature`.
//!
//! **Ends**: a lane is done where its gradient and its next full step are small ([`tolerance`], [`Search::set_out`]), where
//! its gradient meets the tolerance that its candidate asks for, or where it has stalled at f32's resolution.
//!
//! **Starts** are not zero but read off the fold's path of solutions ([`super::path`]), so that most lanes need few
//! iterations. The path depends on the fold alone: a lane's bits do not depend on which other candidates there are.

pub use crate::models::linear::ClassWeight;
use serde::{Deserialize, Serialize};

/// Pairs that L-BFGS keeps.
pub const MEMORY: usize = 10;
/// Iterations between two looks at the Hessian's diagonal; each costs half an iteration.
pub const REFRESH: u64 = 10;
/// What a diagonal is raised to, so that directions without any curvature (padding) divide by something.
pub const LEAST_CURVATURE: f32 = 1e-10;
/// Intercept of a class that no training row has, in training and in the weights: its probability is exactly 0.
pub const ABSENT: f32 = -1e30;

/// A trial whose slope along its direction is still negative is better, because the loss is convex. One beyond the
/// minimum must not have climbed past this share of the start's slope ...
pub(super) const STEEPEST_CLIMB: f32 = 0.8;
/// ... nor have a loss above the start's by more than this share, which rounding can make of f32 sums of 256 rows.
/// (Both together are the approximate Wolfe conditions of Hager & Zhang 2005.)
pub(super) const LOSS_NOISE: f64 = 4e-6;
/// A step shorter than this says that the direction is wrong.
pub(super) const SHORTEST_STEP: f32 = 1e-6;
/// A lane that meets [`tolerance`] has converged if its next full step would be shorter than this, or if its gradient is
/// smaller than the tolerance by [`CERTAIN`] times more: a quasi-Newton step may underestimate the distance.
pub(super) const NEAR: f32 = 2e-4;
/// See [`NEAR`].
pub(super) const CERTAIN: f32 = 0.1;
/// Iterations without a gradient smaller by a tenth, after which f32 has no more to give: the first number above
/// the tolerance, where quasi-Newton steps can be stuck for a while, the second below.
pub(super) const STALLED: [u64; 2] = [60, 15];

/// A lane with an L1 term has converged where this many directions in a row promise to make the objective smaller by no
/// more than [`LEAST_GAIN`] of it. A promise, the slope along the direction, is about twice the gain.
pub(super) const FLAT_TURNS: u32 = 3;
/// See [`FLAT_TURNS`]: far below what f32 can tell of an objective, because quasi-Newton directions may promise too little.
pub(super) const LEAST_GAIN: f32 = 1e-8;
/// The share by which the objective of a lane with an L1 term must fall in [`STALLED`] iterations.
pub(super) const LEAST_PROGRESS: f32 = 1e-6;

/// Names of the penalties in a space, in the order of their codes.
pub const PENALTIES: [&str; 3] = ["l2", "l1", "elastic_net"];

/// One candidate's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticParams {
    /// The penalty of half the squared weights, against the sum (not the mean) of the rows' losses: scikit-learn's 1/C.
    pub l2: f32,
    /// The penalty of the weights' sizes, against the same sum; none where the candidate's penalty is `"l2"`. It may be 0.
    pub l1: Option<f32>,
    /// Whether there are intercepts.
    pub fit_intercept: bool,
    /// A gradient's 2-norm, as a mean over rows, at which a lane ends early; 0 converges as far as f32 goes.
    ///
    /// scikit-learn's `tol` bounds the largest entry of the same mean gradient, so equal numbers are stricter here.
    pub tolerance: f32,
    /// What a row counts for by its class.
    pub class_weight: ClassWeight,
}

impl Default for LogisticParams {
    fn default() -> LogisticParams {
        LogisticParams { l2: 1.0, l1: None, fit_intercept: true, tolerance: 0.0, class_weight: ClassWeight::None }
    }
}

/// Problems that a fold can be: see [`LogisticParams::variant`].
pub const VARIANTS: usize = 8;

impl LogisticParams {
    /// Which of a fold's problems it is: with or without intercepts, class weights and an L1 term.
    pub fn variant(&self) -> usize {
        let is_balanced = self.class_weight == ClassWeight::Balanced;
        usize::from(self.fit_intercept) + 2 * usize::from(is_balanced) + 4 * usize::from(self.l1.is_some())
    }
}

/// The penalty of the symmetric softmax for a fold in which `present` classes occur.
pub fn penalty(l2: f32, present: usize) -> f32 {
    if present == 2 { 2.0 * l2 } else { l2 }
}

/// The gradient's 2-norm at which a lane may have converged, where all rows together count for `total`.
///
/// `f` is strongly convex with constant `penalty`, so weights are at most `norm / penalty` from the optimum, and on real
/// data a tenth of that. The second bound, on the mean gradient, keeps the mean loss within 1e-5 where the penalty is
/// large; the third is about what rounding leaves of a gradient in f32.
pub fn tolerance(penalty: f32, total: f32) -> f32 {
    (1e-2 * penalty).min(2e-5 * total).max(1e-9 * total)
}

/// What becomes of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The trial becomes the lane's weights.
    Accept,
    /// The same direction again with the shorter [`Search::step`].
    Shorten,
    /// The pairs are forgotten, and the direction becomes `-g / curvature`.
    Forget,
    /// The lane is done and stays where it is.
    Rest,
}

/// A lane's walk: its line search and its reasons to stop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Iterations so far; the evaluation of the start is not counted.
    pub iterations: u64,
    /// Length of the next trial's step, in units of the direction.
    pub step: f32,
    /// Whether the start was evaluated.
    pub has_begun: bool,
    /// Whether it converged, stalled or failed.
    pub is_done: bool,
    /// Whether the loss or its gradient is not finite where the lane started.
    pub has_failed: bool,
    tolerance: f32,
    loss: f64,
    /// The gradient times the direction; negative.
    slope: f32,
    norm: f32,
    /// The smallest gradient's norm so far, with an L1 term the smallest objective.
    smallest: f32,
    smallest_at: u64,
    has_forgotten: bool,
    enough: f32,
    has_l1: bool,
    /// Directions in a row that promised next to nothing.
    flat_turns: u32,
}

impl Search {
    /// A walk that converges by [`tolerance`], or ends early at a gradient of norm `enough`.
    pub fn new(tolerance: f32, enough: f32) -> Search {
        Search {
            iterations: 0,
            step: 0.0,
            has_begun: false,
            is_done: false,
            has_failed: false,
            tolerance,
            loss: f64::INFINITY,
            slope: 0.0,
            norm: f32::INFINITY,
            smallest: f32::INFINITY,
            smallest_at: 0,
            has_forgotten: false,
            enough,
            has_l1: false,
            flat_turns: 0,
        }
    }

    /// A walk with an L1 term, which converges where its directions promise next to nothing, or ends early at a
    /// pseudo-gradient of norm `enough`.
    pub fn with_l1(enough: f32) -> Search {
        Search { has_l1: true, ..Search::new(0.0, enough) }
    }

    /// A lane that is not there.
    pub fn idle() -> Search {
        Search { is_done: true, ..Search::new(0.0, 0.0) }
    }

    /// Whether the evaluation that comes next also looks at the curvature.
    pub fn wants_curvature(&self) -> bool {
        !self.has_begun || (self.iterations + 1).is_multiple_of(REFRESH)
    }

    /// Judges a trial by its loss with the penalty, its gradient times the direction, and its gradient's norm.
    pub fn judge(&mut self, loss: f64, slope: f32, norm: f32) -> Verdict {
        let is_finite = loss.is_finite() && slope.is_finite() && norm.is_finite();
        if !self.has_begun {
            self.has_begun = true;
            if !is_finite {
                self.has_failed = true;
                self.is_done = true;
                return Verdict::Rest;
            }
        } else {
            self.iterations += 1;
            let is_near = slope <= -STEEPEST_CLIMB * self.slope;
            let is_better = slope <= 0.0 || is_near && loss <= self.loss + LOSS_NOISE * self.loss.abs();
            let is_way = is_finite && (!self.has_l1 || self.slope < 0.0);
            if !(is_way && is_better) {
                return self.shorten(is_way.then_some(slope));
            }
        }
        self.loss = loss;
        self.has_forgotten = false;
        let (measure, share) = if self.has_l1 { (loss as f32, 1.0 - LEAST_PROGRESS) } else { (norm, 0.9) };
        if measure < share * self.smallest {
            self.smallest = measure;
            self.smallest_at = self.iterations;
        }
        self.norm = norm;
        self.is_done = norm <= self.enough.max(CERTAIN * self.tolerance) || self.has_stalled();
        Verdict::Accept
    }

    fn has_stalled(&self) -> bool {
        let is_near = self.smallest <= self.tolerance;
        self.iterations - self.smallest_at >= STALLED[usize::from(is_near)]
    }

    /// Where the slope would be zero if it changed linearly, within bounds.
    fn shorten(&mut self, slope: Option<f32>) -> Verdict {
        self.step *= slope.map_or(0.1, |slope| (self.slope / (self.slope - slope)).clamp(0.1, 0.7));
        if self.step >= SHORTEST_STEP && !self.has_stalled() {
            return Verdict::Shorten;
        }
        self.is_done = self.has_forgotten || self.has_stalled();
        self.has_forgotten = true;
        if self.is_done { Verdict::Rest } else { Verdict::Forget }
    }

    /// The slope towards the trial that is judged next. With an L1 term a trial does not lie along the direction, but where
    /// this is turned back at zeros: such a way may not descend at all, and its trial is then none.
    pub fn aim(&mut self, slope: f32) {
        self.slope = slope;
    }

    /// Sets out in a new direction with this slope and 2-norm, unless the lane is near enough to its optimum. False if
    /// the direction does not descend: then the pairs must be forgotten.
    pub fn set_out(&mut self, slope: f32, length: f32) -> bool {
        self.slope = slope;
        self.step = 1.0;
        if !self.has_l1 {
            self.is_done |= self.norm <= self.tolerance && length <= NEAR;
        } else if slope < 0.0 {
            let is_flat = f64::from(-slope) <= f64::from(LEAST_GAIN) * self.loss;
            self.flat_turns = if is_flat { self.flat_turns + 1 } else { 0 };
            self.is_done |= self.flat_turns >= FLAT_TURNS;
        }
        slope < 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Search {
        let mut search = Search::new(1e-3, 0.0);
        assert_eq!(search.judge(10.0, 0.0, 5.0), Verdict::Accept);
        assert!(search.set_out(-2.0, 0.5));
        search
    }

    #[test]
    fn a_trial_before_the_minimum_is_taken_and_one_far_beyond_is_shortened() {
        assert_eq!(begun().judge(9.0, -0.5, 4.0), Verdict::Accept);
        assert_eq!(begun().judge(9.0, 1.0, 4.0), Verdict::Accept);
        let mut search = begun();
        assert_eq!(search.judge(9.0, 2.0, 4.0), Verdict::Shorten);
        assert_eq!(search.step, 0.5);
        assert_eq!(search.judge(11.0, 1.0, 4.0), Verdict::Shorten);
        assert_eq!(search.judge(f64::NAN, 1.0, 4.0), Verdict::Shorten);
    }

    #[test]
    fn a_direction_that_never_helps_is_forgotten_once() {
        let mut search = begun();
        let verdicts: Vec<Verdict> = (0..20).map(|_| search.judge(f64::INFINITY, f32::NAN, 4.0)).collect();
        let forgotten = verdicts.iter().position(|verdict| *verdict == Verdict::Forget).unwrap();
        assert!(verdicts[..forgotten].iter().all(|verdict| *verdict == Verdict::Shorten));
        assert_eq!(verdicts[forgotten + 1], Verdict::Rest);
    }

    #[test]
    fn a_walk_with_an_l1_term_ends_where_its_objective_does_not_fall_any_more() {
        let begun = || {
            let mut search = Search::with_l1(0.0);
            assert_eq!(search.judge(10.0, 0.0, 5.0), Verdict::Accept);
            search
        };
        for (promise, is_done) in [(0.9 * LEAST_GAIN, true), (1.2 * LEAST_GAIN, false)] {
            let mut search = begun();
            (0..FLAT_TURNS - 1).for_each(|_| _ = search.set_out(-10.0 * promise, 1.0));
            assert!(!search.is_done);
            search.set_out(-10.0 * promise, 1.0);
            assert_eq!(search.is_done, is_done);
        }
        let steps = |fall: f64| {
            let mut search = begun();
            let mut loss = 10.0;
            let goes_on = |_: &u64| {
                search.set_out(-1.0, 1.0);
                loss *= 1.0 - fall;
                search.judge(loss, -0.1, 5.0) == Verdict::Accept && !search.is_done
            };
            (0..4 * STALLED[0]).take_while(goes_on).count() as u64
        };
        assert_eq!(steps(0.0), STALLED[0] - 1);
        assert_eq!(steps(1e-3), 4 * STALLED[0]);
    }

    #[test]
    fn a_walk_ends_at_its_tolerance_or_when_it_stalls() {
        for (norm, length, is_done) in [(9e-5, 1.0, true), (5e-4, 1.0, false), (5e-4, 1e-5, true), (2e-3, 1e-5, false)]
        {
            let mut search = begun();
            assert_eq!(search.judge(9.0, -0.1, norm), Verdict::Accept);
            search.set_out(-1e-9, length);
            assert_eq!(search.is_done, is_done, "{norm} {length}");
        }
        let mut search = begun();
        let accepted =
            (0..STALLED[0] + 5).take_while(|_| search.judge(9.0, -0.1, 4.9) == Verdict::Accept && !search.is_done);
        assert_eq!(accepted.count() as u64, STALLED[0] - 1);
        let mut search = Search::new(1e-3, 0.0);
        assert_eq!(search.judge(f64::NAN, 0.0, 1.0), Verdict::Rest);
        assert!(search.has_failed);
    }
}
