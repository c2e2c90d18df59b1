//! One life of a device: buffers, pipelines, timed dispatches, and what went wrong. Nothing here panics on an error of
//! the driver: every operation ends by asking whether the device is still there.

use super::adapters::{Adapter, largest_binding};
use super::kernel::{Kernel, Role};
use super::users::{Panicked, on_a_large_stack};
use super::{GpuOptions, Times, lock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What tests' buffers hold before their first use: a quiet NaN as f32, and far out of range as an index.
const POISON: u32 = 0xffc0_dead;
/// Uploads pass through staging memory in pieces of this size.
const UPLOAD_BYTES: usize = 16 << 20;
/// Room for the timestamps of one submission.
const LARGEST_SUBMISSION: u32 = 16;

/// Why a device did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Its memory is full; fewer lanes may fit.
    OutOfMemory(String),
    /// It is gone; a rebuilt one may do it.
    Lost(String),
    /// The shader of this name was rejected.
    Shader(&'static str, String),
    /// It ended loops before their time, so that what it computed is wrong; dispatches of fewer ticks may be right.
    LoopsCut,
    /// Anything else, which trying again does not mend.
    Failed(String),
}

/// Device memory.
pub(crate) struct Buffer {
    raw: wgpu::Buffer,
    bytes: u64,
}

/// A compiled kernel.
pub(crate) struct Pipeline {
    name: &'static str,
    raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// One kernel over some workgroups.
pub(crate) struct Pass<'a> {
    pub pipeline: &'a Pipeline,
    pub bindings: Vec<&'a Buffer>,
    pub workgroups: u32,
}

/// A copy of words between buffers.
pub(crate) struct Copy<'a> {
    pub from: &'a Buffer,
    pub from_word: u32,
    pub to: &'a Buffer,
    pub to_word: u32,
    pub words: u32,
}

/// What a submission took, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// From submission to completion. Limits go by this: it is true of every driver, whatever its timestamps say.
    pub wall: f64,
    /// On the device, by timestamp queries where there are any: for reports.
    pub device: f64,
}

/// What the driver reported outside any call.
#[derive(Default)]
struct Reports {
    lost: Option<String>,
    errors: Vec<String>,
    out_of_memory: Option<String>,
}

pub(crate) struct Session {
    device: wgpu::Device,
    queue: wgpu::Queue,
    timestamps: Option<Timestamps>,
    reports: Arc<Mutex<Reports>>,
    pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    times: Arc<Mutex<Times>>,
    checked: bool,
    is_software: bool,
    largest_buffer: u64,
    /// Dispatches until a provoked loss; `u64::MAX` when none is.
    dispatches_left: AtomicU64,
}

struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

impl Session {
    /// Asks the adapter for a device with all its limits. `lose_after` provokes a loss, for tests.
    pub fn open(
        adapter: &Adapter,
        options: &GpuOptions,
        lose_after: Option<u64>,
        times: &Arc<Mutex<Times>>,
    ) -> Result<Session, String> {
        let features = adapter.raw.features() & wgpu::Features::TIMESTAMP_QUERY;
        let (device, queue) = pollster::block_on(adapter.raw.request_device(&wgpu::DeviceDescriptor {
            label: Some("thousandfold"),
            required_features: features,
            required_limits: adapter.raw.limits(),
            ..Default::default()
        }))
        .map_err(|error| error.to_string())?;
        let reports = Arc::new(Mutex::new(Reports::default()));
        let seen = reports.clone();
        device.set_device_lost_callback(move |_, message| {
            lock(&seen).lost.get_or_insert(message);
        });
        let seen = reports.clone();
        device.on_uncaptured_error(Arc::new(move |error| match error {
            wgpu::Error::OutOfMemory { source } => {
                lock(&seen).out_of_memory.get_or_insert(source.to_string());
            }
            other => lock(&seen).errors.push(other.to_string()),
        }));
        let timestamps = features.contains(wgpu::Features::TIMESTAMP_QUERY).then(|| Timestamps::new(&device, &queue));
        Ok(Session {
            device,
            queue,
            timestamps,
            reports,
            pipelines: Mutex::default(),
            times: times.clone(),
            checked: options.checked,
            is_software: adapter.is_software,
            largest_buffer: options.provoked.largest_buffer,
            dispatches_left: AtomicU64::new(lose_after.unwrap_or(u64::MAX)),
        })
    }

