//! Sixteen lanes on their walk to the optimum: what [`super::solver`] says, one SIMD lane a softmax.
//!
//! All lanes evaluate in step. What a lane does with an evaluation (accept, shorten, rest) is a mask over its SIMD lane,
//! so its bits are those it would have alone.

use super::loss::{self, Prepared, Scratch};
use super::orthant;
use super::solver::{LEAST_CURVATURE, MEMORY, Search, Verdict};
use crate::backend::cpu::gemm::{Pair, ZERO_PAIR};
use crate::backend::cpu::simd::{Kernel, LANES, Lanes, Simd};

/// Up to sixteen lanes' walks. Every vector has the layout of [`loss::Shape`]'s weights.
pub struct Walk {
    /// Each lane's search; lanes beyond the group's last are done.
    pub searches: [Search; LANES],
    /// Of half the squared weights.
    pub(super) penalties: Lanes,
    /// Of the weights' sizes; not looked at where the fold is not one for lanes that have it.
    pub(super) l1: Lanes,
    /// The lanes' weights in the fold's basis.
    pub weights: Vec<Pair>,
    /// Without the L1 term's part.
    pub(super) gradient: Vec<Pair>,
    pub(super) direction: Vec<Pair>,
    pub(super) inverse_curvature: Vec<Pair>,
    /// The ring of L-BFGS pairs: `s`, `y` and `1 / s'y`, which is 0 in an empty place.
    pub(super) ring: [Place; MEMORY],
    /// The place that the next pair takes.
    pub(super) turn: usize,
    /// `gamma` of each lane.
    scale: Lanes,
}

#[derive(Clone)]
pub(super) struct Place {
    pub step: Vec<Pair>,
    pub change: Vec<Pair>,
    pub inverse_product: Lanes,
}

/// A lane as a walk sets out.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The penalty of half the squared weights: [`super::solver::penalty`].
    pub penalty: f32,
    /// The penalty of the weights' sizes.
    pub l1: f32,
    /// Its search.
    pub search: Search,
}

impl Walk {
    /// Lanes that set out so, at most sixteen, from weights of zero.
    pub fn new(fold: &Prepared, starts: &[Start]) -> Walk {
        let zeros = vec![ZERO_PAIR; fold.shape.pairs()];
        let place = Place { step: zeros.clone(), change: zeros.clone(), inverse_product: Lanes::ZERO };
        let idle = Start { penalty: 1.0, l1: 0.0, search: Search::idle() };
        let start = |lane: usize| starts.get(lane).unwrap_or(&idle);
        Walk {
            searches: std::array::from_fn(|lane| start(lane).search),
            penalties: lanes(|lane| start(lane).penalty),
            l1: lanes(|lane| start(lane).l1),
            weights: fold.zero_weights(),
            gradient: zeros.clone(),
            direction: zeros.clone(),
            inverse_curvature: zeros,
            ring: std::array::from_fn(|_| place.clone()),
            turn: 0,
            scale: Lanes([1.0; LANES]),
        }
    }

    /// Bytes of a walk over a fold of this shape.
    pub fn bytes(pairs: usize) -> usize {
        (2 * MEMORY + 8) * pairs * size_of::<Pair>()
    }

    /// Takes over a lane of another walk, whose bits go on as if nothing had happened.
    pub fn copy_lane(&mut self, to: usize, source: &Walk, from: usize) {
        self.searches[to] = source.searches[from];
        self.penalties.0[to] = source.penalties.0[from];
        self.l1.0[to] = source.l1.0[from];
        self.scale.0[to] = source.scale.0[from];
        copy_lane(&mut self.weights, to, &source.weights, from);
        copy_lane(&mut self.gradient, to, &source.gradient, from);
        copy_lane(&mut self.direction, to, &source.direction, from);
        copy_lane(&mut self.inverse_curvature, to, &source.inverse_curvature, from);
        // The rings may stand at different turns: places are counted back from the newest.
        for age in 1..=MEMORY {
            let source = &source.ring[(source.turn + MEMORY - age) % MEMORY];
            let place = &mut self.ring[(self.turn + MEMORY - age) % MEMORY];
            copy_lane(&mut place.step, to, &source.step, from);
            copy_lane(&mut place.change, to, &source.change, from);
            place.inverse_product.0[to] = source.inverse_product.0[from];
        }
    }

