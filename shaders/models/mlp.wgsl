// The perceptron: one workgroup trains one lane for as many steps as the span allows, then other dispatches score it.
//
// A lane's weights, moments and activations stay in storage, where a GPU's caches keep them; tiles pass through workgroup
// memory. Every product of a step is one routine, a register tile of 4 x 4 a thread over a tile of 32 x 64 a workgroup,
// and its epilogue does what follows: activation with dropout, the optimizer, or the derivative. So no gradient is
// stored. src/models/mlp/recipe.rs says what training is.
//
// Shapes: x [rows, features] of a row set; weights [inputs, units] and biases of each layer, one after the other, then
// both moments of all; activations, derivatives and deltas [capacity, units] of each layer.

const TILE_M: u32 = 32u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 16u;
// 8 x 16 threads of 4 x 4.
const THREADS_N: u32 = 16u;

// What a product is for.
const FORWARD: u32 = 0u;
const GRADIENT: u32 = 1u;
const BACKWARD: u32 = 2u;
// How the left side is found: in the state, or in x with the row being the outer or the inner index.
const IN_STATE: u32 = 0u;
const ROW_OUTER: u32 = 1u;
const ROW_INNER: u32 = 2u;

struct Job {
    kind: u32,
    layer: u32,
    m: u32,
    n: u32,
    k: u32,
    source: u32,
    a: u32,
    a_m: u32,
    a_k: u32,
    b: u32,
    b_k: u32,
    b_n: u32,
    // First row of x, or first entry of the order.
    first: u32,
    is_training: bool,
    step: u32,
}

struct StepRates {
    rate: f32,
    decay: f32,
    floor: f32,
}

var<workgroup> tile_a: array<f32, 512>;
var<workgroup> tile_b: array<f32, 1024>;

fn width(lane: u32, layer: u32) -> u32 {
    if (layer == lanes[lane].layers) {
        return lanes[lane].outputs;
    }
    return lanes[lane].hidden[layer];
}

fn inputs_of(lane: u32, layer: u32) -> u32 {
    if (layer == 0u) {
        return lanes[lane].features;
    }
    return lanes[lane].hidden[layer - 1u];
}

// Where a layer's weights start; its biases follow them.
fn weights_at(lane: u32, layer: u32) -> u32 {
    var at = lanes[lane].state + 2u;
    for (var below = 0u; below < layer; below += 1u) {
        at += (inputs_of(lane, below) + 1u) * width(lane, below);
    }
    return at;
}

// Where a layer's outputs start. Derivatives and deltas of all layers lie behind, in the same order.
fn outputs_at(lane: u32, layer: u32) -> u32 {
    var at = lanes[lane].state + 2u + 3u * lanes[lane].weights;
    for (var below = 0u; below < layer; below += 1u) {
        at += lanes[lane].capacity * width(lane, below);
    }
    return at;
}

fn left(lane: u32, job: Job, m: u32, k: u32) -> f32 {
    if (m >= job.m || k >= job.k) {
        return 0.0;
    }
    if (job.source == IN_STATE) {
        return state[job.a + m * job.a_m + k * job.a_k];
    }
    let place = select(k, m, job.source == ROW_OUTER);
    let column = select(m, k, job.source == ROW_OUTER);
    var row = job.first + place;
    // Not a select: the window is read only where a minibatch walks it, and has fewer entries than x may have rows.
    if (job.is_training) {
        row = order[row];
    }
    return x[job.a + row * lanes[lane].features + column];
}

fn right(job: Job, k: u32, n: u32) -> f32 {
    if (k >= job.k || n >= job.n) {
        return 0.0;
    }
    return state[job.b + k * job.b_k + n * job.b_n];
}

// (output, derivative)
fn activate(lane: u32, z: f32) -> vec2<f32> {
    switch lanes[lane].activation {
        case 1u: {
            let t = tanh_of(z);
            return vec2<f32>(t, 1.0 - t * t);
        }
        case 2u: {
            let square = z * z;
            let t = tanh_of(0.7978846 * z * fma(square, 0.044715, 1.0));
            let gate = fma(t, 0.5, 0.5);
            let inner = fma(square, 3.0 * 0.044715 * 0.7978846, 0.7978846);
            return vec2<f32>(z * gate, fma((1.0 - t * t) * inner * 0.5, z, gate));
        }
        case 3u: {
            let gate = 1.0 / (1.0 + exp_of(-z));
            let value = z * gate;
            return vec2<f32>(value, fma(value, 1.0 - gate, gate));
        }
        default: {
            // NaN comes through.
            return vec2<f32>(select(z, 0.0, z < 0.0), select(0.0, 1.0, z > 0.0));
        }
    }
}

