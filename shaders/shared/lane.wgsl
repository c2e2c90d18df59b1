// What every kernel of a plan begins and ends with: the lane of a workgroup, and where it stands.

var<workgroup> shared_progress: Progress;
var<workgroup> are_loops_cut: atomic<u32>;

// Not below span.lanes where the dispatch has no lane for the workgroup.
fn lane_of(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return span.first_lane + group.y * groups.x + group.x;
}

// Where a lane stands: the same for all threads. Sets what `held` needs: nothing may be held before.
fn enter_lane(lane: u32, group: vec3<u32>, thread: u32) -> Progress {
    nothing = group.z;
    if (thread == 0u) {
        shared_progress = progress[lane];
        atomicStore(&are_loops_cut, 0u);
    }
    return workgroupUniformLoad(&shared_progress);
}

// Leaves where a lane stands. All threads call it, as the last thing they do.
//
// A driver may end loops before their own condition does: Mesa's on the processor gives all loops of an invocation 65,535
// turns together, and then one turn each. What such a dispatch did is wrong, and a loop of two turns tells, if no compiler
// can know that it has two.
fn leave_lane(lane: u32, at: Progress, thread: u32) {
    var turns = 0u;
    while (turns < 2u + nothing) {
        turns += 1u;
    }
    if (turns < 2u) {
        atomicStore(&are_loops_cut, 1u);
    }
    workgroupBarrier();
    if (thread == 0u) {
        progress[lane] = at;
        if (atomicLoad(&are_loops_cut) == 1u) {
            progress[lane].status = LANE_CUT;
        }
    }
}
