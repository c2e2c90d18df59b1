// Sums, greatest and least over a workgroup's threads: of whole numbers, so that their order changes nothing.

var<workgroup> cells: array<atomic<u32>, 8>;
var<workgroup> offsets: array<u32, WORKGROUP>;

// All threads call these; what a cell holds is theirs until the next call.
fn clear_cells(thread: u32) {
    workgroupBarrier();
    if (thread < 8u) {
        atomicStore(&cells[thread], 0u);
    }
    workgroupBarrier();
}

fn sum_over_threads(value: u32, thread: u32) -> u32 {
    clear_cells(thread);
    atomicAdd(&cells[0], value);
    workgroupBarrier();
    return atomicLoad(&cells[0]);
}

// The sum of the values of the threads before, and that of all.
fn sums_before(value: u32, thread: u32) -> vec2<u32> {
    workgroupBarrier();
    offsets[thread] = value;
    workgroupBarrier();
    for (var step = 1u; step < WORKGROUP; step <<= 1u) {
        var sum = offsets[thread];
        if (thread >= step) {
            sum += offsets[thread - step];
        }
        workgroupBarrier();
        offsets[thread] = sum;
        workgroupBarrier();
    }
    return vec2<u32>(offsets[thread] - value, offsets[WORKGROUP - 1u]);
}

// A run of a range's rows for each thread, in order.
fn run_of(begin: u32, end: u32, thread: u32) -> vec2<u32> {
    let each = (end - begin + WORKGROUP - 1u) / WORKGROUP;
    let first = min(end, begin + thread * each);
    return vec2<u32>(first, min(end, first + each));
}
