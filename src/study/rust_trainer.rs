//! Objectives in Rust as trainers: a lane is one training of a candidate, or one evaluation, on the threads of a pool. What a lane
//! gives depends on its candidate and its repeat alone, as far as the objective keeps to that.
//!
//! The code is somebody else's: whatever it does on a thread of the pool is caught there, and costs its own lane.

use super::objective::{Candidate, CustomObjective, Failure, RustObjective, Training};
use super::resolve::Study;
use crate::backend::cpu::CpuOptions;
use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
use crate::base::random::{Key, stream};
use crate::space::{Points, Space};
use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Instant;

/// Characters of a reason that are kept: it stands in the journal and in summaries.
const REASON_MOST: usize = 1000;

/// An objective in Rust, opened on the processor.
pub(super) struct RustTrainer<'a> {
    space: Arc<Space>,
    /// What training draws from, by repeat.
    key: Key,
    pool: rayon::ThreadPool,
    lanes: Lanes<'a>,
    /// Candidates of the points that are started next.
    announced: Vec<u64>,
}

/// The lanes that were started, wherever they stand.
struct Lanes<'a> {
    objective: &'a RustObjective,
    /// `None` where a slot is free, or its lane on its way.
    slots: Vec<Option<RustLane<'a>>>,
    /// Slots that were released.
    free: Vec<Slot>,
    /// Bytes that trainings which say their size may hold while they stand.
    memory: u64,
    /// Bytes that they hold.
    held: u64,
}

/// One training of a candidate.
struct RustLane<'a> {
    candidate: Candidate,
    /// `None` before it begins, and after it was dropped.
    training: Option<Box<dyn Training + 'a>>,
    /// Steps that the training has had.
    had: u64,
    /// Bytes that it holds while it stands, as it says.
    bytes: u64,
}

/// A lane that has come to its budget.
struct Done<'a> {
    slot: Slot,
    lane: RustLane<'a>,
    values: Result<Vec<f64>, String>,
    seconds: f64,
}

impl<'a> RustTrainer<'a> {
    /// Opens a study's objective.
    pub(super) fn open(
        study: &'a Study,
        objective: &'a RustObjective,
        options: &CpuOptions,
    ) -> Result<RustTrainer<'a>, BackendError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(options.thread_count()).build();
        let failed = |error: rayon::ThreadPoolBuildError| BackendError::DeviceFailed {
            device: "processor".to_owned(),
            reason: error.to_string(),
        };
        let memory = options.memory_limit();
        Ok(RustTrainer {
            space: study.space.clone(),
            key: study.key.child(stream::TRAINING),
            pool: pool.map_err(failed)?,
            lanes: Lanes { objective, slots: Vec::new(), free: Vec::new(), memory, held: 0 },
            announced: Vec::new(),
        })
    }

    /// A candidate's lane at its beginning.
    fn begun(&self, candidate: &Candidate, repeat: usize) -> RustLane<'a> {
        let repeat = repeat as u32;
        let [high, low] = self.key.child(repeat).words(0);
        let seed = u64::from(high) << 32 | u64::from(low);
        let candidate = candidate.of_repeat(repeat, seed, self.lanes.objective.steps().unwrap_or(1));
        RustLane { candidate, training: None, had: 0, bytes: 0 }
    }
}

impl<'a> Lanes<'a> {
    /// Takes lanes out of their slots; all stay where they are if one of them is not there.
    fn take(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, RustLane<'a>)>, BackendError> {
        let mut taken = Vec::with_capacity(slots.len());
        for slot in slots {
            match self.slots.get_mut(slot.0 as usize).and_then(Option::take) {
                Some(lane) => {
                    self.held = self.held.saturating_sub(lane.bytes);
                    taken.push((*slot, lane));
                }
                None => {
                    taken.into_iter().for_each(|(slot, lane)| self.put(slot, lane));
                    return Err(BackendError::NoSuchSlot(slot.0));
                }
            }
        }
        Ok(taken)
    }

    fn put(&mut self, slot: Slot, lane: RustLane<'a>) {
        self.held = self.held.saturating_add(lane.bytes);
        if let Some(place) = self.slots.get_mut(slot.0 as usize) {
            *place = Some(lane);
        }
    }

    /// A lane has come to its budget: it stands there if it is to go on and has room, and its report is made.
    fn settle(&mut self, done: Done<'a>, keep: bool) -> LaneReport {
        let Done { slot, mut lane, values, seconds } = done;
        let (failure, used) = match &values {
            Ok(_) => (None, lane.had),
            Err(reason) => (Some(reason.clone()), 0),
        };
        if let Some(reason) = &failure {
            tracing::info!("candidate {} failed: {reason}", lane.candidate.id());
        }
        if !keep || failure.is_some() || lane.bytes > self.memory.saturating_sub(self.held) {
            lane.forget();
        }
        self.put(slot, lane);
        let mut values = values.unwrap_or_else(|_| vec![f64::NAN; self.objective.directions().len()]).into_iter();
        LaneReport {
            slot,
            status: if failure.is_some() { LaneStatus::Failed } else { LaneStatus::Trained },
            failure,
            train: f64::NAN,
            evals: vec![values.next().unwrap_or(f64::NAN)],
            others: values.collect(),
            used,
            seconds,
            gradients: Vec::new(),
            state: None,
        }
    }
}

impl<'a> RustLane<'a> {
    /// Trains up to a budget and scores; `None` if it was left on its way.
    fn advance(
        &mut self,
        objective: &'a RustObjective,
        budget: u64,
        is_stopped: &dyn Fn() -> bool,
    ) -> Option<Result<Vec<f64>, String>> {
        let trained = guarded(|| self.train(objective.code(), budget, is_stopped));
        trained.and_then(|values| values.map(|values| self.checked(values, objective)).transpose()).transpose()
    }

