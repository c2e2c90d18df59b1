// Naive Bayes: one workgroup makes a lane's factors of its fold's moments, then other dispatches score it.
//
// Shapes: x [rows, features] of a row set, in units of each feature's deviation; factors [classes, features] and constants
// [classes] in the lane's state; behind them the logits of a tile [rows, classes], and what their sums have lost.
//
// Where a feature is constant within classes, a row off it costs all of them the same billion nats: sums are compensated, so
// that the rest decides. Terms that are equal have equal bits, and cancel.

fn factor_at(lane: u32, class_index: u32) -> u32 {
    return lanes[lane].state + class_index * lanes[lane].features;
}

fn constant_at(lane: u32) -> u32 {
    return lanes[lane].state + lanes[lane].features * lanes[lane].outputs;
}

fn logit_at(lane: u32) -> u32 {
    return constant_at(lane) + lanes[lane].outputs;
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    let features = lanes[lane].features;
    let outputs = lanes[lane].outputs;
    let variances = lanes[lane].moments + features * outputs;
    let added = variances + features * outputs;
    let priors = added + features + lanes[lane].has_uniform_priors * outputs;
    for (var class_index = thread; class_index < outputs; class_index += WORKGROUP) {
        var constant = Sum(moments[priors + class_index], 0.0);
        for (var j = 0u; j < features; j += 1u) {
            let variance = fma(lanes[lane].smoothing, moments[added + j], moments[variances + class_index * features + j]);
            state[factor_at(lane, class_index) + j] = -0.5 / variance;
            constant = add_to(constant, -0.5 * ln_of(variance));
        }
        state[constant_at(lane) + class_index] = constant.value + constant.rest;
    }
    at.unit = 1u;
    at.status = LANE_DONE;
    return at;
}

// A row's logits become their distances to the largest, which f32 holds well where they count.
fn relate(values: u32, rests: u32, outputs: u32) {
    var value = state[values];
    var rest = state[rests];
    for (var i = 1u; i < outputs; i += 1u) {
        if ((state[values + i] - value) + (state[rests + i] - rest) > 0.0) {
            value = state[values + i];
            rest = state[rests + i];
        }
    }
    for (var i = 0u; i < outputs; i += 1u) {
        state[values + i] = (state[values + i] - value) + (state[rests + i] - rest);
    }
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    let features = lanes[lane].features;
    let outputs = lanes[lane].outputs;
    let values = logit_at(lane);
    let rests = values + TILE_ROWS * outputs;
    for (var i = thread; i < tile.rows * outputs; i += WORKGROUP) {
        let class_index = i % outputs;
        let row = lanes[lane].sets.x[tile.part] + (tile.first + i / outputs) * features;
        let means = lanes[lane].moments + class_index * features;
        let factors = factor_at(lane, class_index);
        var sum = Sum(state[constant_at(lane) + class_index], 0.0);
        for (var j = 0u; j < features; j += 1u) {
            let distance = x[row + j] - moments[means + j];
            sum = add_to(sum, distance * distance * state[factors + j]);
        }
        state[values + i] = sum.value;
        state[rests + i] = sum.rest;
    }
    storageBarrier();
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        relate(values + row * outputs, rests + row * outputs, outputs);
        softmax(values + row * outputs, 1u, outputs);
    }
    return Predictions(values, outputs, 1u);
}