    /// Bytes that one binding may hold.
    pub fn largest_binding(&self) -> u64 {
        largest_binding(&self.device.limits())
    }

    /// These bytes, if one binding may hold them.
    pub fn fits(&self, what: &str, bytes: u64) -> Result<u64, Fault> {
        let largest = self.largest_binding();
        if bytes > largest {
            let (need, most) = (bytes >> 20, largest >> 20);
            return Err(Fault::OutOfMemory(format!("{what} takes {need} MiB, one binding may hold {most} MiB")));
        }
        Ok(bytes)
    }

    /// The pipeline of a kernel, compiled at its first use and cached by its whole text.
    pub fn pipeline(&self, kernel: &Kernel) -> Result<Arc<Pipeline>, Fault> {
        let source = kernel.wgsl();
        let key = format!("{}\n{source}", kernel.entry);
        if let Some(pipeline) = lock(&self.pipelines).get(&key) {
            return Ok(pipeline.clone());
        }
        let start = Instant::now();
        // A scope hears of what its own thread does.
        let build = || {
            let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
            let pipeline = self.compile(kernel, source.clone());
            (pipeline, pollster::block_on(scope.pop()))
        };
        let built = if kernel.users.is_some() { on_a_large_stack(build) } else { Ok(build()) };
        let (pipeline, rejected) = built
            .map_err(|Panicked| Fault::Shader(kernel.name, "the compiler itself fails on this text".to_owned()))?;
        lock(&self.times).compile += start.elapsed().as_secs_f64();
        self.check()?;
        if let Some(error) = rejected {
            return Err(Fault::Shader(kernel.name, error.to_string()));
        }
        let pipeline = Arc::new(pipeline);
        lock(&self.pipelines).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, kernel: &Kernel, source: String) -> Pipeline {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source: wgpu::ShaderSource::Wgsl(source.into()) };
        let module = if self.checked || kernel.users.is_some() {
            self.device.create_shader_module(descriptor)
        } else {
            // A software driver may cut loops short, and leave indices that were never computed.
            let checks =
                wgpu::ShaderRuntimeChecks { bounds_checks: self.is_software, ..wgpu::ShaderRuntimeChecks::unchecked() };
            // SAFETY: our kernels read and write inside their lanes' regions and end every loop at a bound that the
            // host computed; the same kernels run with every check on in the test mode, to the same bits.
            unsafe { self.device.create_shader_module_trusted(descriptor, checks) }
        };
        let entries: Vec<_> = kernel
            .bindings
            .iter()
            .enumerate()
            .map(|(index, binding)| wgpu::BindGroupLayoutEntry {
                binding: index as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match binding.role {
                        Role::Span => wgpu::BufferBindingType::Uniform,
                        role => wgpu::BufferBindingType::Storage { read_only: !role.is_written() },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(kernel.name), entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let raw = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: self.checked || kernel.users.is_some(),
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { name: kernel.name, raw, layout }
    }

    /// Uninitialised storage of at least `bytes`; poisoned in the test mode.
    pub fn storage(&self, label: &str, bytes: u64) -> Result<Buffer, Fault> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.allocate(label, bytes, usage)?;
        if self.checked {
            let words = vec![POISON; UPLOAD_BYTES / 4];
            let mut word = 0;
            while 4 * word < buffer.bytes {
                let count = (buffer.bytes / 4 - word).min(words.len() as u64) as usize;
                self.write(&buffer, word, &words[..count])?;
                word += count as u64;
            }
        }
        Ok(buffer)
    }

    /// A small uniform buffer.
    pub fn uniform(&self, label: &str, bytes: u64) -> Result<Buffer, Fault> {
        self.allocate(label, bytes, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST)
    }

    /// Storage that holds these words.
    pub fn upload(&self, label: &str, words: &[u32]) -> Result<Buffer, Fault> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.allocate(label, 4 * words.len() as u64, usage)?;
        self.write(&buffer, 0, words)?;
        Ok(buffer)
    }