    fn train(
        &mut self,
        objective: &'a dyn CustomObjective,
        budget: u64,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<f64>>, Failure> {
        let training = match &mut self.training {
            Some(training) => training,
            None => {
                self.had = 0;
                self.training.insert(objective.begin(&self.candidate)?)
            }
        };
        while self.had < budget {
            if is_stopped() {
                return Ok(None);
            }
            training.step()?;
            self.had += 1;
        }
        self.bytes = training.bytes();
        training.score().map(Some)
    }

    /// Finite values, as many as there are directions.
    fn checked(&self, values: Vec<f64>, objective: &RustObjective) -> Result<Vec<f64>, String> {
        let wanted = objective.directions().len();
        if values.len() != wanted {
            let count = |values: usize| if values == 1 { "1 value".to_owned() } else { format!("{values} values") };
            return Err(format!("it gave {}, and the objective has {}", count(values.len()), count(wanted)));
        }
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(value) if objective.steps().is_some() => Err(format!("its value is {value} after step {}", self.had)),
            Some(value) => Err(format!("its value is {value}")),
        }
    }

    /// Drops the training: the lane begins anew should it go on.
    fn forget(&mut self) {
        (self.had, self.bytes) = (0, 0);
        if let Some(training) = self.training.take()
            && let Err(reason) = guarded(|| {
                drop(training);
                Ok(())
            })
        {
            tracing::warn!("candidate {} could not be dropped: {reason}", self.candidate.id());
        }
    }
}

impl Drop for RustLane<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// What somebody else's code gives, or why it gave nothing. What a panic leaves half done is not looked at again: its lane is
/// dropped, and what lanes share they cannot change but by locks of their own.
fn guarded<T>(code: impl FnOnce() -> Result<T, Failure>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(in_a_line(failure.reason())),
        Err(payload) => Err(in_a_line(&format!("it panicked: {}", message(&*payload)))),
    }
}

/// What a panic says of itself.
fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

fn in_a_line(reason: &str) -> String {
    let lines: Vec<&str> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let reason: String = lines.join(" / ").chars().take(REASON_MOST).collect();
    if reason.is_empty() { "it gave no reason".to_owned() } else { reason }
}

impl Trainer for RustTrainer<'_> {
    fn announce(&mut self, candidates: &[u64]) {
        self.announced = candidates.to_vec();
    }

    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        let announced = std::mem::take(&mut self.announced);
        let candidate = |(point, row): (usize, &[f64])| {
            Candidate::new(&self.space, row, announced.get(point).copied().unwrap_or(point as u64))
        };
        // A candidate's repeats share its parameters.
        let candidates: Vec<Candidate> = points.rows().enumerate().map(candidate).collect();
        let begun: Vec<RustLane> = lanes.iter().map(|lane| self.begun(&candidates[lane.point], lane.fold)).collect();
        let places = &mut self.lanes;
        let slots = begun.into_iter().map(|lane| {
            let slot = places.free.pop().unwrap_or_else(|| {
                places.slots.push(None);
                Slot((places.slots.len() - 1) as u32)
            });
            places.put(slot, lane);
            slot
        });
        Ok(slots.collect())
    }

    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        let (lanes, pool) = (&mut self.lanes, &self.pool);
        let objective = lanes.objective;
        let jobs: Vec<Mutex<Option<(Slot, RustLane)>>> =
            lanes.take(slots)?.into_iter().map(|job| Mutex::new(Some(job))).collect();
        let (next, is_broken) = (AtomicUsize::new(0), AtomicBool::new(false));
        // A training may take hours: it is left between two steps, not finished.
        let is_stopped = || stop.is_raised() || is_broken.load(Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel::<Done>();
        pool.in_place_scope(|scope| {
            let (jobs, next, is_stopped) = (&jobs, &next, &is_stopped);
            // A thread that waits in a lane's own parallel code looks for other work, and a lane that it began there would wait for
            // ever for what the first one holds. So each thread has a loop that no other can take, and is in it before any lane begins.
            let all_there = Barrier::new(pool.current_num_threads());
            scope.spawn_broadcast(move |_, _| {
                all_there.wait();
                while !is_stopped() {
                    let Some(place) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let Some((slot, mut lane)) = place.lock().ok().and_then(|mut job| job.take()) else { break };
                    let began = Instant::now();
                    let Some(values) = lane.advance(objective, budget, is_stopped) else {
                        if let Ok(mut place) = place.lock() {
                            *place = Some((slot, lane));
                        }
                        break;
                    };
                    let seconds = began.elapsed().as_secs_f64();
                    if sender.send(Done { slot, lane, values, seconds }).is_err() {
                        break;
                    }
                }
            });
            for done in receiver {
                if report(lanes.settle(done, keep)).is_break() {
                    is_broken.store(true, Ordering::Relaxed);
                }
            }
        });
        // What a stop left, wherever it stands by now: it is on its way to the same values.
        for (slot, lane) in jobs.into_iter().filter_map(|job| job.into_inner().ok().flatten()) {
            lanes.put(slot, lane);
        }
        Ok(())
    }

    /// What was learned is the program's own.
    fn read_back(&mut self, _slot: Slot) -> Result<Weights, BackendError> {
        Ok(Weights::of(Vec::new()))
    }

    fn release(&mut self, slots: &[Slot]) {
        for slot in slots {
            if let Some(lane) = self.lanes.slots.get_mut(slot.0 as usize).and_then(Option::take) {
                self.lanes.held = self.lanes.held.saturating_sub(lane.bytes);
                self.lanes.free.push(*slot);
            }
        }
    }
}
