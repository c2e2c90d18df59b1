// Trains the lanes of the span. The model brings `train_lane(lane, at, thread) -> Progress`, which all threads call: it takes
// a lane from where it is to the end of the span, or to its own end before that.
@compute @workgroup_size(WORKGROUP)
fn train(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let lane = lane_of(group, groups);
    if (lane >= span.lanes) {
        return;
    }
    let at = enter_lane(lane, group, thread);
    if (at.status != LANE_RUNNING || at.unit >= span.budget) {
        return;
    }
    leave_lane(lane, train_lane(lane, at, thread), thread);
}

// Whether the tick at which a lane stands is one of the span, and within the budget.
fn is_within_span(at: Progress) -> bool {
    return at.unit < span.budget
        && (at.unit < span.until_unit || (at.unit == span.until_unit && at.part < span.until_part));
}
