// Sequential minimal optimisation, as src/models/svm/smo.rs has it. Workgroup = one lane, which solves its pairs of classes
// one after the other; thread t has rows t, t + WORKGROUP, ... of a pair.
//
// A lane's state: of each pair a header, then of each pair b, f and f's rest, an array each; then the kernel's row at hand,
// and the decisions, votes and probabilities of a tile. f is a pair of f32, as good as f64 for the sums that it is.

// One problem: the rows of two classes, or all rows of a regression with nothing in the second run.
struct Pair {
    // First word of its header: iterations, whether it is done, whether it has failed, the constant.
    header: u32,
    // First word of b.
    at: u32,
    rows: u32,
    // Rows of the first run, and the place of the first row of each run.
    split: u32,
    first: vec2<u32>,
    // C of a row of weight 1, of each run.
    bound: vec2<f32>,
}

// The row that gains most by going up, and how much others lose least by going down; numbers in two parts.
struct Choice {
    gain: f32,
    gain_rest: f32,
    loss: f32,
    loss_rest: f32,
    row: u32,
}

var<workgroup> gains: array<vec2<f32>, WORKGROUP>;
var<workgroup> losses: array<vec2<f32>, WORKGROUP>;
var<workgroup> best_rows: array<u32, WORKGROUP>;
var<workgroup> shared_choice: Choice;
var<workgroup> shared_step: vec4<f32>;
var<workgroup> shared_header: vec4<f32>;

// What a row's run of classes says: first place, number of places, class, factor of C for balanced classes.
fn run_of(lane: u32, run: u32) -> vec4<u32> {
    let at = lanes[lane].runs + 4u * run;
    return vec4<u32>(table[at], table[at + 1u], table[at + 2u], table[at + 3u]);
}

fn bound_of(lane: u32, run: vec4<u32>) -> f32 {
    return lanes[lane].c * select(1.0, bitcast<f32>(run.w), lanes[lane].is_balanced == 1u);
}

// The problem of runs a and b, which is the lane's `number`th and whose arrays start at `at`.
fn pair_of(lane: u32, number: u32, a: u32, b: u32, at: u32) -> Pair {
    let first = run_of(lane, a);
    let header = lanes[lane].state + HEADER * number;
    if (lanes[lane].is_regression == 1u) {
        let bound = bound_of(lane, first);
        return Pair(header, at, first.y, first.y, vec2<u32>(first.x, first.x), vec2<f32>(bound, bound));
    }
    let second = run_of(lane, b);
    let bounds = vec2<f32>(bound_of(lane, first), bound_of(lane, second));
    return Pair(header, at, first.y + second.y, first.y, vec2<u32>(first.x, second.x), bounds);
}

fn place_of(pair: Pair, row: u32) -> u32 {
    return select(pair.first.y + row - pair.split, pair.first.x + row, row < pair.split);
}

// The kernel of a measure at this word of x.
fn kernel_at(lane: u32, at: u32) -> f32 {
    return kernel_of(lanes[lane].kind, lanes[lane].gamma, lanes[lane].degree, lanes[lane].coef0, x[at]);
}

fn train_measure(lane: u32, place: u32, other: u32) -> u32 {
    return lanes[lane].sets.x[0] + place * lanes[lane].places + other;
}

// Least and largest value of a row's b.
fn limits_of(lane: u32, pair: Pair, row: u32) -> vec2<f32> {
    let is_first = row < pair.split;
    let weight = rows[lanes[lane].rows + 2u * place_of(pair, row)];
    let bound = weight * select(pair.bound.y, pair.bound.x, is_first);
    if (lanes[lane].is_regression == 1u) {
        return vec2<f32>(-bound, bound);
    }
    return select(vec2<f32>(-bound, 0.0), vec2<f32>(0.0, bound), is_first);
}

// The row's linear term.
fn target_of(lane: u32, pair: Pair, row: u32) -> f32 {
    if (lanes[lane].is_regression == 1u) {
        return rows[lanes[lane].rows + 2u * place_of(pair, row) + 1u];
    }
    return select(-1.0, 1.0, row < pair.split);
}

