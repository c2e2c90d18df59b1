// A tree's rows: src/models/forest/plant.rs.

var<workgroup> row_count: atomic<u32>;

// The first place whose sum of weights is beyond `place`.
fn row_of_weight(lane: u32, place: u32) -> u32 {
    var low = 0u;
    var high = lanes[lane].train_rows;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (table[lanes[lane].weight_sums + middle] <= place) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return min(low, lanes[lane].train_rows - 1u);
}

// Draws rows, and counts how often each was drawn: as many rows at a time as the fields have room for.
fn draw_rows(lane: u32, tree: vec2<u32>, thread: u32) {
    let key = child_of(tree, TAG_BOOTSTRAP);
    let n = lanes[lane].train_rows;
    // The place of the rows of odd depths is not in use yet.
    let drawn_at = rows_at(lane, 1u);
    let weights_at = state_of(lane, lanes[lane].weights_at);
    for (var draw = 2u * thread; draw < lanes[lane].draws; draw += 2u * WORKGROUP) {
        let words = threefry(key, vec2<u32>(draw / 2u, 0u));
        for (var i = 0u; i < min(2u, lanes[lane].draws - draw); i += 1u) {
            let word = select(words.x, words.y, i == 1u);
            var row = 0u;
            if (lanes[lane].has_weights == 1u) {
                row = row_of_weight(lane, scaled(word, lanes[lane].all_weight));
            } else {
                row = scaled(word, n);
            }
            state[drawn_at + draw + i] = row;
        }
    }
    sync();
    for (var first = 0u; first < n; first += FIELDS * BINS) {
        clear_fields(thread);
        for (var draw = thread; draw < lanes[lane].draws; draw += WORKGROUP) {
            let place = state[drawn_at + draw] - first;
            if (place < FIELDS * BINS) {
                atomicAdd(&fields[place], 1u);
            }
        }
        workgroupBarrier();
        for (var place = thread; place < min(n - first, FIELDS * BINS); place += WORKGROUP) {
            state[weights_at + first + place] = atomicLoad(&fields[place]);
        }
    }
}

// Makes the next tree's rows its root, and all rows to score with them.
fn begin_tree(lane: u32, thread: u32) {
    let tree = child_of(vec2<u32>(lanes[lane].trees_key[0], lanes[lane].trees_key[1]), standing.trees);
    let n = lanes[lane].train_rows;
    let weights_at = state_of(lane, lanes[lane].weights_at);
    if (lanes[lane].draws > 0u) {
        draw_rows(lane, tree, thread);
    } else {
        for (var row = thread; row < n; row += WORKGROUP) {
            var weight = 1u;
            if (lanes[lane].has_weights == 1u) {
                weight = table[lanes[lane].weights + row];
            }
            state[weights_at + row] = weight;
        }
    }
    if (thread == 0u) {
        atomicStore(&row_count, 0u);
    }
    sync();
    let to = rows_at(lane, 0u);
    for (var row = thread; row < n; row += WORKGROUP) {
        if (state[weights_at + row] > 0u) {
            state[to + atomicAdd(&row_count, 1u)] = row;
        }
    }
    let scored = scored_at(lane, 0u);
    for (var row = thread; row < lanes[lane].scored_rows; row += WORKGROUP) {
        state[scored + row] = row;
    }
    let root = entry_at(lane, 0u);
    for (var word = thread + ENTRY_CONSTANTS; word < lanes[lane].entry_words; word += WORKGROUP) {
        state[root + word] = 0u;
    }
    workgroupBarrier();
    if (thread == 0u) {
        state[root + ENTRY_PARENT] = tree.x;
        state[root + ENTRY_PARENT + 1u] = tree.y;
        state[root + ENTRY_SIDE] = SIDE_ROOT;
        state[root + ENTRY_DEPTH] = 0u;
        state[root + ENTRY_ROWS] = 0u;
        state[root + ENTRY_ROWS_END] = atomicLoad(&row_count);
        state[root + ENTRY_SCORED] = 0u;
        state[root + ENTRY_SCORED_END] = lanes[lane].scored_rows;
    }
    standing.open = 1u;
    standing.tree_hash = array<u32, 2>(0u, 0u);
    sync();
}
