//! Sixteen lanes on their walk to the optimum: what [`super::solver`] says, one SIMD lane an elastic net, in f64.
//!
//! A weight of all lanes is sixteen numbers side by side. What a lane does is a mask over its place, so its bits are those it
//! would have alone. The loops are plain: inside a dispatched kernel the compiler makes them instructions of its level, and
//! every fused multiply-add is written out, so that bits do not depend on which.

use super::fold::Prepared;
use super::solver::{CERTAIN, ENOUGH, ElasticNetParams, MORE_STEPS, STEPS, Search, TOLERANCE};
use crate::backend::cpu::simd::{Kernel, LANES, Simd};
use crate::models::linear::{self, Wide};

/// Zero in every lane.
const ZERO: Wide = [0.0; LANES];
/// What a step has left of a weight at most, where it was shortened to leave nothing.
const LANDED: f64 = 1e-12;

/// Up to sixteen lanes' walks.
#[derive(Clone)]
pub struct Walk {
    /// Each lane's search; lanes beyond the group's last are done.
    pub searches: [Search; LANES],
    /// `[features]`
    pub weights: Vec<Wide>,
    l1: Wide,
    l2: Wide,
    /// What no weight may be below.
    least: Wide,
    /// `g`, `[features]`.
    gradient: Vec<Wide>,
}

impl Walk {
    /// Lanes at their start, at weights of zero.
    pub fn new(fold: &Prepared, lanes: &[ElasticNetParams]) -> Walk {
        let of = |value: fn(&ElasticNetParams) -> f64| std::array::from_fn(|lane| lanes.get(lane).map_or(1.0, value));
        Walk {
            searches: std::array::from_fn(|lane| if lane < lanes.len() { Search::new() } else { Search::idle() }),
            weights: vec![ZERO; fold.features],
            l1: of(|params| params.l1),
            l2: of(|params| params.l2),
            least: of(|params| if params.is_positive { 0.0 } else { f64::NEG_INFINITY }),
            gradient: fold.cross.iter().map(|c| [*c; LANES]).collect(),
        }
    }

    /// Takes over a lane of another walk, whose bits go on as if nothing had happened.
    pub fn copy_lane(&mut self, to: usize, source: &Walk, from: usize) {
        self.searches[to] = source.searches[from];
        self.l1[to] = source.l1[from];
        self.l2[to] = source.l2[from];
        self.least[to] = source.least[from];
        self.weights.iter_mut().zip(&source.weights).for_each(|(a, b)| a[to] = b[from]);
        self.gradient.iter_mut().zip(&source.gradient).for_each(|(a, b)| a[to] = b[from]);
    }

    /// A lane's weights, then its gradient.
    pub fn lane(&self, lane: usize) -> Vec<f64> {
        self.weights.iter().chain(&self.gradient).map(|values| values[lane]).collect()
    }

    /// Puts that into a lane; false where there are more or fewer features.
    pub fn set_lane(&mut self, lane: usize, values: &[f64]) -> bool {
        let is_fit = values.len() == self.weights.len() + self.gradient.len();
        let places = self.weights.iter_mut().chain(&mut self.gradient);
        places.zip(values).for_each(|(place, value)| place[lane] = *value);
        is_fit
    }

    /// Bytes of a walk with what its iterations need.
    pub fn bytes(features: usize) -> usize {
        6 * features * size_of::<Wide>()
    }
}

/// Walks every lane on until it is done or has had `until` iterations.
pub struct Advance<'a> {
    /// The fold that the walk is on.
    pub fold: &'a Prepared,
    /// The walk.
    pub walk: &'a mut Walk,
    /// Iterations counted from the lanes' start.
    pub until: u64,
}

/// What an iteration leaves behind.
struct Scratch {
    /// `1 / (G_jj + l2)`; 0 for a feature that is constant where nothing is squared either.
    inverse: Vec<Wide>,
    /// `r`, 0 where a weight is.
    residual: Vec<Wide>,
    direction: Vec<Wide>,
    /// `G` times the direction.
    product: Vec<Wide>,
}

