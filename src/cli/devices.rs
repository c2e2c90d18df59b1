//! `devices`: what there is to train on, and how fast it is.

use super::failure::Failure;
use super::terminal::print;
use crate::backend::Peaks;
use crate::backend::cpu::simd::Level;
use crate::backend::cpu::{CpuOptions, measure};
use crate::monitor::style::{STRONG, paint};
use crate::monitor::text::{bytes, with_prefix};
use clap::Args;

/// Show the processor and every GPU: limits, and measured speed
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  thousandfold devices")]
pub(super) struct DevicesArguments {
    /// Only list them, which is quicker
    #[arg(long)]
    no_measure: bool,
}

impl DevicesArguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        print(&self.cpu())
    }

    fn cpu(&self) -> String {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (name, memory) = processor();
        let memory = memory.map_or(String::new(), |total| format!(", {} memory", bytes(total)));
        let mut text = format!("{}  {name}\n", paint(STRONG, "cpu"));
        text += &format!("     {threads} threads, {}{memory}\n", Level::detect().name());
        if !self.no_measure {
            text += &format!("     {}\n", peaks(measure::measure(&CpuOptions::default())));
        }
        text
    }
}

fn peaks(peaks: Peaks) -> String {
    format!("measured: {}FLOP/s, {}B/s copied", with_prefix(peaks.flops), with_prefix(peaks.bandwidth))
}

/// What the system calls the processor, and the bytes of memory there are.
fn processor() -> (String, Option<u64>) {
    let unknown = || std::env::consts::ARCH.to_owned();
    let Ok(mut system) = sysinfo::System::new() else { return (unknown(), None) };
    system.refresh_memory();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|brand| !brand.is_empty());
    (brand.unwrap_or_else(unknown), Some(system.total_memory()))
}
