// CMA-ES: src/strategies/generation/cmaes.rs. Rows are places and normal vectors; columns are values and, as scratch, what
// members weigh in the mean and in the shape; vectors are the best place, the mean, sigma's path, and then the path of the
// covariance and variances, or the matrix; behind them as scratch sums of parts, totals, and the matrix's factor and copy.

const NORMALS: u32 = MEMBERS * STRIDE;
const MEAN: u32 = STRIDE;
const PATH_SIGMA: u32 = 2u * STRIDE;
const PATH: u32 = 3u * STRIDE;
const VARIANCE: u32 = 4u * STRIDE;
const MATRIX: u32 = 3u * STRIDE;
const SUMS: u32 = VECTORS * STRIDE;
const TOTALS: u32 = SUMS + 2u * PARTS * STRIDE;
const FACTORS: u32 = TOTALS + 2u * STRIDE;
const COPY: u32 = FACTORS + AXES * STRIDE;
// Weights by rank stand behind the axes' words.
const WEIGHTS: u32 = AXIS_WORDS * AXES;
const SIGMA: u32 = OWN;
const BEGAN: u32 = OWN + 1u;

// One invocation an axis of a member.
@compute @workgroup_size(WORKGROUP)
fn draw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place < MEMBERS * STRIDE) {
        rows[NORMALS + place] = normal_of(axis_word(place / STRIDE, place % STRIDE));
    }
}

// The same: where the normal vector leads.
@compute @workgroup_size(WORKGROUP)
fn settle(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= MEMBERS * STRIDE) {
        return;
    }
    let axis = place % STRIDE;
    let first = NORMALS + place - axis;
    var step = 0.0;
    if (IS_SEPARABLE == 1u) {
        step = product(sqrt(vectors[VARIANCE + axis]), rows[first + axis]);
    } else {
        for (var other = 0u; other < AXES; other += 1u) {
            step = fma(rows[first + other], vectors[MATRIX + other * STRIDE + axis], step);
        }
    }
    rows[place] = reflected(fma(number(SIGMA), step, vectors[MEAN + axis]));
}

// One invocation a member: what it weighs.
@compute @workgroup_size(WORKGROUP)
fn weigh(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member >= MEMBERS) {
        return;
    }
    let rank = rank_of(member);
    let weight = axes[WEIGHTS + rank];
    columns[MEMBERS + member] = max(weight, 0.0);
    columns[2u * MEMBERS + member] = weight;
    if (rank == 0u) {
        order[0] = select(0u, 1u, !not_a_number(columns[member]));
    }
    if (weight >= 0.0) {
        return;
    }
    // The squared length: sixteen sums, halves added to halves.
    var sums: array<f32, 16>;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        sums[lane] = 0.0;
        for (var axis = lane; axis < AXES; axis += LANES) {
            let normal = rows[NORMALS + member * STRIDE + axis];
            sums[lane] += product(normal, normal);
        }
    }
    for (var width = 8u; width > 0u; width /= 2u) {
        for (var lane = 0u; lane < width; lane += 1u) {
            sums[lane] += sums[lane + width];
        }
    }
    columns[2u * MEMBERS + member] = quotient(product(weight, f32(AXES)), max(sums[0], 1e-30));
}

// One invocation an axis of a part: weighted sums of normal vectors, and of their squares.
@compute @workgroup_size(WORKGROUP)
fn add_up(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= PARTS * STRIDE) {
        return;
    }
    let part = place / STRIDE;
    let axis = place % STRIDE;
    var sum = 0.0;
    var squares = 0.0;
    for (var member = part * PART; member < min(MEMBERS, (part + 1u) * PART); member += 1u) {
        let normal = rows[NORMALS + member * STRIDE + axis];
        let mean = columns[MEMBERS + member];
        if (mean != 0.0) {
            sum = fma(mean, normal, sum);
        }
        let change = columns[2u * MEMBERS + member];
        if (IS_SEPARABLE == 1u && change != 0.0) {
            squares = fma(product(change, normal), normal, squares);
        }
    }
    vectors[SUMS + 2u * part * STRIDE + axis] = sum;
    vectors[SUMS + (2u * part + 1u) * STRIDE + axis] = squares;
}

