// What a node's rows are counted into: some fields, each with a sum for every bin of a feature. Sums are whole numbers, so
// the order of additions changes nothing. Thread t has bin t.

const BINS = 256u;

// `[FIELDS, BINS]`
var<workgroup> fields: array<atomic<u32>, FIELDS * BINS>;
// Categories in the order of their targets.
var<workgroup> by_rank: array<u32, BINS>;

fn field(index: u32, place: u32) -> u32 {
    return atomicLoad(&fields[index * BINS + place]);
}

// What a bin has, of sums up to each bin.
fn field_alone(index: u32, place: u32) -> u32 {
    return field(index, place) - select(0u, field(index, max(place, 1u) - 1u), place > 0u);
}

fn clear_fields(thread: u32) {
    workgroupBarrier();
    for (var place = thread; place < FIELDS * BINS; place += WORKGROUP) {
        atomicStore(&fields[place], 0u);
    }
    workgroupBarrier();
}

// Puts the first `count` of `by_rank` into their order.
fn put_in_order(count: u32, thread: u32) {
    var own = array<u32, FIELDS>();
    if (thread < count) {
        for (var i = 0u; i < FIELDS; i += 1u) {
            own[i] = field(i, by_rank[thread]);
        }
    }
    workgroupBarrier();
    if (thread < count) {
        for (var i = 0u; i < FIELDS; i += 1u) {
            atomicStore(&fields[i * BINS + thread], own[i]);
        }
    }
    workgroupBarrier();
}

// Makes of the first `places` bins sums up to each and with it: threads have a part of a field each, then add what the
// parts before it have.
fn add_up(places: u32, thread: u32) {
    let parts = WORKGROUP / FIELDS;
    let each = (places + parts - 1u) / parts;
    let first_of_field = thread / parts * BINS;
    let part = thread % parts;
    let begin = min(places, part * each);
    let end = min(places, begin + each);
    let is_in = thread < parts * FIELDS;
    var sum = 0u;
    if (is_in) {
        for (var place = begin; place < end; place += 1u) {
            sum += atomicLoad(&fields[first_of_field + place]);
            atomicStore(&fields[first_of_field + place], sum);
        }
    }
    workgroupBarrier();
    var before = 0u;
    if (is_in) {
        for (var other = each; other <= begin && begin < end; other += each) {
            before += atomicLoad(&fields[first_of_field + other - 1u]);
        }
    }
    workgroupBarrier();
    if (is_in) {
        for (var place = begin; place < end; place += 1u) {
            atomicAdd(&fields[first_of_field + place], before);
        }
    }
    workgroupBarrier();
}