// A sum of two numbers, the larger first, as a number and what it lost.
fn normed(sum: vec2<f32>) -> vec2<f32> {
    let value = sum.x + sum.y;
    return vec2<f32>(value, sum.y - (value - sum.x));
}

fn is_above(a: vec2<f32>, b: vec2<f32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y > b.y);
}

// f of a row and the epsilon's side.
fn shifted(f: vec2<f32>, by: f32) -> vec2<f32> {
    let sum = add_to(Sum(f.x, f.y), by);
    return normed(vec2<f32>(sum.value, sum.rest));
}

fn f_of(pair: Pair, row: u32) -> vec2<f32> {
    return vec2<f32>(state[pair.at + pair.rows + row], state[pair.at + 2u * pair.rows + row]);
}

// What the row gains by going up; infinitely little at its bound.
fn gain_of(lane: u32, pair: Pair, row: u32, limits: vec2<f32>, f: vec2<f32>) -> vec2<f32> {
    let b = state[pair.at + row];
    let epsilon = lanes[lane].epsilon;
    if (b >= limits.y) {
        return vec2<f32>(-INFINITE, 0.0);
    }
    return shifted(f, select(-epsilon, epsilon, b < 0.0));
}

// What the row loses by going down; infinitely much at its bound.
fn loss_of(lane: u32, pair: Pair, row: u32, limits: vec2<f32>, f: vec2<f32>) -> vec2<f32> {
    let b = state[pair.at + row];
    let epsilon = lanes[lane].epsilon;
    if (b <= limits.x) {
        return vec2<f32>(INFINITE, 0.0);
    }
    return shifted(f, select(epsilon, -epsilon, b > 0.0));
}

// Brings all threads' best together; of equal rows the first.
fn reduce(gain: vec2<f32>, row: u32, loss: vec2<f32>, thread: u32) -> Choice {
    gains[thread] = gain;
    best_rows[thread] = row;
    losses[thread] = loss;
    // What this thread wrote of f and of the kernel's row, one other thread will read.
    storageBarrier();
    workgroupBarrier();
    for (var stride = WORKGROUP / 2u; stride > 0u; stride /= 2u) {
        if (thread < stride) {
            let other = thread + stride;
            let is_equal = all(gains[other] == gains[thread]);
            if (is_above(gains[other], gains[thread]) || (is_equal && best_rows[other] < best_rows[thread])) {
                gains[thread] = gains[other];
                best_rows[thread] = best_rows[other];
            }
            if (is_above(losses[thread], losses[other])) {
                losses[thread] = losses[other];
            }
        }
        workgroupBarrier();
    }
    if (thread == 0u) {
        shared_choice = Choice(gains[0].x, gains[0].y, losses[0].x, losses[0].y, best_rows[0]);
    }
    return workgroupUniformLoad(&shared_choice);
}

// `f -= step.x K_i - step.y K_j`, the kernel's row i being at hand, and the next choice. With no step it only chooses.
fn update(lane: u32, pair: Pair, j: u32, step: vec2<f32>, thread: u32) -> Choice {
    var gain = vec2<f32>(-INFINITE, 0.0);
    var loss = vec2<f32>(INFINITE, 0.0);
    var best = 0xffffffffu;
    let other = place_of(pair, j);
    for (var row = thread; row < pair.rows; row += WORKGROUP) {
        var f = f_of(pair, row);
        if (any(step != vec2<f32>(0.0))) {
            let k_i = state[lanes[lane].state + lanes[lane].row_at + row];
            let k_j = kernel_at(lane, train_measure(lane, other, place_of(pair, row)));
            // Products in two parts, without the rounding of one.
            let down = step.x * k_i;
            let up = step.y * k_j;
            let lost = fma(step.y, k_j, -up) - fma(step.x, k_i, -down);
            let sum = add_to(add_to(Sum(f.x, f.y), -down), up);
            f = normed(vec2<f32>(sum.value, sum.rest + lost));
            state[pair.at + pair.rows + row] = f.x;
            state[pair.at + 2u * pair.rows + row] = f.y;
        }
        let limits = limits_of(lane, pair, row);
        let own = gain_of(lane, pair, row, limits, f);
        if (is_above(own, gain)) {
            gain = own;
            best = row;
        }
        let down = loss_of(lane, pair, row, limits, f);
        if (is_above(loss, down)) {
            loss = down;
        }
    }
    return reduce(gain, best, loss, thread);
}

