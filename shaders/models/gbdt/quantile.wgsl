// Quantiles of what is left of a leaf's rows: `quantile_of` of src/models/gbdt/objective.rs. A value is found bit by bit
// from how much weight lies below it, so that nothing is sorted.

fn residual_key(lane: u32, score: u32, row: u32) -> u32 {
    return order_key(held(targets[lanes[lane].y + row] - number_at(score_at(lane, score, row))));
}

fn value_of_key(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key ^ 0x80000000u, (key & 0x80000000u) != 0u));
}

// The first value by which more than `passed` of the weight is reached; rows count one each, or by their whole weights.
fn reached(lane: u32, score: u32, begin: u32, end: u32, passed: u32, is_weighted: bool, thread: u32) -> f32 {
    let rows_at = state_of(lane, lanes[lane].rows_at);
    var key = 0u;
    var below = 0u;
    for (var bit = 32u; bit > 0u; bit -= 1u) {
        let low = 1u << (bit - 1u);
        var own = 0u;
        for (var place = begin + thread; place < end; place += WORKGROUP) {
            let row = state[rows_at + place];
            if ((residual_key(lane, score, row) & ~(low - 1u)) == key) {
                own += select(1u, table[lanes[lane].whole + row], is_weighted);
            }
        }
        let sum = sum_over_threads(own, thread);
        if (below + sum <= passed) {
            below += sum;
            key |= low;
        }
    }
    return value_of_key(key);
}

// The high word of a product.
fn high_of(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
}

// A leaf's value by its quantile; all threads call it.
fn leaf_quantile(lane: u32, score: u32, begin: u32, end: u32, thread: u32) -> f32 {
    if (begin == end) {
        return 0.0;
    }
    let rows_at = state_of(lane, lanes[lane].rows_at);
    // Weights are not negative: they are ordered as their bits.
    var most = 0u;
    var least_complement = 0u;
    var whole = 0u;
    for (var place = begin + thread; place < end; place += WORKGROUP) {
        let row = state[rows_at + place];
        let bits = bitcast<u32>(targets[lanes[lane].weight + row]);
        most = max(most, bits);
        least_complement = max(least_complement, ~bits);
        whole += table[lanes[lane].whole + row];
    }
    clear_cells(thread);
    atomicMax(&cells[0], most);
    atomicMax(&cells[1], least_complement);
    atomicAdd(&cells[2], whole);
    workgroupBarrier();
    let is_weighted = atomicLoad(&cells[0]) != ~atomicLoad(&cells[1]);
    whole = atomicLoad(&cells[2]);
    if (is_weighted) {
        return reached(lane, score, begin, end, high_of(whole, lanes[lane].quantile_word), true, thread);
    }
    let last = end - begin - 1u;
    let place = product(held(1.0 - lanes[lane].quantile), f32(last));
    let nth = u32(place);
    let above = reached(lane, score, begin, end, last - min(nth, last), false, thread);
    let below = reached(lane, score, begin, end, last - min(nth + 1u, last), false, thread);
    return held(above - product(held(above - below), held(place - f32(nth))));
}
