// The softmax: one workgroup walks one lane to its optimum, then other dispatches score it.
//
// src/models/logistic/solver.rs says what training is. A tick is a block of rows: its logits, its residuals, and what it
// adds to loss, gradient and curvature; after a unit's last block the lane judges its trial and turns. Everything between
// two ticks is in the lane's state, so that a dispatch can end after any of them.
//
// Shapes: x [features, rows] of a row set, in the fold's eigenbasis; every vector of the state has entries
// [features, outputs] and then [outputs] intercepts; activations [outputs, capacity] of a block. A thread owns the entries
// of its own number, its number + WORKGROUP, ..., so that only sums over all entries and products need barriers.

// Vectors of the state, in its order; after these come MEMORY steps, MEMORY changes, and behind all VECTORS the activations.
const WEIGHTS: u32 = 0u;
const GRADIENT: u32 = 1u;
const DIRECTION: u32 = 2u;
const INVERSE: u32 = 3u;
const TRIAL: u32 = 4u;
const TRIAL_GRADIENT: u32 = 5u;
const TRIAL_CURVATURE: u32 = 6u;
const STEPS: u32 = 7u;
const CHANGES: u32 = STEPS + MEMORY;

// Threads that add up what all threads have.
const SEGMENTS: u32 = 16u;

var<workgroup> shared_total: vec4<f32>;
var<workgroup> shared_search: Search;

fn vector(lane: u32, index: u32) -> u32 {
    return lanes[lane].state + SEARCH_WORDS + index * lanes[lane].entries;
}

fn activations(lane: u32) -> u32 {
    return vector(lane, VECTORS);
}

// Entries that the penalty counts: all but the intercepts.
fn slopes(lane: u32) -> u32 {
    return lanes[lane].entries - lanes[lane].outputs;
}

// The sum of all threads' values, in a fixed order.
fn total(values: vec4<f32>, thread: u32) -> vec4<f32> {
    workgroupBarrier();
    tile_a[thread] = values;
    workgroupBarrier();
    if (thread < SEGMENTS) {
        var sum = tile_a[thread];
        for (var i = thread + SEGMENTS; i < WORKGROUP; i += SEGMENTS) {
            sum += tile_a[i];
        }
        tile_a[WORKGROUP + thread] = sum;
    }
    workgroupBarrier();
    if (thread == 0u) {
        var sum = tile_a[WORKGROUP];
        for (var i = 1u; i < SEGMENTS; i += 1u) {
            sum += tile_a[WORKGROUP + i];
        }
        shared_total = sum;
    }
    return workgroupUniformLoad(&shared_total);
}

fn forget(before: Search) -> Search {
    var search = before;
    search.scale = 1.0;
    for (var place = 0u; place < MEMORY; place += 1u) {
        search.inverse_products[place] = 0.0;
    }
    return search;
}

// Takes over the curvature of an accepted trial.
fn refresh(lane: u32, thread: u32) {
    let curvature = vector(lane, TRIAL_CURVATURE);
    let inverse = vector(lane, INVERSE);
    for (var i = thread; i < lanes[lane].entries; i += WORKGROUP) {
        let penalty = select(0.0, lanes[lane].penalty, i < slopes(lane));
        state[inverse + i] = 1.0 / max(state[curvature + i] + penalty, LEAST_CURVATURE);
    }
}

// An accepted trial becomes the lane's weights and, after the start, gives a pair.
fn commit(lane: u32, before: Search, evaluation: u32, thread: u32) -> Search {
    var search = before;
    let place = evaluation % MEMORY;
    let weights = vector(lane, WEIGHTS);
    let gradient = vector(lane, GRADIENT);
    let direction = vector(lane, DIRECTION);
    let inverse = vector(lane, INVERSE);
    let trial = vector(lane, TRIAL);
    let trial_gradient = vector(lane, TRIAL_GRADIENT);
    let step_place = vector(lane, STEPS + place);
    let change_place = vector(lane, CHANGES + place);
    var sums = vec4<f32>(0.0);
    let is_straight = lanes[lane].has_l1 == 0u;
    for (var i = thread; i < lanes[lane].entries; i += WORKGROUP) {
        let found = state[trial_gradient + i];
        let s = select(state[trial + i] - state[weights + i], state[direction + i] * search.step, is_straight);
        let change = found - state[gradient + i];
        sums.x = fma(s, change, sums.x);
        sums.y = fma(change * state[inverse + i], change, sums.y);
        state[step_place + i] = s;
        state[change_place + i] = change;
        state[weights + i] = state[trial + i];
        state[gradient + i] = found;
    }
    sums = total(sums, thread);
    // Rounding can turn the product of tiny pairs negative; the start's step of zero gives none.
    if (sums.x > 0.0 && sums.y > 0.0) {
        search.inverse_products[place] = 1.0 / sums.x;
        search.scale = sums.x / sums.y;
    }
    return search;
}