fn self_kernel(lane: u32, place: u32) -> f32 {
    let has_distance = lanes[lane].kind == KERNEL_RBF || lanes[lane].kind == KERNEL_LAPLACIAN;
    if (has_distance) {
        return 1.0;
    }
    return kernel_at(lane, train_measure(lane, place, place));
}

// The partner of row i, in `row` of what is given back; in `gain` the decrease, 0 where there is none.
fn partner(lane: u32, pair: Pair, choice: Choice, thread: u32) -> Choice {
    var most = 0.0;
    var best = 0xffffffffu;
    let place = place_of(pair, choice.row);
    let own = self_kernel(lane, place);
    for (var row = thread; row < pair.rows; row += WORKGROUP) {
        let other = place_of(pair, row);
        let k_i = kernel_at(lane, train_measure(lane, place, other));
        state[lanes[lane].state + lanes[lane].row_at + row] = k_i;
        let loss = loss_of(lane, pair, row, limits_of(lane, pair, row), f_of(pair, row));
        let gap = max((choice.gain - loss.x) + (choice.gain_rest - loss.y), 0.0);
        let curvature = fma(-2.0, k_i, own + self_kernel(lane, other));
        let decrease = gap * gap / select(LEAST_CURVATURE, curvature, curvature > 0.0);
        if (decrease > most) {
            most = decrease;
            best = row;
        }
    }
    return reduce(vec2<f32>(most, 0.0), best, vec2<f32>(0.0), thread);
}

// One step from a choice; `has_failed` where there is none that is finite. All threads call it.
fn step_from(lane: u32, pair: Pair, choice: Choice, j: u32, thread: u32) -> vec4<f32> {
    if (thread == 0u) {
        let i = choice.row;
        let place_j = place_of(pair, j);
        let own = self_kernel(lane, place_of(pair, i)) + self_kernel(lane, place_j);
        let curvature = fma(-2.0, state[lanes[lane].state + lanes[lane].row_at + j], own);
        let limits_i = limits_of(lane, pair, i);
        let limits_j = limits_of(lane, pair, j);
        let b_i = state[pair.at + i];
        let b_j = state[pair.at + j];
        let loss = loss_of(lane, pair, j, limits_j, f_of(pair, j));
        let gap = (choice.gain - loss.x) + (choice.gain_rest - loss.y);
        let top = select(limits_i.y, 0.0, b_i < 0.0);
        let bottom = select(limits_j.x, 0.0, b_j > 0.0);
        let room_i = top - b_i;
        let room_j = b_j - bottom;
        let step = min(min(gap / select(LEAST_CURVATURE, curvature, curvature > 0.0), room_i), room_j);
        let new_i = select(b_i + step, top, step >= room_i);
        let new_j = select(b_j - step, bottom, step >= room_j);
        // What b changes by in f32 is what f must change by.
        shared_step = vec4<f32>(new_i - b_i, b_j - new_j, select(0.0, 1.0, is_finite(step)), 0.0);
        if (is_finite(step)) {
            state[pair.at + i] = new_i;
            state[pair.at + j] = new_j;
        }
    }
    storageBarrier();
    return workgroupUniformLoad(&shared_step);
}

