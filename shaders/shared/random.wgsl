// Threefry-2x32-20 (Salmon et al. 2011): the same bits as src/base/random.rs.
fn rotate_left(x: u32, by: u32) -> u32 {
    return (x << by) | (x >> (32u - by));
}

fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let third = 0x1bd11bdau ^ key.x ^ key.y;
    var x0 = counter.x + key.x;
    var x1 = counter.y + key.y;
    x0 += x1; x1 = rotate_left(x1, 13u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 15u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 26u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 6u) ^ x0;
    x0 += key.y; x1 += third + 1u;
    x0 += x1; x1 = rotate_left(x1, 17u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 29u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 16u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 24u) ^ x0;
    x0 += third; x1 += key.x + 2u;
    x0 += x1; x1 = rotate_left(x1, 13u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 15u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 26u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 6u) ^ x0;
    x0 += key.x; x1 += key.y + 3u;
    x0 += x1; x1 = rotate_left(x1, 17u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 29u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 16u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 24u) ^ x0;
    x0 += key.y; x1 += third + 4u;
    x0 += x1; x1 = rotate_left(x1, 13u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 15u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 26u) ^ x0;
    x0 += x1; x1 = rotate_left(x1, 6u) ^ x0;
    x0 += third; x1 += key.x + 5u;
    return vec2<u32>(x0, x1);
}

// Uniform in [0, 1) from the top 24 bits.
fn uniform_of(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}
