// Functions of one value: a file of them has `value_of(member)`, which never meets a NaN.

fn evaluate(member: u32) {
    let failed = first_nan(member);
    if (failed < DIMENSIONS) {
        set_value(member, 0u, nan_of(coordinate(member, failed)));
    } else {
        set_value(member, 0u, value_of(member));
    }
}