var<workgroup> lengths: array<f32, 16>;

// The squared length of sigma's path, in every invocation; all of them come here.
fn path_length(thread: u32) -> f32 {
    if (thread < LANES) {
        var sum = 0.0;
        for (var axis = thread; axis < AXES; axis += LANES) {
            sum += product(vectors[PATH_SIGMA + axis], vectors[PATH_SIGMA + axis]);
        }
        lengths[thread] = sum;
    }
    workgroupBarrier();
    for (var width = 8u; width > 0u; width /= 2u) {
        if (thread < width) {
            lengths[thread] += lengths[thread + width];
        }
        workgroupBarrier();
    }
    return sqrt(lengths[0]);
}

// One workgroup: the mean, sigma and the paths, and variances.
@compute @workgroup_size(WORKGROUP)
fn adapt(@builtin(local_invocation_index) thread: u32) {
    nothing = head[HEAD - 1u];
    let has_learnt = order[0] == 1u;
    let sigma = number(SIGMA);
    for (var axis = thread; axis < STRIDE; axis += WORKGROUP) {
        var sum = 0.0;
        var squares = 0.0;
        for (var part = 0u; part < PARTS; part += 1u) {
            sum += vectors[SUMS + 2u * part * STRIDE + axis];
            squares += vectors[SUMS + (2u * part + 1u) * STRIDE + axis];
        }
        vectors[TOTALS + axis] = sum;
        vectors[TOTALS + STRIDE + axis] = squares;
        if (has_learnt) {
            let kept = product(1.0 - C_SIGMA, vectors[PATH_SIGMA + axis]);
            vectors[PATH_SIGMA + axis] = kept + product(SIGMA_GAIN, sum);
        }
    }
    storageBarrier();
    workgroupBarrier();
    let length = path_length(thread);
    if (!has_learnt) {
        return;
    }
    if (IS_SEPARABLE == 1u) {
        let age = f32(head[0] - head[BEGAN]);
        let faded = exp_of(2.0 * (age + 2.0) * LOG_FADING);
        let is_moving = quotient(length, sqrt(1.0 - faded)) < MOST_LENGTH;
        let gain = select(0.0, C_GAIN, is_moving);
        let keep = select(KEEP_STALLED, KEEP, is_moving);
        for (var axis = thread; axis < AXES; axis += WORKGROUP) {
            let variance = vectors[VARIANCE + axis];
            let step = product(sqrt(variance), vectors[TOTALS + axis]);
            vectors[MEAN + axis] += product(sigma, step);
            let path = product(1.0 - C_C, vectors[PATH + axis]) + product(gain, step);
            vectors[PATH + axis] = path;
            let kept = product(variance, keep + product(C_MU, vectors[TOTALS + STRIDE + axis]));
            vectors[VARIANCE + axis] = kept + product(product(C_1, path), path);
        }
    } else {
        for (var axis = thread; axis < AXES; axis += WORKGROUP) {
            var mean = vectors[MEAN + axis];
            for (var other = 0u; other < AXES; other += 1u) {
                mean = fma(product(sigma, vectors[TOTALS + other]), vectors[MATRIX + other * STRIDE + axis], mean);
            }
            vectors[MEAN + axis] = mean;
        }
    }
    if (thread == 0u) {
        let change = min(1.0, product(SIGMA_RATE, quotient(length, CHI) - 1.0));
        head[SIGMA] = bitcast<u32>(product(sigma, exp_of(change)));
    }
}

