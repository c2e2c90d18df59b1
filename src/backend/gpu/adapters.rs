//! Which adapters there are, and which one is taken: hardware first, software only when it is named.

use crate::backend::BackendError;

/// The APIs that the backend uses. OpenGL is left out: its drivers lack what the kernels need.
const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// Share of the memory budget that the system reports above which allocations fail as out of memory, in percent:
/// a failed allocation halves a batch, a thrashing driver stops the desktop.
const MEMORY_BUDGET: u8 = 90;

/// A device that wgpu reaches.
#[derive(Clone)]
pub struct Adapter {
    /// Name, API and driver, such as `llvmpipe (LLVM 15.0.6, 256 bits), Vulkan, llvmpipe`.
    pub name: String,
    /// The driver's version, as it names itself.
    pub driver: String,
    /// Whether the processor plays the GPU (lavapipe, WARP).
    pub is_software: bool,
    /// Bytes that one binding of a shader may hold.
    pub largest_binding: u64,
    /// Bytes of memory that a workgroup shares.
    pub workgroup_memory: u32,
    /// Threads of a workgroup.
    pub workgroup_threads: u32,
    /// Least and greatest number of threads that walk in step.
    pub subgroup: (u32, u32),
    /// Whether passes can be timed on the device.
    pub has_timestamps: bool,
    /// Its place among [`adapters`].
    index: usize,
    pub(super) raw: wgpu::Adapter,
}

/// Every adapter on Vulkan, Metal and DX12, in the order of their indices.
pub fn adapters() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        flags: wgpu::InstanceFlags::empty(),
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
            for_resource_creation: Some(MEMORY_BUDGET),
            for_device_loss: None,
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    pollster::block_on(instance.enumerate_adapters(BACKENDS)).into_iter().enumerate().map(Adapter::new).collect()
}

impl Adapter {
    fn new((index, raw): (usize, wgpu::Adapter)) -> Adapter {
        let (info, limits) = (raw.get_info(), raw.limits());
        Adapter {
            name: format!("{}, {}, {}", info.name, info.backend, info.driver),
            driver: if info.driver_info.is_empty() { info.driver } else { info.driver_info },
            is_software: info.device_type == wgpu::DeviceType::Cpu,
            largest_binding: largest_binding(&limits),
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            workgroup_threads: limits.max_compute_invocations_per_workgroup,
            subgroup: (info.subgroup_min_size, info.subgroup_max_size),
            has_timestamps: raw.features().contains(wgpu::Features::TIMESTAMP_QUERY),
            index,
            raw,
        }
    }
}

/// Bindings stay under 2^31 - 1 bytes, which some drivers cannot address whatever they say.
pub(super) fn largest_binding(limits: &wgpu::Limits) -> u64 {
    limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min((1 << 31) - 4) & !3
}

/// The adapter with this index or with this part of its name; without a name the first hardware adapter.
pub(super) fn choose(device: Option<&str>) -> Result<Adapter, BackendError> {
    let mut found = adapters();
    match pick(&found.iter().map(|a| (a.name.as_str(), a.is_software)).collect::<Vec<_>>(), device) {
        Ok(index) => Ok(found.swap_remove(index)),
        Err(reason) => Err(BackendError::NoAdapter {
            reason,
            known: found.iter().enumerate().map(|(index, adapter)| format!("{index}: {}", adapter.name)).collect(),
        }),
    }
}

/// The adapter that this one was: the object of a lost device may be dead too.
pub(super) fn look_up_again(lost: &Adapter) -> Result<Adapter, String> {
    let mut found = adapters();
    let names: Vec<&str> = found.iter().map(|adapter| adapter.name.as_str()).collect();
    let index = place_of(&names, lost.index, &lost.name).ok_or_else(|| "its adapter is gone".to_owned())?;
    Ok(found.swap_remove(index))
}

/// Where an adapter is now: at its old place, which tells equal ones apart, unless another one is there.
fn place_of(names: &[&str], index: usize, name: &str) -> Option<usize> {
    if names.get(index) == Some(&name) { Some(index) } else { names.iter().position(|found| *found == name) }
}

fn pick(found: &[(&str, bool)], device: Option<&str>) -> Result<usize, String> {
    let Some(device) = device else {
        return found.iter().position(|(_, is_software)| !is_software).ok_or_else(|| {
            if found.is_empty() {
                "there is none on Vulkan, Metal or DX12".to_owned()
            } else {
                "there are software adapters only, which are taken only by --device NAME".to_owned()
            }
        });
    };
    if let Ok(index) = device.parse::<usize>() {
        return if index < found.len() { Ok(index) } else { Err(format!("there is no adapter {index}")) };
    }
    let wanted = device.to_lowercase();
    found
        .iter()
        .position(|(name, _)| name.to_lowercase().contains(&wanted))
        .ok_or_else(|| format!("no adapter's name contains \"{device}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: [(&str, bool); 3] =
        [("llvmpipe, Vulkan", true), ("NVIDIA H200, Vulkan", false), ("Apple M4, Metal", false)];

    #[test]
    fn a_software_adapter_is_taken_only_when_it_is_named() {
        assert_eq!(pick(&FOUND, None), Ok(1));
        assert!(pick(&FOUND[..1], None).is_err());
        assert_eq!(pick(&FOUND, Some("LLVM")), Ok(0));
    }

    #[test]
    fn a_lost_adapter_comes_back_at_its_own_place_among_equal_ones() {
        let names = ["NVIDIA H200, Vulkan", "NVIDIA H200, Vulkan", "NVIDIA H200, Vulkan, nouveau"];
        assert_eq!(place_of(&names, 1, names[1]), Some(1));
        assert_eq!(place_of(&names, 0, names[2]), Some(2), "its place was taken");
        assert_eq!(place_of(&names[2..], 0, names[1]), None, "a name that only begins alike is another adapter");
    }

    #[test]
    fn an_adapter_is_chosen_by_index_or_by_part_of_its_name() {
        assert_eq!(pick(&FOUND, Some("2")), Ok(2));
        assert_eq!(pick(&FOUND, Some("h200")), Ok(1));
        assert!(pick(&FOUND, Some("3")).is_err());
        assert!(pick(&FOUND, Some("radeon")).unwrap_err().contains("radeon"));
    }
}
