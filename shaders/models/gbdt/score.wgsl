// What scores predict: probabilities, or numbers in the target's own units.

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    let outputs = lanes[lane].outputs;
    let rows = lanes[lane].rows;
    let tile_at = lanes[lane].state + lanes[lane].tile_at;
    let scores_at = lanes[lane].state + select(lanes[lane].scores_at, lanes[lane].best_at, lanes[lane].patience > 0u);
    for (var row = thread; row < tile.rows; row += WORKGROUP) {
        let own = scores_at + lanes[lane].sets.x[tile.part] + tile.first + row;
        let out = tile_at + row * outputs;
        if (lanes[lane].loss == LOSS_BINARY) {
            // Each from its own side, so that neither is rounded to 0 with the other at 1.
            state[out] = 1.0 / (1.0 + exp_of(state[own]));
            state[out + 1u] = 1.0 / (1.0 + exp_of(-state[own]));
        } else if (lanes[lane].loss == LOSS_SOFTMAX) {
            for (var k = 0u; k < outputs; k += 1u) {
                state[out + k] = state[own + k * rows];
            }
            softmax(out, 1u, outputs);
        } else if (lanes[lane].loss == LOSS_POISSON) {
            state[out] = exp_of(state[own]);
        } else {
            state[out] = state[own] * lanes[lane].target_scale + lanes[lane].target_shift;
        }
    }
    return Predictions(tile_at, outputs, 1u);
}
