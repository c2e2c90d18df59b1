// Evaluates the members of a batch by a user's objective, one an invocation. Arrays lie [word][member], so that neighbours
// read neighbours.

fn thousandfold_point(member: u32, word: u32) -> u32 {
    return thousandfold_points[word * thousandfold_batch.members + member];
}

fn thousandfold_give(member: u32, word: u32, bits: u32) {
    thousandfold_values[word * thousandfold_batch.members + member] = bits;
}

@compute @workgroup_size(thousandfold_workgroup)
fn thousandfold_main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = thousandfold_batch.first_group + group.y * groups.x + group.x;
    var member = workgroup * thousandfold_workgroup + thread;
    if (thousandfold_batch.are_apart != 0u) {
        // Each has a workgroup to itself: a driver that counts the turns of neighbours together then counts its own.
        if (thread != 0u) {
            return;
        }
        member = workgroup;
    }
    if (member >= thousandfold_batch.members) {
        return;
    }
    thousandfold_key.x = thousandfold_point(member, thousandfold_key_word);
    thousandfold_key.y = thousandfold_point(member, thousandfold_key_word + 1u);
    thousandfold_evaluate(member);
    var reason = thousandfold_reason;
    if (thousandfold_is_endless != 0u) {
        reason = thousandfold_endless;
    }
    // A driver that ended loops before their time ends this one too, if no compiler can know how many turns it has: see
    // leave_lane of shared/lane.wgsl.
    var turns = 0u;
    while (turns < 2u + group.z) {
        turns += 1u;
    }
    if (turns < 2u) {
        reason = thousandfold_cut;
    }
    thousandfold_give(member, thousandfold_reason_word, reason);
}
