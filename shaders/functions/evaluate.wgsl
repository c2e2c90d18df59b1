// Evaluates the members of a batch, one an invocation. Arrays lie [axis][member], so that neighbours read neighbours.

fn coordinate(member: u32, axis: u32) -> f32 {
    return points[axis * batch.members + member];
}

fn constant(index: u32) -> f32 {
    return constants[index];
}

fn scratch(member: u32, index: u32) -> f32 {
    return memory[index * batch.members + member];
}

fn set_scratch(member: u32, index: u32, value: f32) {
    memory[index * batch.members + member] = value;
}

fn set_value(member: u32, objective: u32, value: f32) {
    values[objective * batch.members + member] = value;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = (batch.first_group + group.y * groups.x + group.x) * WORKGROUP + thread;
    if (member >= batch.members) {
        return;
    }
    evaluate(member);
    // A driver that ended loops before their time ends this one too, if no compiler can know how many turns it has: see
    // leave_lane of shared/lane.wgsl.
    var turns = 0u;
    while (turns < 2u + group.z) {
        turns += 1u;
    }
    if (turns < 2u) {
        batch.are_loops_cut = 1u;
    }
}
