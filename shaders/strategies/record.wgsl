// Ends a generation: takes note of the best value so far and of its place, and counts. One workgroup.

var<workgroup> keys: array<u32, WORKGROUP>;
var<workgroup> members: array<u32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn record(@builtin(local_invocation_index) thread: u32) {
    var best = 0xffffffffu;
    var best_member = 0xffffffffu;
    for (var member = thread; member < MEMBERS; member += WORKGROUP) {
        let key = sortable(columns[member]);
        if (stands_before(key, member, best, best_member)) {
            best = key;
            best_member = member;
        }
    }
    keys[thread] = best;
    members[thread] = best_member;
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if (thread < width) {
            let other = thread + width;
            if (stands_before(keys[other], members[other], keys[thread], members[thread])) {
                keys[thread] = keys[other];
                members[thread] = members[other];
            }
        }
        workgroupBarrier();
    }
    let winner = members[0];
    // Every invocation reads what one of them is about to write.
    let is_better = keys[0] < sortable(number(1u));
    storageBarrier();
    workgroupBarrier();
    if (is_better) {
        for (var axis = thread; axis < STRIDE; axis += WORKGROUP) {
            vectors[axis] = rows[winner * STRIDE + axis];
        }
    }
    if (thread == 0u) {
        if (is_better) {
            head[1] = bitcast<u32>(columns[winner]);
        }
        head[0] += 1u;
    }
}
