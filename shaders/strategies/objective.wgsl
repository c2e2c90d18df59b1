// What a function needs around it, one invocation a member; its rows and columns are those of members or of their trials.

fn constant(index: u32) -> f32 {
    return constants[index];
}

fn scratch(member: u32, index: u32) -> f32 {
    return memory[index * MEMBERS + member];
}

fn set_scratch(member: u32, index: u32, value: f32) {
    memory[index * MEMBERS + member] = value;
}

// Values are to be minimised here.
fn set_value(member: u32, objective: u32, value: f32) {
    if (objective == 0u) {
        columns[VALUE_COLUMN * MEMBERS + member] = SIGN * value;
    }
}

// A place becomes a parameter. Bounds come in two parts, so that a place near the middle loses nothing to them.
fn coordinate(member: u32, axis: u32) -> f32 {
    let place = rows[(PLACE_ROW * MEMBERS + member) * STRIDE + axis];
    let first = AXIS_WORDS * axis;
    let kind = u32(axes[first]);
    let low = axes[first + 5u];
    let high = axes[first + 6u];
    if (kind < 4u && place <= 0.0) {
        return low;
    }
    if (kind < 4u && place >= 1.0) {
        return high;
    }
    var value = fma(place, axes[first + 3u], axes[first + 1u]) + fma(place, axes[first + 4u], axes[first + 2u]);
    if (kind % 4u == 1u) {
        value = exp_of(value);
    } else if (kind % 4u == 2u) {
        value = 1.0 / (1.0 + exp_of(-value));
    }
    if (kind < 4u) {
        return clamp(value, low, high);
    }
    // Multiples of a step from the least value on.
    let step = axes[first + 7u];
    return low + step * clamp(floor((value - low) / step + 0.5), 0.0, high);
}

@compute @workgroup_size(WORKGROUP)
fn evaluate_member(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let member = invocation(group, groups, thread);
    if (member < MEMBERS) {
        evaluate(member);
    }
}
