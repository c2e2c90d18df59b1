//! Kernels over buffers that stay on the device: for work whose steps hand everything to each other there, and of which
//! the host reads a few words now and then. Passes that are run together are one submission, in order.

use super::Gpu;
use super::kernel::{Kernel, Role};
use super::session::{Buffer, Fault, Pass, Pipeline, Session};
use crate::backend::BackendError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A buffer of a [`Resident`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidentBuffer {
    /// Stands in messages.
    pub label: &'static str,
    /// Words of 32 bits.
    pub words: u64,
    /// What its first words hold from the start; the others hold anything.
    pub contents: Vec<u32>,
}

impl ResidentBuffer {
    /// A buffer of so many words that hold anything.
    pub fn of_words(label: &'static str, words: u64) -> ResidentBuffer {
        ResidentBuffer { label, words, contents: Vec::new() }
    }

    /// A buffer of these words.
    pub fn holding(label: &'static str, contents: Vec<u32>) -> ResidentBuffer {
        ResidentBuffer { label, words: contents.len() as u64, contents }
    }
}

/// Why a [`Resident`] could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ResidentError {
    /// The device is gone, with what the buffers held. [`Resident::rebuild`] makes another one, whose buffers hold what
    /// they held at first: what happened since is the caller's to write back or to do again.
    #[error("{device} was lost: {reason}")]
    Lost {
        /// The device.
        device: String,
        /// What it said.
        reason: String,
    },
    /// Anything else, which trying again does not mend.
    #[error(transparent)]
    Failed(#[from] BackendError),
}

/// Kernels and buffers on one device.
///
/// A kernel's binding of [`Role::Prepare`] is the buffer of that index, read and written; one of [`Role::Prepared`] or
/// [`Role::Shared`] is the same, only read. No buffer may be bound in both ways by one kernel. A kernel takes its
/// workgroup's number from two dimensions, `workgroup_id.y * num_workgroups.x + workgroup_id.x`, and does nothing where that
/// is past its work, because large numbers of workgroups are rounded up to rectangles.
///
/// Nothing here cuts work to [`super::LONGEST_DISPATCH`]: a submission's time is what [`Resident::run`] gives, for the
/// caller to size the next by.
pub struct Resident {
    gpu: Gpu,
    plan: Vec<ResidentBuffer>,
    kernels: Vec<Kernel>,
    held: Held,
    losses: usize,
    /// Whether anything was read back since the last loss.
    has_answered: AtomicBool,
}

/// What a loss takes.
struct Held {
    session: Arc<Session>,
    buffers: Vec<Buffer>,
    pipelines: Vec<Arc<Pipeline>>,
}

impl Held {
    fn new(session: Arc<Session>, plan: &[ResidentBuffer], kernels: &[Kernel]) -> Result<Held, Fault> {
        let buffer = |buffer: &ResidentBuffer| {
            let words = buffer.words.max(buffer.contents.len() as u64);
            let made = session.storage(buffer.label, session.fits(buffer.label, words.saturating_mul(4))?)?;
            session.write(&made, 0, &buffer.contents)?;
            Ok(made)
        };
        let buffers = plan.iter().map(buffer).collect::<Result<_, _>>()?;
        let pipelines = kernels.iter().map(|kernel| session.pipeline(kernel)).collect::<Result<_, _>>()?;
        Ok(Held { session, buffers, pipelines })
    }
}

/// The buffer that a binding names, if a resident fills it.
fn place(role: Role) -> Option<usize> {
    match role {
        Role::Prepare(index) | Role::Prepared(index) | Role::Shared(index) => Some(index),
        Role::Lanes | Role::Progress | Role::State | Role::Results | Role::Span | Role::Window => None,
    }
}

impl Resident {
    /// Compiles the kernels and makes the buffers.
    pub fn new(gpu: &Gpu, buffers: Vec<ResidentBuffer>, kernels: Vec<Kernel>) -> Result<Resident, ResidentError> {
        for kernel in &kernels {
            let is_filled = |role| place(role).is_some_and(|index| index < buffers.len());
            if let Some(binding) = kernel.bindings.iter().find(|binding| !is_filled(binding.role)) {
                return Err(gpu.failed(format!("{} binds {}, which is no buffer", kernel.name, binding.name)).into());
            }
        }
        let held = Held::new(gpu.session(), &buffers, &kernels).map_err(|fault| error(gpu, fault))?;
        Ok(Resident { gpu: gpu.clone(), plan: buffers, kernels, held, losses: 0, has_answered: AtomicBool::new(true) })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Runs kernels one after another, each on so many workgroups, as one submission, and waits for it. Each sees what
    /// those before it wrote. Gives the seconds from submission to completion.
    pub fn run(&mut self, passes: &[(usize, u32)]) -> Result<f64, ResidentError> {
        let mut encoded = Vec::with_capacity(passes.len());
        for &(index, workgroups) in passes.iter().filter(|(_, workgroups)| *workgroups > 0) {
            let (Some(kernel), Some(pipeline)) = (self.kernels.get(index), self.held.pipelines.get(index)) else {
                return Err(self.gpu.failed(format!("there is no kernel {index}")).into());
            };
            let bindings = kernel.bindings.iter().filter_map(|binding| self.held.buffers.get(place(binding.role)?));
            encoded.push(Pass { pipeline, bindings: bindings.collect(), workgroups });
        }
        if encoded.is_empty() {
            return Ok(0.0);
        }
        let took = self.held.session.run(&encoded).map_err(|fault| error(&self.gpu, fault))?;
        Ok(took.wall)
    }

    /// Writes words from `first` on; the next run sees them.
    pub fn write(&self, buffer: usize, first: u64, words: &[u32]) -> Result<(), ResidentError> {
        let found = self.buffer(buffer, first, words.len())?;
        self.held.session.write(found, first, words).map_err(|fault| error(&self.gpu, fault))
    }

    /// Reads words from `first` on.
    pub fn read(&self, buffer: usize, first: u64, count: usize) -> Result<Vec<u32>, ResidentError> {
        let found = self.buffer(buffer, first, count)?;
        let read = self.held.session.read(found, first, count).map_err(|fault| error(&self.gpu, fault))?;
        self.has_answered.store(true, Ordering::Relaxed);
        Ok(read)
    }

    /// After a loss: another device, whose buffers hold what they held at first. An error where the last one was lost
    /// before anything was read from it.
    pub fn rebuild(&mut self) -> Result<(), ResidentError> {
        self.losses += 1;
        if !self.has_answered.swap(false, Ordering::Relaxed) {
            return Err(self.gpu.failed("it was lost twice in a row").into());
        }
        let session = self.gpu.rebuild(self.losses)?;
        self.held = Held::new(session, &self.plan, &self.kernels).map_err(|fault| error(&self.gpu, fault))?;
        Ok(())
    }

    /// A buffer that has these words.
    fn buffer(&self, index: usize, first: u64, count: usize) -> Result<&Buffer, BackendError> {
        let has_words = |plan: &&ResidentBuffer| {
            let words = plan.words.max(plan.contents.len() as u64);
            first.checked_add(count as u64).is_some_and(|end| end <= words)
        };
        let planned = self.plan.get(index).filter(has_words);
        planned.and(self.held.buffers.get(index)).ok_or_else(|| {
            self.gpu.failed(format!("there are no {count} words from word {first} on of buffer {index}"))
        })
    }
}

fn error(gpu: &Gpu, fault: Fault) -> ResidentError {
    match fault {
        Fault::Lost(reason) => ResidentError::Lost { device: gpu.name().to_owned(), reason },
        fault => ResidentError::Failed(gpu.error(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Binding, GpuOptions, Provoked, open_for_test};
    use super::*;

    const WORDS: u32 = 100;

    /// Doubles every word of buffer 0, or adds to it its twin of buffer 1.
    fn resident(provoked: Provoked) -> Option<Result<Resident, ResidentError>> {
        let source = |statement: &'static str| {
            let begin = "@compute @workgroup_size(32)\n\
                         fn main(@builtin(global_invocation_id) id: vec3<u32>) { if (id.x < WORDS) { ";
            [begin, statement, " } }\n"]
        };
        let numbers = Binding::new(Role::Prepare(0), "numbers", "array<u32>");
        let steps = Binding::new(Role::Shared(1), "steps", "array<u32>");
        let kernel = |name, statement, bindings: &[Binding]| {
            Kernel::new(name, "main", &source(statement)).constant("WORDS", WORDS).bind(bindings)
        };
        let kernels = vec![
            kernel("double", "numbers[id.x] *= 2u;", &[numbers]),
            kernel("add", "numbers[id.x] += steps[id.x];", &[numbers, steps]),
        ];
        let buffers = vec![
            ResidentBuffer { label: "numbers", words: u64::from(WORDS), contents: vec![1, 1] },
            ResidentBuffer::holding("steps", (0..WORDS).collect()),
        ];
        let gpu = open_for_test(GpuOptions { provoked, ..GpuOptions::default() })?;
        Some(Resident::new(&gpu, buffers, kernels))
    }

    fn whole(provoked: Provoked) -> Option<Resident> {
        resident(provoked).map(|resident| resident.expect("a small resident"))
    }

    #[test]
    fn passes_of_a_submission_see_what_those_before_them_wrote() {
        let Some(mut resident) = whole(Provoked::default()) else { return };
        resident.write(0, 0, &(0..WORDS).collect::<Vec<_>>()).expect("it is written");
        let seconds = resident.run(&[(0, 4), (1, 4), (0, 4), (1, 0)]).expect("it runs");
        assert!(seconds > 0.0);
        // ((i * 2) + i) * 2
        assert_eq!(resident.read(0, 90, 10).expect("it is read"), (90..WORDS).map(|i| 6 * i).collect::<Vec<_>>());
        // More passes than have room for their times.
        resident.run(&[(1, 4); 40]).expect("it runs");
        assert_eq!(resident.read(0, 0, 3).expect("it is read"), [0, 46, 92]);
        assert_eq!(resident.run(&[]).expect("nothing runs"), 0.0);
    }

    #[test]
    fn a_rebuilt_device_holds_what_the_first_held_at_first() {
        let Some(mut resident) = whole(Provoked { losses_after: vec![2, 2, 1], ..Provoked::default() }) else { return };
        let lost = resident.run(&[(0, 4), (0, 4)]).and_then(|_| resident.read(0, 0, 2));
        assert!(matches!(lost, Err(ResidentError::Lost { .. })), "{lost:?}");
        resident.rebuild().expect("another device");
        resident.run(&[(0, 4)]).expect("it runs");
        assert_eq!(resident.read(0, 0, 2).expect("it is read"), [2, 2]);
        let lost = resident.run(&[(0, 4)]).and_then(|_| resident.read(0, 0, 2));
        assert!(matches!(lost, Err(ResidentError::Lost { .. })), "{lost:?}");
        resident.rebuild().expect("something was read since the first loss");
        let lost = resident.run(&[(0, 4)]).and_then(|_| resident.read(0, 0, 2));
        assert!(matches!(lost, Err(ResidentError::Lost { .. })), "{lost:?}");
        let error = resident.rebuild().expect_err("twice in a row").to_string();
        assert!(error.contains("twice in a row"), "{error}");
    }

    #[test]
    fn what_does_not_fit_or_is_not_there_is_an_error() {
        let Some(full) = resident(Provoked { largest_buffer: 100, ..Provoked::default() }) else { return };
        assert!(matches!(full, Err(ResidentError::Failed(BackendError::DeviceTooSmall { .. }))));
        let Some(mut resident) = whole(Provoked::default()) else { return };
        let failures = [
            resident.run(&[(2, 1)]).map(|_| ()),
            resident.read(0, 50, 51).map(|_| ()),
            resident.read(2, 0, 1).map(|_| ()),
            resident.write(1, u64::MAX, &[1]),
        ];
        assert!(failures.iter().all(|failure| matches!(failure, Err(ResidentError::Failed(_)))), "{failures:?}");
        let stray = Kernel::new("stray", "main", &["@compute @workgroup_size(1) fn main() {}"]).bind(&[Binding::new(
            Role::Lanes,
            "lanes",
            "array<u32>",
        )]);
        let error = Resident::new(resident.gpu(), Vec::new(), vec![stray]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("stray binds lanes")));
    }
}
