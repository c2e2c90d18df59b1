// What a forest says: the mean over its trees.

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    let outputs = lanes[lane].outputs;
    let tile_at = lanes[lane].state + lanes[lane].tile_at;
    let sums = lanes[lane].state + lanes[lane].sums_at + (lanes[lane].sets.x[tile.part] + tile.first) * outputs;
    let trees = f32(progress[lane].unit);
    for (var i = thread; i < tile.rows * outputs; i += WORKGROUP) {
        state[tile_at + i] = quotient(state[sums + i], trees);
    }
    return Predictions(tile_at, outputs, 1u);
}