// One invocation a number of a matrix: that by which the matrix is multiplied, and a copy of the matrix.
@compute @workgroup_size(WORKGROUP)
fn factor(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= AXES * STRIDE) {
        return;
    }
    let row = place / STRIDE;
    let axis = place % STRIDE;
    var sum = 0.0;
    for (var member = 0u; member < MEMBERS; member += 1u) {
        let weight = columns[2u * MEMBERS + member];
        if (weight != 0.0) {
            let first = NORMALS + member * STRIDE;
            sum = fma(product(weight, rows[first + row]), rows[first + axis], sum);
        }
    }
    var value = fma(product(0.5 * C_1, vectors[PATH_SIGMA + row]), vectors[PATH_SIGMA + axis], product(0.5 * C_MU, sum));
    if (row == axis) {
        value += KEEP;
    }
    vectors[FACTORS + place] = value;
    vectors[COPY + place] = vectors[MATRIX + place];
}

// The same: the matrix.
@compute @workgroup_size(WORKGROUP)
fn multiply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= AXES * STRIDE || order[0] != 1u) {
        return;
    }
    let row = place / STRIDE;
    let axis = place % STRIDE;
    var sum = 0.0;
    for (var other = 0u; other < AXES; other += 1u) {
        sum = fma(vectors[FACTORS + row * STRIDE + other], vectors[COPY + other * STRIDE + axis], sum);
    }
    vectors[MATRIX + place] = sum;
}

var<workgroup> widest: array<u32, WORKGROUP>;

// One workgroup: begins anew where the Gaussian has become a point, or no Gaussian, or where every member failed.
@compute @workgroup_size(WORKGROUP)
fn restart(@builtin(local_invocation_index) thread: u32) {
    nothing = head[HEAD - 1u];
    // The bits of numbers from 0 on are in their order, and those that are not finite come last.
    var most = 0u;
    if (IS_SEPARABLE == 1u) {
        for (var axis = thread; axis < AXES; axis += WORKGROUP) {
            most = max(most, bitcast<u32>(abs(vectors[VARIANCE + axis])));
        }
    } else {
        for (var place = thread; place < AXES * STRIDE; place += WORKGROUP) {
            if (place % STRIDE < AXES) {
                most = max(most, bitcast<u32>(vectors[MATRIX + place]) & 0x7fffffffu);
            }
        }
    }
    widest[thread] = most;
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if (thread < width) {
            widest[thread] = max(widest[thread], widest[thread + width]);
        }
        workgroupBarrier();
    }
    let sigma = number(SIGMA);
    var spread = bitcast<f32>(widest[0]);
    let is_finite_shape = is_finite(spread) && is_finite(sigma);
    if (IS_SEPARABLE == 1u) {
        spread = sqrt(spread);
    }
    let goes_on = is_finite_shape && product(sigma, spread) >= LEAST_SPREAD && sigma < MOST_SIGMA;
    // Every invocation reads what some are about to write.
    storageBarrier();
    workgroupBarrier();
    if (goes_on && order[0] == 1u) {
        return;
    }
    let key = threefry(generation_key(), vec2<u32>(RESTART, CHILD));
    for (var axis = thread; axis < AXES; axis += WORKGROUP) {
        vectors[MEAN + axis] = uniform_of(threefry(key, vec2<u32>(axis, 0u)).x);
    }
    for (var place = PATH_SIGMA + thread; place < VECTORS * STRIDE; place += WORKGROUP) {
        var value = 0.0;
        if (IS_SEPARABLE == 1u) {
            value = select(0.0, 1.0, place >= VARIANCE);
        } else if (place >= MATRIX) {
            value = select(0.0, 1.0, (place - MATRIX) / STRIDE == (place - MATRIX) % STRIDE);
        }
        vectors[place] = value;
    }
    if (thread == 0u) {
        head[BEGAN] = head[0] + 1u;
        head[SIGMA] = bitcast<u32>(FIRST_SIGMA);
    }
}