// Turns into the direction -H g of L-BFGS (Nocedal & Wright 2006, algorithm 7.4): its slope, and its square. The trial's
// vectors have room for what it computes.
fn turn(lane: u32, search: Search, evaluation: u32, thread: u32) -> vec2<f32> {
    let entries = lanes[lane].entries;
    let gradient = vector(lane, GRADIENT);
    let direction = vector(lane, DIRECTION);
    let inverse = vector(lane, INVERSE);
    let q = vector(lane, TRIAL_GRADIENT);
    let r = vector(lane, TRIAL);
    // Indexed by variables: a value's array can be by constants only.
    var inverse_products = search.inverse_products;
    var shares: array<f32, MEMORY>;
    for (var i = thread; i < entries; i += WORKGROUP) {
        state[q + i] = state[gradient + i];
    }
    for (var age = 0u; age < MEMORY; age += 1u) {
        let place = (evaluation + MEMORY - age) % MEMORY;
        let step_place = vector(lane, STEPS + place);
        let change_place = vector(lane, CHANGES + place);
        shares[age] = 0.0;
        if (inverse_products[place] > 0.0) {
            var dot = 0.0;
            for (var i = thread; i < entries; i += WORKGROUP) {
                dot = fma(state[step_place + i], state[q + i], dot);
            }
            let share = inverse_products[place] * total(vec4<f32>(dot, 0.0, 0.0, 0.0), thread).x;
            shares[age] = share;
            for (var i = thread; i < entries; i += WORKGROUP) {
                state[q + i] = fma(-share, state[change_place + i], state[q + i]);
            }
        }
    }
    for (var i = thread; i < entries; i += WORKGROUP) {
        state[r + i] = state[q + i] * search.scale * state[inverse + i];
    }
    for (var back = 0u; back < MEMORY; back += 1u) {
        let age = MEMORY - 1u - back;
        let place = (evaluation + MEMORY - age) % MEMORY;
        let step_place = vector(lane, STEPS + place);
        let change_place = vector(lane, CHANGES + place);
        if (inverse_products[place] > 0.0) {
            var dot = 0.0;
            for (var i = thread; i < entries; i += WORKGROUP) {
                dot = fma(state[change_place + i], state[r + i], dot);
            }
            let rest = shares[age] - inverse_products[place] * total(vec4<f32>(dot, 0.0, 0.0, 0.0), thread).x;
            for (var i = thread; i < entries; i += WORKGROUP) {
                state[r + i] = fma(rest, state[step_place + i], state[r + i]);
            }
        }
    }
    var sums = vec4<f32>(0.0);
    for (var i = thread; i < entries; i += WORKGROUP) {
        let along = -state[r + i];
        state[direction + i] = along;
        sums.x = fma(along, state[gradient + i], sums.x);
        sums.y = fma(along, along, sums.y);
    }
    return total(sums, thread).xy;
}

// Turns as the objective is: smooth, or bent by an L1 term.
fn turn_away(lane: u32, search: Search, evaluation: u32, thread: u32) -> vec2<f32> {
    if (lanes[lane].has_l1 == 1u) {
        return turn_in_orthant(lane, search, evaluation, thread);
    }
    return turn(lane, search, evaluation, thread);
}

// Judges a trial along the direction after an evaluation over all rows.
fn judge_straight(lane: u32, before: Search, evaluation: u32, thread: u32) -> Search {
    let penalty = lanes[lane].penalty;
    let trial = vector(lane, TRIAL);
    let gradient = vector(lane, TRIAL_GRADIENT);
    let direction = vector(lane, DIRECTION);
    // Squared weights, squared gradient, slope.
    var sums = vec4<f32>(0.0);
    for (var i = thread; i < lanes[lane].entries; i += WORKGROUP) {
        var g = state[gradient + i];
        if (i < slopes(lane)) {
            let w = state[trial + i];
            g = fma(w, penalty, g);
            state[gradient + i] = g;
            sums.x = fma(w, w, sums.x);
        }
        sums.y = fma(g, g, sums.y);
        sums.z = fma(g, state[direction + i], sums.z);
    }
    sums = total(sums, thread);
    var search = before;
    // A rejected trial leaves its place of the ring empty.
    search.inverse_products[evaluation % MEMORY] = 0.0;
    return judge(lane, search, add_to(search.sum, 0.5 * penalty * sums.x), sums.z, sqrt(sums.y), evaluation);
}