    /// A lane's search, and all else that its walk goes on from.
    pub fn lane(&mut self, lane: usize) -> (Search, Vec<f32>) {
        let mut values = Vec::new();
        self.places(lane, |place| values.push(*place));
        (self.searches[lane], values)
    }

    /// Puts that into a lane; false where it is of another shape.
    pub fn set_lane(&mut self, lane: usize, search: Search, values: &[f32]) -> bool {
        let (mut left, mut is_fit) = (values.iter(), true);
        self.places(lane, |place| match left.next() {
            Some(value) => *place = *value,
            None => is_fit = false,
        });
        self.searches[lane] = search;
        is_fit && left.next().is_none()
    }

    /// Goes through all numbers of a lane beside its search and penalties, the ring from its newest place back.
    fn places(&mut self, lane: usize, mut visit: impl FnMut(&mut f32)) {
        let mut all =
            |pairs: &mut [Pair]| pairs.as_flattened_mut().iter_mut().for_each(|place| visit(&mut place.0[lane]));
        all(&mut self.weights);
        all(&mut self.gradient);
        all(&mut self.direction);
        all(&mut self.inverse_curvature);
        for age in 1..=MEMORY {
            let place = &mut self.ring[(self.turn + MEMORY - age) % MEMORY];
            all(&mut place.step);
            all(&mut place.change);
        }
        for age in 1..=MEMORY {
            visit(&mut self.ring[(self.turn + MEMORY - age) % MEMORY].inverse_product.0[lane]);
        }
        visit(&mut self.scale.0[lane]);
    }

    /// A lane's weights, without its neighbours'.
    pub fn lane_weights(&self, lane: usize) -> Vec<f32> {
        self.weights.as_flattened().iter().map(|weight| weight.0[lane]).collect()
    }

    /// Starts a lane from these weights.
    pub fn set_weights(&mut self, lane: usize, weights: &[f32]) {
        self.weights.as_flattened_mut().iter_mut().zip(weights).for_each(|(to, from)| to.0[lane] = *from);
    }

    fn is_active(&self, lane: usize, until: u64) -> bool {
        let search = &self.searches[lane];
        !search.is_done && (search.iterations < until || !search.has_begun)
    }
}

fn copy_lane(target: &mut [Pair], to: usize, source: &[Pair], from: usize) {
    for (target, source) in target.as_flattened_mut().iter_mut().zip(source.as_flattened()) {
        target.0[to] = source.0[from];
    }
}

/// Walks every lane on until it is done or has had `until` iterations.
///
/// Lanes that reach `until` earlier than others of their walk would fall behind the ring's turns: the caller walks
/// lanes together only if they have had equally many iterations.
pub struct Advance<'a> {
    /// The fold that the walk is on.
    pub fold: &'a Prepared,
    /// The walk.
    pub walk: &'a mut Walk,
    /// Iterations counted from the lanes' start.
    pub until: u64,
}

/// What an evaluation leaves behind.
pub(super) struct Trial {
    pub weights: Vec<Pair>,
    pub gradient: Vec<Pair>,
    curvature: Vec<Pair>,
    scratch: Scratch,
}

impl Kernel for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Advance { fold, walk, until } = self;
        let zeros = vec![ZERO_PAIR; fold.shape.pairs()];
        let mut trial = Trial {
            weights: zeros.clone(),
            gradient: zeros.clone(),
            curvature: zeros,
            scratch: Scratch::new(fold.shape),
        };
        loop {
            let is_active: [bool; LANES] = std::array::from_fn(|lane| walk.is_active(lane, until));
            if !is_active.contains(&true) {
                return;
            }
            iterate::<V>(fold, walk, &mut trial, is_active);
        }
    }
}

