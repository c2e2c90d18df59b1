//! The peaks of a device, measured: what `devices` prints, and what `bench` counts shares against.

use super::kernel::{Binding, Kernel, Role};
use super::plan::{Span, words};
use super::session::{Buffer, Fault, Pass, Pipeline, Session};
use super::{Gpu, LONGEST_DISPATCH};
use crate::backend::{BackendError, Peaks};

const WORKGROUP: u32 = 256;
/// Workgroups of the arithmetic loop: some for each multiprocessor of the largest devices.
const ARITHMETIC_GROUPS: u32 = 4096;
/// Operations of one link of a thread's chains: 8 vectors of 4, multiplied and added.
const OPERATIONS_A_LINK: f64 = 64.0;
const COPY_GROUPS: u32 = 8192;
/// Bytes copied: more than any cache holds.
const COPY_BYTES: u64 = 256 << 20;
const REPEATS: usize = 5;

/// The two kernels of the measurement.
pub fn measure_kernels() -> Vec<Kernel> {
    let kernel = |name, entry| {
        Kernel::new(name, entry, &[include_str!("../../../shaders/backend/measure.wgsl")])
            .constant("WORKGROUP", WORKGROUP)
            .layout::<Span>()
            .bind(&[
                Binding::new(Role::Shared(0), "origin", "array<vec4<f32>>"),
                Binding::new(Role::State, "destination", "array<vec4<f32>>"),
                Binding::new(Role::Span, "span", "Span"),
            ])
    };
    vec![kernel("multiply_add", "multiply_add"), kernel("copy", "copy")]
}

/// Measures both peaks; takes about a second on a GPU.
pub fn measure(gpu: &Gpu) -> Result<Peaks, BackendError> {
    run(&gpu.session()).map_err(|fault| gpu.error(fault))
}

fn run(session: &Session) -> Result<Peaks, Fault> {
    // Half of a binding at most, so that devices with little memory are measured too.
    let bytes = COPY_BYTES.min(session.largest_binding() / 2) & !15;
    let destination_bytes = bytes.max(16 * u64::from(ARITHMETIC_GROUPS * WORKGROUP));
    let [origin, destination] = [session.storage("origin", bytes)?, session.storage("destination", destination_bytes)?];
    session.clear(&origin)?;
    session.clear(&destination)?;
    let span = session.uniform("span", size_of::<Span>() as u64)?;
    let [arithmetic, copy] = [0, 1].map(|index| session.pipeline(&measure_kernels()[index]));
    let (arithmetic, copy) = (arithmetic?, copy?);
    let timed = |pipeline: &Pipeline, amount: u32, workgroups: u32| {
        let bindings: Vec<&Buffer> = vec![&origin, &destination, &span];
        session.write(&span, 0, &words(&Span { until_unit: amount, ..Span::default() }))?;
        session.run(&[Pass { pipeline, bindings, workgroups }])
    };
    // Longer chains until start-up is small beside them, within the longest dispatch.
    let mut links = 16;
    // What waits for the device before its first dispatch is no part of the loop's time.
    timed(&arithmetic, links, ARITHMETIC_GROUPS)?;
    while timed(&arithmetic, links, ARITHMETIC_GROUPS)?.wall < LONGEST_DISPATCH / 8.0 && links < 1 << 20 {
        links *= 2;
    }
    let vectors = (bytes / 16) as u32;
    let (mut flops, mut bandwidth) = (0.0f64, 0.0f64);
    for _ in 0..REPEATS {
        let threads = f64::from(ARITHMETIC_GROUPS * WORKGROUP);
        let operations = threads * f64::from(links) * OPERATIONS_A_LINK;
        flops = flops.max(operations / timed(&arithmetic, links, ARITHMETIC_GROUPS)?.device);
        bandwidth = bandwidth.max(2.0 * bytes as f64 / timed(&copy, vectors, COPY_GROUPS)?.device);
    }
    Ok(Peaks { flops, bandwidth })
}
