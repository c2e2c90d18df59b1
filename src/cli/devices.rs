//! `devices`: what there is to train on, and how fast it is.

use super::failure::Failure;
use super::terminal::print;
use crate::backend::Peaks;
use crate::backend::cpu::{self, CpuOptions};
use crate::backend::gpu::{self, Adapter, Gpu, GpuOptions};
use crate::monitor::style::{NOTICE, STRONG, paint};
use crate::monitor::text::{bytes, thousands, with_prefix};
use clap::Args;

/// Show the processor and every GPU: limits, and measured speed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold devices
  thousandfold tune data.csv --target species --device 0     train on the GPU of this number")]
pub(super) struct DevicesArguments {
    /// Only list them, which is quicker
    #[arg(long)]
    no_measure: bool,
}

/// What stands before the lines below a device's first one.
const INDENT: &str = "       ";

impl DevicesArguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        print(&self.cpu())?;
        let adapters = gpu::adapters();
        if adapters.is_empty() {
            print("no GPU: there is none on Vulkan, Metal or DX12\n")?;
        }
        // Each is shown as soon as it is measured.
        adapters.iter().enumerate().try_for_each(|(index, adapter)| print(&self.gpu(index, adapter)))
    }

    fn cpu(&self) -> String {
        let options = CpuOptions::default();
        let processor = cpu::processor();
        let memory = processor.memory.map_or(String::new(), |total| format!(", {} memory", bytes(total)));
        let mut text = format!("{}    {}\n", paint(STRONG, "cpu"), processor.name);
        text += &format!("{INDENT}{}{memory}\n", options.describe());
        if !self.no_measure {
            text += &format!("{INDENT}{}\n", peaks(cpu::measure::measure(&options)));
        }
        text
    }

    fn gpu(&self, index: usize, adapter: &Adapter) -> String {
        let mut text = format!("{}  {}\n", paint(STRONG, format!("gpu {index}")), adapter.name);
        text += &format!("{INDENT}driver {}\n", adapter.driver);
        if adapter.is_software {
            let named = format!("software: the processor plays a GPU; taken only when it is named: --device {index}");
            text += &format!("{INDENT}{named}\n");
        }
        text += &format!("{INDENT}{}\n", limits(adapter));
        if !self.no_measure {
            let options = GpuOptions { device: Some(index.to_string()), ..GpuOptions::default() };
            text += &match Gpu::open(&options).and_then(|gpu| gpu::measure(&gpu)) {
                Ok(measured) => format!("{INDENT}{}\n", peaks(measured)),
                Err(error) => format!("{INDENT}{} {error}\n", paint(NOTICE, "not measured:")),
            };
        }
        text
    }
}

fn limits(adapter: &Adapter) -> String {
    let subgroup = match adapter.subgroup {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    format!(
        "{} a binding, workgroups of {} threads with {}, subgroups of {subgroup}, {}",
        bytes(adapter.largest_binding),
        thousands(adapter.workgroup_threads.into()),
        bytes(adapter.workgroup_memory.into()),
        if adapter.has_timestamps { "timestamps" } else { "no timestamps" }
    )
}

fn peaks(peaks: Peaks) -> String {
    format!("measured: {}FLOP/s, {}B/s copied", with_prefix(peaks.flops), with_prefix(peaks.bandwidth))
}
