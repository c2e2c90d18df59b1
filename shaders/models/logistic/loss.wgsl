// The softmax's loss, gradient and curvature on a block of rows: the passes that cost the time, as loss.rs has them on the
// CPU. Products go through register tiles whose shape follows the number of outputs.

// What a product is for.
const TO_LOGITS: u32 = 0u;
const TO_GRADIENT: u32 = 1u;
const TO_CURVATURE: u32 = 2u;

// Neighbouring rows of a set.
struct Block {
    // Where the set's features start, and the number of its rows.
    x: u32,
    set_rows: u32,
    first: u32,
    rows: u32,
}

// A tile of the left side, four rows or features a vector, with a vector of padding at each k: neighbouring threads write
// neighbouring k. Then other things that all threads need, between products.
var<workgroup> tile_a: array<vec4<f32>, TILE_A>;
// A tile of the right side, four outputs a vector.
var<workgroup> tile_b: array<vec4<f32>, TILE_B>;

// Four neighbours of the left side: rows of one feature for logits, else features of one row.
fn left(lane: u32, kind: u32, block: Block, m: u32, k: u32) -> vec4<f32> {
    var found = vec4<f32>(0.0);
    if (kind == TO_LOGITS) {
        if (k < lanes[lane].features) {
            let at = block.x + k * block.set_rows + block.first + m;
            for (var i = 0u; i < 4u; i += 1u) {
                if (m + i < block.rows) {
                    found[i] = x[at + i];
                }
            }
        }
        return found;
    }
    if (k < block.rows) {
        let at = block.x + m * block.set_rows + block.first + k;
        for (var i = 0u; i < 4u; i += 1u) {
            if (m + i < lanes[lane].features) {
                found[i] = x[at + i * block.set_rows];
            }
        }
    }
    return select(found, found * found, kind == TO_CURVATURE);
}

// What a training row counts for.
fn row_weight(lane: u32, row: u32) -> f32 {
    if (lanes[lane].is_weighted == 0u) {
        return 1.0;
    }
    return nodes[lanes[lane].row_weights + row];
}

// A training row's residual's variance: an own class's residual is weight (p - 1), another's is weight p, and both give
// weight p (1 - p).
fn variance(lane: u32, row: u32, residual: f32) -> f32 {
    let size = abs(residual);
    let weight = row_weight(lane, row);
    return fma(-(size * select(0.0, 1.0 / weight, weight > 0.0)), size, size);
}

// Four outputs of the right side: weights of one feature for logits, else residuals or variances of one row.
fn right(lane: u32, kind: u32, block: Block, weights: u32, k: u32, n: u32) -> vec4<f32> {
    var found = vec4<f32>(0.0);
    let outputs = lanes[lane].outputs;
    let is_forward = kind == TO_LOGITS;
    if (k >= select(block.rows, lanes[lane].features, is_forward)) {
        return found;
    }
    let at = select(activations(lane) + n * lanes[lane].capacity + k, weights + k * outputs + n, is_forward);
    let stride = select(lanes[lane].capacity, 1u, is_forward);
    for (var i = 0u; i < 4u; i += 1u) {
        if (n + i < outputs) {
            let value = state[at + i * stride];
            found[i] = value;
            if (kind == TO_CURVATURE) {
                found[i] = variance(lane, block.first + k, value);
            }
        }
    }
    return found;
}

