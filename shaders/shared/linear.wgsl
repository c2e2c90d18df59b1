// Predictions of a model that is linear in the features. Shapes: x [features, rows] of a row set; weights [features,
// outputs] and then [outputs] intercepts in the state.

// Sums of a tile's rows, output n of row r at `out + n stride + r`. A thread has rows of its own: all threads read the same
// weight at a time, and neighbouring rows. Four outputs share a walk over a row's features.
fn linear_sums(lane: u32, tile: Tile, weights: u32, out: u32, stride: u32, thread: u32) {
    let features = lanes[lane].features;
    let outputs = lanes[lane].outputs;
    let set_rows = lanes[lane].sets.rows[tile.part];
    let intercepts = weights + features * outputs;
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        let at = lanes[lane].sets.x[tile.part] + tile.first + row;
        if (outputs == 1u) {
            var sum = state[intercepts];
            for (var j = 0u; j < features; j += 1u) {
                sum = fma(x[at + j * set_rows], state[weights + j], sum);
            }
            state[out + row] = sum;
            continue;
        }
        for (var n = 0u; n < outputs; n += 4u) {
            // Beyond the last output the last one is computed again.
            let places = min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), vec4<u32>(outputs - 1u));
            let first = intercepts + places;
            var sums = vec4<f32>(state[first.x], state[first.y], state[first.z], state[first.w]);
            for (var j = 0u; j < features; j += 1u) {
                let entries = weights + j * outputs + places;
                let w = vec4<f32>(state[entries.x], state[entries.y], state[entries.z], state[entries.w]);
                sums = fma(vec4<f32>(x[at + j * set_rows]), w, sums);
            }
            for (var i = 0u; i < 4u; i += 1u) {
                state[out + places[i] * stride + row] = sums[i];
            }
        }
    }
    storageBarrier();
}

// The same as probabilities, or as numbers in the target's own units.
fn linear_tile(lane: u32, tile: Tile, weights: u32, out: u32, stride: u32, thread: u32) -> Predictions {
    linear_sums(lane, tile, weights, out, stride, thread);
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        if (lanes[lane].is_classifier == 1u) {
            softmax(out + row, stride, lanes[lane].outputs);
        } else {
            state[out + row] = fma(state[out + row], lanes[lane].target_scale, lanes[lane].target_shift);
        }
    }
    return Predictions(out, 1u, stride);
}
