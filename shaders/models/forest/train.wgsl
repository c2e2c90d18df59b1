// Forests: one workgroup a lane. A unit is a tree, a tick a portion of its nodes by their rows.

fn begin_lane(lane: u32, thread: u32) {
    let sums = state_of(lane, lanes[lane].sums_at);
    for (var word = thread; word < lanes[lane].scored_rows * lanes[lane].outputs; word += WORKGROUP) {
        state[sums + word] = 0u;
    }
    let order = state_of(lane, lanes[lane].order_at);
    for (var column = thread; column < lanes[lane].columns; column += WORKGROUP) {
        state[order + column] = column;
    }
    standing = Standing();
    sync();
}

// One portion of a tree; the last one takes what is left.
fn tick(lane: u32, part: u32, thread: u32) {
    if (part == 0u) {
        begin_tree(lane, thread);
    }
    let is_last = part == TICKS - 1u;
    var rows = 0u;
    while (standing.open > 0u && (is_last || rows < lanes[lane].tick_rows)) {
        rows += grow_node(lane, thread) + NODE_ROWS;
    }
    if (is_last) {
        let hash = threefry(vec2<u32>(standing.hash[0], standing.hash[1]),
            vec2<u32>(standing.tree_hash[0], standing.tree_hash[1]));
        standing.hash = array<u32, 2>(hash.x, hash.y);
        standing.trees += 1u;
    }
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    if (at.step == 0u) {
        begin_lane(lane, thread);
        at.step = 1u;
    } else {
        load_standing(lane);
        // All have read it before one writes it.
        sync();
    }
    while (at.status == LANE_RUNNING && is_within_span(at)) {
        tick(lane, at.part, thread);
        at.part += 1u;
        if (at.part < TICKS) {
            continue;
        }
        at.part = 0u;
        at.unit += 1u;
        if (at.unit >= lanes[lane].trees) {
            at.status = LANE_DONE;
        }
    }
    if (thread == 0u) {
        store_standing(lane);
    }
    return at;
}
