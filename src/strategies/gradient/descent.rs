//! One start's way down: a projected quasi-Newton step within a radius that follows what the steps before were worth.
//!
//! The curvature comes from pairs of steps and slopes (L-BFGS), from differences on an axis where there are some, and from
//! Adam's moments as long as there is neither. Differences follow implicit filtering (Gilmore & Kelley 1995): probes
//! reach far at first, over what is noise to them, and nearer only when steps along their slopes no longer lead down.

use super::memory::{Memory, dot};
use super::stencil::{self, Pair};

/// The first radius, in units of the cube, and the largest.
const RADIUS: [f64; 2] = [0.2, 0.5];
/// The first reach of probes; then a sixteenth of it, and so on to the last, where differences of f64 are best.
const REACH: f64 = 1.0 / 8.0;
const LEAST_REACH: f64 = REACH / 16384.0;
/// A descent is over when two steps in a row won less than this share of its value, as SciPy's L-BFGS-B is after one.
const STALL: f64 = 1e-9;
/// A descent is over too when so many times what a step promised would leave it above the best of all, twice in a row.
const HOPE: f64 = 10.0;
/// Steps in a row that led nowhere, after which a descent with the model's own slopes is over.
const MOST_REJECTED: u32 = 8;

/// What became of a candidate, as something to minimise: NaN where it failed. Slopes are along the descent's axes.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub cost: f64,
    pub slopes: Option<Vec<f64>>,
}

/// What a descent wants to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The place in question.
    pub centre: Vec<f64>,
    /// Whether its value is, or only its slopes.
    pub is_step: bool,
    pub pairs: Vec<Pair>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Slopes are missing where it stands.
    Measure,
    Step,
    Over,
}

/// A descent.
#[derive(Debug, Clone)]
pub struct Descent {
    /// Its place on the axes that it moves along.
    x: Vec<f64>,
    cost: f64,
    slopes: Vec<f64>,
    /// NaN where it isn't known.
    curvature: Vec<f64>,
    /// Axes that the model says nothing of.
    lacks: Vec<bool>,
    /// The best of the probes around it.
    neighbour: Option<(Vec<f64>, f64)>,
    /// Where it came from, and the slopes there.
    previous: Option<(Vec<f64>, Vec<f64>)>,
    memory: Memory,
    radius: f64,
    reach: f64,
    rejected: u32,
    stalled: u32,
    hopeless: u32,
    phase: Phase,
}

impl Descent {
    /// From a place that was seen not to fail.
    pub fn new(x: Vec<f64>, seen: &Seen) -> Descent {
        let axes = x.len();
        let mut descent = Descent {
            x: Vec::new(),
            cost: f64::NAN,
            slopes: Vec::new(),
            curvature: Vec::new(),
            lacks: vec![true; axes],
            neighbour: None,
            previous: None,
            memory: Memory::default(),
            radius: RADIUS[0],
            reach: REACH,
            rejected: 0,
            stalled: 0,
            hopeless: 0,
            phase: Phase::Measure,
        };
        let plan = Plan { centre: x, is_step: true, pairs: Vec::new() };
        let measured = descent.measure(&plan, seen.cost, seen.slopes.as_deref(), &[]);
        descent.stand(plan.centre, measured);
        descent
    }

    /// Where it stands.
    pub fn x(&self) -> &[f64] {
        &self.x
    }

    /// The value there.
    pub fn cost(&self) -> f64 {
        self.cost
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.phase = Phase::Over;
    }

    /// What it asks next; None when it is over. `best` is the least value that any descent reached, `is_allowed` says
    /// whether a place is.
    pub fn plan(&mut self, best: f64, is_allowed: impl Fn(&[f64]) -> bool) -> Option<Plan> {
        match self.phase {
            Phase::Over => None,
            Phase::Measure => Some(self.around()),
            Phase::Step => {
                let Some(centre) = self.step().and_then(|centre| self.allowed(centre, is_allowed)) else {
                    return self.look_nearer().then(|| self.around());
                };
                let promised = dot(&self.slopes, &difference(&centre, &self.x));
                self.hopeless = if self.cost + HOPE * promised > best { self.hopeless + 1 } else { 0 };
                if self.hopeless >= 2 {
                    self.phase = Phase::Over;
                    return None;
                }
                let size = distance(&centre, &self.x);
                let reach = (size / 2.0).clamp(self.reach / 16.0, self.reach).max(LEAST_REACH);
                let pairs = stencil::pairs(&centre, &self.lacks, reach);
                Some(Plan { centre, is_step: true, pairs })
            }
        }
    }

