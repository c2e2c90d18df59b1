// The softmax's line search and its reasons to stop: Search of src/models/logistic/solver.rs, with the loss as a compensated
// sum where it is f64 there. All threads of a lane judge alike: what they judge by is the same for all of them.

// Verdicts on a trial.
const ACCEPT: u32 = 0u;
const SHORTEN: u32 = 1u;
const FORGET: u32 = 2u;
const REST: u32 = 3u;

// A lane's walk: the first SEARCH_WORDS of its state.
struct Search {
    // Loss of the blocks so far.
    sum: Sum,
    // Loss where the lane stands.
    loss: Sum,
    step: f32,
    slope: f32,
    norm: f32,
    smallest: f32,
    smallest_at: u32,
    has_forgotten: u32,
    // Directions in a row that promised next to nothing.
    flat_turns: u32,
    is_done: u32,
    has_failed: u32,
    verdict: u32,
    // Gamma of the newest pair.
    scale: f32,
    // 1 / s'y of each place of the ring; 0 where it is empty.
    inverse_products: array<f32, MEMORY>,
}

fn has_stalled(search: Search, iterations: u32, tolerance: f32) -> bool {
    let patience = select(STALLED_ABOVE, STALLED_BELOW, search.smallest <= tolerance);
    return iterations - search.smallest_at >= patience;
}

// Where the slope would be zero if it changed linearly, within bounds.
fn shorten(before: Search, slope: f32, has_slope: bool, iterations: u32, tolerance: f32) -> Search {
    var search = before;
    var share = 0.1;
    if (has_slope) {
        share = clamp(search.slope / (search.slope - slope), 0.1, 0.7);
    }
    search.step *= share;
    let is_stalled = has_stalled(search, iterations, tolerance);
    search.verdict = SHORTEN;
    if (search.step < SHORTEST_STEP || is_stalled) {
        search.is_done = select(0u, 1u, search.has_forgotten == 1u || is_stalled);
        search.verdict = select(FORGET, REST, search.is_done == 1u);
        search.has_forgotten = 1u;
    }
    return search;
}

fn judge(lane: u32, before: Search, loss: Sum, slope: f32, norm: f32, iterations: u32) -> Search {
    var search = before;
    let tolerance = lanes[lane].tolerance;
    let is_all_finite = is_finite(loss.value) && is_finite(loss.rest) && is_finite(slope) && is_finite(norm);
    if (iterations == 0u) {
        if (!is_all_finite) {
            search.has_failed = 1u;
            search.is_done = 1u;
            search.verdict = REST;
            return search;
        }
    } else {
        let is_near = slope <= -STEEPEST_CLIMB * search.slope;
        let climb = (loss.value - search.loss.value) + (loss.rest - search.loss.rest);
        let is_level = climb <= LOSS_NOISE * abs(search.loss.value);
        // With an L1 term the way to a trial may not descend at all.
        let is_way = is_all_finite && (lanes[lane].has_l1 == 0u || search.slope < 0.0);
        if (!(is_way && (slope <= 0.0 || (is_near && is_level)))) {
            return shorten(search, slope, is_way, iterations, tolerance);
        }
    }
    search.loss = loss;
    search.has_forgotten = 0u;
    let has_l1 = lanes[lane].has_l1 == 1u;
    let measure = select(norm, loss.value + loss.rest, has_l1);
    if (measure < select(0.9, 1.0 - LEAST_PROGRESS, has_l1) * search.smallest) {
        search.smallest = measure;
        search.smallest_at = iterations;
    }
    search.norm = norm;
    let is_enough = norm <= max(lanes[lane].enough, CERTAIN * tolerance);
    search.is_done = select(0u, 1u, is_enough || has_stalled(search, iterations, tolerance));
    search.verdict = ACCEPT;
    return search;
}

// Sets out in a new direction; the caller looks whether its slope descends.
fn set_out(lane: u32, before: Search, course: vec2<f32>) -> Search {
    var search = before;
    search.slope = course.x;
    search.step = 1.0;
    if (lanes[lane].has_l1 == 0u) {
        if (search.norm <= lanes[lane].tolerance && sqrt(course.y) <= NEAR) {
            search.is_done = 1u;
        }
    } else if (course.x < 0.0) {
        let is_flat = -course.x <= LEAST_GAIN * (search.loss.value + search.loss.rest);
        search.flat_turns = select(0u, search.flat_turns + 1u, is_flat);
        if (search.flat_turns >= FLAT_TURNS) {
            search.is_done = 1u;
        }
    }
    return search;
}

// Numbers, not bits: a device may flush what would be a subnormal.
fn load(lane: u32) -> Search {
    let at = lanes[lane].state;
    var search: Search;
    search.sum = Sum(state[at], state[at + 1u]);
    search.loss = Sum(state[at + 2u], state[at + 3u]);
    search.step = state[at + 4u];
    search.slope = state[at + 5u];
    search.norm = state[at + 6u];
    search.smallest = state[at + 7u];
    search.smallest_at = u32(state[at + 8u]);
    search.has_forgotten = u32(state[at + 9u]);
    search.scale = state[at + 10u];
    search.flat_turns = u32(state[at + 11u]);
    for (var place = 0u; place < MEMORY; place += 1u) {
        search.inverse_products[place] = state[at + 12u + place];
    }
    return search;
}

fn store(lane: u32, kept: Search) {
    let at = lanes[lane].state;
    var search = kept;
    state[at] = search.sum.value;
    state[at + 1u] = search.sum.rest;
    state[at + 2u] = search.loss.value;
    state[at + 3u] = search.loss.rest;
    state[at + 4u] = search.step;
    state[at + 5u] = search.slope;
    state[at + 6u] = search.norm;
    state[at + 7u] = search.smallest;
    state[at + 8u] = f32(search.smallest_at);
    state[at + 9u] = f32(search.has_forgotten);
    state[at + 10u] = search.scale;
    state[at + 11u] = f32(search.flat_turns);
    for (var place = 0u; place < MEMORY; place += 1u) {
        state[at + 12u + place] = search.inverse_products[place];
    }
}