// The constant of the decision function: what free rows agree on, or else the middle of what the bound ones allow.
fn constant_of(lane: u32, pair: Pair, thread: u32) -> f32 {
    var sum = Sum(0.0, 0.0);
    var free = 0.0;
    var gain = vec2<f32>(-INFINITE, 0.0);
    var loss = vec2<f32>(INFINITE, 0.0);
    for (var row = thread; row < pair.rows; row += WORKGROUP) {
        let limits = limits_of(lane, pair, row);
        let f = f_of(pair, row);
        let up = gain_of(lane, pair, row, limits, f);
        let down = loss_of(lane, pair, row, limits, f);
        if (all(up == down)) {
            sum = add_to(add_to(sum, up.x), up.y);
            free += 1.0;
        }
        gain = select(gain, up, is_above(up, gain));
        loss = select(loss, down, is_above(loss, down));
    }
    let choice = reduce(gain, 0u, loss, thread);
    gains[thread] = vec2<f32>(sum.value, sum.rest);
    losses[thread] = vec2<f32>(free, 0.0);
    workgroupBarrier();
    if (thread == 0u) {
        var all_of = Sum(0.0, 0.0);
        free = 0.0;
        for (var other = 0u; other < WORKGROUP; other += 1u) {
            all_of = add_to(add_to(all_of, gains[other].x), gains[other].y);
            free += losses[other].x;
        }
        var constant = (all_of.value + all_of.rest) / max(free, 1.0);
        if (free == 0.0) {
            constant = 0.5 * (choice.gain + choice.loss) + 0.5 * (choice.gain_rest + choice.loss_rest);
        }
        shared_step = vec4<f32>(constant, 0.0, 0.0, 0.0);
    }
    return workgroupUniformLoad(&shared_step).x;
}

// Solves a pair on to `until` iterations. All threads call it; the header that is given back is stored.
fn solve(lane: u32, pair: Pair, until: u32, thread: u32) -> vec4<f32> {
    if (thread == 0u) {
        let at = pair.header;
        shared_header = vec4<f32>(state[at], state[at + 1u], state[at + 2u], state[at + 3u]);
    }
    var header = workgroupUniformLoad(&shared_header);
    if (header.y == 1.0) {
        return header;
    }
    var choice = update(lane, pair, 0u, vec2<f32>(0.0), thread);
    loop {
        let gap = (choice.gain - choice.loss) + (choice.gain_rest - choice.loss_rest);
        // Written so that what is not a number is done too.
        if (!(gap >= lanes[lane].tolerance) || header.z == 1.0) {
            header.y = 1.0;
            break;
        }
        if (header.x >= f32(until)) {
            break;
        }
        let second = partner(lane, pair, choice, thread);
        if (!(second.gain > 0.0)) {
            header.z = 1.0;
            continue;
        }
        let step = step_from(lane, pair, choice, second.row, thread);
        if (step.z == 0.0) {
            header.z = 1.0;
            continue;
        }
        choice = update(lane, pair, second.row, step.xy, thread);
        header.x += 1.0;
    }
    header.w = constant_of(lane, pair, thread);
    if (thread == 0u) {
        for (var i = 0u; i < HEADER; i += 1u) {
            state[pair.header + i] = header[i];
        }
    }
    return header;
}

// Every b at 0, where f is the linear term.
fn start(lane: u32, pair: Pair, thread: u32) {
    for (var row = thread; row < pair.rows; row += WORKGROUP) {
        state[pair.at + row] = 0.0;
        state[pair.at + pair.rows + row] = target_of(lane, pair, row);
        state[pair.at + 2u * pair.rows + row] = 0.0;
    }
    for (var i = thread; i < HEADER; i += WORKGROUP) {
        state[pair.header + i] = 0.0;
    }
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    let until = min(span.until_unit, span.budget);
    var used = 0.0;
    var is_done = 1.0;
    var has_failed = 0.0;
    var number = 0u;
    var word = lanes[lane].state + HEADER * lanes[lane].pairs;
    for (var a = 0u; a < lanes[lane].present; a += 1u) {
        for (var b = a + 1u; b < lanes[lane].present + lanes[lane].is_regression; b += 1u) {
            let pair = pair_of(lane, number, a, b, word);
            if (at.step == 0u) {
                start(lane, pair, thread);
                storageBarrier();
            }
            let header = solve(lane, pair, until, thread);
            used = max(used, header.x);
            is_done = min(is_done, header.y);
            has_failed = max(has_failed, header.z);
            word += 3u * pair.rows;
            number += 1u;
        }
    }
    at.step += 1u;
    at.unit = select(until, u32(used), is_done == 1.0);
    at.status = select(LANE_RUNNING, LANE_DONE, is_done == 1.0);
    // Where no row has a weight there is nothing to learn from.
    if (has_failed == 1.0 || lanes[lane].present == 0u) {
        at.status = LANE_NOT_FINITE;
    }
    return at;
}
