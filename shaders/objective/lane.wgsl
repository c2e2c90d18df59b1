// What a user's objective has of its own in each lane: turns of its loops, its random stream, and why it gives no value. One
// invocation is one lane, so all of it is private.

var<private> thousandfold_turns_left: u32 = thousandfold_steps;
var<private> thousandfold_is_endless: u32;
// 0, or the first reason why the lane has no value.
var<private> thousandfold_reason: u32;
// The stream of the study's seed and the lane's repeat.
var<private> thousandfold_key: vec2<u32>;
var<private> thousandfold_drawn: u32;
var<private> thousandfold_spare: u32;

fn thousandfold_fail(reason: u32) {
    if (thousandfold_reason == 0u) {
        thousandfold_reason = reason;
    }
}

// The next 32 random bits; each counter gives two words, as base/random.rs has its streams.
fn random_word() -> u32 {
    let index = thousandfold_drawn;
    thousandfold_drawn += 1u;
    if ((index & 1u) == 1u) {
        return thousandfold_spare;
    }
    let words = thousandfold_threefry(thousandfold_key, vec2<u32>(index >> 1u, 0u));
    thousandfold_spare = words.y;
    return words.x;
}

// Uniform in [0, 1), one of 2^24 numbers.
fn random_uniform() -> f32 {
    return thousandfold_uniform_of(random_word());
}

// Standard normal: the quantile at the middle of one of 2^23 cells, by Giles, "Approximating the erfinv function" (GPU
// Computing Gems 2, chapter 10).
fn random_normal() -> f32 {
    let x = (f32((random_word() & 0xfffffe00u) >> 8u) + 1.0) * (1.0 / 8388608.0) - 1.0;
    var w = -log((1.0 - x) * (1.0 + x));
    var p = 0.0;
    if (w < 5.0) {
        w -= 2.5;
        p = 2.8102264e-8;
        p = fma(p, w, 3.4327394e-7);
        p = fma(p, w, -3.5233877e-6);
        p = fma(p, w, -4.3915065e-6);
        p = fma(p, w, 2.1858087e-4);
        p = fma(p, w, -1.2537250e-3);
        p = fma(p, w, -4.1776816e-3);
        p = fma(p, w, 2.4664073e-1);
        p = fma(p, w, 1.5014094);
    } else {
        w = sqrt(w) - 3.0;
        p = -2.0021426e-4;
        p = fma(p, w, 1.0095056e-4);
        p = fma(p, w, 1.3493432e-3);
        p = fma(p, w, -3.6734284e-3);
        p = fma(p, w, 5.7395077e-3);
        p = fma(p, w, -7.6224613e-3);
        p = fma(p, w, 9.4388705e-3);
        p = fma(p, w, 1.0016741);
        p = fma(p, w, 2.8329768);
    }
    return p * x * 1.4142135;
}