// What follows an evaluation over all rows: `iterate` of walk.rs after its evaluation.
fn conclude(lane: u32, before: Search, evaluation: u32, wants_curvature: bool, thread: u32) -> Search {
    var search = before;
    if (lanes[lane].has_l1 == 1u) {
        search = judge_way(lane, search, evaluation, thread);
    } else {
        search = judge_straight(lane, search, evaluation, thread);
    }
    if (search.verdict == ACCEPT) {
        if (wants_curvature) {
            refresh(lane, thread);
        }
        search = commit(lane, search, evaluation, thread);
        if (lanes[lane].has_l1 == 1u) {
            shift(lane, thread);
        }
    } else if (search.verdict == FORGET) {
        search = forget(search);
    } else {
        return search;
    }
    search = set_out(lane, search, turn_away(lane, search, evaluation, thread));
    if (!(search.slope < 0.0)) {
        search = forget(search);
        search = set_out(lane, search, turn_away(lane, search, evaluation, thread));
        // A gradient that does not even descend along itself is zero or not a number: there is nowhere to go.
        if (!(search.slope < 0.0)) {
            search.is_done = 1u;
        }
    }
    return search;
}

// The next trial, from where the lane stands.
fn move_along(lane: u32, step: f32, thread: u32) {
    let weights = vector(lane, WEIGHTS);
    let direction = vector(lane, DIRECTION);
    let trial = vector(lane, TRIAL);
    for (var i = thread; i < lanes[lane].entries; i += WORKGROUP) {
        var moved = fma(state[direction + i], step, state[weights + i]);
        if (lanes[lane].has_l1 == 1u) {
            moved = turned_back(lane, i, moved);
        }
        state[trial + i] = moved;
    }
    storageBarrier();
}

// A lane that has not begun stands on its fold's path: four nodes with their shares, as path.rs reads it. With an L1 term it
// stands on one node, which is zero.
fn start(lane: u32, thread: u32) -> Search {
    let entries = lanes[lane].entries;
    for (var i = thread; i < entries; i += WORKGROUP) {
        var value = 0.0;
        for (var node = 0u; node < lanes[lane].starts; node += 1u) {
            value = fma(lanes[lane].shares[node], nodes[lanes[lane].nodes + node * entries + i], value);
        }
        state[vector(lane, WEIGHTS) + i] = value * select(1.0, lanes[lane].shrink, i < slopes(lane));
        state[vector(lane, GRADIENT) + i] = 0.0;
        state[vector(lane, DIRECTION) + i] = 0.0;
    }
    var search: Search;
    search.step = 0.0;
    search.norm = INFINITE;
    search.smallest = INFINITE;
    return forget(search);
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    var search: Search;
    if (at.step == 0u) {
        search = start(lane, thread);
    } else {
        if (thread == 0u) {
            shared_search = load(lane);
        }
        search = workgroupUniformLoad(&shared_search);
    }
    let blocks = (lanes[lane].sets.rows[0] + TILE_ROWS - 1u) / TILE_ROWS;
    while (is_within_span(at)) {
        if (at.part == 0u) {
            move_along(lane, search.step, thread);
            search.sum = Sum(0.0, 0.0);
        }
        // A unit is an evaluation; the first is that of the start.
        let wants_curvature = at.unit % REFRESH == 0u;
        search.sum = add_to(search.sum, evaluate(lane, at.part, wants_curvature, thread));
        at.step += 1u;
        at.part += 1u;
        if (at.part >= blocks) {
            search = conclude(lane, search, at.unit, wants_curvature, thread);
            at.part = 0u;
            at.unit += 1u;
            if (search.has_failed == 1u) {
                at.status = LANE_NOT_FINITE;
                break;
            }
            if (search.is_done == 1u) {
                at.status = LANE_DONE;
                break;
            }
        }
    }
    if (thread == 0u) {
        store(lane, search);
    }
    return at;
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    let capacity = lanes[lane].capacity;
    let block = Block(lanes[lane].sets.x[tile.part], lanes[lane].sets.rows[tile.part], tile.first, tile.rows);
    product(lane, TO_LOGITS, block, vector(lane, WEIGHTS), true, thread);
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        softmax(activations(lane) + row, capacity, lanes[lane].outputs);
    }
    return Predictions(activations(lane), 1u, capacity);
}
