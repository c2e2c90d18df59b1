//! The CPU backend: a lane is a SIMD lane, sixteen of them a group, groups spread over threads.

pub mod double;
pub mod gemm;
mod lane_model;
pub mod math;
pub mod measure;
pub mod random;
mod score;
pub mod simd;
pub mod sparse;
pub mod strips;
mod trainer;

pub use lane_model::{GroupKey, LaneModel, LaneProgress, RowBlock};
pub use trainer::CpuTrainer;

/// How the CPU backend may use the machine. Nothing here changes a bit of any result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuOptions {
    /// Threads that train; 0 takes one a core.
    pub threads: usize,
    /// Bytes that the lanes in training may take; 0 takes half of the memory that is free.
    pub memory: u64,
    /// The instruction set; the widest that there is unless a test or benchmark names one.
    pub simd: Option<simd::Level>,
}

impl CpuOptions {
    /// The instruction set and the number of threads, for results and lists.
    pub fn describe(&self) -> String {
        let threads = self.thread_count();
        format!("{} thread{}, {}", threads, if threads == 1 { "" } else { "s" }, self.level().name())
    }

    /// Threads that train.
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads == 0 { cores() } else { self.threads }
    }

    /// The instruction set that is used.
    pub fn level(&self) -> simd::Level {
        self.simd.unwrap_or_else(simd::Level::detect)
    }

    /// Bytes that lanes in training may take.
    pub fn memory_limit(&self) -> u64 {
        memory_limit(self.memory)
    }
}

/// Bytes that lanes in training may take, where so many are allowed; of 0, half of the memory that is free now.
pub fn memory_limit(allowed: u64) -> u64 {
    match allowed {
        0 => free_memory().map_or(1 << 30, |bytes| bytes / 2),
        allowed => allowed,
    }
}

/// Bytes of memory that programs can have without others being swapped out, where the system says.
fn free_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system.available_memory()).filter(|&bytes| bytes > 0)
}

/// Bytes of memory of the machine, where the system says.
pub fn memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system.total_memory()).filter(|&bytes| bytes > 0)
}

/// The processor, as lists and benchmarks name it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Processor {
    /// What the system calls it; its architecture where the system has no name.
    pub name: String,
    /// Bytes of memory of the machine, where the system says.
    pub memory: Option<u64>,
}

/// Asks the system what the processor is.
pub fn processor() -> Processor {
    let unknown = || std::env::consts::ARCH.to_owned();
    let memory = memory();
    let Ok(mut system) = sysinfo::System::new() else { return Processor { name: unknown(), memory } };
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let name = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|name| !name.is_empty());
    Processor { name: name.unwrap_or_else(unknown), memory }
}
