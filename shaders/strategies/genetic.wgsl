// A genetic algorithm: src/strategies/generation/genetic.rs. Rows are members and children; columns are values and, as
// scratch, the children's; order lists the children that live.

const CHILD_ROW: u32 = MEMBERS * STRIDE;

// Of two members the better.
fn winner(words: vec2<u32>) -> u32 {
    let a = below(words.x, MEMBERS);
    let b = below(words.y, MEMBERS);
    return select(a, b, stands_before(sortable(columns[b]), b, sortable(columns[a]), a));
}

fn power(x: f32, exponent: f32) -> f32 {
    return exp_of(product(exponent, ln_of(max(x, 1.1754944e-38))));
}

fn cross(a: f32, b: f32, uniform: f32, is_upper: bool) -> f32 {
    let low = min(a, b);
    let high = max(a, b);
    let apart = high - low;
    if (apart < APART) {
        return a;
    }
    let room = select(low, 1.0 - high, is_upper);
    let alpha = 2.0 - power(1.0 + quotient(2.0 * room, apart), -(CROSSOVER_INDEX + 1.0));
    let share = product(uniform, alpha);
    var base = share;
    if (share > 1.0) {
        base = quotient(1.0, 2.0 - share);
    }
    let spread = product(power(base, 1.0 / (CROSSOVER_INDEX + 1.0)), apart);
    return clamp(0.5 * (low + high + select(-spread, spread, is_upper)), 0.0, 1.0);
}

fn mutant(place: f32, uniform: f32) -> f32 {
    let is_down = uniform < 0.5;
    let share = select(2.0 - 2.0 * uniform, 2.0 * uniform, is_down);
    let room = select(place, 1.0 - place, is_down);
    let base = share + product(1.0 - share, power(room, MUTATION_INDEX + 1.0));
    let size = 1.0 - power(base, 1.0 / (MUTATION_INDEX + 1.0));
    return clamp(select(place + size, place - size, is_down), 0.0, 1.0);
}

// One invocation an axis of a child.
@compute @workgroup_size(WORKGROUP)
fn breed(
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
    let mother = winner(member_words(0u, member));
    let father = winner(member_words(1u, member));
    let crossed = member_words(2u, member);
    let is_crossed = uniform_of(crossed.x) < CROSSOVER;
    let words = words_of(FOR_AXES, place);
    let mutation = words_of(FOR_AXES_MORE, place);
    var child = rows[mother * STRIDE + axis];
    // The highest bit says whether an axis is crossed, the next one which of the two children it is.
    if (is_crossed && (words.y >> 31u) == 0u) {
        child = cross(child, rows[father * STRIDE + axis], uniform_of(words.x), ((words.y >> 30u) & 1u) == 1u);
    }
    let is_certain = !is_crossed && axis == below(crossed.y, AXES);
    if (uniform_of(mutation.x) < MUTATION || is_certain) {
        child = mutant(child, uniform_of(mutation.y));
    }
    rows[CHILD_ROW + place] = child;
}

// One invocation a member or child, children after members: whether it lives, by how many stand before it.
@compute @workgroup_size(WORKGROUP)
fn rank(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let one = invocation(group, groups, thread);
    if (one >= 2u * MEMBERS) {
        return;
    }
    let key = sortable(columns[one]);
    var before = 0u;
    for (var other = 0u; other < 2u * MEMBERS; other += 1u) {
        before += select(0u, 1u, stands_before(sortable(columns[other]), other, key, one));
    }
    columns[2u * MEMBERS + one] = select(0.0, 1.0, before < MEMBERS);
}

// One invocation a child: those that live are listed in their order.
@compute @workgroup_size(WORKGROUP)
fn list(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let child = invocation(group, groups, thread);
    if (child >= MEMBERS || columns[3u * MEMBERS + child] == 0.0) {
        return;
    }
    var place = 0u;
    for (var other = 0u; other < child; other += 1u) {
        place += u32(columns[3u * MEMBERS + other]);
    }
    order[place] = child;
}

// One invocation a member: where it falls out, the child of the same number takes its place.
@compute @workgroup_size(WORKGROUP)
fn replace(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member >= MEMBERS || columns[2u * MEMBERS + member] != 0.0) {
        return;
    }
    var place = 0u;
    for (var other = 0u; other < member; other += 1u) {
        place += 1u - u32(columns[2u * MEMBERS + other]);
    }
    let child = order[place];
    columns[member] = columns[MEMBERS + child];
    for (var axis = 0u; axis < STRIDE; axis += 1u) {
        rows[member * STRIDE + axis] = rows[CHILD_ROW + child * STRIDE + axis];
    }
}