fn update(lane: u32, at: u32, gradient: f32, decay: f32, rates: StepRates) {
    let weights = lanes[lane].weights;
    let momentum = lanes[lane].momentum;
    if (lanes[lane].optimizer == 0u) {
        let m = fma(momentum, state[at + weights], (1.0 - momentum) * gradient);
        let v = fma(BETA2, state[at + 2u * weights], ONE_MINUS_BETA2 * gradient * gradient);
        state[at + weights] = m;
        state[at + 2u * weights] = v;
        state[at] = fma(state[at], decay, -(rates.rate * m * inverseSqrt(v + rates.floor)));
    } else {
        let m = fma(momentum, state[at + weights], gradient);
        state[at + weights] = m;
        state[at] = fma(state[at], decay, -(rates.rate * m));
    }
}

fn finish(lane: u32, job: Job, m: u32, n: u32, sum: f32, rates: StepRates) {
    if (m >= job.m || n >= job.n) {
        return;
    }
    if (job.kind == GRADIENT) {
        update(lane, weights_at(lane, job.layer) + m * job.n + n, sum, rates.decay, rates);
        return;
    }
    let stretch = lanes[lane].stretch;
    if (job.kind == BACKWARD) {
        // The gradient of the layer below, by its sums.
        let at = outputs_at(lane, job.layer - 1u) + m * job.n + n;
        let derivative = state[at + stretch];
        state[at + 2u * stretch] = select(0.0, sum * derivative, derivative != 0.0);
        return;
    }
    let at = outputs_at(lane, job.layer) + m * job.n + n;
    let bias = state[weights_at(lane, job.layer) + job.k * job.n + n];
    let z = sum + bias;
    if (job.layer == lanes[lane].layers) {
        state[at] = z;
        return;
    }
    var value = activate(lane, z);
    let dropout = lanes[lane].dropout;
    if (job.is_training && dropout > 0.0) {
        let key = vec2<u32>(lanes[lane].dropout_keys[2u * job.layer], lanes[lane].dropout_keys[2u * job.layer + 1u]);
        let words = threefry(key, vec2<u32>((m << 15u) | (n >> 1u), job.step));
        let word = select(words.x, words.y, (n & 1u) == 1u);
        value = select(value / (1.0 - dropout), vec2<f32>(0.0), uniform_of(word) < dropout);
    }
    state[at] = value.x;
    state[at + stretch] = value.y;
}

// One product over all its tiles. Sums run over k in its order, whatever the tiles.
fn product(lane: u32, job: Job, thread: u32, rates: StepRates) {
    let thread_m = 4u * (thread / THREADS_N);
    let thread_n = 4u * (thread % THREADS_N);
    for (var base_m = 0u; base_m < job.m; base_m += TILE_M) {
        for (var base_n = 0u; base_n < job.n; base_n += TILE_N) {
            var sums: array<vec4<f32>, 4>;
            for (var base_k = 0u; base_k < job.k; base_k += TILE_K) {
                for (var i = thread; i < TILE_M * TILE_K; i += WORKGROUP) {
                    // Neighbouring threads read neighbouring words: along k where rows are contiguous, else along m.
                    let is_along_m = job.kind == GRADIENT;
                    let m = select(i / TILE_K, i % TILE_M, is_along_m);
                    let k = select(i % TILE_K, i / TILE_M, is_along_m);
                    tile_a[k * TILE_M + m] = left(lane, job, base_m + m, base_k + k);
                }
                for (var i = thread; i < TILE_N * TILE_K; i += WORKGROUP) {
                    let is_along_k = job.kind == BACKWARD;
                    let n = select(i % TILE_N, i / TILE_K, is_along_k);
                    let k = select(i / TILE_N, i % TILE_K, is_along_k);
                    tile_b[k * TILE_N + n] = right(job, base_k + k, base_n + n);
                }
                workgroupBarrier();
                for (var k = 0u; k < TILE_K; k += 1u) {
                    let at_b = k * TILE_N + thread_n;
                    let b = vec4<f32>(tile_b[at_b], tile_b[at_b + 1u], tile_b[at_b + 2u], tile_b[at_b + 3u]);
                    let at_a = k * TILE_M + thread_m;
                    sums[0] = fma(vec4<f32>(tile_a[at_a]), b, sums[0]);
                    sums[1] = fma(vec4<f32>(tile_a[at_a + 1u]), b, sums[1]);
                    sums[2] = fma(vec4<f32>(tile_a[at_a + 2u]), b, sums[2]);
                    sums[3] = fma(vec4<f32>(tile_a[at_a + 3u]), b, sums[3]);
                }
                workgroupBarrier();
            }
            for (var i = 0u; i < 4u; i += 1u) {
                for (var j = 0u; j < 4u; j += 1u) {
                    finish(lane, job, base_m + thread_m + i, base_n + thread_n + j, sums[i][j], rates);
                }
            }
        }
    }
    storageBarrier();
}