// One product over all its tiles: 4 x 4 sums a thread. Threads are laid out over outputs, then over rows or features; in
// the gradient's products what is left of them share a tile's rows, and their sums are added at the end of the block.
fn product(lane: u32, kind: u32, block: Block, weights: u32, is_first: bool, thread: u32) {
    let is_forward = kind == TO_LOGITS;
    let outputs = lanes[lane].outputs;
    let features = lanes[lane].features;
    let wide = lanes[lane].wide;
    let splits = select(lanes[lane].splits, 1u, is_forward);
    let across = WORKGROUP / (wide * splits);
    let depth = min(4u * wide, DEEPEST) * splits;
    let stride = across + 1u;
    let all_m = select(features, block.rows, is_forward);
    let all_k = select(block.rows, features, is_forward);
    let thread_n = thread % wide;
    let thread_m = (thread / wide) % across;
    let split = thread / (wide * across);
    for (var base_n = 0u; base_n < outputs; base_n += 4u * wide) {
        for (var base_m = 0u; base_m < all_m; base_m += 4u * across) {
            var s0 = vec4<f32>(0.0);
            var s1 = vec4<f32>(0.0);
            var s2 = vec4<f32>(0.0);
            var s3 = vec4<f32>(0.0);
            for (var base_k = 0u; base_k < all_k; base_k += depth) {
                for (var i = thread; i < depth * across; i += WORKGROUP) {
                    // Neighbouring threads read neighbouring rows.
                    let m = select(i / depth, i % across, is_forward);
                    let k = select(i % depth, i / across, is_forward);
                    tile_a[k * stride + m] = left(lane, kind, block, base_m + 4u * m, base_k + k);
                }
                for (var i = thread; i < depth * wide; i += WORKGROUP) {
                    let n = select(i / depth, i % wide, is_forward);
                    let k = select(i % depth, i / wide, is_forward);
                    tile_b[k * wide + n] = right(lane, kind, block, weights, base_k + k, base_n + 4u * n);
                }
                workgroupBarrier();
                for (var k = split; k < depth; k += splits) {
                    let a = tile_a[k * stride + thread_m];
                    let b = tile_b[k * wide + thread_n];
                    s0 = fma(a, vec4<f32>(b.x), s0);
                    s1 = fma(a, vec4<f32>(b.y), s1);
                    s2 = fma(a, vec4<f32>(b.z), s2);
                    s3 = fma(a, vec4<f32>(b.w), s3);
                }
                workgroupBarrier();
            }
            var sums = array<vec4<f32>, 4>(s0, s1, s2, s3);
            if (splits > 1u) {
                for (var i = 0u; i < 4u; i += 1u) {
                    tile_a[4u * thread + i] = sums[i];
                }
                workgroupBarrier();
                for (var other = thread + wide * across; split == 0u && other < WORKGROUP; other += wide * across) {
                    for (var i = 0u; i < 4u; i += 1u) {
                        sums[i] += tile_a[4u * other + i];
                    }
                }
                workgroupBarrier();
            }
            let m = base_m + 4u * thread_m;
            for (var i = 0u; i < 4u; i += 1u) {
                let n = base_n + 4u * thread_n + i;
                for (var j = 0u; split == 0u && n < outputs && j < 4u && m + j < all_m; j += 1u) {
                    if (is_forward) {
                        let at = activations(lane) + n * lanes[lane].capacity + m + j;
                        state[at] = sums[i][j] + state[weights + features * outputs + n];
                    } else {
                        let at = vector(lane, select(TRIAL_GRADIENT, TRIAL_CURVATURE, kind == TO_CURVATURE))
                            + (m + j) * outputs + n;
                        if (is_first) {
                            state[at] = sums[i][j];
                        } else {
                            state[at] += sums[i][j];
                        }
                    }
                }
            }
        }
    }
    storageBarrier();
}

// ln(1 + x) for x >= 0 to a few ulp: the rounding of 1 + x is divided out again (Goldberg 1991, theorem 4).
fn ln_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    let rounded = sum - 1.0;
    if (rounded > 0.0) {
        return x * ln_of(sum) / rounded;
    }
    return x;
}