    fn allocate(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer, Fault> {
        // A binding of no bytes is an error everywhere: what is empty still gets a word.
        let bytes = bytes.max(16).next_multiple_of(4);
        if self.largest_buffer > 0 && bytes > self.largest_buffer {
            return Err(Fault::OutOfMemory(format!("{label}: {bytes} bytes (provoked)")));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let raw = self.device.create_buffer(&descriptor);
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(Fault::OutOfMemory(format!("{label}: {bytes} bytes: {error}")));
        }
        self.check()?;
        Ok(Buffer { raw, bytes })
    }

    /// Writes words from `first` on; they are there before the next dispatch.
    pub fn write(&self, buffer: &Buffer, first: u64, words: &[u32]) -> Result<(), Fault> {
        for (index, piece) in words.chunks(UPLOAD_BYTES / 4).enumerate() {
            let offset = 4 * (first + (index * (UPLOAD_BYTES / 4)) as u64);
            self.queue.write_buffer(&buffer.raw, offset, bytemuck::cast_slice(piece));
            if piece.len() == UPLOAD_BYTES / 4 {
                // Sends the staging memory on its way, so that a large upload does not double in memory.
                self.queue.submit([]);
                self.wait()?;
            }
        }
        self.check()
    }

    /// Fills a buffer with zeros.
    pub fn clear(&self, buffer: &Buffer) -> Result<(), Fault> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&buffer.raw, 0, None);
        self.queue.submit([encoder.finish()]);
        self.check()
    }

    /// Copies between buffers, in order.
    pub fn copy(&self, copies: &[Copy<'_>]) -> Result<(), Fault> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for copy in copies.iter().filter(|copy| copy.words > 0) {
            let (from, to) = (4 * u64::from(copy.from_word), 4 * u64::from(copy.to_word));
            encoder.copy_buffer_to_buffer(&copy.from.raw, from, &copy.to.raw, to, 4 * u64::from(copy.words));
        }
        self.queue.submit([encoder.finish()]);
        self.check()
    }

    /// Words of a buffer.
    pub fn read(&self, buffer: &Buffer, first: u64, count: usize) -> Result<Vec<u32>, Fault> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let bytes = 4 * count as u64;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.allocate("read back", bytes, usage)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&buffer.raw, 4 * first, &staging.raw, 0, bytes);
        self.queue.submit([encoder.finish()]);
        self.map(&staging.raw, bytes, bytemuck::pod_collect_to_vec)
    }

    fn map<T>(&self, buffer: &wgpu::Buffer, bytes: u64, take: impl FnOnce(&[u8]) -> T) -> Result<T, Fault> {
        let outcome = Arc::new(Mutex::new(None));
        let set = outcome.clone();
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| *lock(&set) = Some(result));
        self.wait()?;
        match lock(&outcome).take() {
            Some(Ok(())) => {}
            other => return Err(Fault::Failed(format!("memory could not be read back: {other:?}"))),
        }
        let taken = {
            let view = buffer.get_mapped_range(0..bytes).map_err(|error| Fault::Failed(error.to_string()))?;
            take(&view)
        };
        buffer.unmap();
        Ok(taken)
    }

    /// Runs passes one after another in one submission, waits for them, and tells how long they took together.
    pub fn run(&self, passes: &[Pass<'_>]) -> Result<Took, Fault> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for (index, pass) in passes.iter().enumerate() {
            let bindings: Vec<_> = pass
                .bindings
                .iter()
                .enumerate()
                .map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding: binding as u32,
                    resource: buffer.raw.as_entire_binding(),
                })
                .collect();
            let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(pass.pipeline.name),
                layout: &pass.pipeline.layout,
                entries: &bindings,
            });
            let timestamp_writes = self.timestamps.as_ref().filter(|_| index < LARGEST_SUBMISSION as usize).map(|t| {
                wgpu::ComputePassTimestampWrites {
                    query_set: &t.queries,
                    beginning_of_pass_write_index: Some(2 * index as u32),
                    end_of_pass_write_index: Some(2 * index as u32 + 1),
                }
            });
            let mut encoded = encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(pass.pipeline.name), timestamp_writes });
            encoded.set_pipeline(&pass.pipeline.raw);
            encoded.set_bind_group(0, &group, &[]);
            let widest = self.device.limits().max_compute_workgroups_per_dimension;
            // Kernels take their workgroup's number from both dimensions and leave when it is past the last lane.
            let columns = pass.workgroups.min(widest);
            encoded.dispatch_workgroups(columns, pass.workgroups.div_ceil(columns.max(1)), 1);
        }
        let timed = passes.len().min(LARGEST_SUBMISSION as usize) as u32;
        if let Some(timestamps) = &self.timestamps {
            encoder.resolve_query_set(&timestamps.queries, 0..2 * timed, &timestamps.resolved, 0);
            encoder.copy_buffer_to_buffer(&timestamps.resolved, 0, &timestamps.readable, 0, 16 * u64::from(timed));
        }
        let start = Instant::now();
        self.queue.submit([encoder.finish()]);
        self.wait()?;
        let elapsed = start.elapsed().as_secs_f64();
        let seconds = match &self.timestamps {
            Some(timestamps) => {
                self.map(&timestamps.readable, 16 * u64::from(timed), |view| timestamps.seconds(view))?
            }
            None => vec![elapsed / passes.len().max(1) as f64; passes.len()],
        };
        let mut times = lock(&self.times);
        for (pass, seconds) in passes.iter().zip(&seconds) {
            times.add(pass.pipeline.name, *seconds);
        }
        drop(times);
        self.count_dispatches(passes.len() as u64);
        self.check()?;
        Ok(Took { wall: elapsed, device: seconds.iter().sum() })
    }

    fn count_dispatches(&self, count: u64) {
        let left = self.dispatches_left.load(Ordering::Relaxed);
        if left == u64::MAX {
            return;
        }
        self.dispatches_left.store(left.saturating_sub(count), Ordering::Relaxed);
        if left <= count {
            self.device.destroy();
        }
    }

    /// Waits until everything submitted is done.
    fn wait(&self) -> Result<(), Fault> {
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        polled.map(|_| ()).map_err(|error| Fault::Failed(error.to_string()))
    }

    /// What the driver has reported since the last call.
    pub fn check(&self) -> Result<(), Fault> {
        let has_errors = !lock(&self.reports).errors.is_empty();
        if has_errors {
            // A loss is told of only when the device is asked, and what it made fail before that: its buffers are invalid.
            // Whether anything is still in the queue does not matter here.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
        let mut reports = lock(&self.reports);
        if let Some(reason) = &reports.lost {
            return Err(Fault::Lost(reason.clone()));
        }
        if let Some(reason) = reports.out_of_memory.take() {
            return Err(Fault::OutOfMemory(reason));
        }
        match std::mem::take(&mut reports.errors) {
            errors if errors.is_empty() => Ok(()),
            errors => Err(Fault::Failed(errors.join("; "))),
        }
    }
}

impl Times {
    fn add(&mut self, kernel: &str, seconds: f64) {
        match self.passes.iter_mut().find(|pass| pass.kernel == kernel) {
            Some(pass) => {
                pass.seconds += seconds;
                pass.dispatches += 1;
            }
            None => self.passes.push(super::PassTime { kernel: kernel.to_owned(), seconds, dispatches: 1 }),
        }
    }
}

impl Timestamps {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Timestamps {
        let bytes = 16 * u64::from(LARGEST_SUBMISSION);
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        Timestamps {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * LARGEST_SUBMISSION,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period: f64::from(queue.get_timestamp_period()) * 1e-9,
        }
    }

    /// Seconds of each pass from pairs of ticks.
    fn seconds(&self, view: &[u8]) -> Vec<f64> {
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(view);
        ticks.chunks_exact(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 * self.period).collect()
    }
}