fn forward(lane: u32, rows: u32, x_at: u32, first: u32, is_training: bool, step: u32, thread: u32) {
    let rates = StepRates(0.0, 0.0, 0.0);
    for (var layer = 0u; layer <= lanes[lane].layers; layer += 1u) {
        let inputs = inputs_of(lane, layer);
        let units = width(lane, layer);
        var job = Job(FORWARD, layer, rows, units, inputs, ROW_OUTER, x_at, 0u, 0u,
            weights_at(lane, layer), units, 1u, first, is_training, step);
        if (layer > 0u) {
            job.source = IN_STATE;
            job.a = outputs_at(lane, layer - 1u);
            job.a_m = inputs;
            job.a_k = 1u;
        }
        product(lane, job, thread, rates);
    }
}

fn loss_gradient(lane: u32, rows: u32, first: u32, thread: u32) {
    let outputs = lanes[lane].outputs;
    let base = outputs_at(lane, lanes[lane].layers);
    let share = 1.0 / f32(rows);
    for (var row = thread; row < rows; row += WORKGROUP) {
        let at = base + row * outputs;
        let of_row = order[first + row];
        let truth = y[lanes[lane].sets.y[0] + of_row];
        var counts = 1.0;
        if (lanes[lane].weight > 0u) {
            counts = weight[lanes[lane].weight + of_row];
        }
        if (lanes[lane].is_classifier == 1u) {
            softmax(at, 1u, outputs);
            let smoothing = lanes[lane].label_smoothing;
            let off = smoothing / f32(outputs);
            for (var i = 0u; i < outputs; i += 1u) {
                let goal = off + select(0.0, 1.0 - smoothing, i == truth);
                state[at + i] = (state[at + i] - goal) * share * counts;
            }
        } else {
            let goal = (bitcast<f32>(truth) - lanes[lane].target_shift) / lanes[lane].target_scale;
            state[at] = (state[at] - goal) * share * counts;
        }
    }
    storageBarrier();
}

// The schedule's factor; recipe.rs has the same in f64.
fn rate_factor(lane: u32, step: u32) -> f32 {
    let share = f32(step) / f32(lanes[lane].steps);
    switch lanes[lane].schedule {
        case 1u: { return half_cosine(share); }
        case 2u: {
            let start = 1.0 / 25.0;
            let end = start / 1e4;
            if (share < 0.3) {
                return fma(start - 1.0, half_cosine(share / 0.3), 1.0);
            }
            return fma(1.0 - end, half_cosine((share - 0.3) / 0.7), end);
        }
        default: { return 1.0; }
    }
}

// The constants of a step. `1 - b^t` as q' = b q + (1 - b): no difference of nearly equal numbers.
fn step_rates(lane: u32, step: u32, thread: u32) -> StepRates {
    let at = lanes[lane].state;
    if (thread == 0u) {
        let momentum = lanes[lane].momentum;
        state[at] = fma(momentum, state[at], 1.0 - momentum);
        state[at + 1u] = fma(BETA2, state[at + 1u], ONE_MINUS_BETA2);
    }
    storageBarrier();
    let rate = lanes[lane].learning_rate * rate_factor(lane, step);
    let second = state[at + 1u];
    let corrected = rate * sqrt(second) / state[at];
    return StepRates(select(rate, corrected, lanes[lane].optimizer == 0u), 1.0 - rate * lanes[lane].weight_decay,
        EPSILON_SQUARED * second);
}