    /// The slopes that are missing where it stands.
    fn around(&self) -> Plan {
        let missing: Vec<bool> = self.slopes.iter().map(|slope| slope.is_nan()).collect();
        Plan { centre: self.x.clone(), is_step: false, pairs: stencil::pairs(&self.x, &missing, self.reach) }
    }

    /// Learns what was asked: the centre, if it was a step, and the costs of each pair.
    pub fn learn(&mut self, plan: Plan, seen: &Seen, probes: &[[f64; 2]]) {
        if plan.is_step {
            let measured = self.measure(&plan, seen.cost, seen.slopes.as_deref(), probes);
            if let Some(pair) = plan.pairs.first() {
                self.reach = self.reach.min(pair.offsets[0].abs());
            }
            self.judge(plan.centre, measured);
        } else {
            let known = self.slopes.clone();
            let measured = self.measure(&plan, self.cost, Some(&known), probes);
            self.stand(plan.centre, measured);
        }
    }

    /// Slopes where the model gave some, else by differences.
    fn measure(&mut self, plan: &Plan, cost: f64, slopes: Option<&[f64]>, probes: &[[f64; 2]]) -> Measured {
        let axes = plan.centre.len();
        let mut measured = Measured {
            cost,
            slopes: slopes.map_or_else(|| vec![f64::NAN; axes], <[f64]>::to_vec),
            curvature: vec![f64::NAN; axes],
            neighbour: None,
        };
        measured.slopes.iter_mut().filter(|slope| !slope.is_finite()).for_each(|slope| *slope = f64::NAN);
        if plan.is_step && cost.is_finite() {
            self.lacks = measured.slopes.iter().map(|slope| slope.is_nan()).collect();
        }
        for (pair, values) in plan.pairs.iter().zip(probes) {
            let (slope, curvature) = stencil::slope(cost, pair, *values);
            let place = &mut measured.slopes[pair.axis];
            if place.is_nan() {
                *place = slope;
            }
            measured.curvature[pair.axis] = curvature;
            for (offset, value) in pair.offsets.iter().zip(values) {
                if value.is_finite() && measured.neighbour.as_ref().is_none_or(|(_, least)| value < least) {
                    let mut x = plan.centre.clone();
                    x[pair.axis] += offset;
                    measured.neighbour = Some((x, *value));
                }
            }
        }
        measured
    }

    /// Moves to a place, or takes in what was measured where it stands.
    fn stand(&mut self, x: Vec<f64>, measured: Measured) {
        self.x = x;
        self.cost = measured.cost;
        self.slopes = measured.slopes;
        self.curvature = measured.curvature;
        self.neighbour = measured.neighbour.filter(|(_, cost)| *cost < self.cost);
        if self.slopes.iter().any(|slope| slope.is_nan()) {
            self.phase = Phase::Measure;
            return;
        }
        self.phase = Phase::Step;
        self.memory.learn_slopes(&self.slopes);
        if let Some((x, slopes)) = self.previous.take() {
            self.memory.learn_pair(difference(&self.x, &x), difference(&self.slopes, &slopes));
        }
        // Nothing around is better: the probes' slopes say little at this reach.
        if self.neighbour.is_none() && self.has_probes() {
            self.reach = (self.reach / 16.0).max(LEAST_REACH);
        }
    }

    /// Takes a step that led down, or learns from one that didn't.
    fn judge(&mut self, x: Vec<f64>, measured: Measured) {
        let step = difference(&x, &self.x);
        let promised = dot(&self.slopes, &step);
        let size = distance(&x, &self.x);
        let won = self.cost - measured.cost;
        if measured.cost.is_finite() && won > 0.0 && won >= -1e-4 * promised {
            if size >= 0.99 * self.radius && won >= -0.25 * promised {
                self.radius = (2.5 * self.radius).min(RADIUS[1]);
            }
            let is_stalled = won <= STALL * self.cost.abs();
            self.stalled = if is_stalled { self.stalled + 1 } else { 0 };
            self.rejected = 0;
            self.previous = Some((self.x.clone(), self.slopes.clone()));
            self.stand(x, measured);
            if self.stalled >= 2 && !self.look_nearer() {
                self.phase = Phase::Over;
            }
            return;
        }
        // The least of the parabola that has the promised slope and went up to what was found (Nocedal & Wright 2006, 3.5).
        let share = -promised / (2.0 * (-won - promised));
        self.radius = size * if share.is_finite() { share.clamp(0.1, 0.5) } else { 0.25 };
        self.rejected += 1;
        if measured.slopes.iter().all(|slope| slope.is_finite()) {
            self.memory.learn_pair(step, difference(&measured.slopes, &self.slopes));
        }
        let probed = [measured.neighbour, self.neighbour.take()].into_iter().flatten();
        let better = probed.filter(|(_, cost)| *cost < self.cost).min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((x, cost)) = better {
            self.rejected = 0;
            self.previous = Some((self.x.clone(), self.slopes.clone()));
            let slopes = vec![f64::NAN; x.len()];
            self.stand(x, Measured { cost, curvature: slopes.clone(), slopes, neighbour: None });
        } else if self.rejected.is_multiple_of(2) {
            if self.rejected.is_multiple_of(4) {
                self.memory.forget();
            }
            if self.has_probes() {
                self.look_nearer();
            } else if self.rejected >= MOST_REJECTED || self.radius < 1e-10 {
                self.phase = Phase::Over;
            }
        }
    }

