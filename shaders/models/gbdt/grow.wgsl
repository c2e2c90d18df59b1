// Grows one tree, as src/models/gbdt/grow.rs does: which leaf is split next, and what becomes of its rows.
//
// Rows of a leaf lie together; rows that are not summed go along, so that scores need no walk down the tree.

const NO_LEAF = 0xffffffffu;

// Whether a leaf is large enough, and not too deep.
fn can_split(lane: u32, leaf: u32) -> bool {
    let at = leaf_at(lane, leaf);
    let rows = f32(state[at + LEAF_ROWS_END] - state[at + LEAF_ROWS]);
    return state[at + LEAF_DEPTH] < lanes[lane].depth && rows >= 2.0 * lanes[lane].min_rows
        && f32(state[at + LEAF_HESSIAN]) >= 2.0 * rules.min_hessian;
}

// The rows that a round trains on, and all others of the fold.
fn sample_rows(lane: u32, round: u32, thread: u32) {
    let rows_at = state_of(lane, lanes[lane].sampled_at);
    let others_at = rows_at + lanes[lane].train_rows;
    let n = lanes[lane].train_rows;
    let is_sampled = lanes[lane].row_share < 1.0;
    let key = threefry(vec2<u32>(lanes[lane].row_key[0], lanes[lane].row_key[1]), vec2<u32>(round, CHILD));
    let run = run_of(0u, n, thread);
    var own = run.y - run.x;
    if (is_sampled) {
        own = 0u;
        for (var row = run.x; row < run.y; row += 1u) {
            own += select(0u, 1u, uniform_of(threefry(key, vec2<u32>(row / 2u, 0u))[row % 2u]) < lanes[lane].row_share);
        }
    }
    let places = sums_before(own, thread);
    var to_row = places.x;
    var to_other = run.x - places.x;
    for (var row = run.x; row < run.y; row += 1u) {
        if (!is_sampled || uniform_of(threefry(key, vec2<u32>(row / 2u, 0u))[row % 2u]) < lanes[lane].row_share) {
            state[rows_at + to_row] = row;
            to_row += 1u;
        } else {
            state[others_at + to_other] = row;
            to_other += 1u;
        }
    }
    standing.row_count = places.y;
    standing.other_count = lanes[lane].rows - places.y;
    for (var row = n + thread; row < lanes[lane].rows; row += WORKGROUP) {
        state[others_at + row - places.y] = row;
    }
    sync();
}

// The columns that a tree may split: the first of an order of its own.
fn sample_columns(lane: u32, tree: u32, thread: u32) {
    let key = threefry(vec2<u32>(lanes[lane].column_key[0], lanes[lane].column_key[1]), vec2<u32>(tree, CHILD));
    let columns = lanes[lane].columns;
    let chosen_at = state_of(lane, lanes[lane].chosen_at);
    // Words of all columns, to be compared.
    let words_at = chosen_at + (columns + 31u) / 32u;
    let is_sampled = lanes[lane].columns_taken < columns;
    if (is_sampled) {
        for (var column = thread; column < columns; column += WORKGROUP) {
            state[words_at + column] = threefry(key, vec2<u32>(column, 0u)).x;
        }
        sync();
    }
    for (var word = thread; word < (columns + 31u) / 32u; word += WORKGROUP) {
        var bits = 0u;
        for (var column = word * 32u; column < min(columns, word * 32u + 32u); column += 1u) {
            var before = 0u;
            if (is_sampled) {
                let own = state[words_at + column];
                for (var other = 0u; other < columns; other += 1u) {
                    let word = state[words_at + other];
                    before += select(0u, 1u, word < own || (word == own && other < column));
                }
            }
            bits |= select(0u, 1u << (column % 32u), before < lanes[lane].columns_taken);
        }
        state[chosen_at + word] = bits;
    }
    sync();
}

