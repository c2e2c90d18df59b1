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
    columns[2u * MEMBERS + one] = select(0.0, 1.0, rank_of(one) < MEMBERS);
}

var<workgroup> counts: array<vec2<u32>, WORKGROUP>;

// One workgroup: children that live and members that fall out, each listed in their order; they are equally many.
@compute @workgroup_size(WORKGROUP)
fn list(@builtin(local_invocation_index) thread: u32) {
    let each = (MEMBERS + WORKGROUP - 1u) / WORKGROUP;
    let first = min(MEMBERS, thread * each);
    let last = min(MEMBERS, first + each);
    var count = vec2<u32>(0u);
    for (var one = first; one < last; one += 1u) {
        count += listed(one);
    }
    counts[thread] = count;
    workgroupBarrier();
    for (var width = 1u; width < WORKGROUP; width *= 2u) {
        var before = vec2<u32>(0u);
        if (thread >= width) {
            before = counts[thread - width];
        }
        workgroupBarrier();
        counts[thread] += before;
        workgroupBarrier();
    }
    var place = counts[thread] - count;
    for (var one = first; one < last; one += 1u) {
        let is_listed = listed(one);
        if (is_listed.x == 1u) {
            order[place.x] = one;
        }
        if (is_listed.y == 1u) {
            order[MEMBERS + place.y] = one;
        }
        place += is_listed;
    }
    for (var rest = counts[WORKGROUP - 1u].x + thread; rest < MEMBERS; rest += WORKGROUP) {
        order[rest] = NOBODY;
    }
}

const NOBODY: u32 = 0xffffffffu;

// Whether the child of a number lives, and whether the member of that number falls out.
fn listed(one: u32) -> vec2<u32> {
    return vec2<u32>(u32(columns[3u * MEMBERS + one]), 1u - u32(columns[2u * MEMBERS + one]));
}

// One invocation an axis of a child that lives: it takes the place of the member of the same number that falls out.
@compute @workgroup_size(WORKGROUP)
fn replace(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place >= MEMBERS * STRIDE || order[place / STRIDE] == NOBODY) {
        return;
    }
    let child = order[place / STRIDE];
    let member = order[MEMBERS + place / STRIDE];
    let axis = place % STRIDE;
    rows[member * STRIDE + axis] = rows[CHILD_ROW + child * STRIDE + axis];
    if (axis == 0u) {
        columns[member] = columns[MEMBERS + child];
    }
}
