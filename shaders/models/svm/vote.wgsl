// Decisions and what they predict, as src/models/svm/vote.rs has it. Thread t has row t of a tile.

// Partners of a class whose decisions are summed together.
const BLOCK: u32 = 4u;

// Where a row's decision of a pair, its votes for a class, and its prediction lie.
fn decision_at(lane: u32, pair: u32, row: u32) -> u32 {
    return lanes[lane].state + lanes[lane].decisions + pair * WORKGROUP + row;
}

fn votes_at(lane: u32, run: u32, row: u32) -> u32 {
    return lanes[lane].state + lanes[lane].decisions + (lanes[lane].pairs + run) * WORKGROUP + row;
}

fn output_at(lane: u32, output: u32, row: u32) -> u32 {
    return lanes[lane].state + lanes[lane].decisions + (lanes[lane].pairs + lanes[lane].present + output) * WORKGROUP + row;
}

// The number of the pair of two runs, and the first word of its b's of run a.
fn pair_number(lane: u32, a: u32, b: u32) -> u32 {
    let first = min(a, b);
    return first * lanes[lane].present - first * (first + 1u) / 2u + (max(a, b) - first - 1u);
}

// First word of the b's that run a has against run b.
fn own_b(lane: u32, a: u32, b: u32) -> u32 {
    var word = lanes[lane].state + HEADER * lanes[lane].pairs;
    let first = min(a, b);
    let second = max(a, b);
    // Pairs (i, j) before (first, second): all of a smaller i, then those of a smaller j.
    for (var i = 0u; i < first; i += 1u) {
        let own = run_of(lane, i).y;
        for (var j = i + 1u; j < lanes[lane].present; j += 1u) {
            word += 3u * (own + run_of(lane, j).y);
        }
    }
    for (var j = first + 1u; j < second; j += 1u) {
        word += 3u * (run_of(lane, first).y + run_of(lane, j).y);
    }
    return word + select(0u, run_of(lane, first).y, a > b);
}

// Adds what a run's rows say of a tile's row, to all pairs that the run is in.
fn add_run(lane: u32, run: u32, measure: u32, row: u32) {
    let own = run_of(lane, run);
    let others = lanes[lane].present - 1u;
    for (var base = 0u; base < others; base += BLOCK) {
        var at = vec4<u32>(0u);
        for (var i = 0u; i < min(BLOCK, others - base); i += 1u) {
            let other = base + i;
            at[i] = own_b(lane, run, select(other, other + 1u, other >= run));
        }
        var sums = vec4<f32>(0.0);
        for (var k = 0u; k < own.y; k += 1u) {
            let value = kernel_at(lane, measure + own.x + k);
            for (var i = 0u; i < min(BLOCK, others - base); i += 1u) {
                sums[i] = fma(value, state[at[i] + k], sums[i]);
            }
        }
        for (var i = 0u; i < min(BLOCK, others - base); i += 1u) {
            let other = base + i;
            state[decision_at(lane, pair_number(lane, run, select(other, other + 1u, other >= run)), row)] += sums[i];
        }
    }
}

fn logistic(decision: f32) -> f32 {
    return 1.0 / (1.0 + exp_of(-decision));
}

// Probabilities of the classes that occur, and 0 for the others.
fn vote(lane: u32, row: u32) {
    let present = lanes[lane].present;
    for (var i = 0u; i < lanes[lane].outputs; i += 1u) {
        state[output_at(lane, i, row)] = 0.0;
    }
    if (present == 1u) {
        state[output_at(lane, run_of(lane, 0u).z, row)] = 1.0;
        return;
    }
    if (present == 2u) {
        let found = state[decision_at(lane, 0u, row)];
        let decision = select(found, -1.1920929e-7, found == 0.0);
        state[output_at(lane, run_of(lane, 0u).z, row)] = logistic(decision);
        state[output_at(lane, run_of(lane, 1u).z, row)] = logistic(-decision);
        return;
    }
    for (var i = 0u; i < present; i += 1u) {
        state[votes_at(lane, i, row)] = 0.0;
    }
    var number = 0u;
    for (var a = 0u; a < present; a += 1u) {
        for (var b = a + 1u; b < present; b += 1u) {
            let decision = state[decision_at(lane, number, row)];
            state[votes_at(lane, select(b, a, decision > 0.0), row)] += 1.0;
            state[output_at(lane, run_of(lane, a).z, row)] += decision;
            state[output_at(lane, run_of(lane, b).z, row)] -= decision;
            number += 1u;
        }
    }
    var winner = 0u;
    for (var i = 1u; i < present; i += 1u) {
        if (state[votes_at(lane, i, row)] > state[votes_at(lane, winner, row)]) {
            winner = i;
        }
    }
    let most = state[votes_at(lane, winner, row)];
    var largest = -INFINITE;
    for (var i = 0u; i < present; i += 1u) {
        let at = output_at(lane, run_of(lane, i).z, row);
        let sum = state[at];
        let votes = state[votes_at(lane, i, row)];
        state[at] = votes + sum / (3.0 * (abs(sum) + 1.0));
        if (votes == most) {
            largest = max(largest, state[at]);
        }
    }
    state[output_at(lane, run_of(lane, winner).z, row)] = largest;
    var total = 0.0;
    for (var i = 0u; i < present; i += 1u) {
        let at = output_at(lane, run_of(lane, i).z, row);
        state[at] = exp_of(state[at] - largest);
        total += state[at];
    }
    for (var i = 0u; i < present; i += 1u) {
        state[output_at(lane, run_of(lane, i).z, row)] /= total;
    }
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        // Training rows lie in their places, others as they come.
        let place = select(tile.first + row, table[lanes[lane].place_of_row + tile.first + row], tile.part == 0u);
        let measure = lanes[lane].sets.x[tile.part] + place * lanes[lane].places;
        for (var pair = 0u; pair < lanes[lane].pairs; pair += 1u) {
            state[decision_at(lane, pair, row)] = state[lanes[lane].state + HEADER * pair + 3u];
        }
        if (lanes[lane].is_regression == 1u) {
            let own = run_of(lane, 0u);
            let b = lanes[lane].state + HEADER;
            var sum = Sum(state[decision_at(lane, 0u, row)], 0.0);
            for (var k = 0u; k < own.y; k += 1u) {
                sum = add_to(sum, kernel_at(lane, measure + own.x + k) * state[b + k]);
            }
            state[output_at(lane, 0u, row)] = fma(sum.value + sum.rest, lanes[lane].scale, lanes[lane].shift);
        } else {
            for (var run = 0u; run < lanes[lane].present; run += 1u) {
                add_run(lane, run, measure, row);
            }
            vote(lane, row);
        }
    }
    return Predictions(output_at(lane, 0u, 0u), 1u, WORKGROUP);
}