    fn has_probes(&self) -> bool {
        self.lacks.contains(&true)
    }

    /// Measures again with nearer probes; where that cannot be, the descent is over.
    fn look_nearer(&mut self) -> bool {
        if !self.has_probes() || self.reach <= LEAST_REACH {
            self.phase = Phase::Over;
            return false;
        }
        self.reach = (self.reach / 16.0).max(LEAST_REACH);
        self.stalled = 0;
        self.rejected = 0;
        self.radius = self.radius.max(self.reach);
        for (slope, lacks) in self.slopes.iter_mut().zip(&self.lacks) {
            if *lacks {
                *slope = f64::NAN;
            }
        }
        self.phase = Phase::Measure;
        true
    }

    /// The place of the next step; None where no axis leads down.
    fn step(&mut self) -> Option<Vec<f64>> {
        // An axis at its bound whose slope leads out is left where it is; the others go on (Bertsekas 1982).
        let leads_out = |(x, slope): (&f64, &f64)| *x <= 0.0 && *slope > 0.0 || *x >= 1.0 && *slope < 0.0;
        let free: Vec<bool> = self.x.iter().zip(&self.slopes).map(|at| !leads_out(at)).collect();
        let slope = |(slope, is_free): (&f64, &bool)| if *is_free { *slope } else { 0.0 };
        let slopes: Vec<f64> = self.slopes.iter().zip(&free).map(slope).collect();
        let steepest = slopes.iter().fold(0.0, |most: f64, slope| most.max(slope.abs()));
        if steepest == 0.0 {
            return None;
        }
        let mut along = if self.memory.has_pairs() {
            self.memory.direction(&slopes, &free, &self.curvature)
        } else {
            let plain = |axis: usize| {
                let bend = self.curvature[axis];
                let step = if bend > 0.0 { -slopes[axis] / bend } else { self.radius * self.memory.adam(axis) };
                if free[axis] { step } else { 0.0 }
            };
            (0..slopes.len()).map(plain).collect()
        };
        let mut centre = self.within(&along);
        let promised = dot(&slopes, &difference(&centre, &self.x));
        if promised.is_nan() || promised >= 0.0 {
            // Neither pairs nor moments lead down here.
            self.memory.forget();
            along = slopes.iter().map(|slope| -slope * (self.radius / steepest)).collect();
            centre = self.within(&along);
        }
        (distance(&centre, &self.x) > 1e-14).then_some(centre)
    }

    /// A step cut to the radius, then to the cube.
    fn within(&self, along: &[f64]) -> Vec<f64> {
        let size = along.iter().fold(0.0, |most: f64, step| most.max(step.abs()));
        let share = if size > self.radius { self.radius / size } else { 1.0 };
        self.x.iter().zip(along).map(|(x, step)| (x + share * step).clamp(0.0, 1.0)).collect()
    }

    /// A place on the way to this one that is allowed.
    fn allowed(&mut self, mut centre: Vec<f64>, is_allowed: impl Fn(&[f64]) -> bool) -> Option<Vec<f64>> {
        for _ in 0..20 {
            if is_allowed(&centre) {
                return Some(centre);
            }
            centre.iter_mut().zip(&self.x).for_each(|(centre, x)| *centre = (*centre + x) / 2.0);
            self.radius = distance(&centre, &self.x);
        }
        None
    }
}

