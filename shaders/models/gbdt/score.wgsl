// What scores predict: probabilities, or numbers in the target's own units.

@compute @workgroup_size(WORKGROUP)
fn score(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let lane = lane_of(group, groups);
    if (lane >= span.lanes) {
        return;
    }
    var at = progress_of(lane, thread);
    if (at.status == LANE_NOT_FINITE) {
        return;
    }
    let outputs = lanes[lane].outputs;
    let rows = lanes[lane].rows;
    let tile_at = lanes[lane].state + lanes[lane].tile_at;
    let scores_at = lanes[lane].state + select(lanes[lane].scores_at, lanes[lane].best_at, lanes[lane].patience > 0u);
    for (var number = span.from_unit; number < span.until_unit; number += 1u) {
        let tile = tile_of(lane, number);
        if (tile.rows == 0u) {
            break;
        }
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
        storageBarrier();
        if (!reduce_tile(lane, tile, tile_at, outputs, 1u, thread)) {
            if (thread == 0u) {
                at.status = LANE_NOT_FINITE;
                progress[lane] = at;
            }
            return;
        }
        storageBarrier();
    }
}
