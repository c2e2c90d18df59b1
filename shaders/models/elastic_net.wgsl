// The elastic net: one workgroup walks one lane to its optimum, then other dispatches score it.
//
// src/models/elastic_net/solver.rs says what an iteration is; here it is a unit. Everything is in units in which the largest
// |c_j| is 1. Shapes, in `sums` from the lane's `sums` on: Gram matrix [features, features], c [features], means of the
// features, and the target's. The state is weights [features] and the intercept, then VECTORS vectors [features], a tile's
// predictions [capacity], and two numbers of the search. A thread owns the entries of its own number, its number +
// WORKGROUP, ...

// Vectors of the state, in its order.
const GRADIENT: u32 = 0u;
const RESIDUAL: u32 = 1u;
const DIRECTION: u32 = 2u;
const PRODUCT: u32 = 3u;

// What a step has left of a weight at most, where it was shortened to leave nothing.
const LANDED: f32 = 1e-5;
// Threads that add up what all threads have.
const SEGMENTS: u32 = 16u;

var<workgroup> parts: array<vec2<f32>, WORKGROUP + SEGMENTS>;
var<workgroup> shared_total: vec2<f32>;

fn vector(lane: u32, index: u32) -> u32 {
    return lanes[lane].state + 1u + (index + 1u) * lanes[lane].features;
}

fn predictions(lane: u32) -> u32 {
    return vector(lane, VECTORS);
}

fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x + b.x, min(a.y, b.y));
}

// The sum of all threads' first values, in a fixed order, and the least of their second ones.
fn total(values: vec2<f32>, thread: u32) -> vec2<f32> {
    workgroupBarrier();
    parts[thread] = values;
    workgroupBarrier();
    if (thread < SEGMENTS) {
        var sum = parts[thread];
        for (var i = thread + SEGMENTS; i < WORKGROUP; i += SEGMENTS) {
            sum = joined(sum, parts[i]);
        }
        parts[WORKGROUP + thread] = sum;
    }
    workgroupBarrier();
    if (thread == 0u) {
        var sum = parts[WORKGROUP];
        for (var i = 1u; i < SEGMENTS; i += 1u) {
            sum = joined(sum, parts[WORKGROUP + i]);
        }
        shared_total = sum;
    }
    return workgroupUniformLoad(&shared_total);
}

// An entry of the Gram matrix times a vector of the state.
fn product_entry(lane: u32, of_vector: u32, entry: u32) -> f32 {
    let features = lanes[lane].features;
    var sum = 0.0;
    for (var j = 0u; j < features; j += 1u) {
        sum = fma(sums[lanes[lane].sums + j * features + entry], state[of_vector + j], sum);
    }
    return sum;
}

// g = c - G w, anew: what steps leave of its rounding would add up.
fn refresh(lane: u32, thread: u32) {
    let features = lanes[lane].features;
    let c = lanes[lane].sums + features * features;
    for (var k = thread; k < features; k += WORKGROUP) {
        state[vector(lane, GRADIENT) + k] = sums[c + k] - product_entry(lane, lanes[lane].state, k);
    }
    storageBarrier();
}

// A sweep of coordinate descent: the largest violation.
fn sweep(lane: u32, thread: u32) -> f32 {
    let features = lanes[lane].features;
    let weights = lanes[lane].state;
    let gradient = vector(lane, GRADIENT);
    var largest = 0.0;
    for (var j = 0u; j < features; j += 1u) {
        let row = lanes[lane].sums + j * features;
        let square = sums[row + j];
        let curvature = square + lanes[lane].l2;
        let weight = state[weights + j];
        let free = fma(square, weight, state[gradient + j]);
        // Every thread has read before one writes.
        storageBarrier();
        // What is not a number stays so: no max, which may take the other side.
        var found = 0.0;
        if (!(curvature <= 0.0)) {
            let size = abs(free) - lanes[lane].l1;
            found = sign(free) * select(size, 0.0, size < 0.0) / curvature;
        }
        if (lanes[lane].is_positive == 1u) {
            found = select(found, 0.0, found < 0.0);
        }
        let step = found - weight;
        let violation = abs(step) * curvature;
        largest = select(violation, largest, violation <= largest);
        for (var k = thread; k < features; k += WORKGROUP) {
            state[gradient + k] = fma(-sums[row + k], step, state[gradient + k]);
        }
        if (thread == 0u) {
            state[weights + j] = found;
        }
        storageBarrier();
    }
    return largest;
}

