// Boosting: one workgroup a lane. A unit is a round, a tick a portion of one tree's splits.

fn begin_lane(lane: u32, thread: u32) {
    for (var score = 0u; score < lanes[lane].scores; score += 1u) {
        let start = bitcast<u32>(start_of(lane, score));
        for (var row = thread; row < lanes[lane].rows; row += WORKGROUP) {
            state[score_at(lane, score, row)] = start;
            if (lanes[lane].patience > 0u) {
                state[best_score_at(lane, score, row)] = start;
            }
        }
    }
    standing = Standing();
    sync();
}

// Writes a tree's leaves, and adds them to the scores of their rows.
fn finish_tree(lane: u32, score: u32, thread: u32) {
    let rows_at = state_of(lane, lanes[lane].rows_at);
    let others_at = state_of(lane, lanes[lane].others_at);
    let values = state_of(lane, lanes[lane].values_at) + standing.values;
    for (var leaf = 0u; leaf < standing.leaves; leaf += 1u) {
        let at = leaf_at(lane, leaf);
        let begin = state[at + LEAF_ROWS];
        let end = state[at + LEAF_ROWS_END];
        var value = number_at(at + LEAF_VALUE);
        if (lanes[lane].loss == LOSS_ABSOLUTE || lanes[lane].loss == LOSS_QUANTILE) {
            value = product(leaf_quantile(lane, score, begin, end, thread), lanes[lane].learning_rate);
        }
        if (thread == 0u) {
            state[values + leaf] = bitcast<u32>(value);
        }
        for (var place = begin + thread; place < end; place += WORKGROUP) {
            let to = score_at(lane, score, state[rows_at + place]);
            state[to] = bitcast<u32>(held(number_at(to) + value));
        }
        for (var place = state[at + LEAF_OTHERS] + thread; place < state[at + LEAF_OTHERS_END]; place += WORKGROUP) {
            let to = score_at(lane, score, state[others_at + place]);
            state[to] = bitcast<u32>(held(number_at(to) + value));
        }
    }
    if (thread == 0u) {
        let tree = state_of(lane, lanes[lane].trees_at) + TREE_WORDS * standing.trees;
        state[tree] = standing.leaves;
        state[tree + 1u] = standing.gradient_exponent;
        state[tree + 2u] = standing.hessian_exponent;
    }
    standing.trees += 1u;
    standing.values += standing.leaves;
    standing.is_changed = select(standing.is_changed, 1u, standing.leaves > 1u);
    sync();
}

// One portion of one tree; false where a gradient is not finite.
fn tick(lane: u32, round: u32, part: u32, thread: u32) -> bool {
    let score = part / TICKS;
    if (part == 0u) {
        gradients(lane, thread);
        sample_rows(lane, round, thread);
        standing.is_changed = 0u;
    }
    let is_first = part % TICKS == 0u;
    if (is_first && !quantise(lane, score, thread)) {
        return false;
    }
    set_rules(lane);
    if (is_first) {
        begin_tree(lane, score, round, thread);
    }
    for (var split = 0u; split < lanes[lane].tick_splits; split += 1u) {
        let leaf = next_leaf(lane, thread);
        if (leaf == NO_LEAF) {
            break;
        }
        split_leaf(lane, leaf, thread);
    }
    if (part % TICKS == TICKS - 1u) {
        finish_tree(lane, score, thread);
    }
    return true;
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    if (at.step == 0u) {
        begin_lane(lane, thread);
        at.step = 1u;
        if (lanes[lane].is_hopeless == 1u) {
            at.status = LANE_NOT_FINITE;
        }
    } else {
        load_standing(lane);
        // All have read it before one writes it.
        sync();
    }
    while (at.status == LANE_RUNNING && is_within_span(at)) {
        if (!tick(lane, at.unit, at.part, thread)) {
            at.status = LANE_NOT_FINITE;
            break;
        }
        at.part += 1u;
        if (at.part < TICKS * lanes[lane].scores) {
            continue;
        }
        at.part = 0u;
        at.unit += 1u;
        var is_done = at.unit >= lanes[lane].rounds || (standing.is_changed == 0u && lanes[lane].is_sampled == 0u);
        if (lanes[lane].patience > 0u) {
            is_done = watch(lane, at.unit, thread) || is_done;
        }
        if (is_done) {
            at.status = LANE_DONE;
            at.unit = select(at.unit, standing.best_round, lanes[lane].patience > 0u);
        }
    }
    if (thread == 0u) {
        store_standing(lane);
    }
    return at;
}
