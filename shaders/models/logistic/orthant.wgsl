// What is otherwise in a walk where the objective has an L1 term: orthant.rs of the CPU, entry by entry. The gradient in the
// state is that without the L1 term.

// The L1 penalty of an entry.
fn l1_of(lane: u32, i: u32) -> f32 {
    return select(0.0, lanes[lane].l1, i < slopes(lane));
}

// How the objective goes down the fastest at w, where it goes up by g without its L1 term.
fn pseudo_gradient(w: f32, g: f32, l1: f32) -> f32 {
    let at_zero = max(g - l1, 0.0) + min(g + l1, 0.0);
    return select(select(at_zero, g - l1, w < 0.0), g + l1, w > 0.0);
}

// The same of an entry where the lane stands.
fn pseudo_gradient_of(lane: u32, i: u32) -> f32 {
    return pseudo_gradient(state[vector(lane, WEIGHTS) + i], state[vector(lane, GRADIENT) + i], l1_of(lane, i));
}

// The sign that a weight with this pseudo-gradient may have; 0 where there is no L1 term to bend the objective.
fn side(w: f32, pseudo: f32, l1: f32) -> f32 {
    return select(0.0, select(sign(w), -sign(pseudo), w == 0.0), l1 > 0.0);
}

// Where an entry would move, turned back at zero.
fn turned_back(lane: u32, i: u32, moved: f32) -> f32 {
    let w = state[vector(lane, WEIGHTS) + i];
    return select(moved, 0.0, moved * side(w, pseudo_gradient_of(lane, i), l1_of(lane, i)) < 0.0);
}

// Whether the next direction may move an entry.
fn is_free(lane: u32, i: u32) -> bool {
    return state[vector(lane, WEIGHTS) + i] != 0.0 || pseudo_gradient_of(lane, i) != 0.0;
}

// Judges a trial after an evaluation over all rows by the slopes at both ends of the way to it.
fn judge_way(lane: u32, before: Search, evaluation: u32, thread: u32) -> Search {
    let penalty = lanes[lane].penalty;
    let weights = vector(lane, WEIGHTS);
    let trial = vector(lane, TRIAL);
    let gradient = vector(lane, TRIAL_GRADIENT);
    // Squared weights, their sizes, the squared pseudo-gradient, the slope at the end; then that at the start.
    var sums = vec4<f32>(0.0);
    var start = 0.0;
    for (var i = thread; i < lanes[lane].entries; i += WORKGROUP) {
        let l1 = l1_of(lane, i);
        let t = state[trial + i];
        let w = state[weights + i];
        var g = state[gradient + i];
        if (i < slopes(lane)) {
            g = fma(t, penalty, g);
            state[gradient + i] = g;
            sums.x = fma(t, t, sums.x);
            sums.y += abs(t);
        }
        let found = pseudo_gradient(t, g, l1);
        sums.z = fma(found, found, sums.z);
        let pseudo = pseudo_gradient_of(lane, i);
        let way = t - w;
        start = fma(pseudo, way, start);
        sums.w = fma(fma(side(w, pseudo, l1), l1, g), way, sums.w);
    }
    sums = total(sums, thread);
    start = total(vec4<f32>(start, 0.0, 0.0, 0.0), thread).x;
    var search = before;
    search.slope = start;
    // A rejected trial leaves its place of the ring empty.
    search.inverse_products[evaluation % MEMORY] = 0.0;
    let loss = add_to(add_to(search.sum, 0.5 * penalty * sums.x), lanes[lane].l1 * sums.y);
    return judge(lane, search, loss, sums.w, sqrt(sums.z), evaluation);
}

// Whether the weights of a feature, which begin at `first`, are best without this much of them: of classes that occur.
fn is_best(lane: u32, first: u32, excess: f32) -> bool {
    let outputs = lanes[lane].outputs;
    let intercepts = vector(lane, WEIGHTS) + slopes(lane);
    var balance = 0.0;
    var equal = 0.0;
    var distances = 0.0;
    for (var output = 0u; output < outputs; output += 1u) {
        if (state[intercepts + output] > 0.5 * ABSENT) {
            let w = state[first + output];
            balance += select(0.0, 1.0, w > excess) - select(0.0, 1.0, w < excess);
            equal += select(0.0, 1.0, w == excess);
            distances += w - excess;
        }
    }
    let l1 = lanes[lane].l1;
    return abs(fma(lanes[lane].penalty, distances, l1 * balance)) <= l1 * equal;
}

