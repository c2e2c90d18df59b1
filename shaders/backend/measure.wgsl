// The peaks that shares of a device are counted against. Both entry points write what they computed, so that no
// compiler can leave the work out.

// 32 independent chains of fused multiply-adds a thread, span.until_unit links each.
@compute @workgroup_size(WORKGROUP)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = destination[id.x % 64u];
    var a = factor + vec4<f32>(0.0);
    var b = factor + vec4<f32>(1.0);
    var c = factor + vec4<f32>(2.0);
    var d = factor + vec4<f32>(3.0);
    var e = factor + vec4<f32>(4.0);
    var f = factor + vec4<f32>(5.0);
    var g = factor + vec4<f32>(6.0);
    var h = factor + vec4<f32>(7.0);
    for (var link = 0u; link < span.until_unit; link += 1u) {
        a = fma(a, factor, factor);
        b = fma(b, factor, factor);
        c = fma(c, factor, factor);
        d = fma(d, factor, factor);
        e = fma(e, factor, factor);
        f = fma(f, factor, factor);
        g = fma(g, factor, factor);
        h = fma(h, factor, factor);
    }
    destination[id.x] = ((a + b) + (c + d)) + ((e + f) + (g + h));
}

// Each word of the source goes to the destination once: vectors span.from_unit + thread, in strides of all threads.
@compute @workgroup_size(WORKGROUP)
fn copy(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let threads = groups.x * WORKGROUP;
    for (var vector = id.x; vector < span.until_unit; vector += threads) {
        destination[vector] = origin[vector];
    }
}