#[inline(always)]
fn iterate<V: Simd>(fold: &Prepared, walk: &mut Walk, trial: &mut Trial, is_active: [bool; LANES]) {
    let slopes = 2 * fold.shape.weights();
    let steps = lanes(|lane| if is_active[lane] { walk.searches[lane].step } else { 0.0 });
    if fold.has_l1 {
        orthant::move_along::<V>(walk, V::load(&steps), slopes, &mut trial.weights);
    } else {
        move_along::<V>(&walk.weights, &walk.direction, V::load(&steps), &mut trial.weights);
    }
    let wants_curvature = lanes(|lane| truth(is_active[lane] && walk.searches[lane].wants_curvature()));
    let curvature = (wants_curvature != Lanes::ZERO).then_some(&mut trial.curvature[..]);
    let losses = loss::evaluate::<V>(fold, &trial.weights, &mut trial.gradient, curvature, &mut trial.scratch);
    let sums = if fold.has_l1 {
        orthant::add_penalty::<V>(walk, trial, slopes)
    } else {
        add_penalty::<V>(walk, trial, slopes)
    };

    let mut accepted = Lanes::ZERO;
    let mut forgotten = Lanes::ZERO;
    for lane in (0..LANES).filter(|lane| is_active[*lane]) {
        let loss = losses[lane] + 0.5 * f64::from(walk.penalties.0[lane]) * f64::from(sums.weights.0[lane]);
        let loss = loss + f64::from(walk.l1.0[lane]) * f64::from(sums.sizes.0[lane]);
        let search = &mut walk.searches[lane];
        if let Some(start) = &sums.start {
            search.aim(start.0[lane]);
        }
        match search.judge(loss, sums.slope.0[lane], sums.gradient.0[lane].sqrt()) {
            Verdict::Accept => accepted.0[lane] = 1.0,
            Verdict::Forget => forgotten.0[lane] = 1.0,
            Verdict::Shorten | Verdict::Rest => {}
        }
    }
    let refreshed = lanes(|lane| accepted.0[lane] * wants_curvature.0[lane]);
    if refreshed != Lanes::ZERO {
        refresh::<V>(walk, trial, slopes, &refreshed);
    }
    let is_straight = !fold.has_l1;
    commit::<V>(walk, trial, is_straight.then_some(&steps), &accepted, &lanes(|lane| truth(is_active[lane])));
    if fold.has_l1 {
        orthant::shift::<V>(walk, fold, &accepted);
    }
    forget(walk, &forgotten);

    let turned = lanes(|lane| accepted.0[lane].max(forgotten.0[lane]));
    if turned == Lanes::ZERO {
        return;
    }
    let mut turn = |walk: &mut Walk, mask: &Lanes| {
        let Trial { weights, gradient, curvature, .. } = &mut *trial;
        if fold.has_l1 {
            orthant::turn::<V>(walk, gradient, weights, curvature, slopes, mask)
        } else {
            turn::<V>(walk, gradient, weights, mask)
        }
    };
    let course = turn(walk, &turned);
    let climbing = lanes(|lane| truth(turned.0[lane] > 0.0 && !course.set_out(&mut walk.searches[lane], lane)));
    if climbing != Lanes::ZERO {
        forget(walk, &climbing);
        let course = turn(walk, &climbing);
        for lane in (0..LANES).filter(|lane| climbing.0[*lane] > 0.0) {
            // A gradient that does not even descend along itself is zero or not a number: there is nowhere to go.
            walk.searches[lane].is_done |= !course.set_out(&mut walk.searches[lane], lane);
        }
    }
}

fn lanes(value: impl FnMut(usize) -> f32) -> Lanes {
    Lanes(std::array::from_fn(value))
}

fn truth(is_true: bool) -> f32 {
    f32::from(u8::from(is_true))
}

/// Leaves no pair in some lanes' rings.
fn forget(walk: &mut Walk, forgotten: &Lanes) {
    for place in &mut walk.ring {
        place.inverse_product = lanes(|lane| place.inverse_product.0[lane] * (1.0 - forgotten.0[lane]));
    }
    walk.scale = lanes(|lane| if forgotten.0[lane] > 0.0 { 1.0 } else { walk.scale.0[lane] });
}

/// `to = from + step direction`
#[inline(always)]
fn move_along<V: Simd>(from: &[Pair], direction: &[Pair], step: V, to: &mut [Pair]) {
    let pairs = from.as_flattened().iter().zip(direction.as_flattened());
    for (to, (from, direction)) in to.as_flattened_mut().iter_mut().zip(pairs) {
        V::load(direction).mul_add(step, V::load(from)).store(to);
    }
}

