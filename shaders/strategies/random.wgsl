// Uniform draws: src/strategies/generation/random.rs. One invocation an axis of a member.

@compute @workgroup_size(WORKGROUP)
fn draw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = invocation(group, groups, thread);
    if (place < MEMBERS * STRIDE) {
        rows[place] = uniform_of(axis_word(place / STRIDE, place % STRIDE));
    }
}
