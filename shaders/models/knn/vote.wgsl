// Lets the neighbours of rows vote: one workgroup a lane, one thread a row. Each lane reads the head of its fold's lists.
//
// Shapes: lists [most, rows] of a set to score, each entry a weight and a class or the bits of a number; the lane's state
// holds a tile's predictions [rows, outputs].

// There is nothing to train.
fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    at.unit = 1u;
    at.status = LANE_DONE;
    return at;
}

fn vote(lane: u32, tile: Tile, row: u32) {
    let outputs = lanes[lane].outputs;
    let at = lanes[lane].state + row * outputs;
    let list = lanes[lane].lists[tile.part] + tile.first + row;
    let stride = lanes[lane].sets.rows[tile.part];
    for (var i = 0u; i < outputs; i += 1u) {
        state[at + i] = 0.0;
    }
    var total = 0.0;
    for (var j = 0u; j < lanes[lane].neighbours; j += 1u) {
        let neighbour = lists[list + j * stride];
        let weight = select(1.0, bitcast<f32>(neighbour.x), lanes[lane].is_by_distance == 1u);
        total += weight;
        if (lanes[lane].is_classifier == 1u) {
            state[at + neighbour.y] += weight;
        } else {
            state[at] = fma(bitcast<f32>(neighbour.y), weight, state[at]);
        }
    }
    for (var i = 0u; i < outputs; i += 1u) {
        state[at + i] = state[at + i] / total + lanes[lane].shift;
    }
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        vote(lane, tile, row);
    }
    return Predictions(lanes[lane].state, lanes[lane].outputs, 1u);
}