struct Measured {
    cost: f64,
    slopes: Vec<f64>,
    curvature: Vec<f64>,
    neighbour: Option<(Vec<f64>, f64)>,
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The greatest difference on any axis.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Descends on a function of the unit cube; how many candidates it took, and the descent.
    fn descend(
        start: &[f64],
        most: usize,
        has_slopes: impl Fn(usize) -> bool,
        value: impl Fn(&[f64]) -> f64,
    ) -> (usize, Descent) {
        let slopes = |x: &[f64]| {
            let slope = |axis: usize| {
                let at = |offset: f64| {
                    let mut x = x.to_vec();
                    x[axis] += offset;
                    value(&x)
                };
                if has_slopes(axis) { (at(1e-5) - at(-1e-5)) / 2e-5 } else { f64::NAN }
            };
            Some((0..x.len()).map(slope).collect())
        };
        let see = |x: &[f64]| Seen { cost: value(x), slopes: slopes(x) };
        let mut descent = Descent::new(start.to_vec(), &see(start));
        let mut used = 1;
        while used < most {
            let Some(plan) = descent.plan(f64::INFINITY, |_| true) else { break };
            used += usize::from(plan.is_step) + 2 * plan.pairs.len();
            let probe = |pair: &Pair| {
                pair.offsets.map(|offset| {
                    let mut x = plan.centre.clone();
                    x[pair.axis] += offset;
                    assert!((0.0..=1.0).contains(&x[pair.axis]));
                    value(&x)
                })
            };
            let probes: Vec<[f64; 2]> = plan.pairs.iter().map(probe).collect();
            let seen = see(&plan.centre);
            assert!(plan.centre.iter().all(|x| (0.0..=1.0).contains(x)));
            descent.learn(plan, &seen, &probes);
        }
        (used, descent)
    }

    fn valley(x: &[f64]) -> f64 {
        let (a, b) = (4.0 * x[0] - 2.0, 4.0 * x[1] - 2.0);
        100.0 * (b - a * a) * (b - a * a) + (1.0 - a) * (1.0 - a)
    }

    #[test]
    fn a_curved_valley_is_followed_to_its_end_with_and_without_slopes() {
        let (used, descent) = descend(&[0.2, 0.8], 100, |_| true, valley);
        assert!(descent.cost() < 1e-6, "{} after {used}", descent.cost());
        let (used, descent) = descend(&[0.2, 0.8], 400, |_| false, valley);
        assert!(descent.cost() < 1e-6, "{} after {used}", descent.cost());
        // One axis by the model, the other by differences.
        let (used, descent) = descend(&[0.2, 0.8], 300, |axis| axis == 1, valley);
        assert!(descent.cost() < 1e-6, "{} after {used}", descent.cost());
    }

    #[test]
    fn bounds_whose_slopes_lead_out_do_not_stop_the_others() {
        let value = |x: &[f64]| 100.0 * x[0] + 100.0 * (1.0 - x[1]) + (x[2] - 0.3) * (x[2] - 0.3);
        for has_slopes in [true, false] {
            let (_, descent) = descend(&[0.0, 1.0, 0.9], 60, |_| has_slopes, value);
            assert!(descent.x()[..2] == [0.0, 1.0] && (descent.x()[2] - 0.3).abs() < 1e-3, "{:?}", descent.x());
            // And an optimum at a bound is reached.
            let (_, descent) = descend(&[0.4, 0.5, 0.9], 80, |_| has_slopes, value);
            assert!(descent.cost() < 1e-3, "{:?}", descent.x());
        }
    }

    #[test]
    fn noise_is_looked_over() {
        // Ripples of 1e-3 whose slopes are four times the bowl's own.
        let value =
            |x: &[f64]| (x[0] - 0.4).powi(2) + (x[1] - 0.7).powi(2) + 1e-3 * libm::sin(2e3 * (x[0] + 1.3 * x[1]));
        let (used, descent) = descend(&[0.9, 0.1], 200, |_| false, value);
        assert!(descent.cost() < 5e-3, "{} after {used}", descent.cost());
    }

    #[test]
    fn a_descent_ends_when_nothing_is_left_to_win_and_survives_failures() {
        let bowl = |x: &[f64]| (x[0] - 0.4).powi(2) + (x[1] - 0.7).powi(2);
        for has_slopes in [true, false] {
            let (used, descent) = descend(&[0.9, 0.1], 500, |_| has_slopes, bowl);
            assert!(descent.is_over() && used < 100, "{used}");
            let wall = |x: &[f64]| if x[0] < 0.41 { f64::NAN } else { bowl(x) };
            let (_, descent) = descend(&[0.9, 0.1], 300, |_| has_slopes, wall);
            assert!(descent.cost() < 1e-3, "{}", descent.cost());
            let (used, descent) = descend(&[0.9, 0.1], 500, |_| has_slopes, |_| 1.0);
            assert!(descent.is_over() && used < 60, "{used}");
        }
    }
}