/// What a trial is judged by.
pub(super) struct Sums {
    /// Squared penalised weights.
    pub weights: Lanes,
    /// Sizes of penalised weights, where there is an L1 term.
    pub sizes: Lanes,
    /// Squared gradient, or pseudo-gradient.
    pub gradient: Lanes,
    /// Gradient times direction, or times the way to the trial.
    pub slope: Lanes,
    /// The slope of that way where it begins, if it is not the direction.
    pub start: Option<Lanes>,
}

/// Adds the penalty's part to the trial's gradient: to the first `slopes` entries, not to the intercepts.
#[inline(always)]
fn add_penalty<V: Simd>(walk: &Walk, trial: &mut Trial, slopes: usize) -> Sums {
    let penalty = V::load(&walk.penalties);
    let [mut weights, mut gradients, mut slope] = [V::zero(); 3];
    let entries = trial.weights.as_flattened().iter().zip(walk.direction.as_flattened());
    for (at, (gradient, (weight, direction))) in trial.gradient.as_flattened_mut().iter_mut().zip(entries).enumerate() {
        let mut g = V::load(gradient);
        if at < slopes {
            let w = V::load(weight);
            g = w.mul_add(penalty, g);
            weights = w.mul_add(w, weights);
            g.store(gradient);
        }
        gradients = g.mul_add(g, gradients);
        slope = g.mul_add(V::load(direction), slope);
    }
    Sums {
        weights: stored(weights),
        sizes: Lanes::ZERO,
        gradient: stored(gradients),
        slope: stored(slope),
        start: None,
    }
}

#[inline(always)]
pub(super) fn stored<V: Simd>(value: V) -> Lanes {
    let mut to = Lanes::ZERO;
    value.store(&mut to);
    to
}

/// Takes the trial's curvature over into the lanes of the mask.
#[inline(always)]
fn refresh<V: Simd>(walk: &mut Walk, trial: &Trial, slopes: usize, mask: &Lanes) {
    let mask = V::zero().less(V::load(mask));
    let (one, least, penalty) = (V::splat(1.0), V::splat(LEAST_CURVATURE), V::load(&walk.penalties));
    let entries = walk.inverse_curvature.as_flattened_mut().iter_mut().zip(trial.curvature.as_flattened());
    for (at, (inverse, curvature)) in entries.enumerate() {
        let curvature = V::load(curvature);
        let curvature = if at < slopes { curvature.add(penalty) } else { curvature };
        V::select(mask, one.div(curvature.max(least)), V::load(inverse)).store(inverse);
    }
}

/// Accepted trials become the lanes' weights and give a pair; rejected ones leave the ring's place empty. Lanes that are
/// not active keep theirs. Trials lie `steps` along the lanes' directions, if there are any.
#[inline(always)]
fn commit<V: Simd>(walk: &mut Walk, trial: &Trial, steps: Option<&Lanes>, accepted: &Lanes, active: &Lanes) {
    let Walk { weights, gradient, direction, inverse_curvature, ring, turn, scale, .. } = walk;
    let place = &mut ring[*turn];
    *turn = (*turn + 1) % MEMORY;
    let is_accepted = V::zero().less(V::load(accepted));
    let is_active = V::zero().less(V::load(active));
    let step = steps.map(|steps| V::load(steps));
    let [mut product, mut change_square] = [V::zero(); 2];
    let current = weights.as_flattened_mut().iter_mut().zip(gradient.as_flattened_mut());
    let tried = trial.weights.as_flattened().iter().zip(trial.gradient.as_flattened());
    let along = direction.as_flattened().iter().zip(inverse_curvature.as_flattened());
    let pair = place.step.as_flattened_mut().iter_mut().zip(place.change.as_flattened_mut());
    for (((weight, gradient), (tried, tried_gradient)), ((direction, inverse), (s_place, y_place))) in
        current.zip(tried).zip(along.zip(pair))
    {
        let (new_gradient, old_gradient) = (V::load(tried_gradient), V::load(gradient));
        let way = match step {
            Some(step) => V::load(direction).mul(step),
            None => V::load(tried).sub(V::load(weight)),
        };
        let s = V::select(is_accepted, way, V::zero());
        let y = V::select(is_accepted, new_gradient.sub(old_gradient), V::zero());
        product = s.mul_add(y, product);
        change_square = y.mul(V::load(inverse)).mul_add(y, change_square);
        V::select(is_active, s, V::load(s_place)).store(s_place);
        V::select(is_active, y, V::load(y_place)).store(y_place);
        V::select(is_accepted, V::load(tried), V::load(weight)).store(weight);
        V::select(is_accepted, new_gradient, old_gradient).store(gradient);
    }
    let (product, change_square) = (stored(product), stored(change_square));
    for lane in (0..LANES).filter(|lane| active.0[*lane] > 0.0) {
        // Rounding can turn the product of tiny pairs negative; the first evaluation has none.
        let is_pair = product.0[lane] > 0.0 && change_square.0[lane] > 0.0;
        place.inverse_product.0[lane] = if is_pair { 1.0 / product.0[lane] } else { 0.0 };
        if is_pair {
            scale.0[lane] = product.0[lane] / change_square.0[lane];
        }
    }
}