// Makes all rows one leaf, and finds its split.
fn begin_tree(lane: u32, score: u32, round: u32, thread: u32) {
    sample_columns(lane, round * lanes[lane].scores + score, thread);
    // Where a class has no row, or all of them, its gradients are nothing: so is its tree.
    let is_of_classes = lanes[lane].loss == LOSS_BINARY || lanes[lane].loss == LOSS_SOFTMAX;
    let is_certain = is_of_classes && abs(start_of(lane, score)) >= ABSENT;
    let count = select(standing.row_count, 0u, is_certain);
    let sampled_at = state_of(lane, lanes[lane].sampled_at);
    let rows_at = state_of(lane, lanes[lane].rows_at);
    let words_at = state_of(lane, lanes[lane].words_at);
    var gradient = 0u;
    var hessian = 0u;
    for (var place = thread; place < count; place += WORKGROUP) {
        let row = state[sampled_at + place];
        state[rows_at + place] = row;
        gradient += state[words_at + 2u * row];
        hessian += state[words_at + 2u * row + 1u];
    }
    let others_at = state_of(lane, lanes[lane].others_at);
    for (var place = thread; place < standing.other_count; place += WORKGROUP) {
        state[others_at + place] = state[sampled_at + lanes[lane].train_rows + place];
    }
    gradient = sum_over_threads(gradient, thread);
    hessian = sum_over_threads(hessian, thread);
    let root = leaf_at(lane, 0u);
    for (var word = thread; word < lanes[lane].leaf_words; word += WORKGROUP) {
        state[root + word] = 0u;
    }
    sync();
    if (thread == 0u) {
        state[root + LEAF_ROWS_END] = count;
        state[root + LEAF_OTHERS_END] = standing.other_count;
        state[root + LEAF_GRADIENT] = gradient;
        state[root + LEAF_HESSIAN] = hessian;
    }
    sync();
    standing.leaves = 1u;
    standing.cursor = 0u;
    standing.level_end = 0u;
    standing.levels_left = lanes[lane].depth;
    if (lanes[lane].most_leaves > 1u && can_split(lane, 0u)) {
        look(lane, 0u, thread);
    }
}

// The leaf whose split gains most; the first of equal ones.
fn best_leaf(lane: u32, thread: u32) -> u32 {
    clear_cells(thread);
    var most = 0u;
    for (var leaf = thread; leaf < standing.leaves; leaf += WORKGROUP) {
        most = max(most, state[leaf_at(lane, leaf) + LEAF_GAIN]);
    }
    atomicMax(&cells[0], most);
    workgroupBarrier();
    most = atomicLoad(&cells[0]);
    if (most == 0u) {
        return NO_LEAF;
    }
    var first = NO_LEAF;
    for (var leaf = thread; leaf < standing.leaves; leaf += WORKGROUP) {
        if (state[leaf_at(lane, leaf) + LEAF_GAIN] == most) {
            first = min(first, leaf);
        }
    }
    atomicMax(&cells[1], ~first);
    workgroupBarrier();
    return ~atomicLoad(&cells[1]);
}

fn next_leaf(lane: u32, thread: u32) -> u32 {
    if (lanes[lane].is_level_wise == 0u) {
        if (standing.leaves >= lanes[lane].most_leaves) {
            return NO_LEAF;
        }
        return best_leaf(lane, thread);
    }
    loop {
        if (standing.cursor < standing.level_end) {
            let leaf = standing.cursor;
            standing.cursor += 1u;
            if (state[leaf_at(lane, leaf) + LEAF_GAIN] != 0u) {
                return leaf;
            }
            continue;
        }
        if (standing.levels_left == 0u || standing.leaves == standing.level_end) {
            return NO_LEAF;
        }
        standing.levels_left -= 1u;
        standing.level_end = standing.leaves;
        standing.cursor = 0u;
    }
    return NO_LEAF;
}

// Whether a leaf's split sends a row left.
fn goes_left(lane: u32, at: u32, missing_left: u32, row: u32) -> bool {
    let feature = state[at + LEAF_FEATURE];
    let slot = slot_of(lane, feature & ~IS_CATEGORY, row);
    if (slot == 0u) {
        return missing_left == 1u;
    }
    if ((feature & IS_CATEGORY) != 0u) {
        return (state[at + LEAF_SET + (slot - 1u) / 32u] >> ((slot - 1u) % 32u) & 1u) == 1u;
    }
    return slot <= state[at + LEAF_CUT];
}

// Parts rows that lie from `begin` to `end`, in order; gives where those that go right begin.
fn part_rows(lane: u32, at: u32, missing_left: u32, begin: u32, end: u32, thread: u32) -> u32 {
    let spare = state_of(lane, lanes[lane].spare_at);
    let run = run_of(begin, end, thread);
    var lefts = 0u;
    for (var place = run.x; place < run.y; place += 1u) {
        lefts += select(0u, 1u, goes_left(lane, at, missing_left, state[place]));
    }
    let places = sums_before(lefts, thread);
    var to_left = spare + places.x;
    var to_right = spare + places.y + (run.x - begin) - places.x;
    for (var place = run.x; place < run.y; place += 1u) {
        let row = state[place];
        if (goes_left(lane, at, missing_left, row)) {
            state[to_left] = row;
            to_left += 1u;
        } else {
            state[to_right] = row;
            to_right += 1u;
        }
    }
    sync();
    for (var place = begin + thread; place < end; place += WORKGROUP) {
        state[place] = state[spare + place - begin];
    }
    sync();
    return begin + places.y;
}