fn start_weights(lane: u32, thread: u32) {
    let weights = lanes[lane].weights;
    if (thread < 2u) {
        state[lanes[lane].state + thread] = 0.0;
    }
    for (var i = thread; i < 3u * weights; i += WORKGROUP) {
        state[lanes[lane].state + 2u + i] = 0.0;
    }
    storageBarrier();
    for (var layer = 0u; layer <= lanes[lane].layers; layer += 1u) {
        let units = width(lane, layer);
        let count = inputs_of(lane, layer) * units;
        let at = weights_at(lane, layer);
        let key = vec2<u32>(lanes[lane].start_keys[2u * layer], lanes[lane].start_keys[2u * layer + 1u]);
        for (var i = thread; i < count; i += WORKGROUP) {
            let word = threefry(key, vec2<u32>(i % units, i / units)).x;
            state[at + i] = lanes[lane].start_bounds[layer] * (2.0 * uniform_of(word) - 1.0);
        }
    }
    storageBarrier();
}

fn train_step(lane: u32, rows: u32, first: u32, step: u32, thread: u32) {
    let layers = lanes[lane].layers;
    let x_at = lanes[lane].sets.x[0];
    let stretch = lanes[lane].stretch;
    let rates = step_rates(lane, step, thread);
    forward(lane, rows, x_at, first, true, step, thread);
    loss_gradient(lane, rows, first, thread);
    for (var above = 0u; above <= layers; above += 1u) {
        let layer = layers - above;
        let inputs = inputs_of(lane, layer);
        let units = width(lane, layer);
        let weights = weights_at(lane, layer);
        // The output's gradient took the place of its sums; a hidden layer's has its own.
        let delta = outputs_at(lane, layer) + select(2u * stretch, 0u, layer == layers);
        // What is below needs this layer's weights as they were in the forward pass.
        if (layer > 0u) {
            product(lane, Job(BACKWARD, layer, rows, inputs, units, IN_STATE, delta, units, 1u,
                weights, 1u, units, 0u, true, step), thread, rates);
        }
        var job = Job(GRADIENT, layer, inputs, units, rows, ROW_INNER, x_at, 0u, 0u, delta, units, 1u, first, true, step);
        if (layer > 0u) {
            job.source = IN_STATE;
            job.a = outputs_at(lane, layer - 1u);
            job.a_m = 1u;
            job.a_k = inputs;
        }
        product(lane, job, thread, rates);
        for (var unit = thread; unit < units; unit += WORKGROUP) {
            var sum = 0.0;
            for (var row = 0u; row < rows; row += 1u) {
                sum += state[delta + row * units + unit];
            }
            update(lane, weights + inputs * units + unit, sum, 1.0, rates);
        }
        storageBarrier();
    }
}

fn train_lane(lane: u32, before: Progress, thread: u32) -> Progress {
    var at = before;
    if (at.step == 0u) {
        start_weights(lane, thread);
    }
    let rows = lanes[lane].sets.rows[0];
    let batch = lanes[lane].batch;
    // Parts are rows done, which the span counts in ticks.
    while (is_within_span(Progress(at.unit, at.part / lanes[lane].tick_rows, at.step, at.status))) {
        let first = (at.unit - span.window_unit) * lanes[lane].order_stride + lanes[lane].order_at + at.part;
        train_step(lane, min(batch, rows - at.part), first, at.step, thread);
        at.step += 1u;
        at.part += batch;
        if (at.part >= rows) {
            at.part = 0u;
            at.unit += 1u;
        }
    }
    return at;
}

fn predict_tile(lane: u32, tile: Tile, thread: u32) -> Predictions {
    forward(lane, tile.rows, lanes[lane].sets.x[tile.part], tile.first, false, 0u, thread);
    let outputs = lanes[lane].outputs;
    let base = outputs_at(lane, lanes[lane].layers);
    if (thread < tile.rows) {
        let place = base + thread * outputs;
        if (lanes[lane].is_classifier == 1u) {
            softmax(place, 1u, outputs);
        } else {
            state[place] = fma(state[place], lanes[lane].target_scale, lanes[lane].target_shift);
        }
    }
    return Predictions(base, outputs, 1u);
}