/// The directions that lanes have turned into.
pub(super) struct Course {
    /// Gradient times direction.
    pub slope: Lanes,
    /// The direction's square.
    pub square: Lanes,
}

impl Course {
    fn set_out(&self, search: &mut Search, lane: usize) -> bool {
        search.set_out(self.slope.0[lane], self.square.0[lane].sqrt())
    }
}

/// The lanes of the mask turn into the direction `-H g` of L-BFGS.
#[inline(always)]
fn turn<V: Simd>(walk: &mut Walk, q: &mut [Pair], r: &mut [Pair], mask: &Lanes) -> Course {
    let Walk { gradient, direction, inverse_curvature, ring, turn, scale, .. } = walk;
    let newest_first = |age: usize| &ring[(*turn + MEMORY - 1 - age) % MEMORY];
    q.copy_from_slice(gradient);
    let mut shares = [Lanes::ZERO; MEMORY];
    for (age, share) in shares.iter_mut().enumerate() {
        let place = newest_first(age);
        let a = V::load(&place.inverse_product).mul(dot::<V>(&place.step, q));
        a.store(share);
        for (q, y) in q.as_flattened_mut().iter_mut().zip(place.change.as_flattened()) {
            a.neg_mul_add(V::load(y), V::load(q)).store(q);
        }
    }
    let scale = V::load(scale);
    let entries = q.as_flattened().iter().zip(inverse_curvature.as_flattened());
    for (r, (q, inverse)) in r.as_flattened_mut().iter_mut().zip(entries) {
        V::load(q).mul(scale).mul(V::load(inverse)).store(r);
    }
    for (age, share) in shares.iter().enumerate().rev() {
        let place = newest_first(age);
        let b = V::load(&place.inverse_product).mul(dot::<V>(&place.change, r));
        let rest = V::load(share).sub(b);
        for (r, s) in r.as_flattened_mut().iter_mut().zip(place.step.as_flattened()) {
            rest.mul_add(V::load(s), V::load(r)).store(r);
        }
    }
    let is_turning = V::zero().less(V::load(mask));
    let [mut slope, mut square] = [V::zero(); 2];
    let entries = r.as_flattened().iter().zip(gradient.as_flattened());
    for (direction, (r, gradient)) in direction.as_flattened_mut().iter_mut().zip(entries) {
        let d = V::select(is_turning, V::zero().sub(V::load(r)), V::load(direction));
        d.store(direction);
        slope = d.mul_add(V::load(gradient), slope);
        square = d.mul_add(d, square);
    }
    Course { slope: stored(slope), square: stored(square) }
}

#[inline(always)]
pub(super) fn dot<V: Simd>(a: &[Pair], b: &[Pair]) -> V {
    // Two chains: even and odd classes.
    let [mut even, mut odd] = [V::zero(); 2];
    for (a, b) in a.iter().zip(b) {
        even = V::load(&a[0]).mul_add(V::load(&b[0]), even);
        odd = V::load(&a[1]).mul_add(V::load(&b[1]), odd);
    }
    even.add(odd)
}
