// What every kernel of a plan begins with: the lane of a workgroup, and where its training stands.

var<workgroup> shared_progress: Progress;

// Not below span.lanes where the dispatch has no lane for the workgroup.
fn lane_of(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return span.first_lane + group.y * groups.x + group.x;
}

// The same for all threads.
fn progress_of(lane: u32, thread: u32) -> Progress {
    if (thread == 0u) {
        shared_progress = progress[lane];
    }
    return workgroupUniformLoad(&shared_progress);
}
