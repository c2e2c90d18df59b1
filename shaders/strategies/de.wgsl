// Differential evolution: src/strategies/generation/de.rs. Rows are members, the archive and trials; columns are values and,
// as scratch, the trials' values, scales and crossover rates; order holds leaders, best first.

const TRIAL: u32 = 2u * MEMBERS * STRIDE;
const TRIAL_VALUE: u32 = MEMBERS;
const SCALE: u32 = 2u * MEMBERS;
const CROSSOVER: u32 = 3u * MEMBERS;

// One invocation a member: its rank, if it leads.
@compute @workgroup_size(WORKGROUP)
fn lead(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member >= MEMBERS) {
        return;
    }
    let rank = rank_of(member);
    if (rank < LEADERS) {
        order[rank] = member;
    }
}

// One invocation a member: how its trial is made.
@compute @workgroup_size(WORKGROUP)
fn rate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member >= MEMBERS) {
        return;
    }
    let words = member_words(2u, member);
    let entry = below(words.x, MEMORY);
    let mean = number(OWN + MEMORY + entry);
    var crossover = 0.0;
    if (!not_a_number(mean)) {
        crossover = clamp(mean + product(SPREAD, normal_of(words.y)), 0.0, 1.0);
    }
    let known = number(OWN + entry);
    var scale = 0.0;
    for (var attempt = 0u; attempt < SCALE_DRAWS && scale <= 0.0; attempt += 1u) {
        let normals = member_words(3u + attempt, member);
        scale = known + product(SPREAD, quotient(normal_of(normals.x), normal_of(normals.y)));
    }
    columns[SCALE + member] = min(1.0, select(known, scale, scale > 0.0));
    columns[CROSSOVER + member] = crossover;
}

// One invocation an axis of a trial.
@compute @workgroup_size(WORKGROUP)
fn mutate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= MEMBERS * STRIDE) {
        return;
    }
    let member = place / STRIDE;
    let axis = place % STRIDE;
    let leads = member_words(0u, member);
    let donors = member_words(1u, member);
    let leader = order[below(leads.x, LEADERS)];
    var first = below(leads.y, MEMBERS - 1u);
    first += select(0u, 1u, first >= member);
    var second = below(donors.x, 2u * MEMBERS - 2u);
    second += select(0u, 1u, second >= min(member, first));
    second += select(0u, 1u, second >= max(member, first));
    let x = rows[place];
    var trial = x;
    if (uniform_of(axis_word(member, axis)) < columns[CROSSOVER + member] || axis == below(donors.y, AXES)) {
        let scale = columns[SCALE + member];
        let led = product(scale, rows[leader * STRIDE + axis] - x);
        // The archive's rows follow the members'.
        let moved = product(scale, rows[first * STRIDE + axis] - rows[second * STRIDE + axis]);
        trial = x + led + moved;
        if (trial < 0.0) {
            trial = x * 0.5;
        } else if (trial > 1.0) {
            trial = (x + 1.0) * 0.5;
        }
    }
    rows[TRIAL + place] = trial;
}

fn gain(value: f32, trial: f32) -> f32 {
    let is_better = !not_a_number(value) && sortable(trial) < sortable(value) && is_finite(value);
    return select(0.0, value - trial, is_better);
}

var<workgroup> sums: array<vec4<f32>, WORKGROUP>;

// One workgroup: weighted Lehmer means of the rates that succeeded.
@compute @workgroup_size(WORKGROUP)
fn learn(@builtin(local_invocation_index) thread: u32) {
    nothing = head[HEAD - 1u];
    var sum = vec4<f32>(0.0);
    for (var member = thread; member < MEMBERS; member += WORKGROUP) {
        let weight = gain(columns[member], columns[TRIAL_VALUE + member]);
        let scale = columns[SCALE + member];
        let crossover = columns[CROSSOVER + member];
        let scaled = product(weight, scale);
        let crossed = product(weight, crossover);
        sum += vec4<f32>(scaled, product(scaled, scale), crossed, product(crossed, crossover));
    }
    sums[thread] = sum;
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if (thread < width) {
            sums[thread] += sums[thread + width];
        }
        workgroupBarrier();
    }
    let total = sums[0];
    if (thread == 0u && total.x > 0.0 && is_finite(total.y)) {
        let entry = head[OWN + 2u * MEMORY] % MEMORY;
        head[OWN + entry] = bitcast<u32>(quotient(total.y, total.x));
        if (!not_a_number(number(OWN + MEMORY + entry))) {
            var mean = 0x7fc00000u;
            if (total.z > 0.0) {
                mean = bitcast<u32>(quotient(total.w, total.z));
            }
            head[OWN + MEMORY + entry] = mean;
        }
        head[OWN + 2u * MEMORY] = (entry + 1u) % MEMORY;
    }
}

// One invocation an axis of a member: a trial that is no worse takes its place, and what it beat goes to the archive.
@compute @workgroup_size(WORKGROUP)
fn replace(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= MEMBERS * STRIDE || !is_accepted(place / STRIDE)) {
        return;
    }
    let member = place / STRIDE;
    if (sortable(columns[TRIAL_VALUE + member]) < sortable(columns[member])) {
        rows[MEMBERS * STRIDE + place] = rows[place];
    }
    rows[place] = rows[TRIAL + place];
}

// One invocation a member: the same of its value, once nobody asks any more.
@compute @workgroup_size(WORKGROUP)
fn accept(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member < MEMBERS && is_accepted(member)) {
        columns[member] = columns[TRIAL_VALUE + member];
    }
}

fn is_accepted(member: u32) -> bool {
    let trial = columns[TRIAL_VALUE + member];
    return !not_a_number(trial) && sortable(trial) <= sortable(columns[member]);
}
