// A round's gradients and hessians, as src/models/gbdt/objective.rs has them, and how they become whole numbers.

const SUM_BITS = 30;
const MOST_SPARE = 16;

fn store_gradient(lane: u32, score: u32, row: u32, gradient: f32, hessian: f32) {
    let at = state_of(lane, lanes[lane].gradients_at) + 2u * (score * lanes[lane].train_rows + row);
    state[at] = bitcast<u32>(gradient);
    state[at + 1u] = bitcast<u32>(hessian);
}

fn softmax_gradients(lane: u32, row: u32, y: f32, weight: f32) {
    let scores = lanes[lane].scores;
    let factor = quotient(f32(scores), f32(scores) - 1.0);
    let largest = largest_score(lane, row);
    var sum = 0.0;
    for (var k = 0u; k < scores; k += 1u) {
        let e = exact_exp(held(number_at(score_at(lane, k, row)) - largest));
        store_gradient(lane, k, row, e, 0.0);
        sum = held(sum + e);
    }
    let share = quotient(1.0, sum);
    for (var k = 0u; k < scores; k += 1u) {
        let at = state_of(lane, lanes[lane].gradients_at) + 2u * (k * lanes[lane].train_rows + row);
        let p = product(number_at(at), share);
        let truth = select(0.0, 1.0, y == f32(k));
        let hessian = product(product(factor, p), held(1.0 - p));
        store_gradient(lane, k, row, product(held(p - truth), weight), product(hessian, weight));
    }
}

fn gradients(lane: u32, thread: u32) {
    let rows = lanes[lane].train_rows;
    for (var row = thread; row < rows; row += WORKGROUP) {
        let y = targets[lanes[lane].y + row];
        let weight = targets[lanes[lane].weight + row];
        if (lanes[lane].loss == LOSS_SOFTMAX) {
            softmax_gradients(lane, row, y, weight);
            continue;
        }
        let score = number_at(score_at(lane, 0u, row));
        let error = held(score - y);
        var gradient = error;
        var hessian = 1.0;
        if (lanes[lane].loss == LOSS_BINARY) {
            let p = quotient(1.0, held(1.0 + exact_exp(-score)));
            gradient = held(p - y);
            hessian = product(p, held(1.0 - p));
        } else if (lanes[lane].loss == LOSS_ABSOLUTE) {
            gradient = select(select(0.0, -1.0, error < 0.0), 1.0, error > 0.0);
        } else if (lanes[lane].loss == LOSS_QUANTILE) {
            gradient = select(held(1.0 - lanes[lane].quantile), -lanes[lane].quantile, error < 0.0);
        } else if (lanes[lane].loss == LOSS_POISSON) {
            let mean = exact_exp(score);
            gradient = held(mean - y);
            hessian = product(mean, exact_exp(POISSON_STEP));
        }
        store_gradient(lane, 0u, row, product(gradient, weight), product(hessian, weight));
    }
    sync();
}

fn bits_of(n: u32) -> i32 {
    return 32 - i32(countLeadingZeros(n));
}

// Whether all are finite; then the largest power of two that may multiply these, of `part` 0 gradients, of 1 hessians.
fn exponent_of(lane: u32, score: u32, part: u32, thread: u32) -> vec2<i32> {
    let first = state_of(lane, lanes[lane].gradients_at) + 2u * score * lanes[lane].train_rows + part;
    // The CPU has sixteen rows at a time.
    let rows = (lanes[lane].train_rows + 15u) / 16u * 16u;
    var most = 0u;
    for (var row = thread; row < lanes[lane].train_rows; row += WORKGROUP) {
        most = max(most, state[first + 2u * row] & 0x7fffffffu);
    }
    clear_cells(thread);
    atomicMax(&cells[0], most);
    workgroupBarrier();
    most = atomicLoad(&cells[0]);
    if (most >= 0x7f800000u) {
        return vec2<i32>(0, 0);
    }
    if (most < 0x00800000u) {
        return vec2<i32>(1, 0);
    }
    let exponent = clamp(SUM_BITS - bits_of(rows) - (i32(most >> 23u) - 126), -120, 120);
    let by = exact_power(exponent);
    var own = 0u;
    for (var row = thread; row < lanes[lane].train_rows; row += WORKGROUP) {
        own += u32(abs(number_at(first + 2u * row)) * by);
    }
    let sum = sum_over_threads(own, thread);
    // The sum cannot reach 2^32 less the rows.
    let spare = SUM_BITS - bits_of(sum + rows);
    return vec2<i32>(1, min(exponent + clamp(spare, 0, MOST_SPARE), 120));
}

fn rounded(x: f32) -> i32 {
    return i32(select(held(x + 0.5), held(x - 0.5), x < 0.0));
}

// Makes a tree's gradients whole numbers; false where one is not finite.
fn quantise(lane: u32, score: u32, thread: u32) -> bool {
    let gradient = exponent_of(lane, score, 0u, thread);
    let hessian = exponent_of(lane, score, 1u, thread);
    if (gradient.x == 0 || hessian.x == 0) {
        return false;
    }
    standing.gradient_exponent = bitcast<u32>(gradient.y);
    standing.hessian_exponent = bitcast<u32>(hessian.y);
    let first = state_of(lane, lanes[lane].gradients_at) + 2u * score * lanes[lane].train_rows;
    let to = state_of(lane, lanes[lane].words_at);
    for (var row = thread; row < lanes[lane].train_rows; row += WORKGROUP) {
        state[to + 2u * row] = bitcast<u32>(rounded(number_at(first + 2u * row) * exact_power(gradient.y)));
        state[to + 2u * row + 1u] = u32(rounded(number_at(first + 2u * row + 1u) * exact_power(hessian.y)));
    }
    sync();
    return true;
}
