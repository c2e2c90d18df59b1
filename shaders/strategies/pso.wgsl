// Particle swarms: src/strategies/generation/pso.rs. Rows are places, velocities and each particle's best; columns are
// values and the values of those.

const VELOCITY: u32 = MEMBERS * STRIDE;
const BEST: u32 = 2u * MEMBERS * STRIDE;

// Of a particle, the next one and the one before: whose best is the best, of equal ones the first.
fn informant_of(particle: u32) -> u32 {
    var best = particle;
    for (var other = 0u; other < 2u; other += 1u) {
        let neighbour = (particle + select(1u, MEMBERS - 1u, other == 1u)) % MEMBERS;
        if (sortable(columns[MEMBERS + neighbour]) < sortable(columns[MEMBERS + best])) {
            best = neighbour;
        }
    }
    return best;
}

// One invocation an axis of a particle.
@compute @workgroup_size(WORKGROUP)
fn fly(
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
    var informant = vectors[axis];
    if (IS_RING == 1u) {
        informant = rows[BEST + informant_of(member) * STRIDE + axis];
    }
    let words = words_of(FOR_AXES, place);
    let x = rows[place];
    let own = product(product(PULL, uniform_of(words.x)), rows[BEST + place] - x);
    let informed = product(product(PULL, uniform_of(words.y)), informant - x);
    let step = product(CONSTRICTION, rows[VELOCITY + place] + own + informed);
    let to = reflected(x + step);
    rows[VELOCITY + place] = to - x;
    rows[place] = to;
}

// One invocation a particle.
@compute @workgroup_size(WORKGROUP)
fn keep(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member >= MEMBERS) {
        return;
    }
    let value = columns[member];
    if (not_a_number(value) || sortable(value) > sortable(columns[MEMBERS + member])) {
        return;
    }
    columns[MEMBERS + member] = value;
    for (var axis = 0u; axis < STRIDE; axis += 1u) {
        rows[BEST + member * STRIDE + axis] = rows[member * STRIDE + axis];
    }
}