// Splits a leaf: the left child takes its place, the right one comes last.
fn split_leaf(lane: u32, leaf: u32, thread: u32) {
    let at = leaf_at(lane, leaf);
    let feature = state[at + LEAF_FEATURE];
    let known = table[lanes[lane].column_table + (feature & ~IS_CATEGORY)];
    let rows_at = state_of(lane, lanes[lane].rows_at);
    let others_at = state_of(lane, lanes[lane].others_at);
    let begin = state[at + LEAF_ROWS];
    let end = state[at + LEAF_ROWS_END];
    var missing_left = state[at + LEAF_MISSING_LEFT];
    let middle = part_rows(lane, at, missing_left, rows_at + begin, rows_at + end, thread) - rows_at;
    if ((known & (COLUMN_HAS_MISSING | COLUMN_IS_CATEGORY)) == 0u) {
        // No training row says where missing values go: with most rows.
        missing_left = select(0u, 1u, 2u * (middle - begin) >= end - begin);
    }
    let others = state[at + LEAF_OTHERS];
    let others_end = state[at + LEAF_OTHERS_END];
    let others_middle = part_rows(lane, at, missing_left, others_at + others, others_at + others_end, thread) - others_at;
    let right = leaf_at(lane, standing.leaves);
    for (var word = thread; word < lanes[lane].leaf_words; word += WORKGROUP) {
        state[right + word] = select(0u, state[at + word], word >= LEAF_DEAD);
    }
    let record = state_of(lane, lanes[lane].splits_at) + standing.splits * lanes[lane].split_words;
    sync();
    if (thread == 0u) {
        let gradient = bitcast<i32>(state[at + LEAF_GRADIENT]);
        let hessian = state[at + LEAF_HESSIAN];
        let left_gradient = bitcast<i32>(state[at + LEAF_LEFT_GRADIENT]);
        let left_hessian = state[at + LEAF_LEFT_HESSIAN];
        let depth = state[at + LEAF_DEPTH] + 1u;
        let l2 = number_at(at + LEAF_L2);
        state[record] = leaf;
        state[record + 1u] = feature | select(0u, MISSING_LEFT, missing_left == 1u);
        state[record + 2u] = state[at + LEAF_CUT];
        state[record + 3u] = state[at + LEAF_GAIN];
        if ((feature & IS_CATEGORY) != 0u) {
            for (var word = 0u; word < SET_WORDS; word += 1u) {
                state[record + 4u + word] = state[at + LEAF_SET + word];
            }
        }
        state[at + LEAF_ROWS_END] = middle;
        state[at + LEAF_OTHERS_END] = others_middle;
        state[at + LEAF_GRADIENT] = bitcast<u32>(left_gradient);
        state[at + LEAF_HESSIAN] = left_hessian;
        state[at + LEAF_DEPTH] = depth;
        state[at + LEAF_VALUE] = bitcast<u32>(leaf_value(left_gradient, left_hessian, l2));
        state[at + LEAF_GAIN] = 0u;
        state[right + LEAF_ROWS] = middle;
        state[right + LEAF_ROWS_END] = end;
        state[right + LEAF_OTHERS] = others_middle;
        state[right + LEAF_OTHERS_END] = others_end;
        state[right + LEAF_GRADIENT] = bitcast<u32>(gradient - left_gradient);
        state[right + LEAF_HESSIAN] = hessian - left_hessian;
        state[right + LEAF_DEPTH] = depth;
        state[right + LEAF_VALUE] = bitcast<u32>(leaf_value(gradient - left_gradient, hessian - left_hessian, l2));
    }
    sync();
    standing.splits += 1u;
    standing.leaves += 1u;
    // The last split's children are never split.
    if (standing.leaves < lanes[lane].most_leaves) {
        if (can_split(lane, leaf)) {
            look(lane, leaf, thread);
        }
        if (can_split(lane, standing.leaves - 1u)) {
            look(lane, standing.leaves - 1u, thread);
        }
    }
}

fn leaf_value(gradient: i32, hessian: u32, l2: f32) -> f32 {
    return product(quotient(soft(f32(gradient), rules.l1), held(f32(hessian) + l2)), rules.step);
}
