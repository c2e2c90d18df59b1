// What every kernel of a prologue begins with: the number of a workgroup among all of its pass. Not below span.lanes where
// the dispatch has no more work.
fn workgroup_of(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return span.first_lane + group.y * groups.x + group.x;
}
