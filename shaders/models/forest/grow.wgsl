// Grows one tree, depth first and the left child before the right, as src/models/forest/grow.rs does.

var<workgroup> left_count: atomic<u32>;
var<workgroup> right_count: atomic<u32>;

// Moves rows of a node to another place: what goes left to the front. Gives where those that go right begin. Which row comes
// first on a side depends on the device's order of additions, and changes nothing: all that is made of them are sums.
fn part_rows(lane: u32, feature: u32, first_row: u32, own: u32, to: u32, begin: u32, end: u32, thread: u32) -> u32 {
    workgroupBarrier();
    if (thread == 0u) {
        atomicStore(&left_count, 0u);
        atomicStore(&right_count, 0u);
    }
    workgroupBarrier();
    for (var place = begin + thread; place < end; place += WORKGROUP) {
        let row = state[own + place];
        let bin = bin_of(lane, feature, first_row + row);
        if (((left_bins[bin / 32u] >> (bin % 32u)) & 1u) == 1u) {
            state[to + begin + atomicAdd(&left_count, 1u)] = row;
        } else {
            state[to + end - 1u - atomicAdd(&right_count, 1u)] = row;
        }
    }
    sync();
    return begin + atomicLoad(&left_count);
}

// Adds what the leaf at hand says to the sums of its rows to score.
fn end_branch(lane: u32, rows: u32, begin: u32, end: u32, thread: u32) {
    if (thread == 0u) {
        hash_leaf(lane);
    }
    if (begin == end) {
        return;
    }
    let outputs = lanes[lane].outputs;
    let values = state_of(lane, lanes[lane].values_at);
    let sums = state_of(lane, lanes[lane].sums_at);
    for (var output = thread; output < outputs; output += WORKGROUP) {
        state[values + output] = bitcast<u32>(leaf_value(lane, output));
    }
    sync();
    for (var i = thread; i < (end - begin) * outputs; i += WORKGROUP) {
        let output = i % outputs;
        let at = sums + state[rows + begin + i / outputs] * outputs + output;
        state[at] = bitcast<u32>(held(bitcast<f32>(state[at]) + bitcast<f32>(state[values + output])));
    }
    sync();
}

// Splits the last of the nodes that wait, or makes a leaf of it; gives how many rows it has.
fn grow_node(lane: u32, thread: u32) -> u32 {
    let entry = entry_at(lane, standing.open - 1u);
    let depth = state[entry + ENTRY_DEPTH];
    let begin = state[entry + ENTRY_ROWS];
    let end = state[entry + ENTRY_ROWS_END];
    let scored_begin = state[entry + ENTRY_SCORED];
    let scored_end = state[entry + ENTRY_SCORED_END];
    let parent = vec2<u32>(state[entry + ENTRY_PARENT], state[entry + ENTRY_PARENT + 1u]);
    let side = state[entry + ENTRY_SIDE];
    let rows = rows_at(lane, depth);
    set_node(lane, rows, begin, end, thread);
    let count = end - begin;
    var is_leaf = count < 2u || node.is_uniform || depth >= lanes[lane].depth || count / 2u < lanes[lane].min_leaf;
    let key = child_of(parent, side);
    if (!is_leaf) {
        search(lane, entry, rows, begin, end, key, thread);
        is_leaf = best.feature == NOTHING;
    }
    if (is_leaf) {
        end_branch(lane, scored_at(lane, depth), scored_begin, scored_end, thread);
        standing.open -= 1u;
        return count;
    }
    if (thread == 0u) {
        settle(lane);
    }
    let feature = best.feature;
    let middle = part_rows(lane, feature, 0u, rows, rows_at(lane, depth + 1u), begin, end, thread);
    let scored_middle = part_rows(lane, feature, lanes[lane].train_rows, scored_at(lane, depth), scored_at(lane, depth + 1u),
        scored_begin, scored_end, thread);
    // The right child takes the node's place, the left one is the next.
    let left = entry_at(lane, standing.open);
    for (var word = ENTRY_CONSTANTS + thread; word < lanes[lane].entry_words; word += WORKGROUP) {
        state[left + word] = state[entry + word];
    }
    if (thread == 0u) {
        for (var child = 0u; child < 2u; child += 1u) {
            let at = select(entry, left, child == 0u);
            state[at + ENTRY_PARENT] = key.x;
            state[at + ENTRY_PARENT + 1u] = key.y;
            state[at + ENTRY_SIDE] = child;
            state[at + ENTRY_DEPTH] = depth + 1u;
            state[at + ENTRY_ROWS] = select(middle, begin, child == 0u);
            state[at + ENTRY_ROWS_END] = select(end, middle, child == 0u);
            state[at + ENTRY_SCORED] = select(scored_middle, scored_begin, child == 0u);
            state[at + ENTRY_SCORED_END] = select(scored_end, scored_middle, child == 0u);
        }
    }
    standing.open += 1u;
    sync();
    return count;
}
