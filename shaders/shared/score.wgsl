// What every model's scoring shares: which rows a tile holds, and what its predictions are reduced to. The model brings
// `lanes`, whose `sets` say where rows, targets and results lie, and leaves its predictions in `state`.
//
// A tile's rows are reduced by all threads at once; what must keep its order (a floating sum) or its place (a count)
// then goes through workgroup memory.

struct Tile {
    // The row set; as many as the lane has where the tile lies beyond the last.
    part: u32,
    first: u32,
    rows: u32,
}

// What each row of a tile adds to its statistic: the bits of a term, or the cell of the confusion matrix.
var<workgroup> row_parts: array<u32, TILE_ROWS>;
var<workgroup> is_tile_finite: atomic<u32>;
var<workgroup> shared_is_finite: u32;

// Tiles run through the training rows first, then through each set to score.
fn tile_of(lane: u32, number: u32) -> Tile {
    var part = 0u;
    var within = number;
    while (part < lanes[lane].sets.count && within >= (lanes[lane].sets.rows[part] + TILE_ROWS - 1u) / TILE_ROWS) {
        within -= (lanes[lane].sets.rows[part] + TILE_ROWS - 1u) / TILE_ROWS;
        part += 1u;
    }
    if (part >= lanes[lane].sets.count) {
        return Tile(part, 0u, 0u);
    }
    let first = within * TILE_ROWS;
    return Tile(part, first, min(TILE_ROWS, lanes[lane].sets.rows[part] - first));
}

// Turns the sums of a row's classes, `stride` words apart, into probabilities, in place.
fn softmax(at: u32, stride: u32, outputs: u32) {
    var largest = state[at];
    for (var i = 1u; i < outputs; i += 1u) {
        let z = state[at + i * stride];
        largest = select(largest, z, !(z <= largest));
    }
    var sum = 0.0;
    for (var i = 0u; i < outputs; i += 1u) {
        let e = exp_of(state[at + i * stride] - largest);
        state[at + i * stride] = e;
        sum += e;
    }
    let scale = 1.0 / sum;
    for (var i = 0u; i < outputs; i += 1u) {
        state[at + i * stride] *= scale;
    }
}

// What a row adds to its statistic. Its outputs lie `stride` words apart from `at` on.
fn row_part(lane: u32, tile: Tile, row: u32, at: u32, stride: u32, outputs: u32) -> u32 {
    var best = 0u;
    for (var i = 0u; i < outputs; i += 1u) {
        let p = state[at + i * stride];
        if (!is_finite(p)) {
            atomicStore(&is_tile_finite, 0u);
        }
        if (p > state[at + best * stride]) {
            best = i;
        }
        if (lanes[lane].sets.statistic == STATISTIC_PREDICTIONS) {
            let out = lanes[lane].result + lanes[lane].sets.result[tile.part];
            results[out + (tile.first + row) * outputs + i] = bitcast<u32>(p);
        }
    }
    let truth = y[lanes[lane].sets.y[tile.part] + tile.first + row];
    if (lanes[lane].sets.statistic == STATISTIC_CONFUSION) {
        return truth * outputs + best;
    }
    var term = 0.0;
    if (lanes[lane].sets.statistic == STATISTIC_ROW_SUM) {
        if (lanes[lane].sets.term == TERM_LOG_LOSS) {
            term = -ln_of(clamp(state[at + truth * stride], 1.1920929e-7, 1.0 - 1.1920929e-7));
        } else if (lanes[lane].sets.term == TERM_BRIER) {
            for (var i = 0u; i < outputs; i += 1u) {
                let distance = state[at + i * stride] - select(0.0, 1.0, i == truth);
                // Of two classes only the second counts.
                term += select(distance * distance, 0.0, outputs == 2u && i == 0u);
            }
        } else {
            term = value_term(lanes[lane].sets.term, lanes[lane].sets.quantile, bitcast<f32>(truth), state[at]);
        }
    }
    return bitcast<u32>(term);
}

// Adds a tile's predictions to the statistic of their set. False if one of them is not finite. All threads call it.
fn reduce_tile(lane: u32, tile: Tile, predictions: Predictions, thread: u32) -> bool {
    let outputs = lanes[lane].outputs;
    let out = lanes[lane].result + lanes[lane].sets.result[tile.part];
    if (thread == 0u) {
        atomicStore(&is_tile_finite, 1u);
    }
    workgroupBarrier();
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        row_parts[row] = row_part(lane, tile, row, predictions.base + row * predictions.row_stride, predictions.stride, outputs);
    }
    workgroupBarrier();
    if (lanes[lane].sets.statistic == STATISTIC_CONFUSION) {
        // A thread counts the rows of its true classes, so that no two write to one place.
        for (var row = 0u; row < tile.rows; row += 1u) {
            let cell = row_parts[row];
            if ((cell / outputs) % WORKGROUP == thread) {
                results[out + cell] += 1u;
            }
        }
    } else if (lanes[lane].sets.statistic == STATISTIC_ROW_SUM && thread == 0u) {
        var sum = Sum(bitcast<f32>(results[out]), bitcast<f32>(results[out + 1u]));
        for (var row = 0u; row < tile.rows; row += 1u) {
            sum = add_to(sum, bitcast<f32>(row_parts[row]));
        }
        results[out] = bitcast<u32>(sum.value);
        results[out + 1u] = bitcast<u32>(sum.rest);
    }
    if (thread == 0u) {
        shared_is_finite = atomicLoad(&is_tile_finite);
    }
    return workgroupUniformLoad(&shared_is_finite) == 1u;
}

// Where a tile's predictions lie in the state: output i of row r at `base + r row_stride + i stride`.
struct Predictions {
    base: u32,
    row_stride: u32,
    stride: u32,
}

// Scores the tiles of the span: rows of the training set first, then of each set to score. The model brings
// `predict_tile(lane, tile, thread) -> Predictions`, which all threads call.
@compute @workgroup_size(WORKGROUP)
fn score(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let lane = lane_of(group, groups);
    if (lane >= span.lanes) {
        return;
    }
    var at = enter_lane(lane, group, thread);
    if (at.status == LANE_NOT_FINITE || at.status == LANE_CUT) {
        return;
    }
    for (var number = span.from_unit; number < span.until_unit; number += 1u) {
        let tile = tile_of(lane, number);
        if (tile.rows == 0u) {
            break;
        }
        let predictions = predict_tile(lane, tile, thread);
        storageBarrier();
        if (!reduce_tile(lane, tile, predictions, thread)) {
            at.status = LANE_NOT_FINITE;
            break;
        }
        storageBarrier();
    }
    leave_lane(lane, at, thread);
}
