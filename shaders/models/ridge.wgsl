// Ridge: one workgroup solves one lane in the fold's eigenbasis, then other dispatches score it.
//
// src/models/ridge/fold.rs says what a fold is. Shapes, in `solutions` from the lane's `solution` on: spectrum [rank],
// products [rank, outputs], basis [rank, features], means of the features and of the targets. The state is weights
// [features, outputs], intercepts [outputs], shares [rank], and a tile's predictions [outputs, capacity].

fn shares(lane: u32) -> u32 {
    return lanes[lane].state + (lanes[lane].features + 1u) * lanes[lane].outputs;
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    let features = lanes[lane].features;
    let outputs = lanes[lane].outputs;
    let rank = lanes[lane].rank;
    let spectrum = lanes[lane].solution;
    let products = spectrum + rank;
    let basis = products + rank * outputs;
    let mean = basis + rank * features;
    let target_mean = mean + features;
    for (var r = thread; r < rank; r += WORKGROUP) {
        let sum = solutions[spectrum + r] + lanes[lane].l2;
        state[shares(lane) + r] = select(0.0, 1.0 / sum, sum > lanes[lane].least);
    }
    storageBarrier();
    for (var entry = thread; entry < features * outputs; entry += WORKGROUP) {
        let feature = entry / outputs;
        let output = entry % outputs;
        var sum = 0.0;
        for (var r = 0u; r < rank; r += 1u) {
            let scaled = state[shares(lane) + r] * solutions[products + r * outputs + output];
            sum = fma(solutions[basis + r * features + feature], scaled, sum);
        }
        state[lanes[lane].state + entry] = sum;
    }
    storageBarrier();
    for (var output = thread; output < outputs; output += WORKGROUP) {
        var sum = solutions[target_mean + output];
        for (var feature = 0u; feature < features; feature += 1u) {
            sum = fma(-solutions[mean + feature], state[lanes[lane].state + feature * outputs + output], sum);
        }
        state[lanes[lane].state + features * outputs + output] = sum;
    }
    at.unit += 1u;
    at.step = 1u;
    at.status = LANE_DONE;
    return at;
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    return linear_tile(lane, tile, lanes[lane].state, shares(lane) + lanes[lane].rank, lanes[lane].capacity, thread);
}