impl Kernel for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Advance { fold, walk, until } = self;
        let zeros = vec![ZERO; fold.features];
        let mut scratch =
            Scratch { inverse: zeros.clone(), residual: zeros.clone(), direction: zeros.clone(), product: zeros };
        for (j, inverse) in scratch.inverse.iter_mut().enumerate() {
            let square = fold.gram[j * fold.features + j];
            for (inverse, l2) in inverse.iter_mut().zip(&walk.l2) {
                let curvature = square + l2;
                *inverse = if curvature > 0.0 { 1.0 / curvature } else { 0.0 };
            }
        }
        loop {
            let is_active: [bool; LANES] =
                std::array::from_fn(|lane| !walk.searches[lane].is_done && walk.searches[lane].iterations < until);
            if !is_active.contains(&true) {
                return;
            }
            let violations = sweep(fold, walk, &scratch.inverse, &is_active.map(|is| f64::from(u8::from(is))));
            for lane in (0..LANES).filter(|lane| is_active[*lane]) {
                walk.searches[lane].judge(violations[lane] / fold.scale);
            }
            let is_going = std::array::from_fn(|lane| is_active[lane] && !walk.searches[lane].is_done);
            descend(fold, walk, &mut scratch, is_going, &violations);
        }
    }
}

/// A sweep of coordinate descent over the lanes that are active, which have a 1 there: each one's largest violation. NaN is
/// never lost: once a weight is NaN, so is every gradient, and the last weight's violation.
#[inline(always)]
fn sweep(fold: &Prepared, walk: &mut Walk, inverse: &[Wide], active: &Wide) -> Wide {
    let Walk { weights, l1, l2, least, gradient, .. } = walk;
    let mut violations = ZERO;
    for (j, (weight, inverse)) in weights.iter_mut().zip(inverse).enumerate() {
        let row = &fold.gram[j * fold.features..][..fold.features];
        let square = row[j];
        let mut step = ZERO;
        let mut moved = 0;
        for lane in 0..LANES {
            let free = square.mul_add(weight[lane], gradient[j][lane]);
            let size = free.abs() - l1[lane];
            let size = if size < 0.0 { 0.0 } else { size } * inverse[lane];
            let found = size.copysign(free);
            let found = if found < least[lane] { least[lane] } else { found };
            step[lane] = (found - weight[lane]) * active[lane];
            let violation = step[lane].abs() * (square + l2[lane]);
            violations[lane] = if violation <= violations[lane] { violations[lane] } else { violation };
            // All bits but the sign.
            moved |= step[lane].to_bits() << 1;
        }
        if moved == 0 {
            continue;
        }
        for lane in 0..LANES {
            weight[lane] += step[lane];
        }
        for (gradient, product) in gradient.iter_mut().zip(row) {
            for lane in 0..LANES {
                gradient[lane] = (-product).mul_add(step[lane], gradient[lane]);
            }
        }
    }
    violations
}

/// Conjugate gradients among the weights that are not zero, for the lanes of the mask, after a sweep with these violations.
#[inline(always)]
fn descend(fold: &Prepared, walk: &mut Walk, scratch: &mut Scratch, mut is_going: [bool; LANES], violations: &Wide) {
    let enough = CERTAIN * TOLERANCE * fold.scale;
    let goals = violations.map(|violation| enough.max(ENOUGH * violation).powi(2));
    let mut squares = set_out(walk, scratch);
    for _ in 0..STEPS.min(2 * fold.features + MORE_STEPS) {
        for lane in 0..LANES {
            is_going[lane] &= squares[lane] > goals[lane];
        }
        if !is_going.contains(&true) {
            return;
        }
        let Scratch { residual, direction, product, .. } = scratch;
        linear::multiply(&fold.gram, direction, product);
        let mut curvatures = ZERO;
        for (direction, product) in direction.iter().zip(product.iter()) {
            for lane in 0..LANES {
                let image = walk.l2[lane].mul_add(direction[lane], product[lane]);
                curvatures[lane] = direction[lane].mul_add(image, curvatures[lane]);
            }
        }
        let mut steps = ZERO;
        for lane in 0..LANES {
            // A direction without curvature is one that rounding alone points in.
            is_going[lane] &= curvatures[lane] > 0.0;
            steps[lane] = if is_going[lane] { squares[lane] / curvatures[lane] } else { 0.0 };
        }
        let is_shortened = shorten(&walk.weights, direction, &mut steps);
        let found = step_along(walk, residual, direction, product, &steps);
        let mut shares = ZERO;
        for lane in 0..LANES {
            // A weight that has landed changes the problem: the others set out anew.
            let goes_on = is_going[lane] && !is_shortened[lane];
            shares[lane] = if goes_on { found[lane] / squares[lane] } else { 0.0 };
        }
        squares = found;
        for (direction, residual) in direction.iter_mut().zip(residual.iter()) {
            for lane in 0..LANES {
                direction[lane] = shares[lane].mul_add(direction[lane], residual[lane]);
            }
        }
    }
}

