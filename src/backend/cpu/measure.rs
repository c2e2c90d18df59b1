//! The peaks of the processor, measured: what `devices` prints, and what `bench` counts shares against.
//!
//! Both loops run on as many threads as train, because a processor's peaks are not its cores' peaks times their number.

use super::CpuOptions;
use super::simd::{Kernel, LANES, Lanes, Level, Simd, dispatch};
use crate::backend::Peaks;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Links of every chain in one run: about 5 ms on a core.
const LINKS: usize = 1 << 20;
/// Bytes that each thread copies in one run: more than its share of the caches.
const COPY_BYTES: usize = 64 << 20;
/// The best of so many runs counts: anything else that runs on the machine only ever slows one down.
const RUNS: usize = 7;

/// Measures the arithmetic and the memory peak of `threads` threads; takes about half a second.
pub fn measure(options: &CpuOptions) -> Peaks {
    let (level, threads) = (options.level(), options.thread_count());
    // Without a pool of its own size (no threads to be had) the global one measures what there is.
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(|| measure_here(level, threads)),
        Err(_) => measure_here(level, rayon::current_num_threads()),
    }
}

fn measure_here(level: Level, threads: usize) -> Peaks {
    let operations = best(|| (0..threads).into_par_iter().map(|_| dispatch(level, MultiplyAdd)).sum());
    let mut buffers: Vec<(Vec<u8>, Vec<u8>)> =
        (0..threads).into_par_iter().map(|_| (vec![1; COPY_BYTES], vec![2; COPY_BYTES])).collect();
    let bytes = best(|| {
        buffers.par_iter_mut().for_each(|(from, to)| black_box(&mut *to).copy_from_slice(black_box(from)));
        (2 * COPY_BYTES * threads) as u64
    });
    Peaks { flops: operations, bandwidth: bytes }
}

/// The best rate of what `run` says it did, in units a second.
fn best(mut run: impl FnMut() -> u64) -> f64 {
    let mut rate = |_| {
        let start = Instant::now();
        let done = run();
        done as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(&mut rate).fold(0.0, f64::max)
}

/// Chains of dependent multiply-adds in registers; gives the number of operations, two a multiply-add.
struct MultiplyAdd;

impl Kernel for MultiplyAdd {
    type Output = u64;

    #[inline(always)]
    fn run<V: Simd>(self) -> u64 {
        // Enough chains to hide a latency of four cycles on two ports, and no more than there are registers for.
        if V::TILE_ROWS >= 8 { chains::<V, 10>() } else { chains::<V, 5>() }
    }
}

#[inline(always)]
fn chains<V: Simd, const N: usize>() -> u64 {
    let factor = V::splat(black_box(0.999_999));
    let addend = V::splat(black_box(1e-6));
    let mut sums = [V::splat(black_box(1.0)); N];
    for _ in 0..LINKS {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, addend);
        }
    }
    let mut out = Lanes::ZERO;
    sums.into_iter().fold(V::zero(), |total, sum| total.add(sum)).store(&mut out);
    black_box(out);
    (2 * LANES * N * LINKS) as u64
}