// Logits become `weight (probability - one-hot)`, which for a row's own class is minus the sum of the others': `p - 1` would
// keep no digits of a small residual. Gives the loss of this thread's rows.
fn residuals(lane: u32, block: Block, thread: u32) -> f32 {
    let outputs = lanes[lane].outputs;
    let capacity = lanes[lane].capacity;
    var loss = 0.0;
    for (var row = thread; row < block.rows; row += WORKGROUP) {
        let at = activations(lane) + row;
        let truth = y[lanes[lane].sets.y[0] + block.first + row];
        let own_logit = state[at + truth * capacity];
        var largest = state[at];
        for (var output = 1u; output < outputs; output += 1u) {
            let z = state[at + output * capacity];
            largest = select(largest, z, !(z <= largest));
        }
        var own = 0.0;
        var others = 0.0;
        for (var output = 0u; output < outputs; output += 1u) {
            let e = exp_of(state[at + output * capacity] - largest);
            state[at + output * capacity] = e;
            own += select(0.0, e, output == truth);
            others += select(e, 0.0, output == truth);
        }
        let sum = own + others;
        let weight = row_weight(lane, block.first + row);
        let scale = weight / sum;
        for (var output = 0u; output < outputs; output += 1u) {
            state[at + output * capacity] *= scale;
        }
        state[at + truth * capacity] = -(others * scale);
        // ln(1 + excess), where the own class leads without the rounding of 1 + others.
        let excess = select(others, sum - 1.0, own_logit < largest);
        loss += weight * ((largest - own_logit) + ln_1p(excess));
    }
    return loss;
}

// What a block adds to the intercepts' entries. Threads share the rows of an output in equal stretches.
fn add_intercepts(lane: u32, block: Block, wants_curvature: bool, is_first: bool, thread: u32) {
    let outputs = lanes[lane].outputs;
    let together = min(lanes[lane].columns, WORKGROUP);
    let stretches = WORKGROUP / together;
    let stretch = (block.rows + stretches - 1u) / stretches;
    let first = (thread / together) * stretch;
    for (var base = 0u; base < outputs; base += together) {
        let output = base + thread % together;
        var sums = vec2<f32>(0.0);
        if (output < outputs) {
            let at = activations(lane) + output * lanes[lane].capacity;
            for (var row = first; row < min(first + stretch, block.rows); row += 1u) {
                let residual = state[at + row];
                sums += vec2<f32>(residual, variance(lane, block.first + row, residual));
            }
        }
        tile_a[thread] = vec4<f32>(sums, 0.0, 0.0);
        workgroupBarrier();
        if (thread < together && output < outputs) {
            var sum = tile_a[thread].xy;
            for (var other = thread + together; other < WORKGROUP; other += together) {
                sum += tile_a[other].xy;
            }
            sum = select(vec2<f32>(0.0), sum, lanes[lane].has_intercept == 1u);
            let gradient = vector(lane, TRIAL_GRADIENT) + slopes(lane) + output;
            let curvature = vector(lane, TRIAL_CURVATURE) + slopes(lane) + output;
            if (is_first) {
                state[gradient] = sum.x;
            } else {
                state[gradient] += sum.x;
            }
            if (wants_curvature && is_first) {
                state[curvature] = sum.y;
            } else if (wants_curvature) {
                state[curvature] += sum.y;
            }
        }
        workgroupBarrier();
    }
    storageBarrier();
}

// Evaluates the trial on a block: its summed loss is given back, the rest is added in the state.
fn evaluate(lane: u32, number: u32, wants_curvature: bool, thread: u32) -> f32 {
    let rows = lanes[lane].sets.rows[0];
    let first = number * TILE_ROWS;
    let block = Block(lanes[lane].sets.x[0], rows, first, min(TILE_ROWS, rows - first));
    let trial = vector(lane, TRIAL);
    let is_first = number == 0u;
    product(lane, TO_LOGITS, block, trial, is_first, thread);
    let loss = residuals(lane, block, thread);
    storageBarrier();
    product(lane, TO_GRADIENT, block, trial, is_first, thread);
    if (wants_curvature) {
        product(lane, TO_CURVATURE, block, trial, is_first, thread);
    }
    add_intercepts(lane, block, wants_curvature, is_first, thread);
    return total(vec4<f32>(loss, 0.0, 0.0, 0.0), thread).x;
}