/// The first direction, along the residuals of weights that are not zero; their squares.
#[inline(always)]
fn set_out(walk: &Walk, scratch: &mut Scratch) -> Wide {
    let mut squares = ZERO;
    let places = scratch.residual.iter_mut().zip(&mut scratch.direction);
    for ((residual, direction), (weight, gradient)) in places.zip(walk.weights.iter().zip(&walk.gradient)) {
        for lane in 0..LANES {
            let w = weight[lane];
            let r = (-walk.l2[lane]).mul_add(w, gradient[lane]) - walk.l1[lane].copysign(w);
            residual[lane] = if w != 0.0 { r } else { 0.0 };
            direction[lane] = residual[lane];
            squares[lane] = residual[lane].mul_add(residual[lane], squares[lane]);
        }
    }
    squares
}

/// Shortens the steps that would change a sign to where the first weight is zero; tells which.
#[inline(always)]
fn shorten(weights: &[Wide], direction: &[Wide], steps: &mut Wide) -> [bool; LANES] {
    let mut lowest = ZERO;
    for (weight, direction) in weights.iter().zip(direction) {
        for lane in 0..LANES {
            let product = steps[lane].mul_add(direction[lane], weight[lane]) * weight[lane];
            lowest[lane] = if product < lowest[lane] { product } else { lowest[lane] };
        }
    }
    let is_crossing = lowest.map(|lowest| lowest < 0.0);
    if is_crossing.contains(&true) {
        for (weight, direction) in weights.iter().zip(direction) {
            for lane in 0..LANES {
                let until = -weight[lane] / direction[lane];
                let is_nearer = is_crossing[lane] && weight[lane] * direction[lane] < 0.0 && until < steps[lane];
                steps[lane] = if is_nearer { until } else { steps[lane] };
            }
        }
    }
    is_crossing
}

/// Takes a step, and gives the squares of the residuals that it leaves. A weight of which next to nothing is left has
/// landed on zero.
#[inline(always)]
fn step_along(walk: &mut Walk, residual: &mut [Wide], direction: &[Wide], product: &[Wide], steps: &Wide) -> Wide {
    let Walk { weights, gradient, l2, .. } = walk;
    let mut squares = ZERO;
    let places = residual.iter_mut().zip(weights.iter_mut().zip(gradient));
    for ((residual, (weight, gradient)), (direction, product)) in places.zip(direction.iter().zip(product)) {
        for lane in 0..LANES {
            let (step, w) = (steps[lane], weight[lane]);
            let image = l2[lane].mul_add(direction[lane], product[lane]);
            let found = step.mul_add(direction[lane], w);
            // Lanes that take no step keep every bit.
            let has_landed = step != 0.0 && found * w <= LANDED * w * w;
            weight[lane] = if has_landed { 0.0 } else { found };
            let r = (-step).mul_add(image, residual[lane]);
            residual[lane] = if weight[lane] != 0.0 { r } else { 0.0 };
            squares[lane] = residual[lane].mul_add(residual[lane], squares[lane]);
            gradient[lane] = (-step).mul_add(product[lane], gradient[lane]);
        }
    }
    squares
}
