//! The CPU backend: a lane is a SIMD lane, sixteen of them a group, groups spread over threads.

pub mod gemm;
pub mod math;
pub mod measure;
pub mod simd;
mod trainer;

pub use trainer::{CpuTrainer, GroupKey, LaneModel, LaneProgress};

/// How the CPU backend may use the machine. Nothing here changes a bit of any result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuOptions {
    /// Threads that train; 0 takes one a core.
    pub threads: usize,
    /// Bytes that the lanes in training may take; 0 takes half of the machine's memory.
    pub memory: u64,
    /// The instruction set; the widest that there is unless a test or benchmark names one.
    pub simd: Option<simd::Level>,
}

impl CpuOptions {
    /// The instruction set and the number of threads, for results and lists.
    pub fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if self.threads == 0 { cores } else { self.threads };
        let level = self.simd.unwrap_or_else(simd::Level::detect);
        format!("{} thread{}, {}", threads, if threads == 1 { "" } else { "s" }, level.name())
    }

    fn memory_limit(&self) -> u64 {
        match self.memory {
            0 => half_of_memory().unwrap_or(1 << 30),
            limit => limit,
        }
    }
}

fn half_of_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system.total_memory() / 2).filter(|&bytes| bytes > 0)
}