// Takes away what the weights of a feature are better without. A thread owns features.
fn shift(lane: u32, thread: u32) {
    let outputs = lanes[lane].outputs;
    let weights = vector(lane, WEIGHTS);
    let gradient = vector(lane, GRADIENT);
    let intercepts = weights + slopes(lane);
    storageBarrier();
    for (var feature = thread; feature < lanes[lane].features; feature += WORKGROUP) {
        let first = weights + feature * outputs;
        var excess = 0.0;
        var is_open = !is_best(lane, first, 0.0);
        for (var output = 0u; is_open && output < outputs; output += 1u) {
            if (state[intercepts + output] > 0.5 * ABSENT) {
                let w = state[first + output];
                if (is_best(lane, first, w)) {
                    excess = w;
                    is_open = false;
                }
            }
        }
        for (var output = 0u; excess != 0.0 && output < outputs; output += 1u) {
            if (state[intercepts + output] > 0.5 * ABSENT) {
                let slope = gradient + feature * outputs + output;
                state[first + output] -= excess;
                state[slope] = fma(-lanes[lane].penalty, excess, state[slope]);
            }
        }
    }
    storageBarrier();
}

// Turns into the direction -H g among the entries that are free: its slope, and its square.
fn turn_in_orthant(lane: u32, search: Search, evaluation: u32, thread: u32) -> vec2<f32> {
    let entries = lanes[lane].entries;
    let weights = vector(lane, WEIGHTS);
    let direction = vector(lane, DIRECTION);
    let inverse = vector(lane, INVERSE);
    let q = vector(lane, TRIAL_GRADIENT);
    let r = vector(lane, TRIAL);
    // Indexed by variables: a value's array can be by constants only.
    var inverse_products = search.inverse_products;
    var inverses: array<f32, MEMORY>;
    var shares: array<f32, MEMORY>;
    // 0 until a pair is found.
    var scale = 0.0;
    for (var i = thread; i < entries; i += WORKGROUP) {
        state[q + i] = pseudo_gradient_of(lane, i);
    }
    for (var age = 0u; age < MEMORY; age += 1u) {
        let place = (evaluation + MEMORY - age) % MEMORY;
        let step_place = vector(lane, STEPS + place);
        let change_place = vector(lane, CHANGES + place);
        inverses[age] = 0.0;
        shares[age] = 0.0;
        if (inverse_products[place] > 0.0) {
            // s'y and y' y / curvature among the free entries, and s'q.
            var sums = vec4<f32>(0.0);
            for (var i = thread; i < entries; i += WORKGROUP) {
                let s = state[step_place + i];
                let change = state[change_place + i];
                let kept = select(0.0, change, is_free(lane, i));
                sums.x = fma(s, kept, sums.x);
                sums.y = fma(kept * state[inverse + i], change, sums.y);
                sums.z = fma(s, state[q + i], sums.z);
            }
            sums = total(sums, thread);
            if (sums.y > 0.0 && sums.x > LEAST_PRODUCT * sums.y) {
                inverses[age] = 1.0 / sums.x;
                scale = select(sums.x / sums.y, scale, scale > 0.0);
                let share = inverses[age] * sums.z;
                shares[age] = share;
                for (var i = thread; i < entries; i += WORKGROUP) {
                    if (is_free(lane, i)) {
                        state[q + i] = fma(-share, state[change_place + i], state[q + i]);
                    }
                }
            }
        }
    }
    scale = select(1.0, scale, scale > 0.0);
    for (var i = thread; i < entries; i += WORKGROUP) {
        state[r + i] = state[q + i] * scale * state[inverse + i];
    }
    for (var back = 0u; back < MEMORY; back += 1u) {
        let age = MEMORY - 1u - back;
        let place = (evaluation + MEMORY - age) % MEMORY;
        let step_place = vector(lane, STEPS + place);
        let change_place = vector(lane, CHANGES + place);
        if (inverses[age] > 0.0) {
            var dot = 0.0;
            for (var i = thread; i < entries; i += WORKGROUP) {
                dot = fma(state[change_place + i], state[r + i], dot);
            }
            let excess = fma(inverses[age], total(vec4<f32>(dot, 0.0, 0.0, 0.0), thread).x, -shares[age]);
            for (var i = thread; i < entries; i += WORKGROUP) {
                if (is_free(lane, i)) {
                    state[r + i] = fma(-excess, state[step_place + i], state[r + i]);
                }
            }
        }
    }
    var sums = vec4<f32>(0.0);
    for (var i = thread; i < entries; i += WORKGROUP) {
        let w = state[weights + i];
        let pseudo = pseudo_gradient_of(lane, i);
        let along = -state[r + i];
        // A weight at zero does not go against its sign.
        let is_wrong = w == 0.0 && along * side(w, pseudo, l1_of(lane, i)) < 0.0;
        let d = select(along, 0.0, is_wrong);
        state[direction + i] = d;
        sums.x = fma(d, pseudo, sums.x);
        sums.y = fma(d, d, sums.y);
    }
    return total(sums, thread).xy;
}