// Conjugate gradients among the weights that are not zero, after a sweep with this violation.
fn descend(lane: u32, violation: f32, thread: u32) {
    let features = lanes[lane].features;
    let weights = lanes[lane].state;
    let gradient = vector(lane, GRADIENT);
    let residual = vector(lane, RESIDUAL);
    let direction = vector(lane, DIRECTION);
    let product = vector(lane, PRODUCT);
    let l2 = lanes[lane].l2;
    let goal = max(CERTAIN * TOLERANCE, ENOUGH * violation);
    var own = 0.0;
    for (var k = thread; k < features; k += WORKGROUP) {
        let w = state[weights + k];
        let r = select(0.0, fma(-l2, w, state[gradient + k]) - lanes[lane].l1 * sign(w), w != 0.0);
        state[residual + k] = r;
        state[direction + k] = r;
        own = fma(r, r, own);
    }
    var squares = total(vec2<f32>(own, 0.0), thread).x;
    storageBarrier();
    for (var step_number = 0u; step_number < min(STEPS, 2u * features + MORE_STEPS); step_number += 1u) {
        if (!(squares > goal * goal)) {
            break;
        }
        own = 0.0;
        for (var k = thread; k < features; k += WORKGROUP) {
            let image = product_entry(lane, direction, k);
            let d = state[direction + k];
            state[product + k] = image;
            own = fma(d, fma(l2, d, image), own);
        }
        let curvature = total(vec2<f32>(own, 0.0), thread).x;
        // A direction without curvature is one that rounding alone points in.
        if (!(curvature > 0.0)) {
            break;
        }
        let whole = squares / curvature;
        var nearest = whole;
        for (var k = thread; k < features; k += WORKGROUP) {
            let w = state[weights + k];
            let d = state[direction + k];
            if (w * d < 0.0) {
                nearest = min(nearest, -w / d);
            }
        }
        let step = total(vec2<f32>(0.0, nearest), thread).y;
        own = 0.0;
        for (var k = thread; k < features; k += WORKGROUP) {
            let w = state[weights + k];
            let d = state[direction + k];
            let image = state[product + k];
            let moved = fma(step, d, w);
            let found = select(moved, 0.0, moved * w <= LANDED * w * w);
            let r = select(0.0, fma(-step, fma(l2, d, image), state[residual + k]), found != 0.0);
            state[weights + k] = found;
            state[residual + k] = r;
            own = fma(r, r, own);
        }
        let before = squares;
        squares = total(vec2<f32>(own, 0.0), thread).x;
        // A weight that has landed changes the problem: the others set out anew.
        let share = select(squares / before, 0.0, step < whole);
        for (var k = thread; k < features; k += WORKGROUP) {
            state[direction + k] = fma(share, state[direction + k], state[residual + k]);
        }
        storageBarrier();
    }
    storageBarrier();
}

// The intercept takes up the means.
fn centre(lane: u32, thread: u32) {
    let features = lanes[lane].features;
    let mean = lanes[lane].sums + features * (features + 1u);
    var own = 0.0;
    for (var k = thread; k < features; k += WORKGROUP) {
        own = fma(sums[mean + k], state[lanes[lane].state + k], own);
    }
    let taken = total(vec2<f32>(own, 0.0), thread).x;
    if (thread == 0u) {
        state[lanes[lane].state + features] = sums[mean + features] - taken;
    }
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    let search = predictions(lane) + lanes[lane].capacity;
    // The smallest violation so far, and its iteration.
    var smallest = vec2<f32>(INFINITE, 0.0);
    if (at.step == 0u) {
        for (var k = thread; k < lanes[lane].features; k += WORKGROUP) {
            state[lanes[lane].state + k] = 0.0;
        }
        storageBarrier();
    } else {
        if (thread == 0u) {
            shared_total = vec2<f32>(state[search], state[search + 1u]);
        }
        smallest = workgroupUniformLoad(&shared_total);
    }
    while (is_within_span(at)) {
        refresh(lane, thread);
        let violation = total(vec2<f32>(0.0, sweep(lane, thread)), thread).y;
        at.unit += 1u;
        at.step += 1u;
        if (violation < 0.9 * smallest.x) {
            smallest = vec2<f32>(violation, f32(at.unit));
        }
        let has_stalled = smallest.x <= NEAR && f32(at.unit) - smallest.y >= PATIENCE;
        if (!is_finite(violation)) {
            at.status = LANE_NOT_FINITE;
            break;
        }
        if (violation <= TOLERANCE || has_stalled) {
            at.status = LANE_DONE;
            break;
        }
        descend(lane, violation, thread);
    }
    centre(lane, thread);
    if (thread == 0u) {
        state[search] = smallest.x;
        state[search + 1u] = smallest.y;
    }
    return at;
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    return linear_tile(lane, tile, lanes[lane].state, predictions(lane), lanes[lane].capacity, thread);
}
