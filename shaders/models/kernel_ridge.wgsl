// Kernel ridge: a lane brings its solution along, and is scored where its predictions are. Workgroup = one lane; thread t
// has row t of a tile. x holds the measures of each row to score with every training row.

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    at.unit = 1u;
    at.status = LANE_DONE;
    return at;
}

// exp_of(x) - 1 without its rounding at 1, for x at most 0.
fn exp_less_one(x: f32) -> f32 {
    if (x < -0.3) {
        return exp_of(x) - 1.0;
    }
    // The polynomial of exp_of where it needs no power of 2.
    var p = 1.9875691e-4;
    p = fma(p, x, 1.3981999e-3);
    p = fma(p, x, 8.333452e-3);
    p = fma(p, x, 4.1665796e-2);
    p = fma(p, x, 1.6666665e-1);
    p = fma(p, x, 0.5);
    return fma(p, x * x, x);
}

// The scaled prediction of a row: what the solution's own equation says of a training row, else the kernel's sum.
fn value_of(lane: u32, tile: Tile, row: u32) -> f32 {
    if (tile.part == 0u) {
        return lanes[lane].fitted[tile.first + row];
    }
    let rows = lanes[lane].sets.rows[0];
    let at = lanes[lane].sets.x[tile.part] + (tile.first + row) * rows;
    var sum = Sum(lanes[lane].sum, lanes[lane].sum_rest);
    for (var i = 0u; i < rows; i += 1u) {
        var value = 0.0;
        if (lanes[lane].less == 1.0) {
            value = exp_less_one(-lanes[lane].gamma * x[at + i]);
        } else {
            value = kernel_of(lanes[lane].kind, lanes[lane].gamma, lanes[lane].degree, lanes[lane].coef0, x[at + i]);
        }
        // A product in two parts: the weights cancel.
        let dual = lanes[lane].duals[i];
        let product = value * dual;
        sum = add_to(sum, product);
        sum.rest += fma(value, dual, -product);
    }
    return sum.value + sum.rest;
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        state[lanes[lane].state + row] = fma(value_of(lane, tile, row), lanes[lane].scale, lanes[lane].shift);
    }
    return Predictions(lanes[lane].state, 1u, 1u);
}
