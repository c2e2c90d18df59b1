// The nearest training rows of each row to score: one workgroup makes one list.
//
// Its threads take training rows side by side. A quick distance in f32 lets through what may be among the nearest; those are
// measured in pairs of f32 and put into a pool, in any order. A full pool is ranked, every entry by itself, and the nearest
// are kept. What is kept depends on distances and row numbers alone, so the order of entries changes nothing.
//
// Shapes: x holds training rows as [features, rows], rows to score as [rows, features]; lists [most, rows to score].

// Entries that a thread ranks.
const SHARE: u32 = POOL / WORKGROUP;

var<workgroup> pool_high: array<f32, POOL>;
var<workgroup> pool_low: array<f32, POOL>;
var<workgroup> pool_row: array<u32, POOL>;
var<workgroup> pool_count: atomic<u32>;
var<workgroup> shared_count: u32;
// Quick distances beyond it are not among the nearest.
var<workgroup> shared_threshold: f32;

fn quick(search: u32, query: u32, row: u32, own: Double) -> f32 {
    let features = searches[search].features;
    let stride = searches[search].train_rows;
    let train = searches[search].train_x + row;
    var sum = 0.0;
    for (var j = 0u; j < features; j += 1u) {
        let a = x[train + j * stride];
        let b = x[query + j];
        let apart = a - b;
        if (searches[search].distance == EUCLIDEAN) {
            sum = fma(apart, apart, sum);
        } else if (searches[search].distance == MANHATTAN) {
            sum += abs(apart);
        } else {
            sum = fma(a, b, sum);
        }
    }
    if (searches[search].distance == COSINE) {
        return 1.0 - sum * lengths[searches[search].train_lengths + row].x * own.high;
    }
    return sum;
}

fn measure(search: u32, query: u32, row: u32, own: Double) -> Double {
    let features = searches[search].features;
    let stride = searches[search].train_rows;
    let train = searches[search].train_x + row;
    var sum = Double(0.0, 0.0);
    for (var j = 0u; j < features; j += 1u) {
        let a = x[train + j * stride];
        let b = x[query + j];
        if (searches[search].distance == COSINE) {
            sum = add_double(sum, product_of(a, b));
        } else {
            var apart = sum_of(a, -b);
            if (searches[search].distance == EUCLIDEAN) {
                apart = multiply_double(apart, apart);
            } else if (apart.high < 0.0) {
                apart = Double(-apart.high, -apart.low);
            }
            sum = add_double(sum, apart);
        }
    }
    if (searches[search].distance == COSINE) {
        let length = lengths[searches[search].train_lengths + row];
        let cosine = multiply_double(multiply_double(sum, Double(length.x, length.y)), own);
        let distance = add_double(Double(1.0, 0.0), Double(-cosine.high, -cosine.low));
        if (distance.high < ZERO_COSINE) {
            return Double(0.0, 0.0);
        }
        return distance;
    }
    return sum;
}

// No quick distance is greater if the exact one is at most this.
fn widened(search: u32, exact: f32) -> f32 {
    let roundings = f32(searches[search].features + 4u) * 2.4e-7;
    let absolute = select(1e-36 * f32(searches[search].features + 4u), 2.0 * roundings, searches[search].distance == COSINE);
    return exact * (1.0 + roundings) + absolute;
}

fn is_before(high: f32, low: f32, row: u32, at: u32) -> bool {
    if (high != pool_high[at]) {
        return high < pool_high[at];
    }
    if (low != pool_low[at]) {
        return low < pool_low[at];
    }
    return row < pool_row[at];
}

// Puts the nearest of the pool's entries first, in order, and forgets the others. All threads call it.
fn settle(search: u32, count: u32, most: u32, thread: u32) {
    var high: array<f32, SHARE>;
    var low: array<f32, SHARE>;
    var row: array<u32, SHARE>;
    var rank: array<u32, SHARE>;
    for (var i = 0u; i < SHARE; i += 1u) {
        let at = i * WORKGROUP + thread;
        rank[i] = POOL;
        if (at < count) {
            high[i] = pool_high[at];
            low[i] = pool_low[at];
            row[i] = pool_row[at];
            var after = 0u;
            for (var other = 0u; other < count; other += 1u) {
                let is_after = other != at && !is_before(high[i], low[i], row[i], other);
                after += select(0u, 1u, is_after);
            }
            rank[i] = after;
        }
    }
    workgroupBarrier();
    for (var i = 0u; i < SHARE; i += 1u) {
        if (rank[i] < most) {
            pool_high[rank[i]] = high[i];
            pool_low[rank[i]] = low[i];
            pool_row[rank[i]] = row[i];
        }
    }
    workgroupBarrier();
    if (thread == 0u) {
        atomicStore(&pool_count, min(count, most));
        if (count >= most) {
            shared_threshold = widened(search, pool_high[most - 1u]);
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(WORKGROUP)
fn search(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let number = workgroup_of(group, groups);
    if (number >= span.lanes) {
        return;
    }
    nothing = group.z;
    var at = 0u;
    while (at + 1u < arrayLength(&searches) && number >= searches[at + 1u].first) {
        at += 1u;
    }
    let place = number - searches[at].first;
    let most = searches[at].most;
    let rows = searches[at].train_rows;
    let query = searches[at].x + place * searches[at].features;
    var own = Double(0.0, 0.0);
    if (searches[at].distance == COSINE) {
        let length = lengths[searches[at].lengths + place];
        own = Double(length.x, length.y);
    }
    if (thread == 0u) {
        atomicStore(&pool_count, 0u);
        shared_threshold = FURTHEST;
    }
    workgroupBarrier();
    let full = min(2u * most, POOL - WORKGROUP);
    for (var first = 0u; first < rows; first += WORKGROUP) {
        let row = first + thread;
        if (row < rows && !(quick(at, query, row, own) > shared_threshold)) {
            let exact = measure(at, query, row, own);
            let entry = atomicAdd(&pool_count, 1u);
            pool_high[entry] = exact.high;
            pool_low[entry] = exact.low;
            pool_row[entry] = row;
        }
        workgroupBarrier();
        if (thread == 0u) {
            shared_count = atomicLoad(&pool_count);
        }
        let count = workgroupUniformLoad(&shared_count);
        if (count > full) {
            settle(at, count, most, thread);
        }
    }
    if (thread == 0u) {
        shared_count = atomicLoad(&pool_count);
    }
    settle(at, workgroupUniformLoad(&shared_count), most, thread);
    for (var j = thread; j < most; j += WORKGROUP) {
        // By the inverse of the distance, in units of the nearest one's weight; all others weigh nothing beside some at no
        // distance.
        var weight = 1.0;
        if (pool_high[j] != pool_high[0] || pool_low[j] != pool_low[0]) {
            weight = pool_high[0] / pool_high[j];
            if (searches[at].distance == EUCLIDEAN) {
                weight = sqrt(weight);
            }
        }
        let label = labels[searches[at].labels + pool_row[j]];
        lists[searches[at].list + j * searches[at].rows + place] = vec2<u32>(bitcast<u32>(weight), label);
    }
}
