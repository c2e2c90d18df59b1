//! The CPU backend: a lane is a SIMD lane, sixteen of them a group, groups spread over threads.

pub mod math;
pub mod simd;

/// How the CPU backend may use the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuOptions {
    /// Threads that train; 0 takes one a core.
    pub threads: usize,
    /// Bytes that lanes' state may take; 0 takes half of what is free.
    pub memory: u64,
}
